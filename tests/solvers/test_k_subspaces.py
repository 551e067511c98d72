from itertools import product

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from scipy.linalg import subspace_angles
from sklearn.cluster import KMeans
from sklearn.decomposition import TruncatedSVD

from sklearn_whitebox.datasets import make_union_of_subspaces
from sklearn_whitebox.metrics import clustering_accuracy
from sklearn_whitebox.solvers import (
    choose_subspace_dims,
    co_association,
    ensemble_labels,
    k_subspaces,
    merge_equal_rows,
    nearest_subspaces,
    subspace_distances,
)
from sklearn_whitebox.solvers._alternation import alternate
from sklearn_whitebox.solvers._flat_seeds import random_flats, seed_flats
from sklearn_whitebox.solvers._flats import (
    Flats,
    Rows,
    exact_distances,
    fit_flat,
    nearest_flats,
)
from sklearn_whitebox.solvers._subspace_dimension import description_length
from sklearn_whitebox.solvers._subspace_distances import unit_rows


def _plain_alternation(X, bases, n_rounds):
    """Alternate as in the textbook, one row and one cluster at a time."""
    curve = []
    for _ in range(n_rounds):
        errors = np.array([[np.sum((x - x @ U.T @ U) ** 2) for U in bases] for x in X])
        labels = errors.argmin(axis=1)
        curve.append(errors.min(axis=1).sum())
        bases = [
            np.linalg.svd(X[labels == k], full_matrices=False)[2][: len(U)]
            for k, U in enumerate(bases)
        ]
    return labels, curve


def test_alternation_equals_the_textbook():
    X, _ = make_union_of_subspaces(
        200, 8, n_subspaces=3, subspace_dim=2, noise=0.1, random_state=0
    )
    rng = np.random.default_rng(0)
    rows = Rows.of(X)
    dims = np.full(3, 2)
    flats = random_flats(rows, dims, affine=False, rng=rng)
    labels, curve = _plain_alternation(X, flats.bases, 6)
    found = alternate(rows, flats, dims, max_iter=6, tol=0.0)
    assert_array_equal(found.labels, labels)
    assert_allclose(found.objective, curve[: len(found.objective)], rtol=1e-10)
    assert_allclose(curve[-1], found.objective[-1], rtol=1e-10)


@pytest.mark.parametrize("affine", [False, True])
@pytest.mark.parametrize("init", ["k-subspaces++", "random"])
@pytest.mark.parametrize("shape", [(150, 100), (300, 12), (40, 60)])
def test_objective_never_increases(affine, init, shape, global_random_seed):
    X, _ = make_union_of_subspaces(
        *shape,
        n_subspaces=3,
        subspace_dim=4,
        noise=0.05,
        random_state=global_random_seed,
    )
    result = k_subspaces(
        X, 3, subspace_dim=4, affine=affine, init=init, n_init=2, seed=0
    )
    assert (np.diff(result.objective) <= 0).all()
    assert_allclose(result.solution["inertia"], result.objective[-1], rtol=1e-8)


def test_krylov_steps_descend_and_end_at_the_principal_directions():
    X, _ = make_union_of_subspaces(
        450, 110, n_subspaces=3, subspace_dim=3, noise=0.03, random_state=0
    )
    result = k_subspaces(
        X, 3, subspace_dim=3, init="random", n_init=1, n_swaps=2, tol=0.0
    )
    assert (np.diff(result.objective) <= 0).all()
    for k, basis in enumerate(result.solution["bases"]):
        members = X[result.solution["labels"] == k]
        exact = np.linalg.svd(members)[2][:3]
        assert subspace_angles(basis.T, exact.T).max() < 1e-5


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize(
    ("n_samples", "n_features", "n_subspaces", "dim", "noise"),
    [
        (150, 100, 3, 10, 0.0),
        (320, 20, 4, 5, 0.05),
        (250, 9, 5, 6, 0.0),
        (250, 9, 5, 6, 0.03),
        (1000, 12, 20, 6, 0.01),
    ],
)
def test_planted_subspaces_are_found(
    n_samples, n_features, n_subspaces, dim, noise, seed
):
    X, y = make_union_of_subspaces(
        n_samples,
        n_features,
        n_subspaces=n_subspaces,
        subspace_dim=dim,
        noise=noise,
        random_state=seed,
    )
    result = k_subspaces(X, n_subspaces, subspace_dim=dim, seed=seed)
    assert clustering_accuracy(y, result.solution["labels"]) >= 0.98


