import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from scipy import sparse
from sklearn import config_context

from sklearn_whitebox.functional import coding_length
from sklearn_whitebox.metrics import clustering_accuracy
from sklearn_whitebox.solvers import (
    _subspaces,
    affinity_from_codes,
    fit_subspaces,
    graph_components,
    merge_by_coding_length,
    pivoted_qr_labels,
    refine_by_coding_length,
    spectral_embedding,
    subspace_residuals,
)


def random_codes(rng, n, density=0.1):
    codes = np.where(rng.uniform(size=(n, n)) < density, rng.uniform(size=(n, n)), 0)
    np.fill_diagonal(codes, 0)
    return sparse.csr_array(codes)


def random_graph(rng, sizes, density=0.2):
    blocks = [affinity_from_codes(random_codes(rng, m, density)) for m in sizes]
    return sparse.csr_array(sparse.block_diag(blocks))


@pytest.mark.parametrize("rounds", [0, 1, 2])
def test_affinity_is_symmetric_and_keeps_its_edges(rng, rounds):
    codes = random_codes(rng, 60)
    affinity = affinity_from_codes(codes, shared_neighbors=rounds).toarray()
    assert_allclose(affinity, affinity.T)
    assert (affinity >= 0).all()
    assert_array_equal(np.diag(affinity), 0)
    edges = (codes + codes.T).toarray() != 0
    assert_array_equal(affinity != 0, edges)


def test_shared_neighbors_multiply_edges_by_cosines(rng):
    codes = random_codes(rng, 40)
    plain = affinity_from_codes(codes, shared_neighbors=0).toarray()
    hoods = plain + np.diag(plain.max(1))
    hoods /= np.maximum(np.linalg.norm(hoods, axis=1, keepdims=True), 1e-300)
    weighted = affinity_from_codes(codes, shared_neighbors=1).toarray()
    assert_allclose(weighted, plain * (hoods @ hoods.T), atol=1e-12)


def test_signs_and_scales_of_codes_do_not_matter(rng):
    codes = random_codes(rng, 30)
    signs = sparse.diags_array(rng.choice([-1.0, 1.0], 30) * rng.uniform(1, 9, 30))
    expected = affinity_from_codes(codes).toarray()
    assert_allclose(affinity_from_codes(signs @ codes).toarray(), expected)


def test_components_are_sorted_by_size_and_isolated_samples_apart(rng):
    graph = random_graph(rng, [10, 30], 0.5)
    graph = sparse.csr_array(sparse.block_diag([np.zeros((1, 1)), graph]))
    components, isolated = graph_components(graph)
    assert [len(c) for c in components] == [30, 10]
    assert_array_equal(components[0], np.arange(11, 41))
    assert_array_equal(isolated, [0])


@pytest.mark.parametrize("sizes", [[60], [500], [450, 60, 5]])
def test_eigenpairs_equal_those_of_the_dense_matrix(rng, sizes):
    graph = random_graph(rng, sizes, density=0.6 if min(sizes) < 60 else 0.1)
    embedding, eigenvalues = spectral_embedding(graph, 4)
    dense = graph.toarray()
    scale = 1 / np.sqrt(dense.sum(1))
    expected, vectors = np.linalg.eigh(scale[:, None] * dense * scale)
    assert_allclose(eigenvalues, expected[::-1][:10], atol=1e-8)
    assert_allclose(np.linalg.norm(embedding, axis=1), 1)
    gaps = 1 - np.minimum(expected[::-1][:10], 1)
    heated = vectors[:, ::-1][:, :10] * np.exp(-0.75 * gaps / gaps[3])
    heated /= np.linalg.norm(heated, axis=1, keepdims=True)
    assert_allclose(embedding @ embedding.T, heated @ heated.T, atol=1e-5)


def test_as_many_components_as_clusters_embed_as_points(rng):
    graph = random_graph(rng, [20, 30, 40], 0.5)
    embedding, _ = spectral_embedding(graph, 3)
    similarities = embedding @ embedding.T
    y = np.repeat([0, 1, 2], [20, 30, 40])
    assert_allclose(similarities, y[:, None] == y, atol=1e-8)


def test_dense_graphs_beyond_the_budget_are_refused(rng):
    graph = random_graph(rng, [900], 0.05)
    with config_context(working_memory=1):
        spectral_embedding(graph, 4)
        with pytest.raises(ValueError, match=r"dense graph .*n_clusters"):
            spectral_embedding(graph, 450)


def test_embedding_is_the_same_for_the_same_seed(rng):
    graph = random_graph(rng, [600], 0.05)
    first, _ = spectral_embedding(graph, 3, seed=1)
    again, _ = spectral_embedding(graph, 3, seed=1)
    assert_array_equal(first, again)


def test_pivoted_qr_finds_separate_directions(rng):
    y = np.repeat(np.arange(4), 25)
    turn = np.linalg.qr(rng.normal(size=(4, 4)))[0]
    embedding = (np.eye(4)[y] + 0.1 * rng.normal(size=(100, 4))) @ turn
    assert clustering_accuracy(y, pivoted_qr_labels(embedding, 4)) == 1


