"""Open untrusted SQLite files so that reading one takes time and memory in proportion to its size.

A database is a program as much as it is data: a view may be an endless query, a trigger runs when a row is written,
a generated column or a CHECK is computed for each row. None of these is needed here, so files with them are refused;
only tables of stored values are accepted. A connection also counts its steps, and ends a statement that takes more
steps than the file's size allows, because a table may contain the same pages several times.
"""

import re
import sqlite3
import stat
from collections.abc import Collection
from pathlib import Path
from typing import Any
from urllib.parse import quote

from helm_efficiency.errors import FileFormatError
from helm_efficiency.files import MOST_BYTES

_STEPS_AT_ONCE = 100_000
"""Steps of SQLite's virtual machine between two counts: few milliseconds of work, so that counting costs nothing."""

_LEAST_STEPS = 2_000_000
"""Steps that any statement may take, under a second of work; a statement on a small file takes a few hundred."""

_STEPS_PER_BYTE = 20
"""Further steps for each byte of the file: a row has 10 bytes or more, and reading it takes 5 to 20 steps."""

_COMPUTED = re.compile(r"\b(?:VIRTUAL|CHECK|AS)\b", re.IGNORECASE)
"""Words in the definition of a table with more than stored values: CREATE VIRTUAL TABLE, CHECK (…), AS (…)."""


class LimitedConnection(sqlite3.Connection):
    """A connection that ends a statement with OperationalError when it takes more steps than the file allows."""

    _most_steps = _LEAST_STEPS
    _steps = 0

    def limit_to(self, num_bytes: int) -> None:
        """Set how many steps a statement may take, and how large a value may be."""
        self._most_steps = _LEAST_STEPS + _STEPS_PER_BYTE * num_bytes
        self.setlimit(sqlite3.SQLITE_LIMIT_LENGTH, MOST_BYTES)
        self.set_progress_handler(self._count, _STEPS_AT_ONCE)

    def _count(self) -> bool:
        self._steps += _STEPS_AT_ONCE
        return self._steps > self._most_steps

    def execute(self, *arguments: Any) -> sqlite3.Cursor:
        """Execute a statement, counting its steps from 0."""
        self._steps = 0
        return super().execute(*arguments)


def require_file(path: Path | str) -> int:
    """Return the size of a file in bytes.

    Raises:
        FileFormatError: The path is a folder, a pipe or a device.
        OSError: The file is missing, or its status cannot be read.
    """
    status = Path(path).stat()
    if stat.S_ISDIR(status.st_mode):
        raise FileFormatError(f"{path}: a folder; expected a file.")
    if not stat.S_ISREG(status.st_mode):
        raise FileFormatError(f"{path}: a pipe or a device; expected a file.")
    return status.st_size


def connect(path: Path | str) -> LimitedConnection:
    """Open a file for reading, with limits.

    Raises:
        FileFormatError: The path is not a regular file.
        OSError: The file is missing, or its status cannot be read.
        sqlite3.Error: The file cannot be opened.
    """
    num_bytes = require_file(path)
    connection = sqlite3.connect(f"file:{quote(str(path))}?mode=ro", uri=True, factory=LimitedConnection)
    connection.limit_to(num_bytes)
    connection.execute("PRAGMA trusted_schema=OFF")
    return connection


def require_plain_tables(connection: sqlite3.Connection, names: Collection[str]) -> None:
    """Refuse a database that holds more than tables of stored values, or lacks one of the named tables.

    Raises:
        sqlite3.DatabaseError: The database has a view, a trigger, an index of its own or a computed column, lacks a
            named table, or is damaged.
    """
    found = set()
    for kind, name, definition in connection.execute("SELECT type, name, sql FROM sqlite_master"):
        if definition is None:  # SQLite's own index of a primary key
            continue
        if kind != "table" or not isinstance(definition, str) or _COMPUTED.search(definition):
            raise sqlite3.DatabaseError(f"it has {kind} {str(name)[:80]!r}; expected tables of stored values alone")
        found.add(name)
    missing = sorted(set(names) - found)
    if missing:
        raise sqlite3.DatabaseError(f"no such table: {missing[0]}")


def is_locked(error: Exception) -> bool:
    """Return whether the error means that another process held a lock on the file for longer than the wait."""
    code = getattr(error, "sqlite_errorcode", None)
    return code is not None and code & 0xFF in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED)


def reason_of(error: Exception) -> str:
    """Return the reason why a file cannot be read, in own words if SQLite's message is unclear."""
    if getattr(error, "sqlite_errorcode", None) == sqlite3.SQLITE_INTERRUPT:
        return "reading it would take far longer than its size needs"
    return "another process has locked it; try again when that has ended" if is_locked(error) else str(error)
