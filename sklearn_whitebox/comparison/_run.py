"""Cross-validate all contestants on identical folds."""

import os
import platform
import sys
import time
import warnings
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import numpy as np
from joblib import Parallel, delayed
from sklearn.base import clone
from sklearn.decomposition import PCA
from sklearn.discriminant_analysis import LinearDiscriminantAnalysis
from sklearn.model_selection import GridSearchCV, StratifiedKFold, train_test_split
from sklearn.neighbors import KNeighborsClassifier
from sklearn.pipeline import Pipeline
from threadpoolctl import threadpool_info

from sklearn_whitebox._array import resolve_device
from sklearn_whitebox.comparison import _tasks
from sklearn_whitebox.comparison._contestants import (
    Settings,
    check_names,
    classifiers,
    clusterings,
    embeddings,
    heads,
)
from sklearn_whitebox.comparison._data import DataError, Problem, load_problem
from sklearn_whitebox.comparison._report import write_report
from sklearn_whitebox.estimators import RateReductionEmbedding
from sklearn_whitebox.functional import optimal_rate_reduction
from sklearn_whitebox.metrics import rate_reduction_score

_QUICK_ROWS = 600


def compare(
    data=None,
    *,
    target=None,
    image_shape=None,
    cv=5,
    n_jobs=None,
    device="auto",
    estimators=None,
    output=None,
    quick=False,
    random_state=0,
    verbose=1,
):
    """Compare the estimators of this package with their baselines on one data set.

    On identical stratified folds: embeddings before the same two classifiers, and
    classifiers. On all rows, with several seeds: clusterings against the labels. Then
    one grid search over a pipeline, and the rate reduction of unseen rows against the
    number of features.

    Parameters
    ----------
    data : str, path or None, default=None
        A ``.csv``, ``.parquet`` or ``.npz`` file; None is the digits data that
        scikit-learn ships.
    target : str, default=None
        Column with the labels; needed for tables.
    image_shape : sequence of int, default=None
        Height, width and, for colour, channels, if rows are images.
    cv : int, default=5
        Number of folds.
    n_jobs : int, default=None
        Folds computed at the same time; more than one makes the times rougher.
    device : str, default="auto"
        Device for the networks.
    estimators : sequence of str, default=None
        Class names to compare; None means all of them.
    output : str or path, default=None
        Folder for ``compare.json``, ``compare.md`` and the figures, written at the very
        end; None writes nothing.
    quick : bool, default=False
        At most 600 rows, three folds and short training, for a first look.
    random_state : int, default=0
        Determines folds, networks and restarts.
    verbose : int, default=1
        Whether to report progress on the standard error stream.

    Returns
    -------
    results : dict
        What ``compare.json`` holds.

    Raises
    ------
    DataError
        If the data or the names of the estimators do not serve.

    Notes
    -----
    Compilation of kernels happens before the clocks start. A method that fails is
    listed with its error and does not stop the others.
    """
    check_names(estimators)
    _check_settings(cv, n_jobs, device, output, random_state)
    problem = load_problem(data, target=target, image_shape=image_shape, cv=cv)
    if quick:
        problem, cv = _shorten(problem, cv, random_state)
    classes, y = np.unique(problem.y, return_inverse=True)
    settings = Settings(
        n_features=_count_features(problem),
        n_classes=len(classes),
        image_shape=problem.image_shape,
        device=device,
        seed=random_state,
        quick=quick,
    )
    start = time.perf_counter()
    say = _Reporter(verbose)
    results = {
        "data": _describe(problem, settings),
        "settings": {
            "cv": cv,
            "n_jobs": n_jobs,
            "device": device,
            "quick": quick,
            "random_state": random_state,
        },
        "environment": environment(),
    }
    folds = StratifiedKFold(cv, shuffle=True, random_state=random_state)
    splits = [(i, *parts) for i, parts in enumerate(folds.split(np.zeros(len(y)), y))]
    for task, jobs in _plan(problem, y, settings, splits, estimators).items():
        records = []
        results[task] = records
        say.begin(task, len(jobs))
        for record in Parallel(n_jobs=n_jobs, return_as="generator")(jobs):
            records.append(record)
            say.step(record)
    if _wanted(estimators, "RateReductionEmbedding") and not any(
        "error" in r
        for r in results["embeddings"]
        if r["method"] == "RateReductionEmbedding"
    ):
        results["grid_search"] = _grid_search(problem, y, settings, folds, n_jobs, say)
        results["rate_curve"] = _rate_curve(problem, y, settings, splits[0], say)
    _check_any_success(results)
    results["seconds"] = time.perf_counter() - start
    if output is not None:
        write_report(results, problem, y, settings, output, estimators, say)
    return results


