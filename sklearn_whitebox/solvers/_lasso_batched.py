"""Lasso codes of many samples at once, in batched tensor operations."""

from dataclasses import dataclass, replace

import torch
from scipy import sparse
from torch import Tensor

from sklearn_whitebox.solvers._lasso_encode import lasso_encode
from sklearn_whitebox.solvers._result import SolverResult

# Proximal steps before the first systems are solved; twice as many before the next.
_FIRST_STEPS = 32
# Corrections of a support before proximal steps take over again.
_MAX_CORRECTIONS = 8
# Entries of the systems solved at a time.
_SYSTEM_ENTRIES = {"cpu": 2**21, "cuda": 2**26}


@dataclass(frozen=True)
class _Problem:
    """What all samples share."""

    dictionary: Tensor
    gram: Tensor
    step: Tensor
    positive: bool
    tol: float

    @property
    def eps(self) -> float:
        return float(torch.finfo(self.gram.dtype).eps)

    def double(self) -> "_Problem":
        """Return the problem in double precision, to a gap that takes it."""
        D = self.dictionary.double()
        return replace(self, dictionary=D, gram=D @ D.T, step=self.step.double())

    def slopes(self, B: Tensor, Z: Tensor) -> Tensor:
        """Inner products of atoms and residuals."""
        return B - Z @ self.gram


def lasso_encode_batched(
    X: Tensor,
    dictionary: Tensor,
    *,
    alpha: float | Tensor,
    positive: bool = False,
    tol: float | None = None,
    max_iter: int = 2000,
    block_size: int = 4096,
    sparse_output: bool = False,
) -> SolverResult:
    r"""Write every sample as a sparse combination of given atoms, on CPU or CUDA.

    .. math:: \min_z \tfrac12 \|x - zD\|_2^2 + \alpha \|z\|_1

    Accelerated proximal steps, of a block of samples at once, find which atoms a code
    uses; the codes then solve small linear systems, in batches of equal size. Codes
    that change sign leave and atoms that violate the optimality conditions join, until
    the duality gap certifies the code.

    Parameters
    ----------
    X : Tensor of shape (n_samples, n_features)
        Samples x, in single or double precision.
    dictionary : Tensor of shape (n_components, n_features)
        One atom per row, on the device of `X`.
    alpha : float or Tensor of shape (n_samples,)
        Non-negative weight of the ℓ1 norm, one for all samples or one each.
    positive : bool, default=False
        Whether codes must not be negative.
    tol : float, default=None
        A sample is done when its duality gap is at most this times half its squared
        norm; None is 1e-5 in single and 1e-9 in double precision.
    max_iter : int, default=2000
        Most proximal steps per sample in each precision, and most rounds of
        :func:`lasso_encode` where both fail. Up to eight systems follow 32, 64, ...
        proximal steps and are not counted.
    block_size : int, default=4096
        Samples at a time.
    sparse_output : bool, default=False
        Whether the codes are a CSR array on the host. Memory is then that of the
        non-zeros and of the dense codes of a block.

    Returns
    -------
    result : SolverResult
        The solution is the codes of shape (n_samples, n_components), a Tensor with the
        dtype and device of `X` or a csr_array; the gap is the largest relative duality
        gap over the samples, or the violation of the optimality conditions where
        `alpha` is zero.

    Raises
    ------
    ValueError
        If shapes, dtypes or devices do not agree, or a number is out of range.

    See Also
    --------
    lasso_encode : On the CPU, sample by sample.

    Notes
    -----
    A proximal step costs O(k²) per sample and a system with s unknowns O(s³), in memory
    for a block of samples and 2²¹ entries of systems (2²⁶ on CUDA). Samples that miss
    the gap in single precision are coded again in double precision, and those that
    still do by :func:`lasso_encode`. The code of a sample does not depend on the others
    but for rounding. The host waits for the device a few times per round of steps.
    Products must be of full precision, as is torch's default, for the gap to be one.

    References
    ----------
    .. [1] Beck, Teboulle (2009). A fast iterative shrinkage-thresholding algorithm for
       linear inverse problems. SIAM Journal on Imaging Sciences 2.
    .. [2] Lee, Battle, Raina, Ng (2006). Efficient sparse coding algorithms. NeurIPS.

    Examples
    --------
    >>> import torch
    >>> X = torch.tensor([[3.0, 0.5]])
    >>> lasso_encode_batched(X, torch.eye(2), alpha=1.0).solution.round(decimals=4)
    tensor([[2., 0.]])
    """
    if max_iter < 1 or block_size < 1:
        raise ValueError(f"{max_iter=} and {block_size=} must be at least 1.")
    weights = _checked_weights(X, dictionary, alpha)
    if tol is None:
        tol = 1e-5 if X.dtype == torch.float32 else 1e-9
    with torch.no_grad():
        problem, scale = _prepare(dictionary, positive, tol)
        n_samples = X.shape[0]
        codes = X.new_zeros(0 if sparse_output else n_samples, len(dictionary))
        parts = [sparse.csr_array(codes.cpu().numpy())] if sparse_output else []
        worst, most = 0.0, 0
        for start in range(0, n_samples, block_size):
            rows = slice(start, start + block_size)
            norms = torch.linalg.vector_norm(X[rows].double(), dim=1)
            units = torch.where(norms > 0, norms, torch.ones_like(norms))
            # Squares of samples and atoms of any scale neither over- nor underflow.
            scaled = (X[rows].double() / units[:, None]).to(X.dtype)
            weight = (weights[rows].double() / (units * scale)).to(X.dtype)
            block, gap, n_iter = _encode_block(problem, scaled, weight, max_iter)
            block = (block.double() * (units / scale)[:, None]).to(X.dtype)
            if sparse_output:
                parts.append(sparse.csr_array(block.cpu().numpy()))
            else:
                codes[rows] = block
            worst, most = max(worst, gap), max(most, n_iter)
    # Its first part is empty, so that there is one without samples.
    solution = sparse.vstack(parts, format="csr") if sparse_output else codes
    return SolverResult(solution, n_iter=most, converged=worst <= tol, gap=worst)


