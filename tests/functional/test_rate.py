import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import ortho_group

from sklearn_whitebox.functional import (
    coding_rate,
    coding_rate_gradient,
    conditional_coding_rate,
    distortion_from_noise,
    inverse_identity_plus_gram,
    logdet_identity_plus_gram,
    membership_gradient,
    project_sphere,
    rate_reduction,
    rate_reduction_gradient,
    subspace_coding_rate,
    subspace_coding_rate_gradient,
    variational_coding_rate,
)


@st.composite
def problems(draw, soft=False):
    n = draw(st.integers(1, 40))
    d = draw(st.integers(1, 12))
    k = draw(st.integers(1, 5))
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    Z = rng.normal(size=(n, d)) * 10 ** rng.uniform(-2, 1)
    memberships = rng.dirichlet(np.ones(k), n) if soft else rng.integers(0, k, n)
    return Z, memberships, 10 ** rng.uniform(-2, 1)


def slow_coding_rate(Z, distortion):
    """Follow the definition on the feature side."""
    n, d = Z.shape
    return np.linalg.slogdet(np.eye(d) + d / (n * distortion) * Z.T @ Z)[1] / 2


def slow_conditional_coding_rate(Z, weights, distortion):
    """Follow the definition with one diagonal matrix per class."""
    n, d = Z.shape
    rate = 0.0
    for column in weights.T:
        mass = column.sum()
        if mass > 0:
            scatter = Z.T @ np.diag(column) @ Z
            logdet = np.linalg.slogdet(np.eye(d) + d / (mass * distortion) * scatter)[1]
            rate += mass / (2 * n) * logdet
    return rate


@settings(max_examples=50, deadline=None)
@given(problems())
def test_coding_rate_follows_its_definition(problem):
    Z, _, distortion = problem
    expected = slow_coding_rate(Z, distortion)
    assert coding_rate(Z, distortion=distortion) == pytest.approx(expected, rel=1e-9)


@settings(max_examples=50, deadline=None)
@given(problems(soft=True))
def test_conditional_rate_follows_its_definition(problem):
    Z, weights, distortion = problem
    expected = slow_conditional_coding_rate(Z, weights, distortion)
    rate = conditional_coding_rate(Z, weights, distortion=distortion)
    assert rate == pytest.approx(expected, rel=1e-9)


def test_both_sides_of_the_gram_give_the_same_determinant(rng):
    Z = torch.from_numpy(rng.normal(size=(50, 20)))
    wide, tall = logdet_identity_plus_gram(Z.mT, 0.3), logdet_identity_plus_gram(Z, 0.3)
    assert float(wide) == pytest.approx(float(tall), rel=1e-13)


def test_coding_rate_is_invariant_to_rotation_permutation_and_duplication(rng):
    Z = rng.normal(size=(30, 8))
    rate = coding_rate(Z)
    assert coding_rate(Z @ ortho_group.rvs(8, random_state=0)) == pytest.approx(rate)
    assert coding_rate(ortho_group.rvs(30, random_state=0) @ Z) == pytest.approx(rate)
    assert coding_rate(rng.permutation(Z)) == pytest.approx(rate)
    assert coding_rate(np.vstack([Z, Z])) == pytest.approx(rate)


@settings(max_examples=100, deadline=None)
@given(problems(soft=True))
def test_rate_reduction_is_never_negative(problem):
    Z, weights, distortion = problem
    tolerance = 1e-10 * max(1.0, coding_rate(Z, distortion=distortion))
    assert rate_reduction(Z, weights, distortion=distortion) >= -tolerance


def test_rate_reduction_of_classes_with_equal_second_moments_is_zero(rng):
    Z = rng.normal(size=(20, 5))
    y = np.repeat([0, 1], 20)
    assert rate_reduction(np.vstack([Z, -Z]), y) == pytest.approx(0, abs=1e-12)


def test_conditional_rate_is_concave_in_the_memberships(rng):
    Z = rng.normal(size=(25, 6))
    for _ in range(50):
        first, second = rng.dirichlet(np.ones(3), (2, 25))
        middle = conditional_coding_rate(Z, (first + second) / 2)
        ends = conditional_coding_rate(Z, first) + conditional_coding_rate(Z, second)
        assert middle >= ends / 2 - 1e-12


