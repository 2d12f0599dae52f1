"""docs/tables.md names every column of the tables, as the code has them, and says truly which are never empty."""

import re
from collections.abc import Callable
from pathlib import Path

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from helpers import pages
from typer.testing import CliRunner

from helm_efficiency.cli import app
from helm_efficiency.metrics.measures import COSTS as FRONTS
from helm_efficiency.metrics.measures import ESTIMATED, PER_CORRECT
from helm_efficiency.metrics.table import REQUEST_COLUMNS, RUN_COLUMNS, SCHEMA_VERSION

PAGE = pages.ROOT / "docs" / "tables.md"
TEXT = PAGE.read_text(encoding="utf-8")
KINDS = {"text": pa.string(), "count": pa.int64(), "flag": pa.bool_(), "map of text to real": REQUEST_COLUMNS["scores"]}
NO_KNOWN = {"win_rate", "provider_factor", *(name for name in ESTIMATED if name.endswith("_per_correct"))}


def documented(heading: str) -> dict[str, list[str]]:
    """Return the cells of each row of the table below a heading, by each name in the first cell."""
    section = TEXT.partition(f"\n## {heading}")[2].partition("\n## ")[0]
    rows = re.findall(r"^\| ((?:`\w+`(?:, )?)+) \| (.*) \|$", section, re.MULTILINE)
    return {name: rest.split(" | ") for names, rest in rows for name in re.findall(r"\w+", names)}


def expanded(rows: dict[str, list[str]], letter: str, names: tuple[str, ...]) -> dict[str, list[str]]:
    """With a row for each name that a letter stands for."""
    found = {}
    for row, cells in rows.items():
        pattern = re.compile(rf"(?<![A-Za-z]){letter}(?![A-Za-z])|(?<=_){letter}(?=_|$)|^{letter}(?=_)")
        found |= {pattern.sub(name, row): cells for name in (names if pattern.search(row) else ("",))}
    return found


def require_same(page: set[str], code: set[str]) -> None:
    assert not code - page, f"docs/tables.md says nothing of the columns {sorted(code - page)}: add a row for each"
    assert not page - code, f"docs/tables.md has rows for {sorted(page - code)}, which no table has: take them out"


def test_requests() -> None:
    rows = documented("Requests")
    require_same(set(rows), set(REQUEST_COLUMNS))
    for name, (kind, *_) in rows.items():
        assert KINDS.get(kind, pa.float64()) == REQUEST_COLUMNS[name], f"{name} is not a {kind}"


def test_runs() -> None:
    rows = documented("Runs")
    require_same(set(rows), set(RUN_COLUMNS))
    for name, (kind, *_) in rows.items():
        assert KINDS.get(kind, pa.float64()) == RUN_COLUMNS[name], f"{name} is not a {kind}"


@pytest.fixture
def scored(reader: Callable[[Path], Path]) -> Path:
    """What the page's commands wrote."""
    reader(PAGE)
    pages.run_page(PAGE)
    return Path("scored")


def test_written_tables_and_the_leaderboard(scored: Path) -> None:
    for heading, path in (("Requests", scored / "requests"), ("Runs", scored / "runs.parquet")):
        table = pd.read_parquet(path)
        never_empty = [name for name, cells in documented(heading).items() if cells[-1].startswith("never")]
        empty = [name for name in never_empty if table[name].isna().any()]
        assert empty == [], f"docs/tables.md says that these are never empty: {empty}"
    version = pq.read_schema(scored / "runs.parquet").metadata[b"helm_efficiency_schema_version"].decode()
    assert version == str(SCHEMA_VERSION)
    assert f"in every file's metadata: {version}." in TEXT

    header = CliRunner().invoke(app, ["leaderboard", "scored", "--format", "csv"]).stdout.splitlines()[0].split(",")
    rows = set(expanded(documented("Leaderboard"), "M", ESTIMATED))
    rows -= {f"{name}_known" for name in NO_KNOWN}
    rows -= {f"{name}{end}" for name in set(ESTIMATED) - set(FRONTS) for end in ("_front", "_front_probability")}
    require_same(rows, set(header))
    others = " ".join(TEXT.split()).partition("stands for each *C*, each `D_per_correct`")[2].partition("Costs are")[0]
    named = set(re.findall(r"`(\w+)`", others))
    costs = {name for name in FRONTS if name in ESTIMATED}
    assert named | costs | {f"{name}_per_correct" for name in PER_CORRECT} == set(ESTIMATED)
