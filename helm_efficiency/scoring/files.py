"""Files that are either old or new, never half: written beside their place, flushed, then renamed into it."""

import contextlib
import fcntl
import os
import uuid
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import BinaryIO

from helm_efficiency.errors import InputError, OutputError

_UNFINISHED = ".unfinished-"
"""How the name of a file begins that is still being written."""


_BUFFER_BYTES = 1_000_000

Content = bytes | Callable[[BinaryIO], None]
"""Of a file, or what writes it."""


def write_files(contents: Mapping[Path, Content]) -> None:
    """Put files in place of earlier ones; killed at any moment, each is the old or the new one, whole.

    Args:
        contents: By path, renamed into place in this order after all have been flushed to disk.

    Raises:
        OutputError: One cannot be written, as on a full disk; all are as they were.
    """
    unfinished = {path: path.with_name(f"{_UNFINISHED}{uuid.uuid4().hex}") for path in contents}
    path = Path()
    try:
        for path, content in contents.items():
            path.parent.mkdir(parents=True, exist_ok=True)
            _write(unfinished[path], content)
        for path in contents:
            unfinished[path].replace(path)
        for folder in {path.parent for path in contents}:
            _sync(folder)
    except OSError as error:
        reason = error.strerror or error
        raise OutputError(f"{path} could not be written: {reason}. What stood there before is unharmed.") from error
    finally:
        for path in unfinished.values():
            with contextlib.suppress(OSError):
                path.unlink(missing_ok=True)


def _write(path: Path, content: Content) -> None:
    with path.open("xb", buffering=_BUFFER_BYTES) as file:
        if isinstance(content, bytes):
            file.write(content)
        else:
            content(file)
        file.flush()
        os.fsync(file.fileno())


def _sync(folder: Path) -> None:
    """Make renames within a folder outlast a power cut."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def remove_unfinished(folder: Path) -> None:
    """Remove what a killed process left half written in a folder."""
    for path in folder.glob(f"{_UNFINISHED}*"):
        path.unlink(missing_ok=True)


@contextlib.contextmanager
def locked(folder: Path, *, wait: bool) -> Iterator[None]:
    """Hold a folder against other processes of this package; a process that dies lets go.

    Args:
        folder: Made if it is missing. Nothing is written into it.
        wait: Until the other has finished, instead of refusing.

    Raises:
        InputError: Another process holds it and `wait` is false, or it cannot be made.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    except OSError as error:
        raise InputError(f"{folder} cannot be used as a folder: {error.strerror}.") from error
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
        except BlockingIOError as error:
            raise InputError(f"Another rescore writes into {folder}. Wait for it, or name another folder.") from error
        yield
    finally:
        os.close(descriptor)
