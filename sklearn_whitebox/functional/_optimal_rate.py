"""The best that rate reduction can reach, in closed form."""

import math
from collections.abc import Sequence
from numbers import Integral

import numpy as np
from numpy.typing import NDArray


def optimal_rate_reduction(
    class_sizes: Sequence[float],
    n_features: int,
    ranks: Sequence[int] | None = None,
    *,
    distortion: float = 0.5,
) -> float:
    r"""Largest rate reduction of classes of given sizes, in nats.

    The value at mutually orthogonal classes with equal spectra and mean squared norm
    one:

    .. math:: \sum_k \tfrac{r_k}{2}\bigl[\log\bigl(1 + \tfrac{d n_k}{n\epsilon^2 r_k}
       \bigr) - \tfrac{n_k}{n}\log\bigl(1 + \tfrac{d}{\epsilon^2 r_k}\bigr)\bigr]

    Rates depend on dimension and distortion; the share of this value that features
    reach does not grow with them and can be compared.

    Parameters
    ----------
    class_sizes : sequence of float
        Number of samples of each class, or their total weight.
    n_features : int
        Dimension d of the features.
    ranks : sequence of int, default=None
        Dimension of each class's subspace, at least 1; None takes :func:`optimal_ranks`
        and so gives the largest rate reduction of all.
    distortion : float, default=0.5
        Allowed mean squared error per sample, ε².

    Returns
    -------
    reduction : float
        Rate reduction in nats. Without `ranks`, no features of mean squared norm one
        in each class exceed it, and features of unit norm attain it; where classes
        outnumber features that holds if no class has more than the share 1/d of the
        samples, otherwise the value is an upper bound.

    Raises
    ------
    ValueError
        If a rank is not between 1 and the size of its class, or they sum to more than
        `n_features`, or a size, `n_features` or `distortion` is not positive.

    Notes
    -----
    Within a class, a spectrum with one smaller value, the only other candidate [1]_,
    is never better: between "equal with that direction" and "equal without it" the
    objective first falls, then rises.

    Where K > d classes share the space, :math:`R \le \tfrac d2\log(1 + 1/\epsilon^2)`
    and :math:`R_c \ge \tfrac12\log(1 + d/\epsilon^2)` are met together by classes that
    are lines of a tight frame.

    References
    ----------
    .. [1] Yu, Chan, You, Song, Ma (2020). Learning diverse and discriminative
       representations via the principle of maximal coding rate reduction. NeurIPS.

    Examples
    --------
    >>> optimal_rate_reduction([200] * 3, 12, distortion=0.25)
    4.5267287...
    >>> optimal_rate_reduction([200] * 3, 12, [2] * 3, distortion=0.25)
    3.3727979...
    """
    sizes = _check(class_sizes, n_features, distortion)
    if ranks is None:
        chosen = optimal_ranks(class_sizes, n_features, distortion=distortion)
    else:
        chosen = np.asarray(_check_ranks(sizes, ranks, n_features))
    shares = sizes / sizes.sum()
    value = float(_gains(shares, chosen, n_features / distortion).sum())
    if ranks is None and len(sizes) > n_features:
        every = np.arange(1, n_features + 1)
        apart = _gains(shares[:, None], every, n_features / distortion).max(axis=1)
        whole = n_features / 2 * math.log1p(1 / distortion)
        within = math.log1p(n_features / distortion) / 2
        value = min(float(apart.sum()), whole - within)
    return value


