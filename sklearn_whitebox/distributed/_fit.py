"""The fit of one estimator by all processes together."""

import contextlib
import hashlib
from dataclasses import asdict, replace
from numbers import Integral, Real

import numpy as np
from sklearn.utils import check_random_state

from sklearn_whitebox.distributed._checkpoint import Journal, check_folder
from sklearn_whitebox.distributed._team import join_team
from sklearn_whitebox.estimators._base import all_or_nothing
from sklearn_whitebox.estimators._crate_base import BaseCRATE
from sklearn_whitebox.estimators._crate_fitting import fit_crate

# These decide where and how fast a model is trained, not which one.
_FREE = ("device", "n_jobs", "verbose", "compile", "random_state")
_LOST = ("connection", "gloo", "nccl", "peer", "timed out", "timeout", "socket")


def fit_distributed(
    estimator,
    X,
    y,
    *,
    sample_weight=None,
    X_val=None,
    y_val=None,
    checkpoint=None,
    checkpoint_every=1,
    backend="auto",
    timeout=1800.0,
):
    """Fit an estimator by all processes that ``torchrun`` started.

    Every process calls it with the same estimator and the same data, and computes the
    gradients of its share of the rows of each batch. The result is what ``fit`` gives
    in one process, but for rounding: an ordinary fitted estimator, the same in all
    processes. In a single process that was not started by ``torchrun`` it is ``fit``
    with checkpoints.

    Parameters
    ----------
    estimator : CRATEClassifier or CRATERegressor
        Fitted in place.
    X : array-like or DataFrame of shape (n_samples, n_features)
        All rows, in every process.
    y : array-like of shape (n_samples,) or (n_samples, n_outputs)
        Targets.
    sample_weight : array-like of shape (n_samples,), default=None
        Non-negative weights.
    X_val : array-like or DataFrame of shape (n_val, n_features), default=None
        Rows to watch for early stopping and calibration, instead of a part of `X`.
    y_val : array-like of shape (n_val,) or (n_val, n_outputs), default=None
        Their targets.
    checkpoint : str or path, default=None
        Folder in which the first process notes where training stands after every pass,
        and from which all go on if it holds a run of the same data and parameters. It
        is created if need be, and kept at the end. None keeps nothing.
    checkpoint_every : int, default=1
        Passes from one checkpoint of a network to the next.
    backend : {"auto", "gloo", "nccl"}, default="auto"
        How processes communicate. ``"auto"`` takes NCCL if there is a GPU for each
        process of a machine and the estimator's `device` allows it, else gloo on the
        CPU.
    timeout : float, default=1800.0
        Seconds to wait for another process before giving up.

    Returns
    -------
    estimator : CRATEClassifier or CRATERegressor
        The fitted estimator.

    Raises
    ------
    TypeError
        If the estimator is of another class.
    ValueError
        If processes have different data or parameters, the checkpoint is of another run
        or damaged, training diverges, or as for ``fit``.
    OSError
        If a checkpoint cannot be written.
    RuntimeError
        If another process failed or did not answer within `timeout`.

    Notes
    -----
    Every process holds all rows, on its device as well. A step exchanges as many
    numbers as the network has weights. `n_jobs` is not used with several processes:
    their networks are trained one after the other.

    See the :ref:`User Guide <several-gpus>` for how to start processes, and when they
    are worth it.

    Examples
    --------
    >>> from sklearn.datasets import load_iris
    >>> from sklearn_whitebox import CRATEClassifier
    >>> from sklearn_whitebox.distributed import fit_distributed
    >>> X, y = load_iris(return_X_y=True)
    >>> model = CRATEClassifier(n_ensemble=1, max_iter=10, random_state=0)
    >>> fit_distributed(model, X, y).score(X, y) > 0.9
    True
    """
    _check(estimator, checkpoint, checkpoint_every, backend, timeout)
    with join_team(estimator.device, backend=backend, timeout=timeout) as team:
        entry = _Entry(estimator, team, checkpoint, checkpoint_every)
        try:
            _fit(estimator, X, y, sample_weight, X_val, y_val, entry)
        except Exception as error:
            if team.size > 1:
                _explain(error, entry, timeout)
            raise
    return estimator


@all_or_nothing()
def _fit(estimator, X, y, sample_weight, X_val, y_val, entry):
    fit_crate(estimator, X, y, sample_weight, X_val, y_val, join=entry)
    estimator.weights_ = entry.team.equalise(estimator.weights_)


