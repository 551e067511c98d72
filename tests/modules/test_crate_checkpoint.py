import numpy as np
import pytest
import torch
from numpy.testing import assert_allclose

from sklearn_whitebox.modules._crate import CRATE
from sklearn_whitebox.modules._crate_checkpoint import load_original_checkpoint
from sklearn_whitebox.modules._crate_config import CRATEConfig


@pytest.fixture
def published(reference):
    vectors = reference("crate_full_tiny")
    state = {
        name[2:]: torch.from_numpy(value)
        for name, value in vectors.items()
        if name.startswith("w.")
    }
    return state, vectors


def _images(vectors):
    return torch.from_numpy(vectors["img"]).permute(0, 2, 3, 1)


def test_a_published_checkpoint_gives_the_published_logits(published):
    state, vectors = published
    module = load_original_checkpoint(state, n_heads=int(vectors["heads"]))
    config = module.config
    assert config.image_shape == (8, 8, 3)
    assert (config.patch_size, config.n_layers, config.d_token) == (4, 3, 24)
    assert not module.training
    with torch.no_grad():
        assert_allclose(module(_images(vectors)), vectors["logits"], atol=2e-5)
        traces = module.trace(_images(vectors))
    for trace, tokens in zip(traces, vectors["z_layers"], strict=True):
        assert_allclose(trace.output, tokens, atol=2e-5)


def test_a_loaded_network_can_be_trained_on(published):
    state, vectors = published
    module = load_original_checkpoint(state, n_heads=3)
    labels = torch.from_numpy(vectors["labels"])
    torch.nn.functional.cross_entropy(module(_images(vectors)), labels).backward()
    position = module.position.grad
    assert_allclose(position, vectors["g.pos_embedding"], rtol=1e-3, atol=1e-5)
    assert all(p.grad is not None for p in module.parameters())
    with torch.no_grad():
        module.position.zero_()
    assert state["pos_embedding"].abs().min() > 0


@pytest.mark.parametrize("wrapped", ["state_dict", "model", None])
def test_wrapped_and_prefixed_checkpoints_are_read(published, wrapped):
    state, vectors = published
    state = {f"module.{name}": value for name, value in state.items()}
    state = state if wrapped is None else {wrapped: state, "epoch": 3}
    module = load_original_checkpoint(state, n_heads=3)
    with torch.no_grad():
        assert_allclose(module(_images(vectors)), vectors["logits"], atol=2e-5)


@pytest.mark.parametrize("dtype", [torch.float16, torch.float32, torch.float64])
def test_double_precision_stays_and_half_is_widened(published, dtype):
    state = {name: value.to(dtype) for name, value in published[0].items()}
    module = load_original_checkpoint(state, n_heads=3)
    wanted = torch.float64 if dtype == torch.float64 else torch.float32
    assert {p.dtype for p in module.parameters()} == {wanted}


def _break(state, **changes):
    return {n: v for n, v in (state | changes).items() if v is not None}


@pytest.mark.parametrize(
    ("changes", "settings", "message"),
    [
        ({"cls_token": None}, {}, "lacks the weights for class_token"),
        ({"mlp_head.0.bias": None}, {}, "lacks the weights for norm.bias"),
        (
            {"transformer.layers.1.0.fn.qkv.weight": None},
            {},
            "lacks the weights for layers.1.compress.projection.weight",
        ),
        ({"blocks.0.weight": torch.ones(2)}, {}, "no published CRATE has: blocks.0"),
        ({"epoch": 4}, {}, r"state\['epoch'\] is a int, no tensor"),
        ({"cls_token": torch.ones(24)}, {}, "must have 3 axes"),
        ({"mlp_head.0.bias": torch.ones(7)}, {}, r"norm.bias has shape \(7,\)"),
        ({}, {"n_heads": None}, "give n_heads"),
        ({}, {"n_heads": 5}, "n_heads=5 must divide the width 24"),
        ({}, {"n_channels": 5}, "no squares of 5 channels"),
        ({}, {"image_shape": (8, 16, 3)}, "has not the 4 patches"),
    ],
)
def test_a_checkpoint_that_does_not_fit_is_refused(
    published, changes, settings, message
):
    state = _break(published[0], **changes)
    with pytest.raises(ValueError, match=message):
        load_original_checkpoint(state, **({"n_heads": 3} | settings))


