"""Read a labelled table or images, and say in one sentence what is wrong with them."""

import math
from dataclasses import dataclass, field
from pathlib import Path
from zipfile import BadZipFile

import numpy as np
from sklearn.compose import ColumnTransformer
from sklearn.datasets import load_digits
from sklearn.impute import SimpleImputer
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer, OneHotEncoder, StandardScaler

from sklearn_whitebox._optional import require

# Larger entries overflow when squared and summed.
_LARGEST = 1e100
# Texts beyond this many per column share one indicator.
_MAX_CATEGORIES = 30


class DataError(ValueError):
    """The data or the settings do not serve; the message says why in a sentence."""


@dataclass
class Problem:
    """A classification problem ready for cross-validation.

    Parameters
    ----------
    name : str
        Where the data came from.
    X : DataFrame or ndarray of shape (n_samples, n_columns)
        Raw features.
    y : ndarray of shape (n_samples,)
        Class labels.
    preprocessor : transformer
        Unfitted; turns `X` into finite numbers. Fitted anew on the training rows of
        every fold; only the unit of pixels is one constant for all rows.
    image_shape : tuple of int or None
        (height, width) or (height, width, channels) if rows are images.
    notes : list of str
        What was done to the data, for the report.
    """

    name: str
    X: object
    y: np.ndarray
    preprocessor: object
    image_shape: tuple | None = None
    notes: list = field(default_factory=list)


def load_problem(data=None, *, target=None, image_shape=None, cv=5):
    """Read the data and check that they can be compared on.

    Parameters
    ----------
    data : str, path or None, default=None
        A ``.csv``, ``.parquet`` or ``.npz`` file; None is the digits that scikit-learn
        ships. An ``.npz`` has an array ``X`` and the labels as ``y``, or as the array
        that `target` names.
    target : str, default=None
        Column with the labels; needed for tables.
    image_shape : sequence of int, default=None
        Height, width and, for colour, channels, if rows are images.
    cv : int, default=5
        Folds, for each of which every class needs a row.

    Returns
    -------
    problem : Problem
        The data and their preprocessing.

    Raises
    ------
    DataError
        If the file, the labels or the features do not serve, with the way out.
    """
    if data is None:
        if target is not None:
            raise DataError("--target names a column of --data; give --data, too.")
        X, y = load_digits(return_X_y=True)
        name, image_shape = "digits", image_shape or (8, 8)
    else:
        path = Path(data)
        if not path.is_file():
            raise DataError(f"There is no file {path}.")
        readers = {".csv": _read_csv, ".parquet": _read_parquet, ".npz": _read_npz}
        if path.suffix.lower() not in readers:
            raise DataError(
                f"{path.name} ends in {path.suffix or 'nothing'}; "
                "give a .csv, .parquet or .npz file."
            )
        X, y, found_shape = readers[path.suffix.lower()](path, target)
        name, image_shape = path.name, image_shape or found_shape
    notes = []
    X, y = _drop_unlabelled(X, y, notes)
    _check_labels(y, cv, target or "y")
    is_table = hasattr(X, "columns")
    if image_shape is not None:
        shape = _check_image_shape(X, tuple(image_shape))
        pixels = _as_pixels(X)
        return Problem(name, pixels, y, _scale_pixels(pixels, notes), shape, notes)
    if not is_table:
        X = _check_matrix(X)
    preprocessor = (
        _table_preprocessor(X, notes) if is_table else _matrix_preprocessor(X, notes)
    )
    return Problem(name, X, y, preprocessor, None, notes)


def _read_csv(path, target):
    pandas = require("pandas", extra="dataframe", purpose="Reading a .csv file")
    try:
        table = pandas.read_csv(path)
        header = pandas.read_csv(path, header=None, nrows=1, dtype=str)
    except (ValueError, UnicodeDecodeError) as error:  # pandas' errors derive from it
        reason = " ".join(str(error).split())
        raise DataError(
            f"{path.name} is not a readable CSV file ({reason})."
        ) from error
    names = header.iloc[0].dropna()
    if names.duplicated().any():
        twice = names[names.duplicated()].iloc[0]
        raise DataError(f"{path.name} has two columns named {twice!r}; rename one.")
    if len(table.columns) == 1 and ";" in str(table.columns[0]):
        raise DataError(
            f"{path.name} seems to be separated by semicolons; separate by commas."
        )
    return _split_table(table, path, target)


