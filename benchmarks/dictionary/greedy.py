"""Greedy codes of image patches: how fast, with how small an error."""

import warnings

import numpy as np
import peers
from coding import atoms_of
from common import interleaved, summarise
from data import IMAGES, patches

from sklearn_whitebox.solvers import omp_encode

SIZES = (5, 10)


def _ways(X, D, k, few):
    ways = {}
    for dtype in ("float32", "float64"):
        x, d = X.astype(dtype), D.astype(dtype)
        ways[f"omp_encode {dtype}"] = (
            lambda x=x, d=d: omp_encode(x, d, n_nonzero_coefs=k),
            len(X),
        )
        if peers.optional("spams"):
            columns = peers.columns(x), peers.columns(d)
            ways[f"spams.omp {dtype}"] = (
                lambda columns=columns: peers.spams_omp(*columns, L=k).T.tocsr(),
                len(X),
            )
        ways[f"sklearn orthogonal_mp_gram {dtype}"] = (
            lambda x=x[:few], d=d: peers.sklearn_omp(x, d, k),
            few,
        )
    return ways


def run(quick, seeds):
    n_rows, few = (2000, 500) if quick else (20_000, 2000)
    # Scikit-learn says so where it stops early for linear dependence.
    warnings.simplefilter("ignore", RuntimeWarning)
    rows = []
    for seed in seeds:
        train, X = patches(IMAGES, 20_000, n_rows, seed=seed)
        D = atoms_of(train, seed)
        for k in SIZES:
            ways = _ways(X, D, k, few)
            for call, _ in ways.values():
                call()
            calls = {key: way[0] for key, way in ways.items()}
            runs = interleaved(calls, 3 if quick else 5)
            for label, (codes, seconds) in runs.items():
                n = ways[label][1]
                errors = ((X[:n] - codes @ D) ** 2).sum(axis=1)
                rows.append(
                    {
                        "method": label,
                        "k": k,
                        "seed": seed,
                        "microseconds": 1e6 * float(np.median(seconds)) / n,
                        "all_microseconds": [1e6 * s / n for s in seconds],
                        "error": errors.mean(),
                        # The rows that everybody codes.
                        "error_of_first_rows": errors[:few].mean(),
                    }
                )
    return {
        "rows_coded": {"others": n_rows, "sklearn": few},
        "summary": summarise(rows, ("k", "method")),
        "runs": rows,
    }
