"""How an embedding is fitted: settings, checks, training, description."""

import math
import warnings
from dataclasses import dataclass

import numpy as np
import torch
from sklearn.exceptions import ConvergenceWarning
from sklearn.model_selection import train_test_split

from sklearn_whitebox._array import check_memory, resolve_device, to_tensor
from sklearn_whitebox._progress import Progress, logger
from sklearn_whitebox._random import draw_seed
from sklearn_whitebox._threads import torch_threads
from sklearn_whitebox.estimators._embedding_inputs import (
    ViewMaker,
    fit_scaler,
    standardized,
)
from sklearn_whitebox.estimators._embedding_network import (
    make_network,
    network_work,
    normalized,
    raw_features,
    with_sphere,
)
from sklearn_whitebox.estimators._network_state import arrays_of
from sklearn_whitebox.functional import (
    coding_rate,
    max_feature_penalty,
    optimal_rate_reduction,
)
from sklearn_whitebox.solvers._rate_blocks import ClassBlocks, RateObjective
from sklearn_whitebox.solvers._rate_reduction import (
    maximize_rate_reduction,
    maximize_view_reduction,
)
from sklearn_whitebox.solvers._rate_reduction_loss import rate_loss_and_gradient
from sklearn_whitebox.solvers._train import TrainSettings

# Without labels the views of a row must be pulled together against thousands of other
# rows; these are the factors of the published programs.
_VIEW_SCALE, _VIEW_WEIGHT = 20.0, 0.05


@dataclass(frozen=True)
class Plan:
    """Settings of a fit, all defaults resolved.

    Parameters
    ----------
    n_components : int
        Dimension of the features.
    hidden : tuple of int
        Widths of the hidden layers.
    batch_size : int or None
        Rows of a batch, views included; None for all.
    learning_rate : float
        Peak rate.
    weight_decay : float
        Decoupled decay.
    max_iter : int
        Passes.
    """

    n_components: int
    hidden: tuple
    batch_size: int | None
    learning_rate: float
    weight_decay: float
    max_iter: int


def resolve_plan(estimator, n_rows, n_features, n_classes):
    """Resolve every default that depends on the data.

    Parameters
    ----------
    estimator : RateReductionEmbedding
        Whose parameters are asked.
    n_rows, n_features, n_classes : int
        Sizes of the training set; no classes without labels.

    Returns
    -------
    plan : Plan
        Settings.
    """
    d = estimator.n_components or min(128, max(2 * n_classes, n_features))
    batch_size = estimator.batch_size
    if batch_size == "auto":
        batch_size = max(1000, 4 * d, 20 * n_classes)
    rate = estimator.learning_rate
    if rate == "auto":
        rate = 1e-2 if estimator.encoder == "linear" else 3e-3
    hidden = _hidden_widths(estimator) if estimator.encoder == "mlp" else ()
    return Plan(
        int(d),
        hidden,
        batch_size,
        float(rate),
        float(estimator.weight_decay),
        estimator.max_iter,
    )


def _hidden_widths(estimator):
    widths = tuple(np.atleast_1d(estimator.hidden_layer_sizes).tolist())
    if not all(isinstance(width, int) and width >= 1 for width in widths):
        raise ValueError(
            f"hidden_layer_sizes={estimator.hidden_layer_sizes!r} must be positive "
            "integers, one per hidden layer."
        )
    return widths


