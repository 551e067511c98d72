"""A safetensors file: named flat arrays behind a header of JSON, with a checksum.

The layout is the public one, so any reader of safetensors opens the file: eight bytes
with the length of the header, the header, and the arrays without a gap between them. It
is read and written here since a file from others has to be measured before anything is
allocated, must not be mapped into memory (cut short by somebody, a mapped file ends the
process), and shall be the same bytes for the same model.
"""

import hashlib
import json
import struct
from typing import NamedTuple

import numpy as np

# A third of what other readers of safetensors accept: JSON of so many brackets takes
# fifty times as much memory, and this comes before the checksum.
HEADER_LIMIT = 2**25
_LENGTH = struct.Struct("<Q")
_METADATA = "__metadata__"
_DIGEST = "sha256"
_NO_DIGEST = "0" * 64
# Types that every reader knows; all others are views of these.
STORED = {
    "BOOL": np.dtype(np.bool_),
    "I8": np.dtype("<i1"),
    "U8": np.dtype("<u1"),
    "I16": np.dtype("<i2"),
    "U16": np.dtype("<u2"),
    "I32": np.dtype("<i4"),
    "U32": np.dtype("<u4"),
    "I64": np.dtype("<i8"),
    "U64": np.dtype("<u8"),
    "F16": np.dtype("<f2"),
    "F32": np.dtype("<f4"),
    "F64": np.dtype("<f8"),
}
_CODES = {dtype: code for code, dtype in STORED.items()}
_KNOWN_STARTS = {
    b"PK\x03\x04": "a zip archive (skops, npz or torch.save)",
    b"\x93NUMPY": "an npy file",
    b"\x89HDF": "an HDF5 file",
    b"\x80": "a pickle",
    b"\x78": "a compressed pickle",
    b"\x1f\x8b": "a compressed file",
}


class Header(NamedTuple):
    """What is before the arrays.

    Parameters
    ----------
    raw : bytes
        As it is in the file, without its length.
    entries : dict of str to dict
        Type, shape and place of every array.
    metadata : dict of str to str
        Texts, the checksum included.
    """

    raw: bytes
    entries: dict
    metadata: dict


class InvalidFile(ValueError):
    """A file is damaged, forged or of another kind; says why, without its name."""


def strict_json(text, what):
    """Parse JSON that names nothing twice and nests within reason.

    Parameters
    ----------
    text : str
        JSON.
    what : str
        What it is, for the message.

    Returns
    -------
    value : object
        Lists, dictionaries, strings, numbers, booleans and None.

    Raises
    ------
    InvalidFile
        If it is not JSON, has a key twice, or holds NaN or infinity.
    """

    def unique(pairs):
        found = dict(pairs)
        if len(found) != len(pairs):
            raise ValueError("a key occurs twice")
        return found

    def refuse(constant):
        raise ValueError(f"{constant} is not JSON")

    try:
        return json.loads(text, object_pairs_hook=unique, parse_constant=refuse)
    except (ValueError, RecursionError) as error:
        reason = "nested too deeply" if isinstance(error, RecursionError) else error
        raise InvalidFile(f"its {what} cannot be read ({reason})") from error


def compact_json(value):
    """Write JSON without spaces, in ASCII, in the order of the keys.

    Parameters
    ----------
    value : object
        What JSON can hold.

    Returns
    -------
    text : str
        JSON.
    """
    return json.dumps(value, allow_nan=False, separators=(",", ":"))


def _encode_header(entries, metadata):
    text = compact_json({_METADATA: metadata, **entries}).encode("ascii")
    # The arrays begin at a multiple of eight, so that readers need not copy.
    return text + b" " * (-len(text) % 8)


def _flat_bytes(array):
    flat = np.ascontiguousarray(array, dtype=array.dtype.newbyteorder("<")).reshape(-1)
    return memoryview(flat.view(np.uint8))


def write_container(file, arrays, metadata):
    """Write arrays and metadata.

    Parameters
    ----------
    file : binary file
        Empty, open for writing.
    arrays : dict of str to ndarray
        Arrays of the types in `STORED`, in any order in memory and of any byte order.
    metadata : dict of str to str
        Texts, to which the checksum is added.

    Raises
    ------
    ValueError
        If the metadata are longer than readers accept.
    """
    entries, stop = {}, 0
    for name, array in arrays.items():
        start, stop = stop, stop + array.nbytes
        entries[name] = {
            "dtype": _CODES[array.dtype.newbyteorder("<")],
            "shape": [array.size],
            "data_offsets": [start, stop],
        }
    header = _encode_header(entries, {**metadata, _DIGEST: _NO_DIGEST})
    if len(header) > HEADER_LIMIT:
        raise ValueError(
            f"The parameters, names and lists of this model take {len(header)} bytes "
            f"of JSON, and a file holds at most {HEADER_LIMIT}; use pickle or skops."
        )
    file.write(_LENGTH.pack(len(header)))
    file.write(header)
    digest = hashlib.sha256(header)
    for array in arrays.values():
        data = _flat_bytes(array)
        digest.update(data)
        file.write(data)
    # The checksum is known last, so it is of the very bytes that were written.
    file.seek(_LENGTH.size)
    file.write(_encode_header(entries, {**metadata, _DIGEST: digest.hexdigest()}))


