"""Codes of few coefficients a row, in padded form, and what they leave."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sklearn_whitebox.solvers._l0_kernels import residuals
from sklearn_whitebox.solvers._omp import omp_encode

Array = NDArray[np.floating]
Places = NDArray[np.int32]


@dataclass(frozen=True)
class Coding:
    """A dictionary, the codes of the samples on it and what they leave.

    Parameters
    ----------
    D : ndarray of shape (n_components, n_features)
        Unit atoms.
    support : ndarray of shape (n_samples, n_nonzero_coefs)
        Atoms of each sample; -1 where there is none.
    codes : ndarray of shape (n_samples, n_nonzero_coefs)
        Their coefficients.
    R : ndarray of shape (n_samples, n_features)
        Residuals.
    errors : ndarray of shape (n_samples,)
        Their squared norms.
    """

    D: Array
    support: Places
    codes: Array
    R: Array
    errors: Array

    @property
    def objective(self) -> float:
        """Half the mean squared residual."""
        return 0.5 * float(np.mean(self.errors))

    def used(self) -> NDArray[np.int64]:
        """Count the samples that use each atom.

        Returns
        -------
        counts : ndarray of shape (n_components,)
            Non-zero coefficients of each atom.
        """
        held = (self.support >= 0) & (self.codes != 0)
        return np.bincount(self.support[held], minlength=len(self.D))

    def energies(self) -> NDArray[Any]:
        """Sum the squared coefficients of each atom.

        Returns
        -------
        energies : ndarray of shape (n_components,)
            In squared units of the samples.
        """
        held = self.support >= 0
        return np.bincount(
            self.support[held], self.codes[held] ** 2, minlength=len(self.D)
        )


@dataclass(frozen=True)
class Encoder:
    """How samples are coded.

    Parameters
    ----------
    X : ndarray of shape (n_samples, n_features)
        Samples.
    n_nonzero_coefs : int
        Most coefficients a sample.
    positive : bool
        Whether they must not be negative.
    n_jobs : int or None
        Threads.
    """

    X: Array
    n_nonzero_coefs: int
    positive: bool
    n_jobs: int | None

    def encode(self, D: Array) -> Coding:
        """Code all samples anew.

        Parameters
        ----------
        D : ndarray of shape (n_components, n_features)
            Unit atoms.

        Returns
        -------
        coding : Coding
            With arrays of its own.
        """
        matrix = omp_encode(
            self.X,
            D,
            n_nonzero_coefs=self.n_nonzero_coefs,
            positive=self.positive,
            n_jobs=self.n_jobs,
        )
        counts = np.diff(matrix.indptr)
        rows = np.repeat(np.arange(len(counts)), counts)
        slots = np.arange(matrix.nnz) - matrix.indptr[rows]
        support = np.full((len(counts), self.n_nonzero_coefs), -1, np.int32)
        codes = np.zeros(support.shape, self.X.dtype)
        support[rows, slots] = matrix.indices
        codes[rows, slots] = matrix.data
        return self.with_residuals(D.copy(), support, codes)

    def with_residuals(self, D: Array, support: Places, codes: Array) -> Coding:
        """Complete codes by their residuals.

        Parameters
        ----------
        D, support, codes : ndarray
            As in :class:`Coding`, which keeps them.

        Returns
        -------
        coding : Coding
            With residuals computed afresh.
        """
        R, errors = np.empty_like(self.X), np.empty(len(self.X))
        residuals(self.X, support, codes, D, R, errors)
        return Coding(D, support, codes, R, errors)

    def improve(self, coding: Coding) -> Coding:
        """Code all samples anew, but keep old codes that have less error.

        Parameters
        ----------
        coding : Coding
            Codes before.

        Returns
        -------
        coding : Coding
            With arrays of its own.
        """
        fresh = self.encode(coding.D)
        worse = fresh.errors > coding.errors
        for new, old in zip(_by_row(fresh), _by_row(coding), strict=True):
            new[worse] = old[worse]
        return fresh


def _by_row(coding: Coding) -> tuple[Any, ...]:
    return coding.support, coding.codes, coding.R, coding.errors
