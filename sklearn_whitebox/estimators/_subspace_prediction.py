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
    enough = np.bincount(labels[learn], minlength=n_clusters).min(initial=2) >= 2
    if not enough or not len(held):
        return Rule("subspace" if name == "auto" else name, ENERGIES[0], np.nan)
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
        moments = [class_moments(rows[learn][labels[learn] == k]) for k in
                   range(n_clusters)]  # fmt: skip
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

    Parameters
    ----------
    method : str
        The method of the graph: codes of new samples are of the same kind.
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
    """

    def __init__(self, method, X, rows, labels, n_clusters, n_neighbors, alpha=None):
        self.n_clusters, self.labels = n_clusters, labels
        if method == "kmeans":
            # Few distinct samples: a new one equals one of them.
            method, n_neighbors = "neighbors", 1
        self.parts = [_PARTS.get(part, _Angles) for part in method.split("+")]
        self.parts = [
            part(X, rows, min(n_neighbors, len(rows)), alpha) for part in self.parts
        ]

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
        members = np.eye(self.n_clusters)[self.labels]
        for start in range(0, len(rows), step):
            block = slice(start, start + step)
            for part in self.parts:
                columns, weights = part.code(X[block], rows[block])
                peaks = weights.max(axis=1, keepdims=True)
                weights = weights / np.where(peaks > 0, peaks, 1)
                votes[block] += np.einsum("iq,iqk->ik", weights, members[columns])
        return votes


class _Ridge:
    def __init__(self, X, rows, n_neighbors, alpha):
        self.rows, self.n_neighbors = rows, n_neighbors
        wide = rows.astype(np.float64)
        self.by_samples = len(rows) < rows.shape[1]
        gram = wide @ wide.T if self.by_samples else wide.T @ wide
        if alpha is None:
            alpha = np.trace(gram) / (2 * rows.shape[1]) or 1.0
        gram.flat[:: len(gram) + 1] += alpha
        self.factor = linalg.cho_factor(gram)

    def code(self, X, rows):
        # Both sides of (R'R + aI)^-1 R' = R' (RR' + aI)^-1; the smaller is factored.
        known = rows @ self.rows.T if self.by_samples else rows
        solved = linalg.cho_solve(self.factor, known.T.astype(np.float64)).T
        solved = solved.astype(rows.dtype)
        weights = solved if self.by_samples else solved @ self.rows.T
        return _largest(np.abs(weights), self)


class _Angles:
    def __init__(self, X, rows, n_neighbors, alpha):
        self.rows, self.n_neighbors = rows, n_neighbors

    def code(self, X, rows):
        return _largest(np.abs(rows @ self.rows.T), self)


class _Neighbors:
    def __init__(self, X, rows, n_neighbors, alpha):
        self.X, self.n_neighbors = X, n_neighbors
        self.origin = X[0]
        self.peak = float(np.abs(X - X[0]).max()) or 1.0
        self.points = (X - X[0]) / self.peak
        self.squares = np.einsum("ij,ij->i", self.points, self.points)

    def code(self, X, rows):
        new = (X - self.origin) / self.peak
        heights = 2 * new @ self.points.T - self.squares
        columns, heights = _largest(heights, self)
        own = np.einsum("ij,ij->i", new, new)
        gaps = np.maximum(own[:, None] - heights, 0)
        last = np.maximum(gaps.max(axis=1, keepdims=True), _CLOSEST)
        return columns, np.exp(-gaps / last)


_PARTS = {"ridge": _Ridge, "neighbors": _Neighbors}


def _largest(scores, part):
    first = scores.shape[1] - part.n_neighbors
    columns = np.argpartition(scores, first, axis=1)[:, first:]
    return columns, np.take_along_axis(scores, columns, axis=1)
