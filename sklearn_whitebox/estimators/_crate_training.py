"""Training of one network on rows: what the CRATE estimators' `fit` hands over to."""

import math
from dataclasses import dataclass, field

import numpy as np
import torch
from sklearn import get_config

from sklearn_whitebox._array import check_memory, resolve_device, to_tensor
from sklearn_whitebox._threads import torch_threads
from sklearn_whitebox.estimators._crate_config import (
    FULL_BATCH,
    Plan,
    resolve_learning_rate,
)
from sklearn_whitebox.modules._augment import augment_images
from sklearn_whitebox.modules._crate import CRATE
from sklearn_whitebox.modules._crate_config import CRATEConfig
from sklearn_whitebox.solvers._train import TrainResult, TrainSettings, train

# Most rows sent through the network at once when nothing has to be differentiated.
_CHUNK = 512
# Passes over few rows are repeated until they have so many steps.
_LEAST_STEPS = 10
# A pass has to lower the loss of all rows by so many nats to count as progress.
_TOLERANCE = 1e-4


@dataclass(frozen=True)
class Rows:
    """Rows as the network takes them.

    Parameters
    ----------
    X : ndarray of shape (n_samples, n_inputs)
        Scaled numbers, then codes of categories.
    y : ndarray of shape (n_samples,) or (n_samples, n_outputs)
        Class numbers, or standardised numbers.
    weight : ndarray of shape (n_samples,)
        Weights.
    """

    X: np.ndarray
    y: np.ndarray
    weight: np.ndarray


