import numpy as np
import pytest
import torch
from numpy.testing import assert_allclose

from sklearn_whitebox import functional as F
from sklearn_whitebox.functional._attention import thresholded_self_attention


def _heads(x, weight, n_heads, bias=None):
    return F.split_heads(torch.nn.functional.linear(x, weight, bias), n_heads)


def _tensors(vectors):
    return {
        name: torch.from_numpy(np.array(value, dtype=np.float64))
        for name, value in vectors.items()
    }


def _assert_gradients(vectors, output, leaves):
    (vectors["cotangent"] * output).sum().backward()
    for name, leaf in leaves.items():
        assert_allclose(leaf.grad, vectors[name], rtol=1e-5, atol=1e-5, err_msg=name)


def _leaves(vectors):
    names = {"grad_x": "x"} | {
        f"g.{name[2:]}": name for name in vectors if name.startswith("w.")
    }
    return {g: vectors[w].requires_grad_() for g, w in names.items()}


def _close(actual, expected):
    assert_allclose(actual.detach(), expected, rtol=1e-5, atol=1e-5)


def test_subspace_self_attention_reproduces_the_published_program(reference):
    v = _tensors(reference("crate_mssa"))
    leaves = _leaves(v)
    heads = _heads(v["x"], v["w.qkv.weight"], int(v["heads"]))
    _close(F.subspace_attention_weights(heads), v["attention"])
    output = torch.nn.functional.linear(
        F.merge_heads(F.subspace_self_attention(heads)),
        v["w.to_out.0.weight"],
        v["w.to_out.0.bias"],
    )
    _close(output, v["y"])
    _assert_gradients(v, output, leaves)


def test_single_head_has_no_output_projection(reference):
    v = _tensors(reference("crate_mssa_single_head"))
    heads = _heads(v["x"], v["w.qkv.weight"], 1)
    _close(F.merge_heads(F.subspace_self_attention(heads)), v["y"])


def test_ista_step_reproduces_the_published_program(reference):
    v = _tensors(reference("crate_ista_block"))
    leaves = _leaves(v)
    output = F.sparsification_step(
        v["x"],
        v["w.weight"],
        step_size=float(v["step_size"]),
        sparsity=float(v["lambd"]),
    )
    _close(output, v["y"])
    _assert_gradients(v, output, leaves)


def test_overcomplete_step_reproduces_the_published_program(reference):
    v = _tensors(reference("crate_alpha_odl_block"))
    leaves = _leaves(v)
    output = F.overcomplete_step(
        v["x"],
        v["w.D"],
        v["w.D1"],
        step_size=float(v["eta"]),
        sparsity=float(v["lmbda"]),
    )
    _close(output, v["y"])
    _assert_gradients(v, output, leaves)


def test_token_statistics_attention_reproduces_the_published_program(reference):
    v = _tensors(reference("tost_tssa"))
    leaves = _leaves(v)
    heads = _heads(v["x"], v["w.qkv.weight"], int(v["heads"]), v["w.qkv.bias"])
    _close(F.token_memberships(heads, v["w.temp"]), v["membership"])
    output = torch.nn.functional.linear(
        F.merge_heads(F.token_statistics_attention(heads, v["w.temp"])),
        v["w.to_out.0.weight"],
        v["w.to_out.0.bias"],
    )
    _close(output, v["y"])
    _assert_gradients(v, output, leaves)


def test_causal_token_statistics_reproduce_the_published_program(reference):
    v = _tensors(reference("tost_causal_tssa"))
    heads = _heads(v["x"], v["w.c_attn.weight"], int(v["heads"]), v["w.c_attn.bias"])
    n_tokens = v["x"].shape[1]
    attended = F.token_statistics_attention(
        heads, v["w.temp"], is_causal=True, bias=v["w.denom_bias"][:, :n_tokens]
    )
    output = torch.nn.functional.linear(
        F.merge_heads(attended), v["w.c_proj.weight"], v["w.c_proj.bias"]
    )
    _close(output, v["y"])


def test_token_coding_rate_reproduces_the_published_diagnostic(reference):
    v = reference("crate_full_tiny")
    for layer, projected in enumerate(v["projected_tokens"]):
        heads = F.split_heads(projected.astype(np.float64), int(v["heads"]))
        rates = F.token_coding_rate(heads, distortion=float(v["coding_rate_eps"]))
        per_sample = rates.sum(1)
        assert_allclose(per_sample.mean(), v["coding_rate_mean"][layer], rtol=1e-5)
        assert_allclose(per_sample.std(ddof=1), v["coding_rate_std"][layer], rtol=1e-5)


@pytest.mark.parametrize(
    "attend", [F.subspace_self_attention, F.token_statistics_attention]
)
def test_causal_attention_never_reads_later_tokens(attend, rng):
    heads = rng.standard_normal((2, 3, 9, 4))
    whole = attend(heads, is_causal=True)
    assert_allclose(
        whole[:, :, :5], attend(heads[:, :, :5], is_causal=True), rtol=1e-12
    )


