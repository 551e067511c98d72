import datetime
import pickle

import numpy as np
import pandas as pd
import polars as pl
import pytest
import scipy.sparse as sp
import torch
from numpy.testing import assert_allclose, assert_array_equal
from sklearn.base import BaseEstimator
from sklearn.ensemble import HistGradientBoostingClassifier
from sklearn.preprocessing import OrdinalEncoder

from sklearn_whitebox import CRATEClassifier
from sklearn_whitebox.estimators._crate_columns import (
    encode_columns,
    find_categories,
    read_columns,
)


class Reader(BaseEstimator):
    """The least of an estimator that reads a table."""

    def fit(self, X, y="no_validation", sample_weight=None, frequency=(), **settings):
        read = read_columns(self, X, y, **settings)
        columns = read if isinstance(y, str) else read[0]
        weight = np.ones(len(columns.numbers))
        weight = weight if sample_weight is None else sample_weight
        self.categories_ = find_categories(columns, weight, **dict(frequency))
        self.is_categorical_ = columns.is_categorical
        self.missing_ = settings.get("missing", "error")
        self.encoded_ = encode_columns(columns, self.categories_)
        return self

    def encode(self, X):
        columns = read_columns(
            self,
            X,
            categorical_features=self.is_categorical_,
            missing=self.missing_,
            reset=False,
        )
        return encode_columns(columns, self.categories_)


def table():
    return {
        "size": [1.0, 2.0, 3.0, 4.0],
        "colour": ["red", "blue", None, "red"],
        "sold": [True, False, True, True],
        "rooms": [3, 1, 2, 3],
    }


@pytest.mark.parametrize("frame", [pd.DataFrame, pl.DataFrame])
def test_labels_of_a_frame_are_found_by_their_type(frame):
    reader = Reader().fit(frame(table()))
    assert reader.is_categorical_.tolist() == [False, True, True, False]
    assert reader.n_features_in_ == 4
    assert reader.feature_names_in_.tolist() == ["size", "colour", "sold", "rooms"]
    assert_array_equal(
        reader.encoded_, [[1, 3, 1, 1], [2, 1, 0, 0], [3, 2, 2, 1], [4, 3, 1, 1]]
    )
    colours, sold = reader.categories_
    assert colours[:2].tolist() == ["blue", "red"]
    assert np.isnan(colours[2])
    assert sold.tolist() == [False, True]


def test_frames_of_both_libraries_give_the_same_codes():
    one, two = (Reader().fit(kind(table())) for kind in (pd.DataFrame, pl.DataFrame))
    assert_array_equal(one.encoded_, two.encode(pl.DataFrame(table())))
    assert_array_equal(one.encode(pl.DataFrame(table())), one.encoded_)


@pytest.mark.parametrize(
    "column",
    [
        pd.Categorical(["a", "b", "a"]),
        pd.Categorical([5, 7, 5]),
        pd.Series(["a", "b", "a"], dtype=object),
        pd.Series(["a", "b", "a"], dtype="string"),
        pd.Series([True, False, True], dtype="boolean"),
        pd.Series([True, False, None], dtype=object),
        pd.cut([1, 5, 1], 2),
    ],
    ids=lambda column: str(column.dtype),
)
def test_types_of_pandas_that_are_labels(column):
    X = pd.DataFrame({"label": column})
    reader = Reader().fit(X)
    assert reader.is_categorical_.tolist() == [True]
    assert_array_equal(reader.encode(X), reader.encoded_)
    assert reader.encoded_[0, 0] != reader.encoded_[1, 0]


@pytest.mark.parametrize(
    "column",
    [
        pd.array([1, None, 3], dtype="Int64"),
        pd.array([1.5, None, 3], dtype="Float32"),
        pd.Series([1, 2.5, None], dtype=object),
        np.array([1, 2, 3], dtype=np.uint8),
    ],
    ids=lambda column: str(column.dtype),
)
def test_types_of_pandas_that_are_numbers(column):
    X = pd.DataFrame({"number": column})
    reader = Reader().fit(X, missing="token")
    assert reader.is_categorical_.tolist() == [False]
    assert_array_equal(reader.encoded_, np.array(X.astype(float)))


