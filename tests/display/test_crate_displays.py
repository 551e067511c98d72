import functools

import numpy as np
import pandas as pd
import pytest
from numpy.testing import assert_allclose
from sklearn.datasets import load_digits, load_iris

from sklearn_whitebox import CRATEClassifier
from sklearn_whitebox.display import (
    AttentionMapDisplay,
    FeatureAttributionDisplay,
    LayerStatisticsDisplay,
)

matplotlib = pytest.importorskip("matplotlib")


@pytest.fixture(autouse=True)
def axes():
    """Draw without a screen, and leave no figure open."""
    import matplotlib.pyplot as plt

    plt.switch_backend("Agg")
    yield plt.figure().add_subplot()
    plt.close("all")


def statistics(n_layers=3, n_heads=2):
    ramp = np.linspace(1, 2, n_layers)
    missing = np.full(n_layers, np.nan)
    return {
        "coding_rate": ramp,
        "coding_rate_std": ramp / 10,
        "coding_rate_half": ramp - 0.1,
        "nonzero_fraction": ramp / 4,
        "dead_tokens": np.zeros(n_layers),
        "lasso_before": missing,
        "lasso_after": missing,
        "attention_entropy": np.ones((n_layers, n_heads)),
        "attention_diagonal": np.ones((n_layers, n_heads)),
        "subspace_coherence": np.ones((n_layers, n_heads, n_heads)),
        "dictionary_coherence": missing,
    }


def tables(rng):
    return rng.random((3, 2, 5))


@pytest.mark.parametrize(
    ("maps", "images"),
    [
        ((2, 3, 5), None),
        ((2, 3, 4, 4), None),
        ((2, 3, 4, 2), (2, 8, 6)),
        ((1, 1, 2, 2), (1, 4, 4, 3)),
        ((1, 1, 2, 2), (1, 4, 4, 2)),
    ],
)
def test_maps_are_drawn_on_given_axes_or_their_own(axes, rng, maps, images):
    images = None if images is None else rng.normal(size=images)
    display = AttentionMapDisplay(rng.random(maps), images=images, title="a title")
    assert display.plot(axes) is display
    assert display.ax_ is axes
    assert display.figure_ is axes.figure
    display.figure_.canvas.draw()
    display.plot().figure_.canvas.draw()
    assert display.figure_ is not axes.figure
    assert display.ax_.get_title() == "a title"


def test_heat_lies_where_the_weight_is():
    maps = np.zeros((1, 1, 2, 2))
    maps[0, 0, 1, 0] = 1
    images = np.zeros((1, 4, 6))
    mosaic = AttentionMapDisplay(maps, images=images).mosaic()
    assert mosaic.shape == (4, 6 + 1 + 6, 3)
    heat = mosaic[:, 7:].sum(2)
    hot = np.zeros((4, 6), dtype=bool)
    hot[2:, :3] = True
    assert heat[hot].min() > heat[~hot].max()
    assert_allclose(mosaic[:, 6], 1)


def test_an_image_of_one_colour_and_a_map_without_weight_can_be_drawn():
    display = AttentionMapDisplay(np.zeros((1, 2, 2, 2)), images=np.ones((1, 4, 4)))
    assert np.isfinite(display.mosaic()).all()


def test_bars_of_a_table_add_up_to_the_mean_weight(rng):
    maps = tables(rng)
    display = AttentionMapDisplay(maps).plot()
    bars = np.array([bar.get_width() for bar in display.ax_.patches]).reshape(2, 5)
    names = [int(label.get_text()) for label in display.ax_.get_yticklabels()]
    assert_allclose(bars.sum(0), maps.mean((0, 1))[names])
    assert list(bars.sum(0)) == sorted(bars.sum(0), reverse=True)


def test_the_heaviest_tokens_are_shown(rng):
    maps = np.ones((1, 1, 9))
    maps[0, 0, 7] = 5
    display = AttentionMapDisplay(maps, token_names=list("abcdefghi"))
    names = display.plot(max_tokens=1).ax_.get_yticklabels()
    assert [name.get_text() for name in names] == ["h"]


@pytest.mark.parametrize(
    ("display", "message"),
    [
        (AttentionMapDisplay(np.ones((2, 3))), "maps of shape"),
        (AttentionMapDisplay(np.ones((2, 0, 3))), "maps of shape"),
        (AttentionMapDisplay(np.ones((1, 1, 3)), token_names=["a"]), "token_names has"),
        (
            AttentionMapDisplay(np.ones((1, 1, 3, 3)), images=np.ones((1, 8, 9))),
            "do not fit",
        ),
        (
            AttentionMapDisplay(np.ones((1, 1, 3, 3)), images=np.ones((2, 9, 9))),
            "do not fit",
        ),
        (LayerStatisticsDisplay({}), "nothing to draw"),
        (LayerStatisticsDisplay(statistics(0)), "nothing to draw"),
        (FeatureAttributionDisplay(np.ones(3)), "attributions of shape"),
        (
            FeatureAttributionDisplay(np.ones((2, 3)), feature_names=["a"]),
            "feature_names has",
        ),
        (
            FeatureAttributionDisplay(np.ones((2, 3)), importances=np.ones((2, 4))),
            "importances of shape",
        ),
    ],
)
def test_what_does_not_fit_is_refused(display, message):
    with pytest.raises(ValueError, match=message):
        display.plot()


def test_statistics_that_the_layers_lack_get_no_panel():
    display = LayerStatisticsDisplay(statistics()).plot()
    labels = [axes.get_ylabel() for axes in display.axes_]
    assert labels == ["coding rate in the subspaces (nats)", "share"]
    display.figure_.canvas.draw()


