"""Coding lengths of samples and segmentations."""

import math

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
