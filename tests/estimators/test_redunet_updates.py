"""ReduNetClassifier: partial fits, and input that is strange or too much."""

import numpy as np
import pytest
from sklearn import config_context
from sklearn.base import clone
from sklearn.datasets import load_wine
from sklearn.model_selection import train_test_split

from sklearn_whitebox import ReduNetClassifier


@pytest.fixture(scope="module")
def wine():
    X, y = load_wine(return_X_y=True)
    return train_test_split(X, y, test_size=0.3, stratify=y, random_state=0)


@pytest.fixture
def net():
    return ReduNetClassifier(5, lift="bias", tol=0.0, random_state=0)


def test_first_partial_fit_is_a_fit(wine, net):
    X, X_test, y, _ = wine
    grown = clone(net).partial_fit(X, y, classes=np.unique(y))
    np.testing.assert_array_equal(
        grown.transform(X_test), net.fit(X, y).transform(X_test)
    )


def test_first_layer_after_partial_fits_has_seen_all_samples(wine, net):
    X, _, y, _ = wine
    net.set_params(lift=None, n_layers=1)
    grown = clone(net)
    for rows in np.array_split(np.arange(len(X)), 4):
        grown.partial_fit(X[rows], y[rows], classes=[0, 1, 2])
    net.fit(X, y)
    np.testing.assert_allclose(
        grown.layers_[0]["operators"], net.layers_[0]["operators"], atol=1e-9
    )
    np.testing.assert_allclose(grown.class_count_, np.bincount(y))


def test_partial_fits_classify_like_a_fit(wine, net):
    X, X_test, y, y_test = wine
    grown = clone(net)
    for rows in np.array_split(np.arange(len(X)), 4):
        grown.partial_fit(X[rows], y[rows], classes=[0, 1, 2])
    net.fit(X, y)
    assert grown.score(X_test, y_test) >= net.score(X_test, y_test) - 0.1


def test_classes_may_come_one_after_the_other(wine, net):
    X, X_test, y, y_test = wine
    for k in range(3):
        net.partial_fit(X[y == k], y[y == k], classes=[0, 1, 2])
    assert net.n_layers_ == 5
    assert net.score(X_test, y_test) > 0.8


def test_partial_fit_continues_a_fit(wine, net):
    X, X_test, y, y_test = wine
    net.fit(X[::2], y[::2])
    before = net.class_count_.sum()
    net.partial_fit(X[1::2], y[1::2])
    assert net.class_count_.sum() == len(X) > before
    assert net.score(X_test, y_test) > 0.9


def test_forgetting_follows_a_change(wine):
    rng = np.random.default_rng(0)

    def draw(turned):
        y = rng.integers(0, 2, 200)
        means = np.eye(6)[[2, 3]] if turned else np.eye(6)[[0, 1]]
        return means[y] + 0.1 * rng.standard_normal((200, 6)), y

    scores = {}
    for forget in (None, 0.5):
        net = ReduNetClassifier(5, lift=None, forget=forget)
        for turned in (False,) * 6 + (True,) * 3:
            net.partial_fit(*draw(turned), classes=[0, 1])
        along = np.linalg.norm(net.class_bases_[0][:2, :2])
        scores[forget] = along
        assert net.class_count_.sum() == (200 if forget else 1800) or forget
    assert scores[0.5] < scores[None]


def test_weights_of_partial_fits_are_copies(wine, net):
    X, X_test, y, _ = wine
    weights = np.random.default_rng(0).integers(0, 3, len(X))
    weighted, copied = clone(net), clone(net)
    for part in (slice(0, 60), slice(60, None)):
        w = weights[part]
        weighted.partial_fit(X[part], y[part], classes=[0, 1, 2], sample_weight=w)
        copied.partial_fit(
            np.repeat(X[part], w, axis=0), np.repeat(y[part], w), classes=[0, 1, 2]
        )
    np.testing.assert_allclose(
        weighted.transform(X_test), copied.transform(X_test), atol=1e-8
    )


def test_partial_fit_refuses_what_does_not_fit(wine, net):
    X, _, y, _ = wine
    with pytest.raises(ValueError, match="classes must be passed on the first call"):
        net.partial_fit(X, y)
    with pytest.raises(ValueError, match=r"labels array\(\[2\]\)"):
        net.partial_fit(X, y, classes=[0, 1])
    net.partial_fit(X, y, classes=[0, 1, 2])
    with pytest.raises(ValueError, match="not the same as on the last call"):
        net.partial_fit(X, y, classes=[0, 1, 2, 3])
    with pytest.raises(ValueError, match="labels"):
        net.partial_fit(X, y + 1)
    with pytest.raises(ValueError, match="13 features"):
        net.partial_fit(X[:, :5], y)
    with pytest.raises(ValueError, match="class_weight='balanced'"):
        clone(net).set_params(class_weight="balanced").partial_fit(X, y, [0, 1, 2])


def test_failed_update_leaves_the_old_network(wine, net):
    X, X_test, y, _ = wine
    net.partial_fit(X, y, classes=[0, 1, 2])
    expected = net.predict_proba(X_test)
    broken = X.copy()
    broken[0, 0] = np.nan
    with pytest.raises(ValueError, match="NaN"):
        net.partial_fit(broken, y)
    np.testing.assert_array_equal(net.predict_proba(X_test), expected)


