"""From the columns of a table, numbers and labels, to one array of numbers.

A fit reads the columns, finds the categories, and keeps both as plain data::

    columns, y = read_columns(self, X, y, categorical_features="from_dtype")
    categories = find_categories(columns, sample_weight, max_categories=20)
    inputs = encode_columns(columns, categories)
    self.is_categorical_, self.categories_ = columns.is_categorical, categories

and a prediction reads them as the fit did::

    columns = read_columns(
        self, X, categorical_features=self.is_categorical_, reset=False
    )
    inputs = encode_columns(columns, self.categories_)
"""

import math
from numbers import Integral, Real
from typing import NamedTuple

import numpy as np
from scipy.sparse import issparse
from sklearn.utils import check_array, check_X_y
from sklearn.utils.validation import validate_data

from sklearn_whitebox._array import (
    _check_range,
    _refuse_lazy,
    as_numpy,
    validate_array,
)
from sklearn_whitebox.estimators._frames import (
    Labels,
    as_frame,
    column_kind,
    column_labels,
    column_name,
    is_frame,
    select_columns,
)


class Columns(NamedTuple):
    """What was read from a table.

    Parameters
    ----------
    numbers : ndarray of shape (n_samples, n_numeric)
        The numeric columns.
    labels : list of Labels
        The nominal columns.
    is_categorical : ndarray of bool of shape (n_features,)
        Which columns are nominal.
    """

    numbers: np.ndarray
    labels: list[Labels]
    is_categorical: np.ndarray


def read_columns(
    estimator,
    X,
    y="no_validation",
    *,
    categorical_features="from_dtype",
    missing="error",
    reset=True,
    power=2,
    **check_params,
):
    """Validate a table and part its numeric from its nominal columns.

    Parameters
    ----------
    estimator : estimator
        Gets ``n_features_in_`` and ``feature_names_in_`` if `reset`.
    X : array-like, DataFrame or Tensor of shape (n_samples, n_features)
        Table.
    y : array-like or "no_validation"
        Target.
    categorical_features : "from_dtype", None or array-like
        Nominal columns: ``"from_dtype"`` takes the columns of a data frame that hold
        categories, strings or booleans, and none of an array; None takes none; else
        their mask, indices or names. Unless `reset`, the mask found at fit.
    missing : {"error", "token"}, default="error"
        Whether a numeric column may hold NaN. A nominal one may: a missing label is a
        category like another.
    reset : bool, default=True
        Whether this is a fit.
    power : int, default=2
        Highest power of the numbers that the method computes in their own precision.
    **check_params : kwargs
        Further arguments of :func:`sklearn.utils.check_X_y`.

    Returns
    -------
    columns : Columns or (Columns, ndarray)
        What was read, and `y` unless it is ``"no_validation"``. Without nominal columns
        the numbers are float32 if the table is; else they are float64.

    Raises
    ------
    TypeError
        If the table is sparse or lazy, or a column holds what is neither number nor
        label, or both.
    ValueError
        If the numbers are not finite or too large, columns are named that are not
        there, a column of text is not among the nominal ones, or names or number of
        the columns differ from those at fit.
    """
    _refuse_lazy(X, "X", estimator, reset=reset)
    X = as_frame(as_numpy(X))
    if missing == "token":
        check_params["ensure_all_finite"] = "allow-nan"
    is_categorical = np.asarray(categorical_features)
    if reset:
        is_categorical = _find_nominal(X, categorical_features)
    if not is_categorical.any() or issparse(X) or len(_shape(X)) != 2:
        _refuse_text(X, ())
        out = validate_array(estimator, X, y, reset=reset, power=power, **check_params)
        numbers, target = out if isinstance(out, tuple) else (out, None)
        labels = []
        is_categorical = np.zeros(numbers.shape[1], dtype=bool)
    else:
        X = _as_table(X)
        validate_data(estimator, X, reset=reset, skip_check_array=True)
        nominal = np.flatnonzero(is_categorical).tolist()
        _refuse_text(X, nominal)
        numbers, target = _read_numbers(estimator, X, y, ~is_categorical, check_params)
        _check_range(numbers, power)
        labels = [column_labels(X, j) for j in nominal]
    if missing == "token":
        # With NaN about, the range of the rest has not been seen yet.
        _check_range(numbers[np.isfinite(numbers)], power)
    columns = Columns(numbers, labels, is_categorical)
    return columns if isinstance(y, str) and y == "no_validation" else (columns, target)


