"""Members, learnt steps, tied output, causal reading, pooling and depth zero."""

import pytest
import torch
from numpy.testing import assert_allclose

from sklearn_whitebox.modules._crate import CRATE
from sklearn_whitebox.modules._crate_config import CRATEConfig


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


@pytest.mark.parametrize("attention", ["mssa", "tssa"])
@pytest.mark.parametrize("sparsifier", ["ista", "odl", "mlp", None])
@pytest.mark.parametrize("n_tokens", [9, 70])
def test_layers_commute_with_a_permutation_of_the_tokens(
    attention, sparsifier, n_tokens
):
    module = _module(attention=attention, sparsifier=sparsifier).double()
    layer = module.layers[0]
    tokens = torch.randn(2, n_tokens, 16, generator=_generator()).double()
    order = torch.randperm(n_tokens, generator=_generator(1))
    with torch.no_grad():
        assert_allclose(layer(tokens)[:, order], layer(tokens[:, order]), atol=1e-12)


def test_a_causal_network_puts_the_class_token_last():
    module = _module(is_causal=True)
    with torch.no_grad():
        tokens = module.embed(_rows(module))
    assert_allclose(tokens[:, -1], module.class_token[0].expand(6, -1).detach())


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


def test_token_dropout_is_for_training_only():
    module = _module(token_dropout=0.5)
    rows = _rows(module)
    with torch.no_grad():
        assert torch.equal(module(rows), module(rows))
        first = module(rows, _generator())
        assert torch.equal(first, module(rows, _generator()))
        assert not torch.equal(first, module(rows))


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
