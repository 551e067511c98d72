"""Coding rates of tokens and samples against a codebook of subspaces."""

import torch
from torch import Tensor

from sklearn_whitebox.functional._arrays import accepts_arrays
from sklearn_whitebox.functional._linalg import logdet_identity_plus_gram
from sklearn_whitebox.functional._rate import (
    _check,
    _check_length,
    _expand,
    coding_rate,
)


@accepts_arrays
def subspace_coding_rate(
    Z: Tensor, bases: Tensor, *, distortion: float = 0.5
) -> Tensor:
    r"""Coding rate of tokens against a codebook of subspaces, in nats, summed over it.

    .. math:: R_c(Z \mid U_{[K]}) = \tfrac12 \sum_k \log\det\bigl(I +
       \tfrac{p}{n\epsilon^2} (ZU_k)^\top ZU_k\bigr)

    The measure that the attention of a white-box transformer compresses. The width p of
    a subspace stands where :func:`coding_rate` has d, and no class weights occur.

    Parameters
    ----------
    Z : Tensor of shape (..., n_tokens, n_features)
        Tokens, one a row.
    bases : Tensor of shape (n_heads, n_features, head_dim)
        Bases :math:`U_k` of the subspaces, one a slice.
    distortion : float, default=0.5
        Allowed mean squared error per token, ε².

    Returns
    -------
    rate : Tensor of shape (...)
        Rate in nats.

    References
    ----------
    .. [1] Yu et al. (2023). White-box transformers via sparse rate reduction. NeurIPS.
    """
    Z = _check(Z, distortion)
    bases = torch.as_tensor(bases, dtype=Z.dtype, device=Z.device)
    projected = Z[..., None, :, :] @ bases  # (..., n_heads, n_tokens, head_dim)
    scale = bases.shape[-1] / (Z.shape[-2] * distortion)
    return logdet_identity_plus_gram(projected, scale).sum(-1) / 2


@accepts_arrays
def subspace_coding_rate_gradient(
    Z: Tensor, bases: Tensor, *, distortion: float = 0.5
) -> Tensor:
    r"""Gradient of :func:`subspace_coding_rate` with respect to the tokens.

    .. math:: \nabla R_c = b \sum_k ZU_k (I + b\,U_k^\top Z^\top Z U_k)^{-1} U_k^\top,
       \qquad b = \tfrac{p}{n\epsilon^2}

    Parameters
    ----------
    Z : Tensor of shape (..., n_tokens, n_features)
        Tokens, one a row.
    bases : Tensor of shape (n_heads, n_features, head_dim)
        Bases of the subspaces.
    distortion : float, default=0.5
        Allowed mean squared error per token, ε².

    Returns
    -------
    gradient : Tensor of shape (..., n_tokens, n_features)
        Steepest ascent direction of the rate.
    """
    Z = _check(Z, distortion)
    bases = torch.as_tensor(bases, dtype=Z.dtype, device=Z.device)
    projected = Z[..., None, :, :] @ bases
    scale = bases.shape[-1] / (Z.shape[-2] * distortion)
    return (_expand(projected, scale) @ bases.mT).sum(-3)


@accepts_arrays
def variational_coding_rate(
    Z: Tensor, memberships: Tensor, bases: Tensor, *, distortion: float = 0.5
) -> Tensor:
    r"""Upper bound of the conditional rate from second moments alone, in nats.

    .. math:: \tfrac12\sum_k \gamma_k \sum_i \log\bigl(1 + \tfrac{d}{\epsilon^2}
       \tfrac{1}{n_k} \sum_j \pi_{jk} (ZU_k)_{ji}^2\bigr)

    Equal to :func:`conditional_coding_rate` where :math:`U_k` diagonalises the second
    moment of class k, larger elsewhere. Needs no factorisation: O(n d p) a class.

    Parameters
    ----------
    Z : Tensor of shape (n_samples, n_features)
        Features, one row per sample.
    memberships : Tensor of shape (n_samples,) or (n_samples, n_classes)
        Integer labels ``0 … n_classes - 1``, or weights whose rows sum to one.
    bases : Tensor of shape (n_classes, n_features, head_dim)
        Orthonormal bases. With fewer columns than `n_features` it is a bound only if
        they span the rows of their class.
    distortion : float, default=0.5
        Allowed mean squared error per sample, ε².

    Returns
    -------
    rate : Tensor of shape ()
        Bound in nats.

    References
    ----------
    .. [1] Wu et al. (2025). Token statistics transformer: linear-time attention via
       variational rate reduction. ICLR.
    """
    Z = _check(Z, distortion, batched=False)
    n_samples, n_features = Z.shape
    bases = torch.as_tensor(bases, dtype=Z.dtype, device=Z.device)
    memberships = torch.as_tensor(memberships, device=Z.device)
    if memberships.ndim == 1:
        if bool((memberships < 0).any()) or bool((memberships >= len(bases)).any()):
            raise ValueError(
                f"memberships must be labels from 0 to {len(bases) - 1}, one per basis."
            )
        memberships = torch.nn.functional.one_hot(memberships.long(), len(bases))
    memberships = memberships.to(Z.dtype)
    _check_length(Z, memberships)
    mass = memberships.sum(0)
    projected = Z @ bases  # (n_classes, n_samples, head_dim)
    moments = (memberships.mT[..., None] * projected**2).sum(1)
    moments = moments / mass.clamp_min(torch.finfo(Z.dtype).tiny)[:, None]
    rates = torch.log1p(n_features / distortion * moments).sum(1)
    return (mass / n_samples * rates).sum() / 2


@accepts_arrays
def token_coding_rate(
    heads: Tensor, *, distortion: float = 0.01, normalize: bool = True
) -> Tensor:
    r"""Coding rate of the tokens inside each subspace, in nats.

    .. math:: \tfrac12 \log\det\bigl(I_n + \tfrac{p}{n\epsilon^2} W_k W_k^\top\bigr)

    The measure the published plots show, layer by layer, as compression. It is taken on
    tokens of unit norm, because attention alone lengthens the tokens, and with that
    raises any rate.

    Parameters
    ----------
    heads : Tensor of shape (..., n_heads, n_tokens, head_dim)
        Coordinates :math:`W_k` of the tokens in each subspace.
    distortion : float, default=0.01
        Allowed mean squared error per token, ε². The default is the constant of the
        published programs.
    normalize : bool, default=True
        Scale every token of every head to unit norm first.

    Returns
    -------
    rate : Tensor of shape (..., n_heads)
        Rate of each head in nats; the published plots show the sum over the heads.

    References
    ----------
    .. [1] Yu et al. (2023). White-box transformers via sparse rate reduction. NeurIPS.
    """
    if normalize:
        heads = torch.nn.functional.normalize(heads, dim=-1)
    rate: Tensor = coding_rate(heads, distortion=distortion)
    return rate
