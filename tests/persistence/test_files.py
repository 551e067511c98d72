"""A file appears as a whole or not at all, and nothing else is touched."""

import os
import signal
import socket
import stat
import subprocess
import threading
import tracemalloc
from pathlib import Path

import numpy as np
import pytest

from sklearn_whitebox import KSubspaces, LearnedSparseEncoder
from sklearn_whitebox.persistence import _container, _files, load, save

posix = pytest.mark.skipif(os.name != "posix", reason="needs a POSIX system")


def big():
    return LearnedSparseEncoder(np.ones((500, 500)))


@pytest.fixture
def old(path):
    """A file with a model, and a way to see that nothing has changed."""
    save(KSubspaces(3), path)
    before = path.read_bytes(), path.stat().st_ino, path.stat().st_mtime_ns

    def is_intact():
        now = path.read_bytes(), path.stat().st_ino, path.stat().st_mtime_ns
        return now == before and list(path.parent.iterdir()) == [path]

    return is_intact


def break_off(monkeypatch, error, where, name):
    def fail(*_, **__):
        raise error

    monkeypatch.setattr(where, name, fail)


@pytest.mark.parametrize(
    "error", [KeyboardInterrupt(), OSError(28, "No space"), MemoryError(), SystemExit()]
)
@pytest.mark.parametrize(
    ("where", "name"),
    [
        (_container, "_flat_bytes"),
        (_files.os, "fsync"),
        (_files.Path, "replace"),
    ],
)
def test_a_failure_leaves_the_old_file(error, where, name, path, old, monkeypatch):
    with monkeypatch.context() as patch:
        break_off(patch, error, where, name)
        with pytest.raises(type(error)):
            save(big(), path)
    assert old()
    save(big(), path)
    assert load(path).dictionary.shape == (500, 500)


def test_a_failure_leaves_nothing_where_nothing_was(path, monkeypatch):
    break_off(monkeypatch, KeyboardInterrupt(), _container, "_flat_bytes")
    with pytest.raises(KeyboardInterrupt):
        save(big(), path)
    assert not list(path.parent.iterdir())


@posix
def test_a_limit_of_the_system_leaves_the_old_file(path, old):
    """The limit of the size of files is met in the midst of the arrays."""
    resource = pytest.importorskip("resource")
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, limits[1]))
    try:
        with pytest.raises(OSError, match=r"too large: .*model\.safetensors"):
            save(big(), path)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert old()


@posix
def test_a_signal_in_the_midst_of_writing_leaves_the_old_file(path, old, monkeypatch):
    flat = _container._flat_bytes

    def interrupt(array):
        signal.raise_signal(signal.SIGINT)
        return flat(array)

    monkeypatch.setattr(_container, "_flat_bytes", interrupt)
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        with pytest.raises(KeyboardInterrupt):
            save(big(), path)
    finally:
        signal.signal(signal.SIGINT, before)
    assert old()


@pytest.fixture
def full_disk(tmp_path):
    """A file system of 100 kB, where one may be made."""
    folder = tmp_path / "disk"
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=100k", "tmpfs", str(folder)]
    try:
        subprocess.run(mount, check=True, capture_output=True)
    except (OSError, subprocess.CalledProcessError):
        pytest.skip("no file system can be mounted here")
    yield folder
    subprocess.run(["umount", str(folder)], check=True)


def test_a_full_file_system_leaves_the_old_file(full_disk):
    path = full_disk / "model.safetensors"
    save(KSubspaces(3), path)
    with pytest.raises(OSError, match="No space left"):
        save(big(), path)
    assert list(full_disk.iterdir()) == [path]
    assert load(path).n_clusters == 3


def test_concurrent_saves_leave_one_whole_file(path):
    def write(n):
        for _ in range(10):
            save(LearnedSparseEncoder(np.full((40, 40), float(n))), path)

    writers = [threading.Thread(target=write, args=(n,)) for n in range(4)]
    for writer in writers:
        writer.start()
    found = set()
    while any(writer.is_alive() for writer in writers):
        if path.exists():
            found.add(len(np.unique(load(path).dictionary)))
    assert found <= {1}
    assert list(path.parent.iterdir()) == [path]
    assert len(np.unique(load(path).dictionary)) == 1


@posix
def test_permissions_are_those_of_an_ordinary_file(tmp_path):
    before = os.umask(0o027)
    try:
        save(KSubspaces(), tmp_path / "model")
        (tmp_path / "plain").write_text("")
    finally:
        os.umask(before)
    mode = stat.S_IMODE((tmp_path / "model").stat().st_mode)
    assert mode == stat.S_IMODE((tmp_path / "plain").stat().st_mode) == 0o640
    (tmp_path / "model").chmod(0o604)
    save(KSubspaces(), tmp_path / "model")
    assert stat.S_IMODE((tmp_path / "model").stat().st_mode) == 0o604


