"""Second moments of classes, and the operators and rates that follow from them."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from sklearn_whitebox.solvers._redunet_layers import DENSE, ReduNetLayer

Array = NDArray[Any]

# Beyond this condition a second moment in float32 has lost the small eigenvalues.
_FINE = 1e5
# Shrinkages below this leave an operator what it is.
_NEGLIGIBLE = 1e-13


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
            Classes, from 0; negative ones are left out.
        weights : ndarray of shape (n_samples,), default=None
            How many times each row counts; None means once.
        """
        for k in np.unique(labels):
            chosen = labels == k
            if weights is not None:
                chosen &= weights > 0
            index = np.flatnonzero(chosen)
            if k < 0 or not len(index):
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
        present = np.flatnonzero(self.n_rows)
        if not self.sums and 2 * self.n_rows.sum() <= self.shape[1]:
            factors = [self.factor(int(k)) for k in present]
            known = [f for f in factors if f is not None]
            if known:
                return torch.cat(known, dim=1), None
            return self.factor(0), None
        total = self.moment(int(present[0]))
        for k in present[1:]:
            total = total + self.moment(int(k))
        return None, total

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
            wrapped.sums[k] = torch.from_numpy(moments[k]).to(device)
        return wrapped


@dataclass(frozen=True)
class Operators:
    """Contractions of a layer, and the rates of the features they are of.

    Parameters
    ----------
    alpha : float
        Scale of the whole.
    shares : ndarray of shape (n_classes,)
        Share of the rows in each class.
    ranks : ndarray of shape (n_classes + 1,)
        As in :class:`ReduNetLayer`, and so the three arrays that follow.
    operators : ndarray of shape (n_frequencies, n_channels, n_dense * n_channels)
        Dense contractions.
    bases : ndarray of shape (n_frequencies, n_channels, total_rank)
        Eigenvectors of the others.
    shrinkages : ndarray of shape (n_frequencies, total_rank)
        Their numbers in [0, 1).
    rates : ndarray of shape (n_classes + 1,)
        Coding rates of all features and of each class, in nats.
    """

    alpha: float
    shares: Array
    ranks: Array
    operators: Array
    bases: Array
    shrinkages: Array
    rates: Array

    @property
    def conditional_rate(self) -> float:
        """Mean rate of the classes, weighted by their shares."""
        return float(self.shares @ self.rates[1:])

    @property
    def rate_reduction(self) -> float:
        """Rate of all features less the mean rate of the classes."""
        return float(self.rates[0]) - self.conditional_rate

    def to_layer(
        self, step: float, temperature: float, *, balanced: bool, weights: Array
    ) -> ReduNetLayer:
        """Make a layer.

        Parameters
        ----------
        step : float
            Step size.
        temperature : float
            Factor of the norms in the softmax.
        balanced : bool
            Whether the softmax sees the norms without the scales of the classes.
        weights : ndarray of shape (n_frequencies,)
            How often each frequency counts.

        Returns
        -------
        layer : ReduNetLayer
            The layer.
        """
        return ReduNetLayer(
            alpha=self.alpha,
            shares=self.shares,
            step=step,
            temperature=temperature,
            balanced=balanced,
            ranks=self.ranks,
            operators=self.operators,
            bases=self.bases,
            shrinkages=self.shrinkages,
            frequency_weights=weights,
        )


def make_operators(
    moments: ClassMoments,
    *,
    distortion: float,
    frequency_weights: Array,
    dtype: Any,
    rank: int | str | None = "auto",
) -> Operators:
    """Invert the second moments of all features and of each class.

    Parameters
    ----------
    moments : ClassMoments
        Second moments; at least one row.
    distortion : float
        Allowed mean squared error per sample, ε².
    frequency_weights : ndarray of shape (n_frequencies,)
        How often each frequency counts.
    dtype : dtype
        Of the arrays returned.
    rank : int, "auto" or None, default="auto"
        None keeps dense operators; "auto" keeps eigenpairs where that is exact and
        smaller; a number keeps at most so many eigenpairs of each class.

    Returns
    -------
    operators : Operators
        Operators and rates.

    Notes
    -----
    Costs O(K d³) at each frequency, O(n_k² d) for classes of few rows.
    """
    n_channels = moments.shape[1]
    total = float(moments.counts.sum())
    alpha = n_channels / (total * distortion)
    shares = moments.counts / total
    weights = torch.from_numpy(frequency_weights / frequency_weights.sum())
    dense, bases, shrinkages = [], [], []
    ranks = np.zeros(moments.n_classes + 1, dtype=np.int64)
    rates = np.zeros(moments.n_classes + 1)
    for index in [0, *(np.flatnonzero(moments.counts > 0) + 1)]:
        factor, moment = _sides(moments, int(index))
        scale = alpha if index == 0 else alpha / shares[index - 1]
        limit = rank if index else ("auto" if rank is not None else None)
        inverse = _invert(factor, moment, scale, limit)
        rates[index] = float(weights.to(inverse.logdets) @ inverse.logdets) / 2
        if inverse.matrix is not None:
            ranks[index] = DENSE
            dense.append(inverse.matrix)
        else:
            ranks[index] = inverse.basis.shape[2]
            bases.append(inverse.basis)
            shrinkages.append(inverse.shrinkage)
    real = np.zeros((), dtype).real.dtype
    return Operators(
        alpha=alpha,
        shares=shares,
        ranks=ranks,
        operators=_side_by_side(dense, (*moments.shape, 0), dtype),
        bases=_side_by_side(bases, (*moments.shape, 0), dtype),
        shrinkages=_side_by_side(shrinkages, (moments.shape[0], 0), real),
        rates=rates,
    )


