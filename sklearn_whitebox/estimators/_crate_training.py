"""Training of one network on rows: what the CRATE estimators' `fit` hands over to."""

import math
from dataclasses import dataclass

import numpy as np
import torch

from sklearn_whitebox._array import check_memory, resolve_device
from sklearn_whitebox._threads import torch_threads
from sklearn_whitebox.estimators._crate_config import (
    FULL_BATCH,
    LEAST_STEPS,
    resolve_learning_rate,
)
from sklearn_whitebox.estimators._crate_cost import (
    attention_bytes,
    count_multiply_adds,
)
from sklearn_whitebox.estimators._crate_task import Task
from sklearn_whitebox.modules._crate import CRATE
from sklearn_whitebox.solvers._train import TrainResult, TrainSettings, train

# A pass has to lower the loss of all rows by so many nats to count as progress.
_TOLERANCE = 1e-4


@dataclass(frozen=True)
class Run:
    """What is particular to one training run.

    Parameters
    ----------
    seed : int
        Source of weights, order and dropout.
    held_out : ndarray of bool or None
        Rows to watch instead of training on them; None trains on all.
    warm : dict of str to ndarray or None
        Weights to start from.
    n_epochs : int or None
        Train so many passes; None trains `max_iter` of them at most.
    max_time : float or None
        Most seconds.
    name : str
        What a journal calls it.
    """

    seed: int
    held_out: np.ndarray | None = None
    warm: dict | None = None
    n_epochs: int | None = None
    max_time: float | None = None
    name: str = ""


@dataclass(frozen=True)
class Trained:
    """What a training run leaves.

    Parameters
    ----------
    result : TrainResult
        Best weights and history.
    outputs : ndarray or None
        Outputs of the network for the rows that were watched.
    """

    result: TrainResult
    outputs: np.ndarray | None = None

    @property
    def weights(self):
        """The weights as arrays."""
        return {n: w.numpy().copy() for n, w in self.result.weights.items()}


def train_network(setup, rows, watched, run, callback):
    """Train a network, and keep its best weights if rows are watched.

    Parameters
    ----------
    setup : Setup
        What all runs share.
    rows : Rows
        Training rows, those to hold out included.
    watched : Rows or None
        Rows to watch besides those held out.
    run : Run
        What is particular to this run.
    callback : callable
        Called after every pass, see :func:`sklearn_whitebox.solvers.train`.

    Returns
    -------
    trained : Trained
        Best weights, history, and outputs for the rows watched.

    Notes
    -----
    A journal has four methods: ``finished(name)`` gives what a run of that name left,
    ``unfinished(name)`` where it stood (a `TrainState` and the states of generators),
    or None; ``keep(name, state, generators)`` and ``finish(name, trained)`` note them.
    """
    journal = setup.journal
    trained = None if journal is None else journal.finished(run.name)
    if trained is None:
        trained = _train(setup, rows, watched, run, callback)
        if journal is not None:
            journal.finish(run.name, trained)
    return trained


def _train(setup, rows, watched, run, callback):
    plan, n_samples = setup.plan, len(rows.y)
    held_out = np.zeros(n_samples, bool) if run.held_out is None else run.held_out
    kept = torch.from_numpy(np.flatnonzero(~held_out))
    n_rows = len(kept)
    _check_size(CRATE(setup.config, device="meta"), min(plan.batch_size, n_rows))
    generator = setup.team.generator().manual_seed(run.seed)
    module = CRATE(setup.config, generator=generator)
    n_batches = math.ceil(n_rows / plan.batch_size)
    work = 3 * min(plan.batch_size, n_rows) * count_multiply_adds(module)
    n_repeats = math.ceil(LEAST_STEPS / n_batches)
    settings = _settings(setup, run, n_batches * n_repeats, module)
    device = resolve_device(
        setup.device, work=work * settings.max_epochs * settings.steps_per_epoch
    )
    check_precision(setup.precision, device)
    exact = n_batches == 1 and is_exact(setup, n_rows)
    is_double = exact or setup.precision == "float64"
    prepare_network(setup, module, run.warm)
    module.to(device=device, dtype=torch.float64 if is_double else torch.float32)
    noise = None if exact else noise_generator(generator, device)
    task = Task(setup, module, rows, noise)
    watch = task.watch(held_out, watched)
    memory = _Memory(setup.journal, run.name, [generator, noise])

    def batches(epoch):
        for _ in range(n_repeats):
            order = kept
            if not exact:
                order = kept[torch.randperm(n_rows, generator=generator)]
            yield from order.to(device).tensor_split(n_batches)

    if exact and watch is None:
        callback = _StopOnPlateau(callback, setup.patience, memory.loss_curve)
    with torch_threads(0 if setup.serial else work):
        result = train(
            module,
            task.loss,
            batches,
            settings,
            decayed=CRATE.is_decayed,
            validate=None if watch is None else watch.loss,
            callback=callback,
            team=setup.team,
            start=memory.start,
            keep=memory.keep,
        )
        if watch is None:
            return Trained(result)
        module.load_state_dict(result.weights)
        with torch.inference_mode(False), torch.no_grad():
            return Trained(result, watch.outputs().cpu().double().numpy())


