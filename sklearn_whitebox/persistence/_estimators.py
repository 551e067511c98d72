"""Estimators as descriptions, and back: those of this package, by their short names."""

import re
import reprlib

import scipy.sparse as sp
from sklearn.utils.metadata_routing import MetadataRequest

from sklearn_whitebox import estimators
from sklearn_whitebox.persistence._container import InvalidFile
from sklearn_whitebox.persistence._values import Reader, Unsaveable, Writer, require

REGISTRY = {name: getattr(estimators, name) for name in estimators.__all__}
_ATTRIBUTE = re.compile(r"_?[a-zA-Z][a-zA-Z0-9_]*")
# Live objects around a model, which belong to the process and not to the model.
_CALLBACKS = "_skl_callbacks"
_REQUESTS = "_metadata_request"
_OTHER_WAYS = (
    "skops.io.dump(estimator, file) and pickle keep more kinds of values, "
    "pickle for files you trust only"
)


def _is_attribute(cls, name):
    # A name of the class is a parameter's default, a method or a property.
    return bool(_ATTRIBUTE.fullmatch(name)) and not hasattr(cls, name)


def _way_out(value):
    if type(value).__name__ in ("RandomState", "Generator"):
        return f"Set it to an int, or use another way: {_OTHER_WAYS}."
    if sp.issparse(value):
        return f"Pass it in another layout, as by its method tocsr(); {_OTHER_WAYS}."
    if hasattr(value, "get_params"):
        return f"save keeps estimators of sklearn_whitebox only; {_OTHER_WAYS}."
    if type(value).__module__.partition(".")[0] in ("pandas", "polars", "torch"):
        return f"Pass it as a NumPy array or a list; otherwise {_OTHER_WAYS}."
    return (
        "save keeps numbers, texts, arrays, lists and dictionaries of them, which no "
        f"file can turn into code; {_OTHER_WAYS}."
    )


def _culprit(value):
    """Find the part of a list or dictionary that cannot be saved, to name it."""
    parts = value.values() if isinstance(value, dict) else value
    if isinstance(value, dict | list | tuple):
        for part in parts:
            try:
                Writer(_describe).write(part)
            except TypeError:
                return _culprit(part)
    return value


def _write_named(writer, owner, what, name, value, level):
    try:
        return writer.write(value, level)
    except Unsaveable as error:
        found = value if "nested" in str(error) else _culprit(value)
        raise TypeError(
            f"{owner}: the {what} {name}={reprlib.repr(value)} cannot be saved, since "
            f"{'it' if found is value else reprlib.repr(found)} {error}. "
            f"{_way_out(found)}"
        ) from error


def _requests_of(estimator):
    request = vars(estimator).get(_REQUESTS)
    if request is None:
        return None
    methods = {
        name: getattr(method, "requests", {}) for name, method in vars(request).items()
    }
    return {name: dict(wanted) for name, wanted in methods.items() if wanted}


def _describe(writer, estimator, level):
    cls = type(estimator)
    if REGISTRY.get(cls.__name__) is not cls:
        return None
    names = cls._get_param_names()
    own = dict(vars(estimator))
    params, state = {}, {}
    for name, value in own.items():
        if name in (_CALLBACKS, _REQUESTS):
            continue
        if name in names:
            what, part = "parameter", params
        elif _is_attribute(cls, name):
            what, part = "attribute", state
        else:
            raise TypeError(
                f"{cls.__name__} has the attribute {name!r}, which is no name of "
                "fitted state; delete it before saving."
            )
        part[name] = _write_named(writer, cls.__name__, what, name, value, level)
    return {
        "$": "estimator",
        "class": cls.__name__,
        "params": params,
        "state": state,
        "requests": _requests_of(estimator),
    }


def describe(estimator):
    """Describe an estimator of this package.

    Parameters
    ----------
    estimator : WhiteboxEstimator
        Fitted or not.

    Returns
    -------
    description : dict
        What JSON can hold.
    arrays : dict of str to ndarray
        Its arrays, flat.

    Raises
    ------
    TypeError
        If it is none of this package's estimators, or has a parameter or attribute
        that a file cannot hold.
    """
    writer = Writer(_describe)
    cls = type(estimator)
    if REGISTRY.get(cls.__name__) is not cls:
        if isinstance(estimator, type):
            got, way_out = f"the class {estimator.__name__}", "Pass an instance."
        else:
            got, way_out = f"{cls.__module__}.{cls.__qualname__}", f"{_OTHER_WAYS}."
        if hasattr(estimator, "named_steps"):
            way_out = f"Save its steps one by one; {way_out}"
        raise TypeError(
            f"save keeps estimators of sklearn_whitebox, and got {got}. {way_out}"
        )
    return _describe(writer, estimator, 0), writer.arrays


def _build_requests(estimator, requests):
    request = MetadataRequest(owner=estimator)
    require(isinstance(requests, dict), "its metadata requests are malformed")
    for method, wanted in requests.items():
        known = method != "owner" and method in vars(request)
        require(known and isinstance(wanted, dict), "it requests metadata of no method")
        for name, alias in wanted.items():
            valid = alias is None or isinstance(alias, bool | str)
            require(
                name.isidentifier() and valid, "its metadata requests are malformed"
            )
            getattr(request, method).add_request(param=name, alias=alias)
    return request


def _build(reader, level, name, params, state, requests):
    known = isinstance(name, str) and name in REGISTRY
    require(
        known,
        f"it holds an estimator of the class {name!r}, which sklearn_whitebox has not",
    )
    cls = REGISTRY[name]
    valid = isinstance(params, dict) and isinstance(state, dict)
    require(valid, f"its {name} is malformed")
    unknown = sorted(set(params) - set(cls._get_param_names()))
    require(not unknown, f"{name} has no parameter {', '.join(unknown)}")
    for attribute in state:
        require(
            _is_attribute(cls, attribute) and attribute not in cls._get_param_names(),
            f"{attribute!r} is no name of fitted state of {name}",
        )
    estimator = cls(**{key: reader.read(value, level) for key, value in params.items()})
    vars(estimator).update(
        {key: reader.read(value, level) for key, value in state.items()}
    )
    if requests is not None:
        vars(estimator)[_REQUESTS] = _build_requests(cls.__name__, requests)
    return estimator


def rebuild(description, arrays):
    """Build the estimator that was described.

    Parameters
    ----------
    description : dict
        What :func:`describe` gave.
    arrays : dict of str to ndarray
        Its arrays.

    Returns
    -------
    estimator : WhiteboxEstimator
        As fitted as it was.

    Raises
    ------
    InvalidFile
        If this describes no estimator of this package.
    """
    is_estimator = isinstance(description, dict) and description.get("$") == "estimator"
    require(is_estimator, "it describes no estimator")
    reader = Reader(arrays, _build)
    try:
        estimator = reader.read(description)
    except InvalidFile:
        raise
    except (ValueError, TypeError, OverflowError, MemoryError) as error:
        raise InvalidFile(f"its state is not valid ({error})") from error
    require(not reader.arrays, "it holds arrays that belong to nothing")
    return estimator
