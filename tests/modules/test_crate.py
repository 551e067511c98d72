import numpy as np
import pytest
import torch
from numpy.testing import assert_allclose

from sklearn_whitebox.modules import (
    CRATE,
    CRATEConfig,
    CRATELayer,
    layer_statistics,
)

_LAYER_NAMES = {
    "0.norm.weight": "compress_norm.weight",
    "0.norm.bias": "compress_norm.bias",
    "0.fn.qkv.weight": "compress.projection.weight",
    "0.fn.to_out.0.weight": "compress.output.weight",
    "0.fn.to_out.0.bias": "compress.output.bias",
    "1.norm.weight": "sparsify_norm.weight",
    "1.norm.bias": "sparsify_norm.bias",
    "1.fn.weight": "sparsify.dictionary",
    "1.fn.D": "sparsify.dictionary",
    "1.fn.D1": "sparsify.decoder",
}
_NET_NAMES = {
    "pos_embedding": "position",
    "cls_token": "class_token",
    "to_patch_embedding.1.weight": "tokens.patch_norm.weight",
    "to_patch_embedding.1.bias": "tokens.patch_norm.bias",
    "to_patch_embedding.2.weight": "tokens.projection.weight",
    "to_patch_embedding.2.bias": "tokens.projection.bias",
    "to_patch_embedding.3.weight": "tokens.token_norm.weight",
    "to_patch_embedding.3.bias": "tokens.token_norm.bias",
    "mlp_head.0.weight": "norm.weight",
    "mlp_head.0.bias": "norm.bias",
    "mlp_head.1.weight": "head.weight",
    "mlp_head.1.bias": "head.bias",
}


def _our_name(name):
    if name in _NET_NAMES:
        return _NET_NAMES[name]
    _, _, number, rest = name.split(".", 3)
    return f"layers.{number}.{_LAYER_NAMES[rest]}"


def _tensor(array):
    return torch.from_numpy(np.array(array, dtype=np.float64))


def _load_layer(vectors, **settings):
    config = CRATEConfig(
        2, "dense", d_token=12, n_heads=int(vectors["heads"]), **settings
    )
    layer = CRATELayer(config).double()
    state = {
        _LAYER_NAMES[name.removeprefix("w.layers.0.")]: _tensor(value)
        for name, value in vectors.items()
        if name.startswith("w.")
    }
    layer.load_state_dict(state)
    return layer


@pytest.mark.parametrize(
    ("name", "settings"),
    [
        ("crate_layer", {}),
        ("crate_mae_encoder_layer", {"sparsity": 0.5}),
        (
            "crate_alpha_layer",
            {"sparsifier": "odl", "output_bias": False, "layer_norm_eps": 1e-6},
        ),
    ],
)
def test_a_layer_reproduces_the_published_program(reference, name, settings):
    vectors = reference(name)
    layer = _load_layer(vectors, **settings)
    with torch.no_grad():
        trace = layer.trace(_tensor(vectors["x"]))
        assert torch.equal(layer(_tensor(vectors["x"])), trace.output)
    assert_allclose(trace.output, vectors["y"], rtol=1e-5, atol=1e-5)
    if "z_half" in vectors:
        assert_allclose(trace.half, vectors["z_half"], rtol=1e-5, atol=1e-5)


@pytest.fixture
def published(reference):
    vectors = reference("crate_full_tiny")
    config = CRATEConfig(
        5,
        "patch",
        image_shape=(8, 8, 3),
        patch_size=4,
        d_token=24,
        n_layers=3,
        n_heads=3,
    )
    module = CRATE(config).double()
    module.load_state_dict(
        {
            _our_name(name[2:]): _tensor(value)
            for name, value in vectors.items()
            if name.startswith("w.")
        }
    )
    images = _tensor(vectors["img"]).permute(0, 2, 3, 1).flatten(1)
    return module, images, vectors


