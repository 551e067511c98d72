"""How a ReduNet classifier is built from blocks of rows, features in files."""

import tempfile

import numpy as np

from sklearn_whitebox._array import resolve_device
from sklearn_whitebox._blocks import Blocks, record_columns
from sklearn_whitebox._progress import Progress
from sklearn_whitebox._random import draw_seed
from sklearn_whitebox._threads import serial_blas, torch_threads
from sklearn_whitebox.estimators import _redunet_fitting as fitting
from sklearn_whitebox.estimators._stream_blocks import gather_rows
from sklearn_whitebox.solvers._redunet import build_redunet
from sklearn_whitebox.solvers._redunet_spectra import frequency_weights

# Rows by which lift, distortion and probabilities are settled.
_SAMPLE = 3000


def build_from_blocks(estimator, blocks):
    """Build a network from blocks; see ``ReduNetClassifier.fit_blocks``.

    Parameters
    ----------
    estimator : ReduNetClassifier
        Gets new fitted attributes.
    blocks : iterable or array
        Blocks of rows with labels.

    Returns
    -------
    estimator : ReduNetClassifier
        The same.
    """
    if estimator.finetune:
        raise ValueError(
            f"finetune={estimator.finetune} needs the features of all rows at once; "
            "set finetune=0, or call fit."
        )
    rows = Blocks(blocks, labelled=True, passes=3).survey()
    record_columns(estimator, rows)
    classes = rows.classes
    if len(classes) < 2:
        raise ValueError(
            f"blocks have {len(classes)} class; the rate reduction of a single class "
            "is identically zero, so at least 2 classes are needed."
        )
    progress = Progress(estimator, estimator.n_layers, None, verbose=estimator.verbose)
    seed = draw_seed(estimator.random_state)
    sample, names = gather_rows(rows, _SAMPLE)
    sample, labels, counts, _ = fitting.weigh_rows(
        sample, np.searchsorted(classes, names), classes, None, None
    )
    totals = sum(rows.map(_count_labels, classes))
    with torch_threads(2.0 * sample.size * min(sample.shape)), serial_blas():
        accuracy = estimator._settle_lift(sample, labels, counts, len(classes), seed)
    lift = (estimator.lift_, estimator.lift_arrays_, estimator._signal_shape)
    probe = fitting.lifted_features(sample[:1], *lift)
    estimator._dtype, estimator._row_shape = probe.dtype.name, probe.shape[1:]
    estimator._head_components, estimator.classes_ = estimator.n_components, classes
    fitting.check_network(
        totals.astype(np.int64),
        estimator._row_shape,
        probe.itemsize,
        n_layers=estimator.n_layers,
        dense=estimator.compress_layers is None,
        in_memory=False,
    )
    result = _build(estimator, rows, lift, totals, progress)
    estimator.loss_curve_ = []
    estimator._store(result.layers, result.final)
    estimator.statistics_ = {k: np.array(v) for k, v in result.statistics.items()}
    estimator.objective_curve_ = estimator.statistics_["rate_reduction"]
    estimator._set_sharpness(sample, labels, counts, accuracy)
    if estimator.n_components is not None:
        factors = fitting.class_factors(estimator.class_weight, classes, totals)
        estimator._log_factors = np.log(factors)
    progress.close()
    return estimator


def _build(estimator, rows, lift, totals, progress):
    classes = estimator.classes_
    factors = fitting.class_factors(estimator.class_weight, classes, totals)

    def chunks():
        for X, y in rows.chunks():
            labels = np.searchsorted(classes, y)
            yield fitting.lifted_features(X, *lift), labels, factors[labels]

    work = estimator._work(rows.n_samples)
    with torch_threads(work), serial_blas():
        return build_redunet(
            chunks,
            cache=tempfile.gettempdir(),
            frequency_weights=frequency_weights(estimator._lifted_shape()),
            n_classes=len(classes),
            device=resolve_device(estimator.device, work=work * estimator.n_layers),
            callback=progress,
            **estimator._settings(False),
        )


def _count_labels(_, y, classes):
    return np.bincount(np.searchsorted(classes, y), minlength=len(classes)).astype(
        np.float64
    )
