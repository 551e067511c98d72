"""The one mini-batch loop: batches, optimiser, schedule, early stopping, history."""

import math
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Literal

import torch
from torch import Tensor, nn

from sklearn_whitebox.solvers._flat_adam import FlatAdamW, Moments
from sklearn_whitebox.solvers._team import ALONE, Team

Callback = Callable[[int, float], bool]
Validate = Callable[[], float]


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
    beta2 : float, default=0.999
        Forgetting factor of the second moments of the gradient.
    schedule : {"cosine", "constant"}, default="cosine"
        Whether the rate falls after the warm-up.
    keep_best : bool, default=True
        Keep the weights of the best validation loss rather than the last ones.
    max_time : float or None, default=None
        Stop after so many seconds, in the middle of a pass if need be. The rate falls
        with the time where that passes faster than the steps.
    keep_on_interrupt : bool, default=False
        Stop at ``KeyboardInterrupt`` instead of passing it on, if a pass was done.
    autocast : bool, default=False
        Compute losses in bfloat16 where torch thinks it safe; for CUDA.
    compile : bool, default=False
        Compile the module first.
    """

    learning_rate: float
    max_epochs: int
    steps_per_epoch: int
    weight_decay: float = 0.0
    warmup_fraction: float = 0.05
    max_grad_norm: float | None = 1.0
    patience: int | None = None
    beta2: float = 0.999
    schedule: Literal["cosine", "constant"] = "cosine"
    keep_best: bool = True
    max_time: float | None = None
    keep_on_interrupt: bool = False
    autocast: bool = False
    compile: bool = False


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
    stopped : {"", "callback", "patience", "time", "interrupt"}
        Why training ended before its last epoch; empty if it did not.
    moments : dict of str to (Tensor, Tensor, Tensor)
        State of the optimiser after the last step, if one was given to go on from.
    """

    weights: dict[str, Tensor] = field(default_factory=dict)
    loss_curve: list[float] = field(default_factory=list)
    validation_curve: list[float] = field(default_factory=list)
    best_iter: int = 0
    stopped: str = ""
    moments: Moments = field(default_factory=dict)


@dataclass
class TrainState:
    """Where a training run stands between two passes.

    Parameters
    ----------
    weights : dict of str to Tensor
        State of the module, on the CPU as all tensors here.
    moments : dict of str to (Tensor, Tensor, Tensor)
        State of the optimiser.
    kept : dict of str to Tensor
        Weights of the best epoch so far; empty where they are not kept.
    loss_curve, validation_curve : list of float
        As in :class:`TrainResult`.
    best_iter : int
        Epoch of the best loss, from 1.
    best : float
        Best loss.
    step : int
        Steps taken.
    """

    weights: dict[str, Tensor]
    moments: Moments
    kept: dict[str, Tensor]
    loss_curve: list[float]
    validation_curve: list[float]
    best_iter: int
    best: float
    step: int


