"""Intervals of the runs table: the same number has the same interval as on the leaderboard, and holds every error."""

import json
import math
from dataclasses import replace
from pathlib import Path

import pandas as pd
import pyarrow as pa
import pytest
from helpers.archives import A100, coefficients_of, plan_for
from helpers.odd_places import copy_to_change

from helm_efficiency.adapters.record import RequestRecord
from helm_efficiency.adapters.sources import find_sources
from helm_efficiency.core.cost_per_correct import cost_per_correct
from helm_efficiency.core.fitting.fit import Fit
from helm_efficiency.metrics.efficiency import Coefficients, ScoredRequests, score_requests
from helm_efficiency.metrics.rows import request_tables, run_rows, run_table
from helm_efficiency.report.leaderboard import build
from helm_efficiency.report.tables import from_arrow
from helm_efficiency.rescoring.rescore import rescore

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


def scored(records: list[RequestRecord], *, relative_error: float) -> list[ScoredRequests]:
    numbers = replace(coefficients_of(), relative_error=relative_error)
    coefficients = Coefficients.from_fits([Fit("me/model", A100, numbers)])
    return score_requests(records, coefficients, stacks=["a100"])


def both_tables(records: list[RequestRecord], *, relative_error: float) -> tuple[pd.Series, pd.Series]:
    """The row of the runs table and the row of the leaderboard."""
    its = scored(records, relative_error=relative_error)
    runs = run_table(run_rows(records, its, score_name="exact_match"))
    tables = from_arrow(pa.concat_tables(request_tables(records, its)), runs)
    return runs.to_pandas().iloc[0], build(tables).part().iloc[0]


@pytest.mark.parametrize("num_right", [0, 1, 10, 20])
@pytest.mark.parametrize("relative_error", [0.0, LESS_SURE])
@pytest.mark.parametrize("trials", [1, 3])
def test_cost_of_a_correct_answer_has_one_interval(num_right: int, relative_error: float, trials: int) -> None:
    run, row = both_tables(answered(num_right, 20, trials=trials), relative_error=relative_error)
    for end in ("", "_low", "_high"):
        assert run[f"idealized_s_per_correct{end}"] == pytest.approx(row[f"idealized_s_per_correct{end}"]), end
    assert math.isfinite(row["idealized_s_per_correct_low"])
    assert math.isfinite(row["idealized_s_per_correct_high"]) is (num_right > 0)


def test_interval_is_the_score_interval_where_prediction_is_sure() -> None:
    records = answered(1, 20)
    (its,) = scored(records, relative_error=0.0)
    expected = cost_per_correct(its.idealized.seconds, [record.scores["exact_match"] for record in records])
    _, row = both_tables(records, relative_error=0.0)
    found = [row[f"idealized_s_per_correct{end}"] for end in ("", "_low", "_high")]
    assert found == pytest.approx([*expected[:3]])


def test_mean_interval_holds_the_error_of_prediction() -> None:
    records = answered(10, 20)
    sure, _ = both_tables(records, relative_error=0.0)
    run, row = both_tables(records, relative_error=LESS_SURE)
    (its,) = scored(records, relative_error=LESS_SURE)
    assert run["mean_low_idealized_s"] < its.idealized.low_s.mean() < sure["mean_low_idealized_s"]
    assert run["mean_high_idealized_s"] > its.idealized.high_s.mean() > sure["mean_high_idealized_s"]
    assert run["mean_low_observed_s"] == run["mean_high_observed_s"] == 1.0
    ends = [run[f"mean_{end}_accelerator_s"] / run["mean_accelerator_s"] for end in ("low", "high")]
    assert ends == pytest.approx([run[f"mean_{end}_idealized_s"] / run["mean_idealized_s"] for end in ("low", "high")])
    assert row["idealized_s_low"] == pytest.approx(run["mean_low_idealized_s"], rel=0.1)


def test_infinite_cost_is_infinite_in_the_file(data_dir: Path, tmp_path: Path) -> None:
    runs = copy_to_change(data_dir / "helm_runs" / "mmlu_llama3" / "runs", tmp_path / "runs")
    for file in runs.rglob("per_instance_stats.json"):
        entries = json.loads(file.read_bytes())
        for stat in (stat for entry in entries for stat in entry["stats"] if "exact_match" in stat["name"]["name"]):
            stat |= dict.fromkeys(("sum", "mean", "max", "min", "sum_squared"), 0.0)
        file.write_text(json.dumps(entries))
    rescore(plan_for(tmp_path / "out"), find_sources([str(runs)], besides=tmp_path / "out"))
    written = pd.read_parquet(tmp_path / "out" / "runs.parquet").dropna(subset=["stack"])
    assert len(written) and (written["mean_score"] == 0).all()
    assert (written["idealized_s_per_correct"] == math.inf).all()
    assert (written["idealized_s_per_correct_high"] == math.inf).all()
    assert written["idealized_s_per_correct_low"].between(0, 1e3).all()
