"""Stray runs: of a model, a scenario or an instance that hardly anybody else has."""

from typing import Any

import pytest
from helpers.scored_tables import request, tables

from helm_efficiency.report.board import Leaderboard
from helm_efficiency.report.leaderboard import build
from helm_efficiency.report.notes import ALL
from helm_efficiency.report.tables import from_arrow


def answers(deployment: str, scenario: str, number: int, **facts: Any) -> list[dict[str, Any]]:
    return [request(deployment, scenario, index, float(index % 2), **facts) for index in range(number)]


def board_of(*rows: list[dict[str, Any]]) -> Leaderboard:
    return build(from_arrow(*tables([row for each in rows for row in each])))


def test_a_stray_model_leaves_the_board_whole() -> None:
    scenarios = [f"s{index}" for index in range(12)]
    board = board_of(
        *(answers(model, name, 20) for model in ("a/m", "b/m") for name in scenarios),
        answers("openai/gpt2", "test", 1),
    )
    part = board.part(ALL).set_index("deployment")
    assert part.loc[["a/m", "b/m"], "score"].tolist() == [0.5, 0.5]
    assert part.loc[["a/m", "b/m"], ["num_instances", "num_scenarios"]].to_numpy().tolist() == [[240, 12]] * 2
    assert part.loc["openai/gpt2", ["score", "score_rank"]].isna().all()
    texts = [note.text for note in board.notes if note.scenario == ALL]
    assert (
        "Compared over all on 12 of 13 scenarios, those that 2 models share; left out: openai/gpt2 (1 of 13)." in texts
    )


def test_a_stray_instance_leaves_the_scenario_whole() -> None:
    board = board_of(answers("a/m", "qa", 30), answers("b/m", "qa", 30), answers("openai/gpt2", "qa", 1))
    part = board.part("qa").set_index("deployment")
    assert part.loc[["a/m", "b/m"], "num_instances"].tolist() == [30, 30]
    assert part.loc["openai/gpt2", "score_rank"] != part.loc["openai/gpt2", "score_rank"]
    texts = [note.text for note in board.notes if note.scenario == "qa"]
    assert "Left out, as they answered few of up to 30 instances: openai/gpt2 (1)." in texts


def test_models_are_compared_on_what_they_share() -> None:
    """Two models lack one scenario each: the eight that all have are compared."""
    lacking = {"a/m": "s0", "b/m": "s1", "c/m": ""}
    board = board_of(
        *(answers(model, f"s{n}", 10) for model, lacks in lacking.items() for n in range(10) if f"s{n}" != lacks)
    )
    part = board.part(ALL)
    assert part["num_instances"].tolist() == [80] * 3
    assert part["score"].tolist() == pytest.approx([0.5] * 3)
    assert any("on 8 of 10 scenarios, those that 3 models share." in note.text for note in board.notes)
