"""The store on real files: several processes at once, damage, strangers' files, older schemas, read-only places."""

import fcntl
import json
import multiprocessing
import os
import sqlite3
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import closing
from multiprocessing.synchronize import Barrier, Event
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlitedict import SqliteDict

from helm_efficiency import codec
from helm_efficiency.core.fitting.fit import Fit
from helm_efficiency.core.measurement import Measurement, Profile, Stack
from helm_efficiency.core.runtime_model import Domain, RuntimeCoefficients
from helm_efficiency.errors import StoreError, UnknownDeploymentError
from helm_efficiency.store import Store

STACK = Stack("a100-80gb-x", "a100-80gb", 4, engine="x", engine_version="1.2", dtype="fp16", tensor_parallel=4)
SERVICE = Stack("service-x", "service", engine="x")


def a_profile(deployment: str, seconds: float = 0.1 + 0.2) -> Profile:
    return Profile(
        deployment,
        STACK,
        (Measurement(1, 1, seconds), Measurement(1, 2, 1 / 3, seconds_std=1e-17, num_repetitions=5)),
        source="a file",
        measured_on="2026-01-02",
        versions={"x": "1.2"},
        notes=("one", "two"),
    )


def a_fit(deployment: str, stack: Stack = STACK) -> Fit:
    coefficients = RuntimeCoefficients("linear", ((1, 0.1), (9, 1 / 3)), 1e-3 / 7, Domain(1, 9, 1, 2))
    digest = a_profile(deployment).sha256()
    return Fit(deployment, stack, coefficients, profile_sha256=digest, notes=("n",), versions={"numpy": "2"})


def everything_in(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@pytest.fixture
def store(tmp_path: Path) -> Store:
    made = Store(tmp_path / "s.sqlite")
    made.put_all([a_profile("a/b")], [a_fit("a/b")])
    return made


def test_what_was_put_comes_back_whole_with_its_provenance(store: Store) -> None:
    again = Store(store.path, create=False)
    assert again.profiles() == [a_profile("a/b")]
    assert again.fits() == [a_fit("a/b")] == [again.fit("a/b")]
    assert again.fits()[0].profile_sha256 == again.profiles()[0].sha256()
    stored_at = again.stored_at()
    assert set(stored_at["profiles"]) == set(stored_at["fits"]) == {("a/b", "a100-80gb-x")}
    assert stored_at["fits"]["a/b", "a100-80gb-x"].endswith("+00:00")


@settings(max_examples=10, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])
@given(seconds=st.floats(min_value=0, exclude_min=True, allow_infinity=False))
def test_every_bit_of_a_number_is_kept(store: Store, seconds: float) -> None:
    store.put_profile(a_profile("a/b", seconds))
    assert store.profiles() == [a_profile("a/b", seconds)]


def test_putting_again_replaces(store: Store) -> None:
    store.put_profile(a_profile("a/b", 7.0))
    store.put_profile(a_profile("a/c"))
    assert [p.deployment for p in store.profiles()] == ["a/b", "a/c"]
    assert store.profiles(deployment="a/b")[0].measurements[0].seconds == 7.0
    assert store.profiles(stack="other") == []


def test_a_transaction_is_all_or_nothing(store: Store) -> None:
    broken = Fit("a/z", STACK, a_fit("a/z").coefficients, versions={"x": object()})  # type: ignore[dict-item]
    with pytest.raises(TypeError):
        store.put_all([a_profile("a/z")], [broken])
    assert store.profiles() == [a_profile("a/b")]


def test_sqlitedict_reads_it(store: Store) -> None:
    with SqliteDict(str(store.path), tablename="profiles", flag="r", encode=json.dumps, decode=json.loads) as table:
        (row,) = table.values()
        assert list(table) == ["a/b\ta100-80gb-x"] and codec.from_plain(row["item"], Profile) == a_profile("a/b")


def test_whole_seconds_keep_their_hash(store: Store) -> None:
    whole = Profile("a/whole", STACK, (Measurement(1, 1, 2),))
    store.put_profile(whole)
    assert store.profiles(deployment="a/whole")[0].sha256() == whole.sha256()


def _write_ten(path: Path, me: str, together: Barrier) -> None:
    together.wait()
    for item in range(10):
        Store(path).put_all([a_profile(f"{me}/{item}")], [a_fit(f"{me}/{item}")])


@pytest.mark.parametrize("num_processes", [2, 8])
def test_processes_that_write_at_once_lose_nothing(tmp_path: Path, num_processes: int) -> None:
    path = tmp_path / "made-by-whoever-is-first.sqlite"
    context = multiprocessing.get_context("fork")
    together = context.Barrier(num_processes)
    processes = [context.Process(target=_write_ten, args=(path, f"p{n}", together)) for n in range(num_processes)]
    for process in processes:
        process.start()
    for process in processes:
        process.join(timeout=60)
    assert [process.exitcode for process in processes] == [0] * num_processes
    names = sorted(f"p{n}/{item}" for n in range(num_processes) for item in range(10))
    assert [profile.deployment for profile in Store(path).profiles()] == names
    assert Store(path).fits() == [a_fit(name) for name in names]
    assert list(everything_in(tmp_path)) == [path.name]


