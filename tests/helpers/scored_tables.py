"""Scored tables with a known truth, written as rescore writes them."""

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from helm_efficiency.metrics.table import REQUEST_COLUMNS, RUN_COLUMNS, request_schema, run_schema
from helm_efficiency.report.board import Leaderboard
from helm_efficiency.report.leaderboard import build
from helm_efficiency.report.tables import from_arrow


def request(deployment: str, scenario: str, instance: int, score: float | None, **facts: Any) -> dict[str, Any]:
    """One row of the requests table: idealized 1 s on one A100 unless `facts` say otherwise."""
    idealized = facts.get("idealized_s", 1.0)
    row: dict[str, Any] = {
        "harness": "helm",
        "suite": "v1",
        "run": f"{scenario}:model={deployment}",
        "scenario": scenario,
        "model": deployment,
        "deployment": deployment,
        "instance_id": f"id{instance}",
        "train_trial": 0,
        "perturbation": "",
        "split": "test",
        "request_mode": "",
        "prompt_tokens": 100,
        "output_tokens": 10,
        "prompt_provenance": "usage",
        "output_provenance": "usage",
        "num_completions": 1,
        "cached": False,
        "success": True,
        "observed_s": 2.0,
        "scores": [] if score is None else [("exact_match", score)],
        "stack": "a100",
        "stack_detail": "a100-80gb×1 megatron fp16",
        "tier": "measured",
        "matched_by": "name",
        "idealized_s": idealized,
        "in_domain": True,
    }
    if idealized is not None:
        row |= {"num_accelerators": 1, "accelerator_s": idealized, "idealized_usd": idealized * 4.096 / 3600}
    return row | facts


def tables(rows: Iterable[Mapping[str, Any]]) -> tuple[pa.Table, pa.Table]:
    """Requests and runs tables of these rows."""
    rows = list(rows)
    empty = dict.fromkeys(REQUEST_COLUMNS)
    requests = pa.Table.from_pylist([empty | dict(row) for row in rows], request_schema())
    runs = {}
    for row in rows:
        shared = {
            name: row.get(name) for name in RUN_COLUMNS if name in REQUEST_COLUMNS and not name.endswith("tokens")
        }
        runs[row["suite"], row["run"], row.get("stack")] = (
            dict.fromkeys(RUN_COLUMNS) | shared | {"score_name": "exact_match"}
        )
    return requests, pa.Table.from_pylist(list(runs.values()), run_schema())


def write(folder: Path, rows: Iterable[Mapping[str, Any]]) -> Path:
    """Write the rows as a folder of scored tables."""
    requests, runs = tables(rows)
    (folder / "requests").mkdir(parents=True)
    pq.write_table(requests, folder / "requests" / "part-0.parquet")
    pq.write_table(runs, folder / "runs.parquet")
    return folder


def small_board() -> Leaderboard:
    """Four models, two scenarios of ten instances: a tie, one model without runtimes, one without a scenario."""

    def answers(deployment: str, scenario: str, num_correct: int, **facts: Any) -> list[dict[str, Any]]:
        return [request(deployment, scenario, index, float(index < num_correct), **facts) for index in range(10)]

    rows = [
        *answers("org/large", "boolq", 9, idealized_s=2.0, denoised_s=1.0, in_domain=False),
        *answers("org/large", "imdb", 8, idealized_s=2.0, denoised_s=1.0),
        *answers("org/small", "boolq", 7, idealized_s=0.1, denoised_s=0.3),
        *answers("org/small", "imdb", 8, idealized_s=0.1, denoised_s=0.3),
        *answers(
            "api/<b>_new|$", "boolq", 7, idealized_s=None, stack=None, stack_detail=None, tier=None, api_usd=0.002
        ),
        *answers("api/<b>_new|$", "imdb", 2, idealized_s=None, stack=None, stack_detail=None, tier=None, api_usd=0.002),
        *answers("org/slow", "boolq", 2, idealized_s=3.0),
    ]
    return build(from_arrow(*tables(rows)))
