"""The one mini-batch loop: batches, optimiser, schedule, early stopping, history."""

import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

import torch
from torch import Tensor, nn

Callback = Callable[[int, float], bool]


@dataclass(frozen=True)
class TrainSettings:
    """How :func:`train` steps and when it stops.

    Parameters
    ----------
    learning_rate : float
        Peak rate of AdamW.
    max_epochs : int
        Most passes over the batches.
    steps_per_epoch : int
        Batches of one pass; sets the length of the schedule.
    weight_decay : float, default=0.0
        Decoupled decay, on the parameters that `decayed` names.
    warmup_fraction : float, default=0.05
        Share of all steps over which the rate climbs linearly; then it falls to zero by
        a cosine.
    max_grad_norm : float or None, default=1.0
        Clip the norm of the whole gradient to this.
    patience : int or None, default=None
        Stop after this many epochs without a better validation loss.
    """

    learning_rate: float
    max_epochs: int
    steps_per_epoch: int
    weight_decay: float = 0.0
    warmup_fraction: float = 0.05
    max_grad_norm: float | None = 1.0
    patience: int | None = None


@dataclass
class TrainResult:
    """Weights and history of a training run.

    Parameters
    ----------
    weights : dict of str to Tensor
        State of the best epoch by validation loss, else of the last one, on the CPU.
    loss_curve : list of float
        Mean training loss of every epoch.
    validation_curve : list of float
        Validation loss after every epoch; empty without validation.
    best_iter : int
        Epoch the weights are of, from 1.
    """

    weights: dict[str, Tensor] = field(default_factory=dict)
    loss_curve: list[float] = field(default_factory=list)
    validation_curve: list[float] = field(default_factory=list)
    best_iter: int = 0


def train(
    module: nn.Module,
    loss: Callable[[Tensor], Tensor],
    batches: Callable[[int], Iterable[Tensor]],
    settings: TrainSettings,
    *,
    decayed: Callable[[str, nn.Parameter], bool] | None = None,
    validate: Callable[[], float] | None = None,
    callback: Callback | None = None,
) -> TrainResult:
    """Minimise a mini-batch loss over the parameters of a module, in place.

    Parameters
    ----------
    module : Module
        Trained in place; put in training mode for steps, evaluation mode to validate.
    loss : callable
        Maps a tensor of row numbers to a scalar that can be differentiated.
    batches : callable
        Maps the epoch number to the row numbers of its batches. All randomness is
        here: it owns the generator.
    settings : TrainSettings
        Step sizes and stop rules.
    decayed : callable, default=None
        Tells from name and parameter whether weight decay applies; None means
        parameters of two dimensions and more.
    validate : callable, default=None
        Gives a validation loss, smaller is better.
    callback : callable, default=None
        Called as ``callback(epoch, loss)`` after each epoch; True stops training.

    Returns
    -------
    result : TrainResult
        Best weights and history.

    Raises
    ------
    FloatingPointError
        If the loss stops being finite.
    """
    optimizer = _make_optimizer(module, settings, decayed)
    total_steps = max(1, settings.max_epochs * settings.steps_per_epoch)
    result = TrainResult()
    best, step = math.inf, 0
    for epoch in range(settings.max_epochs):
        module.train()
        running, n_batches = 0.0, 0
        for rows in batches(epoch):
            _set_rate(optimizer, settings, step / total_steps)
            value = _take_step(module, loss, rows, optimizer, settings)
            if not math.isfinite(value):
                raise FloatingPointError(
                    f"the training loss became {value} in epoch {epoch + 1} at "
                    f"learning_rate={settings.learning_rate}; lower it, or scale X."
                )
            running, n_batches, step = running + value, n_batches + 1, step + 1
        result.loss_curve.append(running / max(n_batches, 1))
        module.eval()
        watched = result.loss_curve[-1]
        if validate is not None:
            with torch.no_grad():
                watched = validate()
            result.validation_curve.append(watched)
        if validate is None or watched < best:
            best, result.best_iter = watched, epoch + 1
            if validate is not None:
                result.weights = _copy_state(module)
        if callback is not None and callback(epoch, watched):
            break
        waited = epoch + 1 - result.best_iter
        if settings.patience is not None and waited >= settings.patience:
            break
    if not result.weights:
        result.weights = _copy_state(module)
    return result


def _take_step(
    module: nn.Module,
    loss: Callable[[Tensor], Tensor],
    rows: Tensor,
    optimizer: torch.optim.Optimizer,
    settings: TrainSettings,
) -> float:
    # Fitting must work inside the caller's no_grad and inference_mode.
    with torch.inference_mode(False), torch.enable_grad():
        optimizer.zero_grad(set_to_none=True)
        value = loss(rows)
        value.backward()  # type: ignore[no-untyped-call]
        if settings.max_grad_norm is not None:
            nn.utils.clip_grad_norm_(module.parameters(), settings.max_grad_norm)
        optimizer.step()
    return float(value.detach())


def _make_optimizer(
    module: nn.Module,
    settings: TrainSettings,
    decayed: Callable[[str, nn.Parameter], bool] | None,
) -> torch.optim.Optimizer:
    if decayed is None:

        def decayed(name: str, parameter: nn.Parameter) -> bool:
            return parameter.ndim >= 2

    groups: dict[bool, list[nn.Parameter]] = {True: [], False: []}
    for name, parameter in module.named_parameters():
        groups[decayed(name, parameter)].append(parameter)
    return torch.optim.AdamW(
        [
            {"params": groups[True], "weight_decay": settings.weight_decay},
            {"params": groups[False], "weight_decay": 0.0},
        ],
        lr=settings.learning_rate,
        # One kernel for all parameters: small networks spend more on the step than on
        # the gradient otherwise.
        fused=all(p.device.type in ("cpu", "cuda") for p in module.parameters()),
    )


def _set_rate(
    optimizer: torch.optim.Optimizer, settings: TrainSettings, progress: float
) -> None:
    warmup = settings.warmup_fraction
    if progress < warmup:
        factor = (progress + 1e-3) / (warmup + 1e-3)
    else:
        factor = 0.5 * (1 + math.cos(math.pi * (progress - warmup) / (1 - warmup)))
    for group in optimizer.param_groups:
        group["lr"] = settings.learning_rate * factor


def _copy_state(module: nn.Module) -> dict[str, Tensor]:
    return {
        name: value.detach().to("cpu", copy=True)
        for name, value in module.state_dict().items()
    }