def test_subspaces_of_exact_data_are_found(rng, dtype):
    bases = [np.linalg.qr(rng.normal(size=(8, r)))[0].T for r in (1, 3)]
    X = np.vstack([rng.normal(size=(20, len(b))) @ b for b in bases]).astype(dtype)
    labels = np.repeat([0, 1], 20)
    found = fit_subspaces(X, labels, 2, energy=0.9999)
    assert [b.shape for b in found] == [(1, 8), (3, 8)]
    assert all(b.dtype == dtype for b in found)
    distances = subspace_residuals(X, found)
    assert distances.dtype == dtype
    tiny = 1e-5 if dtype == np.float32 else 1e-12
    assert (distances[np.arange(40), labels] < tiny).all()
    assert (distances[np.arange(40), 1 - labels] > 1e-3).all()


def test_dimensions_are_limited_by_request_rank_and_space(rng):
    X = rng.normal(size=(30, 4))
    labels = np.zeros(30, int)
    assert fit_subspaces(X, labels, 1, subspace_dim=2)[0].shape == (2, 4)
    assert fit_subspaces(X, labels, 1, energy=1.0)[0].shape == (3, 4)
    assert fit_subspaces(X[:1], labels[:1], 1, subspace_dim=3)[0].shape == (1, 4)
    assert fit_subspaces(0 * X, labels, 2)[1].shape == (0, 4)


def parts_of_lines(rng):
    lines = np.eye(6)[:3]
    parts = np.repeat(np.arange(12), 10)
    truth = parts % 3
    X = rng.normal(size=(120, 1)) * lines[truth] + 0.01 * rng.normal(size=(120, 6))
    return X, parts, truth


def test_merging_joins_the_parts_of_one_subspace(rng):
    X, parts, truth = parts_of_lines(rng)
    merged = merge_by_coding_length(X, parts, 3, distortion=0.01)
    assert clustering_accuracy(truth, merged) == 1


def test_each_merge_takes_the_pair_with_the_shortest_code(rng):
    X, parts, _ = parts_of_lines(rng)
    options = {"distortion": 0.05}

    def length(labels):
        sizes = np.bincount(labels)
        names = -(sizes * np.log(sizes / len(labels))).sum()
        groups = (X[labels == k] for k in range(len(sizes)))
        return names + sum(coding_length(rows, **options) for rows in groups)

    best = np.inf
    for i in range(12):
        for j in range(i):
            joined = np.where(parts == i, j, parts)
            joined = np.unique(joined, return_inverse=True)[1]
            best = min(best, length(joined))
    merged = merge_by_coding_length(X, parts, 11, **options)
    assert length(merged) == pytest.approx(best)


def test_refinement_moves_rows_to_their_subspaces(rng):
    bases = [np.linalg.qr(rng.normal(size=(9, 3)))[0].T for _ in range(2)]
    X = np.vstack([rng.normal(size=(40, 3)) @ b for b in bases])
    truth = np.repeat([0, 1], 40)
    start = np.where(rng.uniform(size=80) < 0.15, 1 - truth, truth)
    options = {"distortion": 0.01, "subspace_dim": 3}
    refined = refine_by_coding_length(X, start, 2, **options)
    assert clustering_accuracy(truth, refined) == 1
    assert_array_equal(refine_by_coding_length(X, truth, 2, **options), truth)


def test_refinement_keeps_clusters_that_are_no_subspaces(rng):
    X = rng.normal(size=(80, 9))
    start = np.repeat([0, 1], 40)
    kept = refine_by_coding_length(X, start, 2, distortion=0.01, subspace_dim=3)
    assert_array_equal(kept, start)


def test_refinement_gives_up_once_its_subspaces_grow(rng, monkeypatch):
    # The first cluster fits all of the first 15 coordinates, and so all but the exact
    # members of the planes.
    wide = np.hstack([rng.normal(size=(60, 15)), np.zeros((60, 5))])
    rows = [wide]
    for _ in range(5):
        plane = np.linalg.qr(rng.normal(size=(15, 2)))[0].T
        exact = rng.normal(size=(20, 2)) @ plane
        exact[:10] += 0.02 * rng.normal(size=(10, 15))
        rows.append(np.hstack([exact, np.zeros((20, 5))]))
    X = np.vstack(rows)
    start = np.repeat(np.arange(6), [60] + 5 * [20])
    rounds = []

    def counted(X, bases):
        rounds.append(sum(map(len, bases)))
        return subspace_residuals(X, bases)

    monkeypatch.setattr(_subspaces, "subspace_residuals", counted)
    kept = refine_by_coding_length(X, start, 6, distortion=1.0)
    assert_array_equal(kept, start)
    assert len(rounds) == 1


def test_parts_too_many_to_merge_are_left_to_the_caller(rng, monkeypatch):
    monkeypatch.setattr(_subspaces, "_MAX_PARTS", 4)
    X, parts, _ = parts_of_lines(rng)
    parts = np.where(parts > 4, 4, parts)
    parts[:3] = -1
    merged = merge_by_coding_length(X, parts, 2, distortion=0.01)
    assert_array_equal(merged[:3], -1)
    assert (merged[parts == 0] == -1).all()
    assert set(np.unique(merged)) == {-1, 0, 1}
