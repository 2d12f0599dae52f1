"""Keep and restore the original stat files of a run that is rescored in place.

`RUN/.helm-efficiency-originals` holds the files themselves (a second link to them, which takes no space) and
`written.json`, the SHA-256 of the files that replaced them. The hashes show whether a file is still the one that we
wrote: if HELM has run again since, its new file is the original. Every further rescore in place starts from the
originals, so that nothing of an earlier one remains.
"""

import hashlib
import shutil
import uuid
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

import msgspec

from helm_efficiency.adapters.folders import walk
from helm_efficiency.errors import InputError, OutputError
from helm_efficiency.files import UNFINISHED, locked, remove_unfinished, write_files

FOLDER = ".helm-efficiency-originals"
_WRITTEN = "written.json"


@dataclass(frozen=True, slots=True)
class Originals:
    """Original stat files of one run that is changed in place.

    Attributes:
        run: Folder of the run.
        paths: Path of each file's original, by its name: among the kept ones, or still the run's own.
    """

    run: Path
    paths: Mapping[str, Path]

    @classmethod
    def of(cls, run: Path, names: Iterable[str]) -> "Originals":
        """Find the originals of a run's files.

        Args:
            run: Folder of the run.
            names: Names of the files in it that will be replaced.

        Raises:
            OSError: A file cannot be read.
        """
        written = _read_written(run)
        return cls(run, {name: _kept(run, name) if _is_ours(run, name, written) else run / name for name in names})

    def keep(self) -> None:
        """Keep the originals that are still in the run; afterwards the run's own files may be replaced.

        Raises:
            OutputError: A file cannot be kept.
        """
        try:
            (self.run / FOLDER).mkdir(exist_ok=True)
            remove_unfinished(self.run / FOLDER)
            for name, path in self.paths.items():
                if path == self.run / name:
                    _link(path, _kept(self.run, name))
            (self.run / FOLDER / _WRITTEN).unlink(missing_ok=True)
        except OSError as error:
            raise OutputError(f"{self.run / FOLDER} could not be written: {error.strerror or error}.") from error

    def note_written(self) -> None:
        """Record the hashes of the files that replaced the originals.

        Raises:
            OutputError: The record cannot be written.
        """
        try:
            hashes = {name: _sha256(self.run / name) for name in self.paths}
        except OSError as error:
            raise OutputError(f"{self.run} cannot be read: {error.strerror or error}.") from error
        write_files({self.run / FOLDER / _WRITTEN: msgspec.json.encode(hashes)})


def undo(place: Path) -> tuple[list[Path], list[str]]:
    """Put the original stat files back into all runs at or below a folder.

    Args:
        place: Folder of a run, a suite or an archive.

    Returns:
        Runs that were restored byte for byte; and a message for each run that somebody else has changed since, which is
        left unchanged.

    Raises:
        InputError: `place` is not a folder, or a run's files cannot be put back.

    Example:
        >>> from pathlib import Path
        >>> from helm_efficiency.rescoring.originals import undo
        >>> undo(Path("benchmark_output/runs"))
        ([], [])
    """
    restored, changed = [], []
    for run in [folder.parent for folder, _ in walk(place) if folder.name == FOLDER]:
        with locked(run, wait=True):
            error = _put_back(run)
        if error:
            changed.append(error)
        else:
            restored.append(run)
    return restored, changed


def _put_back(run: Path) -> str:
    """Put the originals of one run back. Return an empty text, or the reason why that was not possible."""
    names = sorted(path.name for path in (run / FOLDER).iterdir() if path.name != _WRITTEN and path.suffix == ".json")
    written = _read_written(run)
    try:
        for name in names:
            if (run / name).is_file() and not _is_ours(run, name, written):
                return f"{run}/{name} has changed since it was rescored in place; remove {FOLDER} to keep it so."
        for name in names:
            _kept(run, name).replace(run / name)
        shutil.rmtree(run / FOLDER)
    except OSError as error:
        raise InputError(f"{run}: the originals cannot be put back: {error.strerror or error}.") from error
    return ""


def _kept(run: Path, name: str) -> Path:
    return run / FOLDER / name


def _is_ours(run: Path, name: str, written: Mapping[str, str] | None) -> bool:
    """Return whether an original is kept and we wrote the run's file.

    A missing record means that a rescore was interrupted while it replaced the files.
    """
    if not _kept(run, name).is_file():
        return False
    if written is None or not (run / name).is_file():
        return True
    found = _sha256(run / name)
    return found == written.get(name) or found == _sha256(_kept(run, name))


def _read_written(run: Path) -> dict[str, str] | None:
    """Return the SHA-256 of each file as we wrote it, by its name; None if the record is missing."""
    try:
        return msgspec.json.decode((run / FOLDER / _WRITTEN).read_bytes(), type=dict[str, str])
    except (FileNotFoundError, msgspec.DecodeError):
        return None


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _link(path: Path, kept: Path) -> None:
    """Link a file to a second name, replacing any file of that name; copy it if linking is not possible."""
    new = kept.with_name(f"{UNFINISHED}{uuid.uuid4().hex}")
    try:
        new.hardlink_to(path.resolve())
    except OSError:
        shutil.copy2(path, new)
    new.replace(kept)