@posix
@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() == 0, reason="root may")
def test_a_file_that_must_not_be_written_is_kept(path, old):
    path.chmod(0o400)
    with pytest.raises(PermissionError, match="must not be written"):
        save(big(), path)
    assert old()


def make_pipe(path):
    os.mkfifo(path)


def make_socket(path):
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(str(path))


def make_device(path):
    try:
        os.mknod(path, stat.S_IFCHR | 0o600, os.makedev(1, 3))
    except PermissionError:
        pytest.skip("only root makes devices")


@posix
@pytest.mark.parametrize("make", [Path.mkdir, make_pipe, make_socket, make_device])
@pytest.mark.parametrize("through_link", [False, True])
def test_what_is_no_file_is_neither_replaced_nor_read(make, through_link, tmp_path):
    special = tmp_path / "s"
    make(special)
    path = special
    if through_link:
        path = tmp_path / "link"
        path.symlink_to(special)
    before = special.stat().st_mode, special.stat().st_ino
    with pytest.raises(ValueError, match="give the path of a file"):
        save(KSubspaces(), path)
    with pytest.raises(ValueError, match="give the path of a file"):
        load(path)
    assert (special.stat().st_mode, special.stat().st_ino) == before


@posix
@pytest.mark.parametrize("exists", [True, False])
def test_a_link_stays_a_link(exists, tmp_path):
    (tmp_path / "folder").mkdir()
    target, link = tmp_path / "folder" / "target", tmp_path / "link"
    link.symlink_to(target)
    if exists:
        save(KSubspaces(2), target)
    save(KSubspaces(5), link)
    assert link.is_symlink()
    assert load(target).n_clusters == load(link).n_clusters == 5
    assert list((tmp_path / "folder").iterdir()) == [target]


@posix
def test_a_link_to_itself_is_refused(tmp_path):
    (tmp_path / "link").symlink_to(tmp_path / "link")
    with pytest.raises(ValueError, match="is a link to itself"):
        save(KSubspaces(), tmp_path / "link")
    with pytest.raises(OSError, match="link"):
        load(tmp_path / "link")


@pytest.mark.parametrize("kind", [str, os.fsencode, Path])
def test_paths_of_every_kind(kind, path):
    save(KSubspaces(7), kind(path))
    assert load(kind(path)).n_clusters == 7


@pytest.mark.parametrize("path", [None, 3, open])
def test_what_is_no_path_is_refused(path):
    for touch in (lambda path: save(KSubspaces(), path), load):
        with pytest.raises(TypeError, match="path must be a str or a path"):
            touch(path)


@pytest.mark.parametrize("exists", [True, False])
def test_a_path_that_ends_like_a_folder_is_refused(exists, path):
    if exists:
        save(KSubspaces(), path)
    for touch in (lambda path: save(KSubspaces(), path), load):
        with pytest.raises(ValueError, match="names a folder; give the path of a file"):
            touch(f"{path}/")
    assert path.exists() == exists


@pytest.mark.parametrize("missing", ["fchown", "fchmod"])
def test_systems_without_owners_or_permissions_replace_files(
    missing, path, monkeypatch
):
    monkeypatch.delattr(os, missing, raising=False)
    save(KSubspaces(3), path)
    save(KSubspaces(5), path)
    assert load(path).n_clusters == 5


def test_a_disk_that_is_only_read_is_told_by_the_name_of_the_file(path, monkeypatch):
    def refuse(name, *_, **__):
        raise OSError(30, "Read-only file system", str(name))

    monkeypatch.setattr(os, "open", refuse)
    monkeypatch.setattr(os, "unlink", refuse)
    with pytest.raises(OSError, match="Read-only") as caught:
        save(KSubspaces(), path)
    assert caught.value.filename == str(path)


def test_missing_files_and_folders_are_named(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"nowhere.model'$"):
        save(KSubspaces(), tmp_path / "nowhere" / "model")
    with pytest.raises(FileNotFoundError, match=r"nothing"):
        load(tmp_path / "nothing")


def test_names_as_long_as_the_system_takes(tmp_path):
    save(KSubspaces(), tmp_path / ("n" * 255))
    load(tmp_path / ("n" * 255))


def test_only_the_memory_of_one_array_is_needed(path):
    model = LearnedSparseEncoder(np.ones((1000, 1000)))
    tracemalloc.start()
    save(model, path)
    _, most_saving = tracemalloc.get_traced_memory()
    tracemalloc.reset_peak()
    load(path)
    _, most_loading = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert most_saving < 1e6
    assert most_loading < 8e6 * 1.2
