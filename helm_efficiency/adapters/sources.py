"""Where runs are: local folders and files, and what fsspec reaches (`gs://`, `s3://`, `https://`, `memory://` …)."""

import contextlib
import posixpath
import re
import tempfile
from collections.abc import Iterable, Iterator
from functools import partial
from pathlib import Path
from typing import Any, BinaryIO

from fsspec.core import url_to_fs
from fsspec.implementations.local import LocalFileSystem
from msgspec import Struct

from helm_efficiency.adapters import adapters as archives
from helm_efficiency.adapters.adapters import Harness
from helm_efficiency.adapters.helm.files import open_local
from helm_efficiency.adapters.helm.request_cache import RequestCaches
from helm_efficiency.adapters.helm.runs import RUN_FILES, read_run
from helm_efficiency.adapters.record import HarnessRun
from helm_efficiency.adapters.tokenizers import LocalTokenizers
from helm_efficiency.errors import FileFormatError, InputError

FileState = tuple[int, str]
"""Size in bytes, and what else changes when the file does: time, version or checksum, as its file system tells."""

HELM: Harness = "helm"


class Source(Struct, frozen=True):
    """One run folder of HELM, or one log file of another harness.

    Attributes:
        harness: Whose.
        url: Absolute path, or address with its protocol.
    """

    harness: Harness
    url: str

    @property
    def name(self) -> str:
        """Of the folder or file."""
        return posixpath.basename(self.url)

    @property
    def suite(self) -> str:
        """Name of the folder around it."""
        return posixpath.basename(posixpath.dirname(self.url))

    @property
    def local_path(self) -> Path | None:
        """None where it is remote."""
        return None if "://" in self.url else Path(self.url)

    @property
    def is_in_memory(self) -> bool:
        """Whether only this process can see it."""
        return self.url.startswith("memory://")

    def open(self) -> "Files":
        """Its files."""
        return Files(*url_to_fs(self.url)) if "://" in self.url else Files(LocalFileSystem(), self.url)


class Files:
    """The files of one folder, or one file and those that belong to it."""

    def __init__(self, filesystem: Any, path: str) -> None:
        self.filesystem = filesystem
        self.path = path.rstrip("/")

    def names(self) -> list[str]:
        """Of the files, sorted; of a file those that belong to it."""
        is_file = self.filesystem.isfile(self.path)
        folder, own_name = posixpath.split(self.path) if is_file else (self.path, "")
        listing = self.filesystem.ls(folder, detail=True, refresh=True)
        names = sorted(posixpath.basename(entry["name"]) for entry in listing if _is_file(entry))
        return [name for name in names if _belongs(name, own_name)] if is_file else names

    def require_file(self, name: str) -> None:
        """Refuse an entry of the folder that has the name of a file and is none.

        Raises:
            FileFormatError: It is a pipe, a device, a folder, or a link to nothing.
        """
        for entry in self.filesystem.ls(self.path, detail=True):
            if posixpath.basename(entry["name"].rstrip("/")) == name and not _is_file(entry):
                raise FileFormatError(
                    f"{self.path}/{name}: a pipe, a device, a folder or a link to nothing; expected a file."
                )

    def states(self) -> dict[str, FileState]:
        """What tells whether a file changed, by name."""
        folder = posixpath.dirname(self.path) if self.filesystem.isfile(self.path) else self.path
        return {name: self._state(f"{folder}/{name}") for name in self.names()}

    def _state(self, path: str) -> FileState:
        if isinstance(self.filesystem, LocalFileSystem):
            return state_of(Path(path))
        info: dict[str, Any] = self.filesystem.info(path)
        return info["size"], str(sorted((key, str(value)) for key, value in info.items()))

    def open(self, path: str) -> BinaryIO:
        """One of them by its path, to read.

        Raises:
            FileNotFoundError: There is none.
            FileFormatError: It is a pipe or a device.
        """
        is_local = isinstance(self.filesystem, LocalFileSystem)
        opened: BinaryIO = open_local(path) if is_local else self.filesystem.open(path, "rb")
        return opened

    @contextlib.contextmanager
    def local_file(self) -> Iterator[Path]:
        """The one file as a local one, in a folder of the same name; a copy if it is remote."""
        if isinstance(self.filesystem, LocalFileSystem):
            yield Path(self.path)
            return
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder, *self.path.split("/")[-2:])
            path.parent.mkdir(exist_ok=True)
            for name in self.names():
                self.filesystem.get_file(f"{posixpath.dirname(self.path)}/{name}", str(path.with_name(name)))
            yield path


