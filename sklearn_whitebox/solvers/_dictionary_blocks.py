"""Dictionary learning from sums over chunks of rows, wherever they are computed."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sklearn_whitebox._threads import serial_blas
from sklearn_whitebox.solvers._dictionary_statistics import (
    DictionaryStatistics,
    update_dictionary,
)
from sklearn_whitebox.solvers._lasso_encode import lasso_encode
from sklearn_whitebox.solvers._online_dictionary import (
    _CODE_TOL,
    _in_order,
    _objectives,
    _replace_atoms,
    _Seen,
)
from sklearn_whitebox.solvers._result import SolverResult

# Rows worst represented that a chunk hands on, for atoms without a use.
_WORST = 8
# Such rows that are kept of all chunks.
_KEPT = 1024
# Passes over the atoms for each pass over the rows, which costs far more.
_ATOM_PASSES = 10

Array = NDArray[Any]


@dataclass(frozen=True)
class ChunkSums:
    """What a pass over the rows of a chunk leaves, all of it additive.

    Parameters
    ----------
    statistics : DictionaryStatistics
        Second moments of codes and samples, in float64.
    objective : float
        Sum of the lasso objectives.
    usage : ndarray of shape (n_components,)
        Codes that use each atom.
    worst : ndarray of shape (n_worst, n_features)
        Rows that atoms of their own would represent best, compared with now.
    objectives, gains : ndarray of shape (n_worst,)
        Their lasso objectives, and what atoms of their own would take off them.
    """

    statistics: DictionaryStatistics
    objective: float
    usage: Array
    worst: Array
    objectives: Array
    gains: Array

    def merge(self, other: "ChunkSums") -> "ChunkSums":
        """Add the sums of the chunk that follows.

        Parameters
        ----------
        other : ChunkSums
            Of other rows, coded on the same atoms.

        Returns
        -------
        sums : ChunkSums
            Of the rows of both.
        """
        gains = np.concatenate([self.gains, other.gains])
        kept = np.argsort(-gains, kind="stable")[:_KEPT]
        return ChunkSums(
            self.statistics.merge(other.statistics),
            self.objective + other.objective,
            self.usage + other.usage,
            np.concatenate([self.worst, other.worst])[kept],
            np.concatenate([self.objectives, other.objectives])[kept],
            gains[kept],
        )


def sum_chunk(
    X: Array, _: Any, dictionary: Array, alpha: float, positive_code: bool
) -> ChunkSums:
    """Code the rows of a chunk and sum what learning needs of them.

    Parameters
    ----------
    X : ndarray of shape (n_samples, n_features)
        Rows.
    _ : None
        Labels, which there are none of.
    dictionary : ndarray of shape (n_components, n_features)
        Atoms.
    alpha : float
        Weight of the ℓ1 norm.
    positive_code : bool
        Whether codes must not be negative.

    Returns
    -------
    sums : ChunkSums
        Sums.
    """
    codes = lasso_encode(
        X,
        dictionary,
        alpha=alpha,
        positive=positive_code,
        tol=_CODE_TOL,
        sparse_output=True,
        n_jobs=1,
    ).solution
    objectives = _objectives(X, codes, dictionary, alpha)
    norms = np.linalg.norm(X, axis=1)
    level = np.minimum(alpha, norms)
    gain = objectives - (level * norms - level**2 / 2)
    worst = np.argsort(-gain, kind="stable")[:_WORST]
    return ChunkSums(
        DictionaryStatistics.of(codes, X.astype(np.float64)),
        float(objectives.sum(dtype=np.float64)),
        np.bincount(codes.indices, minlength=len(dictionary)),
        X[worst],
        objectives[worst].astype(np.float64),
        gain[worst].astype(np.float64),
    )


def learn_dictionary_blocks(
    pass_over: Callable[..., Iterable[ChunkSums]],
    init: Array,
    *,
    alpha: float,
    positive_code: bool = False,
    positive_dict: bool = False,
    max_iter: int = 100,
    tol: float = 1e-3,
    callback: Callable[[int, float], Any] | None = None,
) -> SolverResult:
    """Learn a dictionary by passes over rows that are never together in memory.

    Each pass codes all rows on the same atoms and sums the statistics of chunks, in
    float64 and in their order; the atoms then descend on the sums.

    Parameters
    ----------
    pass_over : callable
        Called as ``pass_over(sum_chunk, *common)``; gives the sums of all chunks in
        order.
    init : ndarray of shape (n_components, n_features)
        Atoms to start from.
    alpha : float
        Weight of the ℓ1 norm.
    positive_code, positive_dict : bool, default=False
        Whether codes, and atoms, must not be negative.
    max_iter : int, default=100
        Most passes.
    tol : float, default=1e-3
        As in :func:`learn_dictionary_online`.
    callback : callable, default=None
        Called as ``callback(epoch, objective)``; stops the loop if it returns True.

    Returns
    -------
    result : SolverResult
        As of :func:`learn_dictionary_online`.

    Notes
    -----
    Chunks send O(k² + kd) numbers. A pass costs what coding costs, and O(k² d) for the
    atoms.
    """
    D = np.ascontiguousarray(init)
    curve: list[float] = []
    n_replaced, quiet, converged = 0, 0, False
    sums: ChunkSums | None = None
    for epoch in range(max_iter):
        before, sums = D, None
        for part in pass_over(sum_chunk, D, alpha, positive_code):
            sums = part if sums is None else sums.merge(part)
        assert sums is not None
        curve.append(sums.objective / sums.statistics.n_samples)
        fresh = 0
        with serial_blas():
            D = update_dictionary(
                D.astype(np.float64),
                sums.statistics,
                n_passes=_ATOM_PASSES,
                positive=positive_dict,
            ).astype(init.dtype)
            if epoch < 0.9 * max_iter - 1 and n_replaced < 10 * len(D):
                D, _, fresh = _replace_atoms(
                    sums.worst,
                    D,
                    sums.statistics,
                    _Seen(sums.objectives, sums.usage),
                    alpha,
                    positive_code,
                    positive_dict,
                    n_samples=sums.statistics.n_samples,
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
    assert sums is not None
    return SolverResult(
        _in_order(D, sums.statistics, n_replaced, positive_code or positive_dict),
        n_iter=len(curve),
        converged=converged,
        objective=curve,
    )