@pytest.mark.parametrize("n_heads", [1, 3])
def test_every_panel_is_drawn(n_heads):
    found = statistics(n_heads=n_heads) | {"rate_reduction": np.ones(3)}
    found |= {"lasso_before": np.ones(3), "dictionary_coherence": np.ones(3)}
    panels = ["rate", "reduction", "sparsity", "lasso", "attention", "coherence"]
    display = LayerStatisticsDisplay(found).plot(panels=panels)
    assert len(display.axes_) == 6
    assert all(axes.lines for axes in display.axes_)
    display.figure_.canvas.draw()


def test_one_panel_takes_given_axes(axes):
    display = LayerStatisticsDisplay(statistics())
    assert display.plot(axes, panels=["rate"]) is display
    assert display.axes_[0] is axes
    with pytest.raises(ValueError, match="ax has 1 axes for 2 panels"):
        display.plot(axes)
    with pytest.raises(ValueError, match="panels has 'speed'"):
        display.plot(panels=["speed"])


@pytest.mark.parametrize("kind", ["swarm", "bar"])
@pytest.mark.parametrize("importances", [None, (4,), (4, 3)])
def test_attributions_are_drawn(rng, kind, importances):
    values = rng.normal(size=(30, 4))
    values[:, 1] = np.nan
    display = FeatureAttributionDisplay(
        rng.normal(size=(30, 4)),
        values=values,
        importances=None if importances is None else rng.random(importances),
        rank_correlation=0.5,
        feature_names=list("abcd"),
    )
    assert display.plot(kind=kind) is display
    display.figure_.canvas.draw()
    assert len(display.axes_) == (1 if importances is None else 2)


def test_features_are_ordered_by_what_they_contribute():
    attributions = np.array([[0.1, -3.0, 1.0], [-0.1, 3.0, 1.0]])
    importances = np.array([5.0, 1.0, 2.0])
    display = FeatureAttributionDisplay(attributions, importances=importances)
    display.plot(max_features=2)
    assert display.order_.tolist() == [1, 2]
    bars = [bar.get_width() for bar in display.axes_[1].patches]
    assert_allclose(bars, [1.0, 2.0])


def test_attributions_take_given_axes(axes, rng):
    display = FeatureAttributionDisplay(rng.normal(size=(5, 2)))
    assert display.plot(axes).axes_[0] is axes
    with pytest.raises(ValueError, match="kind='pie'"):
        display.plot(kind="pie")
    display.importances = np.ones(2)
    with pytest.raises(ValueError, match="ax has 1 axes"):
        display.plot(axes)


def test_many_samples_of_equal_value_do_not_leave_their_row():
    display = FeatureAttributionDisplay(np.zeros((5000, 2))).plot()
    for place, points in enumerate(display.axes_[0].collections[::2]):
        heights = points.get_offsets()[:, 1]
        assert len(heights) <= 400
        assert np.abs(heights - place).max() <= 0.4 + 1e-9


@functools.cache
def fitted(kind):
    settings = {
        "n_layers": 1,
        "d_token": 8,
        "n_heads": 2,
        "max_iter": 2,
        "n_ensemble": 1,
    }
    settings |= {"early_stopping": False, "random_state": 0}
    if kind == "images":
        X, y = load_digits(n_class=2, return_X_y=True)
        settings |= {"image_shape": (8, 8), "patch_size": 4}
    else:
        X, y = load_iris(return_X_y=True, as_frame=True)
        settings |= {"tokens": kind}
    if kind == "feature":
        taste = np.where(y == 1, "sweet", "sour")
        X = X.assign(taste=pd.Categorical(taste))
    return CRATEClassifier(**settings).fit(X[:80], y[:80]), X[:80], y[:80]


@pytest.mark.parametrize("kind", ["attention", "subspace"])
@pytest.mark.parametrize("rows", ["images", "feature", "dense"])
def test_maps_come_from_an_estimator(rows, kind):
    model, X, _ = fitted(rows)
    display = AttentionMapDisplay.from_estimator(model, X[:3], kind=kind)
    assert display.ax_.get_title() == f"{kind}, last layer"
    display.figure_.canvas.draw()
    names = {label.get_text() for label in display.ax_.get_yticklabels()}
    columns = {"images": "", "dense": "01234567", "feature": fitted("feature")[1]}
    assert names == set(columns[rows])


def test_a_kind_of_map_must_be_known():
    model, X, _ = fitted("dense")
    with pytest.raises(ValueError, match="kind='head' should be one of"):
        AttentionMapDisplay.from_estimator(model, X, kind="head")


def test_statistics_come_from_an_estimator():
    model, X, _ = fitted("dense")
    display = LayerStatisticsDisplay.from_estimator(model, X, max_samples=10)
    assert len(display.axes_) == 4
    display.figure_.canvas.draw()


def test_attributions_come_from_an_estimator_with_their_check():
    model, X, y = fitted("feature")
    display = FeatureAttributionDisplay.from_estimator(
        model, X, y, n_steps=2, n_repeats=1, random_state=0
    )
    assert len(display.axes_) == 2
    assert display.axes_[0].get_xlabel() == "contribution to the log-odds"
    assert "rank correlation" in display.axes_[1].get_title()
    names = [label.get_text() for label in display.axes_[0].get_yticklabels()]
    assert set(names) == set(X)
    # Categories have no order, so no colour.
    assert np.isnan(display.values[:, -1]).all()
    assert np.isfinite(display.values[:, :-1]).all()
    display.figure_.canvas.draw()


def test_attributions_need_no_labels():
    model, X, _ = fitted("dense")
    display = FeatureAttributionDisplay.from_estimator(model, X, n_steps=2, target=1)
    assert len(display.axes_) == 1
