"""The steps of a layer, one by one: attention, sparsifiers, dropout, the decoder."""

import numpy as np
import pytest
import torch
from numpy.testing import assert_allclose

from sklearn_whitebox import functional as F
from sklearn_whitebox.functional._fused import fused_attention
from sklearn_whitebox.modules._crate_attention import (
    StatisticsAttention,
    SubspaceAttention,
)
from sklearn_whitebox.modules._crate_config import CRATEConfig, _drop
from sklearn_whitebox.modules._crate_decoder import CRATEDecoderLayer
from sklearn_whitebox.modules._crate_steps import ISTAStep, OvercompleteStep


def _generator(seed=0):
    return torch.Generator().manual_seed(seed)


def test_causal_token_statistics_need_the_number_of_positions():
    config = CRATEConfig(2, "dense", attention="tssa", is_causal=True)
    with pytest.raises(ValueError, match="give n_positions"):
        StatisticsAttention(config)


def test_a_tied_output_is_the_transposed_basis_times_a_step():
    config = CRATEConfig(2, "dense", d_token=12, n_heads=3, tie_output=True)
    attention = SubspaceAttention(config).double()
    torch.nn.init.normal_(attention.projection.weight, generator=_generator())
    attention.draw(_generator())
    attention.step.data.fill_(0.5)
    tokens = torch.randn(2, 7, 12, dtype=torch.float64, generator=_generator(1))
    U = attention.projection.weight.detach().mT
    attended = F.merge_heads(F.subspace_self_attention(F.split_heads(tokens @ U, 3)))
    with torch.no_grad():
        assert_allclose(attention(tokens), 0.5 * attended @ U.mT, atol=1e-12)


@pytest.mark.parametrize("n_steps", [1, 2, 5])
def test_overcomplete_steps_are_those_of_the_functional_floor(n_steps):
    config = CRATEConfig(2, "dense", d_token=6, n_steps=n_steps)
    step = OvercompleteStep(config).double()
    step.draw(_generator())
    tokens = torch.randn(4, 6, dtype=torch.float64, generator=_generator(1))
    with torch.no_grad():
        expected = F.overcomplete_step(
            tokens, step.dictionary, step.decoder, n_steps=n_steps
        )
        assert_allclose(step(tokens), expected, atol=1e-12)


@pytest.mark.parametrize("learn_step", [False, True])
def test_the_sparse_step_is_that_of_the_functional_floor(learn_step):
    config = CRATEConfig(
        2, "dense", d_token=6, step_size=0.3, sparsity=0.2, learn_step=learn_step
    )
    step = ISTAStep(config).double()
    step.draw(_generator())
    tokens = torch.randn(2, 9, 6, dtype=torch.float64, generator=_generator(1))
    tokens.requires_grad_()
    found = step(tokens)
    expected = F.sparsification_step(
        tokens, step.dictionary, step_size=0.3, sparsity=0.2
    )
    tolerance = 1e-6 if learn_step else 1e-12
    assert_allclose(found.detach(), expected.detach(), atol=tolerance)
    inputs = (tokens, step.dictionary)
    for ours, theirs in zip(
        torch.autograd.grad((found**2).sum(), inputs),
        torch.autograd.grad((expected**2).sum(), inputs),
        strict=True,
    ):
        assert_allclose(ours, theirs, atol=10 * tolerance)


def test_a_learnt_step_must_start_above_zero():
    config = CRATEConfig(2, "dense", sparsity=0.0, learn_step=True)
    with pytest.raises(ValueError, match="start above zero"):
        ISTAStep(config)


@pytest.mark.parametrize("n_tokens", [3, 15, 16, 20])
@pytest.mark.parametrize("is_masked", [False, True])
def test_fused_attention_is_the_plain_one(n_tokens, is_masked):
    heads = torch.randn(2, 3, n_tokens, 4, dtype=torch.float64, generator=_generator())
    heads.requires_grad_()
    mask = None
    weights = F.subspace_attention_weights(heads)
    if is_masked:
        mask = _drop(torch.ones_like(weights), 0.3, _generator(1))
        weights = weights * mask
    expected, found = weights @ heads, fused_attention(heads, mask)
    assert_allclose(found.detach(), expected.detach(), atol=1e-12)
    pull = torch.randn(heads.shape, dtype=heads.dtype, generator=_generator(2))
    ours = torch.autograd.grad((found * pull).sum(), heads)[0]
    theirs = torch.autograd.grad((expected * pull).sum(), heads)[0]
    assert_allclose(ours, theirs, atol=1e-12)


@pytest.mark.parametrize("is_masked", [False, True])
def test_fused_attention_has_first_and_second_derivatives(is_masked):
    heads = torch.randn(1, 2, 3, 2, dtype=torch.float64, generator=_generator())
    heads.requires_grad_()
    mask = torch.rand(1, 2, 3, 3, dtype=torch.float64, generator=_generator(1))
    mask = mask if is_masked else None
    assert torch.autograd.gradcheck(lambda h: fused_attention(h, mask), (heads,))
    assert torch.autograd.gradgradcheck(lambda h: fused_attention(h, mask), (heads,))


