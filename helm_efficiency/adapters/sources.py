"""Find runs in local folders and files, and where fsspec reaches (`gs://`, `s3://`, `https://`, `memory://` …)."""

import contextlib
import posixpath
import re
import tempfile
from collections.abc import Callable, Iterable, Iterator
from functools import partial
from pathlib import Path
from typing import Any, BinaryIO

from fsspec.core import url_to_fs
from fsspec.implementations.local import LocalFileSystem
from msgspec import Struct

from helm_efficiency.adapters.adapters import HEAD_BYTES, Harness, harness_of, installed_adapters, read_log
from helm_efficiency.adapters.folders import walk
from helm_efficiency.adapters.helm.files import open_local
from helm_efficiency.adapters.helm.request_cache import RequestCaches
from helm_efficiency.adapters.helm.runs import RUN_FILES, read_run
from helm_efficiency.adapters.record import HarnessRun
from helm_efficiency.adapters.tokenizers import LocalTokenizers
from helm_efficiency.errors import FileFormatError, InputError, failing_alone

FileState = tuple[int, str]
"""Size in bytes, and the time, version or checksum of the file, as far as its file system provides them."""

HELM: Harness = "helm"


class Source(Struct, frozen=True):
    """One run folder of HELM, or one log file of another harness.

    Attributes:
        harness: Harness that wrote it.
        url: Path, or address with its protocol.
    """

    harness: Harness
    url: str

    @property
    def name(self) -> str:
        """Name of the folder or file."""
        return posixpath.basename(self.url)

    @property
    def suite(self) -> str:
        """Name of the parent folder."""
        return posixpath.basename(posixpath.dirname(self.url))

    @property
    def local_path(self) -> Path | None:
        """Local path; None if the source is remote."""
        return None if "://" in self.url else Path(self.url)

    @property
    def is_in_memory(self) -> bool:
        """True if only this process can see the source."""
        return self.url.startswith("memory://")

    def open(self) -> "Files":
        """Open the files of the source."""
        return Files(*url_to_fs(self.url)) if "://" in self.url else Files(LocalFileSystem(), self.url)


class Files:
    """Files of one folder, or one file and those that belong to it."""

    def __init__(self, filesystem: Any, path: str) -> None:
        self.filesystem = filesystem
        self.path = path.rstrip("/")

    def names(self) -> list[str]:
        """Return the sorted names of the files; for a single file, also those that belong to it."""
        is_file = self.filesystem.isfile(self.path)
        folder, own_name = posixpath.split(self.path) if is_file else (self.path, "")
        listing = self.filesystem.ls(folder, detail=True, refresh=True)
        names = sorted(posixpath.basename(entry["name"]) for entry in listing if _is_file(entry))
        return [name for name in names if _belongs(name, own_name)] if is_file else names

    def require_file(self, name: str) -> None:
        """Refuse an entry of the folder that has the name of a file but is not a file.

        Raises:
            FileFormatError: The entry is a pipe, a device, a folder, or a broken link.
        """
        for entry in self.filesystem.ls(self.path, detail=True):
            if posixpath.basename(entry["name"].rstrip("/")) == name and not _is_file(entry):
                raise FileFormatError(
                    f"{self.path}/{name}: a pipe, a device, a folder or a link to nothing; expected a file."
                )

    def states(self) -> dict[str, FileState]:
        """Return the state of each file by name, for detecting changes."""
        folder = posixpath.dirname(self.path) if self.filesystem.isfile(self.path) else self.path
        return {name: self._state(f"{folder}/{name}") for name in self.names()}

    def _state(self, path: str) -> FileState:
        if isinstance(self.filesystem, LocalFileSystem):
            return state_of(Path(path))
        info: dict[str, Any] = self.filesystem.info(path)
        return info["size"], str(sorted((key, str(value)) for key, value in info.items()))

    def open(self, path: str) -> BinaryIO:
        """Open one of the files by its path, to read.

        Raises:
            FileNotFoundError: The file does not exist.
            FileFormatError: The file is a pipe or a device.
        """
        is_local = isinstance(self.filesystem, LocalFileSystem)
        opened: BinaryIO = open_local(path) if is_local else self.filesystem.open(path, "rb")
        return opened

    @contextlib.contextmanager
    def local_file(self) -> Iterator[Path]:
        """Yield the path of the one file, in a folder of the same name; a local copy if it is remote."""
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
    """Return whether an entry of a listing is a file or a link to one, as in archives that are kept by git-annex."""
    return entry["type"] == "file" or (bool(entry.get("islink")) and Path(entry["name"]).is_file())


def _belongs(name: str, to: str) -> bool:
    """Return whether a file is the other one, or holds the samples of those results of lm-eval."""
    return name == to or (to.startswith("results") and name.startswith("samples_"))


def state_of(path: Path) -> FileState:
    """Return the state of a local file, for detecting changes; a missing file has a state, too."""
    try:
        status = path.stat()
    except OSError:
        return (-1, "")
    return status.st_size, str(status.st_mtime_ns)


def read_source(
    source: Source,
    files: Files | None = None,
    *,
    caches: RequestCaches | None = None,
    tokenizers: LocalTokenizers | None = None,
) -> tuple[HarnessRun, ...]:
    """Read the runs of a source, which nearly always has one.

    Raises:
        FileFormatError: A file is damaged; names it and the line or value.
        InputError: A file is missing or cannot be read.
    """
    files = files or source.open()
    if source.harness == HELM:
        return (read_run(files.path, open_file=files.open, caches=caches, tokenizers=tokenizers),)
    with files.local_file() as path:
        return read_log(source.harness, path, tokenizers=tokenizers)


