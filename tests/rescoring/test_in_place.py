"""Runs changed in place: no stat is lost, and there is a way back, byte for byte."""

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
from helpers.archives import contents, plan_for
from typer.testing import CliRunner

from helm_efficiency.adapters.sources import find_sources
from helm_efficiency.cli import app
from helm_efficiency.helm_stats.stats import is_own_stat
from helm_efficiency.rescoring.originals import FOLDER, undo
from helm_efficiency.rescoring.plan import StatsTarget
from helm_efficiency.rescoring.rescore import rescore


def rescore_in_place(archive: Path, output: Path, **options: object) -> None:
    plan = plan_for(output, target=StatsTarget.in_place, **options)
    outcomes = rescore(plan, find_sources([str(archive)], besides=output))
    assert {outcome.status for outcome in outcomes} == {"scored"}


def stats_of(folder: Path) -> list[dict[str, Any]]:
    stats: list[dict[str, Any]] = json.loads((folder / "stats.json").read_bytes())
    return stats


def names_in(stats: list[dict[str, Any]]) -> list[str]:
    return [json.dumps(stat["name"], sort_keys=True) for stat in stats]


@pytest.mark.parametrize("target", [StatsTarget.copy, StatsTarget.in_place])
def test_no_stat_is_lost_without_per_instance_stats(runs: Path, tmp_path: Path, target: StatsTarget) -> None:
    suite = runs / "runs" / "v1"
    before = {folder.name: stats_of(folder) for folder in suite.iterdir()}
    for folder in suite.iterdir():
        (folder / "per_instance_stats.json").unlink()
    rescore(plan_for(tmp_path / "out", target=target), find_sources([str(runs)], besides=tmp_path / "out"))
    written = suite if target is StatsTarget.in_place else tmp_path / "out" / "runs" / "v1"
    for name, theirs in before.items():
        ours = stats_of(written / name)
        assert set(names_in(theirs)) <= set(names_in(ours))
        prompts = [stat for stat in theirs if stat["name"]["name"] == "num_prompt_tokens"]
        assert prompts
        assert [stat for stat in ours if stat["name"]["name"] == "num_prompt_tokens"] == prompts


def test_undo_restores_every_byte(runs: Path, tmp_path: Path) -> None:
    before = contents(runs)
    rescore_in_place(runs, tmp_path / "out")
    rescore_in_place(runs, tmp_path / "out", force=True)
    rescore_in_place(runs, tmp_path / "other", stacks=["v100"])
    assert contents(runs) != before
    restored, changed = undo(runs)
    assert restored == sorted((runs / "runs" / "v1").iterdir())
    assert not changed
    assert contents(runs) == before
    assert undo(runs) == ([], [])


def test_another_stack_leaves_nothing_of_the_first(runs: Path, tmp_path: Path) -> None:
    again = shutil.copytree(runs, tmp_path / "again")
    rescore_in_place(runs, tmp_path / "out")
    rescore_in_place(runs, tmp_path / "out", stacks=["v100"])
    rescore_in_place(again, tmp_path / "alone", stacks=["v100"])
    assert contents(runs) == contents(again)


def test_a_new_run_of_helm_is_the_new_original(runs: Path, tmp_path: Path) -> None:
    rescore_in_place(runs, tmp_path / "out")
    [folder, *_] = sorted((runs / "runs" / "v1").iterdir())
    stats = [stat for stat in stats_of(folder) if not is_own_stat(stat["name"]["name"])]
    (folder / "stats.json").write_text(json.dumps(stats))
    restored, [line] = undo(runs)
    assert len(restored) == 2
    assert line == f"{folder}/stats.json has changed since it was rescored in place; remove {FOLDER} to keep it so."
    rescore_in_place(runs, tmp_path / "out")
    assert stats_of(folder) != stats
    undo(runs)
    assert stats_of(folder) == stats


def test_undo_from_the_command_line(runs: Path, tmp_path: Path) -> None:
    before = contents(runs)
    rescore_in_place(runs, tmp_path / "out")
    result = CliRunner().invoke(app, ["rescore", "--undo", str(runs)])
    assert (result.exit_code, result.stderr) == (0, "3 runs are as they were before --in-place.\n")
    assert contents(runs) == before
    assert CliRunner().invoke(app, ["rescore", "--undo", str(runs)]).exit_code == 1
