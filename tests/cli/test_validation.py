"""`validate` on a small store, whole output."""

import csv
import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from helm_efficiency.cli import app
from helm_efficiency.core.measurement import Measurement, Profile, Stack
from helm_efficiency.errors import InputError
from helm_efficiency.store import Store

COLUMNS = [
    "deployment", "stack", "protocol", "rule", "num_requests", "one_token_error_fraction", "end_to_end_error_fraction",
    "coverage_fraction", "half_width_fraction",
]  # fmt: skip


@pytest.fixture
def store(tmp_path: Path) -> Path:
    path = tmp_path / "s.sqlite"
    line = [Measurement(p, o, 1e-3 * p + 0.02 * (o - 1)) for p in (64, 128, 256, 512) for o in (1, 16)]
    no_first = [Measurement(p, o, 1e-3 * p + 0.02 * (o - 1)) for p in (64, 128, 256) for o in (2, 16)]
    opened = Store(path)
    opened.put_profile(Profile("a/b", Stack("x", "cpu"), tuple(line)))
    opened.put_profile(Profile("c/d", Stack("y", "cpu"), tuple(no_first)))
    return path


def run(*arguments: str) -> str:
    result = CliRunner().invoke(app, ["validate", *arguments], catch_exceptions=False)
    assert result.exit_code == 0
    return result.stdout


def test_rows_of_each_rule_and_protocol(store: Path) -> None:
    rows = json.loads(run("--store", str(store), "--format", "json"))
    assert [list(row) for row in rows] == [COLUMNS] * len(rows)
    assert {(row["deployment"], row["stack"], row["protocol"], row["rule"]) for row in rows} == {
        (deployment, stack, protocol, rule)
        for rule in ("auto", "helm")
        for stack, own in (("x", "a/b"), ("y", "c/d"))
        for protocol in ("leave-one-knot-out", "extrapolation")
        for deployment in (own, "mean")
        if not (rule == "helm" and stack == "y")  # HELM's rule reads prefill off one output token
    }


def test_straight_prefill_is_read_exactly_off_straight_lines(store: Path) -> None:
    text = run("--store", str(store), "--deployment", "a/b", "--rule", "linear", "--protocol", "leave-one-knot-out",
               "--format", "csv")  # fmt: skip
    (row,) = csv.DictReader(text.splitlines())
    assert row["num_requests"] == "4"
    assert float(row["one_token_error_fraction"]) < 1e-3
    assert float(row["coverage_fraction"]) == 1.0


def test_what_was_not_measured_is_null(store: Path) -> None:
    rows = json.loads(run("--store", str(store), "--stack", "y", "--rule", "auto", "--format", "json"))
    assert [row["one_token_error_fraction"] for row in rows] == [None] * 4


def test_unknown_deployment_and_too_few_knots(store: Path) -> None:
    with pytest.raises(InputError, match=r"no measurements of e/f\. It has those of: a/b, c/d"):
        run("--store", str(store), "--deployment", "e/f")
    with pytest.raises(InputError, match="three prompt lengths"):
        run("--store", str(store), "--stack", "y", "--protocol", "few-knots")
