"""How subspaces are found from anchors in all blocks, and labels block by block."""

import copy

import numpy as np

from sklearn_whitebox._blocks import Blocks, record_columns
from sklearn_whitebox.solvers._weighted_rows import merge_equal_rows, sample_by_hash

# Attributes as large as the rows, which assigning new rows does not need.
_LARGE = ("labels_", "representation_", "affinity_matrix_", "anchors_", "isolated_")


def cluster_blocks(estimator, blocks):
    """Cluster the rows of blocks; see ``SubspaceClusterer.fit_blocks``.

    Parameters
    ----------
    estimator : SubspaceClusterer
        Gets new fitted attributes.
    blocks : iterable or array
        Blocks of rows.

    Returns
    -------
    estimator : SubspaceClusterer
        The same.
    """
    rows = Blocks(blocks, labelled=False, passes=3, n_jobs=estimator.n_jobs).survey()
    size = estimator._count_anchors(rows.n_samples)
    anchors, index = _gather_anchors(rows, size)
    estimator.fit(anchors)
    record_columns(estimator, rows)
    if len(anchors) == rows.n_samples:
        return estimator
    bare = copy.copy(estimator)
    for name in _LARGE:
        delattr(bare, name)
    labels = np.concatenate(list(rows.map(_label_chunk, bare)))
    labels[index] = estimator.labels_
    estimator.labels_ = labels
    estimator.anchors_ = index
    estimator.isolated_ = index[estimator.isolated_]
    return estimator


def _gather_anchors(rows, size):
    """Pick rows by a hash of their values; return them and their numbers in order."""
    # Half as many again, as the number under a bound of the hash is random.
    share = min(1.0, 1.5 * size / rows.n_samples)
    picked, index, start = [], [], 0
    for some, places, n_rows in rows.map(_pick_chunk, share):
        picked.append(some)
        index.append(start + places)
        start += n_rows
    anchors, index = np.concatenate(picked), np.concatenate(index)
    if len(anchors) == rows.n_samples:
        return anchors, index
    _, inverse, _ = merge_equal_rows(anchors, np.ones(len(anchors)))
    kept = np.flatnonzero(inverse < size)
    return anchors[kept], index[kept]


def _pick_chunk(X, _, share):
    some = sample_by_hash(X, share)
    return X[some], some, len(X)


def _label_chunk(X, _, estimator):
    return estimator._assign_new(X)
