"""Every public estimator, after fits of every kind."""

import copy
import pickle
import subprocess
import sys

import joblib
import numpy as np
import pandas as pd
import pytest
import sklearn
import torch
from numpy.testing import assert_allclose
from scipy.sparse import coo_array, csr_array
from sklearn.base import clone
from sklearn.datasets import load_digits, load_iris
from sklearn.exceptions import NotFittedError
from sklearn.neighbors import kneighbors_graph
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from sklearn_whitebox import (
    CodingLengthClassifier,
    CodingLengthClusterer,
    KSubspaces,
    LearnedSparseEncoder,
    PolarTransformer,
    RateReductionEmbedding,
    ReduNetClassifier,
    SparseDictionaryLearner,
    estimators,
)
from sklearn_whitebox.persistence import SKOPS_TRUSTED, load, save
from sklearn_whitebox.persistence._container import read_arrays, read_header


def test_models_of_every_public_estimator_are_tried(families):
    assert {cls.__name__ for cls in families.values()} == set(estimators.__all__)


def test_a_loaded_model_has_the_same_state(model, family, path, assert_same):
    save(model, path)
    again = load(path)
    assert type(again) is type(model) is family
    # The dictionaries of attributes are in the same order, too.
    assert_same(vars(model), vars(again))
    assert_same(model.get_params(), again.get_params())
    assert_same(clone(model).get_params(), clone(again).get_params())


def test_a_loaded_model_gives_the_same_answers(model, rows, path, answers, assert_same):
    save(model, path)
    assert_same(answers(model, rows), answers(load(path), rows))


def test_saving_a_loaded_model_gives_the_same_file(model, tmp_path):
    save(model, tmp_path / "one")
    save(load(tmp_path / "one"), tmp_path / "two")
    assert (tmp_path / "one").read_bytes() == (tmp_path / "two").read_bytes()


def test_skops_needs_no_more_than_the_list(model, assert_same):
    skops = pytest.importorskip("skops.io")
    data = skops.dumps(model)
    assert set(skops.get_untrusted_types(data=data)) <= set(SKOPS_TRUSTED)
    assert_same(vars(model), vars(skops.loads(data, trusted=SKOPS_TRUSTED)))


@pytest.mark.parametrize("value", [kneighbors_graph, csr_array, torch.device("cpu")])
def test_skops_needs_no_more_for_parameters(value):
    skops = pytest.importorskip("skops.io")
    value = value(np.eye(7), 2) if value is kneighbors_graph else value
    value = value(np.eye(7)) if value is csr_array else value
    data = skops.dumps(CodingLengthClusterer(connectivity=value))
    untrusted = set(skops.get_untrusted_types(data=data))
    assert len(untrusted) == 2
    assert untrusted <= set(SKOPS_TRUSTED)


@pytest.mark.parametrize(
    "cls", [getattr(estimators, name) for name in estimators.__all__]
)
def test_every_estimator_is_on_the_list_and_in_the_registry(cls, path):
    assert f"{cls.__module__}.{cls.__qualname__}" in SKOPS_TRUSTED
    save(cls(), path)
    assert type(load(path)) is cls


def test_the_list_for_skops_is_short():
    others = [
        name for name in SKOPS_TRUSTED if not name.startswith("sklearn_whitebox.")
    ]
    assert len(SKOPS_TRUSTED) == len(estimators.__all__) + len(others)
    assert len(others) == 3


def test_a_pipeline_is_loaded_by_skops():
    skops = pytest.importorskip("skops.io")
    X, y = load_iris(return_X_y=True)
    pipeline = make_pipeline(StandardScaler(), CodingLengthClassifier()).fit(X, y)
    again = skops.loads(skops.dumps(pipeline), trusted=SKOPS_TRUSTED)
    np.testing.assert_array_equal(again.predict_proba(X), pipeline.predict_proba(X))


