import numpy as np
import pytest
import torch

from sklearn_whitebox.functional import ista_step
from sklearn_whitebox.modules._learned_encoder import FORMS, UnrolledEncoder


def problem(dtype=torch.float64, n=30, d=12, k=25):
    generator = torch.Generator().manual_seed(0)
    D = torch.randn(k, d, generator=generator, dtype=dtype)
    D = D / D.norm(dim=1, keepdim=True)
    return torch.randn(n, d, generator=generator, dtype=dtype), D


def objective(X, Z, D, alpha):
    return (0.5 * (X - Z @ D).square().sum(1) + alpha * Z.abs().sum(1)).mean()


@pytest.mark.parametrize("form", ["coupled", "free"])
@pytest.mark.parametrize("positive", [False, True])
@pytest.mark.parametrize("n_layers", [1, 2, 16])
@pytest.mark.parametrize(("dtype", "tol"), [("float32", 3e-6), ("float64", 1e-12)])
def test_untrained_network_is_iterative_soft_thresholding(
    form, positive, n_layers, dtype, tol
):
    X, D = problem(getattr(torch, dtype))
    encoder = UnrolledEncoder(
        D, alpha=0.2, n_layers=n_layers, form=form, positive=positive
    )
    Z = torch.zeros(len(X), len(D), dtype=X.dtype)
    for codes in encoder.trajectory(X):
        Z = ista_step(X, Z, D, alpha=0.2, positive=positive)
        torch.testing.assert_close(codes, Z, rtol=0, atol=tol)


@pytest.mark.parametrize("form", FORMS)
def test_every_weight_gets_a_gradient(form):
    X, D = problem()
    encoder = UnrolledEncoder(D, alpha=0.1, n_layers=4, form=form)
    objective(X, encoder(X), D, 0.1).backward()
    for name, weight in encoder.named_parameters():
        assert weight.grad is not None, name
        assert weight.grad.abs().sum() > 0, name


@pytest.mark.parametrize("form", ["coupled", "free"])
def test_layers_of_an_untrained_network_lower_the_objective(form):
    X, D = problem()
    encoder = UnrolledEncoder(D, alpha=0.1, n_layers=10, form=form)
    with torch.no_grad():
        values = [float(objective(X, Z, D, 0.1)) for Z in encoder.trajectory(X)]
    assert np.all(np.diff(values) <= 1e-12)


def test_analytic_form_learns_two_numbers_a_layer():
    _, D = problem()
    encoder = UnrolledEncoder(D, n_layers=7, form="analytic")
    assert sum(p.numel() for p in encoder.parameters()) == 14
    own = (encoder.residual_weights * D).sum(1)
    torch.testing.assert_close(own, torch.ones_like(own))


@pytest.mark.parametrize("form", FORMS)
def test_codes_of_positive_encoders_are_not_negative(form):
    X, D = problem()
    encoder = UnrolledEncoder(D, alpha=0.1, n_layers=5, form=form, positive=True)
    assert float(encoder(X).detach().min()) == 0.0


@pytest.mark.parametrize("form", FORMS)
def test_a_row_is_coded_by_itself(form):
    X, D = problem()
    encoder = UnrolledEncoder(D, alpha=0.1, n_layers=5, form=form)
    alone = torch.cat([encoder(row[None]) for row in X])
    torch.testing.assert_close(alone, encoder(X), rtol=0, atol=1e-12)


def test_construction_leaves_the_global_generator_alone():
    state = torch.get_rng_state()
    for form in FORMS:
        UnrolledEncoder(problem()[1], form=form)
    assert torch.equal(state, torch.get_rng_state())


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"form": "tied"}, "form='tied'"),
        ({"n_layers": 0}, "n_layers=0"),
        ({"alpha": 0.0}, "alpha=0.0"),
    ],
)
def test_impossible_settings_are_refused(arguments, message):
    with pytest.raises(ValueError, match=message):
        UnrolledEncoder(torch.eye(2), **arguments)
