import pickle

import numpy as np
import pytest
import torch
from numpy.testing import assert_allclose, assert_array_equal
from sklearn.datasets import load_digits, load_wine
from sklearn.discriminant_analysis import LinearDiscriminantAnalysis
from sklearn.model_selection import cross_val_score, train_test_split
from sklearn.naive_bayes import GaussianNB
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from sklearn_whitebox import CodingLengthClassifier
from sklearn_whitebox.functional import coding_length
from sklearn_whitebox.solvers import ClassCoder, add_moments, class_moments

FORMS = [
    {"code_mean": code_mean, "basis_cost": basis_cost}
    for code_mean in (False, True)
    for basis_cost in (False, True)
]


@pytest.fixture
def wine():
    X, y = load_wine(return_X_y=True)
    return StandardScaler().fit_transform(X), y


def moments_of(X, form, **options):
    return class_moments(X, code_mean=form["code_mean"], **options)


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("shape", [(12, 5), (5, 12), (1, 4)])
def test_increments_equal_recomputed_lengths(form, shape, rng):
    X, new = rng.normal(size=shape) + 1, rng.normal(size=(4, shape[1]))
    coder = ClassCoder(new, *moments_of(X, form), **form)
    before = coding_length(X, distortion=0.3, **form)
    after = [coding_length(np.vstack([X, x]), distortion=0.3, **form) for x in new]
    assert_allclose(coder.length(0.3), before, rtol=1e-10)
    assert_allclose(coder.increments(0.3), np.array(after) - before, rtol=1e-10)


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("shape", [(12, 5), (5, 12), (1, 4)])
def test_decrements_equal_recomputed_lengths(form, shape, rng):
    X = rng.normal(size=shape) + 1
    coder = ClassCoder(X, *moments_of(X, form), **form)
    whole = coding_length(X, distortion=0.3, **form)
    rest = [
        coding_length(np.delete(X, i, axis=0), distortion=0.3, **form)
        for i in range(len(X))
    ]
    found = coder.decrements(0.3, np.ones(len(X)))
    assert_allclose(found, whole - np.array(rest), rtol=1e-8)


@pytest.mark.parametrize("code_mean", [False, True])
def test_moments_add_up(code_mean, rng):
    X = rng.normal(size=(30, 6)) + 2
    whole = class_moments(X, code_mean=code_mean)
    parts = class_moments(X[:0], code_mean=code_mean)
    for start in range(0, 30, 4):
        more = class_moments(X[start : start + 4], code_mean=code_mean)
        parts = add_moments(parts, more, code_mean=code_mean)
    assert parts[0] == whole[0]
    assert_allclose(parts[1], whole[1], atol=1e-12)
    assert_allclose(parts[2].T @ parts[2], whole[2].T @ whole[2], rtol=1e-9, atol=1e-9)


def test_weights_count_samples(rng):
    X = rng.normal(size=(10, 4))
    weights = rng.integers(0, 4, size=10).astype(float)
    weighted = class_moments(X, weights, code_mean=True)
    repeated = class_moments(np.repeat(X, weights.astype(int), axis=0), code_mean=True)
    assert weighted[0] == repeated[0]
    assert_allclose(weighted[1], repeated[1])
    assert_allclose(
        weighted[2].T @ weighted[2], repeated[2].T @ repeated[2], atol=1e-12
    )


def test_accuracy_of_samples_left_out_equals_refitting(wine):
    X, y = wine
    X, y = X[::4], y[::4]
    model = CodingLengthClassifier(priors=[0.3, 0.4, 0.3]).fit(X, y)
    for place in (4, 12):
        distortion = model.distortion_path_["distortion"][place]
        right = 0
        for i in range(len(X)):
            rest = np.arange(len(X)) != i
            part = CodingLengthClassifier(
                distortion=distortion, priors=[0.3, 0.4, 0.3]
            ).fit(X[rest], y[rest])
            right += part.predict(X[i : i + 1])[0] == y[i]
        assert_allclose(model.distortion_path_["accuracy"][place], right / len(X))


def test_digits_are_classified_better_than_by_equal_covariances():
    X, y = load_digits(return_X_y=True)
    train, test, y_train, y_test = train_test_split(
        X, y, stratify=y, random_state=0, train_size=600
    )
    ours = CodingLengthClassifier().fit(train, y_train).score(test, y_test)
    peers = [
        peer.fit(train, y_train).score(test, y_test)
        for peer in (LinearDiscriminantAnalysis(), GaussianNB())
    ]
    assert ours > 0.96
    assert ours > max(peers)


