"""Matching of cached responses to requests, on cache files that HELM's own store writes."""

import importlib.util
import os
import sqlite3
from pathlib import Path
from typing import Any

import pytest
from helm.common.key_value_store import SqliteKeyValueStore
from helm.common.request import Request, RequestResult

from helm_efficiency.adapters.helm.request_cache import RequestCaches
from helm_efficiency.adapters.token_counts import Usage
from helm_efficiency.errors import FileFormatError, InputError
from helm_efficiency.helm_plugin.mongo_cache import add_mongo


def chat(prompt: str, **more: Any) -> dict[str, Any]:
    return {"model": "m", "messages": [{"role": "user", "content": prompt}], **more}


def answer(seconds: float, output: int, *, at: int | None = 1700000000) -> dict[str, Any]:
    usage = {"prompt_tokens": 9, "completion_tokens": output}
    return {"usage": usage, "request_time": seconds} | ({} if at is None else {"request_datetime": at})


class State:
    """What of HELM's request state the matching looks at, made of HELM's own classes."""

    def __init__(self, seconds: float | None, prompt: str = "", *, at: int | None = 1700000000, **request: Any) -> None:
        self.request = Request(model="o/m", model_deployment="h/m", prompt=prompt, **request)
        self.result = RequestResult(True, [], [], cached=False, request_time=seconds, request_datetime=at)


def written(file: Path, pairs: list[tuple[dict[str, Any], Any]]) -> Path:
    with SqliteKeyValueStore(str(file)) as store:
        store.multi_put(pairs)
    return file


def read(file: Path, **options: Any) -> RequestCaches:
    caches = RequestCaches()
    caches.add_sqlite(file, **options)
    return caches


def test_time_and_date_find_the_response(tmp_path: Path) -> None:
    pairs = [
        (chat("a"), answer(0.12345678, 1)),
        (chat("b"), answer(0.12345678, 2, at=1700000001)),
        (chat("c"), answer(0.2345678, 3, at=None)),
        ({"tokenizer": "t", "text": "a"}, {"tokens": [1, 2]}),  # tokenizers keep their cache in the same file
    ]
    caches = read(written(tmp_path / "h.sqlite", pairs))
    assert caches.num_responses == 3
    assert caches.find(State(0.12345678)) == Usage(prompt_tokens=9, output_tokens=1)
    assert caches.find(State(0.12345678, at=1700000001)) == Usage(prompt_tokens=9, output_tokens=2)
    assert caches.find(State(0.2345678)) == Usage(prompt_tokens=9, output_tokens=3)
    assert [caches.find(State(seconds)) for seconds in (0.5, None)] == [None, None]
    assert caches.find(State(0.12345678, at=1600000000)) is None


def test_where_times_do_not_decide_the_prompt_does(tmp_path: Path) -> None:
    pairs = [
        (chat('what is "it"?\n'), answer(0.1234567, 1)),
        (chat("what else?"), answer(0.1234567, 2)),
        (chat("in whole milliseconds"), answer(0.25, 3)),
        (chat("in no time"), answer(0.0054321, 4)),
    ]
    caches = read(written(tmp_path / "h.sqlite", pairs))
    assert caches.find(State(0.1234567, 'what is "it"?\n')) == Usage(prompt_tokens=9, output_tokens=1)
    assert caches.find(State(0.1234567, messages=[{"role": "user", "content": "what else?"}])).output_tokens == 2
    assert caches.find(State(0.1234567, "something else")) is None
    assert caches.find(State(0.1234567)) is None  # both may be it
    assert caches.find(State(0.25, "in whole milliseconds")) == Usage(prompt_tokens=9, output_tokens=3)
    assert caches.find(State(0.25, "another")) is None
    assert caches.find(State(0.0054321, "in no time")) == Usage(prompt_tokens=9, output_tokens=4)
    assert caches.find(State(0.0054321, "of another model, as fast")) is None


def test_clients_that_ask_for_each_completion_by_itself(tmp_path: Path) -> None:
    pairs = [(chat("a", completion_index=i), answer(0.1234567 + i, 10 + i)) for i in range(3)]
    pairs.append((chat("b", completion_index=0), answer(0.7654321, 50)))
    caches = read(written(tmp_path / "h.sqlite", pairs))
    last = State(2.1234567, num_completions=3)
    assert caches.find(last) == Usage(prompt_tokens=9, output_tokens=33, max_completion_tokens=12)
    assert caches.find(State(0.7654321, num_completions=3)) == Usage(prompt_tokens=9)  # two are not cached
    assert caches.find(State(0.7654321)) == Usage(prompt_tokens=9, output_tokens=50)


