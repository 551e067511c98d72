import pickle
import warnings

import numpy as np
import pytest
import torch
from sklearn import config_context
from sklearn.base import clone
from sklearn.datasets import load_digits
from sklearn.decomposition import PCA
from sklearn.exceptions import ConvergenceWarning, NotFittedError
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GridSearchCV, StratifiedKFold, cross_val_score
from sklearn.pipeline import make_pipeline

from sklearn_whitebox import SparseDictionaryLearner
from sklearn_whitebox._random import draw_seed
from sklearn_whitebox.datasets import make_sparse_codes
from sklearn_whitebox.estimators._dictionary_codes import encode
from sklearn_whitebox.metrics import dictionary_recovery
from sklearn_whitebox.solvers import lasso_encode


@pytest.fixture(scope="module")
def complete():
    return make_sparse_codes(3000, 12, density=0.2, random_state=0)


@pytest.fixture(scope="module")
def overcomplete():
    return make_sparse_codes(1500, 20, 50, n_nonzero=3, noise=0.03, random_state=0)


@pytest.mark.parametrize("whiten", ["auto", False, True])
def test_complete_dictionary_is_recovered_exactly(whiten):
    X, codes, D = make_sparse_codes(
        3000, 12, density=0.2, orthogonal=True, random_state=0
    )
    model = SparseDictionaryLearner(whiten=whiten, random_state=0).fit(X)
    assert 1 - dictionary_recovery(model.components_, D).min_cosine < 1e-8
    found = model.transform(X)
    np.testing.assert_allclose(model.inverse_transform(found), X, atol=1e-8)
    assert np.mean(np.abs(found) > 1e-3) == pytest.approx(np.mean(codes != 0), abs=0.01)


def test_online_fit_from_msp_atoms_finds_an_oblique_dictionary_in_noise():
    X, _, D = make_sparse_codes(5000, 25, density=0.2, noise=0.1, random_state=0)
    start = SparseDictionaryLearner(random_state=0).fit(X).components_
    model = SparseDictionaryLearner(
        fit_algorithm="online", dict_init=start, random_state=0
    ).fit(X)
    assert dictionary_recovery(model.components_, D).min_cosine > 0.995


def test_directions_of_noise_are_not_blown_up():
    X = load_digits().data / 16
    model = SparseDictionaryLearner(random_state=0).fit(X)
    D = model.components_
    np.testing.assert_allclose(D @ D.T, np.eye(len(D)), atol=1e-10)


def test_overcomplete_dictionary_is_recovered(overcomplete):
    X, _, D = overcomplete
    fractions = [
        dictionary_recovery(
            SparseDictionaryLearner(50, random_state=seed).fit(X).components_, D
        ).fraction_detected
        for seed in range(3)
    ]
    assert np.mean(fractions) >= 0.85


def test_digits_are_classified_better_from_codes_than_from_principal_components():
    X, y = load_digits(return_X_y=True)
    X = X / 16
    folds = StratifiedKFold(5, shuffle=True, random_state=0)

    def accuracy(transformer):
        pipeline = make_pipeline(transformer, LogisticRegression(max_iter=1000))
        return cross_val_score(pipeline, X, y, cv=folds).mean()

    codes = accuracy(SparseDictionaryLearner(128, random_state=0))
    assert codes > accuracy(PCA(40, random_state=0)) + 0.005


def test_auto_chooses_by_the_number_of_atoms(complete):
    X, _, _ = complete
    for n_components in (None, X.shape[1]):
        model = SparseDictionaryLearner(n_components, random_state=0).fit(X)
        assert model.alpha_ == 0
    model = SparseDictionaryLearner(20, random_state=0).fit(X)
    expected = 1.2 / np.sqrt(12) * np.sqrt(np.mean(np.sum(X**2, axis=1)))
    assert model.alpha_ == pytest.approx(expected)
    assert model.components_.shape == (20, 12)


