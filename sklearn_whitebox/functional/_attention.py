"""Steps of a white-box transformer: compress tokens, then sparsify them."""

import math

import torch
from torch import Tensor

from sklearn_whitebox.functional._arrays import accepts_arrays


@accepts_arrays
def split_heads(projected: Tensor, n_heads: int) -> Tensor:
    """Cut projected tokens into heads, each with its own subspace.

    Parameters
    ----------
    projected : Tensor of shape (..., n_tokens, n_heads * head_dim)
        Tokens times the bases of all heads, one basis after the other.
    n_heads : int
        Number of heads.

    Returns
    -------
    heads : Tensor of shape (..., n_heads, n_tokens, head_dim)
        Coordinates of the tokens in the subspace of each head; a view.

    Raises
    ------
    ValueError
        If the width is not a multiple of `n_heads`.
    """
    width = projected.shape[-1]
    if n_heads < 1 or width % n_heads:
        raise ValueError(
            f"n_heads={n_heads} must divide the width {width} of the projected tokens."
        )
    parts = projected.reshape(*projected.shape[:-1], n_heads, width // n_heads)
    return parts.transpose(-3, -2)


@accepts_arrays
def merge_heads(heads: Tensor) -> Tensor:
    """Put the heads of every token side by side; undoes :func:`split_heads`.

    Parameters
    ----------
    heads : Tensor of shape (..., n_heads, n_tokens, head_dim)
        One slice a head.

    Returns
    -------
    merged : Tensor of shape (..., n_tokens, n_heads * head_dim)
        One row a token.
    """
    return heads.transpose(-3, -2).flatten(-2)


@accepts_arrays
def subspace_attention_weights(
    heads: Tensor, *, is_causal: bool = False, n_queries: int | None = None
) -> Tensor:
    r"""Attention of the tokens to one another inside each subspace.

    .. math:: A_k = \operatorname{softmax}\bigl(W_k W_k^\top / \sqrt{p}\bigr),
       \qquad W_k = Z U_k

    Queries, keys and values are the same coordinates, so a token attends to the tokens
    that lie in the same direction of the subspace, itself included.

    Parameters
    ----------
    heads : Tensor of shape (..., n_heads, n_tokens, head_dim)
        Coordinates of the tokens in each subspace, from :func:`split_heads`.
    is_causal : bool, default=False
        Let a token attend to itself and the tokens before it only.
    n_queries : int or None, default=None
        Compute the rows of the first so many tokens; None computes all.

    Returns
    -------
    weights : Tensor of shape (..., n_heads, n_queries, n_tokens)
        Non-negative; row i, which sums to one, weighs the tokens that token i reads.

    Notes
    -----
    Costs O(n² p) time and O(n²) memory a head.

    References
    ----------
    .. [1] Yu et al. (2023). White-box transformers via sparse rate reduction. NeurIPS.
    """
    # Scaling the smaller factor saves a pass over the scores.
    queries = heads[..., :n_queries, :] * heads.shape[-1] ** -0.5
    scores = queries @ heads.mT
    if is_causal:
        n_tokens = heads.shape[-2]
        future = torch.ones(
            n_tokens, n_tokens, dtype=torch.bool, device=heads.device
        ).triu(1)
        scores = scores.masked_fill(future[:n_queries], -math.inf)
    weights: Tensor = scores.softmax(-1)
    return weights


@accepts_arrays
def subspace_self_attention(heads: Tensor, *, is_causal: bool = False) -> Tensor:
    r"""Replace each token by a mean of tokens near it, inside each subspace (MSSA).

    .. math:: \operatorname{SSA}_k(Z) = A_k W_k, \qquad W_k = Z U_k

    It stands for the gradient of the rate :math:`R_c(Z \mid U_{[K]})` of the tokens
    against the subspaces: a gradient step is
    :math:`(1 - \kappa b) Z + \kappa b \operatorname{MSSA}(Z)` up to the replacement of
    a Gram matrix by its softmax. Adding the output of the attention alone *raises* the
    rate, because it lengthens the tokens; once they are scaled back to their length,
    as the next layer norm does, the rate of clustered tokens falls.

    Parameters
    ----------
    heads : Tensor of shape (..., n_heads, n_tokens, head_dim)
        Coordinates of the tokens in each subspace, from :func:`split_heads`.
    is_causal : bool, default=False
        Let a token read itself and the tokens before it only.

    Returns
    -------
    heads : Tensor of shape (..., n_heads, n_tokens, head_dim)
        Compressed coordinates; map them back with :func:`merge_heads` and a projection.

    Notes
    -----
    Costs O(n² p) a head.

    References
    ----------
    .. [1] Yu et al. (2023). White-box transformers via sparse rate reduction. NeurIPS.

    Examples
    --------
    >>> import numpy as np
    >>> far_apart = 100 * np.eye(3)[None]
    >>> bool(np.allclose(subspace_self_attention(far_apart), far_apart))
    True
    """
    weights: Tensor = subspace_attention_weights(heads, is_causal=is_causal)
    return weights @ heads


@accepts_arrays
def thresholded_self_attention(
    heads: Tensor, *, threshold: float = 0.55, is_causal: bool = False
) -> Tensor:
    r"""Keep of each token what nearly all of its attention agrees on.

    .. math:: \tau\, \mathbb 1\{A_k > \tau\}\, W_k, \qquad
       A_k = \operatorname{softmax}(W_k W_k^\top)

    With this in place of :func:`subspace_self_attention` and a threshold above one
    half, a layer :math:`Z + \eta \sum_k \operatorname{SSA}_k(Z) U_k^\top` denoises a
    mixture of low-rank Gaussians: with high probability the part of a token inside its
    own subspace grows by :math:`1 + \eta\tau`, and the noise in the others stays as it
    is [1]_. It has no gradient to train by and serves to show that.

    Parameters
    ----------
    heads : Tensor of shape (..., n_heads, n_tokens, head_dim)
        Coordinates of the tokens in each subspace, from :func:`split_heads`.
    threshold : float, default=0.55
        Level τ in (0, 1); above one half a token reads at most one token.
    is_causal : bool, default=False
        Let a token read itself and the tokens before it only.

    Returns
    -------
    heads : Tensor of shape (..., n_heads, n_tokens, head_dim)
        Compressed coordinates.

    Raises
    ------
    ValueError
        If `threshold` is not between zero and one.

    Notes
    -----
    The softmax has no factor :math:`1/\sqrt p` here: scores of tokens in a subspace
    must stand out against those of noise.

    References
    ----------
    .. [1] Wang et al. (2025). Attention-only transformers via unrolled subspace
       denoising. ICML.
    """
    if not 0 < threshold < 1:
        raise ValueError(f"threshold={threshold} must be between 0 and 1.")
    # Undoes the scale that the attention weights apply.
    scaled = heads * heads.shape[-1] ** 0.25
    weights: Tensor = subspace_attention_weights(scaled, is_causal=is_causal)
    return threshold * (weights > threshold).to(heads) @ heads


@accepts_arrays
def token_memberships(
    heads: Tensor,
    temperature: Tensor | float = 1.0,
    *,
    is_causal: bool = False,
    bias: Tensor | float = 0.0,
) -> Tensor:
    r"""Estimate how much each token belongs to the subspace of each head.

    .. math:: \Pi = \operatorname{softmax}_k \Bigl(\tau_k \sum_j
       \tfrac{W_{k,ij}^2}{\sum_i W_{k,ij}^2}\Bigr)

    The coordinates are normalised over the *tokens*, the softmax is over the *heads*.

    Parameters
    ----------
    heads : Tensor of shape (..., n_heads, n_tokens, head_dim)
        Coordinates of the tokens in each subspace, from :func:`split_heads`.
    temperature : float or Tensor of shape (n_heads, 1), default=1.0
        Sharpness τ of the memberships of each head.
    is_causal : bool, default=False
        Normalise by the tokens up to each token only.
    bias : float or Tensor of shape (n_heads, n_tokens, 1), default=0.0
        Added to every normalised square before they are summed over the coordinates,
        thus `head_dim` times in all. Used by the causal form.

    Returns
    -------
    memberships : Tensor of shape (..., n_heads, n_tokens)
        Non-negative, summing to one over the heads.

    References
    ----------
    .. [1] Wu et al. (2025). Token statistics transformer: linear-time attention via
       variational rate reduction. ICLR.
    """
    return _memberships(heads, heads**2, temperature, bias, is_causal=is_causal)


def _memberships(
    heads: Tensor,
    squares: Tensor,
    temperature: Tensor | float,
    bias: Tensor | float,
    *,
    is_causal: bool,
) -> Tensor:
    if is_causal:
        shares = (squares / squares.cumsum(-2).clamp_min(1e-12) + bias).sum(-1)
    else:
        # The published norm is clipped at 1e-12; this is its square. A product sums
        # over the coordinates without an array of normalised squares.
        inverse = squares.sum(-2, keepdim=True).clamp_min(1e-24).reciprocal()
        shares = (squares @ inverse.mT)[..., 0]
        if isinstance(bias, Tensor) or bias != 0:
            shares = shares + heads.shape[-1] * (
                bias[..., 0] if isinstance(bias, Tensor) else bias
            )
    memberships: Tensor = (shares * temperature).softmax(-2)
    return memberships


@accepts_arrays
def token_statistics_attention(
    heads: Tensor,
    temperature: Tensor | float = 1.0,
    *,
    is_causal: bool = False,
    bias: Tensor | float = 0.0,
) -> Tensor:
    r"""Shrink tokens along the directions that carry much energy (TSSA).

    .. math:: -\,\pi_{k,i}\, W_{k,i} \oslash (1 + s_k), \qquad
       s_k = \tfrac{\sum_i \pi_{k,i} W_{k,i}^2}{\sum_i \pi_{k,i}}

    A gradient step on the variational bound of the conditional rate, which needs the
    second moment of each coordinate only: no token is compared with another.

    Parameters
    ----------
    heads : Tensor of shape (..., n_heads, n_tokens, head_dim)
        Coordinates of the tokens in each subspace, from :func:`split_heads`.
    temperature : float or Tensor of shape (n_heads, 1), default=1.0
        Sharpness of the memberships, see :func:`token_memberships`.
    is_causal : bool, default=False
        Take the moments over each token and those before it.
    bias : float or Tensor of shape (n_heads, n_tokens, 1), default=0.0
        See :func:`token_memberships`.

    Returns
    -------
    heads : Tensor of shape (..., n_heads, n_tokens, head_dim)
        Change of the coordinates; its sign is part of it.

    Notes
    -----
    Costs O(n p) time a head, against O(n² p) of :func:`subspace_self_attention`.

    References
    ----------
    .. [1] Wu et al. (2025). Token statistics transformer: linear-time attention via
       variational rate reduction. ICLR.
    """
    squares = heads**2
    memberships = _memberships(heads, squares, temperature, bias, is_causal=is_causal)
    columns = memberships[..., None]  # (..., n_heads, n_tokens, 1)
    if is_causal:
        moment = (columns * squares).cumsum(-2) / (columns.cumsum(-2) + 1e-8)
        return -columns * heads / (1 + moment)
    mass = columns.sum(-2, keepdim=True) + 1e-8
    moment = memberships[..., None, :] @ squares / mass
    return heads * (-1 / (1 + moment)) * columns
