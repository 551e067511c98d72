"""The one gate for data that comes in blocks: what a block may be, and fixed chunks.

Rows are cut anew into chunks of a fixed number, whatever the blocks, and results are
gathered in the order of the chunks: how rows are divided into blocks changes nothing.
"""

from collections.abc import Iterator

import numpy as np
from sklearn.utils.multiclass import check_classification_targets

from sklearn_whitebox._block_input import (
    Form,
    Known,
    as_iterable,
    check_again,
    chunk_rows,
    compare_blocks,
    is_lazy,
    merge_labels,
    read_block,
    survey_block,
)
from sklearn_whitebox._threads import iterate_blocks


class Blocks:
    """Rows in blocks, read as chunks of a fixed number of rows.

    Blocks that are loaded by a call, as by a function or by dask, are loaded where they
    are worked on, once or twice in a pass; others are cut here and sent.

    Parameters
    ----------
    blocks : iterable or array
        As in ``fit_blocks`` of the estimators.
    labelled : bool
        Whether every block is a pair of rows and labels.
    passes : int, default=2
        How often the blocks will be read at least.
    n_jobs : int, default=None
        As in joblib.
    classes : bool, default=True
        Whether labels are classes, which are noted, or numbers.
    allow_nan : bool, default=False
        Whether entries may be missing.

    Attributes
    ----------
    n_samples, n_features : int
        Rows and columns, after :meth:`survey`.
    dtype : dtype
        Float32 or float64, after :meth:`survey`.
    names : ndarray or None
        Names of the columns.
    classes : ndarray or None
        Labels.
    """

    def __init__(
        self, blocks, *, labelled, passes=2, n_jobs=None, classes=True, allow_nan=False
    ):
        self.labelled, self.n_jobs = labelled, n_jobs
        self._form = Form(labelled, labelled and classes, allow_nan)
        self.loaders, self.source = None, None
        self._known = None
        self.n_samples = self.n_features = self.dtype = None
        self.names = self.classes = None
        blocks = as_iterable(blocks)
        if isinstance(blocks, Iterator) and passes > 1:
            raise TypeError(
                f"blocks is a {type(blocks).__name__}, which can be read only once, "
                f"but it takes {passes} passes at least. Pass a list of functions that "
                "load one block each, or an object whose __iter__ starts again."
            )
        if isinstance(blocks, list | tuple) and any(is_lazy(b) for b in blocks):
            self.loaders = list(blocks)
        else:
            self.source = blocks

    def survey(self):
        """Look at every block once: validate it, count its rows, note its labels.

        Returns
        -------
        self : Blocks
            With the attributes set.

        Raises
        ------
        ValueError
            If there are no rows, or a block does not fit the others; the message gives
            the number of the block.
        """
        if self.loaders is not None:
            tasks = (((b, i), self._form) for i, b in enumerate(self.loaders))
            found = iterate_blocks(survey_block, tasks, n_jobs=self.n_jobs)
        else:
            blocks = enumerate(self.source)
            found = (survey_block((b, i), self._form) for i, b in blocks)
        sizes, first, classes = [], None, None
        for index, (n_rows, kind, labels) in enumerate(found):
            sizes.append(n_rows)
            if not n_rows:
                continue
            first = first or (index, kind)
            compare_blocks(first, (index, kind))
            if labels is not None:
                classes = merge_labels(classes, labels, index)
        if first is None:
            raise ValueError("blocks hold no rows; at least one block must have some.")
        if classes is not None:
            check_classification_targets(classes)
        self.n_samples = int(sum(sizes))
        self.n_features, self.dtype, self.names = first[1]
        self.classes = classes
        self._known = Known(sizes, first, classes)
        return self

    def chunks(self):
        """Read the rows chunk by chunk, in this process.

        Yields
        ------
        X : ndarray of shape (n_rows, n_features)
            All chunks but the last have the same number of rows.
        y : ndarray of shape (n_rows,) or None
            Labels.
        """
        source = self.loaders if self.source is None else self.source
        first, held, n_held, size, n_blocks = None, [], 0, None, 0
        for index, block in enumerate(source):
            X, y, kind = read_block((block, index), self._form)
            n_blocks += 1
            if self._known is not None:
                check_again((block, index), X, y, kind, self._known)
            if not len(X):
                continue
            first = first or (index, kind)
            compare_blocks(first, (index, kind))
            self.n_features, self.dtype, self.names = first[1]
            size = size or chunk_rows(X.shape[1])
            held.append((X, y))
            n_held += len(X)
            if n_held >= size:
                X, y = _join(held)
                stop = n_held - n_held % size
                for start in range(0, stop, size):
                    rows = slice(start, start + size)
                    yield X[rows], None if y is None else y[rows]
                n_held -= stop
                # A view would keep the whole block alive.
                held = [(X[stop:].copy(), None if y is None else y[stop:].copy())]
        if self._known is not None and n_blocks < len(self._known.sizes):
            raise ValueError(
                f"There were {len(self._known.sizes)} blocks when they were first "
                f"read, and now there are {n_blocks}. Every pass must read the same."
            )
        if n_held:
            yield _join(held)

    def map(self, function, *common):
        """Call a function on every chunk, by joblib.

        Parameters
        ----------
        function : callable
            At the level of a module; called as ``function(X, y, *common)``. What it
            returns should be small.
        *common : tuple
            What all calls share. It travels with every task, so that no worker holds
            the only copy.

        Returns
        -------
        results : generator
            One result for each chunk, in order.
        """
        if self.loaders is None:
            # In a tuple, so that a cluster does not keep chunks on single workers.
            tasks = self._chunk_tasks(function, common)
            yield from iterate_blocks(_call_on_chunk, tasks, n_jobs=self.n_jobs)
            return
        if self._known is None:
            self.survey()
        tasks = (
            (function, blocks, parts, self._form, self._known, common)
            for blocks, parts in self._plan()
        )
        for results in iterate_blocks(_call_on_parts, tasks, n_jobs=self.n_jobs):
            yield from results

    def _chunk_tasks(self, function, common):
        try:
            for chunk in self.chunks():
                yield function, chunk, common
        except Exception as error:
            # joblib reads tasks in threads of its own, where errors would be lost.
            yield _fail, (error, None), ()

    def _plan(self):
        """Give the chunks that begin in each block, and the blocks they reach into."""
        sizes = self._known.sizes
        ends = np.cumsum(sizes)
        starts = ends - sizes
        size, total = chunk_rows(self.n_features), self.n_samples
        for index, (start, end) in enumerate(zip(starts, ends, strict=True)):
            first = -(-start // size) * size
            begins = range(int(first), int(min(end, total)), size)
            if not len(begins) or start == end:
                continue
            reach = min(begins[-1] + size, total)
            last = int(np.searchsorted(ends, reach))
            used = [(self.loaders[i], i) for i in range(index, last + 1) if sizes[i]]
            parts = [
                (begin - start, min(begin + size, total) - start) for begin in begins
            ]
            yield used, parts


def _join(held):
    if len(held) == 1:
        return held[0]
    X = np.concatenate([X for X, _ in held])
    return X, None if held[0][1] is None else np.concatenate([y for _, y in held])


def _call_on_chunk(function, chunk, common):
    return function(*chunk, *common)


def _fail(error, _):
    raise error


def _call_on_parts(function, blocks, parts, form, known, common):
    held = []
    for numbered in blocks:
        X, y, kind = read_block(numbered, form)
        check_again(numbered, X, y, kind, known)
        held.append((X, y))
    X, y = _join(held)
    return [function(X[a:b], None if y is None else y[a:b], *common) for a, b in parts]


def record_columns(estimator, blocks):
    """Store the number and the names of the features, as a fit does.

    Parameters
    ----------
    estimator : estimator
        Gets ``n_features_in_`` and ``feature_names_in_``.
    blocks : Blocks
        Surveyed blocks.
    """
    estimator.n_features_in_ = blocks.n_features
    if blocks.names is not None:
        estimator.feature_names_in_ = np.array(blocks.names, dtype=object)
    elif hasattr(estimator, "feature_names_in_"):
        del estimator.feature_names_in_
