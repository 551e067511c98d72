"""One layer of a CRATE, and what goes through it."""

from typing import NamedTuple

import torch
from torch import Tensor, nn

from sklearn_whitebox.modules._crate_attention import (
    StatisticsAttention,
    SubspaceAttention,
)
from sklearn_whitebox.modules._crate_config import CRATEConfig, Device
from sklearn_whitebox.modules._crate_steps import (
    ISTAStep,
    MLPStep,
    OvercompleteStep,
)

_ATTENTIONS = {"mssa": SubspaceAttention, "tssa": StatisticsAttention}
_SPARSIFIERS = {"ista": ISTAStep, "odl": OvercompleteStep, "mlp": MLPStep}


class LayerTrace(NamedTuple):
    """What went through one layer, for diagnosis.

    Parameters
    ----------
    tokens : Tensor of shape (n_samples, n_tokens, d_token)
        Input of the layer.
    heads : Tensor of shape (n_samples, n_heads, n_tokens, head_dim)
        Coordinates of the input in the subspaces.
    half : Tensor of shape (n_samples, n_tokens, d_token)
        Tokens after compression.
    output : Tensor of shape (n_samples, n_tokens, d_token)
        Tokens after sparsification.
    """

    tokens: Tensor
    heads: Tensor
    half: Tensor
    output: Tensor


class CRATELayer(nn.Module):
    """One step of sparse rate reduction: compress, then sparsify.

    Parameters
    ----------
    config : CRATEConfig
        Architecture.
    n_positions : int or None, default=None
        Longest row of tokens; only the causal form of TSSA needs it.
    device : str or device, default=None
        Where to put the parameters.
    """

    def __init__(
        self,
        config: CRATEConfig,
        *,
        n_positions: int | None = None,
        device: Device = None,
    ) -> None:
        super().__init__()
        self.compress_norm = make_norm(config, device)
        self.compress = _ATTENTIONS[config.attention](
            config, n_positions=n_positions, device=device
        )
        self.sparsify: nn.Module | None = None
        if config.sparsifier is not None:
            self.sparsify_norm = make_norm(config, device)
            self.sparsify = _SPARSIFIERS[config.sparsifier](config, device=device)

    def forward(
        self,
        tokens: Tensor,
        generator: torch.Generator | None = None,
        n_queries: int | None = None,
    ) -> Tensor:
        """Take one step.

        Parameters
        ----------
        tokens : Tensor of shape (n_samples, n_tokens, d_token)
            Tokens.
        generator : Generator, default=None
            Source of dropout; None drops nothing.
        n_queries : int or None, default=None
            Give the first so many tokens; None gives all.

        Returns
        -------
        tokens : Tensor of shape (n_samples, n_queries, d_token)
            Tokens after the step.
        """
        change = self.compress(self.compress_norm(tokens), generator, n_queries)
        return self._sparsified(tokens[:, :n_queries] + change)

    def trace(self, tokens: Tensor) -> LayerTrace:
        """Take one step and keep what went through.

        Parameters
        ----------
        tokens : Tensor of shape (n_samples, n_tokens, d_token)
            Tokens.

        Returns
        -------
        trace : LayerTrace
            Intermediate results.
        """
        normed = self.compress_norm(tokens)
        half = tokens + self.compress(normed)
        heads = self.compress.project(normed)
        return LayerTrace(tokens, heads, half, self._sparsified(half))

    def _sparsified(self, half: Tensor) -> Tensor:
        if self.sparsify is None:
            return half
        output: Tensor = self.sparsify(self.sparsify_norm(half))
        # The identity part of the ISTA step is inside it, so it takes no residual.
        return output if isinstance(self.sparsify, ISTAStep) else half + output


def make_norm(config: CRATEConfig, device: Device) -> nn.LayerNorm:
    """Make the layer norm before a step or the head.

    Parameters
    ----------
    config : CRATEConfig
        Architecture.
    device : str or device or None
        Where to put the parameters.

    Returns
    -------
    norm : LayerNorm
        Over the width of a token.
    """
    return nn.LayerNorm(
        config.d_token, eps=config.layer_norm_eps, dtype=torch.float32, device=device
    )