@pytest.mark.parametrize("n_tokens", [7, 80])
@pytest.mark.parametrize("dropout", [0.0, 0.4])
def test_few_queries_are_the_first_of_all(n_tokens, dropout):
    config = CRATEConfig(2, "dense", d_token=32, n_heads=2, dropout=dropout)
    attention = SubspaceAttention(config).double()
    for parameter in attention.parameters():
        torch.nn.init.normal_(parameter, 0, 0.2, generator=_generator())
    tokens = torch.randn(3, n_tokens, 32, dtype=torch.float64, generator=_generator(1))
    with torch.no_grad():
        whole = attention(tokens)
        for n_queries in (1, 4, 6):
            some = attention(tokens, None, n_queries)
            assert_allclose(some, whole[:, :n_queries], atol=1e-12)


@pytest.mark.parametrize("rate", [0.001, 0.1, 0.25, 0.5, 0.999])
def test_dropout_keeps_the_mean(rate):
    dropped = _drop(torch.ones(400, 300), rate, _generator())
    share = (dropped == 0).float().mean()
    assert abs(share - min(max(rate, 1 / 256), 255 / 256)) < 4e-3
    if rate <= 0.5:
        assert abs(dropped.mean() - 1) < 0.02


def test_dropout_of_one_value_and_of_none():
    assert _drop(torch.ones(1), 0.5, _generator()).shape == (1,)
    assert _drop(torch.ones(0, 3), 0.5, _generator()).shape == (0, 3)
    values = torch.ones(3)
    assert _drop(values, 0.5, None) is values
    assert _drop(values, 0.0, _generator()) is values


def test_token_statistics_take_time_and_memory_linear_in_the_tokens():
    heads = torch.randn(1, 2, 4096, 8, generator=_generator()).requires_grad_()
    # Arrays as large as the square of the tokens would not be kept for gradients.
    kept = []
    with torch.autograd.graph.saved_tensors_hooks(
        lambda t: (kept.append(t.numel()), t)[1], lambda t: t
    ):
        F.token_statistics_attention(heads).sum().backward()
    assert max(kept) <= heads.numel()


def test_a_decoder_layer_reproduces_the_published_program(reference):
    vectors = reference("crate_mae_decoder_layer")
    config = CRATEConfig(2, "dense", d_token=12, n_heads=int(vectors["heads"]))
    layer = CRATEDecoderLayer(config).double()
    names = {
        "0.norm.weight": "spread_norm.weight",
        "0.norm.bias": "spread_norm.bias",
        "0.fn.weight": "spread.weight",
        "1.norm.weight": "compress_norm.weight",
        "1.norm.bias": "compress_norm.bias",
        "1.fn.qkv.weight": "compress.projection.weight",
        "1.fn.to_out.0.weight": "compress.output.weight",
        "1.fn.to_out.0.bias": "compress.output.bias",
    }
    prefix = "w.layers.0."
    layer.load_state_dict(
        {ours: torch.from_numpy(vectors[prefix + name]) for name, ours in names.items()}
    )
    x = torch.from_numpy(np.array(vectors["x"], dtype=np.float64))
    with torch.no_grad():
        assert_allclose(layer(x), vectors["y"], rtol=1e-5, atol=1e-5)


def test_every_parameter_of_a_decoder_layer_is_drawn_and_gets_a_gradient():
    layer = CRATEDecoderLayer(CRATEConfig(2, "dense", d_token=12, n_heads=3))
    for parameter in layer.parameters():
        parameter.data.fill_(float("nan"))
    layer.draw(_generator())
    tokens = torch.randn(2, 7, 12, generator=_generator(1))
    (layer(tokens) ** 2).sum().backward()
    assert all((p.grad != 0).any() for p in layer.parameters())


@pytest.mark.parametrize("name", ["tost_tssa", "tost_causal_tssa"])
def test_statistics_attention_reproduces_the_published_program(reference, name):
    vectors = reference(name)
    v = {k: torch.from_numpy(np.array(a, np.float64)) for k, a in vectors.items()}
    is_causal = name == "tost_causal_tssa"
    config = CRATEConfig(
        2,
        "dense",
        d_token=12,
        n_heads=int(v["heads"]),
        attention="tssa",
        is_causal=is_causal,
    )
    n_positions = v["w.denom_bias"].shape[1] if is_causal else None
    attention = StatisticsAttention(config, n_positions=n_positions).double()
    first, last = ("c_attn", "c_proj") if is_causal else ("qkv", "to_out.0")
    state = {
        "projection.weight": v[f"w.{first}.weight"],
        "projection.bias": v[f"w.{first}.bias"],
        "output.weight": v[f"w.{last}.weight"],
        "output.bias": v[f"w.{last}.bias"],
        "temperature": v["w.temp"],
    }
    if is_causal:
        state["denom_bias"] = v["w.denom_bias"]
    attention.load_state_dict(state)
    with torch.no_grad():
        assert_allclose(attention(v["x"]), v["y"], rtol=1e-5, atol=1e-5)
