"""Read the folder that scoring wrote into data frames; this module reads nothing else."""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from helm_efficiency.codec import decode
from helm_efficiency.core.runtime_model import RuntimeCoefficients
from helm_efficiency.errors import FileFormatError, InputError
from helm_efficiency.metrics.table import (
    COEFFICIENTS,
    REQUEST_COLUMNS,
    RUN_COLUMNS,
    request_schema,
    require_version,
    run_schema,
)
from helm_efficiency.version import __version__

_RUN_KEY = ["suite", "run"]
_PARTS_AT_ONCE = 256


@dataclass(frozen=True)
class Tables:
    """Tables of requests and runs, as scoring wrote them.

    Attributes:
        requests: One row for each request and stack; the columns of `REQUEST_COLUMNS` with `scores` replaced by `score`
            and `score_name`: the run's main score (or the one asked for). Text columns are categorical.
        runs: One row for each run and stack; the columns of `RUN_COLUMNS`.
        source: Provenance of the numbers: the version of this package, and the hash of the runs table, which names the
            coefficients in its metadata.
        coefficients: Coefficients by the hash in the column `coefficients`; empty if the folder does not have them.
    """

    requests: pd.DataFrame
    runs: pd.DataFrame
    source: str = f"helm-efficiency {__version__}"
    coefficients: Mapping[str, RuntimeCoefficients] = field(default_factory=dict)


def load(folder: Path | str, *, score: str | None = None) -> Tables:
    """Read a folder written by `rescore`.

    Args:
        folder: Folder with `runs.parquet` and `requests/*.parquet`.
        score: Name of the score to read; None for each run's main score.

    Returns:
        Both tables; seconds, dollars, joules.

    Raises:
        InputError: The folder has no such tables, or no request has the score asked for.
        FileFormatError: A file is not a scored table.

    Example:
        >>> from helm_efficiency import load_tables
        >>> tables = load_tables("scored")
        >>> len(tables.requests), len(tables.runs)
        (300, 15)
    """
    folder = Path(folder)
    runs_path, paths = folder / "runs.parquet", sorted((folder / "requests").glob("*.parquet"))
    if not runs_path.is_file():
        raise InputError(
            f"{folder}: expected runs.parquet and requests/*.parquet. Write them with: "
            f"helm-efficiency rescore PATH --output {folder}"
        )
    runs, requests = _read(runs_path, run_schema()), _read_all(paths, request_schema())
    _require_all(requests, runs, folder)
    tables = from_arrow(requests, runs, score=score)
    source = f"{tables.source}; runs.parquet sha256 {_sha256(runs_path)}"
    return replace(tables, source=source, coefficients=_coefficients(folder / COEFFICIENTS))


def _coefficients(path: Path) -> dict[str, RuntimeCoefficients]:
    if not path.is_file():
        return {}
    try:
        return decode(path.read_bytes(), dict[str, RuntimeCoefficients])
    except InputError as error:
        raise FileFormatError(f"{path}: {error}") from error


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def from_arrow(requests: pa.Table, runs: pa.Table, *, score: str | None = None) -> Tables:
    """Make the same data frames as `load` from tables in memory.

    Raises:
        InputError: No request has the score asked for.
    """
    run_frame = runs.to_pandas()
    if score is not None:
        run_frame["score_name"] = score
    names = _score_name_of_each(requests, run_frame)
    scores = _look_up(requests["scores"], names)
    if score is not None and requests.num_rows and scores.null_count == len(scores):
        raise InputError(f"No request has a score named {score!r}. There are: {', '.join(_known(requests))}.")
    requests = requests.drop_columns(["scores"]).append_column("score", scores).append_column("score_name", names)
    for index, column in enumerate(requests.schema):
        if column.type == pa.string():
            requests = requests.set_column(index, column.name, requests.column(index).dictionary_encode())
    return Tables(requests=requests.to_pandas(), runs=run_frame)


