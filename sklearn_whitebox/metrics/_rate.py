"""Rate reduction as a score, for any features and in any search."""

import numpy as np
from sklearn.utils import check_array, check_consistent_length
from sklearn.utils.validation import column_or_1d

from sklearn_whitebox.functional import project_sphere, rate_reduction


def rate_reduction_score(X, labels, *, distortion=0.5, normalize=True):
    """Rate reduction of labelled features, in nats per sample.

    Large when the classes are compact and mutually orthogonal, zero when they look
    alike. It depends on the number of features and rows, so compare it at equal sizes.

    Parameters
    ----------
    X : array-like of shape (n_samples, n_features)
        Features.
    labels : array-like of shape (n_samples,)
        Class or cluster of each row.
    distortion : float, default=0.5
        Allowed mean squared error per sample, ε².
    normalize : bool, default=True
        Scale rows to unit norm first, without which the score grows with their length.

    Returns
    -------
    score : float
        Not negative.

    Raises
    ------
    ValueError
        If the lengths differ or `distortion` is not positive.

    Notes
    -----
    Costs O(n d min(n, d)) time.

    Examples
    --------
    >>> import numpy as np
    >>> from sklearn.datasets import load_iris
    >>> X, y = load_iris(return_X_y=True)
    >>> rate_reduction_score(X, y) > 10 * rate_reduction_score(X, np.arange(150) % 3)
    True
    """
    X = check_array(X, dtype=np.float64)
    labels = column_or_1d(labels)
    check_consistent_length(X, labels)
    if normalize:
        X = project_sphere(X)
    codes = np.unique(labels, return_inverse=True)[1]
    return rate_reduction(X, codes, distortion=distortion)


def rate_reduction_scorer(estimator, X, y):
    """Score a fitted transformer by the rate reduction of its output.

    Pass it as ``scoring=`` to :class:`~sklearn.model_selection.GridSearchCV`, together
    with stratified folds (``cv=StratifiedKFold()``): the default for transformers is
    not stratified, and a fold that lacks a class has another rate.

    Parameters
    ----------
    estimator : estimator
        Fitted, with a method `transform`; a pipeline that ends in a transformer.
    X : array-like of shape (n_samples, n_features)
        Rows.
    y : array-like of shape (n_samples,)
        Class of each row.

    Returns
    -------
    score : float
        :func:`rate_reduction_score` of the transformed rows. Do not compare different
        numbers of output features by it: more of them raise the rate.

    Examples
    --------
    >>> from sklearn.datasets import load_iris
    >>> from sklearn.model_selection import GridSearchCV
    >>> from sklearn.preprocessing import Normalizer
    >>> X, y = load_iris(return_X_y=True)
    >>> search = GridSearchCV(
    ...     Normalizer(), {"norm": ["l1", "l2"]}, scoring=rate_reduction_scorer
    ... )
    >>> bool(search.fit(X, y).best_score_ > 0)
    True
    """
    return rate_reduction_score(estimator.transform(X), y)
