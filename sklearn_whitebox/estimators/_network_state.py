"""Networks as dictionaries of arrays, and their use on many rows."""

import torch
from torch import nn

from sklearn_whitebox._array import to_tensor

# Rows encoded at a time: few enough for the codes to stay in the cache. Fixed, so that
# results do not depend on the machine.
BLOCK = 1024


def arrays_of(weights):
    """Copy a state of tensors into arrays.

    Parameters
    ----------
    weights : dict of str to Tensor
        State of a module.

    Returns
    -------
    arrays : dict of str to ndarray
        Copies that share no memory with the module.
    """
    return {name: w.detach().cpu().numpy().copy() for name, w in weights.items()}


def load_arrays(module, arrays):
    """Put arrays into a module of the same shape.

    Parameters
    ----------
    module : Module
        Changed in place; keeps its floating type.
    arrays : dict of str to ndarray
        State, as :func:`arrays_of` gave it.

    Returns
    -------
    module : Module
        The module, ready for inference.
    """
    state = {name: torch.from_numpy(array.copy()) for name, array in arrays.items()}
    nn.Module.load_state_dict(module, state)
    return module.eval()


def blocks_of(n_rows):
    """Cut rows into blocks of a size that is the same on every machine.

    Parameters
    ----------
    n_rows : int
        Number of rows.

    Yields
    ------
    block : slice
        Rows of a block.
    """
    for start in range(0, n_rows, BLOCK):
        yield slice(start, min(start + BLOCK, n_rows))


def apply_network(module, rows, device):
    """Run a network on a block of rows, without gradients.

    Parameters
    ----------
    module : Module
        Network, on the device.
    rows : ndarray of shape (n_samples, n_features)
        Rows in the floating type of the network.
    device : torch.device
        Where to compute.

    Returns
    -------
    output : ndarray of shape (n_samples, n_outputs)
        In the same floating type.
    """
    with torch.no_grad():
        return module(to_tensor(rows, device=device)).cpu().numpy()