def _check_settings(cv, n_jobs, device, output, seed):
    """Refuse what would only fail after minutes of work."""
    if cv < 2:
        raise DataError(f"--cv {cv} is too small; at least 2 folds are needed.")
    if n_jobs == 0:
        raise DataError("--n-jobs 0 means nothing; give 1 or more, or -1 for all.")
    # Clusterings count on from the seed.
    if not 0 <= seed < 2**32 - 3:
        raise DataError(f"--seed {seed} must be between 0 and {2**32 - 4}.")
    try:
        resolve_device(device)
    except ValueError as error:
        raise DataError(f"--device: {error}") from error
    if output is None:
        return
    folder = Path(output)
    while not folder.exists():
        folder = folder.parent
    if not str(output) or not folder.is_dir() or not os.access(folder, os.W_OK):
        raise DataError(f"--output {output}: {folder} is no folder one can write to.")


class _Reporter:
    """Write what is going on to the standard error stream."""

    def __init__(self, verbose):
        self._verbose = verbose

    def __call__(self, text):
        if self._verbose:
            print(text, file=sys.stderr, flush=True)

    def begin(self, task, total):
        self._done, self._total = 0, total
        self(f"{task.capitalize()}: {total} runs")

    def step(self, record):
        self._done += 1
        where = "fold" if "fold" in record else "seed"
        if "error" in record:
            outcome = f"failed ({record['error'].splitlines()[0]})"
        else:
            name, score = next(iter(record["scores"].items()))
            outcome = f"{name} {score:.3f} in {record['fit_time']:.1f} s"
        self(
            f"  [{self._done}/{self._total}] {record['method']}, "
            f"{where} {record[where]}: {outcome}"
        )


def _check_any_success(results):
    tasks = [
        results[t] for t in ("embeddings", "classifiers", "clusterings") if t in results
    ]
    records = [record for records in tasks for record in records]
    if all("error" in record for record in records):
        raise DataError(f"Every method failed, first with {records[0]['error']}")


def _wanted(names, name):
    return not names or name in names


def _plan(problem, y, settings, splits, names):
    """List the jobs of each task; methods alternate so that noise is shared."""
    given = (problem.preprocessor, problem.X, y)
    seeds = range(settings.seed, settings.seed + min(len(splits), 3))
    after = heads()
    plan = {
        "embeddings": [
            delayed(_tasks.embed)(name, method, after, *given, fold)
            for fold in splits
            for name, method in embeddings(settings).items()
            if _wanted(names, name)
        ],
        "classifiers": [
            delayed(_tasks.classify)(name, method, *given, fold)
            for fold in splits
            for name, method in classifiers(settings).items()
            if _wanted(names, name)
        ],
        "clusterings": [
            delayed(_tasks.cluster)(name, make(seed), *given, seed)
            for seed in seeds
            for name, make in clusterings(settings).items()
            if _wanted(names, name)
        ],
    }
    return {task: jobs for task, jobs in plan.items() if jobs}


def _shorten(problem, cv, seed):
    cv = min(cv, 3)
    if len(problem.y) > _QUICK_ROWS:
        classes = len(np.unique(problem.y))
        size = max(_QUICK_ROWS, cv * classes)
        kept, _ = train_test_split(
            np.arange(len(problem.y)),
            train_size=size,
            stratify=problem.y,
            random_state=seed,
        )
        counts = np.unique(problem.y[kept], return_counts=True)[1]
        if len(counts) < classes or counts.min() < cv:
            raise DataError(
                "--quick leaves a class with fewer rows than folds; run without it."
            )
        notes = [*problem.notes, f"--quick: {size} of {len(problem.y)} rows."]
        problem = Problem(
            problem.name,
            _tasks.rows_of(problem.X, kept),
            problem.y[kept],
            problem.preprocessor,
            problem.image_shape,
            notes,
        )
    return problem, cv


def _count_features(problem):
    try:
        prepared = clone(problem.preprocessor).fit_transform(problem.X)
    except ValueError as error:
        raise DataError(f"The features cannot be prepared ({error}).") from error
    return prepared.shape[1]


