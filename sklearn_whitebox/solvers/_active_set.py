"""Active-set Newton method for the lasso of one sample, from inner products alone."""

from typing import Any, NamedTuple

import numpy as np
from numba import njit
from numpy.typing import NDArray

Array = NDArray[Any]

# Atoms whose correlation is at least this share of the strongest one join together.
# Fewer at a time mean more products with the Gram matrix, more mean wrong guesses.
_JOINING = 0.85


class Workspace(NamedTuple):
    """Arrays that the search for one code needs, allocated once for many samples.

    Parameters
    ----------
    residual : ndarray of shape (n_components,)
        Inner products of the atoms with what the code leaves of the sample.
    heights : ndarray of shape (n_components + 1,)
        How strongly each atom outside the support pulls; the last entry is the largest.
    bits : ndarray of shape (n_components + 1,)
        The memory of `heights` seen as integers: non-negative floats are in the same
        order, and compilers find the largest integer many at a time.
    outside : ndarray of shape (n_components,)
        1 for atoms that may join, 0 for others.
    support : ndarray of shape (n_components,)
        Atoms in use.
    numbers : ndarray of shape (6, n_components)
        Of each atom in use: its sign, coefficient, next coefficient, violation of
        optimality, and two scratch rows.
    """

    residual: Array
    heights: Array
    bits: Array
    outside: Array
    support: Array
    numbers: Array


def make_workspace(n_components: int, dtype: Any) -> Workspace:
    """Allocate a workspace.

    Parameters
    ----------
    n_components : int
        Number of atoms.
    dtype : dtype
        Of the Gram matrix it will be used with.

    Returns
    -------
    work : Workspace
        Uninitialised arrays.
    """
    dtype = np.dtype(dtype)
    heights = np.empty(n_components + 1, dtype)
    return Workspace(
        residual=np.empty(n_components, dtype),
        heights=heights,
        bits=heights.view(np.int32 if dtype.itemsize == 4 else np.int64),
        outside=np.empty(n_components, dtype),
        support=np.empty(n_components, np.int64),
        numbers=np.empty((6, n_components)),
    )


@njit(nogil=True, cache=True, error_model="numpy")
def strongest(
    residual: Array, outside: Array, positive: bool, heights: Array, bits: Array
) -> float:
    """Find how strongly the atoms outside the support pull at most.

    Parameters
    ----------
    residual, outside : ndarray of shape (n_components,)
        As in :class:`Workspace`.
    positive : bool
        Whether atoms may only be used with a positive sign.
    heights, bits : ndarray of shape (n_components + 1,)
        As in :class:`Workspace`; overwritten.

    Returns
    -------
    height : float
        The largest pull.
    """
    k = residual.shape[0]
    if positive:
        for j in range(k):
            heights[j] = max(residual[j], 0) * outside[j]
    else:
        for j in range(k):
            heights[j] = abs(residual[j]) * outside[j]
    largest = bits[0]
    for j in range(k):
        largest = max(largest, bits[j])
    bits[k] = largest
    return float(heights[k])


@njit(nogil=True, cache=True, error_model="numpy")
def _correlate(
    gram: Array, b: Array, support: Array, code: Array, m: int, residual: Array
) -> None:
    """Write the inner products of the atoms with the residual, afresh."""
    k = b.shape[0]
    kind = residual.dtype.type
    for j in range(k):
        residual[j] = b[j]
    i = 0
    # Four rows at a time, because loading and storing the sum is what costs.
    while i + 4 <= m:
        row0, row1 = gram[support[i]], gram[support[i + 1]]
        row2, row3 = gram[support[i + 2]], gram[support[i + 3]]
        z0, z1 = kind(code[i]), kind(code[i + 1])
        z2, z3 = kind(code[i + 2]), kind(code[i + 3])
        for j in range(k):
            residual[j] -= z0 * row0[j] + z1 * row1[j] + z2 * row2[j] + z3 * row3[j]
        i += 4
    while i < m:
        row0, z0 = gram[support[i]], kind(code[i])
        for j in range(k):
            residual[j] -= z0 * row0[j]
        i += 1


@njit(nogil=True, cache=True, error_model="numpy")
def _border(
    gram: Array,
    support: Array,
    m: int,
    j: int,
    smallest: float,
    row: Array,
    column: Array,
    inverse: Array,
) -> bool:
    """Border the inverse of the support's Gram by atom `j`; False if dependent."""
    for i in range(m):
        row[i] = gram[j, support[i]]
        column[i] = 0.0
    for i in range(m):
        weight, entries = row[i], inverse[i]
        for r in range(m):
            column[r] += weight * entries[r]
    norm = float(gram[j, j])
    schur = norm
    for i in range(m):
        schur -= row[i] * column[i]
    if schur <= smallest * norm:
        return False
    for i in range(m):
        weight, entries = column[i] / schur, inverse[i]
        for r in range(m):
            entries[r] += weight * column[r]
        entries[m] = -weight
    for i in range(m):
        inverse[m, i] = -column[i] / schur
    inverse[m, m] = 1.0 / schur
    return True


