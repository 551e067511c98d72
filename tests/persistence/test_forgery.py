"""A file with a right checksum and a wrong content is refused, and runs nothing."""

import json
import struct

import numpy as np
import pytest

from sklearn_whitebox import KSubspaces
from sklearn_whitebox.estimators._base import WhiteboxVersionWarning
from sklearn_whitebox.persistence import _container, _saving, load, save


@pytest.fixture
def forge(path):
    """Write a file with a right checksum around any description and arrays."""

    def write(model, arrays=None, **metadata):
        text = model if isinstance(model, str) else json.dumps(model)
        known = {"program": "sklearn_whitebox", "format": "1", "version": "0.1.0"}
        with path.open("wb") as file:
            _container.write_container(
                file, arrays or {}, {**known, "model": text, **metadata}
            )
        return path

    return write


def described(state=None, params=None, name="KSubspaces", requests=None):
    return {
        "$": "estimator",
        "class": name,
        "params": params or {},
        "state": state or {},
        "requests": requests,
    }


def array(**changes):
    return {
        "$": "array",
        "name": "array0",
        "dtype": "<f8",
        "shape": [6],
        "order": "C",
        **changes,
    }


def refused(path, message="cannot be loaded"):
    with pytest.raises(ValueError, match=message) as error:
        load(path)
    assert str(path) in str(error.value)


def test_the_forger_of_these_tests_writes_what_is_loaded(forge):
    path = forge(described({"a_": array()}), {"array0": np.arange(6.0)})
    np.testing.assert_array_equal(load(path).a_, np.arange(6))


@pytest.mark.parametrize(
    "name",
    [
        "Popen",
        "os.system",
        "builtins.eval",
        "BaseCRATE",
        "StandardScaler",
        "",
        3,
        None,
        "__class__",
        "sklearn_whitebox.KSubspaces",
        ["KSubspaces"],
        {"KSubspaces": 1},
    ],
)
def test_foreign_classes_are_refused(name, forge):
    refused(forge(described(name=name)), "sklearn_whitebox has not")


@pytest.mark.parametrize(
    "name",
    [
        "__class__",
        "__dict__",
        "__init__",
        "__reduce__",
        "__getstate__",
        "predict",
        "fit",
        "get_params",
        "n_clusters",
        "_repr_html_",
        "_parameter_constraints",
        "",
        "a b",
        "a.b",
        "0",
        "a\n",
        "_",
        "_sklearn_auto_wrap_output_keys",
        "_get_metadata_request",
        "é",
    ],
)
def test_attributes_that_are_no_state_are_refused(name, forge):
    refused(forge(described({name: 1})), "no name of fitted state")


@pytest.mark.parametrize("name", ["nope", "__class__", "self", "labels_", ""])
def test_parameters_that_do_not_exist_are_refused(name, forge):
    refused(forge(described(params={name: 1})), "has no parameter")


def test_a_missing_parameter_has_its_default(forge):
    assert load(forge(described(params={"n_clusters": 3}))).get_params() == (
        KSubspaces(3).get_params()
    )


@pytest.mark.parametrize(
    "changes",
    [
        {"shape": [7]},
        {"shape": [-6]},
        {"shape": [2**40, 2**40]},
        {"shape": [6, 2**62, 0]},
        {"shape": [6.0]},
        {"shape": [True, 6]},
        {"shape": [1] * 70 + [6]},
        {"shape": 6},
        {"dtype": "<f4"},
        {"dtype": "<i8"},
        {"dtype": "|O"},
        {"dtype": "O"},
        {"dtype": "|V8"},
        {"dtype": "<f8,<f8"},
        {"dtype": "<U2"},
        {"dtype": "<U0", "shape": [2**33]},
        {"dtype": "<U99999999999999999999"},
        {"dtype": "|S8"},
        {"dtype": "<M8[parsec]"},
        {"dtype": "<M8[ns]"},
        {"dtype": "object"},
        {"dtype": ["<f8"]},
        {"order": "K"},
        {"name": "other"},
        {"name": ["array0"]},
    ],
    ids=lambda changes: str(changes)[:40],
)
def test_arrays_that_lie_are_refused(changes, forge):
    refused(forge(described({"a_": array(**changes)}), {"array0": np.arange(6.0)}))


def test_an_array_is_used_once_and_all_are(forge):
    arrays = {"array0": np.arange(6.0)}
    refused(forge(described({"a_": array(), "b_": array()}), arrays), "used twice")
    refused(forge(described(), arrays), "belong to nothing")


