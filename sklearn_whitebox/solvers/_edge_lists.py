"""The edges between clusters, in lists that can be joined."""

import numpy as np
from numba import njit
from numpy.typing import NDArray
from scipy import sparse

from sklearn_whitebox.solvers._coding_clusters import CodedClusters

Indices = NDArray[np.int64]


class EdgeLists:
    """Edges in doubly linked lists, so that joining two nodes costs their degrees.

    Edge e consists of the halves 2e and 2e + 1, each in the list of its own end and
    pointing to the other; no half is ever made anew.

    Parameters
    ----------
    graph : csr_array of shape (n_clusters, n_clusters)
        Neighbours, made symmetric.
    clusters : CodedClusters
        The nodes.
    growth : float
        Growth of a cluster at which all its edges are priced anew; 1 always does.
    """

    def __init__(
        self, graph: sparse.csr_array, clusters: CodedClusters, growth: float
    ) -> None:
        n_nodes = len(clusters)
        self._growth = growth
        self._priced_counts = clusters.counts.copy()
        pattern = sparse.coo_array(abs(graph) + abs(graph).T)
        first, second = pattern.coords
        upper = (first < second) & (pattern.data != 0)
        order = np.lexsort((second[upper], first[upper]))
        first = first[upper][order].astype(np.int64)
        second = second[upper][order].astype(np.int64)
        self.target = np.empty(2 * len(first), np.int64)
        self.target[0::2], self.target[1::2] = second, first
        self.following = np.full(2 * len(first), -1, np.int64)
        self.preceding = np.full(2 * len(first), -1, np.int64)
        self.head = np.full(n_nodes, -1, np.int64)
        _link(self.target, self.head, self.following, self.preceding)
        self.costs = np.empty(2 * len(first))
        bounds = np.searchsorted(first, np.arange(n_nodes + 1))
        for k in np.unique(first):
            own = slice(bounds[k], bounds[k + 1])
            costs = clusters.merge_costs(int(k), second[own])
            self.costs[2 * own.start : 2 * own.stop] = np.repeat(costs, 2)
        self.best = np.empty(n_nodes)
        self.partner = np.empty(n_nodes, np.int64)
        self._marks = np.full(n_nodes, -1, np.int64)
        self.stale = np.zeros(n_nodes, np.bool_)
        for k in range(n_nodes):
            self._scan(k)

    def cheapest(self, clusters: CodedClusters) -> tuple[int, int, float]:
        """Return the nodes of the cheapest edge of all, and its cost."""
        while True:
            i = int(np.argmin(self.best))
            if self.stale[i]:
                self._scan(i)
                continue
            j = int(self.partner[i])
            cost = float(self.best[i])
            if self._growth > 1 and cost < np.inf:
                cost = float(clusters.merge_costs(i, np.array([j]))[0])
                if cost >= 0 > self.best[i]:
                    # The price was old.
                    for k in (i, j):
                        self._price(k, k, self._halves(k), clusters)
                    continue
            return min(i, j), max(i, j), cost

    def _scan(self, k: int) -> None:
        _scan_list(
            k,
            self.head,
            self.following,
            self.target,
            self.costs,
            self.best,
            self.partner,
            self.stale,
        )

    def merge(self, i: int, j: int, clusters: CodedClusters) -> None:
        """Give the edges of `j` to `i`, and price them, and all of `i` if it grew."""
        n_new = _join_lists(
            i,
            j,
            self.head,
            self.following,
            self.preceding,
            self.target,
            self.partner,
            self.stale,
            self._marks,
        )
        self.best[j] = np.inf
        self.partner[j], self.stale[j] = -1, False
        grown = clusters.counts[i] >= self._growth * self._priced_counts[i]
        if grown:
            self._priced_counts[i] = clusters.counts[i]
        # New halves are first in the list.
        halves = self._halves(i, -1 if grown else n_new)
        self._price(i, j, halves, clusters)

    def _halves(self, k: int, most: int = -1) -> Indices:
        halves: Indices = _listed(k, self.head, self.following, most)
        return halves

    def _price(self, i: int, j: int, halves: Indices, clusters: CodedClusters) -> None:
        if len(halves):
            fresh = clusters.merge_costs(i, self.target[halves])
            _reprice(
                i,
                j,
                halves,
                fresh,
                self.target,
                self.costs,
                self.best,
                self.partner,
                self.stale,
            )
        self._scan(i)


@njit(nogil=True, cache=True)
def _link(target: Indices, head: Indices, following: Indices, preceding: Indices):  # type: ignore[no-untyped-def]
    for half in range(len(target)):
        _push(target[half ^ 1], half, head, following, preceding)


@njit(nogil=True, cache=True)
def _push(k, half, head, following, preceding):  # type: ignore[no-untyped-def]
    following[half] = head[k]
    preceding[half] = -1
    if head[k] >= 0:
        preceding[head[k]] = half
    head[k] = half


@njit(nogil=True, cache=True)
def _unlink(k, half, head, following, preceding):  # type: ignore[no-untyped-def]
    before, after = preceding[half], following[half]
    if before >= 0:
        following[before] = after
    else:
        head[k] = after
    if after >= 0:
        preceding[after] = before


@njit(nogil=True, cache=True)
def _join_lists(  # type: ignore[no-untyped-def]
    i, j, head, following, preceding, target, partner, stale, marks
):
    """Move the edges of j to i, drop those now double, and count those moved."""
    half = head[i]
    while half >= 0:
        marks[target[half]] = i
        half = following[half]
    n_new = 0
    half = head[j]
    while half >= 0:
        after = following[half]
        k = target[half]
        twin = half ^ 1
        if partner[k] == j:
            stale[k] = True
        if k == i or marks[k] == i:
            _unlink(k, twin, head, following, preceding)
        else:
            target[twin] = i
            _push(i, half, head, following, preceding)
            n_new += 1
        half = after
    head[j] = -1
    half = head[i]
    while half >= 0:
        marks[target[half]] = -1
        half = following[half]
    marks[j] = -1
    return n_new


@njit(nogil=True, cache=True)
def _listed(k, head, following, most):  # type: ignore[no-untyped-def]
    """List the halves of a node, or the first few."""
    n_halves = 0
    half = head[k]
    while half >= 0 and n_halves != most:
        n_halves += 1
        half = following[half]
    halves = np.empty(n_halves, np.int64)
    half = head[k]
    for t in range(n_halves):
        halves[t] = half
        half = following[half]
    return halves


@njit(nogil=True, cache=True)
def _scan_list(k, head, following, target, costs, best, partner, stale):  # type: ignore[no-untyped-def]
    least, where = np.inf, -1
    half = head[k]
    while half >= 0:
        if costs[half] < least or (costs[half] == least and target[half] < where):
            least, where = costs[half], target[half]
        half = following[half]
    best[k], partner[k], stale[k] = least, where, False


@njit(nogil=True, cache=True)
def _reprice(i, j, halves, fresh, target, costs, best, partner, stale):  # type: ignore[no-untyped-def]
    """Enter new costs; a bound that became too low is only marked."""
    for t in range(len(halves)):
        costs[halves[t]] = costs[halves[t] ^ 1] = fresh[t]
        k = target[halves[t]]
        if fresh[t] < best[k]:
            best[k], partner[k], stale[k] = fresh[t], i, False
        elif partner[k] == i or partner[k] == j:
            stale[k] = True
