"""Complete dictionary learning: rotate white samples, then threshold their codes."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sklearn_whitebox.solvers._atoms import order_atoms, unit_rows
from sklearn_whitebox.solvers._complete_search import (
    Rotated,
    atoms_of,
    refined_atoms,
    rotate,
    turned,
)
from sklearn_whitebox.solvers._result import SolverResult
from sklearn_whitebox.solvers._rotations import haar_orthogonal, polar_factor
from sklearn_whitebox.solvers._sparsity import Watch, maximize_sparsity, threads_for

__all__ = [
    "haar_orthogonal",
    "learn_complete_dictionary",
    "maximize_sparsity",
    "polar_factor",
]

# Directions with less than this share of the largest second moment are rounding,
# and with less than that, noise rather than mixtures of atoms.
_RANK_FLOOR = 1e-12
_NOISE_FLOOR = 1e-5
# Rows that moments of the codes are taken from.
_ENOUGH_ROWS = 5000
# Iterations of a search that may be in vain.
_TRIAL = 50

Array = NDArray[Any]


def learn_complete_dictionary(
    X: Array,
    n_components: int | None = None,
    *,
    whiten: bool | str = "auto",
    refine: bool = True,
    objective: str = "huber",
    power: int = 3,
    n_init: int = 1,
    max_iter: int = 200,
    tol: float = 1e-6,
    init: Array | None = None,
    generator: np.random.Generator | None = None,
    callback: Callable[[int, float], Any] | None = None,
) -> SolverResult:
    r"""Learn a dictionary with as many atoms as the samples have dimensions.

    Samples are projected on their leading principal directions if they do not fill
    the space or fewer atoms are asked for, and preconditioned by the inverse root of
    their second moment, after which a complete dictionary is nearly orthogonal. A
    rotation then makes the codes sparse, on some of the rows if there are many, and a
    refinement on all rows removes the bias of the norm and of the preconditioner by
    thresholding.

    Parameters
    ----------
    X : ndarray of shape (n_samples, n_features)
        Samples. They are not centred.
    n_components : int, default=None
        Number of atoms; None is the rank of `X`. More than the rank is cut to it.
    whiten : bool or "auto", default="auto"
        Whether to learn a general dictionary. If False the atoms are orthonormal.
        ``"auto"`` allows oblique atoms unless some kept direction has less than 1e-5
        of the second moment of the strongest one: those are mostly noise, which
        preconditioning would blow up.
    refine : bool, default=True
        Whether to refine by thresholding. Kept only if the codes get sparser; never
        done for ``"kurtosis"``, whose sources may have no small codes.
    objective : {"huber", "lp", "kurtosis"}, default="huber"
        What the rotation optimises: the Huber norm, a smooth ℓ1 norm, in steps of
        Newton type; or as in :func:`maximize_sparsity`. Where directions of noise
        forbid preconditioning, ``"lp"`` stands in for ``"huber"``; ``"kurtosis"`` goes
        with ``whiten=True``.
    power : {3, 4}, default=3
        As in :func:`maximize_sparsity`, for ``"lp"``.
    n_init : int, default=1
        Rotations to start from; the best by objective is refined.
    max_iter : int, default=200
        Most iterations of the rotations, per start on average, and at most that many,
        or 60, of the refinement.
    tol : float, default=1e-6
        The rotation stops when no atom moves by more than this, or 0.01 if a refinement
        follows; the refinement at the square of this, or at a twentieth of the standard
        error of the atoms.
    init : ndarray of shape (n_components, n_features), default=None
        Atoms to start from, once; None draws rotations uniformly.
    generator : numpy.random.Generator, default=None
        Source of the start; None is ``numpy.random.default_rng(0)``.
    callback : callable, default=None
        Called as ``callback(iteration, objective)`` at most ``max_iter * n_init``
        times, with iterations numbered through all rotations. If it returns True,
        everything stops, and atoms are returned without refinement.

    Returns
    -------
    result : SolverResult
        The solution is a dictionary with ``components``, an ndarray of shape
        (n_components, n_features) of unit atoms by decreasing energy of their codes;
        ``rank``, of the samples; ``condition``, the ratio of the largest to the
        smallest second moment along kept principal directions; ``excess_kurtosis``, the
        mean over atoms of the excess kurtosis of the codes, which is near 0 for samples
        that look Gaussian; ``density``, the share of codes that are not zero, up to
        noise; ``is_refined``, whether a refinement was kept; and ``is_exact``, whether
        the codes that should be zero vanish with it. The objective is that of the best
        start, on the rows that the rotation uses: what :func:`maximize_sparsity`
        maximises, or minus the mean Huber norm.

    Raises
    ------
    ValueError
        If `init` does not have one row per atom, an option is unknown, or `n_init` or
        `max_iter` is less than one.

    Notes
    -----
    The rotation takes 40 samples per atom, or d²/2 if that is more, in single
    precision: O(d³) to O(d⁴) per iteration. Preconditioning and each step of the
    refinement cost O(nd²). The threshold of the refinement follows the noise, estimated
    from the small codes of each atom. Without noise it finds the exact dictionary from
    about 20 samples per atom. Noise in the samples grows in the codes of oblique atoms,
    which are linear in the samples here; lasso codes suffer less.

    References
    ----------
    .. [1] Zhai, Yang, Liao, Wright, Ma (2020). Complete dictionary learning via
       ℓ4-norm maximization over the orthogonal group. JMLR 21.
    .. [2] Sun, Qu, Wright (2017). Complete dictionary recovery over the sphere. IEEE
       Transactions on Information Theory 63.
    .. [3] Hyvärinen (1999). Fast and robust fixed-point algorithms for independent
       component analysis. IEEE Transactions on Neural Networks 10.
    """
    if objective not in ("huber", "lp", "kurtosis"):
        raise ValueError(
            f"objective={objective!r} must be 'huber', 'lp' or 'kurtosis'."
        )
    if n_init < 1 or max_iter < 1:
        raise ValueError(f"{n_init=} and {max_iter=} must be at least 1.")
    n_starts = n_init if init is None else 1
    search = _Search(
        refine=refine and objective != "kurtosis",
        objective=objective,
        power=power,
        n_init=n_starts,
        max_iter=max_iter,
        tol=tol,
        init=init,
        generator=generator or np.random.default_rng(0),
        watch=Watch(max_iter * n_starts, callback),
    )
    with threads_for(X):
        X = _moderate(X)
        basis, values, rank = _principal_directions(X, n_components)
        outcome = _searched(search, X, basis, values, rank, whiten)
        solution = _described(X, basis, values, outcome)
    found = outcome.found
    return SolverResult(
        {**solution, "rank": rank},
        n_iter=len(found.objective),
        converged=found.converged,
        objective=found.objective,
    )


def _searched(
    search: "_Search",
    X: Array,
    basis: Array,
    values: Array,
    rank: int,
    whiten: bool | str,
) -> "_Outcome":
    """Decide on white samples and oblique atoms, by trial where need be."""
    is_regular = bool(values[-1] >= _NOISE_FLOOR * values[0])
    oblique = is_regular if whiten == "auto" else bool(whiten)
    is_huber = search.objective == "huber"
    n_trial = min(search.max_iter // 2, _TRIAL)
    may_try = whiten == "auto" and not is_regular and search.refine and is_huber
    if may_try and n_trial > 0:
        # Directions may be weak without being noise; then small codes vanish.
        watch = Watch(n_trial * search.n_init, search.watch)
        trial = replace(search, max_iter=n_trial, watch=watch)
        outcome = trial.run(X, basis, values, rank, white=True, oblique=True)
        if outcome.is_exact or watch.is_stopped:
            return outcome
    # Also orthogonal atoms are found faster from white samples.
    white = oblique or (is_regular and is_huber)
    return search.run(X, basis, values, rank, white=white, oblique=oblique)


def _described(
    X: Array, basis: Array, values: Array, outcome: "_Outcome"
) -> dict[str, Any]:
    """Take atoms back to the samples, and describe their codes."""
    atoms, density = outcome.atoms, outcome.density
    inverse = np.linalg.inv(atoms)
    head = X[:: max(1, len(X) // _ENOUGH_ROWS)]
    kurtosis = _excess_kurtosis(head @ (basis @ inverse).astype(X.dtype))
    components = order_atoms(atoms @ basis.T, values @ (inverse * inverse))
    return {
        "components": components.astype(X.dtype, copy=False),
        "condition": float(values[0] / values[-1]),
        "excess_kurtosis": kurtosis,
        # That of Bernoulli-Gaussian codes with the same kurtosis.
        "density": min(1.0, 3 / (3 + kurtosis)) if density is None else density,
        "is_refined": density is not None,
        "is_exact": outcome.is_exact,
    }


@dataclass(frozen=True)
class _Outcome:
    """Atoms in principal coordinates, and how they were found."""

    atoms: Array
    found: Rotated
    density: float | None
    is_exact: bool


@dataclass(frozen=True)
class _Search:
    """Settings of a search for atoms."""

    refine: bool
    objective: str
    power: int
    n_init: int
    max_iter: int
    tol: float
    init: Array | None
    generator: np.random.Generator
    watch: Watch

    def run(
        self,
        X: Array,
        basis: Array,
        values: Array,
        rank: int,
        *,
        white: bool,
        oblique: bool,
    ) -> _Outcome:
        """Rotate and refine, from white samples or from samples as they are."""
        roots = np.sqrt(values if white else np.full_like(values, values[0]))
        whitening = basis / roots
        flat = X @ whitening.astype(X.dtype)  # (n, k)
        single = flat.astype(np.float32, copy=False)
        starts = self._starts(whitening, rank)
        if white and self.objective == "huber":
            found = rotate(
                single,
                starts,
                generator=self.generator,
                refine=self.refine,
                max_iter=self.max_iter,
                tol=self.tol,
                watch=self.watch,
            )
        else:
            found = self._maximize(single, starts)
        refine = self.refine and not self.watch.is_stopped
        if refine and white:
            atoms, density, is_exact = refined_atoms(
                flat,
                single,
                found,
                roots,
                oblique=oblique,
                max_iter=self.max_iter,
                tol=self.tol**2,
                generator=self.generator,
            )
            return _Outcome(atoms, found, density, is_exact)
        atoms, density = atoms_of(found.transform, roots), None
        if not oblique:
            atoms = polar_factor(atoms)
        if refine:
            atoms, density = turned(
                single, atoms, max_iter=self.max_iter, tol=self.tol**2
            )
        return _Outcome(atoms, found, density, False)

    def _starts(self, whitening: Array, rank: int) -> list[Array]:
        """Draw rotations, or turn the atoms given into one."""
        n_features, k = whitening.shape
        if self.init is None:
            return [haar_orthogonal(k, self.generator) for _ in range(self.n_init)]
        if np.shape(self.init) != (k, n_features):
            raise ValueError(
                f"init has shape {np.shape(self.init)}; X of rank {rank} takes one row "
                f"for each of {k} atoms and {n_features} columns."
            )
        atoms = unit_rows(np.asarray(self.init, np.float64))
        return [polar_factor(atoms @ whitening)]

    def _maximize(self, X: Array, starts: list[Array]) -> Rotated:
        """Rotate by matching, stretching and projection; keep the best."""
        most = min(self.max_iter, max(1, self.watch.left // len(starts)))
        runs = []
        for start in starts:
            if self.watch.left:
                run = maximize_sparsity(
                    X,
                    init=start,
                    power=self.power,
                    objective="lp" if self.objective == "huber" else self.objective,
                    max_iter=most,
                    tol=self.tol,
                    callback=self.watch,
                )
                runs.append(run)
        best = max(runs, key=lambda run: run.objective[-1])
        transform = np.asarray(best.solution.T, dtype=np.float64)
        converged = best.converged and not self.watch.is_stopped
        return Rotated(transform, best.objective, converged)


def _moderate(X: Array) -> Array:
    """Scale samples by a power of two so that no power of them over- or underflows."""
    largest = float(max(X.max(), -X.min()))
    if largest == 0 or 1e-3 < largest < 1e3:
        return X
    return np.asarray(np.ldexp(X, -int(np.frexp(largest)[1])))


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
    kept = values[:k] if values[0] > 0 else np.ones(k)
    return vectors[:, :k], kept, rank


def _excess_kurtosis(codes: Array) -> float:
    variance = np.mean(codes * codes, axis=0)
    used = variance > 0
    if not used.any():
        return 0.0
    squares = np.square(codes[:, used]) / variance[used]
    return float(np.mean(np.square(squares)) - 3.0)
