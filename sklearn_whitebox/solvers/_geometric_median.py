"""A centre that a minority of far samples does not move."""

import torch
from torch import Tensor


def geometric_median(X: Tensor, *, max_iter: int = 100, tol: float = 1e-6) -> Tensor:
    r"""Find the point with the least mean distance from the rows.

    Parameters
    ----------
    X : Tensor of shape (n_samples, n_features)
        Rows.
    max_iter : int, default=100
        Most reweighted means.
    tol : float, default=1e-6
        Stop when the point moves by at most this, relative to the mean distance.

    Returns
    -------
    median : Tensor of shape (n_features,)
        The geometric median, by Weiszfeld's iteration from the mean.
    """
    median = X.mean(0)
    for _ in range(max_iter):
        distances = torch.linalg.vector_norm(X - median, dim=-1)
        typical = float(distances.mean())
        if typical == 0:
            break
        # A row at the median itself must not get all the weight.
        weights = 1 / distances.clamp_min(1e-6 * typical)
        moved = (weights / weights.sum()) @ X
        step = float(torch.linalg.vector_norm(moved - median))
        median = moved
        if step <= tol * typical:
            break
    return median
