"""Samples near a union of subspaces, with known labels."""

from numbers import Integral

import numpy as np
from sklearn.utils import check_random_state


def make_union_of_subspaces(
    n_samples=300,
    n_features=20,
    *,
    n_subspaces=3,
    subspace_dim=4,
    noise=0.0,
    offset=0.0,
    shuffle=True,
    random_state=None,
):
    """Draw samples from a union of random subspaces.

    Parameters
    ----------
    n_samples : int or sequence of int, default=300
        Samples in all, shared out evenly, or of each subspace.
    n_features : int, default=20
        Dimension of the space.
    n_subspaces : int, default=3
        Number of subspaces.
    subspace_dim : int or sequence of int, default=4
        Dimension of all, or of each subspace.
    noise : float, default=0.0
        Standard deviation of Gaussian noise of each feature. Samples have norm 1 before
        it and the offset are added.
    offset : float, default=0.0
        Distance of the subspaces from the origin, each in a random direction orthogonal
        to the subspace; beyond 0 they are affine.
    shuffle : bool, default=True
        Whether to mix the order of the samples.
    random_state : int, RandomState instance or None, default=None
        Source of randomness.

    Returns
    -------
    X : ndarray of shape (n_samples, n_features)
        Samples.
    y : ndarray of shape (n_samples,)
        Subspace of each sample, int64.

    Raises
    ------
    ValueError
        If a subspace does not fit the space, or is all of it in spite of an `offset`,
        or the sequences have other lengths than `n_subspaces`.

    Notes
    -----
    Directions are uniform on the unit sphere of each subspace.

    Examples
    --------
    >>> X, y = make_union_of_subspaces(6, 3, n_subspaces=2, subspace_dim=[1, 2])
    >>> X.shape, y.shape
    ((6, 3), (6,))
    """
    rng = check_random_state(random_state)
    sizes = _share_out(n_samples, n_subspaces)
    dims = _per_subspace("subspace_dim", subspace_dim, n_subspaces)
    _check_dims(dims, n_features)
    if offset and max(dims) == n_features:
        raise ValueError(
            f"offset={offset} has no direction to go in: a subspace of dimension "
            f"{n_features} is all of space; lower subspace_dim or set offset=0."
        )
    rows = []
    for size, dim in zip(sizes, dims, strict=True):
        basis = _random_basis(rng, n_features, dim)
        codes = rng.normal(size=(size, dim))
        codes /= np.linalg.norm(codes, axis=1, keepdims=True)
        rows.append(codes @ basis + offset * _normal_direction(rng, basis))
    X = np.vstack(rows)
    X = X + noise * rng.normal(size=X.shape)
    return _finish(X, sizes, rng if shuffle else None)


def make_low_rank_gaussians(
    n_samples=300,
    n_features=20,
    *,
    n_components=3,
    rank=4,
    decay=1.0,
    noise=0.1,
    center_scale=0.0,
    shuffle=True,
    random_state=None,
):
    """Draw samples from a mixture of Gaussians with low-rank covariances.

    Parameters
    ----------
    n_samples : int or sequence of int, default=300
        Samples in all, shared out evenly, or of each component.
    n_features : int, default=20
        Dimension of the space.
    n_components : int, default=3
        Number of Gaussians.
    rank : int or sequence of int, default=4
        Rank of all, or of each covariance before the noise.
    decay : float, default=1.0
        Standard deviation along the j-th principal axis, j from 0, is ``decay ** j``.
    noise : float, default=0.1
        Standard deviation of isotropic Gaussian noise of each feature.
    center_scale : float, default=0.0
        Standard deviation of each coordinate of the means; 0 puts them at the origin.
    shuffle : bool, default=True
        Whether to mix the order of the samples.
    random_state : int, RandomState instance or None, default=None
        Source of randomness.

    Returns
    -------
    X : ndarray of shape (n_samples, n_features)
        Samples.
    y : ndarray of shape (n_samples,)
        Component of each sample, int64.

    Raises
    ------
    ValueError
        If a rank is larger than `n_features`, or the sequences have other lengths than
        `n_components`.

    Examples
    --------
    >>> X, y = make_low_rank_gaussians(100, 10, rank=2, noise=0.0, random_state=0)
    >>> import numpy as np
    >>> int(np.linalg.matrix_rank(X[y == 0]))
    2
    """
    rng = check_random_state(random_state)
    sizes = _share_out(n_samples, n_components)
    ranks = _per_subspace("rank", rank, n_components)
    _check_dims(ranks, n_features)
    rows = []
    for size, dim in zip(sizes, ranks, strict=True):
        scales = float(decay) ** np.arange(dim)
        basis = _random_basis(rng, n_features, dim)
        center = center_scale * rng.normal(size=n_features)
        rows.append(center + rng.normal(size=(size, dim)) * scales @ basis)
    X = np.vstack(rows)
    X = X + noise * rng.normal(size=X.shape)
    return _finish(X, sizes, rng if shuffle else None)


def _share_out(n_samples, n_groups):
    if isinstance(n_samples, Integral):
        return [
            n_samples // n_groups + (k < n_samples % n_groups) for k in range(n_groups)
        ]
    return _per_subspace("n_samples", n_samples, n_groups)


def _per_subspace(name, value, n_groups):
    if isinstance(value, Integral):
        return [int(value)] * n_groups
    values = [int(v) for v in value]
    if len(values) != n_groups:
        raise ValueError(
            f"{name} has {len(values)} entries for {n_groups} groups; give one number, "
            "or one for each."
        )
    return values


def _check_dims(dims, n_features):
    if min(dims) < 1 or max(dims) > n_features:
        raise ValueError(
            f"dimensions {dims} must lie between 1 and n_features={n_features}."
        )


def _random_basis(rng, n_features, dim):
    return np.linalg.qr(rng.normal(size=(n_features, dim)))[0].T


def _normal_direction(rng, basis):
    """Draw a unit vector orthogonal to a subspace, or zero if that is everything."""
    direction = rng.normal(size=basis.shape[1])
    if len(basis) == basis.shape[1]:
        return np.zeros_like(direction)
    direction -= direction @ basis.T @ basis
    return direction / np.linalg.norm(direction)


def _finish(X, sizes, rng):
    y = np.repeat(np.arange(len(sizes)), sizes)
    if rng is None:
        return X, y
    order = rng.permutation(len(X))
    return X[order], y[order]