def _checked_weights(X: Tensor, dictionary: Tensor, alpha: float | Tensor) -> Tensor:
    if X.dtype not in (torch.float32, torch.float64):
        raise ValueError(f"X has dtype {X.dtype}; use torch.float32 or torch.float64.")
    if (X.dtype, X.device) != (dictionary.dtype, dictionary.device):
        raise ValueError(
            f"X has {X.dtype} on {X.device} but the atoms have {dictionary.dtype} on "
            f"{dictionary.device}."
        )
    if X.ndim != 2 or dictionary.ndim != 2 or X.shape[1] != dictionary.shape[1]:
        raise ValueError(
            f"X has shape {tuple(X.shape)} but the atoms {tuple(dictionary.shape)}; "
            "they need the same number of columns."
        )
    weights = torch.as_tensor(alpha, dtype=torch.float64, device=X.device)
    if weights.ndim > 0 and weights.shape != (X.shape[0],):
        raise ValueError(
            f"alpha has shape {tuple(weights.shape)}; it must be a number or have one "
            f"entry for each of {X.shape[0]} samples."
        )
    if not bool((weights >= 0).all()):
        raise ValueError("alpha must not be negative or NaN.")
    return weights.expand(X.shape[0])


def _prepare(dictionary: Tensor, positive: bool, tol: float) -> tuple[_Problem, float]:
    """Scale the atoms to at most unit norm, and find the step that they allow."""
    norms = torch.linalg.vector_norm(dictionary.double(), dim=1)
    # A power of two, which changes no digit.
    scale = 2.0 ** int(torch.frexp(norms.max()).exponent)
    D = dictionary.double() / scale
    small = D @ D.T if D.shape[0] <= D.shape[1] else D.T @ D
    largest = torch.linalg.eigvalsh(small)[-1].clamp_min(1e-300)
    D = D.to(dictionary.dtype)
    step = (1 / (1.0001 * largest)).to(dictionary.dtype)
    return _Problem(D, D @ D.T, step, positive, tol), scale


def _encode_block(
    problem: _Problem, X: Tensor, alpha: Tensor, max_iter: int
) -> tuple[Tensor, float, int]:
    """Codes of unit samples, their largest gap, and the proximal steps taken."""
    codes, gaps, n_iter = _rounds(problem, X, alpha, max_iter)
    failed = (gaps > problem.tol).nonzero()[:, 0]
    if len(failed) and X.dtype == torch.float32:
        redone, _, more = _rounds(
            problem.double(), X[failed].double(), alpha[failed].double(), max_iter
        )
        codes[failed] = redone.to(X.dtype)
        gaps[failed] = _exact_gap(problem, X[failed], alpha[failed], codes[failed])
        failed = (gaps > problem.tol).nonzero()[:, 0]
        n_iter += more
    if len(failed):
        redone, gap = _one_by_one(problem, X[failed], alpha[failed], max_iter)
        better = gap < gaps[failed]
        codes[failed] = torch.where(better[:, None], redone, codes[failed])
        gaps[failed] = torch.where(better, gap, gaps[failed])
    return codes, float(gaps.max()) if len(gaps) else 0.0, n_iter


