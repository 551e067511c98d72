"""What every estimator promises beyond scikit-learn's own checks."""

import copy
import logging
import multiprocessing
import os
import pickle
import subprocess
import sys
from pathlib import Path

import joblib
import numpy as np
import pytest
import torch
from sklearn.base import clone, is_classifier, is_clusterer
from sklearn.datasets import load_iris
from sklearn.exceptions import NotFittedError
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from threadpoolctl import threadpool_info

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
)
from sklearn_whitebox import estimators as public_estimators
from sklearn_whitebox.metrics import rate_reduction_score

ESTIMATORS = {
    "crate": lambda: CRATEClassifier(
        max_iter=3, n_layers=1, n_ensemble=1, random_state=0
    ),
    "crate_ensemble": lambda: CRATEClassifier(
        max_iter=3, n_layers=1, n_ensemble=2, random_state=0
    ),
    "crate_regressor": lambda: CRATERegressor(
        max_iter=3, n_layers=1, n_ensemble=1, random_state=0
    ),
    "dictionary_msp": lambda: SparseDictionaryLearner(
        fit_algorithm="msp", random_state=0
    ),
    "dictionary_online": lambda: SparseDictionaryLearner(
        8, fit_algorithm="online", max_iter=5, random_state=0
    ),
    "dictionary_ksvd": lambda: SparseDictionaryLearner(
        8, fit_algorithm="ksvd", max_iter=5, random_state=0
    ),
    "learned_encoder": lambda: LearnedSparseEncoder(
        n_layers=3, max_iter=3, random_state=0
    ),
    "learned_encoder_safeguarded": lambda: LearnedSparseEncoder(
        n_layers=3, form="analytic", safeguard=True, max_iter=3, random_state=0
    ),
    "autoencoder_topk": lambda: SparseAutoencoder(max_iter=3, random_state=0),
    "autoencoder_relu": lambda: SparseAutoencoder(
        activation="relu", max_iter=3, random_state=0
    ),
    "embedding": lambda: RateReductionEmbedding(3, max_iter=3, random_state=0),
    "coding_classifier": lambda: CodingLengthClassifier(),
    "coding_clusterer": lambda: CodingLengthClusterer(3, distortion=0.5),
    "nearest_subspace": lambda: NearestSubspaceClassifier(),
    "polar": lambda: PolarTransformer(),
    "redunet": lambda: ReduNetClassifier(n_layers=3, random_state=0),
    "k_subspaces": lambda: KSubspaces(3, subspace_dim=1, n_init=2, random_state=0),
    "ensemble_k_subspaces": lambda: EnsembleKSubspaces(
        3, subspace_dim=1, n_estimators=10, random_state=0
    ),
    "rate_clusterer": lambda: RateReductionClusterer(3, max_iter=3, random_state=0),
    "clusterer_auto": lambda: SubspaceClusterer(3, random_state=0),
    "clusterer_elastic_net": lambda: SubspaceClusterer(
        3, method="elastic_net", random_state=0
    ),
    "clusterer_omp": lambda: SubspaceClusterer(3, method="omp", random_state=0),
}

pytestmark = [
    pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning"),
    # Raw flowers have an offset.
    pytest.mark.filterwarnings("ignore:The median cosine:UserWarning"),
]


def test_no_public_estimator_is_forgotten():
    covered = {type(make()).__name__ for make in ESTIMATORS.values()}
    assert covered == set(public_estimators.__all__)


@pytest.fixture(params=ESTIMATORS)
def make(request):
    return ESTIMATORS[request.param]


@pytest.fixture(scope="module")
def data():
    X, y = load_iris(return_X_y=True)
    return StandardScaler().fit_transform(X), y


def apply(estimator, X):
    """Use the method that a user would."""
    if is_classifier(estimator):
        return estimator.predict_proba(X)
    if is_clusterer(estimator):
        return estimator.predict(X)
    return estimator.transform(X)


def skip_closed_forms(make):
    if "verbose" not in make().get_params():
        pytest.skip("a closed form has no iterations to report")


def fitted(make, data):
    return make().fit(*data)


def process_state():
    return {
        "numpy": np.random.get_state()[1].tolist(),  # noqa: NPY002
        "torch": torch.get_rng_state().tolist(),
        "dtype": torch.get_default_dtype(),
        "torch threads": torch.get_num_threads(),
        "pools": [(p["prefix"], p["num_threads"]) for p in threadpool_info()],
        "grad": torch.is_grad_enabled(),
        "deterministic": torch.are_deterministic_algorithms_enabled(),
        "numpy errors": np.geterr(),
        "environ": dict(os.environ),
        "folder": str(Path.cwd()),
    }


