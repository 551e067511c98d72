"""What each display draws, and of which estimators."""

import functools
from types import SimpleNamespace

import numpy as np
import pytest
from scipy import sparse
from sklearn.cluster import KMeans
from sklearn.datasets import load_iris
from sklearn.decomposition import PCA
from sklearn.linear_model import LogisticRegression
from sklearn.naive_bayes import GaussianNB

import sklearn_whitebox.display as displays
from sklearn_whitebox import (
    CodingLengthClusterer,
    CRATEClassifier,
    EnsembleKSubspaces,
    KSubspaces,
    LearnedSparseEncoder,
    RateReductionClusterer,
    RateReductionEmbedding,
    ReduNetClassifier,
    SparseAutoencoder,
    SparseDictionaryLearner,
    SubspaceClusterer,
)
from sklearn_whitebox.datasets import make_union_of_subspaces

matplotlib = pytest.importorskip("matplotlib")

RNG = np.random.default_rng(0)
Z3, LABELS = RNG.normal(size=(12, 3)), np.repeat(["a", "b", "c"], 4)


@pytest.fixture(autouse=True)
def small_figures():
    """Draw without a screen, and leave no figure open."""
    import matplotlib.pyplot as plt

    plt.switch_backend("Agg")
    # Few pixels are drawn fast.
    with plt.rc_context({"figure.dpi": 25}):
        yield
    plt.close("all")


@functools.cache
def data():
    X, y = load_iris(return_X_y=True)
    return SimpleNamespace(X=X[::2], y=np.array(["a", "b", "c"])[y[::2]])


@functools.cache
def subspaces():
    X, y = make_union_of_subspaces(60, 8, subspace_dim=2, random_state=0)
    return SimpleNamespace(X=X, y=y)


def crate():
    settings = {"n_layers": 1, "d_token": 8, "n_heads": 2, "n_ensemble": 1}
    return CRATEClassifier(**settings, max_iter=1, early_stopping=False, random_state=0)


@functools.cache
def attentive():
    return crate().fit(data().X, data().y), [data().X]


@pytest.mark.parametrize(
    "model",
    [
        SubspaceClusterer(3, random_state=0),
        SubspaceClusterer(3, n_anchors=30, random_state=0),
        EnsembleKSubspaces(3, subspace_dim=2, n_estimators=3, random_state=0),
        RateReductionClusterer(3, max_iter=1, random_state=0),
    ],
    ids=["SubspaceClusterer", "anchors", "EnsembleKSubspaces", "RateReduction"],
)
@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
def test_affinities_are_sorted_by_cluster(model):
    X, y = subspaces().X, subspaces().y
    display = displays.AffinityDisplay.from_estimator(model.fit(X), y)
    drawn = np.asarray(display.labels)[display.order_]
    assert (np.diff(drawn) >= 0).all()
    assert 0 <= display.preserving_error < 0.5
    assert "subspace-preserving error" in display.ax_.get_title()
    n_borders = len(np.unique(drawn)) - 1
    assert len(display.ax_.lines) == 2 * n_borders
    n = len(display.labels)
    assert display.im_.get_extent() == [0, n, n, 0]
    without = displays.AffinityDisplay.from_estimator(model)
    assert "error" not in without.ax_.get_title()


@pytest.mark.parametrize(
    "model", [KSubspaces(3, subspace_dim=2), CodingLengthClusterer(3), KMeans(3)]
)
def test_clusterers_without_affinities_are_refused(model):
    with pytest.raises(TypeError, match=r"affinity_matrix_.*SubspaceClusterer"):
        displays.AffinityDisplay.from_estimator(model.fit(subspaces().X))


def test_large_affinities_are_shrunk_and_never_dense(rng):
    n = 100_000
    row = rng.integers(n, size=4 * n)
    affinity = sparse.csr_array((np.ones(4 * n), (row, (row + 10) % n)), shape=(n, n))
    labels = np.arange(n) % 7
    display = displays.AffinityDisplay.from_predictions(affinity, labels, max_cells=50)
    assert display.im_.get_array().shape == (50, 50)
    mean = display.im_.get_array().mean()
    assert mean == pytest.approx(affinity.sum() / n**2, rel=1e-6)


