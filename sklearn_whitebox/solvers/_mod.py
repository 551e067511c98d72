"""Method of optimal directions: all atoms at once, by least squares."""

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import linalg, sparse

from sklearn_whitebox.solvers._l0_coding import Coding
from sklearn_whitebox.solvers._l0_kernels import descend_nonnegative
from sklearn_whitebox.solvers._l0_learning import learn_with_few_coefs
from sklearn_whitebox.solvers._result import SolverResult

Array = NDArray[np.floating]

# Ridge, in units of the mean energy of an atom, that keeps the equations solvable.
_RIDGE = 1e-10
# Passes over non-negative atoms, which have no closed form.
_PASSES = 10


def learn_dictionary_mod(
    X: Array,
    init: Array,
    *,
    n_nonzero_coefs: int,
    positive_code: bool = False,
    positive_dict: bool = False,
    max_iter: int = 500,
    tol: float = 1e-4,
    max_swaps: int = 40,
    generator: np.random.Generator | None = None,
    n_jobs: int | None = None,
    callback: Callable[[int, float], Any] | None = None,
) -> SolverResult:
    r"""Learn a dictionary on which each sample has few coefficients, by least squares.

    .. math:: \min_{D, Z} \sum_i \tfrac12 \|x_i - z_i D\|_2^2
        \quad\text{with}\quad \|z_i\|_0 \leq s,\; \|d_j\|_2 = 1

    As :func:`learn_dictionary_ksvd`, but all atoms become at once the least squares
    solution for the codes as they are, and are then scaled to unit norm.

    Parameters
    ----------
    X : ndarray of shape (n_samples, n_features)
        Samples, float32 or float64.
    init : ndarray of shape (n_components, n_features)
        Atoms to start from, for example from :func:`initial_atoms`.
    n_nonzero_coefs : int
        Most coefficients s of a sample.
    positive_code : bool, default=False
        Whether codes must not be negative.
    positive_dict : bool, default=False
        Whether atoms must not be negative.
    max_iter : int, default=500
        Most iterations, those that try swaps included.
    tol : float, default=1e-4
        Learning has converged when no swap helps and the objective falls by at most
        this share in three iterations in a row.
    max_swaps : int, default=40
        Swaps tried in vain before learning ends, at most 128; 0 tries none.
    generator : numpy.random.Generator, default=None
        Taken for the sake of a common signature; nothing is random here.
    n_jobs : int, default=None
        Threads that code the samples. The result does not depend on it.
    callback : callable, default=None
        Called as ``callback(iteration, objective)``; stops the loop if it returns True.

    Returns
    -------
    result : SolverResult
        As that of :func:`learn_dictionary_ksvd`.

    Notes
    -----
    An iteration costs what coding costs, :func:`omp_encode`, and O(n s (s + d) + k³ +
    k² d). Memory beyond the samples is O(n (d + s) + k² + k d).

    References
    ----------
    .. [1] Engan, Aase, Husøy (1999). Method of optimal directions for frame design.
       ICASSP.

    Examples
    --------
    >>> import numpy as np
    >>> X = np.array([[2.0, 0.0], [-1.0, 0.0], [0.0, 3.0], [0.0, 1.0]])
    >>> init = np.array([[1.0, 0.2], [0.3, 1.0]])
    >>> result = learn_dictionary_mod(X, init, n_nonzero_coefs=1)
    >>> result.solution["components"].round(6) + 0.0
    array([[0., 1.],
           [1., 0.]])
    """
    samples = np.ascontiguousarray(X)

    def update(coding: Coding, _: np.random.Generator) -> Coding:
        return _least_squares(samples, coding, positive_dict)

    return learn_with_few_coefs(
        samples,
        init,
        update,
        n_nonzero_coefs=n_nonzero_coefs,
        positive_code=positive_code,
        positive_dict=positive_dict,
        max_iter=max_iter,
        tol=tol,
        max_swaps=max_swaps,
        generator=generator,
        n_jobs=n_jobs,
        callback=callback,
    )


def _least_squares(X: Array, coding: Coding, positive_dict: bool) -> Coding:
    if not coding.codes.any():
        return coding
    held = coding.support >= 0
    offsets = np.concatenate([[0], np.cumsum(held.sum(axis=1))])
    Z = sparse.csr_array(
        (coding.codes[held].astype(np.float64), coding.support[held], offsets),
        shape=(len(X), len(coding.D)),
    )
    gram = (Z.T @ Z).toarray()
    cross = Z.T @ X.astype(np.float64)
    # Only where the data do not determine an atom does it stay as it was.
    D = coding.D.astype(np.float64)
    if positive_dict:
        descend_nonnegative(D, gram, cross, _PASSES)
    else:
        ridge = _RIDGE * np.trace(gram) / len(D)
        system = linalg.cho_factor(gram + ridge * np.eye(len(D)))
        D = linalg.cho_solve(system, cross + ridge * D)
    norms = np.linalg.norm(D, axis=1)
    lost = norms <= 0
    D[lost], norms[lost] = coding.D[lost], 1
    scale = np.where(lost, 0, norms)
    atoms = (D / norms[:, None]).astype(X.dtype)
    codes = np.where(held, coding.codes * scale[coding.support], 0).astype(X.dtype)
    return Coding(atoms, coding.support, codes, coding.R, coding.errors)
