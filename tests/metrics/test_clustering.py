from itertools import permutations

import numpy as np
import pytest
from scipy import sparse

from sklearn_whitebox.metrics import (
    clustering_accuracy,
    connectivity,
    representation_sparsity,
    subspace_preserving_error,
    subspace_preserving_rate,
)


def test_accuracy_equals_the_best_of_all_matchings(rng):
    truth = rng.integers(0, 4, 60)
    found = rng.integers(0, 4, 60)
    best = max(np.mean(np.array(p)[found] == truth) for p in permutations(range(4)))
    assert clustering_accuracy(truth, found) == pytest.approx(best)


def test_accuracy_ignores_the_names_of_clusters():
    assert clustering_accuracy(["a", "a", "b"], [7, 7, -3]) == 1.0


@pytest.mark.parametrize(
    ("truth", "found", "expected"),
    [([0, 0, 1, 1], [0, 1, 2, 3], 0.5), ([0, 1, 2, 3], [5, 5, 5, 5], 0.25)],
)
def test_numbers_of_clusters_and_classes_may_differ(truth, found, expected):
    assert clustering_accuracy(truth, found) == expected


def test_accuracy_refuses_other_lengths_and_nothing():
    with pytest.raises(ValueError, match="inconsistent numbers of samples"):
        clustering_accuracy([0, 1], [0, 1, 1])
    with pytest.raises(ValueError, match="0 samples"):
        clustering_accuracy([], [])


@pytest.mark.parametrize("kind", [np.asarray, sparse.csr_array, sparse.csc_matrix])
def test_preserving_error_is_the_mass_on_other_classes(kind):
    codes = np.array([[0, 2.0, 0, -2.0], [1, 0, 0, 0], [0, 0, 0, 0], [0, 0, -1, 0]])
    labels = ["a", "a", "b", "b"]
    assert subspace_preserving_error(kind(codes), labels) == pytest.approx(0.5 / 3)
    assert subspace_preserving_rate(kind(codes), labels) == pytest.approx(2 / 3)


def test_empty_codes_have_no_error_to_speak_of():
    assert np.isnan(subspace_preserving_error(np.zeros((3, 3)), [0, 1, 1]))
    assert np.isnan(subspace_preserving_rate(np.zeros((3, 3)), [0, 1, 1]))


def test_connectivity_is_zero_exactly_where_a_class_falls_apart():
    pair = np.array([[0.0, 1.0], [1.0, 0.0]])
    apart = sparse.block_diag([pair, pair], format="csr")
    assert connectivity(apart, [0, 0, 0, 0]) == pytest.approx(0, abs=1e-12)
    assert connectivity(apart, [0, 0, 1, 1]) == pytest.approx(2)
    assert connectivity(np.zeros((2, 2)), [0, 0]) == 0
    chain = np.diag(np.ones(3), 1) + np.diag(np.ones(3), -1)
    assert 0 < connectivity(chain, [0, 0, 0, 0]) < 1


def test_connectivity_is_the_least_or_the_mean_over_classes():
    pair = np.array([[0.0, 1.0], [1.0, 0.0]])
    graph = sparse.block_diag([pair, np.zeros((2, 2)), [[0]]], format="csr")
    labels = [0, 0, 1, 1, 2]
    assert connectivity(graph, labels) == 0
    assert connectivity(graph, labels, average=True) == pytest.approx(1)


def test_sparsity_counts_what_is_not_zero():
    codes = sparse.csr_array(
        (np.array([1.0, 0.0, 2.0]), np.array([1, 2, 0]), np.array([0, 2, 3, 3]))
    )
    assert representation_sparsity(codes) == 2 / 3
    assert representation_sparsity(codes.toarray()) == 2 / 3
    with pytest.raises(ValueError, match="0 samples"):
        representation_sparsity(np.empty((0, 3)))
