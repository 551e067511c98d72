"""SparseDictionaryLearner against scikit-learn's decompositions.

    python benchmarks/dictionary/run.py --quick
    python benchmarks/dictionary/run.py --data-dir path/to/npz

Four questions: are planted atoms found, complete and overcomplete; how long does a
lasso code take; and how well does logistic regression do on the codes of images. Peers
get the best of several penalties, chosen by the very score that is reported; ours keep
their default. Everything runs on one thread, repeats are interleaved, times are
medians.
"""

import argparse
import json
import os
import statistics
import time
import warnings
from pathlib import Path

import numpy as np
from sklearn.datasets import load_digits
from sklearn.decomposition import (
    PCA,
    DictionaryLearning,
    FastICA,
    MiniBatchDictionaryLearning,
    sparse_encode,
)
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import StratifiedKFold, train_test_split
from sklearn.preprocessing import FunctionTransformer
from threadpoolctl import threadpool_limits

from sklearn_whitebox import SparseDictionaryLearner
from sklearn_whitebox.comparison import environment
from sklearn_whitebox.datasets import make_sparse_codes
from sklearn_whitebox.metrics import dictionary_recovery
from sklearn_whitebox.solvers import lasso_encode

COMPLETE = {
    "orthogonal 25, n=5000": {"n_samples": 5000, "n_features": 25, "density": 0.2},
    "orthogonal 50, n=500": {"n_samples": 500, "n_features": 50, "density": 0.1},
    "oblique 25, n=5000, noise 0.1": {
        "n_samples": 5000,
        "n_features": 25,
        "density": 0.2,
        "noise": 0.1,
    },
}
PENALTIES = (0.2, 0.4)


def mini_batch(k, alpha, seed, **settings):
    return MiniBatchDictionaryLearning(
        k,
        alpha=alpha,
        batch_size=256,
        max_iter=100,
        fit_algorithm="cd",
        transform_algorithm="lasso_cd",
        random_state=seed,
        **settings,
    )


def batch(k, alpha, seed):
    return DictionaryLearning(
        k, alpha=alpha, max_iter=100, fit_algorithm="cd", random_state=seed
    )


def timed(function, *args):
    start = time.perf_counter()
    value = function(*args)
    return value, time.perf_counter() - start


def summary(rows):
    names = rows[0].keys()
    return {
        name: round(
            (statistics.median if name.endswith("seconds") else statistics.mean)(
                [row[name] for row in rows]
            ),
            5,
        )
        for name in names
    }


def atoms(model):
    return model.mixing_.T if isinstance(model, FastICA) else model.components_


def recover(models, problems):
    runs = {}
    for seed, (X, D) in enumerate(problems):
        for label, build in models.items():
            model, seconds = timed(build(seed).fit, X)
            strict = dictionary_recovery(atoms(model), D)
            loose = dictionary_recovery(atoms(model), D, threshold=0.05)
            runs.setdefault(label, []).append(
                {
                    "mean_cosine": strict.mean_cosine,
                    "min_cosine": strict.min_cosine,
                    "fraction_at_0.01": strict.fraction_detected,
                    "fraction_at_0.05": loose.fraction_detected,
                    "fit_seconds": seconds,
                }
            )
    return {label: summary(rows) for label, rows in runs.items()}


def complete(n_repeats):
    results = {}
    for name, settings in COMPLETE.items():
        k = settings["n_features"]
        problems = []
        for seed in range(n_repeats):
            X, _, D = make_sparse_codes(
                **settings, orthogonal="orthogonal" in name, random_state=seed
            )
            problems.append((X, D))
        results[name] = recover(
            {
                "SparseDictionaryLearner": lambda s: SparseDictionaryLearner(
                    random_state=s
                ),
                "FastICA logcosh": lambda s: FastICA(max_iter=1000, random_state=s),
                "FastICA cube": lambda s: FastICA(
                    fun="cube", max_iter=1000, random_state=s
                ),
                "PCA": lambda s: PCA(random_state=s),
                **{
                    f"MiniBatchDictionaryLearning alpha={a}": lambda s, a=a, k=k: (
                        mini_batch(k, a, s)
                    )
                    for a in PENALTIES
                },
            },
            problems,
        )
    return results


def overcomplete(n_repeats, quick):
    problems = []
    for seed in range(n_repeats):
        X, _, D = make_sparse_codes(1500, 20, 50, n_nonzero=3, random_state=seed)
        noise = np.random.default_rng(seed).standard_normal(X.shape)
        # A signal-to-noise ratio of 20 dB.
        noise *= 0.1 * np.linalg.norm(X) / np.linalg.norm(noise)
        problems.append((X + noise, D))
    models = {
        "SparseDictionaryLearner": lambda s: SparseDictionaryLearner(
            50, random_state=s
        ),
        **{
            f"MiniBatchDictionaryLearning alpha={a}": lambda s, a=a: mini_batch(
                50, a, s
            )
            for a in PENALTIES
        },
    }
    if not quick:
        for a in PENALTIES:
            models[f"DictionaryLearning alpha={a}"] = lambda s, a=a: batch(50, a, s)
    return recover(models, problems)


