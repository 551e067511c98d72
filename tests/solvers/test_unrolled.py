import pytest
import torch
from scipy import sparse

from sklearn_whitebox.modules import UnrolledEncoder
from sklearn_whitebox.solvers import TrainSettings, train_sparse_encoder


@pytest.mark.parametrize("watched", [False, True])
def test_sparse_targets_teach_the_same_as_dense_ones(watched):
    generator = torch.Generator().manual_seed(0)
    X = torch.randn(120, 5, generator=generator)
    D = torch.nn.functional.normalize(torch.randn(8, 5, generator=generator))
    wanted = UnrolledEncoder(D, alpha=0.3, n_layers=30)(X).detach()
    results = []
    for targets in (wanted, sparse.csr_array(wanted.numpy())):
        module = UnrolledEncoder(D, alpha=0.3, n_layers=2)
        results.append(
            train_sparse_encoder(
                module,
                X[:100],
                D,
                alpha=0.3,
                settings=TrainSettings(
                    learning_rate=1e-2,
                    max_epochs=3,
                    steps_per_epoch=4,
                    patience=2 if watched else None,
                ),
                generator=torch.Generator().manual_seed(1),
                targets=targets[:100],
                held_out=(X[100:], targets[100:]) if watched else None,
            )
        )
    dense, other = results
    assert other.loss_curve == dense.loss_curve
    assert other.validation_curve == dense.validation_curve
    assert all(torch.equal(w, dense.weights[name]) for name, w in other.weights.items())
