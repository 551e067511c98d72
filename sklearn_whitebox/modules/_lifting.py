"""Random features that make classes linear subspaces: dense and shift-invariant."""

import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn


class RandomLift(nn.Module):
    r"""Lift rows by random rectified linear features.

    .. math:: x \mapsto \max(Wx + b, 0)

    Classes that are neither linear nor centred at the origin come close to linear
    subspaces in enough such features. Nothing is learnt.

    Parameters
    ----------
    n_inputs : int
        Features of a row.
    n_channels : int
        Features of a lifted row.
    generator : Generator, default=None
        Draws weights of variance ``1 / n_inputs`` and offsets of variance 1. None
        leaves them as they are, for a state to be loaded.
    dtype : torch.dtype, default=torch.float64
        Floating type; the draws are the same for all.

    Examples
    --------
    >>> import torch
    >>> lift = RandomLift(3, 8, generator=torch.Generator().manual_seed(0))
    >>> lift(torch.ones(2, 3, dtype=torch.float64)).shape
    torch.Size([2, 8])
    """

    weight: Tensor
    bias: Tensor

    def __init__(
        self,
        n_inputs: int,
        n_channels: int,
        *,
        generator: torch.Generator | None = None,
        dtype: torch.dtype = torch.float64,
    ) -> None:
        super().__init__()
        weight = torch.zeros(n_channels, n_inputs, dtype=torch.float64)
        bias = torch.zeros(n_channels, dtype=torch.float64)
        if generator is not None:
            weight.normal_(generator=generator).div_(math.sqrt(max(n_inputs, 1)))
            bias.normal_(generator=generator)
        self.register_buffer("weight", weight.to(dtype))
        self.register_buffer("bias", bias.to(dtype))

    def forward(self, X: Tensor) -> Tensor:
        """Lift rows.

        Parameters
        ----------
        X : Tensor of shape (n_samples, n_inputs)
            Rows.

        Returns
        -------
        lifted : Tensor of shape (n_samples, n_channels)
            Non-negative features.
        """
        return torch.addmm(self.bias, X, self.weight.mT).clamp_min_(0)


class CircularLift(nn.Module):
    r"""Lift signals or images by random circular filters and rectification.

    .. math:: x \mapsto \max\Bigl(\sum_c k_c \star x_c, 0\Bigr)

    The filters wrap around, so that a circular shift of the input shifts the output and
    changes nothing else.

    Parameters
    ----------
    n_inputs : int
        Channels of a signal.
    n_channels : int
        Channels of a lifted signal.
    kernel_size : sequence of int
        Length of the filters along each axis that shifts: one for signals, two for
        images.
    generator : Generator, default=None
        Draws standard Gaussian filters; None leaves them as they are, for a state to be
        loaded.
    dtype : torch.dtype, default=torch.float64
        Floating type; the draws are the same for all.

    Examples
    --------
    >>> import torch
    >>> lift = CircularLift(1, 4, (3,), generator=torch.Generator().manual_seed(0))
    >>> x = torch.arange(10.0, dtype=torch.float64)[None, None]
    >>> torch.allclose(lift(x.roll(2, dims=-1)), lift(x).roll(2, dims=-1))
    True
    """

    weight: Tensor

    def __init__(
        self,
        n_inputs: int,
        n_channels: int,
        kernel_size: Sequence[int],
        *,
        generator: torch.Generator | None = None,
        dtype: torch.dtype = torch.float64,
    ) -> None:
        super().__init__()
        weight = torch.zeros(n_channels, n_inputs, *kernel_size, dtype=torch.float64)
        if generator is not None:
            weight.normal_(generator=generator)
        self.register_buffer("weight", weight.to(dtype))

    def forward(self, X: Tensor) -> Tensor:
        """Lift signals.

        Parameters
        ----------
        X : Tensor of shape (n_samples, n_inputs, length) or with a width behind
            Signals, with one axis that shifts, or images with two.

        Returns
        -------
        lifted : Tensor of shape (n_samples, n_channels, length) or with a width
            Non-negative features.
        """
        for axis, size in enumerate(self.weight.shape[2:], start=2):
            # Indices, since circular padding refuses filters longer than the signal.
            length = X.shape[axis]
            wrapped = torch.arange(length + size - 1, device=X.device) % length
            X = X.index_select(axis, wrapped)
        convolve = nn.functional.conv1d if X.ndim == 3 else nn.functional.conv2d
        return convolve(X, self.weight).clamp_min_(0)