def test_a_model_in_mapped_memory_predicts(model, rows, tmp_path, answers, assert_same):
    joblib.dump(model, tmp_path / "model.joblib")
    mapped = joblib.load(tmp_path / "model.joblib", mmap_mode="r")
    assert_same(answers(model, rows), answers(mapped, rows))
    save(mapped, tmp_path / "model.safetensors")
    # Not that of the model: some joblib changes the order of bytes.
    assert_same(vars(mapped), vars(load(tmp_path / "model.safetensors")))


def test_a_pickle_has_the_same_state(model, assert_same):
    assert_same(vars(model), vars(pickle.loads(pickle.dumps(model, protocol=5))))


STREAMS = [
    "crate_stream",
    "crate_regressor_stream",
    "coding_classifier_stream",
    "nearest_subspace_stream",
    "redunet_stream",
    "embedding_stream",
    "autoencoder_stream",
    "dictionary_stream",
]


@pytest.mark.parametrize("name", STREAMS)
def test_a_stream_goes_on_where_it_was_saved(name, fitted, path, assert_same):
    X, y = load_iris(return_X_y=True)
    model = fitted(name)
    y = model.classes_[y] if hasattr(model, "classes_") else X[:, 0]
    save(model, path)
    one, two = copy.deepcopy(model), load(path)
    assert_same(vars(one.partial_fit(X, y)), vars(two.partial_fit(X, y)))


@pytest.mark.parametrize("name", ["nearest_subspace", "redunet", "polar"])
def test_a_loaded_model_is_fitted_again_to_the_same_model(
    name, fitted, path, assert_same
):
    X, y = load_digits(return_X_y=True)
    X, y = X[:200], y[:200]
    model = fitted(name)
    save(model, path)
    assert_same(vars(clone(model).fit(X, y)), vars(load(path).fit(X, y)))


def test_an_unfitted_model_stays_unfitted(path):
    save(KSubspaces(3), path)
    with pytest.raises(NotFittedError):
        load(path).predict([[1.0]])


def test_estimators_as_parameters_are_saved_with_their_state(path, assert_same):
    polar = PolarTransformer(3, n_angles=4).fit(np.eye(4))
    save(ReduNetClassifier(lift=polar), path)
    assert_same(vars(polar), vars(load(path).lift))


def test_layout_in_memory_is_kept(path):
    dictionary = np.asfortranarray(np.arange(6.0).reshape(2, 3))
    save(LearnedSparseEncoder(dictionary), path)
    again = load(path).dictionary
    assert again.flags.f_contiguous
    assert again.flags.owndata or again.base.flags.owndata
    assert again.flags.writeable


def test_settings_of_output_and_routing_are_kept(path):
    with sklearn.config_context(enable_metadata_routing=True):
        model = ReduNetClassifier().set_fit_request(sample_weight=True)
        model.set_score_request(sample_weight="weight").set_output(transform="pandas")
        save(model, path)
        again = load(path)
        assert str(again.get_metadata_routing()) == str(model.get_metadata_routing())
    assert again._sklearn_output_config == {"transform": "pandas"}


def test_callbacks_are_left_out(path):
    callback = pytest.importorskip("sklearn.callback")
    save(KSubspaces().set_callbacks(callback.ProgressBar()), path)
    assert "_skl_callbacks" not in vars(load(path))


@pytest.mark.parametrize("device", ["cuda", "cuda:3", torch.device("cuda", 1)])
def test_a_model_of_a_gpu_predicts_without_one(
    device, fitted, path, answers, assert_same, monkeypatch
):
    model = copy.deepcopy(fitted("redunet_images"))
    rows = load_digits().data[:20] / 16
    expected = answers(model, rows)
    save(model.set_params(device=device), path)

    def refuse(*_, **__):
        raise AssertionError("CUDA was asked")

    with monkeypatch.context() as patch:
        for name in ("is_available", "init", "device_count", "_lazy_init"):
            patch.setattr(torch.cuda, name, refuse)
        again = load(path)
    assert again.device == device
    if not torch.cuda.is_available():
        assert_same(expected, answers(again, rows))


