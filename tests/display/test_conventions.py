"""Every display keeps the conventions of scikit-learn's displays."""

import ast
import copy
import functools
import inspect
import sys
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
from scipy import sparse
from sklearn.datasets import load_iris
from sklearn.decomposition import PCA
from sklearn.exceptions import NotFittedError
from sklearn.linear_model import LinearRegression
from sklearn.naive_bayes import GaussianNB

import sklearn_whitebox.display as displays
from sklearn_whitebox import (
    CRATEClassifier,
    KSubspaces,
    NearestSubspaceClassifier,
    ReduNetClassifier,
    SubspaceClusterer,
)

matplotlib = pytest.importorskip("matplotlib")

NAMES = displays.__all__
SEVERAL_PANELS = {"FeatureAttributionDisplay", "LayerStatisticsDisplay"}
RNG = np.random.default_rng(0)
Z3, LABELS = RNG.normal(size=(12, 3)), np.repeat(["a", "b", "c"], 4)
ANGLES = np.array([[0.0, 30, 60], [30, 0, 90], [60, 90, 0]])
# Arguments of the constructors.
STORED = {
    "AffinityDisplay": ((np.eye(12),), {"labels": LABELS, "y": LABELS}),
    "AtomsDisplay": ((RNG.normal(size=(5, 6)),), {"image_shape": (2, 3)}),
    "AttentionMapDisplay": ((RNG.random((2, 3, 4)),), {"title": "maps"}),
    "ClassSpectraDisplay": (([np.ones(2), np.ones(3)],), {"labels": ["a", "b"]}),
    "EmbeddingDisplay": ((Z3[:, :2], LABELS), {"directions": np.eye(3)[:, :2]}),
    "FeatureAttributionDisplay": ((Z3,), {"feature_names": list("xyz")}),
    "FeatureSphereDisplay": ((Z3, LABELS), {}),
    "LayerStatisticsDisplay": (({"nonzero_fraction": np.array([0.5, 0.2])},), {}),
    "LossCurveDisplay": (({"training": np.array([3.0, 2, 1])},), {"marks": [2]}),
    "PrincipalAngleDisplay": ((ANGLES,), {"labels": list("abc")}),
    "RateCurveDisplay": (({"PCA": [2, 4]}, {"PCA": [0.1, 0.3]}), {}),
    "ScoreTimeDisplay": ((["a", "b"], np.ones(2), np.zeros(2), np.ones(2)), {}),
}
# Arguments of from_predictions.
COMPUTED = {
    "AffinityDisplay": ((sparse.csr_array(np.eye(12)), LABELS, LABELS), {}),
    "AtomsDisplay": STORED["AtomsDisplay"],
    "AttentionMapDisplay": STORED["AttentionMapDisplay"],
    "ClassSpectraDisplay": ((Z3, LABELS), {}),
    "EmbeddingDisplay": ((Z3, LABELS), {}),
    "FeatureAttributionDisplay": ((Z3,), {"values": pd.DataFrame(Z3)}),
    "FeatureSphereDisplay": ((Z3, LABELS), {}),
    "LayerStatisticsDisplay": STORED["LayerStatisticsDisplay"],
    "LossCurveDisplay": STORED["LossCurveDisplay"],
    "PrincipalAngleDisplay": ((Z3, LABELS), {}),
    "RateCurveDisplay": (({"raw": [Z3, Z3[:, :2]]}, LABELS), {}),
    "ScoreTimeDisplay": ((LABELS, {"copy": LABELS}, {"copy": 0.1}), {}),
}


@pytest.fixture(autouse=True)
def small_figures():
    """Draw without a screen, and leave no figure open."""
    import matplotlib.pyplot as plt

    plt.switch_backend("Agg")
    # Few pixels are drawn fast.
    with plt.rc_context({"figure.dpi": 25}):
        yield
    plt.close("all")


def make(name):
    arguments, settings = STORED[name]
    return getattr(displays, name)(*arguments, **settings)