@njit(nogil=True, cache=True, error_model="numpy")
def _remove(inverse: Array, m: int, position: int) -> None:
    """Take one atom out of the inverse, by moving the last one into its place."""
    last = m - 1
    if position != last:
        for i in range(m):
            held = inverse[i, position]
            inverse[i, position] = inverse[i, last]
            inverse[i, last] = held
        for i in range(m):
            held = inverse[position, i]
            inverse[position, i] = inverse[last, i]
            inverse[last, i] = held
    corner, final = inverse[last, last], inverse[last]
    for i in range(last):
        weight, entries = inverse[i, last] / corner, inverse[i]
        for r in range(last):
            entries[r] -= weight * final[r]


@njit(nogil=True, cache=True, error_model="numpy")
def _newton(
    m: int, support: Array, outside: Array, numbers: Array, inverse: Array
) -> tuple[int, int]:
    """Minimise over the support with its signs held, dropping atoms that reach zero.

    The objective is quadratic until a sign changes, and every step on the way to its
    minimum lowers it. Atoms that just joined and would move against their sign leave
    without a step, the worst first. Returns the size of the support and how many left
    like that.
    """
    signs, code, target, excess = numbers[0], numbers[1], numbers[2], numbers[3]
    n_refused = 0
    while m > 0:
        for i in range(m):
            target[i] = code[i]
        for i in range(m):
            weight, entries = excess[i], inverse[i]
            for r in range(m):
                target[r] += weight * entries[r]
        step, leaving, worst = 1.0, -1, -1.0
        for i in range(m):
            if target[i] * signs[i] > 0.0:
                continue
            reach = code[i] / (code[i] - target[i]) if code[i] != 0.0 else 0.0
            backwards = abs(target[i]) if reach == 0.0 else -1.0
            if reach < step or (reach == step and backwards > worst):
                step, leaving, worst = reach, i, backwards
        if leaving < 0:
            for i in range(m):
                code[i] = target[i]
            break
        if step == 0.0:
            n_refused += 1
        else:
            for i in range(m):
                code[i] += step * (target[i] - code[i])
                excess[i] *= 1.0 - step
        _remove(inverse, m, leaving)
        m -= 1
        outside[support[leaving]] = 1
        support[leaving] = support[m]
        signs[leaving], code[leaving] = signs[m], code[m]
        excess[leaving] = excess[m]
    return m, n_refused


@njit(nogil=True, cache=True, error_model="numpy")
def _make_room(
    m: int, sign: float, support: Array, outside: Array, numbers: Array, inverse: Array
) -> tuple[int, float]:
    """Drop an atom for one that is a combination of the support, at the same fit.

    Moving weight to the new atom along the combination, in the scratch row `column`,
    changes no sample and lowers the ℓ1 norm until a coefficient reaches zero. Returns
    the size of the support and the weight moved; a weight of zero changes nothing.
    """
    signs, code, excess, column = numbers[0], numbers[1], numbers[3], numbers[5]
    step, leaving = np.inf, -1
    for i in range(m):
        speed = sign * column[i] * signs[i]
        if speed > 0.0 and abs(code[i]) < step * speed:
            step, leaving = abs(code[i]) / speed, i
    if leaving < 0 or step <= 0.0:
        return m, 0.0
    for i in range(m):
        code[i] -= step * sign * column[i]
    _remove(inverse, m, leaving)
    m -= 1
    outside[support[leaving]] = 1
    support[leaving] = support[m]
    signs[leaving], code[leaving] = signs[m], code[m]
    excess[leaving] = excess[m]
    return m, step


@njit(nogil=True, cache=True, error_model="numpy")
def _enlarged(inverse: Array, m: int, limit: int) -> Array:
    """Copy the inverse into a matrix of up to twice the size."""
    side = min(2 * inverse.shape[0], limit)
    larger = np.empty((side, side))
    larger[:m, :m] = inverse[:m, :m]
    return larger


@njit(nogil=True, cache=True, error_model="numpy")
def adopt(
    gram: Array,
    start: Array,
    positive: bool,
    smallest: float,
    work: Workspace,
    inverse: Array,
) -> tuple[int, Array]:
    """Fill the workspace with a code to start from.

    Parameters
    ----------
    gram : ndarray of shape (n_components, n_components)
        Inner products of the atoms.
    start : ndarray of shape (n_components,)
        The code. Atoms that depend on earlier ones are left out, and those with a
        forbidden sign.
    positive : bool
        Whether codes must not be negative.
    smallest : float
        As in :func:`active_set`.
    work : Workspace
        Gets support and code.
    inverse : ndarray of shape (side, side)
        Gets the inverse of the Gram of the support.

    Returns
    -------
    m : int
        Size of the support.
    inverse : ndarray
        The same array or a larger one.
    """
    support, numbers = work.support, work.numbers
    m = 0
    for j in range(start.shape[0]):
        if start[j] == 0.0 or (positive and start[j] < 0.0):
            continue
        if m == inverse.shape[0]:
            inverse = _enlarged(inverse, m, start.shape[0])
        if _border(gram, support, m, j, smallest, numbers[4], numbers[5], inverse):
            support[m] = j
            numbers[0, m] = 1.0 if start[j] > 0.0 else -1.0
            numbers[1, m] = start[j]
            m += 1
    return m, inverse


