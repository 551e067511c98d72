"""Self-expression in batched tensor operations, on CPU or CUDA."""

from typing import Any

import numpy as np
import torch
from scipy import sparse
from torch import Tensor

from sklearn_whitebox.solvers._copies import distinct_rows, spread_to_copies
from sklearn_whitebox.solvers._omp import padded_to_csr
from sklearn_whitebox.solvers._oracle_batched import express_block
from sklearn_whitebox.solvers._oracle_expression import _express_in_blocks
from sklearn_whitebox.solvers._result import SolverResult

# Share of an atom's squared norm, in units of the machine precision, that must lie
# outside the span of the support, and correlations that are rounding errors.
_DEPENDENT = 100.0
_NOISE = 10.0

_METHODS = ("elastic_net", "lasso", "omp", "ridge", "thresholding")


def self_express_batched(
    X: Tensor,
    *,
    method: str = "elastic_net",
    gamma: float = 10.0,
    l1_ratio: float = 0.9,
    n_nonzero_coefs: int = 5,
    n_pursuits: int = 3,
    alpha: float | None = None,
    n_neighbors: int = 15,
    tol: float = 1e-6,
    max_iter: int = 40,
    max_bytes: int = 2**30,
) -> SolverResult:
    r"""Write each row as a sparse combination of the other rows, on the device of `X`.

    Parameters
    ----------
    X : Tensor of shape (n_samples, n_features)
        Rows, usually of unit norm, float32 or float64.
    method : str, default="elastic_net"
        One of "elastic_net", "lasso", "omp", "ridge" and "thresholding", as in
        :func:`self_express`.
    gamma, l1_ratio : float
        Of the elastic net, as in :func:`self_express`.
    n_nonzero_coefs, n_pursuits : int
        Of the pursuit, as in :func:`self_express`.
    alpha : float, default=None
        Of ridge; None is half the mean eigenvalue of ``X.T @ X``.
    n_neighbors : int, default=15
        Coefficients of a row that are kept, for the closed forms.
    tol : float, default=1e-6
        Relative residual at which the pursuit stops, or largest relative violation of
        the optimality conditions of the elastic net.
    max_iter : int, default=40
        Most changes of the support of a row, for the elastic net.
    max_bytes : int, default=2**30
        Memory of the work arrays on the device, which sets how many rows are solved at
        a time. It changes results by no more than rounding.

    Returns
    -------
    result : SolverResult
        The solution is a csr_array of shape (n_samples, n_samples) on the host, with
        zero diagonal and the dtype of `X`; row i represents sample i.

    Raises
    ------
    ValueError
        If the method is unknown or `X` is not a matrix of floats.

    See Also
    --------
    self_express : On the CPU, in compiled loops; several times faster there.

    Notes
    -----
    Costs the same products of matrices as on the CPU. The small problems of the elastic
    net are solved by accelerated proximal steps and, with the signs held, by batched
    linear systems; rows that miss the tolerance are solved on the CPU. Products must be
    of full precision, as is torch's default.

    Examples
    --------
    >>> import torch
    >>> X = torch.tensor([[1.0, 0.0], [2.0, 0.0], [0.0, 1.0], [0.6, 0.8]])
    >>> self_express_batched(X, method="omp").solution.shape
    (4, 4)
    """
    if method not in _METHODS:
        raise ValueError(f"method={method!r} must be one of {_METHODS}.")
    if X.ndim != 2 or X.dtype not in (torch.float32, torch.float64):
        raise ValueError(
            f"X of shape {tuple(X.shape)} and dtype {X.dtype} must be a matrix of "
            "float32 or float64."
        )
    host = X.detach().cpu().numpy()
    first, inverse, signs = distinct_rows(host)
    distinct = X.detach()[torch.as_tensor(first, device=X.device)]
    n_iter, converged, gap = 1, True, None
    if method == "ridge":
        codes = _ridge(distinct, alpha, n_neighbors, max_bytes)
    elif method == "thresholding":
        codes = _threshold(distinct, n_neighbors, max_bytes)
    elif method == "omp":
        codes = _pursuits(distinct, n_nonzero_coefs, n_pursuits, tol, max_bytes)
        n_iter = n_pursuits
    else:
        ratio = 1.0 if method == "lasso" else l1_ratio
        tol = max(tol, 100 * float(torch.finfo(X.dtype).eps))
        codes, n_iter, gap = _elastic_net(
            distinct, host[first], gamma, ratio, tol, max_iter, max_bytes
        )
        converged = gap <= tol
    if len(first) < len(host):
        codes = spread_to_copies(codes, first, inverse, signs)
    return SolverResult(solution=codes, n_iter=n_iter, converged=converged, gap=gap)


