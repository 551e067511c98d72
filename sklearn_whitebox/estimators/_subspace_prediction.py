"""Assign new samples to the clusters of a graph."""

from dataclasses import dataclass

import numpy as np
from scipy import linalg

from sklearn_whitebox.solvers._incremental_coding import ClassCoder, class_moments
from sklearn_whitebox.solvers._subspaces import (
    leading_directions,
    principal_spectra,
    subspace_residuals,
)

# Shares of the squared norm that subspaces may hold, in the order of preference.
ENERGIES = (0.95, 0.98, 0.9, 0.8)

# Training samples on which rules are compared.
_TRIAL_SIZE = 3000

# Agreement by which a further share of the norm has to improve on those before it.
_STEP = 0.005

# Agreement by which codes have to beat the subspaces, which are smaller and faster.
_MARGIN = 0.02

_BLOCK_BYTES = 2**25

# A sample that equals a neighbour counts as this near to it, for a finite weight.
_CLOSEST = 1e-12


@dataclass
class Rule:
    """How new samples are assigned, and how far that agrees with the graph.

    Parameters
    ----------
    name : {"subspace", "representation", "coding_length"}
        The rule.
    energy : float
        Share of the squared norm that the subspaces hold.
    agreement : float
        Share of held-out training samples that get the label of the graph; nan if
        there were too few to tell.
    """

    name: str
    energy: float
    agreement: float