def make_objective(estimator, sizes, n_components):
    """Constants of the objective.

    Parameters
    ----------
    estimator : RateReductionEmbedding
        Whose parameters are asked.
    sizes : ndarray of shape (n_classes,)
        Total weight of each class; ones without labels.
    n_components : int
        Dimension of the features.

    Returns
    -------
    objective : RateObjective
        Constants.
    penalty : float
        The λ of the penalty, 0 if features are normalised.

    Raises
    ------
    ValueError
        If the penalty is not in its interval.
    """
    views = estimator.objective == "self_supervised"
    scale, weight = (_VIEW_SCALE, _VIEW_WEIGHT) if views else (1.0, 1.0)
    penalty = 0.0
    if estimator.normalize is None:
        if views:
            raise ValueError(
                "normalize=None is for labels only, since without classes its penalty "
                "has no admissible interval; use normalize='sphere'."
            )
        largest = max_feature_penalty(
            sizes, n_components, distortion=estimator.distortion
        )
        penalty = estimator.feature_penalty
        penalty = largest / 2 if penalty == "auto" else float(penalty)
        if not 0 < penalty <= largest:
            raise ValueError(
                f"feature_penalty={estimator.feature_penalty!r} must be in the "
                f"interval (0, {largest:.6g}] for these classes, n_components="
                f"{n_components} and distortion={estimator.distortion}; outside, a "
                "class has no features but zero. 'auto' takes the middle."
            )
    objective = RateObjective(
        estimator.distortion, scale, weight, penalty * float(np.sum(sizes))
    )
    return objective, penalty


def check_classes(estimator, rows, plan, n_steps):
    """Refuse or warn of classes that rate reduction can do little with.

    Parameters
    ----------
    estimator : RateReductionEmbedding
        Being fitted.
    rows : Rows
        Training rows.
    plan : Plan
        Settings.
    n_steps : int
        Batches of a pass.

    Raises
    ------
    ValueError
        If there are fewer than two classes.
    """
    if estimator.objective == "self_supervised":
        return
    if len(rows.classes) < 2:
        raise ValueError(
            f"y has {len(rows.classes)} class; the rate reduction of a single class is "
            "identically zero, so at least 2 classes are needed."
        )
    counts = np.bincount(rows.labels[rows.labels >= 0], minlength=len(rows.classes))
    single = rows.classes[counts == 1]
    if len(single):
        warnings.warn(
            f"Classes {single[:5].tolist()!r} have a single distinct row each, which "
            "spans a line whatever the class is like; merge or drop them.",
            UserWarning,
            stacklevel=4,
        )
    elif counts.min() < n_steps and not (rows.labels < 0).any():
        scarce = rows.classes[counts < n_steps]
        warnings.warn(
            f"Classes {scarce[:5].tolist()!r} have fewer rows than a pass has batches "
            f"({n_steps}) and are absent from some, which biases the rates; raise "
            "batch_size.",
            UserWarning,
            stacklevel=4,
        )
    if plan.n_components < len(rows.classes):
        warnings.warn(
            f"n_components={plan.n_components} is fewer dimensions than the "
            f"{len(rows.classes)} classes, which cannot all be orthogonal; raise it.",
            UserWarning,
            stacklevel=4,
        )


def check_sizes(estimator, network, plan, n_rows):
    """Refuse a training that does not fit into memory."""
    n_weights = sum(p.numel() for p in network.parameters())
    activations = 4 * n_rows * (estimator.n_features_in_ + sum(plan.hidden))
    scatter = 16 * estimator.n_features_in_**2 if estimator.encoder == "linear" else 0
    check_memory(
        16 * n_weights + 3 * activations + scatter + 40 * plan.n_components**2,
        what=f"Training on batches of {n_rows} rows",
        remedy="lower batch_size, n_components or hidden_layer_sizes",
    )


