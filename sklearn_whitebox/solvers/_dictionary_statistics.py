"""What online dictionary learning remembers, and how atoms descend on it."""

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numba import njit
from numpy.typing import NDArray
from scipy import sparse

# How fast old statistics fade: after n samples, the m-th one weighs (m / n) ** _FORGET,
# so that about the last tenth counts.
_FORGET = 10.0
# Atoms whose descent directions are one product of matrices.
_ATOMS = 32

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
    ages : ndarray of shape (n_components,)
        Samples seen since each atom was new.
    n_samples : int
        Samples seen.
    n_steps : int
        Batches seen.
    """

    gram: Array
    cross: Array
    ages: Array
    n_samples: int
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
            np.zeros((k, k), dictionary.dtype),
            np.zeros_like(dictionary),
            np.zeros(k, dtype=np.int64),
            n_samples=0,
            n_steps=0,
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
            state["ages"],
            state["n_samples"],
            state["n_steps"],
        )

    def to_dict(self) -> dict[str, Any]:
        """Give plain arrays and numbers, to be stored with a model.

        Returns
        -------
        state : dict
            With keys ``gram``, ``cross``, ``ages``, ``n_samples`` and ``n_steps``.
        """
        return {
            "gram": self.gram,
            "cross": self.cross,
            "ages": self.ages,
            "n_samples": self.n_samples,
            "n_steps": self.n_steps,
        }

    @classmethod
    def of(cls, codes: Array | sparse.csr_array, X: Array) -> "DictionaryStatistics":
        """Sum over samples, all of the same weight.

        Parameters
        ----------
        codes : ndarray or csr_array of shape (n_samples, n_components)
            Codes of the samples.
        X : ndarray of shape (n_samples, n_features)
            Samples.

        Returns
        -------
        statistics : DictionaryStatistics
            In the dtype of the samples, which is float32 at least.

        Notes
        -----
        Costs O(s² + sd) per sample with s non-zeros.
        """
        codes = sparse.csr_array(codes)
        if not codes.has_canonical_format:
            codes = codes.copy()
            codes.sum_duplicates()  # sorts, too
        k, kind = codes.shape[1], np.result_type(X, np.float32)
        X = np.ascontiguousarray(X, dtype=kind)
        gram, cross = np.zeros((k, k), kind), np.zeros((k, X.shape[1]), kind)
        values = codes.data.astype(kind, copy=False)
        _accumulate(codes.indptr, codes.indices, values, X, gram, cross)
        ages = np.full(k, len(X))
        return cls(gram, cross, ages, n_samples=len(X), n_steps=1)

    def merge(self, other: "DictionaryStatistics") -> "DictionaryStatistics":
        """Add the statistics of other samples, at the weights they have.

        Parameters
        ----------
        other : DictionaryStatistics
            Of other samples, coded on the same atoms.

        Returns
        -------
        statistics : DictionaryStatistics
            The sum, a new object.
        """
        return DictionaryStatistics(
            self.gram + other.gram,
            self.cross + other.cross,
            self.ages + other.ages,
            self.n_samples + other.n_samples,
            self.n_steps + other.n_steps,
        )

    def add(self, codes: Array | sparse.csr_array, X: Array) -> "DictionaryStatistics":
        """Fade what is remembered and add a batch.

        Parameters
        ----------
        codes : ndarray or csr_array of shape (n_samples, n_components)
            Codes of the batch.
        X : ndarray of shape (n_samples, n_features)
            Samples of the batch.

        Returns
        -------
        statistics : DictionaryStatistics
            A new object; this one stays as it was.
        """
        batch = DictionaryStatistics.of(codes, X)
        earlier = self.n_samples / max(1, self.n_samples + batch.n_samples)
        kept = earlier**_FORGET
        faded = replace(self, gram=kept * self.gram, cross=kept * self.cross)
        return faded.merge(batch)

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
        ages = self.ages.copy()
        ages[atoms] = 0
        return replace(self, gram=gram, cross=cross, ages=ages)


@njit(nogil=True, cache=True)
def _accumulate(
    offsets: Array, indices: Array, values: Array, X: Array, gram: Array, cross: Array
) -> None:
    """Add :math:`z^T z` and :math:`z^T x` of sparse codes, sample by sample."""
    k = gram.shape[0]
    for i in range(X.shape[0]):
        for p in range(offsets[i], offsets[i + 1]):
            j, weight = indices[p], values[p]
            row = gram[j]
            for q in range(p, offsets[i + 1]):
                row[indices[q]] += weight * values[q]
            target = cross[j]
            for f in range(X.shape[1]):
                target[f] += weight * X[i, f]
    # Indices are sorted, so only the upper half was written.
    for j in range(k):
        for i in range(j):
            gram[j, i] = gram[i, j]


@njit(nogil=True, cache=True)
def _descend(
    atoms: Array, gram: Array, target: Array, smallest: float, positive: bool
) -> None:
    """Minimise over each atom of a block in turn.

    On entry the rows of `target` are minus the gradients; they follow the atoms.
    """
    n, d = atoms.shape
    change = np.empty(d, atoms.dtype)
    for j in range(n):
        curvature = gram[j, j]
        if curvature <= smallest:
            continue
        norm = 0.0
        for f in range(d):
            change[f] = atoms[j, f] + target[j, f] / curvature
            if positive and change[f] < 0.0:
                change[f] = 0.0
            norm += change[f] * change[f]
        norm = max(1.0, np.sqrt(norm))
        for f in range(d):
            change[f] = change[f] / norm - atoms[j, f]
            atoms[j, f] += change[f]
        for i in range(j + 1, n):
            weight = gram[i, j]
            if weight != 0.0:
                for f in range(d):
                    target[i, f] -= weight * change[f]


def update_dictionary(
    dictionary: Array,
    statistics: DictionaryStatistics,
    *,
    n_passes: int = 1,
    positive: bool = False,
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
    positive : bool, default=False
        Whether atoms must not have negative entries.

    Returns
    -------
    dictionary : ndarray of shape (n_components, n_features)
        Atoms after, of norm at most 1. Atoms that no code uses stay.

    Notes
    -----
    Costs O(k² d) per pass, nearly all of it in products of matrices.

    References
    ----------
    .. [1] Mairal, Bach, Ponce, Sapiro (2010). Online learning for matrix factorization
       and sparse coding. JMLR 11.
    """
    updated = np.array(dictionary, order="C")
    gram, cross = statistics.gram, statistics.cross
    smallest = 1e-10 * gram.diagonal().max(initial=0.0)
    for _ in range(n_passes):
        for start in range(0, len(updated), _ATOMS):
            block = slice(start, start + _ATOMS)
            target = cross[block] - gram[block] @ updated
            _descend(updated[block], gram[block, block], target, smallest, positive)
    return updated
