import math

import numpy as np
import pytest
import torch

from sklearn_whitebox.functional import coding_rate, rate_reduction, sinkhorn
from sklearn_whitebox.modules import ClusterNetwork
from sklearn_whitebox.solvers import (
    RateClusteringObjective,
    TrainSettings,
    choose_cut,
    leading_coordinates,
    rate_clustering_loss,
    ridge_directions,
    train_rate_clusters,
)
from sklearn_whitebox.solvers._rate_clustering import MembershipRate, RateLoss


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


def unit_rows(n_samples, n_features, seed=0):
    rows = torch.randn(
        n_samples, n_features, generator=generator(seed), dtype=torch.float64
    )
    return rows / rows.norm(dim=1, keepdim=True)


def slow_membership_rate(Z, memberships, distortion):
    identity = torch.eye(Z.shape[1], dtype=Z.dtype)
    total = 0.0
    for column in memberships.unbind(1):
        scatter = (column[:, None] * Z).mT @ Z
        total = total + torch.logdet(identity + Z.shape[1] / distortion * scatter)
    return total / (2 * memberships.shape[1])


@pytest.mark.parametrize("shape", [(12, 5), (5, 12)])
def test_rate_of_groups_equals_the_formula(shape):
    Z = unit_rows(*shape)
    plan = sinkhorn(Z @ Z.mT, temperature=0.2)
    fast = MembershipRate.apply(Z, plan[:, :4], 0.1)
    torch.testing.assert_close(fast, slow_membership_rate(Z, plan[:, :4], 0.1))


def test_closed_form_gradients_are_exact():
    Z = unit_rows(9, 4).requires_grad_()
    memberships = torch.rand(9, 3, generator=generator(), dtype=torch.float64)
    memberships.requires_grad_()
    assert torch.autograd.gradcheck(
        lambda Z, m: MembershipRate.apply(Z, m, 0.3), (Z, memberships)
    )
    assert torch.autograd.gradcheck(lambda Z: RateLoss.apply(Z, 0.3), Z)
    rate = -RateLoss.apply(Z, 0.3)
    torch.testing.assert_close(rate, coding_rate(Z, distortion=0.3))


def test_loss_equals_its_formula_and_its_gradient_automatic_differentiation():
    Z, C = unit_rows(10, 4).requires_grad_(), unit_rows(10, 4, 1).requires_grad_()
    objective = RateClusteringObjective(
        distortion=0.2,
        temperature=0.4,
        compression_weight=0.7,
        membership_penalty=0.3,
        n_columns=None,
    )
    loss = rate_clustering_loss(Z, C, objective)
    logits = (C @ C.mT).abs() / 0.4
    a = torch.zeros(10, dtype=torch.float64)
    for _ in range(100):
        a = (a - torch.logsumexp(logits + a, 1)) / 2
    plan = torch.exp(logits + a[:, None] + a)
    slow = (
        0.7 * slow_membership_rate(Z, plan, 0.2)
        - coding_rate(Z, distortion=0.2)
        + 0.15 * (plan**2).sum()
    )
    # Sinkhorn stops at a marginal error of 1e-3.
    torch.testing.assert_close(loss, slow, rtol=1e-3, atol=0)
    fast_gradients = torch.autograd.grad(loss, (Z, C))
    slow_gradients = torch.autograd.grad(slow, (Z, C))
    for fast, exact in zip(fast_gradients, slow_gradients, strict=True):
        torch.testing.assert_close(fast, exact, atol=2e-3, rtol=0)


def test_loss_is_the_negative_rate_reduction_and_the_penalty():
    Z, C = unit_rows(15, 4), unit_rows(15, 4, 1)
    plan = sinkhorn((C @ C.mT).abs(), temperature=0.12)
    loss = rate_clustering_loss(Z, C, RateClusteringObjective())
    expected = 0.05 / 2 * plan.square().sum() - rate_reduction(Z, plan, distortion=0.1)
    torch.testing.assert_close(loss, expected, rtol=1e-3, atol=0)


def test_drawn_columns_estimate_all_columns_without_bias():
    Z, C = unit_rows(40, 6), unit_rows(40, 6, 1)
    few = RateClusteringObjective(n_columns=10)
    every = RateClusteringObjective(n_columns=None)
    source = generator(2)
    drawn = torch.stack(
        [rate_clustering_loss(Z, C, few, generator=source) for _ in range(300)]
    )
    exact = rate_clustering_loss(Z, C, every)
    error = float(drawn.std()) / math.sqrt(len(drawn))
    assert abs(float(drawn.mean() - exact)) < 4 * error
    assert float(drawn.std()) > 0


def test_group_rate_is_the_membership_mean_of_singles_for_the_identity():
    Z = unit_rows(7, 3)
    rate = MembershipRate.apply(Z, torch.eye(7, dtype=Z.dtype), 0.5)
    expected = 0.5 * math.log1p(3 / 0.5)
    assert float(rate) == pytest.approx(expected)


