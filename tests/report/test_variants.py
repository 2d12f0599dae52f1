"""Runs of one scenario with other settings are no repetitions of it; a figure of nothing is refused."""

from pathlib import Path

import pytest
from helm.benchmark.presentation.summarize import compute_aggregate_row_win_rates
from helm.benchmark.presentation.table import Cell, HeaderCell, Table
from helpers.archives import A100, coefficients_of
from helpers.scored_tables import request, tables, write
from helpers.written_runs import write_answers
from typer.testing import CliRunner

from helm_efficiency.adapters.sources import find_sources
from helm_efficiency.cli import app
from helm_efficiency.core.fitting.fit import Fit
from helm_efficiency.metrics.efficiency import Coefficients
from helm_efficiency.report.leaderboard import build
from helm_efficiency.report.tables import from_arrow, load
from helm_efficiency.rescoring.plan import make_plan
from helm_efficiency.rescoring.rescore import rescore

MODEL, OTHER = "openai/gpt-4o-2024-11-20", "openai/gpt-4o-mini-2024-07-18"


def rescored(folder: Path) -> Path:
    output = folder / "out"
    fits = [Fit(model, A100, coefficients_of()) for model in (MODEL, OTHER)]
    plan = make_plan(Coefficients.from_fits(fits), stacks=["a100"], output=output)
    rescore(plan, find_sources([str(folder / "runs")], besides=output))
    return output


def test_other_limits_are_another_scenario(tmp_path: Path) -> None:
    for suite, limit, scores in (("v1", 401, (0, 0)), ("v2", 1001, (1, 1))):
        for model in (MODEL, OTHER):
            write_answers(
                tmp_path / "runs" / suite / f"gsm-{model.rpartition('/')[2]}",
                model,
                ["B"] * 10,
                seconds=0.5,
                scenario="gsm",
                score=("exact_match", scores),
                adapter={"max_tokens": limit},
            )
    board = build(load(rescored(tmp_path)))
    assert board.scenarios == ["gsm [max_tokens=1001]", "gsm [max_tokens=401]"]
    assert set(board.part("gsm [max_tokens=401]")["score"]) == {0.0}
    assert set(board.part("gsm [max_tokens=1001]")["score"]) == {1.0}
    assert "gsm was asked in several ways (max_tokens), each of which is a scenario of its own." in [
        note.text for note in board.notes
    ]


def test_prompts_adapted_to_models_are_one_scenario(tmp_path: Path) -> None:
    for model, limit in ((MODEL, 400), (OTHER, 500)):
        folder = tmp_path / "runs" / "v1" / f"gsm-{limit}"
        write_answers(folder, model, ["B"] * 10, seconds=0.5, scenario="gsm", adapter={"max_tokens": limit})
    board = build(load(rescored(tmp_path)))
    assert board.scenarios == ["gsm"]
    assert len(board.part("gsm")) == 2


def test_repetitions_are_averaged_as_before(tmp_path: Path) -> None:
    for suite in ("v1", "v2"):
        write_answers(tmp_path / "runs" / suite / "gsm", MODEL, ["B"] * 10, seconds=0.5, scenario="gsm")
    board = build(load(rescored(tmp_path)))
    assert board.scenarios == ["gsm"]
    assert any("ran gsm 2 times" in note.text for note in board.notes)


def test_a_figure_of_nothing_is_refused(tmp_path: Path) -> None:
    rows = [request("a/m", "s", number, 1.0, idealized_s=None, observed_s=None, stack=None) for number in range(3)]
    folder = write(tmp_path / "scored", rows)
    result = CliRunner().invoke(app, ["plot", str(folder), "--output", str(tmp_path / "plot.png")])
    assert result.exit_code != 0
    assert "Nothing to draw" in " ".join(str(result.exception or result.stderr).split())
    assert not (tmp_path / "plot.png").exists()


def test_ties_count_half_as_in_helm_summarize() -> None:
    scores = {"a/m": [1.0, 0.0], "b/m": [0.0, 1.0], "c/m": [0.0, 0.0], "d/m": [1.0, 1.0]}
    rows = [request(model, "s", index, score) for model, its in scores.items() for index, score in enumerate(its)]
    ours = build(from_arrow(*tables(rows))).part("s").set_index("deployment")["win_rate"]
    header = [HeaderCell("exact_match", lower_is_better=False)]
    table = Table("s", header, [[Cell(sum(its) / 2)] for its in scores.values()])
    assert [ours[model] for model in scores] == pytest.approx(compute_aggregate_row_win_rates(table))
