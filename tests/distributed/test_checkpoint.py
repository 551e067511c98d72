"""Checkpoints in one process: resumed, refused, damaged."""

import json
import warnings

import numpy as np
import pytest
from numpy.testing import assert_array_equal
from sklearn.base import clone

from sklearn_whitebox import CRATEClassifier, CRATERegressor, NearestSubspaceClassifier
from sklearn_whitebox._progress import Progress
from sklearn_whitebox.distributed import fit_distributed


@pytest.fixture
def data(rng):
    X = rng.normal(size=(70, 2))
    return X, (X[:, 0] * X[:, 1] > 0).astype(int)


@pytest.fixture
def model():
    return CRATEClassifier(n_ensemble=2, max_iter=4, random_state=0)


class Stop(Exception):
    """What the tests interrupt training with."""


def stop_at(monkeypatch, number):
    """Stop the next fit when so many passes of all networks were reported."""
    seen = []

    def call(self, iteration, objective=None):
        seen.append(iteration)
        if len(seen) == number:
            raise Stop
        return False

    monkeypatch.setattr(Progress, "__call__", call)


def assert_same_model(one, other):
    assert one.weights_.keys() == other.weights_.keys()
    for name, weights in other.weights_.items():
        assert_array_equal(one.weights_[name], weights)
    for name in ("loss_curve_", "validation_curve_", "best_iteration_"):
        assert getattr(one, name) == getattr(other, name)


def test_one_process_gives_what_fit_gives(data, model):
    whole = clone(model).fit(*data)
    assert fit_distributed(model, *data) is model
    assert_same_model(model, whole)
    assert_array_equal(model.predict_proba(data[0]), whole.predict_proba(data[0]))


@pytest.mark.parametrize(
    ("model", "stops"),
    [
        (CRATEClassifier(n_ensemble=2, max_iter=4, random_state=0), [2, 4]),
        (CRATEClassifier(n_ensemble=2, max_iter=4, random_state=None), [3]),
        (CRATERegressor(n_ensemble=1, max_iter=3, random_state=0, refit=True), [2, 2]),
        (CRATERegressor(n_ensemble=1, max_iter=4, random_state=0, n_bins=4), [3]),
    ],
    ids=["ensemble", "drawn", "refit", "again"],
)
def test_a_fit_goes_on_where_it_was_stopped(data, model, stops, tmp_path, monkeypatch):
    X, y = data
    for number in stops:
        with monkeypatch.context() as patch:
            stop_at(patch, number)
            with pytest.raises(Stop):
                fit_distributed(clone(model), X, y, checkpoint=tmp_path)
    resumed = fit_distributed(clone(model), X, y, checkpoint=tmp_path)
    seed = json.loads((tmp_path / "run.json").read_text())["seed"]
    if model.random_state is None:
        monkeypatch.setattr(
            "sklearn_whitebox.estimators._crate_fitting.draw_seed", lambda _: seed
        )
    assert_same_model(resumed, clone(model).fit(X, y))


def test_few_rows_in_double_precision_go_on_with_their_patience(
    data, tmp_path, monkeypatch
):
    X, y = data[0][:40], data[1][:40]
    model = CRATEClassifier(max_iter=12, n_iter_no_change=2, random_state=0)
    with monkeypatch.context() as patch:
        stop_at(patch, 3)
        with pytest.raises(Stop):
            fit_distributed(clone(model), X, y, checkpoint=tmp_path)
    resumed = fit_distributed(clone(model), X, y, checkpoint=tmp_path)
    assert_same_model(resumed, clone(model).fit(X, y))


def test_checkpoints_may_be_rarer(data, model, tmp_path, monkeypatch):
    with monkeypatch.context() as patch:
        stop_at(patch, 2)
        with pytest.raises(Stop):
            fit_distributed(model, *data, checkpoint=tmp_path, checkpoint_every=3)
    assert [path.name for path in tmp_path.iterdir()] == ["run.json"]


def test_a_finished_run_is_not_repeated(data, model, tmp_path, monkeypatch):
    done = fit_distributed(clone(model), *data, checkpoint=tmp_path)
    stop_at(monkeypatch, 1)
    assert_same_model(fit_distributed(model, *data, checkpoint=tmp_path), done)


def test_a_checkpoint_of_another_run_is_refused(data, model, tmp_path):
    X, y = data
    fit_distributed(clone(model), X, y, checkpoint=tmp_path)
    longer = clone(model).set_params(max_iter=5)
    with pytest.raises(ValueError, match="max_iter=4 instead of 5"):
        fit_distributed(longer, X, y, checkpoint=tmp_path)
    with pytest.raises(ValueError, match="random_state=0 instead of 1"):
        fit_distributed(
            clone(model).set_params(random_state=1), X, y, checkpoint=tmp_path
        )
    with pytest.raises(ValueError, match="other data: X differ"):
        fit_distributed(clone(model), X * 2, y, checkpoint=tmp_path)
    with pytest.raises(ValueError, match="other data: y"):
        fit_distributed(clone(model), X, 1 - y, checkpoint=tmp_path)
    weight = np.r_[2.0, np.ones(len(y) - 1)]
    with pytest.raises(ValueError, match="sample_weight"):
        fit_distributed(clone(model), X, y, sample_weight=weight, checkpoint=tmp_path)
    elsewhere = clone(model).set_params(verbose=0, n_jobs=2, device="cpu")
    fit_distributed(elsewhere, X, y, checkpoint=tmp_path)


