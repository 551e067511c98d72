"""ReduNetClassifier on signals and images: what shifts change, and what not."""

import numpy as np
import pytest
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split
from sklearn.pipeline import make_pipeline

from sklearn_whitebox import PolarTransformer, ReduNetClassifier

LENGTH = 24


def signals(n_samples, kind, seed=0, noise=0.1):
    """Draw two classes of signals at random shifts."""
    rng = np.random.default_rng(seed)
    t = np.arange(LENGTH)
    motif = np.zeros(LENGTH)
    motif[[0, 1, 3, 6]] = [1.0, 1.5, -1.0, 0.5]
    bases = {
        "frequency": [np.sin(2 * np.pi * 2 * t / LENGTH), np.sin(6 * np.pi * t / 24)],
        # A signal and its mirror image have one power spectrum.
        "mirror": [motif, motif[::-1]],
    }[kind]
    labels = np.arange(n_samples) % 2
    shifts = rng.integers(0, LENGTH, n_samples)
    X = np.stack([np.roll(bases[k], s) for k, s in zip(labels, shifts, strict=True)])
    return X + noise * rng.standard_normal(X.shape), labels


@pytest.fixture(scope="module")
def fitted():
    return ReduNetClassifier(
        10, lift="random_relu", input_shape=(1, LENGTH), n_channels=12, random_state=0
    ).fit(*signals(60, "mirror"))


@pytest.mark.parametrize("kind", ["frequency", "mirror"])
def test_random_shifts_do_not_matter_with_a_shape(kind, fitted):
    X, y = signals(60, kind)
    X_test, y_test = signals(300, kind, seed=1)
    net = ReduNetClassifier(10, input_shape=(1, LENGTH), random_state=0).fit(X, y)
    assert net.score(X_test, y_test) > 0.95
    if kind == "mirror":
        assert net.lift_ == "random_relu"
        plain = ReduNetClassifier(10, random_state=0).fit(X, y)
        assert plain.score(X_test, y_test) < net.score(X_test, y_test) - 0.1


def test_every_shift_shifts_the_features_and_keeps_the_class(fitted):
    X, _ = signals(20, "mirror", seed=2)
    Z = fitted.transform(X).reshape(20, 12, LENGTH)
    P = fitted.predict_proba(X)
    for shift in range(LENGTH):
        moved = np.roll(X, shift, axis=1)
        np.testing.assert_allclose(
            fitted.transform(moved).reshape(Z.shape),
            np.roll(Z, shift, axis=2),
            atol=1e-10,
        )
        np.testing.assert_array_equal(fitted.predict(moved), fitted.predict(X))
        np.testing.assert_allclose(fitted.predict_proba(moved), P, atol=1e-8)


@pytest.mark.parametrize("options", [{}, {"n_components": 2}, {"lift": "bias"}])
def test_images_may_be_shifted_along_both_axes(options):
    X, y = load_digits(n_class=4, return_X_y=True)
    X, y = X[:80], y[:80]
    net = ReduNetClassifier(
        3,
        **{"lift": "random_relu", **options},
        input_shape=(1, 8, 8),
        n_channels=6,
        kernel_size=3,
        random_state=0,
    ).fit(X, y)
    assert net.transform(X).shape == (80, 64 * (2 if "lift" in options else 6))
    images = X[:10].reshape(10, 8, 8)
    P = net.predict_proba(X[:10])
    for down, right in [(1, 0), (0, 5), (3, 6)]:
        moved = np.roll(images, (down, right), axis=(1, 2)).reshape(10, -1)
        np.testing.assert_allclose(net.predict_proba(moved), P, atol=1e-8)
        np.testing.assert_array_equal(net.predict(moved), net.predict(X[:10]))