def test_types_of_polars():
    X = pl.DataFrame(
        {
            "enum": pl.Series(["b", "a", None], dtype=pl.Enum(["a", "b"])),
            "category": pl.Series(["b", "a", "b"], dtype=pl.Categorical),
            "integer": pl.Series([1, None, 3], dtype=pl.Int16),
            "empty": [None, None, None],
        }
    )
    reader = Reader().fit(X, missing="token")
    assert reader.is_categorical_.tolist() == [True, True, False, False]
    missing = np.nan
    assert_array_equal(
        reader.encoded_,
        [[1, missing, 1, 1], [missing, missing, 0, 0], [3, missing, 2, 1]],
    )


@pytest.mark.parametrize(
    "chosen",
    [["colour", "rooms"], [1, 3], [False, True, False, True], np.array([1, 3])],
    ids=["names", "indices", "mask", "array"],
)
def test_nominal_columns_are_named_as_for_gradient_boosting(chosen):
    X = pd.DataFrame(table())
    reader = Reader().fit(X, categorical_features=chosen)
    boosting = HistGradientBoostingClassifier(max_iter=1, categorical_features=chosen)
    boosting.fit(X, [0, 1, 0, 1])
    assert_array_equal(reader.is_categorical_, boosting.is_categorical_)


@pytest.mark.parametrize(
    "chosen",
    [["shape"], [4], [-1], [True, False], [1.5], [1, "colour"], "colour"],
    ids=str,
)
def test_columns_that_gradient_boosting_refuses_are_refused(chosen):
    X = pd.DataFrame(table())
    boosting = HistGradientBoostingClassifier(max_iter=1, categorical_features=chosen)
    with pytest.raises((ValueError, TypeError)):
        boosting.fit(X, [0, 1, 0, 1])
    with pytest.raises(ValueError, match="categorical_features"):
        Reader().fit(X, categorical_features=chosen)


def test_names_need_a_frame():
    with pytest.raises(ValueError, match="without feature names"):
        Reader().fit(np.eye(3), categorical_features=["colour"])


@pytest.mark.parametrize("chosen", ["from_dtype", None, [], [False, False]], ids=str)
def test_arrays_without_nominal_columns_pass_as_they_are(chosen, dtype):
    X = np.eye(2, dtype=dtype)
    reader = Reader().fit(X, categorical_features=chosen)
    assert_array_equal(reader.encoded_, X)
    assert reader.encoded_.dtype == dtype
    assert reader.categories_ == []


@pytest.mark.parametrize(
    "X",
    [
        np.array([[1.5, 7], [2.5, 5], [3.5, 7]]),
        np.array([[1.5, "b"], [2.5, "a"], [3.5, "b"]], dtype=object),
        [[1.5, "b"], [2.5, "a"], [3.5, "b"]],
        torch.tensor([[1.5, 7], [2.5, 5], [3.5, 7]]),
    ],
    ids=["numbers", "objects", "list", "tensor"],
)
def test_nominal_columns_of_arrays(X):
    reader = Reader().fit(X, categorical_features=[1])
    assert_array_equal(reader.encoded_, [[1.5, 1], [2.5, 0], [3.5, 1]])
    assert_array_equal(reader.encode(X), reader.encoded_)
    assert reader.encoded_.dtype == np.float64


