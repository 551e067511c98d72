"""Warnings point at the line of the caller."""

import ast
import warnings
from pathlib import Path

import numpy as np
import pytest
from sklearn.exceptions import ConvergenceWarning

import sklearn_whitebox
from sklearn_whitebox import CodingLengthClusterer, KSubspaces
from sklearn_whitebox._warn import warn

ROOT = Path(sklearn_whitebox.__file__).parent


def test_warning_is_at_the_line_of_the_caller():
    X = np.random.default_rng(0).normal(size=(40, 3))
    clusterer = CodingLengthClusterer(distortion=1e3, code_mean=False)
    with pytest.warns(ConvergenceWarning) as found:
        clusterer.fit(X)
    assert {Path(record.filename) for record in found} == {Path(__file__)}


def test_code_without_a_name_gets_its_warning():
    space = {"model": KSubspaces(3, random_state=0), "X": np.ones((5, 3))}
    with pytest.warns(ConvergenceWarning):
        exec(compile("model.fit(X)", "<text>", "exec"), space)


def test_default_category_is_a_warning_of_the_user():
    with warnings.catch_warnings(record=True) as found:
        warnings.simplefilter("always")
        warn("text")
    assert [record.category for record in found] == [UserWarning]


@pytest.mark.parametrize("path", sorted((ROOT / "estimators").glob("*.py")), ids=str)
def test_estimators_do_not_count_frames(path):
    if path.name == "_base.py":
        return  # unpickling has no caller to look for
    names = {
        node.arg
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.keyword)
    }
    assert "stacklevel" not in names
