"""K-SVD: atoms one at a time, together with the coefficients that use them."""

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sklearn_whitebox.solvers._l0_coding import Coding
from sklearn_whitebox.solvers._l0_kernels import (
    rows_of_atoms,
    sweep_atoms,
    sweep_atoms_exactly,
)
from sklearn_whitebox.solvers._l0_learning import learn_with_few_coefs
from sklearn_whitebox.solvers._result import SolverResult

Array = NDArray[np.floating]

# Alternations that stand for the best pair where signs are constrained.
_ALTERNATIONS = 20


def learn_dictionary_ksvd(
    X: Array,
    init: Array,
    *,
    n_nonzero_coefs: int,
    exact: bool = False,
    positive_code: bool = False,
    positive_dict: bool = False,
    max_iter: int = 500,
    tol: float = 1e-4,
    max_swaps: int = 40,
    generator: np.random.Generator | None = None,
    n_jobs: int | None = None,
    callback: Callable[[int, float], Any] | None = None,
) -> SolverResult:
    r"""Learn a dictionary on which each sample has few coefficients, by K-SVD.

    .. math:: \min_{D, Z} \sum_i \tfrac12 \|x_i - z_i D\|_2^2
        \quad\text{with}\quad \|z_i\|_0 \leq s,\; \|d_j\|_2 = 1

    Samples are coded by order recursive matching pursuit, but keep the code they had
    if it has less error. Then each atom and its coefficients become the best pair, or a
    better one, for what the other atoms leave. When progress stalls, a swap is tried:
    an atom that others can stand in for is freed, and either an atom whose samples are
    represented worst is split in two, or one such sample becomes an atom. The swap
    stays if the objective falls within a few iterations. So the objective never rises.

    Parameters
    ----------
    X : ndarray of shape (n_samples, n_features)
        Samples, float32 or float64.
    init : ndarray of shape (n_components, n_features)
        Atoms to start from, for example from :func:`initial_atoms`.
    n_nonzero_coefs : int
        Most coefficients s of a sample.
    exact : bool, default=False
        Whether an atom becomes the leading singular vector of its residual, rather than
        one alternation towards it. Where signs are constrained, it means many
        alternations rather than one.
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
        Order of the atoms; None is ``numpy.random.default_rng(0)``.
    n_jobs : int, default=None
        Threads that code the samples. The result does not depend on it.
    callback : callable, default=None
        Called as ``callback(iteration, objective)``; stops the loop if it returns True.

    Returns
    -------
    result : SolverResult
        The solution is a dictionary with ``components``, an ndarray of shape
        (n_components, n_features) of unit atoms by decreasing energy, and
        ``n_replaced``, the number of atoms replaced or swapped. The objective is half
        the mean squared residual of a sample, the least so far, after each iteration.

    Notes
    -----
    Swaps are what finds planted dictionaries: without them a few atoms in a hundred
    stay wrong. On large data, where no atom is true, ``max_swaps=0`` saves much time.

    An iteration costs what coding costs, :func:`omp_encode`, and O(n s d); the exact
    step O(n s d² + k d³). Memory beyond the samples is O(n (d + s) + k² + k d).

    References
    ----------
    .. [1] Aharon, Elad, Bruckstein (2006). K-SVD: An algorithm for designing
       overcomplete dictionaries for sparse representation. IEEE Transactions on Signal
       Processing 54(11).
    .. [2] Rubinstein, Zibulevsky, Elad (2008). Efficient implementation of the K-SVD
       algorithm using batch orthogonal matching pursuit. Technion.

    Examples
    --------
    >>> import numpy as np
    >>> X = np.array([[2.0, 0.0], [-1.0, 0.0], [0.0, 3.0], [0.0, 1.0]])
    >>> init = np.array([[1.0, 0.2], [0.3, 1.0]])
    >>> result = learn_dictionary_ksvd(X, init, n_nonzero_coefs=1)
    >>> result.solution["components"].round(6) + 0.0
    array([[0., 1.],
           [1., 0.]])
    """

    def update(coding: Coding, generator: np.random.Generator) -> Coding:
        order = generator.permutation(len(coding.D))
        arrays = coding.R, coding.D, coding.codes
        places = rows_of_atoms(coding.support, len(coding.D))
        if exact and not (positive_code or positive_dict):
            sweep_atoms_exactly(*arrays, *places, order)
        else:
            n_steps = _ALTERNATIONS if exact else 1
            sweep_atoms(*arrays, *places, order, positive_code, positive_dict, n_steps)
        return coding

    return learn_with_few_coefs(
        X,
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
