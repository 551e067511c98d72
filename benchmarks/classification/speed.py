"""How long do fits of neural networks take? Side by side in one process, one thread.

    python benchmarks/classification/speed.py --quick
    python benchmarks/classification/speed.py --data-dir DIR --datasets vehicle,pima

Rounds alternate between the methods; medians of CPU seconds and ratios of those to the
fits of CRATE are kept, with the scores on the unseen folds. Other work on the machine
lengthens all of them alike.
"""

import os

# Before anything loads a BLAS.
os.environ["OMP_NUM_THREADS"] = "1"
os.environ["OPENBLAS_NUM_THREADS"] = "1"
os.environ["MKL_NUM_THREADS"] = "1"

import argparse
import json
import statistics
import warnings
from pathlib import Path

import torch
from common import RESULTS, append, environment
from competitors import LABELS
from data import N_FOLDS, SHIPPED, data_dir_default, load
from run import measure, warm_up
from threadpoolctl import threadpool_limits

METHODS = ("crate", "crate-0", "realmlp", "ftt", "tabm")
TABLES = ("sonar", "pima", "vehicle", "vowel", "contraceptive", "segment")


def main():
    """Race, and write speed.json after every table."""
    settings = _arguments()
    warnings.simplefilter("ignore")
    torch.set_num_threads(1)
    folder = RESULTS / "quick" if settings.quick else RESULTS
    path = settings.output or folder / "speed.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    report = {"environment": environment(), "rounds": settings.rounds, "fits": []}
    with threadpool_limits(1):
        for method in settings.methods:
            warm_up(method)
        for name in settings.datasets:
            table = load(name, settings.data_dir)
            if table is None:
                print(f"{name}: not here")
                continue
            line = race(table, settings.methods, settings.rounds, settings.rows)
            report["fits"].append(line)
            report["ratios"] = _ratios(report["fits"])
            path.write_text(json.dumps(report, indent=1) + "\n")
            print(line, flush=True)
    print(report.get("ratios"))


def race(table, methods, rounds, rows=None):
    """Medians over the rounds of the CPU seconds of a fit and of predicting."""
    found = {method: [] for method in methods}
    for turn in range(rounds):
        fold = turn % N_FOLDS
        for method in methods:
            row = {"data": table.name, "fold": fold, "method": method}
            row |= measure(table, fold, method)
            found[method].append(row)
            if rows:
                append(rows, row)
    line = {
        "data": table.name,
        "n_train": row["n_train"],
        "n_features": row["n_features"],
    }
    for key in ("fit_cpu", "predict_cpu", "accuracy", "log_loss"):
        middle = statistics.median if key.endswith("cpu") else statistics.mean
        line[key] = {
            method: round(middle(row[key] for row in members), 4)
            for method, members in found.items()
            if all(key in row for row in members)
        }
    return line


def _ratios(fits):
    """Median, smallest and largest over tables of the time of CRATE to a method's."""
    report = {}
    for method in fits[0]["fit_cpu"]:
        pairs = [
            (line["fit_cpu"]["crate"], line["fit_cpu"][method])
            for line in fits
            if method != "crate" and {"crate", method} <= set(line["fit_cpu"])
        ]
        if not pairs:
            continue
        ratios = [ours / theirs for ours, theirs in pairs]
        report[f"crate / {method}"] = {
            "median": round(statistics.median(ratios), 3),
            "least": round(min(ratios), 3),
            "most": round(max(ratios), 3),
        }
    return report


def _arguments():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="one shipped table")
    parser.add_argument("--methods", help=f"of {', '.join(LABELS)}")
    parser.add_argument("--datasets", help="comma-separated names")
    parser.add_argument("--rounds", type=int, help="default 3 (quick: 1)")
    parser.add_argument("--output", type=Path, help="file, .json")
    parser.add_argument("--rows", type=Path, help="add the rows to a file, .jsonl")
    parser.add_argument("--data-dir", default=data_dir_default())
    settings = parser.parse_args()
    quick = settings.quick
    settings.rounds = settings.rounds or (1 if quick else 3)
    chosen = settings.methods and tuple(settings.methods.split(","))
    settings.methods = chosen or (METHODS[:2] if quick else METHODS)
    names = settings.datasets and settings.datasets.split(",")
    default = ("wine",) if quick else TABLES if settings.data_dir else tuple(SHIPPED)
    settings.datasets = names or default
    return settings


if __name__ == "__main__":
    main()
