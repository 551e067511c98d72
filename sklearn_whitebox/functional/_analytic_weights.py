"""Encoder weights that follow from a dictionary in closed form."""

import torch
from torch import Tensor

from sklearn_whitebox.functional._arrays import accepts_arrays


@accepts_arrays
def analytic_weights(dictionary: Tensor) -> Tensor:
    r"""Find the weights least coherent with a dictionary, one row for each atom.

    .. math:: \min_W \|W D^\top\|_F^2 \quad\text{with}\quad w_j^\top d_j = 1
       \qquad\Rightarrow\qquad
       w_j = \frac{(D^\top D)^+ d_j}{d_j^\top (D^\top D)^+ d_j}

    Correlating a residual with :math:`w_j` sees the coefficient of atom j in full and
    as little as possible of all others. It is the smooth stand-in for the largest
    generalised coherence that [1]_ proposes.

    Parameters
    ----------
    dictionary : Tensor of shape (..., n_components, n_features)
        Atoms D, one per row, none of them zero.

    Returns
    -------
    weights : Tensor of shape (..., n_components, n_features)
        Weights W. Independent atoms give their dual basis, :math:`WD^\top = I`.

    Raises
    ------
    ValueError
        If an atom is zero.

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
    >>> analytic_weights(np.array([[1.0, 0.0], [0.6, 0.8]]))
    array([[ 1.  , -0.75],
           [ 0.  ,  1.25]])
    """
    if bool((dictionary == 0).all(-1).any()):
        raise ValueError("dictionary has a zero atom, which no weights can single out.")
    second_moment = dictionary.mT @ dictionary  # (..., d, d)
    weights = dictionary @ torch.linalg.pinv(second_moment, hermitian=True)
    return weights / (weights * dictionary).sum(-1, keepdim=True)
