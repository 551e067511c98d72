import functools

import numpy as np
import pandas as pd
import pytest
from numpy.testing import assert_allclose
from scipy.special import logit
from scipy.stats import spearmanr
from sklearn.datasets import load_digits, load_iris
from sklearn.inspection import permutation_importance

from sklearn_whitebox import CRATEClassifier
from sklearn_whitebox.estimators import _crate_views as views
from sklearn_whitebox.estimators._crate_regressor import CRATERegressor

SMALL = {
    "n_layers": 2,
    "d_token": 16,
    "n_heads": 2,
    "pool": "class",
    "n_ensemble": 1,
    "max_iter": 3,
    "early_stopping": False,
    "random_state": 0,
}
LEVELS = ["good", "bad", "ugly"]


def table(kind):
    if kind == "images":
        X, y = load_digits(n_class=3, return_X_y=True)
        return X[:80], y[:80]
    X, y = load_iris(return_X_y=True)
    rng = np.random.default_rng(0)
    order = rng.permutation(len(X))[:80]
    X, y = X[order], y[order]
    if kind == "mixed":
        frame = pd.DataFrame(X[:, :2], columns=["length", "width"])
        frame.insert(1, "taste", pd.Categorical(np.array(LEVELS)[y]))
        frame.insert(0, "colour", pd.Categorical(rng.choice(["red", "blue"], len(y))))
        frame.loc[3, "length"] = np.nan
        return frame, y
    return X, y


@functools.cache
def fitted(kind="numbers", *, is_regressor=False, **settings):
    X, y = table(kind)
    settings = SMALL | settings
    if kind == "images":
        settings |= {"image_shape": (8, 8), "patch_size": 2}
    if kind == "mixed":
        settings |= {"missing": "token"}
    if is_regressor:
        return CRATERegressor(**settings).fit(X, y + 0.5), X
    return CRATEClassifier(**settings).fit(X, y), X


VARIANTS = [
    {},
    {"tokens": "feature"},
    {"attention": "tssa"},
    {"attention": "tssa", "tokens": "feature", "sparsifier": "odl"},
    {"pool": "mean"},
    {"n_members": 2, "sparsifier": None},
    {"n_ensemble": 2, "sparsifier": "mlp"},
    {"kind": "images"},
    {"kind": "images", "pool": "mean", "attention": "tssa"},
    {"kind": "mixed"},
    {"kind": "mixed", "tokens": "feature", "n_members": 2},
    {"is_regressor": True},
]


def token_shape(settings):
    if settings.get("kind") == "images":
        return (4, 4)
    return (4,) if settings.get("tokens") == "feature" else None


@pytest.mark.parametrize("settings", VARIANTS, ids=str)
def test_shares_of_tokens_have_a_number_for_each_token_and_head(settings):
    model, X = fitted(**settings)
    shape = token_shape(settings) or (model._architecture["n_tokens"],)
    for layer in (0, -1):
        attention = views.read_attention(model, X, layer)
        subspaces = views.read_subspaces(model, X, layer)
        energies = views.read_energies(model, X, layer)
        assert attention.shape == subspaces.shape == (80, 2, *shape)
        assert (attention >= 0).all()
        assert_allclose(subspaces.sum(1), 1, rtol=1e-5)
        assert_allclose(energies / energies.sum(1, keepdims=True), subspaces, rtol=1e-5)
        sums = attention.reshape(80, 2, -1).sum(-1)
        if settings.get("attention") == "tssa":
            assert_allclose(attention.sum(1), 1, rtol=1e-5)
        elif settings.get("pool") == "mean":
            assert_allclose(sums, 1, rtol=1e-5)
        else:
            assert ((sums > 0) & (sums < 1)).all()


@pytest.mark.parametrize("settings", VARIANTS, ids=str)
def test_tokens_of_the_last_layer_are_what_the_head_reads(settings):
    model, X = fitted(**settings)
    tokens = views.read_tokens(model, X)
    has_class = settings.get("pool") != "mean"
    assert tokens.shape[::2] == (80, 16)
    n_tokens = int(np.prod(token_shape(settings) or (model._architecture["n_tokens"],)))
    assert tokens.shape[1] == n_tokens + has_class
    pooled = tokens[:, 0] if has_class else tokens.mean(1)
    weights = {name: np.asarray(w, dtype=float) for name, w in model.weights_.items()}
    scale, shift = weights["norm.weight"], weights["norm.bias"]
    if model.n_networks_ > 1:
        scale, shift = scale[0], shift[0]
    centred = pooled - pooled.mean(1, keepdims=True)
    normed = centred / np.sqrt(centred.var(1, keepdims=True) + 1e-5)
    features = np.asarray(model.transform(X))[:, :16]
    assert_allclose(normed * scale + shift, features, rtol=1e-3, atol=1e-4)
    assert views.read_tokens(model, X, None).shape == tokens.shape
    assert not np.allclose(views.read_tokens(model, X, 0), tokens)