def _read_parquet(path, target):
    pandas = require("pandas", extra="dataframe", purpose="Reading a .parquet file")
    try:
        table = pandas.read_parquet(path)
    except (ValueError, OSError) as error:  # pyarrow's errors derive from ValueError
        raise DataError(f"{path.name} is not a readable Parquet file.") from error
    return _split_table(table, path, target)


def _split_table(table, path, target):
    if target is None:
        raise DataError(
            f"Name the column of {path.name} that holds the labels with --target; "
            f"it has {_some(table.columns)}."
        )
    if target not in table.columns:
        raise DataError(
            f"{path.name} has no column {target!r}; it has {_some(table.columns)}."
        )
    if len(table.columns) < 2:
        raise DataError(f"{path.name} has no column beside {target!r}.")
    return table.drop(columns=target), table[target].to_numpy(), None


def _read_npz(path, target):
    try:
        with np.load(path, allow_pickle=False) as archive:
            arrays = {key: archive[key] for key in archive.files}
    except (ValueError, OSError, EOFError, TypeError, BadZipFile) as error:
        raise DataError(
            f"{path.name} is not a readable .npz file of arrays."
        ) from error
    labels = target or "y"
    for key in ("X", labels):
        if key not in arrays:
            raise DataError(
                f"{path.name} has no array {key!r}; it has {_some(arrays)}."
            )
    X, y = arrays["X"], arrays[labels]
    if y.ndim != 1 or X.ndim < 2 or len(X) != len(y):
        raise DataError(
            f"{path.name} must hold one row of X for each entry of {labels}; their "
            f"shapes are {X.shape} and {y.shape}."
        )
    shape = X.shape[1:] if X.ndim in (3, 4) else None
    return X.reshape(len(X), -1), y, shape


def _some(names, most=8):
    names = [repr(str(name)) for name in names]
    rest = len(names) - most
    return ", ".join(names[:most]) + (f" and {rest} more" if rest > 0 else "")


def _drop_unlabelled(X, y, notes):
    missing = np.array([v is None or v != v for v in y.tolist()], dtype=bool)
    if missing.any():
        notes.append(f"{missing.sum()} rows without a label were left out.")
        X = X.loc[~missing] if hasattr(X, "loc") else X[~missing]
        y = y[~missing]
    if y.dtype == object:
        y = np.array([str(v) for v in y])
    return X, y