@pytest.mark.parametrize(
    "frequency",
    [
        {"max_categories": 3},
        {"max_categories": 1},
        {"max_categories": 6},
        {"min_frequency": 4},
        {"min_frequency": 0.15},
        {"min_frequency": 4, "max_categories": 3},
        {},
    ],
    ids=str,
)
@pytest.mark.parametrize("seed", range(3))
def test_infrequent_labels_are_those_of_the_ordinal_encoder(frequency, seed):
    rng = np.random.default_rng(seed)
    column = np.array(list("abcdef"), dtype=object)[rng.geometric(0.4, 40) % 6]
    column[rng.random(40) < 0.1] = np.nan
    X = pd.DataFrame({"label": column})
    reader = Reader().fit(X, frequency=frequency)
    encoder = OrdinalEncoder(**frequency).fit(X)
    infrequent = set()
    if frequency and encoder.infrequent_categories_[0] is not None:
        infrequent = set(encoder.infrequent_categories_[0])
    expected = [c for c in encoder.categories_[0] if c not in infrequent]
    assert [str(c) for c in reader.categories_[0]] == [str(c) for c in expected]
    is_infrequent = np.isin(column.astype(str), sorted(infrequent))
    unknown = len(reader.categories_[0])
    assert_array_equal(reader.encoded_[:, 0] == unknown, is_infrequent)


@pytest.mark.parametrize("unit", [1, 1 / 3])
def test_an_integer_weight_counts_labels_like_a_repetition(rng, unit):
    X = pd.DataFrame({"label": list("aabbcccddd")})
    weight = np.array([1, 2, 3, 0, 1, 1, 1, 5, 0, 0])
    frequency = {"max_categories": 3, "min_frequency": 0.2}
    weighted = Reader().fit(X, sample_weight=weight * unit, frequency=frequency)
    repeated = X.loc[np.repeat(X.index, weight)]
    plain = Reader().fit(repeated, frequency=frequency)
    assert_array_equal(weighted.categories_[0], plain.categories_[0])


def test_a_row_of_weight_zero_makes_no_category():
    X = pd.DataFrame({"label": ["a", "b", None]})
    reader = Reader().fit(X, sample_weight=np.array([1.0, 0.0, 0.0]))
    assert reader.categories_[0].tolist() == ["a"]
    assert reader.encoded_[:, 0].tolist() == [0, 1, 1]


@pytest.mark.parametrize("frame", [pd.DataFrame, pl.DataFrame])
def test_labels_never_seen_are_unknown(frame):
    reader = Reader().fit(frame({"label": ["b", "a", "b"], "x": [1, 2, 3]}))
    assert_array_equal(
        reader.encode(frame({"label": ["c", "a", None], "x": [1, 2, 3]})),
        [[1, 2], [2, 0], [3, 2]],
    )


def test_missing_labels_are_a_category_only_if_seen_at_fit():
    reader = Reader().fit(np.array([[1.0], [np.nan], [2.0]]), categorical_features=[0])
    assert reader.encode(np.array([[np.nan], [5.0]])).tolist() == [[2], [3]]


def test_a_column_whose_labels_are_all_missing_is_coded():
    X = pd.DataFrame({"label": pd.Series([None, None], dtype=object), "x": [1, 2]})
    reader = Reader().fit(X, categorical_features=["label"])
    assert reader.encode(X)[:, 1].tolist() == [0, 0]


@pytest.mark.parametrize("integer", [True, False])
def test_integers_and_floats_are_the_same_labels(integer):
    kinds = (np.int64, np.float64) if integer else (np.float64, np.int64)
    at_fit, later = (pd.DataFrame({"k": np.array([4, 9], dtype=k)}) for k in kinds)
    reader = Reader().fit(at_fit, categorical_features=["k"])
    assert_array_equal(reader.encode(later), [[0], [1]])


def test_large_integers_are_told_apart():
    ids = np.array([2**60, 2**60 + 1])
    reader = Reader().fit(pd.DataFrame({"id": ids}), categorical_features=["id"])
    assert reader.encoded_[:, 0].tolist() == [0, 1]


