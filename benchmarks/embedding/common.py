"""Data, splits, heads and timing shared by the questions of this benchmark."""

import json
import os
import time
import warnings
from pathlib import Path

import numpy as np
from sklearn.datasets import (
    fetch_openml,
    load_breast_cancer,
    load_digits,
    load_iris,
    load_wine,
)
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import train_test_split
from sklearn.neighbors import KNeighborsClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from sklearn_whitebox.comparison import environment

RESULTS = Path(__file__).parent / "results"

SHIPPED = {
    "digits": load_digits,
    "iris": load_iris,
    "wine": load_wine,
    "breast cancer": load_breast_cancer,
}
# Sets of which no row was looked at while defaults were chosen stand under HELD_OUT.
SEEN = ("vehicle", "vowel", "segment", "coil20", "satimage", "wdbc")
HELD_OUT = (
    "usps", "letter", "penbased", "optdigits", "isolet1560", "phoneme", "spambase",
    "wisconsin", "orl32", "yaleb32",
)  # fmt: skip
# Grey values share one unit; the columns of a table have units of their own.
IMAGES = ("digits", "coil20", "usps", "mnist 2000", "mnist", "fashion", "orl32",
          "yaleb32")  # fmt: skip
_OPENML = {
    "vehicle": 54, "vowel": 307, "segment": 36, "satimage": 182, "wdbc": 1510,
    "usps": 41082, "letter": 6, "penbased": 32, "optdigits": 28, "phoneme": 1489,
    "spambase": 44, "wisconsin": 15, "mnist": 554, "fashion": 40996,
}  # fmt: skip
MOST_ROWS = 5000
HEADS = ("neighbours", "subspace", "logistic")


def load(name, data_dir):
    """X in float32 and y, or None if the set is not to be had here."""
    if name in SHIPPED:
        X, y = SHIPPED[name](return_X_y=True)
        return X.astype(np.float32), y
    if name == "mnist 2000":
        name = "mnist"
    files = [Path(data_dir or "") / f"{stem}.npz" for stem in (name, f"tab_{name}")]
    halves = [Path(data_dir or "") / f"{name}_{part}.npz" for part in ("train", "test")]
    if data_dir and all(path.exists() for path in halves):
        parts = [_read(path) for path in halves]
        return tuple(np.concatenate(pair) for pair in zip(*parts, strict=True))
    for path in files:
        if data_dir and path.exists():
            return _read(path)
    if data_dir or name not in _OPENML:
        return None
    try:
        X, y = fetch_openml(
            data_id=_OPENML[name], return_X_y=True, as_frame=False, parser="auto"
        )
    except OSError as error:
        print(f"{name}: {error}")
        return None
    kept = np.isfinite(X).all(axis=1)
    return X[kept].astype(np.float32), np.unique(y[kept], return_inverse=True)[1]


def split(name, seed, data_dir):
    """Scaled training rows, scaled test rows, and the labels of both; or None."""
    data = load(name, data_dir)
    if data is None:
        return None
    X, y = data
    if name in ("mnist", "fashion"):  # the split of their authors
        parts = X[:60_000], X[60_000:], y[:60_000], y[60_000:]
    else:
        if name == "mnist 2000":
            sizes = {"train_size": 2000, "test_size": 4000}
        else:
            sizes = {"test_size": 0.3}
            if len(X) > MOST_ROWS:
                X, _, y, _ = train_test_split(
                    X, y, train_size=MOST_ROWS, stratify=y, random_state=0
                )
        parts = train_test_split(X, y, stratify=y, random_state=seed, **sizes)
    train, test, y, y_test = parts
    if name in IMAGES:
        spread = train.std()
        return train / spread, test / spread, y, y_test
    scaler = StandardScaler().fit(train)
    return scaler.transform(train), scaler.transform(test), y, y_test


def rate_heads(Z, y, Z_test, y_test):
    """Accuracies on unseen rows of the three classifiers behind an embedding."""
    from sklearn_whitebox import NearestSubspaceClassifier

    neighbours = KNeighborsClassifier(5, algorithm="brute").fit(Z, y)
    # Subspaces through the origin and logistic regression each get the features as
    # they like them, whatever the embedding.
    subspace = NearestSubspaceClassifier().fit(Z, y)
    scaled = make_pipeline(StandardScaler(), LogisticRegression(max_iter=1000))
    most = 20_000  # a linear boundary is found by then
    logistic = scaled.fit(Z[:most], y[:most])
    return {
        "neighbours": float(neighbours.score(Z_test, y_test)),
        "subspace": float(subspace.score(Z_test, y_test)),
        "logistic": float(logistic.score(Z_test, y_test)),
    }


def timed(function, *args, **settings):
    """Value and CPU seconds of a call."""
    start = time.process_time()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        value = function(*args, **settings)
    return value, time.process_time() - start


def write(question, report, folder):
    """Write the answer to a question with versions and machine."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{question}.json"
    report = {"environment": environment(), **report}
    path.write_text(json.dumps(report, indent=1) + "\n")
    return path


def _read(path):
    with np.load(path, allow_pickle=False) as archive:
        X, y = archive["X"], archive["y"]
    return X.reshape(len(X), -1).astype(np.float32), y


def data_dir_default():
    """Return the folder of data named by the environment."""
    return os.environ.get("SKLEARN_WHITEBOX_DATA")
