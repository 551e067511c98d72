"""CRATERegressor against scikit-learn's regressors, everybody at its defaults.

    python benchmarks/classification/regression.py --quick
    python benchmarks/classification/regression.py

Shipped and made data, five folds, one thread, CPU seconds. Rows and targets are scaled
for those that need it.
"""

import os

# Before anything loads a BLAS.
os.environ["OMP_NUM_THREADS"] = "1"
os.environ["OPENBLAS_NUM_THREADS"] = "1"
os.environ["MKL_NUM_THREADS"] = "1"

import argparse
import json
import warnings
from pathlib import Path

import numpy as np
import torch
from common import RESULTS, Clock, environment
from scipy.stats import rankdata
from sklearn.compose import TransformedTargetRegressor
from sklearn.datasets import (
    load_diabetes,
    make_friedman1,
    make_friedman2,
    make_friedman3,
)
from sklearn.ensemble import HistGradientBoostingRegressor, RandomForestRegressor
from sklearn.linear_model import Ridge
from sklearn.metrics import r2_score
from sklearn.model_selection import KFold
from sklearn.neural_network import MLPRegressor
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.svm import SVR
from threadpoolctl import threadpool_limits

N_ROWS = 2000
TABLES = {
    "diabetes": lambda: load_diabetes(return_X_y=True),
    "friedman1": lambda: make_friedman1(N_ROWS, 10, noise=1.0, random_state=0),
    # Noise of about a third of the spread of the targets.
    "friedman2": lambda: make_friedman2(N_ROWS, noise=125.0, random_state=0),
    "friedman3": lambda: make_friedman3(N_ROWS, noise=0.1, random_state=0),
}


def methods(seed):
    """Unfitted regressors by name."""
    return {
        "Ridge": make_pipeline(StandardScaler(), Ridge()),
        "SVR(C=10)": _scaled(SVR(C=10)),
        "RandomForest": RandomForestRegressor(n_jobs=1, random_state=seed),
        "HistGradientBoosting": HistGradientBoostingRegressor(random_state=seed),
        "MLPRegressor": _scaled(MLPRegressor(random_state=seed)),
        "CRATE": _crate(random_state=seed),
        "CRATE, no layers": _crate(n_layers=0, random_state=seed),
    }


def _crate(**settings):
    from sklearn_whitebox import CRATERegressor

    return CRATERegressor(**settings)


def _scaled(regressor):
    return TransformedTargetRegressor(
        make_pipeline(StandardScaler(), regressor), transformer=StandardScaler()
    )


def run(n_folds, names):
    """Rows of every table, fold and method."""
    rows = []
    for name in names:
        X, y = TABLES[name]()
        splitter = KFold(n_folds, shuffle=True, random_state=0)
        for fold, (train, test) in enumerate(splitter.split(X)):
            for label, model in methods(fold).items():
                with Clock() as fit:
                    model.fit(X[train], y[train])
                with Clock() as predict:
                    predicted = model.predict(X[test])
                row = {
                    "data": name,
                    "fold": fold,
                    "method": label,
                    "r2": float(r2_score(y[test], predicted)),
                    "fit_cpu": fit.cpu,
                    "predict_cpu": predict.cpu,
                }
                rows.append(row)
                print(name, fold, label, round(row["r2"], 4), flush=True)
    return rows


def summarise(rows):
    """R² and CPU seconds by table and method, and average ranks."""
    names = list(dict.fromkeys(row["data"] for row in rows))
    labels = list(dict.fromkeys(row["method"] for row in rows))

    def mean(name, label, key):
        values = [r[key] for r in rows if r["data"] == name and (r["method"] == label)]
        return round(float(np.mean(values)), 4)

    table = {
        name: {
            label: {key: mean(name, label, key) for key in ("r2", "fit_cpu")}
            for label in labels
        }
        for name in names
    }
    ranks = np.mean(
        [rankdata([-table[n][label]["r2"] for label in labels]) for n in names], axis=0
    )
    return {
        "table": table,
        "ranks": dict(zip(labels, np.round(ranks, 2).tolist(), strict=True)),
    }


def main():
    """Measure and write regression.json."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="one table, two folds")
    parser.add_argument("--output", type=Path, help="file, .json")
    settings = parser.parse_args()
    warnings.simplefilter("ignore")
    torch.set_num_threads(1)
    folder = RESULTS / "quick" if settings.quick else RESULTS
    path = settings.output or folder / "regression.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    with threadpool_limits(1):
        rows = run(
            2 if settings.quick else 5, ["diabetes"] if settings.quick else TABLES
        )
    report = {"environment": environment(), "rows": rows, **summarise(rows)}
    path.write_text(json.dumps(report, indent=1) + "\n")
    print(json.dumps(report["ranks"], indent=1))


if __name__ == "__main__":
    main()
