"""The one gate for arrays: whatever the user holds → NumPy → torch, and back."""

import math
import os

import numpy as np
import torch
from sklearn import config_context, get_config
from sklearn.utils import get_tags
from sklearn.utils.validation import validate_data

from sklearn_whitebox._compat import _get_output_config

_FLOATS = (np.float64, np.float32)


def is_foreign(X):
    """Tell arrays of other libraries (torch, array-API namespaces) from NumPy's.

    Parameters
    ----------
    X : object
        Anything a user passes.

    Returns
    -------
    foreign : bool
        True if `X` must be converted before scikit-learn's validation.
    """
    return not isinstance(X, np.ndarray | np.generic) and (
        torch.is_tensor(X) or hasattr(X, "__array_namespace__")
    )


def as_numpy(X):
    """Convert tensors and array-API arrays to NumPy; leave all else alone.

    Parameters
    ----------
    X : object
        Anything a user passes.

    Returns
    -------
    X : ndarray or object
        A NumPy array if `X` was an array of another library.

    Raises
    ------
    TypeError
        If `X` is a lazy collection of dask.
    """
    _refuse_lazy(X, "An argument")
    if torch.is_tensor(X):
        X = X.detach()
        if X.dtype in (torch.bfloat16, torch.float16):
            X = X.float()
        return X.cpu().numpy()
    if is_foreign(X):
        return np.from_dlpack(X)
    return X


def validate_array(
    estimator,
    X,
    y="no_validation",
    *,
    reset=True,
    accept_sparse=False,
    power=4,
    **check_params,
):
    """Validate input through scikit-learn, in float64 or float32, and its range.

    Parameters
    ----------
    estimator : estimator
        Gets ``n_features_in_`` and ``feature_names_in_`` if `reset`.
    X : array-like or Tensor of shape (n_samples, n_features)
        Input. Float32 stays float32; every other number becomes float64.
    y : array-like, None or "no_validation"
        Target, as in :func:`sklearn.utils.validation.validate_data`.
    reset : bool, default=True
        Whether this is a fit.
    accept_sparse : bool, str or list, default=False
        Sparse formats taken.
    power : int, default=4
        Highest power of the entries that the method computes in their own precision.
    **check_params : kwargs
        Further arguments of :func:`sklearn.utils.validation.check_array`.

    Returns
    -------
    out : ndarray or (ndarray, ndarray)
        Validated `X`, and `y` unless it is ``"no_validation"``.

    Raises
    ------
    ValueError
        If the input is not numeric, not finite, too large or too small to square, or
        has another number of features than at fit.
    """
    _refuse_lazy(X, "X", estimator, reset=reset)
    check_params.setdefault("dtype", _FLOATS)
    if y is not None and not isinstance(y, str):
        _refuse_lazy(y, "y", estimator, reset=reset)
        y = as_numpy(y)
    # A dispatching scikit-learn would hand other libraries' arrays through unchanged.
    with config_context(array_api_dispatch=False):
        out = validate_data(
            estimator,
            as_numpy(X),
            y=y,
            reset=reset,
            accept_sparse=accept_sparse,
            **check_params,
        )
    _check_range(out[0] if isinstance(out, tuple) else out, power)
    return out


def _refuse_lazy(X, name, estimator=None, *, reset=True):
    """Refuse collections of dask, and say how they are used."""
    if not hasattr(X, "__dask_graph__"):
        return
    way = f"pass {'it' if name == 'An argument' else name}.compute()"
    if not reset:
        way += ", or go block by block, as by X.map_blocks(estimator.predict, ...)"
    elif hasattr(estimator, "fit_blocks"):
        labelled = name == "y" or get_tags(estimator).target_tags.required
        way += f", or call fit_blocks({'(X, y)' if labelled else 'X'})"
    elif estimator is not None:
        way += " of a sample of the rows"
    raise TypeError(
        f"{name} is a lazy dask collection; validation would load all of it into "
        f"memory. Use its blocks or load it yourself: {way}."
    )


def _check_range(X, power):
    values = X.data if hasattr(X, "tocsr") else X
    if values.size == 0 or values.dtype.kind != "f":
        return
    largest = max(abs(float(values.max())), abs(float(values.min())))
    limits = np.finfo(values.dtype)
    scaling = (
        "scale the features first, for example with "
        "sklearn.preprocessing.StandardScaler."
    )
    # Sums of so many powers must stay finite.
    if largest > (limits.max / values.size) ** (1 / power):
        raise ValueError(
            f"X has entries as large as {largest:.3g}, whose Gram matrix or its powers "
            f"overflow {values.dtype}; {scaling}"
        )
    if 0 < largest < limits.tiny**0.5:
        raise ValueError(
            f"The largest entry of X is {largest:.3g}, whose square is lost in "
            f"{values.dtype}; {scaling}"
        )


