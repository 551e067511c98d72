"""Signs that a network was trained badly, and what to change."""

import torch

from sklearn_whitebox._array import to_tensor
from sklearn_whitebox._threads import torch_threads
from sklearn_whitebox._warn import warn
from sklearn_whitebox.estimators._crate_cost import (
    count_multiply_adds,
    rows_at_once,
)
from sklearn_whitebox.estimators._crate_inference import member_weights
from sklearn_whitebox.modules._crate import CRATE
from sklearn_whitebox.modules._crate_config import CRATEConfig

# Rows looked at, share of tokens that may die, and turns of the power iteration. The
# blank patches of good images die, too, and there may be many.
_N_ROWS, _MOST_DEAD, _N_TURNS = 256, 0.5, 30


def warn_of_network(estimator, rows):
    """Warn of tokens that a fitted network leaves empty, and of steps that diverge.

    Parameters
    ----------
    estimator : BaseCRATE
        Fitted estimator; its first network is looked at.
    rows : Rows
        Training rows.
    """
    config = CRATEConfig(**estimator._architecture)
    if config.sparsifier not in ("ista", "odl") or config.n_layers == 0:
        return
    module = CRATE(config)
    weights = member_weights(estimator, 0)
    module.load_state_dict({name: torch.tensor(w) for name, w in weights.items()})
    module.eval()
    with torch.inference_mode(False), torch.no_grad():
        if config.sparsifier == "odl":
            _warn_of_steps(module)
            return
        size = min(_N_ROWS, rows_at_once(module))
        with torch_threads(size * count_multiply_adds(module)):
            X = to_tensor(rows.X[:size], dtype=torch.float32)
            shares = [_dead_share(trace.output) for trace in module.trace(X)]
    worst = max(shares)
    if worst > _MOST_DEAD:
        warn(
            f"Layer {shares.index(worst)} leaves {worst:.0%} of its tokens entirely "
            "zero: its sparsifier removes more than the tokens hold. Try a smaller "
            "learning_rate, a larger d_token or sparsifier='odl'.",
            UserWarning,
        )


def _dead_share(tokens):
    return float((tokens == 0).all(-1).double().mean())


def _warn_of_steps(module):
    for number, layer in enumerate(module.layers):
        step = layer.sparsify
        size = float(torch.as_tensor(step.step_size))
        growth = size * spectral_norm(step.dictionary) ** 2
        if growth > 2:
            warn(
                f"The proximal steps of layer {number} do not converge: step size "
                f"times squared spectral norm of the dictionary is {growth:.2g}, more "
                "than 2. Try a smaller learning_rate or a larger weight_decay.",
                UserWarning,
            )
            return


def spectral_norm(matrix, n_turns=_N_TURNS):
    """Give the largest singular value of a matrix, by power iteration.

    Parameters
    ----------
    matrix : Tensor of shape (n, m)
        Matrix.
    n_turns : int, default=30
        Turns of the iteration, which approaches the norm from below.

    Returns
    -------
    norm : float
        Largest singular value.
    """
    matrix = matrix.detach().double()
    vector = matrix.abs().sum(0)
    for _ in range(n_turns):
        vector = matrix.mT @ (matrix @ vector)
        length = torch.linalg.vector_norm(vector)
        if not length > 0:
            return 0.0
        vector = vector / length
    return float(torch.linalg.vector_norm(matrix @ vector))
