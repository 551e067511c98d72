"""Coding rate, conditional coding rate, rate reduction, and their exact gradients."""

import math

import torch
from torch import Tensor

from sklearn_whitebox.functional._arrays import accepts_arrays
from sklearn_whitebox.functional._linalg import (
    accumulable,
    inverse_identity_plus_gram,
    logdet_identity_plus_gram,
)


def distortion_from_noise(sigma: float, n_features: int) -> float:
    """Distortion that matches white noise of a given standard deviation.

    Parameters
    ----------
    sigma : float
        Standard deviation of the noise in each coordinate.
    n_features : int
        Number of coordinates.

    Returns
    -------
    distortion : float
        ``n_features * sigma**2``, the mean squared norm of the noise.

    Examples
    --------
    >>> distortion_from_noise(0.5, 8)
    2.0
    """
    return n_features * sigma**2


@accepts_arrays
def coding_rate(Z: Tensor, *, distortion: float = 0.5) -> Tensor:
    r"""Lossy coding rate of the rows of a matrix, in nats per sample.

    The nats needed to code a sample up to a mean squared error, if the samples were
    Gaussian: small for rows near a low-dimensional subspace through the origin, large
    for rows that spread in all directions.

    .. math:: R(Z) = \tfrac12 \log\det\bigl(I + \tfrac{d}{n \epsilon^2} Z^\top Z\bigr)

    Parameters
    ----------
    Z : Tensor of shape (..., n_samples, n_features)
        Features, one row per sample. Rows are expected to be centred or normalised by
        the caller; nothing is subtracted.
    distortion : float, default=0.5
        Allowed mean squared error per sample, ε² in [1]_, in squared units of `Z`. Must
        be positive. What the programs of [2]_ call ``eps`` is this number.

    Returns
    -------
    rate : Tensor of shape (...)
        Rate in nats; divide by ``math.log(2)`` for bits. Same dtype as `Z`.

    Raises
    ------
    ValueError
        If `Z` has fewer than two dimensions or `distortion` is not positive.

    Notes
    -----
    Costs O(n d min(n, d)) time. Differentiable. Singular `Z` is fine.

    References
    ----------
    .. [1] Ma, Derksen, Hong, Wright (2007). Segmentation of multivariate mixed data via
       lossy data coding and compression. IEEE TPAMI 29(9).
    .. [2] Yu, Chan, You, Song, Ma (2020). Learning diverse and discriminative
       representations via the principle of maximal coding rate reduction. NeurIPS.

    Examples
    --------
    >>> import numpy as np
    >>> coding_rate(np.zeros((4, 3)))
    0.0
    >>> round(coding_rate(np.eye(2), distortion=1.0), 6)
    0.693147
    """
    Z = _check(Z, distortion)
    n_samples, n_features = Z.shape[-2:]
    if n_samples == 0:
        return Z.new_zeros(Z.shape[:-2])
    return logdet_identity_plus_gram(Z, n_features / (n_samples * distortion)) / 2


@accepts_arrays
def coding_rate_gradient(Z: Tensor, *, distortion: float = 0.5) -> Tensor:
    r"""Gradient of :func:`coding_rate` with respect to `Z`, in closed form.

    .. math:: \nabla R = \alpha Z (I + \alpha Z^\top Z)^{-1}, \qquad
       \alpha = \tfrac{d}{n\epsilon^2}

    Parameters
    ----------
    Z : Tensor of shape (..., n_samples, n_features)
        Features, one row per sample.
    distortion : float, default=0.5
        Allowed mean squared error per sample, ε².

    Returns
    -------
    gradient : Tensor of shape (..., n_samples, n_features)
        Rows :math:`E z_i`: the expansion operator applied to every sample.

    Notes
    -----
    Costs O(n d min(n, d)): for fewer rows than columns the identity
    :math:`Z(I_d + \alpha Z^\top Z)^{-1} = (I_n + \alpha ZZ^\top)^{-1}Z` is used.
    """
    Z = _check(Z, distortion)
    n_samples, n_features = Z.shape[-2:]
    return _expand(Z, n_features / (max(n_samples, 1) * distortion))


