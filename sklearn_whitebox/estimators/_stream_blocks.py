"""How networks learn from blocks: passes of ``partial_fit`` over fixed chunks."""

from numbers import Integral

import numpy as np
from sklearn.base import clone

from sklearn_whitebox._block_input import chunk_rows
from sklearn_whitebox._blocks import Blocks, record_columns
from sklearn_whitebox.estimators._block_samples import pick_distinct


def learn_passes(
    estimator, blocks, *, labelled, n_passes, choose_classes=None, allow_nan=False
):
    """Fit anew by passes over the rows; see ``fit_blocks`` of the estimators.

    Parameters
    ----------
    estimator : estimator
        With ``partial_fit``; gets new fitted attributes.
    blocks : iterable or array
        Blocks of rows.
    labelled : bool
        Whether they have labels.
    n_passes : int
        Passes over all rows.
    choose_classes : callable, default=None
        Takes all labels and returns the ``classes`` of the first ``partial_fit``; None
        where labels are numbers or absent.
    allow_nan : bool, default=False
        Whether entries may be missing.

    Returns
    -------
    estimator : estimator
        The same.
    """
    if isinstance(n_passes, bool) or not isinstance(n_passes, Integral) or n_passes < 1:
        raise ValueError(f"n_passes={n_passes!r} must be a positive integer.")
    rows = Blocks(
        blocks,
        labelled=labelled,
        passes=n_passes + 2,
        classes=choose_classes is not None,
        allow_nan=allow_nan,
    ).survey()
    fresh = clone(estimator)
    X, y = gather_rows(rows, chunk_rows(rows.n_features))
    first = {} if choose_classes is None else {"classes": choose_classes(rows.classes)}
    # What is settled by the first part is settled by rows of all blocks.
    fresh.partial_fit(X, *([y] if labelled else []), **first)
    for _ in range(n_passes if len(X) < rows.n_samples else n_passes - 1):
        for X, y in rows.chunks():
            fresh.partial_fit(X, *([y] if labelled else []))
    fitted = vars(fresh)
    parameters = estimator.get_params(deep=False)
    for name in list(vars(estimator)):
        if name not in fitted and name not in parameters:
            delattr(estimator, name)
    for name, value in fitted.items():
        if name not in parameters:
            setattr(estimator, name, value)
    record_columns(estimator, rows)
    return estimator


def gather_rows(rows, size):
    """Pick rows with their labels by a hash of their values.

    Parameters
    ----------
    rows : Blocks
        Surveyed blocks.
    size : int
        How many rows to pick, about; all if there are no more.

    Returns
    -------
    X : ndarray of shape (n_picked, n_features)
        Rows in the order of their hashes, which is as good as random. Where few rows
        differ, each is repeated in proportion to its share of all.
    y : ndarray of shape (n_picked,) or None
        Their labels.
    """
    X, y, counts, _ = pick_distinct(rows, size)
    return np.repeat(X, counts, axis=0), None if y is None else np.repeat(y, counts)