def coding(n_repeats):
    X, _, D = make_sparse_codes(3000, 64, 256, n_nonzero=8, noise=0.02, random_state=0)
    few = X[:300]
    ways = {
        "lasso_encode": lambda a: lasso_encode(X, D, alpha=a).solution,
        "sparse_encode lasso_cd": lambda a: sparse_encode(
            few, D, algorithm="lasso_cd", alpha=a, max_iter=2000
        ),
        "sparse_encode lasso_lars": lambda a: sparse_encode(
            few, D, algorithm="lasso_lars", alpha=a, max_iter=2000
        ),
    }
    results = {}
    for alpha in (0.3, 0.1, 0.02):
        runs = {}
        ways["lasso_encode"](alpha)
        for _ in range(n_repeats):
            for label, encode in ways.items():
                codes, seconds = timed(encode, alpha)
                error = X[: len(codes)] - codes @ D
                objective = 0.5 * (error**2).sum(1) + alpha * np.abs(codes).sum(1)
                runs.setdefault(label, []).append(
                    {
                        "microseconds_per_sample": 1e6 * seconds / len(codes),
                        "objective_of_first_300": objective[:300].mean(),
                        "nonzeros": np.count_nonzero(codes) / len(codes),
                    }
                )
        results[f"alpha={alpha}"] = {
            label: {
                **summary(rows),
                "microseconds_per_sample": round(
                    statistics.median(r["microseconds_per_sample"] for r in rows), 1
                ),
            }
            for label, rows in runs.items()
        }
    return results


def image_models(d, quick):
    models = {
        "pixels": lambda s: FunctionTransformer(),
        **{f"PCA {k}": lambda s, k=k: PCA(k, random_state=s) for k in (20, 40, 60)},
        f"SparseDictionaryLearner {2 * d}": lambda s: SparseDictionaryLearner(
            2 * d, random_state=s
        ),
        "SparseDictionaryLearner complete": lambda s: SparseDictionaryLearner(
            random_state=s
        ),
        f"MiniBatchDictionaryLearning {2 * d} alpha=0.5": lambda s: mini_batch(
            2 * d, 0.5, s, transform_alpha=0.5
        ),
    }
    if not quick:
        models[f"SparseDictionaryLearner {4 * d}"] = lambda s: SparseDictionaryLearner(
            4 * d, random_state=s
        )
        models[f"MiniBatchDictionaryLearning {2 * d} alpha=0.1"] = lambda s: mini_batch(
            2 * d, 0.1, s, transform_alpha=0.1
        )
    return models


def images(X, y, quick):
    folds = StratifiedKFold(5, shuffle=True, random_state=0)
    runs = {}
    for seed, (train, test) in enumerate(folds.split(X, y)):
        for label, build in image_models(X.shape[1], quick).items():
            model, fit_seconds = timed(build(seed).fit, X[train])
            Z = model.transform(X[train])
            Z_test, seconds = timed(model.transform, X[test])
            classifier = LogisticRegression(max_iter=2000)
            _, classifier_seconds = timed(classifier.fit, Z, y[train])
            runs.setdefault(label, []).append(
                {
                    "accuracy": classifier.score(Z_test, y[test]),
                    "nonzeros": np.count_nonzero(Z_test) / len(Z_test),
                    "fit_seconds": fit_seconds,
                    "transform_seconds": seconds,
                    "classifier_seconds": classifier_seconds,
                }
            )
    return {label: summary(rows) for label, rows in runs.items()}


def image_sets(data_dir):
    X, y = load_digits(return_X_y=True)
    sets = {"digits": (X / 16, y)}
    if data_dir is not None:
        with np.load(Path(data_dir) / "usps.npz", allow_pickle=False) as archive:
            X, y = archive["X"].astype(float), archive["y"]
        X, _, y, _ = train_test_split(X, y, train_size=3000, stratify=y, random_state=0)
        sets["usps (3000 rows)"] = (X.reshape(len(X), -1) / np.abs(X).max(), y)
    return sets


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="few repeats and models")
    parser.add_argument("--data-dir", default=os.environ.get("SKLEARN_WHITEBOX_DATA"))
    parser.add_argument("--output", default=None)
    settings = parser.parse_args()
    n_repeats = 2 if settings.quick else 5
    warnings.simplefilter("ignore", ConvergenceWarning)
    # Compilation is not what is measured.
    SparseDictionaryLearner(8, max_iter=2, random_state=0).fit(np.eye(4))
    with threadpool_limits(1):
        report = {
            "complete": complete(n_repeats),
            "overcomplete": overcomplete(n_repeats, settings.quick),
            "coding": coding(n_repeats),
            "images": {
                name: images(X, y, settings.quick)
                for name, (X, y) in image_sets(
                    None if settings.quick else settings.data_dir
                ).items()
            },
        }
    for question, tables in report.items():
        for label, row in tables.items():
            print(question, "|", label, "|", json.dumps(row, indent=1))
    name = "quick" if settings.quick else "full"
    path = Path(__file__).parent / "results" / f"{name}.json"
    path = Path(settings.output) if settings.output else path
    path.parent.mkdir(parents=True, exist_ok=True)
    report = {
        "threads": 1,
        "repeats": n_repeats,
        **report,
        "environment": environment(),
    }
    path.write_text(json.dumps(report, indent=2) + "\n")


if __name__ == "__main__":
    main()
