"""From the parameters of a CRATE estimator to its architecture, with checks."""

import math
from dataclasses import dataclass
from numbers import Integral

import numpy as np

from sklearn_whitebox._warn import warn
from sklearn_whitebox.modules._crate_config import CRATEConfig
from sklearn_whitebox.modules._patches import check_patch_size, default_patch_size

# Up to so many rows a step sees all of them, in their order, in double precision and
# without dropout: it costs nothing there, and an integer weight is a repetition.
FULL_BATCH = 64
# Passes over few rows are repeated until they have so many steps.
LEAST_STEPS = 10
# With fewer rows a held-out part says too little to stop by.
LEAST_ROWS_TO_STOP = 50
# Attention among so many tokens is slow; among more it is refused.
_MANY_TOKENS, _MOST_TOKENS = 200, 2000
# What training may change without changing what the weights mean.
_OF_TRAINING = ("dropout", "token_dropout")
# What no parameter says: a model to go on from does.
IMPLIED = (
    "patch_norm",
    "head_dim",
    "is_causal",
    "tie_output",
    "step_size",
    "sparsity",
    "learn_step",
    "n_steps",
    "overcomplete",
    "output_bias",
    "layer_norm_eps",
)


@dataclass(frozen=True)
class Plan:
    """Settings of a fit, all defaults that depend on the data resolved.

    Parameters
    ----------
    n_layers, d_token, n_tokens, n_bins, n_members : int
        Architecture.
    n_ensemble : int
        Networks to train.
    pool : str
        What the head reads.
    augment : str or None
        How images are altered in training.
    dropout, token_dropout : float
        Shares dropped in training, in the attention and of the first tokens.
    max_iter, batch_size : int
        Most passes, and rows of a step.
    learning_rate : float or None
        Peak rate; None lets the number of weights decide.
    weight_decay : float
        Decay of the matrices.
    early_stopping, refit, calibrate : bool
        Whether to hold rows out and stop by them, to train again on all rows, and to
        fit a temperature.
    cross_fit : bool
        Whether every network holds out another part of the rows.
    """

    n_layers: int
    d_token: int
    n_tokens: int
    n_bins: int
    n_members: int
    n_ensemble: int
    pool: str
    augment: str | None
    dropout: float
    token_dropout: float
    max_iter: int
    batch_size: int
    learning_rate: float | None
    weight_decay: float
    early_stopping: bool
    refit: bool
    calibrate: bool
    cross_fit: bool


def resolve_plan(estimator, n_samples, *, is_classifier, is_image, known=None):
    """Resolve every default that depends on the data: the one place for it.

    Parameters
    ----------
    estimator : BaseCRATE
        Whose parameters are asked.
    n_samples : int
        Rows of positive weight.
    is_classifier : bool
        Whether there are logits to calibrate.
    is_image : bool
        Whether the rows are images.
    known : dict or None, default=None
        Attributes of the model that the fit goes on from, whose architecture and number
        of networks then decide.

    Returns
    -------
    plan : Plan
        Settings.
    """
    settled = {}
    if known is not None:
        settled = known["_architecture"] | {"n_ensemble": known["n_networks_"]}

    def choose(name, default):
        value = getattr(estimator, name)
        return settled.get(name, default) if value == "auto" else value

    enough = n_samples >= LEAST_ROWS_TO_STOP
    early_stopping = bool(choose("early_stopping", enough and not is_image))
    # A network more costs as much as the first, and on images that is much.
    n_ensemble = int(choose("n_ensemble", 8 if enough and not is_image else 1))
    calibrate = is_classifier and bool(choose("calibrate", early_stopping))
    cross_fit = (early_stopping or calibrate) and n_ensemble > 1
    batch_size = int(choose("batch_size", _batch_size(n_samples, is_image)))
    n_passes = _n_passes(n_samples, batch_size, is_image)
    is_given = estimator.dropout != "auto"
    dropout = float(choose("dropout", 0.1))
    token_dropout = dropout if is_given else 0.3
    rate = estimator.learning_rate
    return Plan(
        n_layers=int(choose("n_layers", 2 if is_image else 1)),
        d_token=int(choose("d_token", 64 if is_image else 32)),
        n_tokens=int(choose("n_tokens", 8)),
        n_bins=int(choose("n_bins", 16)),
        n_members=int(choose("n_members", 1)),
        n_ensemble=n_ensemble,
        pool=choose("pool", "mean" if is_image else "concat"),
        augment=choose("augment", "affine" if is_image else None),
        dropout=dropout,
        token_dropout=0.0 if is_image else token_dropout,
        max_iter=int(choose("max_iter", n_passes)),
        batch_size=batch_size,
        learning_rate=None if rate == "auto" else float(rate),
        weight_decay=float(choose("weight_decay", 0.01 if is_image else 0.3)),
        early_stopping=early_stopping,
        # Every row has been learnt from by all networks but one.
        refit=bool(choose("refit", early_stopping and not cross_fit)),
        calibrate=calibrate,
        cross_fit=cross_fit,
    )


def resolve_learning_rate(n_weights, *, is_image):
    """Choose the peak step size.

    Parameters
    ----------
    n_weights : int
        Number of weights of the network.
    is_image : bool
        Whether the rows are images.

    Returns
    -------
    learning_rate : float
        For AdamW.
    """
    if is_image:
        return 4e-3 if n_weights <= 1e6 else 1e-3
    return 5e-3 if n_weights <= 1e6 else 2e-3


def _batch_size(n_samples, is_image):
    if n_samples <= FULL_BATCH:
        return FULL_BATCH
    if is_image:
        return 32 if n_samples <= 2_000 else 64 if n_samples <= 20_000 else 128
    return 128 if n_samples <= 2_000 else 256


