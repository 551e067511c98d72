"""CRATE estimators of the published sizes, and with the published weights."""

import math
from dataclasses import replace

import numpy as np

from sklearn_whitebox._array import as_numpy
from sklearn_whitebox.estimators._crate_config import IMPLIED
from sklearn_whitebox.estimators._network_state import arrays_of
from sklearn_whitebox.modules._crate_checkpoint import load_original_checkpoint
from sklearn_whitebox.modules._crate_config import CRATEConfig
from sklearn_whitebox.modules._crate_presets import crate_preset

# Fields of an architecture that are parameters of the estimators.
_PARAMETERS = (
    "n_layers",
    "d_token",
    "n_heads",
    "attention",
    "sparsifier",
    "image_shape",
    "patch_size",
    "stem",
    "pool",
    "dropout",
    "n_members",
)


def preset_parameters(name, overrides):
    """Give the parameters of a published size.

    Parameters
    ----------
    name : str
        Name of the preset.
    overrides : dict
        Parameters that shall be others.

    Returns
    -------
    parameters : dict
        Parameters of an estimator.

    Raises
    ------
    ValueError
        If there is no such preset, or the estimators cannot express it.
    """
    config = crate_preset(name)
    # Patches of so many pixels are normalised anyway.
    implied = CRATEConfig(1, "patch", patch_norm=True)
    if any(getattr(config, field) != getattr(implied, field) for field in IMPLIED):
        raise ValueError(
            f"name={name!r} leaves out norms and biases, which is no parameter here; "
            "use sklearn_whitebox.modules.crate_preset, or from_checkpoint."
        )
    return {field: getattr(config, field) for field in _PARAMETERS} | overrides


def estimator_of_checkpoint(make, state, classes, mean, std, settings, overrides):
    """Make a fitted classifier of a checkpoint of the published programs.

    Parameters
    ----------
    make : type
        Class of the estimator.
    state : mapping of str to Tensor
        Checkpoint.
    classes : array-like or None
        Labels in the order of the outputs; None numbers them.
    mean, std : float or array-like of shape (n_channels,)
        Subtracted from pixels, then divided by.
    settings : dict
        What the checkpoint does not tell.
    overrides : dict
        Further parameters of the estimator.

    Returns
    -------
    estimator : object
        Fitted estimator.

    Raises
    ------
    ValueError
        If the checkpoint is no network, or the labels do not fit it.
    """
    module = load_original_checkpoint(state, **settings)
    config = module.config
    if (
        config.head_dim is not None
        and config.head_dim * config.n_heads == config.d_token
    ):
        config = replace(config, head_dim=None)
    shape = config.image_shape
    n_features = math.prod(shape)
    config = replace(config, n_features=n_features)
    classes = np.arange(config.n_outputs) if classes is None else as_numpy(classes)
    classes = np.asarray(classes)
    order = np.argsort(classes, kind="stable")
    if len(np.unique(classes)) != config.n_outputs or len(classes) != config.n_outputs:
        raise ValueError(
            f"classes has {len(np.unique(classes))} different labels, but the "
            f"checkpoint has {config.n_outputs} outputs."
        )
    fields = {field: getattr(config, field) for field in _PARAMETERS}
    estimator = make(**fields | overrides)
    weights = arrays_of(module.state_dict())
    for name in ("head.weight", "head.bias"):
        weights[name] = weights[name][order]
    channels = [
        _per_channel(name, value, shape[2])
        for name, value in (("mean", mean), ("std", std))
    ]
    estimator.classes_ = classes[order]
    estimator.weights_ = weights
    estimator.n_networks_ = 1
    estimator.n_features_in_ = n_features
    estimator.is_categorical_ = np.zeros(n_features, dtype=bool)
    estimator.categories_ = []
    estimator.centre_ = np.tile(channels[0], n_features // shape[2])
    estimator.scale_ = np.tile(1 / channels[1], n_features // shape[2])
    estimator.temperature_ = 1.0
    estimator.loss_curve_, estimator.validation_curve_ = [], []
    estimator.n_iter_ = estimator.best_iteration_ = 0
    estimator.n_parameters_ = sum(w.size for w in weights.values())
    estimator._architecture = vars(config).copy()
    estimator._n_features_out = config.d_token
    return estimator


def _per_channel(name, value, n_channels):
    values = np.asarray(value, dtype=np.float64)
    if values.shape not in ((), (1,), (n_channels,)):
        raise ValueError(
            f"{name}={value!r} must be one number, or one of each of the {n_channels} "
            "channels."
        )
    if not np.isfinite(values).all() or (name == "std" and (values <= 0).any()):
        sign = "positive and finite" if name == "std" else "finite"
        raise ValueError(f"{name}={value!r} must be {sign}.")
    return np.broadcast_to(values, n_channels)
