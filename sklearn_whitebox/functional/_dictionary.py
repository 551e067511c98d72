"""Dictionaries: atoms, their coherence, the steps that code and the gap that ends."""

import torch
from torch import Tensor

from sklearn_whitebox.functional._arrays import accepts_arrays
from sklearn_whitebox.functional._prox import soft_threshold


@accepts_arrays
def normalize_atoms(dictionary: Tensor) -> Tensor:
    """Scale every atom to unit Euclidean norm; zero atoms stay zero.

    Parameters
    ----------
    dictionary : Tensor of shape (..., n_components, n_features)
        One atom per row.

    Returns
    -------
    normalized : Tensor of shape (..., n_components, n_features)
        Atoms of unit norm.

    Examples
    --------
    >>> import numpy as np
    >>> normalize_atoms(np.array([[3.0, 4.0], [0.0, 0.0]]))
    array([[0.6, 0.8],
           [0. , 0. ]])
    """
    norms = torch.linalg.vector_norm(dictionary, dim=-1, keepdim=True)
    return dictionary / torch.where(norms > 0, norms, torch.ones_like(norms))


@accepts_arrays
def mutual_coherence(dictionary: Tensor) -> Tensor:
    r"""Largest cosine, in magnitude, between two different atoms.

    .. math:: \mu(D) = \max_{i \neq j} \frac{|d_i^\top d_j|}{\|d_i\| \|d_j\|}

    Codes with fewer than :math:`(1 + 1/\mu)/2` non-zeros are unique, and both the lasso
    and orthogonal matching pursuit find them [1]_.

    Parameters
    ----------
    dictionary : Tensor of shape (..., n_components, n_features)
        One atom per row.

    Returns
    -------
    coherence : Tensor of shape (...)
        Between 0, for orthogonal atoms or a single one, and 1.

    Notes
    -----
    Costs O(k² d).

    References
    ----------
    .. [1] Donoho, Elad (2003). Optimally sparse representation in general
       (nonorthogonal) dictionaries via ℓ1 minimization. PNAS 100.

    Examples
    --------
    >>> import numpy as np
    >>> mutual_coherence(np.array([[1.0, 0.0], [0.6, 0.8]]))
    0.6
    """
    atoms = normalize_atoms(dictionary)
    cosines = (atoms @ atoms.mT).abs()  # (..., k, k)
    cosines = cosines - torch.diag_embed(cosines.diagonal(dim1=-2, dim2=-1))
    return cosines.amax(dim=(-2, -1)).clamp_max(1)


@accepts_arrays
def reconstruction_error(
    X: Tensor, codes: Tensor, dictionary: Tensor, *, relative: bool = False
) -> Tensor:
    r"""Mean squared error of samples written as codes times atoms.

    .. math:: \frac1n \sum_i \|x_i - z_i D\|_2^2

    Parameters
    ----------
    X : Tensor of shape (..., n_samples, n_features)
        Samples.
    codes : Tensor of shape (..., n_samples, n_components)
        One code per row.
    dictionary : Tensor of shape (..., n_components, n_features)
        One atom per row.
    relative : bool, default=False
        Whether to divide by the mean squared norm of the samples.

    Returns
    -------
    error : Tensor of shape (...)
        Non-negative; per sample, not per entry.

    Examples
    --------
    >>> import numpy as np
    >>> reconstruction_error(np.eye(2), 0.5 * np.eye(2), np.eye(2))
    0.25
    """
    error = (X - codes @ dictionary).square().sum(-1).mean(-1)
    if not relative:
        return error
    return error / X.square().sum(-1).mean(-1)


@accepts_arrays
def ista_step(
    X: Tensor,
    codes: Tensor,
    dictionary: Tensor,
    *,
    alpha: float,
    step_size: float | None = None,
    positive: bool = False,
) -> Tensor:
    r"""Take one proximal gradient step on the lasso: iterative soft-thresholding.

    .. math:: z \leftarrow S_{\eta\alpha}\bigl(z + \eta\,(x - zD) D^\top\bigr)

    Parameters
    ----------
    X : Tensor of shape (..., n_samples, n_features)
        Samples x.
    codes : Tensor of shape (..., n_samples, n_components)
        Codes z before the step.
    dictionary : Tensor of shape (..., n_components, n_features)
        Atoms D, one per row.
    alpha : float
        Weight of the ℓ1 norm in :math:`\tfrac12\|x - zD\|^2 + \alpha\|z\|_1`.
    step_size : float, default=None
        Step η; None takes :math:`1/\|DD^\top\|_2`, the largest for which the objective
        never rises.
    positive : bool, default=False
        Whether codes must not be negative.

    Returns
    -------
    codes : Tensor of shape (..., n_samples, n_components)
        Codes after the step.

    Notes
    -----
    Costs O(n k d), plus O(min(k, d)³) if the step has to be found. Differentiable.

    References
    ----------
    .. [1] Beck, Teboulle (2009). A fast iterative shrinkage-thresholding algorithm for
       linear inverse problems. SIAM Journal on Imaging Sciences 2.

    Examples
    --------
    >>> import numpy as np
    >>> ista_step(np.array([[3.0, 0.5]]), np.zeros((1, 2)), np.eye(2), alpha=1.0)
    array([[2., 0.]])
    """
    step = _largest_step(dictionary) if step_size is None else step_size
    correlations = (X - codes @ dictionary) @ dictionary.mT
    return soft_threshold(codes + step * correlations, step * alpha, positive=positive)


