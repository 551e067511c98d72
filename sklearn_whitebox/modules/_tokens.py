"""Tokenisers: from rows of numbers, or pixels, to tokens."""

import math

import torch
from torch import Tensor, nn

from sklearn_whitebox.modules._categories import CategoryEmbedding
from sklearn_whitebox.modules._crate_config import (
    CRATEConfig,
    Device,
    _drop,
    uniform_,
)
from sklearn_whitebox.modules._encodings import (
    Encoding,
    LinearEncoding,
    PeriodicEncoding,
    PiecewiseLinearEncoding,
    make_encoding,
)
from sklearn_whitebox.modules._image_tokens import PatchTokens

__all__ = [
    "CategoryEmbedding",
    "DenseTokens",
    "FeatureTokens",
    "LinearEncoding",
    "PatchTokens",
    "PeriodicEncoding",
    "PiecewiseLinearEncoding",
]

# Wider vectors do not separate the categories of a column better in a dense mixture.
_WIDEST_CATEGORY = 8


class _TableTokens(nn.Module):
    """Read the columns of a table: numbers, missing or not, and categories."""

    encoding: Encoding | None
    categories: CategoryEmbedding | None

    def __init__(
        self, config: CRATEConfig, *, category_width: int, device: Device
    ) -> None:
        super().__init__()
        if config.n_features + len(config.categories) == 0:
            raise ValueError("A table needs n_features > 0 or categories.")
        self.n_features = config.n_features
        self.missing = config.missing and config.n_features > 0
        self.rate = config.token_dropout
        self.encoding = (
            make_encoding(config, device=device) if self.n_features else None
        )
        self.categories = None
        if config.categories:
            self.categories = CategoryEmbedding(
                config.categories, category_width, device=device
            )

    def set_edges(self, edges: Tensor) -> None:
        """Set the edges of the bins of the numeric columns, if they have bins.

        Parameters
        ----------
        edges : Tensor of shape (n_features, n_bins + 1)
            As for :class:`PiecewiseLinearEncoding`.
        """
        if isinstance(self.encoding, PiecewiseLinearEncoding):
            self.encoding.set_edges(edges)

    def _numbers(self, X: Tensor) -> tuple[Tensor, Tensor | None]:
        X = X[:, : self.n_features]
        if not self.missing:
            return X, None
        is_missing = X.isnan()
        # What a missing number adds is learnt; zero is the median of the column.
        return X.masked_fill(is_missing, 0), is_missing.to(X.dtype)


class DenseTokens(_TableTokens):
    r"""Turn a row of a table into a few tokens that each see all columns.

    .. math:: [t_1, \dots, t_m] = \operatorname{gelu}(e(x) W + c)

    where :math:`e(x)` chains the codes of all numbers, the vectors of all categories
    and, where numbers may be missing, what is missing. Each token is a non-linear view
    of the whole row, so attention relates views and not single columns; with many
    columns that is also cheaper.

    Parameters
    ----------
    config : CRATEConfig
        Architecture; reads `n_features`, `categories`, `encoding`, `n_bins`,
        `missing`, `n_tokens`, `d_token` and `token_dropout`.
    device : str or device, default=None
        Where to put the parameters.
    """

    def __init__(self, config: CRATEConfig, device: Device = None) -> None:
        width = min(_WIDEST_CATEGORY, max((*config.categories, 2)) - 1)
        super().__init__(config, category_width=width, device=device)
        self.n_tokens = config.n_tokens
        n_inputs = len(config.categories) * width
        if self.encoding is not None:
            n_inputs += self.n_features * (self.encoding.width + self.missing)
        self.views = nn.Linear(
            n_inputs,
            config.n_tokens * config.d_token,
            dtype=torch.float32,
            device=device,
        )

    def draw(self, generator: torch.Generator) -> None:
        """Draw the initial parameters.

        Parameters
        ----------
        generator : Generator
            Source of the draws.
        """
        weight = self.views.weight
        scale = []
        if self.encoding is not None:
            scale += [self.encoding.initial_scale().repeat(self.n_features)]
            scale += [torch.zeros(self.n_features)] * self.missing
        n_units = sum(int(part.sum()) for part in scale)
        if self.categories is not None:
            n_columns = len(self.categories.categories)
            n_units += n_columns
            scale += [torch.ones(n_columns * self.categories.table.shape[1])]
        # Unit variance of the views keeps the non-linearity in play from the start.
        uniform_(weight, math.sqrt(3 / n_units), generator)
        with torch.no_grad():
            weight.mul_(torch.cat(scale).to(weight))
        uniform_(self.views.bias, 1.0, generator)

    def forward(self, X: Tensor, generator: torch.Generator | None = None) -> Tensor:
        """Tokenise rows.

        Parameters
        ----------
        X : Tensor of shape (n_samples, n_features + n_nominal)
            Scaled numbers, then codes of categories.
        generator : Generator, default=None
            Source of dropout and of values taken as unknown; None leaves all as it is.

        Returns
        -------
        tokens : Tensor of shape (n_samples, n_tokens, d_token)
            One view a token.
        """
        inputs = []
        if self.encoding is not None:
            numbers, is_missing = self._numbers(X)
            inputs += [self.encoding(numbers).flatten(1)]
            inputs += [] if is_missing is None else [is_missing]
        if self.categories is not None:
            codes = X[:, self.n_features :]
            inputs += [self.categories(codes, generator).flatten(1)]
        views = self.views(inputs[0] if len(inputs) == 1 else torch.cat(inputs, 1))
        # Not len(X), which would fix the number of rows of an exported graph.
        tokens = nn.functional.gelu(views).reshape(X.shape[0], self.n_tokens, -1)
        return _drop(tokens, self.rate, generator)


