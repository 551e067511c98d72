"""What a sparse autoencoder starts from, and what it remembers between parts."""

import math

import numpy as np
import torch

from sklearn_whitebox._array import to_tensor
from sklearn_whitebox.estimators._network_state import arrays_of, blocks_of, load_arrays
from sklearn_whitebox.modules._sparse_autoencoder import SparseAutoencoderModule
from sklearn_whitebox.solvers._atoms import initial_atoms
from sklearn_whitebox.solvers._autoencoder import AutoencoderMemory
from sklearn_whitebox.solvers._geometric_median import geometric_median

# Rows from which the centre is estimated.
_CENTRE_ROWS = 10_000


def find_start(X, n_components, center, generator):
    """Measure centre and scale of rows, and choose atoms among them.

    Parameters
    ----------
    X : ndarray of shape (n_samples, n_features)
        Rows, of which at most ten thousand are looked at.
    n_components : int
        Number of atoms.
    center : {"median", "mean"}
        Kind of centre.
    generator : Generator
        Source of the choices.

    Returns
    -------
    center : ndarray of shape (n_features,)
        Centre, in double precision.
    scale : float
        Root mean square of the centred entries; 1 if the rows do not vary.
    weights : dict of str to ndarray
        State of the network before training.
    """
    rows = torch.randperm(len(X), generator=generator)[:_CENTRE_ROWS].numpy()
    sample = X[np.sort(rows)].astype(np.float64)
    if center == "mean":
        middle = sample.mean(axis=0)
    else:
        middle = geometric_median(torch.from_numpy(sample)).numpy()
    sample -= middle
    spread = math.sqrt(np.mean(np.square(sample)))
    # Rounding of a constant is no spread.
    constant = spread <= 10 * np.finfo(X.dtype).eps * np.abs(middle).max()
    scale = 1.0 if constant else spread
    seed = int(torch.randint(2**31 - 1, (), generator=generator))
    atoms = initial_atoms(
        (sample / scale).astype(np.float32), n_components, np.random.default_rng(seed)
    )
    module = SparseAutoencoderModule(torch.from_numpy(atoms))
    return middle, scale, arrays_of(module.state_dict())


def scaled_rows(X, center, scale, dtype):
    """Centre and scale rows, with little memory beside the result.

    Parameters
    ----------
    X : ndarray of shape (n_samples, n_features)
        Rows.
    center : ndarray of shape (n_features,)
        Centre, in double precision.
    scale : float
        Scale.
    dtype : dtype
        Floating type of the result.

    Returns
    -------
    scaled : ndarray of shape (n_samples, n_features)
        A new array.
    """
    out = np.empty(X.shape, dtype=dtype)
    for block in blocks_of(len(X)):
        out[block] = (X[block] - center) / scale
    return out


def module_of(weights, n_active, dtype):
    """Make the network from its arrays.

    Parameters
    ----------
    weights : dict of str to ndarray
        State.
    n_active : int or None
        Non-zeros of a code, at most.
    dtype : torch.dtype
        Floating type.

    Returns
    -------
    module : SparseAutoencoderModule
        On the CPU, ready for inference.
    """
    decoder = to_tensor(weights["decoder"], dtype=dtype)
    return load_arrays(SparseAutoencoderModule(decoder, n_active=n_active), weights)


def remember(stored, module):
    """Turn what an estimator keeps between parts of a stream into tensors.

    Parameters
    ----------
    stored : dict or None
        As :func:`store` gave it; None before the first part.
    module : SparseAutoencoderModule
        The network, on the device of training.

    Returns
    -------
    memory : AutoencoderMemory
        On the same device; shares no memory with what is stored.
    """
    memory = AutoencoderMemory.empty(module)
    if stored is not None:
        device = module.decoder.device
        for name, moment in stored["moments"].items():
            memory.moments[name] = to_tensor(moment, device=device)
        memory.idle = to_tensor(stored["idle"], device=device)
        memory.n_steps = stored["n_steps"]
    return memory


def store(memory, generator):
    """Turn what training remembers into plain arrays and numbers.

    Parameters
    ----------
    memory : AutoencoderMemory
        After training.
    generator : Generator
        Gives the seed of the next part.

    Returns
    -------
    stored : dict
        Moments of Adam, idleness of the atoms, steps done and the next seed.
    """
    return {
        "moments": arrays_of(memory.moments),
        "idle": memory.idle.cpu().numpy().copy(),
        "n_steps": memory.n_steps,
        "seed": int(torch.randint(2**31 - 1, (), generator=generator)),
    }
