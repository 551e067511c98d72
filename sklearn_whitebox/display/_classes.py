"""What the displays of several classes share: checks, names and colours."""

import numpy as np
from sklearn.utils.validation import check_is_fitted

from sklearn_whitebox._optional import require

# Petroff (2021), Accessible color sequences for data visualization: found by a search
# for sequences that people with a deficient colour vision can tell apart as well.
_COLOURS = (
    "#3f90da",
    "#ffa90e",
    "#bd1f01",
    "#832db6",
    "#92dadd",
    "#a96b59",
    "#717581",
    "#e76300",
    "#b9ac70",
    "#94a4a2",
)
_MARKERS = "o^sDvP*X"


def check_has(estimator, names, display, alternatives):
    """Check that an estimator is fitted and has what a display draws.

    Parameters
    ----------
    estimator : estimator
        Fitted or not.
    names : sequence of str
        Attributes or methods, one of which it needs.
    display : str
        Name of the display.
    alternatives : str
        Which estimators have one, and what to do otherwise.

    Raises
    ------
    NotFittedError
        If the estimator is not fitted.
    TypeError
        If it has none of the attributes or methods.
    """
    # Methods are there before a fit, attributes that end so are not.
    if any(name.endswith("_") and hasattr(estimator, name) for name in names):
        return
    # Refuses classes, and what is no estimator.
    check_is_fitted(estimator)
    if not any(hasattr(estimator, name) for name in names):
        wanted = " or ".join(names)
        raise TypeError(
            f"{display} needs {wanted}, which {type(estimator).__name__} does not "
            f"have; {alternatives}"
        )


def check_features(Z, y):
    """Check that features and classes fit each other.

    Parameters
    ----------
    Z : array-like of shape (n_samples, n_features)
        Features.
    y : array-like of shape (n_samples,)
        Class of each row.

    Returns
    -------
    Z, y : ndarray, ndarray
        The same, features as float64.

    Raises
    ------
    ValueError
        If `Z` is not a matrix of finite numbers with a row for each entry of `y`, or
        empty, or a class is missing.
    """
    Z, y = as_features(Z), check_labels(y)
    if Z.ndim != 2 or y.shape != Z.shape[:1] or 0 in Z.shape:
        raise ValueError(
            f"Z of shape {Z.shape} and y of shape {y.shape} do not fit; give a row "
            "of Z for each entry of y, and at least one."
        )
    if not np.isfinite(Z).all():
        raise ValueError("Z holds NaN or infinity.")
    return Z, y


def check_labels(y, name="y"):
    """Check that labels can be sorted and none is missing.

    Parameters
    ----------
    y : array-like of shape (n_samples,)
        Labels.
    name : str, default="y"
        Name of the argument, for the message.

    Returns
    -------
    y : ndarray of shape (n_samples,)
        The same.

    Raises
    ------
    ValueError
        If there are missing labels, or texts beside numbers.
    """
    y = as_array(y)
    try:
        np.unique(y)
        is_valid = not (y != y).any()
    except TypeError:
        is_valid = False
    if not is_valid:
        raise ValueError(
            f"{name} holds missing labels, or texts beside numbers; give each sample "
            "a label of one kind."
        )
    return y


def check_named(values, name):
    """Check that values come with names.

    Parameters
    ----------
    values : dict
        Values by name.
    name : str
        Name of the argument, for the message.

    Raises
    ------
    TypeError
        If they have no names.
    """
    if not hasattr(values, "items"):
        raise TypeError(
            f"{name} must be a dict of names and values, not a {type(values).__name__}."
        )


def as_array(values):
    """Give an array of what may be a tensor on any device.

    Parameters
    ----------
    values : array-like or Tensor
        Values.

    Returns
    -------
    values : ndarray
        The same.
    """
    if hasattr(values, "detach"):
        values = values.detach().cpu()
    return np.asarray(values)


def as_features(Z):
    """Give a matrix of float64 of features that may be sparse or a tensor.

    Parameters
    ----------
    Z : array-like, sparse array or Tensor
        Features.

    Returns
    -------
    Z : ndarray
        The same.

    Raises
    ------
    ValueError
        If they are complex.
    """
    Z = as_array(Z.toarray() if hasattr(Z, "toarray") else Z)
    if np.iscomplexobj(Z):
        raise ValueError("Features must be real, and these are complex.")
    return Z.astype(np.float64)


def classes_of(estimator, X, y):
    """Give the class of each row, or what an estimator takes for it.

    Parameters
    ----------
    estimator : estimator
        Fitted.
    X : array-like of shape (n_samples, n_features)
        Rows.
    y : array-like of shape (n_samples,) or None
        Classes; None takes the prediction of the estimator.

    Returns
    -------
    y : ndarray of shape (n_samples,)
        Classes or clusters.

    Raises
    ------
    ValueError
        If `y` is None and the estimator does not predict.
    """
    if y is not None:
        return as_array(y)
    if not hasattr(estimator, "predict"):
        raise ValueError(
            f"y=None takes the classes that the estimator predicts, but "
            f"{type(estimator).__name__} predicts none; give y."
        )
    return as_array(estimator.predict(X))


def class_colours(n_classes, cmap=None, purpose="This display"):
    """Give a colour to each class, distinct up to any number of classes.

    Parameters
    ----------
    n_classes : int
        Number of classes.
    cmap : str, Colormap or None, default=None
        Colours in the order of the classes; None takes ten that are safe for deficient
        colour vision, and viridis for more than ten classes.
    purpose : str, default="This display"
        Who draws, for the message if matplotlib is missing.

    Returns
    -------
    colours : list
        Colours as Matplotlib takes them.
    """
    if cmap is None and n_classes <= len(_COLOURS):
        return list(_COLOURS[:n_classes])
    pyplot = require("matplotlib.pyplot", extra="plot", purpose=purpose)
    return list(pyplot.get_cmap(cmap or "viridis")(np.linspace(0, 1, n_classes)))


def class_markers(n_classes):
    """Give a colour and a marker to each class; more than 80 classes share some.

    Parameters
    ----------
    n_classes : int
        Number of classes.

    Returns
    -------
    styles : list of (str, str)
        Colour and marker.
    """
    return [
        (_COLOURS[k % len(_COLOURS)], _MARKERS[k // len(_COLOURS) % len(_MARKERS)])
        for k in range(n_classes)
    ]


def evenly_spaced(X, y, max_samples):
    """Pick rows at equal distances, so that sorted classes keep their shares.

    Parameters
    ----------
    X : array-like, sparse array or DataFrame of shape (n_samples, n_features)
        Rows.
    y : array-like of shape (n_samples,) or None
        Their labels.
    max_samples : int or None
        Most rows; None takes all.

    Returns
    -------
    X, y : array-like, ndarray or None
        The rows picked, and their labels.

    Raises
    ------
    ValueError
        If `max_samples` is not positive, or `y` has another length than `X`.
    """
    if max_samples is not None and max_samples < 1:
        raise ValueError(f"max_samples={max_samples} must be positive or None.")
    y = None if y is None else as_array(y)
    if not hasattr(X, "shape"):
        X = np.asarray(X)
    n_samples = X.shape[0]
    if y is not None and y.shape[:1] != (n_samples,):
        raise ValueError(
            f"y of shape {y.shape} does not fit the {n_samples} rows of X."
        )
    if max_samples is None or n_samples <= max_samples:
        return X, y
    if hasattr(X, "tocsr"):
        X = X.tocsr()
    rows = np.linspace(0, n_samples - 1, max_samples).round().astype(int)
    return X.iloc[rows] if hasattr(X, "iloc") else X[rows], y if y is None else y[rows]
