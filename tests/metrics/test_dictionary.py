import numpy as np
import pytest
from scipy.stats import ortho_group

from sklearn_whitebox.metrics import dictionary_recovery


def test_order_sign_and_length_of_atoms_do_not_matter(rng):
    D = rng.standard_normal((8, 5))
    other = D[rng.permutation(8)] * rng.choice([-2.0, 0.5], size=(8, 1))
    recovery = dictionary_recovery(other, D)
    assert recovery.min_cosine == pytest.approx(1)
    assert recovery.mean_cosine == pytest.approx(1)
    assert recovery.fraction_detected == 1
    assert recovery.rotation_error is None


def test_rotation_error_is_zero_for_signed_permutations_only():
    Q = ortho_group.rvs(6, random_state=0)
    assert dictionary_recovery(-Q[::-1], Q).rotation_error == pytest.approx(0, abs=1e-9)
    other = ortho_group.rvs(6, random_state=1)
    assert dictionary_recovery(other, Q).rotation_error > 0.1


def test_detection_is_not_one_to_one():
    D = np.array([[1.0, 0.0], [0.999, np.sqrt(1 - 0.999**2)]])
    recovery = dictionary_recovery(D[:1], D)
    assert recovery.fraction_detected == 1
    assert dictionary_recovery(D[:1], np.eye(2)).fraction_detected == 0.5


def test_threshold_bounds_the_cosine():
    D, near = np.array([[1.0, 0.0]]), np.array([[np.cos(0.2), np.sin(0.2)]])
    assert dictionary_recovery(near, D, threshold=0.01).fraction_detected == 0
    assert dictionary_recovery(near, D, threshold=0.05).fraction_detected == 1


def test_atoms_must_be_comparable():
    with pytest.raises(ValueError, match="features"):
        dictionary_recovery(np.eye(2), np.eye(3))
    with pytest.raises(ValueError, match="rows of a matrix"):
        dictionary_recovery(np.ones(3), np.eye(3))
