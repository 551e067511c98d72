"""Rate embeddings by what simple classifiers make of unseen rows.

All methods see the same scaled rows of the same splits, at their
defaults, and again with settings chosen by three-fold cross-validation of nearest
neighbours inside the training rows (small sets only: every method the same number of
candidates).
"""

import numpy as np
from common import HEADS, HELD_OUT, SEEN, SHIPPED, rate_heads, split, timed
from peers import methods
from sklearn.base import clone
from sklearn.model_selection import GridSearchCV, StratifiedKFold
from sklearn.neighbors import KNeighborsClassifier
from sklearn.pipeline import make_pipeline

from sklearn_whitebox.functional import optimal_rate_reduction
from sklearn_whitebox.metrics import rate_reduction_score

SMALL = [*SHIPPED, *SEEN, "mnist 2000", *HELD_OUT]
LARGE = ["mnist", "fashion"]
TUNED = ["wine", "iris", "breast cancer", "wdbc", "vehicle", "vowel", "segment",
         "digits", "ionosphere", "sonar"]  # fmt: skip

_FAILED = []


def run(quick, seeds, data_dir, only=None, methods_only=None, tuned=True):
    """Rows of every set, split and method, and their means."""
    names = [*SHIPPED] if quick or not data_dir else [*SMALL, *LARGE]
    names = [name for name in names if not only or name in only]
    rows = []
    _warm_up(data_dir, methods_only)
    for name in names:
        # The large sets come with one split.
        for seed in seeds[:1] if name in LARGE else seeds:
            parts = split(name, seed, data_dir)
            if parts is None:
                print(f"{name}: not here")
                break
            rows += _measure(name, seed, parts, methods_only, tuned=False)
    if tuned and not quick:
        for name in TUNED:
            for seed in seeds if not only or name in only else ():
                parts = split(name, seed, data_dir)
                if parts is not None:
                    rows += _measure(name, seed, parts, methods_only, tuned=True)
    return {"rows": rows, "failed": _FAILED, "summary": summarise(rows)}


def summarise(rows):
    """Means over the splits, and the average rank at defaults by head."""
    groups = {}
    for row in rows:
        groups.setdefault((row["data"], row["method"], row["tuned"]), []).append(row)
    table = []
    for (data, method, tuned), members in groups.items():
        line = {"data": data, "method": method, "tuned": tuned, "splits": len(members)}
        for key in (*HEADS, "rate_reduction", "attained", "angle"):
            values = [m[key] for m in members if key in m]
            if values:
                line[key] = round(float(np.mean(values)), 4)
        for key in ("fit_seconds", "transform_seconds"):
            values = [m[key] for m in members if key in m]
            if values:
                line[key] = round(float(np.median(values)), 4)
        line["dimension"] = members[0].get("dimension")
        table.append(line)
    ranks = {}
    for head in HEADS:
        for data in {line["data"] for line in table if not line["tuned"]}:
            group = [x for x in table if x["data"] == data and not x["tuned"]]
            if len(group) < 4:  # no field to be ranked in
                continue
            values = np.array([line[head] for line in group])
            for line, value in zip(group, values, strict=True):
                rank = 1 + (values > value).sum() + ((values == value).sum() - 1) / 2
                ranks.setdefault((line["method"], head), []).append(rank)
    means = [
        {"method": m, "head": h, "rank": round(float(np.mean(v)), 2), "sets": len(v)}
        for (m, h), v in ranks.items()
    ]
    return {"table": table, "ranks": sorted(means, key=lambda row: row["rank"])}


def _measure(name, seed, parts, methods_only, tuned):
    X, X_test, y, y_test = parts
    rows = []
    for label, (method, grid) in methods(X.shape, len(np.unique(y)), seed).items():
        if methods_only and label not in methods_only:
            continue
        estimator = clone(method)
        if tuned and grid:
            estimator = _search(estimator, grid, seed)
        try:
            fitted, fit_seconds = timed(estimator.fit, X, y)
            if tuned and grid:
                fitted = fitted.best_estimator_[0]
            Z = np.asarray(fitted.transform(X), dtype=np.float64)
            Z_test, transform_seconds = timed(fitted.transform, X_test)
        except (ValueError, np.linalg.LinAlgError, MemoryError) as error:
            print(f"{name} {label}: {error}")
            _FAILED.append(f"{name}, split {seed}, {label}: {error}")
            continue
        Z_test = np.asarray(Z_test, dtype=np.float64)
        row = {"data": name, "seed": seed, "method": label, "tuned": tuned}
        row |= rate_heads(Z, y, Z_test, y_test)
        row |= _describe(Z_test, y_test)
        row |= {"fit_seconds": fit_seconds, "transform_seconds": transform_seconds}
        row |= {"n_train": len(X), "n_features": X.shape[1]}
        rows.append(row)
        shown = {key: round(row[key], 4) for key in (*HEADS, "fit_seconds")}
        print(f"{name:14s} {seed} {label:24s} {'tuned' * tuned:5s} {shown}", flush=True)
    return rows


def _warm_up(data_dir, methods_only):
    """Compile what is compiled at the first call, away from the clock."""
    X, X_test, y, _ = split("iris", 0, data_dir)
    for label, (method, _grid) in methods(X.shape, 3, 0).items():
        if not methods_only or label in methods_only:
            timed(clone(method).fit, X, y)[0].transform(X_test)


def _search(estimator, grid, seed):
    pipeline = make_pipeline(estimator, KNeighborsClassifier(5))
    prefix = pipeline.steps[0][0]
    folds = StratifiedKFold(3, shuffle=True, random_state=seed)
    grid = {f"{prefix}__{key}": values for key, values in grid.items()}
    return GridSearchCV(pipeline, grid, cv=folds, error_score=0.0)


def _describe(Z, y):
    """Rate reduction on unit rows, its share of the attainable, mean angle."""
    norms = np.linalg.norm(Z, axis=1, keepdims=True)
    Z = Z / np.where(norms > 0, norms, 1)
    sizes = np.unique(y, return_counts=True)[1]
    reduction = rate_reduction_score(Z, y)
    bound = optimal_rate_reduction(sizes, Z.shape[1], distortion=0.5)
    return {
        "rate_reduction": float(reduction),
        "attained": float(reduction / bound) if bound > 0 else 0.0,
        "angle": _mean_angle(Z, y),
        "dimension": int(Z.shape[1]),
    }


def _mean_angle(Z, y):
    """Mean principal angle in degrees between the leading subspaces of classes."""
    classes = np.unique(y)
    rank = max(1, min(Z.shape[1] // len(classes), 10))
    bases = [np.linalg.svd(Z[y == k], full_matrices=False)[2][:rank] for k in classes]
    angles = []
    for i, first in enumerate(bases):
        for second in bases[:i]:
            cosines = np.linalg.svd(first @ second.T, compute_uv=False)
            angles.append(np.degrees(np.arccos(np.clip(cosines, 0, 1))).mean())
    return float(np.mean(angles))