def test_the_process_is_left_as_it_was(make, data):
    fitted(make, data)  # the first fit loads libraries, which add thread pools
    before = process_state()
    apply(fitted(make, data), data[0])
    assert process_state() == before


def test_same_seed_gives_the_same_result(make, data):
    first, second = (apply(fitted(make, data), data[0]) for _ in range(2))
    np.testing.assert_array_equal(first, second)


def test_global_seeds_do_not_matter(make, data):
    state = np.random.get_state(), torch.get_rng_state()  # noqa: NPY002
    try:
        results = []
        for seed in range(2):
            np.random.seed(seed)  # noqa: NPY002
            torch.manual_seed(seed)
            results.append(apply(fitted(make, data), data[0]))
    finally:
        np.random.set_state(state[0])  # noqa: NPY002
        torch.set_rng_state(state[1])
    np.testing.assert_array_equal(*results)


@pytest.mark.parametrize("n_jobs", [2, -1])
def test_number_of_jobs_does_not_change_the_result(make, data, n_jobs):
    estimator = make()
    if "n_jobs" not in estimator.get_params():
        pytest.skip("has no n_jobs")
    # Several blocks of rows, else there is nothing to share out.
    rng = np.random.default_rng(0)
    X = np.tile(data[0], (8, 1)) + 0.3 * rng.laplace(size=(1200, 4))
    y = np.tile(data[1], 8)
    alone = apply(estimator.fit(X, y), X)
    together = apply(make().set_params(n_jobs=n_jobs).fit(X, y), X)
    np.testing.assert_array_equal(alone, together)


def test_fresh_process_gives_the_same_results(data, tmp_path):
    np.savez(tmp_path / "data.npz", X=data[0], y=data[1])
    script = tmp_path / "script.py"
    script.write_text(
        "import sys, numpy as np, warnings\n"
        "warnings.simplefilter('ignore')\n"
        f"sys.path.insert(0, {str(Path(__file__).parent)!r})\n"
        "from test_reliability import ESTIMATORS, apply\n"
        f"d = np.load({str(tmp_path / 'data.npz')!r})\n"
        "out = {n: apply(make().fit(d['X'], d['y']), d['X'])\n"
        "       for n, make in ESTIMATORS.items()}\n"
        f"np.savez({str(tmp_path / 'out.npz')!r}, **out)\n"
    )
    threads = {"OMP_NUM_THREADS": str(torch.get_num_threads())}
    subprocess.run(
        [sys.executable, str(script)], check=True, env={**os.environ, **threads}
    )
    there = np.load(tmp_path / "out.npz")
    for name, make in ESTIMATORS.items():
        here = apply(make().fit(*data), data[0])
        np.testing.assert_array_equal(there[name], here, err_msg=name)


def through_skops(estimator):
    io = pytest.importorskip("skops.io")
    dumped = io.dumps(estimator)
    return io.loads(dumped, trusted=io.get_untrusted_types(data=dumped))


def through_joblib(estimator, folder):
    path = folder / "model.joblib"
    joblib.dump(estimator, path)
    return joblib.load(path, mmap_mode="r")


def test_copies_predict_the_same(make, data, tmp_path):
    estimator = fitted(make, data)
    expected = apply(estimator, data[0])
    for copied in (
        pickle.loads(pickle.dumps(estimator)),
        copy.deepcopy(estimator),
        through_joblib(estimator, tmp_path),
        through_skops(estimator),
    ):
        np.testing.assert_array_equal(apply(copied, data[0]), expected)


def test_clone_forgets_the_fit(make, data):
    with pytest.raises(NotFittedError):
        apply(clone(fitted(make, data)), data[0])


def assert_plain(value, where):
    if isinstance(value, dict):
        for key, item in value.items():
            assert_plain(item, f"{where}[{key!r}]")
    elif isinstance(value, list | tuple):
        for item in value:
            assert_plain(item, where)
    elif hasattr(value, "get_params"):  # fitted scikit-learn estimators hold arrays
        assert type(value).__module__.startswith("sklearn."), where
    else:
        plain = (np.ndarray, np.generic, str, int, float, bool, type(None))
        is_sparse = hasattr(value, "tocsr")
        assert isinstance(value, plain) or is_sparse, f"{where} is {type(value)}"


