"""The profiled-coefficient store: profiles and fits in one sqlite file, kept by sqlitedict as JSON (never pickle).

A write replaces the old file by a new one, under a lock: other processes wait, no write is lost, and a process that
reads in the meantime reads the whole old file. Reading checks the file first and touches nothing else in its folder.
"""

import fcntl
import glob
import logging
import os
import shutil
import sqlite3
import tempfile
import time
import uuid
from collections.abc import Iterable, Iterator, Mapping
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any, Generic, TypeVar

from sqlitedict import SqliteDict

from helm_efficiency import codec
from helm_efficiency.core.fitting.fit import Fit
from helm_efficiency.core.measurement import Profile
from helm_efficiency.defaults import DEFAULT_STORE
from helm_efficiency.errors import EfficiencyError, InputError, StoreError, UnknownDeploymentError
from helm_efficiency.files import read_bytes, sync
from helm_efficiency.sqlite_files import LimitedConnection, reason_of, require_file

SCHEMA_VERSION = 3
"""Version of the file's layout. 3: values hold the date at which they were put; older layouts were never released."""

SERVICE_STACK_PREFIX = "service"
"""Prefix of the stack names of service models, which are fitted to a host's own latencies: they denoise, not
idealize."""

_PATIENCE_S = 60.0
"""Longest time that a writer waits for another one. A write takes milliseconds; a minute means that a process hangs."""

_RETRY_S = 0.02  # a write takes milliseconds
_SIDE_FILES = ("-journal", "-wal")

logging.getLogger("sqlitedict").addHandler(logging.NullHandler())  # otherwise it prints tracebacks of what it raises

Item = TypeVar("Item", Profile, Fit)


@dataclass(frozen=True, slots=True)
class _Stored(Generic[Item]):
    """Value of a row.

    Attributes:
        stored_at: Time (ISO, UTC) at which the item was put.
        item: Stored profile or fit.
    """

    stored_at: str
    item: Item


_TABLES = ("profiles", "fits")
_KINDS: Mapping[str, Any] = {"profiles": _Stored[Profile], "fits": _Stored[Fit], "meta": int}
_SCHEMA = {f'CREATE TABLE "{table}" (key TEXT PRIMARY KEY, value BLOB)' for table in _KINDS}
"""Statements with which sqlitedict makes its tables. A file with anything else (a view, a trigger) is not a store."""


