"""Complete dictionaries: which method finds all atoms, with how few samples.

Codes are Bernoulli-Gaussian, atoms orthonormal, and nobody is told so. FastICA runs
with both contrasts that suit sparse sources and with the whitening that is faster here.
A second table repeats that of Zhai et al. (2020) for plain ℓ4 maximisation, which is
told that the atoms are orthonormal.
"""

import warnings

import numpy as np
from common import interleaved, summarise, timed
from sklearn.decomposition import FastICA
from sklearn.exceptions import ConvergenceWarning

from sklearn_whitebox import SparseDictionaryLearner
from sklearn_whitebox.datasets import make_sparse_codes
from sklearn_whitebox.metrics import dictionary_recovery
from sklearn_whitebox.solvers import maximize_sparsity

DIMENSIONS = (10, 25, 50, 100)
DENSITIES = (0.1, 0.3, 0.5)
SAMPLES_PER_DIMENSION = (20, 100, 400)
NOISES = (0.0, 0.1)
# d, n, density of the table in the paper's setting.
PLAIN_TABLE = (
    (10, 2000, 0.1),
    (25, 10_000, 0.3),
    (50, 20_000, 0.3),
    (100, 40_000, 0.3),
    (50, 20_000, 0.5),
    (50, 20_000, 0.6),
    (50, 2000, 0.1),
    (50, 500, 0.1),
)


def _learner(X, seed):
    return SparseDictionaryLearner(random_state=seed).fit(X).components_


def _plain(X, seed, power=4):
    found = maximize_sparsity(X, power=power, generator=np.random.default_rng(seed))
    return found.solution


def _fast_ica(X, seed, fun):
    model = FastICA(fun=fun, whiten_solver="eigh", max_iter=200, random_state=seed)
    return model.fit(X).mixing_.T


METHODS = {
    "SparseDictionaryLearner": _learner,
    "plain l4 maximisation": _plain,
    "FastICA logcosh": lambda X, seed: _fast_ica(X, seed, "logcosh"),
    "FastICA cube": lambda X, seed: _fast_ica(X, seed, "cube"),
}


def _scores(components, D, seconds):
    recovery = dictionary_recovery(components, D)
    return {
        "error": max(recovery.rotation_error, 0.0),
        "min_cosine": recovery.min_cosine,
        "detected": recovery.fraction_detected,
        "cpu_seconds": seconds,
    }


def cells(dimensions, samples, seeds):
    for noise in NOISES:
        for d in dimensions:
            for density in DENSITIES:
                for ratio in samples:
                    for seed in seeds:
                        X, _, D = make_sparse_codes(
                            ratio * d,
                            d,
                            density=density,
                            noise=noise,
                            orthogonal=True,
                            random_state=seed,
                        )
                        where = {
                            "noise": noise,
                            "d": d,
                            "density": density,
                            "samples_per_dimension": ratio,
                        }
                        yield where, seed, X, D


def grid(dimensions, samples, seeds):
    rows = []
    for where, seed, X, D in cells(dimensions, samples, seeds):
        calls = {
            method: lambda fit=fit, X=X, seed=seed: fit(X, seed)
            for method, fit in METHODS.items()
        }
        # Milliseconds need repeats.
        n_repeats = 5 if X.size < 1e5 else 1
        for method, (components, seconds) in interleaved(calls, n_repeats).items():
            scores = _scores(components, D, float(np.median(seconds)))
            rows.append({**where, "seed": seed, "method": method, **scores})
    return rows


def plain_table(table, seeds):
    rows = []
    for d, n, density in table:
        for seed in seeds:
            X, _, D = make_sparse_codes(
                n, d, density=density, orthogonal=True, random_state=seed
            )
            for power in (4, 3):
                components, seconds = timed(_plain, X, seed, power)
                scores = _scores(components, D, seconds)
                where = {"power": power, "d": d, "n": n, "density": density}
                rows.append({**where, "seed": seed, **scores})
    return rows


def against_fast_ica(summary):
    """Where the learner loses to the better of both contrasts, for whoever reads."""
    places = ("noise", "d", "density", "samples_per_dimension")
    cell = {(*(line[p] for p in places), line["method"]): line for line in summary}
    lines = []
    for place in dict.fromkeys(tuple(line[p] for p in places) for line in summary):
        ours = cell[(*place, "SparseDictionaryLearner")]
        icas = [cell[(*place, f"FastICA {fun}")] for fun in ("logcosh", "cube")]
        # Errors of rounding do not rank.
        error = min(line["error"] for line in icas)
        lines.append(
            {
                **dict(zip(places, place, strict=True)),
                "error": ours["error"],
                "best_error_of_fast_ica": error,
                "error_is_less": ours["error"] <= max(error, 1e-8),
                "detected": ours["detected"],
                "best_detected_of_fast_ica": max(line["detected"] for line in icas),
                "time_over_fast_ica_logcosh": ours["cpu_seconds"]
                / icas[0]["cpu_seconds"],
            }
        )
    return lines


def run(quick, seeds):
    warnings.simplefilter("ignore", ConvergenceWarning)
    # "The samples look Gaussian" and the like: too few of them is the question.
    warnings.simplefilter("ignore", UserWarning)
    dimensions = DIMENSIONS[:2] if quick else DIMENSIONS
    samples = SAMPLES_PER_DIMENSION[:2] if quick else SAMPLES_PER_DIMENSION
    _learner(np.random.default_rng(0).laplace(size=(200, 5)), 0)  # compiles
    rows = grid(dimensions, samples, seeds)
    plain = plain_table(PLAIN_TABLE[:2] if quick else PLAIN_TABLE, seeds)
    summary = summarise(
        rows, ("noise", "d", "density", "samples_per_dimension", "method")
    )
    return {
        "cells": summary,
        "summary": against_fast_ica(summary),
        "summary_plain": summarise(plain, ("power", "d", "n", "density")),
        "runs": rows,
        "runs_plain": plain,
    }
