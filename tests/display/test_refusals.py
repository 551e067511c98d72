"""What cannot be drawn is refused with its name, before anything is drawn."""

import warnings

import numpy as np
import pytest
from scipy import sparse
from sklearn.datasets import load_iris
from sklearn.naive_bayes import GaussianNB

import sklearn_whitebox.display as displays
from sklearn_whitebox import LearnedSparseEncoder, ReduNetClassifier

pytest.importorskip("matplotlib")

RNG = np.random.default_rng(0)
Z, LABELS = RNG.normal(size=(12, 3)), np.repeat(["a", "b", "c"], 4)
BY_CLASS = [
    "ClassSpectraDisplay",
    "EmbeddingDisplay",
    "FeatureSphereDisplay",
    "PrincipalAngleDisplay",
]
FLAT = {
    "AffinityDisplay": (np.eye(12), LABELS),
    "AttentionMapDisplay": (RNG.random((2, 3, 4)),),
    "EmbeddingDisplay": (Z, LABELS),
    "LayerStatisticsDisplay": ({"nonzero_fraction": np.ones(2)},),
    "LossCurveDisplay": ({"training": [2.0, 1.0]},),
    "PrincipalAngleDisplay": (Z, LABELS),
}


@pytest.fixture(autouse=True)
def no_figures():
    """Draw without a screen, and leave no figure open."""
    import matplotlib.pyplot as plt

    plt.switch_backend("Agg")
    yield
    plt.close("all")


def draw(name, *arguments, **settings):
    return getattr(displays, name).from_predictions(*arguments, **settings)


@pytest.mark.parametrize("name", BY_CLASS)
@pytest.mark.parametrize("missing", [np.nan, None, 3])
def test_labels_that_are_missing_or_of_two_kinds_are_refused(name, missing):
    labels = LABELS.astype(object)
    labels[0] = missing
    with pytest.raises(ValueError, match="y holds missing labels, or texts"):
        draw(name, Z, labels)


@pytest.mark.parametrize("name", BY_CLASS)
def test_numbers_of_classes_may_not_be_missing(name):
    with pytest.raises(ValueError, match="y holds missing labels"):
        draw(name, Z, np.where(LABELS == "a", np.nan, 1.0))