def train(
    module: nn.Module,
    loss: Callable[[Tensor], Tensor],
    batches: Callable[[int], Iterable[Tensor]],
    settings: TrainSettings,
    *,
    decayed: Callable[[str, nn.Parameter], bool] | None = None,
    validate: Validate | None = None,
    callback: Callback | None = None,
    moments: Moments | None = None,
    team: Team = ALONE,
    start: TrainState | None = None,
    keep: Callable[[TrainState], None] | None = None,
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
    moments : dict of str to (Tensor, Tensor, Tensor), default=None
        State of the optimiser to go on from, of an earlier result; an empty one starts
        afresh. None starts afresh and keeps no state.
    team : Team, default=ALONE
        Processes that take the same steps. The mean of their losses is the loss, and
        whoever gives the loss sees to the mean of their gradients.
    start : TrainState, default=None
        Where to go on from, as `keep` got it; None starts afresh.
    keep : callable, default=None
        Called with the state after every pass but the last.

    Returns
    -------
    result : TrainResult
        Best weights and history.

    Raises
    ------
    FloatingPointError
        If the loss stops being finite.

    Notes
    -----
    The parameters are laid out in a few vectors, see
    ``FlatAdamW`` in ``solvers/_flat_adam.py``. On the CPU the loss is read
    after every step; on other devices, where reading waits for them, and in a team,
    where all must stop together, once an epoch.
    """
    run = _Run(module, loss, settings, decayed, moments, team)
    result = run.result
    if start is not None:
        run.resume(start)
    try:
        for epoch in range(len(result.loss_curve), settings.max_epochs):
            run.take_steps(epoch, batches(epoch))
            watched = run.finish_epoch(validate)
            halted = callback is not None and callback(epoch, watched)
            if team.largest(float(bool(halted))):
                result.stopped = "callback"
            waited = epoch + 1 - result.best_iter
            if settings.patience is not None and waited >= settings.patience:
                result.stopped = result.stopped or "patience"
            if result.stopped:
                break
            if keep is not None and epoch + 1 < settings.max_epochs:
                keep(run.state())
    except KeyboardInterrupt:
        if not (settings.keep_on_interrupt and result.loss_curve):
            raise
        result.stopped = "interrupt"
    finally:
        module.eval()
    return run.close()


class _Run:
    """One training run: the optimiser, where it stands and what it keeps."""

    def __init__(
        self,
        module: nn.Module,
        loss: Callable[[Tensor], Tensor],
        settings: TrainSettings,
        decayed: Callable[[str, nn.Parameter], bool] | None,
        moments: Moments | None,
        team: Team,
    ) -> None:
        self._module, self._loss, self._settings = module, loss, settings
        self._decayed, self._team = decayed, team
        self.result = TrainResult()
        self._optimizer = self._make_optimizer(moments)
        self._keeps_moments = moments is not None
        self._kept: dict[str, Tensor] = {}
        self._best, self._step = math.inf, 0
        self._start = time.monotonic()
        self._n_steps = max(1, settings.max_epochs * settings.steps_per_epoch)
        self._device = next(module.parameters()).device
        if settings.compile:
            module.compile()

    def resume(self, state: TrainState) -> None:
        """Go on from where another run stood."""
        with torch.no_grad():
            # Loading could derive other tensors anew, and from rounded ones.
            for name, weight in self._module.state_dict().items():
                weight.copy_(state.weights[name])
        self._optimizer = self._make_optimizer(state.moments)
        self._optimizer.lay_out()
        self._kept = {n: w.to(self._device) for n, w in state.kept.items()}
        self._best, self._step = state.best, state.step
        self.result.loss_curve = list(state.loss_curve)
        self.result.validation_curve = list(state.validation_curve)
        self.result.best_iter = state.best_iter

    def state(self) -> TrainState:
        """Tell where the run stands."""
        return TrainState(
            weights=_on_cpu(_copy_state(self._module)),
            moments=self._optimizer.moments(),
            kept=_on_cpu(self._kept),
            loss_curve=list(self.result.loss_curve),
            validation_curve=list(self.result.validation_curve),
            best_iter=self.result.best_iter,
            best=self._best,
            step=self._step,
        )

    def take_steps(self, epoch: int, batches: Iterable[Tensor]) -> None:
        """Take the steps of an epoch, and note their mean loss."""
        self._module.train()
        running, n_batches = torch.zeros((), device=self._device), 0
        reads = self._device.type == "cpu" and self._team.size == 1
        for rows in batches:
            value = self._take_step(rows)
            if reads and not math.isfinite(value.item()):
                self._refuse(value.item(), epoch)
            running, n_batches = running + value, n_batches + 1
            if self._is_late():
                self.result.stopped = "time"
                break
        mean = self._team.mean(float(running) / max(n_batches, 1))
        if not math.isfinite(mean):
            self._refuse(mean, epoch)
        self.result.loss_curve.append(mean)

    def finish_epoch(self, validate: Validate | None) -> float:
        """Validate, and keep the weights if they are the best so far."""
        result, epoch = self.result, len(self.result.loss_curve)
        self._module.eval()
        watched = result.loss_curve[-1]
        if validate is not None:
            with torch.no_grad():
                watched = self._team.largest(validate())
            result.validation_curve.append(watched)
        choose = validate is not None and self._settings.keep_best
        if not choose or watched < self._best:
            self._best, result.best_iter = watched, epoch
            if choose or self._settings.keep_on_interrupt:
                self._kept = _copy_state(self._module)
        return watched

    def close(self) -> TrainResult:
        """Give the result, and put the module back in order."""
        if not self._kept:
            self._kept = _copy_state(self._module)
        self.result.weights = _on_cpu(self._kept)
        if self._keeps_moments:
            self.result.moments = self._optimizer.moments()
        for parameter in self._module.parameters():
            parameter.grad = None
        return self.result

    def _make_optimizer(self, moments: Moments | None) -> FlatAdamW:
        return FlatAdamW(
            self._module,
            weight_decay=self._settings.weight_decay,
            beta2=self._settings.beta2,
            decayed=self._decayed,
            moments=moments,
        )

    def _take_step(self, rows: Tensor) -> Tensor:
        settings = self._settings
        # Fitting must work inside the caller's no_grad and inference_mode.
        with torch.inference_mode(False), torch.enable_grad():
            self._optimizer.zero_grad()
            with _autocast(self._device, active=settings.autocast):
                value = self._loss(rows)
            value.backward()  # type: ignore[no-untyped-call]
            self._optimizer.step(self._rate(), settings.max_grad_norm)
        self._step += 1
        return value.detach()

    def _rate(self) -> float:
        settings, progress = self._settings, self._step / self._n_steps
        if settings.max_time is not None:
            elapsed = (time.monotonic() - self._start) / max(settings.max_time, 1e-9)
            progress = max(progress, min(elapsed, 1.0))
        warmup, factor = settings.warmup_fraction, 1.0
        if progress < warmup:
            factor = (progress + 1e-3) / (warmup + 1e-3)
        elif settings.schedule == "cosine":
            factor = 0.5 * (1 + math.cos(math.pi * (progress - warmup) / (1 - warmup)))
        return settings.learning_rate * factor

    def _is_late(self) -> bool:
        limit = self._settings.max_time
        return limit is not None and time.monotonic() - self._start >= limit

    def _refuse(self, value: float, epoch: int) -> None:
        raise FloatingPointError(
            f"the training loss became {value} in epoch {epoch + 1} at "
            f"learning_rate={self._settings.learning_rate}"
        )


def _autocast(device: torch.device, *, active: bool) -> torch.autocast:
    return torch.autocast(device.type, dtype=torch.bfloat16, enabled=active)


def _copy_state(module: nn.Module) -> dict[str, Tensor]:
    return {n: w.detach().clone() for n, w in module.state_dict().items()}


def _on_cpu(state: dict[str, Tensor]) -> dict[str, Tensor]:
    return {n: w.to("cpu") for n, w in state.items()}
