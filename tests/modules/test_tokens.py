import math

import pytest
import torch
from numpy.testing import assert_allclose

from sklearn_whitebox.modules._categories import CategoryEmbedding
from sklearn_whitebox.modules._crate_config import CRATEConfig
from sklearn_whitebox.modules._tokens import DenseTokens, FeatureTokens

ENCODINGS = ["linear", "periodic", "piecewise_linear"]
TOKENS = [DenseTokens, FeatureTokens]


@pytest.fixture
def generator():
    return torch.Generator().manual_seed(0)


def make(kind, generator, **settings):
    settings = {"n_tokens": 5, "d_token": 8, "n_bins": 4, **settings}
    config = CRATEConfig(2, "dense", **settings)
    tokens = kind(config, device="meta").to_empty(device="cpu")
    for part in tokens.modules():
        if hasattr(part, "draw"):
            part.draw(generator)
    if config.n_features:
        edges = torch.randn(config.n_features, config.n_bins + 1, generator=generator)
        tokens.set_edges(edges.sort(1).values)
    return tokens


def stir(tokens, generator):
    """Leave the initial values, where steps of a code and missing numbers are zero."""
    with torch.no_grad():
        for parameter in tokens.parameters():
            parameter.add_(0.1 * torch.randn(parameter.shape, generator=generator))
    return tokens


def rows(generator, n_samples, n_features, categories):
    codes = [
        torch.randint(k, (n_samples, 1), generator=generator).float()
        for k in categories
    ]
    return torch.cat(
        [torch.randn(n_samples, n_features, generator=generator), *codes], 1
    )


@pytest.mark.parametrize("kind", TOKENS)
@pytest.mark.parametrize("encoding", ENCODINGS)
@pytest.mark.parametrize(
    ("n_features", "categories"), [(3, ()), (0, (3, 6)), (2, (2,))]
)
@pytest.mark.parametrize("missing", [False, True])
def test_tokenisers_give_as_many_tokens_as_they_say(
    kind, encoding, n_features, categories, missing, generator
):
    tokens = make(
        kind,
        generator,
        n_features=n_features,
        categories=categories,
        encoding=encoding,
        missing=missing,
    )
    X = rows(generator, 7, n_features, categories)
    expected = 5 if kind is DenseTokens else n_features + len(categories)
    assert tokens.n_tokens == expected
    for output in (tokens(X), tokens(X, generator)):
        assert output.shape == (7, expected, 8)
        assert output.isfinite().all()


@pytest.mark.parametrize("kind", TOKENS)
@pytest.mark.parametrize("encoding", ENCODINGS)
def test_every_parameter_gets_a_gradient(kind, encoding, generator):
    tokens = make(
        kind,
        generator,
        n_features=3,
        categories=(2, 4),
        encoding=encoding,
        missing=True,
    )
    stir(tokens, generator)
    X = rows(generator, 50, 3, (2, 4))
    X[:9, 1] = math.nan
    tokens(X).square().sum().backward()
    for name, parameter in tokens.named_parameters():
        assert parameter.grad.isfinite().all(), name
        assert (parameter.grad != 0).any(), name


@pytest.mark.parametrize("encoding", ENCODINGS)
def test_views_start_with_a_variance_near_one_whatever_the_columns(encoding, generator):
    for n_features, categories in ((2, ()), (40, ()), (0, (5,) * 10), (10, (3, 30))):
        tokens = make(
            DenseTokens,
            generator,
            n_features=n_features,
            categories=categories,
            encoding=encoding,
            n_tokens=50,
        )
        views = []
        tokens.views.register_forward_hook(lambda *a, views=views: views.append(a[2]))
        tokens(rows(generator, 300, n_features, categories))
        assert 0.2 < (views[0] - tokens.views.bias).var() < 2


def test_dense_tokens_are_linear_inside_at_the_start(generator):
    settings = {"n_features": 4, "n_tokens": 3}
    binned = make(DenseTokens, generator, encoding="piecewise_linear", **settings)
    linear = make(DenseTokens, generator, encoding="linear", **settings)
    with torch.no_grad():
        linear.views.weight.copy_(binned.views.weight.reshape(24, 4, 5)[:, :, 0])
        linear.views.bias.copy_(binned.views.bias)
    X = torch.randn(6, 4, generator=generator)
    assert_allclose(binned(X).detach(), linear(X).detach(), atol=1e-6)


@pytest.mark.parametrize("encoding", ENCODINGS)
def test_a_feature_token_depends_on_its_column_alone(encoding, generator):
    tokens = make(
        FeatureTokens, generator, n_features=3, categories=(4, 4), encoding=encoding
    )
    X = rows(generator, 1, 3, (4, 4))
    for column in range(5):
        moved = X.clone()
        moved[0, column] = (moved[0, column] + 1) % 4
        changed = (tokens(X) != tokens(moved)).any(-1)[0]
        assert changed.tolist() == [j == column for j in range(5)]


@pytest.mark.parametrize("encoding", ENCODINGS)
def test_a_dense_token_depends_on_all_columns(encoding, generator):
    tokens = make(
        DenseTokens, generator, n_features=3, categories=(4, 4), encoding=encoding
    )
    X = rows(generator, 1, 3, (4, 4))
    for column in range(5):
        moved = X.clone()
        moved[0, column] = (moved[0, column] + 1) % 4
        assert (tokens(X) != tokens(moved)).any(-1).all()


