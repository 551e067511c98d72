"""Tokenisers: from rows of numbers, or pixels, to tokens."""

import math

import torch
from torch import Tensor, nn

from sklearn_whitebox.modules._crate_config import uniform_
from sklearn_whitebox.modules._patches import images_to_patches


class PeriodicEncoding(nn.Module):
    r"""Encode every number by itself and a few learnt waves of it.

    .. math:: x_j \mapsto \bigl(x_j,\ V_j \cos(2\pi(c_j x_j + \varphi_j)) + v_j\bigr)

    A network of linear maps alone bends slowly along a single feature; the waves let
    it put thresholds and bumps there.

    Parameters
    ----------
    n_features : int
        Number of features.
    n_waves : int, default=16
        Waves of each feature.
    width : int, default=4
        Numbers a feature is encoded by, itself included.
    scale : float, default=0.1
        Standard deviation of the initial frequencies, in cycles per unit.
    device : str or device, default=None
        Where to put the parameters.
    """

    def __init__(
        self,
        n_features: int,
        *,
        n_waves: int = 16,
        width: int = 4,
        scale: float = 0.1,
        device: torch.device | str | None = None,
    ) -> None:
        super().__init__()
        self.scale = scale

        def empty(*shape: int) -> nn.Parameter:
            return nn.Parameter(torch.empty(shape, dtype=torch.float32, device=device))

        self.frequency = empty(n_features, n_waves)
        self.phase = empty(n_features, n_waves)
        self.weight = empty(n_features, n_waves, width - 1)
        self.bias = empty(n_features, width - 1)

    def draw(self, generator: torch.Generator) -> None:
        """Draw the initial parameters.

        Parameters
        ----------
        generator : Generator
            Source of the draws.
        """
        with torch.no_grad():
            self.frequency.normal_(0, self.scale, generator=generator)
        n_waves = self.frequency.shape[1]
        uniform_(self.phase, 0.5, generator)
        uniform_(self.weight, n_waves**-0.5, generator)
        uniform_(self.bias, n_waves**-0.5, generator)

    def forward(self, X: Tensor) -> Tensor:
        """Encode rows.

        Parameters
        ----------
        X : Tensor of shape (n_samples, n_features)
            Scaled features.

        Returns
        -------
        encoded : Tensor of shape (n_samples, n_features, width)
            The number itself comes first.
        """
        angle = 2 * math.pi * (X[..., None] * self.frequency + self.phase)
        waves = torch.einsum("bfw,fwk->bfk", angle.cos(), self.weight)
        return torch.cat([X[..., None], waves + self.bias], -1)


class DenseTokens(nn.Module):
    """Turn a row of numbers into a few tokens that each see all features.

    Each token is a non-linear view of the whole row, so attention relates views and not
    single columns; with many columns that is also cheaper.

    Parameters
    ----------
    n_features : int
        Number of features.
    n_tokens : int
        Number of tokens.
    d_token : int
        Width of a token.
    device : str or device, default=None
        Where to put the parameters.
    """

    def __init__(
        self,
        n_features: int,
        n_tokens: int,
        d_token: int,
        *,
        device: torch.device | str | None = None,
    ) -> None:
        super().__init__()
        self.n_tokens = n_tokens
        self.encoding = PeriodicEncoding(n_features, device=device)
        width = n_features * (self.encoding.bias.shape[1] + 1)
        self.views = nn.Linear(
            width, n_tokens * d_token, dtype=torch.float32, device=device
        )

    def draw(self, generator: torch.Generator) -> None:
        """Draw the initial parameters.

        Parameters
        ----------
        generator : Generator
            Source of the draws.
        """
        bound = self.views.in_features**-0.5
        # Unit variance of the views keeps the non-linearity in play from the start.
        uniform_(self.views.weight, math.sqrt(3) * bound, generator)
        uniform_(self.views.bias, 1.0, generator)

    def forward(self, X: Tensor) -> Tensor:
        """Tokenise rows.

        Parameters
        ----------
        X : Tensor of shape (n_samples, n_features)
            Scaled features.

        Returns
        -------
        tokens : Tensor of shape (n_samples, n_tokens, d_token)
            One view a token.
        """
        views = self.views(self.encoding(X).flatten(1))
        tokens: Tensor = nn.functional.gelu(views)
        return tokens.reshape(len(X), self.n_tokens, -1)


