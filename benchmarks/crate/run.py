"""CRATEClassifier against scikit-learn's classifiers, on tables and small images.

    python benchmarks/crate/run.py --quick
    python benchmarks/crate/run.py --data-dir path/to/npz

Test rows are a stratified 30 % that no parameter was chosen on. Peers run at their best
known plain settings, on the same number of threads; fits are interleaved over the
repeats and medians are reported for time, means for quality.
"""

import argparse
import json
import os
import statistics
import time
from pathlib import Path

import numpy as np
import torch
from sklearn.datasets import load_breast_cancer, load_digits, load_wine
from sklearn.ensemble import HistGradientBoostingClassifier
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import accuracy_score, log_loss
from sklearn.model_selection import train_test_split
from sklearn.neural_network import MLPClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from threadpoolctl import threadpool_limits

from sklearn_whitebox.comparison import environment
from sklearn_whitebox.estimators import CRATEClassifier

SHIPPED = {
    "digits": load_digits,
    "breast_cancer": load_breast_cancer,
    "wine": load_wine,
}
TABLES = [
    "vehicle",
    "vowel",
    "segment",
    "pima",
    "ionosphere",
    "sonar",
    "phoneme",
    "contraceptive",
]
MOST_ROWS = 2000


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


def contestants(name, seed, quick):
    image = {"image_shape": (8, 8)} if name == "digits" else {}
    crate = {"random_state": seed, **image}
    entries = {
        "LogisticRegression": make_pipeline(
            StandardScaler(), LogisticRegression(max_iter=2000)
        ),
        "HistGradientBoosting": HistGradientBoostingClassifier(random_state=seed),
        "MLPClassifier": make_pipeline(
            StandardScaler(), MLPClassifier((256,), max_iter=500, random_state=seed)
        ),
        "CRATE": CRATEClassifier(**crate),
        "CRATE early stopping": CRATEClassifier(
            **crate, early_stopping=True, max_iter=100
        ),
    }
    if name == "digits":
        entries["CRATE patch 4"] = CRATEClassifier(**crate, patch_size=4)
    elif not quick:
        entries["CRATE feature tokens"] = CRATEClassifier(**crate, tokens="feature")
    if not quick:
        entries["CRATE tssa + odl"] = CRATEClassifier(
            **crate, attention="tssa", sparsifier="odl"
        )
        entries["CRATE no sparsifier"] = CRATEClassifier(**crate, sparsifier=None)
        entries["CRATE mlp"] = CRATEClassifier(**crate, sparsifier="mlp")
    return entries


def measure(name, data_dir, n_repeats, quick):
    X, y = load(name, data_dir)
    runs = {}
    for seed in range(n_repeats):
        X_train, X_test, y_train, y_test = train_test_split(
            X, y, test_size=0.3, stratify=y, random_state=seed
        )
        for label, model in contestants(name, seed, quick).items():
            start = time.perf_counter()
            model.fit(X_train, y_train)
            middle = time.perf_counter()
            probabilities = model.predict_proba(X_test)
            end = time.perf_counter()
            predicted = model.classes_[probabilities.argmax(1)]
            runs.setdefault(label, []).append(
                (
                    accuracy_score(y_test, predicted),
                    log_loss(y_test, probabilities, labels=model.classes_),
                    middle - start,
                    end - middle,
                )
            )
    table = {}
    for label, rows in runs.items():
        accuracy, loss, fit, predict = zip(*rows, strict=True)
        table[label] = {
            "accuracy": round(statistics.mean(accuracy), 4),
            "accuracy_std": round(statistics.pstdev(accuracy), 4),
            "log_loss": round(statistics.mean(loss), 4),
            "fit_seconds": round(statistics.median(fit), 3),
            "predict_seconds": round(statistics.median(predict), 4),
        }
        print(f"{name:14s} {label:22s} {table[label]}", flush=True)
    return {"n_samples": len(X), "n_features": X.shape[1], "results": table}


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="two repeats, few models")
    parser.add_argument("--data-dir", default=os.environ.get("SKLEARN_WHITEBOX_DATA"))
    parser.add_argument("--datasets", nargs="*", help="only these")
    parser.add_argument("--repeats", type=int, default=None)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--output", type=Path, default=None)
    arguments = parser.parse_args()
    names = arguments.datasets or [*SHIPPED, *(TABLES if arguments.data_dir else [])]
    n_repeats = arguments.repeats or (2 if arguments.quick else 5)
    torch.set_num_threads(arguments.threads)
    with threadpool_limits(arguments.threads):
        tables = {
            name: measure(name, arguments.data_dir, n_repeats, arguments.quick)
            for name in names
        }
    result = {
        "environment": environment(),
        "threads": arguments.threads,
        "repeats": n_repeats,
        "most_rows": MOST_ROWS,
        "datasets": tables,
    }
    name = "quick.json" if arguments.quick else "full.json"
    output = arguments.output or Path(__file__).parent / "results" / name
    output.parent.mkdir(parents=True, exist_ok=True)
    output.write_text(json.dumps(result, indent=2) + "\n")


if __name__ == "__main__":
    main()
