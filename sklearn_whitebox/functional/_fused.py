"""Attention in subspaces with a derivative of its own: fewer copies, less memory.

It gives what :func:`subspace_self_attention` gives. Automatic differentiation would
treat the three roles of the coordinates as if they were different tensors.
"""

from typing import Any

import torch
from torch import Tensor

# Torch's softmax is slow on rows shorter than a vector register.
_VECTOR = 16

Gradients = tuple[Tensor | None, ...]


def can_fuse(tokens: Tensor) -> bool:
    """Tell whether the attention of this file may be used where tokens are.

    Parameters
    ----------
    tokens : Tensor
        Tokens to be transformed.

    Returns
    -------
    fused : bool
        False inside ``torch.compile``, which fuses better, and under autocast, which
        does not reach derivatives written by hand.
    """
    device = tokens.device.type
    if torch.compiler.is_compiling() or device not in ("cpu", "cuda"):
        return False
    return not torch.is_autocast_enabled(device)


def fused_attention(heads: Tensor, mask: Tensor | None = None) -> Tensor:
    """Compress tokens by attention in subspaces.

    Parameters
    ----------
    heads : Tensor of shape (n_samples, n_heads, n_tokens, head_dim)
        Coordinates of the tokens in each subspace.
    mask : Tensor of shape (n_samples, n_heads, n_tokens, n_tokens), default=None
        Multiplies the attention weights, for dropout; takes no gradient.

    Returns
    -------
    heads : Tensor of shape (n_samples, n_heads, n_tokens, head_dim)
        Compressed coordinates.

    Notes
    -----
    Keeps one array of n² numbers a head for the backward pass.
    """
    attended: Tensor = _Attention.apply(heads, mask)
    return attended


def _plain_attention(heads: Tensor, mask: Tensor | None) -> Tensor:
    weights = ((heads * heads.shape[-1] ** -0.5) @ heads.mT).softmax(-1)
    return (weights if mask is None else weights * mask) @ heads


def _softmax(scores: Tensor) -> Tensor:
    """Give the softmax over the last axis; may overwrite the scores."""
    if scores.shape[-1] >= _VECTOR:
        return scores.softmax(-1)
    scores.sub_(scores.amax(-1, keepdim=True)).exp_()
    return scores.div_(scores.sum(-1, keepdim=True))


def _softmax_slope(slope: Tensor, weights: Tensor) -> Tensor:
    """Give the gradient of the scores from that of the weights, which it overwrites."""
    slope.mul_(weights)
    return slope.addcmul_(weights, slope.sum(-1, keepdim=True), value=-1)


class _Attention(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, heads: Tensor, mask: Tensor | None) -> Tensor:
        W = heads.flatten(0, 1)  # (n_samples * n_heads, n_tokens, head_dim)
        scale = W.shape[-1] ** -0.5
        scores = torch.baddbmm(W.new_zeros(1), W, W.mT, beta=0, alpha=scale)
        weights = _softmax(scores)
        ctx.save_for_backward(heads, weights, mask)
        if mask is not None:
            weights = weights * mask.flatten(0, 1)
        return torch.bmm(weights, W).view(heads.shape)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> Gradients:
        (gradient,) = gradients
        heads, weights, mask = ctx.saved_tensors
        if torch.is_grad_enabled():
            output = _plain_attention(heads, mask)
            wanted = torch.autograd.grad(output, heads, gradient, create_graph=True)
            return wanted[0], None
        W, G = heads.flatten(0, 1), gradient.reshape(heads.shape).flatten(0, 1)
        scale = W.shape[-1] ** -0.5
        slope = torch.bmm(G, W.mT)
        read = weights
        if mask is not None:
            factor = mask.flatten(0, 1)
            slope.mul_(factor)
            read = weights * factor
        slope = _softmax_slope(slope, weights)
        found = torch.bmm(read.mT, G)
        # Scores are symmetric in the tokens, so they hand back both ways.
        found.baddbmm_(slope, W, alpha=scale).baddbmm_(slope.mT, W, alpha=scale)
        return found.view(heads.shape), None
