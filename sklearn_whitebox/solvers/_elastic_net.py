"""Lasso and elastic net in the Gram domain, for many rows that share a dictionary."""

from typing import Any

import numpy as np
from numba import njit
from numpy.typing import NDArray

from sklearn_whitebox.solvers._lasso_path import follow_path, singular_share
from sklearn_whitebox.solvers._result import SolverResult

# Factorisations between two checks; beyond it, coordinate descent is cheaper.
_MAX_REPAIRS = 8

Array = NDArray[Any]


@njit(nogil=True, cache=True)
def _sweep(
    gram: Array,
    z: Array,
    residual: Array,
    coordinates: Array,
    n_coordinates: int,
    l1: float,
    l2: float,
    positive: bool,
) -> float:
    """Minimise over each coordinate in turn; return the largest residual change."""
    largest = 0.0
    for position in range(n_coordinates):
        j = coordinates[position]
        curvature = gram[j, j] + l2
        if curvature <= 0.0:
            continue
        old = z[j]
        pull = residual[j] + curvature * old
        if pull > l1:
            new = (pull - l1) / curvature
        elif pull < -l1 and not positive:
            new = (pull + l1) / curvature
        else:
            new = 0.0
        change = new - old
        if change != 0.0:
            z[j] = new
            row = gram[j]
            for i in range(residual.shape[0]):
                residual[i] -= change * row[i]
            residual[j] -= change * l2
            largest = max(largest, abs(change) * curvature)
    return largest


@njit(nogil=True, cache=True)
def _factorise(gram: Array, support: Array, m: int, l2: float, factor: Array) -> bool:
    """Write the upper Cholesky factor of the support's Gram; False if singular."""
    for i in range(m):
        for j in range(i, m):
            factor[i, j] = gram[support[i], support[j]]
        factor[i, i] += l2
    smallest = singular_share(gram)
    for i in range(m):
        # A pivot lost to rounding means atoms that depend on one another.
        if factor[i, i] <= smallest * (gram[support[i], support[i]] + l2):
            return False
        pivot = np.sqrt(factor[i, i])
        for j in range(i, m):
            factor[i, j] /= pivot
        for r in range(i + 1, m):
            weight = factor[i, r]
            for j in range(r, m):
                factor[r, j] -= weight * factor[i, j]
    return True


@njit(nogil=True, cache=True)
def _solve(factor: Array, m: int, x: Array) -> None:
    """Solve with the upper Cholesky factor, in place."""
    for i in range(m):
        x[i] /= factor[i, i]
        for j in range(i + 1, m):
            x[j] -= factor[i, j] * x[i]
    for i in range(m - 1, -1, -1):
        value = x[i]
        for j in range(i + 1, m):
            value -= factor[i, j] * x[j]
        x[i] = value / factor[i, i]


@njit(nogil=True, cache=True)
def _solve_signed(
    gram: Array, b: Array, l1: float, l2: float, z: Array, support: Array, m: int
) -> bool:
    """Minimise over the support with its signs held; drop coordinates that hit zero.

    Between two sign changes the objective is quadratic, so every step to the minimum
    of that quadratic, or to the first zero on the way, lowers it. False if the Gram of
    the support is singular.
    """
    factor = np.empty((m, m))
    target = np.empty(m)
    for _ in range(_MAX_REPAIRS):
        if m == 0:
            return True
        if not _factorise(gram, support, m, l2, factor):
            return False
        for i in range(m):
            target[i] = b[support[i]] - np.sign(z[support[i]]) * l1
        _solve(factor, m, target)
        step = 1.0
        for i in range(m):
            value = z[support[i]]
            if value * target[i] <= 0.0:
                step = min(step, value / (value - target[i]))
        kept = 0
        for i in range(m):
            j = support[i]
            value = z[j]
            moved = value + step * (target[i] - value)
            if step == 1.0:
                moved = target[i]
            # The coordinate that stopped the step is zero but for rounding.
            if value * moved <= 1e-14 * value * value:
                z[j] = 0.0
            else:
                z[j] = moved
                support[kept] = j
                kept += 1
        if kept == m:
            return True
        m = kept
    return True


@njit(nogil=True, cache=True)
def _refresh(gram: Array, b: Array, l2: float, z: Array, residual: Array) -> None:
    """Recompute the residual correlations without accumulated rounding."""
    for i in range(b.shape[0]):
        residual[i] = b[i]
    for j in range(z.shape[0]):
        value = z[j]
        if value != 0.0:
            row = gram[j]
            for i in range(residual.shape[0]):
                residual[i] -= value * row[i]
            residual[j] -= value * l2


