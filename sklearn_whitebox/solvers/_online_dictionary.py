"""Online dictionary learning: lasso codes, additive statistics, atom-wise descent."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numba import njit
from numpy.typing import NDArray

from sklearn_whitebox._threads import serial_blas
from sklearn_whitebox.solvers._atoms import order_atoms, unit_rows
from sklearn_whitebox.solvers._lasso_encode import lasso_encode
from sklearn_whitebox.solvers._result import SolverResult

# Two atoms closer than this are one.
_DUPLICATE = 0.99
# How fast old statistics fade: a batch seen at time s weighs (s / t) ** _FORGET at t.
_FORGET = 10.0
# Duality gap of the codes that train the atoms.
_CODE_TOL = 1e-3

Array = NDArray[Any]


@dataclass(frozen=True)
class DictionaryStatistics:
    """All that online dictionary learning remembers of the samples it has seen.

    Parameters
    ----------
    gram : ndarray of shape (n_components, n_components)
        Faded sum of :math:`z^T z` over samples.
    cross : ndarray of shape (n_components, n_features)
        Faded sum of :math:`z^T x` over samples.
    n_steps : int
        Batches seen.
    """

    gram: Array
    cross: Array
    n_steps: int

    @classmethod
    def empty(cls, dictionary: Array) -> "DictionaryStatistics":
        """Start without any sample.

        Parameters
        ----------
        dictionary : ndarray of shape (n_components, n_features)
            Atoms, for their shape and dtype.

        Returns
        -------
        statistics : DictionaryStatistics
            Zeros.
        """
        k = len(dictionary)
        return cls(
            np.zeros((k, k), dictionary.dtype), np.zeros_like(dictionary), n_steps=0
        )

    @classmethod
    def from_dict(
        cls, state: dict[str, Any] | None, dictionary: Array
    ) -> "DictionaryStatistics":
        """Undo :meth:`to_dict`.

        Parameters
        ----------
        state : dict or None
            What :meth:`to_dict` returned; None starts without any sample.
        dictionary : ndarray of shape (n_components, n_features)
            Atoms, for their shape and dtype.

        Returns
        -------
        statistics : DictionaryStatistics
            In the dtype of the atoms.
        """
        if state is None:
            return cls.empty(dictionary)
        return cls(
            state["gram"].astype(dictionary.dtype),
            state["cross"].astype(dictionary.dtype),
            state["n_steps"],
        )

    def to_dict(self) -> dict[str, Any]:
        """Give plain arrays and numbers, to be stored with a model.

        Returns
        -------
        state : dict
            With keys ``gram``, ``cross`` and ``n_steps``.
        """
        return {"gram": self.gram, "cross": self.cross, "n_steps": self.n_steps}

    def add(self, codes: Array, X: Array) -> "DictionaryStatistics":
        """Fade what is remembered and add a batch.

        Parameters
        ----------
        codes : ndarray of shape (n_samples, n_components)
            Codes of the batch.
        X : ndarray of shape (n_samples, n_features)
            Samples of the batch.

        Returns
        -------
        statistics : DictionaryStatistics
            A new object; this one stays as it was.
        """
        t = self.n_steps + 1
        kept = (1.0 - 1.0 / t) ** _FORGET
        return DictionaryStatistics(
            kept * self.gram + codes.T @ codes, kept * self.cross + codes.T @ X, t
        )

    def forget(self, atoms: Array) -> "DictionaryStatistics":
        """Drop what is remembered of some atoms.

        Parameters
        ----------
        atoms : ndarray of int
            Their indices.

        Returns
        -------
        statistics : DictionaryStatistics
            A new object; this one stays as it was.
        """
        gram, cross = self.gram.copy(), self.cross.copy()
        gram[atoms] = 0
        gram[:, atoms] = 0
        cross[atoms] = 0
        return DictionaryStatistics(gram, cross, self.n_steps)


@njit(nogil=True, cache=True)
def _descend(dictionary: Array, gram: Array, cross: Array, n_passes: int) -> None:
    k, d = dictionary.shape
    largest = 0.0
    for j in range(k):
        largest = max(largest, gram[j, j])
    target = np.empty(d)
    for _ in range(n_passes):
        for j in range(k):
            curvature = gram[j, j]
            if curvature <= 1e-10 * largest:
                continue
            for f in range(d):
                target[f] = cross[j, f]
            for i in range(k):
                weight = gram[j, i]
                if weight != 0.0:
                    for f in range(d):
                        target[f] -= weight * dictionary[i, f]
            norm = 0.0
            for f in range(d):
                target[f] = dictionary[j, f] + target[f] / curvature
                norm += target[f] * target[f]
            norm = max(1.0, np.sqrt(norm))
            for f in range(d):
                dictionary[j, f] = target[f] / norm


def update_dictionary(
    dictionary: Array, statistics: DictionaryStatistics, *, n_passes: int = 1
) -> Array:
    r"""Improve the atoms for given codes, one atom at a time.

    Minimises :math:`\tfrac12 \operatorname{tr}(D^\top A D) -
    \operatorname{tr}(D^\top B)` over each atom in turn, inside the unit ball, where A
    and B are the statistics. That never raises the squared error of the samples.

    Parameters
    ----------
    dictionary : ndarray of shape (n_components, n_features)
        Atoms before.
    statistics : DictionaryStatistics
        Of the codes and samples.
    n_passes : int, default=1
        Passes over the atoms.

    Returns
    -------
    dictionary : ndarray of shape (n_components, n_features)
        Atoms after, of norm at most 1. Atoms that no code uses stay.

    Notes
    -----
    Costs O(k² d) per pass.

    References
    ----------
    .. [1] Mairal, Bach, Ponce, Sapiro (2010). Online learning for matrix factorization
       and sparse coding. JMLR 11.
    """
    updated = np.array(dictionary, order="C")
    _descend(updated, statistics.gram, statistics.cross, n_passes)
    return updated


def initial_atoms(X: Array, n_components: int, generator: np.random.Generator) -> Array:
    """Pick distinct samples as atoms, and random directions where they run out.

    Parameters
    ----------
    X : ndarray of shape (n_samples, n_features)
        Samples.
    n_components : int
        Number of atoms.
    generator : numpy.random.Generator
        Source of randomness.

    Returns
    -------
    atoms : ndarray of shape (n_components, n_features)
        Unit rows; those taken from samples differ by a cosine below 0.9 as far as
        ten times as many samples as atoms allow.
    """
    candidates = generator.permutation(len(X))[: 10 * n_components]
    rows = unit_rows(X[candidates])
    rows = rows[np.any(rows != 0, axis=1)]
    atoms = np.empty((n_components, X.shape[1]), dtype=X.dtype)
    found = 0
    similar = []
    for index, row in enumerate(rows):
        if found == n_components:
            break
        if found and np.max(np.abs(atoms[:found] @ row)) >= 0.9:
            similar.append(index)
            continue
        atoms[found] = row
        found += 1
    # Blends of a similar sample and of noise keep atoms apart without leaving the data.
    noise = unit_rows(
        generator.standard_normal((n_components - found, X.shape[1])).astype(X.dtype)
    )
    for i, index in enumerate(similar[: n_components - found]):
        noise[i] += rows[index]
    atoms[found:] = unit_rows(noise)
    return atoms


def learn_dictionary_online(
    X: Array,
    init: Array,
    *,
    alpha: float,
    positive_code: bool = False,
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
    positive_code : bool, default=False
        Whether codes must not be negative.
    batch_size : int, default=256
        Samples per batch.
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
    D = unit_rows(np.asarray(init, dtype=X.dtype))
    statistics = DictionaryStatistics.empty(D)
    curve: list[float] = []
    n_replaced = 0
    quiet = 0
    converged = False
    with serial_blas():
        for epoch in range(max_iter):
            before = D
            D, statistics, seen = _epoch(
                X, D, statistics, alpha, positive_code, batch_size, generator, n_jobs
            )
            curve.append(float(np.mean(seen.objectives)))
            fresh = 0
            # The last tenth of the epochs is for settling.
            if epoch < 0.9 * max_iter - 1 and n_replaced < 10 * len(D):
                D, statistics, fresh = _replace_atoms(X, D, statistics, seen, alpha)
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
        _in_order(D, statistics, n_replaced, positive_code),
        n_iter=len(curve),
        converged=converged,
        objective=curve,
    )


@dataclass(frozen=True)
class _Seen:
    """What an epoch noticed: objective of every sample, use of every atom."""

    objectives: Array
    usage: Array


def _epoch(
    X: Array,
    D: Array,
    statistics: DictionaryStatistics,
    alpha: float,
    positive_code: bool,
    batch_size: int,
    generator: np.random.Generator,
    n_jobs: int | None,
) -> tuple[Array, DictionaryStatistics, _Seen]:
    order = generator.permutation(len(X))
    objectives = np.empty(len(X))
    usage = np.zeros(len(D), dtype=np.int64)
    for start in range(0, len(X), batch_size):
        rows = order[start : start + batch_size]
        D, statistics, codes, objectives[rows] = online_step(
            X[rows],
            D,
            statistics,
            alpha=alpha,
            positive_code=positive_code,
            n_jobs=n_jobs,
        )
        usage += np.count_nonzero(codes, axis=0)
    return D, statistics, _Seen(objectives, usage)


def online_step(
    X: Array,
    dictionary: Array,
    statistics: DictionaryStatistics,
    *,
    alpha: float,
    positive_code: bool = False,
    n_jobs: int | None = None,
) -> tuple[Array, DictionaryStatistics, Array, Array]:
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
    positive_code : bool, default=False
        Whether codes must not be negative.
    n_jobs : int, default=None
        Threads, as in joblib.

    Returns
    -------
    dictionary : ndarray of shape (n_components, n_features)
        Atoms after.
    statistics : DictionaryStatistics
        With the batch added.
    codes : ndarray of shape (n_samples, n_components)
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
        n_jobs=n_jobs,
    ).solution
    residual = X - codes @ dictionary
    objectives = 0.5 * np.einsum("ij,ij->i", residual, residual)
    objectives = objectives + alpha * np.abs(codes).sum(axis=1)
    statistics = statistics.add(codes, X)
    return update_dictionary(dictionary, statistics), statistics, codes, objectives


def stream_step(
    X: Array,
    dictionary: Array,
    statistics: DictionaryStatistics,
    *,
    alpha: float,
    positive_code: bool = False,
    n_jobs: int | None = None,
) -> tuple[Array, DictionaryStatistics, float, int]:
    """Learn from one batch of a stream, and replace atoms that went out of use.

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
    positive_code : bool, default=False
        Whether codes must not be negative.
    n_jobs : int, default=None
        Threads, as in joblib.

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
            n_jobs=n_jobs,
        )
        energy = np.diag(statistics.gram)
        # In memory, not in the batch alone: an atom may wait for its samples.
        usage = np.where(energy > 1e-6 * energy.max(initial=0), len(X), 0)
        D, statistics, n_replaced = _replace_atoms(
            X, D, statistics, _Seen(objectives, usage), alpha
        )
    return D, statistics, float(np.mean(objectives)), n_replaced


