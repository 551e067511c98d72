"""scikit-learn's own checks, on every public estimator, without expected failures."""

import pytest
from sklearn.datasets import load_iris
from sklearn.model_selection import GridSearchCV
from sklearn.utils.estimator_checks import parametrize_with_checks

from sklearn_whitebox import (
    CodingLengthClassifier,
    CodingLengthClusterer,
    CRATEClassifier,
    CRATERegressor,
    EnsembleKSubspaces,
    KSubspaces,
    LearnedSparseEncoder,
    NearestSubspaceClassifier,
    PolarTransformer,
    RateReductionClusterer,
    RateReductionEmbedding,
    ReduNetClassifier,
    SparseAutoencoder,
    SparseDictionaryLearner,
    SubspaceClusterer,
    estimators,
)

SMALL_CRATE = {
    "n_layers": 1,
    "d_token": 8,
    "n_heads": 2,
    "n_tokens": 3,
    "n_ensemble": 1,
    "learning_rate": 0.02,
    "n_iter_no_change": 5,
    "refit": False,
}
# Every algorithm behind a class, small enough for the suite.
INSTANCES = [
    CRATEClassifier(max_iter=12, **SMALL_CRATE),
    CRATERegressor(max_iter=10, **SMALL_CRATE),
    CodingLengthClassifier(),
    CodingLengthClassifier(distortion=0.5, basis_cost=False),
    CodingLengthClusterer(),
    CodingLengthClusterer(3, distortion=0.5, fragment_size=1),
    CodingLengthClusterer(
        distortion=0.5, code_mean=True, connectivity=5, min_cluster_size=2
    ),
    EnsembleKSubspaces(subspace_dim=1, n_estimators=10),
    KSubspaces(subspace_dim=1),
    KSubspaces(affine=True),
    KSubspaces(subspace_dim=1, normalize=True, init="random"),
    LearnedSparseEncoder(max_iter=5),
    LearnedSparseEncoder(
        n_layers=3, form="free", loss="supervised", max_iter=5, early_stopping=True
    ),
    LearnedSparseEncoder(
        n_layers=3, form="analytic", positive_code=True, safeguard=True, max_iter=5
    ),
    NearestSubspaceClassifier(),
    NearestSubspaceClassifier(2, centered=True),
    NearestSubspaceClassifier(1, criterion="residual"),
    PolarTransformer(),
    RateReductionClusterer(random_state=0),
    RateReductionClusterer(init="random", max_iter=5, n_components=8),
    RateReductionClusterer("auto", max_iter=2, hidden_layer_sizes=()),
    RateReductionEmbedding(max_iter=20),
    RateReductionEmbedding(max_iter=2, hidden_layer_sizes=(16,)),
    RateReductionEmbedding(encoder="linear", max_iter=2, batch_size=None),
    RateReductionEmbedding(
        objective="semi_supervised", max_iter=2, hidden_layer_sizes=(16,)
    ),
    RateReductionEmbedding(
        objective="self_supervised", max_iter=2, n_views=2, hidden_layer_sizes=(16,)
    ),
    RateReductionEmbedding(encoder="linear", normalize="frobenius", max_iter=2),
    RateReductionEmbedding(
        normalize=None, max_iter=2, hidden_layer_sizes=(16,), class_weight="balanced"
    ),
    ReduNetClassifier(n_layers=5),
    ReduNetClassifier(n_layers=3, lift="random_relu", compress_layers=None),
    SparseAutoencoder(max_iter=20),
    SparseAutoencoder(activation="relu", max_iter=20),
    # One active atom, since a check asks for one component.
    SparseAutoencoder(5, n_active=1, center="mean", max_iter=5),
    SparseDictionaryLearner(),
    SparseDictionaryLearner(fit_algorithm="msp", whiten=False),
    SparseDictionaryLearner(fit_algorithm="online", max_iter=20),
    SparseDictionaryLearner(n_components=4, transform_algorithm="omp"),
    SparseDictionaryLearner(fit_algorithm="kurtosis"),
    SparseDictionaryLearner(4, fit_algorithm="ksvd", n_init=2, max_iter=20),
    SparseDictionaryLearner(4, fit_algorithm="ksvd_exact", max_iter=20),
    SparseDictionaryLearner(4, fit_algorithm="mod", max_iter=20),
    SparseDictionaryLearner(4, fit_algorithm="palm", positive_dict=True),
    SparseDictionaryLearner(4, transform_algorithm="threshold", split_sign=True),
    SubspaceClusterer(),
    SubspaceClusterer("auto", max_clusters=5, n_init=2),
    SubspaceClusterer(method="elastic_net", random_state=0),
    SubspaceClusterer(method="omp", random_state=0),
    SubspaceClusterer(method="neighbors", predict_method="coding_length"),
    SubspaceClusterer(method="ridge", predict_method="representation", n_anchors=25),
]


def test_every_public_estimator_is_checked():
    checked = {type(estimator).__name__ for estimator in INSTANCES}
    assert checked == set(estimators.__all__)


# The checks' data have no clusters to be counted, few distinct samples or an offset.
@pytest.mark.filterwarnings("ignore:The coding length is shortest:UserWarning")
@pytest.mark.filterwarnings("ignore:The median cosine:UserWarning")
@pytest.mark.filterwarnings("ignore:n_components=. is fewer:UserWarning")
@pytest.mark.filterwarnings("ignore:Classes .* single distinct row:UserWarning")
@pytest.mark.filterwarnings(
    "ignore:Only . of n_clusters:sklearn.exceptions.ConvergenceWarning"
)
@parametrize_with_checks(INSTANCES)
def test_follows_the_contract_of_scikit_learn(estimator, check):
    check(estimator)


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:n_components=. is fewer:UserWarning")
@pytest.mark.filterwarnings("ignore:Classes .* single distinct row:UserWarning")
@parametrize_with_checks(
    [CRATEClassifier(), CRATERegressor(), RateReductionEmbedding()]
)
def test_defaults_follow_the_contract_of_scikit_learn(estimator, check):
    check(estimator)


@pytest.mark.parametrize("n_jobs", [None, 2])
def test_progress_bars_reach_into_a_search(n_jobs, capsys):
    callback = pytest.importorskip("sklearn.callback")
    pytest.importorskip("rich")
    X, y = load_iris(return_X_y=True)
    search = GridSearchCV(
        CRATEClassifier(max_iter=2, n_layers=1, random_state=0),
        {"n_heads": [1, 2]},
        cv=2,
        n_jobs=n_jobs,
    )
    search.set_callbacks(callback.ProgressBar(max_propagation_depth=2)).fit(X, y)
    assert "CRATEClassifier - fit" in capsys.readouterr().out
