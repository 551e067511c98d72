"""One layer of a ReduNet: operators, memberships and step."""

import torch
from torch import Tensor

from sklearn_whitebox.functional._arrays import accepts_arrays
from sklearn_whitebox.functional._linalg import inverse_identity_plus_gram
from sklearn_whitebox.functional._prox import project_sphere
from sklearn_whitebox.functional._rate import _check, _check_length, _soft_columns


@accepts_arrays
def expansion_operator(Z: Tensor, *, distortion: float = 0.1) -> Tensor:
    r"""Compute the operator that turns features into the gradient of their rate.

    .. math:: E = \alpha (I + \alpha Z^\top Z)^{-1}, \qquad
       \alpha = \tfrac{d}{n\epsilon^2}

    It pushes features most along directions in which there are few.

    Parameters
    ----------
    Z : Tensor of shape (n_samples, n_features)
        Features, one row per sample, usually of unit norm.
    distortion : float, default=0.1
        Allowed mean squared error per sample, ε².

    Returns
    -------
    E : Tensor of shape (n_features, n_features)
        Symmetric positive definite.

    Raises
    ------
    ValueError
        If `Z` is not a matrix with rows or `distortion` is not positive.

    Notes
    -----
    Costs O(n d² + d³).

    References
    ----------
    .. [1] Chan, Yu, You, Qi, Wright, Ma (2022). ReduNet: a white-box deep network from
       the principle of maximizing rate reduction. JMLR 23.

    Examples
    --------
    >>> import numpy as np
    >>> E = expansion_operator(np.eye(2), distortion=1.0)
    >>> bool(np.allclose(E, np.eye(2) / 2))
    True
    """
    Z = _check_rows(Z, distortion)
    alpha = Z.shape[1] / (Z.shape[0] * distortion)
    return alpha * inverse_identity_plus_gram(Z, alpha)


@accepts_arrays
def compression_operators(
    Z: Tensor, memberships: Tensor, *, distortion: float = 0.1
) -> Tensor:
    r"""Compute the operators that turn features into the gradients of class rates.

    .. math:: C_k = \alpha_k (I + \alpha_k Z^\top \operatorname{diag}(\pi_k) Z)^{-1},
       \qquad \alpha_k = \tfrac{d}{n_k\epsilon^2}

    :math:`C_k z` is what of z is not in the subspace of class k, but for noise: it
    vanishes along directions in which the class has many features.

    Parameters
    ----------
    Z : Tensor of shape (n_samples, n_features)
        Features, one row per sample, usually of unit norm.
    memberships : Tensor of shape (n_samples,) or (n_samples, n_classes)
        Integer labels from 0, or non-negative weights whose rows sum to one.
    distortion : float, default=0.1
        Allowed mean squared error per sample, ε².

    Returns
    -------
    C : Tensor of shape (n_classes, n_features, n_features)
        Symmetric positive definite.

    Raises
    ------
    ValueError
        If the shapes do not fit, a class has no rows or `distortion` is not positive.

    Notes
    -----
    Costs O(n d² + K d³), for soft memberships O(K n d² + K d³).

    References
    ----------
    .. [1] Chan, Yu, You, Qi, Wright, Ma (2022). ReduNet: a white-box deep network from
       the principle of maximizing rate reduction. JMLR 23.

    Examples
    --------
    >>> import numpy as np
    >>> C = compression_operators(np.eye(2), [0, 1], distortion=1.0)
    >>> C.diagonal(axis1=1, axis2=2).round(3).tolist()
    [[0.667, 2.0], [2.0, 0.667]]
    """
    Z = _check_rows(Z, distortion)
    labels = torch.as_tensor(memberships, device=Z.device)
    if labels.ndim == 1:
        _check_length(Z, labels)
        labels = labels.long()
        if bool((labels < 0).any()):
            raise ValueError("memberships must not be negative.")
        n_classes = int(labels.max()) + 1
        groups = [Z[labels == k] for k in range(n_classes)]
        masses: list[float | Tensor] = [float(len(rows)) for rows in groups]
    else:
        columns = _soft_columns(Z, labels)
        n_classes = labels.shape[1]
        groups = [column.sqrt()[:, None] * Z for _, column in columns]
        masses = [mass for mass, _ in columns]
    if len(groups) < n_classes or 0 in [len(rows) for rows in groups]:
        raise ValueError(
            f"memberships has a class without rows among {n_classes}; number the "
            "classes that have some from 0, or drop the column."
        )
    operators = []
    for mass, rows in zip(masses, groups, strict=True):
        scale = Z.shape[1] / (mass * distortion)
        operators.append(scale * inverse_identity_plus_gram(rows, scale))
    return torch.stack(operators)


