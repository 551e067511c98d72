"""Samples that are sparse combinations of planted atoms."""

import numpy as np
from sklearn.utils import check_random_state


def make_sparse_codes(
    n_samples=1000,
    n_features=20,
    n_components=None,
    *,
    n_nonzero=None,
    density=0.1,
    noise=0.0,
    orthogonal=False,
    random_state=None,
):
    r"""Draw samples :math:`X = ZD + \text{noise}` with sparse Gaussian codes Z.

    Parameters
    ----------
    n_samples : int, default=1000
        Number of samples.
    n_features : int, default=20
        Dimension of the samples.
    n_components : int, default=None
        Number of atoms; None takes as many as features.
    n_nonzero : int, default=None
        Non-zeros in each code, at random positions; None takes each entry with
        probability `density` instead.
    density : float, default=0.1
        Probability of an entry to be non-zero.
    noise : float, default=0.0
        Standard deviation of the normal noise in every feature.
    orthogonal : bool, default=False
        Whether the atoms are orthonormal, drawn uniformly; else they are normal vectors
        scaled to unit norm.
    random_state : int, RandomState instance or None, default=None
        Source of randomness.

    Returns
    -------
    X : ndarray of shape (n_samples, n_features)
        Samples.
    codes : ndarray of shape (n_samples, n_components)
        Codes Z, whose non-zeros are standard normal.
    dictionary : ndarray of shape (n_components, n_features)
        Atoms D, of unit norm.

    Raises
    ------
    ValueError
        If `n_nonzero`, `density` or `noise` is out of range, or more orthogonal atoms
        are asked for than features.

    Examples
    --------
    >>> X, codes, dictionary = make_sparse_codes(5, 4, 8, n_nonzero=2, random_state=0)
    >>> X.shape, codes.shape, dictionary.shape
    ((5, 4), (5, 8), (8, 4))
    >>> (codes != 0).sum(axis=1)
    array([2, 2, 2, 2, 2])
    """
    k = n_features if n_components is None else n_components
    if n_nonzero is not None and not 0 <= n_nonzero <= k:
        raise ValueError(f"n_nonzero={n_nonzero} must be between 0 and {k}, the atoms.")
    if not 0 <= density <= 1:
        raise ValueError(f"density={density} must be between 0 and 1.")
    if noise < 0:
        raise ValueError(f"noise={noise} must not be negative.")
    if orthogonal and k > n_features:
        raise ValueError(
            f"orthogonal=True allows at most {n_features} atoms, the features; got "
            f"n_components={k}."
        )
    rng = check_random_state(random_state)
    if orthogonal:
        Q, R = np.linalg.qr(rng.standard_normal((n_features, n_features)))
        dictionary = (Q * np.where(np.diag(R) < 0, -1.0, 1.0)).T[:k]
    else:
        dictionary = rng.standard_normal((k, n_features))
        dictionary /= np.linalg.norm(dictionary, axis=1, keepdims=True)
    if n_nonzero is None:
        used = rng.uniform(size=(n_samples, k)) < density
    else:
        used = rng.uniform(size=(n_samples, k)).argsort(axis=1) < n_nonzero
    codes = np.where(used, rng.standard_normal((n_samples, k)), 0.0)
    X = codes @ dictionary
    if noise > 0:
        X += noise * rng.standard_normal(X.shape)
    return X, codes, dictionary