@pytest.mark.parametrize("frame", [pd.DataFrame, pl.DataFrame])
def test_text_where_numbers_were_is_refused(frame):
    labels, numbers = frame({"k": ["1", "2"]}), frame({"k": [1, 2]})
    reader = Reader().fit(labels, categorical_features=["k"])
    with pytest.raises(ValueError, match="'k' of X held text at fit"):
        reader.encode(numbers)
    reader = Reader().fit(numbers, categorical_features=["k"])
    with pytest.raises(ValueError, match="'k' of X held numbers at fit"):
        reader.encode(labels)
    reader = Reader().fit(numbers)
    with pytest.raises(ValueError, match="'k' of X holds text"):
        reader.encode(labels)


@pytest.mark.parametrize("frame", [pd.DataFrame, pl.DataFrame])
@pytest.mark.parametrize("chosen", [None, ["sold"]])
def test_text_outside_of_the_nominal_columns_is_refused(frame, chosen):
    with pytest.raises(ValueError, match=r"'colour' of X holds text.*from_dtype"):
        Reader().fit(frame(table()), categorical_features=chosen)


@pytest.mark.parametrize(
    ("column", "message"),
    [
        (["a", 1], "'k' of X mixes numbers and text"),
        ([True, "a"], "mixes booleans and text"),
        ([(1,), (2,)], "type tuple"),
        ([[1], [2]], "cannot be compared"),
        (pd.to_datetime(["2020-01-01", "2021-01-01"]), "type Timestamp"),
        ([b"a", b"b"], "type bytes"),
    ],
    ids=["mixed", "booleans", "tuples", "lists", "dates", "bytes"],
)
def test_columns_that_are_neither_numbers_nor_labels_are_refused(column, message):
    with pytest.raises(TypeError, match=message):
        Reader().fit(pd.DataFrame({"k": column}))


def test_dates_and_lists_of_polars_are_refused():
    with pytest.raises(TypeError, match="type date"):
        Reader().fit(pl.DataFrame({"k": [datetime.date(2020, 1, 1)] * 2}))
    with pytest.raises(TypeError, match="'k' of X"):
        Reader().fit(pl.DataFrame({"k": [[1], [2]]}))
    with pytest.raises(TypeError, match="collect"):
        Reader().fit(pl.DataFrame({"k": [1, 2]}).lazy())


@pytest.mark.parametrize("chosen", ["from_dtype", ["k"]])
@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_numbers_that_are_not_finite_are_refused(chosen, value):
    X = pd.DataFrame({"k": ["a", "b"], "x": [1, value]})
    X = X if chosen == ["k"] else X[["x"]]
    with pytest.raises(ValueError, match="Input X contains"):
        Reader().fit(X, categorical_features=chosen)


def test_infinity_is_refused_where_numbers_may_be_missing():
    for X in (pd.DataFrame({"k": ["a", "b"], "x": [1, np.inf]}), [[1.0], [np.inf]]):
        with pytest.raises(ValueError, match="Input X contains infinity"):
            Reader().fit(X, missing="token")
    with pytest.raises(ValueError, match="'k' of X"):
        Reader().fit(pd.DataFrame({"k": [1, np.inf]}), categorical_features=["k"])


def test_numbers_too_large_to_square_are_refused_beside_missing_ones():
    with pytest.raises(ValueError, match="overflow"):
        Reader().fit([[np.nan], [1e200]], missing="token")


def test_missing_numbers_pass_if_asked_for():
    X = pd.DataFrame({"k": ["a", "b"], "x": [1, None]})
    reader = Reader().fit(X, missing="token")
    assert_array_equal(reader.encoded_, [[1, 0], [np.nan, 1]])


@pytest.mark.parametrize("chosen", [None, [0]])
def test_what_is_no_dense_table_is_refused(chosen):
    for X, error in (
        (sp.csr_matrix(np.eye(3)), TypeError),
        (np.ones(3), ValueError),
        ([[1, 2], [3]], ValueError),
        (np.ones((0, 2)), ValueError),
        (np.ones((2, 2, 2)), ValueError),
    ):
        with pytest.raises(error):
            Reader().fit(X, categorical_features=chosen)


