import numpy as np
import pytest

from sklearn_whitebox.datasets import make_sparse_codes


def test_samples_are_codes_times_unit_atoms():
    X, codes, D = make_sparse_codes(50, 6, 9, random_state=0)
    np.testing.assert_allclose(X, codes @ D)
    np.testing.assert_allclose(np.linalg.norm(D, axis=1), 1)


def test_orthogonal_atoms_are_orthonormal():
    _, _, D = make_sparse_codes(5, 7, 4, orthogonal=True, random_state=0)
    np.testing.assert_allclose(D @ D.T, np.eye(4), atol=1e-12)


def test_number_or_density_of_nonzeros_is_kept():
    _, codes, _ = make_sparse_codes(200, 10, 30, n_nonzero=3, random_state=0)
    assert (np.count_nonzero(codes, axis=1) == 3).all()
    _, codes, _ = make_sparse_codes(4000, 10, density=0.3, random_state=0)
    assert np.mean(codes != 0) == pytest.approx(0.3, abs=0.01)


def test_noise_has_the_given_deviation():
    X, codes, D = make_sparse_codes(5000, 10, noise=0.2, random_state=0)
    assert np.std(X - codes @ D) == pytest.approx(0.2, rel=0.02)


def test_same_seed_gives_the_same_samples():
    first = make_sparse_codes(20, 5, random_state=3)
    second = make_sparse_codes(20, 5, random_state=3)
    for a, b in zip(first, second, strict=True):
        np.testing.assert_array_equal(a, b)


@pytest.mark.parametrize(
    ("settings", "name"),
    [
        ({"n_nonzero": 30}, "n_nonzero"),
        ({"density": 1.5}, "density"),
        ({"noise": -1.0}, "noise"),
        ({"n_components": 8, "orthogonal": True}, "n_components"),
    ],
)
def test_impossible_settings_are_named(settings, name):
    with pytest.raises(ValueError, match=name):
        make_sparse_codes(10, 5, **settings)
