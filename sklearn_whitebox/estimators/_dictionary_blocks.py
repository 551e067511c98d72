"""How a dictionary is learnt from blocks of rows that do not fit in memory."""

import numpy as np
from sklearn.exceptions import ConvergenceWarning

from sklearn_whitebox._blocks import Blocks, record_columns
from sklearn_whitebox._progress import Progress
from sklearn_whitebox._random import draw_seed
from sklearn_whitebox._warn import warn
from sklearn_whitebox.estimators._block_samples import pick_distinct
from sklearn_whitebox.estimators._dictionary_algorithms import (
    default_settings,
    make_start,
)
from sklearn_whitebox.solvers._dictionary_blocks import learn_dictionary_blocks
from sklearn_whitebox.solvers._online_dictionary import learn_dictionary_online

# Rows of the sample that the first atoms are learnt from, in all and per atom.
_SAMPLE, _PER_ATOM = 10_000, 20
# Epochs over that sample.
_SAMPLE_EPOCHS = 30


def learn_blocks(estimator, blocks):
    """Fit a dictionary; see ``SparseDictionaryLearner.fit_blocks``.

    Parameters
    ----------
    estimator : SparseDictionaryLearner
        Gets new fitted attributes.
    blocks : iterable or array
        Blocks of rows.

    Returns
    -------
    estimator : SparseDictionaryLearner
        The same.
    """
    rows = Blocks(blocks, labelled=False, passes=4, n_jobs=estimator.n_jobs).survey()
    record_columns(estimator, rows)
    k = estimator.n_components or rows.n_features
    sample, squares = gather_sample(rows, min(_SAMPLE, max(2000, _PER_ATOM * k)))
    estimator._check_memory(sample, k)
    estimator._check_alpha(sample)
    alpha = estimator._online_alpha(squares / rows.n_samples, rows.n_features)
    max_iter, tol = default_settings(estimator, "online")
    settings = {
        "alpha": alpha,
        "positive_code": estimator.positive_code,
        "positive_dict": estimator.positive_dict,
        "tol": tol,
    }
    generator = np.random.default_rng(draw_seed(estimator.random_state))
    start = make_start(estimator, sample, estimator._checked_init(sample), generator)
    first = learn_dictionary_online(
        sample,
        start,
        batch_size=estimator.batch_size,
        max_iter=min(max_iter, _SAMPLE_EPOCHS),
        generator=generator,
        n_jobs=estimator.n_jobs,
        **settings,
    )
    progress = Progress(estimator, max_iter, sample, verbose=estimator.verbose)
    result = learn_dictionary_blocks(
        rows.map,
        first.solution["components"],
        max_iter=max_iter,
        callback=progress,
        **settings,
    )
    progress.close()
    _store(estimator, result, first, alpha, squares, rows.n_samples)
    estimator._check_atoms()
    estimator.density_ = estimator._measure_density(sample)
    estimator._check_penalty(sample)
    if not result.converged:
        warn(
            f"SparseDictionaryLearner did not converge in {result.n_iter} passes over "
            "the blocks; increase max_iter or tol.",
            ConvergenceWarning,
        )
    return estimator


def _store(estimator, result, first, alpha, squares, n_samples):
    estimator.alpha_ = alpha
    found = result.solution
    estimator.n_replaced_ = first.solution["n_replaced"] + found["n_replaced"]
    estimator._algorithm = "online"
    estimator._remember(found["statistics"], squares, n_samples)
    estimator._set_components(found["components"])
    estimator.n_iter_ = result.n_iter
    estimator.objective_curve_ = result.objective


def gather_sample(rows, size):
    """Pick rows by a hash of their values, and sum the squares of all.

    Parameters
    ----------
    rows : Blocks
        Surveyed blocks.
    size : int
        Most rows to pick.

    Returns
    -------
    sample : ndarray of shape (n_picked, n_features)
        Rows in the order of their hashes: the same for any order and division.
    squares : float
        Sum of the squared norms of all rows.
    """
    picked = pick_distinct(rows, size)
    return np.repeat(picked.X, picked.counts, axis=0), picked.squares