def _one_by_one(
    problem: _Problem, X: Tensor, alpha: Tensor, max_iter: int
) -> tuple[Tensor, Tensor]:
    """Codes from the solver for the CPU, and their gaps."""
    result = lasso_encode(
        X.double().cpu().numpy(),
        problem.dictionary.double().cpu().numpy(),
        alpha=alpha.double().cpu().numpy(),
        positive=problem.positive,
        tol=problem.tol,
        max_iter=max_iter,
    )
    codes = torch.from_numpy(result.solution).to(X.device, X.dtype)
    return codes, _exact_gap(problem, X, alpha, codes)


def _exact_gap(problem: _Problem, X: Tensor, alpha: Tensor, Z: Tensor) -> Tensor:
    """Gap of codes as they are returned, computed in double precision."""
    precise = problem.double()
    B, Z = X.double() @ precise.dictionary.T, Z.double()
    gap = _relative_gap(precise, B, alpha.double(), Z, precise.slopes(B, Z))
    return gap.to(X.dtype)


def _rounds(
    problem: _Problem, X: Tensor, alpha: Tensor, max_iter: int
) -> tuple[Tensor, Tensor, int]:
    """Alternate proximal steps and systems on the samples that are not done."""
    B = X @ problem.dictionary.T
    codes = torch.zeros_like(B)
    gaps = _relative_gap(problem, B, alpha, codes, B)
    todo = (gaps > problem.tol).nonzero()[:, 0]
    n_iter, steps = 0, _FIRST_STEPS
    while len(todo) and n_iter < max_iter:
        steps = min(steps, max_iter - n_iter)
        b, weight = B[todo], alpha[todo]
        Z = _proximal_steps(problem, b, weight, codes[todo], steps)
        Z, gap = _solve_supports(problem, b, weight, Z)
        codes[todo], gaps[todo] = Z, gap
        todo = todo[gap > problem.tol]
        n_iter += steps
        steps *= 2
    return codes, gaps, n_iter


def _relative_gap(
    problem: _Problem, B: Tensor, alpha: Tensor, Z: Tensor, slopes: Tensor
) -> Tensor:
    """Duality gap per half squared norm of unit samples; zero for zero samples.

    As a sum of terms that are not negative, so that nothing cancels.
    """
    reach = slopes if problem.positive else slopes.abs()
    worst = reach.amax(dim=1).clamp_min(0)
    shrink = torch.where(worst > alpha, alpha / worst, torch.ones_like(worst))
    error = (1 - (Z * (B + slopes)).sum(dim=1)).clamp_min(0)
    slack = (alpha[:, None] * Z.abs() - shrink[:, None] * Z * slopes).clamp_min(0)
    gap = (1 - shrink).square() * error + 2 * slack.sum(dim=1)
    # Without penalty only a zero residual is certified by its gap.
    size = B.abs().amax(dim=1)
    violation = reach.amax(dim=1)
    if problem.positive:
        violation = torch.maximum(violation, (slopes * (Z > 0)).abs().amax(dim=1))
    gap = torch.where(alpha > 0, gap, violation / torch.where(size > 0, size, 1))
    return torch.where(size > 0, gap, torch.zeros_like(gap))


def _proximal_steps(
    problem: _Problem, B: Tensor, alpha: Tensor, Z: Tensor, n_steps: int
) -> Tensor:
    """Take accelerated proximal steps, with restart sample by sample."""
    limit = (problem.step * alpha)[:, None]
    Y = Z
    t = torch.ones_like(alpha)
    for _ in range(n_steps):
        moved = Y + problem.step * problem.slopes(B, Y)
        if problem.positive:
            new = (moved - limit).clamp_min(0)
        else:
            new = moved - torch.clamp(moved, min=-limit, max=limit)
        restart = ((Y - new) * (new - Z)).sum(dim=1) > 0
        t = torch.where(restart, torch.ones_like(t), t)
        following = (1 + torch.sqrt(1 + 4 * t * t)) / 2
        Y = new + ((t - 1) / following)[:, None] * (new - Z)
        Z, t = new, following
    return Z


