"""Which algorithm learns a dictionary, with which settings, and what it warns of."""

from dataclasses import dataclass, field

import numpy as np

from sklearn_whitebox._warn import warn
from sklearn_whitebox.solvers._atoms import feasible_atoms, initial_atoms
from sklearn_whitebox.solvers._ksvd import learn_dictionary_ksvd
from sklearn_whitebox.solvers._mod import learn_dictionary_mod
from sklearn_whitebox.solvers._msp import learn_complete_dictionary
from sklearn_whitebox.solvers._online_dictionary import learn_dictionary_online
from sklearn_whitebox.solvers._palm import learn_dictionary_palm
from sklearn_whitebox.solvers._result import SolverResult

COMPLETE = frozenset({"msp", "kurtosis"})
GREEDY = frozenset({"ksvd", "ksvd_exact", "mod"})

# Mean excess kurtosis of codes below which sparse atoms cannot be told apart.
_GAUSSIAN = 0.1
# Samples up to which swapping atoms out of local minima is worth its time.
_SWAPS = 10_000
# Features from which on too few samples are worth a warning.
_WIDE = 16
# Condition number of the samples beyond which atoms are made of rounding.
_ILL_CONDITIONED = 1e10


@dataclass(frozen=True)
class Learned:
    """Outcome of the best start.

    Parameters
    ----------
    components : ndarray of shape (n_components, n_features)
        Atoms, ordered and signed.
    result : SolverResult
        As the solver returned it.
    density : float or None
        Share of codes that are not zero, where the solver knows.
    extras : dict
        What else the solver found.
    """

    components: np.ndarray
    result: SolverResult
    density: float | None = None
    extras: dict = field(default_factory=dict)


def resolve_algorithm(estimator, n_features):
    """Choose the algorithm, and refuse settings that it cannot honour.

    Parameters
    ----------
    estimator : SparseDictionaryLearner
        Whose parameters decide.
    n_features : int
        Number of features.

    Returns
    -------
    algorithm : str
        Never ``"auto"``.
    """
    algorithm, k = estimator.fit_algorithm, estimator.n_components
    if k is None and estimator.dict_init is not None:
        k = len(estimator.dict_init)
    is_signed = estimator.positive_code or estimator.positive_dict
    if algorithm == "auto":
        is_complete = k in (None, n_features) and not is_signed
        return "msp" if is_complete else "online"
    if algorithm not in COMPLETE:
        return algorithm
    if is_signed:
        constraint = "positive_code" if estimator.positive_code else "positive_dict"
        raise ValueError(
            f"{constraint}=True needs fit_algorithm='online', 'ksvd', 'mod' or 'palm': "
            f"{algorithm!r} rotates, which gives both signs."
        )
    if k is not None and k > n_features:
        raise ValueError(
            f"n_components={k} is more than the {n_features} features; "
            f"fit_algorithm={algorithm!r} learns complete dictionaries. Use 'online'."
        )
    return algorithm


def default_settings(estimator, algorithm):
    """Fill in the iterations and tolerance that suit an algorithm.

    Parameters
    ----------
    estimator : SparseDictionaryLearner
        Whose parameters win.
    algorithm : str
        From :func:`resolve_algorithm`.

    Returns
    -------
    max_iter : int
        Most iterations of one start.
    tol : float
        Tolerance of the stop rule.
    """
    max_iter, tol = 200, 1e-3
    if algorithm in GREEDY:
        max_iter, tol = 1000, 1e-4
    elif algorithm == "palm":
        max_iter, tol = 1000, 1e-5
    max_iter = max_iter if estimator.max_iter is None else estimator.max_iter
    return max_iter, tol if estimator.tol is None else estimator.tol