def _grid_search(problem, y, settings, folds, n_jobs, say):
    """Search a pipeline as a user would."""
    pipeline = Pipeline(
        [
            ("prepare", clone(problem.preprocessor)),
            (
                "embed",
                RateReductionEmbedding(
                    standardize=False,
                    max_iter=20 if settings.quick else 50,
                    device=settings.device,
                    random_state=settings.seed,
                ),
            ),
            ("classify", KNeighborsClassifier()),
        ]
    )
    grid = {"embed__distortion": [0.25, 0.5, 1.0], "classify__n_neighbors": [1, 5]}
    inner = StratifiedKFold(3, shuffle=True, random_state=settings.seed)
    say("Grid search: 6 candidates of RateReductionEmbedding → KNeighborsClassifier")
    search = GridSearchCV(pipeline, grid, cv=inner, n_jobs=n_jobs)
    start = time.perf_counter()
    search.fit(problem.X, y)
    say(f"  best: {search.best_params_}, accuracy {search.best_score_:.3f}")
    return {
        "pipeline": "RateReductionEmbedding → KNeighborsClassifier",
        "grid": grid,
        "best_params": search.best_params_,
        "best_score": float(search.best_score_),
        "scores": [float(s) for s in search.cv_results_["mean_test_score"]],
        "seconds": time.perf_counter() - start,
    }


def _rate_curve(problem, y, settings, fold, say):
    """Rate reduction of the first fold's test rows against the number of features."""
    say("Rate reduction against dimension")
    _, train, test = fold
    X, X_test = _tasks.prepare(problem.preprocessor, problem.X, train, test)
    most = min(64, X.shape[1], len(train) - 1)
    dimensions = [2**i for i in range(1, 7) if 2**i <= most] or [1]
    makers = {
        "PCA": PCA,
        "LinearDiscriminantAnalysis": lambda d: LinearDiscriminantAnalysis(
            n_components=d
        ),
        "RateReductionEmbedding": lambda d: RateReductionEmbedding(
            d,
            max_iter=20 if settings.quick else 50,
            device=settings.device,
            random_state=settings.seed,
        ),
    }
    curve = {"dimensions": {}, "rates": {}}
    for name, make in makers.items():
        limit = settings.n_classes - 1 if name.startswith("Linear") else most
        curve["dimensions"][name] = [d for d in dimensions if d <= limit]
        with warnings.catch_warnings():
            # What happens with fewer dimensions than classes is the question here.
            warnings.filterwarnings("ignore", "n_components=. is fewer", UserWarning)
            curve["rates"][name] = [
                rate_reduction_score(
                    make(d).fit(X, y[train]).transform(X_test), y[test]
                )
                for d in curve["dimensions"][name]
            ]
    sizes = np.bincount(y[test])
    sizes = sizes[sizes > 0]
    # Orthogonal classes need a dimension each; below that no closed form is known.
    wide = [d for d in dimensions if d >= settings.n_classes]
    curve["attainable"] = [wide, [_attainable(sizes.tolist(), d) for d in wide]]
    return curve


def _attainable(sizes, dimension):
    n_classes = len(sizes)
    return max(
        optimal_rate_reduction(sizes, dimension, [rank] * n_classes)
        for rank in range(1, min(dimension // n_classes, min(sizes)) + 1)
    )


def _describe(problem, settings):
    classes, counts = np.unique(problem.y, return_counts=True)
    return {
        "name": problem.name,
        "n_samples": len(problem.y),
        "n_columns": int(problem.X.shape[1]),
        "n_features": settings.n_features,
        "classes": {str(c): int(n) for c, n in zip(classes, counts, strict=True)},
        "image_shape": problem.image_shape and list(problem.image_shape),
        "preparation": problem.notes,
    }


def environment():
    """Describe versions, machine and threads, for the record of a measurement.

    Returns
    -------
    environment : dict
        Ready for JSON.
    """
    packages = (
        "sklearn-whitebox",
        "scikit-learn",
        "numpy",
        "scipy",
        "torch",
        "numba",
        "joblib",
    )
    versions = {"python": platform.python_version()}
    for package in packages:
        try:
            versions[package] = version(package)
        except PackageNotFoundError:
            versions[package] = "unknown"
    return {
        "versions": versions,
        "machine": platform.machine(),
        "system": platform.system(),
        "processor": _processor(),
        "cores": os.cpu_count(),
        # Other work on the machine lengthens all times.
        "load_average": os.getloadavg()[0] if hasattr(os, "getloadavg") else None,
        "threads": {
            f"{pool['user_api']} ({pool['prefix']})": pool["num_threads"]
            for pool in threadpool_info()
        },
    }


def _processor():
    try:
        with open("/proc/cpuinfo") as file:  # noqa: PTH123
            for line in file:
                if line.startswith("model name"):
                    return line.partition(":")[2].strip()
    except OSError:
        pass
    return platform.processor() or "unknown"