def read_runs(
    places: Iterable[Path | str],
    *,
    caches: RequestCaches | None = None,
    tokenizers: LocalTokenizers | None = None,
    on_error: Callable[[InputError], None] | None = None,
) -> Iterator[HarnessRun]:
    """Read every run at or below some paths or addresses, one after the other; no model is called.

    Args:
        places: Run folders, logs, or folders of them, of HELM, Inspect, lm-eval, Every Eval Ever, LLMPerf or an
            installed adapter; addresses as text.
        caches: HELM's request caches, for the provider's own token counts.
        tokenizers: Tokenizers for requests that nobody counted.
        on_error: Function that is called for a run that cannot be read, which is then skipped; None raises instead.

    Raises:
        FileFormatError: A file is damaged and `on_error` is None; the message names the file and the line or value.
        InputError: A path does not exist, a file's harness is not recognized, or an adapter cannot be loaded; or,
            without `on_error`, a run cannot be read.

    Example:
        >>> from helm_efficiency import read_runs
        >>> sum(len(run.records) for run in read_runs(["benchmark_output/runs"]))
        300
    """
    for source in iter_sources(map(str, places)):
        try:
            with failing_alone(source.url):
                runs = read_source(source, caches=caches, tokenizers=tokenizers)
        except (InputError, OSError) as error:
            problem = error if isinstance(error, InputError) else InputError(f"{source.url} cannot be read: {error}.")
            if on_error is None:
                raise problem from error
            on_error(problem)
        else:
            yield from runs


def find_sources(places: Iterable[str], *, besides: Path | None = None) -> list[Source]:
    """Return all runs at or below some paths or addresses, each once, sorted below each.

    Args:
        places: Paths or addresses.
        besides: Folder of output of this package, which is left out.

    Returns:
        Sources for `rescore`.

    Raises:
        InputError: A path does not exist or cannot be listed, or an address contains a password.

    Example:
        >>> from pathlib import Path
        >>> from helm_efficiency import find_sources
        >>> len(find_sources(["benchmark_output/runs"], besides=Path("scored")))
        15
    """
    own = None if besides is None else besides.resolve()
    absolute = (place if "://" in place else str(Path(place).absolute()) for place in places)
    return [
        source
        for source in iter_sources(absolute)
        if own is None or source.local_path is None or not source.local_path.resolve().is_relative_to(own)
    ]


def iter_sources(places: Iterable[str]) -> Iterator[Source]:
    """Yield the runs at or below some paths or addresses, each once, as they are found.

    Files inside a HELM run folder belong to that run. A folder that cannot be listed is taken for HELM's, so that
    reading it reports the reason.

    Raises:
        InputError: A path does not exist, a file's harness is not recognized, an adapter cannot be loaded, or an
            address contains a password.
    """
    found: set[str] = set()
    for place in places:
        for source in _remote(place) if "://" in place else _local(Path(place)):
            path = source.local_path
            real = source.url if path is None else str(path.resolve())
            if real not in found:
                found.add(source.url if real == source.url else real)  # share the text if they are equal
                yield source


def _local(root: Path) -> Iterator[Source]:
    adapters = installed_adapters()
    if root.is_file():
        harness = harness_of(root.name, partial(_head, root), adapters)
        if harness is None:
            raise InputError(
                f"{root} is no log of Inspect, LLMPerf or an installed adapter, no results of lm-eval and no lines of "
                "Every Eval Ever."
            )
        yield Source(harness, str(root))
        return
    for folder, files in walk(root):
        if files is None or not RUN_FILES.isdisjoint(files):
            yield Source(HELM, str(folder))
            continue
        for name in files:
            harness = harness_of(name, partial(_head, folder / name), adapters)
            if harness is not None:
                yield Source(harness, str(folder / name))


def _head(file: Path) -> bytes:
    """Return the first bytes of a file; empty if it cannot be read."""
    try:
        if not file.is_file():  # a pipe would wait for a writer
            return b""
        with file.open("rb") as opened:
            return opened.read(HEAD_BYTES)
    except OSError:
        return b""


_PASSWORD = re.compile(r"//[^/@]*:[^/@]*@")


def _remote(place: str) -> Iterator[Source]:
    if _PASSWORD.search(place):  # it would appear in every message, table and receipt
        raise InputError(
            f"{_PASSWORD.sub('//…@', place)}: no password expected in an address. "
            "Put it into the environment, where fsspec finds it: FSSPEC_FTP_USERNAME, FSSPEC_FTP_PASSWORD and such."
        )
    try:
        filesystem, root = url_to_fs(place)
        if isinstance(filesystem, LocalFileSystem):
            yield from _local(Path(root))
            return
        files = sorted(filesystem.find(root))
    except (ImportError, ValueError, OSError) as error:
        raise InputError(f"{place} cannot be read: {error}.") from error
    if not files:
        raise InputError(f"{place}: nothing there; expected runs of an evaluation harness.")
    folders = {posixpath.dirname(file) for file in files if posixpath.basename(file) in RUN_FILES}
    for folder in sorted(folders):
        yield Source(HELM, filesystem.unstrip_protocol(folder))
    adapters = installed_adapters()
    for file in files:
        if posixpath.dirname(file) in folders:
            continue
        head = partial(filesystem.cat_file, file, start=0, end=HEAD_BYTES)
        harness = harness_of(posixpath.basename(file), head, adapters)
        if harness is not None:
            yield Source(harness, filesystem.unstrip_protocol(file))
