"""CRATE against other classifiers on images, from scratch on a processor.

    python benchmarks/classification/images.py --quick
    python benchmarks/classification/images.py --data-dir DIR
    python benchmarks/classification/images.py --data-dir DIR --tasks fashion \
        --methods crate --threads 2

Digits are those of scikit-learn, in five stratified halves of 70 and 30 per cent.
MNIST and Fashion-MNIST are tested on the 10 000 images of their authors; `mnist-5000`
and `fashion-5000` train on their first 5 000 images only. Every fit is written down at
once, so that a run can be stopped and resumed. `crate-0` is CRATE without its blocks:
what stem, tokens and head do alone. `vit-time` trains as many passes as fit into the
CPU time that CRATE took.
"""

import argparse
import json
import os
import time
import warnings
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from common import RESULTS, Clock, environment, rate
from draw_images import draw
from image_peers import NetworkClassifier, Recipe
from sklearn.datasets import load_digits
from sklearn.model_selection import StratifiedShuffleSplit
from sklearn.svm import SVC
from threadpoolctl import threadpool_limits

LABELS = {
    "svc": "SVC(C=10)",
    "crate-published": "CRATE as published",
    "crate": "CRATE",
    "crate-0": "CRATE without blocks",
    "vit": "ViT, no stem",
    "vit-stem": "ViT, same stem",
    "vit-time": "ViT, same stem and time",
}
TASKS = {
    # Shape, splits, and the recipe by which networks of comparison are trained.
    "digits": ((8, 8, 1), 5, Recipe(40, 32, 4e-3, augment="affine")),
    "mnist-5000": ((28, 28, 1), 1, Recipe(15, 64, 4e-3, augment="affine")),
    "fashion-5000": ((28, 28, 1), 1, Recipe(15, 64, 4e-3, augment="affine")),
    "fashion": ((28, 28, 1), 1, Recipe(15, 128, 4e-3, augment="affine")),
}
HEAVY = ("fashion",)
_SHOWN = ("accuracy", "log_loss", "fit_cpu")


def main():
    """Measure what is asked for and not there yet."""
    settings = _arguments()
    warnings.simplefilter("ignore")
    torch.set_num_threads(settings.threads)
    report = _read(settings.output)
    with threadpool_limits(settings.threads):
        _measure_all(report, settings)
    report["summary"] = summarise(report["rows"])
    _write(report, settings.output)
    draw(settings.output)


def _measure_all(report, settings):
    for task in settings.tasks:
        for split in range(1 if settings.quick else TASKS[task][1]):
            data = load(task, split, settings.data_dir)
            if data is None:
                print(f"{task}: not here")
                break
            for method in settings.methods:
                _measure_once(report, task, split, method, data, settings)


def _measure_once(report, task, split, method, data, settings):
    if any(
        (row["task"], row["split"], row["method"]) == (task, split, method)
        for row in report["rows"]
    ):
        return
    allowance = [
        row["fit_cpu"]
        for row in report["rows"]
        if (row["task"], row["split"], row["method"]) == (task, split, "crate")
    ]
    if method == "vit-time" and not allowance:
        print(f"{task} {split} vit-time: run crate first")
        return
    row = {"task": task, "split": split, "method": method}
    row |= measure(task, split, method, data, settings.quick, *allowance)
    report["rows"].append(row)
    _write(report, settings.output)
    shown = {k: round(row[k], 4) for k in _SHOWN if row[k] is not None}
    print(f"{task:13s} {split} {LABELS[method]:24s} {shown}", flush=True)


def load(task, split, data_dir):
    """Training and test images in one row each, from 0 to 1, and their labels."""
    if task == "digits":
        X, y = load_digits(return_X_y=True)
        X = (X / 16).astype(np.float32)
        splitter = StratifiedShuffleSplit(5, test_size=0.3, random_state=0)
        train, test = list(splitter.split(X, y))[split]
        return X[train], y[train], X[test], y[test]
    name, _, size = task.partition("-")
    parts = []
    for part in ("train", "test"):
        path = Path(data_dir or "") / f"{name}_{part}.npz"
        if not data_dir or not path.exists():
            return None
        with np.load(path, allow_pickle=False) as archive:
            images = archive["X"].reshape(len(archive["X"]), -1)
            parts += [(images / 255).astype(np.float32), archive["y"]]
    n_train = int(size) if size else len(parts[0])
    return parts[0][:n_train], parts[1][:n_train], parts[2], parts[3]


