"""Encoders whose features lie on the unit sphere."""

import math
from collections.abc import Sequence
from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn.utils import skip_init


class WeightedBatchNorm(nn.BatchNorm1d):
    """Batch normalisation that can count rows several times.

    A row of weight w moves the moments like w copies of it. Without weights this is
    :class:`torch.nn.BatchNorm1d`.
    """

    def forward(self, X: Tensor, weights: Tensor | None = None) -> Tensor:
        """Normalise the columns.

        Parameters
        ----------
        X : Tensor of shape (n, n_features)
            Rows.
        weights : Tensor of shape (n,), default=None
            Weights of the rows, used in training.

        Returns
        -------
        X : Tensor of shape (n, n_features)
            Normalised rows. A single row is normalised by the running moments.
        """
        if self.training and len(X) < 2:
            return nn.functional.batch_norm(
                X, self.running_mean, self.running_var, self.weight, self.bias
            )
        if weights is None or not self.training:
            return super().forward(X)
        shares = (weights / weights.sum()).to(X)[:, None]
        mean = (shares * X).sum(0)
        centred = X - mean
        variance = (shares * centred.square()).sum(0)
        assert self.running_mean is not None
        assert self.running_var is not None
        momentum = 0.1 if self.momentum is None else self.momentum
        with torch.no_grad():
            self.running_mean.lerp_(mean, momentum)
            self.running_var.lerp_(variance, momentum)
        normal = centred * (variance + self.eps).rsqrt()
        return normal * self.weight + self.bias


class WeightedSequential(nn.Sequential):
    """Layers one after the other, of which some take the weights of the rows."""

    takes_weights = True

    def forward(self, X: Tensor, weights: Tensor | None = None) -> Tensor:
        """Run the layers.

        Parameters
        ----------
        X : Tensor of shape (n, n_inputs)
            Rows.
        weights : Tensor of shape (n,), default=None
            Weights of the rows.

        Returns
        -------
        Z : Tensor of shape (n, n_features)
            Output of the last layer.
        """
        for layer in self:
            takes = isinstance(layer, WeightedBatchNorm)
            X = layer(X, weights) if takes else layer(X)
        return X


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
        self.takes_weights = bool(getattr(network, "takes_weights", False))

    def forward(self, X: Tensor, weights: Tensor | None = None) -> Tensor:
        """Encode rows.

        Parameters
        ----------
        X : Tensor of shape (n_samples, n_inputs)
            Rows.
        weights : Tensor of shape (n_samples,), default=None
            Weights of the rows, for networks that take them.

        Returns
        -------
        Z : Tensor of shape (n_samples, n_features)
            Unit rows; a zero output stays zero.
        """
        takes = weights is not None and self.takes_weights
        Z: Tensor = self.network(X, weights) if takes else self.network(X)
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
            layers += [WeightedBatchNorm(fan_out, dtype=torch.float32), nn.ReLU()]
    return WeightedSequential(*layers)