@pytest.mark.parametrize("which", ["labels", "y"])
def test_clusters_and_classes_of_an_affinity_may_not_be_missing(which):
    given = {"labels": np.arange(12) // 4, "y": np.arange(12) // 4}
    given[which] = np.where(given[which] == 0, np.nan, given[which])
    with pytest.raises(ValueError, match=f"^{which} holds missing labels"):
        draw("AffinityDisplay", np.eye(12), **given)


@pytest.mark.parametrize("name", BY_CLASS)
def test_complex_features_are_refused(name):
    with pytest.raises(ValueError, match="must be real"):
        draw(name, Z * 1j, LABELS)


@pytest.mark.parametrize("name", FLAT)
def test_flat_displays_refuse_axes_in_space(name):
    import matplotlib.pyplot as plt

    ax = plt.figure().add_subplot(projection="3d")
    with pytest.raises(ValueError, match="ax is three-dimensional"):
        draw(name, *FLAT[name], ax=ax)
    assert not ax.has_data()


@pytest.mark.parametrize("name", FLAT)
@pytest.mark.parametrize("ax", [3, "axes"])
def test_what_is_no_axes_is_refused(name, ax):
    with pytest.raises((TypeError, ValueError), match=r"^ax "):
        draw(name, *FLAT[name], ax=ax)


def test_a_figure_or_several_axes_are_no_axes():
    import matplotlib.pyplot as plt

    figure, axes = plt.subplots(1, 2)
    for ax in (figure, axes):
        with pytest.raises(TypeError, match="ax must be Axes of Matplotlib or None"):
            draw("LossCurveDisplay", {"a": [1.0]}, ax=ax)


@pytest.mark.parametrize("scale", [1e-310, 1e300])
def test_spheres_are_drawn_at_any_scale(scale):
    display = draw("FeatureSphereDisplay", Z, LABELS)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        again = draw("FeatureSphereDisplay", Z * scale, LABELS)
    np.testing.assert_allclose(again.directions_, display.directions_, atol=1e-9)


def test_features_of_a_sphere_may_be_sparse():
    display = draw("FeatureSphereDisplay", sparse.csr_array(Z), LABELS)
    np.testing.assert_array_equal(display.features, Z)


@pytest.mark.parametrize("form", [np.asarray, sparse.csr_array, sparse.coo_array])
@pytest.mark.parametrize("max_samples", [5, None])
def test_layers_of_an_encoder_are_measured_on_rows_of_any_form(form, max_samples):
    X = load_iris().data
    model = LearnedSparseEncoder(np.eye(4), max_iter=1, random_state=0).fit(X)
    settings = {"max_samples": max_samples, "panels": ["sparsity"]}
    drawn = [
        displays.LayerStatisticsDisplay.from_estimator(model, rows, **settings)
        for rows in (X, form(X))
    ]
    first, second = (display.statistics["lasso_objective"] for display in drawn)
    np.testing.assert_array_equal(first, second)


def test_layers_need_a_row_and_as_many_labels():
    X, y = load_iris(return_X_y=True)
    measure = displays.LayerStatisticsDisplay.from_estimator
    model = ReduNetClassifier(1, random_state=0).fit(X, y)
    with pytest.raises(ValueError, match=r"y of shape \(5,\) does not fit the 150"):
        measure(model, X, y[:5], max_samples=20)
    encoder = LearnedSparseEncoder(np.eye(4), max_iter=1, random_state=0).fit(X)
    with pytest.raises(ValueError, match="should have 4 columns and a row"):
        measure(encoder, X[:0])


@pytest.mark.parametrize(
    ("name", "arguments"),
    [
        ("LossCurveDisplay", ([3.0, 2.0],)),
        ("LayerStatisticsDisplay", (np.ones(3),)),
        ("RateCurveDisplay", ([Z], LABELS)),
        ("ScoreTimeDisplay", (LABELS, LABELS, {"copy": 1.0})),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_values_need_names(name, arguments):
    with pytest.raises(TypeError, match="must be a dict of names and values"):
        draw(name, *arguments)


def test_tensors_may_need_gradients():
    torch = pytest.importorskip("torch")
    curve, basis = (torch.ones(3, requires_grad=True), torch.eye(3, requires_grad=True))
    display = draw("LossCurveDisplay", {"loss": curve})
    assert display.curves["loss"].tolist() == [1, 1, 1]
    display = displays.PrincipalAngleDisplay.from_bases([basis[:1], basis[1:]])
    assert display.angles[0, 1] == pytest.approx(90)


def test_rates_need_matrices_and_a_class_for_each_row():
    labels = np.where(LABELS == "a", np.nan, 1.0)
    with pytest.raises(ValueError, match="y holds missing labels"):
        draw("RateCurveDisplay", {"a": [Z]}, labels)
    with pytest.raises(ValueError, match="do not fit"):
        draw("RateCurveDisplay", {"a": Z}, LABELS)


def test_scores_are_single():
    X, y = load_iris(return_X_y=True)
    scoring = ["accuracy", "f1_macro"]
    with pytest.raises(ValueError, match="scoring is a single score"):
        displays.ScoreTimeDisplay.from_estimator(
            GaussianNB(), X, y, cv=2, scoring=scoring
        )


@pytest.mark.parametrize("shape", [None, 4, (4,), (1, 2, 2)])
def test_shapes_of_atoms_are_named(shape):
    with pytest.raises(ValueError, match=r"image_shape=.* should be"):
        draw("AtomsDisplay", np.eye(4), image_shape=shape)


def test_atoms_are_real_and_may_be_sparse():
    with pytest.raises(ValueError, match="must be real"):
        draw("AtomsDisplay", 1j * np.eye(4), image_shape=(2, 2))
    display = draw("AtomsDisplay", sparse.eye_array(4), image_shape=(2, 2))
    np.testing.assert_array_equal(display.components, np.eye(4))


def test_some_points_have_to_be_drawn():
    with pytest.raises(ValueError, match="max_points=0 must be positive"):
        draw("EmbeddingDisplay", Z, LABELS, max_points=0)
