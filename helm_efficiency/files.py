"""Read users' files only up to a size limit, and write files whole or not at all."""

import contextlib
import fcntl
import os
import stat
import uuid
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import BinaryIO

from helm_efficiency.errors import FileFormatError, InputError, OutputError

MOST_BYTES = 64_000_000
"""Size limit for hand-written and exported files; hundreds of times larger than any real one."""

MOST_LOG_BYTES = 1_000_000_000
"""Size limit for one file of an evaluation: the whole file is in memory while it is read."""

_BUFFER_BYTES = 1_000_000

UNFINISHED = ".unfinished-"
"""Prefix of the name of a file that is still being written."""


def require_size(path: Path | str, *, most_bytes: int = MOST_BYTES) -> None:
    """Refuse a file that is too large for its kind, or that never ends, before it is read.

    Raises:
        FileFormatError: The file is larger, or is a pipe or a device.
        OSError: The file is missing, or its status cannot be read.
    """
    status = os.stat(path)  # noqa: PTH116 (of an address-like text too)
    if stat.S_ISDIR(status.st_mode):
        return  # reading it says so
    if not stat.S_ISREG(status.st_mode):
        raise FileFormatError(f"{path}: a pipe or a device; expected a file.")
    if status.st_size > most_bytes:
        raise FileFormatError(f"{path}: {status.st_size:,} bytes; expected at most {most_bytes:,}.")


def read_bytes(path: Path | str, *, most_bytes: int = MOST_BYTES) -> bytes:
    """Return the content of a file, after checking its size.

    Raises:
        FileFormatError: The file is larger than `most_bytes`, or is a pipe or a device.
        OSError: The file cannot be read.
    """
    require_size(path, most_bytes=most_bytes)
    return Path(path).read_bytes()


Content = bytes | Callable[[BinaryIO], None]
"""Content of a file, or a function that writes it."""


def write_files(contents: Mapping[Path, Content], *, before_replacing: Callable[[], None] = lambda: None) -> None:
    """Write files in place of earlier ones; if killed at any moment, each file is the whole old or the whole new one.

    A link is replaced by a file; the link's target is left as it is.

    Args:
        contents: Contents by path, renamed into place in this order after all have been flushed to disk.
        before_replacing: Function to call once all have been flushed, before the first is renamed.

    Raises:
        OutputError: A file cannot be written, as on a full disk; all files are left as they were.
    """
    unfinished = {path: path.with_name(f"{UNFINISHED}{uuid.uuid4().hex}") for path in contents}
    path = Path()
    try:
        for path, content in contents.items():
            path.parent.mkdir(parents=True, exist_ok=True)
            _write(unfinished[path], content)
        before_replacing()
        for path in contents:
            unfinished[path].replace(path)
        for folder in {path.parent for path in contents}:
            sync(folder)
    except OSError as error:
        reason = error.strerror or error
        raise OutputError(f"{path} could not be written: {reason}. What stood there before is unharmed.") from error
    finally:
        for path in unfinished.values():
            with contextlib.suppress(OSError):
                path.unlink(missing_ok=True)


def write_file(path: Path, content: bytes | str) -> None:
    """Write the file that a user named in place of an earlier one; text as UTF-8.

    For a link, its target is replaced, not the link. A path that is not a regular file, such as /dev/stdout, is written
    to directly.

    Raises:
        OutputError: The file cannot be written; the earlier one is left as it was.
    """
    data = content.encode() if isinstance(content, str) else content
    try:
        if path.exists() and not path.is_file() and not path.is_dir():
            path.write_bytes(data)
            return
        if not path.name:
            raise OutputError(f"{path} could not be written: it is a folder. Name a file in it.")
        target = path.resolve() if path.is_symlink() else path
    except (OSError, RuntimeError) as error:  # RuntimeError: a link to itself
        raise OutputError(f"{path} could not be written: {error}.") from error
    write_files({target: data})


def _write(path: Path, content: Content) -> None:
    with path.open("xb", buffering=_BUFFER_BYTES) as file:
        if isinstance(content, bytes):
            file.write(content)
        else:
            content(file)
        file.flush()
        os.fsync(file.fileno())


def sync(path: Path) -> None:
    """Flush the content of a file, or the renames within a folder, to disk, so that it survives a power cut."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def remove_unfinished(folder: Path) -> None:
    """Remove the half-written files that a killed process left in a folder."""
    for path in folder.glob(f"{UNFINISHED}*"):
        path.unlink(missing_ok=True)


@contextlib.contextmanager
def locked(folder: Path, *, wait: bool) -> Iterator[None]:
    """Lock a folder against other processes of this package; the lock ends when its process dies.

    Args:
        folder: Folder to lock; made if it is missing. Nothing is written into it.
        wait: True to wait until another process has finished, instead of failing.

    Raises:
        InputError: Another process holds the lock and `wait` is false, or the folder cannot be made.
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
