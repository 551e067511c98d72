"""From rows and targets to a fitted CRATE: what `fit` hands over to."""

import time
from dataclasses import replace

import numpy as np
import torch
from sklearn.exceptions import ConvergenceWarning

from sklearn_whitebox._array import as_numpy
from sklearn_whitebox._compat import _check_sample_weight
from sklearn_whitebox._progress import Progress
from sklearn_whitebox._random import draw_seed
from sklearn_whitebox._warn import warn
from sklearn_whitebox.estimators._crate_columns import (
    encode_columns,
    find_categories,
)
from sklearn_whitebox.estimators._crate_config import (
    IMPLIED,
    LEAST_ROWS_TO_STOP,
    check_same_model,
    make_config,
    resolve_plan,
)
from sklearn_whitebox.estimators._crate_diagnosis import warn_of_network
from sklearn_whitebox.estimators._crate_ensemble import (
    Halt,
    choose_held_out,
    mean_curve,
    member_seeds,
    network_weights,
    train_ensemble,
)
from sklearn_whitebox.estimators._crate_inputs import (
    find_edges,
    find_scaling,
    read_rows,
    scale_rows,
)
from sklearn_whitebox.estimators._crate_task import Rows, Setup
from sklearn_whitebox.modules._crate import CRATE


def fit_crate(estimator, X, y, sample_weight, X_val, y_val, *, join=None):
    """Train all networks of an estimator, and store what was learnt.

    Parameters
    ----------
    estimator : BaseCRATE
        Gets its fitted attributes.
    X, y, sample_weight, X_val, y_val : array-like
        As in ``fit``.
    join : callable, default=None
        Called as ``join(setup, arrays, seed)`` with the arrays that are trained on, to
        give the setup and the seed with which several processes train together.
    """
    start = time.monotonic()
    before = dict(vars(estimator))
    known = before if estimator.warm_start and "weights_" in before else None
    inputs, targets = read_training(estimator, X, y, sample_weight, known)
    setup, rows = prepare(estimator, inputs, targets, known)
    given = _read_given(estimator, X_val, y_val, setup, targets.attributes)
    plan = _plan_to_stop(estimator, setup.plan, len(rows.y), given)
    setup = replace(setup, plan=plan)
    seed = draw_seed(estimator.random_state)
    if join is not None:
        setup, seed = join(setup, _arrays(inputs, rows, given, known), seed)
    n_networks = plan.n_ensemble
    masks = [None] * n_networks
    if given is None:
        masks = choose_held_out(
            rows.y,
            plan,
            float(estimator.validation_fraction),
            n_networks,
            seed,
            is_classifier=setup.is_classifier,
        )
    n_runs = n_networks * (1 + plan.refit)
    speaks = setup.team.rank == 0
    verbose = estimator.verbose if speaks else 0
    progress = Progress(estimator, plan.max_iter * n_runs, X, y, verbose=verbose)
    left = estimator.max_time
    if left is not None:
        left = max(float(left) - (time.monotonic() - start), 1e-3)
    # Tensors made in the caller's inference_mode could not be trained on.
    with torch.inference_mode(False):
        try:
            ensemble = train_ensemble(
                setup,
                rows,
                given,
                masks,
                member_seeds(seed, n_networks),
                _warm_weights(known, n_networks),
                # Processes must meet in one order.
                n_jobs=estimator.n_jobs if setup.team.size == 1 else 1,
                max_time=left,
                halt=Halt(progress),
            )
        except FloatingPointError as error:
            raise ValueError(f"{error}; lower it, or scale X.") from error
    progress.close()
    if speaks:
        _warn_of_training(estimator, ensemble, plan)
    store(estimator, setup, targets, ensemble)
    if speaks:
        warn_of_network(estimator, rows)


def _arrays(inputs, rows, given, known):
    """Name all arrays that decide what is learnt."""
    arrays = {"X": inputs, "y": rows.y, "sample_weight": rows.weight}
    if given is not None:
        arrays |= {"X_val": given.X, "y_val": given.y}
    if known is not None:
        arrays |= {f"weights_/{name}": w for name, w in known["weights_"].items()}
    return arrays


