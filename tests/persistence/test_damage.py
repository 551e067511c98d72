"""Files that were damaged, forged or made by something else are refused, and say so."""

import io
import json
import pickle
import struct
import warnings
import zipfile

import joblib
import numpy as np
import pytest
import torch

from sklearn_whitebox import KSubspaces
from sklearn_whitebox.persistence import _container, load, save

EXECUTED = []


class Bomb:
    def __reduce__(self):
        return EXECUTED.append, ("executed",)


@pytest.fixture(autouse=True)
def nothing_is_executed():
    EXECUTED.clear()
    yield
    assert not EXECUTED


def refused(path, data, message="cannot be loaded"):
    path.write_bytes(data)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        with pytest.raises(ValueError, match=message) as error:
            load(path)
    assert str(path) in str(error.value)
    assert "persistence.save" in str(error.value)
    return str(error.value)


@pytest.fixture(scope="module")
def whole(small, tmp_path_factory):
    path = tmp_path_factory.mktemp("whole") / "model.safetensors"
    save(small, path)
    return path.read_bytes()


def header_length(data):
    return struct.unpack("<Q", data[:8])[0]


def test_files_cut_short_anywhere_are_refused(whole, path):
    header = 8 + header_length(whole)
    places = {0, 1, 7, 8, 9, header - 1, header, header + 1, len(whole) - 1}
    places |= set(np.random.default_rng(0).integers(0, len(whole), 60).tolist())
    for place in places:
        refused(path, whole[:place])


@pytest.mark.parametrize("extra", [b"\0", b" " * 8, b"more"])
def test_longer_files_are_refused(extra, whole, path):
    refused(path, whole + extra, "cut short or changed")


def test_a_flipped_bit_anywhere_is_noticed(whole, path):
    header = 8 + header_length(whole)
    rng = np.random.default_rng(0)
    places = [*range(64), *rng.integers(0, header, 120)]
    places += [*rng.integers(header, 8 * 8 + header, 30), len(whole) - 1]
    places += [*rng.integers(header, len(whole), 60)]
    for place in places:
        data = bytearray(whole)
        data[place] ^= 1 << rng.integers(8)
        refused(path, bytes(data))


def test_changed_bytes_anywhere_are_noticed(whole, path):
    rng = np.random.default_rng(1)
    for _ in range(100):
        data = bytearray(whole)
        start = rng.integers(0, len(data) - 20)
        stop = start + rng.integers(1, 20)
        data[start:stop] = rng.bytes(stop - start)
        if bytes(data) != whole:
            refused(path, bytes(data))


def test_noise_is_refused(path):
    rng = np.random.default_rng(0)
    for size in (0, 1, 8, 9, 100, 10_000):
        refused(path, rng.bytes(size))
        refused(path, b"\0" * size)
        refused(path, struct.pack("<Q", max(size, 2)) + rng.bytes(size))


def archive():
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as file:
        file.writestr("data.pkl", pickle.dumps(Bomb()))
    return buffer.getvalue()


def written(dump, value):
    buffer = io.BytesIO()
    dump(value, buffer)
    return buffer.getvalue()


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (lambda: pickle.dumps(Bomb()), "starts like a pickle"),
        (lambda: pickle.dumps(Bomb(), protocol=0), "starts like no safetensors file"),
        (lambda: written(joblib.dump, Bomb()), "starts like a pickle"),
        (
            lambda: written(lambda v, f: joblib.dump(v, f, compress=3), Bomb()),
            "starts like a compressed pickle",
        ),
        (archive, "starts like a zip archive"),
        (lambda: written(lambda v, f: np.savez(f, v), np.eye(2)), "zip archive"),
        (lambda: written(lambda v, f: np.save(f, v), np.eye(2)), "npy file"),
        (lambda: written(torch.save, {"a": torch.eye(2)}), "zip archive"),
        (lambda: b"#!/bin/sh\necho\n" * 9, "starts like no safetensors file"),
        (lambda: b'{"json": 1}' * 9, "starts like no safetensors file"),
    ],
)
@pytest.mark.parametrize("ending", ["safetensors", "pkl", "joblib", "npz", "skops"])
def test_other_files_are_refused_whatever_their_ending(data, message, ending, path):
    refused(path.with_suffix(f".{ending}"), data(), message)