class FeatureTokens(nn.Module):
    """Turn a row of numbers into one token per feature.

    Parameters
    ----------
    n_features : int
        Number of features, and of tokens.
    d_token : int
        Width of a token.
    device : str or device, default=None
        Where to put the parameters.
    """

    def __init__(
        self,
        n_features: int,
        d_token: int,
        *,
        device: torch.device | str | None = None,
    ) -> None:
        super().__init__()
        self.n_tokens = n_features
        self.encoding = PeriodicEncoding(n_features, device=device)
        width = self.encoding.bias.shape[1] + 1
        self.weight = nn.Parameter(
            torch.empty(n_features, width, d_token, dtype=torch.float32, device=device)
        )
        self.bias = nn.Parameter(
            torch.empty(n_features, d_token, dtype=torch.float32, device=device)
        )

    def draw(self, generator: torch.Generator) -> None:
        """Draw the initial parameters.

        Parameters
        ----------
        generator : Generator
            Source of the draws.
        """
        bound = self.bias.shape[1] ** -0.5
        uniform_(self.weight, bound, generator)
        uniform_(self.bias, bound, generator)

    def forward(self, X: Tensor) -> Tensor:
        """Tokenise rows.

        Parameters
        ----------
        X : Tensor of shape (n_samples, n_features)
            Scaled features.

        Returns
        -------
        tokens : Tensor of shape (n_samples, n_features, d_token)
            One feature a token; which one is known by its weights.
        """
        return torch.einsum("bfk,fkd->bfd", self.encoding(X), self.weight) + self.bias


class PatchTokens(nn.Module):
    """Turn an image into one token per patch.

    Parameters
    ----------
    image_shape : (int, int, int)
        Height, width, number of channels.
    patch_size : int
        Side of a patch in pixels.
    d_token : int
        Width of a token.
    normalize : bool
        Layer norm before and after the projection. On a patch of a few pixels it
        leaves hardly a degree of freedom.
    layer_norm_eps : float, default=1e-5
        Guard of the layer norms.
    device : str or device, default=None
        Where to put the parameters.
    """

    def __init__(
        self,
        image_shape: tuple[int, int, int],
        patch_size: int,
        d_token: int,
        *,
        normalize: bool,
        layer_norm_eps: float = 1e-5,
        device: torch.device | str | None = None,
    ) -> None:
        super().__init__()
        height, width, n_channels = image_shape
        self.image_shape, self.patch_size = image_shape, patch_size
        self.n_tokens = (height // patch_size) * (width // patch_size)
        patch_dim = patch_size**2 * n_channels

        def norm(size: int) -> nn.Module:
            if not normalize:
                return nn.Identity()
            return nn.LayerNorm(
                size, eps=layer_norm_eps, dtype=torch.float32, device=device
            )

        self.patch_norm = norm(patch_dim)
        self.projection = nn.Linear(
            patch_dim, d_token, dtype=torch.float32, device=device
        )
        self.token_norm = norm(d_token)

    def forward(self, X: Tensor) -> Tensor:
        """Tokenise images.

        Parameters
        ----------
        X : Tensor of shape (n_samples, height * width * n_channels) or \
                (n_samples, height, width, n_channels)
            Images, channels last, flat or not.

        Returns
        -------
        tokens : Tensor of shape (n_samples, n_patches, d_token)
            One patch a token, in raster order.
        """
        images = X.reshape(len(X), *self.image_shape)
        patches = images_to_patches(images, self.patch_size)
        tokens: Tensor = self.token_norm(self.projection(self.patch_norm(patches)))
        return tokens
