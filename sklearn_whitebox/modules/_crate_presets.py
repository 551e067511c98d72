"""Architectures of the published sizes."""

from typing import Any

from sklearn_whitebox.modules._crate_config import CRATEConfig

_CRATE: dict[str, Any] = {"patch_size": 16}
_ALPHA: dict[str, Any] = {
    "patch_norm": False,
    "sparsifier": "odl",
    "output_bias": False,
    "layer_norm_eps": 1e-6,
}
_PRESETS: dict[str, dict[str, Any]] = {
    "crate-tiny": _CRATE | {"d_token": 384, "n_layers": 12, "n_heads": 6},
    "crate-small": _CRATE | {"d_token": 576, "n_layers": 12, "n_heads": 12},
    "crate-base": _CRATE | {"d_token": 768, "n_layers": 12, "n_heads": 12},
    "crate-large": _CRATE | {"d_token": 1024, "n_layers": 24, "n_heads": 16},
    "crate-alpha-base": _ALPHA
    | {"patch_size": 16, "d_token": 768, "n_layers": 12, "n_heads": 12},
    "crate-alpha-large": _ALPHA
    | {"patch_size": 14, "d_token": 1024, "n_layers": 24, "n_heads": 16},
}
# The heads of a checkpoint cannot be read off its shapes, but off its width.
PUBLISHED_HEADS = {384: 6, 576: 12, 768: 12, 1024: 16}


def crate_preset(
    name: str,
    *,
    n_outputs: int = 1000,
    image_shape: tuple[int, int, int] = (224, 224, 3),
) -> CRATEConfig:
    """Give the architecture of a published size.

    Parameters
    ----------
    name : {"crate-tiny", "crate-small", "crate-base", "crate-large", \
            "crate-alpha-base", "crate-alpha-large"}
        Which one.
    n_outputs : int, default=1000
        Width of the head, the number of classes.
    image_shape : (int, int, int), default=(224, 224, 3)
        Height, width and number of channels.

    Returns
    -------
    config : CRATEConfig
        Architecture.

    Raises
    ------
    ValueError
        If there is no preset of that name.

    Notes
    -----
    With the default head and images they have 6 090 856, 13 116 328, 22 796 008,
    77 641 192, 72 328 936 and 253 650 920 parameters. The token statistics transformers
    were published with a convolutional stem, position codes and class attention that a
    :class:`CRATE` does not have; only their attention, with ``attention="tssa"`` and
    ``sparsifier="mlp"``, is to be had here.

    References
    ----------
    .. [1] Yu et al. (2023). White-box transformers via sparse rate reduction. NeurIPS.
    .. [2] Yang et al. (2024). Scaling white-box transformers for vision. NeurIPS.

    Examples
    --------
    >>> crate_preset("crate-tiny").d_token
    384
    """
    if name not in _PRESETS:
        raise ValueError(f"name={name!r} must be one of {sorted(_PRESETS)}.")
    return CRATEConfig(n_outputs, "patch", image_shape=image_shape, **_PRESETS[name])
