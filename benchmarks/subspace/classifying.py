"""Classify tables by coding length, next to the classifiers of its kind.

Compares `CodingLengthClassifier` at its defaults with linear and quadratic discriminant
analysis, Gaussian naive Bayes and nearest neighbours, all on standardised features.
Shrinkage, regularisation and the number of neighbours are chosen by inner
cross-validation. Data are the shipped tables, and those named ``tab_*.npz`` in
``--data-dir`` (or ``SKLEARN_WHITEBOX_DATA``), at most 2000 rows of each.

    python benchmarks/subspace/classifying.py --quick
"""

import argparse
import json
import os
import time
import warnings
from pathlib import Path

import numpy as np
from sklearn.datasets import load_breast_cancer, load_digits, load_iris, load_wine
from sklearn.discriminant_analysis import (
    LinearDiscriminantAnalysis,
    QuadraticDiscriminantAnalysis,
)
from sklearn.model_selection import GridSearchCV, StratifiedKFold
from sklearn.naive_bayes import GaussianNB
from sklearn.neighbors import KNeighborsClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from threadpoolctl import threadpool_limits

from sklearn_whitebox.comparison import environment
from sklearn_whitebox.estimators import CodingLengthClassifier

SHIPPED = {
    "iris": load_iris,
    "wine": load_wine,
    "breast cancer": load_breast_cancer,
    "digits": load_digits,
}
MOST_ROWS = 2000


def tables(directory):
    """Yield name, samples and classes."""
    for name, load in SHIPPED.items():
        yield name, *load(return_X_y=True)
    for path in sorted(Path(directory).glob("tab_*.npz")) if directory else []:
        with np.load(path, allow_pickle=False) as archive:
            yield path.stem.removeprefix("tab_"), archive["X"], archive["y"]


def methods():
    """Classifiers by name; peers choose their settings inside."""

    def chosen(peer, **grid):
        return GridSearchCV(peer, grid, cv=3)

    return {
        "coding length": CodingLengthClassifier(),
        "linear discriminant": chosen(
            LinearDiscriminantAnalysis(solver="lsqr"),
            shrinkage=[None, "auto", 0.01, 0.1],
        ),
        "quadratic discriminant": chosen(
            QuadraticDiscriminantAnalysis(solver="eigen"),
            shrinkage=["auto", 1e-4, 1e-3, 0.01, 0.03, 0.1, 0.3],
        ),
        "naive Bayes": GaussianNB(),
        "nearest neighbors": chosen(
            KNeighborsClassifier(), n_neighbors=[1, 3, 5, 9, 15]
        ),
    }


def run(quick=False, directory=None):
    """Cross-validate all methods on all tables, on one thread.

    Parameters
    ----------
    quick : bool, default=False
        Only the shipped tables.
    directory : str, default=None
        Where the other tables are.

    Returns
    -------
    results : dict
        ``"rows"``: accuracy in five folds and seconds for each table and method;
        ``"summary"``: mean accuracy and mean rank for each method.
    """
    rows = []
    for name, X, y in tables(None if quick else directory):
        X, y = few_rows(X, y)
        folds = list(StratifiedKFold(5, shuffle=True, random_state=0).split(X, y))
        for method, classifier in methods().items():
            model = make_pipeline(StandardScaler(), classifier)
            with threadpool_limits(1), warnings.catch_warnings():
                warnings.simplefilter("ignore")
                start = time.perf_counter()
                scores = [
                    model.fit(X[train], y[train]).score(X[test], y[test])
                    for train, test in folds
                ]
                seconds = time.perf_counter() - start
            rows.append(
                {
                    "table": name,
                    "method": method,
                    "accuracy": round(float(np.mean(scores)), 4),
                    "seconds": round(seconds, 3),
                }
            )
    return {"rows": rows, "summary": summary(rows)}


def few_rows(X, y):
    """Draw rows if there are many, and drop classes of fewer than five."""
    chosen = np.random.default_rng(0).permutation(len(X))[:MOST_ROWS]
    X, y = X[chosen].astype(np.float64), np.unique(y[chosen], return_inverse=True)[1]
    kept = np.bincount(y)[y] >= 5
    return X[kept], y[kept]


def summary(rows):
    """Sum up each method over all tables."""
    names = list(methods())
    scores = np.array(
        [[row["accuracy"] for row in rows if row["method"] == name] for name in names]
    )
    ranks = (scores[:, None] < scores).sum(1) + (scores[:, None] == scores).sum(1) / 2
    return {
        name: {
            "accuracy": round(float(scores[k].mean()), 4),
            "mean rank": round(float(ranks[k].mean() + 0.5), 2),
            "seconds": round(
                sum(row["seconds"] for row in rows if row["method"] == name), 1
            ),
        }
        for k, name in enumerate(names)
    }


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--data-dir", default=os.environ.get("SKLEARN_WHITEBOX_DATA"))
    parser.add_argument("--output", type=Path, default=None)
    options = parser.parse_args()
    results = run(options.quick, options.data_dir)
    results["environment"] = environment()
    for row in results["rows"]:
        print(*row.values(), sep="  ")
    for method, values in results["summary"].items():
        print(f"{method:24}", values)
    if options.output:
        options.output.write_text(json.dumps(results, indent=1) + "\n")


if __name__ == "__main__":
    main()