@pytest.mark.parametrize("lift", ["auto", None, "bias", "random_relu"])
@pytest.mark.parametrize(
    "strange", ["single", "zero", "constant", "duplicates", "wide", "huge", "tiny"]
)
def test_strange_samples_give_finite_answers(lift, strange):
    rng = np.random.default_rng(0)
    X, y = rng.standard_normal((20, 6)).astype(np.float32), np.arange(20) % 3
    if strange == "single":
        y = np.r_[np.zeros(18, int), 1, 2]
    elif strange == "zero":
        X[:5] = 0
    elif strange == "constant":
        X[:, 2] = 7
    elif strange == "duplicates":
        X = X[:3][y]
    elif strange == "wide":
        X = rng.standard_normal((8, 300)).astype(np.float32)
        y = np.arange(8)
    elif strange == "huge":
        X *= 1e15
    elif strange == "tiny":
        X *= 1e-15
    net = ReduNetClassifier(5, lift=lift, random_state=0).fit(X, y)
    P = net.predict_proba(X)
    assert np.isfinite(P).all()
    assert np.isfinite(net.transform(X)).all()
    np.testing.assert_allclose(P.sum(axis=1), 1, atol=1e-5)
    if strange == "zero" and lift is None:
        assert not net.transform(X[:5]).any()


@pytest.mark.parametrize("names", [["no", "yes"], [False, True], [2.0, 7.0]])
def test_any_labels_come_back(names):
    X = np.random.default_rng(0).standard_normal((20, 3))
    y = np.array(names)[np.arange(20) % 2]
    predicted = ReduNetClassifier(2).fit(X, y).predict(X)
    assert predicted.dtype == y.dtype
    assert set(predicted) <= set(names)


@pytest.mark.parametrize("distortion", [1e-8, 0.1, 1e4])
@pytest.mark.parametrize("shape", [(40, 5), (40, 60)])
def test_labels_without_meaning_give_modest_probabilities(distortion, shape):
    rng = np.random.default_rng(0)
    X, y = rng.standard_normal(shape).astype(np.float32), rng.integers(0, 3, 40)
    net = ReduNetClassifier(10, distortion=distortion, lift=None).fit(X, y)
    assert (np.diff(net.objective_curve_) > -1e-5).all()
    P = net.predict_proba(X)
    assert P.max(axis=1).mean() < 0.7
    np.testing.assert_array_equal(net.predict(X), net.classes_[P.argmax(axis=1)])


def test_one_class_is_refused():
    X = np.random.default_rng(0).standard_normal((10, 3))
    with pytest.raises(ValueError, match="y has 1 class; the rate reduction"):
        ReduNetClassifier().fit(X, np.zeros(10))
    with pytest.raises(ValueError, match="at least 2 are needed"):
        ReduNetClassifier().partial_fit(X, np.zeros(10), classes=[0])


@pytest.mark.parametrize(
    ("weights", "match"),
    [
        (np.zeros(20), "at least one non-zero|sample_weight is zero"),
        (-np.ones(20), "[Nn]egative"),
        (np.ones(19), "sample_weight.shape"),
        (np.full(20, np.nan), "NaN"),
    ],
)
def test_weights_that_mean_nothing_are_refused(weights, match):
    X = np.random.default_rng(0).standard_normal((20, 3))
    with pytest.raises(ValueError, match=match):
        ReduNetClassifier().fit(X, np.arange(20) % 2, sample_weight=weights)


def test_class_weights_must_be_positive():
    X = np.random.default_rng(0).standard_normal((20, 3))
    with pytest.raises(ValueError, match="must be positive for every class"):
        ReduNetClassifier(class_weight={0: 0}).fit(X, np.arange(20) % 2)


def test_memory_is_stated_beforehand():
    X = np.random.default_rng(0).standard_normal((600, 300))
    net = ReduNetClassifier(1000, lift=None, compress_layers=None)
    with (
        config_context(working_memory=16),
        pytest.raises(ValueError, match=r"1000 layers .* needs .* GiB.*lower n_layers"),
    ):
        net.fit(X, np.arange(600) % 2)


def test_memory_of_training_is_part_of_it():
    X = np.random.default_rng(0).standard_normal((600, 50))
    nets = [
        ReduNetClassifier(30, lift=None, distortion=0.1, finetune=n) for n in (0, 1)
    ]
    with config_context(working_memory=16):
        nets[0].fit(X, np.arange(600) % 10)
        with pytest.raises(ValueError, match=r"needs .* do without finetune"):
            nets[1].fit(X, np.arange(600) % 10)


def test_lifts_must_keep_the_number_of_rows():
    class Halving:
        def get_params(self, deep=False):
            return {}

        def fit(self, X, y=None):
            return self

        def transform(self, X):
            return X[::2]

    with pytest.raises(ValueError, match="must keep their number"):
        ReduNetClassifier(lift=Halving()).fit(np.eye(20)[:, :3], np.arange(20) % 2)