def test_atoms_are_unit_signed_and_ordered(overcomplete):
    X, _, _ = overcomplete
    model = SparseDictionaryLearner(30, random_state=0).fit(X)
    D = model.components_
    np.testing.assert_allclose(np.linalg.norm(D, axis=1), 1)
    assert (D.max(axis=1) == np.abs(D).max(axis=1)).all()
    energy = (model.transform(X) ** 2).mean(axis=0)
    assert np.corrcoef(energy, np.arange(30))[0, 1] < -0.8
    cosines = np.abs(D @ D.T) - np.eye(30)
    assert model.mutual_coherence_ == pytest.approx(cosines.max())


def test_scaled_samples_give_scaled_codes(overcomplete):
    X, _, _ = overcomplete
    plain = SparseDictionaryLearner(30, max_iter=5, tol=0.1, random_state=0).fit(X)
    scaled = clone(plain).fit(8 * X)
    np.testing.assert_allclose(scaled.components_, plain.components_, atol=1e-6)
    np.testing.assert_allclose(
        scaled.transform(8 * X), 8 * plain.transform(X), atol=1e-4
    )


@pytest.mark.parametrize("algorithm", ["lasso", "omp", "threshold"])
def test_a_code_does_not_depend_on_other_samples(overcomplete, algorithm):
    X, _, _ = overcomplete
    model = SparseDictionaryLearner(
        30, transform_algorithm=algorithm, max_iter=5, tol=0.1, random_state=0
    ).fit(X)
    together = model.transform(X[:50])
    alone = np.vstack([model.transform(x[None]) for x in X[:50]])
    np.testing.assert_allclose(alone, together, atol=1e-6)


def test_transform_algorithms_do_what_they_say(overcomplete):
    X, _, _ = overcomplete
    model = SparseDictionaryLearner(30, max_iter=5, tol=0.1, random_state=0).fit(X)
    D = model.components_
    expected = lasso_encode(X, D, alpha=0.2).solution
    model.set_params(transform_alpha=0.2)
    np.testing.assert_array_equal(model.transform(X), expected)
    model.set_params(transform_algorithm="threshold")
    expected = np.sign(X @ D.T) * np.maximum(np.abs(X @ D.T) - 0.2, 0)
    np.testing.assert_allclose(model.transform(X), expected, atol=1e-12)
    model.set_params(transform_algorithm="omp", transform_n_nonzero_coefs=4)
    assert np.count_nonzero(model.transform(X), axis=1).max() == 4


def test_split_signs_double_the_features_and_come_back(overcomplete):
    X, _, _ = overcomplete
    model = SparseDictionaryLearner(30, max_iter=5, tol=0.1, random_state=0).fit(X)
    signed = model.transform(X)
    model.set_params(split_sign=True)
    split = model.transform(X)
    assert split.shape == (len(X), 60)
    assert (split >= 0).all()
    np.testing.assert_array_equal(split[:, :30] - split[:, 30:], signed)
    np.testing.assert_allclose(
        model.inverse_transform(split), signed @ model.components_
    )
    assert len(model.get_feature_names_out()) == 60


def test_positive_codes_are_positive(overcomplete):
    X = np.abs(overcomplete[0])
    model = SparseDictionaryLearner(positive_code=True, random_state=0).fit(X)
    assert (model.transform(X) >= 0).all()
    with pytest.raises(ValueError, match="positive_code"):
        model.set_params(fit_algorithm="msp").fit(X)


def test_pursuit_gives_positive_codes(overcomplete):
    X = np.abs(overcomplete[0])
    model = SparseDictionaryLearner(
        30, positive_code=True, transform_algorithm="omp", random_state=0
    )
    codes = model.fit_transform(X)
    assert (codes >= 0).all()
    assert codes.any()