def test_more_features_than_samples_are_fine(rng):
    X = rng.normal(size=(40, 300))
    y = np.repeat(["a", "b"], 20)
    X[y == "b", :5] += 3
    model = make_pipeline(StandardScaler(), CodingLengthClassifier())
    assert cross_val_score(model, X, y, cv=4).mean() > 0.7
    fitted = CodingLengthClassifier().fit(X, y)
    assert all(len(factor) <= 20 for factor in fitted.factors_)


def test_scale_does_not_matter(wine):
    X, y = wine
    scores = [
        CodingLengthClassifier().fit(scale * X, y).decision_function(scale * X)
        for scale in (1, 1e-6, 1e6)
    ]
    assert_allclose(scores[1], scores[0], rtol=1e-6)
    assert_allclose(scores[2], scores[0], rtol=1e-6)


def test_batches_give_the_fit_of_all_samples(wine):
    X, y = wine
    whole = CodingLengthClassifier(distortion=0.5).fit(X, y)
    parts = CodingLengthClassifier(distortion=0.5)
    for start in range(0, len(X), 50):
        rows = slice(start, start + 50)
        parts.partial_fit(X[rows], y[rows], classes=[0, 1, 2])
    assert_array_equal(parts.class_count_, whole.class_count_)
    assert_allclose(parts.decision_function(X), whole.decision_function(X), rtol=1e-8)


def test_classes_without_samples_yet_are_not_predicted(wine):
    X, y = wine
    model = CodingLengthClassifier().partial_fit(X[:100], y[:100], classes=[0, 1, 2])
    assert 2 not in model.predict(X)
    assert (model.predict_proba(X)[:, 2] == 0).all()
    model.partial_fit(X[100:], y[100:])
    assert model.score(X, y) > 0.9


def test_wrong_classes_are_refused(wine):
    X, y = wine
    with pytest.raises(ValueError, match="classes must be passed"):
        CodingLengthClassifier().partial_fit(X, y)
    with pytest.raises(ValueError, match="not in classes"):
        CodingLengthClassifier().partial_fit(X, y, classes=[0, 1])
    model = CodingLengthClassifier().partial_fit(X, y, classes=[0, 1, 2])
    with pytest.raises(ValueError, match="not the same as on the last call"):
        model.partial_fit(X, y, classes=[0, 1])


@pytest.mark.parametrize(
    ("priors", "message"),
    [([0.5, 0.5], "shape"), ([0.9, 0.9, -0.8], "non-negative"), ([1, 1, 1], "sum")],
)
def test_wrong_priors_are_refused(priors, message, wine):
    with pytest.raises(ValueError, match=message):
        CodingLengthClassifier(priors=priors).fit(*wine)


def test_priors_move_the_decision(wine):
    X, y = wine
    plain = CodingLengthClassifier(distortion=1.0).fit(X, y)
    tilted = CodingLengthClassifier(distortion=1.0, priors=[0.98, 0.01, 0.01])
    tilted.fit(X, y)
    shift = np.log([0.98, 0.01, 0.01]) - np.log(plain.class_prior_)
    assert_allclose(tilted.decision_function(X), plain.decision_function(X) + shift)


def test_zero_weights_are_refused(wine):
    X, y = wine
    with pytest.raises(ValueError, match=r"non-zero|zero for every"):
        CodingLengthClassifier().fit(X, y, sample_weight=np.zeros(len(X)))


@pytest.mark.parametrize(
    "X", [np.zeros((6, 3)), np.repeat(np.eye(3), 2, axis=0), np.ones((6, 2))]
)
def test_degenerate_data_are_classified(X):
    model = CodingLengthClassifier().fit(X, [0, 0, 1, 1, 2, 2])
    assert np.isfinite(model.predict_proba(X)).all()


def test_precision_and_kind_of_array_are_kept(wine, dtype):
    X, y = wine
    model = CodingLengthClassifier().fit(X.astype(dtype), y)
    assert model.predict_proba(X.astype(dtype)).dtype == dtype
    tensor = torch.from_numpy(X.astype(dtype))
    assert torch.is_tensor(model.predict_proba(tensor))
    assert model.decision_function(tensor).dtype == tensor.dtype
    assert_array_equal(model.predict(tensor), model.predict(X.astype(dtype)))


def test_model_survives_pickling(wine):
    X, y = wine
    model = CodingLengthClassifier().fit(X, y)
    copy = pickle.loads(pickle.dumps(model))
    assert_array_equal(copy.predict_proba(X), model.predict_proba(X))


def test_weights_that_count_next_to_no_sample_are_refused(wine):
    X, y = wine
    with pytest.raises(ValueError, match=r"sample_weight of class .* scale them"):
        CodingLengthClassifier().fit(X, y, sample_weight=np.full(len(X), 1e-6))