@pytest.mark.parametrize(
    "attend", [F.subspace_self_attention, F.token_statistics_attention]
)
def test_attention_commutes_with_a_permutation_of_the_tokens(attend, rng):
    heads = rng.standard_normal((3, 9, 4))
    order = rng.permutation(9)
    assert_allclose(attend(heads)[:, order], attend(heads[:, order]), atol=1e-12)


@pytest.mark.parametrize("is_causal", [False, True])
def test_attention_weights_and_memberships_are_distributions(is_causal, rng):
    heads = rng.standard_normal((3, 9, 4))
    weights = F.subspace_attention_weights(heads, is_causal=is_causal)
    assert_allclose(weights.sum(-1), 1)
    memberships = F.token_memberships(heads, 2.0, is_causal=is_causal)
    assert_allclose(memberships.sum(0), 1)


@pytest.mark.parametrize("is_causal", [False, True])
def test_attention_weights_of_some_queries_are_rows_of_all(is_causal, rng):
    heads = rng.standard_normal((3, 9, 4))
    weights = F.subspace_attention_weights(heads, is_causal=is_causal)
    some = F.subspace_attention_weights(heads, is_causal=is_causal, n_queries=2)
    assert_allclose(some, weights[:, :2], rtol=1e-12)


def test_subspace_self_attention_equals_the_formula_token_by_token(rng):
    heads = rng.standard_normal((2, 5, 3))
    expected = np.empty_like(heads)
    for k, W in enumerate(heads):
        for i in range(5):
            score = np.exp(W @ W[i] / np.sqrt(3))
            expected[k, i] = score @ W / score.sum()
    assert_allclose(F.subspace_self_attention(heads), expected, rtol=1e-12)


def test_token_statistics_stay_finite_for_zero_tokens():
    heads = torch.zeros(2, 4, 3, requires_grad=True)
    output = F.token_statistics_attention(heads)
    output.sum().backward()
    assert torch.isfinite(output).all()
    assert torch.isfinite(heads.grad).all()


@pytest.mark.parametrize("seed", range(5))
def test_ista_step_lowers_the_lasso_from_a_non_negative_start(seed):
    rng = np.random.default_rng(seed)
    tokens = np.abs(rng.standard_normal((6, 8)))
    dictionary = rng.standard_normal((8, 8))
    step_size = 1 / np.linalg.norm(dictionary, 2) ** 2
    codes = F.sparsification_step(tokens, dictionary, step_size=step_size, sparsity=0.3)
    before = F.lasso_objective(tokens, tokens, dictionary, sparsity=0.3)
    after = F.lasso_objective(tokens, codes, dictionary, sparsity=0.3)
    assert codes.min() >= 0
    assert after < before


@pytest.mark.parametrize("scale", [0.0, 1.0])
def test_ista_step_is_a_threshold_for_trivial_dictionaries(scale, rng):
    tokens = rng.standard_normal((6, 8))
    codes = F.sparsification_step(
        tokens, scale * np.eye(8), step_size=0.5, sparsity=0.4
    )
    assert_allclose(codes, np.maximum(tokens - 0.2, 0))


def test_many_overcomplete_steps_solve_the_non_negative_lasso(rng):
    from sklearn.linear_model import Lasso

    tokens, dictionary = rng.standard_normal((1, 10)), rng.standard_normal((10, 20))
    step_size = 1 / np.linalg.norm(dictionary, 2) ** 2
    codes = F.overcomplete_codes(
        tokens, dictionary, step_size=step_size, sparsity=1.0, n_steps=20_000
    )
    peer = Lasso(
        1.0 / 10, positive=True, fit_intercept=False, tol=1e-12, max_iter=10**6
    )
    peer.fit(dictionary, tokens[0])
    assert_allclose(codes[0], peer.coef_, atol=1e-6)


def test_overcomplete_step_decodes_with_its_dictionary_by_default(rng):
    tokens, dictionary = rng.standard_normal((4, 5)), rng.standard_normal((5, 9))
    codes = F.overcomplete_codes(tokens, dictionary)
    assert_allclose(F.overcomplete_step(tokens, dictionary), codes @ dictionary.T)


def test_attention_compresses_clustered_tokens_of_fixed_length(rng):
    # The published claim holds only once the tokens are scaled back to their length.
    bases = np.linalg.qr(rng.standard_normal((24, 24)))[0].reshape(24, 4, 6)
    coordinates = rng.standard_normal((40, 6))
    which = rng.integers(4, size=40)
    tokens = np.einsum("ip,dip->id", coordinates, bases[:, which])
    tokens += 0.05 * rng.standard_normal(tokens.shape)
    tokens /= np.linalg.norm(tokens, axis=1, keepdims=True)
    U = bases.reshape(24, 24)
    attended = F.merge_heads(F.subspace_self_attention(F.split_heads(tokens @ U, 4)))
    moved = tokens + 0.1 * attended @ U.T
    rescaled = moved / np.linalg.norm(moved, axis=1, keepdims=True)

    def rate(Z):
        heads = F.split_heads(Z @ U, 4)
        return F.token_coding_rate(heads, distortion=0.01, normalize=False).sum()

    assert rate(moved) > rate(tokens) > rate(rescaled)


