"""Intervals of the leaderboard: those of the documentation, and they hold the error of the prediction."""

import math
from dataclasses import replace

import msgspec
import pandas as pd
import pyarrow as pa
import pytest
from helpers.archives import A100, coefficients_of

from helm_efficiency.adapters.record import RequestRecord
from helm_efficiency.core.cost_per_correct import cost_per_correct
from helm_efficiency.core.fitting.fit import Fit
from helm_efficiency.metrics.efficiency import Coefficients, ScoredRequests, score_requests
from helm_efficiency.metrics.rows import request_tables, run_rows, run_table
from helm_efficiency.report.leaderboard import build
from helm_efficiency.report.tables import from_arrow

LESS_SURE = 0.4
NAMES = {"harness": "mine", "suite": "s", "run": "r", "scenario": "quiz", "model": "me/model", "deployment": "me/model"}


def answered(num_right: int, of: int, *, trials: int = 1) -> list[RequestRecord]:
    return [
        RequestRecord(
            **NAMES,
            instance_id=str(index),
            train_trial=trial,
            prompt_tokens=500 + 10 * index,
            output_tokens=5 + index % 3,
            observed_s=1.0,
            scores={"exact_match": float(index < num_right)},
        )
        for trial in range(trials)
        for index in range(of)
    ]


def scored(records: list[RequestRecord], *, relative_error: float) -> ScoredRequests:
    numbers = replace(coefficients_of(), relative_error=relative_error)
    coefficients = Coefficients.from_fits([Fit("me/model", A100, numbers)])
    (its,) = score_requests(records, coefficients, stacks=["a100"])
    return its


def ranked(records: list[RequestRecord], *, relative_error: float) -> pd.Series:
    """The row of the leaderboard."""
    its = [scored(records, relative_error=relative_error)]
    runs = run_table(run_rows(records, its, score_name="exact_match"))
    return build(from_arrow(pa.concat_tables(request_tables(records, its)), runs)).part().iloc[0]


@pytest.mark.parametrize("num_right", [0, 1, 10, 20])
@pytest.mark.parametrize("trials", [1, 3])
def test_cost_of_a_correct_answer_has_the_score_interval(num_right: int, trials: int) -> None:
    records = answered(num_right, 20, trials=trials)
    its = scored(records[:20], relative_error=0.0)
    expected = cost_per_correct(its.idealized.seconds, [r.scores["exact_match"] for r in records[:20]])
    row = ranked(records, relative_error=0.0)
    found = [row[f"idealized_s_per_correct{end}"] for end in ("", "_low", "_high")]
    assert found == pytest.approx([*expected[:3]])
    assert math.isfinite(found[1]) and math.isfinite(found[2]) is (num_right > 0)


def test_instances_without_a_cost_are_left_out() -> None:
    """The first five answers are right and of unknown length: of the other fifteen, five are right."""
    records = [msgspec.structs.replace(r, output_tokens=None) if i < 5 else r for i, r in enumerate(answered(10, 20))]
    its = scored(records, relative_error=0.0)
    expected = cost_per_correct(its.idealized.seconds, [r.scores["exact_match"] for r in records])
    row = ranked(records, relative_error=0.0)
    assert expected.num_instances == 15
    assert [row[f"idealized_s_per_correct{end}"] for end in ("", "_low", "_high")] == pytest.approx([*expected[:3]])


def test_intervals_hold_the_error_of_prediction() -> None:
    records = answered(10, 20)
    sure, unsure = (ranked(records, relative_error=error) for error in (0.0, LESS_SURE))
    its = scored(records, relative_error=LESS_SURE)
    assert unsure["idealized_s_low"] < 1.1 * its.idealized.low_s.mean() < sure["idealized_s_low"]
    assert unsure["idealized_s_high"] > 0.9 * its.idealized.high_s.mean() > sure["idealized_s_high"]
    assert unsure["idealized_s_per_correct_high"] > sure["idealized_s_per_correct_high"]
    assert sure["observed_s_low"] == unsure["observed_s_low"] == unsure["observed_s_high"] == 1.0
