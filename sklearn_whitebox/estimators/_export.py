"""What building a module of any fitted estimator has in common."""

import functools

import torch
from sklearn.utils.validation import check_is_fitted

from sklearn_whitebox._threads import torch_threads


def builds_module(build):
    """Decorate a function that makes a module of a fitted estimator.

    Parameters
    ----------
    build : callable
        Takes a fitted estimator, gives a module of its own arrays.

    Returns
    -------
    decorated : callable
        Refuses what is not fitted, and gives a module in evaluation mode that can be
        trained, on the CPU, whatever modes and device the caller has set.
    """

    @functools.wraps(build)
    def decorated(estimator):
        check_is_fitted(estimator)
        with torch_threads(), torch.inference_mode(False), torch.device("cpu"):
            return build(estimator).eval()

    return decorated