def test_bedrock_reports_milliseconds_of_its_own(tmp_path: Path) -> None:
    response = {"usage": {"inputTokens": 7, "outputTokens": 5}, "metrics": {"latencyMs": 321}}
    caches = read(written(tmp_path / "amazon.sqlite", [({"messages": [{"content": [{"text": "a b"}]}]}, response)]))
    assert caches.find(State(0.321, "a b")) == Usage(prompt_tokens=7, output_tokens=5)


def test_only_the_wanted_are_read(tmp_path: Path) -> None:
    file = written(tmp_path / "h.sqlite", [(chat(str(i)), answer(0.1234567 + i, i)) for i in range(9)])
    caches = read(file, only={3.1234567})
    assert caches.num_responses == 1
    assert caches.find(State(3.1234567)) == Usage(prompt_tokens=9, output_tokens=3)


class Hostile:
    """Pickles as a call."""

    def __init__(self, mark: Path) -> None:
        self.mark = mark

    def __reduce__(self) -> tuple[Any, ...]:
        return os.system, (f"touch {self.mark}",)


def test_hostile_values_are_reported_and_skipped_and_the_others_read(tmp_path: Path) -> None:
    mark = tmp_path / "mark"
    pairs = [
        (chat("a"), answer(0.1234567, 1)),
        (chat("x"), {**answer(0.3, 1), "choices": [Hostile(mark)]}),
        (chat("b"), answer(0.2345678, 2)),
    ]
    folder = tmp_path / "cache"
    folder.mkdir()
    file = written(folder / "h.sqlite", pairs)
    (folder / "broken.sqlite").write_bytes(b"SQLite format 3\0 but not quite" * 9)
    sqlite3.connect(folder / "other.sqlite").close()
    caches = RequestCaches()
    caches.add_folder(folder)
    assert caches.problems == [
        f"{folder / 'broken.sqlite'}: not a request cache of HELM's (file is not a database).",
        f"{file}, row 2: skipped, it names posix.system, which is not run",
        f"{folder / 'other.sqlite'}: not a request cache of HELM's (no such table: unnamed).",
    ]
    assert not mark.exists()
    assert caches.num_responses == 2


def test_rows_that_helm_would_not_write(tmp_path: Path) -> None:
    file = written(tmp_path / "h.sqlite", [(chat("a"), answer(0.1234567, 1))])
    with sqlite3.connect(file) as connection:
        [good] = connection.execute("SELECT value FROM unnamed").fetchone()
        rows = [("text", "request_time"), (b"\xff", good), ('{"random_seed":', good), ('["random_seed"]', good)]
        connection.executemany("INSERT INTO unnamed VALUES (?, ?)", rows)
        connection.execute("INSERT INTO unnamed VALUES (CAST(x'ff22' AS TEXT), ?)", (good,))
    connection.close()
    caches = read(file)
    assert (caches.num_responses, caches.problems) == (4, [])
    assert caches.find(State(0.1234567)) == Usage(prompt_tokens=9, output_tokens=1)


def test_reports_are_bounded(tmp_path: Path) -> None:
    bad = {**answer(0.3, 1), "x": {1}}
    caches = read(written(tmp_path / "h.sqlite", [(chat(str(i)), bad) for i in range(120)]))
    assert len(caches.problems) == 101
    assert caches.problems[-1] == "… and more; only the first are listed"


def test_what_is_not_there(tmp_path: Path) -> None:
    caches = RequestCaches()
    with pytest.raises(InputError, match=r"no \*\.sqlite in it"):
        caches.add_folder(tmp_path)
    with pytest.raises(InputError, match="there is no such file"):
        caches.add_sqlite(tmp_path / "x.sqlite")
    (tmp_path / "y.sqlite").write_text("not a database")
    with pytest.raises(FileFormatError, match="not a request cache"):
        caches.add_sqlite(tmp_path / "y.sqlite")


@pytest.mark.skipif(importlib.util.find_spec("pymongo") is not None, reason="pymongo is installed")
def test_mongo_needs_pymongo() -> None:
    with pytest.raises(InputError, match="pip install 'crfm-helm"):
        add_mongo(RequestCaches(), "mongodb://127.0.0.1:1/db", "h")