def _is_file(entry: dict[str, Any]) -> bool:
    """Whether an entry of a listing is a file, or a link to one, as in archives that are kept by git-annex."""
    return entry["type"] == "file" or (bool(entry.get("islink")) and Path(entry["name"]).is_file())


def _belongs(name: str, to: str) -> bool:
    """Whether a file is another, or holds the samples of those results of lm-eval."""
    return name == to or (to.startswith("results") and name.startswith("samples_"))


def state_of(path: Path) -> FileState:
    """What tells whether a local file changed; of one that is not there, too."""
    try:
        status = path.stat()
    except OSError:
        return (-1, "")
    return status.st_size, str(status.st_mtime_ns)


def read_source(
    source: Source, files: Files, *, caches: RequestCaches | None, tokenizers: LocalTokenizers | None
) -> tuple[HarnessRun, ...]:
    """The runs of a source; nearly always one.

    Args:
        source: What it is.
        files: Its files.
        caches: HELM's request caches.
        tokenizers: For requests that nobody counted.

    Raises:
        FileFormatError: A file is damaged; names the file and the place.
        InputError: A file is missing or cannot be read.
    """
    if source.harness == HELM:
        return (read_run(files.path, open_file=files.open, caches=caches, tokenizers=tokenizers),)
    with files.local_file() as path:
        return archives.read_source(source.harness, path, tokenizers=tokenizers)


def find_sources(places: Iterable[str], *, besides: Path) -> list[Source]:
    """All runs at or below some places, each once, sorted within a place.

    Args:
        places: Paths or addresses.
        besides: A folder whose runs are left out, as they were written by us.

    Returns:
        For `rescore`.

    Raises:
        InputError: A place is not there, or cannot be listed, or an address has a password in it.

    Example:
        >>> from pathlib import Path
        >>> from helm_efficiency import find_sources
        >>> len(find_sources(["benchmark_output/runs"], besides=Path("scored")))
        15
    """
    own = besides.resolve()
    found: dict[str, Source] = {}
    for place in places:
        for source in _remote(place) if "://" in place else _local(place):
            path = source.local_path
            if path is None or not path.resolve().is_relative_to(own):
                real = source.url if path is None else str(path.resolve())
                found.setdefault(source.url if real == source.url else real, source)  # one text where they are alike
    return list(found.values())


def _local(place: str) -> Iterator[Source]:
    return (Source(harness, str(path)) for harness, path in archives.find_sources(Path(place).absolute()))


_PASSWORD = re.compile(r"//[^/@]*:[^/@]*@")


def _remote(place: str) -> Iterator[Source]:
    if _PASSWORD.search(place):  # it would stand in every message, table and receipt
        raise InputError(
            f"{_PASSWORD.sub('//…@', place)}: no password expected in an address. "
            "Put it into the environment, where fsspec finds it: FSSPEC_FTP_USERNAME, FSSPEC_FTP_PASSWORD and such."
        )
    try:
        filesystem, root = url_to_fs(place)
        if isinstance(filesystem, LocalFileSystem):
            yield from _local(root)
            return
        files = sorted(filesystem.find(root))
    except (ImportError, ValueError, OSError) as error:
        raise InputError(f"{place} cannot be read: {error}.") from error
    if not files:
        raise InputError(f"{place}: nothing there; expected runs of an evaluation harness.")
    folders = {posixpath.dirname(file) for file in files if posixpath.basename(file) in RUN_FILES}
    for folder in sorted(folders):
        yield Source(HELM, filesystem.unstrip_protocol(folder))
    adapters = archives.installed_adapters()
    for file in files:
        if posixpath.dirname(file) in folders:
            continue
        head = partial(filesystem.cat_file, file, start=0, end=archives.HEAD_BYTES)
        harness = archives.harness_of(posixpath.basename(file), head, adapters)
        if harness is not None:
            yield Source(harness, filesystem.unstrip_protocol(file))
