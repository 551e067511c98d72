"""Training of all networks of a CRATE estimator: rows held out, refit, calibration."""

import threading
import time
from dataclasses import dataclass, replace

import numpy as np
from joblib import Parallel, delayed

from sklearn_whitebox._threads import count_threads
from sklearn_whitebox.estimators._crate_calibration import fit_temperature
from sklearn_whitebox.estimators._crate_training import Run, Trained, train_network


@dataclass(frozen=True)
class Ensemble:
    """Trained networks.

    Parameters
    ----------
    weights : dict of str to ndarray
        Weights; of several networks with a first axis that numbers them.
    n_networks : int
        Number of networks.
    first : list of Trained
        The runs that watched rows held out.
    temperature : float
        What to divide logits by.
    stopped : set of str
        Why runs ended before their time.
    """

    weights: dict
    n_networks: int
    first: list[Trained]
    temperature: float
    stopped: set


def choose_held_out(y, plan, fraction, n_networks, seed, *, is_classifier):
    """Choose the rows that each network watches instead of training on them.

    Parameters
    ----------
    y : ndarray
        Class numbers, or numbers.
    plan : Plan
        Says whether rows are held out, and whether others for each network.
    fraction : float
        Share of the rows, of every class.
    n_networks : int
        Number of networks.
    seed : int
        Source of the choice.
    is_classifier : bool
        Whether to keep the shares of the classes.

    Returns
    -------
    masks : list of (ndarray of bool or None)
        One for each network.
    """
    if not (plan.early_stopping or plan.calibrate):
        return [None] * n_networks
    rng = np.random.default_rng([seed, 1])
    groups = y if is_classifier else np.zeros(len(y), dtype=int)
    n_folds = n_networks if plan.cross_fit and n_networks > 1 else 1
    folds = np.full(len(y), -1)
    for label in np.unique(groups):
        members = rng.permutation(np.flatnonzero(groups == label))
        if n_folds > 1 and len(members) > 1:
            folds[members] = (np.arange(len(members)) + label) % n_folds
        elif n_folds == 1:
            # At least one row of every class is left for training.
            size = min(round(fraction * len(members)), len(members) - 1)
            folds[members[:size]] = 0
    return [folds == k % n_folds for k in range(n_networks)]


def member_seeds(seed, n_networks):
    """Give each network a seed of its own, the same in ensembles of any size.

    Parameters
    ----------
    seed : int
        Seed of the fit.
    n_networks : int
        Number of networks.

    Returns
    -------
    seeds : list of int
        Seeds.
    """
    children = np.random.SeedSequence(seed).spawn(n_networks)
    return [int(child.generate_state(1)[0]) for child in children]


class Halt:
    """What all runs of a fit report to, and what ends them together.

    Parameters
    ----------
    progress : callable
        Called as ``progress(number, loss)`` after every pass of any network; True ends
        the fit.
    """

    def __init__(self, progress):
        self._progress, self._lock = progress, threading.Condition()
        self._count, self._n_active = 0, 0
        self.reason = ""

    def __call__(self, epoch, loss):
        """Report a pass, and tell whether to stop."""
        with self._lock:
            if self._progress(self._count, loss):
                self.reason = self.reason or "callback"
            self._count += 1
            return bool(self.reason)

    def enter(self):
        """Begin a run."""
        with self._lock:
            self._n_active += 1

    def leave(self):
        """End a run."""
        with self._lock:
            self._n_active -= 1
            self._lock.notify_all()

    def wait(self):
        """Wait for the end of all runs."""
        with self._lock:
            while self._n_active:
                self._lock.wait(0.1)


