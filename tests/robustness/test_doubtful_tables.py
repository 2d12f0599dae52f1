"""Scored tables that lack a part, are of another version or hold what cannot be; and stores that are written once."""

from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
from helpers import scored_tables as scored
from helpers.archives import plan_for
from helpers.odd_places import copy_to_change
from helpers.run_commands import call, refused

from helm_efficiency.adapters.sources import find_sources
from helm_efficiency.rescoring.plan import StatsTarget
from helm_efficiency.rescoring.rescore import rescore
from helm_efficiency.store import Store


@pytest.fixture
def runs(data_dir: Path, tmp_path: Path) -> Path:
    """Three small real runs."""
    return copy_to_change(data_dir / "helm_runs" / "small" / "runs" / "v1", tmp_path / "archive" / "v1")


def test_a_deleted_part_is_missed(runs: Path, tmp_path: Path) -> None:
    output = tmp_path / "out"
    rescore(plan_for(output, target=StatsTarget.none), find_sources([str(runs)], besides=output))
    assert call("leaderboard", output).code == 0
    min((output / "requests").iterdir()).unlink()
    line = refused("leaderboard", output, naming=output)
    assert "lacks requests of 1 of 3 runs that runs.parquet lists" in line


@pytest.mark.parametrize("version", ["4", "99", "x", "9" * 5000])
def test_no_command_reads_a_newer_table(tmp_path: Path, version: str) -> None:
    folder = scored.write(tmp_path / "scored", [scored.request("a/b", "boolq", n, 1.0) for n in range(3)])
    part = folder / "requests" / "part-0.parquet"
    table = pq.read_table(part)
    pq.write_table(table.replace_schema_metadata({"helm_efficiency_schema_version": version}), part)
    store = tmp_path / "s.sqlite"
    Store(store)
    for command in (["leaderboard", folder], ["savings", folder, "--store", store]):
        assert f"table format {version[:40]} is newer" in refused(*command, naming=part)


@pytest.mark.parametrize("facts", [{"idealized_s": -1.0}, {"idealized_s": 1e308}, {"observed_s": float("inf")}])
def test_amounts_that_cannot_be_are_refused(tmp_path: Path, facts: dict[str, Any]) -> None:
    rows = [scored.request("a/b", "boolq", n, 1.0) for n in range(3)] + [
        scored.request("c/d", "boolq", 0, 1.0, **facts)
    ]
    folder = scored.write(tmp_path / "scored", rows)
    line = refused("leaderboard", folder, naming=folder / "requests" / "part-0.parquet")
    assert f"{next(iter(facts))} is between " in line and "expected 0 or more" in line


def test_rescoring_into_what_is_rescored_is_refused(runs: Path) -> None:
    for output in (runs, runs.parent):
        assert "Name a folder beside it" in refused("rescore", runs, "--output", output, naming=runs)


def num_transactions(store: Path) -> int:
    """How often a store was written: SQLite counts it in the file's header."""
    return int.from_bytes(store.read_bytes()[24:28], "big")


def test_a_transfer_is_one_transaction(tmp_path: Path) -> None:
    store = tmp_path / "s.sqlite"
    Store(store)
    before = num_transactions(store)
    code, _, stderr = call("transfer", "llama-3-8b", "llama-2-7b", "--accelerator", "h100-sxm", "--store", store)
    assert code == 0, stderr
    assert len(Store(store).fits()) == 2 and num_transactions(store) == before + 1