def _foreign(path: Path, journal_mode: str = "delete") -> None:
    with closing(sqlite3.connect(path)) as connection:
        connection.execute(f"PRAGMA journal_mode={journal_mode}")
        connection.execute("CREATE TABLE meta (key TEXT, value TEXT)")
        connection.execute("INSERT INTO meta VALUES ('schema_version', 'latest')")
        connection.commit()


@pytest.mark.parametrize("kept", [0, 50, 100, 4096, 5000, 10_000, 15_000, -1])
def test_a_truncated_store_is_named_and_left_as_it_is(store: Store, kept: int) -> None:
    store.put_all([a_profile(f"a/{n}") for n in range(20)], ())
    store.path.write_bytes(store.path.read_bytes()[:kept])
    before = everything_in(store.path.parent)
    for use in (lambda: Store(store.path), lambda: Store(store.path, create=False), store.profiles):
        with pytest.raises(StoreError, match=r"s\.sqlite is not a helm-efficiency store .* left as it was"):
            use()
    with pytest.raises(StoreError, match=r"s\.sqlite"):
        store.put_profile(a_profile("a/b"))
    assert everything_in(store.path.parent) == before


def test_a_store_with_a_damaged_page_is_named(store: Store) -> None:
    content = store.path.read_bytes()
    store.path.write_bytes(content[:4096] + b"\xa5" * 4096 + content[8192:])
    with pytest.raises(StoreError, match=r"s\.sqlite is not a helm-efficiency store"):
        store.profiles()


@pytest.mark.parametrize("kind", ["text", "delete", "wal", "folder"])
def test_a_foreign_file_is_named_and_left_as_it_is(tmp_path: Path, kind: str) -> None:
    path = tmp_path / "theirs"
    if kind == "folder":
        path.mkdir()
    elif kind == "text":
        path.write_text("prompt_tokens,output_tokens\n" * 1000)
    else:
        _foreign(path, kind)
    before = everything_in(tmp_path)
    for create in (True, False):
        with pytest.raises(StoreError, match=r"theirs is not a helm-efficiency store"):
            Store(path, create=create)
    assert everything_in(tmp_path) == before


def _killed_while_writing(path: Path) -> None:
    """Leave a half-written transaction and its journal, as a killed process does."""
    code = (
        "import os, sqlite3, sys\n"
        "c = sqlite3.connect(sys.argv[1], isolation_level=None)\n"
        "c.execute('PRAGMA cache_size = 1'); c.execute('BEGIN')\n"
        "c.execute('CREATE TABLE IF NOT EXISTS profiles (key, value)')\n"
        "for n in range(200): c.execute('INSERT INTO profiles (key, value) VALUES (?, ?)', (str(n), 'x' * 2000))\n"
        "os._exit(0)\n"
    )
    subprocess.run([sys.executable, "-c", code, str(path)], check=True)
    assert path.with_name(path.name + "-journal").stat().st_size > 0


def test_a_killed_writer_leaves_the_old_store(store: Store) -> None:
    code = (
        "import os, sys; from helm_efficiency import store\n"
        "store.sync = lambda path: os._exit(9)\n"
        "s = store.Store(sys.argv[1]); s.put_fit(s.fits()[0])\n"
    )
    assert subprocess.run([sys.executable, "-c", code, str(store.path)], check=False).returncode == 9
    assert len(everything_in(store.path.parent)) == 2
    assert Store(store.path, create=False).profiles() == [a_profile("a/b")]
    store.put_fit(a_fit("c/d"))
    assert store.fits() == [a_fit("a/b"), a_fit("c/d")]
    assert list(everything_in(store.path.parent)) == ["s.sqlite"]


def test_an_unfinished_foreign_write_is_left_to_its_owner(store: Store) -> None:
    _killed_while_writing(store.path)
    before = everything_in(store.path.parent)
    for use in (lambda: Store(store.path), store.profiles, lambda: store.put_fit(a_fit("c/d"))):
        with pytest.raises(StoreError, match=r"s\.sqlite-journal lies beside it: another program has not finished"):
            use()
    assert everything_in(store.path.parent) == before


@pytest.mark.parametrize(
    "statement",
    [
        "ALTER TABLE fits RENAME TO kept; CREATE VIEW fits AS SELECT key, value FROM kept",
        "CREATE TRIGGER t AFTER INSERT ON fits BEGIN DELETE FROM profiles; END",
        "CREATE TABLE more (key TEXT)",
    ],
)
def test_a_store_with_anything_else_in_it_is_refused(store: Store, statement: str) -> None:
    with closing(sqlite3.connect(store.path)) as connection:
        connection.executescript(statement)
    with pytest.raises(StoreError, match="its tables are not those of a store"):
        store.fits()


