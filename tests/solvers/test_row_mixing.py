import pytest
import torch

from sklearn_whitebox.solvers import ClassBlocks, RowMixing
from sklearn_whitebox.solvers._row_mixing import class_partners


def generator():
    return torch.Generator().manual_seed(0)


def test_partners_are_of_the_same_class():
    counts = (3, 1, 40)
    labels = torch.repeat_interleave(torch.arange(3), torch.tensor(counts))
    for seed in range(50):
        drawn = torch.Generator().manual_seed(seed)
        partners = class_partners(ClassBlocks(counts), drawn)
        torch.testing.assert_close(labels[partners], labels)


def test_heavy_rows_are_partners_as_often_as_their_copies():
    weights = torch.tensor([1.0, 3.0, 0.0, 2.0, 2.0])
    blocks = ClassBlocks((3, 2), weights=weights)
    source = generator()
    drawn = torch.stack([class_partners(blocks, source)[:3] for _ in range(3000)])
    shares = torch.bincount(drawn.flatten(), minlength=3) / drawn.numel()
    torch.testing.assert_close(
        shares, torch.tensor([0.25, 0.75, 0.0]), atol=0.02, rtol=0
    )


def test_mixed_rows_stay_in_the_convex_hull_of_their_class():
    X = torch.cat([torch.rand(30, 1), 5 + torch.rand(20, 1)])
    mixed = RowMixing(mixing=0.9).alter(X, ClassBlocks((30, 20)), generator())
    for rows in (slice(0, 30), slice(30, 50)):
        assert mixed[rows].min() >= X[rows].min()
        assert mixed[rows].max() <= X[rows].max()
    assert not torch.equal(mixed, X)


def test_rows_without_class_take_over_nothing():
    X = torch.randn(12, 4, generator=generator())
    mixed = RowMixing(mixing=0.5).alter(X, ClassBlocks((4, 4)), generator())
    assert torch.equal(mixed[8:], X[8:])
    assert not torch.equal(mixed[:8], X[:8])


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_noise_and_masking_have_the_strength_asked_for(dtype):
    X = torch.ones(400, 50, dtype=dtype)
    blocks = ClassBlocks((400,))
    noisy = RowMixing(noise=0.3).alter(X, blocks, generator())
    assert noisy.dtype == dtype
    assert abs(float((noisy - X).std()) - 0.3) < 0.01
    masked = RowMixing(masking=0.25).alter(X, blocks, generator())
    assert abs(float((masked == 0).double().mean()) - 0.25) < 0.01
    assert set(masked.unique().tolist()) == {0.0, 1.0}


def test_nothing_asked_for_changes_nothing():
    X = torch.randn(5, 3, generator=generator())
    assert torch.equal(RowMixing().alter(X, ClassBlocks((2, 3)), generator()), X)
