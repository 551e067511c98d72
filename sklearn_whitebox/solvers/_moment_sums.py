"""Moments of classes as sums over chunks of rows, in float64 and a fixed order."""

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sklearn_whitebox.solvers._incremental_coding import class_moments

Array = NDArray[Any]


@dataclass(frozen=True)
class MomentSum:
    """Weight, mean and scatter of some rows of a class.

    Parameters
    ----------
    count : float
        Number of rows.
    mean : ndarray of shape (n_features,)
        Their mean; zero where it is not coded.
    rows : ndarray of shape (count, n_features) or None
        Rows themselves while there are no more than features.
    scatter : ndarray of shape (n_features, n_features) or None
        Else, sum of their outer products around the mean.
    """

    count: float
    mean: Array
    rows: Array | None
    scatter: Array | None = None

    @classmethod
    def of(cls, X: Array, *, code_mean: bool) -> "MomentSum":
        """Sum over rows.

        Parameters
        ----------
        X : ndarray of shape (n_samples, n_features)
            Rows.
        code_mean : bool
            Whether the scatter is that around the mean.

        Returns
        -------
        moments : MomentSum
            In float64, whatever the rows.
        """
        rows = X.astype(np.float64)
        mean = rows.mean(axis=0) if code_mean else np.zeros(X.shape[1])
        few = cls(float(len(X)), mean, rows)
        return few if len(X) <= X.shape[1] else few._condensed()

    def _condensed(self) -> "MomentSum":
        if self.rows is None:
            return self
        gaps = self.rows - self.mean
        return replace(self, rows=None, scatter=gaps.T @ gaps)

    def merge(self, other: "MomentSum", *, code_mean: bool) -> "MomentSum":
        """Add the rows that follow.

        Parameters
        ----------
        other : MomentSum
            Of other rows of the class.
        code_mean : bool
            As in :meth:`of`.

        Returns
        -------
        moments : MomentSum
            Of the rows of both.
        """
        total = self.count + other.count
        if self.rows is not None and other.rows is not None:
            rows = np.concatenate([self.rows, other.rows])
            if total <= rows.shape[1]:
                return MomentSum.of(rows, code_mean=code_mean)
        first, second = self._condensed(), other._condensed()
        assert first.scatter is not None
        assert second.scatter is not None
        scatter, mean = first.scatter + second.scatter, self.mean
        if code_mean:
            gap = other.mean - self.mean
            scatter += self.count * other.count / total * np.outer(gap, gap)
            mean = mean + other.count / total * gap
        return MomentSum(total, mean, None, scatter)

    def to_factor(self, *, code_mean: bool) -> tuple[float, Array, Array]:
        """Give what :func:`class_moments` gives for all rows at once.

        Parameters
        ----------
        code_mean : bool
            As in :meth:`of`.

        Returns
        -------
        moments : tuple of (float, ndarray, ndarray)
            Weight, mean, and orthogonal rows whose products sum to the scatter.
        """
        if self.rows is not None:
            return class_moments(self.rows, code_mean=code_mean)
        assert self.scatter is not None
        squares, vectors = np.linalg.eigh(self.scatter)
        kept = squares > 1e-14 * max(squares[-1], 0.0)
        factor = np.sqrt(squares[kept])[:, None] * vectors[:, kept].T
        return self.count, self.mean, np.ascontiguousarray(factor)


def sum_classes(X: Array, y: Array, code_mean: bool) -> dict[Any, MomentSum]:
    """Sum over the rows of each class.

    Parameters
    ----------
    X : ndarray of shape (n_samples, n_features)
        Rows.
    y : ndarray of shape (n_samples,)
        Labels.
    code_mean : bool
        As in :meth:`MomentSum.of`.

    Returns
    -------
    sums : dict
        Moments of the labels that occur.
    """
    return {
        label: MomentSum.of(X[y == label], code_mean=code_mean)
        for label in np.unique(y).tolist()
    }


def merge_classes(
    sums: dict[Any, MomentSum], others: dict[Any, MomentSum], *, code_mean: bool
) -> None:
    """Add the sums of rows that follow, in place.

    Parameters
    ----------
    sums, others : dict
        What :func:`sum_classes` returns; the first is changed.
    code_mean : bool
        As there.
    """
    for label, moments in others.items():
        if label in sums:
            moments = sums[label].merge(moments, code_mean=code_mean)
        sums[label] = moments
