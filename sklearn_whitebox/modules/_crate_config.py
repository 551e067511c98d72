"""What the parts of a white-box transformer share: configuration and draws."""

import math
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from sklearn_whitebox.modules._shared_draws import own_part, whole_shape

Device = torch.device | str | None


@dataclass(frozen=True)
class CRATEConfig:
    """Architecture of a :class:`CRATE`.

    Parameters
    ----------
    n_outputs : int
        Width of the head, the number of classes.
    tokens : {"patch", "dense", "feature"}
        How a row becomes tokens: patches of an image, views of all features, or one
        token per feature.
    n_features : int, default=0
        Number of numeric columns, which come first; for tables.
    categories : tuple of int, default=()
        Number of categories of every nominal column, the last of them for values that
        are unknown; for tables.
    encoding : {"periodic", "piecewise_linear", "linear"}, default="periodic"
        How a number is spread over several before it enters the tokens.
    n_bins : int, default=16
        Bins of a column; for ``encoding="piecewise_linear"``.
    missing : bool, default=False
        Learn what a missing number stands for; NaN is refused otherwise.
    n_tokens : int, default=8
        Number of views; for ``tokens="dense"``.
    image_shape : (int, int, int) or None, default=None
        Height, width and number of channels; for ``tokens="patch"``.
    patch_size : int, default=1
        Side of a patch in pixels.
    patch_norm : bool, default=True
        Layer norm before and after the projection of the patches.
    stem : bool, default=False
        Convolutions before the image is cut into patches.
    pool : {"class", "mean", "concat"}, default="class"
        What the head reads: a class token, the mean of all tokens of the row, or all of
        them side by side. Without a layer a class token would see nothing, so the mean
        is read in its place.
    d_token : int, default=64
        Width of a token.
    n_layers : int, default=3
        Number of layers; with none the head reads the tokens as they are.
    n_heads : int, default=4
        Number of subspaces.
    head_dim : int or None, default=None
        Dimension of a subspace; None shares `d_token` among the heads.
    attention : {"mssa", "tssa"}, default="mssa"
        Step that compresses.
    is_causal : bool, default=False
        Let a token read itself and the tokens before it only; the class token then
        comes last.
    tie_output : bool, default=False
        Map back by the transposed bases of the subspaces, times a learnt step, instead
        of by a projection of its own.
    sparsifier : {"ista", "odl", "mlp"} or None, default="ista"
        Step that sparsifies.
    step_size : float, default=0.1
        Step of the sparsifier.
    sparsity : float, default=0.1
        Weight of the one-norm in the sparsifier.
    learn_step : bool, default=False
        Learn step and weight of the one-norm of every layer.
    n_steps : int, default=2
        Proximal steps of ``"odl"``.
    overcomplete : int, default=4
        Atoms per feature of ``"odl"``, hidden units per feature of ``"mlp"``.
    output_bias : bool, default=True
        Bias of the projection after the attention.
    table_std : float, default=1.0
        Standard deviation of the initial class token and positional table of images.
    layer_norm_eps : float, default=1e-5
        Guard of the layer norms.
    dropout : float, default=0.0
        Share of attention weights and of outputs of the attention dropped in training.
    token_dropout : float, default=0.0
        Share of the entries of the first tokens of tables dropped in training.
    n_members : int, default=1
        Members of the ensemble. They share all layers; each scales the tokens that
        enter them by numbers of its own, and has its own head.
    """

    n_outputs: int
    tokens: Literal["patch", "dense", "feature"]
    n_features: int = 0
    categories: tuple[int, ...] = ()
    encoding: Literal["periodic", "piecewise_linear", "linear"] = "periodic"
    n_bins: int = 16
    missing: bool = False
    n_tokens: int = 8
    image_shape: tuple[int, int, int] | None = None
    patch_size: int = 1
    patch_norm: bool = True
    stem: bool = False
    pool: Literal["class", "mean", "concat"] = "class"
    d_token: int = 64
    n_layers: int = 3
    n_heads: int = 4
    head_dim: int | None = None
    attention: Literal["mssa", "tssa"] = "mssa"
    is_causal: bool = False
    tie_output: bool = False
    sparsifier: Literal["ista", "odl", "mlp"] | None = "ista"
    step_size: float = 0.1
    sparsity: float = 0.1
    learn_step: bool = False
    n_steps: int = 2
    overcomplete: int = 4
    output_bias: bool = True
    table_std: float = 1.0
    layer_norm_eps: float = 1e-5
    dropout: float = 0.0
    token_dropout: float = 0.0
    n_members: int = 1

    @property
    def inner_width(self) -> int:
        """Width of all heads together."""
        if self.head_dim is not None:
            return self.n_heads * self.head_dim
        if self.d_token % self.n_heads:
            raise ValueError(
                f"n_heads={self.n_heads} must divide d_token={self.d_token}."
            )
        return self.d_token


def _drop(values: Tensor, rate: float, generator: torch.Generator | None) -> Tensor:
    mask = _drop_mask(values, values.shape, rate, generator)
    return values if mask is None else values * mask


def _drop_mask(
    like: Tensor,
    shape: tuple[int, ...],
    rate: float,
    generator: torch.Generator | None,
) -> Tensor | None:
    """Draw what to multiply with to drop a share of the values; None drops nothing."""
    if rate == 0 or generator is None:
        return None
    whole = whole_shape(shape, generator)
    n_draws = math.prod(whole)
    # Drawn where the generator lives, so that one seed gives one mask on all devices.
    # A draw of 64 bits decides on eight values, each to 1/256 of the rate asked for.
    words = torch.empty(-(-n_draws // 8), dtype=torch.int64, device=generator.device)
    words.random_(-(2**63), None, generator=generator)
    level = min(max(round(rate * 256), 1), 255)
    draws = words.view(torch.uint8)[:n_draws].view(whole)
    kept = own_part(draws, generator) >= level
    return kept.to(like).mul_(256 / (256 - level))


def uniform_(parameter: Tensor, bound: float, generator: torch.Generator) -> None:
    """Fill a parameter with draws from a symmetric interval, in place.

    Parameters
    ----------
    parameter : Tensor
        Filled in place.
    bound : float
        Half the length of the interval.
    generator : Generator
        Source of the draws.
    """
    with torch.no_grad():
        parameter.uniform_(-bound, bound, generator=generator)
