import pytest
import torch
from numpy.testing import assert_allclose, assert_array_equal

from sklearn_whitebox.modules import CRATE, augment_images
from sklearn_whitebox.modules._crate_config import CRATEConfig, _drop_mask
from sklearn_whitebox.modules._shared_draws import SharedGenerator

N_ROWS = 7
PARTS = [slice(0, 3), slice(3, 7), slice(6, 7)]


def generators(part):
    shared = SharedGenerator().manual_seed(0)
    shared.n_rows, shared.part = N_ROWS, part
    return torch.Generator().manual_seed(0), shared


@pytest.mark.parametrize("part", PARTS)
@pytest.mark.parametrize("per_row", [1, 3])
def test_a_part_of_the_rows_gets_the_draws_that_it_gets_in_the_whole(part, per_row):
    alone, shared = generators(part)
    n_part = part.stop - part.start
    for _ in range(2):
        whole = _drop_mask(torch.ones(1), (N_ROWS * per_row, 5), 0.3, alone)
        found = _drop_mask(torch.ones(1), (n_part * per_row, 5), 0.3, shared)
        assert_array_equal(found, whole[part.start * per_row : part.stop * per_row])
    images = torch.rand(N_ROWS, 4, 4, 1, generator=torch.Generator().manual_seed(1))
    whole = augment_images(images, alone, flip=True, max_rotation=5.0, cutout=0.3)
    found = augment_images(
        images[part], shared, flip=True, max_rotation=5.0, cutout=0.3
    )
    assert_allclose(found, whole[part], rtol=1e-6)
    assert_array_equal(shared.get_state(), alone.get_state())


@pytest.mark.parametrize("part", PARTS)
@pytest.mark.parametrize("pool", ["class", "mean", "concat"])
@pytest.mark.parametrize("n_members", [1, 3])
def test_outputs_of_a_part_are_those_in_the_whole(part, pool, n_members):
    config = CRATEConfig(
        n_outputs=2,
        tokens="dense",
        n_features=3,
        categories=(4, 3),
        d_token=8,
        n_layers=2,
        n_heads=2,
        pool=pool,
        dropout=0.2,
        token_dropout=0.3,
        n_members=n_members,
    )
    source = torch.Generator().manual_seed(2)
    module = CRATE(config, generator=source).double()
    X = torch.rand(N_ROWS, 5, generator=source, dtype=torch.float64).round()
    alone, shared = generators(part)
    whole, found = module(X, alone), module(X[part], shared)
    assert_allclose(found.detach(), whole[part].detach(), rtol=1e-12)
    assert_array_equal(shared.get_state(), alone.get_state())
