"""How it grows: seventy thousand images, fifty thousand and a million made rows.

Each row runs in a process of its own, so that peak memory is its own; `threads` is the
number of threads of BLAS, OpenMP and joblib. The 70,000 scattering features of MNIST
are taken from `mnist70k_sc_pca500.npz` of the data folder, if it is there.
"""

import json
import os
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
from common import PeakMemory, scores, timed
from scipy.optimize import linear_sum_assignment
from sklearn.model_selection import train_test_split
from threadpoolctl import threadpool_limits

from sklearn_whitebox import SubspaceClusterer
from sklearn_whitebox.datasets import make_union_of_subspaces


def run(quick, seeds, data_dir):
    jobs = [("union 50 000 x 9", 1), ("held out, scattering 10 000", 1)]
    jobs += [("anchors against all, scattering 10 000", 2)]
    if not quick:
        jobs += [("union 1 000 000 x 50", 2), ("scattering 70 000", 2)]
        jobs += [("scattering 70 000, 20 000 anchors", 2)]
    rows = []
    for job, threads in jobs:
        command = [sys.executable, __file__, job, str(threads), str(data_dir or "")]
        pools = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")
        out = subprocess.run(
            command,
            capture_output=True,
            text=True,
            check=False,
            env={**os.environ, **dict.fromkeys(pools, str(threads))},
        )
        if out.returncode:
            print(f"{job}: {out.stderr.strip().splitlines()[-1:]}", flush=True)
            continue
        rows += json.loads(out.stdout.splitlines()[-1])
        print(rows[-1], flush=True)
    return {"summary": rows}


def _union(n_samples, n_features, n_subspaces, dim, noise, **options):
    X, y = make_union_of_subspaces(
        n_samples,
        n_features,
        n_subspaces=n_subspaces,
        subspace_dim=dim,
        noise=noise,
        random_state=0,
    )
    return [_fit(X.astype(np.float32), y, **options)]


def _scattering(data_dir, file):
    path = Path(data_dir) / file
    with np.load(path, allow_pickle=False) as archive:
        return archive["X"].astype(np.float32), archive["y"]


def _fit(X, y, threads, **options):
    _compile()
    model = SubspaceClusterer(
        len(np.unique(y)), n_jobs=threads, random_state=0, **options
    )
    start = time.perf_counter()
    with PeakMemory() as memory:
        _, seconds = timed(model.fit, X)
    return {
        "n": len(X),
        "d": X.shape[1],
        "threads": threads,
        **scores(y, model.labels_),
        "seconds": time.perf_counter() - start,
        "cpu_seconds": seconds,
        "peak_mib_above_data": memory.mib,
        "data_mib": X.nbytes / 2**20,
        "method": model.method_,
        "rule": model.predict_method_,
    }


def _compile():
    X, _ = make_union_of_subspaces(200, 9, n_subspaces=3, random_state=0)
    for method in ("auto", "elastic_net", "ridge+neighbors"):
        timed(SubspaceClusterer(3, method=method).fit, X.astype(np.float32))


def _held_out(data_dir, threads):
    X, y = _scattering(data_dir, "mnist_sc_10k.npz")
    train, test, y_train, y_test = train_test_split(X, y, test_size=0.2, random_state=0)
    _compile()
    model = SubspaceClusterer(10, n_jobs=threads, random_state=0).fit(train)
    table = np.zeros((10, 10))
    np.add.at(table, (model.labels_, y_train), 1)
    names = linear_sum_assignment(table, maximize=True)[1]
    many = np.tile(test, (5, 1))
    rates = []
    for _ in range(5):
        start = time.perf_counter()
        labels = model.predict(many)
        rates.append(len(many) / (time.perf_counter() - start))
    return [
        {
            "n": len(train),
            "d": X.shape[1],
            "threads": threads,
            "accuracy": float(np.mean(names[model.labels_] == y_train)),
            "held_out_accuracy": float(np.mean(names[labels[: len(test)]] == y_test)),
            "rows_per_second": float(np.median(rates)),
            "rule": model.predict_method_,
        }
    ]


def _anchored(data_dir, threads):
    X, y = _scattering(data_dir, "mnist_sc_10k.npz")
    whole = _fit(X, y, threads)
    rows = [whole]
    for n_anchors in (1000, 2000, 5000):
        rows.append(_fit(X, y, threads, n_anchors=n_anchors) | {"anchors": n_anchors})
    return rows


def main():
    job, threads, data_dir = sys.argv[1], int(sys.argv[2]), sys.argv[3]
    made = {
        "union 50 000 x 9": (50_000, 9, 5, 6, 0.0),
        "union 1 000 000 x 50": (1_000_000, 50, 10, 5, 0.05),
    }
    if job in made:
        rows = _union(*made[job], threads=threads)
    elif job.startswith("held out"):
        rows = _held_out(data_dir, threads)
    elif job.startswith("anchors"):
        rows = _anchored(data_dir, threads)
    else:
        X, y = _scattering(data_dir, "mnist70k_sc_pca500.npz")
        options = {"n_anchors": 20_000} if "anchors" in job else {}
        rows = [_fit(X, y, threads, **options)]
    print(json.dumps([{"job": job, **row} for row in rows]))


if __name__ == "__main__":
    with threadpool_limits(int(sys.argv[2])):
        main()