@pytest.mark.parametrize("positive", [False, True])
def test_samples_are_thresholded_without_torch(overcomplete, positive, monkeypatch):
    X = overcomplete[0].astype(np.float32)
    model = SparseDictionaryLearner(
        30,
        positive_code=positive,
        transform_algorithm="threshold",
        transform_alpha=np.float64(0.2),
        max_iter=5,
        tol=0.1,
        random_state=0,
    ).fit(X)

    def refuse(*args):
        raise AssertionError("torch was asked")

    monkeypatch.setattr(torch, "from_numpy", refuse)
    codes = model.transform(X)
    products = X @ model.components_.T
    expected = np.maximum(products - 0.2, 0)
    if not positive:
        expected -= np.maximum(-products - 0.2, 0)
    assert codes.dtype == np.float32
    np.testing.assert_allclose(codes, expected, atol=1e-6)


def test_batches_improve_the_atoms(overcomplete):
    X, _, D = make_sparse_codes(6000, 20, 50, n_nonzero=3, random_state=0)
    model = SparseDictionaryLearner(50, random_state=0)
    for start in range(0, len(X), 200):
        before = getattr(model, "components_", None)
        copy = None if before is None else before.copy()
        model.partial_fit(X[start : start + 200])
        if before is not None:
            np.testing.assert_array_equal(before, copy)
    assert model.n_iter_ == 30
    assert len(model.objective_curve_) == 30
    assert model.objective_curve_[-1] < model.objective_curve_[0]
    recovery = dictionary_recovery(model.components_, D, threshold=0.05)
    assert recovery.fraction_detected > 0.8


def test_batches_continue_a_fit(overcomplete):
    X, _, _ = overcomplete
    model = SparseDictionaryLearner(50, random_state=0).fit(X)
    before, score = model.components_, model.score(X)
    model.partial_fit(X[:200])
    assert model.score(X) > 1.05 * score  # both are negative
    assert np.abs(model.components_ @ before.T).max(axis=1).min() > 0.9


def test_batches_after_a_rotation_start_a_new_curve(complete):
    X, _, _ = complete
    model = SparseDictionaryLearner(random_state=0).fit(X)
    assert len(model.objective_curve_) > 1
    model.partial_fit(X[:200])
    assert len(model.objective_curve_) == 1
    model.partial_fit(X[200:400])
    assert len(model.objective_curve_) == model.n_iter_ == 2


@pytest.mark.parametrize("first", [np.float32, np.float64])
def test_later_batches_keep_the_precision_of_the_first(overcomplete, first):
    X, _, _ = overcomplete
    second = np.float32 if first == np.float64 else np.float64
    model = SparseDictionaryLearner(30, random_state=0)
    model.partial_fit(X[:200].astype(first)).partial_fit(X[200:400].astype(second))
    assert model.components_.dtype == first
    same = SparseDictionaryLearner(30, random_state=0)
    same.partial_fit(X[:200].astype(first)).partial_fit(X[200:400].astype(first))
    np.testing.assert_allclose(model.components_, same.components_, atol=1e-3)


def test_squares_of_many_single_precision_samples_are_added_exactly():
    X = np.full((300_000, 2), 0.1, np.float32)
    X[0] = 3000.0
    model = SparseDictionaryLearner(2, fit_algorithm="online", random_state=0)
    exact = np.sum(X.astype(np.float64) ** 2) / len(X)
    assert model.partial_fit(X).alpha_ == pytest.approx(0.5 * np.sqrt(exact), rel=1e-7)


def test_msp_has_no_partial_fit():
    assert not hasattr(SparseDictionaryLearner(fit_algorithm="msp"), "partial_fit")
    assert hasattr(SparseDictionaryLearner(), "partial_fit")


def test_refused_batch_leaves_the_model(overcomplete):
    X, _, _ = overcomplete
    model = SparseDictionaryLearner(30, random_state=0).partial_fit(X[:200])
    state = pickle.dumps(model)
    with pytest.raises(ValueError, match="features"):
        model.partial_fit(X[:200, 1:])
    assert pickle.dumps(model) == state