def n_coefs(estimator, n_features):
    """Non-zeros of a code while atoms are learnt greedily.

    Parameters
    ----------
    estimator : SparseDictionaryLearner
        Whose parameters decide.
    n_features : int
        Number of features.

    Returns
    -------
    n_nonzero_coefs : int
        At least one.
    """
    return estimator.n_nonzero_coefs or max(1, n_features // 10)


def learn_complete(estimator, algorithm, X, init, generator, progress):
    """Learn a complete dictionary, and say where it cannot be trusted.

    Parameters
    ----------
    estimator : SparseDictionaryLearner
        Whose parameters are the settings.
    algorithm : {"msp", "kurtosis"}
        What the rotation optimises.
    X : ndarray of shape (n_samples, n_features)
        Samples.
    init : ndarray or None
        Atoms to start from.
    generator : numpy.random.Generator
        Source of the starts.
    progress : callable
        Called after each iteration.

    Returns
    -------
    learned : Learned
        Of the best start.
    """
    max_iter, tol = default_settings(estimator, algorithm)
    whiten = estimator.whiten
    if algorithm == "kurtosis" and whiten == "auto":
        whiten = True  # kurtosis says nothing of samples that are not white
    try:
        result = learn_complete_dictionary(
            X,
            estimator.n_components,
            whiten=whiten,
            objective="kurtosis" if algorithm == "kurtosis" else "huber",
            n_init=estimator.n_init,
            max_iter=max_iter,
            tol=tol,
            init=init,
            generator=generator,
            callback=progress,
        )
    except ValueError as error:
        if init is None:
            raise
        raise ValueError(
            f"dict_init does not fit the samples: {error} Pass as many atoms, or "
            "set fit_algorithm='online'."
        ) from error
    _warn_of_limits(estimator, algorithm, X.shape, result.solution)
    found = result.solution
    return Learned(found["components"], result, density=found["density"])


def _warn_of_limits(estimator, algorithm, shape, found):
    n_samples, n_features = shape
    k = estimator.n_components
    if k is not None and found["rank"] < k:
        warn(
            f"X has rank {found['rank']}, so only as many atoms are learnt instead "
            f"of n_components={k}.",
        )
    elif found["condition"] > _ILL_CONDITIONED:
        warn(
            f"The second moments of the samples have condition number "
            f"{found['condition']:.1e}: some atoms are numerical noise; set a smaller "
            "n_components.",
        )
    if n_features >= _WIDE and n_samples < 20 * n_features and not found["is_exact"]:
        warn(
            f"{n_samples} samples of {n_features} features may be too few for a "
            "complete dictionary: its atoms can be those of a local optimum. Take at "
            "least 20 times as many samples as features, or a smaller n_components.",
        )
    # With fewer samples a kurtosis says little.
    enough = n_samples >= max(1000, 2 * n_features**2)
    kurtosis = found["excess_kurtosis"]
    looks_gaussian = abs(kurtosis) < _GAUSSIAN
    if enough and (looks_gaussian or (algorithm == "msp" and kurtosis < 0)):
        remedy = (
            "no dictionary can be identified"
            if looks_gaussian
            else "fit_algorithm='kurtosis' finds sub-Gaussian sources"
        )
        warn(
            f"The codes have excess kurtosis {kurtosis:.2f}: the samples look Gaussian "
            f"or sub-Gaussian in every direction; {remedy}.",
        )


def make_start(estimator, X, init, generator):
    """Choose the atoms to start from.

    Parameters
    ----------
    estimator : SparseDictionaryLearner
        Whose parameters decide.
    X : ndarray of shape (n_samples, n_features)
        Samples.
    init : ndarray of shape (n_components, n_features) or None
        Atoms that the user gave; zero ones give way to samples.
    generator : numpy.random.Generator
        Source of the samples.

    Returns
    -------
    atoms : ndarray of shape (n_components, n_features)
        Unit rows that the constraints allow.
    """
    limits = {
        "positive": estimator.positive_dict,
        "may_flip": not estimator.positive_code,
    }
    if init is not None:
        start = feasible_atoms(np.asarray(init, dtype=X.dtype), **limits)
        missing = np.flatnonzero(~start.any(axis=1))
        if not len(missing):
            return start
    else:
        k = estimator.n_components or X.shape[1]
        start, missing = np.zeros((k, X.shape[1]), X.dtype), np.arange(k)
    is_signed = estimator.positive_code
    drawn = initial_atoms(X, len(missing), generator, is_signed=is_signed)
    start[missing] = feasible_atoms(drawn, **limits)
    return start


def learn_alternating(estimator, algorithm, X, alpha, init, generator, progress):
    """Learn atoms by improving codes and atoms in turn, from one or more starts.

    Parameters
    ----------
    estimator : SparseDictionaryLearner
        Whose parameters are the settings.
    algorithm : str
        Neither ``"auto"`` nor one for complete dictionaries.
    X : ndarray of shape (n_samples, n_features)
        Samples.
    alpha : float
        Weight of the ℓ1 norm.
    init : ndarray or None
        Atoms to start from; None draws samples.
    generator : numpy.random.Generator
        Source of the starts and of the order of the samples.
    progress : callable
        Called after each iteration.

    Returns
    -------
    learned : Learned
        Of the start with the lowest final objective.
    """
    max_iter, tol = default_settings(estimator, algorithm)
    settings = {
        "positive_code": estimator.positive_code,
        "positive_dict": estimator.positive_dict,
        "max_iter": max_iter,
        "tol": tol,
        "n_jobs": estimator.n_jobs,
    }
    learn = learn_dictionary_online
    if algorithm in GREEDY:
        settings["n_nonzero_coefs"] = n_coefs(estimator, X.shape[1])
        settings["max_swaps"] = 40 if len(X) <= _SWAPS else 0
        learn = learn_dictionary_mod
        if algorithm != "mod":
            learn = learn_dictionary_ksvd
            settings["exact"] = algorithm == "ksvd_exact"
    else:
        settings["alpha"] = alpha
        if algorithm == "palm":
            learn = learn_dictionary_palm
        else:
            settings["batch_size"] = estimator.batch_size
    best, stopped = None, False

    def watch(iteration, objective):
        nonlocal stopped
        stopped = bool(progress(iteration, objective))
        return stopped

    for _ in range(estimator.n_init):
        start = make_start(estimator, X, init, generator)
        result = learn(X, start, generator=generator, callback=watch, **settings)
        if best is None or result.objective[-1] < best.objective[-1]:
            best = result
        if stopped:
            break
    return Learned(best.solution["components"], best, extras=dict(best.solution))