@pytest.mark.parametrize("frame", [pd.DataFrame, pl.DataFrame])
def test_columns_must_be_those_of_the_fit(frame):
    X = pd.DataFrame(table())
    reader = Reader().fit(frame(X))
    for columns in (["size", "colour"], ["colour", "size", "sold", "rooms"]):
        with pytest.raises(ValueError, match="feature names should match"):
            reader.encode(frame(X[columns]))
    with (
        pytest.warns(UserWarning, match="valid feature names"),
        pytest.raises(ValueError, match="X has 3 features, but Reader is expecting 4"),
    ):
        reader.encode(X.to_numpy()[:, :3])


def test_targets_are_checked_beside_nominal_columns():
    X = pd.DataFrame(table())
    columns, y = read_columns(Reader(), X, pd.Series([1, 0, 1, 0]))
    assert y.tolist() == [1, 0, 1, 0]
    for only_labels in (X, X[["colour"]]):
        with pytest.raises(ValueError, match="inconsistent numbers of samples"):
            read_columns(Reader(), only_labels, [1, 0])
    with pytest.raises(ValueError, match="Input y contains NaN"):
        read_columns(Reader(), X, [1, 0, 1, np.nan])
    with pytest.raises(ValueError, match="minimum of 9"):
        read_columns(Reader(), X, [1, 0, 1, 0], ensure_min_samples=9)
    assert len(columns.labels) == 2


def test_arrow_tables_are_frames():
    arrow = pytest.importorskip("pyarrow")
    X = pd.DataFrame(table())
    reader = Reader().fit(arrow.Table.from_pandas(X))
    assert_array_equal(reader.encoded_, Reader().fit(X).encoded_)
    assert reader.feature_names_in_.tolist() == list(X.columns)


def test_the_state_is_plain_data():
    reader = Reader().fit(pd.DataFrame(table()))
    copy = pickle.loads(pickle.dumps(reader))
    assert_array_equal(copy.encode(pd.DataFrame(table())), reader.encoded_)
    for categories in reader.categories_:
        assert isinstance(categories, np.ndarray)
        assert {type(c) for c in categories.tolist()} <= {str, bool, int, float}
    skops = pytest.importorskip("skops.io")
    state = {"categories": reader.categories_, "mask": reader.is_categorical_}
    loaded = skops.loads(skops.dumps(state))
    reader.categories_, reader.is_categorical_ = loaded["categories"], loaded["mask"]
    assert_array_equal(reader.encode(pd.DataFrame(table())), reader.encoded_)


def test_the_table_is_not_written_to():
    X = pd.DataFrame(table())
    before = X.copy(deep=True)
    Reader().fit(X).encode(X)
    pd.testing.assert_frame_equal(X, before)


@pytest.mark.parametrize(
    ("frame", "tokens"), [(pd.DataFrame, "dense"), (pl.DataFrame, "feature")]
)
def test_a_classifier_learns_from_labels_and_missing_numbers(rng, frame, tokens):
    colour = rng.choice(["red", "blue", "green", "grey"], 160)
    size = rng.standard_normal(160)
    size[rng.random(160) < 0.4] = np.nan
    X = frame({"size": size, "colour": colour})
    y = np.where(np.isnan(size) ^ np.isin(colour, ["red", "blue"]), "yes", "no")
    model = CRATEClassifier(
        tokens=tokens,
        missing="token",
        n_layers=1,
        d_token=16,
        max_iter=20,
        n_ensemble=1,
        learning_rate=1e-2,
        random_state=0,
    )
    assert model.fit(X, y).score(X, y) > 0.9
    new = frame({"size": [0.0, 0.0, None], "colour": ["pink", "lilac", None]})
    one, other, missing = model.predict_proba(new)
    assert_allclose(one, other, rtol=1e-5)
    assert np.isfinite(missing).all()
