"""Encoders whose features lie on the unit sphere."""

import math
from collections.abc import Sequence
from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn.utils import skip_init


class SphereEncoder(nn.Module):
    """Scale the output rows of a network to unit norm.

    Rate reduction grows with the scale of the features, so it is only a fair objective
    on normalised ones.

    Parameters
    ----------
    network : Module
        Maps (n, n_inputs) to (n, n_features).
    """

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, X: Tensor) -> Tensor:
        """Encode rows.

        Parameters
        ----------
        X : Tensor of shape (n_samples, n_inputs)
            Rows.

        Returns
        -------
        Z : Tensor of shape (n_samples, n_features)
            Unit rows; a zero output stays zero.
        """
        Z: Tensor = self.network(X)
        return Z / torch.linalg.vector_norm(Z, dim=1, keepdim=True).clamp_min(1e-8)


def make_mlp(
    n_inputs: int,
    n_outputs: int,
    hidden_layer_sizes: Sequence[int],
    *,
    generator: torch.Generator | None = None,
) -> nn.Sequential:
    """Build linear → batch norm → ReLU layers and a linear last one.

    Parameters
    ----------
    n_inputs : int
        Width of the input.
    n_outputs : int
        Width of the output.
    hidden_layer_sizes : sequence of int
        Widths of the hidden layers; empty for a linear map.
    generator : Generator, default=None
        Draws the initial weights (Kaiming uniform). None leaves them as they are, for a
        state to be loaded; the global generator is not used in either case.

    Returns
    -------
    network : Sequential
        In float32, on the CPU.
    """
    widths = [n_inputs, *hidden_layer_sizes, n_outputs]
    layers: list[nn.Module] = []
    for i, (fan_in, fan_out) in enumerate(pairwise(widths)):
        linear = skip_init(nn.Linear, fan_in, fan_out, dtype=torch.float32)
        if generator is not None:
            last = i == len(widths) - 2
            bound = math.sqrt((3 if last else 6) / max(fan_in, 1))
            with torch.no_grad():
                linear.weight.uniform_(-bound, bound, generator=generator)
                linear.bias.zero_()
        layers.append(linear)
        if i < len(widths) - 2:
            layers += [nn.BatchNorm1d(fan_out, dtype=torch.float32), nn.ReLU()]
    return nn.Sequential(*layers)