@dataclass(frozen=True)
class _Inverse:
    """Inverse of identity plus scaled moment, as a matrix or by eigenpairs."""

    logdets: Tensor
    matrix: Tensor | None
    basis: Tensor
    shrinkage: Tensor


def _sides(moments: ClassMoments, index: int) -> tuple[Tensor | None, Tensor | None]:
    if index == 0:
        return moments.whole()
    factor = moments.factor(index - 1)
    return factor, None if factor is not None else moments.sums[index - 1]


def _invert(
    factor: Tensor | None, moment: Tensor | None, scale: float, rank: int | str | None
) -> _Inverse:
    if factor is not None and rank is None:
        moment, factor = factor.mH @ factor, None
    if factor is not None:
        values, vectors = torch.linalg.eigh(factor @ factor.mH)
        values = values.clamp_min(0)
        lengths = torch.where(values > 0, values, 1).sqrt()
        basis = factor.mH @ (vectors / lengths[:, None])
        return _keep(values, basis, scale, rank)
    assert moment is not None
    if isinstance(rank, int):
        values, basis = torch.linalg.eigh(moment)
        values = values.clamp_min(0)
        if 2 * rank <= moment.shape[-1]:
            return _keep(values, basis, scale, rank)
        return _dense(values, basis, scale)
    identity = torch.eye(moment.shape[-1], dtype=moment.dtype, device=moment.device)
    lower, failed = torch.linalg.cholesky_ex(identity + scale * moment)
    if bool(failed.any()):
        values, basis = torch.linalg.eigh((moment + moment.mH) / 2)
        return _dense(values.clamp_min(0), basis, scale)
    logdets = 2 * lower.diagonal(dim1=1, dim2=2).real.log().sum(1)
    return _Inverse(logdets, torch.cholesky_inverse(lower), moment, moment)


def _keep(
    values: Tensor, basis: Tensor, scale: float, rank: int | str | None
) -> _Inverse:
    """Keep the eigenpairs that matter, the same number at every frequency."""
    logdets = torch.log1p(scale * values).sum(1)
    shrinkage = scale * values / (1 + scale * values)
    matters = int((shrinkage > _NEGLIGIBLE).sum(1).max()) if values.numel() else 0
    count = min(matters, rank) if isinstance(rank, int) else matters
    # Eigenvalues rise, so the last ones count.
    first = values.shape[1] - count
    return _Inverse(logdets, None, basis[:, :, first:], shrinkage[:, first:])


def _dense(values: Tensor, basis: Tensor, scale: float) -> _Inverse:
    damped = basis / (1 + scale * values)[:, None]
    logdets = torch.log1p(scale * values).sum(1)
    return _Inverse(logdets, damped @ basis.mH, basis, values)


def _side_by_side(parts: list[Tensor], empty: tuple[int, ...], dtype: Any) -> Array:
    if not parts:
        return np.empty(empty, dtype=dtype)
    joined = torch.cat(parts, dim=-1).cpu().numpy()
    return np.ascontiguousarray(joined.astype(dtype))


def _second_moment(rows: Tensor, *, fine: bool) -> Tensor:
    rows = (_double(rows) if fine else rows).transpose(0, 1)
    return _double(rows.mH @ rows)


def _double(values: Tensor) -> Tensor:
    return values.to(torch.complex128 if values.is_complex() else torch.float64)
