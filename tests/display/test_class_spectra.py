import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from sklearn.datasets import load_iris
from sklearn.exceptions import NotFittedError

from sklearn_whitebox import NearestSubspaceClassifier, RateReductionEmbedding
from sklearn_whitebox.display import (
    ClassSpectraDisplay,
    FeatureSphereDisplay,
    PrincipalAngleDisplay,
)

matplotlib = pytest.importorskip("matplotlib")


@pytest.fixture(autouse=True)
def axes():
    """Draw without a screen, and leave no figure open."""
    import matplotlib.pyplot as plt

    plt.switch_backend("Agg")
    yield plt.figure().add_subplot()
    plt.close("all")


@pytest.fixture(scope="module")
def flowers():
    X, y = load_iris(return_X_y=True)
    X, first = np.unique(X, axis=0, return_index=True)
    y = y[first]
    return X, np.array(["setosa", "versicolor", "virginica"])[y]


@pytest.fixture(scope="module")
def embedding(flowers):
    return RateReductionEmbedding(3, max_iter=5, random_state=0).fit(*flowers)


def test_spectra_are_singular_values_of_the_classes(rng):
    Z, y = rng.normal(size=(30, 4)), np.repeat([0, 1, 2], 10)
    display = ClassSpectraDisplay.from_predictions(Z, y)
    for k, line in enumerate(display.lines_[:3]):
        expected = np.linalg.svd(Z[y == k], compute_uv=False)
        assert_allclose(display.spectra[k], expected)
        assert_allclose(line.get_ydata(), expected)
    assert_allclose(display.lines_[3].get_ydata(), np.linalg.svd(Z, compute_uv=False))
    display.figure_.canvas.draw()


def test_shares_of_energy_end_at_one(rng, axes):
    Z, y = rng.normal(size=(30, 4)), np.repeat([0, 1, 2], 10)
    Z[y == 2] = 0
    display = ClassSpectraDisplay.from_predictions(Z, y, cumulative=True, ax=axes)
    assert display.ax_ is axes
    ends = [line.get_ydata()[-1] for line in display.lines_]
    assert_allclose(ends, [1, 1, 0, 1])
    assert display.plot(n_values=2) is display
    assert {len(line.get_ydata()) for line in display.lines_} == {2}


@pytest.mark.parametrize("n_classes", [3, 11, 20])
def test_many_classes_have_many_colours(rng, n_classes):
    display = ClassSpectraDisplay([np.ones(2)] * n_classes).plot(cmap="plasma")
    colours = {matplotlib.colors.to_hex(line.get_color()) for line in display.lines_}
    assert len(colours) == n_classes
    assert (display.ax_.get_legend() is not None) == (n_classes <= 12)


def test_spectra_come_from_embeddings_and_classifiers(flowers, embedding):
    X, y = flowers
    display = ClassSpectraDisplay.from_estimator(embedding)
    assert display.labels == ["setosa", "versicolor", "virginica"]
    features = embedding.transform(X)
    again = ClassSpectraDisplay.from_predictions(features, y)
    for first, second in zip(display.spectra, again.spectra, strict=True):
        assert_allclose(first, second[: len(first)], rtol=1e-4, atol=1e-4)
    model = NearestSubspaceClassifier().fit(X, y)
    display = ClassSpectraDisplay.from_estimator(model, labels=["a", "b", "c"])
    assert_array_equal(display.spectra[1], model.spectra_[1])
    assert [t.get_text() for t in display.ax_.get_legend().get_texts()] == list("abc")


@pytest.mark.parametrize(
    ("Z", "y", "settings", "message"),
    [
        (np.ones((3, 2)), [0, 1], {}, "do not fit"),
        (np.ones(3), [0, 1, 2], {}, "do not fit"),
        (np.full((2, 2), np.nan), [0, 1], {}, "NaN"),
        (np.ones((2, 2)), [0, 1], {"labels": ["a"]}, "1 names for 2 classes"),
    ],
)
def test_features_without_meaning_are_refused(Z, y, settings, message):
    with pytest.raises(ValueError, match=message):
        ClassSpectraDisplay.from_predictions(Z, y, **settings)


@pytest.mark.parametrize("display", [ClassSpectraDisplay, PrincipalAngleDisplay])
def test_unfitted_estimators_are_refused(display):
    with pytest.raises(NotFittedError):
        display.from_estimator(RateReductionEmbedding())


def test_angles_of_classes_of_an_embedding(embedding):
    display = PrincipalAngleDisplay.from_estimator(embedding, energy=0.5)
    assert display.angles.shape == (3, 3)
    assert display.labels == ["setosa", "versicolor", "virginica"]
    assert display.ax_.get_xlabel() == "class"
    for k, dim in enumerate(display.subspace_dims):
        squares = embedding.class_spectra_[k] ** 2
        share = np.cumsum(squares) / squares.sum()
        assert share[dim - 1] >= 0.5
        assert dim == 1 or share[dim - 2] < 0.5
    everything = PrincipalAngleDisplay.from_estimator(embedding, energy=1.0)
    assert (everything.subspace_dims == 3).all()
    with pytest.raises(ValueError, match=r"energy=0.*above 0"):
        PrincipalAngleDisplay.from_estimator(embedding, energy=0)


def test_angles_of_a_nearest_subspace_classifier(flowers):
    model = NearestSubspaceClassifier(2).fit(*flowers)
    display = PrincipalAngleDisplay.from_estimator(model)
    assert display.subspace_dims.tolist() == [2, 2, 2]
    assert display.ax_.get_ylabel() == "class"


def test_features_are_drawn_on_the_sphere(flowers, embedding):
    X, y = flowers
    display = FeatureSphereDisplay.from_estimator(embedding, X, y, title="trained")
    assert display.directions_.shape == (3, 3)
    assert_allclose(np.linalg.norm(display.directions_, axis=1), 1)
    assert display.ax_.get_title() == "trained"
    points = np.concatenate(
        [np.stack(c._offsets3d).T for c in display.ax_.collections[1:]]
    )
    assert_allclose(np.linalg.norm(points, axis=1), 1, rtol=1e-5)
    display.figure_.canvas.draw()


def test_directions_of_classes_point_to_their_features(rng):
    Z = np.repeat(-np.eye(3), 5, axis=0) * rng.uniform(1, 2, size=(15, 1))
    display = FeatureSphereDisplay.from_predictions(Z, np.repeat([2, 0, 1], 5))
    assert_allclose(display.directions_, -np.eye(3)[[1, 2, 0]], atol=1e-12)
    zeros = FeatureSphereDisplay.from_predictions(np.zeros((2, 3)), [0, 1])
    assert np.isfinite(zeros.directions_).all()


def test_only_three_dimensions_fit_on_the_sphere():
    with pytest.raises(ValueError, match="three columns"):
        FeatureSphereDisplay.from_predictions(np.eye(4), [0, 1, 2, 3])
    with pytest.raises(ValueError, match="three columns"):
        FeatureSphereDisplay.from_predictions(np.eye(3), [0, 1])


def test_features_on_a_sphere_that_are_not_finite_are_refused():
    with pytest.raises(ValueError, match="NaN or infinity"):
        FeatureSphereDisplay.from_predictions([[np.nan, 0, 1]], [0])
