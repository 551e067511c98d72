import pytest
import torch

from sklearn_whitebox.modules._crate import CRATE
from sklearn_whitebox.modules._crate_config import CRATEConfig
from sklearn_whitebox.modules._crate_presets import crate_preset


@pytest.mark.parametrize(
    ("name", "n_parameters"),
    [
        ("crate-tiny", 6_090_856),
        ("crate-small", 13_116_328),
        ("crate-base", 22_796_008),
        ("crate-large", 77_641_192),
        ("crate-alpha-base", 72_328_936),
        ("crate-alpha-large", 253_650_920),
    ],
)
def test_presets_have_the_published_number_of_parameters(name, n_parameters):
    module = CRATE(crate_preset(name), device="meta")
    assert sum(p.numel() for p in module.parameters()) == n_parameters


def test_a_preset_takes_other_images_and_classes():
    config = crate_preset("crate-tiny", n_outputs=10, image_shape=(32, 32, 1))
    module = CRATE(config, device="meta")
    assert module.n_positions == 5
    assert module(torch.empty(2, 1024, device="meta")).shape == (2, 10)


@pytest.mark.parametrize(
    ("width", "depth", "heads", "n_parameters"),
    [(384, 12, 6, 5_381_098), (192, 6, 4, 694_186)],
)
def test_sizes_for_small_images_have_the_number_of_parameters(
    width, depth, heads, n_parameters
):
    config = CRATEConfig(
        10,
        "patch",
        image_shape=(32, 32, 3),
        patch_size=4,
        d_token=width,
        n_layers=depth,
        n_heads=heads,
    )
    module = CRATE(config, device="meta")
    assert sum(p.numel() for p in module.parameters()) == n_parameters


def test_an_unknown_preset_is_refused():
    with pytest.raises(ValueError, match="name='huge' must be one of"):
        crate_preset("huge")