def test_exchanges_leave_poor_minima():
    ends = {}
    for n_swaps in (0, 10):
        ends[n_swaps] = []
        for seed in range(5):
            X, y = make_union_of_subspaces(
                250, 9, n_subspaces=5, subspace_dim=6, noise=0.03, random_state=seed
            )
            result = k_subspaces(X, 5, subspace_dim=6, n_init=1, n_swaps=n_swaps)
            score = clustering_accuracy(y, result.solution["labels"])
            ends[n_swaps].append(score)
    assert np.mean(ends[10]) > np.mean(ends[0]) + 0.1


def test_weights_equal_repetition_and_order_is_irrelevant():
    rng = np.random.default_rng(0)
    X, _ = make_union_of_subspaces(
        120, 8, n_subspaces=3, subspace_dim=2, noise=0.1, random_state=0
    )
    weights = rng.integers(0, 4, size=len(X))
    order = rng.permutation(len(X))
    weighted = k_subspaces(X[order], 3, subspace_dim=2, sample_weight=weights[order])
    repeated = k_subspaces(np.repeat(X, weights, axis=0), 3, subspace_dim=2)
    for a, b in zip(
        weighted.solution["bases"], repeated.solution["bases"], strict=True
    ):
        assert_array_equal(a, b)
    labels = np.full(len(X), -1)
    labels[order] = weighted.solution["labels"]
    assert_array_equal(np.repeat(labels, weights), repeated.solution["labels"])
    assert (labels[weights == 0] == -1).all()


def test_merged_rows_keep_totals_and_values():
    rng = np.random.default_rng(0)
    X = rng.integers(-1, 2, size=(200, 3)).astype(float) * [1, 1, -1]
    weights = rng.integers(0, 3, size=200).astype(float)
    first, inverse, totals = merge_equal_rows(X, weights)
    kept = weights > 0
    assert_array_equal(X[first][inverse[kept]], X[kept])
    assert len(np.unique(X[first] + 0.0, axis=0)) == len(first)
    assert_allclose(totals.sum(), weights.sum())
    assert (inverse[~kept] == -1).all()
    order = rng.permutation(200)
    again, _, totals_again = merge_equal_rows(X[order], weights[order])
    assert_array_equal(X[order][again] + 0.0, X[first] + 0.0)
    assert_array_equal(totals, totals_again)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_points_instead_of_subspaces_are_k_means(dtype):
    rng = np.random.default_rng(0)
    X = np.vstack([rng.normal(loc=c, size=(50, 3)) for c in (0, 6, 12)]).astype(dtype)
    result = k_subspaces(X, 3, subspace_dim=0, affine=True)
    reference = KMeans(3, n_init=10, random_state=0).fit(X)
    assert_allclose(result.solution["inertia"], reference.inertia_, rtol=1e-4)
    assert result.solution["offsets"].dtype == dtype


def test_one_subspace_is_truncated_svd():
    X = np.random.default_rng(0).normal(size=(50, 7)) @ np.diag(np.arange(1, 8))
    result = k_subspaces(X, 1, subspace_dim=3)
    svd = TruncatedSVD(3, algorithm="arpack").fit(X)
    angles = subspace_angles(result.solution["bases"][0].T, svd.components_.T)
    assert angles.max() < 1e-7


def test_affine_subspaces_are_found():
    X, y = make_union_of_subspaces(
        240, 6, n_subspaces=3, subspace_dim=2, noise=0.01, offset=1.0, random_state=0
    )
    result = k_subspaces(X + 100.0, 3, subspace_dim=2, affine=True)
    assert clustering_accuracy(y, result.solution["labels"]) == 1
    for k, offset in enumerate(result.solution["offsets"]):
        members = X[result.solution["labels"] == k] + 100.0
        assert_allclose(offset, members.mean(axis=0), rtol=1e-10)