def test_a_value_that_is_no_profile_is_named(store: Store) -> None:
    with closing(sqlite3.connect(store.path)) as connection:
        connection.execute("UPDATE profiles SET value = '{\"deployment\": 1}'")
        connection.commit()
    with pytest.raises(StoreError, match=r"s\.sqlite .*Not a profile"):
        store.profiles()


@pytest.mark.parametrize(
    ("version", "remedy"), [(99, "Upgrade helm-efficiency"), (2, "Import or measure its contents again")]
)
def test_another_schema_is_refused_with_a_remedy(store: Store, version: int, remedy: str) -> None:
    with closing(sqlite3.connect(store.path)) as connection:
        connection.execute("UPDATE meta SET value = ?", (str(version),))
        connection.commit()
    before = store.path.read_bytes()
    with pytest.raises(StoreError, match=rf"s\.sqlite has schema {version}, this version reads 3\. {remedy}"):
        Store(store.path)
    with pytest.raises(StoreError, match=f"schema {version}"):
        store.put_fit(a_fit("a/b"))
    assert store.path.read_bytes() == before


def test_there_is_none(tmp_path: Path) -> None:
    with pytest.raises(StoreError, match=r"No store at .*none\.sqlite\. Make one with: helm-efficiency import"):
        Store(tmp_path / "none.sqlite", create=False)
    (tmp_path / "file").touch()
    with pytest.raises(StoreError, match=r"file.s\.sqlite: no store can be made there|a file stands where"):
        Store(tmp_path / "file" / "s.sqlite")


@pytest.fixture
def powerless() -> Iterator[None]:
    """File modes do not bind root: be nobody for a while."""
    if os.geteuid() != 0:
        yield
        return
    os.seteuid(65534)
    try:
        yield
    finally:
        os.seteuid(0)


def _readable_by_all(store: Store, *, folder: int, file: int) -> None:
    for parent in store.path.parents:
        if parent.stat().st_uid == os.getuid() and "pytest" in str(parent):
            parent.chmod(0o755)
    store.path.chmod(file)
    store.path.parent.chmod(folder)


@pytest.mark.parametrize(("folder", "file"), [(0o555, 0o444), (0o555, 0o644), (0o755, 0o444)])
def test_a_read_only_store_is_read_and_says_why_it_is_not_written(
    store: Store, request: pytest.FixtureRequest, folder: int, file: int
) -> None:
    _readable_by_all(store, folder=folder, file=file)
    request.getfixturevalue("powerless")
    assert Store(store.path).profiles() == [a_profile("a/b")]
    with pytest.raises(StoreError, match=r"s\.sqlite cannot be written \(.*(readonly|Permission denied)"):
        store.put_profile(a_profile("c/d"))
    assert Store(store.path).profiles() == [a_profile("a/b")]
    if folder == 0o555:
        with pytest.raises(StoreError, match=r"new\.sqlite: no store can be made there \(Permission denied\)"):
            Store(store.path.parent / "new.sqlite")


def _hold(path: Path, holding: Event) -> None:
    with path.open("rb") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        holding.set()
        time.sleep(0.3)


def test_a_writer_waits_for_another(store: Store) -> None:
    context = multiprocessing.get_context("fork")
    holding = context.Event()
    other = context.Process(target=_hold, args=(store.path, holding))
    other.start()
    assert holding.wait(timeout=60)
    store.put_profile(a_profile("late/one"))
    other.join(timeout=60)
    assert [profile.deployment for profile in store.profiles()] == ["a/b", "late/one"]


def test_a_writer_that_waits_too_long_gives_up(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("helm_efficiency.store._PATIENCE_S", 0.05)
    with store.path.open("rb") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        with pytest.raises(StoreError, match="another process has held it"):
            store.put_profile(a_profile("late/one"))


def test_a_link_to_a_store_stays_a_link(store: Store, tmp_path: Path) -> None:
    link = tmp_path / "elsewhere" / "link.sqlite"
    link.parent.mkdir()
    link.symlink_to(store.path)
    Store(link).put_profile(a_profile("by/link"))
    assert link.is_symlink()
    assert [profile.deployment for profile in store.profiles()] == ["a/b", "by/link"]


def test_service_stacks_count_only_where_asked_for(store: Store) -> None:
    store.put_all((), [a_fit("a/b", SERVICE), a_fit("c/d", SERVICE)])
    assert store.fit("a/b").stack == STACK
    assert store.fit("a/b", "service-x").stack == SERVICE
    with pytest.raises(
        UnknownDeploymentError, match=r"the service's own stack only: service-x\. Name one with --stack"
    ):
        store.fit("c/d")


def test_which_stack_must_be_said_where_there_are_several(store: Store) -> None:
    store.put_fit(a_fit("a/b", Stack("cpu-y", "cpu")))
    with pytest.raises(UnknownDeploymentError, match="several stacks: a100-80gb-x, cpu-y"):
        store.fit("a/b")
    with pytest.raises(
        UnknownDeploymentError, match=r"No coefficients for deployment 'q/r' .*Known stacks: a100-80gb-x"
    ):
        store.fit("q/r")
