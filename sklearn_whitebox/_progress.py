"""One adapter between solver loops and scikit-learn's callbacks."""

import logging
import sys


class _StandardError(logging.StreamHandler):
    """Write to whatever the standard error stream is at the time."""

    @property
    def stream(self):
        return sys.stderr

    @stream.setter
    def stream(self, value):
        pass


# `verbose` alone decides what is said, so the logger has a level and a handler of its
# own; replace the handler to send the lines elsewhere.
logger = logging.getLogger("sklearn_whitebox")
if not logger.handlers:
    logger.addHandler(_StandardError())
    logger.setLevel(logging.INFO)
    logger.propagate = False


class Progress:
    """Report the iterations of a fit to callbacks and to the log.

    Solvers call it as ``callback(iteration, objective)`` and stop when it returns True.
    It does nothing but count where scikit-learn has no callbacks (before 1.9).

    Parameters
    ----------
    estimator : estimator
        The estimator being fitted.
    max_iter : int
        Most iterations that will be reported.
    X, y : array-like, default=None
        Training data, shown to the callbacks.
    verbose : int, default=0
        Log every iteration (2 and more) or every tenth of them (1).
    """

    def __init__(self, estimator, max_iter, X=None, y=None, *, verbose=0):
        self._estimator = estimator
        self._max_iter = max_iter
        self._data = {"X": X, "y": y}
        self._verbose = verbose
        self._context = None
        self._count = 0
        if hasattr(estimator, "_init_callback_context"):
            self._context = estimator._init_callback_context(max_subtasks=max_iter)
            self._context.call_on_fit_task_begin(estimator=estimator, **self._data)

    def __call__(self, iteration, objective=None):
        """Report one finished iteration; return True if a callback asks to stop."""
        every = 1 if self._verbose > 1 else max(1, self._max_iter // 10)
        if self._verbose and iteration % every == 0:
            logger.info(
                "%s: iteration %d of %d, objective %.6g",
                type(self._estimator).__name__,
                iteration + 1,
                self._max_iter,
                float("nan") if objective is None else objective,
            )
        # More steps than announced would be refused by scikit-learn's context.
        if self._context is None or self._count >= self._max_iter:
            return False
        self._count += 1
        step = self._context.subcontext(task_name="iteration")
        step.call_on_fit_task_begin(estimator=self._estimator, **self._data)
        return bool(step.call_on_fit_task_end(estimator=self._estimator, **self._data))

    def close(self):
        """Report the end of the fit."""
        if self._context is not None:
            self._context.call_on_fit_task_end(estimator=self._estimator, **self._data)