@pytest.mark.parametrize("settings", VARIANTS, ids=str)
@pytest.mark.parametrize("level", ["feature", "token"])
def test_attributions_sum_to_the_distance_from_the_baseline(settings, level):
    model, X = fitted(**settings)
    found = views.attribute_features(model, X, n_steps=4, level=level)
    if level == "feature":
        assert found.shape == X.shape
    start = baseline(settings, X, model)
    assert_allclose(
        found.reshape(80, -1).sum(1),
        score(model, X, X) - score(model, start, X),
        rtol=1e-4,
        atol=1e-4,
    )


def baseline(settings, X, model):
    """Give the row that the default baseline stands for, once for each row."""
    if settings.get("kind") == "mixed":
        row = X.iloc[:1].assign(length=model.centre_[0], width=model.centre_[1])
        for name in ("colour", "taste"):
            row[name] = pd.Categorical(["never seen"])
        return pd.concat([row] * len(X), ignore_index=True)
    return np.tile(model.centre_, (len(X), 1))


def score(model, rows, X):
    """Log-odds, in the rows, of the class predicted for X."""
    if not hasattr(model, "classes_"):
        return np.ravel(model.predict(rows))
    chosen = model.predict_proba(X).argmax(1)
    return logit(model.predict_proba(rows)[np.arange(len(X)), chosen])


def test_the_class_to_attribute_can_be_named():
    model, X = fitted()
    zero, one = (views.attribute_features(model, X, target=c) for c in (0, 1))
    p = model.predict_proba(X)
    start = model.predict_proba(model.centre_[None])[0]
    assert_allclose(zero.sum(1), logit(p[:, 0]) - logit(start[0]), atol=1e-6)
    assert_allclose(one.sum(1), logit(p[:, 1]) - logit(start[1]), atol=1e-6)


def test_the_baseline_itself_gets_nothing_and_any_row_may_be_one():
    model, X = fitted()
    assert_allclose(views.attribute_features(model, X[5:6], baseline=X[5]), 0)
    found = views.attribute_features(model, X[:3], baseline=list(X[5]), target=2)
    p = model.predict_proba(X)[:, 2]
    assert_allclose(found.sum(1), logit(p[:3]) - logit(p[5]), atol=1e-6)


def test_a_row_of_a_data_frame_may_be_the_baseline():
    model, X = fitted("mixed")
    found = views.attribute_features(model, X, baseline=X.iloc[[5]])
    assert_allclose(found[5], 0, atol=1e-12)
    equal = (X["taste"] == X["taste"][5]).to_numpy()
    # A value that is the baseline's contributes nothing, at its place among columns.
    taste = list(X).index("taste")
    assert_allclose(found[equal, taste], 0, atol=1e-9)
    assert (np.abs(found[~equal, taste]) > 1e-6).any()


def test_more_steps_approach_the_integral():
    model, X = fitted()
    exact = views.attribute_features(model, X, n_steps=100)
    errors = [
        np.abs(views.attribute_features(model, X, n_steps=n) - exact).mean()
        for n in (1, 4, 25)
    ]
    assert errors[0] > errors[1] > errors[2]
    assert errors[2] < 0.02 * np.abs(exact).mean()


def test_a_column_without_influence_gets_nothing():
    X, y = table("numbers")
    X = np.column_stack([X, np.ones(len(X))])
    model = CRATEClassifier(**SMALL).fit(X, y)
    assert_allclose(views.attribute_features(model, X)[:, -1], 0, atol=1e-12)


def test_rows_do_not_influence_the_attributions_of_one_another():
    model, X = fitted(n_members=2, sparsifier=None)
    together = views.attribute_features(model, X)
    assert_allclose(views.attribute_features(model, X[7:8]), together[7:8], atol=1e-9)


def test_the_regression_is_attributed_in_units_of_the_target():
    X, y = table("numbers")
    small = CRATERegressor(**SMALL).fit(X, y)
    large = CRATERegressor(**SMALL).fit(X, 1000.0 * y)
    assert_allclose(
        views.attribute_features(large, X),
        1000 * views.attribute_features(small, X),
        rtol=1e-4,
        atol=1e-3,
    )
    with pytest.raises(ValueError, match="target=1 should be the number of an output"):
        views.attribute_features(small, X, target=1)