def test_dimensions_may_differ_and_come_in_any_order():
    X, y = make_union_of_subspaces(
        [80, 120, 160], 8, n_subspaces=3, subspace_dim=[1, 3, 5], random_state=0
    )
    for dims in ([1, 3, 5], [5, 1, 3]):
        result = k_subspaces(X, 3, subspace_dim=dims, seed=1)
        assert clustering_accuracy(y, result.solution["labels"]) == 1
        assert sorted(map(len, result.solution["bases"])) == [1, 3, 5]


def test_given_bases_are_where_rounds_start():
    X, y = make_union_of_subspaces(
        150, 10, n_subspaces=3, subspace_dim=3, noise=0.02, random_state=0
    )
    bases = [np.linalg.svd(X[y == k])[2][:3] for k in range(3)]
    result = k_subspaces(X, 3, init=bases, n_swaps=0)
    assert clustering_accuracy(y, result.solution["labels"]) == 1
    assert result.n_iter <= 3


@pytest.mark.parametrize(
    ("n_samples", "n_features", "dims", "noise"),
    [
        (320, 20, [5] * 4, 0.05),
        (320, 20, [5] * 4, 0.15),
        (250, 9, [6] * 5, 0.03),
        (400, 12, [1, 3, 5, 7], 0.02),
    ],
)
def test_dimensions_are_found(n_samples, n_features, dims, noise):
    X, _ = make_union_of_subspaces(
        n_samples,
        n_features,
        n_subspaces=len(dims),
        subspace_dim=dims,
        noise=noise,
        random_state=0,
    )
    found = choose_subspace_dims(X, len(dims))
    assert sorted(found) == dims


def test_description_is_shortest_for_the_truth():
    X, y = make_union_of_subspaces(
        300, 10, n_subspaces=3, subspace_dim=3, noise=0.05, random_state=0
    )
    rows = Rows.of(X)
    lengths = {}
    for dim in (2, 3, 4):
        bases = [np.linalg.svd(X[y == k])[2][:dim] for k in range(3)]
        partition = alternate(
            rows, Flats(bases), np.full(3, dim), max_iter=50, tol=1e-6
        )
        lengths[dim] = description_length(rows, partition)
    assert min(lengths, key=lengths.get) == 3


@pytest.mark.parametrize("affine", [False, True])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_distances_agree_with_projections(affine, dtype):
    rng = np.random.default_rng(0)
    X = rng.normal(size=(300, 6)).astype(dtype)
    bases = [np.linalg.qr(rng.normal(size=(6, r)))[0].T.astype(dtype) for r in (1, 3)]
    offsets = rng.normal(size=(2, 6)).astype(dtype) if affine else None
    points = np.zeros((2, 6), dtype) if offsets is None else offsets
    expected = np.stack(
        [
            np.linalg.norm((X - m) - (X - m) @ U.T @ U, axis=1)
            for m, U in zip(points, bases, strict=True)
        ],
        axis=1,
    )
    tolerance = {"rtol": 1e-4, "atol": 1e-5} if dtype == np.float32 else {"rtol": 1e-9}
    distances = subspace_distances(X, bases, offsets)
    assert_allclose(distances, expected, **tolerance)
    labels, least, second = nearest_flats(Rows.of(X), Flats(bases, offsets))
    assert_array_equal(labels, expected.argmin(axis=1))
    assert_array_equal(nearest_subspaces(X, bases, offsets), labels)
    assert_allclose(np.sqrt(least), expected.min(axis=1), **tolerance)
    assert_allclose(np.sqrt(second), expected.max(axis=1), **tolerance)


def test_distances_are_exact_near_zero_and_at_any_scale():
    line = np.array([[0.6, 0.8]])
    X = np.array([[3.0, 4.0], [0.6, 0.8 + 1e-9]])
    distances = exact_distances(X, Flats([line]))[:, 0]
    assert distances[0] < 1e-15
    assert_allclose(distances[1], 0.6e-9, rtol=1e-6)
    for scale in (1e-18, 1e18):
        row = np.array([[4.0, -3.0]], np.float32) * np.float32(scale)
        found = subspace_distances(row, [line.astype(np.float32)])
        assert_allclose(found, 5 * scale, rtol=1e-6)


def test_zero_rows_stay_zero_as_units():
    units = unit_rows(np.array([[0.0, 0.0], [3e-200, 4e-200]]))
    assert_allclose(units, [[0, 0], [0.6, 0.8]])


