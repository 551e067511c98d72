"""How well the atoms of a dictionary were recovered."""

from dataclasses import dataclass

import numpy as np
from scipy.optimize import linear_sum_assignment

from sklearn_whitebox._array import as_numpy


@dataclass(frozen=True)
class DictionaryRecovery:
    r"""Agreement of estimated atoms with true ones, up to order and sign.

    Parameters
    ----------
    mean_cosine : float
        Mean cosine, in magnitude, over the best one-to-one matching.
    min_cosine : float
        Least cosine of that matching: how well the worst atom was found.
    fraction_detected : float
        Share of true atoms with an estimated atom nearby.
    rotation_error : float or None
        For two square dictionaries, :math:`1 - \|\hat D D^\top\|_4^4 / d`, which is
        0 for orthonormal atoms only if they are the same up to order and sign.
    """

    mean_cosine: float
    min_cosine: float
    fraction_detected: float
    rotation_error: float | None


def dictionary_recovery(components, true_components, *, threshold=0.01):
    r"""Compare a learnt dictionary with the one that made the data.

    Order, sign and length of atoms do not matter.

    Parameters
    ----------
    components : array-like of shape (n_components, n_features)
        Estimated atoms.
    true_components : array-like of shape (n_true_components, n_features)
        True atoms.
    threshold : float, default=0.01
        An atom d is detected if some estimate has :math:`1 - |\cos| <` this [1]_.

    Returns
    -------
    recovery : DictionaryRecovery
        With attributes ``mean_cosine``, ``min_cosine``, ``fraction_detected`` and
        ``rotation_error``.

    Raises
    ------
    ValueError
        If the atoms have different lengths.

    References
    ----------
    .. [1] Aharon, Elad, Bruckstein (2006). K-SVD: An algorithm for designing
       overcomplete dictionaries for sparse representation. IEEE Transactions on Signal
       Processing 54.
    .. [2] Zhai, Yang, Liao, Wright, Ma (2020). Complete dictionary learning via
       ℓ4-norm maximization over the orthogonal group. JMLR 21.

    Examples
    --------
    >>> import numpy as np
    >>> dictionary_recovery(-np.eye(3)[[2, 0, 1]], np.eye(3)).min_cosine
    1.0
    """
    estimated, true = _unit_atoms(components), _unit_atoms(true_components)
    if estimated.shape[1] != true.shape[1]:
        raise ValueError(
            f"components has {estimated.shape[1]} features but true_components has "
            f"{true.shape[1]}."
        )
    signed = estimated @ true.T
    cosines = np.minimum(np.abs(signed), 1.0)
    matched = cosines[linear_sum_assignment(-cosines)]
    square = estimated.shape == true.shape and true.shape[0] == true.shape[1]
    return DictionaryRecovery(
        mean_cosine=float(matched.mean()),
        min_cosine=float(matched.min()),
        fraction_detected=float(np.mean(1 - cosines.max(axis=0) < threshold)),
        rotation_error=1 - float(np.sum(signed**4)) / len(true) if square else None,
    )


def _unit_atoms(components):
    atoms = np.asarray(as_numpy(components), dtype=np.float64)
    if atoms.ndim != 2 or atoms.size == 0:
        raise ValueError(f"Atoms must be rows of a matrix; got shape {atoms.shape}.")
    norms = np.linalg.norm(atoms, axis=1, keepdims=True)
    return atoms / np.where(norms > 0, norms, 1)
