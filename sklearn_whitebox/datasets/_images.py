"""Loaders of public image data: from a folder, or from OpenML with a cache."""

import hashlib
import os
import tempfile
from pathlib import Path

import numpy as np
from sklearn.datasets import fetch_openml, get_data_home
from sklearn.utils import Bunch

# Name → (OpenML number, shape, digest of the contents whatever the order of rows).
_SOURCES = {
    "mnist": (
        554,
        (28, 28),
        "f61a719b6fd94f4e04811e53dda3c78f5cd07b2d48f36c353dd0b453aab660e0",
    ),
    "fashion_mnist": (
        40996,
        (28, 28),
        "c22292c847034e4f0856c3099ca0bd11a118af543994973d473bc732d184ab47",
    ),
}


def fetch_mnist(*, data_dir=None, verify=True, return_X_y=False):
    """Load the MNIST digits: 60 000 training rows, then 10 000 test rows.

    Looks for ``mnist.npz``, or ``mnist_train.npz`` and ``mnist_test.npz``, with arrays
    `X` and `y`, in `data_dir`; else downloads from OpenML and keeps a copy.

    Parameters
    ----------
    data_dir : str or path, default=None
        Folder to read from. None means the environment variable
        ``SKLEARN_WHITEBOX_DATA``, else the folder ``sklearn_whitebox`` in
        scikit-learn's data home.
    verify : bool, default=True
        Compare the contents with the known checksum.
    return_X_y : bool, default=False
        Return ``(X, y)`` instead of a Bunch.

    Returns
    -------
    data : Bunch
        With ``data`` (70 000, 784) uint8, ``target`` (70 000,) int64, ``image_shape``
        (28, 28) and ``DESCR``.
    (X, y) : tuple of ndarray
        If `return_X_y`.

    Raises
    ------
    ValueError
        If the contents do not match the checksum.
    OSError
        If there is no copy and the download fails.
    """
    return _fetch("mnist", data_dir, verify, return_X_y)


def fetch_fashion_mnist(*, data_dir=None, verify=True, return_X_y=False):
    """Load the Fashion-MNIST garments: 60 000 training rows, then 10 000 test rows.

    Looks for ``fashion_mnist.npz``, or ``fashion_train.npz`` and ``fashion_test.npz``,
    with arrays `X` and `y`, in `data_dir`; else downloads from OpenML and keeps a copy.

    Parameters
    ----------
    data_dir : str or path, default=None
        Folder to read from. None means the environment variable
        ``SKLEARN_WHITEBOX_DATA``, else the folder ``sklearn_whitebox`` in
        scikit-learn's data home.
    verify : bool, default=True
        Compare the contents with the known checksum.
    return_X_y : bool, default=False
        Return ``(X, y)`` instead of a Bunch.

    Returns
    -------
    data : Bunch
        With ``data`` (70 000, 784) uint8, ``target`` (70 000,) int64, ``image_shape``
        (28, 28) and ``DESCR``.
    (X, y) : tuple of ndarray
        If `return_X_y`.

    Raises
    ------
    ValueError
        If the contents do not match the checksum.
    OSError
        If there is no copy and the download fails.
    """
    return _fetch("fashion_mnist", data_dir, verify, return_X_y)


def _fetch(name, data_dir, verify, return_X_y):
    openml_id, shape, digest = _SOURCES[name]
    folder = _folder(data_dir)
    found = _read(folder, name)
    source = f"the files of {name} in {folder}"
    if found is None:
        found = _download(openml_id)
        source = f"OpenML data set {openml_id}"
    X, y = found
    if verify and (actual := content_digest(X, y)) != digest:
        raise ValueError(
            f"{source} do not hold {name}: their checksum is {actual[:16]}… and not "
            f"{digest[:16]}…. Remove the files to download them again, or pass "
            "verify=False."
        )
    if not (folder / f"{name}.npz").exists() and source.startswith("OpenML"):
        _write(folder / f"{name}.npz", X, y)
    if return_X_y:
        return X, y
    return Bunch(
        data=X,
        target=y,
        image_shape=shape,
        DESCR=f"{name}: {len(X)} grey images of {shape[0]} by {shape[1]} pixels.",
    )


def content_digest(X, y):
    """Digest of labelled rows that does not depend on their order.

    Parameters
    ----------
    X : ndarray of shape (n_samples, n_pixels), uint8
        Rows.
    y : ndarray of shape (n_samples,)
        Labels from 0 to 255.

    Returns
    -------
    digest : str
        SHA-256, in hexadecimal, of the sorted SHA-256 of all rows with their label.
    """
    labels = np.asarray(y).astype(np.uint8)
    rows = sorted(
        hashlib.sha256(row.tobytes() + label.tobytes()).digest()
        for row, label in zip(np.ascontiguousarray(X), labels, strict=True)
    )
    return hashlib.sha256(b"".join(rows)).hexdigest()


def _folder(data_dir):
    if data_dir is None:
        data_dir = os.environ.get("SKLEARN_WHITEBOX_DATA")
    if data_dir is None:
        data_dir = Path(get_data_home()) / "sklearn_whitebox"
    return Path(data_dir).expanduser()


def _read(folder, name):
    short = name.removesuffix("_mnist")
    for files in ([name], [f"{short}_train", f"{short}_test"]):
        paths = [folder / f"{file}.npz" for file in files]
        if all(path.is_file() for path in paths):
            parts = []
            for path in paths:
                with np.load(path, allow_pickle=False) as archive:
                    if not {"X", "y"} <= set(archive.files):
                        raise ValueError(
                            f"{path} must hold arrays X and y; it holds "
                            f"{archive.files}."
                        )
                    parts.append((archive["X"], archive["y"]))
            X = np.concatenate([X.reshape(len(X), -1) for X, _ in parts])
            return X.astype(np.uint8), np.concatenate([y for _, y in parts])
    return None


def _download(openml_id):
    bunch = fetch_openml(data_id=openml_id, as_frame=False, parser="liac-arff")
    return bunch.data.astype(np.uint8), bunch.target.astype(np.int64)


def _write(path, X, y):
    """Write a cache file in one piece: an interrupted write leaves nothing behind."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.NamedTemporaryFile(
        dir=path.parent, suffix=".partial", delete=False
    ) as file:
        try:
            np.savez_compressed(file, X=X, y=y)
        except BaseException:
            Path(file.name).unlink()
            raise
    Path(file.name).replace(path)
