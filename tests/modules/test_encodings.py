import copy
import pickle
from itertools import pairwise

import numpy as np
import pytest
import torch
from numpy.testing import assert_allclose

from sklearn_whitebox.modules._encodings import (
    LinearEncoding,
    PeriodicEncoding,
    PiecewiseLinearEncoding,
)


@pytest.fixture
def generator():
    return torch.Generator().manual_seed(0)


def piecewise(*edges):
    n_bins = max(map(len, edges)) - 1
    rows = [[*row, *[row[-1]] * (n_bins + 1 - len(row))] for row in edges]
    encoding = PiecewiseLinearEncoding(len(rows), n_bins=n_bins).double()
    encoding.set_edges(torch.tensor(rows, dtype=torch.float64))
    return encoding


def encode(encoding, x):
    return encoding(torch.as_tensor(x, dtype=torch.float64)[:, None])[:, 0].numpy()


def test_periodic_encoding_keeps_the_number_and_adds_waves_of_it(generator):
    encoding = PeriodicEncoding(3, n_waves=5, width=4)
    encoding.draw(generator)
    X = torch.randn(6, 3, generator=generator)
    encoded = encoding(X)
    assert encoded.shape == (6, 3, 4)
    assert torch.equal(encoded[..., 0], X)
    for j in range(3):
        angle = X[:, j, None] * encoding.frequency[j] + encoding.phase[j]
        waves = torch.cos(2 * torch.pi * angle) @ encoding.weight[j] + encoding.bias[j]
        assert_allclose(
            encoded[:, j, 1:].detach(), waves.detach(), rtol=1e-4, atol=1e-5
        )


def test_linear_encoding_is_the_number():
    X = torch.randn(4, 2)
    assert torch.equal(LinearEncoding()(X)[..., 0], X)


def test_piecewise_linear_code_is_the_published_one_up_to_scale(rng):
    edges = np.array([-1.0, -0.2, 0.1, 2.0])
    x = rng.uniform(-1, 2, 50)
    encoded = encode(piecewise(edges), x)
    assert_allclose(encoded[:, 0], x)
    for b, (left, right) in enumerate(pairwise(edges)):
        step = np.clip((x - left) / (right - left), 0, 1)
        assert_allclose(encoded[:, 1 + b], 2 / np.sqrt(3) * step, atol=1e-12)


def test_piecewise_linear_code_is_monotone():
    x = np.linspace(-5, 5, 400)
    encoded = encode(piecewise([-1.0, -0.5, 0.5, 0.501, 2.0]), x)
    assert (np.diff(encoded, axis=0) >= 0).all()
    assert (np.diff(encoded[:, 0]) > 0).all()


@pytest.mark.parametrize("seed", range(3))
def test_a_linear_map_of_the_code_is_any_piecewise_linear_function(seed):
    rng = np.random.default_rng(seed)
    edges = np.sort(rng.standard_normal(9))
    values = rng.standard_normal(9)
    encoding = piecewise(edges)
    design = np.column_stack([encode(encoding, edges), np.ones(9)])
    weight = np.linalg.lstsq(design, values, rcond=None)[0]
    x = rng.uniform(edges[0], edges[-1], 200)
    code = np.column_stack([encode(encoding, x), np.ones(200)])
    assert_allclose(code @ weight, np.interp(x, edges, values), atol=1e-8)


def test_code_goes_on_for_one_width_beyond_the_outer_edges_and_stops():
    encoding = piecewise([0.0, 0.5, 1.0])
    inside, on, far = (encode(encoding, [x])[0] for x in (1.0, 1.25, 1e6))
    width = encode(encoding, [1.0])[0] - encode(encoding, [0.5])[0]
    assert_allclose((on - inside)[2], width[2] / 2)
    assert_allclose((far - inside)[1:], [0, width[2]])
    below, far = (encode(encoding, [x])[0] for x in (0.0, -1e6))
    assert_allclose((below - far)[1:], [width[2], 0])


def test_narrow_outer_bins_do_not_explode_in_float32():
    encoding = PiecewiseLinearEncoding(1, n_bins=2)
    encoding.set_edges(torch.tensor([[0.0, 1.0, 1.0 + 2e-7]]))
    encoded = encoding(torch.tensor([[3.0], [-3.0]]))
    assert encoded.abs().max() < 10


def test_bins_that_are_not_needed_have_a_zero_code():
    encoding = piecewise([0.0, 1.0, 2.0, 3.0], [0.0, 1.0], [5.0])
    X = torch.linspace(-9, 9, 20, dtype=torch.float64)[:, None].expand(-1, 3)
    encoded = encoding(X)
    assert (encoded[:, 1, 2:] == 0).all()
    assert (encoded[:, 1, 1] != 0).any()
    assert (encoded[:, 2, 1:] == 0).all()
    assert torch.equal(encoded[:, 2, 0], X[:, 2])


@pytest.mark.parametrize("n_bins", [1, 4, 48])
def test_every_feature_has_a_code_of_like_size_whatever_its_bins(n_bins):
    edges = np.linspace(-1, 1, n_bins + 1)
    encoded = encode(piecewise(edges), np.linspace(-1, 1, 2001))[:, 1:]
    assert_allclose((encoded**2).sum(1).mean(), 4 / 2, atol=0.7)


def test_until_edges_are_set_the_code_is_the_number(generator):
    encoding = PiecewiseLinearEncoding(2, n_bins=3, device="meta")
    encoding = encoding.to_empty(device="cpu")
    encoding.draw(generator)
    encoded = encoding(torch.randn(5, 2))
    assert (encoded[..., 1:] == 0).all()


def test_edges_are_part_of_the_state(rng):
    one, two = piecewise([0.0, 1.0, 3.0]), piecewise([0.0, 0.0, 0.0])
    assert list(one.state_dict()) == ["edges"]
    empty = PiecewiseLinearEncoding(1, n_bins=2, device="meta")
    empty.load_state_dict(one.state_dict(), assign=True)
    two.load_state_dict(one.state_dict())
    for other in (two, empty, copy.deepcopy(one), pickle.loads(pickle.dumps(one))):
        assert_allclose(encode(other, [0.3, 2.0]), encode(one, [0.3, 2.0]))


def test_a_change_of_precision_keeps_the_code():
    one = piecewise([0.0, 1.0, 3.0])
    before = encode(one, [0.3, 2.0, 9.0])
    assert_allclose(encode(one.float().double(), [0.3, 2.0, 9.0]), before, rtol=1e-6)


@pytest.mark.parametrize(
    ("edges", "message"),
    [
        (torch.zeros(1, 4), r"\(2, 4\).*got \(1, 4\)"),
        (torch.tensor([[0.0, 1, 2, 1]] * 2), "ascend"),
        (torch.tensor([[0.0, 1, 2, torch.nan]] * 2), "finite"),
    ],
)
def test_edges_that_are_none_are_refused(edges, message):
    with pytest.raises(ValueError, match=message):
        PiecewiseLinearEncoding(2, n_bins=3).set_edges(edges)


def test_gradients_with_respect_to_the_numbers_are_the_slopes():
    encoding = piecewise([-1.0, 0.0, 0.5, 2.0])
    X = torch.tensor([[-0.5], [0.2], [1.0]], dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(encoding, X)
