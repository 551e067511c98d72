import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from scipy import sparse

from sklearn_whitebox.datasets import make_union_of_subspaces
from sklearn_whitebox.functional import coding_length, segmentation_coding_length
from sklearn_whitebox.metrics import clustering_accuracy
from sklearn_whitebox.solvers import (
    agglomerate_along_graph,
    agglomerate_by_coding_length,
    cheapest_partners,
    distortion_path,
)
from sklearn_whitebox.solvers._agglomerative_coding import (
    merge_all_pairs,
    merge_into_fragments,
    replayed,
    single_costs,
)
from sklearn_whitebox.solvers._coding_clusters import CodedClusters

FORMS = [
    {"code_mean": code_mean, "basis_cost": basis_cost}
    for code_mean in (False, True)
    for basis_cost in (False, True)
]


def lines_and_plane(rng, sigma=0.03):
    """Two lines and a plane through the origin of three-dimensional space."""
    first, second = rng.normal(size=(2, 3))
    plane = np.linalg.qr(rng.normal(size=(3, 2)))[0].T
    X = np.vstack(
        [
            rng.uniform(-1, 1, (100, 1)) * first / np.linalg.norm(first),
            rng.uniform(-1, 1, (100, 1)) * second / np.linalg.norm(second),
            rng.uniform(-1, 1, (158, 2)) @ plane,
        ]
    )
    return X + sigma * rng.normal(size=X.shape), np.repeat([0, 1, 2], [100, 100, 158])


@pytest.fixture
def union():
    return make_union_of_subspaces(
        160, 20, n_subspaces=4, subspace_dim=3, noise=0.05, random_state=0
    )


@pytest.mark.parametrize("share", [0.1, 0.19, 0.38, 0.58, 1.0])
def test_lines_and_plane_are_counted_at_fine_distortions(share, rng):
    X, y = lines_and_plane(rng)
    tree = agglomerate_by_coding_length(X, distortion=(share * 0.03) ** 2 * 3)
    labels = tree.labels(tree.best_step())
    assert labels.max() + 1 == 3
    assert clustering_accuracy(y, labels) > 0.9


def test_coarse_distortions_leave_one_cluster(rng):
    X, _ = lines_and_plane(rng)
    counts = []
    for share in (1.0, 2.9, 5.8):
        tree = agglomerate_by_coding_length(X, distortion=(share * 0.03) ** 2 * 3)
        counts.append(len(X) - tree.best_step())
    assert counts[0] == 3
    assert counts[1] == 2
    assert counts[2] == 1


def test_without_the_basis_term_fine_distortions_cut_into_pieces(rng):
    X, _ = lines_and_plane(rng)
    counts = []
    for share in (0.02, 0.1, 0.38, 1.0, 5.8):
        tree = agglomerate_by_coding_length(
            X, distortion=(share * 0.03) ** 2 * 3, basis_cost=False
        )
        counts.append(len(X) - tree.best_step())
    assert counts[0] > 300
    assert counts[1] > 200
    assert counts[2] > 40
    assert 3 < counts[3] < 20
    assert counts[4] == 1


