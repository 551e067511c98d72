"""Log-determinants, polar factors and Grams, on the cheaper and stabler side."""

import torch
from torch import Tensor

from sklearn_whitebox.functional._arrays import accepts_arrays

# Below this mean eigenvalue the Cholesky factor of I + G rounds to I.
_TINY = 1e-8
# Beyond this condition a Gram matrix in float32 has lost the small eigenvalues.
_FINE = 1e5


def accumulable(Z: Tensor, scale: float | Tensor) -> Tensor:
    """Return `Z` in a precision in which its scaled Gram matrix can be formed.

    Parameters
    ----------
    Z : Tensor of shape (..., n_samples, n_features)
        Matrix, real.
    scale : float or Tensor of shape (...)
        Factor of the Gram matrix.

    Returns
    -------
    Z : Tensor of shape (..., n_samples, n_features)
        In float64 where the condition of identity plus scaled Gram calls for it.
    """
    if Z.dtype != torch.float32 or Z.numel() == 0:
        return Z
    # The trace bounds the largest eigenvalue.
    known = scale.detach() if isinstance(scale, Tensor) else scale
    trace = known * Z.detach().square().sum((-2, -1))
    return Z.double() if float(torch.as_tensor(trace).max()) > _FINE else Z


def logdet_identity_plus_gram(Z: Tensor, scale: float | Tensor) -> Tensor:
    r"""Compute :math:`\log\det(I + s\, Z^\top Z)` on the smaller side of `Z`.

    Parameters
    ----------
    Z : Tensor of shape (..., n_samples, n_features)
        Matrix, real.
    scale : float or Tensor of shape (...)
        Non-negative factor s.

    Returns
    -------
    logdet : Tensor of shape (...)
        Non-negative; zero for an empty or zero matrix.

    Notes
    -----
    Costs O(n d min(n, d)); float32 is accumulated in float64 where the condition calls
    for it. The determinants of :math:`I + sZ^\top Z` and
    :math:`I + sZZ^\top` are equal, so the smaller Gram matrix is factorised. It is at
    least the identity, so Cholesky needs no jitter; where rounding still breaks it, the
    eigenvalues are used, and so they are where the rate is too small for Cholesky.
    """
    dtype = Z.dtype
    Z = accumulable(Z, scale)
    n_samples, n_features = Z.shape[-2:]
    gram = Z.mT @ Z if n_features <= n_samples else Z @ Z.mT
    side = gram.shape[-1]
    if side == 0:
        return Z.new_zeros(Z.shape[:-2])
    scale = torch.as_tensor(scale, dtype=Z.dtype, device=Z.device)
    gram = scale[..., None, None] * gram
    mean_eigenvalue = gram.diagonal(dim1=-2, dim2=-1).mean(-1)
    identity = torch.eye(side, dtype=Z.dtype, device=Z.device)
    factor, failed = torch.linalg.cholesky_ex(identity + gram)
    if bool(failed.any()) or bool((mean_eigenvalue < _TINY).any()):
        eigenvalues = torch.linalg.eigvalsh((gram + gram.mT) / 2)
        return torch.log1p(eigenvalues.clamp_min(0)).sum(-1).to(dtype)
    return 2 * factor.diagonal(dim1=-2, dim2=-1).log().sum(-1).to(dtype)


def inverse_identity_plus_gram(Z: Tensor, scale: float | Tensor) -> Tensor:
    r"""Compute :math:`(I_d + s\, Z^\top Z)^{-1}`.

    Parameters
    ----------
    Z : Tensor of shape (..., n_samples, n_features)
        Matrix, real.
    scale : float or Tensor of shape (...)
        Non-negative factor s.

    Returns
    -------
    inverse : Tensor of shape (..., n_features, n_features)
        Symmetric positive definite, eigenvalues in (0, 1].

    Notes
    -----
    Costs O(n d² + d³).
    """
    dtype = Z.dtype
    Z = accumulable(Z, scale)
    scale = torch.as_tensor(scale, dtype=Z.dtype, device=Z.device)
    gram = scale[..., None, None] * (Z.mT @ Z)
    identity = torch.eye(Z.shape[-1], dtype=Z.dtype, device=Z.device)
    factor, failed = torch.linalg.cholesky_ex(identity + gram)
    if bool(failed.any()):
        values, vectors = torch.linalg.eigh((gram + gram.mT) / 2)
        damped = vectors / (1 + values.clamp_min(0))[..., None, :]
        return (damped @ vectors.mT).to(dtype)
    return torch.cholesky_inverse(factor).to(dtype)


@accepts_arrays
def polar(G: Tensor) -> Tensor:
    r"""Orthonormal polar factor :math:`UV^\top` of :math:`G = USV^\top`.

    The closest matrix to `G` with orthonormal rows (or columns, if it is tall), and the
    projection onto the Stiefel manifold.

    Parameters
    ----------
    G : Tensor of shape (..., n_rows, n_columns)
        Any real matrix. Where it is rank deficient the factor is not unique and one of
        them is returned.

    Returns
    -------
    factor : Tensor of shape (..., n_rows, n_columns)
        Matrix with orthonormal rows or columns.

    Notes
    -----
    Costs O(n_rows n_columns min(n_rows, n_columns)).

    References
    ----------
    .. [1] Schönemann (1966). A generalized solution of the orthogonal Procrustes
       problem. Psychometrika 31.

    Examples
    --------
    >>> import numpy as np
    >>> polar(np.array([[0.0, 2.0], [3.0, 0.0]])).round(6)
    array([[0., 1.],
           [1., 0.]])
    """
    U, _, Vt = torch.linalg.svd(G, full_matrices=False)
    return U @ Vt
