"""Compiled steps of the costs of joining clusters."""

import math

import numpy as np
from numba import njit
from numpy.typing import NDArray

Array = NDArray[np.floating]
Indices = NDArray[np.int64]


@njit(nogil=True, cache=True)
def merge_costs_kernel(
    k: int,
    partners: Indices,
    products: Array,
    positions: Indices,
    mean_products: Array,
    mean_positions: Indices,
    counts: Array,
    lengths: Array,
    starts: Indices,
    ranks: Indices,
    squares: Array,
    tilts: Array,
    mean_squares: Array,
    mean_offsets: Array,
    offset_square: float,
    dim: int,
    basis: float,
    code_mean: bool,
) -> Array:
    """Cost of joining cluster k with each partner, see `CodedClusters`.

    Row ``positions[t] + s`` of `products` holds the products of row s of the factor of
    partner t with the rows of the factor of k and, in the last column, with its mean;
    row ``mean_positions[t]`` of `mean_products` those of the partner's mean.
    """
    own = ranks[k]
    own_squares = squares[starts[k] : starts[k] + own]
    own_tilts = tilts[starts[k] : starts[k] + own]
    extra = 1 if code_mean else 0
    widest = own
    for t in range(len(partners)):
        widest = max(widest, ranks[partners[t]])
    narrow = min(own, widest) + extra
    scratch = np.empty((widest + 1, narrow))
    matrix = np.empty((narrow, narrow))
    weights = np.empty(widest + 1)
    own_weights = np.empty(own)
    own_logdet = names = 0.0
    last_count = -1.0
    costs = np.empty(len(partners))
    for t in range(len(partners)):
        m = partners[t]
        total = counts[k] + counts[m]
        scale = dim / total
        if counts[m] != last_count:
            last_count = counts[m]
            own_logdet = 0.0
            for b in range(own):
                own_logdet += math.log1p(scale * own_squares[b])
                own_weights[b] = scale / (1 + scale * own_squares[b])
            names = counts[k] * math.log(counts[k] / total)
            names += counts[m] * math.log(counts[m] / total)
        pull = pull_square = 0.0
        if code_mean:
            pull_square = counts[k] * counts[m] / total
            pull = math.sqrt(pull_square)
        at, mean_at, first, rank = positions[t], mean_positions[t], starts[m], ranks[m]
        # B is the larger factor, A the smaller one and the pull between the means.
        if rank <= own:
            small, large = rank, own
            logdet = own_logdet
            for b in range(own):
                weights[b] = own_weights[b]
                for a in range(rank):
                    scratch[b, a] = products[at + a, b]
                if code_mean:
                    gap = own_tilts[b] - mean_products[mean_at, b]
                    scratch[b, rank] = pull * gap
        else:
            small, large = own, rank
            logdet = 0.0
            for b in range(rank):
                logdet += math.log1p(scale * squares[first + b])
                weights[b] = scale / (1 + scale * squares[first + b])
                for a in range(own):
                    scratch[b, a] = products[at + b, a]
                if code_mean:
                    gap = products[at + b, own] - tilts[first + b]
                    scratch[b, own] = pull * gap
        size = small + extra
        for a in range(small):
            for e in range(a, size):
                matrix[a, e] = 0.0
            if rank <= own:
                matrix[a, a] = squares[first + a]
            else:
                matrix[a, a] = own_squares[a]
        if code_mean:
            gap = mean_squares[k] - 2 * mean_products[mean_at, own] + mean_squares[m]
            matrix[small, small] = pull_square * max(gap, 0.0)
            for a in range(small):
                if rank <= own:
                    gap = products[at + a, own] - tilts[first + a]
                else:
                    gap = own_tilts[a] - mean_products[mean_at, a]
                matrix[a, small] = pull * gap
        logdet += _eliminated_logdet(matrix, scratch, weights, size, large, scale)
        joint = (total + basis) / 2 * logdet
        if code_mean:
            joint += (
                dim
                / 2
                * math.log1p(
                    _joint_mean_square(
                        counts[k] / total,
                        counts[m] / total,
                        mean_squares[k],
                        mean_squares[m],
                        mean_products[mean_at, own],
                        mean_offsets[k],
                        mean_offsets[m],
                        offset_square,
                    )
                )
            )
        costs[t] = joint - lengths[k] - lengths[m] + names
    return costs


@njit(nogil=True, cache=True)
def _eliminated_logdet(
    matrix: Array, scratch: Array, weights: Array, size: int, large: int, scale: float
) -> float:
    """Log-determinant of I + c (M - B' W B), from the upper triangle of M, in place."""
    if size == 1:
        value = matrix[0, 0]
        for b in range(large):
            value -= weights[b] * scratch[b, 0] * scratch[b, 0]
        return math.log1p(scale * max(value, 0.0))
    for b in range(large):
        for a in range(size):
            factor = weights[b] * scratch[b, a]
            for e in range(a, size):
                matrix[a, e] -= factor * scratch[b, e]
    logdet = 0.0
    for a in range(size):
        for e in range(a, size):
            matrix[a, e] *= scale
        matrix[a, a] += 1.0
    for a in range(size):
        # The matrix is at least the identity; only rounding can say less.
        pivot = max(matrix[a, a], 1.0)
        logdet += math.log(pivot)
        for e in range(a + 1, size):
            factor = matrix[a, e] / pivot
            for f in range(e, size):
                matrix[e, f] -= factor * matrix[a, f]
    return logdet


@njit(nogil=True, cache=True)
def _joint_mean_square(
    share: float,
    other_share: float,
    square: float,
    other_square: float,
    product: float,
    along: float,
    other_along: float,
    offset_square: float,
) -> float:
    centred = share**2 * square + other_share**2 * other_square
    centred += 2 * share * other_share * product
    shift = share * along + other_share * other_along
    return max(centred + 2 * shift + offset_square, 0.0)