@pytest.mark.parametrize("n_blocks", [1, 3, 7, 10])
@pytest.mark.parametrize("form", [np.asarray, sparse.csr_array, sparse.coo_array])
def test_cells_are_means_over_blocks(rng, n_blocks, form):
    matrix, order = rng.normal(size=(10, 10)), rng.permutation(10)
    labels = np.argsort(order)
    display = displays.AffinityDisplay(form(matrix), labels=labels)
    cells = display.plot(max_cells=n_blocks).im_.get_array()
    ends = np.arange(n_blocks + 1) * 10 // n_blocks
    expected = np.abs(matrix)[np.ix_(order, order)]
    for i, j in np.ndindex(n_blocks, n_blocks):
        block = expected[ends[i] : ends[i + 1], ends[j] : ends[j + 1]]
        assert cells[i, j] == pytest.approx(block.mean())


STEPS = {"max_iter": 2, "random_state": 0}
FITTED_IN_STEPS = [
    crate(),
    CodingLengthClusterer(3),
    EnsembleKSubspaces(3, subspace_dim=1, n_estimators=3, random_state=0),
    LearnedSparseEncoder(n_components=6, n_layers=2, **STEPS),
    RateReductionClusterer(3, **STEPS),
    RateReductionEmbedding(3, early_stopping=True, **STEPS),
    ReduNetClassifier(3, random_state=0),
    SparseAutoencoder(6, **STEPS),
    SparseDictionaryLearner(6, **STEPS),
]


@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
@pytest.mark.parametrize("model", FITTED_IN_STEPS, ids=lambda m: type(m).__name__)
def test_curves_come_from_every_estimator_fitted_in_steps(model):
    model.fit(data().X, data().y)
    display = displays.LossCurveDisplay.from_estimator(model, name="model")
    assert display.ax_.get_ylabel() not in ("", "loss")
    assert all(name.startswith("model") for name in display.curves)
    for values in display.curves.values():
        assert np.isfinite(values).any()
    with pytest.raises(ValueError, match=r"curve='inertia_' is not kept"):
        displays.LossCurveDisplay.from_estimator(model, curve="inertia_")


def test_curves_of_a_network_count_layers_or_passes():
    model = ReduNetClassifier(3, finetune=1, random_state=0).fit(data().X, data().y)
    layers = displays.LossCurveDisplay.from_estimator(model)
    assert layers.ax_.get_xlabel() == "layer"
    np.testing.assert_allclose(layers.lines_[0].get_ydata(), model.objective_curve_)
    assert layers.lines_[0].get_xdata()[0] == 0
    passes = displays.LossCurveDisplay.from_estimator(model, curve="loss_curve_")
    assert passes.ax_.get_xlabel() == "pass"
    assert passes.lines_[0].get_xdata().tolist() == [1]


def test_an_estimator_without_iterations_has_no_curve():
    model = LearnedSparseEncoder(n_components=6, n_layers=2, max_iter=0, random_state=0)
    with pytest.raises(ValueError, match="no finite number"):
        displays.LossCurveDisplay.from_estimator(model.fit(data().X))


def test_layers_of_an_unrolled_encoder_approach_the_exact_objective():
    X = data().X
    settings = {"n_components": 6, "n_layers": 4, "max_iter": 0, "random_state": 0}
    model = LearnedSparseEncoder(**settings).fit(X)
    display = displays.LayerStatisticsDisplay.from_estimator(model, X, max_samples=None)
    objective = display.statistics["lasso_objective"]
    assert len(objective) == 5
    assert (np.diff(objective) <= 1e-9 * objective[0]).all()
    assert (objective >= display.statistics["lasso_optimum"] * (1 - 1e-6)).all()
    assert -model.score(X) == pytest.approx(objective[-1], rel=1e-6)
    codes = model.transform(X)
    assert display.statistics["nonzero_fraction"][-1] == np.mean(codes != 0)


def test_layers_of_a_redunet_are_measured_with_and_without_labels():
    X, y = data().X, data().y
    model = ReduNetClassifier(3, random_state=0).fit(X, y)
    display = displays.LayerStatisticsDisplay.from_estimator(model)
    assert display.statistics.keys() == model.statistics_.keys()
    labels = [axes.get_ylabel() for axes in display.axes_]
    assert labels == ["coding rate (nats per sample)", "accuracy of memberships"]
    curves = {line.get_label(): line for line in display.axes_[0].lines}
    assert curves["all samples"].get_xdata().tolist() == [0, 1, 2, 3]
    assert curves["inside estimated classes"].get_xdata().tolist() == [1, 2, 3]
    for some in (y, None):
        again = displays.LayerStatisticsDisplay.from_estimator(
            model, X, some, max_samples=40
        )
        again.plot(panels=["rate", "reduction"])
        again.figure_.canvas.draw()


