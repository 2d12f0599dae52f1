"""The profiled-coefficient store: profiles and fits in one sqlite file, as JSON values (never pickle).

The tables are those of `sqlitedict` (key, value), so that any reader of it reads them; see docs/store.md. They are
written through sqlite3 itself: a put is one transaction, which the writer thread of `sqlitedict` cannot promise to
several processes. Reading opens the file read-only. A store of an older schema is read through a copy in memory and
migrated by the first write to it.
"""

import json
import os
import sqlite3
import tempfile
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import closing, contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, TypeVar

from helm_efficiency.core.fitting.fit import Fit
from helm_efficiency.core.measurement import Profile
from helm_efficiency.defaults import DEFAULT_STORE
from helm_efficiency.errors import InputError, StoreError, UnknownDeploymentError
from helm_efficiency.sqlite_files import connect, has_foreign_journal, is_locked, reason_of, require_plain_tables

SCHEMA_VERSION = 2
SERVICE_STACK_PREFIX = "service"
"""Stack names that begin so are service models of a host, fitted to its own latencies: they denoise, not idealize."""

_BUSY_TIMEOUT_S = 60.0
Item = TypeVar("Item", Profile, Fit)


class Store:
    """Profiles and fits by deployment and stack name.

    One profile and one fit are kept for each pair; putting another replaces it.

    Example:
        >>> from helm_efficiency import Measurement, Profile, Stack, Store, fit_profile
        >>> cells = [(1, 1), (1, 65), (512, 1), (512, 65)]
        >>> timed = tuple(Measurement(p, o, seconds=0.01 + 1e-4 * p + 0.02 * (o - 1)) for p, o in cells)
        >>> profile = Profile("me/model", Stack("a100-80gb-vllm-bf16", "a100-80gb"), timed)
        >>> store = Store("mine.sqlite")
        >>> store.put_all([profile], [fit_profile(profile)])
        >>> store.fit("me/model") == fit_profile(profile)
        True
    """

    def __init__(self, path: Path | str = DEFAULT_STORE, *, create: bool = True) -> None:
        """Open a store, or make one.

        Raises:
            StoreError: The file is not a store, is damaged, is of a newer schema, is missing and `create` is false, or
                cannot be made.
        """
        self.path = Path(path)
        if not self.path.exists():
            if not create:
                raise StoreError(
                    f"No store at {self.path}. Make one with: helm-efficiency import … --store {self.path}"
                )
            _make(self.path)
        with self._reading():
            pass

    @contextmanager
    def _reading(self) -> Iterator[sqlite3.Connection]:
        """A connection that cannot write, of this schema, to a file that was found whole."""
        with self._errors("is not a helm-efficiency store"), closing(self._open()) as connection:
            version = self._version(connection)
            self._require_whole(connection)
            if version == SCHEMA_VERSION:
                yield connection
                return
            with closing(sqlite3.connect(":memory:", isolation_level=None)) as copy:
                connection.backup(copy)
                _migrate(copy, version)
                yield copy

    def _open(self) -> sqlite3.Connection:
        """Begin to read; where a writer was killed, let sqlite roll its transaction back first."""
        self._refuse_foreign()
        connection = self._connect("ro")
        try:
            _begin_to_read(connection)
        except sqlite3.OperationalError as error:
            connection.close()
            if error.sqlite_errorcode != sqlite3.SQLITE_READONLY_ROLLBACK:
                raise
            if has_foreign_journal(self.path):
                raise sqlite3.DatabaseError(f"{self.path}-journal is of another database; move it away") from error
            with closing(self._connect("rw")) as recovering:
                _begin_to_read(recovering)
            connection = self._connect("ro")
            _begin_to_read(connection)
        return connection

    def _refuse_foreign(self) -> None:
        """Fail unless the file names a schema version, touching neither it nor a journal that belongs to its owner."""
        with closing(self._connect("ro&immutable=1")) as connection:
            try:
                require_plain_tables(connection, ["meta"])
                self._version(connection)
            except sqlite3.DatabaseError as error:
                if getattr(error, "sqlite_errorcode", None) != sqlite3.SQLITE_CORRUPT:
                    raise  # else it may just be written to: whoever reads it under a lock will know

    def _require_whole(self, connection: sqlite3.Connection) -> None:
        """Fail if the file is shorter than its pages, which sqlite overlooks within the last one, or one is damaged."""
        (pages,), (page_bytes,) = (connection.execute(f"PRAGMA {p}").fetchone() for p in ("page_count", "page_size"))
        if self.path.stat().st_size < pages * page_bytes:
            raise sqlite3.DatabaseError("its end is missing")
        if connection.execute("PRAGMA quick_check(1)").fetchone() != ("ok",):
            raise sqlite3.DatabaseError("a page of it is damaged")

    def _connect(self, mode: str) -> sqlite3.Connection:
        return connect(self.path, mode=mode, timeout_s=_BUSY_TIMEOUT_S)

    def _version(self, connection: sqlite3.Connection) -> int:
        row = connection.execute("SELECT value FROM meta WHERE key = 'schema_version'").fetchone()
        version = json.loads(row[0])
        if not isinstance(version, int) or version < 1:
            raise ValueError(f"schema version {version!r}")
        if version > SCHEMA_VERSION:
            raise StoreError(
                f"{self.path} has schema {version}, this version reads up to {SCHEMA_VERSION}. Upgrade helm-efficiency."
            )
        return version

    @contextmanager
    def _errors(self, what: str) -> Iterator[None]:
        """Say which file it was that sqlite, JSON or a value in it failed on."""
        try:
            yield
        except (sqlite3.Error, OSError, TypeError, ValueError, RecursionError, InputError) as error:
            if is_locked(error):
                raise StoreError(f"{self.path}: another process has locked it. Try again when it has ended.") from error
            raise StoreError(f"{self.path} {what} ({reason_of(error)}). It was left as it was.") from error

    @contextmanager
    def _writing(self) -> Iterator[sqlite3.Connection]:
        """One transaction: all of it is kept, or none; other processes wait."""
        with self._errors("cannot be written"), closing(self._connect("rw")) as connection:
            connection.execute("BEGIN IMMEDIATE")
            try:
                version = self._version(connection)
                self._require_whole(connection)
                _migrate(connection, version)
                yield connection
                connection.execute("COMMIT")
            except BaseException:
                if connection.in_transaction:
                    connection.execute("ROLLBACK")
                raise

    def put_profile(self, profile: Profile) -> None:
        """Keep a profile, in place of an earlier one of the same deployment and stack name.

        Raises:
            StoreError: As `put_all`.
        """
        self.put_all([profile], ())

    def put_fit(self, fit: Fit) -> None:
        """Keep a fit, in place of an earlier one of the same deployment and stack name.

        Raises:
            StoreError: As `put_all`.
        """
        self.put_all((), [fit])

    def put_all(self, profiles: Iterable[Profile], fits: Iterable[Fit]) -> None:
        """Keep profiles and fits in one transaction: all of them, or none.

        Raises:
            StoreError: The file or its folder cannot be written, or another process has held it for a minute.
        """
        now = datetime.now(UTC).isoformat(timespec="seconds")
        rows = {
            table: [(_key(item), json.dumps(item.to_dict()), now) for item in items]
            for table, items in (("profiles", profiles), ("fits", fits))
        }
        with self._writing() as connection:
            for table, values in rows.items():
                connection.executemany(f"REPLACE INTO {table} (key, value, stored_at) VALUES (?, ?, ?)", values)

    def profiles(self, *, deployment: str | None = None, stack: str | None = None) -> list[Profile]:
        """Profiles of a deployment, on a stack, or all, sorted by both.

        Raises:
            StoreError: The store is damaged.
        """
        return self._values("profiles", Profile.from_dict, deployment, stack)

    def fits(self, *, deployment: str | None = None, stack: str | None = None) -> list[Fit]:
        """Fits of a deployment, on a stack, or all, sorted by both.

        Raises:
            StoreError: The store is damaged.
        """
        return self._values("fits", Fit.from_dict, deployment, stack)

    def _values(
        self, table: str, parse: Callable[[Mapping[str, Any]], Item], deployment: str | None, stack: str | None
    ) -> list[Item]:
        with self._reading() as connection:
            found = connection.execute(f"SELECT key, value FROM {table}").fetchall()
            rows = sorted((_pair(key), value) for key, value in found)
            return [
                parse(json.loads(value)) for (d, s), value in rows if deployment in (None, d) and stack in (None, s)
            ]

    def stored_at(self) -> dict[str, dict[tuple[str, str], str]]:
        """When (ISO, UTC) each profile and each fit was put: by `profiles` or `fits`, then (deployment, stack name).

        Empty where a store of schema 1 did not keep it.
        """
        with self._reading() as connection:
            return {
                table: {_pair(key): at for key, at in connection.execute(f"SELECT key, stored_at FROM {table}")}
                for table in _TABLES
            }

    def fit(self, deployment: str, stack: str | None = None) -> Fit:
        """The one fit of a deployment on a stack. Service models count only where `stack` names one.

        Raises:
            UnknownDeploymentError: There is none, or there are several and `stack` is not given.
            StoreError: The store is damaged.
        """
        fits = self.fits(deployment=deployment, stack=stack)
        found = [fit for fit in fits if stack or not fit.stack.name.startswith(SERVICE_STACK_PREFIX)]
        if len(found) == 1:
            return found[0]
        if fits:
            names = ", ".join(fit.stack.name for fit in found or fits)
            what = "several stacks" if found else "the service's own stack only"
            raise UnknownDeploymentError(f"{deployment!r} has coefficients on {what}: {names}. Name one with --stack.")
        names = ", ".join(sorted({fit.stack.name for fit in self.fits()})) or "none"
        on = f" on stack {stack!r}" if stack else ""
        raise UnknownDeploymentError(
            f"No coefficients for deployment {deployment!r}{on} in {self.path}. Known stacks: {names}. "
            "Measure one with: helm-efficiency profile …"
        )