class _Entry:
    """What turns the settings of one process into those of a team."""

    def __init__(self, estimator, team, checkpoint, every):
        self.team, self._estimator = team, estimator
        self._checkpoint, self._every = checkpoint, every
        self.met = False

    def __call__(self, setup, arrays, seed):
        team = self.team
        facts = {
            "parameters": _describe(self._estimator, setup),
            "data": {name: _digest(array) for name, array in arrays.items()},
        }
        seed = self._meet(facts, seed)
        journal = None
        if self._checkpoint is not None:
            journal = Journal(self._checkpoint, team, self._every)
            seed = journal.open(facts, seed)
        device = team.device(setup.device)
        return replace(setup, team=team, journal=journal, device=device), seed

    def tell(self, error):
        """Tell the others, who wait to begin, that this process will not."""
        self.met = True
        failure = f"{type(error).__name__}: {error}"
        self.team.exchange([failure[:2000], None, None])

    def _meet(self, facts, seed):
        """Compare what all processes were given; take the seed of the first."""
        self.met = True
        found = self.team.exchange([None, facts, seed])
        for rank, (failure, *_) in enumerate(found):
            if failure is not None:
                raise RuntimeError(f"Process {rank} could not begin: {failure}")
        first = found[0][1]
        for rank, (_, other, _) in enumerate(found):
            for kind in ("parameters", "data"):
                names = [k for k in first[kind] if first[kind][k] != other[kind].get(k)]
                names += [k for k in other[kind] if k not in first[kind]]
                if names:
                    raise ValueError(
                        f"Process {rank} was given other {kind} than process 0: "
                        f"{', '.join(names)}. Give all the same."
                    )
        return found[0][2]


def _describe(estimator, setup):
    """Say in words all that decides the result, but for the data."""
    described = {"estimator": type(estimator).__name__}
    for name, value in estimator.get_params(deep=False).items():
        if name not in _FREE:
            described[name] = _plain(value)
    # A number is part of the run; what else may be drawn differs from start to start.
    state = estimator.random_state
    fixed = isinstance(state, Integral)
    described["random_state"] = str(int(state)) if fixed else "drawn"
    # Defaults may change from one version to the next.
    resolved = f"{asdict(setup.plan)} {asdict(setup.config)} {setup.patience}"
    described["resolved parameters"] = hashlib.sha256(resolved.encode()).hexdigest()
    return described


def _plain(value):
    if isinstance(value, np.ndarray | list | tuple):
        return str(np.asarray(value).tolist())
    if isinstance(value, np.generic):
        value = value.item()
    if isinstance(value, dict):
        return str({str(k): _plain(v) for k, v in value.items()})
    return repr(value)


def _digest(array):
    array = np.ascontiguousarray(array)
    digest = hashlib.sha256(f"{array.dtype.str} {array.shape} ".encode())
    digest.update(array.reshape(-1).view(np.uint8))
    return digest.hexdigest()


def _explain(error, entry, timeout):
    """Let the others know of a failure, or say that one of them failed."""
    lost = isinstance(error, RuntimeError) and any(
        word in str(error).lower() for word in _LOST
    )
    if lost:
        raise RuntimeError(
            "Another process of this fit failed, or did not answer within "
            f"timeout={timeout:g} seconds; the first error of all processes says why."
        ) from error
    if not entry.met:
        # This failure counts, not that the others failed as well.
        with contextlib.suppress(RuntimeError):
            entry.tell(error)


def _check(estimator, checkpoint, every, backend, timeout):
    if not isinstance(estimator, BaseCRATE):
        raise TypeError(
            "fit_distributed fits CRATEClassifier and CRATERegressor, not "
            f"{type(estimator).__name__}; others are fitted by their own fit."
        )
    check_random_state(estimator.random_state)
    if estimator.max_time is not None:
        raise ValueError(
            f"max_time={estimator.max_time} cannot be kept by several processes, whose "
            "clocks differ, nor over a restart; use max_iter."
        )
    if estimator.on_interrupt != "raise":
        raise ValueError(
            f"on_interrupt={estimator.on_interrupt!r} cannot be kept by several "
            "processes; use on_interrupt='raise' and a checkpoint."
        )
    if backend not in ("auto", "gloo", "nccl"):
        raise ValueError(f"backend={backend!r} must be 'auto', 'gloo' or 'nccl'.")
    if not isinstance(timeout, Real) or not 0 < timeout < float("inf"):
        raise ValueError(f"timeout={timeout!r} must be a positive number of seconds.")
    if not isinstance(every, Integral) or every < 1:
        raise ValueError(f"checkpoint_every={every!r} must be an integer above zero.")
    check_folder(checkpoint)