def test_fitted_state_is_plain(make, data):
    for name, value in vars(fitted(make, data)).items():
        assert_plain(value, name)


def awkward(X):
    strided = np.zeros((len(X), 2 * X.shape[1]))[:, ::2]
    strided[:] = X
    frozen = X.copy()
    frozen.setflags(write=False)
    return {
        "read-only": frozen,
        "fortran": np.asfortranarray(X),
        "strided": strided,
        "reversed": np.ascontiguousarray(X[:, ::-1])[:, ::-1],
        "big-endian": X.astype(">f8"),
        "longdouble": X.astype(np.longdouble),
        "object": X.astype(object),
        "list": X.tolist(),
    }


@pytest.mark.parametrize("kind", awkward(np.eye(2)))
def test_layout_and_byte_order_do_not_matter(make, data, kind):
    X, y = data
    expected = apply(make().fit(X, y), X)
    view = awkward(X)[kind]
    result = apply(make().fit(view, y), view)
    np.testing.assert_allclose(result, expected, rtol=1e-6, atol=1e-8)


def test_inputs_are_not_written(make, data):
    X, y = (part.copy() for part in data)
    X.setflags(write=False)
    apply(make().fit(X, y), X)
    np.testing.assert_array_equal(X, data[0])


def test_memory_maps_are_read_only_inputs(make, data, tmp_path):
    np.save(tmp_path / "X.npy", data[0])
    X = np.load(tmp_path / "X.npy", mmap_mode="r")
    np.testing.assert_array_equal(
        apply(make().fit(X, data[1]), X), apply(fitted(make, data), data[0])
    )


def test_failed_refit_leaves_the_old_model(make, data):
    estimator = fitted(make, data)
    before = dict(vars(estimator))
    expected = apply(estimator, data[0])
    wide = np.hstack([data[0], data[0]])
    wide[3, 1] = np.nan
    with pytest.raises(ValueError, match="NaN"):
        estimator.fit(wide, data[1])
    assert vars(estimator).keys() == before.keys()
    np.testing.assert_array_equal(apply(estimator, data[0]), expected)


def test_interrupted_fit_leaves_no_trace(make, data, monkeypatch):
    from sklearn_whitebox import _progress

    skip_closed_forms(make)

    estimator = fitted(make, data)
    expected = apply(estimator, data[0])
    fresh = make()
    untouched = dict(vars(fresh))

    def interrupt(self):
        raise KeyboardInterrupt

    # The end of the fit is the latest moment at which Ctrl-C can come.
    monkeypatch.setattr(_progress.Progress, "close", interrupt)
    for victim in (estimator, fresh):
        with pytest.raises(KeyboardInterrupt):
            victim.fit(np.hstack([data[0], data[0]]), data[1])
    assert vars(fresh) == untouched
    np.testing.assert_array_equal(apply(estimator, data[0]), expected)


def test_float32_stays_float32(make, data):
    X = data[0].astype(np.float32)
    estimator = make().fit(X, data[1])
    if hasattr(estimator, "transform"):
        assert estimator.transform(X).dtype == np.float32
    if is_classifier(estimator):
        assert estimator.predict_proba(X).dtype == np.float32


def test_tensors_come_back_as_tensors(make, data):
    X = torch.from_numpy(data[0])
    estimator = make().fit(X, torch.from_numpy(data[1]))
    expected = apply(make().fit(*data), data[0])
    np.testing.assert_array_equal(np.asarray(apply(estimator, X)), expected)
    for method in ("transform", "predict_proba", "decision_function"):
        if hasattr(estimator, method):
            result = getattr(estimator, method)(X)
            assert torch.is_tensor(result)
            np.testing.assert_array_equal(result, getattr(estimator, method)(data[0]))


@pytest.mark.parametrize("library", ["pandas", "polars"])
def test_dataframes_go_in_and_out(make, data, library):
    frames = pytest.importorskip(library)
    X = frames.DataFrame(dict(zip("abcd", data[0].T, strict=True)))
    estimator = make()
    if not hasattr(estimator, "transform"):
        assert list(estimator.fit(X, data[1]).feature_names_in_) == list("abcd")
        return
    estimator.set_output(transform=library).fit(X, data[1])
    assert list(estimator.feature_names_in_) == list("abcd")
    Z = estimator.transform(X)
    assert isinstance(Z, frames.DataFrame)
    assert list(Z.columns) == list(estimator.get_feature_names_out())


def test_lazy_collections_are_refused(make, data):
    class Lazy(np.ndarray):
        __dask_graph__ = None

    with pytest.raises(TypeError, match="lazy dask collection"):
        make().fit(data[0].view(Lazy), data[1])


