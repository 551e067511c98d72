"""Read the rows and targets of the command line."""

from pathlib import Path
from zipfile import BadZipFile

import numpy as np

from sklearn_whitebox._optional import require


def read_table(path, target):
    """Read a table or arrays, and take the target out.

    Parameters
    ----------
    path : str or path
        A ``.csv`` or ``.parquet`` file, or an ``.npz`` file with an array ``X``.
    target : str
        Column, or array, with the targets.

    Returns
    -------
    X : DataFrame or ndarray of shape (n_samples, n_features)
        Rows. Images are flattened.
    y : ndarray of shape (n_samples,) or (n_samples, n_outputs)
        Targets.

    Raises
    ------
    ValueError
        If the file cannot be read, has no such target, or the target of a row is
        missing.
    """
    path = Path(path)
    if not path.is_file():
        raise ValueError(f"There is no file {path}.")
    kind = path.suffix.lower()
    if kind == ".npz":
        return _read_arrays(path, target)
    if kind not in (".csv", ".parquet"):
        raise ValueError(f"{path.name} must end in .csv, .parquet or .npz.")
    pandas = require("pandas", extra="dataframe", purpose=f"Reading a {kind} file")
    try:
        table = pandas.read_csv(path) if kind == ".csv" else pandas.read_parquet(path)
    except (ValueError, OSError) as error:  # errors of pandas and pyarrow derive
        reason = " ".join(str(error).split())
        raise ValueError(f"{path.name} cannot be read ({reason}).") from error
    _check_has(path, target, table.columns, "column")
    missing = np.flatnonzero(table[target].isna())
    if len(missing):
        raise ValueError(
            f"{path.name} has {len(missing)} rows without {target!r}, the first of "
            f"them is number {missing[0] + 1}; leave them out."
        )
    return table.drop(columns=target), table[target].to_numpy()


def read_weights(path):
    """Read a weight for every row.

    Parameters
    ----------
    path : str or path
        A ``.npy`` file.

    Returns
    -------
    weights : ndarray
        Weights.

    Raises
    ------
    ValueError
        If the file cannot be read.
    """
    path = Path(path)
    if not path.is_file():
        raise ValueError(f"There is no file {path}.")
    try:
        with path.open("rb") as file:
            return np.lib.format.read_array(file, allow_pickle=False)
    except (ValueError, OSError, EOFError, TypeError) as error:
        raise ValueError(f"{path.name} is no readable .npy file.") from error


def _read_arrays(path, target):
    try:
        with np.load(path, allow_pickle=False) as archive:
            arrays = {key: archive[key] for key in archive.files}
    except (ValueError, OSError, EOFError, TypeError, BadZipFile) as error:
        raise ValueError(f"{path.name} is no readable .npz file of arrays.") from error
    _check_has(path, "X", arrays, "array")
    _check_has(path, target, arrays, "array")
    X = arrays["X"]
    if X.ndim < 2:
        raise ValueError(f"X of {path.name} has shape {X.shape}; it must hold rows.")
    return X.reshape(len(X), -1), arrays[target]


def _check_has(path, name, names, what):
    if name not in names:
        known = ", ".join(repr(str(n)) for n in list(names)[:8])
        raise ValueError(f"{path.name} has no {what} {name!r}; it has {known}.")
