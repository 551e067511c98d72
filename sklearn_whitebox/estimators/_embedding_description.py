"""What is told of a fitted embedding: rates, bounds, subspaces of the classes."""

import numpy as np
import torch

from sklearn_whitebox._progress import logger
from sklearn_whitebox.estimators._embedding_inputs import standardized
from sklearn_whitebox.estimators._embedding_network import normalized, raw_features
from sklearn_whitebox.estimators._embedding_views import make_views
from sklearn_whitebox.functional import coding_rate, optimal_rate_reduction
from sklearn_whitebox.solvers._rate_blocks import ClassBlocks, RateObjective
from sklearn_whitebox.solvers._rate_reduction_loss import rate_loss_and_gradient


def describe(estimator, rows):
    """Store the rates of the training features and the subspaces of the classes.

    Parameters
    ----------
    estimator : RateReductionEmbedding
        Trained.
    rows : Rows
        Training rows.
    """
    Z = normalized(estimator, raw_features(estimator, rows.X)).astype(np.float64)
    estimator.coding_rate_ = _weighted_rate(Z, rows.mass, estimator.distortion)
    estimator.classes_ = rows.classes
    if len(rows.classes):
        _describe_classes(estimator, rows, Z)
    else:
        _describe_views(estimator, rows)
    if estimator.verbose:
        logger.info(
            "%s: rate reduction %.4g of at most %.4g nats",
            type(estimator).__name__,
            estimator.rate_reduction_,
            estimator.rate_reduction_bound_,
        )


def _weighted_rate(Z, weights, distortion):
    """Coding rate of rows that count several times."""
    shares = weights * (len(Z) / weights.sum())
    return coding_rate(Z * np.sqrt(shares)[:, None], distortion=distortion)


def _describe_classes(estimator, rows, Z):
    """Rate the labelled rows; with others among them there would be no bound."""
    known = rows.labels >= 0
    Y = Z * np.sqrt(rows.mass)[:, None]
    rate = _weighted_rate(Z[known], rows.mass[known], estimator.distortion)
    sizes = rows.class_sizes()
    bases, spectra, rates = [], [], []
    for k, size in enumerate(sizes):
        _, s, Vt = np.linalg.svd(Y[known & (rows.labels == k)], full_matrices=False)
        scale = estimator.n_components_ / (size * estimator.distortion)
        rates.append(np.log1p(scale * s**2).sum() / 2)
        bases.append(Vt)
        spectra.append(s)
    estimator.conditional_coding_rate_ = float(sizes @ rates / sizes.sum())
    estimator.rate_reduction_ = rate - estimator.conditional_coding_rate_
    estimator.rate_reduction_bound_ = float(
        optimal_rate_reduction(
            sizes, estimator.n_components_, distortion=estimator.distortion
        )
        if estimator.normalize is not None
        else np.inf
    )
    estimator.class_bases_, estimator.class_spectra_ = bases, spectra
    estimator.class_sizes_ = sizes
    estimator.class_angles_ = class_angles(bases, spectra)


def _describe_views(estimator, rows):
    """Rate the views of up to a thousand rows."""
    n_rows = min(1000, len(rows.X))
    inputs = standardized(rows.X[:n_rows], estimator.mean_, estimator.scale_)
    generator = torch.Generator().manual_seed(0)
    maker = make_views(estimator, rows.X[:n_rows], torch.from_numpy(inputs), generator)
    views = maker(torch.arange(n_rows)).numpy()
    X = views.astype(np.float64) * estimator.scale_ + estimator.mean_
    Z = normalized(estimator, raw_features(estimator, X)).astype(np.float64)
    blocks = ClassBlocks((estimator.n_views,) * n_rows)
    objective = RateObjective(estimator.distortion)
    loss, _ = rate_loss_and_gradient(torch.from_numpy(Z), blocks, objective)
    estimator.rate_reduction_ = -float(loss)
    estimator.conditional_coding_rate_ = (
        coding_rate(Z, distortion=estimator.distortion) - estimator.rate_reduction_
    )
    estimator.rate_reduction_bound_ = optimal_rate_reduction(
        blocks.counts, estimator.n_components_, distortion=estimator.distortion
    )


def class_angles(bases, spectra):
    """Mean principal angles between the subspaces of classes.

    Parameters
    ----------
    bases : list of ndarray of shape (rank, n_features)
        Orthonormal directions of each class.
    spectra : list of ndarray of shape (rank,)
        Singular values.

    Returns
    -------
    angles : ndarray of shape (n_classes, n_classes)
        In degrees, of the directions that hold 95 % of the squared norm of a class;
        zero on the diagonal.
    """
    kept = []
    for V, s in zip(bases, spectra, strict=True):
        share = np.cumsum(s**2) / max(float((s**2).sum()), 1e-300)
        kept.append(V[: int(np.searchsorted(share, 0.95 - 1e-12)) + 1])
    angles = np.zeros((len(kept), len(kept)))
    ranks = np.array([len(V) for V in kept])
    # Thousands of classes make millions of pairs: all of one shape are taken at once.
    groups = [np.flatnonzero(ranks == rank) for rank in np.unique(ranks)]
    stacks = [np.stack([kept[k] for k in group]) for group in groups]
    for group, stack in zip(groups, stacks, strict=True):
        for k, V in zip(group, stack, strict=True):
            for others, further in zip(groups, stacks, strict=True):
                before = others < k
                if before.any():
                    cosines = np.linalg.svd(V @ further[before].mT, compute_uv=False)
                    pairs = np.degrees(np.arccos(cosines.clip(0, 1))).mean(axis=1)
                    angles[k, others[before]] = angles[others[before], k] = pairs
    return angles
