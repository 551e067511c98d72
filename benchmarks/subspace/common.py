"""Data, timing and memory shared by the questions of this benchmark."""

import json
import os
import statistics
import threading
import time
import warnings
from pathlib import Path

import numpy as np
from sklearn.datasets import fetch_openml, load_digits, load_iris, load_wine
from sklearn.metrics import adjusted_rand_score, normalized_mutual_info_score

from sklearn_whitebox.comparison import environment
from sklearn_whitebox.datasets import make_union_of_subspaces
from sklearn_whitebox.metrics import clustering_accuracy

RESULTS = Path(__file__).parent / "results"

# Names in a data folder; the others come from OpenML where there is no folder.
IMAGES = ("orl32", "yaleb32", "coil20", "usps", "mnist_sc_10k", "isolet1560", "yale32")
TABLES = (
    "banana", "contraceptive", "ionosphere", "led7digit", "letter", "mammographic",
    "movement_libras", "optdigits", "penbased", "phoneme", "pima", "satimage",
    "segment", "sonar", "spambase", "titanic", "vehicle", "vowel", "wdbc", "wisconsin",
)  # fmt: skip
_OPENML = {
    "optdigits": 28, "penbased": 32, "satimage": 182, "segment": 36, "vehicle": 54,
    "sonar": 40, "ionosphere": 59, "wdbc": 1510, "pima": 37, "letter": 6, "usps": 41082,
}  # fmt: skip
UNIONS = {
    f"union 9/6/5, n = {n}": {
        "n_samples": n,
        "n_features": 9,
        "n_subspaces": 5,
        "subspace_dim": 6,
    }
    for n in (250, 2000, 10_000)
}


def load(name, data_dir):
    """X in float32 and y; None if the set is not to be had here."""
    shipped = {"digits": load_digits, "iris": load_iris, "wine": load_wine}
    if name in shipped:
        X, y = shipped[name](return_X_y=True)
        return X.astype(np.float32), y
    for stem in (name, f"tab_{name}"):
        path = Path(data_dir or "") / f"{stem}.npz"
        if data_dir and path.exists():
            with np.load(path, allow_pickle=False) as archive:
                X, y = archive["X"], archive["y"]
            return X.reshape(len(X), -1).astype(np.float32), y
    if data_dir or name not in _OPENML:
        return None
    try:
        X, y = fetch_openml(
            data_id=_OPENML[name], return_X_y=True, as_frame=False, parser="auto"
        )
    except OSError as error:
        print(f"{name}: {error}")
        return None
    return X.astype(np.float32), np.unique(y, return_inverse=True)[1]


def union(name, seed):
    return make_union_of_subspaces(random_state=seed, **UNIONS[name])


def unit(X):
    norms = np.linalg.norm(X, axis=1, keepdims=True)
    return X / np.where(norms > 0, norms, 1)


def scores(y, labels):
    return {
        "accuracy": clustering_accuracy(y, labels),
        "nmi": normalized_mutual_info_score(y, labels),
        "ari": adjusted_rand_score(y, labels),
    }


def timed(function, *args, **settings):
    """Value and CPU seconds of a call."""
    start = time.process_time()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        value = function(*args, **settings)
    return value, time.process_time() - start


class PeakMemory:
    """Largest resident memory of the process while a block runs, above its start."""

    def __enter__(self):
        self.start = self.peak = _resident()
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)
        self._thread.start()
        return self

    def __exit__(self, *_):
        self._stop.set()
        self._thread.join()
        self.peak = max(self.peak, _resident())
        self.mib = (self.peak - self.start) / 2**20

    def _watch(self):
        while not self._stop.wait(0.02):
            self.peak = max(self.peak, _resident())


def _resident():
    pages = Path("/proc/self/statm").read_text().split()[1]
    return int(pages) * os.sysconf("SC_PAGE_SIZE")


def summarise(rows, by):
    """Group rows: medians of everything, and the least accuracy."""
    groups = {}
    for row in rows:
        groups.setdefault(tuple(row[key] for key in by), []).append(row)
    summary = []
    for group, members in groups.items():
        line = dict(zip(by, group, strict=True))
        for key, value in members[0].items():
            if key in by or key == "seed" or not isinstance(value, int | float):
                continue
            line[key] = round(statistics.median(m[key] for m in members), 4)
        if "accuracy" in members[0]:
            line["worst"] = round(min(m["accuracy"] for m in members), 4)
        line["runs"] = len(members)
        summary.append(line)
    return summary


def write(question, report, folder):
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{question}.json"
    report = {"environment": environment(), **report}
    path.write_text(json.dumps(report, indent=1) + "\n")
    return path
