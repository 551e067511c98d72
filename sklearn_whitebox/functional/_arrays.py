"""NumPy in → NumPy out, for functions written on tensors."""

import functools
from collections.abc import Callable
from typing import Any

import numpy as np
import torch

from sklearn_whitebox._threads import torch_threads


def accepts_arrays(function: Callable[..., Any]) -> Callable[..., Any]:
    """Let a function of tensors take and return NumPy arrays.

    If any argument is a tensor the call goes through untouched, gradients included.
    Otherwise arrays and nested lists become tensors (floats keep their precision,
    integers stay integers), results come back as arrays, scalars as floats, and small
    work runs on one thread.

    Parameters
    ----------
    function : callable
        Function of tensors.

    Returns
    -------
    wrapped : callable
        The same function for both kinds of array.
    """

    @functools.wraps(function)
    def wrapped(*args: Any, **kwargs: Any) -> Any:
        if any(torch.is_tensor(a) for a in (*args, *kwargs.values())):
            args = tuple(_to_tensor(a, arrays_only=True) for a in args)
            kwargs = {k: _to_tensor(a, arrays_only=True) for k, a in kwargs.items()}
            return function(*args, **kwargs)
        args = tuple(_to_tensor(a) for a in args)
        kwargs = {name: _to_tensor(a) for name, a in kwargs.items()}
        with torch_threads(_work(args)):
            return _to_numpy(function(*args, **kwargs))

    return wrapped


def _work(args: tuple[Any, ...]) -> float:
    """Estimate the multiply-adds of a Gram matrix of the largest argument."""
    sizes = [a.numel() * min(a.shape[-2:]) for a in args if _is_matrix(a)]
    return float(max(sizes, default=0))


def _is_matrix(value: Any) -> bool:
    return torch.is_tensor(value) and value.ndim >= 2 and value.numel() > 0


def _to_tensor(value: Any, *, arrays_only: bool = False) -> Any:
    if isinstance(value, list) and not arrays_only:
        value = np.asarray(value)
    if not isinstance(value, np.ndarray) or value.dtype.kind not in "fiub":
        return value
    if value.dtype.kind == "f" and value.dtype.itemsize not in (4, 8):
        value = value.astype(np.float64 if value.dtype.itemsize > 8 else np.float32)
    native = value.dtype.newbyteorder("=")
    return torch.from_numpy(np.array(value, dtype=native, order="C", copy=True))


def _to_numpy(value: Any) -> Any:
    if torch.is_tensor(value):
        value = value.detach()
        return value.item() if value.ndim == 0 else value.cpu().numpy()
    if isinstance(value, tuple):
        return tuple(_to_numpy(v) for v in value)
    return value
