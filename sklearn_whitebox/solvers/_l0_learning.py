"""What dictionary learning with few coefficients a row has in common."""

from collections.abc import Callable
from itertools import product
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sklearn_whitebox._threads import serial_blas
from sklearn_whitebox.solvers._atoms import order_atoms, unit_rows
from sklearn_whitebox.solvers._l0_coding import Coding, Encoder
from sklearn_whitebox.solvers._l0_moves import propose_swap, replace_atoms
from sklearn_whitebox.solvers._result import SolverResult

Array = NDArray[np.floating]
Update = Callable[[Coding, np.random.Generator], Coding]

# Iterations in a row that must pass before the loop counts as settled.
_PATIENCE = 2
# Iterations a swap has to pay off.
_TRIAL = 8
# Relative decrease of the objective below which it is worth trying a swap.
_STALLED = 2e-3
# Swaps to try, the likeliest first: (place among the atoms that are missed least,
# place among those to split or among the rows to become one).
_SWAPS = sorted(product(range(8), range(8)), key=lambda at: (at[0] + 1) * (at[1] + 1))


def learn_with_few_coefs(
    X: Array,
    init: Array,
    update: Update,
    *,
    n_nonzero_coefs: int,
    positive_code: bool,
    positive_dict: bool,
    max_iter: int,
    tol: float,
    max_swaps: int,
    generator: np.random.Generator | None,
    n_jobs: int | None,
    callback: Callable[[int, float], Any] | None,
) -> SolverResult:
    """Alternate between codes and atoms, and swap atoms out of poor local minima.

    Parameters
    ----------
    X, init : ndarray
        Samples and atoms to start from.
    update : callable
        Takes a :class:`Coding`, which it may overwrite, and a generator, and returns a
        coding on the same supports of at most the same error.
    n_nonzero_coefs, positive_code, positive_dict, max_iter, tol : int, bool, float
        As in :func:`learn_dictionary_ksvd`.
    max_swaps : int
        Swaps tried in vain before learning ends.
    generator, n_jobs, callback : object
        As in :func:`learn_dictionary_ksvd`.

    Returns
    -------
    result : SolverResult
        As in :func:`learn_dictionary_ksvd`.
    """
    generator = generator or np.random.default_rng(0)
    X = np.ascontiguousarray(X)
    D = unit_rows(np.asarray(init, dtype=X.dtype))
    if positive_dict:
        D = unit_rows(np.maximum(D, 0))
    depth = max(1, min(n_nonzero_coefs, X.shape[1], len(D)))
    encoder = Encoder(X, depth, positive_code, n_jobs)
    learner = _Learner(
        encoder, update, positive_dict, max_iter, tol, max_swaps, generator, callback
    )
    with serial_blas():
        coding = learner.run(encoder.encode(D))
    components = order_atoms(
        coding.D, coding.energies(), fix_signs=not (positive_code or positive_dict)
    )
    return SolverResult(
        {"components": components, "n_replaced": learner.n_replaced},
        n_iter=len(learner.curve),
        converged=learner.converged,
        objective=learner.curve,
    )


class _Learner:
    """The loop: its settings, and what it has reached so far."""

    def __init__(
        self,
        encoder: Encoder,
        update: Update,
        positive_dict: bool,
        max_iter: int,
        tol: float,
        max_swaps: int,
        generator: np.random.Generator,
        callback: Callable[[int, float], Any] | None,
    ) -> None:
        self.encoder = encoder
        self.update = update
        self.positive_dict = positive_dict
        self.max_iter = max_iter
        self.tol = tol
        self.max_swaps = min(max_swaps, 2 * len(_SWAPS))
        self.generator = generator
        self.callback = callback
        self.curve: list[float] = []
        self.n_replaced = 0
        self.converged = False
        self.stopped = False

    def run(self, coding: Coding) -> Coding:
        """Iterate until the objective settles and no swap lowers it."""
        quiet = settled = failed = 0
        while not self._over():
            before = coding.objective
            coding = self._iterate(coding, replaces=True)
            self._record(coding.objective)
            fall = before - coding.objective
            quiet = quiet + 1 if fall <= _STALLED * before else 0
            settled = settled + 1 if fall <= self.tol * before else 0
            if failed >= self.max_swaps:
                self.converged = settled > _PATIENCE or coding.objective == 0
                if self.converged:
                    break
            elif quiet >= _PATIENCE and not self._over():
                swapped = self._try_swap(coding, failed)
                if swapped is None:
                    failed += 1
                else:
                    coding, quiet, failed = swapped, 0, 0
        return coding

    def _over(self) -> bool:
        return self.stopped or len(self.curve) >= self.max_iter

    def _record(self, objective: float) -> None:
        self.curve.append(objective)
        if self.callback is not None:
            self.stopped = bool(self.callback(len(self.curve) - 1, objective))

    def _iterate(self, coding: Coding, *, replaces: bool) -> Coding:
        if self.curve or not replaces:
            # Codes found anew generalise better than old ones of less error, to which
            # atoms cling; only where they would raise the objective are those kept.
            fresh = self._updated(self.encoder.encode(coding.D))
            if fresh.objective > coding.objective:
                fresh = self._updated(self.encoder.improve(coding))
            coding = fresh
        else:
            coding = self._updated(coding)
        if replaces:
            coding, n_fresh = replace_atoms(coding, self.encoder, self.positive_dict)
            self.n_replaced += n_fresh
        return coding

    def _updated(self, coding: Coding) -> Coding:
        coding = self.update(coding, self.generator)
        # Updates carry the residual along; its rounding must not.
        return self.encoder.with_residuals(coding.D, coding.support, coding.codes)

    def _try_swap(self, coding: Coding, failed: int) -> Coding | None:
        """Move an atom to where one is missed; None if that does not pay off."""
        trial = propose_swap(
            coding,
            self.encoder,
            _SWAPS[failed // 2],
            splits=failed % 2 == 0,
            positive_dict=self.positive_dict,
        )
        if trial is None:
            return None
        goal = coding.objective
        left = _TRIAL
        while left and not self._over():
            left -= 1
            before = trial.objective
            trial = self._iterate(trial, replaces=False)
            gained = trial.objective < goal
            self._record(min(trial.objective, goal))
            if gained:
                self.n_replaced += 1
                return trial
            # Progress slows down; at this pace it would not get there in time.
            if (
                left < _TRIAL - 1
                and trial.objective - left * (before - trial.objective) > goal
            ):
                return None
        return None
