"""How an embedding learns from a stream of blocks."""

import numpy as np
import torch

from sklearn_whitebox._array import resolve_device, to_tensor
from sklearn_whitebox._random import draw_seed
from sklearn_whitebox._threads import torch_threads
from sklearn_whitebox.estimators._embedding_description import describe
from sklearn_whitebox.estimators._embedding_fitting import (
    check_sizes,
    make_alteration,
    make_objective,
)
from sklearn_whitebox.estimators._embedding_inputs import (
    Rows,
    check_square_range,
    column_scales,
    gather_rows,
    is_constant,
    number_labels,
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
from sklearn_whitebox.estimators._network_state import arrays_of, load_arrays
from sklearn_whitebox.solvers._rate_batches import sorted_blocks, stratified_batches
from sklearn_whitebox.solvers._rate_blocks import ClassBlocks
from sklearn_whitebox.solvers._rate_reduction import (
    encode_rows,
    scale_blocks,
    settle_batch_norm,
)
from sklearn_whitebox.solvers._rate_reduction_loss import rate_loss

# Rows kept for replay, in all and of a class.
_KEPT, _KEPT_PER_CLASS = 2000, 20
# Rows after which means and scales no longer follow the stream.
_WARM_UP = 1000
# Share of the old moments of a class that its own mass of new rows leaves.
_DECAY = 0.5


def learn_block(estimator, X, y, classes, sample_weight):
    """Take steps on a block; see ``RateReductionEmbedding.partial_fit``.

    Parameters
    ----------
    estimator : RateReductionEmbedding
        Gets new fitted attributes.
    X, y, classes, sample_weight : array-like
        As in ``partial_fit``.

    Returns
    -------
    estimator : RateReductionEmbedding
        The same.
    """
    first = not hasattr(estimator, "weights_")
    X, seen, labels = estimator._read(X, y, reset=first, least=1)
    known = _known_classes(estimator, classes, seen, first)
    if len(seen):
        labels = number_labels(seen, labels, known)
    block = gather_rows(X, labels, known, sample_weight, estimator.class_weight)
    stream = dict(getattr(estimator, "_stream", None) or _open(estimator, first))
    if first:
        _start(estimator, block, stream)
    _follow_scale(estimator, stream, block)
    _step(estimator, stream, block)
    _remember(stream, block)
    estimator._stream = stream
    _describe(estimator, stream)
    return estimator


def _known_classes(estimator, classes, seen, first):
    if estimator.objective == "self_supervised":
        return np.empty(0)
    if first:
        known = seen if classes is None else np.unique(np.asarray(classes))
    else:
        known = estimator.classes_
        given = known if classes is None else np.unique(np.asarray(classes))
        if not np.array_equal(given, known):
            raise ValueError(
                f"classes={classes!r} is not the same as before, {known!r}."
            )
    if len(known) < 2:
        raise ValueError(
            f"classes has {len(known)} class; the rate reduction of a single class is "
            "identically zero, so at least 2 classes are needed. Pass the classes of "
            "all blocks with the first one."
        )
    return known


def _open(estimator, first):
    """Begin a stream, from nothing or from a fitted model."""
    stream = {"n_seen": 0.0, "step": 0, "X": None, "labels": None, "mass": None}
    stream["fitted"] = not first
    if not first and len(estimator.classes_):
        stream["moments"] = np.stack(
            [
                (V.T * s**2) @ V
                for V, s in zip(
                    estimator.class_bases_, estimator.class_spectra_, strict=True
                )
            ]
        )
        stream["masses"] = estimator.class_sizes_.copy()
    return stream


def _start(estimator, block, stream):
    n_classes = len(block.classes)
    plan = resolve_plan(estimator, len(block.X), block.X.shape[1], n_classes)
    estimator.n_components_ = plan.n_components
    estimator._architecture = (estimator.encoder, plan.hidden)
    estimator._sphere = estimator.normalize == "sphere"
    estimator.classes_ = block.classes
    estimator.feature_scale_ = 1.0
    estimator.loss_curve_, estimator.validation_curve_ = [], []
    check_sizes(estimator, plan, len(block.X) + _KEPT)
    seed = draw_seed(estimator.random_state)
    stream["seed"] = seed
    generator = torch.Generator().manual_seed(seed)
    # A whitening of the first block alone would know its classes only.
    network = make_network(estimator, generator=generator)
    estimator.weights_ = arrays_of(network.state_dict())


def _follow_scale(estimator, stream, block):
    """Update mean and deviation while the stream is young; a fit's are kept."""
    if stream["fitted"]:
        return
    if not estimator.standardize:
        estimator.mean_ = np.zeros(block.X.shape[1])
        estimator.scale_ = np.ones(block.X.shape[1])
        return
    seen = stream["n_seen"]
    if seen >= _WARM_UP and "mean" in stream:
        return
    X, mass = block.X.astype(np.float64), block.mass
    count = mass.sum()
    mean = np.average(X, axis=0, weights=mass)
    scatter = mass @ (X - mean) ** 2
    if seen:
        gap = mean - stream["mean"]
        scatter = scatter + stream["scatter"] + gap**2 * seen * count / (seen + count)
        mean = stream["mean"] + gap * count / (seen + count)
    low, high = X.min(axis=0), X.max(axis=0)
    if seen:
        low, high = np.minimum(low, stream["low"]), np.maximum(high, stream["high"])
    stream.update(mean=mean, scatter=scatter, low=low, high=high)
    deviation = np.sqrt(scatter / (seen + count))
    constant = is_constant(mean, deviation, block.X.dtype)
    estimator.mean_ = mean
    estimator.scale_ = column_scales(
        deviation, high - low, constant, standardize=estimator.standardize
    )


def _step(estimator, stream, block):
    """One pass of optimiser steps over the block and the replayed rows."""
    plan = resolve_plan(
        estimator,
        int(_mass_seen(stream) + block.mass.sum()),
        block.X.shape[1],
        len(block.classes),
        one_unit=bool(np.ptp(estimator.scale_) == 0),
    )
    rows = _with_replay(stream, block)
    inputs = standardized(rows.X, estimator.mean_, estimator.scale_)
    check_square_range(inputs)
    network = load_arrays(make_network(estimator), estimator.weights_)
    work = network_work(network, len(inputs), estimator.n_components_)
    device = resolve_device(estimator.device, work=work)
    module = with_sphere(estimator, network).to(device)
    # The moments of a fit's batch normalisation are better than those of a block.
    module.train(not stream["fitted"])
    for parameter in module.parameters():
        parameter.requires_grad_(True)
    optimizer = _optimizer(network, plan, stream)
    n_new = len(block.X)
    generator = torch.Generator().manual_seed(stream["step"])
    X = to_tensor(inputs, device=device)
    alter = None
    if len(rows.classes):
        alter = make_alteration(estimator, rows.X, X, plan.mixing, generator)
    loss = _make_loss(estimator, stream, rows, X, module, alter)
    labels = torch.from_numpy(block.labels)
    n_steps = max(1, n_new // (plan.batch_size or n_new))
    replay = torch.arange(n_new, len(rows.X))
    values = []
    with torch_threads(work / n_steps):
        for chunk in stratified_batches(labels, n_steps, generator):
            optimizer.zero_grad(set_to_none=True)
            value = loss(torch.cat([chunk, replay]), generator)
            value.backward()
            torch.nn.utils.clip_grad_norm_(module.parameters(), 1.0)
            optimizer.step()
            values.append(float(value.detach()))
            if not np.isfinite(values[-1]):
                raise ValueError(
                    "Training diverged; lower learning_rate="
                    f"{estimator.learning_rate!r}."
                )
        if alter is not None and not stream["fitted"]:
            weights = torch.from_numpy(rows.mass.astype(np.float32)).to(device)
            settle_batch_norm(module, X, weights)
    _close(estimator, stream, network, optimizer, values)


def _close(estimator, stream, network, optimizer, values):
    estimator.weights_ = arrays_of(network.state_dict())
    stream["step"] += len(values)
    for name, parameter in network.named_parameters():
        state = optimizer.state.get(parameter, {})
        for key in ("exp_avg", "exp_avg_sq"):
            if key in state:
                stream[f"{key}.{name}"] = state[key].cpu().numpy().copy()
    estimator.loss_curve_ = [*estimator.loss_curve_, float(np.mean(values))]
    estimator.n_iter_ = len(estimator.loss_curve_)
    estimator.best_iteration_ = estimator.n_iter_


def _optimizer(network, plan, stream):
    groups = [
        {
            "params": [p for p in network.parameters() if (p.ndim >= 2) == decayed],
            "weight_decay": plan.weight_decay if decayed else 0.0,
        }
        for decayed in (True, False)
    ]
    optimizer = torch.optim.AdamW(groups, lr=plan.learning_rate)
    for name, parameter in network.named_parameters():
        if f"exp_avg.{name}" in stream:
            optimizer.state[parameter] = {
                "step": torch.tensor(float(stream["step"])),
                **{
                    key: to_tensor(stream[f"{key}.{name}"], device=parameter.device)
                    for key in ("exp_avg", "exp_avg_sq")
                },
            }
    return optimizer


def _make_loss(estimator, stream, rows, X, module, alter):
    device = X.device
    weights = torch.from_numpy(rows.mass.astype(np.float32))
    moments = masses = None
    if "moments" in stream:
        moments = to_tensor(stream["moments"].astype(np.float32), device=device)
        masses = to_tensor(stream["masses"].astype(np.float32), device=device)
    n_classes = len(rows.classes)
    sizes = np.ones(2)
    if n_classes:
        sizes = rows.class_sizes() + (0 if masses is None else stream["masses"])
        sizes = sizes[sizes > 0]
    objective, estimator.feature_penalty_ = (
        make_objective(estimator, sizes, estimator.n_components_)
        if len(sizes) > 1 or estimator.normalize is not None
        else make_objective(estimator, np.ones(2), estimator.n_components_)
    )
    labels = torch.from_numpy(rows.labels)

    def views_loss(chosen, generator):
        views = make_views(estimator, rows.X, X, generator)(chosen)
        own = weights[chosen].repeat_interleave(estimator.n_views).to(device)
        blocks = ClassBlocks((estimator.n_views,) * len(chosen), weights=own)
        return rate_loss(encode_rows(module, views, own), blocks, objective)

    def class_loss(chosen, _):
        chosen, blocks = sorted_blocks(chosen, labels, weights)
        inputs = X[chosen.to(device)] if alter is None else alter(chosen, blocks)
        own = labels[chosen]
        counts = torch.bincount(own[own >= 0], minlength=n_classes)
        blocks = ClassBlocks(
            tuple(counts.tolist()), blocks.weights, moments=moments, masses=masses
        )
        Z = encode_rows(module, inputs, blocks.weights)
        if estimator.normalize == "frobenius":
            Z = scale_blocks(Z, blocks)
        return rate_loss(Z, blocks, objective)

    return class_loss if n_classes else views_loss


def _mass_seen(stream):
    """How many rows came before, in a fit or in blocks."""
    return stream["n_seen"] + float(stream["masses"].sum() if "masses" in stream else 0)


def _with_replay(stream, block):
    """Rows of the block, then the kept ones, weighted by how many they stand for."""
    if stream["X"] is None or len(block.classes) == 0:
        return block
    return Rows(
        np.concatenate([block.X, stream["X"].astype(block.X.dtype)]),
        np.concatenate([block.labels, stream["labels"]]),
        np.concatenate([block.mass, _replay_mass(stream)]),
        block.classes,
    )


def _replay_mass(stream):
    """Share the mass that a class has gathered among its kept rows."""
    labels = stream["labels"]
    counts = np.bincount(labels + 1, minlength=len(stream["mass"]))
    return (stream["mass"] / np.maximum(counts, 1))[labels + 1]


def _remember(stream, block):
    """Keep random rows of every class, the same ones for equal streams.

    A row stays as likely as a new one, so those kept are the more recent ones.
    """
    stream["n_seen"] += float(block.mass.sum())
    n_classes = len(block.classes)
    if n_classes == 0:
        return
    # Rows without label are class -1 and come first.
    new = np.bincount(block.labels + 1, block.mass, minlength=n_classes + 1)
    old = stream["mass"]
    stream["mass"] = new if old is None else old + new
    if "moments" in stream:
        share = new[1:] / np.maximum(stream["masses"], 1e-300)
        keep = _DECAY ** np.minimum(share, 10)
        stream["moments"] = stream["moments"] * keep[:, None, None]
        stream["masses"] = stream["masses"] * keep
    X, labels = block.X, block.labels
    if stream["X"] is not None:
        X = np.concatenate([stream["X"].astype(X.dtype), X])
        labels = np.concatenate([stream["labels"], labels])
    most = max(1, min(_KEPT_PER_CLASS, _KEPT // (n_classes + 1)))
    generator = np.random.default_rng(stream["step"])
    kept = []
    for k in range(-1, n_classes):
        own = np.flatnonzero(labels == k)
        kept.append(np.sort(generator.permutation(own)[:most]))
    kept = np.concatenate(kept)
    stream["X"], stream["labels"] = X[kept].copy(), labels[kept]


def _describe(estimator, stream):
    if stream["X"] is None:
        return
    present = np.unique(stream["labels"][stream["labels"] >= 0])
    estimator._typical_norm = float(
        np.linalg.norm(raw_features(estimator, stream["X"]), axis=1).mean()
    )
    if len(present) < len(estimator.classes_):
        return
    rows = Rows(stream["X"], stream["labels"], _replay_mass(stream), estimator.classes_)
    describe(estimator, rows)
