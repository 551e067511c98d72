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
from sklearn_whitebox.functional._fused import can_fuse, fused_attention
from sklearn_whitebox.modules._crate_config import (
    CRATEConfig,
    Device,
    _drop,
    _drop_mask,
)
from sklearn_whitebox.modules._crate_steps import _linear

# Tokens from which on attention weights are better computed twice than kept.
_MANY_TOKENS = 64


class SubspaceAttention(nn.Module):
    r"""Compress tokens by attention inside learnt subspaces (MSSA).

    The way back from the subspaces is a projection of its own, or with
    ``config.tie_output`` the transposed bases times a learnt step:
    :math:`\kappa \sum_k A_k Z U_k U_k^\top`.

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
        d_token, inner = config.d_token, config.inner_width
        self.n_heads, self.dropout = config.n_heads, config.dropout
        self.is_causal = config.is_causal
        self.projection = _linear(d_token, inner, bias=False, device=device)
        self.output: nn.Module = nn.Identity()
        self.step: nn.Parameter | None = None
        if config.tie_output:
            self.step = nn.Parameter(
                torch.empty((), dtype=torch.float32, device=device)
            )
        # One subspace that is the whole space needs no way back.
        elif config.n_heads > 1 or inner != d_token:
            self.output = _linear(
                inner, d_token, bias=config.output_bias, device=device
            )

    def draw(self, generator: torch.Generator) -> None:
        """Set the initial step of a tied output.

        Parameters
        ----------
        generator : Generator
            Not drawn from.
        """
        if self.step is not None:
            nn.init.ones_(self.step)

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
        # Used by several products, each of which would copy a strided view.
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
        head_dim = self.projection.out_features // self.n_heads
        if n_queries is not None and 4 * n_queries <= head_dim and not self.is_causal:
            merged = self._attend_few(tokens, generator, n_queries)
        else:
            attended = self._attend(self.project(tokens), generator, n_queries)
            merged = merge_heads(attended)
        return _drop(self._map_back(merged), self.dropout, generator)

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
        weights: Tensor = subspace_attention_weights(heads, is_causal=self.is_causal)
        return weights

    def _map_back(self, merged: Tensor) -> Tensor:
        if self.step is not None:
            return self.step * (merged @ self.projection.weight)
        change: Tensor = self.output(merged)
        return change

    def _attend(
        self, heads: Tensor, generator: torch.Generator | None, n_queries: int | None
    ) -> Tensor:
        n_tokens = heads.shape[2]
        drops = self.dropout > 0 and generator is not None
        if n_queries is None and not self.is_causal and can_fuse(heads):
            is_short = n_tokens < _MANY_TOKENS and heads.device.type == "cpu"
            if drops or is_short:
                shape = (*heads.shape[:3], n_tokens)
                return fused_attention(
                    heads, _drop_mask(heads, shape, self.dropout, generator)
                )
        if not drops:
            queries = heads[:, :, :n_queries]
            attended: Tensor = nn.functional.scaled_dot_product_attention(
                queries, heads, heads, is_causal=self.is_causal
            )
            return attended
        weights = subspace_attention_weights(
            heads, is_causal=self.is_causal, n_queries=n_queries
        )
        return _drop(weights, self.dropout, generator) @ heads

    def _attend_few(
        self, tokens: Tensor, generator: torch.Generator | None, n_queries: int
    ) -> Tensor:
        """Attend for few queries without projecting all tokens.

        With the bases U moved to the side of the queries, scores (w_i Uᵀ) z_j and means
        (Σ_j a_ij z_j) U cost O(n d) a head, the projection of all tokens O(n d p).
        """
        weight = self.projection.weight
        bases = weight.view(self.n_heads, -1, weight.shape[1])  # (K, p, d)
        head_dim, n_samples = bases.shape[1], tokens.shape[0]
        first = self.projection(tokens[:, :n_queries])

        def by_head(rows: Tensor) -> Tensor:  # (K, n * n_queries, ...)
            return rows.reshape(n_samples * n_queries, self.n_heads, -1).transpose(0, 1)

        # One product a head over all rows: a product a row would copy the bases.
        queries = (by_head(first) * head_dim**-0.5) @ bases
        queries = queries.transpose(0, 1).reshape(n_samples, -1, weight.shape[1])
        weights = (queries @ tokens.mT).softmax(-1)
        means = _drop(weights, self.dropout, generator) @ tokens
        attended = by_head(means) @ bases.mT
        return attended.transpose(0, 1).reshape(n_samples, n_queries, -1)


class StatisticsAttention(SubspaceAttention):
    """Compress tokens by the second moments of their coordinates (TSSA).

    Parameters
    ----------
    config : CRATEConfig
        Architecture.
    n_positions : int or None, default=None
        Longest row of tokens; the causal form learns a bias for each position.
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
        super().__init__(config, device=device)
        self.projection = _linear(
            config.d_token, config.inner_width, bias=True, device=device
        )

        def empty(*shape: int) -> nn.Parameter:
            return nn.Parameter(torch.empty(shape, dtype=torch.float32, device=device))

        self.temperature = empty(config.n_heads, 1)
        self.denom_bias: nn.Parameter | None = None
        if config.is_causal:
            if n_positions is None:
                raise ValueError(
                    "is_causal=True with attention='tssa' learns a bias for every "
                    "position; give n_positions."
                )
            self.denom_bias = empty(config.n_heads, n_positions, 1)

    def draw(self, generator: torch.Generator) -> None:
        """Set the initial temperature, bias and step.

        Parameters
        ----------
        generator : Generator
            Not drawn from.
        """
        super().draw(generator)
        nn.init.ones_(self.temperature)
        if self.denom_bias is not None:
            nn.init.zeros_(self.denom_bias)

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
        attended = token_statistics_attention(
            heads, self.temperature, is_causal=self.is_causal, bias=self._bias(heads)
        )
        change = self._map_back(merge_heads(attended[:, :, :n_queries]))
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
        memberships: Tensor = token_memberships(
            heads, self.temperature, is_causal=self.is_causal, bias=self._bias(heads)
        )
        return memberships

    def _bias(self, heads: Tensor) -> Tensor | float:
        if self.denom_bias is None:
            return 0.0
        return self.denom_bias[:, : heads.shape[2]]