class Store:
    """Profiles and fits by deployment and stack name.

    One profile and one fit are kept for each pair; putting another one replaces it.

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
            StoreError: The file is not a store, is damaged, has another schema, is missing and `create` is false, or
                cannot be made.
        """
        self.path = Path(path)
        if not self.path.exists():
            if not create:
                raise StoreError(
                    f"No store at {self.path}. Make one with: helm-efficiency import … --store {self.path}"
                )
            _make(self.path)
        self._checked()

    def put_profile(self, profile: Profile) -> None:
        """Keep a profile, in place of an earlier one of the same deployment and stack name.

        Raises:
            StoreError: The store cannot be written, as for `put_all`.
        """
        self.put_all([profile], ())

    def put_fit(self, fit: Fit) -> None:
        """Keep a fit, in place of an earlier one of the same deployment and stack name.

        Raises:
            StoreError: The store cannot be written, as for `put_all`.
        """
        self.put_all((), [fit])

    def put_all(self, profiles: Iterable[Profile], fits: Iterable[Fit]) -> None:
        """Keep profiles and fits: all of them, or none.

        Raises:
            StoreError: The file or its folder cannot be written, or another process has held it for a minute.
        """
        now = datetime.now(UTC).isoformat(timespec="seconds")
        rows: dict[str, dict[str, Any]] = {
            "profiles": {_key(profile): _Stored(now, profile) for profile in profiles},
            "fits": {_key(fit): _Stored(now, fit) for fit in fits},
        }
        try:
            with _locked(self.path):
                _replace(self.path, _with_rows(self._checked(), rows))
        except (OSError, sqlite3.Error) as error:
            raise StoreError(f"{self.path} cannot be written ({error}). It was left as it was.") from error

    def profiles(self, *, deployment: str | None = None, stack: str | None = None) -> list[Profile]:
        """Return the profiles of a deployment, on a stack, or all, sorted by both.

        Raises:
            StoreError: The store is damaged.
        """
        return [stored.item for stored in self._read("profiles", deployment, stack).values()]

    def fits(self, *, deployment: str | None = None, stack: str | None = None) -> list[Fit]:
        """Return the fits of a deployment, on a stack, or all, sorted by both.

        Raises:
            StoreError: The store is damaged.
        """
        return [stored.item for stored in self._read("fits", deployment, stack).values()]

    def stored_at(self) -> dict[str, dict[tuple[str, str], str]]:
        """Return the time (ISO, UTC) when each item was put, by `profiles` or `fits`, then (deployment, stack name)."""
        return {table: {key: stored.stored_at for key, stored in self._read(table).items()} for table in _TABLES}

    def fit(self, deployment: str, stack: str | None = None) -> Fit:
        """Return the one fit of a deployment on a stack. Service models count only if `stack` names one.

        Raises:
            UnknownDeploymentError: The deployment has no fit, or has several and `stack` is not given.
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

    def _read(
        self, table: str, deployment: str | None = None, stack: str | None = None
    ) -> dict[tuple[str, str], _Stored[Any]]:
        """Return the rows of a table by (deployment, stack name), sorted."""
        with _copy_of(self._checked()) as copy, _open(copy, table, flag="r") as opened:
            try:
                keys = sorted((_pair(key), key) for key in opened)
                return {(d, s): opened[key] for (d, s), key in keys if deployment in (None, d) and stack in (None, s)}
            except (sqlite3.Error, InputError, TypeError, AttributeError) as error:
                raise _not_a_store(self.path, error) from error

    def _checked(self) -> bytes:
        """Return the file's content. Fail unless it is a whole store of this schema that no program is writing to."""
        try:
            for suffix in _SIDE_FILES:
                beside = self.path.with_name(self.path.name + suffix)
                if beside.exists() and beside.stat().st_size:
                    raise InputError(f"{beside} lies beside it: another program has not finished writing it")
            require_file(self.path)
            content = read_bytes(self.path)
            if not content:
                raise InputError("it is empty")
            with closing(sqlite3.connect(":memory:", factory=LimitedConnection)) as connection:
                connection.deserialize(content)
                connection.limit_to(len(content))
                _require_ours(connection, len(content))
                version = _schema_version(connection)
        except (EfficiencyError, OSError, ValueError, TypeError, sqlite3.Error) as error:
            raise _not_a_store(self.path, error) from error
        if version != SCHEMA_VERSION:
            remedy = "Upgrade helm-efficiency." if version > SCHEMA_VERSION else "Import or measure its contents again."
            raise StoreError(f"{self.path} has schema {version}, this version reads {SCHEMA_VERSION}. {remedy}")
        return content


def _not_a_store(path: Path, error: Exception) -> StoreError:
    return StoreError(f"{path} is not a helm-efficiency store ({reason_of(error)}). It was left as it was.")


def _require_ours(connection: sqlite3.Connection, num_bytes: int) -> None:
    """Fail unless the database has exactly the tables of a store, without any damaged or missing page."""
    statements = {sql for (sql,) in connection.execute("SELECT sql FROM sqlite_master WHERE sql IS NOT NULL")}
    if statements != _SCHEMA:
        raise InputError("its tables are not those of a store")
    (pages,), (page_bytes,) = (connection.execute(f"PRAGMA {p}").fetchone() for p in ("page_count", "page_size"))
    if num_bytes < pages * page_bytes:
        raise InputError("its end is missing")
    if connection.execute("PRAGMA quick_check(1)").fetchone() != ("ok",):
        raise InputError("a page of it is damaged")


