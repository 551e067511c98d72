"""Learning: how long until a dictionary is good on patches that it has not seen.

Every learner starts from the same training patches. A curve is the mean lasso objective
of held-out patches, coded exactly on atoms of unit norm, against the CPU seconds spent
on learning. Scikit-learn's learner is watched while it works; the others are run anew
for each point, with more and more data or steps, so that a point is what a user gets
who asks for just that.
"""

import time
import warnings
from itertools import pairwise

import numpy as np
import peers
from common import timed
from data import patches
from sklearn.exceptions import ConvergenceWarning

from sklearn_whitebox import SparseDictionaryLearner
from sklearn_whitebox.solvers import lasso_encode

# Tuned on the first; the others were not looked at while settings were chosen.
TASKS = {
    "china + flower, 8x8, alpha .1": (("china", "flower"), 8, 0.1),
    "flower, 8x8, alpha .1": (("flower",), 8, 0.1),
    "china, 8x8, alpha .05": (("china",), 8, 0.05),
    "flower, 8x8, alpha .2": (("flower",), 8, 0.2),
    "china + flower, 12x12, alpha .1": (("china", "flower"), 12, 0.1),
}
N_ATOMS = 256
# A goal counts as reached a thousandth above it: curves end flat.
SLACK = 1.001
# What SPAMS keeps of its statistics a step (modeParam=2). With its weights by time
# (modeParam=1) atoms stay where they were for hundreds of steps.
SPAMS_DECAYS = (0.9, 0.98)


def objective(X, D, alpha):
    """Mean lasso objective on atoms of unit norm, solved exactly."""
    D = D / np.maximum(np.linalg.norm(D, axis=1, keepdims=True), 1e-12)
    codes = lasso_encode(
        X, D, alpha=alpha, tol=1e-6, sparse_output=True, max_iter=5000
    ).solution
    errors = ((X - codes @ D) ** 2).sum(axis=1)
    return 0.5 * errors.mean() + alpha * np.abs(codes).sum() / len(X)


def start_of(X, seed):
    """Distinct training patches of unit norm, the start of everybody."""
    norms = np.linalg.norm(X, axis=1)
    usable = np.flatnonzero(norms > 0.1 * np.sqrt(np.mean(norms**2)))
    rows = np.random.default_rng(seed).choice(usable, N_ATOMS, replace=False)
    return X[rows] / norms[rows, None]


def ours(X, init, alpha, seed, ladder):
    """Fit the first rows once, then all rows several times."""
    for share in ladder:
        n = int(min(share, 1) * len(X))
        learner = SparseDictionaryLearner(
            N_ATOMS,
            fit_algorithm="online",
            alpha=alpha,
            max_iter=max(1, int(share)),
            tol=0.0,
            dict_init=init,
            random_state=seed,
        )
        learner, seconds = timed(learner.fit, X[:n])
        yield seconds, learner.components_


def spams(X, init, alpha, steps, **settings):
    columns, start = peers.columns(X), peers.columns(init)
    for n_steps in steps:
        found, seconds = timed(
            peers.spams_learn, columns, start, alpha, n_steps, **settings
        )
        yield seconds, found.T


def scikit(X, init, alpha, seed, batch_size, epochs):
    """Watch scikit-learn's learner; watching is not charged."""
    n_steps = epochs * int(np.ceil(len(X) / batch_size))
    marks = set(np.geomspace(4, n_steps, 14).astype(int))
    seen = []
    start = time.process_time()

    def watch(state):
        nonlocal start
        now = time.process_time()
        if state["i"] + 1 in marks:
            seen.append((now - start, state["dictionary"].copy()))
            start += time.process_time() - now

    learner = peers.sklearn_learner(
        N_ATOMS, alpha, seed, batch_size=batch_size, dict_init=init, max_iter=epochs
    )
    learner.set_params(callback=watch)
    start = time.process_time()
    learner.fit(X)
    return seen


def learners(X, alpha, seed, quick, tuned):
    """Everybody, with the settings that served them best on the first task."""
    init = start_of(X, seed)
    x, start = X.astype(np.float32), init.astype(np.float32)
    shares = (0.5, 1, 3) if quick else (0.03, 0.06, 0.12, 0.25, 0.5, 1, 2, 4)
    if not (quick or tuned):  # fewer patches
        shares = (*shares, 8)
    steps = (20, 80) if quick else (10, 30, 100, 300, *([600] if tuned else []))
    runs = {
        "SparseDictionaryLearner float32": lambda: ours(x, start, alpha, seed, shares),
        # A batch of 1024 does as well, float32 takes thrice as long.
        "sklearn float64": lambda: scikit(X, init, alpha, seed, 256, 1),
    }
    if tuned and not quick:
        runs["SparseDictionaryLearner float64"] = lambda: ours(
            X, init, alpha, seed, shares
        )
    if peers.optional("spams"):
        runs["spams"] = lambda: spams(x, start, alpha, steps)
        for rho in SPAMS_DECAYS[: 2 if tuned else 1]:
            runs[f"spams, decay {rho}"] = lambda rho=rho: spams(
                x, start, alpha, steps, modeParam=2, rho=rho
            )
    return runs


def time_to(curve, goal):
    """Seconds to a goal, between points as a straight line over log time."""
    for (early, before), (late, after) in pairwise(curve):
        if before <= goal:
            return early
        if after <= goal:
            share = (before - goal) / (before - after)
            return float(early * (late / early) ** share)
    return curve[-1][0] if curve[-1][1] <= goal else None


def compare(name, rows):
    """Seconds everybody needs to what scikit-learn and SPAMS end with."""
    lines = []
    seeds = sorted({row["seed"] for row in rows})
    best = {(r["method"], r["seed"]): min(v for _, v in r["curve"]) for r in rows}
    peers_of_ours = {r["method"] for r in rows if not r["method"].startswith("Sparse")}
    for peer in sorted(peers_of_ours):
        for method in sorted({row["method"] for row in rows}):
            curves = {r["seed"]: r["curve"] for r in rows if r["method"] == method}
            found = [time_to(curves[s], best[peer, s] * SLACK) for s in seeds]
            reached = [seconds for seconds in found if seconds is not None]
            lines.append(
                {
                    "task": name,
                    "goal": f"best of {peer}",
                    "objective": float(np.mean([best[peer, s] for s in seeds])),
                    "method": method,
                    "cpu_seconds": float(np.median(reached)) if reached else None,
                    "reached": f"{len(reached)} of {len(seeds)}",
                }
            )
    return lines


def run(quick, seeds):
    warnings.simplefilter("ignore", ConvergenceWarning)
    sizes = (5000, 2000) if quick else (100_000, 10_000)
    others = (30_000, 5000)
    tasks = dict(list(TASKS.items())[:1]) if quick else TASKS
    for dtype in (np.float32, np.float64):  # compiles
        X, _ = patches(("flower",), 1000, 10, dtype=dtype)
        list(ours(X, start_of(X, 0), 0.1, 0, (1,)))
    rows, summary = [], []
    for i, (name, (images, size, alpha)) in enumerate(tasks.items()):
        for seed in seeds:
            n = others if i else sizes
            X, held_out = patches(images, *n, size=size, seed=seed)
            for method, watch in learners(X, alpha, seed, quick, i == 0).items():
                curve = [(s, objective(held_out, D, alpha)) for s, D in watch()]
                rows.append(
                    {"task": name, "seed": seed, "method": method, "curve": curve}
                )
        summary += compare(name, [row for row in rows if row["task"] == name])
    return {
        "patches": {"first task": sizes, "others": others},
        "slack": SLACK,
        "summary": summary,
        "runs": rows,
    }
