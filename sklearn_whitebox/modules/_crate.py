r"""CRATE: a transformer whose layers are steps of sparse rate reduction.

Every layer first compresses the tokens against a set of subspaces, a step down the rate
:math:`R_c(Z \mid U_{[K]})` of the objective
:math:`R(Z) - R_c(Z \mid U_{[K]}) - \lambda \|Z\|_0`, and then sparsifies them in a
dictionary, a proximal step on its other two terms.
"""

from typing import Protocol, cast

import torch
from torch import Tensor, nn

from sklearn_whitebox.modules._crate_config import CRATEConfig, uniform_
from sklearn_whitebox.modules._crate_layer import CRATELayer, LayerTrace, make_norm
from sklearn_whitebox.modules._image_tokens import PatchTokens
from sklearn_whitebox.modules._tokens import DenseTokens, FeatureTokens

__all__ = ["CRATE", "CRATELayer", "LayerTrace"]

_Tokens = DenseTokens | FeatureTokens | PatchTokens
_TOKENS: dict[str, type[_Tokens]] = {
    "patch": PatchTokens,
    "dense": DenseTokens,
    "feature": FeatureTokens,
}
_NOT_DECAYED = ("bias", "temperature")


class _Drawn(Protocol):
    def draw(self, generator: torch.Generator) -> None: ...


class _MemberHeads(nn.Module):
    """One linear head for each member of an ensemble."""

    def __init__(self, config: CRATEConfig, width: int) -> None:
        super().__init__()
        self.weight = _empty(config.n_members, config.n_outputs, width)
        self.bias = _empty(config.n_members, config.n_outputs)

    def draw(self, generator: torch.Generator) -> None:
        bound = self.weight.shape[-1] ** -0.5
        uniform_(self.weight, bound, generator)
        uniform_(self.bias, bound, generator)

    def forward(self, features: Tensor) -> Tensor:
        # One product a member over all rows.
        logits = torch.baddbmm(
            self.bias[:, None], features.transpose(0, 1), self.weight.mT
        )
        return logits.transpose(0, 1)


