import math

import pytest
import torch

from sklearn_whitebox.modules._sparse_autoencoder import SparseAutoencoderModule
from sklearn_whitebox.solvers._autoencoder import (
    AutoencoderMemory,
    AutoencoderSettings,
    autoencoder_step,
    replace_dead_atoms,
    train_autoencoder,
)
from sklearn_whitebox.solvers._geometric_median import geometric_median


def setup(n_active=None, k=12, d=8, n=200):
    generator = torch.Generator().manual_seed(0)
    D = torch.randn(k, d, generator=generator)
    X = torch.randn(n, d, generator=generator)
    D = D / D.norm(dim=1, keepdim=True)
    module = SparseAutoencoderModule(D, n_active=n_active)
    return module, X, AutoencoderMemory.empty(module), generator


@pytest.mark.parametrize("n_active", [None, 2])
def test_atoms_keep_unit_norm_and_training_lowers_the_loss(n_active):
    module, X, memory, generator = setup(n_active)
    settings = AutoencoderSettings(3e-3, alpha=0 if n_active else 0.2, n_auxiliary=4)
    result = train_autoencoder(
        module, X, memory, settings, batch_size=50, generator=generator, n_epochs=40
    )
    lengths = module.decoder.detach().norm(dim=1)
    torch.testing.assert_close(lengths, torch.ones_like(lengths))
    assert result.loss_curve[-1] < 0.8 * result.loss_curve[0]


def test_steps_are_those_of_adam():
    module, X, memory, _ = setup()
    twin, *_ = setup()
    settings = AutoencoderSettings(1e-2, alpha=0.1, max_grad_norm=math.inf)
    adam = torch.optim.Adam(twin.parameters(), lr=1e-2)
    for _ in range(5):
        autoencoder_step(module, X, memory, settings)
        codes, rebuilt = twin(X)
        loss = (X - rebuilt).square().sum(1).mean() / 2 + 0.1 * codes.sum(1).mean()
        adam.zero_grad()
        loss.backward()
        D, G = twin.decoder.detach(), twin.decoder.grad
        twin.decoder.grad = G - (G * D).sum(1, keepdim=True) * D
        adam.step()
        with torch.no_grad():
            twin.decoder.div_(twin.decoder.norm(dim=1, keepdim=True))
    for one, other in zip(module.parameters(), twin.parameters(), strict=True):
        torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-5)


def test_idleness_counts_rows_since_the_last_activation():
    module, X, memory, _ = setup()
    with torch.no_grad():
        module.encoder_bias[3] = -1e3
    for _ in range(4):
        autoencoder_step(module, X, memory, AutoencoderSettings(1e-3))
    assert int(memory.idle[3]) == 4 * len(X)
    assert int(memory.idle.sum()) == 4 * len(X)


def test_auxiliary_loss_wakes_dead_atoms():
    dead = {}
    for n_auxiliary in (0, 4):
        module, X, memory, _ = setup(n_active=1)
        with torch.no_grad():  # positive values, but never the largest
            module.encoder[6:] *= 0.01
        settings = AutoencoderSettings(
            5e-3, dead_after=2 * len(X), n_auxiliary=n_auxiliary
        )
        for _ in range(200):
            autoencoder_step(module, X, memory, settings)
        dead[n_auxiliary] = int((memory.idle >= settings.dead_after).sum())
    assert dead[0] >= 3
    assert dead[4] <= 1


def test_auxiliary_loss_gets_time_before_atoms_are_replaced():
    module, X, memory, generator = setup(n_active=2)
    settings = AutoencoderSettings(1e-3, dead_after=100, n_auxiliary=4)
    memory.idle[:] = 0
    memory.idle[2] = 199
    assert replace_dead_atoms(module, X, memory, settings, generator) == 0
    memory.idle[2] = 200
    assert replace_dead_atoms(module, X, memory, settings, generator) == 1


def test_new_atoms_point_at_what_is_missing():
    module, X, memory, generator = setup()
    settings = AutoencoderSettings(1e-3, dead_after=100)
    autoencoder_step(module, X, memory, settings)
    memory.idle[[2, 5]] = 100
    with torch.no_grad():
        error = X - module(X)[1]
    assert replace_dead_atoms(module, X, memory, settings, generator) == 2
    fresh = module.decoder.detach()[[2, 5]]
    cosines = fresh @ (error / error.norm(dim=1, keepdim=True)).mT
    torch.testing.assert_close(cosines.amax(1), torch.ones(2))
    assert not memory.idle[[2, 5]].any()
    assert not memory.moments["square.decoder"][[2, 5]].any()
    assert memory.moments["square.decoder"][0].any()


def test_no_row_is_missed_and_none_is_needed_when_all_live():
    module, X, memory, generator = setup()
    settings = AutoencoderSettings(1e-3, dead_after=100)
    before = module.decoder.detach().clone()
    assert replace_dead_atoms(module, X, memory, settings, generator) == 0
    assert torch.equal(before, module.decoder)


def test_a_stream_in_parts_is_a_pass_over_the_whole():
    """Batches in order: the state between two calls holds all that matters."""
    module, X, memory, _ = setup()
    twin, _, twin_memory, _ = setup()
    settings = AutoencoderSettings(1e-3, alpha=0.1)
    for part in X.split(50):
        autoencoder_step(module, part, memory, settings)
    for half in X.split(100):
        copied = AutoencoderMemory(
            {name: m.clone() for name, m in twin_memory.moments.items()},
            twin_memory.idle.clone(),
            twin_memory.n_steps,
        )
        for part in half.split(50):
            autoencoder_step(twin, part, copied, settings)
        twin_memory = copied
    for one, other in zip(module.parameters(), twin.parameters(), strict=True):
        assert torch.equal(one, other)


def test_divergence_is_an_error():
    module, X, memory, _ = setup()
    with pytest.raises(FloatingPointError, match="loss became"):
        autoencoder_step(module, X * 1e30, memory, AutoencoderSettings(1e-3))


def test_geometric_median_ignores_a_far_minority():
    generator = torch.Generator().manual_seed(0)
    X = torch.randn(1001, 3, generator=generator, dtype=torch.float64)
    X[:200] += 1e4
    median = geometric_median(X)
    assert float(median.norm()) < 1
    directions = (X - median) / (X - median).norm(dim=1, keepdim=True)
    assert float(directions.mean(0).norm()) < 1e-3


def test_geometric_median_of_one_point_is_the_point():
    X = torch.tensor([[1.0, 2.0]]).repeat(5, 1)
    torch.testing.assert_close(geometric_median(X), X[0])