def find_categories(columns, sample_weight, *, max_categories=None, min_frequency=None):
    """Find the categories of every nominal column that are frequent enough.

    Parameters
    ----------
    columns : Columns
        Training table.
    sample_weight : ndarray of shape (n_samples,)
        Weights; an integer counts as that many rows, and a row of weight zero does not
        make a category.
    max_categories : int or None, default=None
        Most categories of a column, one for all the infrequent ones included; None
        sets no limit. Missing labels do not count.
    min_frequency : int, float or None, default=None
        Least number of rows of a category, or, if a float, their least share.

    Returns
    -------
    categories : list of ndarray
        Categories of every nominal column in ascending order, NaN for missing labels
        last. What is not among them, infrequent or unknown, has the code
        ``len(categories[j])``.
    """
    weight = np.asarray(sample_weight, dtype=np.float64)
    return [
        _frequent(labels, weight, max_categories, min_frequency)
        for labels in columns.labels
    ]


def encode_columns(columns, categories):
    """Put the numbers and the codes of the labels side by side.

    Parameters
    ----------
    columns : Columns
        Table.
    categories : list of ndarray
        Categories of every nominal column.

    Returns
    -------
    encoded : ndarray of shape (n_samples, n_numeric + n_nominal)
        The numeric columns, then the codes of the nominal ones, from 0 to
        ``len(categories[j])``, the last for labels that are not among the categories.

    Raises
    ------
    ValueError
        If a column held text at fit and holds none now, or the other way round.
    """
    if not columns.labels:
        return columns.numbers
    codes = [
        _codes(labels, known)
        for labels, known in zip(columns.labels, categories, strict=True)
    ]
    return np.column_stack([columns.numbers, *codes])


def _find_nominal(X, categorical_features):
    n_features = _shape(X)[1] if len(_shape(X)) == 2 else 0
    if isinstance(categorical_features, str) and categorical_features == "from_dtype":
        columns = range(n_features) if is_frame(X) else ()
        is_nominal = [column_kind(X, j) != "number" for j in columns]
        return np.array(is_nominal or [False] * n_features, dtype=bool)
    chosen = np.asarray([] if categorical_features is None else categorical_features)
    # What is no dense table is refused by scikit-learn's validation.
    if chosen.size == 0 or n_features == 0 or issparse(X):
        return np.zeros(n_features, dtype=bool)
    return _chosen_mask(X, chosen, n_features)


def _chosen_mask(X, chosen, n_features):
    types = sorted({type(item).__name__ for item in chosen.ravel().tolist()})
    if chosen.ndim != 1 or len(types) > 1 or types[0] not in ("bool", "int", "str"):
        raise ValueError(
            "categorical_features must be an array-like of bool, int or str, got: "
            f"{', '.join(types)}."
        )
    if types == ["bool"]:
        if chosen.shape != (n_features,):
            raise ValueError(
                "categorical_features set as a boolean mask must have shape "
                f"(n_features,)=({n_features},), got: {chosen.shape}"
            )
        return chosen.astype(bool)
    if types == ["int"]:
        chosen = chosen.astype(int)
        if chosen.max() >= n_features or chosen.min() < 0:
            raise ValueError(
                "categorical_features set as integer indices must be in "
                f"[0, n_features - 1]=[0, {n_features - 1}], got: {chosen.tolist()}"
            )
    else:
        chosen = _positions(X, chosen.tolist())
    is_categorical = np.zeros(n_features, dtype=bool)
    is_categorical[chosen] = True
    return is_categorical