class CRATE(nn.Module):
    r"""White-box transformer for classification and regression.

    With ``config.n_members`` above one it is an ensemble that shares all layers. Each
    member multiplies the tokens that enter the first layer by a table of its own, which
    starts from random signs, and has a head of its own; the mean of the members'
    losses is what to train, the mean of their predictions what to use [4]_.

    Parameters
    ----------
    config : CRATEConfig
        Architecture.
    generator : Generator, default=None
        Draws the initial weights. None leaves them empty, for a state to be loaded; the
        global generator is not touched in either case.
    device : str or device, default="cpu"
        Where to put the parameters; ``"meta"`` allocates nothing.

    Notes
    -----
    For n tokens of width d a row costs :math:`3 n d^2 + 2 n^2 d` multiply-adds a layer,
    :math:`3 n d^2` with ``attention="tssa"``. If a class token is read, the last layer
    takes its step for that token only, which makes it nearly free.

    References
    ----------
    .. [1] Yu et al. (2023). White-box transformers via sparse rate reduction. NeurIPS.
    .. [2] Yang et al. (2024). Scaling white-box transformers for vision. NeurIPS.
    .. [3] Wu et al. (2025). Token statistics transformer: linear-time attention via
       variational rate reduction. ICLR.
    .. [4] Gorishniy et al. (2025). TabM: Advancing tabular deep learning with
       parameter-efficient ensembling. ICLR.
    """

    def __init__(
        self,
        config: CRATEConfig,
        *,
        generator: torch.Generator | None = None,
        device: torch.device | str = "cpu",
    ) -> None:
        super().__init__()
        self.config = config
        # Built without memory: layer constructors would draw from the global generator.
        self.tokens: _Tokens = _TOKENS[config.tokens](config, device="meta")
        self.class_token: nn.Parameter | None = None
        if config.pool == "class" and config.n_layers > 0:
            self.class_token = _empty(1, 1, config.d_token)
        self.position: nn.Parameter | None = None
        if config.tokens == "patch":
            self.position = _empty(1, self.n_positions, config.d_token)
        self.members: nn.Parameter | None = None
        if config.n_members > 1:
            self.members = _empty(config.n_members, self.n_positions, config.d_token)
        self.layers = nn.ModuleList(
            CRATELayer(config, n_positions=self.n_positions, device="meta")
            for _ in range(config.n_layers)
        )
        self.norm = make_norm(config, "meta")
        self.head: nn.Module = (
            nn.Linear(
                self.n_pooled, config.n_outputs, dtype=torch.float32, device="meta"
            )
            if config.n_members == 1
            else _MemberHeads(config, self.n_pooled)
        )
        if generator is not None:
            self.to_empty(device="cpu")
            self.draw(generator)
            self.to(device)
        elif torch.device(device).type != "meta":
            self.to_empty(device=device)

    @property
    def n_positions(self) -> int:
        """Number of tokens of a row inside the layers, the class token included."""
        return self.tokens.n_tokens + (self.class_token is not None)

    @property
    def n_pooled(self) -> int:
        """Number of features that the head reads."""
        n_read = self.tokens.n_tokens if self.config.pool == "concat" else 1
        return n_read * self.config.d_token

    def draw(self, generator: torch.Generator) -> None:
        """Draw the initial weights, in place.

        Linear maps and layer norms start as usual; parts with a method ``draw`` then
        draw their own weights.

        Parameters
        ----------
        generator : Generator
            Source of the draws.
        """
        for part in self.modules():
            if isinstance(part, nn.Linear):
                bound = part.in_features**-0.5
                uniform_(part.weight, bound, generator)
                if part.bias is not None:
                    uniform_(part.bias, bound, generator)
            elif isinstance(part, nn.LayerNorm):
                nn.init.ones_(part.weight)
                nn.init.zeros_(part.bias)
        for part in self.modules():
            if part is not self and hasattr(part, "draw"):
                cast(_Drawn, part).draw(generator)
        std = self.config.table_std
        with torch.no_grad():
            if self.class_token is not None and self.position is None:
                uniform_(self.class_token, self.config.d_token**-0.5, generator)
            elif self.class_token is not None:
                self.class_token.normal_(0, std, generator=generator)
            if self.position is not None:
                self.position.normal_(0, std, generator=generator)
            if self.members is not None:
                self.members.random_(0, 2, generator=generator).mul_(2).sub_(1)

    def embed(self, X: Tensor, generator: torch.Generator | None = None) -> Tensor:
        """Turn rows into the tokens that enter the first layer.

        Parameters
        ----------
        X : Tensor of shape (n_samples, n_inputs)
            Scaled numbers, then codes of categories; or flattened images with channels
            last.
        generator : Generator, default=None
            Source of dropout; None drops nothing.

        Returns
        -------
        tokens : Tensor of shape (n_samples, n_positions, d_token) or \
                (n_samples, n_members, n_positions, d_token)
            A class token comes first, or last if ``config.is_causal``.
        """
        tokens = self.tokens(X, generator)
        if self.class_token is not None:
            start = self.class_token.expand(tokens.shape[0], -1, -1)
            parts = [tokens, start] if self.config.is_causal else [start, tokens]
            tokens = torch.cat(parts, 1)
        if self.position is not None:
            tokens = tokens + self.position
        return tokens if self.members is None else tokens[:, None] * self.members

    def pool(self, X: Tensor, generator: torch.Generator | None = None) -> Tensor:
        """Give the features before the head, as ``config.pool`` says.

        Parameters
        ----------
        X : Tensor of shape (n_samples, n_inputs)
            Scaled numbers, then codes of categories; or flattened images with channels
            last.
        generator : Generator, default=None
            Source of dropout; None drops nothing.

        Returns
        -------
        features : Tensor of shape (n_samples, n_pooled) or \
                (n_samples, n_members, n_pooled)
            Normalised class tokens; means over the tokens where there are none; or all
            tokens, each normalised.
        """
        embedded = self.embed(X, generator)
        tokens = embedded.flatten(0, -3)
        last = len(self.layers) - 1
        reads_first = self.class_token is not None and not self.config.is_causal
        for number, layer in enumerate(self.layers):
            # Nothing reads the other tokens after the last layer.
            n_queries = 1 if number == last and reads_first else None
            tokens = layer(tokens, generator, n_queries)
        if self.config.pool == "concat":
            pooled = self.norm(tokens)
        elif self.class_token is None:
            pooled = self.norm(tokens.mean(1))
        else:
            pooled = self.norm(tokens[:, 0 if reads_first else -1])
        features: Tensor = pooled.reshape(*embedded.shape[:-2], self.n_pooled)
        return features

    def forward(self, X: Tensor, generator: torch.Generator | None = None) -> Tensor:
        """Give the logits of the classes.

        Parameters
        ----------
        X : Tensor of shape (n_samples, n_inputs)
            Scaled numbers, then codes of categories; or flattened images with channels
            last.
        generator : Generator, default=None
            Source of dropout; None drops nothing.

        Returns
        -------
        logits : Tensor of shape (n_samples, n_outputs) or \
                (n_samples, n_members, n_outputs)
            Logits.
        """
        logits: Tensor = self.head(self.pool(X, generator))
        return logits

    def trace(self, X: Tensor, *, member: int = 0) -> list[LayerTrace]:
        """Run rows through the layers and keep what went through each.

        Parameters
        ----------
        X : Tensor of shape (n_samples, n_inputs)
            Scaled numbers, then codes of categories; or flattened images with channels
            last.
        member : int, default=0
            Whose tokens to follow; for ``config.n_members`` above one.

        Returns
        -------
        traces : list of LayerTrace
            One a layer.
        """
        tokens = self.embed(X)
        if self.members is not None:
            tokens = tokens[:, member]
        traces: list[LayerTrace] = []
        for layer in self.layers:
            traces.append(cast(CRATELayer, layer).trace(tokens))
            tokens = traces[-1].output
        return traces

    @staticmethod
    def is_decayed(name: str, parameter: nn.Parameter) -> bool:
        """Tell whether weight decay applies: to the matrices of layers and head only.

        Parameters
        ----------
        name : str
            Name of the parameter in the module.
        parameter : Parameter
            The parameter.

        Returns
        -------
        decayed : bool
            False for tokenisers, tables, norms, biases, temperatures and learnt steps.
        """
        inside = name.startswith(("layers.", "head."))
        return inside and parameter.ndim >= 2 and not name.endswith(_NOT_DECAYED)


def _empty(*shape: int) -> nn.Parameter:
    return nn.Parameter(torch.empty(shape, dtype=torch.float32, device="meta"))