def choose_rule(
    X, rows, labels, n_clusters, *, method, name, subspace_dim, code, distortion
):
    """Choose a rule by its agreement with the labels of held-out training samples.

    Parameters
    ----------
    X, rows : ndarray of shape (n_samples, n_features)
        Training samples in random order, in their own scale and prepared.
    labels : ndarray of shape (n_samples,)
        Clusters.
    n_clusters : int
        Their number.
    method : str
        Method of the graph.
    name : str
        A rule, or "auto".
    subspace_dim : int or None
        Dimension of the subspaces; None chooses it, too.
    code : callable
        Makes a :class:`CodeBook` of samples and labels.
    distortion : float
        For "coding_length".

    Returns
    -------
    rule : Rule
        The rule.
    """
    if method == "kmeans" and name == "auto":
        return Rule("representation", ENERGIES[0], np.nan)
    size = min(len(rows), _TRIAL_SIZE)
    learn, held = np.arange(size // 2), np.arange(size // 2, size)
    # Clusters too small to be split have no say.
    known = np.bincount(labels[learn], minlength=n_clusters) >= 2
    held = held[known[labels[held]]]
    if not len(held):
        local = name == "auto" and "neighbors" in method
        fallback = "representation" if local else "subspace"
        return Rule(fallback if name == "auto" else name, ENERGIES[0], np.nan)
    truth = labels[held]
    best = Rule("subspace", ENERGIES[0], -1.0)
    spectra = principal_spectra(rows[learn], labels[learn], n_clusters)
    for energy in ENERGIES if subspace_dim is None else ENERGIES[:1]:
        bases = [
            leading_directions(*spectrum, dim=subspace_dim, energy=energy)
            for spectrum in spectra
        ]
        found = np.argmin(subspace_residuals(rows[held], bases), axis=1)
        agreement = float(np.mean(found == truth))
        if agreement > best.agreement + _STEP:
            best = Rule("subspace", energy, agreement)
    if name in ("auto", "representation"):
        votes = code(X[learn], rows[learn], labels[learn]).votes(X[held], rows[held])
        agreement = float(np.mean(np.argmax(votes, axis=1) == truth))
        if name == "representation" or agreement > best.agreement + _MARGIN:
            best = Rule("representation", best.energy, agreement)
    elif name == "coding_length":
        moments = [
            class_moments(rows[learn][labels[learn] == k]) for k in range(n_clusters)
        ]
        found = np.argmin(coding_costs(rows[held], moments, distortion), axis=1)
        best = Rule(name, best.energy, float(np.mean(found == truth)))
    return best


def coding_costs(rows, moments, distortion):
    """Length that each sample adds to the code of each cluster, its label included.

    Parameters
    ----------
    rows : ndarray of shape (n_samples, n_features)
        Samples.
    moments : list of tuple
        What :func:`class_moments` returns, for each cluster.
    distortion : float
        Allowed mean squared error per sample.

    Returns
    -------
    costs : ndarray of shape (n_samples, n_clusters)
        In nats.
    """
    total = sum(count for count, _, _ in moments)
    return np.stack(
        [
            ClassCoder(rows, *moment).increments(distortion)
            - np.log(max(moment[0], 1) / total)
            for moment in moments
        ],
        axis=1,
    )


class CodeBook:
    """Code new samples by training samples and let the coefficients vote.

    Ridge regression and near neighbours code new samples as they coded those of the
    fit; for all other methods the samples at the smallest angles vote.

    Parameters
    ----------
    parts : list of tuple
        Kind of code and the arrays it needs.
    labels : ndarray of shape (n_samples,)
        Clusters of the training samples.
    n_clusters : int
        Number of clusters.
    n_neighbors : int
        Coefficients of a code.
    """

    def __init__(self, parts, labels, n_clusters, n_neighbors):
        self.parts, self.labels = parts, labels
        self.n_clusters, self.n_neighbors = n_clusters, n_neighbors

    @classmethod
    def learn(cls, method, X, rows, labels, n_clusters, *, n_neighbors, alpha):
        """Prepare the codes by training samples.

        Parameters
        ----------
        method : str
            The method of the graph.
        X, rows : ndarray of shape (n_samples, n_features)
            Training samples in their own scale and prepared.
        labels : ndarray of shape (n_samples,)
            Their clusters.
        n_clusters : int
            Number of clusters.
        n_neighbors : int
            Coefficients of a code.
        alpha : float or None
            Of the ridge regression; None takes half the mean eigenvalue.

        Returns
        -------
        book : CodeBook
            Ready to vote.
        """
        if method == "kmeans":
            # Few distinct samples: a new one equals one of them.
            method, n_neighbors = "neighbors", 1
        parts = []
        for part in method.split("+"):
            if part == "neighbors":
                peak = float(np.abs(X - X[0]).max()) or 1.0
                points = (X - X[0]) / peak
                squares = np.einsum("ij,ij->i", points, points)
                parts.append(("neighbors", X[0], peak, points, squares))
            elif part == "ridge":
                parts.append(("products", _ridge_directions(rows, alpha)))
            else:
                norms = np.linalg.norm(rows, axis=1, keepdims=True)
                parts.append(("products", rows / np.where(norms > 0, norms, 1)))
        return cls(parts, labels, n_clusters, min(n_neighbors, len(rows)))

    def state(self):
        """Return what :meth:`__init__` takes, plain arrays and numbers."""
        return self.parts, self.labels, self.n_clusters, self.n_neighbors

    def votes(self, X, rows):
        """Sum the coefficients of each new sample over the clusters.

        Parameters
        ----------
        X, rows : ndarray of shape (n_new, n_features)
            New samples, in their own scale and prepared.

        Returns
        -------
        votes : ndarray of shape (n_new, n_clusters)
            Non-negative; zero rows for samples orthogonal to all.
        """
        votes = np.zeros((len(rows), self.n_clusters))
        step = max(1, _BLOCK_BYTES // (rows.itemsize * max(1, len(self.labels))))
        for start in range(0, len(rows), step):
            block = slice(start, start + step)
            for part in self.parts:
                columns, weights = self._code(part, X[block], rows[block])
                peaks = weights.max(axis=1, keepdims=True)
                weights = weights / np.where(peaks > 0, peaks, 1)
                cells = self.labels[columns].astype(np.int64)
                cells += self.n_clusters * np.arange(len(columns))[:, None]
                votes[block] += np.bincount(
                    cells.ravel(),
                    weights.ravel(),
                    minlength=len(columns) * self.n_clusters,
                ).reshape(-1, self.n_clusters)
        return votes

    def _code(self, part, X, rows):
        if part[0] == "products":
            return self._largest(
                np.abs(rows @ part[1].T.astype(rows.dtype, copy=False))
            )
        _, origin, peak, points, squares = part
        new = (X - origin) / peak
        columns, heights = self._largest(2 * new @ points.T - squares)
        own = np.einsum("ij,ij->i", new, new)
        gaps = np.maximum(own[:, None] - heights, 0)
        last = np.maximum(gaps.max(axis=1, keepdims=True), _CLOSEST)
        return columns, np.exp(-gaps / last)

    def _largest(self, scores):
        first = scores.shape[1] - self.n_neighbors
        columns = np.argpartition(scores, first, axis=1)[:, first:]
        return columns, np.take_along_axis(scores, columns, axis=1)


def _ridge_directions(rows, alpha):
    """Rows whose products with a new sample are its ridge coefficients."""
    wide = rows.astype(np.float64)
    by_samples = len(rows) < rows.shape[1]
    gram = wide @ wide.T if by_samples else wide.T @ wide
    if alpha is None:
        alpha = np.trace(gram) / (2 * rows.shape[1]) or 1.0
    gram.flat[:: len(gram) + 1] += alpha
    # Both sides of R (R'R + aI)^-1 = (RR' + aI)^-1 R; the smaller is factored.
    factor = linalg.cho_factor(gram)
    if by_samples:
        solved = linalg.cho_solve(factor, wide)
    else:
        solved = linalg.cho_solve(factor, wide.T).T
    return np.ascontiguousarray(solved, rows.dtype)
