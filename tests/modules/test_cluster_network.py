import pytest
import torch

from sklearn_whitebox.modules import ClusterNetwork


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


@pytest.fixture
def X():
    return torch.randn(20, 6, generator=generator(7))


@pytest.mark.parametrize("hidden", [(), (8,), (8, 5)])
@pytest.mark.parametrize("is_residual", [True, False])
def test_both_heads_give_unit_rows(X, hidden, is_residual):
    start = torch.eye(4, 6) if is_residual else None
    network = ClusterNetwork(6, 4, hidden, start=start, generator=generator())
    for rows in network(X):
        assert rows.shape == (20, 4)
        torch.testing.assert_close(rows.norm(dim=1), torch.ones(20))


def test_given_start_is_where_both_heads_begin(X):
    start = torch.randn(4, 6, generator=generator(1))
    network = ClusterNetwork(6, 4, (8,), start=start, generator=generator())
    expected = X @ start.T
    expected = expected / expected.norm(dim=1, keepdim=True)
    for rows in (*network(X), network.coordinates(X)):
        torch.testing.assert_close(rows, expected)
    assert not network.stem.weight.requires_grad


@pytest.mark.parametrize("start", [None, torch.eye(4, 6)])
def test_gradients_reach_every_trained_weight(X, start):
    network = ClusterNetwork(6, 4, (8, 5), start=start, generator=generator())
    if start is not None:  # heads of zero hide the body from the first gradient
        for head in (network.feature_head, network.cluster_head):
            torch.nn.init.normal_(head.bend.weight, generator=generator(2))
    Z, C = network(X)
    target = torch.randn(20, 4, generator=generator(3))
    ((Z + 2 * C) * target).sum().backward()
    for name, weight in network.named_parameters():
        if weight.requires_grad:
            assert weight.grad.abs().sum() > 0, name


def test_opposite_rows_have_opposite_features_and_zero_rows_none(X):
    network = ClusterNetwork(6, 4, (8,), generator=generator())
    for rows, opposite in zip(network(X), network(-X), strict=True):
        torch.testing.assert_close(rows, -opposite)
    for rows in network(torch.zeros(2, 6)):
        assert not rows.any()


def test_cluster_head_can_go_on_from_the_features(X):
    network = ClusterNetwork(6, 4, (8,), generator=generator())
    Z, C = network(X)
    assert not torch.allclose(Z, C)
    network.copy_features_to_clusters()
    Z, C = network(X)
    torch.testing.assert_close(Z, C)
    with torch.no_grad():
        network.feature_head.skip.weight.zero_()
    assert network.cluster_head.skip.weight.any()


def test_the_global_generator_is_left_alone():
    before = torch.get_rng_state()
    first = ClusterNetwork(6, 4, (8,), generator=generator())
    second = ClusterNetwork(6, 4, (8,), generator=generator())
    assert torch.equal(before, torch.get_rng_state())
    for a, b in zip(first.parameters(), second.parameters(), strict=True):
        assert torch.equal(a, b)


def test_weights_are_single_precision_whatever_the_default():
    before = torch.get_default_dtype()
    torch.set_default_dtype(torch.float64)
    try:
        network = ClusterNetwork(6, 4, (8,), generator=generator())
    finally:
        torch.set_default_dtype(before)
    assert {w.dtype for w in network.parameters()} == {torch.float32}


def test_state_is_loaded_into_an_empty_network(X):
    network = ClusterNetwork(6, 4, (8,), start=torch.eye(4, 6), generator=generator())
    empty = ClusterNetwork(6, 4, (8,))
    empty.load_state_dict(network.state_dict())
    torch.testing.assert_close(empty(X), network(X))
