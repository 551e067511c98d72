"""Operators and rates that follow from the second moments of classes."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from sklearn_whitebox.solvers._redunet_layers import DENSE, ReduNetLayer
from sklearn_whitebox.solvers._redunet_moments import ClassMoments

Array = NDArray[Any]

# Shrinkages below this leave an operator what it is, for the digits of its entries.
_NEGLIGIBLE = {np.dtype(np.float32): 1e-6, np.dtype(np.float64): 1e-13}


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
    previous: Array | None = None,
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
    previous : ndarray of shape (n_classes + 1,), default=None
        Ranks in the layer before. An operator that was dense there is not examined
        again: layers keep the rank of a class.

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
    real = np.zeros((), dtype).real.dtype
    weights = torch.from_numpy(frequency_weights / frequency_weights.sum())
    dense, bases, shrinkages = [], [], []
    ranks = np.zeros(moments.n_classes + 1, dtype=np.int64)
    rates = np.zeros(moments.n_classes + 1)
    for index in [0, *(np.flatnonzero(moments.counts > 0) + 1)]:
        factor, moment = _sides(moments, int(index))
        scale = alpha if index == 0 else alpha / shares[index - 1]
        limit = rank if index else ("auto" if rank is not None else None)
        if moment is not None and limit == "auto":
            known = previous is not None and previous[index] == DENSE
            if known or not _is_thin(moment, scale, real):
                limit = None
        inverse = _invert(factor, moment, scale, limit, real)
        rates[index] = float(weights.to(inverse.logdets) @ inverse.logdets) / 2
        if inverse.matrix is not None:
            ranks[index] = DENSE
            dense.append(inverse.matrix)
        else:
            ranks[index] = inverse.basis.shape[2]
            bases.append(inverse.basis)
            shrinkages.append(inverse.shrinkage)
    return Operators(
        alpha=alpha,
        shares=shares,
        ranks=ranks,
        operators=_side_by_side(dense, (*moments.shape, 0), dtype),
        bases=_side_by_side(bases, (*moments.shape, 0), dtype),
        shrinkages=_side_by_side(shrinkages, (moments.shape[0], 0), real),
        rates=rates,
    )


def conditional_rate(
    moments: ClassMoments, *, distortion: float, frequency_weights: Array
) -> float:
    """Compute the mean rate of the classes, without their operators.

    Parameters
    ----------
    moments : ClassMoments
        Second moments; at least one row.
    distortion : float
        Allowed mean squared error per sample, ε².
    frequency_weights : ndarray of shape (n_frequencies,)
        How often each frequency counts.

    Returns
    -------
    rate : float
        In nats per sample and shift.
    """
    weights = torch.from_numpy(frequency_weights / frequency_weights.sum())
    total, rate = float(moments.counts.sum()), 0.0
    for k in np.flatnonzero(moments.counts > 0):
        share = float(moments.counts[k]) / total
        scale = moments.shape[1] / (moments.counts[k] * distortion)
        factor, moment = _sides(moments, int(k) + 1)
        if factor is not None:
            moment = factor @ factor.mH
        assert moment is not None
        logdets = _factorise(moment, scale)[1]
        rate += share * float(weights.to(logdets) @ logdets) / 2
    return rate


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


def _is_thin(moment: Tensor, scale: float, real: Any) -> bool:
    """Tell whether eigenpairs take less room than the matrix."""
    values = scale * torch.linalg.eigvalsh(moment)
    return 2 * _count(values, real) <= moment.shape[-1]


def _count(values: Tensor, real: Any) -> int:
    """Count scaled eigenvalues that are neither negligible nor rounding errors."""
    if not values.numel():
        return 0
    rounding = 8 * np.finfo(np.float64).eps * float(values.max())
    return int((values > max(_NEGLIGIBLE[real], rounding)).sum(1).max())


def _invert(
    factor: Tensor | None,
    moment: Tensor | None,
    scale: float,
    rank: int | str | None,
    real: Any,
) -> _Inverse:
    if factor is not None and rank is None:
        moment, factor = factor.mH @ factor, None
    if factor is not None:
        values, vectors = torch.linalg.eigh(factor @ factor.mH)
        values = values.clamp_min(0)
        lengths = torch.where(values > 0, values, 1).sqrt()
        basis = factor.mH @ (vectors / lengths[:, None])
        return _keep(values, basis, scale, rank, real)
    assert moment is not None
    if rank is not None:
        values, basis = torch.linalg.eigh(moment)
        values = values.clamp_min(0)
        if not isinstance(rank, int) or 2 * rank <= moment.shape[-1]:
            return _keep(values, basis, scale, rank, real)
        return _dense(values, basis, scale)
    lower, logdets = _factorise(moment, scale)
    if lower is None:
        values, basis = torch.linalg.eigh((moment + moment.mH) / 2)
        return _dense(values.clamp_min(0), basis, scale)
    return _Inverse(logdets, torch.cholesky_inverse(lower), moment, moment)


def _factorise(moment: Tensor, scale: float) -> tuple[Tensor | None, Tensor]:
    """Return the Cholesky factor of I + s S, unless it breaks, and log-determinants."""
    identity = torch.eye(moment.shape[-1], dtype=moment.dtype, device=moment.device)
    lower, failed = torch.linalg.cholesky_ex(identity + scale * moment)
    if bool(failed.any()):
        values = torch.linalg.eigvalsh((moment + moment.mH) / 2).clamp_min(0)
        return None, torch.log1p(scale * values).sum(1)
    return lower, 2 * lower.diagonal(dim1=1, dim2=2).real.log().sum(1)


def _keep(
    values: Tensor, basis: Tensor, scale: float, rank: int | str | None, real: Any
) -> _Inverse:
    """Keep the eigenpairs that matter, the same number at every frequency."""
    logdets = torch.log1p(scale * values).sum(1)
    shrinkage = scale * values / (1 + scale * values)
    count = _count(scale * values, real)
    count = min(count, rank) if isinstance(rank, int) else count
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
