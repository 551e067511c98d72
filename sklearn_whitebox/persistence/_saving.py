"""Save a fitted estimator in a file that cannot run code, and load it."""

import os
import re
import warnings
from typing import Any

from sklearn_whitebox.estimators._base import _VERSION, WhiteboxVersionWarning
from sklearn_whitebox.persistence._container import (
    InvalidFile,
    compact_json,
    read_arrays,
    read_header,
    strict_json,
    write_container,
)
from sklearn_whitebox.persistence._estimators import describe, rebuild
from sklearn_whitebox.persistence._files import open_regular, replacing

# What is written: the layout of the file, and the fitted attributes of the estimators.
FORMAT = 1
# For every older format that is read, what makes the description of the next one of it:
# a function of (description, arrays) that returns both.
UPGRADES: dict = {}
_PROGRAM = "sklearn_whitebox"
_ADVICE = (
    "Only files that sklearn_whitebox.persistence.save has written are loaded; "
    "if this was one, take a copy that is whole or save the model again."
)


def save(estimator: Any, path: str | os.PathLike[str]) -> None:
    """Save an estimator in a safetensors file.

    The file holds arrays and JSON, and loading it runs no code from it. It appears
    under its name when it is complete: a crash, a full disk or Ctrl-C leave the file
    that was there before.

    Parameters
    ----------
    estimator : estimator of sklearn_whitebox
        Fitted or not. Its parameters must be numbers, texts, arrays, or lists and
        dictionaries of them, or estimators of this package; fitted attributes are that
        anyway. Callbacks are not saved.
    path : str or PathLike
        Where to save, best with the ending ``.safetensors``. A regular file there is
        replaced and keeps its permissions; a link is followed.

    Raises
    ------
    TypeError
        If this is no estimator of this package, or a parameter is a function, a random
        generator or another object that only a pickle could keep.
    ValueError
        If `path` is a folder, a device or a pipe, or the names and lists of the model
        take more than 33 MB.
    OSError
        If the file cannot be written; nothing is left of it then.

    See Also
    --------
    load : Load the file.

    Notes
    -----
    Costs one pass over the arrays for writing and the checksum, and the memory of the
    largest array that is not in C order. The same model gives the same bytes.
    See the :ref:`User Guide <saving>` for when to use pickle or skops instead.

    Examples
    --------
    >>> import tempfile
    >>> from pathlib import Path
    >>> from sklearn.datasets import load_iris
    >>> from sklearn_whitebox import NearestSubspaceClassifier
    >>> from sklearn_whitebox.persistence import load, save
    >>> X, y = load_iris(return_X_y=True)
    >>> model = NearestSubspaceClassifier(2).fit(X, y)
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     save(model, Path(folder) / "iris.safetensors")
    ...     again = load(Path(folder) / "iris.safetensors")
    >>> again
    NearestSubspaceClassifier(n_components=2)
    >>> bool((again.predict_proba(X) == model.predict_proba(X)).all())
    True
    """
    description, arrays = describe(estimator)
    metadata = {
        "program": _PROGRAM,
        "format": str(FORMAT),
        "version": _VERSION,
        "model": compact_json(description),
    }
    with replacing(path) as file:
        write_container(file, arrays, metadata)


def load(path: str | os.PathLike[str]) -> Any:
    """Load an estimator that `save` has saved.

    Only data are read: classes are looked up among those of this package, nothing is
    imported or unpickled, and a file that was damaged, cut short or made by another
    program is refused.

    Parameters
    ----------
    path : str or PathLike
        File.

    Returns
    -------
    estimator : estimator of sklearn_whitebox
        As fitted as it was, with the same parameters. It needs no GPU, wherever it was
        fitted.

    Raises
    ------
    ValueError
        If the file is damaged, made by another program, or by a newer version of this
        package with another format.
    OSError
        If it does not exist or must not be read.

    Warns
    -----
    WhiteboxVersionWarning
        If another version of this package saved it; a subclass of scikit-learn's
        ``InconsistentVersionWarning``.

    See Also
    --------
    save : Save an estimator.

    Notes
    -----
    The checksum (SHA-256) finds accidents, not forgery: who can change the file can
    change the checksum, too. A forged file runs no code, but it may hold a model that
    answers as its author wants; sign files that come over untrusted ways.
    See the :ref:`User Guide <saving>`.

    Examples
    --------
    >>> import tempfile
    >>> from pathlib import Path
    >>> from sklearn_whitebox import PolarTransformer
    >>> from sklearn_whitebox.persistence import load, save
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     save(PolarTransformer(3), Path(folder) / "polar.safetensors")
    ...     load(Path(folder) / "polar.safetensors")
    PolarTransformer(n_radii=3)
    """
    with open_regular(path) as file:
        try:
            estimator, version = _load(file)
        except InvalidFile as error:
            raise ValueError(
                f"{os.fspath(path)!r} cannot be loaded: {error}. {_ADVICE}"
            ) from error
    if version != _VERSION:
        warnings.warn(
            WhiteboxVersionWarning(
                estimator_name=type(estimator).__name__, saved_version=version
            ),
            stacklevel=2,
        )
    return estimator


def _load(file):
    size = os.fstat(file.fileno()).st_size
    header = read_header(file, size)
    number, version = _read_format(header.metadata)
    arrays = read_arrays(file, size, header)
    description = strict_json(header.metadata.get("model", ""), "model")
    for older in range(number, FORMAT):
        description, arrays = UPGRADES[older](description, arrays)
    try:
        return rebuild(description, arrays), version
    except InvalidFile as error:
        if version == _VERSION:
            raise
        raise InvalidFile(
            f"{error}; it was saved by {_PROGRAM} {version}, and this is {_VERSION}"
        ) from error


def _read_format(metadata):
    number, version = metadata.get("format", ""), metadata.get("version")
    if metadata.get("program") != _PROGRAM or version is None:
        raise InvalidFile(f"it was not written by {_PROGRAM}")
    if not re.fullmatch("[1-9][0-9]{0,5}", number):
        raise InvalidFile("its format is no number")
    if int(number) > FORMAT:
        raise InvalidFile(
            f"it is of format {number}, saved by {_PROGRAM} {version}, and "
            f"{_PROGRAM} {_VERSION} reads up to format {FORMAT}; "
            f"upgrade {_PROGRAM}"
        )
    missing = [n for n in range(int(number), FORMAT) if n not in UPGRADES]
    if missing:
        raise InvalidFile(
            f"it is of format {number}, saved by {_PROGRAM} {version}, which "
            f"{_VERSION} does not read any more; load and save it with a version "
            "between them, or fit the model again"
        )
    return int(number), version
