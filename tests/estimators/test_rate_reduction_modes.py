import numpy as np
import pytest
import torch
from sklearn.datasets import load_digits, load_wine
from sklearn.model_selection import train_test_split
from sklearn.neighbors import KNeighborsClassifier

from sklearn_whitebox import RateReductionEmbedding
from sklearn_whitebox.functional import max_feature_penalty


@pytest.fixture(scope="module")
def wine():
    X, y = load_wine(return_X_y=True)
    return train_test_split(X, y, test_size=0.4, stratify=y, random_state=0)


def with_missing(y, rng, n_kept):
    marked = np.full(len(y), -1)
    for k in np.unique(y):
        kept = rng.permutation(np.flatnonzero(y == k))[:n_kept]
        marked[kept] = k
    return marked


def test_rows_without_labels_help_where_labels_are_few(rng):
    X, y = load_digits(return_X_y=True)
    X, X_test, y, y_test = train_test_split(X, y, stratify=y, random_state=0)
    marked = with_missing(y, rng, 10)
    few = marked >= 0
    scores = {}
    for name, rows in (("supervised", few), ("semi_supervised", slice(None))):
        embedding = RateReductionEmbedding(
            32, objective=name, max_iter=60, random_state=0
        ).fit(X[rows], marked[rows])
        neighbours = KNeighborsClassifier(3)
        neighbours.fit(embedding.transform(X[few]), y[few])
        scores[name] = neighbours.score(embedding.transform(X_test), y_test)
    assert scores["semi_supervised"] > scores["supervised"] + 0.015


def test_minus_one_is_a_label_like_others_where_all_rows_have_labels(wine):
    X, _, y, _ = wine
    X, y = X[y < 2], np.where(y[y < 2] == 0, -1, 1)
    embedding = RateReductionEmbedding(4, max_iter=2, random_state=0).fit(X, y)
    np.testing.assert_array_equal(embedding.classes_, [-1, 1])


@pytest.mark.parametrize("kind", [str, object])
def test_the_string_minus_one_marks_rows_without_label(wine, rng, kind):
    X, _, y, _ = wine
    marked = with_missing(y, rng, 8).astype(str).astype(kind)
    embedding = RateReductionEmbedding(
        4, objective="semi_supervised", max_iter=3, random_state=0
    ).fit(X, marked)
    np.testing.assert_array_equal(embedding.classes_, ["0", "1", "2"])


@pytest.mark.parametrize("input_shape", [None, (8, 8), (1, 8, 8)])
def test_views_teach_without_labels(input_shape):
    X = load_digits().data[:300]
    embedding = RateReductionEmbedding(
        16,
        objective="self_supervised",
        input_shape=input_shape,
        n_views=4,
        max_iter=5,
        random_state=0,
    ).fit(X)
    assert embedding.loss_curve_[-1] < embedding.loss_curve_[0]
    assert 0 < embedding.rate_reduction_ < embedding.coding_rate_ * 1.5
    assert embedding.rate_reduction_ <= embedding.rate_reduction_bound_
    assert not hasattr(embedding, "class_bases_")
    assert embedding.score(X) == pytest.approx(embedding.coding_rate_, rel=1e-4)


def test_own_views_get_the_rows_that_the_user_passed(wine):
    X, _, _, _ = wine
    seen = []

    def augment(rows, rng):
        seen.append(rows)
        return rows * rng.uniform(0.9, 1.1, rows.shape)

    RateReductionEmbedding(
        3,
        objective="self_supervised",
        augment=augment,
        n_views=3,
        max_iter=1,
        random_state=0,
    ).fit(X)
    known = {row.tobytes() for row in X}
    assert all(row.tobytes() in known for row in seen[0])


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        ({"input_shape": (3, 5)}, "input_shape="),
        ({"augment": lambda rows, rng: rows[:1]}, "augment returned an array"),
        ({"augment": lambda rows, rng: rows * np.nan}, "augment returned NaN"),
        ({"normalize": None}, "normalize=None is for labels only"),
    ],
)
def test_bad_views_are_named(wine, parameters, message):
    with pytest.raises(ValueError, match=message):
        RateReductionEmbedding(3, objective="self_supervised", **parameters).fit(
            wine[0]
        )


@pytest.mark.parametrize("encoder", ["mlp", "linear"])
@pytest.mark.parametrize("normalize", ["sphere", "frobenius", None])
def test_weights_do_the_same_as_copies(wine, rng, encoder, normalize):
    X, _, y, _ = wine
    weights = rng.integers(0, 4, len(X))
    parameters = {"encoder": encoder, "normalize": normalize, "max_iter": 5}
    weighted = RateReductionEmbedding(4, random_state=0, **parameters)
    copied = RateReductionEmbedding(4, random_state=0, **parameters)
    weighted.fit(X, y, sample_weight=weights)
    copied.fit(X.repeat(weights, axis=0), y.repeat(weights))
    np.testing.assert_array_equal(weighted.transform(X), copied.transform(X))


