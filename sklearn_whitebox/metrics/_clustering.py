"""Scores of clusterings, and of the codes that subspace clustering builds on."""

import numpy as np
from scipy import sparse
from scipy.optimize import linear_sum_assignment
from sklearn.metrics.cluster import contingency_matrix
from sklearn.utils import check_consistent_length, column_or_1d


def clustering_accuracy(labels_true, labels_pred):
    """Share of samples that the best matching of clusters to classes gets right.

    Parameters
    ----------
    labels_true : array-like of shape (n_samples,)
        Classes, of any type.
    labels_pred : array-like of shape (n_samples,)
        Clusters, of any type. There may be more or fewer of them than classes; those
        left unmatched count as wrong.

    Returns
    -------
    accuracy : float
        Between 0 and 1.

    Raises
    ------
    ValueError
        If the lengths differ or there are no samples.

    Notes
    -----
    The matching is the optimal one to one assignment (the Hungarian method).

    Examples
    --------
    >>> clustering_accuracy([0, 0, 1, 1], [1, 1, 0, 2])
    0.75
    """
    labels_true = column_or_1d(labels_true)
    labels_pred = column_or_1d(labels_pred)
    check_consistent_length(labels_true, labels_pred)
    if len(labels_true) == 0:
        raise ValueError("Found array with 0 samples; a score needs at least one.")
    counts = contingency_matrix(labels_true, labels_pred)
    matched = linear_sum_assignment(counts, maximize=True)
    return float(counts[matched].sum() / len(labels_true))


def subspace_preserving_error(representation, labels):
    """Mean share of a code's ℓ1 norm that lies on samples of other classes.

    Parameters
    ----------
    representation : sparse matrix or array of shape (n_samples, n_samples)
        Codes; row i writes sample i by the others.
    labels : array-like of shape (n_samples,)
        True classes.

    Returns
    -------
    error : float
        Between 0 (codes stay within the classes) and 1; nan if all codes are empty.
        Empty codes are left out.

    References
    ----------
    .. [1] You, Robinson, Vidal (2016). Scalable sparse subspace clustering by
       orthogonal matching pursuit. CVPR.

    Examples
    --------
    >>> import numpy as np
    >>> C = np.array([[0.0, 3.0, -1.0], [1.0, 0.0, 0.0], [0.0, 0.0, 0.0]])
    >>> subspace_preserving_error(C, [0, 0, 1])
    0.125
    """
    shares = _strangers(representation, labels)
    return float(np.mean(shares)) if len(shares) else float("nan")


def subspace_preserving_rate(representation, labels):
    """Share of samples whose code uses samples of their own class only.

    Parameters
    ----------
    representation : sparse matrix or array of shape (n_samples, n_samples)
        Codes; row i writes sample i by the others.
    labels : array-like of shape (n_samples,)
        True classes.

    Returns
    -------
    rate : float
        Between 0 and 1; nan if all codes are empty. Empty codes are left out.

    Examples
    --------
    >>> import numpy as np
    >>> C = np.array([[0.0, 3.0, -1.0], [1.0, 0.0, 0.0], [0.0, 0.0, 0.0]])
    >>> subspace_preserving_rate(C, [0, 0, 1])
    0.5
    """
    shares = _strangers(representation, labels)
    return float(np.mean(shares == 0)) if len(shares) else float("nan")


def representation_sparsity(representation):
    """Mean number of samples that a code uses.

    Parameters
    ----------
    representation : sparse matrix or array of shape (n_samples, n_atoms)
        Codes; row i writes sample i by the others, or by atoms.

    Returns
    -------
    sparsity : float
        Mean number of non-zero coefficients a row. Stored zeros do not count, empty
        codes do.

    Raises
    ------
    ValueError
        If there are no rows.

    Examples
    --------
    >>> import numpy as np
    >>> representation_sparsity(np.array([[0.0, 3.0, -1.0], [1.0, 0.0, 0.0]]))
    1.5
    """
    codes = sparse.csr_array(representation)
    if codes.shape[0] == 0:
        raise ValueError("Found array with 0 samples; a score needs at least one.")
    return float(np.count_nonzero(codes.data) / codes.shape[0])


def connectivity(affinity, labels, *, average=False):
    """Algebraic connectivity of the affinity graph within the classes.

    The second smallest eigenvalue of the normalised Laplacian of each class's graph: 0
    if the class falls into several parts, which spectral clustering then may separate.

    Parameters
    ----------
    affinity : sparse matrix or array of shape (n_samples, n_samples)
        Symmetric affinity.
    labels : array-like of shape (n_samples,)
        True classes.
    average : bool, default=False
        Return the mean over the classes in place of the least.

    Returns
    -------
    connectivity : float
        Between 0 and 2. A class of one sample counts as connected, with value 1.

    Notes
    -----
    Costs O(m³) for a class of m samples.

    Examples
    --------
    >>> import numpy as np
    >>> float(round(connectivity(np.ones((3, 3)) - np.eye(3), [0, 0, 0]), 6))
    1.5
    """
    affinity = sparse.csr_array(affinity)
    labels = column_or_1d(labels)
    check_consistent_length(affinity, labels)
    values = [
        _second_eigenvalue(affinity[members][:, members].toarray())
        for members in (np.flatnonzero(labels == k) for k in np.unique(labels))
    ]
    return float(np.mean(values) if average else np.min(values))


def _second_eigenvalue(affinity):
    if len(affinity) < 2:
        return 1.0
    degrees = affinity.sum(axis=1)
    if (degrees <= 0).any():
        return 0.0
    scale = 1 / np.sqrt(degrees)
    laplacian = np.eye(len(affinity)) - scale[:, None] * affinity * scale
    return max(0.0, np.linalg.eigvalsh(laplacian)[1])


def _strangers(representation, labels):
    """Share of each non-empty code that lies on other classes."""
    labels = column_or_1d(labels)
    codes = sparse.coo_array(abs(sparse.csr_array(representation)))
    check_consistent_length(codes, labels)
    rows, columns = codes.coords
    total = np.bincount(rows, codes.data, minlength=len(labels))
    strange = labels[rows] != labels[columns]
    outside = np.bincount(rows, codes.data * strange, minlength=len(labels))
    return outside[total > 0] / total[total > 0]
