"""Rotations that make samples sparse: matching, stretching and projection."""

import contextlib
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sklearn_whitebox._threads import SMALL_WORK, serial_blas
from sklearn_whitebox.solvers._result import SolverResult
from sklearn_whitebox.solvers._rotations import haar_orthogonal, polar_factor

# Work below which BLAS does not start threads.
_TINY_WORK = 1e7

Array = NDArray[Any]


@dataclass
class Watch:
    """Number the iterations of a whole fit, and end it early.

    Parameters
    ----------
    left : int
        Iterations that may still be made; none once the callback has returned True.
    callback : callable, default=None
        Called as ``callback(iteration, objective)``.
    count : int, default=0
        Iterations made.
    is_stopped : bool, default=False
        Whether the callback has returned True.
    """

    left: int
    callback: Callable[[int, float], Any] | None = None
    count: int = 0
    is_stopped: bool = False

    def __call__(self, _: int, objective: float) -> bool:
        """Count an iteration; return True if it is to be the last."""
        self.left -= 1
        self.count += 1
        if self.callback is not None and self.callback(self.count - 1, objective):
            self.left, self.is_stopped = 0, True
        return self.is_stopped


def maximize_sparsity(
    X: Array,
    *,
    power: int = 3,
    objective: str = "lp",
    max_iter: int = 200,
    tol: float = 1e-6,
    init: Array | None = None,
    generator: np.random.Generator | None = None,
    callback: Callable[[int, float], Any] | None = None,
) -> SolverResult:
    r"""Find the rotation in which the samples are sparsest.

    Maximises :math:`\tfrac1p \|XA^\top\|_p^p` over orthogonal A. On the sphere, vectors
    with a large p-norm are sparse ones. Each iteration matches, stretches and projects,

    .. math:: Z = XA^\top, \quad G = (\operatorname{sign}(Z)|Z|^{p-1})^\top X, \quad
        A \leftarrow \operatorname{polar}(G),

    and never lowers the objective: it maximises the linearisation of a convex function.

    Parameters
    ----------
    X : ndarray of shape (n_samples, n_features)
        Samples that are sparse in some orthonormal basis, up to noise.
    power : {3, 4}, default=3
        The p of the norm. 3 needs fewer samples, 4 fewer iterations.
    objective : {"lp", "kurtosis"}, default="lp"
        ``"kurtosis"`` takes :math:`\sum_j |\mathrm{E} z_j^4 - 3 (\mathrm{E} z_j^2)^2|`,
        which flat sources maximise as well as sparse ones; it asks for white samples
        and usually rises, if not always.
    max_iter : int, default=200
        Most iterations.
    tol : float, default=1e-6
        Stop when A changes by at most this per row, in Frobenius norm over √d, or when
        the objective rises twice in a row by less than a hundredth of this share.
    init : ndarray of shape (n_features, n_features), default=None
        Orthogonal start; None draws one uniformly.
    generator : numpy.random.Generator, default=None
        Source of the start; None is ``numpy.random.default_rng(0)``.
    callback : callable, default=None
        Called as ``callback(iteration, objective)``; stops the loop if it returns True.

    Returns
    -------
    result : SolverResult
        The solution is A, an ndarray of shape (n_features, n_features), one atom per
        row.

    Raises
    ------
    ValueError
        If `power` or `objective` is unknown.

    Notes
    -----
    Costs 4nd² + O(d³) per iteration. About d² samples are needed [1]_.

    References
    ----------
    .. [1] Zhai, Yang, Liao, Wright, Ma (2020). Complete dictionary learning via
       ℓ4-norm maximization over the orthogonal group. JMLR 21.
    .. [2] Shen, Xue, Zhang, Letaief, Lau (2020). Complete dictionary learning via
       ℓp-norm maximization. UAI.

    Examples
    --------
    >>> import numpy as np
    >>> X = np.eye(3)[[0, 1, 2, 0, 1, 2]] * np.arange(1, 7)[:, None]
    >>> A = maximize_sparsity(X).solution
    >>> np.abs(A).max(axis=1).round(6)
    array([1., 1., 1.])
    """
    if power not in (3, 4) or objective not in ("lp", "kurtosis"):
        raise ValueError(
            f"power={power!r} must be 3 or 4 and objective={objective!r} must be 'lp' "
            "or 'kurtosis'."
        )
    n_features = X.shape[1]
    if init is None:
        init = haar_orthogonal(n_features, generator or np.random.default_rng(0))
    A = np.asarray(init, dtype=X.dtype)
    enough = max(tol, 4 * float(np.finfo(X.dtype).eps)) * np.sqrt(n_features)
    flat = max(0.01 * tol, float(np.finfo(X.dtype).eps))
    curve: list[float] = []
    converged = False
    n_iter = quiet = 0
    # A power of the scale of the data must neither overflow nor vanish.
    X = X / (np.sqrt(np.mean(X * X)) or 1.0)
    with threads_for(X):
        for n_iter in range(1, max_iter + 1):
            G, value = _stretch(X, A, power, objective)
            curve.append(value)
            previous, A = A, polar_factor(G)
            change = _change(A, previous)
            if callback is not None and callback(n_iter - 1, value):
                break
            # Near a maximum the objective moves with the square of the rotation.
            rise = abs(value - curve[-2]) if len(curve) > 1 else np.inf
            quiet = quiet + 1 if rise <= flat * abs(value) else 0
            if change <= enough or quiet >= 2:
                converged = True
                break
    return SolverResult(A, n_iter=n_iter, converged=converged, objective=curve)


def _stretch(X: Array, A: Array, power: int, objective: str) -> tuple[Array, float]:
    """Gradient of the objective in A, per sample and up to a factor, and its value."""
    n_samples = len(X)
    Z = X @ A.T  # (n, d)
    if objective == "kurtosis":
        variance = np.mean(Z * Z, axis=0)
        excess = np.mean(Z**4, axis=0) - 3 * variance**2
        G = (Z**3).T @ X / n_samples - 3 * variance[:, None] * A
        # The kurtosis of a flat source is least, but its magnitude largest, there.
        return np.copysign(1, excess)[:, None] * G, float(np.sum(np.abs(excess)))
    stretched = Z * np.abs(Z) if power == 3 else Z * Z * Z
    value = float(np.vdot(stretched, Z)) / (power * n_samples)
    return stretched.T @ X / n_samples, value


def threads_for(X: Array) -> contextlib.AbstractContextManager[None]:
    """Keep BLAS to one thread where a product is too small for two.

    Parameters
    ----------
    X : ndarray of shape (n_samples, n_features)
        Samples, multiplied by square matrices.

    Returns
    -------
    context : context manager
        What limits the threads.
    """
    work = X.shape[0] * X.shape[1] ** 2
    if work < _TINY_WORK or work > SMALL_WORK:
        return contextlib.nullcontext()
    return serial_blas()


def _change(A: Array, previous: Array) -> float:
    """Distance between two rotations whose rows may have changed sign."""
    signs = np.sign(np.einsum("ij,ij->i", A, previous))
    return float(np.linalg.norm(A - np.where(signs < 0, -1, 1)[:, None] * previous))
