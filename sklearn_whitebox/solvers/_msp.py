"""Complete dictionary learning: matching, stretching and projection."""

import contextlib
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sklearn_whitebox._threads import SMALL_WORK, serial_blas
from sklearn_whitebox.solvers._atoms import order_atoms, unit_rows
from sklearn_whitebox.solvers._refine import refine_complete, refine_orthogonal
from sklearn_whitebox.solvers._result import SolverResult

# Directions with less than this share of the largest second moment are rounding,
# and with less than that, noise rather than mixtures of atoms.
_RANK_FLOOR = 1e-10
_NOISE_FLOOR = 1e-5

Array = NDArray[Any]


def haar_orthogonal(n: int, generator: np.random.Generator) -> Array:
    """Draw an orthogonal matrix uniformly.

    Parameters
    ----------
    n : int
        Side.
    generator : numpy.random.Generator
        Source of randomness.

    Returns
    -------
    matrix : ndarray of shape (n, n)
        From the Haar measure of the orthogonal group.

    Notes
    -----
    The QR factor of a Gaussian matrix is uniform only after the signs of R's diagonal
    are moved into Q.

    Examples
    --------
    >>> import numpy as np
    >>> A = haar_orthogonal(3, np.random.default_rng(0))
    >>> np.allclose(A @ A.T, np.eye(3))
    True
    """
    Q, R = np.linalg.qr(generator.standard_normal((n, n)))
    return Q * np.where(np.diag(R) < 0, -1.0, 1.0)


def polar_factor(G: Array) -> Array:
    """Closest orthogonal matrix, by SVD, or by eigenvectors where that fails.

    Parameters
    ----------
    G : ndarray of shape (n, n)
        Square matrix.

    Returns
    -------
    factor : ndarray of shape (n, n)
        Orthogonal polar factor.
    """
    try:
        U, _, Vt = np.linalg.svd(G)
        return U @ Vt
    except np.linalg.LinAlgError:
        values, V = np.linalg.eigh(G.T @ G)
        floor = np.finfo(G.dtype).eps * max(values[-1], np.finfo(G.dtype).tiny)
        return (G @ V / np.sqrt(np.maximum(values, floor))) @ V.T


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
        ``"kurtosis"`` takes :math:`\pm(\|Z\|_4^4 - 3 \sum \mathrm{E}[z^2]^2)`, whose
        fixed points include sub-Gaussian sources; it asks for white samples.
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
    with _threads_for(X):
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


