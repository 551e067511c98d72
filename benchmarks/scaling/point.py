"""Measure one point of the scaling curves in this process; print it as JSON."""

import contextlib
import ctypes
import gc
import json
import re
import sys
import threading
import time
from functools import partial
from pathlib import Path

import numpy as np
from sklearn.base import is_classifier

import sklearn_whitebox
from sklearn_whitebox.metrics import clustering_accuracy

N_FEATURES, N_CLASSES, DIM = 32, 5, 4
SETTINGS = {
    "SparseDictionaryLearner": {
        "n_components": 40,
        "fit_algorithm": "online",
        "max_iter": 10,
    },
    "ReduNetClassifier": {"n_layers": 10},
    "SubspaceClusterer": {"n_clusters": N_CLASSES, "n_anchors": 2000},
    "KSubspaces": {"n_clusters": N_CLASSES, "subspace_dim": DIM, "n_init": 2},
    "EnsembleKSubspaces": {
        "n_clusters": N_CLASSES,
        "subspace_dim": DIM,
        "n_estimators": 20,
    },
    "CodingLengthClusterer": {"n_clusters": N_CLASSES, "distortion": 0.1},
    "RateReductionClusterer": {"n_clusters": N_CLASSES, "max_iter": 5},
    "RateReductionEmbedding": {"n_components": 20, "max_iter": 10},
    "SparseAutoencoder": {"n_components": 40, "max_iter": 5},
    "CRATEClassifier": {"n_layers": 1, "n_ensemble": 1},
}

# Work that is worth sharing out.
HEAVY = {
    "SparseDictionaryLearner": {"n_components": 256, "max_iter": 3},
    "SubspaceClusterer": {"n_anchors": 5000},
}


def make_rows(n, seed=0):
    """Draw rows of five subspaces of four dimensions, with noise, in float32."""
    bases = np.random.default_rng(1).standard_normal((N_CLASSES, DIM, N_FEATURES))
    rng = np.random.default_rng(seed)
    y = rng.integers(N_CLASSES, size=n)
    X = np.empty((n, N_FEATURES), np.float32)
    for start in range(0, n, 100_000):
        part = slice(start, start + 100_000)
        codes = rng.standard_normal((len(y[part]), DIM))
        X[part] = np.einsum("ij,ijk->ik", codes, bases[y[part]])
        X[part] += 0.1 * rng.standard_normal(X[part].shape)
    return X, y


class Memory:
    """Peak of the anonymous memory beyond what was there before, in MiB."""

    def __enter__(self):
        gc.collect()
        with contextlib.suppress(OSError, AttributeError):
            # Freed memory that is used again would not be seen.
            ctypes.CDLL("libc.so.6").malloc_trim(0)
        self.before, self.peak, self.done = self._now(), 0.0, False
        self.watcher = threading.Thread(target=self._watch)
        self.watcher.start()
        return self

    def __exit__(self, *_):
        self.done = True
        self.watcher.join()

    def _watch(self):
        while not self.done:
            self.peak = max(self.peak, self._now() - self.before)
            time.sleep(0.01)

    @staticmethod
    def _now():
        status = Path("/proc/self/status").read_text()
        return int(re.search(r"RssAnon:\s+(\d+)", status)[1]) / 1024


def make(name):
    model = getattr(sklearn_whitebox, name)(**SETTINGS.get(name, {}))
    if "random_state" in model.get_params():
        model.set_params(random_state=0)
    return model


def is_labelled(model):
    return is_classifier(model) or "Embedding" in type(model).__name__


def fit(name, method, X, y):
    model = make(name)
    if method == "fit":
        return model.fit(X, y)
    return model.fit_blocks((X, y) if is_labelled(model) else X)


def quality(model, X, y):
    """Accuracy on new rows, of clusters under the best matching; or share explained."""
    name = type(model).__name__
    if is_classifier(model):
        return float(model.score(X, y))
    if hasattr(model, "predict"):
        return float(clustering_accuracy(y, model.predict(X)))
    if name in ("SparseDictionaryLearner", "SparseAutoencoder"):
        rest = X - model.inverse_transform(model.transform(X))
        return float(1 - (rest**2).sum() / (X**2).sum())
    if name == "RateReductionEmbedding":
        head = sklearn_whitebox.NearestSubspaceClassifier(DIM)
        half = len(X) // 2
        Z = model.transform(X)
        return float(head.fit(Z[:half], y[:half]).score(Z[half:], y[half:]))
    return None


def point(name, method, n):
    new = make_rows(2000, seed=99)
    fit(name, "fit" if method == "fit" else "fit_blocks", *make_rows(300))  # warm up
    if method == "file":
        write_file(n)
        X, y = np.load("X.npy", mmap_mode="r"), np.load("y.npy", mmap_mode="r")
    else:
        X, y = make_rows(n)
    with Memory() as memory:
        start = time.perf_counter()
        model = fit(name, method, X, y)
        seconds = time.perf_counter() - start
    return {
        "seconds": seconds,
        "mebibytes": memory.peak,
        "data_mebibytes": X.nbytes / 2**20,
        "quality": quality(model, *new),
    }


def write_file(n):
    """Write rows to files, so that no more than a part is ever in memory."""
    form = {"mode": "w+"}
    X = np.lib.format.open_memmap(
        "X.npy", dtype=np.float32, shape=(n, N_FEATURES), **form
    )
    y = np.lib.format.open_memmap("y.npy", dtype=np.int8, shape=(n,), **form)
    for seed, start in enumerate(range(0, n, 100_000)):
        stop = min(start + 100_000, n)
        X[start:stop], y[start:stop] = make_rows(stop - start, seed)


def parallel(n):
    """Time with two processes against one, with workers that are warm."""
    from distributed import Client, LocalCluster

    write_file(n)
    loads = [
        partial(load, str(Path("X.npy").resolve()), start, 20_000)
        for start in range(0, n, 20_000)
    ]
    found = share(loads, "loky", n_jobs=2)
    # A cluster that waits would be in the way of the processes of loky.
    with (
        LocalCluster(2, threads_per_worker=1, dashboard_address=None) as cluster,
        Client(cluster),
    ):
        found += share(loads, "dask")
    return {"parallel": found}


def share(loads, backend, **options):
    """Time fits with and without a backend, interleaved."""
    import joblib

    found = []
    for name, settings in HEAVY.items():
        model = make(name).set_params(**settings)
        with joblib.parallel_config(backend=backend, **options):
            model.fit_blocks(loads)
        times = {"alone": [], "together": []}
        for _ in range(3):
            start = time.perf_counter()
            model.fit_blocks(loads)
            middle = time.perf_counter()
            with joblib.parallel_config(backend=backend, **options):
                model.fit_blocks(loads)
            times["alone"].append(middle - start)
            times["together"].append(time.perf_counter() - middle)
        medians = {key: float(np.median(value)) for key, value in times.items()}
        what = ", ".join(f"`{key}={value}`" for key, value in settings.items())
        what = f"`{name}`, {what}, {20_000 * len(loads):,} rows"
        found.append({"what": what, "backend": backend, **medians})
    return found


def load(path, start, size):
    return np.load(path, mmap_mode="r")[start : start + size]


if __name__ == "__main__":
    task, way, rows = sys.argv[1], sys.argv[2], int(sys.argv[3])
    print(json.dumps(parallel(rows) if task == "parallel" else point(task, way, rows)))
