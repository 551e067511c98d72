"""Which class codes a signal, in whatever way it is shifted, in the fewest nats."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sklearn_whitebox.solvers._redunet_moments import ClassMoments

Array = NDArray[Any]

# Eigenvalues below this share of the largest one are rounding errors.
_ROUNDING = 1e-12


@dataclass(frozen=True)
class ClassSpectrum:
    """Second moments of the features of a class, by their eigenpairs.

    Parameters
    ----------
    count : float
        Rows of the class.
    values : ndarray of shape (n_frequencies, rank)
        Eigenvalues in falling order, float64.
    basis : ndarray of shape (n_frequencies, rank, n_channels)
        Orthonormal rows.
    """

    count: float
    values: Array
    basis: Array

    def coordinates(self, V: Array) -> tuple[Array, Array]:
        """Split the energy of features into that along the basis and the rest.

        Parameters
        ----------
        V : ndarray of shape (n_samples, n_frequencies, n_channels)
            Features.

        Returns
        -------
        along : ndarray of shape (n_frequencies, n_samples, rank)
            Squared coordinates.
        outside : ndarray of shape (n_frequencies, n_samples)
            Squared norm of the residuals.
        """
        rows = np.swapaxes(V, 0, 1)
        inside = rows @ np.swapaxes(self.basis, 1, 2).conj()
        # The difference itself: norms subtracted lose half the digits near zero.
        outside = _power(rows - inside @ self.basis).sum(axis=2)
        return _power(inside), outside


def class_spectra(moments: ClassMoments) -> list[ClassSpectrum]:
    """Decompose the second moments of each class.

    Parameters
    ----------
    moments : ClassMoments
        Sums over the rows of each class.

    Returns
    -------
    spectra : list of ClassSpectrum
        One for each class, of rank zero where it has no rows.
    """
    return [_decompose(moments, k) for k in range(moments.n_classes)]


def _decompose(moments: ClassMoments, k: int) -> ClassSpectrum:
    count = float(moments.counts[k])
    n_frequencies, n_channels = moments.shape
    if not count > 0:
        empty = np.empty((n_frequencies, 0))
        return ClassSpectrum(count, empty, np.empty((n_frequencies, 0, n_channels)))
    factor = moments.factor(k)
    if factor is None:
        values, vectors = np.linalg.eigh(moments.moment(k).cpu().numpy())
        basis = np.swapaxes(vectors, 1, 2).conj()
    else:
        _, singular, basis = np.linalg.svd(factor.cpu().numpy(), full_matrices=False)
        values, basis = singular[:, ::-1] ** 2, basis[:, ::-1]
    values, basis = np.maximum(values[:, ::-1], 0), basis[:, ::-1]
    matters = values > _ROUNDING * values.max(initial=0)
    rank = int(matters.sum(axis=1).max(initial=0))
    return ClassSpectrum(
        count,
        np.ascontiguousarray(values[:, :rank]),
        np.ascontiguousarray(basis[:, :rank]),
    )


class FrequencyCoder:
    r"""Incremental coding lengths of signals, the same for all their circular shifts.

    A class and all shifts of its signals have block-circulant second moments, whose
    log-determinant is the sum over the frequencies t of

    .. math:: \log\det(I + \alpha_k S_k(t)), \qquad \alpha_k = C / (n_k \epsilon^2)

    for C channels. Lengths are in nats for one of the shifts. Plain vectors are signals
    with one frequency.

    Parameters
    ----------
    spectra : list of ClassSpectrum
        Classes.
    distortion : float
        Allowed mean squared error per sample.
    frequency_weights : ndarray of shape (n_frequencies,)
        How often each frequency counts.
    """

    def __init__(
        self,
        spectra: Sequence[ClassSpectrum],
        *,
        distortion: float,
        frequency_weights: Array,
    ) -> None:
        self.spectra = list(spectra)
        self.distortion = distortion
        self.weights = frequency_weights / frequency_weights.sum()
        counts = np.array([s.count for s in self.spectra])
        with np.errstate(divide="ignore"):
            self.log_shares: Array = np.log(counts / counts.sum())

    def scores(self, V: Array) -> Array:
        """Score classes by the nats that each sample costs them.

        Parameters
        ----------
        V : ndarray of shape (n_samples, n_frequencies, n_channels)
            Features.

        Returns
        -------
        scores : ndarray of shape (n_samples, n_classes)
            Negative incremental coding lengths, labels included; -inf for classes
            without rows.
        """
        columns = [self.increments(s, *s.coordinates(V)) for s in self.spectra]
        return self.log_shares - np.stack(columns, axis=1)

    def _scale(self, spectrum: ClassSpectrum, count: Any) -> Any:
        return spectrum.basis.shape[2] / (count * self.distortion)

    def _rate(self, spectrum: ClassSpectrum, scale: float) -> float:
        """Return twice the rate of the class as it is."""
        return float(self.weights @ np.log1p(scale * spectrum.values).sum(axis=1))

    def increments(
        self, spectrum: ClassSpectrum, along: Array, outside: Array
    ) -> Array:
        """Measure by how much each sample, added alone, lengthens a class.

        Parameters
        ----------
        spectrum : ClassSpectrum
            The class.
        along, outside : ndarray
            What its ``coordinates`` returned.

        Returns
        -------
        lengths : ndarray of shape (n_samples,)
            In nats; zero for classes without rows.
        """
        before = spectrum.count
        if not before > 0:
            return np.zeros(outside.shape[1])
        scale = self._scale(spectrum, before + 1)
        damping = 1 / (1 + scale * spectrum.values)
        whitened = outside + np.einsum("fnr,fr->fn", along, damping)
        added = self._rate(spectrum, scale) + self.weights @ np.log1p(scale * whitened)
        length = before * self._rate(spectrum, self._scale(spectrum, before))
        result: Array = ((before + 1) * added - length) / 2
        return result

    def decrements(
        self, spectrum: ClassSpectrum, along: Array, outside: Array, amounts: Array
    ) -> Array:
        """Measure by how much taking out each sample shortens its class.

        Parameters
        ----------
        spectrum : ClassSpectrum
            The class.
        along, outside : ndarray
            What its ``coordinates`` returned.
        amounts : ndarray of shape (n_samples,)
            Weight taken out, at most that of the sample in the class.

        Returns
        -------
        lengths : ndarray of shape (n_samples,)
            In nats.
        """
        length = spectrum.count * self._rate(
            spectrum, self._scale(spectrum, spectrum.count)
        )
        lengths = np.full(outside.shape[1], length / 2)
        left = spectrum.count - amounts
        some = np.flatnonzero(left > 1e-9 * spectrum.count)
        for value in np.unique(left[some]):
            rows = some[left[some] == value]
            scale = self._scale(spectrum, value)
            damping = 1 / (1 + scale * spectrum.values)
            damped = np.einsum("fnr,fr->fn", along[:, rows], damping)
            lost = scale * (spectrum.count - value) * (outside[:, rows] + damped)
            rate = self.weights @ np.log1p(-np.minimum(lost, 1 - 1e-12))
            rate = np.maximum(rate + self._rate(spectrum, scale), 0)
            lengths[rows] -= value * rate / 2
        return lengths


def scores_left_out(
    V: Array,
    labels: Array,
    weights: Array,
    coders: Sequence[FrequencyCoder],
) -> Array:
    """Score classes of the very samples they consist of, as if these were new.

    Parameters
    ----------
    V : ndarray of shape (n_samples, n_frequencies, n_channels)
        Features that are part of the classes.
    labels : ndarray of shape (n_samples,)
        Class of each.
    weights : ndarray of shape (n_samples,)
        How many times each is in its class; at most one of them is left out.
    coders : sequence of FrequencyCoder
        Coders of the same classes, say of several distortions.

    Returns
    -------
    scores : ndarray of shape (n_coders, n_samples, n_classes)
        As from ``scores`` of each coder.
    """
    spectra = coders[0].spectra
    scores = np.empty((len(coders), len(V), len(spectra)))
    for k, spectrum in enumerate(spectra):
        along, outside = spectrum.coordinates(V)
        own = np.flatnonzero(labels == k)
        amounts = np.minimum(weights[own], 1.0)
        parts = along[:, own], outside[:, own]
        for t, coder in enumerate(coders):
            share = coder.log_shares[k]
            scores[t, :, k] = share - coder.increments(spectrum, along, outside)
            if len(own):
                lengths = coder.decrements(spectrum, *parts, amounts)
                scores[t, own, k] = share - lengths
    return scores


def subspace_scores(
    V: Array,
    spectra: Sequence[ClassSpectrum],
    n_components: int,
    frequency_weights: Array,
) -> Array:
    """Score classes by the distance of features to their principal subspaces.

    Parameters
    ----------
    V : ndarray of shape (n_samples, n_frequencies, n_channels)
        Features.
    spectra : list of ClassSpectrum
        Classes.
    n_components : int
        Dimension of the subspaces; for signals that of one shift: as many times the
        number of shifts are chosen among all frequencies, by their eigenvalues.
    frequency_weights : ndarray of shape (n_frequencies,)
        How often each frequency counts.

    Returns
    -------
    scores : ndarray of shape (n_samples, n_classes)
        Negative squared distances; -inf for classes without rows.
    """
    shares = frequency_weights / frequency_weights.sum()
    scores = np.full((len(V), len(spectra)), -np.inf)
    for k, spectrum in enumerate(spectra):
        if not spectrum.count > 0:
            continue
        along, outside = spectrum.coordinates(V)
        left = ~_leading(spectrum.values, n_components, frequency_weights)
        outside = outside + np.einsum("fnr,fr->fn", along, left.astype(np.float64))
        scores[:, k] = -(shares @ outside)
    return scores


def _leading(values: Array, n_components: int, frequency_weights: Array) -> Array:
    """Mark the largest eigenvalues of all frequencies, up to the dimension asked."""
    flat = values.ravel()
    order = np.argsort(-flat, kind="stable")
    copies = np.repeat(frequency_weights, values.shape[1])[order]
    budget = n_components * frequency_weights.sum()
    kept = (np.cumsum(copies) <= budget) & (flat[order] > 0)
    marked = np.zeros(len(flat), bool)
    marked[order[kept]] = True
    return marked.reshape(values.shape)


def _power(values: Array) -> Array:
    power: Array = (
        values.real**2 + values.imag**2 if np.iscomplexobj(values) else values**2
    )
    return power.astype(np.float64, copy=False)
