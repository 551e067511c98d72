"""Second moments of classes, summed block by block."""

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

Array = NDArray[Any]

# Beyond this condition a second moment in float32 has lost the small eigenvalues.
_FINE = 1e5


class ClassMoments:
    r"""Sums :math:`\sum_i w_i v_i v_i^H` of each class, in float64.

    A class with few rows is kept as its rows, whose Gram matrix is the smaller one.
    Blocks must come in a fixed order for results that are equal to the last bit.

    Parameters
    ----------
    n_classes : int
        Number of classes.
    n_frequencies, n_channels : int
        Shape of one row.
    bound : float
        Bound of the scaled second moments; beyond 1e5 products are formed in float64.
    device : torch.device, default=None
        Where the rows are.
    """

    def __init__(
        self,
        n_classes: int,
        n_frequencies: int,
        n_channels: int,
        *,
        bound: float,
        device: torch.device | None = None,
    ) -> None:
        self.counts = np.zeros(n_classes)
        self.shape = (n_frequencies, n_channels)
        self.fine = bound > _FINE
        self.device = device
        self.rows: list[list[Tensor] | None] = [[] for _ in range(n_classes)]
        self.n_rows = np.zeros(n_classes, dtype=np.int64)
        self.sums: dict[int, Tensor] = {}

    @property
    def n_classes(self) -> int:
        """Number of classes."""
        return len(self.counts)

    def add(self, V: Tensor, labels: Array, weights: Array | None = None) -> None:
        """Add a block of rows.

        Parameters
        ----------
        V : Tensor of shape (n_samples, n_frequencies, n_channels)
            Features.
        labels : ndarray of shape (n_samples,)
            Classes, from 0.
        weights : ndarray of shape (n_samples,), default=None
            How many times each row counts; None means once.
        """
        for k in np.unique(labels):
            chosen = labels == k
            if weights is not None:
                chosen &= weights > 0
            index = np.flatnonzero(chosen)
            if not len(index):
                continue
            rows = (
                V if len(index) == len(V) else V[torch.from_numpy(index).to(V.device)]
            )
            count = float(len(index))
            if weights is not None:
                w = weights[index]
                count = float(w.sum())
                if (w != 1).any():
                    root = torch.from_numpy(np.sqrt(w)).to(rows.device, rows.real.dtype)
                    rows = rows * root[:, None, None]
            self.counts[k] += count
            self._append(int(k), rows)

    def _append(self, k: int, rows: Tensor) -> None:
        self.n_rows[k] += len(rows)
        kept = self.rows[k]
        if kept is not None:
            kept.append(rows)
            if 2 * self.n_rows[k] <= self.shape[1]:
                return
            rows = torch.cat(kept)
            self.rows[k] = None
        moment = _second_moment(rows, fine=self.fine)
        self.sums[k] = moment if k not in self.sums else self.sums[k] + moment

    def copy(self) -> "ClassMoments":
        """Return moments that grow apart from these.

        Returns
        -------
        moments : ClassMoments
            Equal for now.
        """
        n_classes = len(self.counts)
        other = ClassMoments(n_classes, *self.shape, bound=0.0, device=self.device)
        other.fine = self.fine
        other.counts, other.n_rows = self.counts.copy(), self.n_rows.copy()
        other.rows = [None if kept is None else list(kept) for kept in self.rows]
        other.sums = dict(self.sums)
        return other

    def factor(self, k: int) -> Tensor | None:
        """Return the rows of a class that has few, else None.

        Parameters
        ----------
        k : int
            Class.

        Returns
        -------
        factor : Tensor of shape (n_frequencies, n_rows, n_channels) or None
            In float64.
        """
        kept = self.rows[k]
        if kept is None:
            return None
        if not kept:
            dtype = torch.float64
            return torch.zeros(
                (self.shape[0], 0, self.shape[1]), dtype=dtype, device=self.device
            )
        return _double(torch.cat(kept)).transpose(0, 1)

    def moment(self, k: int) -> Tensor:
        """Return the second moment of a class.

        Parameters
        ----------
        k : int
            Class.

        Returns
        -------
        moment : Tensor of shape (n_frequencies, n_channels, n_channels)
            Acting on rows, in float64.
        """
        factor = self.factor(k)
        return self.sums[k] if factor is None else factor.mH @ factor

    def whole(self) -> tuple[Tensor | None, Tensor | None]:
        """Return all rows if they are few, else their second moment.

        Returns
        -------
        factor, moment : Tensor or None
            One of the two.
        """
        few = [rows for kept in self.rows for rows in kept or []]
        if not few:
            return None, _add(list(self.sums.values()))
        rows = torch.cat(few)
        if not self.sums and 2 * len(rows) <= self.shape[1]:
            return _double(rows).transpose(0, 1), None
        moment = _second_moment(rows, fine=self.fine)
        return None, _add([moment, *self.sums.values()])

    def to_array(self) -> Array:
        """Return the second moments of all classes.

        Returns
        -------
        moments : ndarray of shape (n_classes, n_frequencies, n_channels, n_channels)
            Acting on rows, in float64.
        """
        return np.stack([self.moment(k).cpu().numpy() for k in range(self.n_classes)])

    @classmethod
    def from_array(
        cls, moments: Array, counts: Array, device: torch.device | None = None
    ) -> "ClassMoments":
        """Wrap second moments that are known.

        Parameters
        ----------
        moments : ndarray of shape (n_classes, n_frequencies, n_channels, n_channels)
            What :meth:`to_array` returns.
        counts : ndarray of shape (n_classes,)
            Rows of each class.
        device : torch.device, default=None
            Where to compute.

        Returns
        -------
        wrapped : ClassMoments
            Moments to build operators from.
        """
        n_classes, n_frequencies, n_channels, _ = moments.shape
        wrapped = cls(n_classes, n_frequencies, n_channels, bound=np.inf, device=device)
        wrapped.counts = np.array(counts, dtype=np.float64)
        wrapped.n_rows = np.where(counts > 0, np.iinfo(np.int32).max, 0)
        wrapped.rows = [None] * n_classes
        for k in range(n_classes):
            wrapped.sums[k] = torch.from_numpy(np.array(moments[k])).to(device)
        return wrapped


def _add(moments: list[Tensor]) -> Tensor:
    total = moments[0]
    for moment in moments[1:]:
        total = total + moment
    return total


def _second_moment(rows: Tensor, *, fine: bool) -> Tensor:
    rows = (_double(rows) if fine else rows).transpose(0, 1)
    return _double(rows.mH @ rows)


def _double(values: Tensor) -> Tensor:
    return values.to(torch.complex128 if values.is_complex() else torch.float64)
