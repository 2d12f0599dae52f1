"""Records and their scores -> rows of the two tables of `table`."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import chain
from typing import Any, Self

import numpy as np
import pyarrow as pa
from msgspec.structs import astuple
from numpy.typing import NDArray

from helm_efficiency.core.cost import cost_per_correct
from helm_efficiency.core.runtime_model import FloatArray
from helm_efficiency.harness.efficiency import ScoredRequests
from helm_efficiency.harness.records import RequestRecord
from helm_efficiency.scoring.summary import mean_intervals
from helm_efficiency.scoring.table import REQUEST_COLUMNS, request_schema, run_schema

_FACTS = tuple(name for name in RequestRecord.__struct_fields__ if name in REQUEST_COLUMNS)


def request_table(records: Sequence[RequestRecord], scored: Sequence[ScoredRequests]) -> pa.Table:
    """Rows of the requests table: all records on the first stack, then all on the next."""
    facts = _facts(records)
    return pa.concat_tables([pa.table({**facts, **_scores(each)}, schema=request_schema()) for each in scored])


def _facts(records: Sequence[RequestRecord]) -> dict[str, pa.Array]:
    fields = RequestRecord.__struct_fields__
    values = zip(*map(astuple, records), strict=True) if records else [()] * len(fields)
    facts = {name: column for name, column in zip(fields, values, strict=True) if name in REQUEST_COLUMNS}
    scores = facts.pop("scores")
    columns = {name: pa.array(values, REQUEST_COLUMNS[name]) for name, values in facts.items()}
    ends = np.cumsum([0, *map(len, scores)], dtype=np.int32)
    names, marks = chain.from_iterable(scores), chain.from_iterable(each.values() for each in scores)
    columns["scores"] = pa.MapArray.from_arrays(ends, pa.array(names, pa.string()), pa.array(marks, pa.float64()))
    return columns


def _scores(scored: ScoredRequests) -> dict[str, pa.Array]:
    matches = scored.choices
    texts: dict[str, list[str | None]] = {
        "stack": [match.fit.stack.name if match else None for match in matches],
        "stack_detail": [str(match.fit.stack) if match else None for match in matches],
        "tier": [match.fit.tier if match else "none" for match in matches],
        "matched_by": [match.matched_by if match else None for match in matches],
    }
    choice = pa.array(scored.choice)
    columns = {name: pa.array(values, pa.string()).take(choice) for name, values in texts.items()}
    columns["reason"] = pa.array([reason or None for reason in scored.reasons], pa.string())
    columns |= {name: pa.array(values, from_pandas=True) for name, values in _reals(scored).items()}
    columns["num_accelerators"] = pa.array(scored.num_accelerators, from_pandas=True).cast(pa.int64())
    columns["in_domain"] = pa.array(scored.idealized.in_domain, mask=np.isnan(scored.idealized.seconds))
    nothing = {name: pa.nulls(len(choice), kind) for name, kind in REQUEST_COLUMNS.items()}
    return {name: columns.get(name, nothing[name]) for name in REQUEST_COLUMNS if name not in _FACTS}


def _reals(scored: ScoredRequests) -> dict[str, FloatArray]:
    return {
        "idealized_s": scored.idealized.seconds,
        "idealized_low_s": scored.idealized.low_s,
        "idealized_high_s": scored.idealized.high_s,
        "denoised_s": scored.denoised.seconds,
        "denoised_low_s": scored.denoised.low_s,
        "denoised_high_s": scored.denoised.high_s,
        "accelerator_s": scored.accelerator_s,
        "usd_per_accelerator_hour": scored.usd_per_accelerator_hour,
        "idealized_usd": scored.idealized_usd,
        "energy_j": scored.energy_j,
        "api_usd": scored.api_usd,
        "api_usd_today": scored.api_usd_today,
    }


def run_rows(
    records: Sequence[RequestRecord], scored: Sequence[ScoredRequests], *, score_name: str | None
) -> list[dict[str, Any]]:
    """Rows of the runs table: the records of one run on each stack.

    The mean score is that of the answered questions themselves, without perturbed copies, each counted once for each
    train trial; so is the cost of a correct answer.
    """
    if not records:
        return []
    first = records[0]
    common = {
        "harness": first.harness,
        "suite": first.suite,
        "run": first.run,
        "scenario": first.scenario,
        "model": first.model,
        "deployment": first.deployment,
        "score_name": score_name,
        "num_requests": len(records),
        "num_instances": len({record.instance_id for record in records}),
        "num_missing_tokens": sum(r.prompt_tokens is None or r.output_tokens is None for r in records),
        "num_failed": sum(not record.success for record in records),
        "prompt_tokens": _total([record.prompt_tokens for record in records]),
        "output_tokens": _total([record.output_tokens for record in records]),
    }
    instances = _Instances.of(records, score_name)
    score = _named_means(mean_intervals({"score": instances.scores}))
    observed = np.array([record.observed_s for record in records], dtype=np.float64)
    return [common | _run_on_stack(each, observed, instances) | score for each in scored]


def _total(counts: Sequence[int | None]) -> int | None:
    known = [count for count in counts if count is not None]
    return sum(known) if known else None


@dataclass(frozen=True, slots=True)
class _Instances:
    """The instances of a run that have a score: without perturbed copies, each once for each train trial.

    Attributes:
        scores: One each.
        rows: The requests that belong to one of them, by their places.
        places: The instance of each of these, by its place.
    """

    scores: FloatArray
    rows: NDArray[np.int64]
    places: NDArray[np.int64]

    @classmethod
    def of(cls, records: Sequence[RequestRecord], score_name: str | None) -> Self:
        """Find them among the requests."""
        place_of: dict[tuple[str, int, str], int] = {}
        scores: list[float] = []
        rows: list[int] = []
        places: list[int] = []
        for row, record in enumerate(records):
            if score_name not in record.scores or record.perturbation:
                continue
            place = place_of.setdefault((record.instance_id, record.train_trial, record.split), len(scores))
            if place == len(scores):
                scores.append(record.scores[score_name])
            rows.append(row)
            places.append(place)
        return cls(np.array(scores, dtype=np.float64), np.array(rows, dtype=np.int64), np.array(places, dtype=np.int64))

    def per_correct(self, costs: Mapping[str, FloatArray]) -> dict[str, float]:
        """Cost of a correct answer in each currency, with its interval; none where scores are no fractions."""
        if not len(self.scores) or not ((self.scores >= 0) & (self.scores <= 1)).all():
            return {}
        found: dict[str, float] = {}
        for name, cost in costs.items():
            total = np.bincount(self.places, weights=cost[self.rows], minlength=len(self.scores))
            ratio = cost_per_correct(total, self.scores)
            if ratio.num_instances:
                found |= {f"{name}_per_correct": ratio.value, f"{name}_per_correct_low": ratio.low}
                found[f"{name}_per_correct_high"] = ratio.high
        return found


def _run_on_stack(scored: ScoredRequests, observed_s: FloatArray, instances: _Instances) -> dict[str, Any]:
    columns = {
        "observed_s": observed_s,
        "denoised_s": scored.denoised.seconds,
        "idealized_s": scored.idealized.seconds,
        "accelerator_s": scored.accelerator_s,
        "idealized_usd": scored.idealized_usd,
        "energy_j": scored.energy_j,
        "api_usd": scored.api_usd,
    }
    is_scored = ~np.isnan(scored.idealized.seconds)
    match = next((match for match in scored.choices if match is not None), None)
    return {
        "stack": match and match.fit.stack.name,
        "stack_detail": match and str(match.fit.stack),
        "tier": match.fit.tier if match else "none",
        "matched_by": match and match.matched_by,
        "reason": next((reason for reason in scored.reasons if reason), None),
        "num_scored": int(is_scored.sum()),
        "num_out_of_domain": int((is_scored & ~scored.idealized.in_domain).sum()),
        **_named_means(mean_intervals(columns)),
        **instances.per_correct(columns),
        **{f"total_{name}": float(np.nansum(column)) for name, column in columns.items() if not np.isnan(column).all()},
    }


def _named_means(intervals: Mapping[str, tuple[float, float, float]]) -> dict[str, float]:
    return {
        f"{prefix}{name}": value
        for name, interval in intervals.items()
        for prefix, value in zip(("mean_", "mean_low_", "mean_high_"), interval, strict=True)
    }


def run_table(rows: Sequence[Mapping[str, Any]]) -> pa.Table:
    """The runs table."""
    return pa.Table.from_pylist([dict(row) for row in rows], schema=run_schema())