@pytest.mark.parametrize("share", [0.5, 1.0])
def test_noisy_union_is_found(share):
    X, y = make_union_of_subspaces(
        320, 20, n_subspaces=4, subspace_dim=5, noise=0.05, random_state=0
    )
    tree = agglomerate_by_coding_length(X, distortion=(share * 0.05) ** 2 * 20)
    labels = tree.labels(tree.best_step())
    assert labels.max() + 1 == 4
    assert clustering_accuracy(y, labels) == 1


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("fragment_size", [1, 4])
def test_steps_sum_to_the_change_of_the_length(form, fragment_size, union):
    X = union[0] + 0.5
    tree = agglomerate_by_coding_length(
        X, distortion=0.03, n_clusters=1, fragment_size=fragment_size, **form
    )
    for n_merges in (0, 3, 130, 155, 159):
        direct = segmentation_coding_length(
            X, tree.labels(n_merges), distortion=0.03, **form
        )
        assert_allclose(tree.lengths[n_merges], direct, rtol=1e-10)


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("shape", [(60, 4), (40, 30), (25, 60)])
def test_costs_equal_recomputed_lengths(form, shape, rng):
    X = rng.normal(size=shape) @ np.diag(rng.uniform(0.1, 2, shape[1])) + 1.0
    labels = np.minimum(np.arange(len(X)) // 7, 3)
    labels[:3] = np.arange(3)
    clusters = CodedClusters(X, labels, distortion=0.3, **form)

    def length(rows):
        return coding_length(rows, distortion=0.3, **form)

    for k in range(4):
        others = np.array([m for m in range(4) if m != k])
        for gather in (False, True):
            costs = clusters.merge_costs(k, others, gather=gather)
            for m, cost in zip(others, costs, strict=True):
                a, b = X[labels == k], X[labels == m]
                shares = np.array([len(a), len(b)]) / (len(a) + len(b))
                names = np.array([len(a), len(b)]) @ np.log(shares)
                direct = length(np.vstack([a, b])) - length(a) - length(b) + names
                assert_allclose(cost, direct, rtol=1e-8, atol=1e-8)


@pytest.mark.parametrize("form", FORMS)
def test_single_costs_equal_general_ones(form, rng):
    X = rng.normal(size=(30, 6)) + 1
    clusters = CodedClusters(X, distortion=0.1, **form)
    closed = single_costs(clusters, np.arange(30))
    for k in range(30):
        others = np.delete(np.arange(30), k)
        general = clusters.merge_costs(k, others)
        assert_allclose(closed[k, others], general, rtol=1e-9, atol=1e-9)


def test_every_step_is_the_cheapest_of_all_pairs(rng):
    X = rng.normal(size=(14, 3)) * [3.0, 1.0, 0.3]
    tree = agglomerate_by_coding_length(X, distortion=0.1, n_clusters=1)
    for step in range(13):
        labels = tree.labels(step)
        before = segmentation_coding_length(X, labels, distortion=0.1)
        costs = [
            segmentation_coding_length(
                X, np.where(labels == b, a, labels), distortion=0.1
            )
            - before
            for a in range(14 - step)
            for b in range(a)
        ]
        assert_allclose(tree.costs[step], min(costs), rtol=1e-9, atol=1e-9)


def test_code_is_shorter_than_of_random_partitions(union, rng):
    X, _ = union
    tree = agglomerate_by_coding_length(X, distortion=0.05)
    for _ in range(50):
        labels = rng.integers(rng.integers(1, 10), size=len(X))
        other = segmentation_coding_length(X, labels, distortion=0.05)
        assert tree.lengths[-1] <= other


@pytest.mark.parametrize("code_mean", [False, True])
@pytest.mark.parametrize("fragment_size", [1, 5])
def test_complete_graph_gives_the_tree_of_all_pairs(code_mean, fragment_size, union):
    X, _ = union
    options = {
        "distortion": 0.05,
        "code_mean": code_mean,
        "n_clusters": 1,
        "fragment_size": fragment_size,
    }
    free = agglomerate_by_coding_length(X, **options)
    graph = sparse.csr_array(np.ones((len(X), len(X))))
    bound = agglomerate_along_graph(X, graph, **options)
    assert_array_equal(free.children, bound.children)
    assert_allclose(free.costs, bound.costs, atol=1e-9)
    assert free.best_step() == bound.best_step()


def test_disconnected_graph_is_never_crossed_while_it_binds(union):
    X, _ = union
    halves = np.repeat([0, 1], 80)
    graph = sparse.csr_array((halves[:, None] == halves).astype(float))
    tree = agglomerate_along_graph(X, graph, distortion=0.05)
    labels = tree.labels(tree.best_step())
    assert not set(labels[:80]) & set(labels[80:])
    full = agglomerate_along_graph(X, graph, distortion=0.05, n_clusters=1)
    assert len(full.costs) == len(X) - 1
    assert full.best_step() <= full.n_allowed
    assert_array_equal(full.labels(full.best_step()), labels)


@pytest.mark.parametrize("fragment_size", [1, 6])
def test_neighbors_give_the_clusters_of_all_pairs(fragment_size):
    X, y = make_union_of_subspaces(
        600, 20, n_subspaces=4, subspace_dim=4, noise=0.05, random_state=0
    )
    graph = cheapest_partners(X, 15, distortion=0.05)
    tree = agglomerate_along_graph(
        X,
        graph,
        distortion=0.05,
        is_constraint=False,
        n_clusters=1,
        fragment_size=fragment_size,
    )
    labels = tree.labels(tree.best_step())
    assert clustering_accuracy(y, labels) == 1
    direct = segmentation_coding_length(X, labels, distortion=0.05)
    assert_allclose(tree.lengths[tree.best_step()], direct, rtol=1e-9)


def test_cheapest_partners_are_those_of_least_cost(rng):
    X = rng.normal(size=(80, 5)) * rng.uniform(0.2, 3, (80, 1))
    graph = cheapest_partners(X, 4, distortion=0.1).toarray()
    costs = single_costs(CodedClusters(X, distortion=0.1), np.arange(80))
    np.fill_diagonal(costs, np.inf)
    nearest = np.argsort(costs, axis=1)[:, :4]
    assert graph[np.arange(80)[:, None], nearest].all()
    assert not graph.diagonal().any()
    assert_array_equal(graph, graph.T)


def test_order_of_samples_does_not_matter(union, rng):
    X, _ = union
    order = rng.permutation(len(X))
    labels, shuffled = (
        tree.labels(tree.best_step())
        for tree in (
            agglomerate_by_coding_length(X, distortion=0.05, fragment_size=5),
            agglomerate_by_coding_length(X[order], distortion=0.05, fragment_size=5),
        )
    )
    assert clustering_accuracy(labels[order], shuffled) == 1


def test_rotation_of_features_does_not_matter(union, rng):
    X, _ = union
    Q = np.linalg.qr(rng.normal(size=(20, 20)))[0]
    lengths = [
        agglomerate_by_coding_length(rows, distortion=0.05).lengths
        for rows in (X, X @ Q)
    ]
    assert_allclose(lengths[0], lengths[1], rtol=1e-9)


def test_duplicates_and_zero_rows_are_fine():
    X = np.vstack([np.zeros((5, 3)), np.ones((5, 3)), np.tile([1.0, -1, 0], (5, 1))])
    for code_mean in (False, True):
        tree = agglomerate_by_coding_length(
            X, distortion=0.01, code_mean=code_mean, n_clusters=1
        )
        assert np.isfinite(tree.lengths).all()
        labels = tree.labels(len(X) - 3)
        for start in (5, 10):
            assert len(set(labels[start : start + 5])) == 1


def test_heights_rise_and_cut_at_zero(union):
    X, _ = union
    tree = agglomerate_by_coding_length(X, distortion=0.05, n_clusters=1)
    heights, zero = tree.heights()
    assert heights.min() == 0
    rising = np.concatenate([np.zeros(len(X)), heights])
    assert (rising[tree.children].max(axis=1) <= heights).all()
    # The nodes below zero gain are the clusters found.
    assert (heights < zero).sum() == tree.best_step()


def test_replayed_steps_are_priced_by_the_new_code(union):
    X, _ = union
    fragments = merge_into_fragments(X, 5)
    assert len(fragments.children) == 160 - 32
    clusters = CodedClusters(X, distortion=0.05)
    forced, nodes = replayed(clusters, fragments)
    labels = forced.labels(len(forced.costs))
    direct = segmentation_coding_length(X, labels, distortion=0.05)
    assert_allclose(forced.lengths[-1], direct, rtol=1e-10)
    assert_allclose(clusters.total_length(), direct, rtol=1e-10)
    assert len(nodes) == len(clusters) == 32
    tree = merge_all_pairs(clusters, before=forced, nodes=nodes)
    assert tree.best_step() >= len(forced.costs)


@pytest.mark.parametrize("noise", [0.0, 0.02, 0.08])
def test_shortest_description_counts_the_subspaces(noise):
    X, y = make_union_of_subspaces(
        240, 20, n_subspaces=3, subspace_dim=5, noise=noise, random_state=0
    )
    path = distortion_path(X)
    assert (np.diff(path.distortion) > 0).all()
    assert path.n_clusters[path.best()] == 3
    distortion = path.distortion[path.best()]
    true = segmentation_coding_length(X, y, distortion=distortion)
    true += 240 * np.linalg.matrix_rank(X) / 2 * np.log(distortion / 20)
    assert path.description_length.min() <= true + 0.02 * abs(true)


def test_path_does_not_depend_on_threads(union):
    one, two = (distortion_path(union[0], n_jobs=n_jobs) for n_jobs in (1, 2))
    for a, b in zip(one, two, strict=True):
        assert_array_equal(a, b)