def test_the_network_reproduces_the_published_program(published):
    module, images, vectors = published
    with torch.no_grad():
        assert_allclose(module.tokens(images), vectors["patch_tokens"], atol=2e-5)
        for trace, tokens in zip(
            module.trace(images), vectors["z_layers"], strict=True
        ):
            assert_allclose(trace.output, tokens, atol=2e-5)
    logits = module(images)
    assert_allclose(logits.detach(), vectors["logits"], atol=2e-5)
    loss = torch.nn.functional.cross_entropy(
        logits, torch.from_numpy(vectors["labels"])
    )
    assert_allclose(loss.item(), vectors["ce_loss"], rtol=1e-5)
    loss.backward()
    gradients = {name: p.grad for name, p in module.named_parameters()}
    for name, value in vectors.items():
        if name.startswith("g."):
            gradient = gradients.pop(_our_name(name[2:]))
            assert_allclose(gradient, value, rtol=1e-4, atol=1e-5, err_msg=name)
    assert not gradients


def test_layer_statistics_reproduce_the_published_diagnostics(published):
    module, images, vectors = published
    with torch.no_grad():
        found = layer_statistics(module, images)
    for name, expected in (
        ("coding_rate", "coding_rate_mean"),
        ("coding_rate_std", "coding_rate_std"),
        ("nonzero_fraction", "nonzero_fraction"),
    ):
        assert_allclose(found[name], vectors[expected], rtol=1e-5)


def _module(seed=0, **settings):
    settings = {"tokens": "dense", "n_features": 5, "d_token": 16} | settings
    config = CRATEConfig(3, **settings)
    return CRATE(config, generator=torch.Generator().manual_seed(seed))


_VARIANTS = [
    (attention, sparsifier, tokens)
    for attention in ("mssa", "tssa")
    for sparsifier in ("ista", "odl", "mlp", None)
    for tokens in ("dense", "feature", "patch")
]


def _variant(attention, sparsifier, tokens, **settings):
    if tokens == "patch":
        settings |= {"image_shape": (4, 4, 1), "patch_size": 2}
    return _module(
        attention=attention, sparsifier=sparsifier, tokens=tokens, **settings
    )


def _rows(module, n=6):
    width = 16 if module.config.tokens == "patch" else 5
    return torch.randn(n, width, generator=torch.Generator().manual_seed(1))


@pytest.mark.parametrize(("attention", "sparsifier", "tokens"), _VARIANTS)
def test_every_parameter_of_every_variant_gets_a_gradient(
    attention, sparsifier, tokens
):
    module = _variant(attention, sparsifier, tokens, n_layers=2)
    rows = _rows(module)
    logits = module(rows)
    assert logits.shape == (6, 3)
    torch.nn.functional.cross_entropy(logits, torch.arange(6) % 3).backward()
    for name, parameter in module.named_parameters():
        assert torch.isfinite(parameter.grad).all(), name
        assert (parameter.grad != 0).any(), name


@pytest.mark.parametrize(("attention", "sparsifier", "tokens"), _VARIANTS)
def test_rows_do_not_influence_one_another(attention, sparsifier, tokens):
    module = _variant(attention, sparsifier, tokens).double()
    rows = _rows(module).double()
    with torch.no_grad():
        assert_allclose(module(rows)[2:3], module(rows[2:3]), atol=1e-12)


@pytest.mark.parametrize(("attention", "sparsifier", "tokens"), _VARIANTS)
def test_the_features_are_the_class_token_of_the_last_layer(
    attention, sparsifier, tokens
):
    module = _variant(attention, sparsifier, tokens).double()
    rows = _rows(module).double()
    with torch.no_grad():
        whole = module.norm(module.trace(rows)[-1].output[:, 0])
        assert_allclose(module.pool(rows), whole, atol=1e-12)


@pytest.mark.parametrize("attention", ["mssa", "tssa"])
def test_patches_may_be_permuted_when_the_positions_are_zero(attention):
    module = _variant(attention, "ista", "patch").double()
    module.position.data.zero_()
    rows = _rows(module).double()
    order = torch.randperm(4, generator=torch.Generator().manual_seed(2))
    tiles = rows.reshape(6, 2, 2, 2, 2).transpose(2, 3).reshape(6, 4, 4)[:, order]
    moved = tiles.reshape(6, 2, 2, 2, 2).transpose(2, 3).reshape(6, 16)
    with torch.no_grad():
        assert_allclose(module(moved), module(rows), atol=1e-12)


