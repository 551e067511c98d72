"""From the rows that a user gives to what a CRATE takes, at fit and afterwards."""

import numpy as np

from sklearn_whitebox.estimators._crate_columns import encode_columns, read_columns
from sklearn_whitebox.modules._scaling import (
    channel_scaling,
    feature_scaling,
    quantile_edges,
    scale_features,
)


def read_rows(
    estimator, X, y="no_validation", *, reset=True, fitted=None, **check_params
):
    """Validate rows, and find out which columns are nominal.

    Parameters
    ----------
    estimator : BaseCRATE
        Gets the number and names of features if `reset`.
    X : array-like or DataFrame of shape (n_samples, n_features)
        Rows.
    y : array-like or "no_validation"
        Target.
    reset : bool, default=True
        Whether this is a fit; else the columns must be those of the fit.
    fitted : (ndarray of bool, bool) or None, default=None
        Which columns are nominal and whether numbers may be missing, where the
        estimator does not know it yet.
    **check_params : kwargs
        Further arguments of :func:`sklearn.utils.check_X_y`.

    Returns
    -------
    columns : Columns or (Columns, ndarray)
        What was read, and `y` unless it is ``"no_validation"``.

    Raises
    ------
    ValueError
        If the rows are not what the estimator can take.
    """
    if reset:
        chosen, missing = estimator.categorical_features, estimator.missing
    else:
        chosen, is_open = fitted or (
            estimator.is_categorical_,
            estimator._architecture["missing"],
        )
        missing = "token" if is_open else "error"
    try:
        return read_columns(
            estimator,
            X,
            y,
            categorical_features=chosen,
            missing=missing,
            reset=reset,
            **check_params,
        )
    except ValueError as error:
        _say_the_way_out(error, X, of_images=estimator.image_shape is not None)
        raise


def code_rows(estimator, X):
    """Validate rows for a fitted estimator, and code their categories.

    Parameters
    ----------
    estimator : BaseCRATE
        Fitted estimator.
    X : array-like or DataFrame of shape (n_samples, n_features)
        Rows.

    Returns
    -------
    coded : ndarray of shape (n_samples, n_inputs)
        Numbers as they are, then codes of categories.
    """
    columns = read_rows(estimator, X, reset=False)
    return encode_columns(columns, estimator.categories_)


def number_categories(estimator, X):
    """Validate rows, and replace labels by numbers in the columns where they are.

    Parameters
    ----------
    estimator : BaseCRATE
        Fitted estimator.
    X : array-like or DataFrame of shape (n_samples, n_features)
        Rows.

    Returns
    -------
    coded : ndarray of shape (n_samples, n_features)
        Numbers as they are, positions of labels in ``estimator.categories_``, -1 for
        labels that are not there, and NaN for missing ones.
    """
    columns = read_rows(estimator, X, reset=False)
    coded = encode_columns(columns, estimator.categories_)
    n_numeric = columns.numbers.shape[1]
    pairs = zip(columns.labels, estimator.categories_, strict=True)
    for j, (labels, known) in enumerate(pairs, start=n_numeric):
        coded[coded[:, j] == len(known), j] = -1
        coded[labels.codes < 0, j] = np.nan
    is_nominal = np.asarray(estimator.is_categorical_)
    position = np.argsort(np.argsort(is_nominal, kind="stable"), kind="stable")
    return coded[:, position] if columns.labels else np.array(coded)


def find_scaling(numbers, weight, config):
    """Find what puts the numeric columns on one scale.

    Parameters
    ----------
    numbers : ndarray of shape (n_samples, n_numeric)
        Training rows.
    weight : ndarray of shape (n_samples,)
        Weights.
    config : CRATEConfig
        Architecture.

    Returns
    -------
    centre, scale : ndarray of shape (n_numeric,)
        To be subtracted, then multiplied.
    """
    if config.tokens == "patch":
        return channel_scaling(numbers, config.image_shape[2], weight)
    return feature_scaling(numbers, weight)


def scale_rows(coded, centre, scale, config):
    """Scale the numeric columns, and leave the codes alone.

    Parameters
    ----------
    coded : ndarray of shape (n_samples, n_inputs)
        Numbers, then codes of categories.
    centre, scale : ndarray of shape (n_numeric,)
        To be subtracted, then multiplied.
    config : CRATEConfig
        Architecture.

    Returns
    -------
    inputs : ndarray of shape (n_samples, n_inputs)
        What the network takes, in float64.
    """
    n_numeric = len(centre)
    soften = config.tokens != "patch"
    numbers = scale_features(coded[:, :n_numeric], centre, scale, soften=soften)
    if coded.shape[1] == n_numeric:
        return numbers
    return np.hstack([numbers, coded[:, n_numeric:]])


def find_edges(inputs, weight, config):
    """Find the edges of the bins of the numeric columns.

    Parameters
    ----------
    inputs : ndarray of shape (n_samples, n_inputs)
        What the network takes.
    weight : ndarray of shape (n_samples,)
        Weights.
    config : CRATEConfig
        Architecture.

    Returns
    -------
    edges : ndarray of shape (n_numeric, n_bins + 1) or None
        None where there are no bins.
    """
    binned = config.tokens != "patch" and config.encoding == "piecewise_linear"
    if not binned or config.n_features == 0:
        return None
    return quantile_edges(inputs[:, : config.n_features], config.n_bins, weight)


def _say_the_way_out(error, X, *, of_images):
    # What scikit-learn says knows nothing of the estimator's parameters.
    text = str(error)
    if text.startswith("Input X contains NaN"):
        token = "Fit with missing='token', which learns what a missing number stands "
        way = "Fill" if of_images else f"{token}for, or fill"
        raise ValueError(
            f"Input X contains NaN. {way} what is missing, for example by "
            "sklearn.impute.SimpleImputer."
        ) from error
    if not text.startswith("could not convert string to float"):
        return
    try:
        np.asarray(X, dtype=np.float64)
    except ValueError:
        name = "X"
        way = (
            "Give the indices of such columns as categorical_features, pass a data "
            "frame, or turn them into numbers."
        )
    else:
        name, way = "y", "Turn it into numbers, or use a classifier."
    raise ValueError(f"{name} holds text: {text}. {way}") from error
