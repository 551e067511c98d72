"""Where training stands, on disk: written as a whole or not at all, and checked."""

import io
import json
import os
from pathlib import Path

import numpy as np
import torch

from sklearn_whitebox.estimators._crate_training import Trained
from sklearn_whitebox.persistence._container import (
    InvalidFile,
    compact_json,
    read_arrays,
    read_header,
    strict_json,
    write_container,
)
from sklearn_whitebox.persistence._files import replacing
from sklearn_whitebox.solvers._train import TrainResult, TrainState

_FORMAT = 1
_MANIFEST, _PROGRESS = "run.json", "progress.safetensors"


class Journal:
    """Keeps finished networks, and where the one in training stands.

    The first process writes and reads, and the others are told, so that the folder need
    not be seen by all machines.

    Parameters
    ----------
    folder : str or path
        Where to keep it.
    team : LoneTeam
        Processes that train together.
    every : int
        Passes from one checkpoint to the next.
    """

    def __init__(self, folder, team, every):
        self._folder, self._team, self._every = Path(folder), team, every
        self._run = ""

    def open(self, facts, seed):
        """Begin, or go on with what the folder holds.

        Parameters
        ----------
        facts : dict of str to dict of str to str
            What decides the result: ``"parameters"`` and ``"data"``.
        seed : int
            Seed of the fit.

        Returns
        -------
        seed : int
            The seed of the run that the folder is of.

        Raises
        ------
        ValueError
            If the folder holds a run of other data or parameters, or is damaged.
        OSError
            If the folder cannot be written.
        """
        data = self._team.from_first(lambda: self._open(facts, seed))
        manifest = json.loads(data)
        self._run = compact_json(manifest)
        return manifest["seed"]

    def finished(self, name):
        """Give what a network left; see :func:`train_network`.

        Parameters
        ----------
        name : str
            Name of the training run.

        Returns
        -------
        trained : Trained or None
            None if it has not finished.
        """
        found = self._read(f"{name}.safetensors", name)
        if found is None:
            return None
        arrays, facts = found
        result = TrainResult(
            weights=_tensors(arrays, "weights"),
            loss_curve=facts["loss_curve"],
            validation_curve=facts["validation_curve"],
            best_iter=facts["best_iter"],
            stopped=facts["stopped"],
        )
        return Trained(result, arrays.get("outputs"))

    def unfinished(self, name):
        """Tell where the training of a network stands; see :func:`train_network`.

        Parameters
        ----------
        name : str
            Name of the training run.

        Returns
        -------
        found : (TrainState, list of Tensor) or None
            State, and those of the generators; None if it has not begun.
        """
        found = self._read(_PROGRESS, name)
        if found is None:
            return None
        arrays, facts = found
        moments = {}
        for key, tensor in _tensors(arrays, "moments").items():
            parameter, _, which = key.rpartition("/")
            moments.setdefault(parameter, [None] * 3)[int(which)] = tensor
        state = TrainState(
            weights=_tensors(arrays, "weights"),
            moments={key: tuple(parts) for key, parts in moments.items()},
            kept=_tensors(arrays, "kept"),
            loss_curve=facts["loss_curve"],
            validation_curve=facts["validation_curve"],
            best_iter=facts["best_iter"],
            best=float(facts["best"]),
            step=facts["step"],
        )
        generators = _tensors(arrays, "generators")
        return state, [generators[str(k)] for k in range(len(generators))]

    def keep(self, name, state, generators):
        """Note where the training of a network stands.

        Parameters
        ----------
        name : str
            Name of the training run.
        state : TrainState
            Where it stands.
        generators : list of Tensor
            States of its generators.
        """
        if len(state.loss_curve) % self._every:
            return
        arrays = {
            **_arrays("weights", state.weights),
            **_arrays("kept", state.kept),
            **_arrays("generators", {str(k): g for k, g in enumerate(generators)}),
        }
        for parameter, parts in state.moments.items():
            named = {str(k): part for k, part in enumerate(parts)}
            arrays |= _arrays(f"moments/{parameter}", named)
        facts = {
            "loss_curve": state.loss_curve,
            "validation_curve": state.validation_curve,
            "best_iter": state.best_iter,
            "best": repr(state.best),  # may be infinite, which JSON does not know
            "step": state.step,
        }
        self._write(_PROGRESS, name, arrays, facts)

    def finish(self, name, trained):
        """Note what a network left.

        Parameters
        ----------
        name : str
            Name of the training run.
        trained : Trained
            What it left.
        """
        result = trained.result
        arrays = _arrays("weights", result.weights)
        if trained.outputs is not None:
            arrays["outputs"] = trained.outputs
        facts = {
            "loss_curve": result.loss_curve,
            "validation_curve": result.validation_curve,
            "best_iter": result.best_iter,
            "stopped": result.stopped,
        }
        self._write(f"{name}.safetensors", name, arrays, facts)

    def _open(self, facts, seed):
        path = self._folder / _MANIFEST
        manifest = {"format": _FORMAT, **facts, "seed": seed}
        if path.exists():
            known = _read_manifest(path)
            _compare(self._folder, known, manifest)
            for left in self._folder.glob(".sklearn_whitebox-*.tmp"):
                left.unlink()  # of a process that was killed while it wrote
            return compact_json(known).encode()
        self._folder.mkdir(parents=True, exist_ok=True)
        if any(self._folder.glob("*.safetensors")):
            raise ValueError(
                f"checkpoint={str(self._folder)!r} holds other files and no "
                f"{_MANIFEST}; give a folder of its own."
            )
        data = compact_json(manifest).encode()
        with replacing(path) as file:
            file.write(data)
        return data

    def _write(self, file_name, name, arrays, facts):
        def write():
            metadata = {
                "run": self._run,
                "name": name,
                "shapes": compact_json({k: list(a.shape) for k, a in arrays.items()}),
                "facts": compact_json(facts),
            }
            with replacing(self._folder / file_name) as file:
                write_container(file, arrays, metadata)

        self._team.from_first(write)

    def _read(self, file_name, name):
        path = self._folder / file_name
        data = self._team.from_first(lambda: self._checked(path, name))
        return _decode(data)[1:] if data else None

    def _checked(self, path, name):
        """Read a file, unless it is of another network."""
        try:
            data = path.read_bytes()
        except FileNotFoundError:
            return None
        try:
            metadata, *_ = _decode(data)
        except InvalidFile as error:
            raise ValueError(
                f"The checkpoint {str(path)!r} cannot be used: {error}. Delete this "
                "file to train that network from its beginning."
            ) from error
        if metadata["run"] != self._run:
            raise ValueError(
                f"The checkpoint {str(path)!r} is of another run than the {_MANIFEST} "
                "beside it; delete the folder to start afresh."
            )
        return data if metadata["name"] == name else None