def read_training(estimator, X, y, sample_weight, known, *, is_batch=False):
    """Read training rows, and leave out those without weight.

    Parameters
    ----------
    estimator : BaseCRATE
        Gets the attributes that describe the columns.
    X, y, sample_weight : array-like
        As in ``fit``.
    known : dict or None
        Attributes of the model to go on from.
    is_batch : bool, default=False
        Whether these are only some of the rows, with only some of the classes.

    Returns
    -------
    coded : ndarray of shape (n_kept, n_inputs)
        Numbers as they are, then codes of categories.
    targets : Targets
        What to learn from these rows.
    """
    is_first = known is None or "weights_" not in known
    columns, y = read_rows(
        estimator,
        X,
        y,
        reset=is_first or not is_batch,
        **estimator._target_checks,
    )
    weight = _check_sample_weight(sample_weight, columns.numbers, dtype=np.float64)
    targets = estimator._prepare_targets(y, weight, known, is_batch=is_batch)
    if is_first:
        categories = find_categories(
            columns,
            weight * targets.kept,
            max_categories=estimator.max_categories,
        )
    else:
        categories = known["categories_"]
        _check_same_columns(estimator, known, columns.is_categorical)
    estimator.categories_ = categories
    estimator.is_categorical_ = columns.is_categorical
    return encode_columns(columns, categories)[targets.kept], targets


def _check_same_columns(estimator, known, is_categorical):
    then = known.get("feature_names_in_")
    now = getattr(estimator, "feature_names_in_", None)
    if then is not None and now is not None and not np.array_equal(then, now):
        what = f"columns {now[:9].tolist()} are not {then[:9].tolist()}"
    elif len(is_categorical) != len(known["is_categorical_"]):
        what = f"{len(is_categorical)} columns are not {len(known['is_categorical_'])}"
    elif not np.array_equal(known["is_categorical_"], is_categorical):
        what = "categorical columns are not those"
    else:
        return
    raise ValueError(
        f"The {what} of the model that warm_start=True goes on from; use "
        "warm_start=False or clone the estimator."
    )


def prepare(estimator, coded, targets, known, *, what="warm_start=True"):
    """Resolve the settings, and scale the rows.

    Parameters
    ----------
    estimator : BaseCRATE
        Gets the attributes that scale rows.
    coded : ndarray of shape (n_samples, n_inputs)
        Training rows.
    targets : Targets
        What to learn from them.
    known : dict or None
        Attributes of the model to go on from.
    what : str, default="warm_start=True"
        What asks to go on, for messages.

    Returns
    -------
    setup : Setup
        What all runs share.
    rows : Rows
        Training rows.
    """
    is_classifier = estimator._is_classifier
    plan = resolve_plan(
        estimator,
        len(coded),
        is_classifier=is_classifier,
        is_image=estimator.image_shape is not None,
        known=known,
    )
    sizes = tuple(len(categories) + 1 for categories in estimator.categories_)
    n_numeric = coded.shape[1] - len(sizes)
    config = make_config(estimator, plan, n_numeric, sizes, targets.n_outputs)
    edges = None
    if known is None:
        numbers = coded[:, :n_numeric]
        centre, scale = find_scaling(numbers, targets.weight, config)
    else:
        implied = {field: known["_architecture"][field] for field in IMPLIED}
        config = replace(config, **implied)
        check_same_model(known, config, targets.attributes, what)
        centre, scale = known["centre_"], known["scale_"]
    inputs = scale_rows(coded, centre, scale, config)
    if known is None:
        edges = find_edges(inputs, targets.weight, config)
    estimator.centre_, estimator.scale_ = centre, scale
    setup = Setup(
        config=config,
        plan=plan,
        edges=edges,
        is_classifier=is_classifier,
        label_smoothing=float(getattr(estimator, "label_smoothing", 0.0)),
        patience=int(estimator.n_iter_no_change),
        precision=estimator.precision,
        compile=bool(estimator.compile),
        device=estimator.device,
        augment=plan.augment,
        keep_on_interrupt=estimator.on_interrupt == "keep",
        serial=plan.n_ensemble > 1,
    )
    return setup, Rows(inputs, targets.y, targets.weight)


