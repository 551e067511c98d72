"""Saving and loading is the identity on every tree of values a model may hold."""

import math
import os

import numpy as np
import pytest
import scipy.sparse as sp
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as stn

from sklearn_whitebox import PolarTransformer
from sklearn_whitebox.persistence import load, save

DTYPES = st.one_of(
    stn.boolean_dtypes(),
    stn.integer_dtypes(endianness="?"),
    stn.unsigned_integer_dtypes(endianness="?"),
    stn.floating_dtypes(endianness="?", sizes=(16, 32, 64)),
    stn.complex_number_dtypes(endianness="?", sizes=(64, 128)),
    stn.datetime64_dtypes(endianness="?"),
    stn.timedelta64_dtypes(endianness="?"),
    stn.unicode_string_dtypes(endianness="?", max_len=5),
    stn.byte_string_dtypes(endianness="?", max_len=5),
)
LAYOUTS = st.sampled_from(
    [
        lambda a: a,
        np.asfortranarray,
        lambda a: a.T,
        lambda a: a[::-1],
        lambda a: a[..., ::-2],
        lambda a: np.broadcast_to(a, (2, *a.shape)),
    ]
)


def lay_out(array, how):
    return array if array.ndim == 0 else how(array)


ARRAYS = st.builds(
    lay_out,
    DTYPES.flatmap(
        lambda dtype: stn.arrays(
            dtype, stn.array_shapes(min_dims=0, max_dims=3, min_side=0, max_side=4)
        )
    ),
    LAYOUTS,
)
KEYS = st.one_of(
    st.text(max_size=4), st.integers(), st.booleans(), st.none(), st.tuples(st.text())
)
LEAVES = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.floats(),
    st.complex_numbers(),
    st.text(st.characters(exclude_categories=())),
    st.builds(slice, st.none() | st.integers()),
    ARRAYS,
    ARRAYS.filter(lambda array: array.size).map(lambda array: array.ravel()[0]),
)
TREES = st.recursive(
    LEAVES,
    lambda trees: st.one_of(
        st.lists(trees, max_size=3),
        st.lists(trees, max_size=3).map(tuple),
        st.dictionaries(KEYS, trees, max_size=3),
    ),
    max_leaves=8,
)


@pytest.fixture(scope="module")
def there_and_back(tmp_path_factory):
    path = tmp_path_factory.mktemp("values") / "model.safetensors"

    def carry(value):
        model = PolarTransformer()
        model.tree_ = value
        save(model, path)
        return load(path).tree_

    with pytest.MonkeyPatch.context() as patch:
        # Waiting for the disk hundreds of times proves nothing more.
        patch.setattr(os, "fsync", lambda _: None)
        yield carry


@settings(max_examples=60, deadline=None)
@given(tree=TREES)
def test_any_tree_comes_back(tree, there_and_back, assert_same):
    assert_same(tree, there_and_back(tree))


@pytest.mark.parametrize(
    "value",
    [
        2**53,
        2**53 + 1,
        -(2**200),
        -0.0,
        math.nan,
        -math.inf,
        5e-324,
        complex(-0.0, math.nan),
        (),
        {},
        {"$": "tuple"},
        {"$": "array", "name": "array0"},
        {1: "int", "1": "text", True.__class__.__name__: 0},
        {(1, None): {2: 3}},
        '\ud800 \x00 \U0001f600 "quoted" \\',
        np.float32("nan"),
        np.str_("text"),
        np.bytes_(b"bytes"),
        np.datetime64("2020-02-02T02:02", "ms"),
        np.datetime64("NaT"),
        np.bool_(True),
        np.array(3.5),
        np.array(["red", None, math.nan, True, 5], dtype=object),
        np.array([["a", "b"]], dtype=object),
        np.empty((0, 3), dtype=object),
        np.array("alone", dtype=object),
        np.empty((3, 0, 2), dtype="U7"),
        np.zeros((2, 3), dtype=">c16"),
        np.array(["long", "s" * 100], dtype=np.dtypes.StringDType()),
        np.lib.stride_tricks.as_strided(np.arange(3.0), (4, 3), (0, 8)),
        torch.device("cuda", 2),
        torch.device("cpu"),
    ],
    ids=repr,
)
def test_single_values_come_back(value, there_and_back, assert_same):
    assert_same(value, there_and_back(value))


def nested(depth, wrap):
    value = 0
    for _ in range(depth):
        value = wrap(value)
    return value


@pytest.mark.parametrize(
    "wrap",
    [
        lambda value: [value],
        lambda value: (value,),
        lambda value: {"key": value},
        lambda value: {1: value},
    ],
    ids=["list", "tuple", "named", "dict"],
)
def test_values_are_saved_as_deep_as_they_are_loaded(wrap, there_and_back, assert_same):
    most = nested(60, wrap)
    assert_same(most, there_and_back(most))
    with pytest.raises(TypeError, match="is nested in more than 60 levels"):
        there_and_back(wrap(most))


@pytest.mark.parametrize("key", [torch.device("cpu"), PolarTransformer()], ids=repr)
def test_keys_that_could_not_be_loaded_are_not_saved(key, there_and_back):
    with pytest.raises(TypeError, match=f"has a {type(key).__name__} for a key"):
        there_and_back({key: 1})


def test_integers_may_have_any_number_of_digits(there_and_back):
    value = -(7**20_000)
    # Text of so many digits would not be written.
    assert (there_and_back(value) == value) is True


@pytest.mark.parametrize("kind", ["csr_array", "csr_matrix", "csc_array", "csc_matrix"])
@pytest.mark.parametrize("index", [np.int32, np.int64])
def test_sparse_matrices_come_back(kind, index, there_and_back, assert_same):
    matrix = getattr(sp, kind)(np.eye(4, 5)[::-1].astype(np.float32))
    matrix.indices, matrix.indptr = (
        part.astype(index) for part in (matrix.indices, matrix.indptr)
    )
    assert_same(matrix, there_and_back(matrix))


def test_a_field_of_structs_is_read_right(there_and_back, assert_same):
    """The numbers are neither aligned nor next to one another."""
    fields = np.zeros(5, dtype=[("flag", "u1"), ("number", "<f8")])
    fields["number"] = np.arange(5)
    assert_same(fields["number"].copy(), there_and_back(fields["number"]))


@pytest.mark.parametrize("order", ["C", "F"])
def test_loaded_arrays_can_be_written(order, there_and_back):
    array = there_and_back(np.ones((3, 4), order=order))
    assert array.flags.writeable
    assert array.flags[f"{order}_CONTIGUOUS"]


def test_a_loaded_model_may_be_changed_without_changing_the_other(there_and_back):
    before = np.zeros(3)
    there_and_back(before)[:] = 1
    assert not before.any()
