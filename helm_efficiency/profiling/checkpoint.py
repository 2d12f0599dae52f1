"""Save every finished cell to disk at once, so that a profile goes on where it was killed.

The file holds JSON lines: the first says what is being profiled, each further one is a finished cell. A line is written
in one piece and synced. If a kill leaves an incomplete last line, it is cut off when the file is opened again.
"""

import json
import os
import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from helm_efficiency.core.measurement import Stack
from helm_efficiency.errors import FileFormatError, InputError
from helm_efficiency.files import read_bytes
from helm_efficiency.profiling.cells import CellResult

SCHEMA = "helm-efficiency cells 2"


class Checkpoint:
    """Finished cells of one profile, in a file."""

    def __init__(self, path: Path, identity: Mapping[str, Any]) -> None:
        """Open a file of cells, or start one.

        Args:
            path: Path of the file; its folder is made if it does not exist.
            identity: Model, stack and method of the profile, as JSON values. A file with another identity is refused.

        Raises:
            FileFormatError: The file is not a file of cells.
            InputError: The file holds cells of another profile, or cannot be written to.
        """
        self.path = path
        self.results: list[CellResult] = []
        header = {"schema": SCHEMA, **identity}
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            content = read_bytes(path) if path.exists() else b""
        except OSError as error:
            raise InputError(f"Cannot keep finished cells in {path}: {error.strerror}.") from error
        if _line(header).startswith(content):  # new, or killed while its first line was written
            _write_synced(path, _line(header), mode="wb")
            return
        complete = content[: content.rfind(b"\n") + 1]
        self._read(complete.decode(errors="replace"), header)
        if complete != content:
            os.truncate(path, len(complete))

    def append(self, result: CellResult) -> None:
        """Keep a finished cell; it is on disk when this returns.

        Raises:
            InputError: The file cannot be written to.
        """
        _write_synced(self.path, _line(result.to_dict()), mode="ab")
        self.results.append(result)

    def _read(self, text: str, header: Mapping[str, Any]) -> None:
        first, *others = text.splitlines() or [""]
        try:
            found = json.loads(first)
            if not isinstance(found, dict) or found.get("schema") != SCHEMA:
                raise FileFormatError(f"{self.path} is not a file of profiled cells. It was left as it was.")
            wanted = json.loads(json.dumps(header))
            if found != wanted:
                names = [key for key in {**found, **wanted} if found.get(key) != wanted.get(key)]
                changes = "; ".join(f"{key}: {found.get(key)!r} there, {wanted.get(key)!r} now" for key in names)
                raise InputError(
                    f"{self.path} holds cells of another profile ({changes}). Delete it, or start afresh with --fresh."
                )
        except (ValueError, RecursionError) as error:
            raise FileFormatError(f"{self.path} is not a file of profiled cells, or is damaged: {error}.") from error
        try:
            self.results = [CellResult.from_dict(json.loads(line)) for line in others]
        except (ValueError, RecursionError, InputError) as error:
            raise FileFormatError(f"{self.path} is not a file of profiled cells, or is damaged: {error}.") from error


@dataclass(frozen=True, slots=True)
class CellFiles:
    """Folder in which finished cells are kept, in one file for each deployment and stack."""

    folder: Path

    def path(self, deployment: str, stack: Stack) -> Path:
        """Return the path of the file of a deployment on a stack."""
        split = f"--{stack.num_accelerators}" if stack.num_accelerators > 1 else ""
        name = re.sub(r"[^A-Za-z0-9._-]+", "--", f"{deployment}--{stack.name}{split}")
        return self.folder / f"{name}.jsonl"

    def open(self, deployment: str, stack: Stack, *, source: str) -> Checkpoint:
        """Open the finished cells of a deployment on a stack, measured as `source` says.

        Raises:
            FileFormatError: The file is not a file of cells.
            InputError: The file holds cells that were measured in another way.
        """
        identity = {"deployment": deployment, "stack": asdict(stack), "source": source}
        return Checkpoint(self.path(deployment, stack), identity)


def _line(item: Mapping[str, Any]) -> bytes:
    return json.dumps(item, separators=(",", ":")).encode() + b"\n"


def _write_synced(path: Path, line: bytes, *, mode: str) -> None:
    try:
        with path.open(mode) as file:
            file.write(line)
            file.flush()
            os.fsync(file.fileno())
    except OSError as error:  # for example a full disk or a read-only folder
        raise InputError(f"Cannot keep finished cells in {path}: {error.strerror}.") from error
