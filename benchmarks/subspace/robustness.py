"""Noise, outliers, motions, offset and gain: what clustering by subspaces withstands.

Every method runs at its defaults, but for what its name says, and is told the number of
clusters only. Gaussian mixtures see as many principal components as the subspaces have
dimensions.

- noise: standard deviation of each feature, samples of norm 1 before it;
- outliers: uniform on the sphere; accuracy on the other samples;
- motion: tracks of 2 and 3 rigid bodies, see ``motions.py``; error in per cent;
- brightness: gains and offsets of samples, as between raw images.

    python benchmarks/subspace/robustness.py --quick
"""

import argparse
import json
import statistics
import time
import warnings
from collections import Counter
from pathlib import Path

import matplotlib as mpl
import numpy as np
from matplotlib.figure import Figure
from motions import make_motions
from sklearn.cluster import KMeans, SpectralClustering
from sklearn.decomposition import PCA
from sklearn.mixture import GaussianMixture
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from threadpoolctl import threadpool_limits

from sklearn_whitebox import (
    CodingLengthClusterer,
    EnsembleKSubspaces,
    KSubspaces,
    SubspaceClusterer,
)
from sklearn_whitebox.comparison import environment
from sklearn_whitebox.datasets import make_union_of_subspaces
from sklearn_whitebox.metrics import clustering_accuracy

RESULTS = Path(__file__).parent / "results"
N_FEATURES, N_SUBSPACES, DIM, SIZE = 20, 4, 4, 60
CODES = (
    "auto",
    "elastic_net",
    "lasso",
    "omp",
    "ridge",
    "low_rank",
    "thresholding",
    "neighbors",
)


def own(method="auto", **settings):
    return lambda K, seed: SubspaceClusterer(
        K, method=method, random_state=seed, **settings
    )


def coding_length(K, seed):
    return CodingLengthClusterer(K, min_cluster_size=10)


def neighbor_spectral(K, seed):
    return SpectralClustering(K, affinity="nearest_neighbors", random_state=seed)


def mixture(K, seed):
    """Build a mixture in as many dimensions as K subspaces of four have."""
    return make_pipeline(
        PCA(min(4 * K, N_FEATURES)),
        StandardScaler(),
        GaussianMixture(K, n_init=10, reg_covar=1e-4, random_state=seed),
    )


OTHERS = {
    "KSubspaces": lambda K, seed: KSubspaces(K, random_state=seed),
    "EnsembleKSubspaces": lambda K, seed: EnsembleKSubspaces(K, random_state=seed),
    "CodingLengthClusterer": coding_length,
    "k-means": lambda K, seed: KMeans(K, n_init=10, random_state=seed),
    "kNN-spectral": neighbor_spectral,
    "Gaussian mixture": mixture,
}
METHODS = {method: own(method) for method in CODES} | OTHERS

LINEAR_OR_AFFINE = {
    f"{method}, {'affine' if affine else 'linear'}": own(method, affine=affine)
    for method in CODES
    if method not in ("neighbors", "low_rank")
    for affine in (False, True)
}
MOTION = {
    "auto": own(),
    **LINEAR_OR_AFFINE,
    # Tracks are precise: a tenth of the penalty.
    "elastic_net, affine, gamma 500": own("elastic_net", affine=True, gamma=500),
    "KSubspaces, linear": OTHERS["KSubspaces"],
    "KSubspaces, affine": lambda K, seed: KSubspaces(K, affine=True, random_state=seed),
    **{name: OTHERS[name] for name in list(OTHERS)[1:]},
}
BRIGHTNESS = {
    "auto": own(),
    "auto, linear": own(affine=False),
    "auto, affine": own(affine=True),
    "auto, not normalized": own(normalize=False),
    **{method: own(method) for method in ("elastic_net", "omp", "ridge", "neighbors")},
    **OTHERS,
}

# A hundred times slower than the others, these see the first draws only.
SLOW = {"EnsembleKSubspaces": 2, "CodingLengthClusterer": 2}
SLOW_MOTIONS = dict.fromkeys(SLOW, 5)


def noisy(level, seed):
    X, y = make_union_of_subspaces(
        N_SUBSPACES * SIZE,
        N_FEATURES,
        n_subspaces=N_SUBSPACES,
        subspace_dim=DIM,
        noise=level,
        random_state=seed,
    )
    return X, y, np.full(len(y), True)


def with_outliers(share, seed):
    X, y, _ = noisy(0.05, seed)
    rng = np.random.default_rng(seed)
    strange = rng.normal(size=(round(len(X) * share / (1 - share)), N_FEATURES))
    strange /= np.linalg.norm(strange, axis=1, keepdims=True)
    order = rng.permutation(len(X) + len(strange))
    labels = np.append(y, np.full(len(strange), -1))[order]
    return np.vstack([X, strange])[order], labels, labels >= 0


