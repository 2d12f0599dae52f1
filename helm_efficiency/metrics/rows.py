"""Turn records and their scores into rows of the two tables that `table` defines."""

import hashlib
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain
from typing import Any, Self

import numpy as np
import pyarrow as pa
from msgspec.structs import astuple

from helm_efficiency.adapters.record import RequestRecord
from helm_efficiency.catalog.score_scales import counts_correct_answers
from helm_efficiency.core.arrays import FloatArray, IntArray
from helm_efficiency.core.bootstrap import mean_intervals
from helm_efficiency.core.cost_per_correct import cost_per_correct
from helm_efficiency.core.fitting.fit import Fit
from helm_efficiency.core.tier import Tier
from helm_efficiency.metrics.arrow_arrays import index_array, number_array, text_array
from helm_efficiency.metrics.efficiency import ScoredRequests
from helm_efficiency.metrics.measures import MEASURES, PER_CORRECT, QUANTITIES
from helm_efficiency.metrics.table import REQUEST_COLUMNS, RUN_COLUMNS, RUN_COSTS, request_schema, run_schema

_FACTS = tuple(name for name in RequestRecord.__struct_fields__ if name in REQUEST_COLUMNS)


def request_tables(records: Sequence[RequestRecord], scored: Sequence[ScoredRequests]) -> Iterator[pa.Table]:
    """Yield rows of the requests table, some thousand records at a time: first on the first stack, then on the next."""
    schema = request_schema()
    for first in range(0, len(records), _BLOCK):
        rows = slice(first, first + _BLOCK)
        facts = _facts(records[rows])
        for each in scored:
            columns = facts | _scores(each.part(rows))
            yield pa.Table.from_arrays([columns[name] for name in schema.names], schema=schema)


_BLOCK = 10_000
"""Number of records that are turned into rows at a time, so that memory does not grow with the run."""


def _facts(records: Sequence[RequestRecord]) -> dict[str, pa.Array]:
    fields = RequestRecord.__struct_fields__
    values = zip(*map(astuple, records), strict=True)
    facts = {name: column for name, column in zip(fields, values, strict=True) if name in REQUEST_COLUMNS}
    scores = facts.pop("scores")
    facts["doubts"] = tuple([" ".join(doubts) or None for doubts in facts["doubts"]])
    columns = {name: _array(values, REQUEST_COLUMNS[name]) for name, values in facts.items()}
    columns["scores"] = _score_maps(scores)
    return columns


def _score_maps(scores: Sequence[Mapping[str, float]]) -> pa.MapArray:
    """Return the scores of each request by name; a mapping that many requests share is converted once."""
    distinct = list({id(each): each for each in scores}.values())
    place_of = {id(each): place for place, each in enumerate(distinct)}
    ends = np.cumsum([0, *map(len, distinct)])
    names = list(chain.from_iterable(distinct))
    marks = list(chain.from_iterable(each.values() for each in distinct))
    maps = pa.MapArray.from_arrays(index_array(ends), text_array(names), number_array(marks, pa.float64()))
    return maps.take(index_array(np.array([place_of[id(each)] for each in scores])))


def _array(values: Sequence[Any], kind: pa.DataType) -> pa.Array:
    return text_array(values) if kind == pa.string() else number_array(values, kind)


def _scores(scored: ScoredRequests) -> dict[str, pa.Array]:
    matches = scored.choices
    texts: dict[str, list[str | None]] = {
        "stack": [match.fit.stack.name if match else None for match in matches],
        "stack_detail": [str(match.fit.stack) if match else None for match in matches],
        "tier": [match.fit.tier if match else Tier.none for match in matches],
        "matched_by": [match.matched_by if match else None for match in matches],
        "coefficients": [_short_hash(match.fit) if match else None for match in matches],
    }
    choice = index_array(scored.choice)
    columns = {name: text_array(values).take(choice) for name, values in texts.items()}
    columns["reason"] = text_array([reason or None for reason in scored.reasons])
    columns["load"] = text_array([scored.load or None] * len(scored.reasons))
    columns["load_reason"] = text_array([reason or None for reason in scored.load_reasons])
    columns["num_accelerators"] = number_array(scored.num_accelerators, pa.int64())
    columns["usd_per_accelerator_hour"] = number_array(scored.usd_per_accelerator_hour, pa.float64())
    for measure in _SCORED:
        ends = zip((measure.key, *measure.interval_columns), ("", "low", "high"), strict=False)
        columns |= {column: number_array(measure.values(scored, end), pa.float64()) for column, end in ends}
    is_known = ~np.isnan(scored.idealized.seconds)
    columns["in_domain"] = number_array(np.where(is_known, scored.idealized.in_domain, np.nan), pa.bool_())
    return columns