def test_overflow_is_refused_and_scaling_is_named(make, data):
    with pytest.raises(ValueError, match="overflow float64; scale the features first"):
        make().fit(data[0] * 1e200, data[1])


def test_fit_works_inside_the_modes_of_the_caller(make, data):
    expected = apply(fitted(make, data), data[0])
    for mode in (torch.no_grad, torch.inference_mode):
        with mode():
            np.testing.assert_array_equal(apply(fitted(make, data), data[0]), expected)


def test_default_dtype_of_the_caller_does_not_matter(make, data):
    expected = apply(fitted(make, data), data[0])
    torch.set_default_dtype(torch.float64)
    try:
        np.testing.assert_array_equal(apply(fitted(make, data), data[0]), expected)
    finally:
        torch.set_default_dtype(torch.float32)


def test_newer_state_is_refused_and_other_versions_warn(make, data):
    estimator = fitted(make, data)
    state = estimator.__getstate__()
    newer = type(estimator).__new__(type(estimator))
    with pytest.raises(ValueError, match="Upgrade sklearn_whitebox"):
        newer.__setstate__({**state, "_whitebox_format": 99})
    with pytest.warns(UserWarning, match="was saved by sklearn_whitebox 0.0.0"):
        newer.__setstate__({**state, "_whitebox_version": "0.0.0"})


@pytest.mark.parametrize("level", ["WARNING", "DEBUG"])
def test_verbose_speaks_whatever_logging_is_set_to(make, data, capsys, level):
    skip_closed_forms(make)
    logging.basicConfig(level=level)
    try:
        make().set_params(verbose=2).fit(*data)
        assert type(make()).__name__ in capsys.readouterr().err
        make().set_params(verbose=0).fit(*data)
        assert not capsys.readouterr().err
    finally:
        logging.getLogger().handlers.clear()
        logging.getLogger().setLevel(logging.WARNING)


def test_callbacks_see_every_iteration(make, data):
    pytest.importorskip("sklearn.callback")
    skip_closed_forms(make)

    class Recorder:
        def __init__(self):
            self.events = []

        def setup(self, estimator, context):
            self.events.append("setup")

        def teardown(self, estimator, context):
            self.events.append("teardown")

        def on_fit_task_begin(self, estimator, context):
            self.events.append("begin")

        def on_fit_task_end(self, estimator, context):
            self.events.append("end")
            return False

    recorder = Recorder()
    make().set_callbacks(recorder).fit(*data)
    assert recorder.events[0] == "setup"
    assert recorder.events[-1] == "teardown"
    assert recorder.events.count("begin") == recorder.events.count("end") >= 2


def test_documentation_is_linked_in_the_html_representation(make, monkeypatch):
    monkeypatch.delenv("SKLEARN_WHITEBOX_DOC_URL", raising=False)
    assert 'href="' not in make()._repr_html_().split("</style>")[-1]
    monkeypatch.setenv("SKLEARN_WHITEBOX_DOC_URL", "https://docs.example/")
    page = f"generated/sklearn_whitebox.{type(make()).__name__}.html"
    assert f'href="https://docs.example/{page}"' in make()._repr_html_()


def test_pipelines_print_and_fit(make, data):
    model = make_pipeline(StandardScaler(), make())
    model._repr_html_()
    model.fit(*data)


def _fit_in_child(name, queue):
    X, y = load_iris(return_X_y=True)
    estimator = ESTIMATORS[name]().fit(X, y)
    # Large enough for torch to run in parallel where nothing stops it.
    X = np.tile(X, (100, 1))
    if hasattr(estimator, "transform"):
        estimator.transform(X)
    if hasattr(estimator, "score"):
        estimator.score(X, np.tile(y, 100))
    rate_reduction_score(np.tile(X, (1, 20)), np.tile(y, 100))
    queue.put(np.asarray(apply(estimator, X)).sum())


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
@pytest.mark.parametrize("name", ESTIMATORS)
def test_fit_survives_a_fork(name):
    # A parallel region in the parent is what makes a forked OpenMP pool hang.
    torch.randn(400, 400) @ torch.randn(400, 400)
    context = multiprocessing.get_context("fork")
    queue = context.Queue()
    child = context.Process(target=_fit_in_child, args=(name, queue))
    child.start()
    try:
        assert np.isfinite(queue.get(timeout=30))
    finally:
        child.join(timeout=5)
        child.kill()
