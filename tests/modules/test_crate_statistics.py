import math

import numpy as np
import pytest
import torch
from numpy.testing import assert_allclose

from sklearn_whitebox.functional import split_heads, token_coding_rate
from sklearn_whitebox.modules import CRATE, CRATEConfig, layer_statistics

OF_HEAD = {"coding_rate_head", "attention_entropy", "attention_diagonal", "membership"}


def network(attention="mssa", sparsifier="ista", tokens="dense", **settings):
    settings = {"n_layers": 2, "d_token": 16, "n_heads": 4} | settings
    if tokens == "patch":
        settings |= {"image_shape": (4, 4, 1), "patch_size": 2}
    else:
        settings |= {"n_features": 5}
    config = CRATEConfig(
        3, tokens, attention=attention, sparsifier=sparsifier, **settings
    )
    return CRATE(config, generator=torch.Generator().manual_seed(0)).double()


def rows(module, n=7):
    width = 16 if module.config.tokens == "patch" else 5
    draws = torch.Generator().manual_seed(1)
    return torch.randn(n, width, generator=draws, dtype=torch.float64)


def measure(module, X, **settings):
    with torch.no_grad():
        return layer_statistics(module, X, **settings)


@pytest.mark.parametrize("tokens", ["dense", "feature", "patch"])
@pytest.mark.parametrize("sparsifier", ["ista", "odl", "mlp", None])
@pytest.mark.parametrize("attention", ["mssa", "tssa"])
def test_every_variant_is_measured(attention, sparsifier, tokens):
    module = network(attention, sparsifier, tokens)
    found = measure(module, rows(module))
    absent = {"membership"}
    if attention == "tssa":
        absent = {"attention_entropy", "attention_diagonal"}
    if sparsifier in ("mlp", None):
        absent |= {
            "nonzero_fraction",
            "lasso_before",
            "lasso_after",
            "dictionary_coherence",
        }
    for name, values in found.items():
        shape = (2, 4) if name in OF_HEAD else (2,)
        shape = (2, 4, 4) if name == "subspace_coherence" else shape
        assert values.shape == shape
        assert torch.isnan(values).all() if name in absent else values.isfinite().all()


def test_rates_are_those_of_the_definition_computed_slowly():
    module = network(n_layers=1)
    X = rows(module)
    found = measure(module, X, distortion=0.02)
    with torch.no_grad():
        trace = module.layers[0].trace(module.embed(X))
        tokens = module.layers[0].compress_norm(trace.tokens).numpy()
        U = module.layers[0].compress.projection.weight.mT.numpy()
    n, d, p = tokens.shape[1], 16, 4

    def rate(Z, width):
        gram = np.eye(n) + width / (n * 0.02) * Z @ Z.T
        return np.linalg.slogdet(gram)[1] / 2

    sums, totals, reductions = [], [], []
    for Z in tokens:
        units = Z / np.linalg.norm(Z, axis=1, keepdims=True)
        summed = parts = 0
        for head in np.split(U, 4, axis=1):
            W = Z @ head
            summed += rate(W / np.linalg.norm(W, axis=1, keepdims=True), p)
            parts += rate(units @ np.linalg.qr(head)[0], p)
        sums.append(summed)
        totals.append(rate(units, d))
        reductions.append(totals[-1] - parts)
    assert_allclose(found["coding_rate"][0], np.mean(sums))
    assert_allclose(found["coding_rate_std"][0], np.std(sums, ddof=1))
    assert_allclose(found["coding_rate_head"].sum(), np.mean(sums))
    assert_allclose(found["total_rate"][0], np.mean(totals))
    assert_allclose(found["rate_reduction"][0], np.mean(reductions))


def test_rates_of_heads_do_not_depend_on_the_length_of_the_tokens():
    module = network(n_layers=1)
    X = rows(module)
    before = measure(module, X)
    # Behind its layer norm a layer meets tokens of this length instead.
    module.layers[0].compress_norm.weight.data.mul_(7.0)
    module.layers[0].compress_norm.bias.data.mul_(7.0)
    after = measure(module, X)
    for name in ("coding_rate", "coding_rate_std", "total_rate", "rate_reduction"):
        assert_allclose(after[name], before[name], rtol=1e-9)


@pytest.mark.parametrize("n_tokens", [3, 20])
def test_both_sides_of_the_determinant_give_the_rate(n_tokens):
    module = network(n_tokens=n_tokens, n_layers=1)
    X = rows(module)
    found = measure(module, X)
    with torch.no_grad():
        heads = module.layers[0].trace(module.embed(X)).heads
    heads = torch.nn.functional.normalize(heads, dim=-1)
    scale = heads.shape[-1] / (heads.shape[-2] * 0.01)
    for gram in (heads @ heads.mT, heads.mT @ heads):
        identity = torch.eye(gram.shape[-1], dtype=gram.dtype)
        rates = torch.linalg.slogdet(identity + scale * gram)[1] / 2
        assert_allclose(found["coding_rate_head"][0], rates.mean(0), rtol=1e-9)


def test_attention_that_adds_nothing_changes_no_rate():
    module = network()
    for layer in module.layers:
        layer.compress.output.weight.data.zero_()
        layer.compress.output.bias.data.zero_()
    found = measure(module, rows(module))
    assert_allclose(found["coding_rate_delta"], 0, atol=1e-12)
    assert_allclose(found["rate_reduction_half"], found["rate_reduction"])


def test_shrinking_attention_compresses_tokens_of_equal_length():
    # What the step stands for: tokens move towards the mean of those near them.
    module = network(n_layers=1, n_heads=1, head_dim=16, tokens="feature")
    torch.nn.init.eye_(module.layers[0].compress.projection.weight)
    found = measure(module, rows(module))
    assert found["coding_rate_delta"] < 0