@pytest.mark.parametrize("n_components", [None, 30])
def test_fit_is_reproducible_at_any_number_of_threads(overcomplete, n_components):
    X, _, _ = overcomplete
    settings = {"random_state": 3, "batch_size": 500, "tol": 0.01}
    first = SparseDictionaryLearner(n_components, **settings).fit(X)
    second = SparseDictionaryLearner(n_components, n_jobs=2, **settings).fit(X)
    np.testing.assert_array_equal(first.components_, second.components_)
    np.testing.assert_array_equal(first.transform(X), second.transform(X))


def test_fewer_samples_than_features_work(rng):
    X = rng.standard_normal((8, 20))
    model = SparseDictionaryLearner(random_state=0)
    with pytest.warns(UserWarning, match="20 times as many samples"):
        model.fit(X)
    assert model.components_.shape == (8, 20)
    np.testing.assert_allclose(model.inverse_transform(model.transform(X)), X)
    model = SparseDictionaryLearner(30, random_state=0).fit(X)
    assert model.transform(X).shape == (8, 30)


def test_float32_stays(complete):
    X = complete[0].astype(np.float32)
    for n_components in (None, 20):
        model = SparseDictionaryLearner(n_components, random_state=0).fit(X)
        codes = model.transform(X)
        assert model.components_.dtype == codes.dtype == np.float32
        assert model.inverse_transform(codes).dtype == np.float32


def test_tensors_come_back_as_tensors(complete):
    X = torch.from_numpy(complete[0])
    model = SparseDictionaryLearner(random_state=0).fit(X)
    codes = model.transform(X)
    assert torch.is_tensor(codes)
    torch.testing.assert_close(model.inverse_transform(codes), X)


def test_start_can_be_given(overcomplete):
    X, _, D = overcomplete
    model = SparseDictionaryLearner(50, dict_init=D, random_state=0).fit(X)
    assert dictionary_recovery(model.components_, D).fraction_detected > 0.95
    with pytest.raises(ValueError, match="dict_init has shape"):
        model.set_params(dict_init=D[:, 1:]).fit(X)


def test_start_with_more_atoms_than_the_rank_is_refused_by_its_name(rng):
    X = rng.standard_normal((50, 3)) @ rng.standard_normal((3, 6))
    model = SparseDictionaryLearner(dict_init=np.eye(6), random_state=0)
    with pytest.raises(ValueError, match=r"dict_init does not fit.*rank 3.*'online'"):
        model.fit(X)


def test_score_is_the_negative_objective(overcomplete):
    X, _, _ = overcomplete
    model = SparseDictionaryLearner(30, random_state=0).fit(X)
    Z = model.transform(X)
    error = 0.5 * np.sum((X - Z @ model.components_) ** 2, axis=1)
    expected = np.mean(error + model.alpha_ * np.abs(Z).sum(axis=1))
    assert model.score(X) == pytest.approx(-expected)
    search = GridSearchCV(model, {"n_components": [5, 40]}, cv=2).fit(X)
    assert search.best_params_ == {"n_components": 40}


def test_gaussian_samples_are_warned_of(rng):
    X = rng.standard_normal((2000, 4))
    with pytest.warns(UserWarning, match="look Gaussian"):
        SparseDictionaryLearner(random_state=0).fit(X)


def test_missing_rank_is_warned_of(rng):
    X = rng.standard_normal((50, 3)) @ rng.standard_normal((3, 6))
    with pytest.warns(UserWarning, match="rank 3"):
        model = SparseDictionaryLearner(6, random_state=0).fit(X)
    assert model.components_.shape == (3, 6)


@pytest.mark.parametrize("n_components", [None, 30])
def test_too_few_iterations_are_warned_of(overcomplete, n_components):
    model = SparseDictionaryLearner(n_components, max_iter=1, tol=1e-9, random_state=0)
    with pytest.warns(ConvergenceWarning, match="increase max_iter"):
        model.fit(overcomplete[0])
    with pytest.warns(ConvergenceWarning, match="transform_max_iter"):
        SparseDictionaryLearner(30, transform_max_iter=1, random_state=0).fit(
            overcomplete[0]
        ).transform(overcomplete[0])


