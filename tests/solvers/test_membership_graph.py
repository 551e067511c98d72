import numpy as np
import pytest
import torch

from sklearn_whitebox.functional import sinkhorn
from sklearn_whitebox.solvers import (
    _membership_graph,
    cosine_neighbors,
    membership_affinity,
    membership_potential,
)


@pytest.fixture
def C(rng):
    rows = torch.from_numpy(rng.normal(size=(50, 4)))
    return rows / rows.norm(dim=1, keepdim=True)


@pytest.mark.parametrize("temperature", [1e-3, 0.1, 2.0])
def test_potential_is_that_of_the_whole_matrix(C, temperature):
    a = membership_potential(C, temperature=temperature, tol=1e-10)
    logits = ((C @ C.mT).abs() - 1) / temperature
    plan = sinkhorn((C @ C.mT).abs(), temperature=temperature, tol=1e-10)
    torch.testing.assert_close(
        torch.exp(logits + a[:, None] + a), plan, atol=1e-9, rtol=0
    )


def test_blocks_do_not_matter(C, monkeypatch):
    whole = membership_affinity(C, C.flip(1), temperature=0.1, n_neighbors=7)
    monkeypatch.setattr(_membership_graph, "BLOCK", 8)
    pieces = membership_affinity(C, C.flip(1), temperature=0.1, n_neighbors=7)
    np.testing.assert_allclose(pieces.toarray(), whole.toarray(), rtol=1e-9)


@pytest.mark.parametrize("n_neighbors", [1, 6, 100])
def test_neighbors_have_the_largest_cosines(C, n_neighbors):
    graph = cosine_neighbors(C, n_neighbors).toarray()
    cosines = (C @ C.mT).abs().numpy()
    np.fill_diagonal(cosines, -1)
    kept = min(n_neighbors, 49)
    expected = np.sort(cosines, axis=1)[:, -kept:]
    np.testing.assert_allclose(np.sort(graph, axis=1)[:, -kept:], expected)
    assert ((graph > 0).sum(1) == kept).all()
    assert not np.diag(graph).any()


def test_edges_are_weighted_by_memberships(C, rng):
    other = torch.from_numpy(rng.normal(size=(50, 4)))
    other = other / other.norm(dim=1, keepdim=True)
    graph = membership_affinity(C, other, temperature=0.3, n_neighbors=5).toarray()
    uniform = membership_affinity(C, other, temperature=1e9, n_neighbors=5).toarray()
    np.testing.assert_allclose(graph, graph.T)
    inside = uniform > 0
    np.testing.assert_array_equal(inside, graph > 0)
    plan = sinkhorn((other @ other.mT).abs(), temperature=0.3, tol=1e-8).numpy()
    ratio = (graph[inside] / uniform[inside]) / plan[inside]
    np.testing.assert_allclose(ratio, ratio[0], rtol=5e-3)


@pytest.mark.parametrize("n_samples", [1, 2])
def test_tiny_graphs(C, n_samples):
    graph = membership_affinity(C[:n_samples], C[:n_samples], temperature=0.1)
    assert graph.shape == (n_samples, n_samples)
    assert graph.nnz == n_samples * (n_samples - 1)


def test_cold_memberships_keep_all_edges(C):
    graph = membership_affinity(C, C, temperature=1e-6, n_neighbors=5)
    assert np.isfinite(graph.data).all()
    assert (graph.data > 0).all()
