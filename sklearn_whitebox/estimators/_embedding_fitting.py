"""How an embedding is fitted: settings, checks, training, description."""

import math
from itertools import pairwise

import numpy as np
import torch
from sklearn.exceptions import ConvergenceWarning
from sklearn.model_selection import train_test_split

from sklearn_whitebox._array import check_memory, resolve_device, to_tensor
from sklearn_whitebox._progress import Progress
from sklearn_whitebox._random import draw_seed
from sklearn_whitebox._threads import torch_threads
from sklearn_whitebox._warn import warn
from sklearn_whitebox.estimators._embedding_description import describe
from sklearn_whitebox.estimators._embedding_inputs import (
    check_square_range,
    fit_scaler,
    standardized,
)
from sklearn_whitebox.estimators._embedding_network import (
    make_network,
    network_work,
    raw_features,
    with_sphere,
)
from sklearn_whitebox.estimators._embedding_plan import resolve_plan
from sklearn_whitebox.estimators._embedding_views import make_views
from sklearn_whitebox.estimators._network_state import arrays_of
from sklearn_whitebox.functional import max_feature_penalty
from sklearn_whitebox.solvers._rate_blocks import RateObjective
from sklearn_whitebox.solvers._rate_reduction import (
    maximize_rate_reduction,
    maximize_view_reduction,
)
from sklearn_whitebox.solvers._train import TrainSettings


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
    per_row = penalty * float(np.sum(sizes))
    objective = RateObjective(estimator.distortion, feature_penalty=per_row)
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
        partly = estimator.objective == "semi_supervised"
        hint = " A label of -1 counts as none." if partly else ""
        raise ValueError(
            f"y has {len(rows.classes)} class; the rate reduction of a single class is "
            f"identically zero, so at least 2 classes are needed.{hint}"
        )
    counts = np.bincount(rows.labels[rows.labels >= 0], minlength=len(rows.classes))
    single = rows.classes[counts == 1]
    if len(single):
        warn(
            f"Classes {single[:5].tolist()!r} have a single distinct row each, which "
            "spans a line whatever the class is like; merge or drop them.",
            UserWarning,
        )
    elif counts.min() < n_steps and not (rows.labels < 0).any():
        scarce = rows.classes[counts < n_steps]
        warn(
            f"Classes {scarce[:5].tolist()!r} have fewer rows than a pass has batches "
            f"({n_steps}) and are absent from some, which biases the rates; raise "
            "batch_size.",
            UserWarning,
        )
    if plan.n_components < len(rows.classes):
        warn(
            f"n_components={plan.n_components} is fewer dimensions than the "
            f"{len(rows.classes)} classes, which cannot all be orthogonal; raise it.",
            UserWarning,
        )


def check_sizes(estimator, plan, n_rows, n_samples=0):
    """Refuse a training that does not fit into memory, before anything is built."""
    n_weights = 0
    if not callable(estimator.encoder):
        widths = (estimator.n_features_in_, *plan.hidden, plan.n_components)
        n_weights = sum(math.prod(pair) for pair in pairwise(widths))
    activations = 4 * n_rows * (estimator.n_features_in_ + sum(plan.hidden))
    scatter = 0
    if estimator.encoder == "linear":
        n_features = estimator.n_features_in_
        scatter = 16 * n_features * min(n_features, n_samples)
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
    estimator.mean_, estimator.scale_ = fit_scaler(
        rows, standardize=estimator.standardize
    )
    plan = resolve_plan(
        estimator,
        *rows.X.shape,
        len(rows.classes),
        one_unit=bool(np.ptp(estimator.scale_) == 0),
    )
    estimator.n_components_ = plan.n_components
    estimator._architecture = (estimator.encoder, plan.hidden)
    estimator._sphere = estimator.normalize == "sphere"
    inputs = standardized(rows.X, estimator.mean_, estimator.scale_)
    check_square_range(inputs)
    if (rows.X[0] == rows.X).all():
        raise ValueError("X has constant features only; nothing can be embedded.")
    seed = draw_seed(estimator.random_state)
    generator = torch.Generator().manual_seed(seed)
    kept, held_out = _split(estimator, inputs, rows, seed)
    views = estimator.n_views if estimator.objective == "self_supervised" else 1
    per_batch = max(2, (plan.batch_size or len(kept) * views) // views)
    n_steps = max(1, len(kept) // per_batch)
    check_classes(estimator, rows, plan, n_steps)
    check_sizes(estimator, plan, -(-len(kept) // n_steps) * views, len(kept))
    network = make_network(
        estimator, inputs[kept], _part(rows.weights, kept), generator
    )
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
    maximize = _solver(
        estimator, rows, inputs, (kept, held_out), device, generator, objective, plan
    )
    module = with_sphere(estimator, network).to(device)
    result = _run(estimator, rows, maximize, module, settings, work / n_steps)
    estimator.weights_ = arrays_of(network.state_dict())
    estimator.loss_curve_ = result.loss_curve
    estimator.validation_curve_ = result.validation_curve
    estimator.n_iter_ = len(result.loss_curve)
    estimator.best_iteration_ = result.best_iter
    estimator.feature_penalty_ = penalty
    _store_scales(estimator, rows)
    describe(estimator, rows)


def _run(estimator, rows, maximize, module, settings, work):
    """Train, and say what to change where that fails."""
    progress = Progress(
        estimator, settings.max_epochs, rows.X, verbose=estimator.verbose
    )
    try:
        with torch_threads(work):
            result = maximize(module, settings=settings, callback=progress)
    except FloatingPointError as error:
        raise ValueError(
            f"Training diverged ({error}); lower learning_rate="
            f"{estimator.learning_rate!r} or weight_decay={estimator.weight_decay!r}."
        ) from error
    progress.close()
    return result


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


def _solver(estimator, rows, inputs, parts, device, generator, objective, plan):
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
    alter = make_alteration(estimator, rows.X[kept], X, plan.mixing, generator)
    return lambda module, **kwargs: maximize_rate_reduction(
        module, X, labels, held_out=held, alter=alter, **common, **kwargs
    )


def make_alteration(estimator, X, inputs, mixing, generator):
    """Tell how the rows of a batch with labels are altered.

    Parameters
    ----------
    estimator : RateReductionEmbedding
        Whose augmentation is asked, with a fitted scaler.
    X : ndarray of shape (n_rows, n_features)
        Rows.
    inputs : Tensor of shape (n_rows, n_features)
        The same, standardised.
    mixing : RowMixing or None
        The default alteration; None where the user gives one or none.
    generator : Generator
        Source of the changes.

    Returns
    -------
    alter : callable or None
        Maps row numbers, one class after the other, and their classes to inputs; None
        leaves rows as they are.
    """
    if mixing is not None:
        return lambda rows, blocks: mixing.alter(
            inputs[rows.to(inputs.device)], blocks, generator
        )
    if estimator.augment is None:
        return None
    views = make_views(estimator, X, inputs, generator)
    return lambda rows, _: views.altered(rows)


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
        warn(
            "All features are zero: the penalty won. Lower feature_penalty or raise "
            "learning_rate.",
            ConvergenceWarning,
        )
    elif n_zero:
        warn(
            f"{n_zero} of {len(Z)} rows are mapped to zero, which has no direction; "
            "drop zero rows, use standardize=True, or widen the hidden layers.",
            UserWarning,
        )
