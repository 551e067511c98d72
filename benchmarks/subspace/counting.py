"""Count clusters: who finds how many there are, without a hint.

Compares `CodingLengthClusterer` at its defaults (but for ``min_cluster_size=10``,
which HDBSCAN gets, too) with k-means chosen by the silhouette, Gaussian mixtures chosen
by the Bayesian information criterion, HDBSCAN, and the eigengap of the affinity graph
that `SubspaceClusterer` builds. Problems are unions of subspaces of varying noise,
number and outliers, affine ones, blobs, and the shipped digits in ten principal
components. Peers that are told a range of numbers get 1 or 2 to 15.

    python benchmarks/subspace/counting.py --quick
"""

import argparse
import json
import time
import warnings
from pathlib import Path

import numpy as np
from scipy.linalg import eigh
from sklearn.cluster import HDBSCAN, KMeans
from sklearn.datasets import load_digits, make_blobs
from sklearn.decomposition import PCA
from sklearn.metrics import silhouette_score
from sklearn.mixture import GaussianMixture
from sklearn.preprocessing import Normalizer
from threadpoolctl import threadpool_limits

from sklearn_whitebox import SubspaceClusterer
from sklearn_whitebox.comparison import environment
from sklearn_whitebox.datasets import make_union_of_subspaces
from sklearn_whitebox.estimators import CodingLengthClusterer
from sklearn_whitebox.metrics import clustering_accuracy

MOST = 15
LEAST_SIZE = 10


def problems(quick):
    """Yield the name, the maker of data from a seed, and the number of clusters."""
    for noise in [0.02, 0.08] if quick else [0.0, 0.02, 0.05, 0.08, 0.12]:
        yield f"4 subspaces, noise {noise}", union(4, noise), 4
    for n_subspaces in [2, 8] if quick else [1, 2, 6, 8, 12]:
        name = f"{n_subspaces} subspace{'s' * (n_subspaces > 1)}, noise 0.05"
        yield name, union(n_subspaces, 0.05), n_subspaces
    for share in [0.1] if quick else [0.05, 0.1, 0.2]:
        yield f"4 subspaces, outliers {share:.0%}", union(4, 0.03, share), 4
    yield "4 affine subspaces", union(4, 0.03, offset=1.0), 4
    yield "5 blobs", blobs, 5
    if not quick:
        yield "10 digits, 10 components", digits, 10


def union(n_subspaces, noise, outliers=0.0, offset=0.0):
    """Make unions of four-dimensional subspaces in twenty dimensions."""

    def make(seed):
        X, y = make_union_of_subspaces(
            80 * n_subspaces,
            20,
            n_subspaces=n_subspaces,
            subspace_dim=4,
            noise=noise,
            offset=offset,
            random_state=seed,
        )
        strange = np.random.default_rng(seed).normal(size=(int(outliers * len(X)), 20))
        strange /= np.linalg.norm(strange, axis=1, keepdims=True)
        return np.vstack([X, strange]), np.append(y, np.full(len(strange), -1))

    return make


def blobs(seed):
    """Make round clusters of unequal width."""
    widths = [0.5, 0.7, 0.9, 1.1, 1.3]
    return make_blobs(400, 8, centers=5, cluster_std=widths, random_state=seed)


def digits(seed):
    """Draw 900 digits in ten principal components."""
    X, y = load_digits(return_X_y=True)
    chosen = np.random.default_rng(seed).permutation(len(X))[:900]
    return PCA(10).fit_transform(X)[chosen], y[chosen]


def coding_length(X, seed):
    """Count by coding length, at the defaults."""
    return CodingLengthClusterer(min_cluster_size=LEAST_SIZE).fit_predict(X)


def k_means(X, seed):
    """Count by the silhouette of k-means, of raw and of unit rows."""
    best = (-np.inf, None)
    for rows in (X, Normalizer().fit_transform(X)):
        for n_clusters in range(2, MOST + 1):
            labels = KMeans(n_clusters, n_init=5, random_state=seed).fit_predict(rows)
            best = max(best, (silhouette_score(rows, labels), tuple(labels)))
    return np.array(best[1])