def _replace_atoms(
    X: Array, D: Array, statistics: DictionaryStatistics, seen: _Seen, alpha: float
) -> tuple[Array, DictionaryStatistics, int]:
    """Put badly represented samples in the place of atoms without a use."""
    n_samples, k = len(X), len(D)
    idle = max(min(2.0, n_samples / (10 * k)), 0.001 * n_samples / k)
    atoms = unit_rows(D)
    cosines = np.abs(atoms @ atoms.T)
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
    alone = np.where(norms > alpha, alpha * norms - alpha**2 / 2, norms**2 / 2)
    gain = seen.objectives - alone
    candidates = np.argsort(-gain, kind="stable")[: 10 * len(useless)]
    D = D.copy()
    replaced: list[int] = []
    for row in candidates:
        if len(replaced) == len(useless) or gain[row] <= 1e-3 * seen.objectives[row]:
            break
        atom = X[row] / norms[row]
        others = np.delete(atoms, useless[len(replaced) :], axis=0)
        if len(others) and np.max(np.abs(others @ atom)) > _DUPLICATE:
            continue
        j = useless[len(replaced)]
        D[j] = atoms[j] = atom
        replaced.append(int(j))
    if not replaced:
        return D, statistics, 0
    return D, statistics.forget(np.array(replaced)), len(replaced)


def _in_order(
    D: Array, statistics: DictionaryStatistics, n_replaced: int, positive_code: bool
) -> dict[str, Any]:
    energy = np.diag(statistics.gram)
    order = np.argsort(-energy, kind="stable")
    components = order_atoms(D, energy, fix_signs=not positive_code)
    signs = np.sign(np.einsum("ij,ij->i", components, D[order]))
    signs = np.where(signs < 0, -1, 1).astype(D.dtype)
    gram = statistics.gram[np.ix_(order, order)] * np.outer(signs, signs)
    cross = statistics.cross[order] * signs[:, None]
    return {
        "components": components,
        "statistics": DictionaryStatistics(gram, cross, statistics.n_steps),
        "n_replaced": n_replaced,
    }