@njit(nogil=True, cache=True)
def _violation(z: Array, residual: Array, l1: float, positive: bool) -> float:
    """Largest violation of the optimality conditions."""
    largest = 0.0
    for j in range(z.shape[0]):
        if z[j] > 0.0:
            excess = abs(residual[j] - l1)
        elif z[j] < 0.0:
            excess = abs(residual[j] + l1)
        elif positive:
            excess = residual[j] - l1
        else:
            excess = abs(residual[j]) - l1
        largest = max(largest, excess)
    return largest


@njit(nogil=True, cache=True)
def _list_support(code: Array, support: Array) -> int:
    """Write where the code is not zero; return how many there are."""
    m = 0
    for j in range(code.shape[0]):
        if code[j] != 0.0:
            support[m] = j
            m += 1
    return m


@njit(nogil=True, cache=True)
def _elastic_net_single(
    gram: Array,
    b: Array,
    l1: float,
    l2: float,
    positive: bool,
    z: Array,
    tol: float,
    max_iter: int,
) -> tuple[int, float]:
    """Solve one problem in place, from the start given in `z`.

    A zero start follows the path; any other is improved by coordinate descent.

    Parameters
    ----------
    gram : ndarray of shape (n_components, n_components)
        Inner products of the atoms, symmetric and C-contiguous.
    b : ndarray of shape (n_components,)
        Inner products of the atoms with the sample.
    l1, l2 : float
        Weights of the norm and of half the squared norm.
    positive : bool
        Whether codes must not be negative.
    z : ndarray of shape (n_components,)
        Start; holds the solution afterwards.
    tol : float
        Largest violation of the optimality conditions, relative to ``max |b|``.
    max_iter : int
        Most path steps and sweeps.

    Returns
    -------
    n_iter : int
        Path steps and sweeps done.
    violation : float
        Violation of the optimality conditions reached, relative to ``max |b|``.
    """
    k = b.shape[0]
    scale = 0.0
    for j in range(k):
        scale = max(scale, abs(b[j]))
    if scale == 0.0 or scale <= l1:
        z[:] = 0.0
        return 0, 0.0
    everything = np.arange(k)
    support = np.empty(k, dtype=np.int64)
    # Float64 inside: the residual is a difference of sums, also for float32 input.
    code = np.empty(k)
    residual = np.empty(k)
    is_cold = True
    for j in range(k):
        usable = gram[j, j] + l2 > 0.0 and not (positive and z[j] < 0.0)
        code[j] = z[j] if usable else 0.0
        is_cold = is_cold and code[j] == 0.0
    _refresh(gram, b, l2, code, residual)
    enough = tol * scale
    n_iter = 0
    if is_cold:
        n_iter = follow_path(gram, b, l1, l2, positive, code, residual, max_iter)
        _refresh(gram, b, l2, code, residual)
    violation = _violation(code, residual, l1, positive)
    while violation > enough and n_iter < max_iter:
        change = _sweep(gram, code, residual, everything, k, l1, l2, positive)
        n_iter += 1
        m = _list_support(code, support)
        # As many sweeps as a factorisation of the support costs.
        patience = 2 + m // 4
        while patience > 0 and change > 0.1 * enough and n_iter < max_iter:
            change = _sweep(gram, code, residual, support, m, l1, l2, positive)
            n_iter += 1
            patience -= 1
        if change > 0.1 * enough:
            m = _list_support(code, support)
            if not _solve_signed(gram, b, l1, l2, code, support, m) and not is_cold:
                # The start has atoms that depend on one another; the path avoids them.
                is_cold = True
                code[:] = 0.0
                _refresh(gram, b, l2, code, residual)
                n_iter += follow_path(
                    gram, b, l1, l2, positive, code, residual, max_iter - n_iter
                )
        _refresh(gram, b, l2, code, residual)
        violation = _violation(code, residual, l1, positive)
    for j in range(k):
        z[j] = code[j]
    return n_iter, violation / scale


@njit(nogil=True, cache=True)
def _elastic_net_rows(
    gram: Array,
    correlations: Array,
    l1: Array,
    l2: float,
    positive: bool,
    codes: Array,
    tol: float,
    max_iter: int,
) -> tuple[int, float]:
    most = 0
    worst = 0.0
    for i in range(correlations.shape[0]):
        n_iter, violation = _elastic_net_single(
            gram, correlations[i], l1[i], l2, positive, codes[i], tol, max_iter
        )
        most = max(most, n_iter)
        worst = max(worst, violation)
    return most, worst