def motions(n_motions, seed):
    X, y = make_motions(n_motions, seed=seed)
    return X, y, np.full(len(y), True)


def brightness(change, seed):
    """Change the gain or the offset of samples, as of images under other light."""
    X, y, known = noisy(0.05, seed)
    rng = np.random.default_rng(seed)
    each = (len(X), 1)
    changes = {
        "none": lambda: X,
        "gain of each sample": lambda: X * np.exp(rng.normal(size=each)),
        "gain of each feature": lambda: X * np.exp(rng.normal(size=N_FEATURES)),
        "one offset, norm 1": lambda: X + 1 / np.sqrt(N_FEATURES),
        "one offset, norm 5": lambda: X + 5 / np.sqrt(N_FEATURES),
        "offset of each sample": lambda: (
            X + rng.normal(size=each) / np.sqrt(N_FEATURES)
        ),
        "offset of each subspace": lambda: (
            X + rng.normal(size=(N_SUBSPACES, N_FEATURES))[y] / np.sqrt(N_FEATURES)
        ),
        "scale 1e-12": lambda: X * 1e-12,
    }
    return changes[change](), y, known


def sweep(make, settings, methods, n_seeds, fewer):
    """Run methods in turn on the same draws; a line for each setting and method."""
    lines = []
    for setting in settings:
        draws = [make(setting, seed) for seed in range(n_seeds)]
        for name, build in methods.items():
            found, spent, chosen = [], [], Counter()
            for seed, (X, y, known) in enumerate(draws[: fewer.get(name)]):
                n_clusters = len(np.unique(y[known]))
                with warnings.catch_warnings():
                    warnings.simplefilter("ignore")
                    start = time.process_time()
                    model = build(n_clusters, seed)
                    labels = model.fit_predict(X)
                    spent.append(time.process_time() - start)
                found.append(clustering_accuracy(y[known], labels[known]))
                if name.startswith("auto"):
                    chosen[model.method_ + ", affine" * model.affine_] += 1
            line = {
                "setting": setting,
                "method": name,
                "accuracy": [round(float(value), 4) for value in found],
                "mean": round(statistics.fmean(found), 4),
                "median": round(statistics.median(found), 4),
                "cpu_seconds": round(statistics.median(spent), 4),
            }
            lines.append(line | ({"chosen": dict(chosen)} if chosen else {}))
    return lines


def run(quick=False):
    """Answer all four questions on one thread.

    Parameters
    ----------
    quick : bool, default=False
        Fewer settings, seeds and sequences.

    Returns
    -------
    results : dict
        ``"noise"``, ``"outliers"``, ``"motion"`` and ``"brightness"``: lists of lines
        with the setting, the method, the accuracy for each seed from 0, its mean and
        median, median CPU seconds, and for ``method="auto"`` what it chose.
    """
    n_seeds = 1 if quick else 5
    levels = [0.0, 0.15, 0.3] if quick else [round(0.05 * i, 2) for i in range(7)]
    shares = [0.0, 0.4] if quick else [0.0, 0.1, 0.2, 0.3, 0.4, 0.5]
    changes = [
        "none",
        "gain of each sample",
        "gain of each feature",
        "one offset, norm 1",
        "one offset, norm 5",
        "offset of each sample",
        "offset of each subspace",
        "scale 1e-12",
    ]
    changes = changes[: 4 if quick else None]
    n_sequences = 1 if quick else 20
    questions = {
        "noise": (noisy, levels, METHODS, n_seeds, SLOW),
        "outliers": (with_outliers, shares, METHODS, n_seeds, SLOW),
        "motion": (motions, [2, 3], MOTION, n_sequences, SLOW_MOTIONS),
        "brightness": (brightness, changes, BRIGHTNESS, n_seeds, SLOW),
    }
    results = {"quick": quick, "threads": 1}
    with threadpool_limits(1):
        # Kernels are compiled before the clock runs.
        sweep(noisy, [0.1], METHODS, 1, {})
        for question, arguments in questions.items():
            start = time.perf_counter()
            results[question] = sweep(*arguments)
            results[f"{question}_wall_seconds"] = round(time.perf_counter() - start, 1)
    return results


def show(results):
    """Print a table for each question; motion as mean / median error in per cent."""
    for question in ("noise", "outliers", "motion", "brightness"):
        lines = results[question]
        settings = list(dict.fromkeys(line["setting"] for line in lines))
        print(f"\n{question}: {', '.join(map(str, settings))}; CPU seconds")
        for method in dict.fromkeys(line["method"] for line in lines):
            mine = [line for line in lines if line["method"] == method]
            cells = " ".join(
                f"{100 - 100 * line['mean']:6.2f} /{100 - 100 * line['median']:6.2f}"
                if question == "motion"
                else f"{line['mean']:.3f}"
                for line in mine
            )
            seconds = statistics.median(line["cpu_seconds"] for line in mine)
            print(f"  {method:30} {cells}  {seconds:.3f}")


