"""Turn records and their scores into rows of the two tables that `table` defines."""

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import pyarrow as pa
from msgspec.structs import astuple

from helm_efficiency.adapters.record import RequestRecord
from helm_efficiency.core.fitting.fit import Fit
from helm_efficiency.core.tier import Tier
from helm_efficiency.metrics.efficiency import ScoredRequests
from helm_efficiency.metrics.fast import index_array, number_array, score_maps, text_array
from helm_efficiency.metrics.measures import MEASURES, QUANTITIES
from helm_efficiency.metrics.table import REQUEST_COLUMNS, RUN_COLUMNS, request_schema, run_schema


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
    columns["scores"] = score_maps(scores)
    return columns


def _array(values: Sequence[Any], kind: pa.DataType) -> pa.Array:
    return text_array(values) if kind == pa.string() else number_array(values, kind)


def _scores(scored: ScoredRequests) -> dict[str, pa.Array]:
    matches = scored.choices
    texts: dict[str, list[str | None]] = {
        "stack": [match.fit.stack.name if match else None for match in matches],
        "stack_detail": [str(match.fit.stack) if match else None for match in matches],
        "tier": [match.fit.tier if match else Tier.none for match in matches],
        "matched_by": [match.matched_by if match else None for match in matches],
        "coefficients": [short_hash(match.fit) if match else None for match in matches],
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


def short_hash(fit: Fit) -> str:
    """Return a hash that identifies the numbers of a fit, for any deployment that uses them."""
    return hashlib.sha256(repr(fit.coefficients).encode()).hexdigest()[:12]


_SCORED = tuple(MEASURES[key] for key in QUANTITIES if MEASURES[key].source != "record")
"""Measures that scoring computes; the others are facts of the record."""


def run_rows(
    records: Sequence[RequestRecord], scored: Sequence[ScoredRequests], *, score_name: str | None, settings: str = ""
) -> list[dict[str, Any]]:
    """Return rows of the runs table: one row for the records of one run on each stack."""
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
    return [common | _run_on_stack(each) for each in scored]


def _total(counts: Sequence[int | None]) -> int | None:
    known = [count for count in counts if count is not None]
    return sum(known) if known else None


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


def run_table(rows: Sequence[Mapping[str, Any]]) -> pa.Table:
    """Return the runs table of the given rows."""
    columns = {name: _array([row.get(name) for row in rows], kind) for name, kind in RUN_COLUMNS.items()}
    return pa.table(columns, schema=run_schema())
