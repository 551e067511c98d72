"""Members, learnt steps, tied output, causal reading, pooling and depth zero."""

import numpy as np
import pytest
import torch
from numpy.testing import assert_allclose

from sklearn_whitebox import functional as F
from sklearn_whitebox.functional._fused import fused_attention
from sklearn_whitebox.modules._crate import CRATE
from sklearn_whitebox.modules._crate_attention import (
    StatisticsAttention,
    SubspaceAttention,
)
from sklearn_whitebox.modules._crate_config import CRATEConfig, _drop
from sklearn_whitebox.modules._crate_decoder import CRATEDecoderLayer
from sklearn_whitebox.modules._crate_steps import ISTAStep, OvercompleteStep


def _generator(seed=0):
    return torch.Generator().manual_seed(seed)


def _module(seed=0, **settings):
    settings = {"tokens": "dense", "n_features": 5, "d_token": 16} | settings
    if settings["tokens"] == "patch":
        settings |= {"image_shape": (4, 4, 1), "patch_size": 2}
    return CRATE(CRATEConfig(3, **settings), generator=_generator(seed))


def _rows(module, n=6, seed=1):
    width = 16 if module.config.tokens == "patch" else 5
    return torch.randn(n, width, generator=_generator(seed))


_SETTINGS = [
    {"n_members": 3},
    {"n_members": 2, "pool": "mean", "tokens": "feature"},
    {"n_members": 2, "n_layers": 0},
    {"n_layers": 0},
    {"n_layers": 0, "tokens": "patch"},
    {"pool": "mean"},
    {"pool": "mean", "tokens": "patch"},
    {"tie_output": True},
    {"tie_output": True, "attention": "tssa"},
    {"learn_step": True},
    {"learn_step": True, "sparsifier": "odl", "n_steps": 3},
    {"is_causal": True},
    {"is_causal": True, "attention": "tssa"},
    {"n_heads": 1},
    {"head_dim": 2},
    {"n_tokens": 70},
]


@pytest.mark.parametrize("settings", _SETTINGS, ids=str)
def test_every_parameter_gets_a_gradient(settings):
    module = _module(**({"n_layers": 2} | settings))
    logits = module(_rows(module))
    n_members = settings.get("n_members", 1)
    assert logits.shape == ((6, 3) if n_members == 1 else (6, n_members, 3))
    (logits**2).sum().backward()
    for name, parameter in module.named_parameters():
        assert torch.isfinite(parameter.grad).all(), name
        assert (parameter.grad != 0).any(), name


@pytest.mark.parametrize("settings", _SETTINGS, ids=str)
def test_every_parameter_is_drawn_and_rows_stay_apart(settings):
    module = _module(**settings)
    for parameter in module.parameters():
        parameter.data.fill_(float("nan"))
    module.draw(_generator())
    module.double()
    rows = _rows(module).double()
    with torch.no_grad():
        assert_allclose(module(rows)[2:3], module(rows[2:3]), atol=1e-12)


@pytest.mark.parametrize("settings", _SETTINGS, ids=str)
def test_the_features_are_those_of_the_last_trace(settings):
    module = _module(**({"n_layers": 2} | settings)).double()
    rows = _rows(module).double()
    config = module.config
    with torch.no_grad():
        pooled = module.pool(rows)
        if config.n_members > 1:
            pooled = pooled[:, 1]
        traces = module.trace(rows, member=1)
        tokens = module.embed(rows) if not traces else traces[-1].output
        if not traces and config.n_members > 1:
            tokens = tokens[:, 1]
        if module.class_token is None:
            read = tokens.mean(1)
        else:
            read = tokens[:, -1 if config.is_causal else 0]
        assert_allclose(pooled, module.norm(read), atol=1e-12)


@pytest.mark.parametrize("tokens", ["dense", "patch"])
@pytest.mark.parametrize("attention", ["mssa", "tssa"])
def test_a_member_is_a_network_of_its_own(attention, tokens):
    module = _module(n_members=3, attention=attention, tokens=tokens).double()
    single = _module(seed=1, attention=attention, tokens=tokens).double()
    state = module.state_dict()
    table, head = state.pop("members"), state.pop("head.weight")
    bias = state.pop("head.bias")
    rows = _rows(module).double()
    embed = single.embed
    for member in range(3):
        own = state | {"head.weight": head[member], "head.bias": bias[member]}
        single.load_state_dict(own)
        single.embed = lambda X, g=None, k=member: embed(X, g) * table[k]
        with torch.no_grad():
            assert_allclose(single(rows), module(rows)[:, member], atol=1e-12)


def test_heads_and_tables_of_members_are_independent():
    module = _module(n_members=3)
    module(_rows(module))[:, 1].sum().backward()
    for parameter in (module.members, module.head.weight, module.head.bias):
        gradient = parameter.grad.flatten(1).abs().sum(1)
        assert (gradient > 0).tolist() == [False, True, False]