def make(task, method, seed, *, quick, n_classes, allowance=None, data=None):
    """Return an unfitted classifier."""
    from sklearn_whitebox import CRATEClassifier

    shape, _, recipe = TASKS[task]
    if quick:
        recipe = replace(recipe, epochs=2)
    if method == "svc":
        return SVC(C=10.0, probability=False)
    limit = {"max_iter": 2} if quick else {}
    ours = {"image_shape": shape[:2], "random_state": seed, **limit}
    if method in ("crate", "crate-0"):
        depth = {"n_layers": 0} if method == "crate-0" else {}
        return CRATEClassifier(**ours, **depth)
    patch = {8: 2, 28: 4}[shape[0]]
    common = {"image_shape": shape, "patch_size": patch, "n_heads": 4}
    if method == "crate-published":
        # Normalised patches, tables of unit variance and no stem, as in the program.
        plain = replace(recipe, augment=None)
        settings = {**common, "d_token": 64, "n_layers": 3, "dropout": 0.0}
        return NetworkClassifier("crate", settings, plain, seed=seed)
    settings = {
        **common, "stem": method != "vit", "n_layers": 2, "overcomplete": 2,
        "dropout": 0.1, "patch_norm": patch**2 >= 16, "pool": "mean",
    }  # fmt: skip
    most = count_reference(shape, n_classes)
    if method == "vit-time":
        recipe = replace(
            recipe, epochs=_fitting_passes(settings, recipe, data, most, allowance)
        )
    return NetworkClassifier("vit", settings, recipe, seed=seed, max_parameters=most)


def count_reference(shape, n_classes):
    """Weights of CRATE at its defaults on images of a shape."""
    from sklearn_whitebox import CRATEClassifier

    rng = np.random.default_rng(0)
    n_rows = 4 * n_classes
    model = CRATEClassifier(image_shape=shape[:2], max_iter=1, random_state=0)
    X = rng.standard_normal((n_rows, int(np.prod(shape))))
    return int(model.fit(X, np.arange(n_rows) % n_classes).n_parameters_)


def _fitting_passes(settings, recipe, data, most, allowance):
    """Count the passes over the data that fit into so many CPU seconds."""
    X, y = data[0][:2560], data[1][:2560]
    trial = NetworkClassifier(
        "vit", settings, replace(recipe, epochs=1), max_parameters=most
    )
    with Clock() as clock:
        trial.fit(X, y)
    return max(1, round(allowance / (clock.cpu * len(data[0]) / len(X))))


def measure(task, split, method, data, quick=False, allowance=None):
    """Scores and times of one fit."""
    X, y, X_test, y_test = data
    if quick:
        X, y = X[:600], y[:600]
    classes = np.unique(y)
    model = make(
        task, method, split, quick=quick, n_classes=len(classes), allowance=allowance,
        data=(X, y),
    )  # fmt: skip
    start = time.perf_counter()
    with Clock() as fit:
        model.fit(X, y)
    with Clock() as predict:
        if method == "svc":
            predicted = model.predict(X_test)
        else:
            probabilities = model.predict_proba(X_test)
            predicted = classes[probabilities.argmax(1)]
    # Probabilities of SVC would take five more fits.
    scores = {"accuracy": float(np.mean(predicted == y_test)), "log_loss": None}
    if method != "svc":
        scores = rate(y_test, predicted, probabilities, classes)
    return {
        **scores,
        "fit_cpu": fit.cpu,
        "fit_wall": fit.wall,
        "predict_cpu": predict.cpu,
        "n_train": len(X),
        "n_parameters": getattr(model, "n_parameters_", None),
        "seconds": time.perf_counter() - start,
        "threads": torch.get_num_threads(),
        "load_average": os.getloadavg()[0] if hasattr(os, "getloadavg") else None,
    }


def summarise(rows):
    """Means and spreads over the splits."""
    table = []
    for task, method in dict.fromkeys((row["task"], row["method"]) for row in rows):
        mine = [r for r in rows if (r["task"], r["method"]) == (task, method)]
        line = {"task": task, "method": method, "n_splits": len(mine)}
        for key in ("accuracy", "log_loss", "fit_cpu", "predict_cpu", "n_parameters"):
            values = [row[key] for row in mine if row[key] is not None]
            line[key] = float(np.mean(values)) if values else None
        line["accuracy_std"] = float(np.std([row["accuracy"] for row in mine]))
        table.append(line)
    return table


def _arguments():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--data-dir", default=os.environ.get("SKLEARN_WHITEBOX_DATA"))
    parser.add_argument("--tasks", default=None)
    parser.add_argument("--methods", default=",".join(LABELS))
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--output", type=Path, default=None)
    settings = parser.parse_args()
    light = [task for task in TASKS if task not in HEAVY]
    settings.tasks = settings.tasks.split(",") if settings.tasks else light
    if settings.quick:
        settings.tasks = settings.tasks[:1]
    settings.methods = settings.methods.split(",")
    name = "images-quick.json" if settings.quick else "images.json"
    settings.output = settings.output or RESULTS / name
    settings.output.parent.mkdir(parents=True, exist_ok=True)
    return settings


def _read(path):
    if path.exists():
        return json.loads(path.read_text())
    return {"environment": environment(), "rows": []}


def _write(report, path):
    path.write_text(json.dumps(report, indent=1) + "\n")


if __name__ == "__main__":
    main()
