"""How a CRATE learns from a stream of batches."""

import math

import numpy as np
import torch

from sklearn_whitebox._array import resolve_device
from sklearn_whitebox._random import draw_seed
from sklearn_whitebox._threads import torch_threads
from sklearn_whitebox.estimators._crate_cost import count_multiply_adds
from sklearn_whitebox.estimators._crate_ensemble import (
    Ensemble,
    member_seeds,
    network_weights,
    stack_weights,
)
from sklearn_whitebox.estimators._crate_fitting import prepare, read_training, store
from sklearn_whitebox.estimators._crate_task import Task
from sklearn_whitebox.estimators._crate_training import (
    Run,
    Trained,
    check_precision,
    noise_generator,
    prepare_network,
    resolve_rate,
)
from sklearn_whitebox.modules._crate import CRATE
from sklearn_whitebox.solvers._train import TrainSettings, train

# Most rows of a step by default, and steps over which the step size climbs.
_BATCH, _WARM_UP = 128, 20
_CARRIED = ("validation_curve_", "temperature_")


def learn_batch(estimator, X, y, sample_weight, known):
    """Take steps on a batch; see ``partial_fit`` of the estimators.

    Parameters
    ----------
    estimator : BaseCRATE
        Gets new fitted attributes.
    X, y, sample_weight : array-like
        As in ``partial_fit``.
    known : dict
        Attributes of the model so far; without weights at the first call.
    """
    coded, targets = read_training(estimator, X, y, sample_weight, known, is_batch=True)
    fitted = known if "weights_" in known else None
    setup, rows = prepare(estimator, coded, targets, fitted, what="partial_fit")
    stream = known.get("_stream") or _open(estimator, known)
    trained = []
    # Tensors made in the caller's inference_mode could not be trained on.
    with torch.inference_mode(False):
        for member, seed in enumerate(stream["seeds"]):
            warm = None if fitted is None else network_weights(fitted, member)
            run = Run(seed=seed, warm=warm)
            try:
                trained.append(_step(setup, rows, run, estimator, stream, member))
            except FloatingPointError as error:
                raise ValueError(f"{error}; lower it, or scale X.") from error
    weights = stack_weights([one.weights for one in trained])
    ensemble = Ensemble(weights, len(trained), trained, 1.0, set())
    store(estimator, setup, targets, ensemble)
    if fitted is not None:
        estimator.loss_curve_ = fitted["loss_curve_"] + estimator.loss_curve_
        for name in _CARRIED:
            if name in fitted:
                setattr(estimator, name, fitted[name])
    estimator.n_iter_ = len(estimator.loss_curve_)
    best = [estimator.n_iter_] * len(trained)
    estimator.best_iteration_ = best[0] if len(best) == 1 else best
    estimator._stream = {
        "seeds": stream["seeds"],
        "n_steps": stream["n_steps"] + _n_batches(estimator, len(rows.y)),
        "moments": [_as_arrays(one.result.moments) for one in trained],
    }


def _open(estimator, known):
    """Begin a stream, from nothing or from a fitted model."""
    n_ensemble = estimator.n_ensemble
    n_networks = known.get("n_networks_", 1 if n_ensemble == "auto" else n_ensemble)
    seeds = member_seeds(draw_seed(estimator.random_state), n_networks)
    return {"seeds": seeds, "n_steps": 0, "moments": [{}] * n_networks}


def _n_batches(estimator, n_rows):
    size = _BATCH if estimator.batch_size == "auto" else estimator.batch_size
    return math.ceil(n_rows / size)


def _step(setup, rows, run, estimator, stream, member):
    """Take one pass over the rows of a batch with one network."""
    n_rows = len(rows.y)
    n_batches = _n_batches(estimator, n_rows)
    generator = torch.Generator().manual_seed(run.seed + stream["n_steps"])
    module = CRATE(setup.config, generator=generator)
    work = 3 * n_rows / n_batches * count_multiply_adds(module)
    device = resolve_device(setup.device, work=work * n_batches)
    check_precision(setup.precision, device)
    prepare_network(setup, module, run.warm)
    is_double = setup.precision == "float64"
    module.to(device=device, dtype=torch.float64 if is_double else torch.float32)
    task = Task(setup, module, rows, noise_generator(generator, device))
    order = torch.randperm(n_rows, generator=generator).to(device)
    climb = min(1.0, (stream["n_steps"] + n_batches) / _WARM_UP)
    settings = TrainSettings(
        learning_rate=climb * resolve_rate(setup, module),
        max_epochs=1,
        steps_per_epoch=n_batches,
        weight_decay=setup.plan.weight_decay,
        warmup_fraction=0.0,
        schedule="constant",
        autocast=setup.precision == "bfloat16",
        compile=setup.compile,
    )
    with torch_threads(work):
        result = train(
            module,
            task.loss,
            lambda _: order.tensor_split(n_batches),
            settings,
            decayed=CRATE.is_decayed,
            moments=_as_tensors(stream["moments"][member]),
        )
    return Trained(result)


def _as_arrays(moments):
    return {
        name: [part.numpy().copy() for part in parts] for name, parts in moments.items()
    }


def _as_tensors(moments):
    return {
        name: tuple(torch.from_numpy(np.array(part)) for part in parts)
        for name, parts in moments.items()
    }