def test_members_start_from_random_signs():
    table = _module(n_members=4).members
    assert (table.abs() == 1).all()
    assert 0.3 < (table > 0).float().mean() < 0.7
    assert table.shape == (4, 9, 16)


def test_only_matrices_of_the_layers_and_heads_are_decayed():
    module = _module(
        n_members=2, attention="tssa", is_causal=True, learn_step=True, n_layers=1
    )
    decayed = {n for n, p in module.named_parameters() if CRATE.is_decayed(n, p)}
    assert decayed == {
        "layers.0.compress.projection.weight",
        "layers.0.compress.output.weight",
        "layers.0.sparsify.dictionary",
        "head.weight",
    }


def test_without_layers_the_head_reads_the_mean_token():
    module = _module(n_layers=0).double()
    rows = _rows(module).double()
    with torch.no_grad():
        expected = module.head(module.norm(module.tokens(rows).mean(1)))
        assert_allclose(module(rows), expected)
    assert module.class_token is None
    assert module.trace(rows) == []


@pytest.mark.parametrize("attention", ["mssa", "tssa"])
@pytest.mark.parametrize("sparsifier", ["ista", "odl", None])
def test_causal_layers_never_read_later_tokens(attention, sparsifier):
    module = _module(is_causal=True, attention=attention, sparsifier=sparsifier)
    layer = module.layers[0]
    if attention == "tssa":
        torch.nn.init.normal_(layer.compress.denom_bias, generator=_generator(2))
    tokens = torch.randn(2, 9, 16, generator=_generator())
    changed = tokens.clone()
    changed[:, 5:] *= -1
    with torch.no_grad():
        first, second = layer(tokens), layer(changed)
        assert_allclose(first[:, :5], second[:, :5], atol=1e-6)
        assert not torch.allclose(first[:, 5:], second[:, 5:])
        assert_allclose(layer(tokens[:, :5]), first[:, :5], atol=1e-6)


def test_a_causal_network_puts_the_class_token_last():
    module = _module(is_causal=True)
    with torch.no_grad():
        tokens = module.embed(_rows(module))
    assert_allclose(tokens[:, -1], module.class_token[0].expand(6, -1).detach())


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


@pytest.mark.parametrize("sparsifier", ["ista", "odl"])
def test_learnt_steps_stay_positive(sparsifier):
    module = _module(n_layers=2, learn_step=True, sparsifier=sparsifier)
    optimizer = torch.optim.SGD(module.parameters(), lr=1.0)
    rows = _rows(module)
    for _ in range(10):
        optimizer.zero_grad()
        (-module(rows).sum()).backward()
        torch.nn.utils.clip_grad_norm_(module.parameters(), 1.0)
        optimizer.step()
    for layer in module.layers:
        assert layer.sparsify.step_size > 0
        assert layer.sparsify.sparsity > 0
        assert abs(layer.sparsify.step_size - 0.1) > 1e-6


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


def test_token_dropout_is_for_training_only():
    module = _module(token_dropout=0.5)
    rows = _rows(module)
    with torch.no_grad():
        assert torch.equal(module(rows), module(rows))
        first = module(rows, _generator())
        assert torch.equal(first, module(rows, _generator()))
        assert not torch.equal(first, module(rows))


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


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
@pytest.mark.parametrize("settings", _SETTINGS, ids=str)
def test_a_gpu_gives_what_the_cpu_gives(settings):
    module = _module(**settings)
    rows = _rows(module)
    (module(rows) ** 2).sum().backward()
    copy = _module(**settings).cuda()
    (copy(rows.cuda()) ** 2).sum().backward()
    for ours, theirs in zip(module.parameters(), copy.parameters(), strict=True):
        assert_allclose(theirs.grad.cpu(), ours.grad, rtol=1e-3, atol=1e-4)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
@pytest.mark.parametrize("dropout", [0.0, 0.3])
def test_a_gpu_trains_under_autocast(dropout):
    module = _module(dropout=dropout, n_tokens=20).cuda()
    rows = _rows(module).cuda()
    with torch.autocast("cuda", torch.bfloat16):
        loss = (module(rows, _generator()) ** 2).sum()
    loss.backward()
    assert all(torch.isfinite(p.grad).all() for p in module.parameters())


@pytest.mark.parametrize("dropout", [0.0, 0.3])
def test_bfloat16_autocast_stays_close(dropout):
    module = _module(dropout=dropout)
    rows = _rows(module)
    expected = module(rows, _generator()).detach()
    with torch.autocast("cpu", torch.bfloat16):
        found = module(rows, _generator())
    (found.float() ** 2).sum().backward()
    assert_allclose(found.detach().float(), expected, atol=0.2)
    assert all(torch.isfinite(p.grad).all() for p in module.parameters())