def mixture(X, seed):
    """Count by the Bayesian information criterion of full Gaussian mixtures."""
    models = [
        GaussianMixture(k, reg_covar=1e-5, n_init=2, random_state=seed).fit(X)
        for k in range(1, MOST + 1)
    ]
    return min(models, key=lambda model: model.bic(X)).predict(X)


def hdbscan(X, seed):
    """Count by density."""
    return HDBSCAN(min_cluster_size=LEAST_SIZE, copy=True).fit_predict(X)


def eigengap(X, seed):
    """Count by the largest gap of the spectrum of the self-expressive graph."""
    affinity = SubspaceClusterer(2, random_state=seed).fit(X).affinity_matrix_
    weights = affinity.toarray()
    roots = np.sqrt(np.maximum(weights.sum(axis=1), 1e-12))
    normalized = weights / roots[:, None] / roots
    size = len(normalized)
    values = eigh(
        normalized, eigvals_only=True, subset_by_index=[size - MOST - 1, size - 1]
    )
    n_clusters = int(np.argmax(-np.diff(values[::-1]))) + 1
    return SubspaceClusterer(n_clusters, random_state=seed).fit_predict(X)


METHODS = {
    "coding length": coding_length,
    "k-means, silhouette": k_means,
    "Gaussian mixture, BIC": mixture,
    "HDBSCAN": hdbscan,
    "self-expression, eigengap": eigengap,
}


def run(quick=False, seeds=None):
    """Run all methods on all problems, on one thread.

    Parameters
    ----------
    quick : bool, default=False
        Fewer problems and seeds.
    seeds : int, default=None
        Draws of each problem; None is 2 if `quick`, else 5.

    Returns
    -------
    results : dict
        ``"rows"``: one for each problem, draw and method, with the number of clusters
        found, the accuracy on samples that are no outliers, and seconds; ``"summary"``:
        for each method the share of right numbers, the mean error of the number, the
        mean accuracy and the median seconds.
    """
    rows = []
    for name, make, n_clusters in problems(quick):
        for seed in range(seeds or (2 if quick else 5)):
            X, y = make(seed)
            for method, function in METHODS.items():
                with threadpool_limits(1), warnings.catch_warnings():
                    warnings.simplefilter("ignore")
                    start = time.perf_counter()
                    labels = function(X, seed)
                    seconds = time.perf_counter() - start
                known = y >= 0
                rows.append(
                    {
                        "problem": name,
                        "seed": seed,
                        "method": method,
                        "true": n_clusters,
                        "found": len(set(labels.tolist()) - {-1}),
                        "accuracy": round(
                            clustering_accuracy(y[known], labels[known]), 4
                        ),
                        "seconds": round(seconds, 3),
                    }
                )
    return {"rows": rows, "summary": {m: summary(rows, m) for m in METHODS}}


def summary(rows, method):
    """Sum up one method over all problems."""
    own = [row for row in rows if row["method"] == method]
    errors = np.array([row["found"] - row["true"] for row in own])
    return {
        "right": round(float(np.mean(errors == 0)), 3),
        "mean error of the number": round(float(np.abs(errors).mean()), 2),
        "accuracy": round(float(np.mean([row["accuracy"] for row in own])), 3),
        "seconds": round(float(np.median([row["seconds"] for row in own])), 3),
    }


def show(results):
    """Print what was found, problem by problem."""
    names = list(dict.fromkeys(row["problem"] for row in results["rows"]))
    for name in names:
        print(name)
        for method in METHODS:
            own = [
                row
                for row in results["rows"]
                if row["problem"] == name and row["method"] == method
            ]
            found = " ".join(str(row["found"]) for row in own)
            accuracy = np.median([row["accuracy"] for row in own])
            print(f"  {method:26} found {found:16} accuracy {accuracy:.3f}")
    for method, values in results["summary"].items():
        print(f"{method:28}", values)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--seeds", type=int, default=None)
    parser.add_argument("--output", type=Path, default=None)
    options = parser.parse_args()
    results = run(options.quick, options.seeds)
    results["environment"] = environment()
    show(results)
    if options.output:
        options.output.write_text(json.dumps(results, indent=1) + "\n")


if __name__ == "__main__":
    main()
