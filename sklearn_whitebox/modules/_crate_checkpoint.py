"""Weights of the published programs, in a CRATE."""

import math
import re
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from sklearn_whitebox.modules._crate import CRATE
from sklearn_whitebox.modules._crate_config import CRATEConfig
from sklearn_whitebox.modules._crate_presets import PUBLISHED_HEADS

_WHOLE = {
    "pos_embedding": "position",
    "cls_token": "class_token",
    "to_patch_embedding.1.weight": "tokens.patch_norm.weight",
    "to_patch_embedding.1.bias": "tokens.patch_norm.bias",
    "to_patch_embedding.2.weight": "tokens.projection.weight",
    "to_patch_embedding.2.bias": "tokens.projection.bias",
    "to_patch_embedding.3.weight": "tokens.token_norm.weight",
    "to_patch_embedding.3.bias": "tokens.token_norm.bias",
    "conv1.weight": "tokens.projection.weight",
    "conv1.bias": "tokens.projection.bias",
    "mlp_head.0.weight": "norm.weight",
    "mlp_head.0.bias": "norm.bias",
    "mlp_head.1.weight": "head.weight",
    "mlp_head.1.bias": "head.bias",
}
_LAYER = {
    "0.norm.weight": "compress_norm.weight",
    "0.norm.bias": "compress_norm.bias",
    "0.fn.qkv.weight": "compress.projection.weight",
    "0.fn.to_out.0.weight": "compress.output.weight",
    "0.fn.to_out.0.bias": "compress.output.bias",
    "1.norm.weight": "sparsify_norm.weight",
    "1.norm.bias": "sparsify_norm.bias",
    "1.fn.weight": "sparsify.dictionary",
    "1.fn.D": "sparsify.dictionary",
    "1.fn.D1": "sparsify.decoder",
}
# What the sizes are read from, with the number of axes.
_SIZES = {
    "position": 3,
    "class_token": 3,
    "tokens.projection.weight": 2,
    "head.weight": 2,
}
_IN_LAYER = re.compile(r"transformer\.layers\.(\d+)\.(.+)")
# The overcomplete program norms its layers with this guard, its head with 1e-5.
_ALPHA_EPS = 1e-6


def load_original_checkpoint(
    state: Mapping[str, Any],
    *,
    n_heads: int | None = None,
    image_shape: tuple[int, int, int] | None = None,
    n_channels: int = 3,
    step_size: float = 0.1,
    sparsity: float = 0.1,
) -> CRATE:
    """Make a CRATE from a checkpoint of the published programs.

    Parameters
    ----------
    state : mapping of str to Tensor
        What ``torch.load`` gives for a checkpoint of CRATE or CRATE-α: the state of
        the network, or a mapping that holds it as ``"state_dict"`` or ``"model"``. A
        prefix ``"module."`` of parallel training is removed.
    n_heads : int or None, default=None
        Number of subspaces, which no shape tells; None knows the published widths 384,
        576, 768 and 1024.
    image_shape : (int, int, int) or None, default=None
        Height, width and number of channels; None takes images to be square.
    n_channels : int, default=3
        Number of channels if `image_shape` is None.
    step_size : float, default=0.1
        Step of the sparsifier; the programs do not save it.
    sparsity : float, default=0.1
        Weight of the one-norm in the sparsifier; the programs do not save it.

    Returns
    -------
    module : CRATE
        Network in evaluation with these weights; its ``config`` has the sizes. It takes
        standardised images with channels last, flat or not.

    Raises
    ------
    ValueError
        If keys are missing or unknown, or shapes do not fit one another.

    Notes
    -----
    The keys are those of ``model/crate.py`` of the first program [1]_ and of
    ``crate_alpha.py`` of the second [2]_, for layer ``i``:

    - ``pos_embedding``, ``cls_token``;
    - ``to_patch_embedding.1`` to ``.3`` (layer norm, linear map, layer norm), or
      ``conv1`` for CRATE-α;
    - ``transformer.layers.i.0``: ``.norm``, ``.fn.qkv.weight``, ``.fn.to_out.0``;
    - ``transformer.layers.i.1``: ``.norm``, and ``.fn.weight``, or ``.fn.D`` and
      ``.fn.D1`` for CRATE-α;
    - ``mlp_head.0`` and ``.1`` (layer norm, linear map).

    References
    ----------
    .. [1] Yu et al. (2023). White-box transformers via sparse rate reduction. NeurIPS.
    .. [2] Yang et al. (2024). Scaling white-box transformers for vision. NeurIPS.
    """
    tensors = _unwrap(state)
    is_alpha = "conv1.weight" in tensors
    patch_size = None
    if is_alpha:
        filters = tensors["conv1.weight"]
        if filters.ndim != 4 or filters.shape[2] != filters.shape[3]:
            raise ValueError(
                f"conv1.weight of shape {tuple(filters.shape)} must have the shape "
                "(width, n_channels, patch_size, patch_size)."
            )
        n_channels, patch_size = filters.shape[1], filters.shape[2]
        # A patch is read row by row with the channels last.
        tensors["conv1.weight"] = filters.permute(0, 2, 3, 1).flatten(1)
    weights = _rename(tensors)
    shape, patch_size = _image_sizes(weights, image_shape, n_channels, patch_size)
    config = _layer_sizes(weights, n_heads)
    config = replace(
        config,
        image_shape=shape,
        patch_size=patch_size,
        step_size=step_size,
        sparsity=sparsity,
        layer_norm_eps=_ALPHA_EPS if is_alpha else config.layer_norm_eps,
    )
    return _fill(CRATE(config, device="meta"), weights, is_alpha=is_alpha)