@accepts_arrays
def conditional_coding_rate(
    Z: Tensor, memberships: Tensor, *, distortion: float = 0.5
) -> Tensor:
    r"""Mean coding rate of the classes, weighted by their size, in nats per sample.

    .. math:: R_c(Z \mid \Pi) = \sum_k \tfrac{n_k}{2n}
       \log\det\bigl(I + \tfrac{d}{n_k\epsilon^2} Z^\top \operatorname{diag}(\pi_k)
       Z\bigr)

    Parameters
    ----------
    Z : Tensor of shape (n_samples, n_features)
        Features, one row per sample.
    memberships : Tensor of shape (n_samples,) or (n_samples, n_classes)
        Integer labels, or non-negative weights whose rows sum to one.
    distortion : float, default=0.5
        Allowed mean squared error per sample, ε²; the same for all classes.

    Returns
    -------
    rate : Tensor of shape ()
        Rate in nats. Empty classes contribute nothing.

    Raises
    ------
    ValueError
        If the shapes do not fit or `distortion` is not positive.

    Notes
    -----
    Hard labels cost :math:`O(\sum_k n_k d \min(n_k, d))`, soft ones O(K n d²).

    References
    ----------
    .. [1] Yu, Chan, You, Song, Ma (2020). Learning diverse and discriminative
       representations via the principle of maximal coding rate reduction. NeurIPS.

    Examples
    --------
    >>> import numpy as np
    >>> Z = np.eye(4)
    >>> round(conditional_coding_rate(Z, [0, 0, 1, 1], distortion=1.0), 6)
    1.098612
    """
    Z = _check(Z, distortion, batched=False)
    n_samples, n_features = Z.shape
    rate = Z.new_zeros(())
    for weight, rows in _classes(Z, memberships):
        scale = n_features / (weight * distortion)
        rate = rate + weight / n_samples * logdet_identity_plus_gram(rows, scale) / 2
    return rate


@accepts_arrays
def rate_reduction(
    Z: Tensor, memberships: Tensor, *, distortion: float = 0.5
) -> Tensor:
    r"""Rate saved by coding the classes apart, :math:`R(Z) - R_c(Z \mid \Pi)`, in nats.

    Never negative; zero if and only if all classes have the same second moment. Large
    when the classes are compact and lie in mutually orthogonal subspaces. It grows with
    the scale of `Z`, so compare normalised features only.

    Parameters
    ----------
    Z : Tensor of shape (n_samples, n_features)
        Features, one row per sample, usually of unit norm.
    memberships : Tensor of shape (n_samples,) or (n_samples, n_classes)
        Integer labels, or non-negative weights whose rows sum to one.
    distortion : float, default=0.5
        Allowed mean squared error per sample, ε².

    Returns
    -------
    reduction : Tensor of shape ()
        Rate reduction in nats per sample.

    Raises
    ------
    ValueError
        If the shapes do not fit or `distortion` is not positive.

    References
    ----------
    .. [1] Yu, Chan, You, Song, Ma (2020). Learning diverse and discriminative
       representations via the principle of maximal coding rate reduction. NeurIPS.

    Examples
    --------
    >>> import numpy as np
    >>> Z = np.eye(4)
    >>> round(rate_reduction(Z, [0, 0, 1, 1], distortion=1.0), 6)
    0.287682
    """
    whole = coding_rate(Z, distortion=distortion)
    return whole - conditional_coding_rate(Z, memberships, distortion=distortion)


@accepts_arrays
def rate_reduction_gradient(
    Z: Tensor, memberships: Tensor, *, distortion: float = 0.5
) -> Tensor:
    r"""Gradient of :func:`rate_reduction` with respect to `Z`, in closed form.

    .. math:: \nabla \Delta R = Z E - \sum_k \gamma_k \operatorname{diag}(\pi_k) Z C_k

    with :math:`E = \alpha(I + \alpha Z^\top Z)^{-1}` expanding all samples and
    :math:`C_k = \alpha_k(I + \alpha_k Z^\top \operatorname{diag}(\pi_k) Z)^{-1}`
    compressing class k; :math:`\alpha = d/(n\epsilon^2)`, :math:`\gamma_k = n_k/n`,
    :math:`\gamma_k\alpha_k = \alpha`.

    Parameters
    ----------
    Z : Tensor of shape (n_samples, n_features)
        Features, one row per sample.
    memberships : Tensor of shape (n_samples,) or (n_samples, n_classes)
        Integer labels, or non-negative weights whose rows sum to one.
    distortion : float, default=0.5
        Allowed mean squared error per sample, ε².

    Returns
    -------
    gradient : Tensor of shape (n_samples, n_features)
        Steepest ascent direction of the rate reduction.

    Notes
    -----
    Costs O(n d² + K d³), less where classes have fewer rows than columns.

    References
    ----------
    .. [1] Chan, Yu, You, Qi, Wright, Ma (2022). ReduNet: a white-box deep network from
       the principle of maximizing rate reduction. JMLR 23.
    """
    Z = _check(Z, distortion, batched=False)
    n_samples, n_features = Z.shape
    alpha = n_features / (max(n_samples, 1) * distortion)
    gradient = _expand(Z, alpha)
    labels = torch.as_tensor(memberships, device=Z.device)
    if labels.ndim == 1:
        _check_length(Z, labels)
        for k in labels.unique():
            index = torch.nonzero(labels == k).squeeze(1)
            rows = Z[index]
            scale = n_features / (len(index) * distortion)
            # gamma_k * alpha_k = alpha turns the class's own scale into the common one.
            compressed = _expand(rows, scale) * (len(index) / n_samples)
            gradient = gradient.index_add(0, index, compressed, alpha=-1)
        return gradient
    for weight, column in _soft_columns(Z, labels):
        class_scale = n_features / (weight * distortion)
        inverse = inverse_identity_plus_gram(column.sqrt()[:, None] * Z, class_scale)
        gradient = gradient - alpha * (column[:, None] * Z) @ inverse
    return gradient


