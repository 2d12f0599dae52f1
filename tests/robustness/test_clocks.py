"""Clocks that jump: nothing is decided by which of two times is later, and no duration is a difference of dates."""

import ast
import json
import os
import time
from datetime import UTC, datetime
from pathlib import Path

import pytest
from helpers.odd_places import copy_to_change
from helpers.run_commands import call

import helm_efficiency
from helm_efficiency.core.measurement import Measurement, Profile, Stack
from helm_efficiency.store import Store

YEAR_S = 365 * 24 * 3600
PACKAGE = Path(helm_efficiency.__file__).parent


def calls_of(name: str) -> set[str]:
    """Modules that call a function of this name."""
    found = set()
    for file in PACKAGE.rglob("*.py"):
        text = file.read_text(encoding="utf-8")
        for node in ast.walk(ast.parse(text)) if name in text else ():
            if isinstance(node, ast.Call) and ast.unparse(node.func).split(".")[-2:] == name.split("."):
                found.add(str(file.relative_to(PACKAGE)))
    return found


def test_wall_clocks_only_say_when_something_was_made() -> None:
    """Durations come from clocks that cannot be set; dates are written and never compared."""
    assert calls_of("time.time") == {"cli/records.py"}, "retrieved_timestamp of Every Eval Ever"
    dated = calls_of("datetime.now") | calls_of("time.strftime") | calls_of("date.today")
    for module in dated:
        text = (PACKAGE / module).read_text(encoding="utf-8")
        assert "now() -" not in text and "today() -" not in text and "- datetime.now" not in text, module
    for module in (
        "profiling/local_timing.py",
        "profiling/session.py",
        "profiling/endpoint/client.py",
        "profiling/engines.py",
    ):
        assert "perf_counter" in (PACKAGE / module).read_text(encoding="utf-8")
    assert {str(path.relative_to(PACKAGE)) for path in PACKAGE.rglob("*.py") if "st_mtime" in path.read_text()} == {
        "adapters/sources.py"
    }, "compared for being the same, in one place"


@pytest.fixture
def archive(data_dir: Path, tmp_path: Path) -> Path:
    runs = tmp_path / "archive" / "v1"
    copy_to_change(data_dir / "helm_runs" / "small" / "runs", runs)
    return runs


@pytest.mark.parametrize("target", [(), ("--in-place",)])
def test_files_of_the_future_and_of_the_past(archive: Path, tmp_path: Path, target: tuple[str, ...]) -> None:
    """A change is seen whichever way the time of a file went; what did not change is not scored again."""
    store, output = tmp_path / "s.sqlite", tmp_path / "out"
    measured = tuple(Measurement(p, o, 0.01 + p * 1e-4 + o * 0.02) for p in (1, 64, 1024) for o in (1, 16))
    Store(store).put_profile(Profile("openai/gpt2", Stack("a100-80gb-x", "a100-80gb"), measured))
    assert call("fit", "--store", store).code == 0

    def counts() -> tuple[int, int, int]:
        done = call("rescore", archive, "--store", store, "--output", output, "--format", "json", *target)
        summary = json.loads(done.stdout)
        return summary["num_scored"], summary["num_unchanged"], summary["num_failed"]

    states = sorted(archive.rglob("scenario_state.json"))
    assert counts() == (3, 0, 0)
    tables = {path: path.read_bytes() for path in output.rglob("*.parquet")}
    assert counts() == (0, 3, 0)
    for moment in (time.time() + YEAR_S, time.time() - YEAR_S, 0.0, time.time() + 100 * YEAR_S):
        os.utime(states[0], (moment, moment))
        assert counts() == (1, 2, 0), datetime.fromtimestamp(moment, UTC)
        assert counts() == (0, 3, 0)
    receipts = sorted((output / ".receipts").iterdir())
    for moment in (0.0, time.time() + YEAR_S):
        for receipt in receipts:
            os.utime(receipt, (moment, moment))
        os.utime(output / "runs.parquet", (moment, moment))
        assert counts() == (0, 3, 0)
    part = min((output / "requests").iterdir())
    os.utime(part, (0.0, 0.0))
    assert counts() == (1, 2, 0)
    assert {path: path.read_bytes() for path in output.rglob("*.parquet")} == tables


def test_a_store_written_while_the_clock_was_wrong(tmp_path: Path) -> None:
    """What was put last counts, whatever date stands beside it."""
    import contextlib
    import sqlite3

    store = tmp_path / "s.sqlite"
    stack = Stack("a100-80gb-x", "a100-80gb")
    profiles = [
        Profile("me/model", stack, tuple(Measurement(p, o, s * (p + o)) for p in (1, 9) for o in (1, 9)))
        for s in (1, 2)
    ]
    Store(store).put_profile(profiles[0])
    with contextlib.closing(sqlite3.connect(store)) as connection:
        connection.execute("UPDATE profiles SET value = json_set(value, '$.stored_at', '2999-01-01T00:00:00+00:00')")
        connection.commit()
    Store(store).put_profile(profiles[1])
    assert Store(store).profiles() == [profiles[1]]
    assert call("fit", "--store", store).code == 0
    with contextlib.closing(sqlite3.connect(store)) as connection:
        connection.execute("UPDATE fits SET value = json_set(value, '$.stored_at', '1970-01-01T00:00:00+00:00')")
        connection.commit()
    (row,) = json.loads(call("show", "--store", store, "--format", "json").stdout)
    assert row["stale"] is False