def _blocks(n_rows: int, bytes_per_row: int, max_bytes: int) -> list[Tensor]:
    size = max(1, min(n_rows, max_bytes // max(1, bytes_per_row)))
    return list(torch.arange(n_rows).split(size))


def _largest_products(
    left: Tensor, right: Tensor, width: int, max_bytes: int
) -> tuple[Tensor, Tensor]:
    """Find the largest off-diagonal entries of each row of a product."""
    n_rows = len(left)
    columns = torch.full((n_rows, width), -1, dtype=torch.int64)
    values = torch.zeros((n_rows, width), dtype=left.dtype)
    for rows in _blocks(n_rows, 3 * n_rows * left.element_size(), max_bytes):
        products = left[rows] @ right.mT
        products[torch.arange(len(rows)), rows] = 0
        places = products.abs().topk(width, dim=1).indices
        columns[rows] = places.cpu()
        values[rows] = products.gather(1, places).cpu()
    return columns, values


def _to_csr(columns: Tensor, values: Tensor, n_columns: int) -> sparse.csr_array:
    return padded_to_csr(columns.cpu().numpy(), values.cpu().numpy(), n_columns)


def _ridge(
    X: Tensor, alpha: float | None, n_neighbors: int, max_bytes: int
) -> sparse.csr_array:
    n_samples, n_features = X.shape
    unit = float(X.abs().max()) if X.numel() else 1.0
    wide = X.double() / (unit or 1.0)
    eps = float(torch.finfo(X.dtype).eps)
    by_rows = n_samples < n_features
    gram = wide @ wide.mT if by_rows else wide.mT @ wide
    trace = float(gram.trace())
    penalty = trace / n_features / 2 if alpha is None else alpha / (unit or 1.0) ** 2
    penalty = max(penalty, 4 * torch.finfo(torch.float64).eps * trace) or 1.0
    gram.diagonal().add_(penalty)
    inverse = torch.cholesky_inverse(torch.linalg.cholesky(gram))
    # With few rows the same products come from (XX' + αI)^-1 X.
    solved = inverse @ wide if by_rows else wide @ inverse
    left_out = 1 - (solved * wide).sum(1)
    if by_rows:
        left_out = penalty * inverse.diagonal()
    left_out = left_out.clamp_min(torch.finfo(torch.float64).eps).cpu()
    floors = _NOISE * eps * solved.norm(dim=1).cpu() * float(wide.norm(dim=1).max())
    width = min(n_neighbors, n_samples - 1)
    columns, values = _largest_products(
        solved.to(X.dtype), wide.to(X.dtype), width, max_bytes
    )
    values[values.abs() <= floors[:, None]] = 0
    values /= left_out[:, None].to(X.dtype)
    return _to_csr(columns, values, n_samples)


def _threshold(X: Tensor, n_neighbors: int, max_bytes: int) -> sparse.csr_array:
    largest = X.abs().amax(dim=1, keepdim=True)
    rows = X / torch.where(largest > 0, largest, 1)
    norms = rows.norm(dim=1, keepdim=True)
    rows = rows / torch.where(norms > 0, norms, 1)
    width = min(n_neighbors, len(X) - 1)
    columns, cosines = _largest_products(rows, rows, width, max_bytes)
    heights = cosines.abs().clamp_max(1)
    weights = torch.copysign(torch.exp(-2 * torch.arccos(heights)), cosines)
    weights[heights <= _NOISE * torch.finfo(X.dtype).eps] = 0
    return _to_csr(columns, weights, len(X))


def _pursuits(
    X: Tensor, n_nonzero_coefs: int, n_pursuits: int, tol: float, max_bytes: int
) -> sparse.csr_array:
    """Average several pursuits of each row, each on rows not used before."""
    n_samples, n_features = X.shape
    depth = min(n_nonzero_coefs, max(1, n_features - 1), n_samples - 1)
    total: Any = sparse.csr_array(
        (n_samples, n_samples), dtype=np.dtype(str(X.dtype)[6:])
    )
    if depth < 1:
        return total
    per_row = (3 * n_samples + (2 * depth + 4) * n_features) * X.element_size()
    parts: list[list[tuple[Tensor, Tensor]]] = [[] for _ in range(n_pursuits)]
    for rows in _blocks(n_samples, per_row, max_bytes):
        banned = rows[:, None].to(X.device)
        for k in range(n_pursuits):
            support, codes = _pursue(X, rows.to(X.device), banned, depth, tol)
            own = rows[:, None].to(X.device).expand_as(support)
            banned = torch.hstack([banned, torch.where(support >= 0, support, own)])
            parts[k].append((support.cpu(), codes.cpu()))
    for pieces in parts:
        support = torch.cat([piece[0] for piece in pieces])
        codes = torch.cat([piece[1] for piece in pieces])
        total = sparse.csr_array(total + _to_csr(support, codes, n_samples))
    total.data /= n_pursuits
    total.sort_indices()
    return sparse.csr_array(total)


def _pursue(
    X: Tensor, rows: Tensor, banned: Tensor, depth: int, tol: float
) -> tuple[Tensor, Tensor]:
    """Run one pursuit of a block of rows, one atom for all of them at a time."""
    block = X[rows]
    n_rows, n_features = block.shape
    eps = torch.finfo(X.dtype).eps
    residual = block.clone()
    norms = block.norm(dim=1)
    noise = _NOISE * eps * norms * X.norm(dim=1).max()
    basis = X.new_zeros(n_rows, depth, n_features)
    # Rows that stopped keep ones on the diagonal, so that all systems have solutions.
    triangle = torch.eye(depth, dtype=X.dtype, device=X.device).repeat(n_rows, 1, 1)
    heights = X.new_zeros(n_rows, depth)
    support = torch.full((n_rows, depth), -1, dtype=torch.int64, device=X.device)
    alive = norms > 0
    for step in range(depth):
        score = (residual @ X.mT).abs()
        score.scatter_(1, banned, -1.0)
        if step:
            used = support[:, :step]
            score.scatter_(1, torch.where(used >= 0, used, banned[:, :1]), -1.0)
        waiting = alive.clone()
        alive = torch.zeros_like(alive)
        while bool(waiting.any()):
            best, atom = score.max(dim=1)
            waiting &= best > noise
            score.scatter_(1, atom[:, None], -1.0)
            direction = X[atom].clone()
            length = direction.square().sum(1)
            column = X.new_zeros(n_rows, depth)
            # Twice is enough: one pass leaves a nearly dependent atom skewed.
            for _ in range(2):
                dots = torch.einsum("bkd,bd->bk", basis, direction)
                column += dots
                direction -= torch.einsum("bk,bkd->bd", dots, basis)
            rest = direction.square().sum(1)
            chosen = waiting & (rest > _DEPENDENT * eps * length)
            waiting &= ~chosen
            direction /= rest.sqrt().clamp_min(torch.finfo(X.dtype).tiny)[:, None]
            column[:, step] = rest.sqrt()
            support[chosen, step] = atom[chosen]
            basis[chosen, step] = direction[chosen]
            triangle[chosen, :, step] = column[chosen]
            height = (direction * residual).sum(1)
            heights[chosen, step] = height[chosen]
            alive |= chosen
        residual -= heights[:, step, None] * basis[:, step]
        alive &= residual.norm(dim=1) > tol * norms
    codes = torch.linalg.solve_triangular(triangle, heights[:, :, None], upper=True)
    codes = codes[:, :, 0]
    codes[support < 0] = 0
    return support, codes


def _elastic_net(
    X: Tensor,
    host: Any,
    gamma: float,
    l1_ratio: float,
    tol: float,
    max_iter: int,
    max_bytes: int,
) -> tuple[sparse.csr_array, int, float]:
    n_samples = len(X)
    if n_samples < 2:
        return sparse.csr_array((n_samples, n_samples), dtype=host.dtype), 0, 0.0
    parts: list[sparse.csr_array] = []
    gaps = np.zeros(n_samples)
    n_iter = 0
    # Correlations twice, and the small problems, which are in double precision.
    per_row = 3 * n_samples * X.element_size() + 8 * 4 * 128**2
    per_row += 128 * X.shape[1] * X.element_size()
    for rows in _blocks(n_samples, per_row, max_bytes):
        support, codes, used, block_gaps = express_block(
            X, rows.to(X.device), gamma, l1_ratio, tol, max_iter
        )
        parts.append(_to_csr(support, codes, n_samples))
        gaps[rows.numpy()] = block_gaps.cpu().numpy()
        n_iter = max(n_iter, used)
    codes_csr: Any = sparse.csr_array(sparse.vstack(parts, format="csr"))
    failed = np.flatnonzero(~(gaps <= tol))
    if len(failed):
        settings = (gamma, l1_ratio, tol, max_iter)
        exact, more, gaps[failed] = _express_in_blocks(host, failed, settings, None)
        order = np.arange(n_samples)
        order[failed] = n_samples + np.arange(len(failed))
        both = sparse.csr_array(sparse.vstack([codes_csr, exact], format="csr"))
        codes_csr = sparse.csr_array(both[order])
        n_iter = max(n_iter, more)
    return codes_csr, n_iter, float(gaps.max())