def make_axes(name):
    import matplotlib.pyplot as plt

    projection = "3d" if name == "FeatureSphereDisplay" else None
    return plt.figure(layout="constrained").add_subplot(projection=projection)


@functools.cache
def data():
    X, y = load_iris(return_X_y=True)
    return SimpleNamespace(X=X[::2], y=np.array(["a", "b", "c"])[y[::2]])


def crate():
    settings = {"n_layers": 1, "d_token": 8, "n_heads": 2, "n_ensemble": 1}
    return CRATEClassifier(**settings, max_iter=1, early_stopping=False, random_state=0)


# For each display an unfitted estimator it can draw, and what goes with it.
ESTIMATORS = {
    "AffinityDisplay": (lambda: SubspaceClusterer(3, random_state=0), ()),
    "AtomsDisplay": (lambda: PCA(3), ()),
    "AttentionMapDisplay": (crate, ("X",)),
    "ClassSpectraDisplay": (NearestSubspaceClassifier, ()),
    "EmbeddingDisplay": (lambda: PCA(3), ("X", "y")),
    "FeatureAttributionDisplay": (crate, ("X",)),
    "FeatureSphereDisplay": (lambda: PCA(3), ("X", "y")),
    "LayerStatisticsDisplay": (lambda: ReduNetClassifier(2, random_state=0), ()),
    "LossCurveDisplay": (lambda: KSubspaces(3, subspace_dim=1, random_state=0), ()),
    "PrincipalAngleDisplay": (lambda: NearestSubspaceClassifier(2), ()),
    "RateCurveDisplay": (lambda: PCA(3), ("X", "y")),
    "ScoreTimeDisplay": (GaussianNB, ("X", "y")),
}
SETTINGS = {
    "AtomsDisplay": {"image_shape": (2, 2)},
    "FeatureAttributionDisplay": {"n_steps": 2},
    "FeatureSphereDisplay": {"size": 3.0},
    "LayerStatisticsDisplay": {"panels": ["rate"]},
    "ScoreTimeDisplay": {"cv": 2},
}


@functools.cache
def fitted(name):
    make_estimator, wanted = ESTIMATORS[name]
    model = make_estimator().fit(data().X, data().y)
    return model, [getattr(data(), key) for key in wanted]


def test_every_display_is_tested():
    assert set(STORED) == set(COMPUTED) == set(ESTIMATORS) == set(NAMES)


@pytest.mark.parametrize("name", NAMES)
def test_the_constructor_only_stores(name):
    display = make(name)
    arguments, settings = STORED[name]
    given = inspect.signature(type(display)).bind(*arguments, **settings)
    given.apply_defaults()
    assert set(vars(display)) == set(given.arguments)
    for key, value in given.arguments.items():
        assert getattr(display, key) is value
    assert not hasattr(display, "figure_")


@pytest.mark.parametrize("name", NAMES)
def test_signatures_are_alike(name):
    display = getattr(displays, name)
    plot = inspect.signature(display.plot).parameters
    assert list(plot)[:2] == ["self", "ax"]
    assert plot["ax"].default is None
    for key in list(plot)[2:]:
        assert plot[key].kind is inspect.Parameter.KEYWORD_ONLY
    for method in ("from_estimator", "from_predictions"):
        found = inspect.signature(getattr(display, method)).parameters
        assert found["ax"].default is None
        assert found["ax"].kind is inspect.Parameter.KEYWORD_ONLY
        # Whatever `plot` can be told, both ways to it can be told, too.
        if len(plot) > 2:
            assert any(p.kind is inspect.Parameter.VAR_KEYWORD for p in found.values())
    assert next(iter(inspect.signature(display.from_estimator).parameters)) == (
        "estimator"
    )