def _unwrap(state: Mapping[str, Any]) -> dict[str, Tensor]:
    if not isinstance(state, Mapping):
        raise TypeError(
            f"state must be a mapping of names to tensors, got {type(state).__name__}; "
            "read a file with torch.load, or take the state_dict of a network."
        )
    for name in ("state_dict", "model"):
        if isinstance(state.get(name), Mapping):
            state = state[name]
    tensors = {}
    for name, value in state.items():
        if not isinstance(value, Tensor):
            raise ValueError(
                f"state[{name!r}] is a {type(value).__name__}, no tensor; give the "
                "state of the network."
            )
        tensors[name.removeprefix("module.")] = value.detach()
    return tensors


def _rename(tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    weights, unknown = {}, []
    for name, value in tensors.items():
        found = _IN_LAYER.fullmatch(name)
        if name in _WHOLE:
            weights[_WHOLE[name]] = value
        elif found is not None and found[2] in _LAYER:
            weights[f"layers.{found[1]}.{_LAYER[found[2]]}"] = value
        else:
            unknown.append(name)
    if unknown:
        raise ValueError(
            f"state has keys that no published CRATE has: {_some(unknown)}; give the "
            "state of the network alone."
        )
    _refuse_missing([name for name in _SIZES if name not in weights])
    for name, n_axes in _SIZES.items():
        if weights[name].ndim != n_axes:
            raise ValueError(
                f"The weight for {name} has shape {tuple(weights[name].shape)}, but "
                f"must have {n_axes} axes."
            )
    return weights


def _image_sizes(
    weights: dict[str, Tensor],
    image_shape: tuple[int, int, int] | None,
    n_channels: int,
    patch_size: int | None,
) -> tuple[tuple[int, int, int], int]:
    n_patches = weights["position"].shape[-2] - 1
    patch_dim = weights["tokens.projection.weight"].shape[1]
    if image_shape is not None:
        n_channels = image_shape[2]
    if patch_size is None:
        patch_size = math.isqrt(max(patch_dim // n_channels, 1))
    if patch_size**2 * n_channels != patch_dim:
        raise ValueError(
            f"Patches of {patch_dim} values are no squares of {n_channels} channels; "
            "set n_channels, or image_shape."
        )
    side = math.isqrt(n_patches) * patch_size
    shape = image_shape or (side, side, n_channels)
    if (shape[0] // patch_size) * (shape[1] // patch_size) != n_patches:
        raise ValueError(
            f"image_shape={shape} has not the {n_patches} patches of side {patch_size} "
            "of the checkpoint; give the height and width it was trained on."
        )
    return shape, patch_size


def _layer_sizes(weights: dict[str, Tensor], n_heads: int | None) -> CRATEConfig:
    numbers = {int(n.split(".")[1]) for n in weights if n.startswith("layers.")}
    n_layers = max(numbers, default=-1) + 1
    if n_layers == 0:
        _refuse_missing(["transformer.layers.0.0.fn.qkv.weight"])
    first = "layers.0."
    needed = [first + "compress.projection.weight", first + "sparsify.dictionary"]
    _refuse_missing([name for name in needed if name not in weights])
    inner, d_token = weights[needed[0]].shape
    n_atoms = weights[needed[1]].shape[1]
    if n_heads is None:
        n_heads = PUBLISHED_HEADS.get(d_token)
    if n_heads is None:
        raise ValueError(
            f"The number of heads of a network of width {d_token} is not known, as no "
            "shape tells it; give n_heads."
        )
    if n_heads < 1 or inner % n_heads:
        raise ValueError(f"n_heads={n_heads} must divide the width {inner} of qkv.")
    return CRATEConfig(
        weights["head.weight"].shape[0],
        "patch",
        d_token=d_token,
        n_layers=n_layers,
        n_heads=n_heads,
        head_dim=inner // n_heads,
        sparsifier="odl" if first + "sparsify.decoder" in weights else "ista",
        overcomplete=max(n_atoms // d_token, 1),
        output_bias=first + "compress.output.bias" in weights,
        patch_norm="tokens.patch_norm.weight" in weights,
    )


def _fill(module: CRATE, weights: dict[str, Tensor], *, is_alpha: bool) -> CRATE:
    wanted = module.state_dict()
    _refuse_missing([name for name in wanted if name not in weights])
    extra = [name for name in weights if name not in wanted]
    if extra:
        raise ValueError(f"state has weights that do not fit together: {_some(extra)}.")
    for name, value in wanted.items():
        if weights[name].shape != value.shape:
            raise ValueError(
                f"The weight for {name} has shape {tuple(weights[name].shape)}, but "
                f"{tuple(value.shape)} fits the rest of the checkpoint."
            )
    copies = {}
    for name, value in weights.items():
        dtype = torch.float64 if value.dtype == torch.float64 else torch.float32
        copies[name] = value.to(dtype, copy=True)
    module.load_state_dict(copies, assign=True)
    for parameter in module.parameters():
        parameter.requires_grad_()
    if is_alpha:
        module.norm.eps = 1e-5
    return module.eval()


def _refuse_missing(names: list[str]) -> None:
    if names:
        raise ValueError(f"state lacks the weights for {_some(names)}.")


def _some(names: list[str]) -> str:
    return ", ".join(names[:5]) + (", ..." if len(names) > 5 else "")
