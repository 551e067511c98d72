"""What a block of rows may be, how it is loaded, and what must agree."""

from typing import NamedTuple

import numpy as np
import torch
from sklearn.utils.validation import check_array, column_or_1d

from sklearn_whitebox._array import _FLOATS, _check_range, as_numpy

# Entries and rows of a chunk. Constants, so that sums over chunks are the same on any
# machine.
_ENTRIES, _LEAST_ROWS, _MOST_ROWS = 2**21, 256, 8192


def chunk_rows(n_features):
    """Count the rows of a chunk.

    Parameters
    ----------
    n_features : int
        Columns.

    Returns
    -------
    n_rows : int
        The same for all data of so many columns.
    """
    return int(np.clip(_ENTRIES // max(1, n_features), _LEAST_ROWS, _MOST_ROWS))


class Form(NamedTuple):
    """What every block must be like: labelled by classes or numbers, and complete."""

    labelled: bool
    classes: bool
    allow_nan: bool


def as_iterable(blocks):
    """Turn what a user passes into an iterable of blocks.

    Parameters
    ----------
    blocks : object
        As in ``fit_blocks`` of the estimators.

    Returns
    -------
    blocks : iterable
        Blocks, or what loads them.

    Raises
    ------
    TypeError
        If it is a table, a mapping, a text, or cannot be iterated over.
    ValueError
        If an array has not two dimensions, or labels do not match.
    """
    if isinstance(blocks, tuple) and len(blocks) == 2 and _is_pair(blocks):
        lazy = [hasattr(part, "__dask_graph__") for part in blocks]
        if any(lazy) and not all(lazy):
            raise TypeError(
                "One of X and y is a lazy dask collection and the other is not; make "
                "both of them dask arrays with the same blocks of rows."
            )
        if lazy[0]:
            rows, labels = (_delayed_parts(part) for part in blocks)
            if len(rows) != len(labels):
                raise ValueError(
                    f"X has {len(rows)} and y {len(labels)} blocks of rows; rechunk y."
                )
            return list(zip(rows, labels, strict=True))
        return _Slices(*blocks)
    if hasattr(blocks, "to_delayed"):
        return _delayed_parts(blocks)
    if isinstance(blocks, np.ndarray) or torch.is_tensor(blocks):
        if blocks.ndim != 2:
            raise ValueError(
                f"blocks is an array of {blocks.ndim} dimensions; an array to be cut "
                "by rows has two. Pass several arrays as a list."
            )
        return _Slices(blocks, None)
    if (
        isinstance(blocks, str | bytes | dict)
        or hasattr(blocks, "iloc")
        or _is_delayed(blocks)
    ):
        raise TypeError(
            f"blocks is a {type(blocks).__name__}; pass a list of arrays or of "
            "functions that load them, a dask array, or an array or memory map that is "
            "cut by rows, with its labels in a pair if there are any."
        )
    try:
        iter(blocks)
    except TypeError:
        raise TypeError(
            f"blocks is a {type(blocks).__name__}, which cannot be iterated over; pass "
            "a list of arrays or of functions that load them."
        ) from None
    return blocks


def _is_pair(pair):
    """Tell rows and labels of all data from two blocks."""
    shapes = [getattr(part, "shape", None) for part in pair]
    if any(shape is None for shape in shapes):
        return False
    return len(shapes[0]) == 2 and len(shapes[1]) == 1


class _Slices:
    """An array cut by rows; every slice is read when it is reached."""

    def __init__(self, X, y):
        if hasattr(X, "tocsr"):
            raise TypeError(
                "X is sparse, but blocks of rows must be dense; pass functions that "
                "load some rows each and call toarray()."
            )
        if y is not None and len(X) != len(y):
            raise ValueError(f"X has {len(X)} rows and y {len(y)} labels.")
        self.X, self.y = X, y

    def __iter__(self):
        size = chunk_rows(self.X.shape[1])
        for start in range(0, len(self.X), size):
            rows = slice(start, start + size)
            X = self.X[rows]
            if isinstance(X, np.memmap):
                X = np.array(X)  # pages read are then the file's to drop
            yield X if self.y is None else (X, self.y[rows])


def _delayed_parts(collection):
    parts = collection.to_delayed()
    if isinstance(parts, np.ndarray):
        if parts.ndim == 2 and parts.shape[1] > 1:
            raise ValueError(
                f"blocks is a dask array with {parts.shape[1]} blocks of columns; "
                "rechunk it so that every block has whole rows: X.rechunk({1: -1})."
            )
        parts = parts.ravel()
    return list(parts)


def _is_delayed(block):
    return hasattr(block, "__dask_graph__") and hasattr(block, "compute")


def is_lazy(block):
    """Tell blocks that are loaded by a call from those that are there.

    Parameters
    ----------
    block : object
        A block, or a pair.

    Returns
    -------
    lazy : bool
        True for functions and what dask is to compute.
    """
    if isinstance(block, tuple):
        return any(is_lazy(part) for part in block)
    return _is_delayed(block) or (callable(block) and not hasattr(block, "shape"))


def _load(block):
    if isinstance(block, tuple):
        return tuple(_load(part) for part in block)
    if _is_delayed(block):
        return block.compute()
    if callable(block) and not hasattr(block, "shape"):
        return _load(block())
    return block


def read_block(numbered, form):
    """Load and validate one block.

    Parameters
    ----------
    numbered : tuple of (object, int)
        Block and its number.
    form : Form
        What it must be like.

    Returns
    -------
    X : ndarray of shape (n_rows, n_features)
        Rows in float32 or float64; there may be none.
    y : ndarray of shape (n_rows,) or None
        Labels.
    kind : tuple of (int, dtype, list or None)
        What must be the same for all: number of columns, type, and names.

    Raises
    ------
    ValueError, TypeError
        If it cannot be used; the message begins with its number.
    """
    block, index = numbered
    try:
        value = _load(block)
    except Exception as error:
        error.add_note(f"This is from loading block {index}.")
        raise
    y = None
    if form.labelled:
        if not isinstance(value, tuple | list) or len(value) != 2:
            raise ValueError(
                f"Block {index} is a {type(value).__name__}; it must be a pair (X, y)."
            )
        value, y = value
        if y is None:
            raise ValueError(f"Block {index} has no labels, y is None.")
    elif isinstance(value, tuple) and len(value) == 2:
        value = value[0]
    names = _column_names(value)
    try:
        value = as_numpy(value)
        finite = "allow-nan" if form.allow_nan else True
        X = check_array(
            value, dtype=_FLOATS, ensure_min_samples=0, ensure_all_finite=finite
        )
        _check_range(X, 2)
        y = None if y is None else column_or_1d(as_numpy(y))
    except (ValueError, TypeError) as error:
        # Classes derived from these may want other arguments.
        kind = TypeError if isinstance(error, TypeError) else ValueError
        raise kind(f"Block {index}: {error}") from error
    if y is not None and y.dtype.kind == "f" and not np.isfinite(y).all():
        raise ValueError(f"Block {index}: y contains NaN or infinity.")
    if y is not None and len(y) != len(X):
        raise ValueError(f"Block {index} has {len(X)} rows, but {len(y)} labels.")
    return X, y, (X.shape[1], X.dtype, names)


def _column_names(value):
    columns = getattr(value, "columns", None)
    if columns is None:
        return None
    names = list(columns)
    return names if all(isinstance(name, str) for name in names) else None


def compare_blocks(first, other):
    """Refuse a block that does not fit another.

    Parameters
    ----------
    first, other : tuple of (int, tuple)
        Numbers of two blocks and their kinds, see :func:`read_block`.

    Raises
    ------
    ValueError
        If they differ in columns, names or type.
    """
    (i, (width, dtype, names)), (j, (new_width, new_dtype, new_names)) = first, other
    if width != new_width:
        raise ValueError(
            f"Block {j} has {new_width} features, but block {i} has {width}."
        )
    if names != new_names:
        raise ValueError(
            f"Block {j} has columns {new_names}, but block {i} has {names}."
        )
    if dtype != new_dtype:
        raise ValueError(
            f"Block {j} is {new_dtype}, but block {i} is {dtype}; convert one of them."
        )


def survey_block(numbered, form):
    """Load and validate one block, and tell about it.

    Parameters
    ----------
    numbered : tuple of (object, int)
        Block and its number.
    form : Form
        What it must be like.

    Returns
    -------
    n_rows : int
        Number of rows.
    kind : tuple
        See :func:`read_block`.
    classes : ndarray or None
        Labels that occur.

    Raises
    ------
    ValueError
        As :func:`read_block`, or if labels cannot be sorted.
    """
    X, y, kind = read_block(numbered, form)
    try:
        return len(X), kind, np.unique(y) if form.classes else None
    except TypeError as error:
        raise ValueError(
            f"Block {numbered[1]}: labels cannot be sorted, as y holds several types "
            f"or missing values ({error})."
        ) from error


class Known(NamedTuple):
    """What a survey told of the blocks: sizes, the first kind of all, and labels."""

    sizes: list
    first: tuple
    classes: np.ndarray | None


def check_again(numbered, X, y, kind, known):
    """Refuse a block that is not what it was when it was read before.

    Parameters
    ----------
    numbered : tuple of (object, int)
        Block and its number.
    X, y, kind : tuple
        What :func:`read_block` returned.
    known : Known
        What was read before.

    Raises
    ------
    ValueError
        If there are other rows, columns or labels.
    """
    index = numbered[1]
    before = known.sizes[index] if index < len(known.sizes) else 0
    if len(X) != before:
        raise ValueError(
            f"Block {index} had {before} rows when it was first read, and now has "
            f"{len(X)}. Every pass must read the same rows."
        )
    if not before:
        return
    compare_blocks(known.first, (index, kind))
    if known.classes is not None and not np.isin(y, known.classes).all():
        strange = np.setdiff1d(y, known.classes)[:5].tolist()
        raise ValueError(
            f"Block {index} has labels {strange} that no block had when it was first "
            "read. Every pass must read the same rows."
        )


def merge_labels(classes, labels, index):
    """Add the labels of a block to those of the blocks before.

    Parameters
    ----------
    classes : ndarray or None
        Labels of the blocks before; None if this is the first.
    labels : ndarray
        Labels of the block.
    index : int
        Its number.

    Returns
    -------
    classes : ndarray
        All labels, sorted.

    Raises
    ------
    ValueError
        If some are words and some are numbers.
    """
    if classes is None:
        return labels
    if _are_words(classes) != _are_words(labels):
        raise ValueError(
            f"Block {index} has labels {labels[:5].tolist()}, but blocks before it "
            f"have {classes[:5].tolist()}; make all of them words or numbers."
        )
    return np.union1d(classes, labels)


def _are_words(labels):
    # NumPy would write numbers as words without a question.
    return labels.dtype.kind in "UST" or isinstance(labels[0], str)
