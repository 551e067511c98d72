"""Planted overcomplete dictionaries: which share of the atoms is found.

The experiment of Aharon, Elad and Bruckstein (2006): 50 atoms in 20 dimensions, three
in each of 1500 samples, with noise. Greedy methods are told that it is three; methods
with a penalty get the best of several, chosen by the share that is reported.
"""

import warnings

import numpy as np
import peers
from common import summarise, timed
from data import planted
from sklearn.decomposition import DictionaryLearning
from sklearn.exceptions import ConvergenceWarning

from sklearn_whitebox import SparseDictionaryLearner
from sklearn_whitebox.metrics import dictionary_recovery

RATIOS = (10, 20, 30, np.inf)
K, S = 50, 3


def _online(X, seed):
    return SparseDictionaryLearner(K, random_state=seed).fit(X).components_


def _ksvd(X, seed):
    learner = SparseDictionaryLearner(
        K, fit_algorithm="ksvd", n_nonzero_coefs=S, random_state=seed
    )
    return learner.fit(X).components_


def _mini_batch(X, seed, alpha):
    return peers.sklearn_learner(K, alpha, seed).fit(X).components_


def _batch(X, seed, alpha):
    learner = DictionaryLearning(
        K, alpha=alpha, max_iter=100, fit_algorithm="cd", random_state=seed
    )
    return learner.fit(X).components_


def _spams(X, seed, alpha, n_steps=1000, **settings):
    rows = np.random.default_rng(seed).choice(len(X), K, replace=False)
    init = X[rows] / np.linalg.norm(X[rows], axis=1, keepdims=True)
    found = peers.spams_learn(
        peers.columns(X),
        peers.columns(init),
        alpha,
        n_steps,
        batch_size=256,
        **settings,
    )
    return found.T


def _ksvd_package(X, seed):
    # It draws from the global generator.
    np.random.seed(seed)  # noqa: NPY002
    learner = peers.optional("ksvd").ApproximateKSVD(
        K, max_iter=80, transform_n_nonzero_coefs=S
    )
    return learner.fit(X).components_


def _dictlearn(X, seed, algorithm):
    learner = peers.optional("dictlearn").DictionaryLearning(
        K,
        fit_algorithm=algorithm,
        transform_algorithm="batch_omp",
        n_nonzero_coefs=S,
        max_iter=80,
        replace_unused_atoms="worst",
        random_state=seed,
    )
    return learner.fit(X).components_


def _dictlearn_online(X, seed):
    learner = peers.optional("dictlearn").MiniBatchDictionaryLearning(
        K,
        transform_algorithm="batch_omp",
        n_nonzero_coefs=S,
        max_iter=80,
        batch_size=256,
        forgetting_factor=0.9,
        random_state=seed,
    )
    return learner.fit(X).components_


def methods(quick):
    """Everybody, by name."""
    found = {"SparseDictionaryLearner": _online}
    if "n_nonzero_coefs" in SparseDictionaryLearner().get_params():
        found["SparseDictionaryLearner ksvd"] = _ksvd
    for alpha in (0.2, 0.4)[: 1 if quick else 2]:
        found[f"sklearn mini-batch, alpha {alpha}"] = lambda X, s, a=alpha: _mini_batch(
            X, s, a
        )
    if quick:
        return found
    found["sklearn batch, alpha 0.4"] = lambda X, s: _batch(X, s, 0.4)
    if peers.optional("spams"):
        for alpha in (0.2, 0.4):
            found[f"spams, alpha {alpha}"] = lambda X, s, a=alpha: _spams(X, s, a)
            found[f"spams, decay, alpha {alpha}"] = lambda X, s, a=alpha: _spams(
                X, s, a, modeParam=2, rho=0.9
            )
    if peers.optional("ksvd"):
        found["ksvd"] = _ksvd_package
    if peers.optional("dictlearn"):
        for algorithm in ("ksvd", "aksvd"):
            found[f"dictlearn {algorithm}"] = lambda X, s, a=algorithm: _dictlearn(
                X, s, a
            )
        found["dictlearn online"] = _dictlearn_online
    return found


def run(quick, seeds):
    warnings.simplefilter("ignore", ConvergenceWarning)
    rows = []
    chosen = methods(quick)
    X, _ = planted(0, 20)
    for method, fit in chosen.items():
        if method.startswith("SparseDictionaryLearner"):
            fit(X[:200], 0)  # compiles
    for snr in RATIOS[1:2] if quick else RATIOS:
        for seed in seeds:
            X, D = planted(seed, snr)
            for method, fit in chosen.items():
                components, seconds = timed(fit, X, seed)
                strict = dictionary_recovery(components, D)
                loose = dictionary_recovery(components, D, threshold=0.05)
                rows.append(
                    {
                        "decibels": "none" if np.isinf(snr) else snr,
                        "method": method,
                        "seed": seed,
                        "detected": strict.fraction_detected,
                        "detected_at_.05": loose.fraction_detected,
                        "cpu_seconds": seconds,
                    }
                )
    return {"summary": summarise(rows, ("decibels", "method")), "runs": rows}