def _read_exactly(file, buffer):
    view = memoryview(buffer)
    while view:
        count = file.readinto(view)
        if not count:
            raise InvalidFile("it ends too early: it was cut short")
        view = view[count:]


def read_header(file, size):
    """Read what is before the arrays.

    Parameters
    ----------
    file : binary file
        At its beginning.
    size : int
        Bytes in the file.

    Returns
    -------
    header : Header
        Parsed, and not checked further.

    Raises
    ------
    InvalidFile
        If this is no such file.
    """
    start = bytearray(min(size, _LENGTH.size))
    _read_exactly(file, start)
    known = [kind for magic, kind in _KNOWN_STARTS.items() if start.startswith(magic)]
    if len(start) < _LENGTH.size:
        raise InvalidFile(f"it has {size} bytes and no header: it was cut short")
    (length,) = _LENGTH.unpack(start)
    if not 2 <= length <= HEADER_LIMIT:
        kind = known[0] if known else "no safetensors file"
        raise InvalidFile(f"it starts like {kind}")
    if _LENGTH.size + length > size:
        raise InvalidFile(
            f"its header of {length} bytes does not fit {size} bytes: "
            "it was cut short, or is another kind of file"
        )
    raw = bytearray(length)
    _read_exactly(file, raw)
    try:
        text = raw.decode("ascii")
    except UnicodeDecodeError as error:
        raise InvalidFile("its header is not text") from error
    header = strict_json(text, "header")
    metadata = header.pop(_METADATA, None) if isinstance(header, dict) else None
    if not isinstance(metadata, dict) or not all(
        isinstance(value, str) for value in metadata.values()
    ):
        raise InvalidFile("its header has no metadata")
    return Header(bytes(raw), header, metadata)


def _is_count(value):
    return type(value) is int and value >= 0


def _check_entries(entries, n_bytes):
    expected = 0
    for name, entry in entries.items():
        if not isinstance(entry, dict) or list(entry) != [
            "dtype",
            "shape",
            "data_offsets",
        ]:
            raise InvalidFile(f"array {name!r} is not described as save does")
        code, shape, offsets = entry.values()
        if not isinstance(code, str) or code not in STORED:
            raise InvalidFile(f"array {name!r} is of an unknown type")
        if not (
            isinstance(shape, list)
            and len(shape) == 1
            and isinstance(offsets, list)
            and len(offsets) == 2
            and all(map(_is_count, [*shape, *offsets]))
        ):
            raise InvalidFile(f"array {name!r} has no valid shape and place")
        start, stop = offsets
        if start != expected or stop - start != shape[0] * STORED[code].itemsize:
            raise InvalidFile(f"array {name!r} is not where its size puts it")
        expected = stop
    if expected != n_bytes:
        raise InvalidFile(
            f"its arrays take {expected} bytes and it has {n_bytes} for them: "
            "it was cut short or changed"
        )


def read_arrays(file, size, header):
    """Read the arrays behind the header and compare the checksum.

    Parameters
    ----------
    file : binary file
        Behind its header.
    size : int
        Bytes in the file.
    header : Header
        As :func:`read_header` gave it.

    Returns
    -------
    arrays : dict of str to ndarray
        Flat arrays that own their memory.

    Raises
    ------
    InvalidFile
        If the arrays are not what fills the file, or the checksum differs.
    """
    _check_entries(header.entries, size - _LENGTH.size - len(header.raw))
    found = header.metadata.get(_DIGEST, "")
    # The very bytes are hashed: a change without a change of meaning is damage, too.
    digest = hashlib.sha256(header.raw.replace(found.encode(), _NO_DIGEST.encode(), 1))
    arrays = {}
    for name, entry in header.entries.items():
        array = np.empty(entry["shape"][0], dtype=STORED[entry["dtype"]])
        view = memoryview(array.view(np.uint8))
        _read_exactly(file, view)
        digest.update(view)
        arrays[name] = array
    if digest.hexdigest() != found:
        raise InvalidFile("its checksum differs: it was damaged or changed")
    return arrays
