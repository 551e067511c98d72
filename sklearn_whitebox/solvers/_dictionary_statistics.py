"""What online dictionary learning remembers, and how atoms descend on it."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numba import njit
from numpy.typing import NDArray

# How fast old statistics fade: a batch seen at time s weighs (s / t) ** _FORGET at t.
_FORGET = 10.0

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