def test_bytes_that_no_type_has_are_refused(forge):
    points = {"array0": np.array([0x110000], "<u4")}
    refused(forge(described({"a_": array(dtype="<U1", shape=[1])}), points), "exist")
    truth = {"array0": np.array([2], "u1").view(bool)}
    refused(forge(described({"a_": array(dtype="|b1", shape=[1])}), truth), "neither")


def sparse(indices, indptr, data=None, shape=(2, 3), **changes):
    parts = [
        np.ones(len(indices)) if data is None else data,
        np.array(indices, np.int32),
        np.array(indptr, np.int32),
    ]
    described_parts = [
        array(name=f"array{i}", dtype=part.dtype.str, shape=[len(part)])
        for i, part in enumerate(parts)
    ]
    value = {
        "$": "sparse",
        "kind": "csr_array",
        "arrays": described_parts,
        "shape": [*shape],
        **changes,
    }
    return value, {f"array{i}": part for i, part in enumerate(parts)}


@pytest.mark.parametrize(
    "value",
    [
        sparse([0, 3], [0, 1, 2]),
        sparse([0, -1], [0, 1, 2]),
        sparse([0, 1], [0, 9, 2]),
        sparse([0, 1], [0, -5, 2]),
        sparse([0, 1], [0, 2]),
        sparse([0, 1], [1, 1, 2]),
        sparse([0, 1], [0, 1, 3]),
        sparse([0, 1], [0, 1, 2], shape=(2,)),
        sparse([0, 1], [0, 1, 2], shape=(2**60, 3)),
        sparse([0, 1], [0, 1, 2], data=np.ones(1)),
        sparse([0, 1], [0, 1, 2], data=np.array(["a", "b"]).view("<u4")),
        sparse([0, 1], [0, 1, 2], kind="coo_array"),
        sparse([0, 1], [0, 1, 2], kind="__class__"),
    ],
)
def test_sparse_matrices_that_lie_are_refused(value, forge):
    description, arrays = value
    if description["arrays"][0]["dtype"] == "<u4":
        description["arrays"][0]["dtype"] = "<U1"
    refused(forge(described({"a_": description}), arrays))


def nested(depth, start="[", stop="]"):
    text = json.dumps(described({"a_": "HERE"}))
    return text.replace('"HERE"', start * depth + "1" + stop * depth)


@pytest.mark.parametrize(
    "model",
    [
        "",
        "null",
        "[]",
        "{}",
        "NaN",
        '{"$": "estimator"}',
        '{"$": "estimator", "$": "estimator"}',
        nested(100),
        nested(900),
        nested(100_000),
        nested(50_000, '{"a":', "}"),
        json.dumps({**described(), "state": []}),
        json.dumps({**described(), "more": 1}),
        json.dumps(described(params=[1])),
        "1" * 10_000,
        json.dumps(described({"a_": 1})).replace("1", "9" * 5000),
        json.dumps(described({"a_": 1})).replace("1", "Infinity"),
        json.dumps(described({"a_": 1, "b_": 2})).replace("b_", "a_"),
    ],
    ids=lambda text: text[:20],
)
def test_descriptions_of_nothing_are_refused(model, forge):
    refused(forge(model))


@pytest.mark.parametrize(
    "value",
    [
        {"$": "eval", "text": "1"},
        {"$": None},
        {"$": ["tuple"]},
        {"$": "tuple"},
        {"$": "tuple", "items": 3},
        {"$": "tuple", "items": {"a": 1}},
        {"$": "tuple", "items": [], "more": 1},
        {"items": [], "$": "tuple"},
        {"$": "slice", "items": [1]},
        {"$": "dict", "items": [[1]]},
        {"$": "dict", "items": [[[1], 1]]},
        {"$": "dict", "items": [[{"$": "dict", "items": []}, 1]]},
        {"$": "dict", "items": [[1, 1], [1, 2]]},
        {"$": "dict", "items": [{"$": "tuple", "items": [1, 2]}]},
        {"$": "dict", "items": [[{"$": "slice", "items": [1, 2, 3]}, 1]]},
        {"$": "float", "bits": "7ff"},
        {"$": "float", "bits": 3},
        {"$": "int", "hex": "0x12"},
        {"$": "int", "hex": 12},
        {"$": "complex", "items": [1.0]},
        {"$": "complex", "items": ["a", "b"]},
        {"$": "device", "name": "toaster"},
        {"$": "device", "name": 0},
        {"$": "scalar", "array": 3},
        {"$": "scalar", "array": {"$": "objects", "shape": [], "items": [1]}},
        {"$": "objects", "shape": [3], "items": [1]},
        {"$": "objects", "shape": [0, 2**47, 2**47, 2**47], "items": []},
        {"$": "strings", "shape": [1], "items": [1]},
        {"$": "sparse", "kind": "csr_array", "arrays": [1, 2, 3], "shape": [1, 1]},
        described(name="Popen"),
        described({"__class__": 1}),
        {"$": "estimator", "class": "KSubspaces"},
    ],
    ids=lambda value: str(value)[:40],
)
def test_values_that_are_none_are_refused(value, forge):
    refused(forge(described({"a_": value})))


