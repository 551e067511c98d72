"""Files of every format there was go on to be loaded.

Whoever raises the format calls ``write_example`` once, with the program that writes the
new format, and adds the file to the repository.
"""

import json
import math
import warnings
from pathlib import Path

import numpy as np
import pytest
import scipy.sparse as sp
import torch
from numpy.testing import assert_allclose
from sklearn.datasets import load_iris

from sklearn_whitebox import ReduNetClassifier
from sklearn_whitebox.estimators._base import WhiteboxVersionWarning
from sklearn_whitebox.persistence import _saving, load, save
from sklearn_whitebox.persistence._container import read_header

DATA = Path(__file__).parents[1] / "data"
# What the model of format 1 says about every thirtieth flower.
PROBABILITIES = [
    [0.999968351, 9.89052437e-06, 2.17583245e-05],
    [0.999828191, 6.90490698e-05, 0.000102759674],
    [0.000725601817, 0.991454681, 0.00781971753],
    [2.29439371e-05, 0.995713434, 0.00426362244],
    [8.60305884e-05, 0.0781590325, 0.921754937],
]


def every_kind():
    """A value of every kind that a file can hold."""
    return {
        "plain": [None, True, 1, 0.1, "text é \ud800"],
        "numbers": (2**70, -math.inf, -0.0, 1 + 2j, np.float32(0.1), np.int64(7)),
        "keys": {1: "one", None: "none", (1, "a"): "pair", "$": "dollar"},
        "arrays": [
            np.arange(6, dtype=">i4").reshape(2, 3),
            np.asfortranarray(np.eye(3, 2)) * (1 - 2j),
            np.array([True, False]),
            np.array(["red", "é"]),
            np.array([b"bytes"]),
            np.array(["2020-02-02", "NaT"], dtype="M8[D]"),
            np.array([3, 4], dtype="m8[ns]"),
            np.array(["red", None, math.nan, True], dtype=object),
            np.array(["long"], dtype=np.dtypes.StringDType()),
            np.array(2.5),
            np.empty((0, 3), dtype=np.float16),
        ],
        "others": [
            slice(1, None, 2),
            torch.device("cuda", 1),
            sp.csr_array(np.eye(3)),
            sp.csc_matrix(np.eye(2, 3)),
        ],
    }


def write_example():
    """Write the file of the present format."""
    X, y = load_iris(return_X_y=True)
    names = np.array(["setosa", "versicolor", "virginica"], dtype=object)[y]
    model = ReduNetClassifier(
        2, lift="bias", class_weight={"setosa": 1.0, "versicolor": 2, "virginica": 1}
    )
    for rows in (slice(0, None, 2), slice(1, None, 2)):
        model.partial_fit(X[rows], names[rows], classes=np.unique(names))
    model.every_kind_ = every_kind()
    save(model, DATA / f"saved_format_{_saving.FORMAT}.safetensors")


def opened(number):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", WhiteboxVersionWarning)
        return load(DATA / f"saved_format_{number}.safetensors")


FORMATS = range(1, _saving.FORMAT + 1)


@pytest.mark.parametrize("number", FORMATS)
def test_values_of_every_kind_are_read(number, assert_same):
    assert_same(every_kind(), opened(number).every_kind_)


@pytest.mark.parametrize("number", FORMATS)
def test_models_predict_as_they_did(number):
    model = opened(number)
    X, _ = load_iris(return_X_y=True)
    assert_allclose(model.predict_proba(X[::30]), PROBABILITIES, rtol=1e-6)


@pytest.mark.parametrize("number", FORMATS)
def test_streams_go_on(number):
    X, y = load_iris(return_X_y=True)
    model = opened(number)
    assert model.partial_fit(X, model.classes_[y]).score(X, model.classes_[y]) > 0.9


def kinds_in(path):
    with path.open("rb") as file:
        header = read_header(file, path.stat().st_size)
    return json.loads(header.metadata["model"])["state"]["every_kind_"]


def test_the_present_format_is_written_like_its_example(path):
    """A change of what is written is a new format, or a mistake."""
    save(opened(_saving.FORMAT), path)
    example = DATA / f"saved_format_{_saving.FORMAT}.safetensors"
    assert kinds_in(path) == kinds_in(example)