def optimal_ranks(
    class_sizes: Sequence[float], n_features: int, *, distortion: float = 0.5
) -> NDArray[np.int64]:
    r"""Best dimension of each class, at the maximum of the rate reduction.

    They sum to at most the number of features. A coarse distortion makes fewer pay; at
    a fine one the small classes get most.

    Parameters
    ----------
    class_sizes : sequence of float
        Number of samples of each class, or their total weight.
    n_features : int
        Dimension of the features.
    distortion : float, default=0.5
        Allowed mean squared error per sample, ε².

    Returns
    -------
    ranks : ndarray of shape (n_classes,)
        From 1 to the size of the class; all 1 where classes outnumber features.

    Raises
    ------
    ValueError
        If a size, `n_features` or `distortion` is not positive.

    Notes
    -----
    The value of a class, :math:`r f(1/r)` for r dimensions, is concave in r as long as
    it grows: its slope is :math:`f(p) - p f'(p)` at p = 1/r and bends with f, which is
    convex for small p only, where the slope is negative. So dimensions pay less and
    less, and giving each to the class where it pays most is exact. Costs O(K d log Kd)
    time and O(K d) memory.

    Examples
    --------
    >>> optimal_ranks([30, 20, 10], 12, distortion=0.5)
    array([5, 4, 3])
    >>> optimal_ranks([30, 20, 10], 12, distortion=2.0)
    array([2, 2, 1])
    >>> optimal_ranks([30, 20, 10], 12, distortion=0.0001)
    array([1, 3, 8])
    """
    sizes = _check(class_sizes, n_features, distortion)
    ranks = np.ones(len(sizes), np.int64)
    spare = n_features - len(sizes)
    if spare <= 0:
        return ranks
    shares = (sizes / sizes.sum())[:, None]
    values = _gains(shares, np.arange(1, spare + 2), n_features / distortion)
    increments = np.diff(values, axis=1)
    possible = np.arange(2, spare + 2) <= np.ceil(sizes)[:, None]
    # Rounding must not make the rank of a single class, whose value is 0, arbitrary.
    worth = possible & (increments > 1e-14 * values.max(axis=1, keepdims=True))
    increments = np.where(worth, increments, -np.inf)
    # By columns, so that equal classes are served in turn.
    best = np.argsort(-increments.T.ravel(), kind="stable")[:spare]
    best = best[increments.T.ravel()[best] > 0]
    ranks += np.bincount(best % len(sizes), minlength=len(sizes))
    return ranks


def optimal_rank(
    class_size: float,
    n_samples: float,
    n_features: int,
    max_rank: int,
    *,
    distortion: float = 0.5,
) -> int:
    """Rank of a class at the maximum of the rate reduction.

    A coarse distortion makes fewer dimensions pay than are available.

    Parameters
    ----------
    class_size : float
        Samples of the class, or their total weight.
    n_samples : float
        Samples of all classes.
    n_features : int
        Dimension of the features.
    max_rank : int
        Dimensions available to the class.
    distortion : float, default=0.5
        Allowed mean squared error per sample, ε².

    Returns
    -------
    rank : int
        Between 1 and ``min(max_rank, class_size)``.

    Raises
    ------
    ValueError
        If `class_size`, `n_features` or `distortion` is not positive, or the class has
        more samples than there are.

    Examples
    --------
    >>> [optimal_rank(200, 600, 12, 4, distortion=e**2) for e in (0.9, 1.0, 1.2)]
    [4, 3, 2]
    """
    _check([class_size], n_features, distortion)
    if class_size > n_samples:
        raise ValueError(f"class_size={class_size} exceeds n_samples={n_samples}.")
    ranks = np.arange(1, max(1, min(max_rank, math.ceil(class_size))) + 1)
    share = np.array(class_size / n_samples)
    return int(ranks[np.argmax(_gains(share, ranks, n_features / distortion))])


def max_feature_penalty(
    class_sizes: Sequence[float], n_features: int, *, distortion: float = 0.5
) -> float:
    r"""Largest admissible penalty on the norm of regularised features.

    The λ of the objective :math:`\Delta R - \tfrac\lambda2\|Z\|_F^2`.

    Parameters
    ----------
    class_sizes : sequence of float
        Samples of each class, or their total weight; at least two classes.
    n_features : int
        Dimension of the features.
    distortion : float, default=0.5
        Allowed mean squared error per sample, ε².

    Returns
    -------
    penalty : float
        Beyond it a class has no non-zero critical point; 0 for a single class. Half of
        it is a safe choice; close to it the zero matrix can have the larger objective,
        see :func:`regularized_singular_values`.

    Raises
    ------
    ValueError
        If a size, `n_features` or `distortion` is not positive.

    References
    ----------
    .. [1] Wang et al. (2024). A global geometric analysis of maximal coding rate
       reduction. ICML.

    Examples
    --------
    >>> round(0.5 * max_feature_penalty([30, 20, 10], 12), 5)
    0.03431
    """
    sizes = _check(class_sizes, n_features, distortion)
    n_samples = float(sizes.sum())
    root = math.sqrt(n_samples / float(sizes.max()))
    return n_features / (n_samples * distortion) * (root - 1) / (root + 1)


