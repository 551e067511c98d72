"""Training of a CRATE on labelled rows: what the classifier's `fit` hands over to."""

import math
from dataclasses import dataclass

import numpy as np
import torch
from sklearn import get_config

from sklearn_whitebox._array import check_memory, resolve_device, to_tensor
from sklearn_whitebox._threads import torch_threads
from sklearn_whitebox.modules._crate import CRATE
from sklearn_whitebox.solvers._train import TrainSettings, train

# Most rows sent through the network at once when nothing has to be differentiated.
_CHUNK = 512
# Up to so many rows a step sees all of them, in their order, in double precision and
# without dropout: it costs nothing there, and an integer weight is a repetition.
_FULL_BATCH = 64
# Passes over few rows are repeated until they have so many steps.
_LEAST_STEPS = 10
# With fewer rows a held-out part says too little to stop by.
_LEAST_ROWS_TO_STOP = 50
# A pass has to lower the loss of all rows by so many nats to count as progress.
_TOLERANCE = 1e-4


@dataclass(frozen=True)
class Training:
    """How to train a CRATE; the classifier documents the settings."""

    max_iter: int
    batch_size: int | str
    learning_rate: float | str
    weight_decay: float
    label_smoothing: float
    held_out: float
    patience: int
    device: object


def train_crate(config, data, training, *, generator, warm, callback):
    """Train a network, and keep its best weights if rows are held out.

    Parameters
    ----------
    config : CRATEConfig
        Architecture.
    data : (ndarray, ndarray, ndarray)
        Scaled rows, class numbers and weights with mean one.
    training : Training
        Settings.
    generator : Generator
        Source of weights, held-out rows, order and dropout.
    warm : dict of str to ndarray or None
        Weights to start from.
    callback : callable
        Called after every pass, see :func:`sklearn_whitebox.solvers.train`.

    Returns
    -------
    module : CRATE
        The network after the last pass.
    result : TrainResult
        Best weights and history.
    """
    labels = data[1]
    held_out = np.zeros(len(labels), dtype=bool)
    if training.held_out and len(labels) >= _LEAST_ROWS_TO_STOP:
        held_out = _hold_out(labels, training.held_out, generator)
    n_rows = int((~held_out).sum())
    batch_size = _resolve_batch_size(training.batch_size, n_rows)
    n_batches = math.ceil(n_rows / batch_size)
    module = CRATE(config, generator=generator)
    work = 3 * min(batch_size, n_rows) * count_multiply_adds(module)
    n_steps = training.max_iter * max(n_batches, _LEAST_STEPS)
    device = resolve_device(training.device, work=work * n_steps)
    whole = n_batches == 1
    n_repeats = math.ceil(_LEAST_STEPS / n_batches)
    dtype = torch.float64 if whole else torch.float32
    _check_attention_memory(module, min(batch_size, n_rows))
    module.to(device=device, dtype=dtype)
    if warm is not None:
        module.load_state_dict({name: torch.tensor(w) for name, w in warm.items()})

    rows = _Rows(module, data, training, None if whole else generator)
    kept = torch.from_numpy(np.flatnonzero(~held_out))
    watched = torch.from_numpy(np.flatnonzero(held_out)).to(device)

    def batches(epoch):
        for _ in range(n_repeats):
            order = kept
            if not whole:
                order = kept[torch.randperm(n_rows, generator=generator)]
            yield from order.tensor_split(n_batches)

    settings = TrainSettings(
        learning_rate=_resolve_learning_rate(training.learning_rate, module),
        max_epochs=training.max_iter,
        steps_per_epoch=n_batches * n_repeats,
        weight_decay=training.weight_decay,
        patience=training.patience if held_out.any() else None,
    )
    if whole and not held_out.any():
        callback = _StopOnPlateau(callback, training.patience)
    try:
        with torch_threads(work):
            result = train(
                module,
                rows.loss,
                batches,
                settings,
                decayed=CRATE.is_decayed,
                validate=(lambda: rows.log_loss(watched)) if held_out.any() else None,
                callback=callback,
            )
    except FloatingPointError as error:
        raise ValueError(str(error)) from error
    return module, result


class _Rows:
    """Training rows on the device of the network, and its losses on them."""

    def __init__(self, module, data, training, generator):
        parameter = next(module.parameters())
        device, dtype = parameter.device, parameter.dtype
        self._module, self._generator = module, generator
        self._smoothing = training.label_smoothing
        self._X = to_tensor(data[0], device=device, dtype=dtype)
        self._y = to_tensor(data[1], device=device)
        self._weight = to_tensor(data[2], device=device, dtype=dtype)

    def loss(self, batch):
        """Weighted, smoothed cross-entropy, with dropout if there is a generator."""
        batch = batch.to(self._X.device)
        losses = torch.nn.functional.cross_entropy(
            self._module(self._X[batch], self._generator),
            self._y[batch],
            reduction="none",
            label_smoothing=self._smoothing,
        )
        return (self._weight[batch] * losses).mean()

    def log_loss(self, rows):
        """Weighted cross-entropy without smoothing, in parts of bounded size."""
        losses = [
            torch.nn.functional.cross_entropy(
                self._module(self._X[part]), self._y[part], reduction="none"
            )
            for part in rows.split(rows_at_once(self._module))
        ]
        weight = self._weight[rows]
        return float(weight @ torch.cat(losses) / weight.sum())


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


def _resolve_batch_size(batch_size, n_rows):
    if batch_size != "auto":
        return int(batch_size)
    if n_rows <= _FULL_BATCH:
        return _FULL_BATCH
    return min(max(2 ** math.ceil(math.log2(n_rows / 32)), 32), 512)


def _resolve_learning_rate(learning_rate, module):
    if learning_rate != "auto":
        return float(learning_rate)
    if sum(p.numel() for p in module.parameters()) > 1e6:
        return 1e-3
    return 3e-3 if module.config.tokens == "patch" else 2e-3


def _check_attention_memory(module, n_rows):
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
    per_row = 3 * attention_bytes(module, 8)
    budget = get_config()["working_memory"] * 2**20
    return int(min(max(budget // per_row, 1), _CHUNK)) if per_row else _CHUNK


def _hold_out(labels, fraction, generator):
    """Mark a share of every class, leaving at least one row of it for training."""
    held_out = np.zeros(len(labels), dtype=bool)
    for label in np.unique(labels):
        members = np.flatnonzero(labels == label)
        order = torch.randperm(len(members), generator=generator).numpy()
        size = min(round(fraction * len(members)), len(members) - 1)
        held_out[members[order[:size]]] = True
    return held_out


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
    repeats = n_tokens if config.tokens == "patch" else 1
    work += repeats * sum(p.numel() for p in module.tokens.parameters())
    if config.attention == "mssa":
        work += 2 * config.n_layers * n_tokens**2 * config.inner_width
    return float(work)