STYLES = {
    "auto": ("tab:red", "o-"),
    "elastic_net": ("tab:orange", "v-"),
    "lasso": ("tab:olive", "^-"),
    "omp": ("tab:pink", "s-"),
    "ridge": ("tab:purple", "D-"),
    "low_rank": ("tab:brown", "P-"),
    "thresholding": ("goldenrod", "X-"),
    "neighbors": ("0.35", "+-"),
    "KSubspaces": ("tab:blue", "o--"),
    "EnsembleKSubspaces": ("tab:cyan", "s--"),
    "CodingLengthClusterer": ("tab:green", "D--"),
    "k-means": ("0.7", "x:"),
    "kNN-spectral": ("0.5", "+:"),
    "Gaussian mixture": ("black", ".:"),
}


def draw_curves(ax, lines, **texts):
    for method, (colour, style) in STYLES.items():
        mine = [line for line in lines if line["method"] == method]
        ax.plot(
            [line["setting"] for line in mine],
            [line["mean"] for line in mine],
            style,
            color=colour,
            label=method,
            markersize=4,
            linewidth=2.2 if method == "auto" else 1.1,
            zorder=3 if method == "auto" else 2,
        )
    ax.set(ylabel="mean accuracy", ylim=(0.2, 1.02), **texts)
    ax.grid(visible=True, alpha=0.3)


def draw_motion(ax, lines):
    methods = list(dict.fromkeys(line["method"] for line in lines))
    for offset, n_motions in ((-0.2, 2), (0.2, 3)):
        mine = [line for line in lines if line["setting"] == n_motions]
        errors = [100 - 100 * line["mean"] for line in mine]
        places = np.arange(len(methods)) + offset
        colour = "tab:blue" if n_motions == 2 else "tab:orange"
        bars = ax.barh(places, errors, 0.4, color=colour, label=f"{n_motions} motions")
        ax.bar_label(bars, fmt=" %.1f", fontsize=6)
    ax.set_yticks(range(len(methods)), methods, fontsize=7)
    ax.invert_yaxis()
    ax.set(xlabel="mean error (%)", title="rigid motions, affine camera")
    ax.legend(loc="lower right", fontsize=7)


def draw_brightness(ax, lines):
    methods = list(dict.fromkeys(line["method"] for line in lines))
    settings = list(dict.fromkeys(line["setting"] for line in lines))
    table = np.reshape([line["mean"] for line in lines], (len(settings), -1)).T
    ax.imshow(table, cmap="RdYlGn", vmin=0.2, vmax=1.2, aspect="auto")
    for (i, j), value in np.ndenumerate(table):
        ax.text(j, i, f"{value:.2f}", ha="center", va="center", fontsize=7)
    ax.set_xticks(range(len(settings)), [s.replace(" of ", "\nof ") for s in settings])
    ax.tick_params(axis="x", labelrotation=30, labelsize=7)
    ax.set_yticks(range(len(methods)), methods, fontsize=7)
    ax.set_title("mean accuracy after a change of brightness")


def draw(results, path):
    """Draw the answers into one picture."""
    with mpl.rc_context({"font.size": 8, "axes.titlesize": 9}):
        figure = Figure(figsize=(13, 10), layout="constrained")
        axes = figure.subplots(2, 2).ravel()
        draw_curves(
            axes[0],
            results["noise"],
            xlabel="standard deviation of the noise of each feature",
            title=f"{N_SUBSPACES} subspaces of dimension {DIM} in {N_FEATURES}",
        )
        draw_curves(
            axes[1],
            results["outliers"],
            xlabel="share of outliers",
            title="the same with noise 0.05 and outliers; accuracy on the others",
        )
        axes[1].legend(fontsize=7, loc="lower left", ncols=2)
        draw_motion(axes[2], results["motion"])
        draw_brightness(axes[3], results["brightness"])
        figure.savefig(path, dpi=90)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--output", type=Path, default=None)
    options = parser.parse_args()
    folder = options.output or (RESULTS / "quick" if options.quick else RESULTS)
    folder.mkdir(parents=True, exist_ok=True)
    results = run(options.quick)
    results["environment"] = environment()
    show(results)
    path = folder / "robustness.json"
    path.write_text(json.dumps(results, indent=1) + "\n")
    draw(results, path.with_suffix(".png"))
    print(path)


if __name__ == "__main__":
    main()
