"""Graphs of many samples from their embeddings, without a dense matrix."""

import math
from collections.abc import Iterator

import numpy as np
import torch
from numpy.typing import NDArray
from scipy import sparse
from torch import Tensor

from sklearn_whitebox.solvers._spectral import affinity_from_codes

Array = NDArray[np.floating]

# Rows of the matrix of cosines formed at a time; fixed, so that results do not depend
# on the machine.
BLOCK = 1024

# Least weight of an edge; its square must not underflow.
_FLOOR = 1e-100


def membership_potential(
    C: Tensor, *, temperature: float, tol: float = 1e-3, max_iter: int = 200
) -> Tensor:
    r"""Potential of the Sinkhorn projection of absolute cosines, in blocks of rows.

    The memberships are :math:`\Pi_{ij} = \exp((|c_i^\top c_j| - 1)/\tau + a_i + a_j)`
    with unit row sums.

    Parameters
    ----------
    C : Tensor of shape (n_samples, n_features)
        Unit rows.
    temperature : float
        Temperature τ.
    tol : float, default=1e-3
        Largest error of a row sum at which scaling stops.
    max_iter : int, default=200
        Most scalings.

    Returns
    -------
    potential : Tensor of shape (n_samples,)
        The vector a. It agrees with :func:`~sklearn_whitebox.functional.sinkhorn` on
        the whole matrix.

    Notes
    -----
    O(n² d) time an iteration and O(n) memory.
    """
    # The kernel is at most 1 and 1 on the diagonal: nothing overflows, and sums of
    # underflowing entries stay positive.
    scaling = C.new_ones(len(C))
    for iteration in range(max_iter):
        sums = torch.cat([kernel @ scaling for kernel in _kernels(C, temperature)])
        if iteration == 0:
            scaling = sums.rsqrt()
            continue
        error = float((scaling * sums - 1).abs().max())
        scaling = (scaling / sums).sqrt()
        if error < tol:
            break
    return scaling.log()


def _kernels(C: Tensor, temperature: float) -> Iterator[Tensor]:
    for start in range(0, len(C), BLOCK):
        cosines = (C[start : start + BLOCK] @ C.mT).abs_().clamp_(max=1)
        rows = torch.arange(len(cosines), device=C.device)
        # Rounding of a unit norm, over a small temperature, would over- or underflow.
        cosines[rows, start + rows] = 1
        yield cosines.sub_(1).div_(temperature).exp_()


def cosine_neighbors(F: Tensor, n_neighbors: int) -> sparse.csr_array:
    """Find the rows with the largest absolute cosines.

    Parameters
    ----------
    F : Tensor of shape (n_samples, n_features)
        Unit rows.
    n_neighbors : int
        Neighbours of a row, itself not counted; at most all others.

    Returns
    -------
    cosines : csr_array of shape (n_samples, n_samples)
        Absolute cosines of the neighbours, float64, with zero diagonal.

    Notes
    -----
    O(n² d) time and O(n k) memory for k neighbours.
    """
    n_samples = len(F)
    kept = min(n_neighbors, n_samples - 1)
    if kept < 1:
        return sparse.csr_array((n_samples, n_samples), dtype=np.float64)
    values, columns = [], []
    for start in range(0, n_samples, BLOCK):
        cosines = (F[start : start + BLOCK] @ F.mT).abs_()
        rows = torch.arange(len(cosines), device=F.device)
        cosines[rows, start + rows] = -1
        largest, where = cosines.topk(kept, dim=1)
        values.append(largest.cpu().numpy())
        columns.append(where.cpu().numpy())
    data = np.concatenate(values).astype(np.float64).ravel()
    pointers = np.arange(0, n_samples * kept + 1, kept)
    graph = sparse.csr_array(
        (data, np.concatenate(columns).ravel(), pointers), (n_samples, n_samples)
    )
    graph.sort_indices()
    return graph


def membership_affinity(
    F: Tensor, C: Tensor, *, temperature: float, n_neighbors: int = 15
) -> sparse.csr_array:
    r"""Graph of neighbours, its edges weighted by learned memberships.

    Parameters
    ----------
    F : Tensor of shape (n_samples, n_features)
        Unit rows whose absolute cosines choose the neighbours. From whitened
        coordinates these cosines are self-expressive codes.
    C : Tensor of shape (n_samples, n_features)
        Cluster embeddings, unit rows.
    temperature : float
        Temperature of the memberships :math:`\Pi`, which are the Sinkhorn projection of
        the absolute cosines of all embeddings.
    n_neighbors : int, default=15
        Edges of a sample.

    Returns
    -------
    affinity : csr_array of shape (n_samples, n_samples)
        Symmetric, with zero diagonal.
    """
    codes = cosine_neighbors(F, n_neighbors)
    affinity = sparse.coo_array(affinity_from_codes(codes, shared_neighbors=1))
    rows, columns = affinity.coords
    potential = membership_potential(C, temperature=temperature)
    logits = potential.cpu().numpy().astype(np.float64)
    logits = logits[rows] + logits[columns]
    step = max(1, 2**22 // max(1, C.shape[1]))
    for start in range(0, len(rows), step):
        piece = slice(start, start + step)
        ends = [
            C[torch.from_numpy(side[piece].astype(np.int64)).to(C.device)]
            for side in (rows, columns)
        ]
        cosines = (ends[0] * ends[1]).sum(1).abs().clamp(max=1).cpu().numpy()
        logits[piece] += (cosines - 1) / temperature
    # Only ratios matter to a cut; a common factor keeps the weights from underflow, and
    # a floor keeps the edges.
    highest = logits.max(initial=-math.inf)
    weights = affinity.data * np.exp(logits - highest if len(logits) else logits)
    weights = np.maximum(weights, _FLOOR)
    weighted = sparse.csr_array((weights, (rows, columns)), affinity.shape)
    return sparse.csr_array((weighted + weighted.T) / 2)
