"""Train a sparse autoencoder: unit atoms, Adam, and no atom left dead."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor, nn

from sklearn_whitebox.solvers._train import Callback

_BETAS = (0.9, 0.999)
# Weight of the error that dead atoms are asked to explain.
_AUXILIARY = 1 / 32
# Length of the encoder row of a new atom, relative to the mean of the living ones:
# without competition for places in the code, a short one disturbs them less.
_TIMID = 0.2
# Atoms that the auxiliary loss has not woken in this many times the patience are
# replaced: it cannot reach those whose values are never positive.
_LOST = 2
# Share of the steps after which the learning rate falls and no atom is replaced.
_SETTLE = 0.8
# Samples among which badly rebuilt ones are looked for.
_CANDIDATES = 8192
# Samples of them coded at a time.
_BLOCK = 1024


class Autoencoder(Protocol):
    """What is asked of the network: four weights and the parts of its pass."""

    encoder: nn.Parameter
    encoder_bias: nn.Parameter
    decoder: nn.Parameter
    pre_bias: nn.Parameter

    def correlate(self, X: Tensor) -> Tensor:
        """Compute values before the activation."""

    def activate(self, values: Tensor) -> Tensor:
        """Make values sparse."""

    def decode(self, codes: Tensor) -> Tensor:
        """Build samples from codes."""

    def named_parameters(self) -> Iterable[tuple[str, nn.Parameter]]:
        """Name the weights."""


@dataclass(frozen=True)
class AutoencoderSettings:
    """What :func:`autoencoder_step` minimises, and how.

    Parameters
    ----------
    learning_rate : float
        Peak rate of Adam.
    alpha : float, default=0.0
        Weight of the ℓ1 norm of the codes.
    dead_after : int, default=10000
        Samples without activation after which an atom counts as dead.
    n_auxiliary : int, default=0
        Dead atoms that explain the error of a sample in the auxiliary loss; 0 is
        without that loss.
    max_grad_norm : float, default=1.0
        Clip the norm of the whole gradient to this.
    """

    learning_rate: float
    alpha: float = 0.0
    dead_after: int = 10000
    n_auxiliary: int = 0
    max_grad_norm: float = 1.0


@dataclass
class AutoencoderMemory:
    """What training remembers between steps, besides the weights.

    Parameters
    ----------
    moments : dict of str to Tensor
        Running means of gradients and of their squares, ``"mean.x"`` and ``"square.x"``
        for the weight x.
    idle : Tensor of shape (n_components,)
        Samples since the last activation of each atom.
    n_steps : int
        Steps done.
    """

    moments: dict[str, Tensor]
    idle: Tensor
    n_steps: int = 0

    @classmethod
    def empty(cls, module: Autoencoder) -> "AutoencoderMemory":
        """Make the memory before the first step.

        Parameters
        ----------
        module : Module
            The network.

        Returns
        -------
        memory : AutoencoderMemory
            Of zeros.
        """
        moments = {
            f"{kind}.{name}": torch.zeros_like(weight, requires_grad=False)
            for name, weight in module.named_parameters()
            for kind in ("mean", "square")
        }
        idle = torch.zeros(
            len(module.decoder), dtype=torch.int64, device=module.decoder.device
        )
        return cls(moments, idle)


def autoencoder_step(
    module: Autoencoder,
    X: Tensor,
    memory: AutoencoderMemory,
    settings: AutoencoderSettings,
    *,
    rate_factor: float = 1.0,
) -> float:
    r"""Take one step on the mean of :math:`\tfrac12\|x - \hat x\|^2 + \alpha\|f\|_1`.

    Atoms keep unit norm, else the ℓ1 norm is escaped by short codes of long atoms: the
    part of their gradient along themselves is removed and they are projected after the
    step.

    Parameters
    ----------
    module : Module
        Network, changed in place.
    X : Tensor of shape (n_samples, n_features)
        Batch.
    memory : AutoencoderMemory
        Changed in place.
    settings : AutoencoderSettings
        Objective and step.
    rate_factor : float, default=1.0
        Share of the peak learning rate.

    Returns
    -------
    loss : float
        Mean over the batch before the step, without the auxiliary part.

    Raises
    ------
    FloatingPointError
        If the loss is not finite.
    """
    weights = dict(module.named_parameters())
    with torch.inference_mode(False), torch.enable_grad():
        values = module.correlate(X)
        codes = module.activate(values)
        error = X - module.decode(codes)
        loss = error.square().sum(-1).mean() / 2
        if settings.alpha:
            loss = loss + settings.alpha * codes.sum(-1).mean()
        total = loss + _auxiliary_loss(module, values, error, memory, settings)
        gradients = torch.autograd.grad(total, list(weights.values()))
    value = float(loss.detach())
    if value != value or value in (float("inf"), float("-inf")):
        raise FloatingPointError(f"the training loss became {value}")
    with torch.no_grad():
        _descend(weights, gradients, memory, settings, rate_factor)
        module.decoder.div_(_lengths(module.decoder))
        used = (codes > 0).any(0)
        memory.idle = torch.where(used, 0, memory.idle + len(X))
    return value


def _auxiliary_loss(
    module: Autoencoder,
    values: Tensor,
    error: Tensor,
    memory: AutoencoderMemory,
    settings: AutoencoderSettings,
) -> Tensor | float:
    """Half squared error of dead atoms that explain the error of the living."""
    dead = memory.idle >= settings.dead_after
    n_dead = int(dead.sum())
    if not settings.n_auxiliary or not n_dead:
        return 0.0
    candidates = values[:, dead]
    top = candidates.topk(min(settings.n_auxiliary, n_dead), dim=-1)
    codes = torch.zeros_like(candidates).scatter(-1, top.indices, top.values.relu())
    target = error.detach()
    missing = (target - codes @ module.decoder[dead]).square().sum(-1).mean()
    # In units of the error, so that a good fit does not silence it.
    scale = target.square().sum(-1).mean().clamp_min(torch.finfo(target.dtype).tiny)
    return _AUXILIARY * module.decoder.shape[1] * missing / (2 * scale)


def _descend(
    weights: dict[str, nn.Parameter],
    gradients: tuple[Tensor, ...],
    memory: AutoencoderMemory,
    settings: AutoencoderSettings,
    rate_factor: float,
) -> None:
    """Step by Adam, written out so that its moments are plain arrays."""
    tangent = {
        name: _across(gradient, weights[name]) if name == "decoder" else gradient
        for name, gradient in zip(weights, gradients, strict=True)
    }
    norm = torch.stack([g.square().sum() for g in tangent.values()]).sum().sqrt()
    shrink = (settings.max_grad_norm / norm.clamp_min(1e-12)).clamp_max(1)
    memory.n_steps += 1
    first, second = (1 - beta**memory.n_steps for beta in _BETAS)
    rate = settings.learning_rate * rate_factor
    for name, weight in weights.items():
        gradient = tangent[name] * shrink
        mean = memory.moments[f"mean.{name}"]
        square = memory.moments[f"square.{name}"]
        mean.lerp_(gradient, 1 - _BETAS[0])
        square.lerp_(gradient.square(), 1 - _BETAS[1])
        weight.sub_(rate * (mean / first) / ((square / second).sqrt() + 1e-8))


def _across(gradient: Tensor, atoms: Tensor) -> Tensor:
    """Remove from each row of the gradient its part along the unit atom."""
    return gradient - (gradient * atoms).sum(-1, keepdim=True) * atoms


def _lengths(D: Tensor) -> Tensor:
    return torch.linalg.vector_norm(D, dim=-1, keepdim=True).clamp_min(1e-12)


def replace_dead_atoms(
    module: Autoencoder,
    X: Tensor,
    memory: AutoencoderMemory,
    settings: AutoencoderSettings,
    generator: torch.Generator,
) -> int:
    """Point dead atoms at what badly rebuilt samples lack.

    Samples are drawn with probability proportional to their squared error, and at most
    one atom is given to each. Where an auxiliary loss wakes the dead, only those that
    stayed dead for twice as long are replaced.

    Parameters
    ----------
    module : Module
        Network, changed in place.
    X : Tensor of shape (n_samples, n_features)
        Samples to choose from.
    memory : AutoencoderMemory
        Changed in place: moments and idleness of the replaced start anew.
    settings : AutoencoderSettings
        Says when an atom is dead.
    generator : Generator
        Source of the draws, on the CPU.

    Returns
    -------
    n_replaced : int
        Atoms replaced.
    """
    patience = settings.dead_after * (_LOST if settings.n_auxiliary else 1)
    dead = torch.nonzero(memory.idle >= patience).squeeze(1)
    if not len(dead):
        return 0
    error = _residual(module, X)
    badness = error.square().sum(-1).double().cpu()
    n_replaced = min(len(dead), int((badness > 0).sum()))
    if not n_replaced:
        return 0
    rows = torch.multinomial(badness, n_replaced, generator=generator)
    replaced = dead[:n_replaced]
    with torch.no_grad():
        alive = memory.idle < settings.dead_after
        lengths = _lengths(module.encoder)
        typical = lengths[alive].mean() if bool(alive.any()) else lengths.mean()
        atoms = error[rows.to(error.device)]
        atoms = atoms / _lengths(atoms)
        module.decoder[replaced] = atoms
        share = 1.0 if settings.n_auxiliary else _TIMID
        module.encoder[replaced] = share * typical * atoms
        module.encoder_bias[replaced] = 0
        for name in ("encoder", "encoder_bias", "decoder"):
            memory.moments[f"mean.{name}"][replaced] = 0
            memory.moments[f"square.{name}"][replaced] = 0
        memory.idle[replaced] = 0
    return n_replaced


def _residual(module: Autoencoder, X: Tensor) -> Tensor:
    """Find what rebuilt samples lack, with the codes of few samples at a time."""
    with torch.no_grad():
        parts = [
            rows - module.decode(module.activate(module.correlate(rows)))
            for rows in X.split(_BLOCK)
        ]
    return torch.cat(parts)


@dataclass
class AutoencoderResult:
    """History of a training run.

    Parameters
    ----------
    loss_curve : list of float
        Mean loss of every pass.
    n_replaced : int
        Dead atoms replaced.
    """

    loss_curve: list[float]
    n_replaced: int = 0


def train_autoencoder(
    module: Autoencoder,
    X: Tensor,
    memory: AutoencoderMemory,
    settings: AutoencoderSettings,
    *,
    batch_size: int,
    generator: torch.Generator,
    n_epochs: int | None = None,
    callback: Callback | None = None,
) -> AutoencoderResult:
    """Train by passes over samples, or take a part of a stream once.

    The learning rate climbs over the first twentieth of the steps and falls linearly to
    zero over the last fifth, in which no atom is replaced any more. In a stream,
    whose length nobody knows, it climbs over the first hundred steps and stays.

    Parameters
    ----------
    module : Module
        Network, changed in place.
    X : Tensor of shape (n_samples, n_features)
        Samples, on the device of the module.
    memory : AutoencoderMemory
        Changed in place.
    settings : AutoencoderSettings
        Objective and step, and when an atom is dead.
    batch_size : int
        Samples of a batch, at most.
    generator : Generator
        Source of the order of the samples, on the CPU.
    n_epochs : int or None, default=None
        Passes over the samples; None is a single one, as part of a stream.
    callback : callable, default=None
        Called as ``callback(epoch, loss)`` after each pass; True stops training.

    Returns
    -------
    result : AutoencoderResult
        History.

    Raises
    ------
    FloatingPointError
        If the loss stops being finite.
    """
    result = AutoencoderResult([])
    n_batches = -(-len(X) // batch_size)
    n_steps = n_batches * (n_epochs or 1)
    step = 0
    for epoch in range(n_epochs or 1):
        running = 0.0
        order = torch.randperm(len(X), generator=generator)
        for rows in order.tensor_split(n_batches):
            factor = (
                min(1.0, (memory.n_steps + 1) / 100)
                if n_epochs is None
                else _rate_factor(step / n_steps)
            )
            loss = autoencoder_step(
                module, X[rows], memory, settings, rate_factor=factor
            )
            running += loss * len(rows)
            step += 1
        result.loss_curve.append(running / len(X))
        settling = n_epochs is not None and step > _SETTLE * n_steps
        if not settling:
            rows = order[:_CANDIDATES]
            result.n_replaced += replace_dead_atoms(
                module, X[rows], memory, settings, generator
            )
        if callback is not None and callback(epoch, result.loss_curve[-1]):
            break
    return result


def _rate_factor(progress: float) -> float:
    climbed = min(1.0, (progress + 1e-3) / 0.05)
    return climbed * min(1.0, (1 - progress) / (1 - _SETTLE))