def train_embedding(estimator, rows):
    """Scale, train and store.

    Parameters
    ----------
    estimator : RateReductionEmbedding
        Gets its fitted attributes.
    rows : Rows
        Training rows.
    """
    plan = resolve_plan(estimator, len(rows.X), rows.X.shape[1], len(rows.classes))
    estimator.n_components_ = plan.n_components
    estimator._architecture = (estimator.encoder, plan.hidden)
    estimator._sphere = estimator.normalize == "sphere"
    estimator.mean_, estimator.scale_ = fit_scaler(
        rows, standardize=estimator.standardize
    )
    inputs = standardized(rows.X, estimator.mean_, estimator.scale_)
    if (rows.X == rows.X[0]).all():
        raise ValueError("X has constant features only; nothing can be embedded.")
    seed = draw_seed(estimator.random_state)
    generator = torch.Generator().manual_seed(seed)
    kept, held_out = _split(estimator, inputs, rows, seed)
    network = make_network(
        estimator, inputs[kept], _part(rows.weights, kept), generator
    )
    views = estimator.n_views if estimator.objective == "self_supervised" else 1
    per_batch = max(2, (plan.batch_size or len(kept) * views) // views)
    n_steps = max(1, len(kept) // per_batch)
    check_classes(estimator, rows, plan, n_steps)
    check_sizes(estimator, network, plan, -(-len(kept) // n_steps) * views)
    sizes = rows.class_sizes() if len(rows.classes) else np.ones(2)
    objective, penalty = make_objective(estimator, sizes, plan.n_components)
    settings = TrainSettings(
        learning_rate=plan.learning_rate,
        max_epochs=plan.max_iter,
        steps_per_epoch=n_steps,
        weight_decay=plan.weight_decay,
        patience=estimator.n_iter_no_change if held_out is not None else None,
    )
    work = network_work(network, len(kept) * views, plan.n_components)
    device = resolve_device(estimator.device, work=work * plan.max_iter)
    progress = Progress(estimator, plan.max_iter, rows.X, verbose=estimator.verbose)
    maximize = _solver(
        estimator, rows, inputs, (kept, held_out), device, generator, objective
    )
    module = with_sphere(estimator, network).to(device)
    try:
        with torch_threads(work / n_steps):
            result = maximize(module, settings=settings, callback=progress)
    except FloatingPointError as error:
        raise ValueError(
            f"Training diverged ({error}); lower learning_rate="
            f"{estimator.learning_rate!r} or weight_decay={estimator.weight_decay!r}."
        ) from error
    progress.close()
    estimator.weights_ = arrays_of(network.state_dict())
    estimator.loss_curve_ = result.loss_curve
    estimator.validation_curve_ = result.validation_curve
    estimator.n_iter_ = len(result.loss_curve)
    estimator.best_iteration_ = result.best_iter
    estimator.feature_penalty_ = penalty
    _store_scales(estimator, rows)
    describe(estimator, rows)


def _part(values, chosen):
    return None if values is None else values[chosen]


def _split(estimator, inputs, rows, seed):
    """Numbers of the rows to train on and to hold out."""
    everything = np.arange(len(inputs))
    if not estimator.early_stopping or estimator.objective == "self_supervised":
        return everything, None
    try:
        return train_test_split(
            everything,
            test_size=estimator.validation_fraction,
            stratify=rows.labels,
            random_state=seed,
        )
    except ValueError as error:
        raise ValueError(
            "early_stopping=True cannot hold out "
            f"validation_fraction={estimator.validation_fraction} of {len(inputs)} "
            f"rows stratified by class ({error}) Use early_stopping=False."
        ) from error


def _solver(estimator, rows, inputs, parts, device, generator, objective):
    """Bind the data to the solver of the objective."""
    kept, held_out = parts

    def on_device(chosen):
        weights = _part(rows.weights, chosen)
        if weights is not None:
            weights = to_tensor(weights.astype(np.float32), device=device)
        labels = torch.from_numpy(rows.labels[chosen])
        return to_tensor(inputs[chosen], device=device), labels, weights

    X, labels, weights = on_device(kept)
    common = {
        "objective": objective,
        "generator": generator,
        "weights": weights,
        "scale_classes": estimator.normalize == "frobenius",
    }
    if estimator.objective == "self_supervised":
        views = make_views(estimator, rows.X[kept], X, generator)
        return lambda module, **kwargs: maximize_view_reduction(
            module, X, views, n_views=estimator.n_views, **common, **kwargs
        )
    held = None if held_out is None else on_device(held_out)
    return lambda module, **kwargs: maximize_rate_reduction(
        module, X, labels, held_out=held, **common, **kwargs
    )


def make_views(estimator, X, inputs, generator):
    """Prepare the views of some rows.

    Parameters
    ----------
    estimator : RateReductionEmbedding
        Whose augmentation is asked, with a fitted scaler.
    X : ndarray of shape (n_rows, n_features)
        Rows.
    inputs : Tensor of shape (n_rows, n_features)
        The same, standardised.
    generator : Generator
        Source of the changes.

    Returns
    -------
    views : ViewMaker
        Maps row numbers to views.

    Raises
    ------
    ValueError
        If `input_shape` does not fit the rows.
    """
    shape = estimator.input_shape
    if shape is not None:
        shape = tuple(int(side) for side in shape)
        if len(shape) not in (2, 3) or math.prod(shape) != X.shape[1]:
            raise ValueError(
                f"input_shape={estimator.input_shape!r} must be (H, W) or (C, H, W) "
                f"with a product of n_features={X.shape[1]}."
            )
    return ViewMaker(
        X,
        inputs,
        estimator.mean_,
        estimator.scale_,
        n_views=estimator.n_views,
        augment=estimator.augment,
        input_shape=shape,
        generator=generator,
    )


def _store_scales(estimator, rows):
    """Scale that stands for that of the classes, and the typical length of a row."""
    Z = raw_features(estimator, rows.X).astype(np.float64)
    squares = np.einsum("ij,ij->i", Z, Z)
    mean_square = float(np.average(squares, weights=rows.mass))
    estimator.feature_scale_ = 1.0
    if estimator.normalize == "frobenius":
        estimator.feature_scale_ = 1 / math.sqrt(max(mean_square, 1e-30))
    estimator._typical_norm = float(np.average(np.sqrt(squares), weights=rows.mass))
    n_zero = int((squares < 1e-16).sum())
    if estimator.normalize is None and mean_square < 1e-8:
        warnings.warn(
            "All features are zero: the penalty won. Lower feature_penalty or raise "
            "learning_rate.",
            ConvergenceWarning,
            stacklevel=5,
        )
    elif n_zero:
        warnings.warn(
            f"{n_zero} of {len(Z)} rows are mapped to zero, which has no direction; "
            "drop zero rows, or use standardize=True.",
            UserWarning,
            stacklevel=5,
        )


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
    known = rows.labels >= 0
    Y = Z * np.sqrt(rows.mass)[:, None]
    estimator.coding_rate_ = coding_rate(
        Y * math.sqrt(len(Z) / rows.mass.sum()), distortion=estimator.distortion
    )
    estimator.classes_ = rows.classes
    if len(rows.classes) == 0:
        _describe_views(estimator, rows)
        return
    sizes = rows.class_sizes()
    bases, spectra, rates = [], [], []
    for k, size in enumerate(sizes):
        _, s, Vt = np.linalg.svd(Y[known & (rows.labels == k)], full_matrices=False)
        scale = estimator.n_components_ / (size * estimator.distortion)
        rates.append(np.log1p(scale * s**2).sum() / 2)
        bases.append(Vt)
        spectra.append(s)
    estimator.conditional_coding_rate_ = float(sizes @ rates / sizes.sum())
    estimator.rate_reduction_ = (
        estimator.coding_rate_ - estimator.conditional_coding_rate_
    )
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
    if estimator.verbose:
        logger.info(
            "%s: rate reduction %.4g of at most %.4g nats",
            type(estimator).__name__,
            estimator.rate_reduction_,
            estimator.rate_reduction_bound_,
        )


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
    for i, U in enumerate(kept):
        for j in range(i):
            cosines = np.linalg.svd(U @ kept[j].T, compute_uv=False).clip(0, 1)
            angles[i, j] = angles[j, i] = np.degrees(np.arccos(cosines)).mean()
    return angles