def _positions(X, names):
    if not is_frame(X):
        raise ValueError(
            "categorical_features should be passed as an array of integers or as a "
            "boolean mask when the model is fitted on data without feature names."
        )
    observed = list(X.columns)
    for name in names:
        if name not in observed:
            raise ValueError(
                f"categorical_features has an item value {name!r} which is not a valid "
                f"feature name of the training data. Observed feature names: {observed}"
            )
    return [observed.index(name) for name in names]


def _shape(X):
    if not isinstance(X, list | tuple):
        return getattr(X, "shape", ())
    try:
        return np.shape(X)
    except ValueError:  # rows of different lengths
        return ()


def _refuse_text(X, nominal):
    for j in range(X.shape[1]) if is_frame(X) else ():
        if j not in nominal and column_kind(X, j) == "text":
            raise ValueError(
                f"{column_name(X, j)} holds text, but is not among the "
                "categorical_features; add it to them, fit with "
                "categorical_features='from_dtype', or turn it into numbers."
            )


def _as_table(X):
    if is_frame(X):
        return X
    table = np.asarray(X)
    # Rows of text and numbers: NumPy would make all of them text.
    if table.dtype.kind in "US" and not isinstance(X, np.ndarray):
        table = np.asarray(X, dtype=object)
    return table


def _read_numbers(estimator, X, y, is_numeric, check_params):
    part = select_columns(X, np.flatnonzero(is_numeric).tolist())
    # The target and the number of rows are checked beside numbers: any will do.
    part = part if is_numeric.any() else np.zeros((X.shape[0], 1))
    settings = {"dtype": np.float64, "estimator": estimator, **check_params}
    if isinstance(y, str) and y == "no_validation":
        numbers, target = check_array(part, input_name="X", **settings), None
    else:
        numbers, target = check_X_y(part, as_numpy(y), **settings)
    return numbers[:, : is_numeric.sum()], target


def _frequent(labels, weight, max_categories, min_frequency):
    is_missing = labels.codes < 0
    mass = np.bincount(
        labels.codes[~is_missing], weight[~is_missing], minlength=len(labels.values)
    )
    seen = sorted(np.flatnonzero(mass > 0).tolist(), key=labels.values.__getitem__)
    mass = mass[seen]
    is_kept = np.ones(len(seen), dtype=bool)
    if min_frequency is not None:
        total = 1 if isinstance(min_frequency, Integral) else weight.sum()
        is_kept = mass >= min_frequency * total
    # The infrequent ones together are one category, as in scikit-learn's encoders.
    if max_categories is not None and max_categories < is_kept.sum() + 1:
        # Equal masses stay equal where weights are no integers.
        order = np.argsort(np.round(mass / weight.sum(), 12), kind="stable")
        is_kept[order[: len(order) - (max_categories - 1)]] = False
    values = [labels.values[k] for k in np.array(seen, dtype=int)[is_kept]]
    return _as_categories(values, has_missing=(weight[is_missing] > 0).any())


def _as_categories(values, *, has_missing):
    values = [*values, math.nan] if has_missing else values
    is_numeric = all(
        isinstance(value, Real) and not isinstance(value, bool) for value in values
    )
    is_whole = all(isinstance(value, int) and abs(value) < 2**63 for value in values)
    if not is_numeric:
        return np.array(values, dtype=object)
    return np.array(values, dtype=np.int64 if is_whole and values else np.float64)


def _codes(labels, categories):
    known = {value: k for k, value in enumerate(categories.tolist())}
    was_text = {isinstance(v, str) for v in known if v == v}
    is_text = {isinstance(v, str) for v in labels.values}
    if was_text and is_text and was_text != is_text:
        then, now = ("text", "numbers") if True in was_text else ("numbers", "text")
        raise ValueError(
            f"{labels.name} held {then} at fit and holds {now} now; give it the type "
            "that it had."
        )
    unknown = len(categories)
    has_missing = unknown > 0 and categories[-1] != categories[-1]
    table = [known.get(value, unknown) for value in labels.values]
    # Missing labels have the code -1, and thus read the last entry.
    table.append(unknown - 1 if has_missing else unknown)
    return np.array(table)[labels.codes]
