"""How a fitted dictionary codes samples."""

import numpy as np
import torch
from scipy import sparse
from sklearn.exceptions import ConvergenceWarning

from sklearn_whitebox._array import to_tensor
from sklearn_whitebox._warn import warn
from sklearn_whitebox.estimators._dictionary_algorithms import GREEDY, n_coefs
from sklearn_whitebox.solvers._blocks import row_product
from sklearn_whitebox.solvers._lasso_batched import lasso_encode_batched
from sklearn_whitebox.solvers._lasso_encode import lasso_encode
from sklearn_whitebox.solvers._omp import omp_encode

# Samples that are thresholded at a time.
_BLOCK = 2048


def resolve_coder(estimator, algorithm):
    """Choose how to code.

    Parameters
    ----------
    estimator : SparseDictionaryLearner
        Whose parameters decide.
    algorithm : str
        That learnt the atoms.

    Returns
    -------
    coder : {"lasso", "omp", "threshold"}
        One of three ways.
    """
    coder = estimator.transform_algorithm
    if coder == "auto":
        return "omp" if algorithm in GREEDY else "lasso"
    return "lasso" if coder.startswith("lasso") else coder


def encode(estimator, X, components, coder, alpha, *, sparse_output, device=None):
    """Code samples on atoms.

    Parameters
    ----------
    estimator : SparseDictionaryLearner
        Whose parameters are the settings.
    X : ndarray of shape (n_samples, n_features)
        Samples.
    components : ndarray of shape (n_components, n_features)
        Atoms.
    coder : {"lasso", "omp", "threshold"}
        From :func:`resolve_coder`.
    alpha : float
        Weight of the ℓ1 norm, or threshold.
    sparse_output : bool
        Whether to return a CSR array.
    device : torch.device, default=None
        A CUDA device that finds the lasso codes; None is the CPU.

    Returns
    -------
    codes : ndarray or csr_array of shape (n_samples, n_components)
        In the dtype of the samples.
    """
    D = components.astype(X.dtype)
    if coder == "omp":
        codes = _pursue(estimator, X, D)
        return codes if sparse_output else codes.toarray()
    if coder == "threshold":
        return _threshold(X, D, alpha, estimator.positive_code, sparse_output)
    settings = {"alpha": alpha, "positive": estimator.positive_code}
    if device is None:
        result = lasso_encode(
            X,
            D,
            max_iter=estimator.transform_max_iter,
            sparse_output=sparse_output,
            n_jobs=estimator.n_jobs,
            **settings,
        )
        codes = result.solution
    else:
        result = lasso_encode_batched(
            to_tensor(X, device=device),
            to_tensor(D, device=device),
            max_iter=estimator.transform_max_iter,
            sparse_output=sparse_output,
            **settings,
        )
        codes = result.solution if sparse_output else result.solution.cpu().numpy()
    if not result.converged:
        warn(
            f"Some codes have a relative duality gap of {result.gap:.1e} after "
            f"{estimator.transform_max_iter} steps; increase transform_max_iter or "
            "transform_alpha.",
            ConvergenceWarning,
        )
    return codes


def device_of(X):
    """Tell on which CUDA device a user's samples are.

    Parameters
    ----------
    X : array-like or Tensor
        As the user passed it.

    Returns
    -------
    device : torch.device or None
        None for everything on the CPU.
    """
    return X.device if torch.is_tensor(X) and X.is_cuda else None


def split_sign(codes):
    """Put the negative parts of codes beside the positive ones.

    Parameters
    ----------
    codes : ndarray or csr_array of shape (n_samples, n_components)
        Codes.

    Returns
    -------
    parts : ndarray or csr_array of shape (n_samples, 2 * n_components)
        No entry is negative.
    """
    if sparse.issparse(codes):
        parts = [codes.maximum(0), (-codes).maximum(0)]
        return sparse.hstack(parts, format="csr")
    return np.hstack([np.maximum(codes, 0), np.maximum(-codes, 0)])


def _pursue(estimator, X, D):
    n_nonzero_coefs = estimator.transform_n_nonzero_coefs
    if n_nonzero_coefs is None and estimator.transform_max_error is None:
        n_nonzero_coefs = n_coefs(estimator, X.shape[1])
    return omp_encode(
        X,
        D,
        n_nonzero_coefs=n_nonzero_coefs,
        max_error=estimator.transform_max_error,
        positive=estimator.positive_code,
        n_jobs=estimator.n_jobs,
    )


def _threshold(X, D, alpha, positive, sparse_output):
    alpha = X.dtype.type(alpha)
    parts = []
    for start in range(0, len(X), _BLOCK):
        products = row_product(X[start : start + _BLOCK], D.T)
        codes = np.maximum(products - alpha, 0)
        if not positive:
            codes -= np.maximum(-products - alpha, 0)
        parts.append(sparse.csr_array(codes) if sparse_output else codes)
    return sparse.vstack(parts, format="csr") if sparse_output else np.vstack(parts)
