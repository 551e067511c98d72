"""Coding lengths of samples and segmentations, and closed forms of optimal rates."""

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from sklearn_whitebox.functional._arrays import accepts_arrays
from sklearn_whitebox.functional._linalg import logdet_identity_plus_gram
from sklearn_whitebox.functional._rate import _check, _check_length


@accepts_arrays
def coding_length(
    X: Tensor,
    *,
    distortion: float,
    code_mean: bool = False,
    basis_cost: bool = True,
) -> Tensor:
    r"""Length of a code for all rows and for their subspace, in nats.

    .. math:: L(X) = \tfrac{n+d}{2} \log\det\bigl(I + \tfrac{d}{n\epsilon^2}
       X^\top X\bigr)

    With `code_mean` the rows are centred first and the mean costs
    :math:`\tfrac d2 \log(1 + \|\mu\|^2/\epsilon^2)` more.

    Parameters
    ----------
    X : Tensor of shape (n_samples, n_features)
        Samples, one a row.
    distortion : float
        Allowed mean squared error per sample, ε².
    code_mean : bool, default=False
        Code the mean apart, for clusters that are not centred.
    basis_cost : bool, default=True
        Pay for the subspace; otherwise the factor n + d becomes n.

    Returns
    -------
    length : Tensor of shape ()
        In nats; divide by ``math.log(2)`` for bits. Meaningful up to quantisation
        constants: compare lengths, do not read one as a file size.

    Notes
    -----
    The d copies of the rate that pay for the basis keep small clusters from looking
    free; without them agglomeration by coding length over-segments.

    References
    ----------
    .. [1] Ma, Derksen, Hong, Wright (2007). Segmentation of multivariate mixed data via
       lossy data coding and compression. IEEE TPAMI 29(9).

    Examples
    --------
    >>> import numpy as np
    >>> round(coding_length(np.eye(2), distortion=1.0), 6)
    2.772589
    """
    X = _check(X, distortion, batched=False)
    n_samples, n_features = X.shape
    if n_samples == 0:
        return X.new_zeros(())
    length = X.new_zeros(())
    if code_mean:
        mean = X.mean(0)
        length = n_features / 2 * torch.log1p(mean @ mean / distortion)
        X = X - mean
    scale = n_features / (n_samples * distortion)
    rows = logdet_identity_plus_gram(X, scale)
    return length + (n_samples + basis_cost * n_features) / 2 * rows


@accepts_arrays
def segmentation_coding_length(
    X: Tensor,
    labels: Tensor,
    *,
    distortion: float,
    code_mean: bool = False,
    basis_cost: bool = True,
) -> Tensor:
    r"""Length of a code for a segmentation: its clusters and its labels, in nats.

    .. math:: \sum_k L(X_k) - n_k \log(n_k/n)

    Parameters
    ----------
    X : Tensor of shape (n_samples, n_features)
        Samples, one a row.
    labels : Tensor of shape (n_samples,)
        Cluster of each sample, any integers.
    distortion : float
        Allowed mean squared error per sample, ε².
    code_mean : bool, default=False
        Code the mean of each cluster apart.
    basis_cost : bool, default=True
        Pay for the subspaces of the clusters.

    Returns
    -------
    length : Tensor of shape ()
        In nats. The segmentation that minimises it is the one lossy coding prefers.

    References
    ----------
    .. [1] Ma, Derksen, Hong, Wright (2007). Segmentation of multivariate mixed data via
       lossy data coding and compression. IEEE TPAMI 29(9).
    """
    X = _check(X, distortion, batched=False)
    labels = torch.as_tensor(labels, device=X.device)
    _check_length(X, labels)
    length = X.new_zeros(())
    for k in labels.unique():
        rows = X[labels == k]
        length = length + coding_length(
            rows,
            distortion=distortion,
            code_mean=code_mean,
            basis_cost=basis_cost,
        )
        length = length - len(rows) * math.log(len(rows) / len(X))
    return length