def test_good_data_give_no_warning(complete, overcomplete):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        SparseDictionaryLearner(random_state=0).fit_transform(complete[0])
        SparseDictionaryLearner(50, random_state=0).fit_transform(overcomplete[0])


def test_impossible_settings_are_refused(overcomplete):
    X, _, _ = overcomplete
    with pytest.raises(ValueError, match="makes every code zero"):
        SparseDictionaryLearner(30, alpha=1e6).fit(X)
    with pytest.raises(ValueError, match="more than the 20 features"):
        SparseDictionaryLearner(30, fit_algorithm="msp").fit(X)
    with pytest.raises(NotFittedError):
        SparseDictionaryLearner().transform(X)
    model = SparseDictionaryLearner(random_state=0).fit(X)
    with pytest.raises(ValueError, match="columns"):
        model.inverse_transform(X[:, 1:])


def test_square_matrices_beyond_the_budget_are_refused(overcomplete):
    X, _, _ = overcomplete
    with (
        config_context(working_memory=0),
        pytest.raises(ValueError, match="smaller n_components"),
    ):
        SparseDictionaryLearner(1000).fit(X)


def test_pickle_keeps_the_codes_and_the_memory(overcomplete):
    X, _, _ = overcomplete
    model = SparseDictionaryLearner(30, random_state=0).partial_fit(X[:300])
    again = pickle.loads(pickle.dumps(model))
    np.testing.assert_array_equal(model.transform(X), again.transform(X))
    model.partial_fit(X[300:600])
    again.partial_fit(X[300:600])
    np.testing.assert_array_equal(model.components_, again.components_)


def test_zero_samples_are_coded_by_zero():
    X = np.zeros((6, 3))
    for n_components in (None, 5):
        model = SparseDictionaryLearner(n_components, random_state=0).fit(X)
        assert not model.transform(X).any()


@pytest.mark.parametrize("algorithm", ["ksvd", "ksvd_exact", "mod"])
def test_greedy_algorithms_recover_every_atom(overcomplete, algorithm):
    X, _, D = overcomplete
    model = SparseDictionaryLearner(
        50, fit_algorithm=algorithm, n_nonzero_coefs=3, random_state=0
    ).fit(X)
    assert dictionary_recovery(model.components_, D).fraction_detected == 1
    codes = model.transform(X)
    assert np.count_nonzero(codes, axis=1).max() == 3
    errors = ((X - codes @ model.components_) ** 2).sum(axis=1) / 2
    assert model.score(X) == pytest.approx(-errors.mean())
    assert model.objective_curve_[-1] == pytest.approx(errors.mean(), rel=0.02)
    assert model.density_ == pytest.approx(3 / 50, abs=0.001)


def test_palm_lowers_the_objective_every_time(overcomplete):
    model = SparseDictionaryLearner(
        30, fit_algorithm="palm", max_iter=50, tol=0, random_state=0
    )
    with pytest.warns(ConvergenceWarning, match="max_iter"):
        model.fit(overcomplete[0])
    assert len(model.objective_curve_) == 50
    assert (np.diff(model.objective_curve_) <= 1e-12).all()


@pytest.mark.parametrize("algorithm", ["online", "ksvd", "mod", "palm", "msp"])
def test_more_starts_are_never_worse(overcomplete, algorithm):
    X = overcomplete[0][:400]
    settings = {"fit_algorithm": algorithm, "max_iter": 15, "random_state": 0}
    k = None if algorithm == "msp" else 30
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        one, more = (
            SparseDictionaryLearner(k, n_init=n, **settings).fit(X) for n in (1, 4)
        )
    if algorithm != "msp":  # whose refinement the objective does not see
        assert more.objective_curve_[-1] <= one.objective_curve_[-1] + 1e-12
    assert more.components_.shape == one.components_.shape