def _read_all(paths: Sequence[Path], schema: pa.Schema) -> pa.Table:
    """Read all parts as one table; small parts are joined while reading, because they take far more memory apart."""
    tables = [schema.empty_table()]
    for start in range(0, len(paths), _PARTS_AT_ONCE):
        some = {path: _read(path, schema) for path in paths[start : start + _PARTS_AT_ONCE]}
        together = pa.concat_tables(some.values()).combine_chunks()
        if _odd_amount(together):
            path, wrong = next((path, wrong) for path, table in some.items() if (wrong := _odd_amount(table)))
            raise FileFormatError(f"{path}: {wrong}; expected 0 or more.")
        tables.append(together)
    return pa.concat_tables(tables)


def _require_all(requests: pa.Table, runs: pa.Table, folder: Path) -> None:
    """Refuse a folder that lacks requests of a run in its runs table, for example because a part was deleted.

    Raises:
        FileFormatError: The folder lacks requests.
    """
    there = requests.group_by(_RUN_KEY).aggregate([([], "count_all")])
    listed = runs.group_by(_RUN_KEY).aggregate([("num_requests", "sum")])
    both = listed.join(there, _RUN_KEY, join_type="left outer").to_pandas().fillna({"count_all": 0})
    lacking = both[both["num_requests_sum"] > both["count_all"]]
    if len(lacking):
        raise FileFormatError(
            f"{folder}/requests: it lacks requests of {len(lacking)} of {len(both)} runs that runs.parquet lists, "
            f"such as {lacking['run'].iloc[0]}. Write them again with: helm-efficiency rescore --force"
        )


def _read(path: Path, schema: pa.Schema) -> pa.Table:
    """Read one Parquet file, cast to the schema of the contract; further columns are left out."""
    try:
        with pq.ParquetFile(path, pre_buffer=False) as file:
            return _checked(file.read(use_threads=False), path, schema)
    except (pa.ArrowException, ValueError, OSError) as error:
        reason = next(iter(str(error).splitlines()), type(error).__name__)
        raise FileFormatError(f"{path}: not a Parquet file, or a damaged one: {reason}") from error


def _checked(table: pa.Table, path: Path, schema: pa.Schema) -> pa.Table:
    columns = REQUEST_COLUMNS if "scores" in schema.names else RUN_COLUMNS
    require_version(table.schema.metadata, path)
    missing = sorted(columns.keys() - set(table.column_names), key=list(columns).index)
    if missing:
        raise FileFormatError(f"{path}: not a table of scored requests or runs: it lacks {', '.join(missing[:5])}.")
    table = table if table.schema.equals(schema) else table.select(schema.names).cast(schema)
    table.validate(full=True)  # finds text that is not UTF-8 and offsets out of range
    return table


_MOST = 1e15
"""Largest seconds, dollars or joules of a request, so that sums stay finite; real ones are below a million."""


def _odd_amount(table: pa.Table) -> str:
    """Return what is wrong with a cost that is negative or not an amount, which would be ranked first; else nothing."""
    for name in (column.name for column in table.schema if column.type == pa.float64()):
        ends = pc.min_max(table[name]).as_py()
        if ends["min"] is not None and not 0 <= ends["min"] <= ends["max"] <= _MOST:
            return f"{name} is between {ends['min']:g} and {ends['max']:g}"
    return ""


def _score_name_of_each(requests: pa.Table, runs: pd.DataFrame) -> pa.Array:
    """Return for each request the name of its run's main score."""
    keys = requests.select(_RUN_KEY).to_pandas()
    names = runs.drop_duplicates(_RUN_KEY)[[*_RUN_KEY, "score_name"]]
    return pa.array(keys.merge(names, how="left", on=_RUN_KEY)["score_name"], pa.string(), from_pandas=True)


def _look_up(scores: pa.ChunkedArray, names: pa.Array) -> pa.ChunkedArray:
    """Return from each map the entry with the name of the same index; null if the map lacks it."""
    result: pa.ChunkedArray = pa.chunked_array([pa.nulls(len(scores), pa.float64())])
    for name in sorted(pc.unique(names.drop_null()).to_pylist()):
        found = pc.map_lookup(scores, pa.scalar(name), "first")
        result = pc.if_else(pc.fill_null(pc.equal(names, name), False), found, result)
    return result


def _known(requests: pa.Table) -> list[str]:
    return sorted({name for chunk in requests["scores"].chunks for name in pc.unique(chunk.keys).to_pylist()})