def test_balanced_classes_have_equal_weight(wine):
    X, _, y, _ = wine
    embedding = RateReductionEmbedding(
        4, class_weight="balanced", max_iter=2, random_state=0
    ).fit(X, y)
    np.testing.assert_allclose(embedding.class_sizes_, embedding.class_sizes_[0])
    by_hand = RateReductionEmbedding(
        4, class_weight={k: 1 / (y == k).sum() for k in range(3)}, max_iter=2
    ).fit(X, y)
    np.testing.assert_allclose(by_hand.class_sizes_, embedding.class_sizes_)


def test_order_of_rows_does_not_matter(wine, rng):
    X, _, y, _ = wine
    order = rng.permutation(len(X))
    first, second = (
        RateReductionEmbedding(4, max_iter=3, random_state=0).fit(X[i], y[i])
        for i in (slice(None), order)
    )
    np.testing.assert_array_equal(first.transform(X), second.transform(X))


def test_frobenius_features_have_a_mean_squared_norm_of_one(wine):
    X, _, y, _ = wine
    Z = (
        RateReductionEmbedding(6, normalize="frobenius", max_iter=20, random_state=0)
        .fit(X, y)
        .transform(X)
    )
    assert np.square(Z).sum(axis=1).mean() == pytest.approx(1, rel=1e-4)


def test_penalty_must_be_in_its_interval(wine):
    X, _, y, _ = wine
    largest = max_feature_penalty(np.bincount(y), 6)
    for penalty, fine in ((0.9 * largest, True), (1.1 * largest, False)):
        embedding = RateReductionEmbedding(
            6, normalize=None, feature_penalty=penalty, max_iter=30, random_state=0
        )
        if fine:
            assert embedding.fit(X, y).feature_penalty_ == penalty
        else:
            with pytest.raises(ValueError, match=r"interval \(0, "):
                embedding.fit(X, y)


def test_bound_is_not_exceeded_and_angles_show_orthogonality(wine):
    X, _, y, _ = wine
    embedding = RateReductionEmbedding(12, max_iter=200, random_state=0).fit(X, y)
    assert 0.7 < embedding.rate_reduction_ / embedding.rate_reduction_bound_ <= 1
    angles = embedding.class_angles_
    np.testing.assert_array_equal(angles, angles.T)
    assert (np.diag(angles) == 0).all()
    assert angles[np.triu_indices(3, 1)].min() > 60


def test_rows_without_labels_do_not_lift_the_rate_above_its_bound(rng):
    X = rng.standard_normal((600, 16))
    y = np.full(600, -1)
    y[:60] = np.repeat([0, 1], 30)
    X[:60] = np.eye(16)[y[:60]] + 0.01 * X[:60]
    embedding = RateReductionEmbedding(
        16, objective="semi_supervised", max_iter=5, random_state=0
    ).fit(X, y)
    assert 0 < embedding.rate_reduction_ <= embedding.rate_reduction_bound_
    assert embedding.score(X, y) == pytest.approx(embedding.rate_reduction_, rel=1e-4)


def test_strange_classes_are_warned_of(wine):
    X, _, y, _ = wine
    with pytest.warns(UserWarning, match=r"n_components=2 is fewer") as record:
        RateReductionEmbedding(2, max_iter=1).fit(X, y)
    assert record[0].filename == __file__
    single = y.copy()
    single[0] = 9
    with pytest.warns(UserWarning, match="single distinct row"):
        RateReductionEmbedding(4, max_iter=1).fit(X, single)
    rare = y.copy()
    rare[:2] = 9
    with pytest.warns(UserWarning, match="absent from some"):
        RateReductionEmbedding(4, max_iter=1, batch_size=20).fit(X, rare)
    Z = np.vstack([X - X.mean(0), np.zeros((2, 13))])
    with pytest.warns(UserWarning, match="rows are mapped to zero") as record:
        RateReductionEmbedding(4, encoder=no_bias, standardize=False, max_iter=1).fit(
            Z, np.append(y, [0, 1])
        )
    assert record[0].filename == __file__


def no_bias(n_features, n_components):
    layer = torch.nn.utils.skip_init(
        torch.nn.Linear, n_features, n_components, bias=False
    )
    torch.nn.init.eye_(layer.weight)
    return layer