def test_ista_layers_give_sparse_non_negative_tokens_that_lower_the_lasso():
    module = _module(n_layers=3)
    with torch.no_grad():
        for trace in module.trace(_rows(module)):
            assert (trace.output >= 0).all()
        found = layer_statistics(module, _rows(module))
    assert ((found["nonzero_fraction"] > 0) & (found["nonzero_fraction"] < 1)).all()
    assert (found["lasso_after"] < found["lasso_before"]).all()


@pytest.mark.parametrize(("attention", "sparsifier", "tokens"), _VARIANTS)
def test_statistics_have_one_row_a_layer(attention, sparsifier, tokens):
    module = _variant(attention, sparsifier, tokens, n_layers=2)
    with torch.no_grad():
        found = layer_statistics(module, _rows(module))
    assert all(len(value) == 2 for value in found.values())
    assert torch.isfinite(found["coding_rate"]).all()
    sparse = sparsifier in ("ista", "odl")
    assert bool(torch.isfinite(found["nonzero_fraction"]).all()) is sparse
    diagonal = found["subspace_coherence"].diagonal(dim1=1, dim2=2)
    assert_allclose(diagonal, 1, rtol=1e-5)


def test_construction_leaves_the_global_generator_alone():
    before = torch.get_rng_state()
    first = _module(seed=3)
    CRATE(first.config)
    assert torch.equal(torch.get_rng_state(), before)


def test_construction_does_not_depend_on_the_default_dtype():
    before = torch.get_default_dtype()
    expected = _module().state_dict()
    try:
        torch.set_default_dtype(torch.float64)
        found = _module().state_dict()
    finally:
        torch.set_default_dtype(before)
    for name, value in expected.items():
        assert found[name].dtype == torch.float32
        assert torch.equal(found[name], value)


def test_every_parameter_is_drawn():
    # Memory that happens to be zero would hide a parameter that nothing initialises.
    module = _module(attention="tssa", sparsifier="odl", n_layers=1)
    for parameter in module.parameters():
        parameter.data.fill_(float("nan"))
    module.draw(torch.Generator().manual_seed(0))
    assert all(torch.isfinite(p).all() for p in module.parameters())


def test_a_part_that_can_draw_is_drawn():
    class Constant(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.value = torch.nn.Parameter(torch.empty(3))

        def draw(self, generator):
            torch.nn.init.uniform_(self.value, 2, 3, generator=generator)

    module = _module(n_layers=1)
    module.layers[0].sparsify = Constant()
    module.draw(torch.Generator().manual_seed(0))
    value = module.layers[0].sparsify.value
    assert ((value >= 2) & (value <= 3)).all()


@pytest.mark.parametrize("attention", ["mssa", "tssa"])
def test_dropout_is_drawn_from_the_generator_it_is_given(attention):
    module = _module(attention=attention, dropout=0.5)
    rows = _rows(module)

    def run(seed):
        return module(rows, torch.Generator().manual_seed(seed))

    with torch.no_grad():
        assert torch.equal(run(0), run(0))
        assert not torch.equal(run(0), run(1))
        assert torch.equal(module(rows), module(rows))


def test_weight_decay_is_for_the_matrices_of_the_layers_and_the_head():
    module = _module(attention="tssa", n_layers=1)
    decayed = {n for n, p in module.named_parameters() if CRATE.is_decayed(n, p)}
    assert decayed == {
        "layers.0.compress.projection.weight",
        "layers.0.compress.output.weight",
        "layers.0.sparsify.dictionary",
        "head.weight",
    }


def test_heads_that_do_not_divide_the_width_are_refused():
    with pytest.raises(ValueError, match="n_heads=5 must divide d_token=16"):
        _module(n_heads=5)