@dataclass(frozen=True)
class Setup:
    """What all training runs of a fit share.

    Parameters
    ----------
    config : CRATEConfig
        Architecture.
    plan : Plan
        Settings that were resolved.
    edges : ndarray or None
        Edges of the bins of the numeric columns.
    is_classifier : bool
        Whether the loss is the cross-entropy; else the squared error.
    weight_decay, label_smoothing : float
        As the estimators document them.
    patience : int
        Passes without improvement before a stop.
    precision : {"float32", "float64", "bfloat16"}
        Arithmetic of the steps.
    compile : bool
        Whether to compile the network.
    device : str, device or None
        Where to compute.
    augment : str or None
        How to alter images in training.
    keep_on_interrupt : bool
        Whether an interrupt keeps the best weights.
    serial : bool
        Whether each network trains on one thread, whatever its size.
    """

    config: CRATEConfig
    plan: Plan
    edges: np.ndarray | None
    is_classifier: bool
    weight_decay: float
    label_smoothing: float
    patience: int
    precision: str
    compile: bool
    device: object
    augment: str | None
    keep_on_interrupt: bool
    serial: bool


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
    """

    seed: int
    held_out: np.ndarray | None = None
    warm: dict | None = None
    n_epochs: int | None = None
    max_time: float | None = None


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
    outputs: np.ndarray | None = field(default=None)

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
    """
    plan, n_samples = setup.plan, len(rows.y)
    held_out = np.zeros(n_samples, bool) if run.held_out is None else run.held_out
    kept = torch.from_numpy(np.flatnonzero(~held_out))
    n_rows = len(kept)
    generator = torch.Generator().manual_seed(run.seed)
    module = CRATE(setup.config, generator=generator)
    n_batches = math.ceil(n_rows / plan.batch_size)
    work = 3 * min(plan.batch_size, n_rows) * count_multiply_adds(module)
    n_repeats = math.ceil(_LEAST_STEPS / n_batches)
    settings = _settings(setup, run, n_batches * n_repeats, module)
    device = resolve_device(
        setup.device, work=work * settings.max_epochs * settings.steps_per_epoch
    )
    check_precision(setup.precision, device)
    _check_attention_memory(module, min(plan.batch_size, n_rows))
    exact = n_batches == 1 and is_exact(setup, n_rows)
    is_double = exact or setup.precision == "float64"
    prepare_network(setup, module, run.warm)
    module.to(device=device, dtype=torch.float64 if is_double else torch.float32)
    noise = None if exact else noise_generator(generator, device)
    task = Task(setup, module, rows, noise)
    watch = task.watch(held_out, watched)

    def batches(epoch):
        for _ in range(n_repeats):
            order = kept
            if not exact:
                order = kept[torch.randperm(n_rows, generator=generator)]
            yield from order.to(device).tensor_split(n_batches)

    if exact and watch is None:
        callback = _StopOnPlateau(callback, setup.patience)
    with torch_threads(0 if setup.serial else work):
        result = train(
            module,
            task.loss,
            batches,
            settings,
            decayed=CRATE.is_decayed,
            validate=None if watch is None else watch.loss,
            callback=callback,
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
        weight_decay=setup.weight_decay,
        warmup_fraction=plan.warmup_fraction,
        beta2=plan.beta2,
        average=plan.average,
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
    return torch.Generator(device=device).manual_seed(seed)


class Task:
    """Rows on the device of the network, and the loss on them.

    Parameters
    ----------
    setup : Setup
        Says which loss.
    module : CRATE
        Network.
    rows : Rows
        Training rows.
    noise : torch.Generator or None
        Source of dropout and of altered images; None for none.
    """

    def __init__(self, setup, module, rows, noise):
        self._setup, self._module, self._noise = setup, module, noise
        self._X, self._y, self._weight = self._load(rows)

    def loss(self, batch):
        """Give the weighted training loss, the mean of that of all members."""
        X = self._X[batch]
        if self._setup.augment is not None and self._noise is not None:
            shape = self._setup.config.image_shape
            X = augment_images(X.reshape(-1, *shape), self._noise).flatten(1)
        outputs = self._module(X, self._noise)
        losses = self._losses(outputs, self._y[batch], smooth=True)
        return (self._weight[batch] * losses).mean()

    def watch(self, held_out, given):
        """Gather the rows to watch.

        Parameters
        ----------
        held_out : ndarray of bool
            Training rows held out.
        given : Rows or None
            Further rows.

        Returns
        -------
        watch : Watch or None
            None if there is nothing to watch.
        """
        parts = []
        if held_out.any():
            chosen = torch.from_numpy(np.flatnonzero(held_out)).to(self._X.device)
            parts.append((self._X[chosen], self._y[chosen], self._weight[chosen]))
        if given is not None:
            parts.append(self._load(given))
        if not parts:
            return None
        joined = (torch.cat(part) for part in zip(*parts, strict=True))
        return Watch(self._module, *joined, is_classifier=self._setup.is_classifier)

    def _losses(self, outputs, y, *, smooth):
        members = outputs if outputs.ndim == 3 else outputs[:, None]
        if not self._setup.is_classifier:
            return (members - y[:, None]).square().mean((1, 2))
        n_members = members.shape[1]
        losses = torch.nn.functional.cross_entropy(
            members.flatten(0, 1),
            y.repeat_interleave(n_members) if n_members > 1 else y,
            reduction="none",
            label_smoothing=self._setup.label_smoothing if smooth else 0.0,
        )
        return losses.reshape(-1, n_members).mean(1)

    def _load(self, rows):
        parameter = next(self._module.parameters())
        device, dtype = parameter.device, parameter.dtype
        y = to_tensor(rows.y, device=device)
        return (
            to_tensor(rows.X, device=device, dtype=dtype),
            y if self._setup.is_classifier else y.to(dtype),
            to_tensor(rows.weight, device=device, dtype=dtype),
        )


class Watch:
    """Rows that early stopping watches.

    Parameters
    ----------
    module : CRATE
        Network.
    X, y, weight : Tensor
        Rows, on the device of the network.
    is_classifier : bool
        Whether the loss is the log-loss; else the mean squared error.
    """

    def __init__(self, module, X, y, weight, *, is_classifier):
        self._module, self._X, self._y, self._weight = module, X, y, weight
        self._is_classifier = is_classifier

    def outputs(self):
        """Give the outputs of the network, in parts of bounded size."""
        parts = self._X.split(rows_at_once(self._module))
        return torch.cat([self._module(part) for part in parts])

    def loss(self):
        """Give the weighted loss of the members' mean, without smoothing."""
        outputs = self.outputs().float()
        if self._is_classifier:
            logs = member_mean_logs(outputs)
            losses = -logs.gather(1, self._y[:, None])[:, 0]
        else:
            mean = outputs.mean(1) if outputs.ndim == 3 else outputs
            losses = (mean - self._y).square().mean(1)
        return float(self._weight.to(losses) @ losses / self._weight.sum())


def member_mean_logs(outputs):
    """Give the logarithms of the members' mean probabilities.

    Parameters
    ----------
    outputs : Tensor of shape (n_samples, n_classes) or \
            (n_samples, n_members, n_classes)
        Logits.

    Returns
    -------
    logs : Tensor of shape (n_samples, n_classes)
        Logarithms.
    """
    logs = outputs.log_softmax(-1)
    if logs.ndim == 2:
        return logs
    return logs.logsumexp(1) - math.log(logs.shape[1])


class _StopOnPlateau:
    """Stop when the training loss, which has no noise here, no longer falls."""

    def __init__(self, callback, patience):
        self._callback, self._patience = callback, patience
        self._best, self._waited = math.inf, 0

    def __call__(self, epoch, loss):
        if loss < self._best - _TOLERANCE:
            self._best, self._waited = loss, 0
        else:
            self._waited += 1
        return self._callback(epoch, loss) or self._waited >= self._patience


def _check_attention_memory(module, n_rows):
    n_rows = n_rows * module.config.n_members
    check_memory(
        3 * module.config.n_layers * n_rows * attention_bytes(module, 4),
        what=f"Attention among {module.tokens.n_tokens + 1} tokens",
        remedy="use attention='tssa', a larger patch_size, tokens='dense' or "
        "a smaller batch_size",
    )


def attention_bytes(module, itemsize):
    """Give the size of the attention weights of a row in a layer.

    Parameters
    ----------
    module : CRATE
        Network, on any device.
    itemsize : int
        Bytes of a number.

    Returns
    -------
    n_bytes : float
        Bytes; zero for attention by second moments.
    """
    if module.config.attention != "mssa":
        return 0.0
    return float(itemsize * module.config.n_heads * (module.tokens.n_tokens + 1) ** 2)


def rows_at_once(module):
    """Choose how many rows go through the network without being differentiated.

    Parameters
    ----------
    module : CRATE
        Network, on any device.

    Returns
    -------
    n_rows : int
        Up to 512, fewer where their attention would be larger than scikit-learn's
        ``working_memory``.
    """
    # Logits, exponentials and weights live at the same time, in double precision.
    per_row = 3 * attention_bytes(module, 8) * module.config.n_members
    budget = get_config()["working_memory"] * 2**20
    return int(min(max(budget // per_row, 1), _CHUNK)) if per_row else _CHUNK


def count_multiply_adds(module):
    """Count the multiply-adds of the forward pass of one row.

    Parameters
    ----------
    module : CRATE
        Network, on any device.

    Returns
    -------
    work : float
        Multiply-adds of the matrix products.
    """
    config, n_tokens = module.config, module.tokens.n_tokens + 1
    work = 0
    for name, parameter in module.named_parameters():
        if name.startswith("layers.") and parameter.ndim == 2:
            repeats = 2 if name.endswith("sparsify.dictionary") else 1
            work += repeats * parameter.numel() * n_tokens
    if config.attention == "mssa":
        work += 2 * config.n_layers * n_tokens**2 * config.inner_width
    # Members share the tokens that enter them, but not the layers' work.
    work *= config.n_members
    repeats = n_tokens if config.tokens == "patch" else 1
    work += repeats * sum(p.numel() for p in module.tokens.parameters())
    return float(work)
