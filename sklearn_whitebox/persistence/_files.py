"""Open what is a file and nothing else, and replace a file as a whole or not at all."""

import contextlib
import os
import secrets
import stat
from pathlib import Path


def _text_path(path):
    try:
        text = os.fsdecode(path)
    except TypeError:
        raise TypeError(
            f"path must be a str or a path, got {type(path).__name__}."
        ) from None
    # A path object drops it, and a file would be where a folder was meant.
    if text.endswith(("/", os.sep)):
        raise ValueError(f"path={text!r} names a folder; give the path of a file.")
    return Path(text)


def _refuse_others(mode, path):
    if stat.S_ISREG(mode):
        return
    kind = "a device, a pipe or a socket"
    if stat.S_ISDIR(mode):
        kind = "a folder"
    elif stat.S_ISLNK(mode):
        kind = "a link to itself"
    raise ValueError(f"path={str(path)!r} is {kind}; give the path of a file.")


@contextlib.contextmanager
def open_regular(path):
    """Open a regular file for reading; links are followed.

    Parameters
    ----------
    path : str or PathLike
        Path.

    Yields
    ------
    file : binary file
        Open file.

    Raises
    ------
    ValueError
        If it is a folder, a device, a pipe or a socket.
    OSError
        If it does not exist or must not be read.
    """
    path = _text_path(path)
    # Opening a pipe would wait for a writer.
    _refuse_others(path.stat().st_mode, path)
    flags = os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0)
    with os.fdopen(os.open(path, flags), "rb") as file:
        _refuse_others(os.fstat(file.fileno()).st_mode, path)
        yield file


def _existing(target):
    try:
        status = target.lstat()
    except FileNotFoundError:
        return None
    _refuse_others(status.st_mode, target)
    # A file may be replaced in a folder where it must not be written.
    effective = os.access in os.supports_effective_ids
    if not os.access(target, os.W_OK, effective_ids=effective):
        raise PermissionError(f"{str(target)!r} must not be written.")
    return status


def _take_over(descriptor, status):
    """Give a new file the owner, if we may, and the permissions of another one."""
    if status is None:
        return
    # Windows has none or one of them, by the version of Python.
    if hasattr(os, "fchown"):
        with contextlib.suppress(OSError):
            os.fchown(descriptor, status.st_uid, status.st_gid)
    if hasattr(os, "fchmod"):
        os.fchmod(descriptor, stat.S_IMODE(status.st_mode))


def _sync_folder(folder):
    # Not every system can; the file itself is safe by then.
    with contextlib.suppress(OSError):
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


@contextlib.contextmanager
def replacing(path):
    """Write a file beside another, and put it in its place when all is well.

    Parameters
    ----------
    path : str or PathLike
        Where the file shall be. A link is followed, as by ``open``, and stays a link.

    Yields
    ------
    file : binary file
        Empty file in the same folder. On any failure, Ctrl-C included, it is removed,
        and what was at `path` is as it was.

    Raises
    ------
    ValueError
        If there is something that is no regular file.
    OSError
        If the file cannot be written.
    """
    target = Path(os.path.realpath(_text_path(path)))
    status = _existing(target)
    beside = target.parent / f".sklearn_whitebox-{secrets.token_hex(8)}.tmp"
    flags = os.O_RDWR | os.O_CREAT | os.O_EXCL | getattr(os, "O_BINARY", 0)
    try:
        # As for a file by ``open``, the process' mask decides who may read it.
        with os.fdopen(os.open(beside, flags, 0o666), "wb") as file:
            _take_over(file.fileno(), status)
            yield file
            file.flush()
            os.fsync(file.fileno())
        beside.replace(target)
    except BaseException as error:
        # Where none could be made, as on a read-only disk, none can be removed.
        with contextlib.suppress(OSError):
            beside.unlink()
        if isinstance(error, OSError) and error.filename2 is None:
            # The user knows this file only.
            error.filename = str(target)
        raise
    _sync_folder(target.parent)
