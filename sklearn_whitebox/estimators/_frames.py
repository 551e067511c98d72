"""Columns of pandas and polars data frames, and of arrays, read alike."""

import math
from numbers import Integral, Real
from typing import NamedTuple

import numpy as np


class Labels(NamedTuple):
    """A column of labels.

    Parameters
    ----------
    name : str
        How to call the column in a message.
    values : list of str, bool, int or float
        Different labels, in no order.
    codes : ndarray of int of shape (n_samples,)
        Position of every label in `values`; -1 where it is missing.
    """

    name: str
    values: list
    codes: np.ndarray


def as_frame(X):
    """Turn Arrow tables into data frames, and refuse what would have to be collected.

    Parameters
    ----------
    X : object
        Anything a user passes.

    Returns
    -------
    X : object
        A pandas data frame if `X` was an Arrow table.

    Raises
    ------
    TypeError
        If it is a lazy frame.
    """
    if type(X).__name__ == "LazyFrame":
        raise TypeError("X is a LazyFrame, which has no rows yet; pass X.collect().")
    if hasattr(X, "column_names") and hasattr(X, "to_pandas"):
        return X.to_pandas()
    return X


def is_frame(X):
    """Tell data frames from arrays.

    Parameters
    ----------
    X : object
        Anything a user passes.

    Returns
    -------
    frame : bool
        True if `X` has named columns.
    """
    return hasattr(X, "columns") and len(getattr(X, "shape", ())) == 2


def select_columns(X, positions):
    """Give some columns of a table.

    Parameters
    ----------
    X : DataFrame or ndarray of shape (n_samples, n_features)
        Table.
    positions : int or list of int
        Which columns.

    Returns
    -------
    part : DataFrame, Series or ndarray
        Of the kind of the table; of one dimension if `positions` is an integer.
    """
    if hasattr(X, "iloc"):
        return X.iloc[:, positions]
    return X[:, positions]


def column_name(X, position):
    """Say which column is meant.

    Parameters
    ----------
    X : DataFrame or ndarray of shape (n_samples, n_features)
        Table.
    position : int
        Which column.

    Returns
    -------
    name : str
        For a message; capitalised.
    """
    if is_frame(X):
        return f"Column {list(X.columns)[position]!r} of X"
    return f"Column {position} of X"


def column_kind(X, position):
    """Tell what a column of a data frame holds.

    Parameters
    ----------
    X : DataFrame
        Table.
    position : int
        Which column.

    Returns
    -------
    kind : {"number", "boolean", "category", "text"}
        ``"category"`` if its type says so and its labels are numbers.

    Raises
    ------
    TypeError
        If it holds something else, such as dates, or text and numbers together.
    """
    column = select_columns(X, position)
    dtype = column.dtype
    if hasattr(dtype, "is_numeric"):
        kind, is_number = _polars_name(dtype), dtype.is_numeric()
    else:
        kind, is_number = getattr(dtype, "kind", "O"), dtype.kind in "iuf"
    if is_number or kind == "Null":
        return "number"
    if kind in ("b", "Boolean"):
        return "boolean"
    if kind in ("String", "Enum", "Categorical"):
        return "text"
    values = column_labels(X, position).values
    if any(isinstance(value, str) for value in values):
        return "text"
    if _is_categorical(dtype):
        return "category"
    # Objects that are all numbers are a column that went through a list.
    return "boolean" if any(isinstance(value, bool) for value in values) else "number"


def column_labels(X, position):
    """Read a nominal column.

    Parameters
    ----------
    X : DataFrame or ndarray of shape (n_samples, n_features)
        Table.
    position : int
        Which column.

    Returns
    -------
    labels : Labels
        Its labels, as plain Python values. Categories of a data frame that are neither
        text nor numbers, intervals for example, are written as text.

    Raises
    ------
    TypeError
        If a label is neither text, number nor boolean, or they are mixed.
    ValueError
        If a label is infinite.
    """
    name = column_name(X, position)
    column = select_columns(X, position)
    try:
        codes, values = _different(column)
    except TypeError as error:
        raise TypeError(f"{name} holds labels that cannot be compared: {error}.") from (
            error
        )
    kinds = {_kind(value) for value in values}
    if _is_categorical(column.dtype) and not kinds <= {"text", "numbers", "booleans"}:
        values, kinds = [str(value) for value in values], {"text"}
    _check_kinds(name, kinds)
    if kinds == {"numbers"} and any(math.isinf(value) for value in values):
        raise ValueError(
            f"Input X contains infinity: {name} does; make it NaN, which is a category "
            "of its own."
        )
    return Labels(name, values, np.asarray(codes, dtype=np.intp))


def _check_kinds(name, kinds):
    strange = sorted(kinds - {"text", "numbers", "booleans"})
    if strange:
        raise TypeError(
            f"{name} holds values of type {', '.join(strange)}; turn them into numbers "
            "or strings."
        )
    if len(kinds) > 1:
        raise TypeError(
            f"{name} mixes {' and '.join(sorted(kinds))}; turn all of them into "
            "strings, or all into numbers."
        )


def _kind(value):
    if isinstance(value, str):
        return "text"
    if isinstance(value, bool):
        return "booleans"
    return "numbers" if isinstance(value, Real) else type(value).__name__


def _is_categorical(dtype):
    return getattr(dtype, "name", None) == "category"


def _polars_name(dtype):
    return dtype.base_type().__name__


def _different(column):
    if hasattr(column, "factorize"):
        codes, values = column.factorize()
        return codes, [_plain(value) for value in values.tolist()]
    array = column if isinstance(column, np.ndarray) else None
    if array is not None and array.dtype.kind in "iufb":
        values, codes = np.unique(array, return_inverse=True)
        is_number = values == values
        # Missing numbers are sorted to the end.
        codes = np.where(codes < is_number.sum(), codes, -1)
        return codes, values[is_number].tolist()
    positions: dict = {}
    codes = [
        -1 if _is_missing(value) else positions.setdefault(value, len(positions))
        for value in map(_plain, column.tolist() if array is not None else column)
    ]
    return codes, list(positions)


def _plain(value):
    if isinstance(value, np.generic):
        value = value.item()
    if isinstance(value, Integral) and not isinstance(value, bool):
        return int(value)
    return value


def _is_missing(value):
    if value is None or type(value).__name__ in ("NAType", "NaTType"):
        return True
    return isinstance(value, float) and math.isnan(value)