def _n_passes(n_samples, batch_size, is_image):
    """Choose the passes: on tables by their number of steps."""
    if is_image:
        return math.ceil(min(max(50_000 / n_samples, 15), 40))
    n_steps = min(max(12 * math.sqrt(n_samples), 300), 2_000)
    return math.ceil(n_steps / max(n_samples / batch_size, LEAST_STEPS))


def make_config(estimator, plan, n_numeric, categories, n_outputs):
    """Make the architecture that the parameters ask for.

    Parameters
    ----------
    estimator : BaseCRATE
        Its parameters are read.
    plan : Plan
        Resolved defaults.
    n_numeric : int
        Number of numeric columns.
    categories : tuple of int
        Number of codes of every nominal column.
    n_outputs : int
        Width of the head.

    Returns
    -------
    config : CRATEConfig
        Architecture.

    Raises
    ------
    ValueError
        If the parameters do not fit the data or one another.
    """
    if plan.d_token % estimator.n_heads:
        raise ValueError(
            f"n_heads={estimator.n_heads} must divide d_token={plan.d_token}."
        )
    settings = {
        "n_outputs": n_outputs,
        "pool": plan.pool,
        "d_token": plan.d_token,
        "n_layers": plan.n_layers,
        "n_heads": int(estimator.n_heads),
        "attention": estimator.attention,
        "sparsifier": estimator.sparsifier,
        "dropout": plan.dropout,
        "token_dropout": plan.token_dropout,
        "n_members": plan.n_members,
    }
    if estimator.image_shape is not None:
        return _image_config(estimator, n_numeric, categories, settings)
    for name in ("patch_size", "augment"):
        value = getattr(estimator, name)
        if value not in (None, "auto"):
            raise ValueError(f"{name}={value!r} needs image_shape=(height, width).")
    if estimator.tokens == "dense":
        settings["n_tokens"] = plan.n_tokens
    else:
        _check_n_tokens(estimator, n_numeric + len(categories))
    return CRATEConfig(
        tokens=estimator.tokens,
        n_features=n_numeric,
        categories=categories,
        missing=estimator.missing == "token",
        encoding=estimator.encoding,
        n_bins=plan.n_bins if estimator.encoding == "piecewise_linear" else 16,
        **settings,
    )


def _image_config(estimator, n_numeric, categories, settings):
    if categories:
        raise ValueError(
            "image_shape is for pixels, but some columns are categorical; use "
            "categorical_features=None or image_shape=None."
        )
    if estimator.missing != "error":
        raise ValueError(
            f"missing={estimator.missing!r} is for tables; fill the missing pixels and "
            "use missing='error', or image_shape=None."
        )
    shape = check_image_shape(estimator.image_shape, n_numeric)
    patch_size = estimator.patch_size or default_patch_size(shape)
    check_patch_size(shape, patch_size)
    stem = estimator.stem
    if stem == "auto":
        # Two convolutions need a few pixels around a patch to look at.
        stem = min(shape[:2]) >= 8
    return CRATEConfig(
        tokens="patch",
        n_features=n_numeric,
        image_shape=shape,
        patch_size=int(patch_size),
        stem=bool(stem),
        # On fewer values a layer norm would leave hardly a degree of freedom.
        patch_norm=patch_size**2 * shape[2] >= 16,
        **settings,
    )


def _check_n_tokens(estimator, n_tokens):
    if estimator.attention != "mssa" or n_tokens <= _MANY_TOKENS:
        return
    cost = (
        f"tokens='feature' makes a token of each of {n_tokens} features, and the cost "
        "of attention='mssa' grows with their square; use attention='tssa' or "
        "tokens='dense'"
    )
    if n_tokens > _MOST_TOKENS:
        raise ValueError(f"{cost}. At most {_MOST_TOKENS} are accepted.")
    warn(f"{cost}.", UserWarning)


def check_image_shape(image_shape, n_features):
    """Complete the shape of the images, and refuse one that does not fit the rows.

    Parameters
    ----------
    image_shape : tuple or list
        Height, width and perhaps number of channels.
    n_features : int
        Number of columns of the data.

    Returns
    -------
    shape : (int, int, int)
        Height, width and number of channels.

    Raises
    ------
    ValueError
        If it is no shape of an image or its product is not `n_features`.
    """
    shape = tuple(image_shape)
    whole = all(isinstance(side, Integral) and side > 0 for side in shape)
    if len(shape) not in (2, 3) or not whole:
        raise ValueError(
            f"image_shape={image_shape!r} must be (height, width) or (height, width, "
            "n_channels), all positive integers."
        )
    if math.prod(shape) != n_features:
        raise ValueError(
            f"image_shape={image_shape!r} has {math.prod(shape)} values, but X has "
            f"{n_features} features; the product must be equal."
        )
    return tuple(int(side) for side in (*shape, 1)[:3])


def check_same_model(fitted, config, outputs, what):
    """Refuse to go on from a model of other classes or architecture.

    Parameters
    ----------
    fitted : dict
        Attributes of the estimator before this fit.
    config : CRATEConfig
        Architecture to be trained.
    outputs : dict of str to ndarray
        Fitted attributes that must be as before.
    what : str
        What asks to go on.

    Raises
    ------
    ValueError
        If classes or architecture are others.
    """
    same = all(np.array_equal(fitted[name], now) for name, now in outputs.items())
    # Dropout is of the training: it says nothing about the weights.
    ignored = dict.fromkeys(_OF_TRAINING, 0.0)
    then, now = ({**c, **ignored} for c in (fitted["_architecture"], vars(config)))
    if not same or then != now:
        raise ValueError(
            f"{what} needs the classes, features and architecture of the previous "
            "fit; clone the estimator to start afresh."
        )
