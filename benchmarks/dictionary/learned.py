"""Learnt encoders: how far from the best code after a few layers, at what cost.

Trained networks code held-out samples of the distribution they were trained on, and
noise that they were not. Proximal steps, accelerated or not, start from zero; the exact
solver says what is best. Two tasks: planted atoms, and patches of photographs.

Autoencoders: how much of the activations of a classifier they explain with how many
active features, against dictionaries with non-negative codes.
"""

import warnings

import numpy as np
import peers
from common import interleaved, summarise, timed
from data import IMAGES, patches
from sklearn.datasets import load_digits
from sklearn.exceptions import ConvergenceWarning
from sklearn.model_selection import train_test_split
from sklearn.neural_network import MLPClassifier

from sklearn_whitebox import (
    LearnedSparseEncoder,
    SparseAutoencoder,
    SparseDictionaryLearner,
)
from sklearn_whitebox.datasets import make_sparse_codes
from sklearn_whitebox.functional import fista_step, ista_step
from sklearn_whitebox.solvers import lasso_encode

N_LAYERS = 8
ALPHA = 0.1
FORMS = ("coupled", "free", "analytic")
N_ATOMS = 256


def mean_objective(X, codes, D):
    error = X - codes @ D
    return float(
        0.5 * (error**2).sum(axis=1).mean() + ALPHA * np.abs(codes).sum(1).mean()
    )


def proximal(X, D, n_steps, accelerated):
    """Take steps from zero, with the step length found once."""
    step = 1 / np.linalg.norm(D @ D.T, 2)
    Z = np.zeros((len(X), len(D)), X.dtype)
    point, momentum = Z, 1.0
    for _ in range(n_steps):
        if accelerated:
            Z, point, momentum = fista_step(
                X, Z, point, D, alpha=ALPHA, momentum=momentum, step_size=step
            )
        else:
            Z = ista_step(X, Z, D, alpha=ALPHA, step_size=step)
    return Z


def tasks(quick, seed):
    """Training samples, held-out ones and atoms, by name."""
    n = 2000 if quick else 20_000
    X, _, D = make_sparse_codes(n + 2000, 20, 50, n_nonzero=3, random_state=seed)
    yield "planted 20x50", X[:n], X[n:], D
    train, test = patches(IMAGES, n, 2000, seed=seed)
    learner = SparseDictionaryLearner(
        N_ATOMS, fit_algorithm="online", alpha=ALPHA, max_iter=2, random_state=seed
    )
    yield "patches 64x256", train, test, learner.fit(train).components_


def encoders(quick, seeds):
    """Excess objective and time of everybody, on each task."""
    rows = []
    for seed in seeds:
        for task, *arrays in tasks(quick, seed):
            train, test, D = (np.asarray(A, dtype=np.float32) for A in arrays)
            far = np.random.default_rng(seed).standard_normal(test.shape)
            far = (far / np.sqrt(test.shape[1])).astype(np.float32)
            ways, fitting = {}, {}
            for form in FORMS:
                model = LearnedSparseEncoder(
                    D,
                    n_layers=N_LAYERS,
                    form=form,
                    alpha=ALPHA,
                    max_iter=5 if quick else 40,
                    random_state=seed,
                )
                model, fitting[form] = timed(model.fit, train)
                ways[f"LearnedSparseEncoder {form}"] = model.transform
            for label, steps, fast in (
                ("ISTA", N_LAYERS, False),
                ("FISTA", N_LAYERS, True),
                ("FISTA", 20, True),
                ("FISTA", 50, True),
            ):
                ways[f"{label} {steps}"] = lambda X, s=steps, f=fast, D=D: proximal(
                    X, D, s, f
                )
            ways["lasso_encode"] = lambda X, D=D: (
                lasso_encode(X, D, alpha=ALPHA).solution
            )
            calls = {name: lambda way=way, X=test: way(X) for name, way in ways.items()}
            best, best_far = (
                mean_objective(X, ways["lasso_encode"](X), D) for X in (test, far)
            )
            for name, (codes, seconds) in interleaved(calls, 3).items():
                rows.append(
                    {
                        "task": task,
                        "method": name,
                        "seed": seed,
                        "excess": mean_objective(test, codes, D) - best,
                        "excess_on_noise": mean_objective(far, ways[name](far), D)
                        - best_far,
                        "best": best,
                        "microseconds": 1e6 * float(np.median(seconds)) / len(test),
                        "fit_cpu_seconds": fitting.get(name.split()[-1], 0.0),
                    }
                )
    return rows


def activations(seed):
    """Hidden layer of a perceptron that has learnt the digits."""
    X, y = load_digits(return_X_y=True)
    train, test, labels, _ = train_test_split(
        X / 16, y, test_size=0.3, stratify=y, random_state=seed
    )
    network = MLPClassifier((64,), max_iter=100, random_state=seed).fit(train, labels)

    def hidden(X):
        return np.maximum(X @ network.coefs_[0] + network.intercepts_[0], 0)

    return hidden(train), hidden(test)


def autoencoders(quick, seeds):
    """Variance of held-out activations explained, and features active."""
    rows = []
    for seed in seeds:
        train, test = activations(seed)
        norm = np.sqrt((train**2).sum(axis=1).mean())
        models = {
            f"SparseAutoencoder top-{k}": SparseAutoencoder(
                N_ATOMS, n_active=k, random_state=seed
            )
            for k in ((8,) if quick else (4, 8, 16))
        }
        models["SparseAutoencoder relu"] = SparseAutoencoder(
            N_ATOMS, activation="relu", random_state=seed
        )
        for share in (0.15,) if quick else (0.05, 0.15, 0.3):
            settings = {"alpha": share * norm, "positive_code": True}
            models[f"SparseDictionaryLearner alpha={share}"] = SparseDictionaryLearner(
                N_ATOMS, random_state=seed, **settings
            )
            models[f"sklearn mini-batch alpha={share}"] = peers.sklearn_learner(
                N_ATOMS, share * norm, seed, max_iter=10, positive_code=True
            )
        for name, model in models.items():
            model, seconds = timed(model.fit, train)
            codes = model.transform(test)
            # Scikit-learn's learner has no inverse.
            inverse = getattr(model, "inverse_transform", None)
            rebuilt = inverse(codes) if inverse else codes @ model.components_
            rest = ((test - rebuilt) ** 2).sum()
            rows.append(
                {
                    "method": name,
                    "seed": seed,
                    "explained": 1 - rest / ((test - test.mean(axis=0)) ** 2).sum(),
                    "active": np.count_nonzero(codes) / len(codes),
                    "cpu_seconds": seconds,
                }
            )
    return rows


def run(quick, seeds):
    warnings.simplefilter("ignore", ConvergenceWarning)
    coded, explained = encoders(quick, seeds), autoencoders(quick, seeds)
    return {
        "summary": summarise(coded, ("task", "method")),
        "summary_autoencoders": summarise(explained, ("method",)),
        "runs": coded,
        "runs_autoencoders": explained,
    }
