"""Every estimator on a cluster of two processes, one of which may die.

Kept in few tests of one file: each process of pytest-xdist that runs one of them
starts a cluster.
"""

import concurrent.futures
import itertools
import os
import signal
import sys
import threading
from functools import partial

import joblib
import numpy as np
import pytest
from sklearn.base import is_classifier, is_clusterer
from sklearn.datasets import load_iris
from sklearn.model_selection import GridSearchCV, KFold
from sklearn.preprocessing import StandardScaler

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

cloudpickle = pytest.importorskip("cloudpickle")
# Workers have no test modules to import.
cloudpickle.register_pickle_by_value(sys.modules[__name__])

pytestmark = [
    pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning"),
    # Raw flowers have an offset.
    pytest.mark.filterwarnings("ignore:The median cosine:UserWarning"),
]

QUICK = {"max_iter": 2, "random_state": 0}
GRIDS = {
    "closed forms": [
        (CodingLengthClassifier(), {"distortion": [0.1, 0.5]}),
        (NearestSubspaceClassifier(), {"n_components": [1, 2]}),
        (PolarTransformer(), {}),
        (ReduNetClassifier(n_layers=3, random_state=0), {"step_size": [0.3, 0.5]}),
    ],
    "clusterers": [
        (CodingLengthClusterer(3, distortion=0.5), {"code_mean": [True, False]}),
        (
            EnsembleKSubspaces(3, subspace_dim=1, n_estimators=10, random_state=0),
            {"n_neighbors": [5, 10]},
        ),
        (KSubspaces(3, n_init=2, random_state=0), {"subspace_dim": [1, 2]}),
        (RateReductionClusterer(3, **QUICK), {"n_components": [4, 8]}),
        (
            SubspaceClusterer(3, random_state=0, n_jobs=2),
            {"method": ["elastic_net", "omp"]},
        ),
    ],
    "networks": [
        (CRATEClassifier(n_layers=1, n_ensemble=1, **QUICK), {"n_heads": [1, 2]}),
        (CRATERegressor(n_layers=1, n_ensemble=1, **QUICK), {"n_heads": [1]}),
        (RateReductionEmbedding(3, **QUICK), {"distortion": [0.1, 0.5]}),
    ],
    "dictionaries": [
        (LearnedSparseEncoder(n_layers=3, **QUICK), {"tol": [1e-3]}),
        (SparseAutoencoder(**QUICK), {"n_components": [8, 16]}),
        (
            SparseDictionaryLearner(8, fit_algorithm="online", n_jobs=2, **QUICK),
            {"alpha": [0.5, 0.6]},
        ),
    ],
}


@pytest.fixture(scope="module")
def flowers():
    X, y = load_iris(return_X_y=True)
    return StandardScaler().fit_transform(X), y


@pytest.fixture
def client(cluster_client):
    # One that a test has killed is started again.
    cluster_client.wait_for_workers(2, timeout=60)
    return cluster_client


def sum_output(estimator, X, y=None):
    """Score a model by all that it gives."""
    if is_classifier(estimator):
        return float(estimator.predict_proba(X)[:, 0].sum())
    if is_clusterer(estimator) or not hasattr(estimator, "transform"):
        return float(estimator.predict(X).sum())
    return float(np.abs(estimator.transform(X)).sum())


def search(estimator, grid, X, y, scoring=sum_output, cv=None):
    folds = cv or KFold(3, shuffle=True, random_state=0)
    grid_search = GridSearchCV(
        estimator, grid, cv=folds, scoring=scoring, refit=False, error_score="raise"
    )
    results = grid_search.fit(X, y).cv_results_
    names = [f"split{i}_test_score" for i in range(3)]
    return np.array([results[name] for name in names])


def on_cluster(function, *, seconds=300, **options):
    """Call a function with joblib's tasks on the cluster; fail if it hangs."""
    future = concurrent.futures.Future()

    def call():
        try:
            with joblib.parallel_config(backend="dask", **options):
                future.set_result(function())
        except BaseException as error:
            future.set_exception(error)

    # A pool would wait for a thread that hangs, and so would the end of the tests.
    threading.Thread(target=call, daemon=True).start()
    return future.result(timeout=seconds)


def test_no_public_estimator_is_forgotten():
    searched = {type(e).__name__ for grid in GRIDS.values() for e, _ in grid}
    assert searched == set(estimators.__all__)