def test_sub_gaussian_sources_are_found_by_kurtosis():
    rng = np.random.default_rng(0)
    Q = np.linalg.qr(rng.standard_normal((8, 8)))[0]
    X = rng.uniform(-1, 1, (5000, 8)) @ Q
    model = SparseDictionaryLearner(fit_algorithm="kurtosis", random_state=0).fit(X)
    assert dictionary_recovery(model.components_, Q).min_cosine > 0.995
    with pytest.warns(UserWarning, match="fit_algorithm='kurtosis'"):
        SparseDictionaryLearner(random_state=0).fit(X)


@pytest.mark.parametrize("split_sign", [False, True])
@pytest.mark.parametrize("algorithm", ["lasso", "omp", "threshold"])
def test_sparse_codes_are_the_same_codes(overcomplete, algorithm, split_sign):
    X = overcomplete[0]
    model = SparseDictionaryLearner(
        30, transform_algorithm=algorithm, split_sign=split_sign, random_state=0
    ).fit(X)
    dense = model.transform(X)
    codes = model.set_params(sparse_output=True).transform(X)
    assert codes.format == "csr"
    np.testing.assert_array_equal(codes.toarray(), dense)
    np.testing.assert_allclose(
        model.inverse_transform(codes), model.inverse_transform(dense)
    )


def test_sparse_codes_reach_a_classifier():
    X, y = load_digits(return_X_y=True)
    model = make_pipeline(
        SparseDictionaryLearner(128, sparse_output=True, max_iter=5, tol=0.1),
        LogisticRegression(max_iter=1000),
    )
    assert model.fit(X[::2] / 16, y[::2]).score(X[1::2] / 16, y[1::2]) > 0.95


@pytest.mark.parametrize("name", ["lasso_cd", "lasso_lars"])
def test_names_of_scikit_learn_mean_the_lasso(overcomplete, name):
    X = overcomplete[0]
    model = SparseDictionaryLearner(30, max_iter=3, tol=1, random_state=0).fit(X)
    expected = model.transform(X)
    np.testing.assert_array_equal(
        model.set_params(transform_algorithm=name).transform(X), expected
    )


def test_pursuit_stops_at_an_error(overcomplete):
    X = overcomplete[0]
    model = SparseDictionaryLearner(
        50, transform_algorithm="omp", transform_max_error=0.5, random_state=0
    ).fit(X)
    residual = X - model.inverse_transform(model.transform(X))
    assert np.linalg.norm(residual, axis=1).max() <= 0.5 + 1e-9


@pytest.mark.parametrize("algorithm", ["online", "ksvd", "mod", "palm"])
def test_positive_atoms_are_positive(overcomplete, algorithm):
    X = np.abs(overcomplete[0][:300])
    model = SparseDictionaryLearner(
        15,
        fit_algorithm=algorithm,
        positive_dict=True,
        positive_code=True,
        max_iter=1000,
        tol=0.01,
        random_state=0,
    ).fit(X)
    assert (model.components_ >= 0).all()
    assert (model.transform(X) >= 0).all()


@pytest.mark.parametrize("algorithm", ["ksvd", "mod", "palm", "kurtosis"])
def test_only_online_learning_takes_batches(algorithm):
    model = SparseDictionaryLearner(fit_algorithm=algorithm)
    assert not hasattr(model, "partial_fit")


def test_hopelessly_small_penalties_are_warned_of(rng):
    X = rng.standard_normal((200, 10))
    with pytest.warns(UserWarning, match=r"alpha=0.001.*increase alpha"):
        SparseDictionaryLearner(12, alpha=1e-3, max_iter=2, tol=1.0).fit(X)