def learn_complete_dictionary(
    X: Array,
    n_components: int | None = None,
    *,
    whiten: bool | str = "auto",
    refine: bool = True,
    power: int = 3,
    objective: str = "lp",
    max_iter: int = 200,
    tol: float = 1e-6,
    init: Array | None = None,
    generator: np.random.Generator | None = None,
    callback: Callable[[int, float], Any] | None = None,
) -> SolverResult:
    r"""Learn a dictionary with as many atoms as the samples have dimensions.

    Samples are projected on their leading principal directions if they do not fill
    the space or fewer atoms are asked for. If the dictionary need not be orthogonal
    they are then preconditioned by the inverse root of their second moment, after which
    a complete dictionary is nearly orthogonal; :func:`maximize_sparsity` finds it, and
    alternating between thresholded codes and atoms removes the bias of the norm and of
    the preconditioner.

    Parameters
    ----------
    X : ndarray of shape (n_samples, n_features)
        Samples. They are not centred.
    n_components : int, default=None
        Number of atoms; None is the rank of `X`. More than the rank is cut to it.
    whiten : bool or "auto", default="auto"
        Whether to learn a general dictionary by preconditioning. If False the atoms
        are orthonormal. ``"auto"`` preconditions unless some kept direction has less
        than 1e-5 of the second moment of the strongest one: those are mostly noise,
        which preconditioning would blow up.
    refine : bool, default=True
        Whether to refine by thresholding. Kept only if the codes get sparser.
    power : {3, 4}, default=3
        As in :func:`maximize_sparsity`.
    objective : {"lp", "kurtosis"}, default="lp"
        As in :func:`maximize_sparsity`; ``"kurtosis"`` goes with ``whiten=True``.
    max_iter : int, default=200
        Most iterations of the maximisation, and at most that many, or 60, of the
        refinement.
    tol : float, default=1e-6
        As in :func:`maximize_sparsity`.
    init : ndarray of shape (n_components, n_features), default=None
        Atoms to start from; None draws a rotation uniformly.
    generator : numpy.random.Generator, default=None
        Source of the start; None is ``numpy.random.default_rng(0)``.
    callback : callable, default=None
        Called as ``callback(iteration, objective)``; stops the loop if it returns True.

    Returns
    -------
    result : SolverResult
        The solution is a dictionary with ``components``, an ndarray of shape
        (n_components, n_features) of unit atoms by decreasing energy of their codes;
        ``rank``, of the samples; and ``excess_kurtosis``, the mean over atoms of the
        excess kurtosis of the codes, which is near 0 for samples that look Gaussian.

    Raises
    ------
    ValueError
        If `init` does not have one row per atom.

    Notes
    -----
    Costs O(nd²) per iteration, plus O(d³). The threshold of the refinement follows the
    noise, estimated from the small codes of each atom.

    References
    ----------
    .. [1] Zhai, Yang, Liao, Wright, Ma (2020). Complete dictionary learning via
       ℓ4-norm maximization over the orthogonal group. JMLR 21.
    .. [2] Sun, Qu, Wright (2017). Complete dictionary recovery over the sphere. IEEE
       Transactions on Information Theory 63.
    """
    with _threads_for(X):
        basis, values, rank = _principal_directions(X, n_components)
        flat = X @ basis  # (n, k)
        if whiten == "auto":
            whiten = bool(values[-1] >= _NOISE_FLOOR * values[0])
        roots = np.sqrt(values) if whiten else np.ones_like(values)
        start = None
        if init is not None:
            if np.shape(init) != (len(values), X.shape[1]):
                raise ValueError(
                    f"init has shape {np.shape(init)}; X of rank {rank} takes one row "
                    f"for each of {len(values)} atoms and {X.shape[1]} columns."
                )
            start = polar_factor((np.asarray(init, X.dtype) @ basis) / roots)
        result = maximize_sparsity(
            flat / roots,
            power=power,
            objective=objective,
            max_iter=max_iter,
            tol=tol,
            init=start,
            generator=generator,
            callback=callback,
        )
        atoms = unit_rows(result.solution * roots)
        if refine:
            improve = refine_complete if whiten else refine_orthogonal
            atoms = improve(flat, atoms, max_iter=max_iter, tol=tol)
        codes = flat @ np.linalg.pinv(atoms)
        components = order_atoms(atoms @ basis.T, np.mean(codes * codes, axis=0))
    solution = {
        "components": components,
        "rank": rank,
        "excess_kurtosis": _excess_kurtosis(codes),
    }
    return SolverResult(
        solution,
        n_iter=result.n_iter,
        converged=result.converged,
        objective=result.objective,
    )


def _stretch(X: Array, A: Array, power: int, objective: str) -> tuple[Array, float]:
    """Gradient of the objective with respect to A, per sample, and its value."""
    n_samples = len(X)
    Z = X @ A.T  # (n, d)
    if objective == "kurtosis":
        variance = np.mean(Z * Z, axis=0)
        G = (Z**3).T @ X / n_samples - 3 * variance[:, None] * A
        return G, float(np.sum(np.mean(Z**4, axis=0) - 3 * variance**2))
    stretched = Z * np.abs(Z) if power == 3 else Z * Z * Z
    value = float(np.vdot(stretched, Z)) / (power * n_samples)
    return stretched.T @ X / n_samples, value


def _threads_for(X: Array) -> contextlib.AbstractContextManager[None]:
    """Keep BLAS to one thread where a product is too small for two."""
    is_small = X.shape[0] * X.shape[1] ** 2 < SMALL_WORK
    return serial_blas() if is_small else contextlib.nullcontext()


def _principal_directions(
    X: Array, n_components: int | None
) -> tuple[Array, Array, int]:
    """Leading eigenvectors of the second moment, its eigenvalues, and its rank."""
    moment = np.asarray(X.T @ X, dtype=np.float64) / X.shape[0]
    values, vectors = np.linalg.eigh(moment)
    values, vectors = values[::-1], vectors[:, ::-1]
    floor = max(_RANK_FLOOR, 10 * float(np.finfo(X.dtype).eps)) * values[0]
    rank = max(1, int(np.sum(values > floor)))
    k = rank if n_components is None else min(n_components, rank)
    kept = np.maximum(values[:k], np.finfo(X.dtype).tiny)
    if values[0] <= 0:
        kept = np.ones_like(kept)
    basis = vectors[:, :k].astype(X.dtype)
    return basis, kept.astype(X.dtype), rank


def _excess_kurtosis(codes: Array) -> float:
    variance = np.mean(codes * codes, axis=0)
    used = variance > 0
    if not used.any():
        return 0.0
    unit = codes[:, used] / np.sqrt(variance[used])
    return float(np.mean(unit**4) - 3.0)


def _change(A: Array, previous: Array) -> float:
    """Distance between two rotations whose rows may have changed sign."""
    signs = np.sign(np.einsum("ij,ij->i", A, previous))
    return float(np.linalg.norm(A - np.where(signs < 0, -1, 1)[:, None] * previous))
