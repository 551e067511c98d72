"""Attention of a CRATE layer: steps that compress the tokens."""

import torch
from torch import Tensor, nn

from sklearn_whitebox.functional._attention import (
    merge_heads,
    split_heads,
    subspace_attention_weights,
    token_memberships,
    token_statistics_attention,
)
from sklearn_whitebox.modules._crate_steps import CRATEConfig, Device, _drop, _linear


class SubspaceAttention(nn.Module):
    """Compress tokens by attention inside learnt subspaces (MSSA).

    Parameters
    ----------
    config : CRATEConfig
        Architecture.
    device : str or device, default=None
        Where to put the parameters.
    """

    def __init__(self, config: CRATEConfig, *, device: Device = None) -> None:
        super().__init__()
        d_token, inner = config.d_token, config.inner_width
        self.n_heads, self.dropout = config.n_heads, config.dropout
        self.projection = _linear(d_token, inner, bias=False, device=device)
        self.output: nn.Module = nn.Identity()
        # One subspace that is the whole space needs no way back.
        if config.n_heads > 1 or inner != d_token:
            self.output = _linear(
                inner, d_token, bias=config.output_bias, device=device
            )

    def project(self, tokens: Tensor) -> Tensor:
        """Give the coordinates of tokens in the subspaces.

        Parameters
        ----------
        tokens : Tensor of shape (n_samples, n_tokens, d_token)
            Normalised tokens.

        Returns
        -------
        heads : Tensor of shape (n_samples, n_heads, n_tokens, head_dim)
            Coordinates.
        """
        heads: Tensor = split_heads(self.projection(tokens), self.n_heads)
        # Used by three products, each of which would copy a strided view.
        return heads.contiguous()

    def forward(
        self,
        tokens: Tensor,
        generator: torch.Generator | None = None,
        n_queries: int | None = None,
    ) -> Tensor:
        """Compress normalised tokens.

        Parameters
        ----------
        tokens : Tensor of shape (n_samples, n_tokens, d_token)
            Normalised tokens.
        generator : Generator, default=None
            Source of dropout; None drops nothing.
        n_queries : int or None, default=None
            Compute the change of the first so many tokens; None computes all.

        Returns
        -------
        change : Tensor of shape (n_samples, n_queries, d_token)
            To be added to the tokens.
        """
        heads = self.project(tokens)
        weights = subspace_attention_weights(heads, n_queries=n_queries)
        weights = _drop(weights, self.dropout, generator)
        change: Tensor = self.output(merge_heads(weights @ heads))
        return _drop(change, self.dropout, generator)

    def maps(self, heads: Tensor) -> Tensor:
        """Give the attention weights.

        Parameters
        ----------
        heads : Tensor of shape (n_samples, n_heads, n_tokens, head_dim)
            Coordinates.

        Returns
        -------
        weights : Tensor of shape (n_samples, n_heads, n_tokens, n_tokens)
            Rows sum to one.
        """
        weights: Tensor = subspace_attention_weights(heads)
        return weights


class StatisticsAttention(SubspaceAttention):
    """Compress tokens by the second moments of their coordinates (TSSA).

    Parameters
    ----------
    config : CRATEConfig
        Architecture.
    device : str or device, default=None
        Where to put the parameters.
    """

    def __init__(self, config: CRATEConfig, *, device: Device = None) -> None:
        super().__init__(config, device=device)
        self.projection = _linear(
            config.d_token, config.inner_width, bias=True, device=device
        )
        self.temperature = nn.Parameter(
            torch.empty(config.n_heads, 1, dtype=torch.float32, device=device)
        )

    def draw(self, generator: torch.Generator) -> None:
        """Set the initial temperature.

        Parameters
        ----------
        generator : Generator
            Not drawn from.
        """
        nn.init.ones_(self.temperature)

    def forward(
        self,
        tokens: Tensor,
        generator: torch.Generator | None = None,
        n_queries: int | None = None,
    ) -> Tensor:
        """Compress normalised tokens.

        Parameters
        ----------
        tokens : Tensor of shape (n_samples, n_tokens, d_token)
            Normalised tokens.
        generator : Generator, default=None
            Source of dropout; None drops nothing.
        n_queries : int or None, default=None
            Compute the change of the first so many tokens; None computes all.

        Returns
        -------
        change : Tensor of shape (n_samples, n_queries, d_token)
            To be added to the tokens.
        """
        heads = self.project(tokens)
        attended = token_statistics_attention(heads, self.temperature)
        change: Tensor = self.output(merge_heads(attended[:, :, :n_queries]))
        return _drop(change, self.dropout, generator)

    def maps(self, heads: Tensor) -> Tensor:
        """Give the memberships of the tokens.

        Parameters
        ----------
        heads : Tensor of shape (n_samples, n_heads, n_tokens, head_dim)
            Coordinates.

        Returns
        -------
        memberships : Tensor of shape (n_samples, n_heads, n_tokens)
            They sum to one over the heads.
        """
        memberships: Tensor = token_memberships(heads, self.temperature)
        return memberships