def two_planes():
    rng = np.random.default_rng(0)
    X = np.zeros((120, 8), np.float32)
    X[:60, :3] = rng.normal(size=(60, 3))
    X[60:, 3:6] = rng.normal(size=(60, 3))
    X += 0.1 * rng.normal(size=X.shape)
    return torch.from_numpy(X / np.linalg.norm(X, axis=1, keepdims=True)).float()


def network_and_settings(X, **kwargs):
    start = ridge_directions(X, 8)
    network = ClusterNetwork(8, 8, (16,), start=start, generator=generator())
    settings = {"learning_rate": 3e-3, "max_epochs": 20, "steps_per_epoch": 2}
    return network, TrainSettings(**{**settings, **kwargs})


@pytest.mark.parametrize("warmup_epochs", [0, 3])
def test_training_lowers_the_loss(warmup_epochs):
    X = two_planes()
    network, settings = network_and_settings(X)
    objective = RateClusteringObjective(n_columns=None)
    before = rate_clustering_loss(*network(X), objective)
    result = train_rate_clusters(
        network,
        X,
        objective=objective,
        settings=settings,
        generator=generator(),
        warmup_epochs=warmup_epochs,
    )
    assert rate_clustering_loss(*network(X), objective) < before
    assert len(result.loss_curve) == warmup_epochs + 20
    for name, w in network.state_dict().items():
        torch.testing.assert_close(result.weights[name], w)


def test_warmup_raises_the_rate():
    X = two_planes()
    network, settings = network_and_settings(X, max_epochs=0)
    before = coding_rate(network(X)[0], distortion=0.1)
    result = train_rate_clusters(
        network,
        X,
        objective=RateClusteringObjective(),
        settings=settings,
        generator=generator(),
        warmup_epochs=10,
    )
    Z, C = network(X)
    assert coding_rate(Z, distortion=0.1) > before
    torch.testing.assert_close(Z, C)
    assert len(result.loss_curve) == 10


@pytest.mark.parametrize(("stop_after", "expected"), [(2, 2), (5, 5)])
def test_callback_counts_the_warmup_and_stops(stop_after, expected):
    X = two_planes()
    network, settings = network_and_settings(X)
    seen = []

    def callback(epoch, loss):
        seen.append((epoch, loss))
        return len(seen) == stop_after

    result = train_rate_clusters(
        network,
        X,
        objective=RateClusteringObjective(),
        settings=settings,
        generator=generator(),
        warmup_epochs=3,
        callback=callback,
    )
    assert [epoch for epoch, _ in seen] == list(range(expected))
    assert [loss for _, loss in seen] == result.loss_curve


def test_loss_that_is_not_finite_stops_training():
    X = two_planes()
    X[0, 0] = float("nan")
    network, settings = network_and_settings(two_planes())
    with pytest.raises(FloatingPointError):
        train_rate_clusters(
            network,
            X,
            objective=RateClusteringObjective(),
            settings=settings,
            generator=generator(),
        )


@pytest.mark.parametrize("shape", [(40, 6), (6, 40)])
def test_ridge_directions_give_self_expressive_codes(shape):
    X = unit_rows(*shape)
    W = ridge_directions(X, 40, ridge=0.3)
    lam = 0.3 * X.square().sum() / X.shape[1]
    codes = X @ torch.linalg.solve(X.mT @ X + lam * torch.eye(shape[1]), X.mT)
    gram = (X @ W.mT) @ (X @ W.mT).mT
    torch.testing.assert_close(gram / gram.trace(), codes / codes.trace())
    assert float((X @ W.mT).square().sum(1).mean()) == pytest.approx(1)
    assert W.shape == (40, shape[1])


def test_ridge_directions_stand_on_zeros():
    assert torch.equal(ridge_directions(torch.zeros(3, 4), 2), torch.eye(2, 4))


def test_best_cut_has_the_shortest_code(rng):
    Z = np.zeros((90, 6))
    labels = np.repeat([0, 1, 2], 30)
    for k in range(3):
        Z[labels == k, 2 * k : 2 * k + 2] = rng.normal(size=(30, 2))
    cuts = {1: labels * 0, 2: np.minimum(labels, 1), 3: labels, 4: labels.copy()}
    cuts[4][:15] = 3
    found, path = choose_cut(Z, cuts.__getitem__, cuts, distortion=0.1)
    np.testing.assert_array_equal(found, labels)
    np.testing.assert_array_equal(path[:, 0], [1, 2, 3, 4])
    assert path[:, 1].argmin() == 2


@pytest.mark.parametrize("shape", [(40, 6), (6, 40)])
def test_leading_coordinates_keep_the_gram_matrix(rng, shape):
    X = rng.normal(size=shape)
    coordinates = leading_coordinates(X, 50)
    assert coordinates.shape == (shape[0], 6)
    np.testing.assert_allclose(coordinates @ coordinates.T, X @ X.T, atol=1e-10)
    few = leading_coordinates(X, 2)
    s = np.linalg.svd(X, compute_uv=False)
    np.testing.assert_allclose(np.linalg.svd(few, compute_uv=False), s[:2])
