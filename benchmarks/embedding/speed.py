"""How long does it take? Fits, transforms and one step, side by side on one thread.

Rounds alternate between the methods, and medians of CPU seconds are kept.
"""

import statistics
import time

import numpy as np
import torch
from common import split, timed
from sklearn.datasets import make_classification
from sklearn.decomposition import PCA
from sklearn.neighbors import NeighborhoodComponentsAnalysis

from sklearn_whitebox import RateReductionEmbedding, ReduNetClassifier
from sklearn_whitebox.solvers import ClassBlocks, RateObjective, rate_loss


def run(quick, data_dir):
    """Answer all parts."""
    rounds = 1 if quick else 3
    sizes = (1000, 2000) if quick else (1000, 2000, 4000)
    report = {
        "fit": [_fits(size, rounds) for size in sizes],
        "transform": _transforms(rounds=5 * rounds),
        "step": _step(rounds=10 * rounds),
        "redunet": _redunet(2000 if quick else 10_000),
    }
    if data_dir:
        report["images"] = _images(data_dir, rounds)
    return report


def _table(n_samples, n_features=64, n_classes=10):
    X, y = make_classification(
        n_samples,
        n_features,
        n_informative=32,
        n_classes=n_classes,
        n_clusters_per_class=2,
        random_state=0,
    )
    return X.astype(np.float32), y


def _race(methods, X, y, rounds):
    seconds = {name: [] for name in methods}
    for _ in range(rounds):
        for name, make in methods.items():
            seconds[name].append(timed(make().fit, X, y)[1])
    return {name: statistics.median(values) for name, values in seconds.items()}


def _fits(n_samples, rounds):
    X, y = _table(n_samples)
    line = _race(_contestants(X.shape[1]), X, y, rounds)
    print(n_samples, line, flush=True)
    return {"n_samples": n_samples, "n_features": X.shape[1], **line}


def _contestants(n_features):
    return {
        "RateReductionEmbedding": lambda: RateReductionEmbedding(random_state=0),
        "NCA": lambda: NeighborhoodComponentsAnalysis(
            min(32, n_features), random_state=0
        ),
    }


def _images(data_dir, rounds):
    """Real images, where the neighbours of NCA have something to find."""
    table = []
    for name in ("digits", "mnist 2000", "usps"):
        parts = split(name, 0, data_dir)
        if parts is not None:
            line = _race(_contestants(parts[0].shape[1]), parts[0], parts[2], rounds)
            print(name, line, flush=True)
            table.append({"data": name, "n_samples": len(parts[0]), **line})
    return table


def _transforms(rounds):
    X, y = _table(10_000)
    models = {
        "PCA": PCA(32).fit(X),
        "mlp": RateReductionEmbedding(32, max_iter=2, random_state=0).fit(X, y),
        "linear": RateReductionEmbedding(
            32, encoder="linear", max_iter=2, random_state=0
        ).fit(X, y),
        "ReduNet": ReduNetClassifier(10, random_state=0).fit(X, y),
    }
    seconds = {name: [] for name in models}
    for _ in range(rounds):
        for name, model in models.items():
            seconds[name].append(timed(model.transform, X)[1])
    line = {name: statistics.median(values) for name, values in seconds.items()}
    print("transform", line, flush=True)
    return {"n_samples": len(X), "n_features": X.shape[1], **line}


def _step(rounds, n_samples=1000, n_features=128, n_classes=10):
    """Loss and gradient against a product of as many operations."""
    generator = torch.Generator().manual_seed(0)
    Z = torch.randn(n_samples, n_features, generator=generator)
    Z = torch.nn.functional.normalize(Z, dim=1).requires_grad_()
    blocks = ClassBlocks((n_samples // n_classes,) * n_classes)
    # Gram matrices (symmetric, counted in full), factors, inverses and gradients.
    work = 4 * n_samples * n_features**2 + n_features**3
    for count in blocks.counts:
        side = min(count, n_features)
        work += 4 * count * n_features * side + side**3
    A = torch.randn(1024, 1024, generator=generator)
    ours, products = [], []
    for _ in range(rounds):
        start = time.process_time()
        Z.grad = None
        rate_loss(Z, blocks, RateObjective(0.5)).backward()
        ours.append(time.process_time() - start)
        start = time.process_time()
        A @ A
        products.append(time.process_time() - start)
    rate = work / statistics.median(ours)
    peak = 2 * 1024**3 / statistics.median(products)
    line = {"gflops": rate / 1e9, "gemm_gflops": peak / 1e9, "share": rate / peak}
    print("step", line, flush=True)
    return {"n_samples": n_samples, "n_features": n_features, **line}


def _redunet(n_samples):
    """Fifty layers of 128 features and ten classes."""
    X, y = _table(n_samples, n_features=128)
    model = ReduNetClassifier(50, lift=None, tol=0, random_state=0)
    fitted, seconds = timed(model.fit, X, y)
    line = {
        "n_samples": n_samples,
        "n_layers": len(fitted.layers_),
        "fit_seconds": seconds,
        "predict_seconds": timed(fitted.predict, X)[1],
    }
    print("redunet", line, flush=True)
    return line