@pytest.mark.parametrize("algorithm", ["online", "ksvd", "mod", "palm"])
def test_hard_samples_and_starts_are_survived(rng, algorithm):
    X = rng.standard_normal((30, 6))
    X[:, 2] = 1.0  # constant
    X[:5] = 0
    X[5:10] = X[10]
    start = rng.standard_normal((40, 6))
    start[1], start[2] = start[0], 0  # a duplicate, and none at all
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        model = SparseDictionaryLearner(
            40, fit_algorithm=algorithm, dict_init=start, max_iter=20, random_state=0
        ).fit(X)
    assert np.isfinite(model.components_).all()
    assert np.isfinite(model.transform(X)).all()


@pytest.mark.parametrize("sparse_output", [False, True])
@pytest.mark.parametrize("device", ["cpu", "cuda"])
def test_codes_can_be_found_on_a_device(overcomplete, device, sparse_output):
    if device == "cuda" and not torch.cuda.is_available():
        pytest.skip("needs a CUDA device")
    X = overcomplete[0].astype(np.float32)
    model = SparseDictionaryLearner(30, max_iter=3, tol=1.0, random_state=0).fit(X)
    codes = encode(
        model,
        X,
        model.components_,
        "lasso",
        model.alpha_,
        sparse_output=sparse_output,
        device=torch.device(device),
    )
    codes = codes.toarray() if sparse_output else codes
    np.testing.assert_allclose(codes, model.transform(X), atol=5e-3)
    if device == "cuda":
        found = model.transform(torch.from_numpy(X).cuda())
        assert found.is_cuda
        np.testing.assert_array_equal(found.cpu(), codes)


def test_batches_are_one_pass(rng):
    X, _, _ = make_sparse_codes(1024, 20, 110, n_nonzero=3, random_state=0)
    start = rng.standard_normal((110, 20))
    settings = {"alpha": 0.4, "dict_init": start, "random_state": 0}
    whole = SparseDictionaryLearner(
        110, fit_algorithm="online", max_iter=1, batch_size=128, tol=0, **settings
    )
    with pytest.warns(ConvergenceWarning):
        whole.fit(X)
    order = np.random.default_rng(draw_seed(0)).permutation(len(X))
    stream = SparseDictionaryLearner(110, **settings)
    for rows in np.split(order, 8):
        stream.partial_fit(X[rows])
    assert stream.n_replaced_ == 0
    cosines = np.abs(stream.components_ @ whole.components_.T).max(axis=1)
    np.testing.assert_allclose(cosines, 1, atol=1e-10)
    assert np.mean(stream.objective_curve_) == pytest.approx(whole.objective_curve_[0])


def test_length_of_a_start_does_not_matter_to_a_stream(overcomplete):
    X, _, D = overcomplete
    one, other = (
        SparseDictionaryLearner(50, dict_init=scale * D, alpha=0.3).partial_fit(X)
        for scale in (1, 100)
    )
    np.testing.assert_allclose(one.components_, other.components_, atol=1e-10)


def test_opposite_atoms_are_two_where_codes_are_positive(rng):
    D = np.vstack([np.eye(6), -np.eye(6)])
    codes = np.abs(rng.standard_normal((2000, 12))) * (rng.random((2000, 12)) < 0.1)
    model = SparseDictionaryLearner(
        12, alpha=0.05, positive_code=True, dict_init=D, max_iter=10, random_state=0
    )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        model.fit(codes @ D)
    assert model.n_replaced_ == 0
    assert (model.components_ @ D.T).max(axis=0).min() > 0.99


def test_streams_keep_atoms_positive(rng):
    X = rng.standard_normal((600, 8))
    model = SparseDictionaryLearner(12, alpha=1.5, positive_dict=True, random_state=0)
    for rows in np.split(np.arange(600), 6):
        model.partial_fit(X[rows])
        assert (model.components_ >= 0).all()


