import numpy as np
import pytest
import torch
from torch.nn.functional import normalize, one_hot

from sklearn_whitebox.functional import (
    max_feature_penalty,
    project_sphere,
    rate_reduction,
    rate_reduction_gradient,
)
from sklearn_whitebox.solvers._rate_batches import sorted_blocks, stratified_batches
from sklearn_whitebox.solvers._rate_blocks import ClassBlocks, RateObjective
from sklearn_whitebox.solvers._rate_reduction import scale_blocks
from sklearn_whitebox.solvers._rate_reduction_loss import (
    inverse_and_logdet,
    rate_loss,
    rate_loss_and_gradient,
)

PLAIN = RateObjective(0.5)
RICH = RateObjective(0.3, 20.0, 0.05, 1.3)
# Rows of the classes, rows of no class, dimension.
SHAPES = [
    ((14, 9, 7), 0, 8),
    ((3, 4, 30), 0, 8),
    ((2,) * 9, 0, 8),
    ((5, 1, 2, 9), 4, 30),
    ((20, 30, 7), 11, 9),
    ((3, 4), 0, 40),
    ((40, 90), 5, 60),
]


def draw(counts, free, d, seed=0):
    generator = torch.Generator().manual_seed(seed)
    n = sum(counts) + free
    Z = normalize(torch.randn(n, d, generator=generator, dtype=torch.float64))
    labels = torch.repeat_interleave(torch.arange(len(counts)), torch.tensor(counts))
    weights = torch.randint(1, 4, (n,), generator=generator).double()
    memberships = torch.softmax(
        torch.randn(free, len(counts), generator=generator, dtype=torch.float64), 1
    )
    return Z, labels, weights, memberships


@pytest.mark.parametrize("objective", [PLAIN, RICH])
@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize(("counts", "free", "d"), SHAPES[:6])
def test_closed_form_gradient_passes_gradcheck(counts, free, d, weighted, objective):
    Z, _, weights, _ = draw(counts, free, d)
    blocks = ClassBlocks(counts, weights if weighted else None)
    assert torch.autograd.gradcheck(
        lambda Z: rate_loss(Z, blocks, objective), Z.requires_grad_()
    )


@pytest.mark.parametrize("stored", [False, True])
@pytest.mark.parametrize("weighted", [False, True])
def test_gradient_with_memberships_and_moments_passes_gradcheck(weighted, stored):
    counts, free, d = (6, 3, 7), 5, 6
    Z, _, weights, memberships = draw(counts, free, d)
    old = torch.randn(3, 9, d, dtype=torch.float64)
    blocks = ClassBlocks(
        counts,
        weights if weighted else None,
        memberships,
        old.mT @ old if stored else None,
        torch.tensor([4.0, 9.0, 2.0], dtype=torch.float64) if stored else None,
    )
    assert torch.autograd.gradcheck(
        lambda Z: rate_loss(Z, blocks, RICH), Z.requires_grad_()
    )


@pytest.mark.parametrize(("counts", "free", "d"), [s for s in SHAPES if not s[1]])
def test_loss_is_minus_the_rate_reduction_of_copies(counts, free, d):
    Z, labels, weights, _ = draw(counts, free, d)
    loss, gradient = rate_loss_and_gradient(Z, ClassBlocks(counts), PLAIN)
    assert float(loss) == pytest.approx(-float(rate_reduction(Z, labels)), abs=1e-10)
    torch.testing.assert_close(gradient, -rate_reduction_gradient(Z, labels))
    loss, _ = rate_loss_and_gradient(Z, ClassBlocks(counts, weights), PLAIN)
    copies = weights.long()
    expected = rate_reduction(
        Z.repeat_interleave(copies, 0), labels.repeat_interleave(copies)
    )
    assert float(loss) == pytest.approx(-float(expected), abs=1e-10)


@pytest.mark.parametrize(("counts", "free", "d"), [s for s in SHAPES if s[1]])
def test_soft_memberships_follow_the_definition(counts, free, d):
    Z, labels, _, memberships = draw(counts, free, d)
    loss, _ = rate_loss_and_gradient(
        Z, ClassBlocks(counts, memberships=memberships), PLAIN
    )
    soft = torch.cat([one_hot(labels).double(), memberships])
    assert float(loss) == pytest.approx(-float(rate_reduction(Z, soft)), abs=1e-10)