def regularized_singular_values(
    class_sizes: Sequence[float],
    n_features: int,
    *,
    feature_penalty: float,
    distortion: float = 0.5,
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    r"""Singular values of classes at the maxima of the regularised rate reduction.

    At every local maximum of :math:`\Delta R - \tfrac\lambda2\|Z\|_F^2` the classes are
    orthogonal, and all singular values of a class that are not zero are equal [1]_:

    .. math:: \sigma_k^2 = \frac{\eta_k + \sqrt{\eta_k^2 - 4\lambda^2 n / n_k}}
       {2\lambda\alpha_k}, \qquad
       \eta_k = \alpha_k - \alpha - \lambda\Bigl(\frac{n}{n_k} + 1\Bigr)

    with :math:`\alpha = d/(n\epsilon^2)` and :math:`\alpha_k = d/(n_k\epsilon^2)`. How
    many of them a class gets depends on where an ascent starts; from small features
    it ends at zero.

    Parameters
    ----------
    class_sizes : sequence of float
        Samples of each class, or their total weight; at least two classes.
    n_features : int
        Dimension d of the features.
    feature_penalty : float
        Penalty λ on the squared norm of the features, positive and at most
        :func:`max_feature_penalty`.
    distortion : float, default=0.5
        Allowed mean squared error per sample, ε².

    Returns
    -------
    values : ndarray of shape (n_classes,)
        The singular value of each class.
    gains : ndarray of shape (n_classes,)
        What one such direction adds to the objective. Where it is not positive, which
        happens for penalties close to the largest, the maximum is a local one only
        and leaving the class at zero is better.

    Raises
    ------
    ValueError
        If `feature_penalty` is not in its interval, or a size, `n_features` or
        `distortion` is not positive.

    References
    ----------
    .. [1] Wang et al. (2024). A global geometric analysis of maximal coding rate
       reduction. ICML.

    Examples
    --------
    >>> penalty = 0.5 * max_feature_penalty([30, 20, 10], 12)
    >>> values, gains = regularized_singular_values(
    ...     [30, 20, 10], 12, feature_penalty=penalty
    ... )
    >>> values.round(5)
    array([3.24409, 3.99553, 4.61731])
    >>> bool((gains > 0).all())
    True
    """
    sizes = _check(class_sizes, n_features, distortion)
    largest = max_feature_penalty(class_sizes, n_features, distortion=distortion)
    if not 0 < feature_penalty <= largest:
        raise ValueError(
            f"feature_penalty={feature_penalty} must be positive and at most "
            f"{largest:.6g}, the largest for which every class has a maximum with "
            "features other than zero; half of that is a safe choice."
        )
    shares = sizes / sizes.sum()
    alpha = n_features / (sizes.sum() * distortion)
    scales = n_features / (sizes * distortion)
    eta = scales - alpha - feature_penalty * (1 / shares + 1)
    discriminant = eta**2 - 4 * feature_penalty**2 / shares
    # Zero at the largest penalty, but for rounding.
    roots = eta + np.sqrt(np.maximum(discriminant, 0))
    squares = roots / (2 * feature_penalty * scales)
    rates = np.log1p(alpha * squares) - shares * np.log1p(scales * squares)
    return np.sqrt(squares), (rates - feature_penalty * squares) / 2


def _gains(
    shares: NDArray[np.float64], ranks: NDArray[np.int64], scale: float
) -> NDArray[np.float64]:
    """Return what classes of equal spectra add to the rate reduction."""
    spread = scale / ranks
    gains: NDArray[np.float64] = (
        ranks / 2 * (np.log1p(shares * spread) - shares * np.log1p(spread))
    )
    return gains


def _check(
    class_sizes: Sequence[float], n_features: int, distortion: float
) -> NDArray[np.float64]:
    if not distortion > 0 or not math.isfinite(distortion):
        raise ValueError(f"distortion={distortion} must be positive and finite.")
    if not isinstance(n_features, Integral) or n_features < 1:
        raise ValueError(f"n_features={n_features} must be an integer of at least 1.")
    sizes = np.asarray(class_sizes, np.float64)
    if sizes.ndim != 1 or len(sizes) == 0:
        raise ValueError(f"class_sizes={class_sizes!r} must list a size per class.")
    if not (np.isfinite(sizes) & (sizes > 0)).all():
        raise ValueError(
            f"class_sizes={class_sizes!r} must be positive and finite; leave out empty "
            "classes."
        )
    return sizes


def _check_ranks(
    sizes: NDArray[np.float64], ranks: Sequence[int], n_features: int
) -> Sequence[int]:
    if len(ranks) != len(sizes):
        raise ValueError(f"ranks has {len(ranks)} values for {len(sizes)} classes.")
    for size, rank in zip(sizes, ranks, strict=True):
        if not 1 <= rank <= math.ceil(size):
            raise ValueError(
                f"ranks: a class of {size:g} samples cannot have rank {rank}; it must "
                f"be from 1 to {math.ceil(size)}."
            )
    if sum(ranks) > n_features:
        raise ValueError(
            f"ranks sum to {sum(ranks)}, but orthogonal classes have only "
            f"n_features={n_features} dimensions to share."
        )
    return ranks
