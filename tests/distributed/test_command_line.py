"""The command line in one process."""

import numpy as np
import pytest

from sklearn_whitebox.distributed.__main__ import main
from sklearn_whitebox.persistence import load

PARAMS = '{"n_ensemble": 1, "max_iter": 3, "random_state": 0}'


@pytest.fixture
def arrays(rng, tmp_path):
    X = rng.normal(size=(60, 2))
    path = tmp_path / "train.npz"
    np.savez(path, X=X, y=(X[:, 0] > 0).astype(int), z=X[:, 1])
    return path


def run(tmp_path, *words, output="model.safetensors"):
    words = [str(word) for word in words]
    return main([*words, "--params", PARAMS, "--output", str(tmp_path / output)])


def test_a_model_is_fitted_and_saved(arrays, tmp_path, capsys):
    folder = tmp_path / "run"
    assert run(tmp_path, "--data", arrays, "--checkpoint", folder) == 0
    assert "model.safetensors" in capsys.readouterr().out
    assert (folder / "run.json").is_file()
    model = load(tmp_path / "model.safetensors")
    with np.load(arrays) as data:
        assert model.score(data["X"], data["y"]) > 0.7


def test_validation_rows_and_weights_are_read(arrays, tmp_path):
    weight = tmp_path / "weight.npy"
    np.save(weight, np.arange(60.0))
    words = ["--data", arrays, "--validation", arrays, "--weight", weight]
    words += ["--target", "z", "--estimator", "CRATERegressor"]
    assert run(tmp_path, *words) == 0
    assert load(tmp_path / "model.safetensors").validation_curve_


@pytest.mark.parametrize("kind", ["csv", "parquet"])
def test_tables_are_read(kind, rng, tmp_path):
    pandas = pytest.importorskip("pandas")
    if kind == "parquet":
        pytest.importorskip("pyarrow")
    table = pandas.DataFrame({"a": rng.normal(size=60), "b": ["x", "y"] * 30})
    table["label"] = table["b"] + "!"
    path = tmp_path / f"train.{kind}"
    getattr(table, f"to_{kind}")(path, index=False)
    assert run(tmp_path, "--data", path, "--target", "label") == 0
    model = load(tmp_path / "model.safetensors")
    assert list(model.feature_names_in_) == ["a", "b"]
    assert list(model.classes_) == ["x!", "y!"]


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--data", "none.npz"], "There is no file"),
        (["--target", "w"], "no array 'w'; it has 'X', 'y', 'z'"),
        (["--params", "{"], "not JSON"),
        (["--params", "[1]"], "JSON object"),
        (["--params", '{"depth": 3}'], "no parameter depth"),
        (["--params", '{"max_iter": -1}'], "max_iter"),
        (["--output", "model.pkl"], "must end in .safetensors"),
        (["--output", "nowhere/model.safetensors"], "does not exist"),
        (["--output", "folder.safetensors"], "is a folder"),
        (["--weight", "none.npy"], "There is no file none.npy"),
        (["--weight", "empty.npy"], "empty.npy is no readable .npy file"),
        (["--weight", "train.npz"], "train.npz is no readable .npy file"),
        (["--estimator", "CRATERegressor", "--params", '{"max_time": 1}'], "max_time"),
    ],
)
def test_what_does_not_serve_is_said_in_a_line(
    arrays, tmp_path, capsys, monkeypatch, words, message
):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "folder.safetensors").mkdir()
    (tmp_path / "empty.npy").touch()
    defaults = ["--data", str(arrays), "--output", "model.safetensors"]
    assert main([*defaults, *words]) == 2
    error = capsys.readouterr().err
    assert error.startswith("error: ")
    assert message in error
    assert error.count("\n") == 1


@pytest.mark.parametrize("missing", [None, np.nan])
def test_rows_without_a_target_are_refused(missing, tmp_path, capsys):
    pandas = pytest.importorskip("pandas")
    label = [1.0, 2.0, missing] if missing is not None else ["a", "b", None]
    path = tmp_path / "train.csv"
    pandas.DataFrame({"a": [1, 2, 3], "label": label}).to_csv(path, index=False)
    assert run(tmp_path, "--data", path, "--target", "label") == 2
    message = "train.csv has 1 rows without 'label', the first of them is number 3"
    assert message in capsys.readouterr().err


def test_a_folder_that_cannot_be_written_is_refused_first(
    arrays, tmp_path, capsys, monkeypatch
):
    monkeypatch.setattr("os.access", lambda path, mode: path != tmp_path)
    assert run(tmp_path, "--data", arrays) == 2
    assert "in a folder that cannot be written" in capsys.readouterr().err