def test_weighted_fit_equals_repetition():
    rng = np.random.default_rng(0)
    X = rng.normal(size=(20, 5))
    weights = rng.integers(1, 4, size=20).astype(float)
    repeated = np.repeat(X, weights.astype(int), axis=0)
    for affine in (False, True):
        basis, offset = fit_flat(X, weights, 2, affine=affine)
        other, center = fit_flat(repeated, None, 2, affine=affine)
        assert subspace_angles(basis.T, other.T).max() < 1e-7
        if affine:
            assert_allclose(offset, center)


def test_seeds_meet_flat_subspaces_exactly():
    X, y = make_union_of_subspaces(
        300, 10, n_subspaces=3, subspace_dim=3, random_state=0
    )
    rng = np.random.default_rng(0)
    flats = seed_flats(Rows.of(X), np.full(3, 3), affine=False, rng=rng)
    labels, least, _ = nearest_flats(Rows.of(X), flats)
    assert least.max() < 1e-14
    assert clustering_accuracy(y, labels) == 1


@pytest.mark.parametrize("n_jobs", [1, 2])
def test_results_do_not_depend_on_threads(n_jobs):
    X, _ = make_union_of_subspaces(
        200, 10, n_subspaces=3, subspace_dim=3, noise=0.2, random_state=0
    )
    one = k_subspaces(X, 3, subspace_dim=3, n_jobs=None, seed=3)
    two = k_subspaces(X, 3, subspace_dim=3, n_jobs=n_jobs, seed=3)
    assert one.objective == two.objective
    votes, _ = ensemble_labels(X, 3, subspace_dim=3, n_estimators=5)
    again, _ = ensemble_labels(X, 3, subspace_dim=3, n_estimators=5, n_jobs=n_jobs)
    assert_array_equal(votes, again)


@pytest.mark.parametrize("weighted", [False, True])
def test_co_association_counts_votes(weighted):
    rng = np.random.default_rng(0)
    labels = rng.integers(0, 4, size=(1100, 7)).astype(np.int32)
    say = rng.uniform(size=7) if weighted else None
    shares = co_association(labels, 9, weights=say, n_jobs=2)
    weights = np.full(7, 1 / 7) if say is None else say / say.sum()
    dense = (labels[:, None, :] == labels[None, :, :]) @ weights
    np.fill_diagonal(dense, -1)
    top = -np.sort(-dense, axis=1)[:, :9]
    kept = -np.sort(-shares.toarray(), axis=1)[:, :9]
    assert_allclose(kept, np.maximum(top, 0), atol=1e-6)
    rows, columns = shares.nonzero()
    assert_allclose(shares[rows, columns], dense[rows, columns], atol=1e-6)


def test_fewer_directions_than_clusters_end_with_fewer():
    X = np.outer([1.0, 2.0, -1.0, 0.0], [1.0, 1.0, 0.0])
    result = k_subspaces(X, 3, subspace_dim=1)
    assert len(result.solution["bases"]) == 1
    assert result.solution["inertia"] < 1e-30


@pytest.mark.parametrize(("scale", "dtype"), product([1e-18, 1e8], [np.float32]))
def test_scale_does_not_matter(scale, dtype):
    X, y = make_union_of_subspaces(
        150, 10, n_subspaces=3, subspace_dim=2, noise=0.01, random_state=0
    )
    X = X.astype(dtype) * dtype(scale)
    result = k_subspaces(X, 3, subspace_dim=2)
    assert clustering_accuracy(y, result.solution["labels"]) == 1
    assert result.solution["bases"][0].dtype == dtype


def test_large_data_see_only_the_rounds_of_the_best_start():
    X, y = make_union_of_subspaces(
        30_000, 6, n_subspaces=3, subspace_dim=2, noise=0.01, random_state=0
    )
    calls = []
    result = k_subspaces(
        X,
        3,
        subspace_dim=2,
        n_init=2,
        callback=lambda i, objective: calls.append((i, objective)),
    )
    assert clustering_accuracy(y, result.solution["labels"]) > 0.97
    assert [i for i, _ in calls] == list(range(len(calls)))
    assert len(calls) == 2 + result.n_iter
