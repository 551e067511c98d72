"""Fitted values as JSON and flat arrays, and back: a closed set of kinds.

What JSON has stands for itself. Everything else is an object ``{"$": kind, ...}``, and
the kinds are those of `_READERS`: nothing in a file is looked up by a name it brings.
"""

import math
import re
import struct

import numpy as np
import scipy.sparse as sp
import torch

from sklearn_whitebox.persistence._container import STORED, InvalidFile

# Deeper than any model, and shallow enough for every recursion here.
_MOST_LEVELS = 60
_TAG = "$"
_SPARSE = {
    f"{layout}_{kind}": getattr(sp, f"{layout}_{kind}")
    for layout in ("csr", "csc")
    for kind in ("array", "matrix")
}
_DTYPE = re.compile(
    r"[<>|](b1|[iu][1248]|f[248]|c(8|16)|[mM]8(\[\d*[a-zA-Z]+\])?|[SU][1-9]\d*)"
)
_LAST_CHARACTER = 0x10FFFF
_PLAIN_INT = 2**53


class Unsaveable(TypeError):
    """A value is of no kind that a file may hold."""


def _parts(dtype):
    """Give the stored type that a dtype is seen as, and how many make one item."""
    dtype = dtype.newbyteorder("<")
    if dtype in STORED.values():
        return dtype, 1
    if dtype.kind == "c":
        return np.dtype(f"<f{dtype.itemsize // 2}"), 2
    if dtype.kind in "mM":
        return np.dtype("<i8"), 1
    if dtype.kind == "U":
        return np.dtype("<u4"), dtype.itemsize // 4
    return np.dtype("u1"), dtype.itemsize


class Writer:
    """Turn values into JSON, and put their arrays aside.

    Parameters
    ----------
    write_estimator : callable
        Gives the description of an estimator, or None if it is none of ours.

    Attributes
    ----------
    arrays : dict of str to ndarray
        Arrays met so far, flat.
    """

    def __init__(self, write_estimator):
        self.arrays = {}
        self._write_estimator = write_estimator

    def write(self, value, level=0):
        """Describe a value.

        Parameters
        ----------
        value : object
            Value to describe.
        level : int, default=0
            How deep it lies.

        Returns
        -------
        description : object
            What JSON can hold.

        Raises
        ------
        TypeError
            If there is no such kind of value.
        """
        if level > _MOST_LEVELS:
            raise Unsaveable(f"is nested in more than {_MOST_LEVELS} levels")
        kind = type(value)
        if value is None or kind in (bool, str):
            return value
        if kind is int:
            plain = -_PLAIN_INT <= value <= _PLAIN_INT
            return value if plain else {_TAG: "int", "hex": f"{value:x}"}
        if kind is float:
            return _write_float(value)
        if kind is list:
            return [self.write(item, level + 1) for item in value]
        if kind is dict:
            return self._write_dict(value, level + 1)
        return self._write_tagged(value, level + 1)

    def _write_dict(self, value, level):
        if all(type(key) is str and not key.startswith(_TAG) for key in value):
            return {key: self.write(item, level) for key, item in value.items()}
        strange = [type(key).__name__ for key in value if not _is_key(key)]
        if strange:
            raise Unsaveable(f"has a {strange[0]} for a key")
        items = [[self.write(part, level) for part in pair] for pair in value.items()]
        return {_TAG: "dict", "items": items}

    def _write_tagged(self, value, level):
        kind = type(value)
        if kind is tuple:
            return {_TAG: "tuple", "items": [self.write(v, level) for v in value]}
        if kind is slice:
            parts = (value.start, value.stop, value.step)
            return {_TAG: "slice", "items": [self.write(part, level) for part in parts]}
        if kind is complex:
            parts = (value.real, value.imag)
            return {_TAG: "complex", "items": [_write_float(part) for part in parts]}
        if kind is torch.device:
            return {_TAG: "device", "name": str(value)}
        if kind in (np.ndarray, np.memmap):
            return self._write_array(np.asarray(value), level)
        if isinstance(value, np.generic):
            array = self._write_array(np.asarray(value), level)
            return {_TAG: "scalar", "array": array}
        if kind in _SPARSE.values():
            return self._write_sparse(value, level)
        description = self._write_estimator(self, value, level)
        if description is None:
            raise Unsaveable(f"is a {kind.__module__}.{kind.__qualname__}")
        return description

    def _write_array(self, value, level):
        if value.dtype.kind == "T" or value.dtype == object:
            if value.dtype.kind == "T" and hasattr(value.dtype, "na_object"):
                raise Unsaveable(f"has the dtype {value.dtype}")
            return {
                _TAG: "strings" if value.dtype.kind == "T" else "objects",
                "shape": list(value.shape),
                "items": [self.write(item, level) for item in value.ravel().tolist()],
            }
        if value.dtype.itemsize == 0 and value.dtype.kind in "SU":
            value = value.astype(f"{value.dtype.kind}1")
        if not _DTYPE.fullmatch(value.dtype.str):
            raise Unsaveable(f"has the dtype {value.dtype}")
        part, _ = _parts(value.dtype)
        flat = np.ascontiguousarray(value).reshape(-1)
        flat = flat.astype(value.dtype.newbyteorder("<"), copy=False).view(part)
        name = f"array{len(self.arrays)}"
        self.arrays[name] = flat
        flags = value.flags
        return {
            _TAG: "array",
            "name": name,
            "dtype": value.dtype.str,
            "shape": list(value.shape),
            "order": "F" if flags.f_contiguous and not flags.c_contiguous else "C",
        }

    def _write_sparse(self, value, level):
        arrays = (value.data, value.indices, value.indptr)
        return {
            _TAG: "sparse",
            "kind": type(value).__name__,
            "arrays": [self._write_array(array, level) for array in arrays],
            "shape": list(value.shape),
        }


