"""What the columns contribute to predictions, and a check of it by shuffling them."""

import contextlib

import numpy as np
import torch
from scipy.stats import spearmanr
from sklearn.base import is_classifier
from sklearn.inspection import permutation_importance
from sklearn.metrics import log_loss, make_scorer
from sklearn.utils import Bunch
from sklearn.utils.validation import check_is_fitted

from sklearn_whitebox._array import as_numpy
from sklearn_whitebox.estimators._crate_cost import (
    count_multiply_adds,
    rows_at_once,
)
from sklearn_whitebox.estimators._crate_inference import _inference, _load, _validate
from sklearn_whitebox.estimators._crate_inputs import scale_rows
from sklearn_whitebox.estimators._crate_integration import Prediction, Way, integrate
from sklearn_whitebox.estimators._crate_reading import (
    column_order,
    on_tokens,
    read_attention,
    read_energies,
)
from sklearn_whitebox.modules._crate import CRATE
from sklearn_whitebox.modules._crate_config import CRATEConfig


def attribute_features(
    estimator, X, *, target=None, baseline="median", n_steps=32, level="feature"
):
    r"""Share the distance of every prediction from that of a baseline among columns.

    The gradient of the prediction is integrated on the way from the baseline to the
    row, times the way itself (integrated gradients). The way is straight in what the
    first matrix of the network reads, the codes of the columns: there every column,
    numeric, nominal or missing, has coordinates of its own.

    Parameters
    ----------
    estimator : CRATEClassifier or CRATERegressor
        Fitted estimator.
    X : array-like of shape (n_samples, n_features)
        Rows.
    target : label, int or None, default=None
        What is attributed: the log-odds of this class, or of the class predicted for
        each row; of a regression the output of this number, which may be None if there
        is but one.
    baseline : "median" or array-like of shape (n_features,), default="median"
        Row that contributes nothing. ``"median"`` has the medians of the training rows,
        or the mean of the channels of images, and an unknown value in nominal columns.
    n_steps : int, default=32
        Points on the way.
    level : {"feature", "token"}, default="feature"
        Attribute to the columns, or pixels, or to the tokens made of them.

    Returns
    -------
    attributions : ndarray of shape (n_samples, n_features) or (n_samples, n_tokens) \
            or (n_samples, n_rows, n_columns)
        Signed. The sum over a row is its prediction minus that of the baseline, to
        rounding. Tokens of images are on the grid of the patches.

    Raises
    ------
    ValueError
        If the target is none of the model's, or a setting is unknown.

    Notes
    -----
    Costs `n_steps` forward and backward passes. All networks and members of an ensemble
    count, and so does the temperature. What the integral misses for its finite number
    of steps is shared among the columns in proportion, so more steps move single
    attributions but not their sum.

    References
    ----------
    .. [1] Sundararajan, Taly, Yan (2017). Axiomatic attribution for deep networks.
       ICML.
    """
    if n_steps < 1:
        raise ValueError(f"n_steps={n_steps} must be at least 1.")
    if level not in ("feature", "token"):
        raise ValueError(f"level={level!r} should be 'feature' or 'token'.")
    start = _baseline(estimator, baseline)
    with _open_networks(estimator, X, is_double=True) as (networks, inputs, size):
        start = torch.from_numpy(start).to(inputs)
        ways = [Way(network, start, level) for network in networks]
        predict = Prediction(estimator, target)
        parts = [integrate(ways, part, predict, n_steps) for part in inputs.split(size)]
        found = torch.cat(parts).cpu().numpy()
    if level == "token":
        return on_tokens(estimator, found)
    order = column_order(estimator)
    return found if order is None else found[:, np.argsort(order)]