def _solve_supports(
    problem: _Problem, B: Tensor, alpha: Tensor, Z: Tensor
) -> tuple[Tensor, Tensor]:
    """Solve for the codes on their supports, which are corrected as needed."""
    codes = Z.clone()
    gaps = _relative_gap(problem, B, alpha, Z, problem.slopes(B, Z))
    todo = torch.arange(len(B), device=B.device)
    signs = torch.sign(Z)
    for correction in range(_MAX_CORRECTIONS):
        b, weight, before = B[todo], alpha[todo], codes[todo]
        target = _targets(problem, b, weight, signs, before)
        Z = _toward(problem, before, target, signs, weight)
        slopes = problem.slopes(b, Z)
        gap = _relative_gap(problem, b, weight, Z, slopes)
        codes[todo], gaps[todo] = Z, gap
        left = (gap > problem.tol).nonzero()[:, 0]
        if not len(left):
            break
        todo, Z, slopes = todo[left], Z[left], slopes[left]
        signs = _joined(problem, Z, slopes, alpha[todo], correction % 2 == 1)
    return codes, gaps


def _targets(
    problem: _Problem, B: Tensor, alpha: Tensor, signs: Tensor, Z: Tensor
) -> Tensor:
    """Minimisers on the supports with given signs; samples of like size together."""
    rhs = B - alpha[:, None] * signs
    used = signs != 0
    sizes = used.sum(dim=1)
    target = Z.clone()
    entries = _SYSTEM_ENTRIES.get(B.device.type, _SYSTEM_ENTRIES["cpu"])
    largest = int(sizes.max())
    upper, lower = 8, 0
    while lower < largest:
        width = min(upper, B.shape[1])
        rows = ((sizes > lower) & (sizes <= width)).nonzero()[:, 0]
        at_once = max(1, entries // (width * width))
        for start in range(0, len(rows), at_once):
            chunk = rows[start : start + at_once]
            target[chunk] = _solved(problem, rhs[chunk], used[chunk], Z[chunk], width)
        lower, upper = width, 2 * upper
    return torch.where(used, target, torch.zeros_like(target))


def _solved(
    problem: _Problem, rhs: Tensor, used: Tensor, Z: Tensor, width: int
) -> Tensor:
    """Solve systems that are padded to one size by rows of the identity."""
    index = used.to(rhs.dtype).topk(width, dim=1).indices
    valid = used.gather(1, index)
    both = valid[:, :, None] & valid[:, None, :]
    A = problem.gram[index[:, :, None], index[:, None, :]]
    eye = torch.eye(width, dtype=A.dtype, device=A.device)
    A = torch.where(both, A, eye)
    y = torch.where(valid, rhs.gather(1, index), torch.zeros_like(A[:, 0]))[:, :, None]
    # The ridge makes copies of an atom share its code; refinement takes it out.
    ridge = 8 * problem.eps * width
    factor, info = torch.linalg.cholesky_ex(A + ridge * eye)
    x = torch.cholesky_solve(y, factor)
    x = x + torch.cholesky_solve(y - A @ x, factor)
    x = x[:, :, 0]
    is_sound = (info == 0) & torch.isfinite(x).all(dim=1)
    x = torch.where(is_sound[:, None], x, Z.gather(1, index))
    return torch.zeros_like(rhs).scatter(1, index, torch.where(valid, x, 0))


def _toward(
    problem: _Problem, Z: Tensor, target: Tensor, signs: Tensor, alpha: Tensor
) -> Tensor:
    """Go to the target, or as far as the first code that would change its sign."""
    flips = target * signs < 0
    if not problem.positive:  # without penalty signs do not matter
        flips = flips & (alpha > 0)[:, None]
    # An atom that has just joined and would leave at once does not join.
    target = torch.where(flips & (Z == 0), torch.zeros_like(target), target)
    flips = flips & (Z != 0)
    share = torch.where(flips, Z / torch.where(flips, Z - target, 1), 1)
    first = share.amin(dim=1, keepdim=True)
    moved = Z + first * (target - Z)
    leaves = flips & (share <= first * (1 + 8 * problem.eps))
    return torch.where(leaves, torch.zeros_like(moved), moved)


def _joined(
    problem: _Problem, Z: Tensor, slopes: Tensor, alpha: Tensor, only_one: bool
) -> Tensor:
    """Signs of the codes, with those of atoms that must join the support."""
    reach = slopes if problem.positive else slopes.abs()
    excess = torch.where(Z == 0, reach - alpha[:, None], torch.zeros_like(Z))
    excess = torch.where(excess > 8 * problem.eps, excess, torch.zeros_like(excess))
    if only_one:
        excess = torch.where(
            excess >= excess.amax(dim=1, keepdim=True), excess, torch.zeros_like(Z)
        )
    return torch.where(excess > 0, torch.sign(slopes), torch.sign(Z))