def test_weights_and_constant_rows_that_leave_nothing_are_refused(wine):
    X, _, y, _ = wine
    with pytest.raises(ValueError, match="at least one non-zero"):
        RateReductionEmbedding().fit(X, y, sample_weight=np.zeros(len(X)))
    with pytest.raises(ValueError, match="constant features only"):
        RateReductionEmbedding().fit(np.ones_like(X), y)


@pytest.mark.parametrize("encoder", ["mlp", "linear"])
def test_rows_of_any_size_are_mapped_to_the_sphere(wine, encoder):
    X, X_test, y, _ = wine
    embedding = RateReductionEmbedding(4, encoder=encoder, max_iter=1).fit(X, y)
    Z = embedding.transform(1e25 * X_test)
    np.testing.assert_allclose(np.linalg.norm(Z, axis=1), 1, rtol=1e-6)


@pytest.mark.parametrize("learn", ["fit", "partial_fit"])
def test_what_cannot_be_trained_is_refused_first(wine, learn):
    X, _, y, _ = wine
    embedding = RateReductionEmbedding(4, standardize=False)
    with pytest.raises(ValueError, match="squares are beyond the range of float32"):
        getattr(embedding, learn)(1e20 * X, y)
    embedding = RateReductionEmbedding(4, hidden_layer_sizes=(10**6, 10**6))
    with pytest.raises(ValueError, match="more than the budget"):
        getattr(embedding, learn)(X, y)


@pytest.mark.parametrize("after_fit", [False, True])
def test_equal_streams_give_equal_weights(wine, after_fit):
    X, X_test, y, y_test = wine
    models = []
    for _ in range(2):
        model = RateReductionEmbedding(4, max_iter=3, random_state=0)
        if after_fit:
            model.fit(X_test, y_test)
        for rows in np.array_split(np.arange(len(X)), 4):
            model.partial_fit(X[rows], y[rows], classes=[0, 1, 2])
        models.append(model)
    np.testing.assert_array_equal(*(model.transform(X) for model in models))
    assert models[0].n_iter_ == 4 + 3 * after_fit


@pytest.mark.parametrize("load", [load_wine, load_digits])
def test_a_stream_scales_as_a_fit_does(load):
    X, y = load(return_X_y=True)
    whole = RateReductionEmbedding(10, max_iter=1).fit(X[:600], y[:600])
    stream = RateReductionEmbedding(10)
    for rows in np.array_split(np.arange(len(X[:600])), 3):
        stream.partial_fit(X[rows], y[rows], classes=np.unique(y))
    np.testing.assert_allclose(stream.mean_, whole.mean_, atol=1e-9)
    np.testing.assert_allclose(stream.scale_, whole.scale_)


def test_a_stream_alters_rows_as_a_fit_does(wine):
    X, _, y, _ = wine
    seen = []

    def augment(rows, rng):
        seen.append(rows)
        return rows + rng.standard_normal(rows.shape)

    RateReductionEmbedding(4, augment=augment).partial_fit(X, y)
    assert {row.tobytes() for row in seen[0]} == {row.tobytes() for row in X}
    plain, altered = (
        RateReductionEmbedding(4, augment=how, random_state=0).partial_fit(X, y)
        for how in (None, "auto")
    )
    assert (plain.transform(X) != altered.transform(X)).any()


def test_a_stream_sorted_by_class_is_learnt():
    X, y = load_digits(return_X_y=True)
    X, X_test, y, y_test = train_test_split(X, y, stratify=y, random_state=0)
    scores = []
    for order in (np.arange(len(X)), np.argsort(y, kind="stable")):
        model = RateReductionEmbedding(32, random_state=0)
        for rows in np.array_split(order, 40):
            model.partial_fit(X[rows], y[rows], classes=np.arange(10))
        neighbours = KNeighborsClassifier().fit(model.transform(X), y)
        scores.append(neighbours.score(model.transform(X_test), y_test))
    assert scores[1] >= 0.9 * scores[0]


def test_streams_refuse_what_does_not_fit(wine):
    X, _, y, _ = wine
    with pytest.raises(ValueError, match="classes has 1 class"):
        RateReductionEmbedding().partial_fit(X[y == 0], y[y == 0])
    model = RateReductionEmbedding(4).partial_fit(X, y)
    before = model.transform(X)
    with pytest.raises(ValueError, match="not in classes"):
        model.partial_fit(X, y + 5)
    with pytest.raises(ValueError, match="not the same as before"):
        model.partial_fit(X, y, classes=[0, 1])
    np.testing.assert_array_equal(model.transform(X), before)
