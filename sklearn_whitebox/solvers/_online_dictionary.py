"""Online dictionary learning: lasso codes, additive statistics, atom-wise descent."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from sklearn_whitebox._threads import serial_blas
from sklearn_whitebox.solvers._atoms import feasible_atoms, order_atoms, unit_rows
from sklearn_whitebox.solvers._dictionary_statistics import (
    DictionaryStatistics,
    update_dictionary,
)
from sklearn_whitebox.solvers._lasso_encode import lasso_encode
from sklearn_whitebox.solvers._result import SolverResult

# Two atoms closer than this are one.
_DUPLICATE = 0.99
# Duality gap of the codes that train the atoms.
_CODE_TOL = 1e-5
# Samples of a stream that a new atom may wait to be used, for each atom there is.
_PATIENCE = 10
# Steps of an epoch below which batches do not grow.
_STEPS = 64

Array = NDArray[Any]


def learn_dictionary_online(
    X: Array,
    init: Array,
    *,
    alpha: float,
    positive_code: bool = False,
    positive_dict: bool = False,
    batch_size: int = 256,
    max_iter: int = 100,
    tol: float = 1e-3,
    generator: np.random.Generator | None = None,
    n_jobs: int | None = None,
    callback: Callable[[int, float], Any] | None = None,
) -> SolverResult:
    r"""Learn an overcomplete dictionary from batches of samples.

    .. math:: \min_{D, Z} \sum_i \tfrac12 \|x_i - z_i D\|_2^2 + \alpha \|z_i\|_1
        \quad\text{with}\quad \|d_j\|_2 \leq 1

    Each batch is coded by the lasso, its statistics are added to the faded ones of
    earlier batches, and the atoms descend. After each epoch atoms that are hardly used
    or are the double of another are replaced by the samples worst represented.

    Parameters
    ----------
    X : ndarray of shape (n_samples, n_features)
        Samples.
    init : ndarray of shape (n_components, n_features)
        Atoms to start from, for example from :func:`initial_atoms`.
    alpha : float
        Weight of the ℓ1 norm.
    positive_code, positive_dict : bool, default=False
        Whether codes, and atoms, must not be negative.
    batch_size : int, default=256
        Samples per batch in the first epoch; twice, and then four times as many in the
        next, as far as that leaves 64 batches.
    max_iter : int, default=100
        Most epochs.
    tol : float, default=1e-3
        Stop when over an epoch the atoms move by at most this relative to their norm,
        or when the objective has fallen by less than this share in three epochs
        in a row.
    generator : numpy.random.Generator, default=None
        Order of the samples; None is ``numpy.random.default_rng(0)``.
    n_jobs : int, default=None
        Threads that code a batch. The result does not depend on it.
    callback : callable, default=None
        Called as ``callback(epoch, objective)``; stops the loop if it returns True.

    Returns
    -------
    result : SolverResult
        The solution is a dictionary with ``components``, an ndarray of shape
        (n_components, n_features) of unit atoms by decreasing energy; ``statistics``,
        a :class:`DictionaryStatistics` in the same order; and ``n_replaced``. The
        objective is the mean over the samples of an epoch.

    Notes
    -----
    An epoch costs what coding costs, :func:`lasso_encode`, and O(k² d) per batch.
    Memory beyond the samples is O(k² + kd).

    References
    ----------
    .. [1] Mairal, Bach, Ponce, Sapiro (2010). Online learning for matrix factorization
       and sparse coding. JMLR 11.
    """
    generator = generator or np.random.default_rng(0)
    D = feasible_atoms(
        np.asarray(init, dtype=X.dtype),
        positive=positive_dict,
        may_flip=not positive_code,
    )
    settings = {
        "alpha": alpha,
        "positive_code": positive_code,
        "positive_dict": positive_dict,
        "n_jobs": n_jobs,
    }
    statistics = DictionaryStatistics.empty(D)
    curve: list[float] = []
    n_replaced = 0
    quiet = 0
    converged = False
    with serial_blas():
        for epoch in range(max_iter):
            before = D
            size = _batch_size(batch_size, epoch, len(X))
            D, statistics, seen = _epoch(X, D, statistics, settings, size, generator)
            curve.append(float(np.mean(seen.objectives)))
            fresh = 0
            # The last tenth of the epochs is for settling.
            if epoch < 0.9 * max_iter - 1 and n_replaced < 10 * len(D):
                D, statistics, fresh = _replace_atoms(
                    X, D, statistics, seen, alpha, positive_code, positive_dict
                )
                n_replaced += fresh
            if callback is not None and callback(epoch, curve[-1]):
                break
            moved = np.linalg.norm(D - before) <= tol * np.linalg.norm(D)
            fell = len(curve) < 2 or curve[-2] - curve[-1] > tol * abs(curve[-1])
            quiet = 0 if fell or fresh else quiet + 1
            if (moved and not fresh) or quiet >= 3:
                converged = True
                break
    return SolverResult(
        _in_order(D, statistics, n_replaced, positive_code or positive_dict),
        n_iter=len(curve),
        converged=converged,
        objective=curve,
    )


def _batch_size(batch_size: int, epoch: int, n_samples: int) -> int:
    """Double the batches twice, as long as an epoch keeps its number of steps.

    Early steps should be many, later ones move little and cost the less the fewer.
    """
    return max(batch_size, min(batch_size * 2 ** min(epoch, 2), n_samples // _STEPS))


@dataclass(frozen=True)
class _Seen:
    """What an epoch noticed: objective of every sample, use of every atom."""

    objectives: Array
    usage: Array


def _epoch(
    X: Array,
    D: Array,
    statistics: DictionaryStatistics,
    settings: dict[str, Any],
    batch_size: int,
    generator: np.random.Generator,
) -> tuple[Array, DictionaryStatistics, _Seen]:
    order = generator.permutation(len(X))
    objectives = np.empty(len(X))
    usage = np.zeros(len(D), dtype=np.int64)
    for start in range(0, len(X), batch_size):
        rows = order[start : start + batch_size]
        D, statistics, codes, objectives[rows] = online_step(
            X[rows], D, statistics, **settings
        )
        usage += np.bincount(codes.indices, minlength=len(D))
    return D, statistics, _Seen(objectives, usage)


def online_step(
    X: Array,
    dictionary: Array,
    statistics: DictionaryStatistics,
    *,
    alpha: float,
    positive_code: bool = False,
    positive_dict: bool = False,
    n_jobs: int | None = None,
) -> tuple[Array, DictionaryStatistics, sparse.csr_array, Array]:
    """Learn from one batch: code it, remember it, improve the atoms.

    Parameters
    ----------
    X : ndarray of shape (n_samples, n_features)
        Batch.
    dictionary : ndarray of shape (n_components, n_features)
        Atoms before.
    statistics : DictionaryStatistics
        Of earlier batches.
    alpha : float
        Weight of the ℓ1 norm.
    positive_code, positive_dict : bool, default=False
        Whether codes, and atoms, must not be negative.
    n_jobs : int, default=None
        Threads, as in joblib.

    Returns
    -------
    dictionary : ndarray of shape (n_components, n_features)
        Atoms after.
    statistics : DictionaryStatistics
        With the batch added.
    codes : csr_array of shape (n_samples, n_components)
        Codes of the batch on the atoms before.
    objectives : ndarray of shape (n_samples,)
        Lasso objective of each sample, with these codes.
    """
    codes = lasso_encode(
        X,
        dictionary,
        alpha=alpha,
        positive=positive_code,
        tol=_CODE_TOL,
        sparse_output=True,
        n_jobs=n_jobs,
    ).solution
    objectives = _objectives(X, codes, dictionary, alpha)
    statistics = statistics.add(codes, X)
    updated = update_dictionary(dictionary, statistics, positive=positive_dict)
    return updated, statistics, codes, objectives


def _objectives(
    X: Array, codes: sparse.csr_array, dictionary: Array, alpha: float
) -> Array:
    residual = X - codes @ dictionary
    errors = 0.5 * np.einsum("ij,ij->i", residual, residual)
    return errors + alpha * abs(codes).sum(axis=1)


def stream_step(
    X: Array,
    dictionary: Array,
    statistics: DictionaryStatistics,
    *,
    alpha: float,
    positive_code: bool = False,
    positive_dict: bool = False,
    n_jobs: int | None = None,
) -> tuple[Array, DictionaryStatistics, float, int]:
    """Learn from one batch of a stream, and replace atoms that went out of use.

    Parameters
    ----------
    X, dictionary, statistics : ndarray, ndarray, DictionaryStatistics
        As in :func:`online_step`.
    alpha, positive_code, positive_dict, n_jobs : float, bool, bool, int
        As in :func:`online_step`.

    Returns
    -------
    dictionary : ndarray of shape (n_components, n_features)
        Atoms after.
    statistics : DictionaryStatistics
        With the batch added.
    objective : float
        Mean lasso objective of the batch on the atoms before.
    n_replaced : int
        Atoms replaced.
    """
    with serial_blas():
        D, statistics, _, objectives = online_step(
            X,
            dictionary,
            statistics,
            alpha=alpha,
            positive_code=positive_code,
            positive_dict=positive_dict,
            n_jobs=n_jobs,
        )
        energy = np.diag(statistics.gram)
        # An atom may wait for its samples, longer than a batch.
        is_new = statistics.ages < _PATIENCE * len(D)
        is_used = is_new | (energy > 1e-6 * energy.max(initial=0))
        usage = np.where(is_used, len(X), 0)
        seen = _Seen(objectives, usage)
        D, statistics, n_replaced = _replace_atoms(
            X, D, statistics, seen, alpha, positive_code, positive_dict
        )
    return D, statistics, float(np.mean(objectives)), n_replaced


def _replace_atoms(
    X: Array,
    D: Array,
    statistics: DictionaryStatistics,
    seen: _Seen,
    alpha: float,
    positive_code: bool,
    positive_dict: bool,
    n_samples: int | None = None,
) -> tuple[Array, DictionaryStatistics, int]:
    """Put badly represented samples in the place of atoms without a use.

    The usage counted is that of `n_samples`, if not of the rows given.
    """
    n_samples, k = n_samples or len(X), len(D)
    idle = max(min(2.0, n_samples / (10 * k)), 0.001 * n_samples / k)
    atoms = unit_rows(D)
    # With codes of one sign an atom and its negative are two atoms.
    likeness = np.asarray if positive_code else np.abs
    cosines = likeness(atoms @ atoms.T)
    # Of two doubles the one used less goes; ties go by position.
    weaker = (seen.usage[:, None] < seen.usage) | (
        (seen.usage[:, None] == seen.usage) & np.tri(k, k=-1, dtype=bool)
    )
    useless = np.flatnonzero(
        (seen.usage <= idle) | ((cosines > _DUPLICATE) & weaker).any(axis=1)
    )
    if not len(useless):
        return D, statistics, 0
    # A sample is worth an atom only if its own direction would represent it better.
    norms = np.linalg.norm(X, axis=1)
    level = np.minimum(alpha, norms)
    alone = level * norms - level**2 / 2
    gain = seen.objectives - alone
    candidates = np.argsort(-gain, kind="stable")[: 10 * len(useless)]
    D = D.copy()
    replaced: list[int] = []
    for row in candidates:
        if len(replaced) == len(useless) or gain[row] <= 1e-3 * seen.objectives[row]:
            break
        atom = feasible_atoms(
            X[row : row + 1], positive=positive_dict, may_flip=not positive_code
        )[0]
        others = np.delete(atoms, useless[len(replaced) :], axis=0)
        is_copy = len(others) and np.max(likeness(others @ atom)) > _DUPLICATE
        if is_copy or not atom.any():
            continue
        j = useless[len(replaced)]
        D[j] = atoms[j] = atom
        replaced.append(int(j))
    if not replaced:
        return D, statistics, 0
    return D, statistics.forget(np.array(replaced)), len(replaced)


def _in_order(
    D: Array, statistics: DictionaryStatistics, n_replaced: int, keep_signs: bool
) -> dict[str, Any]:
    energy = np.diag(statistics.gram)
    order = np.argsort(-energy, kind="stable")
    components = order_atoms(D, energy, fix_signs=not keep_signs)
    signs = np.sign(np.einsum("ij,ij->i", components, D[order]))
    signs = np.where(signs < 0, -1, 1).astype(D.dtype)
    gram = statistics.gram[np.ix_(order, order)] * np.outer(signs, signs)
    cross = statistics.cross[order] * signs[:, None]
    return {
        "components": components,
        "statistics": replace(
            statistics, gram=gram, cross=cross, ages=statistics.ages[order]
        ),
        "n_replaced": n_replaced,
    }