@accepts_arrays
def fista_step(
    X: Tensor,
    codes: Tensor,
    momentum_point: Tensor,
    dictionary: Tensor,
    *,
    alpha: float,
    momentum: float = 1.0,
    step_size: float | None = None,
    positive: bool = False,
) -> tuple[Tensor, Tensor, float]:
    r"""Take one accelerated proximal gradient step on the lasso.

    .. math:: z_+ = \mathrm{ista}(y), \quad t_+ = \tfrac12(1 + \sqrt{1 + 4t^2}), \quad
        y_+ = z_+ + \tfrac{t - 1}{t_+}(z_+ - z)

    Parameters
    ----------
    X : Tensor of shape (..., n_samples, n_features)
        Samples.
    codes : Tensor of shape (..., n_samples, n_components)
        Codes z before the step.
    momentum_point : Tensor of shape (..., n_samples, n_components)
        Extrapolated codes y; the codes themselves at the first step.
    dictionary : Tensor of shape (..., n_components, n_features)
        One atom per row.
    alpha : float
        Weight of the ℓ1 norm, as in :func:`ista_step`.
    momentum : float, default=1.0
        Momentum t, 1 at the first step.
    step_size : float, default=None
        As in :func:`ista_step`.
    positive : bool, default=False
        Whether codes must not be negative.

    Returns
    -------
    codes : Tensor of shape (..., n_samples, n_components)
        Codes after the step.
    momentum_point : Tensor of shape (..., n_samples, n_components)
        Extrapolated codes for the next step.
    momentum : float
        Momentum for the next step.

    References
    ----------
    .. [1] Beck, Teboulle (2009). A fast iterative shrinkage-thresholding algorithm for
       linear inverse problems. SIAM Journal on Imaging Sciences 2.

    Examples
    --------
    >>> import numpy as np
    >>> X, D = np.array([[3.0, 0.5]]), np.eye(2)
    >>> Z, Y, t = fista_step(X, np.zeros((1, 2)), np.zeros((1, 2)), D, alpha=1.0)
    >>> Z
    array([[2., 0.]])
    """
    new = ista_step(
        X,
        momentum_point,
        dictionary,
        alpha=alpha,
        step_size=step_size,
        positive=positive,
    )
    following = (1 + (1 + 4 * momentum**2) ** 0.5) / 2
    weight = (momentum - 1) / following
    return new, new + weight * (new - codes), following


@accepts_arrays
def lasso_duality_gap(
    X: Tensor,
    codes: Tensor,
    dictionary: Tensor,
    *,
    alpha: float | Tensor,
    positive: bool = False,
) -> Tensor:
    r"""Bound how far each code is from the best value of its lasso objective.

    The residual :math:`r = x - zD`, shrunk by
    :math:`s = \min(1, \alpha / \|D r\|_\infty)` until it is feasible for the dual
    problem, gives the lower bound :math:`\tfrac12\|x\|^2 - \tfrac12\|x - sr\|^2`.

    Parameters
    ----------
    X : Tensor of shape (..., n_samples, n_features)
        Samples x.
    codes : Tensor of shape (..., n_samples, n_components)
        Codes z.
    dictionary : Tensor of shape (..., n_components, n_features)
        Atoms D, one per row.
    alpha : float or Tensor of shape (..., n_samples)
        Weight of the ℓ1 norm in :math:`\tfrac12\|x - zD\|^2 + \alpha\|z\|_1`.
    positive : bool, default=False
        Whether codes are constrained not to be negative.

    Returns
    -------
    gap : Tensor of shape (..., n_samples)
        Non-negative, zero where the code is optimal.

    Notes
    -----
    Costs O(n k d).

    Examples
    --------
    >>> import numpy as np
    >>> X, D = np.array([[3.0, 0.5]]), np.eye(2)
    >>> lasso_duality_gap(X, np.array([[2.0, 0.0]]), D, alpha=1.0)
    array([0.])
    """
    residual = X - codes @ dictionary
    correlations = residual @ dictionary.mT
    worst = (correlations if positive else correlations.abs()).amax(-1)
    alpha = torch.as_tensor(alpha, dtype=X.dtype, device=X.device)
    shrink = torch.where(worst > alpha, alpha / worst, torch.ones_like(worst))
    error = residual.square().sum(-1)
    # With θ = s r the dual value is s x·r - s²/2 ‖r‖².
    dual = shrink * (X * residual).sum(-1) - shrink.square() * error / 2
    primal = error / 2 + alpha * codes.abs().sum(-1)
    return (primal - dual).clamp_min(0)


def _largest_step(dictionary: Tensor) -> Tensor:
    k, d = dictionary.shape[-2:]
    gram = dictionary @ dictionary.mT if k <= d else dictionary.mT @ dictionary
    largest = torch.linalg.eigvalsh(gram).amax(-1)
    largest = torch.where(largest > 0, largest, torch.ones_like(largest))
    return (1 / largest)[..., None, None] if largest.ndim else 1 / largest