def test_a_fresh_process_gives_the_same_answers(fitted, path):
    model = fitted("crate")
    save(model, path)
    code = (
        "import sys, numpy as np\n"
        "from sklearn.datasets import load_iris\n"
        "from sklearn_whitebox.persistence import load\n"
        "X = load_iris().data\n"
        "found = load(sys.argv[1]).predict_proba((X - X.mean(0)) / X.std(0))\n"
        "sys.stdout.write(found.tobytes().hex())\n"
    )
    command = [sys.executable, "-c", code, str(path)]
    run = subprocess.run(command, check=True, capture_output=True, text=True)
    X = load_iris().data
    expected = model.predict_proba((X - X.mean(0)) / X.std(0))
    found = np.frombuffer(bytes.fromhex(run.stdout)).reshape(expected.shape)
    # Another process may cut its sums for another number of threads.
    assert_allclose(found, expected, rtol=1e-5)


def test_other_readers_of_safetensors_open_the_file(small, path, assert_same):
    safetensors = pytest.importorskip("safetensors")
    save(small, path)
    with path.open("rb") as file:
        header = read_header(file, path.stat().st_size)
        arrays = read_arrays(file, path.stat().st_size, header)
    with safetensors.safe_open(path, framework="np") as other:
        assert other.metadata() == header.metadata
        assert_same(arrays, {name: other.get_tensor(name) for name in arrays})
        assert set(other.keys()) == set(arrays)


class Grown(KSubspaces):
    """A class of somebody else."""


REFUSED = [
    (lambda: KSubspaces(random_state=np.random.RandomState(0)), "Set it to an int"),
    (
        lambda: ReduNetClassifier(lift=StandardScaler()),
        "estimators of sklearn_whitebox",
    ),
    (lambda: RateReductionEmbedding(augment=print), "augment=.*pickle"),
    (
        lambda: RateReductionEmbedding(augment=lambda X, rng: X),
        "which no file can turn",
    ),
    (lambda: KSubspaces(subspace_dim=pd.Series([1, 2])), "NumPy array or a list"),
    (lambda: KSubspaces(subspace_dim=[1, {"a": print}]), r"since <built-in.*> is a"),
    (lambda: KSubspaces(subspace_dim=np.zeros(2, "f8,i4")), "dtype"),
    (lambda: KSubspaces(subspace_dim=np.ma.masked_array([1])), "MaskedArray"),
    (lambda: KSubspaces(subspace_dim=np.longdouble(1)), "dtype"),
    (lambda: LearnedSparseEncoder(torch.eye(2)), "NumPy array"),
    (lambda: CodingLengthClusterer(connectivity=coo_array((3, 3))), "tocsr"),
    (Grown, "Grown"),
    (lambda: StandardScaler(), "sklearn.preprocessing"),
    (lambda: make_pipeline(StandardScaler(), KSubspaces()), "Save its steps"),
]


@pytest.mark.parametrize(("make", "message"), REFUSED)
def test_what_no_file_can_hold_is_refused_with_a_way_out(make, message, path):
    with pytest.raises(TypeError, match=message) as error:
        save(make(), path)
    assert "skops" in str(error.value)
    assert not list(path.parent.iterdir())


def test_a_class_is_refused(path):
    with pytest.raises(TypeError, match=r"got the class KSubspaces\. Pass an instance"):
        save(KSubspaces, path)


def test_the_refusal_names_parameter_and_value(path):
    model = SparseDictionaryLearner(random_state=np.random.RandomState(3))
    with pytest.raises(TypeError, match=r"parameter random_state=RandomState"):
        save(model, path)


def test_what_contains_itself_is_refused(path):
    endless = [1]
    endless.append(endless)
    with pytest.raises(TypeError, match="60 levels"):
        save(KSubspaces(subspace_dim=endless), path)


def test_an_attribute_that_is_no_state_is_refused(path):
    model = KSubspaces()
    model.predict = len
    with pytest.raises(TypeError, match="'predict'"):
        save(model, path)