def test_a_network_without_layers_has_empty_statistics():
    module = network(n_layers=0)
    expected = measure(network(), rows(module))
    found = measure(module, rows(module))
    assert set(found) == set(expected)
    for name, values in found.items():
        assert values.shape == (0, *expected[name].shape[1:])


@pytest.mark.parametrize("attention", ["mssa", "tssa"])
def test_results_do_not_depend_on_the_rows_measured_at_a_time(attention):
    module = network(attention, "odl")
    X = rows(module)
    together = measure(module, X, batch_size=100)
    for name, values in measure(module, X, batch_size=2).items():
        assert_allclose(values, together[name], rtol=1e-9, err_msg=name)


def test_the_order_of_the_rows_does_not_matter():
    module = network()
    X = rows(module)
    backwards = measure(module, X.flip(0))
    for name, values in measure(module, X).items():
        assert_allclose(values, backwards[name], rtol=1e-9, err_msg=name)


def test_one_row_has_no_deviation():
    module = network()
    found = measure(module, rows(module, 1))
    assert torch.isnan(found["coding_rate_std"]).all()
    assert found["coding_rate"].isfinite().all()


def test_an_overcomplete_step_is_judged_by_its_code():
    module = network("mssa", "odl", n_layers=1)
    X = rows(module)
    found = measure(module, X)
    with torch.no_grad():
        layer = module.layers[0]
        tokens = layer.sparsify_norm(layer.trace(module.embed(X)).half)
        codes = layer.sparsify.codes(tokens)
    assert_allclose(found["nonzero_fraction"][0], (codes != 0).double().mean())
    # The step starts at zero, where the objective is half the squared norm.
    squares = (tokens**2).sum(-1).mean() / 2
    assert_allclose(found["lasso_before"][0], squares)
    residual = ((tokens - codes @ layer.sparsify.dictionary.mT) ** 2).sum(-1) / 2
    objective = (residual + 0.1 * codes.sum(-1)).mean()
    assert_allclose(found["lasso_after"][0], objective.detach())
    assert (found["lasso_after"] < found["lasso_before"]).all()


def test_dead_tokens_are_counted():
    # A threshold that nothing reaches.
    module = network(n_layers=1, sparsity=1e6)
    found = measure(module, rows(module))
    assert found["dead_tokens"] == 1
    assert found["nonzero_fraction"] == 0


def test_coherences_are_one_for_equal_and_zero_for_orthogonal_parts():
    module = network(n_layers=1)
    layer = module.layers[0]
    layer.compress.projection.weight.data = 3 * torch.eye(16, dtype=torch.float64)
    layer.sparsify.dictionary.data = 2 * torch.eye(16, dtype=torch.float64)
    found = measure(module, rows(module))
    assert_allclose(found["subspace_coherence"][0], np.eye(4), atol=1e-12)
    assert found["dictionary_coherence"] == 0
    basis = layer.compress.projection.weight.data[:4]
    layer.compress.projection.weight.data = torch.cat([basis, -5 * basis] * 2)
    layer.sparsify.dictionary.data[:, 1] = -layer.sparsify.dictionary.data[:, 0]
    found = measure(module, rows(module))
    assert_allclose(found["subspace_coherence"][0], 1, rtol=1e-9)
    assert_allclose(found["dictionary_coherence"], 1)


def test_attention_to_oneself_alone_has_no_entropy_and_a_full_diagonal():
    # In one subspace that is the whole space all normed tokens are equally long.
    module = network(n_layers=1, n_heads=1)
    weight = module.layers[0].compress.projection.weight
    weight.data = 1e3 * torch.eye(16, dtype=torch.float64)
    found = measure(module, rows(module))
    n_tokens = module.tokens.n_tokens + 1
    assert_allclose(found["attention_entropy"], 0, atol=1e-9)
    assert_allclose(found["attention_diagonal"], 1)
    weight.data.zero_()
    found = measure(module, rows(module))
    assert_allclose(found["attention_entropy"], math.log(n_tokens))
    assert_allclose(found["attention_diagonal"], 1 / n_tokens)


def test_memberships_sum_to_one_over_the_heads():
    module = network("tssa")
    found = measure(module, rows(module))
    assert_allclose(found["membership"].sum(1), 1)


def test_members_of_an_ensemble_count_as_samples():
    module = network(n_members=3)
    found = measure(module, rows(module))
    assert found["coding_rate"].shape == (2,)
    assert torch.stack([v for v in found.values() if v.ndim == 1]).shape == (12, 2)


def test_a_learnt_step_is_measured():
    module = network(learn_step=True)
    found = measure(module, rows(module))
    assert found["lasso_after"].isfinite().all()


@pytest.mark.parametrize("distortion", [0.0, -1.0, math.nan])
def test_a_distortion_that_is_not_positive_is_refused(distortion):
    module = network()
    with pytest.raises(ValueError, match="distortion="):
        measure(module, rows(module), distortion=distortion)


def test_diagnostics_of_the_published_program_are_reproduced(reference):
    vectors = reference("crate_full_tiny")
    tokens = torch.from_numpy(vectors["projected_tokens"].astype(np.float64))
    rates = token_coding_rate(split_heads(tokens, int(vectors["heads"]))).sum(-1)
    assert_allclose(rates.mean(1), vectors["coding_rate_mean"], rtol=1e-5)
    assert_allclose(rates.std(1), vectors["coding_rate_std"], rtol=1e-5)
    sparsity = (vectors["z_layers"] != 0).mean((1, 2, 3))
    assert_allclose(sparsity, vectors["nonzero_fraction"], rtol=1e-6)
