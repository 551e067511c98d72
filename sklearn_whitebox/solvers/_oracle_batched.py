"""Elastic nets of a block of rows over all others, in batched tensor operations."""

import torch
from torch import Tensor

# Rows that join a support at a time, and rows of the largest small problem.
_WIDTH = 32
_LARGEST = 192

# Proximal steps before systems are solved, corrections of signs after them, and rounds
# of both.
_STEPS = 60
_CORRECTIONS = 12
_ROUNDS = 6


def express_block(
    X: Tensor,
    rows: Tensor,
    gamma: float,
    l1_ratio: float,
    tol: float,
    max_iter: int,
) -> tuple[Tensor, Tensor, int, Tensor]:
    """Solve the elastic nets of some rows.

    Parameters
    ----------
    X : Tensor of shape (n_samples, n_features)
        All rows.
    rows : Tensor of shape (n_rows,)
        Which of them to solve.
    gamma, l1_ratio, tol : float
        As in :func:`elastic_net_self_expression`.
    max_iter : int
        Most changes of supports.

    Returns
    -------
    support : Tensor of shape (n_rows, width)
        Places of the coefficients; -1 where there is none.
    codes : Tensor of shape (n_rows, width)
        Coefficients.
    n_iter : int
        Changes of supports.
    gaps : Tensor of shape (n_rows,)
        Largest violation of an optimality condition, relative to the largest
        correlation of the row.
    """
    block = X[rows]
    n_rows, n_samples = len(rows), len(X)
    pull = (block @ X.mT).abs()
    pull.scatter_(1, rows[:, None], -1.0)
    coherence = pull.amax(dim=1).clamp_min(0).double()
    l1 = coherence / gamma
    l2 = l1 * (1 - l1_ratio) / l1_ratio
    support = torch.full((n_rows, 0), -1, dtype=torch.int64, device=X.device)
    codes = torch.zeros(n_rows, 0, dtype=torch.float64, device=X.device)
    gaps = torch.zeros(n_rows, dtype=torch.float64, device=X.device)
    active = (coherence > 0).nonzero()[:, 0]
    pull = pull[active]
    inner = torch.zeros_like(gaps)
    n_iter = 0
    while len(active):
        excess = pull.amax(dim=1).double() - l1[active]
        gaps[active] = torch.maximum(excess / coherence[active], inner[active])
        unfinished = excess > tol * coherence[active]
        if n_iter == max_iter or not bool(unfinished.any()):
            break
        active, pull = active[unfinished], pull[unfinished]
        n_iter += 1
        width = min(_WIDTH, n_samples - 1)
        best, joining = pull.topk(width, dim=1)
        joining[best.double() <= l1[active, None]] = -1
        places = torch.hstack([support[active], joining])
        start = torch.hstack([codes[active], codes.new_zeros(joining.shape)])
        places, start = _compact(places, start, joining)
        if places.shape[1] > _LARGEST:
            gaps[active] = torch.inf
            break
        solved, inner[active] = _solve(
            X, block[active], places, start, l1[active], l2[active], 0.1 * tol,
            coherence[active],
        )  # fmt: skip
        support, codes = _store(support, codes, active, places, solved)
        left = block[active].double() - torch.einsum(
            "bk,bkd->bd", solved, X[places.clamp_min(0)].double()
        )
        pull = (left.to(X.dtype) @ X.mT).abs()
        pull.scatter_(1, rows[active, None], -1.0)
        used = torch.where(solved != 0, places, rows[active, None])
        pull.scatter_(1, used, -1.0)
    return support, codes.to(X.dtype), n_iter, gaps


def _compact(places: Tensor, start: Tensor, joining: Tensor) -> tuple[Tensor, Tensor]:
    """Drop unused places, and columns that no row needs any more."""
    is_new = torch.zeros_like(places, dtype=torch.bool)
    is_new[:, places.shape[1] - joining.shape[1] :] = True
    wanted = (places >= 0) & ((start != 0) | is_new)
    order = torch.argsort(wanted.to(torch.int8), dim=1, descending=True, stable=True)
    width = int(wanted.sum(1).max())
    order = order[:, :width]
    places = torch.where(wanted, places, -1).gather(1, order)
    return places, start.gather(1, order)


