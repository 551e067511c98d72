"""How a learnt encoder gets its atoms, its targets and its weights."""

import math

import numpy as np
import torch
from sklearn.exceptions import ConvergenceWarning
from sklearn.utils import check_array

from sklearn_whitebox._array import as_numpy, check_memory, resolve_device
from sklearn_whitebox._threads import torch_threads
from sklearn_whitebox._warn import warn
from sklearn_whitebox.estimators._sparse_checks import largest_correlation
from sklearn_whitebox.solvers._atoms import initial_atoms
from sklearn_whitebox.solvers._lasso_encode import lasso_encode
from sklearn_whitebox.solvers._online_dictionary import learn_dictionary_online
from sklearn_whitebox.solvers._train import TrainSettings
from sklearn_whitebox.solvers._unrolled import train_sparse_encoder

# Epochs of dictionary learning where no dictionary is given.
_DICTIONARY_EPOCHS = 100
# Relative duality gap of the codes that supervise.
_TARGET_TOL = 1e-6


def checked_dictionary(estimator, X):
    """Validate the atoms that the user gave.

    Parameters
    ----------
    estimator : LearnedSparseEncoder
        Whose parameters are checked.
    X : ndarray of shape (n_samples, n_features)
        Validated samples.

    Returns
    -------
    dictionary : ndarray of shape (n_components, n_features) or None
        A copy in the floating type of `X`; None if there is none.

    Raises
    ------
    ValueError
        If the atoms do not fit the samples or the other parameters, or one is zero.
    """
    if estimator.dictionary is None:
        return None
    D = check_array(
        as_numpy(estimator.dictionary),
        dtype=X.dtype,
        input_name="dictionary",
        copy=True,
    )
    if D.shape[1] != X.shape[1]:
        raise ValueError(
            f"dictionary has {D.shape[1]} columns but X has {X.shape[1]} features; "
            "pass one atom per row."
        )
    if estimator.n_components not in (None, len(D)):
        raise ValueError(
            f"n_components={estimator.n_components} contradicts the dictionary of "
            f"{len(D)} atoms; leave it None."
        )
    zero = np.flatnonzero(~D.any(axis=1))
    if len(zero):
        raise ValueError(
            f"dictionary has {len(zero)} zero atoms, the first in row {zero[0]}; "
            "drop them."
        )
    return D


def check_settings(estimator, X, n_components):
    """Refuse what training would refuse, before atoms are learnt.

    Parameters
    ----------
    estimator : LearnedSparseEncoder
        Whose parameters are checked.
    X : ndarray of shape (n_samples, n_features)
        Samples.
    n_components : int
        Number of atoms.

    Raises
    ------
    ValueError
        If the network is too large, no sample is left to train on, or the device does
        not exist.
    """
    n, d = X.shape
    k = n_components
    per_layer = k * (d + (k if estimator.form == "free" else 0))
    codes = min(estimator.batch_size, n) * k
    check_memory(
        4 * estimator.n_layers * (4 * per_layer + 3 * codes) + 16 * k * k,
        what=f"A network of {estimator.n_layers} layers with {k} atoms",
        remedy="lower n_components, n_layers or batch_size, or use form='analytic'",
    )
    if estimator.early_stopping and _n_held_out(estimator, n) >= n:
        raise ValueError(
            f"early_stopping=True with validation_fraction="
            f"{estimator.validation_fraction} leaves none of {n} samples to "
            "train on; lower it or use early_stopping=False."
        )
    resolve_device(estimator.device)


def check_alpha(X, alpha, components, *, positive):
    """Refuse a penalty that leaves no code.

    Parameters
    ----------
    X : ndarray of shape (n_samples, n_features)
        Samples.
    alpha : float
        Weight of the ℓ1 norm.
    components : ndarray of shape (n_components, n_features) or None
        Atoms; None stands for all of unit norm, while they are not learnt yet.
    positive : bool
        Whether codes must not be negative.

    Raises
    ------
    ValueError
        If all codes are zero.
    """
    if components is None:
        largest = math.sqrt(np.einsum("ij,ij->i", X, X, dtype=np.float64).max())
    else:
        largest = largest_correlation(X, components, positive=positive)
    if largest == 0:
        raise ValueError(
            "All codes are zero, because no sample correlates "
            + ("positively " if positive else "")
            + "with an atom; use other atoms"
            + (" or positive_code=False." if positive else ".")
        )
    if alpha >= largest:
        raise ValueError(
            f"alpha={alpha:.3g} >= alpha_max for every sample, so that all "
            f"codes are zero; use alpha < {largest:.3g}."
        )