def store(estimator, setup, targets, ensemble):
    """Store what was learnt.

    Parameters
    ----------
    estimator : BaseCRATE
        Gets its fitted attributes.
    setup : Setup
        What all runs shared.
    targets : Targets
        What the outputs mean.
    ensemble : Ensemble
        Trained networks.
    """
    for name, value in targets.attributes.items():
        setattr(estimator, name, value)
    results = [trained.result for trained in ensemble.first]
    config = setup.config
    estimator._architecture = vars(config).copy()
    estimator.weights_ = ensemble.weights
    estimator.n_networks_ = ensemble.n_networks
    learnt = dict(results[0].weights)
    learnt.pop("tokens.encoding.edges", None)  # found before training
    estimator.n_parameters_ = ensemble.n_networks * sum(
        w.numel() for w in learnt.values()
    )
    estimator.loss_curve_ = mean_curve([r.loss_curve for r in results])
    estimator.validation_curve_ = mean_curve([r.validation_curve for r in results])
    estimator.n_iter_ = max(len(result.loss_curve) for result in results)
    best = [result.best_iter for result in results]
    estimator.best_iteration_ = best[0] if len(best) == 1 else best
    if setup.is_classifier:
        estimator.temperature_ = ensemble.temperature
    n_pooled = CRATE(config, device="meta").n_pooled
    estimator._n_features_out = n_pooled * config.n_members * ensemble.n_networks
    vars(estimator).pop("_stream", None)


def _read_given(estimator, X_val, y_val, setup, attributes):
    """Read the rows that the caller wants to be watched."""
    if X_val is None and y_val is None:
        return None
    if X_val is None or y_val is None:
        raise ValueError("X_val and y_val must be given together.")
    if estimator.early_stopping is False and not setup.plan.calibrate:
        raise ValueError(
            "X_val is for early stopping and calibration, and neither is asked for; "
            "use early_stopping=True, or leave out X_val."
        )
    columns = read_rows(
        estimator,
        X_val,
        reset=False,
        fitted=(estimator.is_categorical_, setup.config.missing),
    )
    inputs = scale_rows(
        encode_columns(columns, estimator.categories_),
        estimator.centre_,
        estimator.scale_,
        setup.config,
    )
    y = estimator._number_targets(as_numpy(y_val), attributes)
    if len(y) != len(inputs):
        raise ValueError(
            f"X_val has {len(inputs)} rows, but y_val has {len(y)} targets."
        )
    return Rows(inputs, y, np.ones(len(y)))


def _plan_to_stop(estimator, plan, n_rows, given):
    """Decide whether there are enough rows to hold some out."""
    if given is not None:
        # No row is lost to them, so a second run would bring nothing.
        stops = estimator.early_stopping is not False
        calibrates = plan.calibrate or (
            stops and getattr(estimator, "calibrate", False) == "auto"
        )
        return replace(plan, early_stopping=stops, calibrate=calibrates, refit=False)
    if n_rows >= LEAST_ROWS_TO_STOP:
        return replace(plan, refit=plan.refit and plan.early_stopping)
    for name in ("early_stopping", "calibrate"):
        if getattr(estimator, name, None) is True:
            warn(
                f"{name}=True needs at least {LEAST_ROWS_TO_STOP} rows, but there are "
                f"{n_rows}; nothing was held out. Give rows as X_val and y_val, or set "
                f"{name}='auto'.",
                UserWarning,
            )
    return replace(plan, early_stopping=False, refit=False, calibrate=False)


def _warm_weights(known, n_networks):
    if known is None:
        return [None] * n_networks
    if known["n_networks_"] != n_networks:
        raise ValueError(
            f"warm_start=True needs n_ensemble={known['n_networks_']} as in the "
            f"previous fit, got n_ensemble={n_networks}."
        )
    return [network_weights(known, number) for number in range(n_networks)]


def _warn_of_training(estimator, ensemble, plan):
    results = [trained.result for trained in ensemble.first]
    curve = mean_curve([result.loss_curve for result in results])
    n_passes = len(curve)
    message = ""
    if "time" in ensemble.stopped:
        message = (
            f"Training stopped at max_time={estimator.max_time} seconds after "
            f"{n_passes} of max_iter={plan.max_iter} passes; raise max_time for a "
            "better model."
        )
    elif "interrupt" in ensemble.stopped:
        message = (
            f"Training was interrupted after {n_passes} passes; "
            f"{ensemble.n_networks} of n_ensemble={plan.n_ensemble} networks with "
            "the best weights so far are kept. Fit again for a better model."
        )
    elif n_passes >= 10 and min(curve) > curve[0] - 0.01 * abs(curve[0]):
        message = (
            f"The training loss fell by less than 1 % in {n_passes} epochs; try "
            "a larger learning_rate or max_iter, pool='mean' or augment=None."
        )
    if message:
        warn(message, ConvergenceWarning)
