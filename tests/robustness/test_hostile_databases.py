"""Databases, pickles and YAML of a few kilobytes that would take forever to read: each is refused, none is changed."""

import contextlib
import os
import pickle
import sqlite3
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from helpers.run_commands import call, little_memory, refused

from helm_efficiency.adapters.helm.pickle_reader import UnsafePickleError, loads
from helm_efficiency.adapters.helm.request_cache import RequestCaches
from helm_efficiency.catalog.user_files import parse_yaml
from helm_efficiency.core.fitting.fit import fit_profile
from helm_efficiency.core.measurement import Measurement, Profile, Stack
from helm_efficiency.errors import FileFormatError, StoreError
from helm_efficiency.store import Store

PROFILE = Profile(
    "me/model",
    Stack("a100-80gb-x", "a100-80gb"),
    tuple(Measurement(p, o, 0.01 + p * 1e-4 + o * 0.02) for p in (1, 64, 1024) for o in (1, 16)),
)
ENDLESS = (
    "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) "
    "SELECT 'a' AS key, i AS value, '' AS stored_at FROM n"
)
HOSTILE = {
    "a view": f"DROP TABLE {{table}}; CREATE VIEW {{table}} AS {ENDLESS}",
    "a view beside it": f"CREATE VIEW other AS {ENDLESS}",
    "a trigger": f"CREATE TRIGGER t BEFORE INSERT ON {{table}} BEGIN SELECT count(*) FROM ({ENDLESS}); END",
    "a computed column": "ALTER TABLE {table} ADD COLUMN more AS (hex(zeroblob(99999999)))",
    "a check": "CREATE TABLE other (key TEXT CHECK (key NOT LIKE '%a%b%c%d%e%f%g'))",
    "a computed index": "CREATE INDEX i ON {table} (length(replace(hex(zeroblob(9999)), '0', hex(zeroblob(9999)))))",
    "a virtual table": "CREATE VIRTUAL TABLE other USING fts5(key, value)",
}


@pytest.fixture
def store(tmp_path: Path) -> Path:
    path = tmp_path / "s.sqlite"
    Store(path).put_all([PROFILE], [fit_profile(PROFILE)])
    return path


@pytest.fixture
def cache(tmp_path: Path) -> Path:
    """A request cache of HELM's with one response."""
    path = tmp_path / "openai.sqlite"
    response = {"request_time": 1.5, "usage": {"prompt_tokens": 1, "completion_tokens": 1}}
    with contextlib.closing(sqlite3.connect(path)) as connection:
        connection.execute("CREATE TABLE unnamed (key TEXT PRIMARY KEY, value BLOB)")
        connection.execute("INSERT INTO unnamed VALUES ('{}', ?)", (pickle.dumps(response),))
        connection.commit()
    assert RequestCaches.of([path]).num_responses == 1
    return path


def change(path: Path, statements: str) -> bytes:
    """Run statements on a database. Return the file's new content."""
    with contextlib.closing(sqlite3.connect(path)) as connection:
        connection.executescript(statements)
    return path.read_bytes()


@pytest.mark.parametrize("statements", HOSTILE.values(), ids=HOSTILE)
def test_stores_that_compute_are_refused(store: Path, statements: str) -> None:
    content = change(store, statements.format(table="fits"))
    for command in ("show", "fit"):
        refused(command, "--store", store, naming=store)
    assert store.read_bytes() == content


@pytest.mark.parametrize("statements", HOSTILE.values(), ids=HOSTILE)
def test_caches_that_compute_are_refused(cache: Path, statements: str) -> None:
    content = change(cache, statements.format(table="unnamed"))
    with pytest.raises(FileFormatError, match=r"openai\.sqlite: not a request cache of HELM's \(it has "):
        RequestCaches.of([cache])
    assert cache.read_bytes() == content


PAGE_BYTES = 512


def interior_page(child: int, header: bytes = b"") -> bytes:
    """A page of a table that has another one below it 30 times; the first page begins with the header of the file."""
    cells = [struct.pack(">IB", child, key) for key in range(30)]
    places = [PAGE_BYTES - 5 * (index + 1) for index in range(len(cells))]
    page = bytearray(PAGE_BYTES)
    start = struct.pack(">BHHHBI", 5, 0, len(cells), places[-1], 0, child)
    start = header + start + b"".join(struct.pack(">H", place) for place in places)
    page[: len(start)] = start
    for place, cell in zip(places, cells, strict=True):
        page[place : place + 5] = cell
    return bytes(page)