def elastic_net_gram(
    gram: Array,
    correlations: Array,
    *,
    l1: float | Array,
    l2: float = 0.0,
    positive: bool = False,
    tol: float = 1e-6,
    max_iter: int = 1000,
    init: Array | None = None,
) -> SolverResult:
    r"""Solve many elastic nets that share a dictionary, from inner products alone.

    For each row :math:`b` of the correlations,

    .. math:: \min_z \tfrac12 z G z^\top - b z^\top
        + \lambda_1 \|z\|_1 + \tfrac{\lambda_2}{2} \|z\|_2^2 ,

    which is the elastic net of a sample x on a dictionary D if :math:`G = DD^\top` and
    :math:`b = xD^\top`, but for a constant.

    Parameters
    ----------
    gram : ndarray of shape (n_components, n_components)
        Symmetric positive semi-definite matrix G.
    correlations : ndarray of shape (n_samples, n_components)
        One vector b per row.
    l1 : float or ndarray of shape (n_samples,)
        Non-negative weight of the ℓ1 norm, one for all rows or one each.
    l2 : float, default=0.0
        Non-negative weight of half the squared norm.
    positive : bool, default=False
        Whether codes must not be negative.
    tol : float, default=1e-6
        A row is done when no optimality condition is violated by more than this times
        its largest correlation.
    max_iter : int, default=1000
        Most steps along the path and sweeps over the coordinates of a row.
    init : ndarray of shape (n_samples, n_components), default=None
        Codes to start from; None starts from zero.

    Returns
    -------
    result : SolverResult
        The solution is an ndarray of shape (n_samples, n_components) in the dtype of
        the correlations, the gap is the largest relative violation of the optimality
        conditions over the rows.

    Raises
    ------
    ValueError
        If the shapes do not agree or a weight is negative.

    Notes
    -----
    From zero, the exact solution path is followed down to the wanted weight [1]_, at
    O(ks + s²) for each of its about s steps, with k atoms and s non-zeros. From another
    start, and where the atoms of a support depend on one another, coordinate descent
    finds the support and a Cholesky solve with the signs held makes the solution exact
    [2]_. A row's result does not depend on the other rows.

    References
    ----------
    .. [1] Osborne, Presnell, Turlach (2000). A new approach to variable selection in
       least squares problems. IMA Journal of Numerical Analysis 20.
    .. [2] Lee, Battle, Raina, Ng (2006). Efficient sparse coding algorithms. NeurIPS.

    Examples
    --------
    >>> import numpy as np
    >>> result = elastic_net_gram(np.eye(2), np.array([[3.0, 0.5]]), l1=1.0)
    >>> result.solution
    array([[2., 0.]])
    """
    correlations = np.ascontiguousarray(correlations)
    gram = np.ascontiguousarray(gram, dtype=correlations.dtype)
    n_samples, n_components = correlations.shape
    if gram.shape != (n_components, n_components):
        raise ValueError(
            f"gram has shape {gram.shape} but correlations has {n_components} columns; "
            f"gram must have shape ({n_components}, {n_components})."
        )
    weights = _weights_per_row("l1", l1, n_samples)
    if l2 < 0:
        raise ValueError(f"l2={l2} must not be negative.")
    codes = np.zeros_like(correlations) if init is None else _copy(init, correlations)
    n_iter, violation = _elastic_net_rows(
        gram, correlations, weights, float(l2), positive, codes, tol, max_iter
    )
    return SolverResult(
        solution=codes, n_iter=n_iter, converged=violation <= tol, gap=violation
    )


def _weights_per_row(name: str, value: float | Array, n_samples: int) -> Array:
    weights = np.asarray(value, dtype=np.float64)
    if weights.ndim and weights.shape != (n_samples,):
        raise ValueError(
            f"{name} has shape {weights.shape}; pass one number, or one per sample "
            f"({n_samples})."
        )
    if not np.all(weights >= 0):
        raise ValueError(f"{name} must not be negative; its least is {weights.min()}.")
    return np.broadcast_to(weights, (n_samples,)).copy()


def _copy(init: Array, correlations: Array) -> Array:
    codes = np.array(init, dtype=correlations.dtype, order="C")
    if codes.shape != correlations.shape:
        raise ValueError(
            f"init has shape {codes.shape}; it must have shape {correlations.shape}."
        )
    return codes
