import pytest
import torch

from sklearn_whitebox.functional import ista_step
from sklearn_whitebox.modules._sparse_autoencoder import SparseAutoencoderModule


def start(k=9, d=6, **kwargs):
    generator = torch.Generator().manual_seed(0)
    D = torch.randn(k, d, generator=generator, dtype=torch.float64)
    D = D / D.norm(dim=1, keepdim=True)
    X = torch.randn(40, d, generator=generator, dtype=torch.float64)
    return SparseAutoencoderModule(D, **kwargs), X


def test_encoder_starts_as_a_step_of_non_negative_soft_thresholding():
    module, X = start()
    with torch.no_grad():
        module.encoder_bias.fill_(-0.3)
        codes, _ = module(X)
    zeros = torch.zeros_like(codes)
    step = ista_step(X, zeros, module.decoder, alpha=0.3, step_size=1.0, positive=True)
    torch.testing.assert_close(codes, step.detach())


@pytest.mark.parametrize("n_active", [None, 1, 3, 9])
def test_codes_are_non_negative_and_rebuild_by_the_atoms(n_active):
    module, X = start(n_active=n_active)
    with torch.no_grad():
        module.pre_bias.normal_(generator=torch.Generator().manual_seed(1))
        codes, rebuilt = module(X)
    assert bool((codes >= 0).all())
    if n_active is not None:
        assert int((codes > 0).sum(1).max()) <= n_active
    torch.testing.assert_close(rebuilt, codes @ module.decoder + module.pre_bias)


def test_the_largest_values_stay():
    module, X = start(n_active=2)
    free, _ = start()
    with torch.no_grad():
        kept, everything = module(X)[0], free(X)[0]
    assert torch.equal(kept.sort(1).values[:, -2:], everything.sort(1).values[:, -2:])


@pytest.mark.parametrize("n_active", [None, 2])
def test_gradients_are_those_of_the_loss(n_active):
    module, X = start(n_active=n_active)
    names = ["encoder", "encoder_bias", "decoder", "pre_bias"]

    def loss(*weights):
        state = dict(zip(names, weights, strict=True))
        codes, rebuilt = torch.func.functional_call(module, state, (X,))
        return (X - rebuilt).square().sum() + codes.sum()

    weights = tuple(getattr(module, name) for name in names)
    assert torch.autograd.gradcheck(loss, weights)


@pytest.mark.parametrize("n_active", [0, 10])
def test_impossible_number_of_non_zeros_is_refused(n_active):
    with pytest.raises(ValueError, match=f"n_active={n_active}"):
        SparseAutoencoderModule(torch.eye(9), n_active=n_active)