@pytest.mark.parametrize("algorithm", ["online", "ksvd", "mod", "palm"])
def test_positive_atoms_explain_negative_samples(rng, algorithm):
    X = -np.abs(make_sparse_codes(300, 6, 8, n_nonzero=2, random_state=0)[0])
    settings = {"fit_algorithm": algorithm, "positive_dict": True, "random_state": 0}
    model = SparseDictionaryLearner(8, **settings, max_iter=1000, tol=0.01).fit(X)
    assert (model.components_ >= 0).all()
    assert (model.transform(X) <= 1e-12).any()
    # Zero codes would score minus half the mean square.
    assert model.score(X) > -0.4 * np.mean((X**2).sum(axis=1))
    # Two constraints together leave nothing.
    model.set_params(positive_code=True)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        with pytest.raises(ValueError, match="positive_dict=True leaves no atom"):
            model.fit(X)


@pytest.mark.parametrize("algorithm", ["online", "ksvd", "mod", "palm"])
@pytest.mark.parametrize("scale", [0.0, 1e-200, 1e200])
def test_length_of_a_start_does_not_matter(overcomplete, algorithm, scale):
    X, _, D = overcomplete
    settings = {"fit_algorithm": algorithm, "max_iter": 5, "random_state": 0}
    model = SparseDictionaryLearner(50, dict_init=scale * D, **settings)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        model.fit(X)
    norms = np.linalg.norm(model.components_, axis=1)
    np.testing.assert_allclose(norms, 1, atol=1e-10)


@pytest.mark.parametrize("alpha", [1e4, 1e300])
@pytest.mark.parametrize("algorithm", ["online", "palm", "msp"])
def test_hopeless_penalties_are_refused_before_learning(complete, alpha, algorithm):
    model = SparseDictionaryLearner(fit_algorithm=algorithm, alpha=alpha)
    with pytest.raises(ValueError, match="largest norm of a sample"):
        model.fit(complete[0])


@pytest.mark.parametrize(
    "wrong",
    [
        {"transform_algorithm": "bogus"},
        {"transform_n_nonzero_coefs": 2.5},
        {"transform_alpha": -1},
        {"transform_alpha": np.inf},
        {"split_sign": "yes"},
    ],
)
def test_parameters_set_after_the_fit_are_checked(complete, wrong):
    model = SparseDictionaryLearner(random_state=0).fit(complete[0])
    model.set_params(**wrong)
    for method in (model.transform, model.score):
        with pytest.raises(ValueError, match=next(iter(wrong))):
            method(complete[0])


def test_given_start_decides_on_the_algorithm(overcomplete):
    X, _, D = overcomplete
    model = SparseDictionaryLearner(dict_init=D, max_iter=2, tol=1.0).fit(X)
    assert model.components_.shape == D.shape


def test_dense_codes_on_many_atoms_are_warned_of():
    X = load_digits().data[:600] / 16
    with pytest.warns(UserWarning, match="increase alpha"):
        SparseDictionaryLearner(128, alpha=1e-4, max_iter=3, tol=1.0).fit(X)


def test_rotations_refuse_a_hopeless_penalty(complete):
    with pytest.raises(ValueError, match="makes every code zero"):
        SparseDictionaryLearner(alpha=1e6, random_state=0).fit(complete[0])


def test_gaussian_samples_have_no_sources_either(rng):
    X = rng.standard_normal((20_000, 5))
    model = SparseDictionaryLearner(fit_algorithm="kurtosis", random_state=0)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        with pytest.warns(UserWarning, match="look Gaussian"):
            model.fit(X)


def test_too_few_samples_for_a_rotation_are_warned_of(rng):
    X = rng.standard_normal((60, 20))
    with pytest.warns(UserWarning, match="20 times as many samples"):
        SparseDictionaryLearner(random_state=0).fit(X)


def test_penalty_is_not_blamed_for_what_pursuit_does(rng):
    X = rng.standard_normal((100, 8))
    SparseDictionaryLearner(
        8,
        fit_algorithm="online",
        alpha=1.0,
        transform_algorithm="omp",
        transform_n_nonzero_coefs=8,
        tol=1.0,
    ).fit(X)