def _decode(data):
    file = io.BytesIO(data)
    header = read_header(file, len(data))
    metadata = header.metadata
    if not {"run", "name", "shapes", "facts"} <= set(metadata):
        raise InvalidFile("it is no checkpoint")
    arrays = read_arrays(file, len(data), header)
    shapes = strict_json(metadata["shapes"], "shapes")
    arrays = {name: array.reshape(shapes[name]) for name, array in arrays.items()}
    return metadata, arrays, strict_json(metadata["facts"], "facts")


def _arrays(prefix, tensors):
    return {f"{prefix}/{name}": t.cpu().numpy() for name, t in tensors.items()}


def _tensors(arrays, prefix):
    start = prefix + "/"
    return {
        name.removeprefix(start): torch.from_numpy(np.array(array))
        for name, array in arrays.items()
        if name.startswith(start)
    }


def _read_manifest(path):
    try:
        manifest = strict_json(path.read_text(), "text")
        kinds = {"format": int, "seed": int, "parameters": dict, "data": dict}
        if not isinstance(manifest, dict) or not all(
            isinstance(manifest.get(key), kind) for key, kind in kinds.items()
        ):
            raise InvalidFile("it does not say what run it is of")
    except (InvalidFile, UnicodeDecodeError) as error:
        raise ValueError(
            f"{str(path)!r} is damaged: {error}. Delete the folder to start afresh."
        ) from error
    return manifest


def _compare(folder, known, manifest):
    """Refuse a folder of another run."""
    way = "Give another folder, or delete this one to start afresh."
    if known["format"] != _FORMAT:
        raise ValueError(
            f"checkpoint={str(folder)!r} is of format {known['format']}, and "
            f"{_FORMAT} is read here. {way}"
        )
    then, now = known["parameters"], manifest["parameters"]
    other = [key for key in sorted({*then, *now}) if then.get(key) != now.get(key)]
    if other:
        what = ", ".join(
            f"{key}={then.get(key)} instead of {now.get(key)}" for key in other[:5]
        )
        raise ValueError(f"checkpoint={str(folder)!r} is of a run with {what}. {way}")
    if known["data"] != manifest["data"]:
        then, now = known["data"], manifest["data"]
        other = [key for key in sorted({*then, *now}) if then.get(key) != now.get(key)]
        raise ValueError(
            f"checkpoint={str(folder)!r} is of a run on other data: "
            f"{', '.join(other)} differ. {way}"
        )


def check_folder(checkpoint):
    """Refuse what cannot name a folder.

    Parameters
    ----------
    checkpoint : str, path or None
        The parameter.

    Raises
    ------
    TypeError
        If it is neither.
    ValueError
        If there is something else than a folder.
    """
    if checkpoint is None:
        return
    if not isinstance(checkpoint, str | os.PathLike):
        raise TypeError(
            f"checkpoint must be a path or None, got {type(checkpoint).__name__}."
        )
    path = Path(checkpoint)
    if path.exists() and not path.is_dir():
        raise ValueError(f"checkpoint={str(path)!r} is a file; give a folder.")