@njit(nogil=True, cache=True, error_model="numpy")
def active_set(
    gram: Array,
    b: Array,
    l1: float,
    positive: bool,
    smallest: float,
    tol: float,
    max_steps: int,
    m: int,
    work: Workspace,
    inverse: Array,
) -> tuple[int, int, Array]:
    r"""Solve the lasso of one sample, starting from the support in the workspace.

    In turn, the atoms that violate optimality most join the support, and the objective
    is minimised over it with signs held. Residual correlations are computed afresh
    each time, so rounding does not add up.

    Parameters
    ----------
    gram : ndarray of shape (n_components, n_components)
        Inner products of the atoms.
    b : ndarray of shape (n_components,)
        Inner products of the atoms with the sample, in the dtype of `gram`.
    l1 : float
        Positive weight of the ℓ1 norm.
    positive : bool
        Whether codes must not be negative.
    smallest : float
        Least share of an atom's squared norm outside the span of the support.
    tol : float
        Violation of the optimality conditions that is small enough.
    max_steps : int
        Most rounds of joining.
    m : int
        Atoms in the support of `work` to start from, with `inverse` set.
    work : Workspace
        Holds support and code afterwards, and the residual correlations.
    inverse : ndarray of shape (side, side)
        Inverse of the Gram of the support, in its leading part.

    Returns
    -------
    m : int
        Size of the support.
    n_steps : int
        Rounds done. The search also ends where rounding lets nothing improve or where
        the atoms that should join depend on the support: judge the code by its gap.
    inverse : ndarray
        The same array or a larger one.
    """
    k = b.shape[0]
    residual, heights, bits, outside, support, numbers = work
    signs, code, excess = numbers[0], numbers[1], numbers[3]
    outside[:] = 1
    for i in range(m):
        outside[support[i]] = 0
    if m > 0:
        # The start solved another problem: the support comes first, all atoms later.
        for i in range(m):
            row = gram[support[i]]
            excess[i] = b[support[i]] - l1 * signs[i]
            for p in range(m):
                excess[i] -= row[support[p]] * code[p]
        m, _ = _newton(m, support, outside, numbers, inverse)
    joins_alone = False
    last_error = np.inf
    n_steps = 0
    while n_steps < max_steps:
        _correlate(gram, b, support, code, m, residual)
        error = 0.0
        for i in range(m):
            excess[i] = residual[support[i]] - l1 * signs[i]
            error = max(error, abs(excess[i]))
        height = strongest(residual, outside, positive, heights, bits)
        if height <= l1 + tol:
            if error <= tol or error > 0.5 * last_error:
                return m, n_steps, inverse
            last_error = error
        n_steps += 1
        n_joined = 0
        is_cramped = False
        if height > l1 + tol:
            bound = height if joins_alone else max(_JOINING * height, l1 + tol)
            for j in range(k):
                if heights[j] < bound:
                    continue
                if m == inverse.shape[0]:
                    inverse = _enlarged(inverse, m, k)
                sign = 1.0 if residual[j] > 0 else -1.0
                moved = 0.0
                joins = _border(
                    gram, support, m, j, smallest, numbers[4], numbers[5], inverse
                )
                if not joins:
                    is_cramped = True
                    # The combination must be one of atoms with weights to give.
                    if joins_alone and n_joined == 0:
                        m, moved = _make_room(
                            m, sign, support, outside, numbers, inverse
                        )
                        joins = moved > 0.0 and _border(
                            gram, support, m, j, smallest, numbers[4], numbers[5],
                            inverse,
                        )  # fmt: skip
                if joins:
                    outside[j] = 0
                    support[m] = j
                    signs[m] = sign
                    code[m] = sign * moved
                    excess[m] = residual[j] - l1 * sign
                    m += 1
                    n_joined += 1
        m, n_refused = _newton(m, support, outside, numbers, inverse)
        # Several atoms may all be refused, but the strongest alone moves the right way.
        is_stuck = height > l1 + tol and n_refused >= n_joined
        if is_stuck and joins_alone:
            break
        joins_alone = is_stuck or is_cramped
    _correlate(gram, b, support, code, m, residual)
    return m, n_steps, inverse
