"""Compiled loops of the lasso: one sample at a time, and how good its code is."""

from typing import Any

import numpy as np
from numba import njit
from numpy.typing import NDArray

from sklearn_whitebox.solvers._active_set import (
    Workspace,
    active_set,
    adopt,
    strongest,
)
from sklearn_whitebox.solvers._elastic_net import _elastic_net_single, _refresh

# Violations of optimality that end the search in single and double precision, relative
# to the largest correlation, and least share of an atom outside the span of others.
_SINGLE, _DOUBLE = 1e-6, 1e-13
_DEPENDENT, _DOUBLE_DEPENDENT = 1e-5, 1e-9
# Gap that codes in single precision usually meet.
_LOOSE = 1e-6
# Weight below which single precision is not tried, likewise relative.
_SMALL = 0.01

Array = NDArray[Any]


@njit(nogil=True, cache=True, error_model="numpy")
def _gap(
    b: Array, squared_norm: float, l1: float, positive: bool, m: int, work: Workspace
) -> float:
    """Duality gap of the code in the workspace, relative to half the squared norm.

    The gap before the dual point is shrunk until it is feasible is a sum of the
    violations within the support, which unlike the difference of the two objectives
    does not cancel. What rounding may hide in it is added.
    """
    residual, heights, bits, outside, support, numbers = work
    signs, code = numbers[0], numbers[1]
    rounding = 8.0 * np.finfo(b.dtype).eps
    slack = 0.0
    explained = 0.0  # x · zD
    fitted = 0.0  # ‖zD‖²
    for i in range(m):
        j, z = support[i], code[i]
        slack += z * (l1 * signs[i] - residual[j]) + rounding * abs(z)
        explained += z * b[j]
        fitted += z * (b[j] - residual[j])
    outside[:] = 1
    worst = strongest(residual, outside, positive, heights, bits)
    if worst > l1:
        shrink = l1 / worst
        error = max(squared_norm - 2.0 * explained + fitted, 0.0)
        lost = squared_norm - explained - 0.5 * (1.0 + shrink) * error
        slack += (1.0 - shrink) * lost
    return max(slack, 0.0) / (0.5 * squared_norm)


@njit(nogil=True, cache=True, error_model="numpy")
def _code_gap(
    gram: Array, b: Array, squared_norm: float, l1: float, positive: bool, z: Array
) -> float:
    """Duality gap of any code, relative to half the squared norm of the sample."""
    residual = np.empty(b.shape[0])
    code = z.astype(np.float64)
    _refresh(gram, b, 0.0, code, residual)
    slack = 0.0
    explained = 0.0
    fitted = 0.0
    worst = 0.0
    for j in range(b.shape[0]):
        slack += l1 * abs(code[j]) - code[j] * residual[j]
        explained += code[j] * b[j]
        fitted += code[j] * (b[j] - residual[j])
        worst = max(worst, residual[j] if positive else abs(residual[j]))
    if worst > l1:
        shrink = l1 / worst
        error = max(squared_norm - 2.0 * explained + fitted, 0.0)
        lost = squared_norm - explained - 0.5 * (1.0 + shrink) * error
        slack += (1.0 - shrink) * lost
    return max(slack, 0.0) / (0.5 * squared_norm)


@njit(nogil=True, cache=True, error_model="numpy")
def encode_rows(
    gram: Array,
    single: Array,
    correlations: Array,
    squared_norms: Array,
    l1: Array,
    positive: bool,
    tol: float,
    max_iter: int,
    work: Workspace,
    fast: Workspace,
    inverse: Array,
    is_warm: bool,
    codes: Array,
    gaps: Array,
) -> tuple[int, Array]:
    """Code rows of unit largest correlation, on atoms of at most unit norm.

    The codes are zero before, or hold a start if `is_warm`.
    The support is found in single precision. Where the input is double, and the code
    not good enough yet, the search goes on from there in double precision, and mostly
    only checks.
    """
    most = 0
    b = np.empty(gram.shape[0], single.dtype)
    for i in range(correlations.shape[0]):
        if l1[i] >= 1.0:
            codes[i] = 0.0
            gaps[i] = 0.0
            continue
        # So small a weight drowns in the rounding of single precision.
        if l1[i] <= (_SMALL if gram.itemsize == 4 else 0.0):
            gaps[i] = np.inf
            continue
        b[:] = correlations[i]
        m = 0
        if is_warm:
            m, inverse = adopt(single, codes[i], positive, _DEPENDENT, fast, inverse)
            codes[i] = 0.0
        m, n_iter, inverse = active_set(
            single, b, l1[i], positive, _DEPENDENT, _SINGLE, max_iter, m, fast, inverse
        )
        support, code = fast.support, fast.numbers[1]
        gaps[i] = np.inf
        if gram.itemsize == 4 or tol >= _LOOSE:
            gaps[i] = _gap(b, squared_norms[i], l1[i], positive, m, fast)
        if gram.itemsize == 8 and gaps[i] > tol:
            work.support[:m] = support[:m]
            work.numbers[:2, :m] = fast.numbers[:2, :m]
            m, used, inverse = active_set(
                gram, correlations[i], l1[i], positive, _DOUBLE_DEPENDENT, _DOUBLE,
                max_iter - n_iter, m, work, inverse,
            )  # fmt: skip
            n_iter += used
            gaps[i] = _gap(correlations[i], squared_norms[i], l1[i], positive, m, work)
            if gaps[i] > tol:
                # What single precision takes for the support can be a dead end.
                m, used, inverse = active_set(
                    gram, correlations[i], l1[i], positive, _DOUBLE_DEPENDENT, _DOUBLE,
                    max_iter - n_iter, 0, work, inverse,
                )  # fmt: skip
                n_iter += used
                gaps[i] = _gap(
                    correlations[i], squared_norms[i], l1[i], positive, m, work
                )
            support, code = work.support, work.numbers[1]
        for p in range(m):
            codes[i, support[p]] = code[p]
        most = max(most, n_iter)
    return most, inverse


@njit(nogil=True, cache=True, error_model="numpy")
def insist(
    gram: Array,
    correlations: Array,
    squared_norms: Array,
    l1: Array,
    positive: bool,
    tol: float,
    max_iter: int,
    codes: Array,
    gaps: Array,
) -> int:
    """Follow the path, and sweep over the coordinates, where the active set failed."""
    most = 0
    for i in range(correlations.shape[0]):
        if gaps[i] <= tol:
            continue
        n_iter = 0
        violation = tol
        codes[i] = 0.0
        # The optimality conditions are cheap to check, the gap is what is promised.
        for _ in range(4):
            used, reached = _elastic_net_single(
                gram, correlations[i], l1[i], 0.0, positive, codes[i], violation,
                max_iter - n_iter,
            )  # fmt: skip
            n_iter += used
            if l1[i] > 0.0:
                gaps[i] = _code_gap(
                    gram, correlations[i], squared_norms[i], l1[i], positive, codes[i]
                )
            else:  # no residual but zero is feasible for the dual problem
                gaps[i] = reached
            if gaps[i] <= tol or n_iter >= max_iter:
                break
            violation *= 0.1
        most = max(most, n_iter)
    return most


@njit(nogil=True, cache=True)
def compress(codes: Array, indices: Array, values: Array, counts: Array) -> int:
    """Write the non-zeros of dense rows one after the other; return how many."""
    n = 0
    for i in range(codes.shape[0]):
        before = n
        for j in range(codes.shape[1]):
            if codes[i, j] != 0.0:
                indices[n] = j
                values[n] = codes[i, j]
                n += 1
        counts[i] = n - before
    return n