def optimal_rate_reduction(
    class_sizes: Sequence[int],
    n_features: int,
    ranks: Sequence[int],
    *,
    distortion: float = 0.5,
) -> float:
    r"""Largest rate reduction of classes of given size and rank, in nats.

    The value at mutually orthogonal classes with equal spectra and mean squared norm
    one:

    .. math:: \sum_k \tfrac{r_k}{2}\bigl[\log\bigl(1 + \tfrac{d n_k}{n\epsilon^2 r_k}
       \bigr) - \tfrac{n_k}{n}\log\bigl(1 + \tfrac{d}{\epsilon^2 r_k}\bigr)\bigr]

    Parameters
    ----------
    class_sizes : sequence of int
        Number of samples of each class.
    n_features : int
        Dimension d of the features.
    ranks : sequence of int
        Dimension of each class's subspace, at least 1.
    distortion : float, default=0.5
        Allowed mean squared error per sample, ε².

    Returns
    -------
    reduction : float
        Rate reduction in nats.

    Raises
    ------
    ValueError
        If a rank is not between 1 and the size of its class, or they sum to more than
        `n_features`.

    References
    ----------
    .. [1] Yu, Chan, You, Song, Ma (2020). Learning diverse and discriminative
       representations via the principle of maximal coding rate reduction. NeurIPS.

    Examples
    --------
    >>> optimal_rate_reduction([200] * 3, 12, [4] * 3, distortion=0.25)
    4.5267287...
    """
    n_samples = sum(class_sizes)
    for size, rank in zip(class_sizes, ranks, strict=True):
        if not 1 <= rank <= size:
            raise ValueError(
                f"ranks: a class of {size} samples cannot have rank {rank}; it must be "
                f"from 1 to {size}."
            )
    if sum(ranks) > n_features:
        raise ValueError(
            f"ranks sum to {sum(ranks)}, but orthogonal classes have only "
            f"n_features={n_features} dimensions to share."
        )
    return sum(
        rank
        / 2
        * (
            math.log1p(n_features * size / (n_samples * distortion * rank))
            - size / n_samples * math.log1p(n_features / (distortion * rank))
        )
        for size, rank in zip(class_sizes, ranks, strict=True)
    )


def optimal_rank(
    class_size: int,
    n_samples: int,
    n_features: int,
    max_rank: int,
    *,
    distortion: float = 0.5,
) -> int:
    """Rank of a class at the maximum of the rate reduction.

    A coarse distortion makes fewer dimensions pay than are available.

    Parameters
    ----------
    class_size : int
        Samples of the class.
    n_samples : int
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

    Examples
    --------
    >>> [optimal_rank(200, 600, 12, 4, distortion=e**2) for e in (0.9, 1.0, 1.2)]
    [4, 3, 2]
    """

    def gain(rank: int) -> float:
        share = class_size / n_samples
        whole = math.log1p(n_features * share / (distortion * rank))
        return rank * (whole - share * math.log1p(n_features / (distortion * rank)))

    return max(range(1, max(1, min(max_rank, class_size)) + 1), key=gain)


def max_feature_penalty(
    class_sizes: Sequence[int], n_features: int, *, distortion: float = 0.5
) -> float:
    r"""Largest admissible penalty on the norm of regularised features.

    The λ of the objective :math:`\Delta R - \tfrac\lambda2\|Z\|_F^2`.

    Parameters
    ----------
    class_sizes : sequence of int
        Samples of each class; at least two classes.
    n_features : int
        Dimension of the features.
    distortion : float, default=0.5
        Allowed mean squared error per sample, ε².

    Returns
    -------
    penalty : float
        Beyond it a class has no non-zero critical point. Half of it is a safe choice;
        close to it the zero matrix can have the larger objective.

    References
    ----------
    .. [1] Wang et al. (2024). A global geometric analysis of maximal coding rate
       reduction. ICML.

    Examples
    --------
    >>> round(0.5 * max_feature_penalty([30, 20, 10], 12), 5)
    0.03431
    """
    n_samples = sum(class_sizes)
    root = math.sqrt(n_samples / max(class_sizes))
    return n_features / (n_samples * distortion) * (root - 1) / (root + 1)