def _store(
    support: Tensor, codes: Tensor, active: Tensor, places: Tensor, solved: Tensor
) -> tuple[Tensor, Tensor]:
    extra = places.shape[1] - support.shape[1]
    if extra > 0:
        support = torch.nn.functional.pad(support, (0, extra), value=-1)
        codes = torch.nn.functional.pad(codes, (0, extra))
    support[active] = -1
    codes[active] = 0.0
    support[active, : places.shape[1]] = places
    codes[active, : places.shape[1]] = solved
    return support, codes


def _solve(
    X: Tensor,
    block: Tensor,
    places: Tensor,
    start: Tensor,
    l1: Tensor,
    l2: Tensor,
    tol: float,
    coherence: Tensor,
) -> tuple[Tensor, Tensor]:
    """Solve the small problems of padded supports; return codes and violations."""
    atoms = X[places.clamp_min(0)].double()
    atoms[places < 0] = 0
    gram = atoms @ atoms.mT  # (b, k, k)
    gram.diagonal(dim1=1, dim2=2).add_(l2[:, None])
    b = torch.einsum("bkd,bd->bk", atoms, block.double())
    limit = l1[:, None]
    best, least = start, _violation(gram, b, limit, start)
    code = start
    for _ in range(_ROUNDS):
        code = _proximal_steps(gram, b, limit, code)
        code = _correct_signs(gram, b, limit, code, tol * coherence)
        violation = _violation(gram, b, limit, code)
        better = violation < least
        best = torch.where(better[:, None], code, best)
        least = torch.where(better, violation, least)
        if bool((least <= tol * coherence).all()):
            break
    return best, least / coherence


def _violation(gram: Tensor, b: Tensor, l1: Tensor, code: Tensor) -> Tensor:
    slope = b - torch.einsum("bkl,bl->bk", gram, code)
    on = (slope - l1 * code.sign()).abs()
    return torch.where(code != 0, on, slope.abs() - l1).amax(dim=1).clamp_min(0)


def _proximal_steps(gram: Tensor, b: Tensor, l1: Tensor, code: Tensor) -> Tensor:
    step = 1 / gram.abs().sum(2).amax(dim=1, keepdim=True).clamp_min(1e-300)
    ahead, inertia = code, 1.0
    for _ in range(_STEPS):
        slope = b - torch.einsum("bkl,bl->bk", gram, ahead)
        moved = ahead + step * slope
        moved = moved.sign() * (moved.abs() - step * l1).clamp_min(0)
        following = (1 + (1 + 4 * inertia**2) ** 0.5) / 2
        ahead = moved + (inertia - 1) / following * (moved - code)
        code, inertia = moved, following
    return code


def _correct_signs(
    gram: Tensor, b: Tensor, l1: Tensor, code: Tensor, tol: Tensor
) -> Tensor:
    """Solve for the support with its signs held; some leave, some join, and again."""
    signs = code.sign()
    best = code
    least = _violation(gram, b, l1, code)
    for _ in range(_CORRECTIONS):
        on = (signs != 0).to(gram.dtype)
        system = gram * on[:, :, None] * on[:, None, :]
        system.diagonal(dim1=1, dim2=2).add_(1 - on)
        # Dependent rows make the system singular; a proximal step will part them.
        target, info = torch.linalg.solve_ex(
            system, ((b - l1 * signs) * on)[:, :, None]
        )
        target = torch.where(info[:, None] == 0, target[:, :, 0], 0.0)
        target = torch.nan_to_num(target)
        wrong = (target * signs < 0) | ((target == 0) & (signs != 0))
        code = torch.where(wrong, 0.0, target)
        violation = _violation(gram, b, l1, code)
        better = violation < least
        best = torch.where(better[:, None], code, best)
        least = torch.where(better, violation, least)
        if bool((least <= tol).all()):
            break
        slope = b - torch.einsum("bkl,bl->bk", gram, code)
        joins = (signs == 0) & (slope.abs() > l1 + tol[:, None])
        # Rows leave first: whether others must join shows only without them.
        joins &= ~wrong.any(dim=1, keepdim=True)
        signs = torch.where(wrong, 0.0, torch.where(joins, slope.sign(), signs))
    return best