def _write_float(value):
    if math.isfinite(value):
        return value
    return {_TAG: "float", "bits": struct.pack(">d", value).hex()}


def require(condition, message):
    """Refuse what a file says.

    Parameters
    ----------
    condition : bool
        What must hold.
    message : str
        What is wrong if it does not.

    Raises
    ------
    InvalidFile
        If it does not hold.
    """
    if not condition:
        raise InvalidFile(message)


class Reader:
    """Turn JSON and flat arrays into values again.

    Parameters
    ----------
    arrays : dict of str to ndarray
        Flat arrays; every one is used once.
    read_estimator : callable
        Builds an estimator from its description.
    """

    def __init__(self, arrays, read_estimator):
        self.arrays = dict(arrays)
        self._read_estimator = read_estimator

    def read(self, description, level=0):
        """Build a value.

        Parameters
        ----------
        description : object
            As :meth:`Writer.write` gave it.
        level : int, default=0
            How deep it lies.

        Returns
        -------
        value : object
            Value.

        Raises
        ------
        InvalidFile
            If no value has this description.
        """
        require(level <= _MOST_LEVELS + 2, "its values are nested too deeply")
        if isinstance(description, list):
            return [self.read(item, level + 1) for item in description]
        if not isinstance(description, dict):
            return description
        if _TAG not in description:
            return {key: self.read(d, level + 1) for key, d in description.items()}
        kind, *fields = description.values()
        known = isinstance(kind, str) and kind in _READERS
        require(known, f"it holds a value of the unknown kind {kind!r}")
        names, build = _READERS[kind]
        require(
            list(description) == [_TAG, *names],
            f"a value of kind {kind!r} is malformed",
        )
        return build(self, level + 1, *fields)

    def _read_items(self, items, level):
        require(isinstance(items, list), "a list of values is malformed")
        return [self.read(item, level) for item in items]

    def _read_dict(self, level, items):
        valid = isinstance(items, list) and all(
            isinstance(pair, list) and len(pair) == 2 for pair in items
        )
        require(valid, "a dictionary is malformed")
        pairs = [[self.read(part, level) for part in pair] for pair in items]
        is_valid = all(_is_key(key) for key, _ in pairs)
        require(is_valid, "a dictionary has a key that is none")
        value = dict(pairs)
        require(len(value) == len(pairs), "a dictionary has a key twice")
        return value

    def _read_array(self, level, name, dtype, shape, order):
        known = isinstance(name, str) and name in self.arrays
        require(known, f"array {name!r} is missing or used twice")
        flat, shape = self.arrays.pop(name), _read_shape(shape)
        valid = isinstance(dtype, str) and _DTYPE.fullmatch(dtype)
        require(valid and order in ("C", "F"), f"array {name!r} has no valid dtype")
        try:
            dtype = np.dtype(dtype)
        except (TypeError, ValueError) as error:
            raise InvalidFile(f"array {name!r} has no valid dtype") from error
        part, per_item = _parts(dtype)
        require(
            flat.dtype == part and flat.size == math.prod(shape) * per_item,
            f"array {name!r} has another size or type than it is said to have",
        )
        if dtype.kind == "b":
            require(flat.view(np.uint8).max(initial=0) <= 1, "a truth value is neither")
        if dtype.kind == "U":
            most = flat.max(initial=0)
            require(most <= _LAST_CHARACTER, "a text has characters that do not exist")
        array = flat.view(dtype.newbyteorder("<")).astype(dtype, copy=False)
        return np.asarray(array.reshape(shape), order=order)

    def _read_objects(self, level, shape, items):
        values, shape = self._read_items(items, level), _read_shape(shape)
        require(len(values) == math.prod(shape), "an array of objects has another size")
        array = np.empty(len(values), dtype=object)
        for position, value in enumerate(values):
            array[position] = value
        return array.reshape(shape)

    def _read_strings(self, level, shape, items):
        array = self._read_objects(level, shape, items)
        require(all(type(item) is str for item in array.flat), "a text is none")
        return array.astype(np.dtypes.StringDType())

    def _read_scalar(self, level, array):
        value = self.read(array, level)
        require(
            isinstance(value, np.ndarray) and value.ndim == 0 and value.dtype != object,
            "a number is none",
        )
        return value[()]

    def _read_sparse(self, level, kind, arrays, shape):
        known = isinstance(kind, str) and kind in _SPARSE
        parts, shape = self._read_items(arrays, level), _read_shape(shape)
        valid = len(parts) == 3 and all(
            isinstance(part, np.ndarray) and part.ndim == 1 for part in parts
        )
        require(known and valid and len(shape) == 2, "a sparse matrix is malformed")
        require(
            parts[0].dtype.kind in "bifuc"
            and all(part.dtype in (np.int32, np.int64) for part in parts[1:]),
            "a sparse matrix has values or indices of another type",
        )
        matrix = _SPARSE[kind](shape, dtype=parts[0].dtype)
        # Its constructor would choose another type for the indices.
        matrix.data, matrix.indices, matrix.indptr = parts
        # Compiled code follows the indices without asking.
        matrix.check_format(full_check=True)
        return matrix

    def _read_tuple(self, level, items):
        return tuple(self._read_items(items, level))

    def _read_slice(self, level, items):
        parts = self._read_items(items, level)
        require(len(parts) == 3, "a slice is malformed")
        return slice(*parts)

    def _read_complex(self, level, items):
        parts = self._read_items(items, level)
        valid = len(parts) == 2 and all(type(part) is float for part in parts)
        require(valid, "a complex number is malformed")
        return complex(*parts)

    def _read_int(self, level, text):
        valid = isinstance(text, str) and re.fullmatch("-?[0-9a-f]+", text)
        require(valid, "an integer is malformed")
        return int(text, 16)

    def _read_float(self, level, bits):
        valid = isinstance(bits, str) and re.fullmatch("[0-9a-f]{16}", bits)
        require(valid, "a number is malformed")
        return struct.unpack(">d", bytes.fromhex(bits))[0]

    def _read_device(self, level, name):
        require(isinstance(name, str), "a device is malformed")
        try:
            return torch.device(name)
        except RuntimeError as error:
            raise InvalidFile(f"it names the unknown device {name!r}") from error

    def _read_nested(self, level, *fields):
        return self._read_estimator(self, level, *fields)


def _read_shape(shape):
    valid = (
        isinstance(shape, list)
        and len(shape) <= 64
        and all(type(side) is int and 0 <= side < 2**48 for side in shape)
    )
    require(valid, "a shape is malformed")
    return tuple(shape)


def _is_key(value):
    if isinstance(value, tuple):
        return all(map(_is_key, value))
    return value is None or isinstance(value, str | int | float | complex | np.generic)


_READERS = {
    "array": (("name", "dtype", "shape", "order"), Reader._read_array),
    "complex": (("items",), Reader._read_complex),
    "device": (("name",), Reader._read_device),
    "dict": (("items",), Reader._read_dict),
    "estimator": (("class", "params", "state", "requests"), Reader._read_nested),
    "float": (("bits",), Reader._read_float),
    "int": (("hex",), Reader._read_int),
    "objects": (("shape", "items"), Reader._read_objects),
    "scalar": (("array",), Reader._read_scalar),
    "slice": (("items",), Reader._read_slice),
    "sparse": (("kind", "arrays", "shape"), Reader._read_sparse),
    "strings": (("shape", "items"), Reader._read_strings),
    "tuple": (("items",), Reader._read_tuple),
}