@pytest.mark.parametrize(
    ("name", "harm"),
    [
        ("progress", "cut"),
        ("progress", "flip"),
        ("progress", "other"),
        ("first-0", "flip"),
        ("first-0", "empty"),
    ],
)
def test_a_damaged_checkpoint_is_refused(
    data, model, tmp_path, monkeypatch, name, harm
):
    with monkeypatch.context() as patch:
        stop_at(patch, 3 if name == "progress" else 6)
        with pytest.raises(Stop):
            fit_distributed(clone(model), *data, checkpoint=tmp_path)
    path = tmp_path / f"{name}.safetensors"
    content = bytearray(path.read_bytes())
    if harm == "flip":
        content[-9] ^= 1
    elif harm == "other":
        content[:] = b"no such file" * 100
    path.write_bytes(content[: {"cut": -5, "empty": 0}.get(harm, len(content))])
    with pytest.raises(ValueError, match=r"cannot be used.*Delete this file"):
        fit_distributed(clone(model), *data, checkpoint=tmp_path)
    path.unlink()
    fit_distributed(model, *data, checkpoint=tmp_path)


def test_a_damaged_manifest_is_refused(data, model, tmp_path):
    fit_distributed(clone(model), *data, checkpoint=tmp_path)
    manifest = tmp_path / "run.json"
    text = manifest.read_text()
    for broken in (text[:-4], "[]", "{}"):
        manifest.write_text(broken)
        with pytest.raises(ValueError, match="is damaged"):
            fit_distributed(clone(model), *data, checkpoint=tmp_path)
    manifest.write_text(text.replace('"format":1', '"format":7'))
    with pytest.raises(ValueError, match="format 7"):
        fit_distributed(clone(model), *data, checkpoint=tmp_path)
    seed = json.loads(text)["seed"]
    manifest.write_text(text.replace(f'"seed":{seed}', f'"seed":{seed + 1}'))
    with pytest.raises(ValueError, match="of another run than"):
        fit_distributed(clone(model), *data, checkpoint=tmp_path)
    manifest.unlink()
    with pytest.raises(ValueError, match="a folder of its own"):
        fit_distributed(clone(model), *data, checkpoint=tmp_path)


def test_a_checkpoint_that_cannot_be_written_leaves_the_last_one(
    data, model, tmp_path, monkeypatch
):
    whole = clone(model).fit(*data)
    with monkeypatch.context() as patch:
        stop_at(patch, 3)
        with pytest.raises(Stop):
            fit_distributed(clone(model), *data, checkpoint=tmp_path)
    before = (tmp_path / "progress.safetensors").read_bytes()

    def full(*_):
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr("sklearn_whitebox.distributed._checkpoint.write_container", full)
        with pytest.raises(OSError, match="No space left"):
            fit_distributed(clone(model), *data, checkpoint=tmp_path)
    assert (tmp_path / "progress.safetensors").read_bytes() == before
    (tmp_path / ".sklearn_whitebox-0.tmp").write_bytes(b"of a killed process")
    assert_same_model(fit_distributed(model, *data, checkpoint=tmp_path), whole)
    assert not list(tmp_path.glob("*.tmp"))


def test_what_cannot_be_done_is_refused_before_training(data, model, tmp_path):
    X, y = data
    with pytest.raises(TypeError, match="CRATEClassifier and CRATERegressor, not Near"):
        fit_distributed(NearestSubspaceClassifier(), X, y)
    with pytest.raises(ValueError, match=r"max_time=3 .* use max_iter"):
        fit_distributed(clone(model).set_params(max_time=3), X, y)
    with pytest.raises(ValueError, match="on_interrupt='keep'"):
        fit_distributed(clone(model).set_params(on_interrupt="keep"), X, y)
    with pytest.raises(ValueError, match="backend='mpi'"):
        fit_distributed(model, X, y, backend="mpi")
    with pytest.raises(ValueError, match="timeout=0"):
        fit_distributed(model, X, y, timeout=0)
    with pytest.raises(ValueError, match="checkpoint_every=0"):
        fit_distributed(model, X, y, checkpoint_every=0)
    (tmp_path / "file").write_text("")
    with pytest.raises(ValueError, match="is a file"):
        fit_distributed(model, X, y, checkpoint=tmp_path / "file")
    with pytest.raises(TypeError, match="must be a path"):
        fit_distributed(model, X, y, checkpoint=3)
    with pytest.raises(ValueError, match="max_iter"):
        fit_distributed(clone(model).set_params(max_iter=0), X, y)
    assert not hasattr(model, "weights_")


def test_warm_weights_are_part_of_the_run(data, model, tmp_path):
    model.set_params(warm_start=True, n_ensemble=1).fit(*data)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        fit_distributed(model, *data, checkpoint=tmp_path)
        with pytest.raises(ValueError, match="other data: weights_/"):
            fit_distributed(model, *data, checkpoint=tmp_path)
