import math

import numpy as np
import pytest

from sklearn_whitebox.functional import (
    coding_length,
    segmentation_coding_length,
)


def test_segmentation_length_adds_clusters_and_labels(rng):
    X, labels = rng.normal(size=(30, 4)), np.repeat([0, 5], [10, 20])
    expected = sum(coding_length(X[labels == k], distortion=0.3) for k in (0, 5))
    expected -= 10 * math.log(10 / 30) + 20 * math.log(20 / 30)
    length = segmentation_coding_length(X, labels, distortion=0.3)
    assert length == pytest.approx(expected)


def test_true_segmentation_is_shorter_than_random_ones(rng):
    X = np.vstack(
        [rng.normal(size=(40, 2)) @ rng.normal(size=(2, 10)) for _ in range(3)]
    )
    X += 0.01 * rng.normal(size=X.shape)
    y = np.repeat([0, 1, 2], 40)
    truth = segmentation_coding_length(X, y, distortion=0.01)
    for _ in range(50):
        shuffled = rng.permutation(y)
        assert segmentation_coding_length(X, shuffled, distortion=0.01) > truth


def test_coding_the_mean_pays_for_a_shifted_cluster(rng):
    X = rng.normal(size=(40, 6)) * 0.5 + 3
    plain = coding_length(X, distortion=0.25)
    assert coding_length(X, distortion=0.25, code_mean=True) < plain


def test_length_of_no_rows_is_zero():
    assert coding_length(np.zeros((0, 3)), distortion=1.0) == 0
