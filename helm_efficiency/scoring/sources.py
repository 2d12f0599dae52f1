"""Where runs are: local folders, and anything fsspec reaches (`gs://`, `s3://`, `https://`, `memory://` …)."""

import posixpath
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import fsspec
from fsspec.core import url_to_fs
from fsspec.implementations.local import LocalFileSystem
from msgspec import Struct

from helm_efficiency.errors import InputError
from helm_efficiency.harness.helm_runs import RUN_FILES, find_runs

FileState = tuple[int, str]
"""Size in bytes, and what else changes when the file does: time, version or checksum, as its file system tells."""


class Source(Struct, frozen=True):
    """One run folder.

    Attributes:
        url: Absolute path, or address with its protocol.
    """

    url: str

    @property
    def name(self) -> str:
        """Of the folder."""
        return posixpath.basename(self.url)

    @property
    def suite(self) -> str:
        """Of the folder around it."""
        return posixpath.basename(posixpath.dirname(self.url))

    @property
    def local_path(self) -> Path | None:
        """None where it is remote."""
        return None if "://" in self.url else Path(self.url)

    @property
    def is_in_memory(self) -> bool:
        """Whether only this process can see it."""
        return self.url.startswith("memory://")

    def open(self) -> "Folder":
        """Its files."""
        return Folder(*url_to_fs(self.url)) if "://" in self.url else Folder(LocalFileSystem(), self.url)


class Folder:
    """Reads the files of one folder and remembers what was read, for those who need the same file again."""

    def __init__(self, filesystem: fsspec.AbstractFileSystem, path: str) -> None:
        self.filesystem = filesystem
        self.path = path.rstrip("/")
        self.contents: dict[str, bytes] = {}

    def names(self) -> list[str]:
        """Of its files, sorted."""
        listing = self.filesystem.ls(self.path, detail=True, refresh=True)
        return sorted(posixpath.basename(entry["name"]) for entry in listing if entry["type"] == "file")

    def states(self) -> dict[str, FileState]:
        """What tells whether a file changed, by name."""
        return {name: self._state(name) for name in self.names()}

    def _state(self, name: str) -> FileState:
        path = f"{self.path}/{name}"
        if isinstance(self.filesystem, LocalFileSystem):
            status = Path(path).stat()
            return status.st_size, str(status.st_mtime_ns)
        info: dict[str, Any] = self.filesystem.info(path)
        return info["size"], str(sorted((key, str(value)) for key, value in info.items()))

    def read(self, name: str) -> bytes:
        """Content of a file.

        Raises:
            FileNotFoundError: There is none.
        """
        if name not in self.contents:
            self.contents[name] = self.filesystem.cat_file(f"{self.path}/{name}")
        return self.contents[name]

    def read_path(self, path: str) -> bytes:
        """Content of a file of this folder, named by its path."""
        return self.read(posixpath.basename(path))


def find_sources(places: Iterable[str], *, besides: Path) -> list[Source]:
    """All runs at or below some places, each once, sorted within a place.

    Args:
        places: Paths or addresses.
        besides: A folder whose runs are left out, as they were written by us.

    Raises:
        InputError: A place is not there, or cannot be listed.
    """
    own = besides.resolve()
    found: dict[str, Source] = {}
    for place in places:
        for source in _remote(place) if "://" in place else _local(place):
            path = source.local_path
            if path is None or not path.resolve().is_relative_to(own):
                found.setdefault(source.url if path is None else str(path.resolve()), source)
    return list(found.values())


def _local(place: str) -> Iterator[Source]:
    return (Source(str(folder)) for folder in find_runs(Path(place).absolute()))


def _remote(place: str) -> Iterator[Source]:
    try:
        filesystem, root = url_to_fs(place)
        if isinstance(filesystem, LocalFileSystem):
            return _local(root)
        files = filesystem.find(root)
    except (ImportError, ValueError, OSError) as error:
        raise InputError(f"{place} cannot be read: {error}.") from error
    folders = sorted({posixpath.dirname(file) for file in files if posixpath.basename(file) in RUN_FILES})
    if not files:
        raise InputError(f"{place}: nothing there; expected a HELM run, a suite or a folder of suites.")
    return (Source(filesystem.unstrip_protocol(folder)) for folder in folders)
