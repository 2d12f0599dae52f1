"""Requests of no, one, ten million and impossibly many tokens; names that a spreadsheet or a page might run."""

import csv
import io
import itertools
import json
import math
from pathlib import Path

import pytest
from helpers import scored_tables as scored
from typer.testing import CliRunner

from helm_efficiency import codec
from helm_efficiency.catalog.helm_metadata import main_score
from helm_efficiency.cli import app
from helm_efficiency.core.fitting.fit import fit_profile
from helm_efficiency.core.measurement import Measurement, Profile, Stack
from helm_efficiency.errors import EfficiencyError, FileFormatError, printable
from helm_efficiency.store import Store

EVIL = ["=cmd()", "+1", "@SUM(A1)", "<script>alert(1)</script>", 'a"b,c', "line\nbreak"]


def run(*arguments: object) -> str:
    result = CliRunner().invoke(app, [str(argument) for argument in arguments], catch_exceptions=False)
    assert result.exit_code == 0, result.output
    return result.stdout


@pytest.fixture
def store(tmp_path: Path) -> Path:
    measured = [Measurement(p, o, 0.01 + p * 1e-4 + (o - 1) * 0.02) for p in (1, 256, 1024) for o in (1, 16, 64)]
    profile = Profile("me/model", Stack("a100-80gb-x", "a100-80gb"), tuple(measured))
    path = tmp_path / "s.sqlite"
    Store(path).put_all([profile], [fit_profile(profile)])
    return path


def test_predictions_grow_from_no_to_ten_million_tokens(store: Path, tmp_path: Path) -> None:
    counts = (0, 1, 1000, 10_000_000)
    requests = tmp_path / "requests.csv"
    requests.write_text("prompt_tokens,output_tokens\n" + "".join(f"{p},{o}\n" for p in counts for o in counts))
    text = run("predict", "--deployment", "me/model", "--requests", requests, "--store", store, "--format", "json")
    seconds = {(row["prompt_tokens"], row["output_tokens"]): row["idealized_s"] for row in json.loads(text)}
    assert all(math.isfinite(value) and value >= 0 for value in seconds.values())
    for smaller, larger in itertools.pairwise(counts):
        assert all(seconds[smaller, o] <= seconds[larger, o] for o in counts)
        assert all(seconds[p, smaller] <= seconds[p, larger] for p in counts)
    assert [row["in_domain"] for row in json.loads(text) if row["prompt_tokens"] == 10_000_000] == [False] * 4


@pytest.mark.parametrize("tokens", ["9" * 30, "9" * 5000])
def test_impossibly_many_tokens_are_refused(store: Path, tmp_path: Path, tokens: str) -> None:
    requests = tmp_path / "requests.csv"
    requests.write_text(f"prompt_tokens,output_tokens\n1,{tokens}\n")
    with pytest.raises(FileFormatError, match=r"requests.csv, line 2: output_tokens"):
        run("predict", "--deployment", "me/model", "--requests", requests, "--store", store)
    if len(tokens) < 100:
        with pytest.raises(EfficiencyError, match="tokens"):
            run(
                "predict", "--deployment", "me/model", "--prompt-tokens", 1, "--output-tokens", tokens, "--store", store
            )


def test_csv_gives_every_name_back_with_escapes(tmp_path: Path) -> None:
    rows = [scored.request(name, "boolq", index, 1.0) for name in EVIL for index in range(3)]
    folder = scored.write(tmp_path / "scored", rows)
    text = run("leaderboard", folder, "--format", "csv")
    assert {row["deployment"] for row in csv.DictReader(io.StringIO(text, newline=""))} == set(map(printable, EVIL))
    assert run("leaderboard", folder, "--format", "csv") == text


@pytest.mark.parametrize("command", [("plot", "t.svg"), ("plot", "t.png"), ("report", "r.html")])
def test_the_same_tables_give_the_same_file(tmp_path: Path, command: tuple[str, str]) -> None:
    rows = [scored.request(name, "boolq", index, float(index % 2)) for name in EVIL for index in range(3)]
    folder = scored.write(tmp_path / "scored", rows)
    outputs = [tmp_path / number / command[1] for number in ("1", "2")]
    for output in outputs:
        output.parent.mkdir()
        run(command[0], folder, "--output", output)
    assert outputs[0].read_bytes() == outputs[1].read_bytes()
    assert b"<script>alert(1)" not in outputs[0].read_bytes()


def test_no_instances(tmp_path: Path) -> None:
    folder = scored.write(tmp_path / "scored", [])
    result = CliRunner().invoke(app, ["leaderboard", str(folder), "--format", "json"], catch_exceptions=False)
    assert (result.exit_code, json.loads(result.stdout)) == (1, [])
    assert "no scored request" in result.stderr


@pytest.mark.parametrize("changed", [{"resolution_s": 1e300}, {"resolution_s": []}, {"deployment": 7}, {"notes": 1}])
def test_a_profile_of_wrong_values_is_refused(store: Path, changed: dict[str, object]) -> None:
    (profile,) = Store(store).profiles()
    with pytest.raises(EfficiencyError):
        codec.from_plain(codec.to_plain(profile) | changed, Profile)


@pytest.mark.parametrize("seconds", [float("inf"), 10**400, "1", True])
def test_a_measurement_of_wrong_seconds_is_refused(store: Path, seconds: object) -> None:
    (profile,) = Store(store).profiles()
    wrong = {"prompt_tokens": 1, "output_tokens": 1, "seconds": seconds}
    with pytest.raises(EfficiencyError):
        codec.from_plain(codec.to_plain(profile) | {"measurements": [wrong]}, Profile)


def test_metric_names_that_are_no_list_are_passed_over() -> None:
    assert (
        main_score([], [{"names": 1.5}, {"names": ["exact_match"]}], {"f1": 0.5, "exact_match": 1.0}) == "exact_match"
    )