def learn_atoms(estimator, X, alpha, n_components, generator):
    """Learn unit atoms online, for a limited number of epochs.

    Parameters
    ----------
    estimator : LearnedSparseEncoder
        Whose parameters decide.
    X : ndarray of shape (n_samples, n_features)
        Samples.
    alpha : float
        Weight of the ℓ1 norm.
    n_components : int
        Number of atoms.
    generator : Generator
        Source of the start and of the order of the samples.

    Returns
    -------
    components : ndarray of shape (n_components, n_features)
        Atoms, whether or not they have come to rest: an encoder can be learnt for any.
    """
    seed = int(torch.randint(2**31 - 1, (), generator=generator))
    draws = np.random.default_rng(seed)
    return learn_dictionary_online(
        X,
        initial_atoms(X, n_components, draws),
        alpha=alpha,
        positive_code=estimator.positive_code,
        max_iter=_DICTIONARY_EPOCHS,
        generator=draws,
        n_jobs=estimator.n_jobs,
    ).solution["components"]


def train_network(estimator, network, X, generator, progress):
    """Train the network of an encoder.

    Parameters
    ----------
    estimator : LearnedSparseEncoder
        Whose parameters decide.
    network : LassoNetwork
        Network to train.
    X : ndarray of shape (n_samples, n_features)
        Samples.
    generator : Generator
        Source of the order of the samples.
    progress : callable
        Called with each epoch and its loss, in the units of the samples.

    Returns
    -------
    result : TrainResult
        Weights and history, in the units of the network.

    Raises
    ------
    ValueError
        If training diverges.
    """
    inputs = np.empty(X.shape, dtype=np.float32)
    np.divide(X, network.scale, out=inputs, casting="same_kind")
    kept, held_out = _split(estimator, len(X), generator)
    n_kept = len(X) if held_out is None else len(kept)
    steps = -(-n_kept // estimator.batch_size)
    work = 3 * network.work(min(estimator.batch_size, n_kept))
    device = resolve_device(estimator.device, work=work * steps * estimator.max_iter)
    module = network.make_module(torch.float32).to(device)
    targets = _targets(estimator, network, X)

    def part(rows):
        samples = torch.from_numpy(inputs[rows]).to(device)
        return samples, None if targets is None else targets[rows]

    training, wanted = part(kept)
    watched = None if held_out is None else part(held_out)
    unit = network.loss_unit(estimator.loss)
    try:
        with torch_threads(work):
            return train_sparse_encoder(
                module,
                training,
                module.dictionary,
                alpha=network.inner_alpha,
                settings=_train_settings(estimator, steps),
                generator=generator,
                targets=wanted,
                held_out=watched,
                callback=lambda epoch, loss: progress(epoch, unit * loss),
            )
    except FloatingPointError as error:
        raise ValueError(
            f"Training diverged ({error}); lower learning_rate="
            f"{estimator.learning_rate!r}."
        ) from error


def _train_settings(estimator, steps):
    patience = estimator.n_iter_no_change if estimator.early_stopping else None
    return TrainSettings(
        learning_rate=float(estimator.learning_rate),
        max_epochs=estimator.max_iter,
        steps_per_epoch=steps,
        patience=patience,
    )


def _targets(estimator, network, X):
    """Exact codes in the units of the network, as a sparse array."""
    if estimator.loss == "lasso":
        return None
    exact = lasso_encode(
        X,
        network.components,
        alpha=network.alpha,
        positive=network.positive,
        tol=_TARGET_TOL,
        sparse_output=True,
        n_jobs=estimator.n_jobs,
    )
    if not exact.converged:
        warn(
            f"The codes that supervise reached a relative duality gap of "
            f"{exact.gap:.1e}, not {_TARGET_TOL}; use loss='lasso', a larger alpha, or "
            "atoms that differ more.",
            ConvergenceWarning,
        )
    codes = exact.solution
    codes.data *= network.atom_length / network.scale
    return codes.astype(np.float32)


def _n_held_out(estimator, n_samples):
    return math.ceil(estimator.validation_fraction * n_samples)


def _split(estimator, n_samples, generator):
    """Row numbers to train on, all of them in order without early stopping."""
    if not estimator.early_stopping:
        return slice(None), None
    order = torch.randperm(n_samples, generator=generator).numpy()
    n_held_out = _n_held_out(estimator, n_samples)
    return order[n_held_out:], order[:n_held_out]