def to_tensor(X, *, device="cpu", dtype=None):
    """Copy an array into a tensor of its own, whatever its layout.

    Parameters
    ----------
    X : ndarray
        Validated array; may be read-only, strided or of foreign byte order.
    device : str or torch.device, default="cpu"
        Where to put it.
    dtype : torch.dtype, default=None
        Floating type; None keeps that of `X`.

    Returns
    -------
    tensor : Tensor
        Contiguous; shares no memory with `X`, so writing to it is safe.
    """
    X = np.asarray(X)
    native = X.dtype.newbyteorder("=")
    owned = np.array(X, dtype=native, order="C", copy=True)
    return torch.from_numpy(owned).to(device=device, dtype=dtype)


def restore(Z, *, like, estimator=None, method="transform"):
    """Give a result back in the kind of array that came in.

    Parameters
    ----------
    Z : ndarray
        Result.
    like : object
        The input as the user passed it.
    estimator : estimator, default=None
        Whose ``set_output`` choice wins over the kind of the input.
    method : str, default="transform"
        Method whose ``set_output`` choice is asked.

    Returns
    -------
    Z : ndarray or Tensor
        A tensor on the device of `like` if that is a tensor, an array of the same
        array-API namespace under ``array_api_dispatch``, else the array.
    """
    if estimator is not None:
        choice = _get_output_config(method, estimator)["dense"]
        if choice != "default":
            return Z
    if torch.is_tensor(like):
        return torch.from_numpy(np.ascontiguousarray(Z)).to(like.device)
    if is_foreign(like) and get_config()["array_api_dispatch"]:
        return like.__array_namespace__().asarray(Z)
    return Z


def resolve_device(device, *, work=math.inf):
    """Turn the parameter `device` into a torch device that exists.

    Parameters
    ----------
    device : {"auto", "cpu", "cuda", ...} or None
        ``"auto"`` takes CUDA if there is one and the work is worth the transfers.
    work : float, default=inf
        Multiply-adds of the whole fit, for ``"auto"``.

    Returns
    -------
    device : torch.device
        A usable device.

    Raises
    ------
    ValueError
        If torch does not know the device or cannot use it here.
    """
    if device is None or device == "auto":
        # Below that, transfers and launches cost more than they bring.
        worth_it = work >= 1e10 and os.environ.get("CUDA_VISIBLE_DEVICES") != ""
        name = "cuda" if worth_it and torch.cuda.is_available() else "cpu"
        return torch.device(name)
    try:
        chosen = torch.device(device)
        torch.zeros(1, device=chosen).item()
    except (RuntimeError, AssertionError, NotImplementedError) as error:
        reason = str(error).strip().splitlines()
        raise ValueError(
            f"device={device!r} cannot be used here "
            f"({reason[0] if reason else type(error).__name__}); "
            "use 'auto' or 'cpu'."
        ) from error
    return chosen


def inference_device(device, *, work=math.inf):
    """Resolve the device of a fitted model, which need not exist here any more.

    Parameters
    ----------
    device : str, torch.device or None
        The parameter of the estimator.
    work : float, default=inf
        Multiply-adds of the whole call, for ``"auto"``.

    Returns
    -------
    device : torch.device
        As :func:`resolve_device`, but the CPU where a named CUDA device is missing: a
        model fitted on a GPU machine predicts anywhere.
    """
    try:
        return resolve_device(device, work=work)
    except ValueError:
        if str(device).startswith("cuda"):
            return torch.device("cpu")
        raise


def check_memory(n_bytes, *, what, remedy):
    """Refuse an allocation beyond the budget before it is made.

    Parameters
    ----------
    n_bytes : float
        Bytes about to be allocated.
    what : str
        What needs them, as the subject of the message.
    remedy : str
        What the user can do instead, as a clause.

    Raises
    ------
    ValueError
        If `n_bytes` is more than sixteen times scikit-learn's ``working_memory``
        (1 GiB unless configured otherwise).
    """
    budget = 16 * get_config()["working_memory"] * 2**20
    if n_bytes > budget:
        raise ValueError(
            f"{what} needs {n_bytes / 2**30:.3g} GiB, more than the budget of "
            f"{budget / 2**30:.3g} GiB; {remedy}, or raise "
            "sklearn.set_config(working_memory=...)."
        )