def test_a_plain_network_on_all_shifts_is_the_same():
    rng = np.random.default_rng(0)
    X, y = rng.standard_normal((12, 2, 4)), np.arange(12) % 2
    shifted = np.concatenate([np.roll(X, s, axis=2).reshape(12, -1) for s in range(4)])
    options = {"n_layers": 3, "lift": None, "tol": 0.0}
    net = ReduNetClassifier(**options, input_shape=(2, 4)).fit(X.reshape(12, -1), y)
    plain = ReduNetClassifier(**options).fit(shifted, np.tile(y, 4))
    np.testing.assert_allclose(
        net.transform(shifted), plain.transform(shifted), atol=1e-9
    )
    assert net.rate_reduction_ * 4 == pytest.approx(plain.rate_reduction_)


def test_signals_of_one_sample_are_vectors():
    X, y = np.random.default_rng(0).standard_normal((20, 5)), np.arange(20) % 2
    options = {"n_layers": 3, "lift": None}
    net = ReduNetClassifier(**options, input_shape=(5, 1)).fit(X, y)
    plain = ReduNetClassifier(**options).fit(X, y)
    np.testing.assert_allclose(net.transform(X), plain.transform(X), atol=1e-9)
    np.testing.assert_allclose(net.predict_proba(X), plain.predict_proba(X), atol=1e-9)


@pytest.mark.slow
def test_rotated_digits_keep_their_class_in_polar_coordinates():
    X, y = load_digits(n_class=5, return_X_y=True)
    X, X_test, y, y_test = train_test_split(
        X, y, train_size=150, test_size=150, stratify=y, random_state=0
    )
    shape = (6, 24)
    net = make_pipeline(
        PolarTransformer(*shape[:1], n_angles=24),
        ReduNetClassifier(
            10, input_shape=shape, lift="random_relu", n_channels=20, random_state=0
        ),
    ).fit(X, y)
    plain = ReduNetClassifier(10, random_state=0).fit(X, y)
    images = X_test.reshape(-1, 8, 8)
    scores, plain_scores = [], []
    for turns in range(4):
        turned = np.rot90(images, turns, axes=(1, 2)).reshape(len(images), -1)
        np.testing.assert_array_equal(net.predict(turned), net.predict(X_test))
        scores.append(net.score(turned, y_test))
        plain_scores.append(plain.score(turned, y_test))
    assert np.mean(scores) > 0.8
    assert np.mean(scores) > np.mean(plain_scores) + 0.2


def test_transformers_may_make_the_signals():
    X, y = load_digits(n_class=3, return_X_y=True)
    polar = PolarTransformer(4, n_angles=12)
    net = ReduNetClassifier(3, lift=polar, input_shape=(4, 12)).fit(X[:60], y[:60])
    assert net.transform(X[:2]).shape == (2, 48)
    assert not hasattr(polar, "output_shape_")
    turned = np.rot90(X[:9].reshape(9, 8, 8), axes=(1, 2)).reshape(9, -1)
    np.testing.assert_allclose(
        net.predict_proba(turned), net.predict_proba(X[:9]), atol=1e-8
    )


@pytest.mark.parametrize(
    ("shape", "match"),
    [
        ((1, 25), "25 entries, but rows have 24 features"),
        ((24,), "must be \\(channels, length\\)"),
        ((1, -24), "positive integers"),
        ((2, 3, 2, 2), "must be \\(channels, length\\)"),
    ],
)
def test_shapes_that_do_not_fit_are_refused(shape, match):
    with pytest.raises(ValueError, match=match):
        ReduNetClassifier(input_shape=shape).fit(*signals(20, "mirror"))


@pytest.mark.parametrize("size", [(3, 3), (0,), (2.5,)])
def test_filters_need_a_length_for_each_axis(size):
    net = ReduNetClassifier(
        lift="random_relu", input_shape=(1, LENGTH), kernel_size=size
    )
    with pytest.raises(ValueError, match=r"kernel_size=.* 1 entries"):
        net.fit(*signals(20, "mirror"))
