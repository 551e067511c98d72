"""CRATE against other classifiers on tables, everybody at its defaults.

    python benchmarks/classification/run.py --quick
    python benchmarks/classification/run.py --data-dir DIR --methods crate,histgb

Every (table, fold, method) adds a line to a file of rows at once, so that a run can be
stopped, resumed (what is there is not run again), and split by methods, tables and
folds. `summarise.py` makes tables and figures of the rows. Everything runs on one
thread; times are CPU and wall seconds.
"""

import os

# Before anything loads a BLAS.
os.environ["OMP_NUM_THREADS"] = "1"
os.environ["OPENBLAS_NUM_THREADS"] = "1"
os.environ["MKL_NUM_THREADS"] = "1"

import argparse
import contextlib
import io
import tempfile
import warnings
from pathlib import Path

import torch
from common import (
    RESULTS,
    Clock,
    OverTimeError,
    append,
    at_most,
    environment,
    rate,
    read,
)
from competitors import LABELS, count_parameters, make
from data import N_FOLDS, SHIPPED, TABLES, data_dir_default, folds, load
from threadpoolctl import threadpool_limits

QUICK = ("logistic", "histgb", "crate", "crate-0")


def main():
    """Measure what is asked for and not there yet."""
    settings = _arguments()
    warnings.simplefilter("ignore")
    torch.set_num_threads(1)
    output = settings.output
    output.parent.mkdir(parents=True, exist_ok=True)
    if settings.fresh:
        output.unlink(missing_ok=True)
    done = {
        (row["data"], row["fold"], row["method"])
        for row in read(output)
        if "data" in row and not (settings.retry and "error" in row)
    }
    tasks = [
        (fold, name, method)
        for fold in settings.folds
        for name in settings.datasets
        for method in settings.methods
        if (name, fold, method) not in done
    ]
    if tasks:
        append(output, {"environment": environment()})
    with threadpool_limits(1):
        _measure_all(tasks, settings)
    if settings.quick:
        import summarise

        summarise.write([output], output.parent)
        if any("error" in row for row in read(output)):
            raise SystemExit(1)


def _measure_all(tasks, settings):
    warm, tables = set(), {}
    for fold, name, method in tasks:
        if name not in tables:
            tables[name] = load(name, settings.data_dir)
            if tables[name] is None:
                print(f"{name}: not here")
        table = tables[name]
        if table is None:
            continue
        if method not in warm:
            warm_up(method)
            warm.add(method)
        row = {"data": name, "fold": fold, "method": method}
        row |= measure(table, fold, method, settings.limit)
        append(settings.output, row)
        shown = {
            key: round(row[key], 4)
            for key in ("accuracy", "log_loss", "fit_cpu", "fit_wall")
            if key in row
        }
        print(f"{name:16s} {fold} {method:16s} {row.get('error', shown)}", flush=True)


def measure(table, fold, method, limit=None):
    """Scores and times of one fit, or the message of its failure."""
    train, test = folds(table)[fold]
    X, X_test = table.X.iloc[train], table.X.iloc[test]
    y, y_test = table.y[train], table.y[test]
    row = {"n_train": len(train), "n_features": X.shape[1]}
    try:
        with quiet():
            model = make(method, table, seed=fold)
            with Clock() as fit, at_most(limit):
                model.fit(X, y)
            with Clock() as predict:
                probabilities = model.predict_proba(X_test)
            predicted = model.predict(X_test)
            scores = rate(y_test, predicted, probabilities, model.classes_)
    except OverTimeError as error:
        return row | {"error": str(error)}
    except Exception as error:  # a row of failure says more than a missing one
        message = f"{type(error).__name__}: {error}"
        return row | {"error": message[:300]}
    return row | {
        **scores,
        "fit_cpu": fit.cpu,
        "fit_wall": fit.wall,
        "predict_cpu": predict.cpu,
        "predict_wall": predict.wall,
        "n_parameters": count_parameters(model),
    }


def warm_up(method):
    """Import and compile, away from the clock."""
    table = load("iris")
    train = folds(table)[0][0]
    with quiet(), contextlib.suppress(Exception):
        make(method, table, seed=0).fit(table.X.iloc[train], table.y[train])


@contextlib.contextmanager
def quiet():
    """Swallow what methods print, and let them write files into a passing folder."""
    here = Path.cwd()
    with (
        tempfile.TemporaryDirectory() as folder,
        contextlib.redirect_stdout(io.StringIO()),
        contextlib.redirect_stderr(io.StringIO()),
        warnings.catch_warnings(),
    ):
        warnings.simplefilter("ignore")
        os.chdir(folder)
        try:
            yield
        finally:
            os.chdir(here)


def _arguments():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="shipped data, two folds")
    parser.add_argument("--methods", type=_names, help=f"of {', '.join(LABELS)}")
    parser.add_argument("--datasets", type=_names, help="names, default all")
    parser.add_argument("--folds", type=_names, help=f"of 0 to {N_FOLDS - 1}")
    parser.add_argument("--output", type=Path, help="file of rows, .jsonl")
    parser.add_argument("--fresh", action="store_true", help="forget the file's rows")
    parser.add_argument("--retry", action="store_true", help="run failures again")
    parser.add_argument("--limit", type=float, help="CPU seconds of a fit")
    parser.add_argument("--data-dir", default=data_dir_default())
    settings = parser.parse_args()
    settings.fresh |= settings.quick
    settings.methods = settings.methods or (QUICK if settings.quick else tuple(LABELS))
    default = SHIPPED if settings.quick or not settings.data_dir else TABLES
    settings.datasets = settings.datasets or tuple(default)
    chosen = settings.folds or range(2 if settings.quick else N_FOLDS)
    settings.folds = [int(fold) for fold in chosen]
    folder = RESULTS / "quick" if settings.quick else RESULTS
    settings.output = (settings.output or folder / "rows.jsonl").absolute()
    unknown = sorted(set(settings.methods) - set(LABELS))
    if unknown:
        parser.error(f"--methods knows {', '.join(LABELS)}, not {', '.join(unknown)}")
    return settings


def _names(text):
    return tuple(text.split(","))


if __name__ == "__main__":
    main()