@pytest.mark.parametrize(
    "requests",
    [
        3,
        {"owner": {"a": True}},
        {"__class__": {"a": True}},
        {"fit": 3},
        {"fit": {"a b": True}},
        {"fit": {"a": 3}},
        {"fit": {"a": [1]}},
        {"fit": {"a": "not a name"}},
    ],
)
def test_metadata_requests_that_are_none_are_refused(requests, forge):
    refused(forge(described(requests=requests)))


@pytest.mark.parametrize("number", ["0", "-1", "1.0", "", "one", "01", "9" * 5000])
def test_a_format_that_is_no_number_is_refused(number, forge):
    refused(forge(described(), format=number), "format is no number")


def test_a_newer_format_is_refused_with_both_versions(forge):
    path = forge(described(), format="2", version="9.8.7")
    refused(path, r"format 2, saved by sklearn_whitebox 9\.8\.7, .*0\.1.* upgrade")


def test_another_program_is_refused(forge):
    refused(forge(described(), program="other"), "not written by sklearn_whitebox")


def test_another_version_of_the_same_format_is_loaded_with_a_warning(forge):
    path = forge(described(), version="0.0.7")
    with pytest.warns(WhiteboxVersionWarning, match=r"0\.0\.7") as caught:
        load(path)
    assert caught[0].filename == __file__


def test_a_refusal_names_the_version_of_the_file(forge):
    path = forge(described(params={"new": 1}), version="9.8.7")
    refused(path, r"no parameter new; it was saved by sklearn_whitebox 9\.8\.7")


def test_an_older_format_is_led_to_the_present_one(path, monkeypatch):
    save(KSubspaces(4), path)

    def rename(description, arrays):
        params = dict(description["params"])
        params["max_iter"] = params.pop("max_iter") + 1
        return {**description, "params": params}, arrays

    monkeypatch.setattr(_saving, "FORMAT", 3)
    refused(path, "does not read any more")
    monkeypatch.setitem(_saving.UPGRADES, 1, rename)
    refused(path, "does not read any more")
    monkeypatch.setitem(_saving.UPGRADES, 2, rename)
    assert load(path).max_iter == KSubspaces().max_iter + 2
    save(KSubspaces(5), path)
    assert load(path).get_params() == KSubspaces(5).get_params()


def test_the_checksum_covers_the_metadata(path):
    save(KSubspaces(3), path)
    data = path.read_bytes()
    assert data.count(b'n_clusters\\":3') == 1
    path.write_bytes(data.replace(b'n_clusters\\":3', b'n_clusters\\":4'))
    refused(path, "checksum")
    text = data[8:].replace(b'"program"', b'"progran"')
    path.write_bytes(struct.pack("<Q", len(data) - 8) + text)
    refused(path, "checksum|not written by")


def places(value):
    """Every list and dictionary in a description, with its keys."""
    if isinstance(value, dict | list):
        keys = list(value) if isinstance(value, dict) else range(len(value))
        for key in keys:
            yield value, key
            yield from places(value[key])


JUNK = [
    None, True, -1, 0, 2**40, 10**30, 0.5, "", "array0", "KSubspaces", "O", [], [[]],
    {}, {"$": "tuple", "items": []}, {"$": "array"}, {"__class__": 1}, {"$": {}},
]  # fmt: skip


def test_whatever_is_changed_it_is_loaded_or_refused(small, path, forge):
    """With a right checksum, as by somebody who knows how the file is made."""
    save(small, path)
    with path.open("rb") as file:
        header = _container.read_header(file, path.stat().st_size)
        arrays = _container.read_arrays(file, path.stat().st_size, header)
    rng = np.random.default_rng(0)
    messages = []
    for _ in range(200):
        model = json.loads(header.metadata["model"])
        found = list(places(model))
        for _ in range(rng.integers(1, 3)):
            holder, key = found[rng.integers(len(found))]
            if isinstance(holder, dict) and rng.random() < 0.2:
                holder.pop(key, None)
            elif isinstance(holder, dict) or key < len(holder):
                holder[key] = JUNK[rng.integers(len(JUNK))]
        try:
            load(forge(model, arrays))
        except ValueError as error:
            messages.append(str(error))
    assert len(messages) > 50
    assert all(str(path) in message for message in messages)
