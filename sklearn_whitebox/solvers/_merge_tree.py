"""The order in which clusters were joined."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.floating]
Indices = NDArray[np.int64]


@dataclass(frozen=True)
class MergeTree:
    """The order in which clusters were joined, and what each step cost.

    Parameters
    ----------
    children : ndarray of shape (n_merges, 2)
        Nodes joined at each step. Nodes below `n_leaves` are leaves; step t makes node
        ``n_leaves + t``.
    costs : ndarray of shape (n_merges,)
        Change of the coding length by each step, in nats.
    n_leaves : int
        Clusters at the start.
    length : float
        Coding length at the start, in nats.
    n_allowed : int, default=None
        Steps that the connectivity constraint allows; None means all.
    n_forced : int, default=0
        Steps that were made without regard to their cost, to get fragments.
    """

    children: Indices
    costs: Array
    n_leaves: int
    length: float
    n_allowed: int | None = None
    n_forced: int = 0

    @property
    def lengths(self) -> Array:
        """Coding length before the first step and after each, in nats."""
        lengths: Array = self.length + np.concatenate([[0.0], np.cumsum(self.costs)])
        return lengths

    def best_step(self) -> int:
        """Find where the code is no longer shortened.

        Returns
        -------
        n_merges : int
            Steps before the first that is not forced and lengthens the code.
        """
        costs = self.costs[: self.n_allowed]
        worse = self.n_forced + np.flatnonzero(costs[self.n_forced :] >= 0)
        return int(worse[0]) if len(worse) else len(costs)

    def labels(self, n_merges: int) -> Indices:
        """Name the clusters of the leaves after some steps.

        Parameters
        ----------
        n_merges : int
            Steps made.

        Returns
        -------
        labels : ndarray of shape (n_leaves,)
            Numbered by first appearance.
        """
        parent = np.arange(self.n_leaves + n_merges)
        for t in range(n_merges):
            parent[self.children[t]] = self.n_leaves + t
        # Parents have larger numbers than children.
        for node in range(len(parent) - 1, -1, -1):
            parent[node] = parent[parent[node]]
        _, first, inverse = np.unique(
            parent[: self.n_leaves], return_index=True, return_inverse=True
        )
        labels: Indices = np.argsort(np.argsort(first))[inverse]
        return labels

    def sizes(self) -> Indices:
        """Count the leaves of the node that each step made.

        Returns
        -------
        sizes : ndarray of shape (n_merges,)
            At least two.
        """
        n_merges = len(self.children)
        sizes = np.ones(self.n_leaves + n_merges, np.int64)
        for t, (a, b) in enumerate(self.children):
            sizes[self.n_leaves + t] = sizes[a] + sizes[b]
        return sizes[self.n_leaves :]

    def count_large(self, min_size: int) -> Indices:
        """Count clusters of some size, before the first step and after each.

        Parameters
        ----------
        min_size : int
            Leaves that a cluster needs to count.

        Returns
        -------
        counts : ndarray of shape (n_merges + 1,)
            Clusters of that size.
        """
        sizes = np.concatenate([np.ones(self.n_leaves, np.int64), self.sizes()])
        large = sizes >= min_size
        change = large[self.n_leaves :].astype(np.int64)
        change -= large[self.children].sum(axis=1)
        start = self.n_leaves if min_size == 1 else 0
        counts: Indices = start + np.concatenate([[0], np.cumsum(change)])
        return counts

    def heights(self) -> tuple[Array, float]:
        """Return non-negative heights that rise along the tree, for dendrograms.

        Returns
        -------
        heights : ndarray of shape (n_merges,)
            The highest of a step's own cost and those of the steps below it, per sample
            of the smaller side, less the least of all heights.
        zero : float
            Height of a step that neither shortens nor lengthens the code. The tree cut
            there has the clusters of :meth:`best_step`.
        """
        if len(self.costs) == 0:
            return np.empty(0), 0.0
        sizes = np.concatenate([np.ones(self.n_leaves), self.sizes()])
        rates = self.costs / sizes[self.children].min(axis=1)
        # Forced steps say nothing about what is worth joining.
        rates[: self.n_forced] = min(rates.min(), 0.0)
        heights = np.concatenate([np.full(self.n_leaves, -np.inf), rates])
        for t, (a, b) in enumerate(self.children):
            node = self.n_leaves + t
            heights[node] = max(heights[node], heights[a], heights[b])
        lowest = heights[self.n_leaves :].min()
        return heights[self.n_leaves :] - lowest, float(-lowest)


def extended_tree(
    before: MergeTree,
    children: list[list[int]],
    costs: list[float],
    n_allowed: int | None = None,
) -> MergeTree:
    """Append steps to a tree.

    Parameters
    ----------
    before : MergeTree
        Earlier steps.
    children : list of pairs of int
        Nodes joined at each further step.
    costs : list of float
        Their costs.
    n_allowed : int, default=None
        Steps that the constraint allows; None keeps what `before` says.

    Returns
    -------
    tree : MergeTree
        All steps.
    """
    return MergeTree(
        np.concatenate([before.children, np.array(children, np.int64).reshape(-1, 2)]),
        np.concatenate([before.costs, np.array(costs, np.float64)]),
        before.n_leaves,
        before.length,
        before.n_allowed if n_allowed is None else n_allowed,
        before.n_forced,
    )
