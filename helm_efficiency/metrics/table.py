"""The two tables that scoring writes and reports read: one row per request and stack, and one row per run and stack.

The table format is the contract between scoring and report: report reads Parquet files with these columns and nothing
else. A missing fact is null; null never means 0.
"""

from collections.abc import Mapping
from functools import cache

import pyarrow as pa

from helm_efficiency.errors import FileFormatError
from helm_efficiency.metrics.measures import MEASURES, QUANTITIES

SCHEMA_VERSION = 3
"""Version of the table format. 1: first version. 2: API costs that are bounds have a column of their own. 3: runs have
facts and counts only; means and their intervals are in leaderboards."""

COEFFICIENTS = "coefficients.json"
"""File next to the two tables: the coefficients of every hash in the requests table's column `coefficients`."""

_TEXT, _COUNT, _REAL, _FLAG = pa.string(), pa.int64(), pa.float64(), pa.bool_()

REQUEST_COLUMNS: dict[str, pa.DataType] = {
    # facts of the request: see adapters.record.RequestRecord
    "harness": _TEXT,
    "suite": _TEXT,
    "run": _TEXT,
    "scenario": _TEXT,
    "model": _TEXT,
    "deployment": _TEXT,
    "instance_id": _TEXT,
    "train_trial": _COUNT,
    "perturbation": _TEXT,
    "split": _TEXT,
    "request_mode": _TEXT,
    "reference_index": _COUNT,
    "prompt_tokens": _COUNT,
    "output_tokens": _COUNT,
    "reasoning_tokens": _COUNT,
    "cache_read_tokens": _COUNT,
    "cache_write_tokens": _COUNT,
    "prompt_provenance": _TEXT,
    "output_provenance": _TEXT,
    "num_completions": _COUNT,
    "max_completion_tokens": _COUNT,
    "doubts": _TEXT,  # reasons why the counts are too low, joined by spaces; null without doubts
    "batch_size": _COUNT,
    "observed_s": _REAL,
    "requested_at": _REAL,
    "cached": _FLAG,
    "success": _FLAG,
    "scores": pa.map_(_TEXT, _REAL),
    # the stack that the request is idealized on
    "stack": _TEXT,  # Stack.name; null if nothing matched
    "stack_detail": _TEXT,  # str(Stack)
    "tier": _TEXT,  # a value of `Tier`
    "matched_by": _TEXT,  # name, model or architecture; null if nothing matched
    "coefficients": _TEXT,  # hash of the coefficients; rows with the same hash share the error of prediction
    "reason": _TEXT,  # reason why a number is missing; null if none is missing
    "load": _TEXT,  # load of the busy server; null for none
    "load_reason": _TEXT,  # reason why a number at load is missing although the others are not
    "in_domain": _FLAG,
    "num_accelerators": _COUNT,
    "usd_per_accelerator_hour": _REAL,
    # measures and their intervals
    **{
        column: _REAL
        for key in QUANTITIES
        if MEASURES[key].source != "record"
        for column in (key, *MEASURES[key].interval_columns)
    },
}

RUN_COLUMNS: dict[str, pa.DataType] = {
    "harness": _TEXT,
    "suite": _TEXT,
    "run": _TEXT,
    "scenario": _TEXT,
    "model": _TEXT,
    "deployment": _TEXT,
    "stack": _TEXT,
    "stack_detail": _TEXT,
    "tier": _TEXT,
    "matched_by": _TEXT,
    "reason": _TEXT,
    "load": _TEXT,
    "load_reason": _TEXT,
    "settings": _TEXT,  # settings of the requests that the scenario's name leaves out
    "score_name": _TEXT,  # the run's main score
    "num_requests": _COUNT,
    "num_instances": _COUNT,
    "num_scored": _COUNT,  # requests with an idealized runtime
    "num_missing_tokens": _COUNT,
    "num_doubtful": _COUNT,  # requests with doubts
    "num_failed": _COUNT,
    "num_out_of_domain": _COUNT,
    "prompt_tokens": _COUNT,  # totals over the requests that have them
    "output_tokens": _COUNT,
}


@cache
def request_schema() -> pa.Schema:
    """Return the Arrow schema of the requests table, with its version in the metadata."""
    return pa.schema(list(REQUEST_COLUMNS.items()), metadata={"helm_efficiency_schema_version": str(SCHEMA_VERSION)})


@cache
def run_schema() -> pa.Schema:
    """Return the Arrow schema of the runs table, with its version in the metadata."""
    return pa.schema(list(RUN_COLUMNS.items()), metadata={"helm_efficiency_schema_version": str(SCHEMA_VERSION)})


def require_version(metadata: Mapping[bytes, bytes] | None, path: object) -> None:
    """Refuse a table of a newer format than this package reads.

    Raises:
        FileFormatError: The format is newer than this package reads, or is not a number.
    """
    given = (metadata or {}).get(b"helm_efficiency_schema_version", str(SCHEMA_VERSION).encode())
    if not given.isdigit() or int(given[:9]) > SCHEMA_VERSION:
        text = given[:40].decode(errors="replace")
        raise FileFormatError(f"{path}: table format {text} is newer than this package's {SCHEMA_VERSION}; update it.")
