import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal

from sklearn_whitebox.datasets import (
    make_low_rank_gaussians,
    make_union_of_subspaces,
)


def test_each_class_spans_its_subspace(global_random_seed):
    X, y = make_union_of_subspaces(
        90, 12, n_subspaces=3, subspace_dim=[1, 2, 4], random_state=global_random_seed
    )
    assert [np.linalg.matrix_rank(X[y == k]) for k in range(3)] == [1, 2, 4]
    assert_allclose(np.linalg.norm(X, axis=1), 1)


def test_affine_subspaces_miss_the_origin():
    X, y = make_union_of_subspaces(
        60, 8, n_subspaces=2, subspace_dim=2, offset=3.0, random_state=0
    )
    for k in range(2):
        rows = X[y == k]
        assert np.linalg.matrix_rank(rows) == 3
        assert np.linalg.matrix_rank(rows - rows[0], tol=1e-9) == 2


@pytest.mark.parametrize("subspace_dim", [2, 7])
def test_offset_is_the_distance_from_the_origin(subspace_dim):
    X, y = make_union_of_subspaces(
        60, 8, n_subspaces=2, subspace_dim=subspace_dim, offset=3.0, random_state=0
    )
    for k in range(2):
        rows = X[y == k]
        spread = np.linalg.svd(rows - rows[0])[2][:subspace_dim]
        nearest = rows[0] - rows[0] @ spread.T @ spread
        assert np.linalg.norm(nearest) == pytest.approx(3.0)
        assert_allclose(np.linalg.norm(rows, axis=1), np.sqrt(10))


def test_all_of_space_takes_no_offset():
    with pytest.raises(ValueError, match="is all of space"):
        make_union_of_subspaces(10, 3, n_subspaces=1, subspace_dim=3, offset=1.0)
    X, _ = make_union_of_subspaces(10, 3, n_subspaces=1, subspace_dim=3)
    assert np.linalg.matrix_rank(X) == 3


def test_noise_has_the_given_size():
    options = {"n_subspaces": 2, "random_state": 0, "shuffle": False}
    clean, _ = make_union_of_subspaces(4000, 10, **options)
    noisy, _ = make_union_of_subspaces(4000, 10, noise=0.3, **options)
    assert np.std(noisy - clean) == pytest.approx(0.3, rel=0.05)


@pytest.mark.parametrize("maker", [make_union_of_subspaces, make_low_rank_gaussians])
def test_same_seed_gives_the_same_data(maker):
    first = maker(50, 6, random_state=3)
    again = maker(50, 6, random_state=3)
    other = maker(50, 6, random_state=4)
    assert_array_equal(first[0], again[0])
    assert_array_equal(first[1], again[1])
    assert not np.array_equal(first[0], other[0])


@pytest.mark.parametrize("maker", [make_union_of_subspaces, make_low_rank_gaussians])
def test_samples_are_shared_out(maker):
    _, y = maker(11, 6, random_state=0)
    assert_array_equal(np.bincount(y), [4, 4, 3])
    _, y = maker([1, 5, 2], 6, shuffle=False)
    assert_array_equal(y, [0, 1, 1, 1, 1, 1, 2, 2])


def test_gaussians_have_the_given_spectrum():
    X, y = make_low_rank_gaussians(
        40000, 6, n_components=2, rank=3, decay=0.5, noise=0.1, random_state=0
    )
    for k in range(2):
        spectrum = np.linalg.eigvalsh(np.cov(X[y == k].T))[::-1]
        expected = np.array([1, 0.25, 0.0625, 0, 0, 0]) + 0.01
        assert_allclose(spectrum, expected, rtol=0.05)


def test_means_are_spread_on_request():
    X, y = make_low_rank_gaussians(
        300, 5, noise=0.01, rank=1, center_scale=50.0, random_state=0
    )
    centers = np.array([X[y == k].mean(0) for k in range(3)])
    assert np.linalg.norm(centers, axis=1).min() > 20


def test_impossible_shapes_are_refused():
    with pytest.raises(ValueError, match="between 1 and n_features=3"):
        make_union_of_subspaces(10, 3, subspace_dim=4)
    with pytest.raises(ValueError, match="2 entries for 3 groups"):
        make_low_rank_gaussians(10, 9, rank=[1, 2])