@accepts_arrays
def membership_probabilities(
    Z: Tensor, compressions: Tensor, *, temperature: float = 500.0
) -> Tensor:
    r"""Estimate the classes of features from what the compression leaves of them.

    .. math:: \pi_k(z) = \operatorname{softmax}_k(-\lambda \|C_k z\|)

    Parameters
    ----------
    Z : Tensor of shape (n_samples, n_features)
        Features, one row per sample.
    compressions : Tensor of shape (n_classes, n_features, n_features)
        What :func:`compression_operators` returns.
    temperature : float, default=500.0
        Factor λ of the norms; the larger, the closer to the nearest class alone.

    Returns
    -------
    memberships : Tensor of shape (n_samples, n_classes)
        Non-negative; rows sum to one.

    Notes
    -----
    Costs O(K n d²).

    Examples
    --------
    >>> import numpy as np
    >>> C = compression_operators(np.eye(2), [0, 1], distortion=1.0)
    >>> membership_probabilities(np.eye(2), C).round(3).tolist()
    [[1.0, 0.0], [0.0, 1.0]]
    """
    norms = torch.linalg.vector_norm(Z @ compressions, dim=2)  # (n_classes, n_samples)
    return torch.softmax(-temperature * norms, dim=0).mT


@accepts_arrays
def redunet_step(
    Z: Tensor,
    expansion: Tensor,
    compressions: Tensor,
    shares: Tensor,
    *,
    step_size: float = 0.5,
    membership_temperature: float = 500.0,
) -> Tensor:
    r"""Move features one step up the rate reduction, without their labels.

    .. math:: z^+ = \frac{z + \eta\,\delta}{\|z + \eta\,\delta\|}, \qquad
       \delta = E z - \sum_k \gamma_k \pi_k(z)\, C_k z

    With the labels in place of the memberships π the increment δ is the gradient of the
    rate reduction, see :func:`rate_reduction_gradient`; with the memberships it can be
    had for new features too. This is one layer of a ReduNet.

    Parameters
    ----------
    Z : Tensor of shape (n_samples, n_features)
        Features of unit norm, one row per sample; those the operators are of, or new.
    expansion : Tensor of shape (n_features, n_features)
        What :func:`expansion_operator` returns.
    compressions : Tensor of shape (n_classes, n_features, n_features)
        What :func:`compression_operators` returns.
    shares : Tensor of shape (n_classes,)
        Share γ of the samples in each class.
    step_size : float, default=0.5
        Step η. Steps beyond :math:`n\epsilon^2/d` overshoot.
    membership_temperature : float, default=500.0
        Factor λ of the norms, see :func:`membership_probabilities`.

    Returns
    -------
    Z : Tensor of shape (n_samples, n_features)
        Features of the next layer, of unit norm; rows of zeros stay zero.

    Notes
    -----
    Costs O(K n d²).

    References
    ----------
    .. [1] Chan, Yu, You, Qi, Wright, Ma (2022). ReduNet: a white-box deep network from
       the principle of maximizing rate reduction. JMLR 23.

    Examples
    --------
    >>> import numpy as np
    >>> Z, y = np.array([[1.0, 0.0], [0.8, 0.6]]), [0, 1]
    >>> E = expansion_operator(Z, distortion=1.0)
    >>> C = compression_operators(Z, y, distortion=1.0)
    >>> after = redunet_step(Z, E, C, [0.5, 0.5])
    >>> bool(after[0] @ after[1] < Z[0] @ Z[1])
    True
    """
    shares = torch.as_tensor(shares, dtype=Z.dtype, device=Z.device)
    weights = shares * membership_probabilities(
        Z, compressions, temperature=membership_temperature
    )
    compressed = torch.einsum("nk,kne->ne", weights, Z @ compressions)
    return project_sphere(Z + step_size * (Z @ expansion - compressed))


def _check_rows(Z: Tensor, distortion: float) -> Tensor:
    Z = _check(Z, distortion, batched=False)
    if Z.shape[0] == 0:
        raise ValueError("Z must have at least one row.")
    return Z