def test_an_empty_state_is_refused():
    with pytest.raises(ValueError, match="lacks the weights for position"):
        load_original_checkpoint({})


def test_a_network_without_layers_is_refused(published):
    state = {n: v for n, v in published[0].items() if "transformer" not in n}
    with pytest.raises(ValueError, match="lacks the weights for transformer"):
        load_original_checkpoint(state, n_heads=3)


def _alpha_layer(generator, number, width):
    def draw(*shape):
        return torch.randn(shape, generator=generator) / width**0.5

    prefix = f"transformer.layers.{number}."
    shapes = {
        "0.norm.weight": (width,),
        "0.norm.bias": (width,),
        "0.fn.qkv.weight": (width, width),
        "0.fn.to_out.0.weight": (width, width),
        "1.norm.weight": (width,),
        "1.norm.bias": (width,),
        "1.fn.D": (width, 4 * width),
        "1.fn.D1": (width, 4 * width),
    }
    return {prefix + name: draw(*shape) for name, shape in shapes.items()}


def test_an_overcomplete_checkpoint_has_a_convolution_for_patches():
    generator = torch.Generator().manual_seed(0)
    width, patch = 8, 2

    def draw(*shape):
        return torch.randn(shape, generator=generator)

    state = {
        "conv1.weight": draw(width, 3, patch, patch),
        "conv1.bias": draw(width),
        "pos_embedding": draw(1, 10, width),
        "cls_token": draw(1, 1, width),
        "mlp_head.0.weight": draw(width),
        "mlp_head.0.bias": draw(width),
        "mlp_head.1.weight": draw(5, width),
        "mlp_head.1.bias": draw(5),
    }
    for number in range(2):
        state |= _alpha_layer(generator, number, width)
    module = load_original_checkpoint(state, n_heads=2)
    assert module.config.sparsifier == "odl"
    assert module.config.image_shape == (6, 6, 3)
    images = draw(3, 3, 6, 6)
    with torch.no_grad():
        tokens = torch.nn.functional.conv2d(
            images, state["conv1.weight"], state["conv1.bias"], stride=patch
        )
        expected = tokens.flatten(2).mT
        found = module.tokens(images.permute(0, 2, 3, 1))
        assert_allclose(found, expected, atol=1e-5)
        assert torch.isfinite(module(images.permute(0, 2, 3, 1))).all()
    assert module.layers[0].compress_norm.eps == 1e-6
    assert module.norm.eps == 1e-5


def test_a_layer_of_an_overcomplete_checkpoint_reproduces_the_program(reference):
    vectors = reference("crate_alpha_layer")
    x = torch.from_numpy(vectors["x"])
    width = x.shape[-1]
    state = {
        name.replace("w.layers", "transformer.layers"): torch.from_numpy(value)
        for name, value in vectors.items()
        if name.startswith("w.")
    }
    state |= {
        "conv1.weight": torch.ones(width, 1, 2, 2),
        "conv1.bias": torch.ones(width),
        "pos_embedding": torch.ones(1, 5, width),
        "cls_token": torch.ones(1, 1, width),
        "mlp_head.0.weight": torch.ones(width),
        "mlp_head.0.bias": torch.ones(width),
        "mlp_head.1.weight": torch.ones(2, width),
        "mlp_head.1.bias": torch.ones(2),
    }
    module = load_original_checkpoint(state, n_heads=int(vectors["heads"]))
    with torch.no_grad():
        assert_allclose(module.layers[0](x), vectors["y"], rtol=1e-4, atol=2e-5)


def test_loading_draws_nothing_from_the_global_generator(published):
    before = torch.get_rng_state()
    load_original_checkpoint(published[0], n_heads=3)
    assert torch.equal(torch.get_rng_state(), before)


def test_the_configuration_of_a_checkpoint_builds_the_same_network(published):
    module = load_original_checkpoint(published[0], n_heads=3)
    again = CRATE(CRATEConfig(**vars(module.config)))
    again.load_state_dict(module.state_dict())
    rows = _images(published[1])
    with torch.no_grad():
        assert np.array_equal(again(rows), module(rows))
