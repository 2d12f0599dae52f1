"""A hostile or damaged run of an archive fails by itself: the others are scored, and nothing broken is written."""

import json
import os
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from helpers.archives import plan_for
from helpers.mutations import damaged
from helpers.odd_places import copy_to_change

from helm_efficiency.adapters import sources
from helm_efficiency.adapters.sources import find_sources
from helm_efficiency.errors import FileFormatError
from helm_efficiency.helm_stats.rewrite import rewrite_stats
from helm_efficiency.rescoring import originals, suite_files
from helm_efficiency.rescoring import run as run_module
from helm_efficiency.rescoring.plan import StatsTarget
from helm_efficiency.rescoring.rescore import rescore

NESTED = b"[" * 4000 + b"]" * 4000
OURS = b'{"name": {"name": "inference_runtime"}, "x": '


@pytest.fixture
def suite(data_dir: Path, tmp_path: Path) -> Path:
    """A suite of three small real runs."""
    return copy_to_change(data_dir / "helm_runs" / "small" / "runs" / "v1", tmp_path / "archive" / "v1")


def one_fails(suite: Path, output: Path, **options: Any) -> str:
    """Rescore three runs of which the first fails. Return why, after checking that the others are whole."""
    outcomes = rescore(plan_for(output, **options), find_sources([str(suite)], besides=output))
    assert [outcome.status for outcome in outcomes] == ["failed", "scored", "scored"], outcomes
    assert (output / "runs.parquet").is_file()
    assert len(list((output / ".receipts").iterdir())) == len(list((output / "requests").iterdir())) == 2
    return outcomes[0].error


HOSTILE_STATS = {
    "nested below one of our stats": b"[" + OURS + NESTED + b"}]",
    "nested below another stat": b'[{"name": {"name": "exact_match"}, "x": ' + NESTED + b"}]",
    "nested beside the stats": b"[" + NESTED + b"]",
    "cut short": b'[{"name": {"name": "exact_match"}, "sum": 1',
    "cut within, and closed": b'[{"name": {"name": "exact_match"}, "su]',
    "zero bytes": b'[{"name": {"name": "exact_match"}}\x00\x00]',
    "not UTF-8": b'[{"name": {"name": "exact_match"}, "x": "\xff"}]',
    "a list of numbers": b"[1, 2]",
}


@pytest.mark.parametrize("target", [StatsTarget.copy, StatsTarget.in_place])
@pytest.mark.parametrize("data", HOSTILE_STATS.values(), ids=HOSTILE_STATS)
def test_hostile_stats_fail_one_run(suite: Path, tmp_path: Path, data: bytes, target: StatsTarget) -> None:
    stats = min(suite.iterdir()) / "stats.json"
    stats.write_bytes(data)
    error = one_fails(suite, tmp_path / "out", target=target)
    assert error.startswith(f"{stats}: ") and "report" not in error
    assert stats.read_bytes() == data
    assert not (stats.parent / originals.FOLDER).exists(), "nothing was replaced"


@pytest.mark.parametrize("name", ["stats.json", "per_instance_stats.json"])
def test_text_that_is_not_utf8_is_not_passed_on(suite: Path, tmp_path: Path, name: str) -> None:
    file = min(suite.iterdir()) / name
    entries = json.loads(file.read_bytes())
    file.write_bytes(json.dumps([entry | {"more": "@"} for entry in entries]).encode().replace(b"@", b"\xff"))
    assert f"{file}: 'utf-8' codec can't decode" in one_fails(suite, tmp_path / "out")


def test_damaged_stats_are_json_again_or_refused(suite: Path) -> None:
    sound = (min(suite.iterdir()) / "stats.json").read_bytes()
    refused = 0
    for seed in range(300):
        data = damaged(sound, random.Random(seed))
        try:
            written = rewrite_stats(data, [], file="stats.json")
        except FileFormatError:
            refused += 1
        else:
            assert isinstance(json.loads(written.decode().replace("9" * 4500, "9")), list), seed
    assert 100 < refused < 300


def put_pipe(path: Path) -> None:
    os.mkfifo(path)


def put_link_to_nothing(path: Path) -> None:
    path.symlink_to("nowhere")


@pytest.mark.parametrize("name", ["stats.json", "per_instance_stats.json"])
@pytest.mark.parametrize("put", [put_pipe, put_link_to_nothing, Path.mkdir])
def test_stats_that_are_no_file_fail_one_run(
    suite: Path, tmp_path: Path, name: str, put: Callable[[Path], None]
) -> None:
    place = min(suite.iterdir()) / name
    place.unlink()
    put(place)
    assert one_fails(suite, tmp_path / "out").startswith(f"{place}: ")


def test_a_run_without_stats_is_scored(suite: Path, tmp_path: Path) -> None:
    (min(suite.iterdir()) / "stats.json").unlink()
    outcomes = rescore(plan_for(tmp_path / "out"), find_sources([str(suite)], besides=tmp_path / "out"))
    assert [outcome.status for outcome in outcomes] == ["scored"] * 3


@pytest.mark.parametrize(
    ("module", "step"),
    [(run_module, "read_source"), (suite_files, "stat_columns"), (suite_files, "rewrite_per_instance_stats")],
)
def test_an_error_that_nobody_foresaw_fails_one_run(
    suite: Path, tmp_path: Path, module: Any, step: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whichever step it is raised in: reading, scoring or writing."""
    fail_at(module, step, min(suite.iterdir()), monkeypatch)
    error = one_fails(suite, tmp_path / "out")
    assert error.startswith(str(min(suite.iterdir()))) and "KeyError" in error and "Please report it" in error


def fail_at(module: Any, step: str, run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let a step of the work fail as by a defect, for one run; its records have the name without its first word."""
    real = getattr(module, step)
    name = run.name.partition("-")[2]

    def work(*args: Any, **kwargs: Any) -> Any:
        if name in repr((args, kwargs)):
            raise KeyError("nobody\x1b[2J foresaw\nthis")
        return real(*args, **kwargs)

    monkeypatch.setattr(module, step, work)


def test_readers_of_many_runs_go_on_too(suite: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first = min(suite.iterdir())
    fail_at(sources, "read_run", first, monkeypatch)
    problems: list[Exception] = []
    assert len(list(sources.read_runs([suite], on_error=problems.append))) == 2
    assert [str(problem).startswith(str(first)) for problem in problems] == [True]