@pytest.mark.parametrize("name", NAMES)
def test_plot_returns_itself_and_shows_and_closes_nothing(name, monkeypatch):
    import matplotlib.pyplot as plt

    def refuse(*args, **settings):
        raise AssertionError("a display must not show or close figures")

    for function in ("show", "close", "draw", "pause", "clf", "cla"):
        monkeypatch.setattr(plt, function, refuse)
    display, before = make(name), set(plt.get_fignums())
    assert display.plot() is display
    assert display.figure_ is display.ax_.figure
    assert len(set(plt.get_fignums()) - before) == 1
    assert type(display.figure_.get_layout_engine()).__name__ == (
        "ConstrainedLayoutEngine"
    )
    display.figure_.canvas.draw()
    if name in SEVERAL_PANELS:
        assert display.axes_[0] is display.ax_
    monkeypatch.undo()


@pytest.mark.parametrize("name", NAMES)
def test_plot_draws_twice_and_on_given_axes(name):
    import matplotlib.pyplot as plt

    display = make(name).plot()
    first = display.figure_
    display.plot()
    assert display.figure_ is not first
    ax = make_axes(name)
    before = plt.get_fignums()
    assert display.plot(ax) is display
    assert display.ax_ is ax
    assert display.figure_ is ax.figure
    assert plt.get_fignums() == before
    display.plot(ax=ax)
    display.figure_.canvas.draw()


@pytest.mark.parametrize("name", NAMES)
def test_plot_changes_neither_arrays_nor_the_style(name):
    display, style = make(name), dict(matplotlib.rcParams)
    before = copy.deepcopy(vars(display))
    display.plot()
    for key, value in before.items():
        np.testing.assert_equal(getattr(display, key), value)
    assert dict(matplotlib.rcParams) == style


@pytest.mark.parametrize("name", NAMES)
def test_from_predictions_draws(name):
    arguments, settings = COMPUTED[name]
    ax = make_axes(name)
    display = getattr(displays, name)
    found = display.from_predictions(*arguments, **settings, ax=ax)
    assert type(found) is display
    assert found.ax_ is ax
    found.figure_.canvas.draw()
    again = display.from_predictions(*arguments, **settings)
    assert again.figure_ is not found.figure_


@pytest.mark.parametrize("name", NAMES)
def test_from_estimator_draws(name):
    model, arguments = fitted(name)
    display, ax = getattr(displays, name), make_axes(name)
    found = display.from_estimator(model, *arguments, **SETTINGS.get(name, {}), ax=ax)
    assert type(found) is display
    assert found.ax_ is ax
    found.figure_.canvas.draw()


@pytest.mark.parametrize("name", sorted(set(NAMES) - {"ScoreTimeDisplay"}))
def test_unfitted_estimators_are_refused(name):
    make_estimator, wanted = ESTIMATORS[name]
    arguments = [getattr(data(), key) for key in wanted]
    with pytest.raises(NotFittedError):
        getattr(displays, name).from_estimator(
            make_estimator(), *arguments, **SETTINGS.get(name, {})
        )


@pytest.mark.parametrize("name", sorted(set(NAMES) - {"ScoreTimeDisplay"}))
def test_estimators_without_what_is_drawn_are_told_of_others(name):
    model = LinearRegression().fit(data().X, np.arange(len(data().X)))
    _, wanted = ESTIMATORS[name]
    arguments = [getattr(data(), key) for key in wanted]
    display = getattr(displays, name)
    with pytest.raises(TypeError, match=rf"{name} needs .*LinearRegression does not"):
        display.from_estimator(model, *arguments, **SETTINGS.get(name, {}))
    with pytest.raises(TypeError):
        display.from_estimator(PCA, *arguments, **SETTINGS.get(name, {}))


@pytest.mark.parametrize("name", NAMES)
def test_matplotlib_is_needed_only_to_plot(name, monkeypatch):
    for module in ("matplotlib", "matplotlib.pyplot", "matplotlib.colors"):
        monkeypatch.setitem(sys.modules, module, None)
    display = make(name)
    with pytest.raises(ImportError, match=rf"{name} needs .*sklearn-whitebox\[plot\]"):
        display.plot()


def test_no_display_imports_matplotlib_by_itself():
    for path in Path(displays.__file__).parent.glob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Import):
                assert not any("matplotlib" in alias.name for alias in node.names)
            elif isinstance(node, ast.ImportFrom):
                assert "matplotlib" not in node.module