@accepts_arrays
def membership_gradient(
    Z: Tensor, memberships: Tensor, *, distortion: float = 0.5
) -> Tensor:
    r"""Gradient of :func:`conditional_coding_rate` with respect to soft memberships.

    .. math:: \frac{\partial R_c}{\partial \pi_{ik}} = \tfrac{1}{2n}\bigl[
       \log\det M_k + \tfrac{d}{\epsilon^2} z_i^\top M_k^{-1} z_i
       - (d - \operatorname{tr} M_k^{-1})\bigr]

    with :math:`M_k = I + \tfrac{d}{n_k\epsilon^2} Z^\top\operatorname{diag}(\pi_k)Z`.
    The rate is concave in the memberships, so moving every sample to the class of least
    gradient never raises it.

    Parameters
    ----------
    Z : Tensor of shape (n_samples, n_features)
        Features, one row per sample.
    memberships : Tensor of shape (n_samples, n_classes)
        Non-negative weights; every column must have a positive sum.
    distortion : float, default=0.5
        Allowed mean squared error per sample, ε².

    Returns
    -------
    gradient : Tensor of shape (n_samples, n_classes)
        In nats per sample and unit of membership.

    Raises
    ------
    ValueError
        If a class is empty: its gradient is not defined.
    """
    Z = _check(Z, distortion, batched=False)
    n_samples, n_features = Z.shape
    memberships = torch.as_tensor(memberships, dtype=Z.dtype, device=Z.device)
    _check_length(Z, memberships)
    if bool((memberships.sum(0) <= 0).any()):
        raise ValueError("memberships has an empty class; drop its column.")
    columns = []
    for column in memberships.unbind(1):
        scale = n_features / (column.sum() * distortion)
        weighted = column.sqrt()[:, None] * Z
        inverse = inverse_identity_plus_gram(weighted, scale)
        quadratic = ((Z @ inverse) * Z).sum(1)
        columns.append(
            logdet_identity_plus_gram(weighted, scale)
            + n_features / distortion * quadratic
            - (n_features - inverse.trace())
        )
    return torch.stack(columns, 1) / (2 * n_samples)


def _check(Z: Tensor, distortion: float, *, batched: bool = True) -> Tensor:
    if not distortion > 0 or not math.isfinite(distortion):
        raise ValueError(f"distortion={distortion} must be positive and finite.")
    if not torch.is_tensor(Z) or Z.ndim < 2 or (not batched and Z.ndim != 2):
        shape = tuple(getattr(Z, "shape", ()))
        wanted = (
            "(..., n_samples, n_features)" if batched else "(n_samples, n_features)"
        )
        raise ValueError(f"Z must have shape {wanted}, got {shape}.")
    return Z if Z.is_floating_point() else Z.to(torch.get_default_dtype())


def _check_length(Z: Tensor, memberships: Tensor) -> None:
    if memberships.shape[0] != Z.shape[0]:
        raise ValueError(
            f"memberships has {memberships.shape[0]} rows, but Z has {Z.shape[0]}."
        )


def _expand(Z: Tensor, scale: float) -> Tensor:
    """Return s Z (I + s Z'Z)^{-1}, on the smaller side (push-through identity)."""
    fine = accumulable(Z, scale)
    n_samples, n_features = Z.shape[-2:]
    if n_samples >= n_features:
        product = scale * fine @ inverse_identity_plus_gram(fine, scale)
    else:
        product = scale * inverse_identity_plus_gram(fine.mT, scale) @ fine
    return product.to(Z.dtype)


def _soft_columns(Z: Tensor, memberships: Tensor) -> list[tuple[Tensor, Tensor]]:
    if memberships.ndim != 2:
        raise ValueError(
            "memberships must have shape (n_samples,) or (n_samples, n_classes), got "
            f"{tuple(memberships.shape)}."
        )
    _check_length(Z, memberships)
    memberships = memberships.to(Z.dtype)
    if bool((memberships < 0).any()):
        raise ValueError("memberships must not be negative.")
    sums = memberships.detach().sum(1)
    if bool(((sums - 1).abs() > 1e-3).any()):
        raise ValueError(
            "the rows of memberships must sum to one; one of them sums to "
            f"{float(sums[(sums - 1).abs().argmax()]):.4g}."
        )
    negligible = 1e-12 * Z.shape[0]
    return [(c.sum(), c) for c in memberships.unbind(1) if c.sum() > negligible]


def _classes(Z: Tensor, memberships: Tensor) -> list[tuple[float | Tensor, Tensor]]:
    """List (mass, rows weighted by the root of their membership) for each class."""
    memberships = torch.as_tensor(memberships, device=Z.device)
    if memberships.ndim == 1:
        _check_length(Z, memberships)
        groups = [Z[memberships == k] for k in memberships.unique()]
        return [(float(len(rows)), rows) for rows in groups]
    columns = _soft_columns(Z, memberships)
    return [(mass, column.sqrt()[:, None] * Z) for mass, column in columns]
