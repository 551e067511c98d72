"""RateReductionEmbedding against supervised and unsupervised embeddings.

    python benchmarks/embedding/run.py --quick
    python benchmarks/embedding/run.py --data-dir path/to/npz

The same stratified splits for all, scaled on the training rows; 5-nearest-neighbour and
logistic-regression accuracy of unseen rows after each embedding. No parameter was
chosen on these test rows. Fits alternate over the repeats; medians are reported for
time, means for quality.
"""

import argparse
import json
import os
import statistics
import time
from pathlib import Path

import numpy as np
import torch
from sklearn.base import clone
from sklearn.datasets import load_breast_cancer, load_digits, load_wine
from sklearn.decomposition import PCA
from sklearn.discriminant_analysis import LinearDiscriminantAnalysis
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import train_test_split
from sklearn.neighbors import KNeighborsClassifier, NeighborhoodComponentsAnalysis
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer, StandardScaler
from threadpoolctl import threadpool_limits

from sklearn_whitebox import RateReductionEmbedding
from sklearn_whitebox.comparison import environment
from sklearn_whitebox.metrics import rate_reduction_score

SHIPPED = {
    "digits": load_digits,
    "breast_cancer": load_breast_cancer,
    "wine": load_wine,
}
TABLES = ["vehicle", "vowel", "segment", "satimage", "optdigits", "movement_libras"]
MOST_ROWS = 4000


def load(name, data_dir):
    if name in SHIPPED:
        return SHIPPED[name](return_X_y=True)
    with np.load(Path(data_dir) / f"tab_{name}.npz", allow_pickle=False) as archive:
        X, y = archive["X"], archive["y"]
    if len(X) > MOST_ROWS:
        X, _, y, _ = train_test_split(
            X, y, train_size=MOST_ROWS, stratify=y, random_state=0
        )
    return X, y


def contestants(seed, n_features):
    ours = {"standardize": False, "random_state": seed}
    dimension = min(n_features, 32)
    return {
        "scaled features": FunctionTransformer(),
        "PCA": PCA(0.95, svd_solver="full"),
        "LDA": LinearDiscriminantAnalysis(),
        "NCA": NeighborhoodComponentsAnalysis(dimension, random_state=seed),
        "RateReduction mlp": RateReductionEmbedding(**ours),
        "RateReduction linear": RateReductionEmbedding(encoder="linear", **ours),
    }


def measure(name, data_dir, n_repeats):
    X, y = load(name, data_dir)
    # Grey images keep their common scale; columns of tables have scales of their own.
    scaler = FunctionTransformer(_divide) if name == "digits" else StandardScaler()
    heads = {
        "knn": KNeighborsClassifier(),
        "logistic": make_pipeline(StandardScaler(), LogisticRegression(max_iter=2000)),
    }
    runs = {}
    for seed in range(n_repeats):
        parts = train_test_split(X, y, test_size=0.3, stratify=y, random_state=seed)
        scaler.fit(parts[0])
        train, test = (scaler.transform(part) for part in parts[:2])
        y_train, y_test = parts[2:]
        for label, method in contestants(seed, X.shape[1]).items():
            start = time.perf_counter()
            method.fit(train, y_train)
            seconds = time.perf_counter() - start
            Z, Z_test = method.transform(train), method.transform(test)
            row = {"fit_seconds": seconds, "dimension": Z.shape[1]}
            row["rate_reduction"] = rate_reduction_score(Z_test, y_test)
            for head, classifier in heads.items():
                row[head] = clone(classifier).fit(Z, y_train).score(Z_test, y_test)
            runs.setdefault(label, []).append(row)
    table = {}
    for label, rows in runs.items():
        table[label] = {
            key: round(statistics.mean(row[key] for row in rows), 4)
            for key in ("knn", "logistic", "rate_reduction")
        }
        table[label]["dimension"] = rows[0]["dimension"]
        table[label]["fit_seconds"] = round(
            statistics.median(row["fit_seconds"] for row in rows), 3
        )
        print(f"{name:14s} {label:22s} {table[label]}", flush=True)
    return {"n_samples": len(X), "n_features": X.shape[1], "results": table}


def _divide(X):
    return X / 16


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="two repeats")
    parser.add_argument("--data-dir", default=os.environ.get("SKLEARN_WHITEBOX_DATA"))
    parser.add_argument("--datasets", nargs="*", help="only these")
    parser.add_argument("--threads", type=int, default=1)
    arguments = parser.parse_args()
    names = arguments.datasets or [*SHIPPED, *(TABLES if arguments.data_dir else [])]
    n_repeats = 2 if arguments.quick else 5
    torch.set_num_threads(arguments.threads)
    with threadpool_limits(arguments.threads):
        tables = {name: measure(name, arguments.data_dir, n_repeats) for name in names}
    result = {
        "environment": environment(),
        "threads": arguments.threads,
        "repeats": n_repeats,
        "datasets": tables,
    }
    output = Path(__file__).parent / "results"
    output.mkdir(exist_ok=True)
    name = "quick.json" if arguments.quick else "full.json"
    (output / name).write_text(json.dumps(result, indent=1) + "\n")


if __name__ == "__main__":
    main()
