"""Settings of a fit, once the defaults that depend on the data are resolved."""

import math
from dataclasses import dataclass

import numpy as np

from sklearn_whitebox.solvers._row_mixing import RowMixing

# The defaults below were chosen inside the training rows of a dozen tables and images.
# Beyond this dimension finer distortion cost more accuracy than dimensions brought.
_MOST_COMPONENTS = 32
_LEAST_STEPS, _LEAST_SMALL_STEPS, _LEAST_PASSES = 400, 600, 20
_SMALL_BATCH, _LARGE_BATCH = 256, 1000
# From here on wider layers pay for themselves.
_MANY_ROWS = 20_000
# Rows so few take over up to half of another row of their class.
_FEW_ROWS, _MIXING, _LEAST_MIXING = 1000, 0.5, 0.05
_NOISE, _MOST_NOISE, _MASKING = 0.1, 0.3, 0.2


@dataclass(frozen=True)
class Plan:
    """Settings of a fit, all defaults resolved.

    Parameters
    ----------
    n_components : int
        Dimension of the features.
    hidden : tuple of int
        Widths of the hidden layers.
    batch_size : int or None
        Rows of a batch, views included; None for all.
    learning_rate : float
        Peak rate.
    weight_decay : float
        Decoupled decay.
    max_iter : int
        Passes.
    mixing : RowMixing or None
        How rows of a batch are altered by default.
    """

    n_components: int
    hidden: tuple
    batch_size: int | None
    learning_rate: float
    weight_decay: float
    max_iter: int
    mixing: RowMixing | None


def resolve_plan(estimator, n_rows, n_features, n_classes, *, one_unit=False):
    """Resolve every default that depends on the data.

    Parameters
    ----------
    estimator : RateReductionEmbedding
        Whose parameters are asked.
    n_rows, n_features, n_classes : int
        Sizes of the training set; no classes without labels.
    one_unit : bool, default=False
        Whether all columns have the same scale.

    Returns
    -------
    plan : Plan
        Settings.
    """
    d = estimator.n_components
    if d is None:
        # Views are as many classes as there are rows.
        most = _MOST_COMPONENTS if n_classes else 128
        d = min(128, max(2 * n_classes, min(n_features, most)))
    batch_size = estimator.batch_size
    if batch_size == "auto":
        many = n_rows > _MANY_ROWS or n_classes == 0
        least = _LARGE_BATCH if many else _SMALL_BATCH
        batch_size = max(least, 8 * d, 20 * n_classes)
    rate = estimator.learning_rate
    if rate == "auto":
        rate = 1e-2 if estimator.encoder == "linear" else 5e-3
    hidden = _hidden_widths(estimator, n_rows) if estimator.encoder == "mlp" else ()
    return Plan(
        int(d),
        hidden,
        batch_size,
        float(rate),
        float(estimator.weight_decay),
        _n_passes(estimator, n_rows, batch_size),
        _row_mixing(estimator, n_rows, n_features if one_unit else 0),
    )


def _n_passes(estimator, n_rows, batch_size):
    if estimator.max_iter != "auto":
        return estimator.max_iter
    views = estimator.n_views if estimator.objective == "self_supervised" else 1
    n_steps = max(1, n_rows * views // (batch_size or n_rows * views))
    least = _LEAST_STEPS if n_steps == 1 else _LEAST_SMALL_STEPS
    return max(_LEAST_PASSES, -(-least // n_steps))


def _row_mixing(estimator, n_rows, n_redundant):
    """Mix the less, the more rows there are to fill their classes themselves."""
    if estimator.augment != "auto" or estimator.objective == "self_supervised":
        return None
    mixing = _MIXING * min(1.0, _FEW_ROWS / n_rows)
    mixing = mixing if mixing >= _LEAST_MIXING else 0.0
    # Columns of one unit, such as pixels, average noise out and can do without some.
    noise = min(max(math.sqrt(n_redundant) / 50, _NOISE), _MOST_NOISE)
    masking = _MASKING if n_redundant and n_rows > _MANY_ROWS else 0.0
    return RowMixing(mixing=mixing, noise=noise, masking=masking)


def _hidden_widths(estimator, n_rows):
    sizes = estimator.hidden_layer_sizes
    if isinstance(sizes, str):
        if sizes != "auto":
            raise ValueError(
                f"hidden_layer_sizes={sizes!r} must be 'auto' or positive integers."
            )
        return (256, 256) if n_rows <= _MANY_ROWS else (1024, 512)
    widths = tuple(np.atleast_1d(sizes).tolist())
    if not all(isinstance(width, int) and width >= 1 for width in widths):
        raise ValueError(
            f"hidden_layer_sizes={estimator.hidden_layer_sizes!r} must be positive "
            "integers, one per hidden layer."
        )
    return widths