def _schema_version(connection: sqlite3.Connection) -> int:
    (value,) = connection.execute("SELECT value FROM meta WHERE key = 'schema_version'").fetchone()
    version = codec.decode(value, int)
    if version < 1:
        raise InputError(f"schema version {version}")
    return version


def _open(path: Path, table: str, *, flag: str) -> SqliteDict:
    decode = partial(codec.decode, kind=_KINDS[table])
    return SqliteDict(str(path.absolute()), tablename=table, flag=flag, encode=codec.encode, decode=decode)


@contextmanager
def _copy_of(content: bytes) -> Iterator[Path]:
    """Yield the path of a copy of a store, in a folder of its own.

    sqlitedict works only on the copy: it keeps files open longer than it uses them, and mistakes locks and journals of
    other programs for its own.
    """
    with tempfile.TemporaryDirectory(prefix="helm-efficiency-") as folder:
        copy = Path(folder) / "store.sqlite"
        copy.write_bytes(content)
        yield copy


def _with_rows(content: bytes, rows: Mapping[str, Mapping[str, Any]]) -> bytes:
    """Return the content of a store with rows put into its tables; of an empty content, that of a new store."""
    with _copy_of(content) as copy:
        for table, values in rows.items():
            with _open(copy, table, flag="c") as opened:
                opened.update(values)
                opened.commit()
        return copy.read_bytes()


def _make(path: Path) -> None:
    """Make an empty store, without replacing one that another process makes at the same time."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        content = _with_rows(b"", {"meta": {"schema_version": SCHEMA_VERSION}} | {table: {} for table in _TABLES})
        unfinished = _unfinished(path, kind="new")
        try:
            unfinished.write_bytes(content)
            os.link(unfinished, path)
        finally:
            unfinished.unlink(missing_ok=True)
    except FileExistsError:
        if not path.is_file():  # a store of another process is as good; a file in place of a folder is not
            raise StoreError(f"{path}: a file stands where its folder should be.") from None
    except OSError as error:
        raise StoreError(f"{path}: no store can be made there ({error.strerror}).") from error


@contextmanager
def _locked(path: Path) -> Iterator[None]:
    """Lock a store against other writers."""
    if not os.access(path, os.W_OK):
        raise StoreError(f"{path} cannot be written (the file is readonly). It was left as it was.")
    deadline = time.monotonic() + _PATIENCE_S
    while (descriptor := _try_to_lock(path)) is None:
        if time.monotonic() > deadline:
            raise StoreError(f"{path}: another process has held it for {_PATIENCE_S:.0f} s. Try again.")
        time.sleep(_RETRY_S)
    try:
        yield
    finally:
        os.close(descriptor)


def _try_to_lock(path: Path) -> int | None:
    """Return a descriptor that holds the lock, or None. A write replaces the file, so the lock may be on an old one."""
    descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
    with suppress(BlockingIOError):
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        if os.path.samestat(os.fstat(descriptor), path.stat()):
            return descriptor
    os.close(descriptor)
    return None


def _replace(path: Path, content: bytes) -> None:
    """Put a file with the content in place of `path`, or of the file that a link points to."""
    target = path.resolve()
    for left_over in target.parent.glob(
        f".unfinished-copy-{glob.escape(target.name)}-*"
    ):  # left by a writer that was killed
        left_over.unlink(missing_ok=True)
    copy = _unfinished(target, kind="copy")
    try:
        copy.write_bytes(content)
        shutil.copymode(target, copy)
        sync(copy)
        copy.replace(target)
        sync(target.parent)
    finally:
        copy.unlink(missing_ok=True)


def _unfinished(path: Path, *, kind: str) -> Path:
    return path.with_name(f".unfinished-{kind}-{path.name}-{uuid.uuid4().hex}")


def _key(item: Profile | Fit) -> str:
    return f"{item.deployment}\t{item.stack.name}"


def _pair(key: str) -> tuple[str, str]:
    deployment, _, stack = key.rpartition("\t")  # stack names never contain white space
    return deployment, stack
