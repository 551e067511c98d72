"""Compare clusterings without labels: how good are they, and how fast.

Compares `SubspaceClusterer` with k-means, nearest-neighbour spectral clustering and
Gaussian mixtures on made unions of subspaces, on the shipped digits, and on image sets
from ``--data-dir`` (or ``SKLEARN_WHITEBOX_DATA``) where they are there. Every method is
told the number of classes and nothing else; peers get the better of raw and unit rows.

    python benchmarks/clustering/run.py --quick
"""

import argparse
import json
import os
import time
import warnings
from pathlib import Path

import numpy as np
from sklearn.cluster import KMeans, SpectralClustering
from sklearn.datasets import load_digits
from sklearn.decomposition import PCA
from sklearn.metrics import adjusted_rand_score, normalized_mutual_info_score
from sklearn.mixture import GaussianMixture
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import Normalizer
from threadpoolctl import threadpool_limits

from sklearn_whitebox import SubspaceClusterer
from sklearn_whitebox.comparison import environment
from sklearn_whitebox.datasets import make_union_of_subspaces
from sklearn_whitebox.metrics import clustering_accuracy

REAL = ["orl32", "yaleb32", "coil20"]
UNIONS = {
    "union, independent": {"n_features": 30, "n_subspaces": 3, "noise": 0.02},
    "union, noisy": {
        "n_features": 20,
        "n_subspaces": 4,
        "subspace_dim": 5,
        "noise": 0.05,
    },
    "union, filling space": {"n_features": 9, "n_subspaces": 5, "subspace_dim": 6},
    "union, affine": {
        "n_features": 10,
        "n_subspaces": 3,
        "subspace_dim": 3,
        "offset": 0.3,
        "noise": 0.02,
    },
}


def methods(n_clusters, seed, n_jobs):
    def spectral():
        return SpectralClustering(
            n_clusters,
            affinity="nearest_neighbors",
            n_neighbors=5,
            n_init=20,
            random_state=seed,
        )

    def mixture():
        return make_pipeline(
            PCA(0.9), GaussianMixture(n_clusters, n_init=3, random_state=seed)
        )

    def kmeans():
        return KMeans(n_clusters, n_init=10, random_state=seed)

    options = {"random_state": seed, "n_jobs": n_jobs}
    return {
        "SubspaceClusterer elastic_net": SubspaceClusterer(n_clusters, **options),
        "SubspaceClusterer omp": SubspaceClusterer(n_clusters, method="omp", **options),
        "SubspaceClusterer omp, 1 pursuit": SubspaceClusterer(
            n_clusters,
            method="omp",
            n_pursuits=1,
            shared_neighbors=0,
            refine=False,
            **options,
        ),
        "KMeans": kmeans(),
        "KMeans, unit rows": make_pipeline(Normalizer(), kmeans()),
        "SpectralClustering 5-NN": spectral(),
        "SpectralClustering 5-NN, unit rows": make_pipeline(Normalizer(), spectral()),
        "GaussianMixture": mixture(),
    }


def data_sets(data_dir, n_samples, seeds):
    for name, options in UNIONS.items():
        for seed in seeds:
            X, y = make_union_of_subspaces(n_samples, random_state=seed, **options)
            yield name, seed, X, y
    X, y = load_digits(return_X_y=True)
    for seed in seeds:
        yield "digits", seed, X, y
    for name in REAL:
        path = Path(data_dir or ".") / f"{name}.npz"
        if data_dir and path.exists():
            with np.load(path, allow_pickle=False) as archive:
                X, y = archive["X"].astype(np.float32), archive["y"]
            for seed in seeds[:1]:
                yield name, seed, X, y


def measure(method, X, y):
    start = time.perf_counter()
    try:
        # One thread for everybody, but for what --n-jobs asks.
        with threadpool_limits(1):
            labels = method.fit_predict(X)
    except ValueError as error:  # a covariance that is not positive definite
        return {"error": str(error).splitlines()[0]}
    return {
        "accuracy": clustering_accuracy(y, labels),
        "nmi": normalized_mutual_info_score(y, labels),
        "ari": adjusted_rand_score(y, labels),
        "seconds": time.perf_counter() - start,
    }


def summarise(rows):
    groups = {}
    for row in rows:
        if "error" not in row:
            groups.setdefault((row["data"], row["method"]), []).append(row)
    keys = ("accuracy", "nmi", "ari", "seconds")
    return [
        {
            "data": data,
            "method": name,
            "runs": len(group),
            **{k: round(float(np.median([r[k] for r in group])), 4) for k in keys},
            "worst accuracy": round(min(r["accuracy"] for r in group), 4),
        }
        for (data, name), group in groups.items()
    ]


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="one size, three seeds")
    parser.add_argument("--data-dir", default=os.environ.get("SKLEARN_WHITEBOX_DATA"))
    parser.add_argument("--only", nargs="+", help="names of data sets to run")
    parser.add_argument("--n-jobs", type=int, default=None)
    parser.add_argument("--output", type=Path, default=None)
    arguments = parser.parse_args()
    seeds = list(range(3 if arguments.quick else 10))
    n_samples = 250 if arguments.quick else 1000
    warm, _ = make_union_of_subspaces(60, random_state=0)
    for name in ("elastic_net", "omp"):
        for dtype in (np.float32, np.float64):  # compiles
            SubspaceClusterer(3, method=name, random_state=0).fit(warm.astype(dtype))
    rows = []
    for data, seed, X, y in data_sets(arguments.data_dir, n_samples, seeds):
        if arguments.only and data not in arguments.only:
            continue
        for name, method in methods(len(np.unique(y)), seed, arguments.n_jobs).items():
            if name == "GaussianMixture" and data in REAL:
                continue  # fewer samples a class than features
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                scores = measure(method, X, y)
            rows.append({"data": data, "seed": seed, "method": name, **scores})
            print(f"{data}, seed {seed}, {name}", flush=True)
    summary = summarise(rows)
    for row in summary:
        print(
            "{data:22} {method:36} {accuracy:.3f} {nmi:.3f} {seconds:7.2f} s".format(
                **row
            )
        )
    name = "quick" if arguments.quick else "full"
    output = arguments.output or Path(__file__).parent / "results" / f"{name}.json"
    output.parent.mkdir(exist_ok=True)
    report = {
        "environment": environment(),
        "n_jobs": arguments.n_jobs,
        "summary": summary,
        "runs": rows,
    }
    output.write_text(json.dumps(report, indent=1) + "\n")


if __name__ == "__main__":
    main()
