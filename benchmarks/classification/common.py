"""Metrics, clocks and the record of a measurement."""

import contextlib
import json
import os
import platform
import signal
import time
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import numpy as np
from sklearn.metrics import accuracy_score, log_loss, roc_auc_score

RESULTS = Path(__file__).parent / "results"
_PACKAGES = (
    "sklearn-whitebox", "scikit-learn", "numpy", "pandas", "torch", "lightgbm",
    "xgboost", "catboost", "pytabkit", "pytorch-lightning", "skorch",
)  # fmt: skip


def rate(y, predicted, probabilities, classes):
    """Accuracy, log-loss in nats, area under the curve and Brier score."""
    P = np.asarray(probabilities, dtype=np.float64)
    P = P / P.sum(axis=1, keepdims=True)
    hot = np.asarray(y)[:, None] == np.asarray(classes)
    scores = {"auc": None}
    present = hot.any(axis=0)
    if present.sum() > 1:
        columns = [1] if len(classes) == 2 else np.flatnonzero(present)
        areas = [roc_auc_score(hot[:, k], P[:, k]) for k in columns]
        scores["auc"] = float(np.mean(areas))
    predicted = np.asarray(predicted).ravel()
    return scores | {
        "accuracy": float(accuracy_score(y, predicted)),
        "log_loss": float(log_loss(y, P, labels=classes)),
        "brier": float(((P - hot) ** 2).sum(axis=1).mean()),
    }


class Clock:
    """CPU and wall seconds of a block."""

    def __enter__(self):
        self._cpu, self._wall = time.process_time(), time.perf_counter()
        return self

    def __exit__(self, *_):
        self.cpu = time.process_time() - self._cpu
        self.wall = time.perf_counter() - self._wall


class OverTimeError(Exception):
    """A fit took longer than it was given."""


@contextlib.contextmanager
def at_most(cpu_seconds):
    """Raise `OverTimeError` once this process has used so much CPU time."""
    if not cpu_seconds or not hasattr(signal, "SIGPROF"):
        yield
        return

    def stop(*_):
        raise OverTimeError(f"stopped after {cpu_seconds:g} CPU seconds")

    before = signal.signal(signal.SIGPROF, stop)
    signal.setitimer(signal.ITIMER_PROF, cpu_seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_PROF, 0)
        signal.signal(signal.SIGPROF, before)


def append(path, row):
    """Add a line to a file of rows."""
    with Path(path).open("a") as file:
        file.write(json.dumps(row) + "\n")


def read(path):
    """Rows of a file; a line cut short by an interruption is left out."""
    rows = []
    if Path(path).exists():
        for line in Path(path).read_text().splitlines():
            with contextlib.suppress(json.JSONDecodeError):
                rows.append(json.loads(line))
    return rows


def environment():
    """Versions and machine; the package under test need not be importable."""
    versions = {"python": platform.python_version()}
    for package in _PACKAGES:
        with contextlib.suppress(PackageNotFoundError):
            versions[package] = version(package)
    return {
        "versions": versions,
        "system": platform.system(),
        "processor": _processor(),
        "cores": os.cpu_count(),
        "threads": 1,
        "load_average": os.getloadavg()[0] if hasattr(os, "getloadavg") else None,
    }


def _processor():
    with contextlib.suppress(OSError):
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.machine()
