"""A sparse autoencoder as arrays: its start, its memory between parts, its codes."""

import math

import numpy as np
import torch

from sklearn_whitebox._array import inference_device, to_tensor
from sklearn_whitebox._threads import torch_threads
from sklearn_whitebox.estimators._network_state import (
    BLOCK,
    arrays_of,
    blocks_of,
    load_arrays,
)
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


def blocks_of_codes(X, weights, n_active, center, scale, device):
    """Code rows block by block.

    Parameters
    ----------
    X : ndarray of shape (n_samples, n_features)
        Rows.
    weights : dict of str to ndarray
        State of the network.
    n_active : int or None
        Non-zeros of a code, at most.
    center : ndarray of shape (n_features,)
        Centre that is subtracted first.
    scale : float
        Scale of the centred entries, and of the codes.
    device : str or torch.device
        Where to compute, as the user named it.

    Yields
    ------
    block : slice
        Row numbers.
    codes : ndarray of shape (n_rows, n_components)
        Codes, in the units and the floating type of the rows.
    """
    dtype = torch.float32 if X.dtype == np.float32 else torch.float64
    module = module_of(weights, n_active, dtype)
    work = float(module.decoder.numel())
    device = inference_device(device, work=work * len(X))
    module = module.to(device)
    for block in blocks_of(len(X)):
        rows = torch.from_numpy(scaled_rows(X[block], center, scale, X.dtype))
        with torch_threads(work * min(len(X), BLOCK)), torch.no_grad():
            values = module.correlate(rows.to(device))
            codes = module.activate(values).cpu().numpy()
        yield block, (codes * scale).astype(X.dtype, copy=False)


def measure_codes(X, blocks, rebuild):
    """Measure what codes explain, in one pass over blocks of them.

    Parameters
    ----------
    X : ndarray of shape (n_samples, n_features)
        Rows.
    blocks : iterable of (slice, ndarray)
        As :func:`blocks_of_codes` yields them.
    rebuild : callable
        Maps codes to rows.

    Returns
    -------
    explained : float
        Fraction of the variance that is rebuilt.
    l0 : float
        Mean number of non-zeros of a code.
    used : ndarray of shape (n_components,)
        Which atoms occur in a code.
    """
    mean = X.mean(axis=0, dtype=np.float64)
    lost = total = n_nonzero = 0.0
    used = False
    for block, codes in blocks:
        total += float(np.square(X[block] - mean).sum())
        error = (X[block] - rebuild(codes)).astype(np.float64)
        lost += float(np.square(error).sum())
        n_nonzero += np.count_nonzero(codes)
        used = used | codes.any(axis=0)
    l0 = n_nonzero / len(X)
    negligible = (10 * np.finfo(X.dtype).eps) ** 2 * float(np.square(mean).sum())
    if total <= negligible * len(X):
        return float(lost <= negligible * len(X)), l0, used
    return 1 - lost / total, l0, used