@pytest.mark.parametrize("encoding", ENCODINGS)
def test_dense_tokens_follow_permuted_columns(encoding, generator):
    settings = {"n_features": 4, "encoding": encoding, "missing": True}
    one = stir(make(DenseTokens, generator, **settings), generator)
    two = make(DenseTokens, generator, **settings)
    order = torch.tensor([2, 0, 3, 1])
    state = dict(one.state_dict())
    width = one.encoding.width
    weight, missing = state["views.weight"].split([4 * width, 4], 1)
    weight = weight.reshape(-1, 4, width)[:, order].flatten(1)
    state["views.weight"] = torch.cat([weight, missing[:, order]], 1)
    for name in state:
        if name.startswith("encoding."):
            state[name] = state[name][order]
    two.load_state_dict(state)
    X = torch.randn(6, 4, generator=generator)
    X[0, 2] = math.nan
    assert_allclose(one(X).detach(), two(X[:, order]).detach(), atol=1e-5)


@pytest.mark.parametrize("encoding", ENCODINGS)
def test_feature_tokens_follow_permuted_columns(encoding, generator):
    settings = {"n_features": 4, "encoding": encoding, "missing": True}
    one = stir(make(FeatureTokens, generator, **settings), generator)
    two = make(FeatureTokens, generator, **settings)
    order = torch.tensor([2, 0, 3, 1])
    two.load_state_dict({k: v[order] for k, v in one.state_dict().items()})
    X = torch.randn(6, 4, generator=generator)
    X[0, 2] = math.nan
    permuted = two(X[:, order]).detach()
    assert_allclose(one(X)[:, order].detach(), permuted, atol=1e-5)


@pytest.mark.parametrize("kind", TOKENS)
def test_a_number_missing_for_the_first_time_is_read_as_the_median(kind, generator):
    tokens = make(
        kind, generator, n_features=3, encoding="piecewise_linear", missing=True
    )
    X = torch.randn(4, 3, generator=generator)
    X[:, 1] = 0
    gone = X.clone()
    gone[:, 1] = math.nan
    assert torch.equal(tokens(X), tokens(gone))
    stir(tokens, generator)
    assert (tokens(X) != tokens(gone)).any()
    assert tokens(gone).isfinite().all()


@pytest.mark.parametrize("kind", TOKENS)
def test_without_learnt_missing_numbers_nan_is_not_hidden(kind, generator):
    tokens = make(kind, generator, n_features=2, encoding="linear")
    assert tokens(torch.full((1, 2), math.nan)).isnan().any()


def test_tokens_are_dropped_in_training_only(generator):
    tokens = make(DenseTokens, generator, n_features=4, token_dropout=0.5, n_tokens=80)
    X = torch.randn(30, 4, generator=generator)
    plain, dropped = tokens(X), tokens(X, generator)
    assert torch.equal(plain, tokens(X))
    is_zero = dropped == 0
    assert_allclose(is_zero.double().mean(), 0.5, atol=0.03)
    assert_allclose(dropped[~is_zero].detach(), 2 * plain[~is_zero].detach())


def test_a_small_share_of_categories_is_taken_as_unknown_in_training(generator):
    embedding = CategoryEmbedding((3, 5), 2, unknown_share=0.25)
    embedding.draw(generator)
    codes = torch.tensor([[0.0, 1.0]]).expand(4000, -1)
    vectors = embedding(codes, generator)
    plain = embedding(codes)
    assert_allclose(plain[0, 0].detach(), embedding.table[0].detach())
    assert_allclose(plain[0, 1].detach(), embedding.table[3 + 1].detach())
    unknown = embedding(torch.tensor([[2.0, 4.0]]))
    is_unknown = (vectors == unknown).all(-1)
    assert (is_unknown | (vectors == plain).all(-1)).all()
    assert_allclose(is_unknown.double().mean(0), 0.25, atol=0.03)


def test_the_unknown_category_is_trained(generator):
    tokens = make(FeatureTokens, generator, categories=(3,))
    codes = torch.zeros(500, 1)
    tokens(codes, generator).sum().backward()
    assert (tokens.categories.table.grad != 0).any(1).tolist() == [True, False, True]


def test_one_seed_gives_one_output_in_training(generator):
    tokens = make(
        DenseTokens, generator, n_features=2, categories=(3,), token_dropout=0.2
    )
    X = rows(generator, 20, 2, (3,))
    outputs = [tokens(X, torch.Generator().manual_seed(3)) for _ in range(2)]
    assert torch.equal(*outputs)


def test_a_table_without_columns_is_refused():
    with pytest.raises(ValueError, match="n_features > 0"):
        DenseTokens(CRATEConfig(2, "dense"))


@pytest.mark.parametrize("kind", TOKENS)
def test_tokens_in_double_precision_are_those_in_single(kind, generator):
    tokens = make(
        kind, generator, n_features=3, categories=(4,), encoding="piecewise_linear"
    )
    stir(tokens, generator)
    X = rows(generator, 6, 3, (4,))
    single = tokens(X).detach()
    double = tokens.double()(X.double()).detach()
    assert double.dtype == torch.float64
    assert_allclose(single, double, atol=1e-4)