def many_times(path: Path, table: str, levels: int) -> None:
    """Write a database whose only row of a table is there 31 to the power of `levels` times."""
    path.unlink(missing_ok=True)
    columns = "key TEXT, value BLOB" if table == "unnamed" else "key TEXT, value BLOB, stored_at TEXT"
    with contextlib.closing(sqlite3.connect(path)) as connection:
        connection.execute(f"PRAGMA page_size = {PAGE_BYTES}")
        connection.execute(f"CREATE TABLE {table} ({columns})")
        connection.execute(f"INSERT INTO {table} (key, value) VALUES ('a', x'00')")
        connection.execute("CREATE TABLE room (value BLOB)")
        connection.executemany("INSERT INTO room VALUES (?)", [(b"x" * 400,)] * (levels + 1))
        connection.commit()
        (root,) = connection.execute("SELECT rootpage FROM sqlite_master WHERE name = ?", (table,)).fetchone()
        pages = path.stat().st_size // PAGE_BYTES
    content = bytearray(path.read_bytes())
    pages_below = list(range(pages - levels + 1, pages + 1))  # of the other table, which nobody reads
    leaf = bytes(content[(root - 1) * PAGE_BYTES : root * PAGE_BYTES])
    for place, below in zip([root, *pages_below], pages_below, strict=False):
        content[(place - 1) * PAGE_BYTES : place * PAGE_BYTES] = interior_page(below)
    content[(pages_below[-1] - 1) * PAGE_BYTES : pages_below[-1] * PAGE_BYTES] = leaf
    path.write_bytes(content)


def test_a_cache_whose_pages_are_there_many_times(cache: Path) -> None:
    """Without a limit it would be read for longer than the universe exists."""
    many_times(cache, "unnamed", levels=2)
    assert RequestCaches.of([cache]).num_responses == 0  # 961 rows: well below the limit
    many_times(cache, "unnamed", levels=15)
    with pytest.raises(FileFormatError, match=r"openai\.sqlite: .*would take far longer than its size needs"):
        RequestCaches.of([cache])


def schema_many_times(path: Path) -> None:
    """Write a database whose schema is there without end, in the same way."""
    with contextlib.closing(sqlite3.connect(path)) as connection:
        connection.execute(f"PRAGMA page_size = {PAGE_BYTES}")
        connection.execute("CREATE TABLE room (value BLOB)")
        connection.executemany("INSERT INTO room VALUES (?)", [(b"x" * 400,)] * 15)
        connection.commit()
    content = bytearray(path.read_bytes())
    pages = len(content) // PAGE_BYTES
    header, schema = bytes(content[:100]), content[100:PAGE_BYTES]
    content[:PAGE_BYTES] = interior_page(pages - 11, header)
    for page in range(pages - 11, pages):
        content[(page - 1) * PAGE_BYTES : page * PAGE_BYTES] = interior_page(page + 1)
    num_bytes = 8 + 2 * int.from_bytes(schema[3:5], "big")
    first = int.from_bytes(schema[5:7], "big") - 100
    content[-PAGE_BYTES:] = schema[:num_bytes] + bytes(100 + first - num_bytes) + schema[first:]
    path.write_bytes(content)


def test_schemas_that_are_there_many_times(tmp_path: Path) -> None:
    path = tmp_path / "s.sqlite"
    schema_many_times(path)
    with pytest.raises(StoreError, match="would take far longer than its size needs"):
        Store(path)
    with pytest.raises(FileFormatError, match="would take far longer than its size needs"):
        RequestCaches.of([path])


def put_folder(path: Path) -> None:
    path.mkdir()


def put_link_to_device(path: Path) -> None:
    path.symlink_to("/dev/zero")


@pytest.mark.parametrize("put", [os.mkfifo, put_folder, put_link_to_device])
def test_stores_that_are_no_files(tmp_path: Path, put: Callable[[Path], None]) -> None:
    """Reading and writing: none waits for what never comes."""
    place, measured = tmp_path / "s.sqlite", tmp_path / "m.csv"
    put(place)
    measured.write_text("prompt_tokens,output_tokens,batch_size,seconds\n1,1,1,0.1\n1,2,1,0.2\n")
    for command in (["show"], ["fit"], ["import", measured, "--deployment", "a/b", "--stack", "a100-80gb-x"]):
        line = refused(*command, "--store", place, naming=place)
        assert "expected a file" in line, line


def test_locks_of_other_programs_do_not_matter(store: Path) -> None:
    with contextlib.closing(sqlite3.connect(store, isolation_level=None)) as other:
        other.execute("BEGIN EXCLUSIVE")
        assert len(Store(store).fits()) == 1


