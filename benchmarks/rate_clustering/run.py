"""Tell whether learning features helps clustering, and from which start.

Compares `RateReductionClusterer` at its defaults with its own start (no training), with
the random start of the published method, and with `SubspaceClusterer`, k-means and
nearest-neighbour spectral clustering, on the shipped digits and on the sets of
``--data-dir`` (or ``SKLEARN_WHITEBOX_DATA``) that are there. Every method is told the
number of classes and nothing else, and gets unit rows. Larger sets are subsampled, anew
for every seed. Seconds are CPU seconds of one thread.

    python benchmarks/rate_clustering/run.py --quick
"""

import argparse
import json
import os
import time
import warnings
from pathlib import Path

import numpy as np
import torch
from sklearn.cluster import KMeans, SpectralClustering
from sklearn.datasets import load_digits
from sklearn.metrics import normalized_mutual_info_score
from sklearn.preprocessing import normalize
from threadpoolctl import threadpool_limits

from sklearn_whitebox import RateReductionClusterer, SubspaceClusterer
from sklearn_whitebox.comparison import environment
from sklearn_whitebox.metrics import clustering_accuracy

SETS = ["usps", "coil20", "yaleb32", "isolet1560", "tab_optdigits", "mnist_sc_10k"]
RANDOM_START = "RateReductionClusterer, random start"


def methods(n_clusters, seed):
    ours = {"n_clusters": n_clusters, "device": "cpu", "random_state": seed}
    return {
        "RateReductionClusterer": RateReductionClusterer(**ours),
        "RateReductionClusterer, untrained": RateReductionClusterer(**ours, max_iter=0),
        RANDOM_START: RateReductionClusterer(**ours, init="random", max_iter=40),
        "SubspaceClusterer": SubspaceClusterer(n_clusters, random_state=seed),
        "KMeans": KMeans(n_clusters, n_init=10, random_state=seed),
        "SpectralClustering 5-NN": SpectralClustering(
            n_clusters,
            affinity="nearest_neighbors",
            n_neighbors=5,
            n_init=20,
            random_state=seed,
        ),
    }


def data_sets(data_dir, max_samples, seeds):
    sets = {"digits": load_digits(return_X_y=True)}
    for name in SETS:
        path = Path(data_dir or ".") / f"{name}.npz"
        if data_dir and path.exists():
            with np.load(path, allow_pickle=False) as archive:
                sets[name] = archive["X"], archive["y"]
    for name, (X, y) in sets.items():
        for seed in seeds:
            rows = np.random.default_rng(seed).permutation(len(X))[:max_samples]
            yield name, seed, normalize(X[rows].astype(np.float32)), y[rows]


def measure(method, X, y):
    start = time.process_time()
    with threadpool_limits(1), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        labels = method.fit_predict(X)
    return {
        "accuracy": clustering_accuracy(y, labels),
        "nmi": normalized_mutual_info_score(y, labels),
        "seconds": time.process_time() - start,
    }


def summarise(rows):
    groups = {}
    for row in rows:
        groups.setdefault((row["data"], row["method"]), []).append(row)
    return [
        {
            "data": data,
            "method": name,
            "samples": group[0]["samples"],
            "runs": len(group),
            **{
                key: round(float(np.median([row[key] for row in group])), 4)
                for key in ("accuracy", "nmi", "seconds")
            },
            "worst accuracy": round(min(row["accuracy"] for row in group), 4),
        }
        for (data, name), group in groups.items()
    ]


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="3000 rows, three seeds")
    parser.add_argument("--data-dir", default=os.environ.get("SKLEARN_WHITEBOX_DATA"))
    parser.add_argument("--only", nargs="+", help="names of data sets to run")
    parser.add_argument("--output", type=Path, default=None)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    seeds = range(3 if arguments.quick else 5)
    max_samples = 3000 if arguments.quick else 10_000
    warm = np.random.default_rng(0).normal(size=(60, 5)).astype(np.float32)
    SubspaceClusterer(3, random_state=0).fit(warm)  # compiles
    rows = []
    for data, seed, X, y in data_sets(arguments.data_dir, max_samples, seeds):
        if arguments.only and data not in arguments.only:
            continue
        for name, method in methods(len(np.unique(y)), seed).items():
            if name == RANDOM_START and seed > 0:
                continue  # slow, and its losses are not close
            scores = measure(method, X, y)
            about = {"data": data, "samples": len(X), "seed": seed, "method": name}
            rows.append({**about, **scores})
            print(
                f"{data}, seed {seed}, {name}: {scores['accuracy']:.3f} "
                f"{scores['nmi']:.3f} {scores['seconds']:.1f} s",
                flush=True,
            )
    name = "quick" if arguments.quick else "full"
    output = arguments.output or Path(__file__).parent / "results" / f"{name}.json"
    output.parent.mkdir(exist_ok=True)
    report = {"environment": environment(), "summary": summarise(rows), "runs": rows}
    output.write_text(json.dumps(report, indent=1) + "\n")


if __name__ == "__main__":
    main()