@pytest.mark.parametrize("threshold", [0.55, 0.6])
def test_thresholded_attention_raises_signal_over_noise_by_a_constant_factor(
    threshold, rng
):
    n_heads, head_dim, n_tokens = 4, 64, 60
    noise, step_size, n_layers = 0.05, 0.5, 3
    width = n_heads * head_dim
    U = np.linalg.qr(rng.standard_normal((width, width)))[0]
    which = rng.integers(n_heads, size=n_tokens)
    own = np.eye(n_heads)[which].repeat(head_dim, axis=1)  # (n_tokens, width)
    coordinates = rng.standard_normal((n_tokens, width)) * np.where(own > 0, 1, noise)
    tokens = coordinates @ U.T

    def ratio(Z):
        energy = (Z @ U) ** 2
        return np.sqrt((energy * own).sum() / (energy * (1 - own)).sum())

    ratios = [ratio(tokens)]
    for _ in range(n_layers):
        heads = F.split_heads(tokens @ U, n_heads)
        change = F.merge_heads(thresholded_self_attention(heads, threshold=threshold))
        tokens = tokens + step_size * change @ U.T
        ratios.append(ratio(tokens))
    growth = np.divide(ratios[1:], ratios[:-1])
    assert_allclose(growth, 1 + step_size * threshold, rtol=1e-10)


def test_thresholded_attention_keeps_the_rows_above_the_threshold(rng):
    heads = rng.standard_normal((2, 6, 3))
    expected = np.empty_like(heads)
    for k, W in enumerate(heads):
        weights = np.exp(W @ W.T)
        weights /= weights.sum(1, keepdims=True)
        expected[k] = 0.3 * (weights > 0.3) @ W
    assert_allclose(thresholded_self_attention(heads, threshold=0.3), expected)


@pytest.mark.parametrize("threshold", [0.0, 1.0])
def test_a_threshold_outside_the_unit_interval_is_refused(threshold):
    with pytest.raises(ValueError, match="must be between 0 and 1"):
        thresholded_self_attention(np.ones((1, 2, 2)), threshold=threshold)


@pytest.mark.parametrize("is_causal", [False, True])
def test_token_statistics_equal_the_formula_with_its_arrays(is_causal):
    generator = torch.Generator().manual_seed(0)
    heads = torch.randn(2, 3, 7, 4, dtype=torch.float64, generator=generator)
    bias = torch.randn(3, 7, 1, dtype=torch.float64, generator=generator)
    squares = heads**2
    sums = squares.cumsum(-2) if is_causal else squares.sum(-2, keepdim=True)
    memberships = (squares / sums + bias).sum(-1).mul(1.5).softmax(-2)[..., None]
    weighted = memberships * squares
    if is_causal:
        moment = weighted.cumsum(-2) / (memberships.cumsum(-2) + 1e-8)
    else:
        moment = weighted.sum(-2, keepdim=True) / (
            memberships.sum(-2, keepdim=True) + 1e-8
        )
    found = F.token_statistics_attention(heads, 1.5, is_causal=is_causal, bias=bias)
    assert_allclose(found, -memberships * heads / (1 + moment), rtol=1e-6)


def test_token_coding_rate_ignores_the_length_of_tokens(rng):
    heads = rng.standard_normal((2, 9, 4))
    longer = heads * rng.uniform(0.5, 5, size=(2, 9, 1))
    assert_allclose(F.token_coding_rate(heads), F.token_coding_rate(longer))


def test_heads_split_and_merge_are_inverse(rng):
    projected = rng.standard_normal((2, 7, 12))
    assert_allclose(F.merge_heads(F.split_heads(projected, 3)), projected)
    with pytest.raises(ValueError, match="n_heads=5 must divide"):
        F.split_heads(projected, 5)


def test_steps_pass_the_gradient_check(rng):
    heads = torch.from_numpy(rng.standard_normal((2, 4, 3))).requires_grad_()
    tokens = torch.from_numpy(rng.standard_normal((4, 3))).requires_grad_()
    dictionary = torch.from_numpy(rng.standard_normal((3, 3))).requires_grad_()
    for function in (F.subspace_self_attention, F.token_statistics_attention):
        assert torch.autograd.gradcheck(function, (heads,))
    assert torch.autograd.gradcheck(F.sparsification_step, (tokens, dictionary))
    assert torch.autograd.gradcheck(F.overcomplete_step, (tokens, dictionary))