def train_ensemble(setup, rows, given, masks, seeds, warm, *, n_jobs, max_time, halt):
    """Train all networks, and once more on all rows if asked to.

    Parameters
    ----------
    setup : Setup
        What all runs share.
    rows : Rows
        Training rows.
    given : Rows or None
        Rows to watch besides those held out.
    masks : list of (ndarray of bool or None)
        Rows that each network holds out.
    seeds : list of int
        One for each network.
    warm : list of (dict or None)
        Weights that each network starts from.
    n_jobs : int or None
        Networks trained at a time.
    max_time : float or None
        Most seconds.
    halt : Halt
        Reported to after every pass.

    Returns
    -------
    ensemble : Ensemble
        Trained networks.
    """
    start = time.monotonic()
    n_rounds = -(-len(seeds) // min(count_threads(n_jobs), len(seeds)))
    share = None if max_time is None else max_time / n_rounds
    runs = [
        Run(seed=seed, held_out=mask, warm=weights, max_time=share, name=f"first-{k}")
        for k, (seed, mask, weights) in enumerate(zip(seeds, masks, warm, strict=True))
    ]
    slots = _train_all(setup, rows, given, runs, n_jobs, halt)
    done = [k for k, trained in enumerate(slots) if trained is not None]
    first = [slots[k] for k in done]
    stopped = {trained.result.stopped for trained in first} | {halt.reason}
    temperature = 1.0
    if setup.plan.calibrate:
        temperature = _calibrate(rows, given, [masks[k] for k in done], first)
    final = first
    if setup.plan.refit and not stopped & {"time", "interrupt", "callback"}:
        left = None if max_time is None else start + max_time - time.monotonic()
        again = _refit(setup, rows, runs, first, n_jobs, halt, left)
        final = first if again is None else again
        stopped |= {"interrupt"} & {halt.reason}
    return Ensemble(
        stack_weights([trained.weights for trained in final]),
        len(final),
        first,
        temperature,
        stopped - {""},
    )


def _refit(setup, rows, runs, first, n_jobs, halt, left):
    """Train again on all rows; give None where that cannot be finished."""
    if all(run.held_out is None for run in runs):
        return None
    if left is not None:
        share = left / -(-len(runs) // min(count_threads(n_jobs), len(runs)))
        if share <= 0:
            return None
        runs = [replace(run, max_time=share) for run in runs]
    again = [
        replace(
            run, held_out=None, n_epochs=trained.result.best_iter, name=f"again-{k}"
        )
        for k, (run, trained) in enumerate(zip(runs, first, strict=True))
    ]
    refitted = _train_all(setup, rows, None, again, n_jobs, halt, keep=False)
    whole = all(
        trained is not None and trained.result.stopped in ("", "patience")
        for trained in refitted
    )
    return refitted if whole else None


def _train_all(setup, rows, given, runs, n_jobs, halt, *, keep=True):
    """Run all runs; those that could not begin before an interrupt give None."""
    slots = [None] * len(runs)
    arguments = (setup, rows, given, runs, slots, halt)
    try:
        if len(runs) == 1:
            _train_one(0, *arguments)
        else:
            # Threads share the rows, and torch lets go of the interpreter's lock.
            Parallel(n_jobs=n_jobs, require="sharedmem")(
                delayed(_train_one)(k, *arguments) for k in range(len(runs))
            )
    except BaseException as error:
        halt.reason = "interrupt"
        halt.wait()
        is_interrupt = isinstance(error, KeyboardInterrupt)
        # A second run that is interrupted leaves what the first one found.
        found = not keep or any(trained is not None for trained in slots)
        if not (is_interrupt and setup.keep_on_interrupt and found):
            raise
    return slots


def _train_one(number, setup, rows, given, runs, slots, halt):
    if halt.reason:
        return
    halt.enter()
    try:
        trained = train_network(setup, rows, given, runs[number], halt)
        if trained.result.stopped == "interrupt":
            halt.reason = "interrupt"
        slots[number] = trained
    finally:
        halt.leave()


def _calibrate(rows, given, masks, first):
    y, weight = rows.y, rows.weight
    n_rows = len(y)
    extra = np.arange(0)
    if given is not None:
        y = np.concatenate([y, given.y])
        weight = np.concatenate([weight, given.weight])
        extra = np.arange(n_rows, len(y))
    outputs = []
    for mask, trained in zip(masks, first, strict=True):
        if trained.outputs is None:
            continue
        own = np.flatnonzero(mask) if mask is not None else np.arange(0)
        outputs.append((np.concatenate([own, extra]), trained.outputs))
    return fit_temperature(outputs, y, weight) if outputs else 1.0


def stack_weights(weights):
    """Put the weights of networks of one architecture together.

    Parameters
    ----------
    weights : list of dict of str to ndarray
        Weights of the networks.

    Returns
    -------
    stacked : dict of str to ndarray
        With a first axis that numbers the networks, unless there is only one.
    """
    if len(weights) == 1:
        return weights[0]
    return {name: np.stack([w[name] for w in weights]) for name in weights[0]}


def network_weights(fitted, number):
    """Give the weights of one network of an ensemble.

    Parameters
    ----------
    fitted : dict
        Attributes of a fitted estimator.
    number : int
        Number of the network.

    Returns
    -------
    weights : dict of str to ndarray
        State of a :class:`sklearn_whitebox.modules.CRATE`.
    """
    weights = fitted["weights_"]
    if fitted["n_networks_"] == 1:
        return weights
    return {name: stack[number] for name, stack in weights.items()}


def mean_curve(curves):
    """Average curves of different lengths over those that are long enough.

    Parameters
    ----------
    curves : list of list of float
        Curves.

    Returns
    -------
    mean : list of float
        As long as the longest.
    """
    length = max(len(curve) for curve in curves)
    return [
        float(np.mean([curve[k] for curve in curves if k < len(curve)]))
        for k in range(length)
    ]
