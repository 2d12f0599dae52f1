"""A lock on the folder that files are written to."""

import contextlib
import fcntl
import os
from collections.abc import Iterator
from pathlib import Path

from helm_efficiency.errors import InputError


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