def another_journal(path: Path) -> bytes:
    """The journal of another database, of other pages, whose writer was killed."""
    other = path.with_name("other.sqlite")
    with contextlib.closing(sqlite3.connect(other, isolation_level=None)) as connection:
        connection.execute("PRAGMA page_size = 1024")
        connection.execute("PRAGMA cache_size = 1")
        connection.execute("CREATE TABLE t (a)")
        connection.execute("INSERT INTO t VALUES (zeroblob(100000))")
        connection.execute("BEGIN")
        connection.execute("UPDATE t SET a = randomblob(100000)")
        return other.with_name("other.sqlite-journal").read_bytes()


@pytest.mark.parametrize("kind", ["text", "of another database"])
def test_a_journal_that_is_not_its_own_is_left_alone(store: Path, kind: str) -> None:
    journal = store.with_name("s.sqlite-journal")
    journal.write_bytes(b"a text of the user's" if kind == "text" else another_journal(store))
    before = store.read_bytes(), journal.read_bytes()
    line = refused("show", "--store", store, naming=journal)
    assert "another program has not finished" in line
    assert (store.read_bytes(), journal.read_bytes()) == before
    journal.unlink()
    assert call("show", "--store", store).code == 0


EQUAL_HASH = 2**61 - 1
"""Whole numbers that differ by this have the same hash."""


def rebuilt(num_items: int, num_times: int) -> bytes:
    """A pickle that puts all items of one dict into another, many times."""
    items = pickle.dumps({f"key{n}": n for n in range(num_items)}, 4)[:-1]
    memo_of_items = b"r\xff\xff\x00\x00"  # LONG_BINPUT
    again = b"j\xff\xff\x00\x00b"  # LONG_BINGET, BUILD
    return items + memo_of_items + b"}" + again * num_times + b"."


def set_again(num_bytes: int, num_times: int) -> bytes:
    """A pickle that looks up two long equal texts in a dict, many times."""
    text = b"X" + struct.pack("<I", num_bytes) + b"a" * num_bytes
    first, second = b"q\x01", b"q\x02"
    return text + first + text + second + b"}" + b"h\x01Nsh\x02Ns" * num_times + b"."


SLOW_PICKLES = {
    "numbers of equal hash": pickle.dumps({n * EQUAL_HASH: 1 for n in range(2000)}),
    "in many dicts": pickle.dumps([{n * EQUAL_HASH: 1 for n in range(i, i + 90)} for i in range(2000)]),
    "fractions of equal hash": pickle.dumps({float(n) * 2.0**61: 1 for n in range(1, 200)}),
    "a dict put into another again and again": rebuilt(10_000, 50_000),
    "long equal keys": set_again(100_000, 50_000),
}


@pytest.mark.parametrize("data", SLOW_PICKLES.values(), ids=SLOW_PICKLES)
def test_pickles_that_would_take_forever(cache: Path, data: bytes) -> None:
    with little_memory(), pytest.raises(UnsafePickleError, match=r"keys that are numbers|far longer than its size"):
        loads(data)
    with contextlib.closing(sqlite3.connect(cache)) as connection:
        connection.execute("INSERT INTO unnamed VALUES ('b', ?)", (data + b"request_time",))
        connection.commit()
    caches = RequestCaches.of([cache])
    assert caches.num_responses == 1 and len(caches.problems) == 1, "the other response is read"


def test_pickles_of_real_shape_are_read() -> None:
    """Keys that are named again and again, as in the log probabilities of a long answer; a few numbers."""
    value: dict[str, Any] = {
        "choices": [{"token": f"t{n}", "logprob": -0.5, "top": {f"t{n}": -0.5}} for n in range(5_000)]
    }
    value["by number"] = dict.fromkeys(range(100), "x")
    for protocol in range(2, pickle.HIGHEST_PROTOCOL + 1):
        assert loads(pickle.dumps(value, protocol)) == value


SLOW_YAML = {
    "numbers of equal hash": "\n".join(f"{n * EQUAL_HASH}: 1" for n in range(3000)),
    "merges of merges": "a0: &a0 {x: 1, y: 2}\n"
    + "\n".join(f"a{n}: &a{n}\n  <<: [{', '.join([f'*a{n - 1}'] * 10)}]" for n in range(1, 12)),
    "many merges": "a: &a {x: 1}\nb:\n  <<: [" + ", ".join(["*a"] * 5000) + "]",
}


@pytest.mark.parametrize("text", SLOW_YAML.values(), ids=SLOW_YAML)
def test_yaml_that_would_take_forever(text: str) -> None:
    with little_memory(), pytest.raises(FileFormatError, match=r"^p\.yaml: not YAML \(more than "):
        parse_yaml(text, "p.yaml")


def test_yaml_with_a_few_merges_is_read() -> None:
    assert parse_yaml("a: &a {x: 1}\nb: {<<: *a, 2: y}", "p.yaml") == {"a": {"x": 1}, "b": {"x": 1, 2: "y"}}