@pytest.mark.parametrize("settings", [{}, {"tokens": "feature"}], ids=str)
def test_the_check_is_that_of_scikit_learn(settings):
    model, X = fitted(**settings)
    y = table("numbers")[1]
    check = views.check_attributions(model, X, y, n_repeats=2, random_state=0)
    reference = permutation_importance(
        model, X, y, scoring="neg_log_loss", n_repeats=2, random_state=0
    )
    assert_allclose(check.importances, reference.importances, atol=1e-6)
    sizes = np.abs(views.attribute_features(model, X)).mean(0)
    assert_allclose(check.attribution_sizes, sizes)
    expected = spearmanr(sizes, reference.importances_mean).statistic
    assert_allclose(check.rank_correlation, expected)
    names = {"attribution"}
    if settings:
        names |= {"energy", "attention"}
    assert set(check.rank_correlations) == names
    again = views.check_attributions(model, X, y, n_repeats=2, random_state=0)
    assert_allclose(again.importances, check.importances)


def test_the_check_takes_rows_that_lack_a_class_or_regress():
    model, X = fitted()
    y = table("numbers")[1]
    check = views.check_attributions(model, X[y < 2], y[y < 2], n_repeats=1)
    assert np.isfinite(check.importances).all()
    model, X = fitted(is_regressor=True)
    check = views.check_attributions(model, X, y, n_repeats=1, random_state=0)
    assert check.importances.shape == (4, 1)


def test_attention_rolls_out_to_what_the_head_reads():
    model, X = fitted(tokens="feature")
    flow = views.read_attention(model, X, "rollout")
    assert flow.shape == (80, 1, 4)
    assert ((flow > 0) & (flow < 1)).all()
    assert (flow.sum(-1) < 1).all()
    mean, _ = fitted(pool="mean")
    assert_allclose(views.read_attention(mean, X, "rollout").sum(-1), 1, rtol=1e-6)


def test_tokens_of_columns_are_in_their_order():
    model, X = fitted("mixed", tokens="feature", n_members=2)
    maps = views.read_energies(model, X, 0)
    changed = X.copy()
    changed["width"] += 1.0
    moved = np.abs(views.read_energies(model, changed, 0) - maps).max((0, 1))
    assert (moved > 1e-9).tolist() == [name == "width" for name in X]


@pytest.mark.parametrize("settings", VARIANTS, ids=str)
def test_layers_are_measured(settings):
    model, X = fitted(**settings)
    found = views.measure_layers(model, X, max_samples=20)
    assert found["coding_rate"].shape == (2,)
    assert np.isfinite(found["coding_rate"]).all()
    alone = views.measure_layers(model, X[:20], max_samples=None)
    assert_allclose(found["coding_rate"], alone["coding_rate"], rtol=1e-6)


def test_a_model_without_layers_is_measured_and_attributed_but_not_read():
    model, X = fitted(n_layers=0)
    assert views.measure_layers(model, X)["coding_rate"].shape == (0,)
    assert views.attribute_features(model, X).shape == X.shape
    assert views.read_tokens(model, X, None).ndim == 3
    for read in (views.read_attention, views.read_subspaces, views.read_tokens):
        with pytest.raises(ValueError, match="the model has no layers"):
            read(model, X)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda m, X: views.read_attention(m, X, 2), r"layer=2 must be in \[-2, 1\]"),
        (lambda m, X: views.read_tokens(m, X, -3), r"layer=-3 must be in \[-2, 1\]"),
        (lambda m, X: views.read_attention(m, X, "all"), "layer='all'"),
        (lambda m, X: views.attribute_features(m, X, n_steps=0), "n_steps=0"),
        (lambda m, X: views.attribute_features(m, X, level="row"), "level='row'"),
        (lambda m, X: views.attribute_features(m, X, target=7), "target=7 should be"),
        (
            lambda m, X: views.attribute_features(m, X, baseline="mean"),
            "baseline='mean'",
        ),
        (lambda m, X: views.attribute_features(m, X, baseline=X), "baseline of shape"),
        (lambda m, X: views.measure_layers(m, X, max_samples=0), "max_samples=0"),
        (lambda m, X: views.measure_layers(m, X, distortion=0), "distortion=0"),
        (lambda m, X: views.read_attention(m, X[:, :3]), "features"),
    ],
)
def test_bad_requests_are_refused(call, message):
    model, X = fitted()
    with pytest.raises(ValueError, match=message):
        call(model, X)


def test_memberships_cannot_be_rolled_out():
    model, X = fitted(attention="tssa")
    with pytest.raises(ValueError, match="layer='rollout' needs attention"):
        views.read_attention(model, X, "rollout")


@pytest.mark.parametrize("layer", ["rollout", 1.0])
def test_a_layer_is_a_whole_number(layer):
    X = np.random.default_rng(0).standard_normal((20, 3))
    model = CRATEClassifier(d_token=8, max_iter=1, n_ensemble=1)
    model.fit(X, np.arange(20) % 2)
    with pytest.raises(TypeError, match=r"layer=.* should be the number of a layer"):
        model.token_features(X, layer=layer)