def test_moments_stand_for_the_rows_they_were_made_of():
    counts, d = (8, 5), 4
    Z, labels, _, _ = draw(counts, 0, d)
    rows = torch.tensor([0, 1, 2, 8, 9])
    rest = torch.tensor([3, 4, 5, 6, 7, 10, 11, 12])
    moments = torch.stack(
        [Z[rest][labels[rest] == k].mT @ Z[rest][labels[rest] == k] for k in (0, 1)]
    )
    blocks = ClassBlocks((3, 2), moments=moments, masses=torch.tensor([5.0, 3.0]))
    whole, gradient = rate_loss_and_gradient(Z, ClassBlocks(counts), PLAIN)
    part, part_gradient = rate_loss_and_gradient(Z[rows], blocks, PLAIN)
    assert float(part) == pytest.approx(float(whole), abs=1e-12)
    torch.testing.assert_close(part_gradient, gradient[rows])


@pytest.mark.parametrize("side", [1, 7, 48, 49, 100, 130, 500])
def test_split_inverse_is_the_inverse(side):
    A = torch.randn(
        2, side, side, dtype=torch.float64, generator=torch.Generator().manual_seed(0)
    )
    M = A @ A.mT / side + torch.eye(side)
    inverse, logdet = inverse_and_logdet(M)
    identity = torch.eye(side, dtype=torch.float64).expand(2, side, side)
    torch.testing.assert_close(inverse @ M, identity, rtol=0, atol=1e-10)
    np.testing.assert_allclose(logdet, np.linalg.slogdet(M.numpy())[1])


def test_free_features_become_orthogonal_with_equal_spectra(rng):
    Z = torch.from_numpy(project_sphere(rng.normal(size=(60, 12))))
    blocks = ClassBlocks((20, 20, 20))
    labels = np.repeat(np.arange(3), 20)
    alpha = 12 / (60 * 0.5)
    for step in range(500):
        _, gradient = rate_loss_and_gradient(Z, blocks, PLAIN)
        Z = normalize(Z - 0.5 / alpha * gradient)
        if step == 99:
            cosines = (Z @ Z.T).abs().numpy()
            assert cosines[labels[:, None] != labels].max() < 1e-6
    cosines = (Z @ Z.T).abs().numpy()
    assert cosines[labels[:, None] != labels].max() < 1e-10
    ranks = 0
    for k in range(3):
        values = torch.linalg.svdvals(Z[labels == k])
        values = values[values > 1e-6]
        assert float(values.max() / values.min()) == pytest.approx(1, abs=1e-3)
        ranks += len(values)
    assert ranks <= 12


def test_regularised_features_reach_the_singular_values_of_the_theory(rng):
    counts = (30, 20, 10)
    penalty = 0.5 * max_feature_penalty(counts, 12)
    objective = RateObjective(0.5, feature_penalty=penalty * 60)
    Z = torch.from_numpy(0.1 * rng.normal(size=(60, 12)))
    for _ in range(6000):
        _, gradient = rate_loss_and_gradient(Z, ClassBlocks(counts), objective)
        Z = Z - 2 * gradient
    for block, expected in zip(
        Z.split(counts), (3.24409, 3.99553, 4.61731), strict=True
    ):
        values = torch.linalg.svdvals(block)
        values = values[values > 1e-3]
        np.testing.assert_allclose(values, expected, rtol=1e-5)


def test_batches_hold_the_classes_in_proportion():
    labels = torch.tensor([0] * 60 + [1] * 30 + [2] * 10)[torch.randperm(100)]
    generator = torch.Generator().manual_seed(0)
    batches = list(stratified_batches(labels, 5, generator))
    np.testing.assert_array_equal(torch.cat(batches).sort().values, np.arange(100))
    for rows in batches:
        counts = torch.bincount(labels[rows], minlength=3)
        assert (counts - torch.tensor([12, 6, 2])).abs().max() <= 1


def test_batches_are_sorted_with_unlabelled_rows_last():
    labels = torch.tensor([2, -1, 0, 2, -1, 0])
    rows, blocks = sorted_blocks(torch.arange(6), labels, None)
    assert labels[rows].tolist() == [0, 0, 2, 2, -1, -1]
    assert blocks.counts == (2, 2)


def test_scaled_blocks_have_a_mean_squared_norm_of_one():
    Z, _, weights, _ = draw((4, 6), 3, 5)
    blocks = ClassBlocks((4, 6), weights)
    squares = weights * scale_blocks(3 * Z, blocks).square().sum(1)
    for part, mass in zip(
        squares.split((4, 6, 3)), weights.split((4, 6, 3)), strict=True
    ):
        torch.testing.assert_close(part.sum(), mass.sum())


def test_broken_features_are_refused():
    with pytest.raises(FloatingPointError, match="no longer finite"):
        rate_loss_and_gradient(
            torch.full((4, 3), torch.nan), ClassBlocks((2, 2)), PLAIN
        )