def test_energies_of_the_heads_sum_to_one():
    model, _ = attentive()
    display = displays.LayerStatisticsDisplay.from_estimator(model, data().X)
    shares = display.statistics["energy_share"]
    assert shares.shape == (1, 2)
    np.testing.assert_allclose(shares.sum(1), 1, rtol=1e-6)
    assert display.plot(panels=["energy"]).ax_.images
    with pytest.raises(ValueError, match="X=None needs"):
        displays.LayerStatisticsDisplay.from_estimator(model)
    with pytest.raises(ValueError, match="max_samples=0"):
        displays.LayerStatisticsDisplay.from_estimator(model, data().X, max_samples=0)


def test_angles_between_classes_of_signals_are_found_in_the_shifts(rng):
    phase = rng.uniform(0, 2 * np.pi, size=(60, 1))
    y = np.arange(60) % 3
    X = np.sin(2 * np.pi * (y[:, None] + 1) * np.arange(16) / 16 + phase)
    model = ReduNetClassifier(
        2, input_shape=(1, 16), n_channels=4, lift=None, random_state=0
    )
    display = displays.PrincipalAngleDisplay.from_estimator(model.fit(X, y))
    # Tones of different frequencies are orthogonal, whatever their phase.
    assert display.subspace_dims.tolist() == [2, 2, 2]
    np.testing.assert_allclose(display.angles, 90 * (1 - np.eye(3)), atol=1e-3)


def test_angles_come_from_the_features_of_any_transformer():
    X, y = data().X, data().y
    pca = PCA(2).fit(X)
    display = displays.PrincipalAngleDisplay.from_estimator(pca, X, y, energy=0.5)
    again = displays.PrincipalAngleDisplay.from_predictions(
        pca.transform(X), y, energy=0.5
    )
    np.testing.assert_array_equal(display.angles, again.angles)
    assert display.labels == ["a", "b", "c"]
    spectra = displays.ClassSpectraDisplay.from_estimator(pca, X, y)
    assert spectra.labels == ["a", "b", "c"]


@pytest.mark.parametrize("shape", [(40, 6), (5, 30), (8, 1)])
@pytest.mark.parametrize("scale", [1.0, 1e-200, 1e200])
def test_embeddings_lie_in_the_plane_of_most_energy(rng, shape, scale):
    Z = rng.normal(size=shape)
    display = displays.EmbeddingDisplay.from_predictions(scale * Z, Z[:, 0] > 0)
    values = np.linalg.svd(Z, compute_uv=False)
    shares = (values**2 / (values**2).sum())[:2]
    np.testing.assert_allclose(display.energy[: len(shares)], shares, rtol=1e-9)
    lengths = np.linalg.norm(display.points / scale, axis=0)
    np.testing.assert_allclose(lengths[: len(shares)], values[:2], rtol=1e-9)
    assert (np.linalg.norm(display.directions, axis=1) <= 1 + 1e-12).all()


def test_orthogonal_classes_have_orthogonal_lines():
    Z = np.repeat(np.array([[2.0, 0, 0], [0, 1.5, 0]]), 5, axis=0)
    display = displays.EmbeddingDisplay.from_predictions(Z, np.repeat(["a", "b"], 5))
    np.testing.assert_allclose(np.abs(display.directions), np.eye(2), atol=1e-12)


@pytest.mark.parametrize("n_classes", [1, 10, 11, 85])
def test_many_classes_are_told_apart_by_colour_and_marker(rng, n_classes):
    y = np.arange(max(170, n_classes)) % n_classes
    Z = rng.normal(size=(len(y), 4))
    display = displays.EmbeddingDisplay.from_predictions(Z, y)
    display.figure_.canvas.draw()
    named = display.ax_.get_legend() or display.ax_.texts
    texts = getattr(named, "texts", named)
    assert {text.get_text() for text in texts} == {str(k) for k in range(n_classes)}


def test_many_points_are_thinned_and_all_of_them_are_kept(rng):
    Z, y = rng.normal(size=(4000, 2)), np.zeros(4000, dtype=int)
    display = displays.EmbeddingDisplay.from_predictions(Z, y, max_points=100)
    assert len(display.ax_.collections[0].get_offsets()) == 100
    assert len(display.points) == 4000


@pytest.mark.parametrize("Z", [np.zeros((3, 2)), np.ones((3, 1)), np.eye(3)])
def test_features_without_spread_are_drawn(Z):
    display = displays.EmbeddingDisplay.from_predictions(Z, [0, 1, 1])
    assert np.isfinite(display.points).all()
    display.figure_.canvas.draw()


