"""From images to tokens: convolutions, patches, one vector a patch."""

import math

import torch
from torch import Tensor, nn

from sklearn_whitebox.modules._crate_config import (
    CRATEConfig,
    Device,
    _drop,
    uniform_,
)
from sklearn_whitebox.modules._patches import check_patch_size, images_to_patches

# Larger patches than these leave resolution for the projection to choose from.
_MOST_HALVINGS = 3


class PatchTokens(nn.Module):
    r"""Turn an image into one token per patch, if asked after a few convolutions.

    The stem is a stack of 3x3 convolutions, each of which is one proximal step, from
    zero, of a non-negative convolutional lasso: :math:`\operatorname{relu}(D^\top x -
    \lambda)` with learnt atoms and a learnt threshold for each. It gives patches
    the translation equivariance that a linear map of pixels would have to learn from
    many images. The first convolutions halve height and width until a patch is two
    pixels wide, and the patches are cut out of what they leave: where in its patch a
    stroke lies is not lost. Each has ``d_token // 2`` filters.

    Parameters
    ----------
    config : CRATEConfig
        Architecture: `image_shape`, `patch_size`, `d_token`, `stem`, `patch_norm`,
        `layer_norm_eps` and `token_dropout` are read.
    device : str or device, default=None
        Where to put the parameters.

    Raises
    ------
    ValueError
        If there is no shape of the images, or the patches do not tile them.

    Notes
    -----
    A batch norm would need statistics kept beside the weights and would make rows
    depend on one another; the layer norms around the projection do without. They are
    always there after a stem. Without one they are there if ``config.patch_norm``,
    since on a patch of a few pixels a layer norm leaves hardly a degree of freedom.
    """

    def __init__(self, config: CRATEConfig, device: Device = None) -> None:
        super().__init__()
        if config.image_shape is None:
            raise ValueError("tokens='patch' needs image_shape.")
        height, width, n_channels = config.image_shape
        check_patch_size((height, width), config.patch_size)
        self.image_shape, self.patch_size = config.image_shape, config.patch_size
        self.n_tokens = (height // self.patch_size) * (width // self.patch_size)
        self.dropout = config.token_dropout
        strides = _plan_strides(config.patch_size) if config.stem else []
        n_filters = max(1, config.d_token // 2)
        self.stem = nn.ModuleList()
        for stride in strides:
            self.stem.append(
                nn.Conv2d(
                    n_channels,
                    n_filters,
                    kernel_size=3,
                    stride=stride,
                    padding=1,
                    dtype=torch.float32,
                    device=device,
                )
            )
            n_channels = n_filters
        self._rest = config.patch_size // math.prod(strides)
        patch_dim = self._rest**2 * n_channels

        def norm(size: int) -> nn.Module:
            if not (config.patch_norm or config.stem):
                return nn.Identity()
            return nn.LayerNorm(
                size, eps=config.layer_norm_eps, dtype=torch.float32, device=device
            )

        self.patch_norm = norm(patch_dim)
        self.projection = nn.Linear(
            patch_dim, config.d_token, dtype=torch.float32, device=device
        )
        self.token_norm = norm(config.d_token)

    @property
    def n_multiply_adds(self) -> int:
        """Multiply-adds of one image."""
        height, width, _ = self.image_shape
        count = self.n_tokens * self.projection.weight.numel()
        for layer in self.stem:
            assert isinstance(layer, nn.Conv2d)
            height, width = height // layer.stride[0], width // layer.stride[1]
            count += height * width * layer.weight.numel()
        return count

    def draw(self, generator: torch.Generator) -> None:
        """Draw the initial parameters.

        Parameters
        ----------
        generator : Generator
            Source of the draws.
        """
        for layer in self.stem:
            assert isinstance(layer, nn.Conv2d)
            # Keeps the mean square of what passes through convolution and relu.
            uniform_(layer.weight, math.sqrt(6 / layer.weight[0].numel()), generator)
            assert layer.bias is not None
            nn.init.zeros_(layer.bias)
        bound = self.projection.in_features**-0.5
        uniform_(self.projection.weight, bound, generator)
        uniform_(self.projection.bias, bound, generator)
        for norm in (self.patch_norm, self.token_norm):
            if isinstance(norm, nn.LayerNorm):
                nn.init.ones_(norm.weight)
                nn.init.zeros_(norm.bias)

    def forward(self, X: Tensor, generator: torch.Generator | None = None) -> Tensor:
        """Tokenise images.

        Parameters
        ----------
        X : Tensor of shape (n_samples, height * width * n_channels) or \
                (n_samples, height, width, n_channels)
            Images, channels last, flat or not.
        generator : Generator, default=None
            Source of dropout; None drops nothing.

        Returns
        -------
        tokens : Tensor of shape (n_samples, n_patches, d_token)
            One patch a token, in raster order.
        """
        images = X.reshape(X.shape[0], *self.image_shape)
        if self.stem:
            maps = images.movedim(-1, 1)
            for layer in self.stem:
                maps = nn.functional.relu(layer(maps))
            images = maps.movedim(1, -1)
        patches = images_to_patches(images, self._rest)
        tokens: Tensor = self.token_norm(self.projection(self.patch_norm(patches)))
        return _drop(tokens, self.dropout, generator)


def _plan_strides(patch_size: int) -> list[int]:
    """Choose the strides of the convolutions before patches are cut.

    Parameters
    ----------
    patch_size : int
        Side of a patch in pixels.

    Returns
    -------
    strides : list of int
        At least two; their product divides `patch_size`. Halving comes first, where
        it saves most.
    """
    n_halvings, rest = 0, patch_size
    while n_halvings < _MOST_HALVINGS and rest > 2 and rest % 2 == 0:
        n_halvings, rest = n_halvings + 1, rest // 2
    return [2] * n_halvings + [1] * (2 - n_halvings)