def _settings(setup, run, steps_per_epoch, module):
    plan = setup.plan
    return TrainSettings(
        learning_rate=resolve_rate(setup, module),
        max_epochs=run.n_epochs or plan.max_iter,
        steps_per_epoch=steps_per_epoch,
        weight_decay=plan.weight_decay,
        patience=setup.patience if plan.early_stopping else None,
        keep_best=plan.early_stopping,
        max_time=run.max_time,
        keep_on_interrupt=setup.keep_on_interrupt,
        autocast=setup.precision == "bfloat16",
        compile=setup.compile,
    )


def resolve_rate(setup, module):
    """Give the peak step size.

    Parameters
    ----------
    setup : Setup
        Settings.
    module : CRATE
        Network.

    Returns
    -------
    learning_rate : float
        For AdamW.
    """
    if setup.plan.learning_rate is not None:
        return setup.plan.learning_rate
    n_weights = sum(p.numel() for p in module.parameters())
    is_image = setup.config.tokens == "patch"
    return resolve_learning_rate(n_weights, is_image=is_image)


def prepare_network(setup, module, weights=None):
    """Put the bins, and weights if there are any, into a network.

    Parameters
    ----------
    setup : Setup
        Knows the bins.
    module : CRATE
        Changed in place.
    weights : dict of str to ndarray or None, default=None
        State to load.
    """
    if weights is not None:
        module.load_state_dict({name: torch.tensor(w) for name, w in weights.items()})
    elif setup.edges is not None:
        module.tokens.set_edges(torch.from_numpy(setup.edges).float())


def is_exact(setup, n_rows):
    """Tell whether steps on all rows are taken without any noise.

    Parameters
    ----------
    setup : Setup
        Settings.
    n_rows : int
        Number of training rows.

    Returns
    -------
    exact : bool
        True for few rows, or in double precision; never for images to be altered.
    """
    if setup.augment is not None:
        return False
    few = n_rows <= FULL_BATCH and setup.precision == "float32"
    return few or setup.precision == "float64"


def check_precision(precision, device):
    """Refuse bfloat16 where it would be slower than what it saves.

    Parameters
    ----------
    precision : str
        The parameter.
    device : torch.device
        Where to compute.

    Raises
    ------
    ValueError
        If it is ``"bfloat16"`` and the device is no CUDA device.
    """
    if precision == "bfloat16" and device.type != "cuda":
        raise ValueError(
            f"precision='bfloat16' needs a CUDA device, but training runs on "
            f"'{device}'; use precision='float32' or device='cuda'."
        )


def noise_generator(generator, device):
    """Give the source of dropout and the like, on the device that needs it.

    Parameters
    ----------
    generator : torch.Generator
        On the CPU.
    device : torch.device
        Where to compute.

    Returns
    -------
    noise : torch.Generator
        The same on the CPU; elsewhere one of its own, since draws on the CPU would have
        to travel at every step.
    """
    if device.type == "cpu":
        return generator
    seed = int(torch.randint(2**62, (), generator=generator))
    return type(generator)(device=device).manual_seed(seed)


class _StopOnPlateau:
    """Stop when the training loss, which has no noise here, no longer falls."""

    def __init__(self, callback, patience, past):
        self._callback, self._patience = callback, patience
        self._best, self._waited = math.inf, 0
        for loss in past:
            self._note(loss)

    def __call__(self, epoch, loss):
        self._note(loss)
        return self._callback(epoch, loss) or self._waited >= self._patience

    def _note(self, loss):
        if loss < self._best - _TOLERANCE:
            self._best, self._waited = loss, 0
        else:
            self._waited += 1


class _Memory:
    """What a journal knows of a run, and how to tell it more."""

    def __init__(self, journal, name, generators):
        self._journal, self._name = journal, name
        self._generators = [g for g in generators if g is not None]
        found = None if journal is None else journal.unfinished(name)
        self.start, states = (None, []) if found is None else found
        for generator, state in zip(self._generators, states, strict=bool(states)):
            _set_state(generator, state)
        self.loss_curve = [] if self.start is None else self.start.loss_curve
        self.keep = None if journal is None else self._keep

    def _keep(self, state):
        states = [generator.get_state() for generator in self._generators]
        self._journal.keep(self._name, state, states)


def _check_size(frame, n_rows):
    """Refuse a network, or steps of it, that would not fit the memory."""
    config, n_weights = frame.config, sum(p.numel() for p in frame.parameters())
    check_memory(
        # Gradients, two moments and the best weights are as large.
        5 * 4 * n_weights,
        what=f"Training {n_weights} weights",
        remedy="use fewer features or bins, or a smaller d_token or n_tokens",
    )
    check_memory(
        3 * config.n_layers * n_rows * config.n_members * attention_bytes(frame, 4),
        what=f"Attention among {frame.tokens.n_tokens + 1} tokens",
        remedy="use attention='tssa', a larger patch_size, tokens='dense' or "
        "a smaller batch_size",
    )


def _set_state(generator, state):
    # Generators of CPUs and GPUs have nothing in common.
    if state.numel() != generator.get_state().numel():
        raise ValueError(
            "The checkpoint is of a network that was trained on another kind of device "
            f"than '{generator.device.type}'; go on where it began, or delete "
            "progress.safetensors to train that network from its beginning."
        )
    generator.set_state(state)