def test_foreign_safetensors_are_refused(path):
    safetensors = pytest.importorskip("safetensors.numpy")
    array = {"weight": np.eye(2)}
    refused(path, safetensors.save(array), "no metadata")
    refused(path, safetensors.save(array, {"format": "1"}), "not written by")


def header_of(entries, metadata, data=b""):
    text = json.dumps({"__metadata__": metadata, **entries}, separators=(",", ":"))
    return struct.pack("<Q", len(text)) + text.encode() + data


def entry(dtype="F64", shape=(1,), offsets=(0, 8)):
    return {"a": {"dtype": dtype, "shape": [*shape], "data_offsets": [*offsets]}}


@pytest.mark.parametrize(
    "data",
    [
        struct.pack("<Q", 2**64 - 1) + b"{}",
        struct.pack("<Q", 2**63) + b"{}",
        struct.pack("<Q", _container.HEADER_LIMIT + 1) + b"{" * 100,
        struct.pack("<Q", 50_000) + b"[" * 50_000,
        struct.pack("<Q", 60_000) + b'{"a":' * 12_000,
        struct.pack("<Q", 2) + b"{}",
        struct.pack("<Q", 2) + b"[]",
        struct.pack("<Q", 4) + b"null",
        struct.pack("<Q", 5000) + b"9" * 5000,
        struct.pack("<Q", 4) + b"\xff\xfe\xfd\xfc",
        struct.pack("<Q", 27) + b'{"a":1,"a":2,"a":3,"a":{}  }',
        header_of(entry(), {}),
        header_of(entry(shape=(2**61,)), {}, b"\0" * 8),
        header_of(entry(shape=(2**80,), offsets=(0, 2**83)), {}, b"\0" * 8),
        header_of(entry(shape=(-1,), offsets=(0, -8)), {}, b"\0" * 8),
        header_of(entry(shape=(1.0,)), {}, b"\0" * 8),
        header_of(entry(shape=(True,)), {}, b"\0" * 8),
        header_of(entry(shape=(1, 1)), {}, b"\0" * 8),
        header_of(entry(dtype="F128"), {}, b"\0" * 8),
        header_of(entry(dtype=["F64"]), {}, b"\0" * 8),
        header_of(entry(offsets=(8, 16)), {}, b"\0" * 16),
        header_of(entry(offsets=(0, 8, 8)), {}, b"\0" * 8),
        header_of({"a": None}, {}, b""),
        header_of({}, {"sha256": 3}),
        header_of({}, None),
        header_of({}, {"sha256": "0" * 64, "program": "sklearn_whitebox"}),
    ],
)
def test_headers_that_lie_are_refused_before_anything_is_allocated(data, path):
    refused(path, data)


def test_a_huge_file_without_content_is_refused_quickly(path):
    """A sparse file may say that it has a petabyte."""
    header = header_of(entry(shape=(2**40,), offsets=(0, 2**43)), {})
    with path.open("wb") as file:
        file.write(header)
        try:
            file.truncate(len(header) + 2**43)
        except OSError:
            pytest.skip("no file of this size here")
    with pytest.raises(ValueError, match="cannot be loaded"):
        load(path)


def test_a_model_with_more_names_than_a_header_holds_is_not_saved(path, monkeypatch):
    monkeypatch.setattr(_container, "HEADER_LIMIT", 1000)
    with pytest.raises(ValueError, match="at most 1000; use pickle or skops"):
        save(KSubspaces(subspace_dim=list(range(1000))), path)
    assert not list(path.parent.iterdir())