def test_features_may_be_sparse_or_tensors():
    torch = pytest.importorskip("torch")
    first = displays.EmbeddingDisplay.from_predictions(Z3, LABELS)
    y = torch.arange(12) // 4
    for Z in (sparse.csr_array(Z3), torch.tensor(Z3, requires_grad=True)):
        again = displays.EmbeddingDisplay.from_predictions(Z, y)
        np.testing.assert_allclose(again.points, first.points)


def test_classes_are_predicted_where_none_are_given():
    X, y = data().X, data().y
    model = RateReductionEmbedding(3, max_iter=1, random_state=0).fit(X, y)
    clusterer = KSubspaces(3, subspace_dim=1, random_state=0).fit(X)
    display = displays.EmbeddingDisplay.from_estimator(clusterer, X)
    np.testing.assert_array_equal(display.labels, clusterer.predict(X))
    if not hasattr(model, "predict"):
        with pytest.raises(ValueError, match=r"predicts none; give y"):
            displays.EmbeddingDisplay.from_estimator(model, X)


def test_rates_grow_with_the_features_and_stay_below_the_attainable():
    X, y = data().X, data().y
    models = {"PCA": [PCA(k).fit(X) for k in (1, 2, 4)]}
    display = displays.RateCurveDisplay.from_estimator(models, X, y)
    assert display.dimensions["PCA"] == [1, 2, 4]
    dims, largest = display.attainable
    assert dims == [1, 2, 4]
    assert (np.asarray(display.rates["PCA"]) <= np.asarray(largest) + 1e-12).all()
    with pytest.raises(ValueError, match="features is empty"):
        displays.RateCurveDisplay.from_predictions({}, y)


def test_score_and_time_come_from_folds_or_predictions():
    X, y = data().X, data().y
    models = {"bayes": GaussianNB(), "logistic": LogisticRegression(max_iter=1000)}
    display = displays.ScoreTimeDisplay.from_estimator(
        models, X, y, cv=2, scoring="balanced_accuracy", highlighted=["bayes"]
    )
    assert list(display.names) == ["bayes", "logistic"]
    assert display.ax_.get_ylabel() == "balanced accuracy"
    assert (display.times > 0).all()
    found = displays.ScoreTimeDisplay.from_predictions(
        y, {"itself": y}, {"itself": 1.0}
    )
    assert found.scores.tolist() == [1.0]
    with pytest.raises(ValueError, match="times lacks itself"):
        displays.ScoreTimeDisplay.from_predictions(y, {"itself": y}, {})
    with pytest.raises(ValueError, match="no method"):
        displays.ScoreTimeDisplay.from_cv_results({})


def test_rollout_is_one_map_of_all_heads():
    model, (X,) = attentive()
    display = displays.AttentionMapDisplay.from_estimator(model, X, layer="rollout")
    assert display.maps.shape[1] == 1
    assert display.ax_.get_title() == "attention, all layers rolled out"
    assert [t.get_text() for t in display.ax_.get_legend().texts] == ["all heads"]
    with pytest.raises(ValueError, match="layer='rollout' is for kind='attention'"):
        displays.AttentionMapDisplay.from_estimator(
            model, X, layer="rollout", kind="subspace"
        )


def test_only_the_first_images_are_drawn(rng):
    display = displays.AttentionMapDisplay(
        rng.random((30, 2, 2, 2)), images=rng.random((30, 4, 4))
    ).plot(max_samples=3)
    assert display.ax_.images[0].get_array().shape[0] == 3 * 4 + 2


def test_atoms_may_have_colours(rng):
    atoms = rng.normal(size=(5, 12))
    display = displays.AtomsDisplay(atoms, image_shape=(2, 2, 3))
    assert display.mosaic().shape == (7, 10, 3)
    shown = display.plot().ax_.images[0].get_array()
    assert shown.min() >= 0
    assert shown.max() <= 1
    with pytest.raises(ValueError, match="image_shape="):
        displays.AtomsDisplay(atoms, image_shape=(3, 2, 2)).plot()
    with pytest.raises(ValueError, match="at least one"):
        displays.AtomsDisplay(np.empty((0, 4)), image_shape=(2, 2)).plot()


def test_a_sphere_needs_three_dimensional_axes():
    import matplotlib.pyplot as plt

    display = displays.FeatureSphereDisplay(Z3, LABELS)
    with pytest.raises(ValueError, match="projection"):
        display.plot(plt.figure().add_subplot())
