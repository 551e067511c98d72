"""Encoder weights that follow from a dictionary in closed form."""

import torch
from torch import Tensor

from sklearn_whitebox.functional._arrays import accepts_arrays


@accepts_arrays
def analytic_weights(dictionary: Tensor, *, ridge: float = 0.0) -> Tensor:
    r"""Find the weights least coherent with a dictionary, one row for each atom.

    .. math:: \min_W \|W D^\top\|_F^2 + \rho \|W\|_F^2
       \quad\text{with}\quad w_j^\top d_j = 1 \qquad\Rightarrow\qquad
       w_j = \frac{M^+ d_j}{d_j^\top M^+ d_j}, \quad M = D^\top D + \rho I

    Correlating a residual with :math:`w_j` sees the coefficient of atom j in full and
    as little as possible of all others. The sum of squares is the smooth stand-in for
    the largest generalised coherence that [1]_ proposes.

    Parameters
    ----------
    dictionary : Tensor of shape (..., n_components, n_features)
        Atoms D, one per row, none of them zero.
    ridge : float, default=0.0
        Non-negative penalty ρ, in units of the mean eigenvalue of :math:`D^\top D`. It
        bounds what is amplified along directions in which atoms hardly extend. For
        atoms of equal norm, W is at most as coherent with D as D itself at any ρ.

    Returns
    -------
    weights : Tensor of shape (..., n_components, n_features)
        Weights W. Independent atoms give their dual basis, :math:`WD^\top = I`.

    Raises
    ------
    ValueError
        If an atom is zero or `ridge` negative.

    Notes
    -----
    Costs O(k d² + d³).

    References
    ----------
    .. [1] Liu, Chen, Wang, Yin (2019). ALISTA: Analytic weights are as good as learned
       weights in LISTA. ICLR.

    Examples
    --------
    >>> import numpy as np
    >>> D = np.array([[1.0, 0.0], [0.6, 0.8]])
    >>> np.allclose(analytic_weights(D), [[1.0, -0.75], [0.0, 1.25]])
    True
    """
    if ridge < 0:
        raise ValueError(f"ridge={ridge} must not be negative.")
    if bool((dictionary == 0).all(-1).any()):
        raise ValueError("dictionary has a zero atom, which no weights can single out.")
    moment = dictionary.mT @ dictionary  # (..., d, d)
    mean = moment.diagonal(dim1=-2, dim2=-1).mean(-1)[..., None, None]
    identity = torch.eye(moment.shape[-1], dtype=moment.dtype, device=moment.device)
    moment = moment + ridge * mean * identity
    weights = dictionary @ torch.linalg.pinv(moment, hermitian=True)
    return weights / (weights * dictionary).sum(-1, keepdim=True)
