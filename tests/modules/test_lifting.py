"""Random lifting of rows, signals and images."""

import numpy as np
import pytest
import torch

from sklearn_whitebox.modules import CircularLift, RandomLift


def generator():
    return torch.Generator().manual_seed(0)


def random_signals(*shape):
    return torch.from_numpy(np.random.default_rng(0).standard_normal(shape))


def test_random_lift_is_the_formula():
    lift = RandomLift(3, 5, generator=generator())
    X = random_signals(4, 3)
    expected = np.maximum(X.numpy() @ lift.weight.numpy().T + lift.bias.numpy(), 0)
    np.testing.assert_allclose(lift(X), expected, atol=1e-14)


def test_random_lift_draws_the_stated_variances():
    lift = RandomLift(400, 3000, generator=generator())
    assert lift.weight.var().item() == pytest.approx(1 / 400, rel=0.01)
    assert lift.bias.var().item() == pytest.approx(1, rel=0.1)


@pytest.mark.parametrize(
    ("shape", "kernel"),
    [((2, 7), (3,)), ((1, 4), (4,)), ((3, 5, 6), (2, 3)), ((1, 3), (5,))],
)
def test_circular_lift_is_a_wrapped_correlation(shape, kernel):
    lift = CircularLift(shape[0], 4, kernel, generator=generator())
    x = random_signals(2, *shape)
    expected = np.zeros((2, 4, *shape[1:]))
    axes = tuple(range(-len(kernel), 0))
    for offset in np.ndindex(*kernel):
        moved = np.roll(x.numpy(), tuple(-o for o in offset), axis=axes)
        tap = lift.weight.numpy()[(slice(None), slice(None), *offset)]
        expected += np.einsum("oc,nc...->no...", tap, moved)
    np.testing.assert_allclose(lift(x), np.maximum(expected, 0), atol=1e-12)


@pytest.mark.parametrize(("shape", "axes"), [((2, 8), (-1,)), ((2, 5, 6), (-2, -1))])
def test_circular_lift_commutes_with_shifts(shape, axes):
    kernel = (3,) * len(axes)
    lift = CircularLift(shape[0], 6, kernel, generator=generator())
    x = random_signals(3, *shape)
    shifts = (2, 4)[: len(axes)]
    torch.testing.assert_close(
        lift(x.roll(shifts, axes)), lift(x).roll(shifts, axes), atol=1e-12, rtol=0
    )


@pytest.mark.parametrize(
    "make",
    [
        lambda **options: RandomLift(3, 4, **options),
        lambda **options: CircularLift(3, 4, (2,), **options),
    ],
)
def test_draws_follow_the_generator_only(make):
    before = torch.get_rng_state()
    single = make(generator=generator(), dtype=torch.float32)
    double = make(generator=generator())
    assert torch.equal(before, torch.get_rng_state())
    torch.testing.assert_close(single.weight.double(), double.weight, atol=1e-6, rtol=0)
    assert not make().weight.any()
