r"""CRATE: a transformer whose layers are steps of sparse rate reduction.

Every layer first compresses the tokens against a set of subspaces, a step down the rate
:math:`R_c(Z \mid U_{[K]})` of the objective
:math:`R(Z) - R_c(Z \mid U_{[K]}) - \lambda \|Z\|_0`, and then sparsifies them in a
dictionary, a proximal step on its other two terms.
"""

from typing import NamedTuple, Protocol, cast

import torch
from torch import Tensor, nn

from sklearn_whitebox.modules._crate_attention import (
    StatisticsAttention,
    SubspaceAttention,
)
from sklearn_whitebox.modules._crate_config import (
    CRATEConfig,
    Device,
    uniform_,
)
from sklearn_whitebox.modules._crate_steps import (
    ISTAStep,
    MLPStep,
    OvercompleteStep,
)
from sklearn_whitebox.modules._tokens import (
    DenseTokens,
    FeatureTokens,
    PatchTokens,
)

_ATTENTIONS = {"mssa": SubspaceAttention, "tssa": StatisticsAttention}
_SPARSIFIERS = {"ista": ISTAStep, "odl": OvercompleteStep, "mlp": MLPStep}


class _Drawn(Protocol):
    def draw(self, generator: torch.Generator) -> None: ...


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
    device : str or device, default=None
        Where to put the parameters.
    """

    def __init__(self, config: CRATEConfig, *, device: Device = None) -> None:
        super().__init__()
        self.compress_norm = _norm(config, device)
        self.compress = _ATTENTIONS[config.attention](config, device=device)
        self.sparsify: nn.Module | None = None
        if config.sparsifier is not None:
            self.sparsify_norm = _norm(config, device)
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


class CRATE(nn.Module):
    """White-box transformer for classification.

    Parameters
    ----------
    config : CRATEConfig
        Architecture.
    generator : Generator, default=None
        Draws the initial weights. None leaves them empty, for a state to be loaded; the
        global generator is not touched in either case.
    device : str or device, default="cpu"
        Where to put the parameters; ``"meta"`` allocates nothing.

    References
    ----------
    .. [1] Yu et al. (2023). White-box transformers via sparse rate reduction. NeurIPS.
    .. [2] Yang et al. (2024). Scaling white-box transformers for vision. NeurIPS.
    .. [3] Wu et al. (2025). Token statistics transformer: linear-time attention via
       variational rate reduction. ICLR.
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
        self.tokens = _make_tokens(config)
        # Built without memory: layer constructors would draw from the global generator.
        self.class_token = _empty(1, 1, config.d_token)
        self.position: nn.Parameter | None = None
        if config.tokens == "patch":
            self.position = _empty(1, self.tokens.n_tokens + 1, config.d_token)
        self.layers = nn.ModuleList(
            CRATELayer(config, device="meta") for _ in range(config.n_layers)
        )
        self.norm = _norm(config, "meta")
        self.head = nn.Linear(
            config.d_token, config.n_outputs, dtype=torch.float32, device="meta"
        )
        if generator is not None:
            self.to_empty(device="cpu")
            self.draw(generator)
            self.to(device)
        elif torch.device(device).type != "meta":
            self.to_empty(device=device)

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
        with torch.no_grad():
            if self.position is None:
                uniform_(self.class_token, self.config.d_token**-0.5, generator)
            else:
                std = self.config.table_std
                self.class_token.normal_(0, std, generator=generator)
                self.position.normal_(0, std, generator=generator)

    def embed(self, X: Tensor) -> Tensor:
        """Turn rows into the tokens that enter the first layer.

        Parameters
        ----------
        X : Tensor of shape (n_samples, n_features)
            Scaled features, or flattened images with channels last.

        Returns
        -------
        tokens : Tensor of shape (n_samples, 1 + n_tokens, d_token)
            The class token comes first.
        """
        tokens = self.tokens(X)
        start = self.class_token.expand(len(tokens), -1, -1)
        tokens = torch.cat([start, tokens], 1)
        return tokens if self.position is None else tokens + self.position

    def pool(self, X: Tensor, generator: torch.Generator | None = None) -> Tensor:
        """Give the features before the head: the class token of the last layer.

        Parameters
        ----------
        X : Tensor of shape (n_samples, n_features)
            Scaled features, or flattened images with channels last.
        generator : Generator, default=None
            Source of dropout; None drops nothing.

        Returns
        -------
        features : Tensor of shape (n_samples, d_token)
            Normalised class tokens.
        """
        tokens = self.embed(X)
        last = len(self.layers) - 1
        for number, layer in enumerate(self.layers):
            # Nothing reads the other tokens after the last layer.
            tokens = layer(tokens, generator, 1 if number == last else None)
        features: Tensor = self.norm(tokens[:, 0])
        return features

    def forward(self, X: Tensor, generator: torch.Generator | None = None) -> Tensor:
        """Give the logits of the classes.

        Parameters
        ----------
        X : Tensor of shape (n_samples, n_features)
            Scaled features, or flattened images with channels last.
        generator : Generator, default=None
            Source of dropout; None drops nothing.

        Returns
        -------
        logits : Tensor of shape (n_samples, n_outputs)
            Logits.
        """
        logits: Tensor = self.head(self.pool(X, generator))
        return logits

    def trace(self, X: Tensor) -> list[LayerTrace]:
        """Run rows through the layers and keep what went through each.

        Parameters
        ----------
        X : Tensor of shape (n_samples, n_features)
            Scaled features, or flattened images with channels last.

        Returns
        -------
        traces : list of LayerTrace
            One a layer.
        """
        tokens = self.embed(X)
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
            False for tokenisers, tables, norms, biases and temperatures.
        """
        inside = name.startswith(("layers.", "head."))
        return inside and parameter.ndim >= 2 and not name.endswith("temperature")


def _empty(*shape: int) -> nn.Parameter:
    return nn.Parameter(torch.empty(shape, dtype=torch.float32, device="meta"))


def _norm(config: CRATEConfig, device: Device) -> nn.LayerNorm:
    return nn.LayerNorm(
        config.d_token, eps=config.layer_norm_eps, dtype=torch.float32, device=device
    )


def _make_tokens(config: CRATEConfig) -> DenseTokens | FeatureTokens | PatchTokens:
    if config.tokens == "patch":
        if config.image_shape is None:
            raise ValueError("tokens='patch' needs image_shape.")
        return PatchTokens(
            config.image_shape,
            config.patch_size,
            config.d_token,
            normalize=config.patch_norm,
            layer_norm_eps=config.layer_norm_eps,
            device="meta",
        )
    if config.tokens == "dense":
        return DenseTokens(
            config.n_features, config.n_tokens, config.d_token, device="meta"
        )
    return FeatureTokens(config.n_features, config.d_token, device="meta")