def _check_labels(y, cv, name):
    if len(y) == 0:
        raise DataError("The data have no labelled row.")
    if y.dtype.kind not in "biufSUO":
        raise DataError(
            f"{name!r} holds {y.dtype} entries; a comparison needs class labels, "
            "numbers or text."
        )
    classes, counts = np.unique(y, return_counts=True)
    if len(classes) == 1:
        raise DataError(
            f"All rows have the label {classes[0]!s}; a comparison needs two classes."
        )
    if y.dtype.kind == "f" and len(classes) > max(20, len(y) // 10):
        raise DataError(
            f"{name!r} holds {len(classes)} different numbers in {len(y)} rows and "
            "looks continuous; a comparison needs class labels."
        )
    if counts.min() < cv:
        rarest = classes[counts.argmin()]
        few = f"{counts.min()} row" + ("s" if counts.min() > 1 else "")
        raise DataError(
            f"Class {rarest!s} has {few}, fewer than the {cv} folds; lower --cv or "
            "leave that class out."
        )


def _check_image_shape(X, shape):
    if len(shape) not in (2, 3) or min(shape) < 1:
        raise DataError(
            f"--image-shape takes height, width and perhaps channels, not {shape}."
        )
    if math.prod(shape) != X.shape[1]:
        sides = " × ".join(str(side) for side in shape)
        raise DataError(
            f"--image-shape {sides} is {math.prod(shape)} pixels, but a row has "
            f"{X.shape[1]} columns."
        )
    return shape


def _as_pixels(X):
    if hasattr(X, "columns"):
        for column in X.columns:
            if X[column].dtype.kind not in "fiub":
                raise DataError(
                    f"Column {str(column)!r} holds text, but images need numbers."
                )
        X = X.to_numpy()
    X = _check_matrix(X)
    if not np.isfinite(X).all():
        raise DataError("The images have missing or infinite pixels.")
    return X


def _check_matrix(X):
    if X.dtype.kind not in "fiub":
        raise DataError(f"X holds {X.dtype} entries where numbers are needed.")
    X = X.astype(np.float32 if X.dtype.itemsize <= 4 else np.float64)
    _check_infinite(X, "X")
    empty = np.flatnonzero(np.isnan(X).all(axis=0))
    if len(empty):
        raise DataError(f"Column {empty[0]} of X has no value at all; leave it out.")
    return X


def _check_infinite(values, name):
    if np.isinf(values).any():
        raise DataError(f"{name} has infinite entries; replace them or leave them out.")
    largest = float(np.nanmax(np.abs(values), initial=0))
    if largest > _LARGEST:
        raise DataError(
            f"{name} has entries as large as {largest:.2g}, whose squares overflow; "
            "give it in another unit."
        )


def _scale_pixels(X, notes):
    largest = float(np.abs(X).max()) or 1.0
    notes.append(f"Pixels were divided by {largest:g}, their largest value.")
    return FunctionTransformer(_divide, kw_args={"by": largest})


def _divide(X, by):
    return X / by


def _matrix_preprocessor(X, notes):
    steps = [StandardScaler()]
    if np.isnan(X).any():
        n_columns = int(np.isnan(X).any(axis=0).sum())
        notes.append(
            f"Missing values in {n_columns} columns were replaced by the median."
        )
        steps.insert(0, SimpleImputer(strategy="median"))
    notes.append("Columns were scaled to zero mean and unit variance.")
    return make_pipeline(*steps)


def _table_preprocessor(X, notes):
    numbers, texts = [], []
    for column in X.columns:
        values = X[column]
        if values.isna().all():
            raise DataError(
                f"Column {str(column)!r} has no value at all; leave it out of the file."
            )
        if values.dtype.kind in "fiu":
            _check_infinite(values.to_numpy(dtype=float, na_value=np.nan), str(column))
            numbers.append(column)
        else:
            _check_text(values, column)
            texts.append(column)
    parts = []
    if numbers:
        missing = [c for c in numbers if X[c].isna().any()]
        if missing:
            notes.append(f"Missing values in {_some(missing)} became the median.")
        notes.append("Columns of numbers were scaled to zero mean and unit variance.")
        scale = make_pipeline(SimpleImputer(strategy="median"), StandardScaler())
        parts.append(("numbers", scale, numbers))
    if texts:
        notes.append(
            f"Columns of text ({_some(texts)}) became one indicator per text, rare "
            f"texts together (at most {_MAX_CATEGORIES} a column), missing as a text "
            "of its own."
        )
        encode = make_pipeline(
            FunctionTransformer(_texts),
            OneHotEncoder(
                max_categories=_MAX_CATEGORIES,
                handle_unknown="infrequent_if_exist",
                sparse_output=False,
            ),
        )
        parts.append(("texts", encode, texts))
    return ColumnTransformer(parts)


def _texts(X):
    """Turn every entry into text, missing ones into the empty text."""
    return X.astype(object).where(X.notna(), "").astype(str).to_numpy(dtype=object)


def _check_text(values, column):
    """Refuse columns of numbers that a few texts have spoilt."""
    pandas = require("pandas", extra="dataframe", purpose="Reading tables")
    if values.dtype.kind == "b":
        return
    known = values.dropna().astype(str)
    spoilt = pandas.to_numeric(known, errors="coerce").isna()
    if 0 < spoilt.sum() < len(known) / 2:
        raise DataError(
            f"Column {str(column)!r} holds numbers and also text such as "
            f"{known[spoilt].iloc[0]!r}; mend the text or leave the column out."
        )
