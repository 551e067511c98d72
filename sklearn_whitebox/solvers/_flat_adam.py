"""AdamW on parameters laid end to end: a step costs a few kernels, not a few each."""

from collections.abc import Callable

import torch
from torch import Tensor, nn

Decayed = Callable[[str, nn.Parameter], bool]
Moments = dict[str, tuple[Tensor, Tensor, Tensor]]


class FlatAdamW:
    """AdamW that moves the parameters of a module in one piece.

    Small networks spend more time on the bookkeeping of fifty parameters than on their
    gradients. The parameters become views of one vector for each rate of decay, and so
    do their gradients. A parameter that got no gradient yet is left alone.

    Parameters
    ----------
    module : Module
        Its parameters are laid out anew; names, shapes and values stay.
    weight_decay : float
        Decoupled decay of the parameters that `decayed` names.
    beta2 : float
        Forgetting factor of the second moments.
    decayed : callable or None
        Tells from name and parameter whether weight decay applies; None means
        parameters of two dimensions and more.
    moments : dict of str to (Tensor, Tensor, Tensor) or None
        Number of steps and both moments of every parameter, as :meth:`moments` gave
        them; None starts afresh.
    """

    def __init__(
        self,
        module: nn.Module,
        *,
        weight_decay: float,
        beta2: float,
        decayed: Decayed | None,
        moments: Moments | None = None,
    ) -> None:
        self._decayed = decayed or (lambda _, parameter: parameter.ndim >= 2)
        self._decay, self._beta2 = weight_decay, beta2
        self._waiting = {n: p for n, p in module.named_parameters() if p.requires_grad}
        self._known = moments or {}
        self._groups: list[tuple[nn.Parameter, dict[str, nn.Parameter]]] = []
        self._optimizer: torch.optim.AdamW | None = None

    @property
    def vectors(self) -> list[nn.Parameter]:
        """The vectors that the parameters are parts of."""
        return [flat for flat, _ in self._groups]

    def lay_out(self) -> None:
        """Lay out the parameters whose moments are known, before any gradient.

        Products may differ in the last bit with the place of their factors in memory.
        A run that goes on has to have the places that it had.
        """
        for name, p in self._waiting.items():
            if name in self._known:
                p.grad = torch.zeros_like(p)
        self._take_up()

    def zero_grad(self) -> None:
        """Set all gradients to zero."""
        for flat in self.vectors:
            assert flat.grad is not None
            flat.grad.zero_()

    def step(self, rate: float, max_norm: float | None) -> None:
        """Take one step.

        Parameters
        ----------
        rate : float
            Step size.
        max_norm : float or None
            Shrink the gradient of all parameters together to this norm.
        """
        if self._waiting:
            self._take_up()
        if self._optimizer is None:
            return
        if max_norm is not None:
            self._clip(max_norm)
        for group in self._optimizer.param_groups:
            group["lr"] = rate
        self._optimizer.step()

    def moments(self) -> Moments:
        """Give the state to go on from.

        Returns
        -------
        moments : dict of str to (Tensor, Tensor, Tensor)
            Copies, on the CPU: number of steps and both moments of every parameter.
        """
        found: Moments = {}
        for flat, parts in self._groups:
            assert self._optimizer is not None
            state = self._optimizer.state[flat]
            sizes = [p.numel() for p in parts.values()]
            first, second = (state[k].split(sizes) for k in ("exp_avg", "exp_avg_sq"))
            for (name, p), m, v in zip(parts.items(), first, second, strict=True):
                found[name] = (
                    state["step"].to("cpu", copy=True),
                    m.reshape(p.shape).to("cpu", copy=True),
                    v.reshape(p.shape).to("cpu", copy=True),
                )
        return found

    def _take_up(self) -> None:
        """Lay out the parameters that got their first gradient."""
        fresh = {n: p for n, p in self._waiting.items() if p.grad is not None}
        kinds: dict[tuple[object, ...], dict[str, nn.Parameter]] = {}
        for name, p in fresh.items():
            del self._waiting[name]
            steps = float(self._known[name][0]) if name in self._known else 0.0
            kind = (self._decayed(name, p), p.dtype, p.device, steps)
            kinds.setdefault(kind, {})[name] = p
        for (is_decayed, *_), parts in kinds.items():
            flat = _lay_out(list(parts.values()))
            self._groups.append((flat, parts))
            decay = self._decay if is_decayed else 0.0
            self._add(flat, decay)
            if all(name in self._known for name in parts):
                self._recall(flat, parts)

    def _add(self, flat: nn.Parameter, decay: float) -> None:
        group = {"params": [flat], "weight_decay": decay}
        if self._optimizer is None:
            fused = flat.device.type in ("cpu", "cuda")
            self._optimizer = torch.optim.AdamW(
                [group], betas=(0.9, self._beta2), fused=fused
            )
        else:
            self._optimizer.add_param_group(group)

    def _recall(self, flat: nn.Parameter, parts: dict[str, nn.Parameter]) -> None:
        assert self._optimizer is not None
        known = [self._known[name] for name in parts]

        def join(which: int) -> Tensor:
            return torch.cat([state[which].reshape(-1) for state in known]).to(flat)

        steps = known[0][0].reshape(()).to(device=flat.device, dtype=torch.float32)
        self._optimizer.state[flat] = {
            "step": steps.clone(),
            "exp_avg": join(1),
            "exp_avg_sq": join(2),
        }

    def _clip(self, max_norm: float) -> None:
        gradients = [flat.grad for flat in self.vectors if flat.grad is not None]
        norms = [torch.linalg.vector_norm(gradient) for gradient in gradients]
        norm = norms[0]
        if len(norms) > 1:
            home = norms[0]
            norm = torch.linalg.vector_norm(torch.stack([n.to(home) for n in norms]))
        factor = (max_norm / (norm + 1e-6)).clamp(max=1.0)
        for gradient in gradients:
            gradient.mul_(factor.to(gradient))


def _lay_out(parameters: list[nn.Parameter]) -> nn.Parameter:
    """Make parameters, and their gradients, parts of one vector."""
    flat = nn.Parameter(torch.cat([p.detach().reshape(-1) for p in parameters]))
    gradients = [p.grad.reshape(-1) for p in parameters if p.grad is not None]
    flat.grad = torch.cat(gradients)
    start = 0
    for p in parameters:
        part = slice(start, start + p.numel())
        p.data = flat.data[part].view(p.shape)
        p.grad = flat.grad[part].view(p.shape)
        start += p.numel()
    return flat