@settings(max_examples=50, deadline=None)
@given(problems())
def test_refining_a_partition_never_raises_the_conditional_rate(problem):
    Z, labels, distortion = problem
    finer = conditional_coding_rate(Z, labels, distortion=distortion)
    coarser = conditional_coding_rate(Z, labels // 2, distortion=distortion)
    assert finer <= coarser + 1e-9 * max(1.0, coarser)


def test_rates_of_orthogonal_classes_add_up(rng):
    first, second = rng.normal(size=(10, 3)), rng.normal(size=(15, 4))
    Z = np.zeros((25, 7))
    Z[:10, :3], Z[10:, 3:] = first, second
    whole = logdet_identity_plus_gram(torch.from_numpy(Z), 0.7)
    parts = [
        logdet_identity_plus_gram(torch.from_numpy(z), 0.7) for z in (first, second)
    ]
    assert float(whole) == pytest.approx(float(sum(parts)), rel=1e-12)


@settings(max_examples=50, deadline=None)
@given(problems())
def test_coding_rate_of_unit_rows_is_bounded_by_their_rank(problem):
    Z, _, distortion = problem
    Z = project_sphere(Z)
    d, rank = Z.shape[1], np.linalg.matrix_rank(Z)
    bound = rank / 2 * math.log1p(d / (rank * distortion))
    assert coding_rate(Z, distortion=distortion) <= bound + 1e-9


def test_coding_rate_grows_with_scale_and_falls_with_distortion(rng):
    Z = rng.normal(size=(30, 4))
    rates = [coding_rate(s * Z) for s in (0.5, 1, 2, 4)]
    assert rates == sorted(rates)
    rates = [coding_rate(Z, distortion=e) for e in (0.01, 0.1, 1, 10)]
    assert rates == sorted(rates, reverse=True)


def test_coding_rate_slope_in_log_precision_is_half_the_rank(rng):
    Z = rng.normal(size=(40, 3)) @ rng.normal(size=(3, 9))
    fine, finer = (coding_rate(Z, distortion=e) for e in (1e-6, 1e-8))
    assert (finer - fine) / math.log(100) == pytest.approx(3 / 2, rel=1e-4)


def test_adding_a_scatter_adds_at_most_its_trace(rng):
    A, B = rng.normal(size=(10, 5)), rng.normal(size=(10, 5))
    both = torch.from_numpy(np.vstack([A, B]))
    gain = logdet_identity_plus_gram(both, 1.0) - logdet_identity_plus_gram(
        torch.from_numpy(A), 1.0
    )
    assert 0 <= float(gain) <= (B**2).sum()


def test_names_of_classes_and_empty_classes_do_not_matter(rng):
    Z, y = rng.normal(size=(30, 5)), rng.integers(0, 3, 30)
    rate = conditional_coding_rate(Z, y)
    assert conditional_coding_rate(Z, np.array([7, -2, 40])[y]) == pytest.approx(rate)
    with_empty = np.eye(4)[y]
    assert conditional_coding_rate(Z, with_empty) == pytest.approx(rate)


def test_one_complete_subspace_gives_the_coding_rate(rng):
    Z = rng.normal(size=(30, 6))
    bases = ortho_group.rvs(6, random_state=0)[None]
    assert subspace_coding_rate(Z, bases) == pytest.approx(coding_rate(Z))


@pytest.mark.parametrize("setting", ["a", "b", "c"])
def test_rates_and_gradient_match_the_reference_program(reference, setting):
    data = reference("mcr2_loss")
    Z, y = data["Z"].astype(np.float64), data["labels"]
    scale, weight, distortion = (
        float(data[f"{setting}.{key}"]) for key in ("gam1", "gam2", "eps_sq")
    )
    expanded = coding_rate(Z, distortion=distortion / scale)
    compressed = conditional_coding_rate(Z, y, distortion=distortion)
    assert expanded == pytest.approx(data[f"{setting}.R_scaled"], rel=1e-5)
    assert coding_rate(Z, distortion=distortion) == pytest.approx(
        data[f"{setting}.R"], rel=1e-5
    )
    assert compressed == pytest.approx(data[f"{setting}.Rc"], rel=1e-5)
    assert -weight * expanded + compressed == pytest.approx(
        data[f"{setting}.loss"], rel=1e-5
    )
    # dRc/dZ = dR/dZ - d(dR)/dZ, all in closed form.
    gradient = (
        coding_rate_gradient(Z, distortion=distortion)
        - rate_reduction_gradient(Z, y, distortion=distortion)
        - weight * coding_rate_gradient(Z, distortion=distortion / scale)
    )
    np.testing.assert_allclose(
        gradient, data[f"{setting}.grad_loss_Z"], rtol=1e-5, atol=1e-5
    )


def test_expansion_and_compression_operators_match_the_reference_layers(reference):
    data = reference("redunet_layer")
    distortion = float(data["eps_sq"])
    for Z, E, C in zip(data["Z_layers"], data["E"], data["C"], strict=False):
        Z = torch.from_numpy(Z.astype(np.float64))
        n, d = Z.shape
        alpha = d / (n * distortion)
        np.testing.assert_allclose(
            alpha * inverse_identity_plus_gram(Z, alpha), E, atol=2e-5
        )
        for k, operator in enumerate(C):
            rows = Z[torch.from_numpy(data["y"] == k)]
            alpha_k = d / (len(rows) * distortion)
            np.testing.assert_allclose(
                alpha_k * inverse_identity_plus_gram(rows, alpha_k), operator, atol=5e-5
            )


@pytest.mark.parametrize("shape", [(12, 5), (5, 12), (6, 6)])
@pytest.mark.parametrize("soft", [False, True])
def test_closed_form_gradients_match_automatic_differentiation(rng, shape, soft):
    Z = torch.from_numpy(rng.normal(size=shape)).requires_grad_()
    y = rng.dirichlet(np.ones(3), shape[0]) if soft else rng.integers(0, 3, shape[0])
    y = torch.from_numpy(y)
    (automatic,) = torch.autograd.grad(rate_reduction(Z, y), Z)
    closed = rate_reduction_gradient(Z.detach(), y)
    np.testing.assert_allclose(closed, automatic, atol=1e-12)
    (automatic,) = torch.autograd.grad(coding_rate(Z), Z)
    np.testing.assert_allclose(coding_rate_gradient(Z.detach()), automatic, atol=1e-12)


def test_membership_gradient_matches_automatic_differentiation(rng):
    Z = torch.from_numpy(rng.normal(size=(30, 7)))
    weights = torch.from_numpy(rng.dirichlet(np.ones(3), 30)).requires_grad_()
    (automatic,) = torch.autograd.grad(conditional_coding_rate(Z, weights), weights)
    np.testing.assert_allclose(
        membership_gradient(Z, weights.detach()), automatic, atol=1e-12
    )


@pytest.mark.parametrize("scale", [1.0, 1e4])
@pytest.mark.parametrize("rate", [rate_reduction, conditional_coding_rate])
def test_gradients_flow_through_memberships_of_single_precision(rng, rate, scale):
    """Also where the Gram matrix is formed in double precision; warnings are errors."""
    Z, weights = scale * rng.normal(size=(30, 7)), rng.dirichlet(np.ones(3), 30)
    gradients = []
    always = torch.is_warn_always_enabled()
    # By default torch warns once, and an earlier test may have used that up.
    torch.set_warn_always(True)
    try:
        for dtype in (torch.float32, torch.float64):
            leaves = [
                torch.from_numpy(array).to(dtype).requires_grad_()
                for array in (Z, weights)
            ]
            gradients.append(torch.autograd.grad(rate(*leaves), leaves))
    finally:
        torch.set_warn_always(always)
    for single, double in zip(*gradients, strict=True):
        assert single.dtype == torch.float32
        np.testing.assert_allclose(
            single, double, rtol=1e-3, atol=1e-4 * float(double.abs().max())
        )


def test_subspace_rate_gradient_matches_automatic_differentiation(rng):
    Z = torch.from_numpy(rng.normal(size=(2, 9, 8))).requires_grad_()
    bases = torch.from_numpy(rng.normal(size=(4, 8, 2)))
    (automatic,) = torch.autograd.grad(subspace_coding_rate(Z, bases).sum(), Z)
    closed = subspace_coding_rate_gradient(Z.detach(), bases)
    np.testing.assert_allclose(closed, automatic, atol=1e-12)


def test_rate_reduction_passes_gradcheck(rng):
    Z = torch.from_numpy(rng.normal(size=(7, 4))).requires_grad_()
    y = torch.tensor([0, 0, 0, 1, 1, 2, 2])
    assert torch.autograd.gradcheck(lambda z: rate_reduction(z, y), (Z,))


def test_variational_rate_bounds_the_conditional_rate(rng):
    Z, y = rng.normal(size=(40, 6)), rng.integers(0, 2, 40)
    rate = conditional_coding_rate(Z, y)
    rotations = np.stack([ortho_group.rvs(6, random_state=s) for s in range(2)])
    assert variational_coding_rate(Z, y, rotations) > rate
    eigenvectors = np.stack(
        [np.linalg.eigh(Z[y == k].T @ Z[y == k])[1] for k in (0, 1)]
    )
    assert variational_coding_rate(Z, y, eigenvectors) == pytest.approx(rate)


def test_float32_agrees_with_float64(rng):
    Z = rng.normal(size=(200, 5)) @ rng.normal(size=(5, 64))
    Z = project_sphere(Z)
    single = coding_rate(torch.from_numpy(Z.astype(np.float32)))
    assert single.dtype == torch.float32
    assert float(single) == pytest.approx(coding_rate(Z), rel=1e-4)


@pytest.mark.parametrize("distortion", [1e-2, 1e-4, 1e-6, 1e-8])
def test_float32_rates_stay_accurate_at_fine_distortion(rng, distortion):
    Z = project_sphere(rng.normal(size=(300, 5)) @ rng.normal(size=(5, 64)))
    Z = Z.astype(np.float32)
    y = rng.integers(0, 3, 300)
    for function in (coding_rate, coding_rate_gradient):
        exact = function(Z.astype(np.float64), distortion=distortion)
        np.testing.assert_allclose(
            function(Z, distortion=distortion), exact, rtol=1e-3, atol=1e-3
        )
    exact = rate_reduction_gradient(Z.astype(np.float64), y, distortion=distortion)
    single = rate_reduction_gradient(Z, y, distortion=distortion)
    np.testing.assert_allclose(single, exact, atol=3e-3 * np.abs(exact).max())


def test_tiny_rates_keep_their_relative_accuracy(rng):
    Z = 1e-7 * rng.normal(size=(50, 4))
    expected = 4 / (2 * 50 * 0.5) * (Z**2).sum()
    assert coding_rate(Z) == pytest.approx(expected, rel=1e-9)


@pytest.mark.parametrize("shape", [(0, 4), (1, 4), (4, 1)])
def test_degenerate_shapes_have_a_rate(shape):
    assert coding_rate(np.zeros(shape)) == 0


def test_single_row_class_has_its_closed_form():
    z = np.array([[3.0, 4.0]])
    assert coding_rate(z) == pytest.approx(0.5 * math.log1p(2 / 0.5 * 25))


@pytest.mark.parametrize("distortion", [0, -1, math.nan, math.inf])
def test_bad_distortion_is_named(distortion):
    with pytest.raises(ValueError, match="distortion="):
        coding_rate(np.eye(3), distortion=distortion)


def test_bad_shapes_are_named():
    with pytest.raises(ValueError, match="Z must have shape"):
        coding_rate(np.ones(3))
    with pytest.raises(ValueError, match="memberships has 2 rows, but Z has 3"):
        rate_reduction(np.eye(3), [0, 1])
    with pytest.raises(ValueError, match="must not be negative"):
        rate_reduction(np.eye(2), np.array([[2.0, -1.0], [0.5, 0.5]]))
    with pytest.raises(ValueError, match="must sum to one"):
        rate_reduction(np.eye(4), np.full((4, 2), 2.0))
    with pytest.raises(ValueError, match="labels from 0 to 1"):
        variational_coding_rate(np.eye(3), [0, 1, 2], np.stack([np.eye(3)] * 2))
    with pytest.raises(ValueError, match="empty class"):
        membership_gradient(np.eye(2), np.array([[1.0, 0.0], [1.0, 0.0]]))


def test_noise_distortion_is_its_mean_squared_norm():
    assert distortion_from_noise(0.1, 50) == pytest.approx(0.5)


def test_gradients_of_no_rows_are_empty():
    empty = np.zeros((0, 3))
    assert coding_rate_gradient(empty).shape == (0, 3)
    assert rate_reduction_gradient(empty, np.zeros(0, dtype=int)).shape == (0, 3)


def test_batches_of_matrices_are_coded_one_by_one(rng):
    Z = torch.from_numpy(rng.normal(size=(3, 10, 4)))
    expected = [coding_rate(z) for z in Z]
    np.testing.assert_allclose(coding_rate(Z), torch.stack(expected))
