"""Thresholds: the proximal operators that make codes sparse."""

import torch
from torch import Tensor

from sklearn_whitebox.functional._arrays import accepts_arrays


@accepts_arrays
def soft_threshold(
    Z: Tensor, threshold: float | Tensor, *, positive: bool = False
) -> Tensor:
    r"""Shrink every entry towards zero: the proximal operator of the ℓ1 norm.

    .. math:: S_t(z) = \operatorname{sign}(z)\,\max(|z| - t, 0)

    Parameters
    ----------
    Z : Tensor of any shape
        Entries to shrink.
    threshold : float or Tensor
        Non-negative amount, broadcast against `Z`.
    positive : bool, default=False
        Also project onto non-negative values: :math:`\max(z - t, 0)`.

    Returns
    -------
    shrunk : Tensor
        Of the shape of `Z`.

    References
    ----------
    .. [1] Buchanan, Pai, Wang, Ma. Principles and Practice of Deep Representation
       Learning, appendix A (arXiv 2606.06624).

    Examples
    --------
    >>> import numpy as np
    >>> soft_threshold(np.array([-3.0, 0.5, 2.0]), 1.0)
    array([-2.,  0.,  1.])
    """
    if positive:
        return (Z - threshold).clamp_min(0)
    return Z - torch.clamp(Z, min=-_as(threshold, Z), max=_as(threshold, Z))


@accepts_arrays
def hard_threshold(Z: Tensor, threshold: float | Tensor) -> Tensor:
    r"""Zero every entry of magnitude at most the threshold.

    The proximal operator of :math:`\tfrac12 t^2 \|z\|_0`.

    Parameters
    ----------
    Z : Tensor of any shape
        Entries.
    threshold : float or Tensor
        Non-negative magnitude, broadcast against `Z`.

    Returns
    -------
    kept : Tensor
        Of the shape of `Z`.

    Examples
    --------
    >>> import numpy as np
    >>> hard_threshold(np.array([-3.0, 0.5, 2.0]), 1.0)
    array([-3.,  0.,  2.])
    """
    return torch.where(Z.abs() > threshold, Z, torch.zeros_like(Z))


@accepts_arrays
def group_threshold(Z: Tensor, threshold: float | Tensor) -> Tensor:
    r"""Shrink the Euclidean norm of every row: the proximal operator of ℓ2,1.

    .. math:: z \mapsto z\,\max(1 - t/\|z\|_2, 0)

    Parameters
    ----------
    Z : Tensor of shape (..., n_features)
        The last axis is the group.
    threshold : float or Tensor of shape (...)
        Non-negative amount per group.

    Returns
    -------
    shrunk : Tensor of shape (..., n_features)
        Groups of norm at most the threshold become zero.

    Examples
    --------
    >>> import numpy as np
    >>> group_threshold(np.array([[3.0, 4.0], [0.3, 0.4]]), 1.0)
    array([[2.4, 3.2],
           [0. , 0. ]])
    """
    norm = torch.linalg.vector_norm(Z, dim=-1, keepdim=True)
    threshold = _as(threshold, Z)
    if threshold.ndim:
        threshold = threshold[..., None]
    # The guard only meets groups of zero norm, which stay zero.
    return Z * (1 - threshold / norm.clamp_min(torch.finfo(Z.dtype).tiny)).clamp_min(0)


@accepts_arrays
def top_k_threshold(Z: Tensor, k: int) -> Tensor:
    """Keep the `k` entries of largest magnitude in every row, zero the others.

    Parameters
    ----------
    Z : Tensor of shape (..., n_features)
        Rows.
    k : int
        Entries to keep, at least 0; `n_features` or more keeps all.

    Returns
    -------
    kept : Tensor of shape (..., n_features)
        With at most `k` non-zero entries a row.

    Examples
    --------
    >>> import numpy as np
    >>> top_k_threshold(np.array([[-3.0, 0.5, 2.0]]), 1)
    array([[-3.,  0.,  0.]])
    """
    if k < 0:
        raise ValueError(f"k={k} must be at least 0.")
    k = min(k, Z.shape[-1])
    index = Z.abs().topk(k, dim=-1).indices
    return torch.zeros_like(Z).scatter(-1, index, Z.gather(-1, index))


@accepts_arrays
def project_sphere(Z: Tensor, *, eps: float = 1e-8) -> Tensor:
    """Scale every row to unit Euclidean norm; rows shorter than `eps` stay as short.

    Parameters
    ----------
    Z : Tensor of shape (..., n_features)
        Rows.
    eps : float, default=1e-8
        Smallest norm divided by.

    Returns
    -------
    unit : Tensor of shape (..., n_features)
        Rows of unit norm; zero rows stay zero.

    Examples
    --------
    >>> import numpy as np
    >>> project_sphere(np.array([[3.0, 4.0], [0.0, 0.0]]))
    array([[0.6, 0.8],
           [0. , 0. ]])
    """
    return Z / torch.linalg.vector_norm(Z, dim=-1, keepdim=True).clamp_min(eps)


def _as(value: float | Tensor, like: Tensor) -> Tensor:
    return torch.as_tensor(value, dtype=like.dtype, device=like.device)