class FeatureTokens(_TableTokens):
    """Turn a row of a table into one token per column.

    Parameters
    ----------
    config : CRATEConfig
        Architecture; reads `n_features`, `categories`, `encoding`, `n_bins`,
        `missing`, `d_token` and `token_dropout`.
    device : str or device, default=None
        Where to put the parameters.
    """

    def __init__(self, config: CRATEConfig, device: Device = None) -> None:
        super().__init__(config, category_width=config.d_token, device=device)
        self.n_tokens = self.n_features + len(config.categories)

        def empty(*shape: int) -> nn.Parameter:
            return nn.Parameter(torch.empty(shape, dtype=torch.float32, device=device))

        if self.encoding is not None:
            self.weight = empty(self.n_features, self.encoding.width, config.d_token)
        if self.missing:
            self.missing_token = empty(self.n_features, config.d_token)
        self.bias = empty(self.n_tokens, config.d_token)

    def draw(self, generator: torch.Generator) -> None:
        """Draw the initial parameters.

        Parameters
        ----------
        generator : Generator
            Source of the draws.
        """
        bound = self.bias.shape[1] ** -0.5
        if self.encoding is not None:
            uniform_(self.weight, bound, generator)
            with torch.no_grad():
                self.weight.mul_(self.encoding.initial_scale()[:, None].to(self.weight))
        if self.missing:
            # A number missing only later is then read as the median.
            nn.init.zeros_(self.missing_token)
        uniform_(self.bias, bound, generator)

    def forward(self, X: Tensor, generator: torch.Generator | None = None) -> Tensor:
        """Tokenise rows.

        Parameters
        ----------
        X : Tensor of shape (n_samples, n_features + n_nominal)
            Scaled numbers, then codes of categories.
        generator : Generator, default=None
            Source of dropout and of values taken as unknown; None leaves all as it is.

        Returns
        -------
        tokens : Tensor of shape (n_samples, n_features + n_nominal, d_token)
            One column a token; which one is known by its weights.
        """
        tokens = []
        if self.encoding is not None:
            numbers, is_missing = self._numbers(X)
            columns = torch.einsum("bfk,fkd->bfd", self.encoding(numbers), self.weight)
            if is_missing is not None:
                columns = columns + is_missing[..., None] * self.missing_token
            tokens += [columns]
        if self.categories is not None:
            tokens += [self.categories(X[:, self.n_features :], generator)]
        joined = tokens[0] if len(tokens) == 1 else torch.cat(tokens, 1)
        return _drop(joined + self.bias, self.rate, generator)