def _short_hash(fit: Fit) -> str:
    """Return a hash that identifies the numbers of a fit, for any deployment that uses them."""
    return hashlib.sha256(repr(fit.coefficients).encode()).hexdigest()[:12]


_SCORED = tuple(MEASURES[key] for key in QUANTITIES if MEASURES[key].source != "record")
"""Measures that scoring computes; the others are facts of the record."""


def run_rows(
    records: Sequence[RequestRecord], scored: Sequence[ScoredRequests], *, score_name: str | None, settings: str = ""
) -> list[dict[str, Any]]:
    """Return rows of the runs table: one row for the records of one run on each stack.

    The mean score is that of the answered questions themselves, each counted once for each train trial. It leaves out
    perturbed copies and, if the run has a test split, other splits. The cost of a correct answer does the same.
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
        "settings": settings,
        "score_name": score_name,
        "num_requests": len(records),
        "num_instances": len({record.instance_id for record in records}),
        "num_missing_tokens": sum(r.prompt_tokens is None or r.output_tokens is None for r in records),
        "num_doubtful": sum(bool(record.doubts) for record in records),
        "num_failed": sum(not record.success for record in records),
        "prompt_tokens": _total([record.prompt_tokens for record in records]),
        "output_tokens": _total([record.output_tokens for record in records]),
    }
    instances = _Instances.of(records, score_name)
    observed_s = np.array([record.observed_s for record in records], dtype=np.float64)
    costs = [_costs(each, observed_s) for each in scored]
    factors = [_prediction_factors(each) for each in scored]
    by_stack = {(stack, name): column for stack, columns in enumerate(costs) for name, column in columns.items()}
    means = mean_intervals({**by_stack, (_ANY_STACK, "score"): instances.scores})
    means |= {
        (stack, name): _with_prediction_error(means[stack, name], factor)
        for stack, by_name in enumerate(factors)
        for name, factor in by_name.items()
        if (stack, name) in means
    }
    return [
        common
        | _run_on_stack(each)
        | _named_means({name: interval for (of, name), interval in means.items() if of in (stack, _ANY_STACK)})
        | instances.per_correct(costs[stack], factors[stack])
        for stack, each in enumerate(scored)
    ]


_ANY_STACK = -1

_Factor = tuple[float, float]


def _total(counts: Sequence[int | None]) -> int | None:
    known = [count for count in counts if count is not None]
    return sum(known) if known else None


@dataclass(frozen=True, slots=True)
class _Instances:
    """Instances of a run that have a score, without perturbed copies, each once for each train trial.

    Attributes:
        score_name: Name of the run's main score.
        scores: Score of each instance.
        questions: Index of each instance's question; the trials of one question share it.
        rows: Indices of the requests that belong to an instance.
        instances: Index of the instance of each of these requests.
    """

    score_name: str | None
    scores: FloatArray
    questions: IntArray
    rows: IntArray
    instances: IntArray

    @classmethod
    def of(cls, records: Sequence[RequestRecord], score_name: str | None) -> Self:
        """Find the instances among the requests of a run."""
        index_of: dict[tuple[str, int, str], int] = {}
        question_of: dict[str, int] = {}
        scores: list[float] = []
        questions: list[int] = []
        rows: list[int] = []
        instances: list[int] = []
        splits = {record.split for record in records}
        for row, record in enumerate(records):
            if score_name not in record.scores or record.perturbation or ("test" in splits and record.split != "test"):
                continue
            index = index_of.setdefault((record.instance_id, record.train_trial, record.split), len(scores))
            if index == len(scores):
                scores.append(record.scores[score_name])
                questions.append(question_of.setdefault(record.instance_id, len(question_of)))
            rows.append(row)
            instances.append(index)
        indices = (np.array(numbers, dtype=np.int64) for numbers in (questions, rows, instances))
        return cls(score_name, np.array(scores, dtype=np.float64), *indices)

    def per_correct(self, costs: Mapping[str, FloatArray], factors: Mapping[str, _Factor]) -> dict[str, float]:
        """Return the cost of a correct answer in each unit; empty if scores do not count right answers."""
        is_fraction = ((self.scores >= 0) & (self.scores <= 1)).all()
        if not len(self.scores) or not is_fraction or not counts_correct_answers([self.score_name]):
            return {}
        found: dict[str, float] = {}
        score = self._by_question(self.scores)
        for name in PER_CORRECT:
            total = np.bincount(self.instances, weights=costs[name][self.rows], minlength=len(self.scores))
            cost = self._by_question(total.astype(np.float64))
            ratio = cost_per_correct(cost, score, cost_factor=factors.get(name, (1.0, 1.0)))
            if ratio.num_instances:
                found |= {f"{name}_per_correct": ratio.value, f"{name}_per_correct_low": ratio.low}
                found[f"{name}_per_correct_high"] = ratio.high
        return found

    def _by_question(self, values: FloatArray) -> FloatArray:
        """Return the mean over the trials of each question: answers to one question are similar, so they count once."""
        return np.asarray(np.bincount(self.questions, weights=values) / np.bincount(self.questions))


def _prediction_factors(scored: ScoredRequests) -> dict[str, _Factor]:
    """Return, by cost, the interval of the common factor by which the predictions of a run may be wrong.

    All requests of a deployment are predicted with the same coefficients, so their errors are treated as fully
    correlated: the ends of the mean are the means of the ends.
    """
    by_root: dict[str, _Factor] = {}
    for measure in _SCORED:
        if measure.has_interval and not np.isnan(measure.values(scored)).all():
            mean, low, high = (np.nanmean(measure.values(scored, end)) for end in ("", "low", "high"))
            if mean > 0:
                by_root[measure.key] = (float(low / mean), float(high / mean))
    return {key: by_root[root] for key in RUN_COSTS if (root := MEASURES[key].fitted_to) in by_root}


def _with_prediction_error(interval: tuple[float, float, float], factor: _Factor) -> tuple[float, float, float]:
    """Return a mean with an interval that holds the sampling error of the requests and the error of the prediction."""
    mean, low, high = interval
    below, above = math.hypot(mean - low, mean * (1.0 - factor[0])), math.hypot(high - mean, mean * (factor[1] - 1.0))
    return mean, max(mean - below, 0.0), mean + above


def _costs(scored: ScoredRequests, observed_s: FloatArray) -> dict[str, FloatArray]:
    """Return the values of each cost, one for each request."""
    measures = map(MEASURES.__getitem__, RUN_COSTS)
    return {measure.key: observed_s if measure.source == "record" else measure.values(scored) for measure in measures}


def _run_on_stack(scored: ScoredRequests) -> dict[str, Any]:
    is_scored = ~np.isnan(scored.idealized.seconds)
    match = next((match for match in scored.choices if match is not None), None)
    return {
        "stack": match and match.fit.stack.name,
        "stack_detail": match and str(match.fit.stack),
        "tier": match.fit.tier if match else Tier.none,
        "matched_by": match and match.matched_by,
        "reason": next((reason for reason in scored.reasons if reason), None),
        "load": scored.load or None,
        "load_reason": next((reason for reason in scored.load_reasons if reason), None),
        "num_scored": int(is_scored.sum()),
        "num_out_of_domain": int((is_scored & ~scored.idealized.in_domain).sum()),
    }


def _named_means(intervals: Mapping[str, tuple[float, float, float]]) -> dict[str, float]:
    return {
        f"{prefix}{name}": value
        for name, interval in intervals.items()
        for prefix, value in zip(("mean_", "mean_low_", "mean_high_"), interval, strict=True)
    }


def run_table(rows: Sequence[Mapping[str, Any]]) -> pa.Table:
    """Return the runs table of the given rows."""
    columns = {name: _array([row.get(name) for row in rows], kind) for name, kind in RUN_COLUMNS.items()}
    return pa.table(columns, schema=run_schema())