@pytest.mark.parametrize("group", GRIDS)
def test_grid_search_scores_as_in_one_process(group, client, flowers):
    for estimator, grid in GRIDS[group]:
        alone = search(estimator, grid, *flowers)
        together = on_cluster(partial(search, estimator, grid, *flowers))
        np.testing.assert_array_equal(alone, together, err_msg=repr(estimator))


@pytest.mark.parametrize(
    "make",
    [
        partial(SubspaceClusterer, 3, method="elastic_net", random_state=0),
        partial(SubspaceClusterer, 3, method="omp", random_state=0),
        partial(KSubspaces, 3, subspace_dim=1, n_init=3, random_state=0),
        partial(EnsembleKSubspaces, 3, subspace_dim=1, n_estimators=8, random_state=0),
        partial(SparseDictionaryLearner, 8, fit_algorithm="ksvd", **QUICK),
    ],
    ids=["elastic net", "omp", "k-subspaces", "ensemble", "ksvd"],
)
def test_blocks_of_one_fit_go_to_the_cluster(make, client, flowers):
    rng = np.random.default_rng(0)
    X = np.tile(flowers[0], (8, 1)) + 0.3 * rng.laplace(size=(1200, 4))
    alone = make().fit(X)
    together = on_cluster(lambda: make().fit(X))
    for name in ("labels_", "components_"):
        if hasattr(alone, name):
            np.testing.assert_array_equal(getattr(alone, name), getattr(together, name))


def die_once(marker):
    """End this process as the kernel would, the first time only."""
    try:
        with open(marker, "x"):  # noqa: PTH123
            pass
    except FileExistsError:
        return
    os.kill(os.getpid(), signal.SIGKILL)


def score_and_die(marker, estimator, X, y=None):
    if marker is not None:
        die_once(marker)
    return sum_output(estimator, X)


def test_grid_search_survives_the_death_of_a_worker(client, flowers, tmp_path):
    X, y = flowers
    estimator, grid = NearestSubspaceClassifier(), {"n_components": [1, 2]}
    # joblib leaves arrays on single workers, unless they are scattered to all; lists
    # travel with the tasks.
    folds = [(a.tolist(), b.tolist()) for a, b in KFold(3, shuffle=True).split(X)]
    marker = str(tmp_path / "died")
    alone = search(estimator, grid, X, y, partial(score_and_die, None), folds)
    scoring = partial(score_and_die, marker)
    together = on_cluster(
        partial(search, estimator, grid, X, y, scoring, folds), scatter=[X, y]
    )
    np.testing.assert_array_equal(alone, together)
    assert (tmp_path / "died").exists()


def load_part(X, start, stop, marker=None):
    if marker is not None:
        die_once(marker)
    return X[start:stop]


def test_blocks_survive_the_death_of_a_worker(client, tmp_path):
    X = np.random.default_rng(0).laplace(size=(20_000, 8)).astype(np.float32)
    bounds = [0, 7000, 7000, 15_000, 20_000]
    marker = str(tmp_path / "died")

    def blocks(last):
        cuts = list(itertools.pairwise(bounds))
        return [
            partial(load_part, X, *cut, marker if last and cut == cuts[-1] else None)
            for cut in cuts
        ]

    def fit(last):
        model = SparseDictionaryLearner(
            12, fit_algorithm="online", max_iter=3, random_state=0
        )
        return model.fit_blocks(blocks(last))

    alone = fit(False)
    together = on_cluster(partial(fit, True))
    assert (tmp_path / "died").exists()
    np.testing.assert_array_equal(alone.components_, together.components_)
    assert alone.objective_curve_ == together.objective_curve_


def test_blocks_of_dask_arrays_are_loaded_by_the_workers(client, flowers):
    array = pytest.importorskip("dask.array")
    X, y = (np.tile(part, (120, 1)) for part in (flowers[0], flowers[1][:, None]))
    X = X + np.random.default_rng(0).normal(size=X.shape)
    lazy = (
        array.from_array(X, chunks=(5000, 4)),
        array.from_array(y.ravel(), chunks=5000),
    )
    alone = NearestSubspaceClassifier(2).fit_blocks((X, y.ravel()))
    together = on_cluster(lambda: NearestSubspaceClassifier(2).fit_blocks(lazy))
    np.testing.assert_array_equal(
        alone.predict_proba(X[:500]), together.predict_proba(X[:500])
    )
