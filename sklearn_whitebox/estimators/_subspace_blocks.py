"""How subspaces are found from anchors in all blocks, and labels block by block."""

import copy

import numpy as np

from sklearn_whitebox._blocks import Blocks, record_columns
from sklearn_whitebox.estimators._block_samples import widening_shares
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
    anchors, index, first = _gather_anchors(rows, size)
    if rows.n_samples <= size:
        estimator.fit(anchors[first])
        record_columns(estimator, rows)
        return estimator
    estimator.fit(anchors, sample_weight=np.bincount(first).astype(np.float64))
    record_columns(estimator, rows)
    bare = copy.copy(estimator)
    for name in _LARGE:
        delattr(bare, name)
    labels = np.concatenate(list(rows.map(_label_chunk, bare)))
    labels[index] = estimator.labels_[first]
    estimator.labels_ = labels
    estimator.anchors_ = index[np.unique(first, return_index=True)[1]]
    estimator.isolated_ = index[np.isin(first, estimator.isolated_)]
    return estimator


def _gather_anchors(rows, size):
    """Pick distinct rows by a hash of their values, in the order of the blocks.

    Return them, the numbers of all rows that equal one, and which of them each equals.
    """
    for share in widening_shares(rows.n_samples, size):
        picked, index, first, start, n_picked = [], [], [], 0, 0
        for some, places, which, n_rows in rows.map(_pick_chunk, share):
            picked.append(some)
            index.append(start + places)
            first.append(n_picked + which)
            start, n_picked = start + n_rows, n_picked + len(some)
        if n_picked == 0:
            continue
        candidates, index = np.concatenate(picked), np.concatenate(index)
        places, inverse, _ = merge_equal_rows(candidates, np.ones(n_picked))
        if len(places) >= size:
            break
    inverse = inverse[np.concatenate(first)]
    index, inverse = index[inverse < size], inverse[inverse < size]
    kept = places[:size]
    order = np.argsort(kept)
    rank = np.empty_like(order)
    rank[order] = np.arange(len(order))
    return candidates[kept[order]], index, rank[inverse]


def _pick_chunk(X, _, share):
    places = sample_by_hash(X, share)
    if not len(places):
        return X[:0], places, places, len(X)
    first, inverse, _ = merge_equal_rows(X[places], np.ones(len(places)))
    order = np.argsort(first)
    rank = np.empty_like(order)
    rank[order] = np.arange(len(order))
    return X[places[first[order]]], places, rank[inverse], len(X)


def _label_chunk(X, _, estimator):
    return estimator._assign_new(X)
