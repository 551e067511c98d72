"""Coding lengths and distances of signals whose shifts do not matter."""

import numpy as np
import pytest
import torch

from sklearn_whitebox.functional import coding_rate
from sklearn_whitebox.solvers._frequency_coding import (
    FrequencyCoder,
    class_spectra,
    scores_left_out,
    subspace_scores,
)
from sklearn_whitebox.solvers._incremental_coding import ClassCoder, class_moments
from sklearn_whitebox.solvers._redunet_moments import ClassMoments
from sklearn_whitebox.solvers._redunet_spectra import (
    frequency_weights,
    to_frequencies,
)

DISTORTION = 0.3


def spectra_of(X, labels, shape, weights=None, n_classes=2):
    V = to_frequencies(X, shape)
    moments = ClassMoments(n_classes, *V.shape[1:], bound=np.inf)
    moments.add(torch.from_numpy(V), labels, weights)
    return V, class_spectra(moments)


def coder_of(spectra, shape):
    shares = frequency_weights(shape)
    return FrequencyCoder(spectra, distortion=DISTORTION, frequency_weights=shares)


def all_shifts(X, shape):
    signals = X.reshape(len(X), *shape)
    axes = tuple(range(2, signals.ndim))
    return np.concatenate(
        [np.roll(signals, s, axis=axes).reshape(X.shape) for s in np.ndindex(shape[1:])]
    )


@pytest.fixture(params=[(3, 4), (2, 5), (2, 2, 3), (2, 3, 4)], ids=str)
def signals(request):
    rng = np.random.default_rng(0)
    X = rng.standard_normal((14, np.prod(request.param)))
    return X, np.repeat([0, 1], [9, 5]), request.param


def length(X, count, shape):
    """Length of a class by all shifts of its signals, for one of the shifts."""
    return count * coding_rate(all_shifts(X, shape), distortion=DISTORTION)


def test_increments_are_those_of_all_shifts_together(signals):
    X, labels, shape = signals
    _, spectra = spectra_of(X[1:], labels[1:], shape)
    scores = coder_of(spectra, shape).scores(to_frequencies(X[:1], shape))
    n_shifts = np.prod(shape[1:])
    for k in range(2):
        own = X[1:][labels[1:] == k]
        more = length(np.vstack([own, X[:1]]), len(own) + 1, shape)
        expected = np.log(len(own) / 13) - (more - length(own, len(own), shape)) / (
            n_shifts
        )
        assert scores[0, k] == pytest.approx(expected, rel=1e-9)


def test_vectors_are_coded_as_by_the_coder_of_vectors():
    rng = np.random.default_rng(0)
    X, labels = rng.standard_normal((20, 6)), np.repeat([0, 1], [15, 5])
    V, spectra = spectra_of(X, labels, None)
    scores = coder_of(spectra, None).scores(V)
    for k in range(2):
        own = X[labels == k]
        coder = ClassCoder(X, *class_moments(own), basis_cost=False)
        expected = np.log(len(own) / 20) - coder.increments(DISTORTION)
        np.testing.assert_allclose(scores[:, k], expected, rtol=1e-9)


def test_samples_left_out_are_new_to_their_class(signals):
    X, labels, shape = signals
    V, spectra = spectra_of(X, labels, shape)
    found = scores_left_out(V, labels, np.ones(14), [coder_of(spectra, shape)])[0]
    for i in range(14):
        kept = np.arange(14) != i
        _, without = spectra_of(X[kept], labels[kept], shape)
        new = coder_of(without, shape).scores(V[i : i + 1])[0]
        k = labels[i]
        # Shares of classes are those with the sample.
        prior = np.log(np.mean(labels == k)) - np.log(np.mean(labels[kept] == k))
        assert found[i, k] == pytest.approx(new[k] + prior, rel=1e-6)


def test_weights_are_copies(signals):
    X, labels, shape = signals
    weights = np.random.default_rng(1).integers(1, 4, 14)
    V, weighted = spectra_of(X, labels, shape, weights.astype(float))
    _, copied = spectra_of(
        np.repeat(X, weights, axis=0), np.repeat(labels, weights), shape
    )
    weighted, copied = coder_of(weighted, shape), coder_of(copied, shape)
    np.testing.assert_allclose(weighted.scores(V), copied.scores(V), rtol=1e-9)


def test_shifts_change_no_score(signals):
    X, labels, shape = signals
    _, spectra = spectra_of(X, labels, shape)
    axes = tuple(range(2, len(shape) + 1))
    moved = np.roll(X.reshape(-1, *shape), (1, 2)[: len(axes)], axes).reshape(X.shape)
    V, V_moved = to_frequencies(X, shape), to_frequencies(moved, shape)
    coder, shares = coder_of(spectra, shape), frequency_weights(shape)
    np.testing.assert_allclose(coder.scores(V_moved), coder.scores(V), rtol=1e-9)
    np.testing.assert_allclose(
        subspace_scores(V_moved, spectra, 1, shares),
        subspace_scores(V, spectra, 1, shares),
        rtol=1e-9,
    )


@pytest.mark.parametrize("n_components", [1, 3, 10])
def test_distances_are_those_to_the_principal_subspaces(n_components):
    rng = np.random.default_rng(0)
    X, labels = rng.standard_normal((30, 6)), np.arange(30) % 2
    V, spectra = spectra_of(X, labels, None)
    scores = subspace_scores(V, spectra, n_components, np.ones(1))
    for k in range(2):
        basis = np.linalg.svd(X[labels == k])[2][:n_components]
        residual = X - X @ basis.T @ basis
        np.testing.assert_allclose(-scores[:, k], (residual**2).sum(1), atol=1e-12)


def test_bases_are_orthonormal_and_hold_the_moments(signals):
    X, labels, shape = signals
    V, spectra = spectra_of(X, labels, shape)
    for k, spectrum in enumerate(spectra):
        rows = np.swapaxes(V[labels == k], 0, 1)
        basis = spectrum.basis
        moment = np.swapaxes(basis, 1, 2).conj() * spectrum.values[:, None] @ basis
        expected = np.swapaxes(rows, 1, 2).conj() @ rows
        np.testing.assert_allclose(moment, expected, atol=1e-9)
        gram = basis @ np.swapaxes(basis, 1, 2).conj()
        identity = np.broadcast_to(np.eye(basis.shape[1]), gram.shape)
        np.testing.assert_allclose(gram, identity, atol=1e-9)
        assert (np.diff(spectrum.values, axis=1) <= 1e-12).all()


def test_few_rows_give_the_same_as_their_moments():
    rng = np.random.default_rng(0)
    X, labels = rng.standard_normal((8, 40)), np.arange(8) % 2
    V, thin = spectra_of(X, labels, None)
    wide = ClassMoments.from_array(
        np.stack([X[labels == k].T @ X[labels == k] for k in range(2)])[:, None],
        np.array([4.0, 4.0]),
    )
    assert thin[0].basis.shape == (1, 4, 40)
    np.testing.assert_allclose(
        coder_of(thin, None).scores(V),
        coder_of(class_spectra(wide), None).scores(V),
        rtol=1e-8,
    )


def test_absent_classes_are_never_chosen():
    X = np.random.default_rng(0).standard_normal((10, 4))
    V, spectra = spectra_of(X, np.arange(10) % 2, None, n_classes=3)
    assert (coder_of(spectra, None).scores(V)[:, 2] == -np.inf).all()
    assert (subspace_scores(V, spectra, 2, np.ones(1))[:, 2] == -np.inf).all()