def check_attributions(
    estimator,
    X,
    y,
    *,
    target=None,
    baseline="median",
    n_steps=32,
    n_repeats=5,
    random_state=None,
    n_jobs=None,
):
    """Compare attributions with what shuffling a column costs on labelled rows.

    Parameters
    ----------
    estimator : CRATEClassifier or CRATERegressor
        Fitted estimator.
    X : array-like of shape (n_samples, n_features)
        Rows, best not seen in training.
    y : array-like of shape (n_samples,)
        Their labels or targets.
    target, baseline, n_steps : object
        As in :func:`attribute_features`.
    n_repeats : int, default=5
        How often each column is shuffled.
    random_state : int, RandomState instance or None, default=None
        Determines the shuffling.
    n_jobs : int or None, default=None
        Columns shuffled at a time.

    Returns
    -------
    check : Bunch
        ``attributions`` of shape (n_samples, n_features), ``attribution_sizes`` of
        shape (n_features,), their mean absolute values, ``importances`` of shape
        (n_features, n_repeats), the growth of log-loss or mean squared error, with
        ``importances_mean`` and ``importances_std`` of shape (n_features,),
        ``rank_correlation`` of sizes and mean importances, and ``rank_correlations``, a
        dict with the same for other readings of one token per feature: ``"energy"``,
        the energy of a token in the subspaces, mean over the layers, and
        ``"attention"``, the attention rolled out over the layers. NaN stands for what
        is constant.

    Notes
    -----
    Costs n_features times `n_repeats` predictions of all rows.
    """
    attributions = attribute_features(
        estimator, X, target=target, baseline=baseline, n_steps=n_steps
    )
    found = permutation_importance(
        estimator,
        X,
        y,
        scoring=_scorer(estimator),
        n_repeats=n_repeats,
        random_state=random_state,
        n_jobs=n_jobs,
    )
    sizes = np.abs(attributions).mean(0)
    correlations = {
        name: _rank_correlation(values, found.importances_mean)
        for name, values in {"attribution": sizes, **_readings(estimator, X)}.items()
    }
    return Bunch(
        attributions=attributions,
        attribution_sizes=sizes,
        importances=found.importances,
        importances_mean=found.importances_mean,
        importances_std=found.importances_std,
        rank_correlation=correlations["attribution"],
        rank_correlations=correlations,
    )


@contextlib.contextmanager
def _open_networks(estimator, X, *, is_double=False):
    """Validate rows and load all networks for them, without gradients.

    Parameters
    ----------
    estimator : CRATEClassifier or CRATERegressor
        Fitted estimator.
    X : array-like of shape (n_samples, n_features)
        Rows.
    is_double : bool, default=False
        Compute in double precision, whatever the rows are.

    Yields
    ------
    networks : list of CRATE
        Networks.
    inputs : Tensor of shape (n_samples, n_inputs)
        What they take.
    size : int
        Rows that may go through at once.
    """
    check_is_fitted(estimator)
    X = _validate(estimator, X)
    if is_double:
        X = X.astype(np.float64)
    frame = CRATE(CRATEConfig(**estimator._architecture), device="meta")
    size = rows_at_once(frame)
    with _inference(min(len(X), size) * count_multiply_adds(frame)):
        networks, inputs = _load(estimator, X, range(estimator.n_networks_))
        yield [network.requires_grad_(False) for network in networks], inputs, size


def _read_inputs(estimator, X):
    """Give what the networks take for rows.

    Parameters
    ----------
    estimator : CRATEClassifier or CRATERegressor
        Fitted estimator.
    X : array-like of shape (n_samples, n_features)
        Rows.

    Returns
    -------
    inputs : ndarray of shape (n_samples, n_inputs)
        Scaled numbers, then codes of categories, in float64.
    """
    coded = _validate(estimator, X)
    config = CRATEConfig(**estimator._architecture)
    return scale_rows(coded, estimator.centre_, estimator.scale_, config)


def _baseline(estimator, baseline):
    """Give the baseline as a row of what the networks take."""
    architecture = estimator._architecture
    if not isinstance(baseline, str):
        row = as_numpy(baseline)
        if isinstance(row, list | tuple):
            # NumPy would make strings of all values of a list if one of them is.
            row = np.array(row, dtype=object)
        if isinstance(row, np.ndarray) and row.ndim == 1:
            row = row[None]
        if np.ndim(row) != 2 or len(row) != 1:
            raise ValueError(
                f"baseline of shape {np.shape(row)} should be one row like those of X."
            )
        return _read_inputs(estimator, row)
    if baseline != "median":
        raise ValueError(f"baseline={baseline!r} should be 'median' or a row.")
    # Scaling takes the medians, or the means of channels, to zero; the last code of a
    # nominal column is what the network was taught to take for unknown.
    numbers = np.zeros(architecture["n_features"])
    unknown = np.array(architecture["categories"], dtype=np.float64) - 1
    return np.concatenate([numbers, unknown])[None]


def _scorer(estimator):
    if not is_classifier(estimator):
        return "neg_mean_squared_error"
    # Rows that lack a class still have its probability.
    return make_scorer(
        log_loss,
        greater_is_better=False,
        response_method="predict_proba",
        labels=estimator.classes_,
    )


def _readings(estimator, X):
    """Read sizes of columns from tokens that stand for one column each."""
    architecture = estimator._architecture
    n_layers = architecture["n_layers"]
    if architecture["tokens"] != "feature" or not n_layers:
        return {}
    layers = [read_energies(estimator, X, layer) for layer in range(n_layers)]
    found = {"energy": np.mean(layers, axis=(0, 1)).sum(0)}
    with contextlib.suppress(ValueError):
        found["attention"] = read_attention(estimator, X, "rollout").mean((0, 1))
    return found


def _rank_correlation(first, second):
    if len(first) < 2 or np.ptp(first) == 0 or np.ptp(second) == 0:
        return float("nan")
    return float(spearmanr(first, second).statistic)