_TABLES = ("profiles", "fits")


def _make(path: Path) -> None:
    """Put an empty store where none is: whole at once, so that no other process ever meets a half of it."""
    with closing(sqlite3.connect(":memory:", isolation_level=None)) as connection:
        connection.execute("CREATE TABLE meta (key TEXT PRIMARY KEY, value BLOB)")
        connection.execute("INSERT INTO meta VALUES ('schema_version', '1')")
        _migrate(connection, 1)
        content = connection.serialize()
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=path.parent, prefix=".store-") as folder:
            whole = Path(folder) / path.name
            whole.write_bytes(content)
            os.link(whole, path)
    except FileExistsError:
        if not path.is_file():  # another process's store is as good as ours; a file where a folder should be is not
            raise StoreError(f"{path}: a file stands where its folder should be.") from None
    except OSError as error:
        raise StoreError(f"{path}: no store can be made there ({error.strerror}).") from error


def _begin_to_read(connection: sqlite3.Connection) -> None:
    """Hold the file as it is now until the connection is closed."""
    connection.execute("BEGIN")
    connection.execute("SELECT 1 FROM sqlite_master").fetchone()


def _stored_at(connection: sqlite3.Connection) -> None:
    """1 -> 2: when each value was put. Schema 1 made its tables only when they were first used."""
    for table in _TABLES:
        connection.execute(f"CREATE TABLE IF NOT EXISTS {table} (key TEXT PRIMARY KEY, value BLOB)")
        connection.execute(f"ALTER TABLE {table} ADD COLUMN stored_at TEXT NOT NULL DEFAULT ''")


_MIGRATIONS: Mapping[int, Callable[[sqlite3.Connection], None]] = {1: _stored_at}
"""By schema version: what makes it the next one."""


def _migrate(connection: sqlite3.Connection, version: int) -> None:
    for older in range(version, SCHEMA_VERSION):
        _MIGRATIONS[older](connection)
    if version < SCHEMA_VERSION:
        connection.execute("UPDATE meta SET value = ? WHERE key = 'schema_version'", (json.dumps(SCHEMA_VERSION),))


def _key(item: Profile | Fit) -> str:
    return f"{item.deployment}\t{item.stack.name}"


def _pair(key: str) -> tuple[str, str]:
    deployment, _, stack = key.rpartition("\t")  # no name of a stack has white space in it
    return deployment, stack
