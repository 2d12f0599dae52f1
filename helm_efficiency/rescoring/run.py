"""Re-score one run: read it, score its requests, write its tables and stats, and keep a receipt.

The receipt is written last. It records the inputs of the numbers, so that an unchanged run is not scored again, and an
interrupted one is.
"""

import contextlib
import functools
import hashlib
import io
import itertools
import math
import posixpath
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, Literal, NamedTuple

import msgspec
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from msgspec import Struct

from helm_efficiency.adapters.helm.files import PER_INSTANCE_STATS, STATS
from helm_efficiency.adapters.helm.request_cache import RequestCaches
from helm_efficiency.adapters.helm.runs import HelmRun
from helm_efficiency.adapters.record import HarnessRun
from helm_efficiency.adapters.sources import HELM, Files, FileState, Source, read_source, state_of
from helm_efficiency.adapters.tokenizers import LocalTokenizers
from helm_efficiency.errors import EfficiencyError, InputError, OutputError, failing_alone
from helm_efficiency.files import Content, locked, write_files
from helm_efficiency.metrics.efficiency import ScoredRequests, score_requests
from helm_efficiency.metrics.rows import request_tables, run_rows
from helm_efficiency.metrics.table import REQUEST_COLUMNS, RUN_COLUMNS, request_schema
from helm_efficiency.rescoring.originals import Originals
from helm_efficiency.rescoring.plan import Plan, StatsTarget
from helm_efficiency.rescoring.suite_files import files_in_place, files_of_copy

REQUESTS, RUNS, RECEIPTS = "requests", "runs", ".receipts"
"""Folders in the output folder: parts of the requests table, copied suites, receipts."""


class Matched(Struct, frozen=True):
    """Coefficients that the requests of one deployment were matched to on one stack."""

    deployment: str
    model: str
    stack: str | None
    coefficients: str | None
    matched_by: str | None
    num_requests: int


class Outcome(Struct, frozen=True, kw_only=True):
    """Outcome of one run.

    Attributes:
        url: Path or address of the run.
        status: `scored` now, `unchanged` since an earlier scoring, or `failed`.
        num_requests: Number of requests in the run.
        num_bytes: Size of its files.
        num_usage: Number of requests with the provider's own token counts.
        matches: Coefficients that its deployments were matched to.
        missing: Number of requests without an idealized runtime, by reason.
        warnings: Messages about doubtful values in the run.
        error: Reason why it failed; empty otherwise.
    """

    url: str
    status: Literal["scored", "unchanged", "failed"]
    num_requests: int = 0
    num_bytes: int = 0
    num_usage: int = 0
    matches: tuple[Matched, ...] = ()
    missing: dict[str, int] = {}
    warnings: tuple[str, ...] = ()
    error: str = ""


class Receipt(Struct, frozen=True):
    """Inputs and outcome of scoring a run; files by path, with their states after the scoring."""

    basis: dict[str, Any]
    deployments: list[tuple[str, str]]
    files: dict[str, FileState]
    outputs: dict[str, FileState]
    rows: list[dict[str, Any]]
    outcome: Outcome


class ScoredRun(NamedTuple):
    """Run that is scored but not yet written.

    Attributes:
        outcome: Outcome of the run, once it is written.
        files: Contents to write, by path.
        receipt: Receipt as it is before any file is written; None if the run needs no writing.
        lock: Lock on the run's folder, if its stats are changed in place.
        originals: Originals of the files that are changed in place; None without such files.
    """

    outcome: Outcome
    files: dict[Path, Content]
    receipt: Receipt | None
    lock: contextlib.ExitStack
    originals: Originals | None = None


def rescore_run(plan: Plan, source: Source) -> Outcome:
    """Re-score one run, unless everything that it depends on is unchanged.

    Raises:
        OutputError: A file cannot be written; earlier ones are unharmed.
    """
    return write_run(plan, source, score_run(plan, source))


def score_run(plan: Plan, source: Source) -> ScoredRun:
    """Read and score a run, the first half of `rescore_run`; a run that cannot be read gives a failed outcome."""
    with contextlib.ExitStack() as lock:
        try:
            with failing_alone(source.url):
                if source.harness == HELM and plan.target is StatsTarget.in_place and source.local_path:
                    lock.enter_context(locked(source.local_path, wait=True))
                files = source.open()
                states = files.states()
                receipt = read_receipt(_receipt_path(plan, source))
                _refuse_another(receipt, plan, source)
                if receipt is not None and not plan.force and _holds(receipt, plan, states):
                    outcome = msgspec.structs.replace(receipt.outcome, url=source.url, status="unchanged")
                    return ScoredRun(outcome, {}, None, contextlib.ExitStack())
                originals = _originals(plan, source, files)
                contents, receipt = _score(plan, source, files, states, originals)
                return ScoredRun(receipt.outcome, contents, receipt, lock.pop_all(), originals)
        except (EfficiencyError, OSError) as error:
            outcome = Outcome(url=source.url, status="failed", error=str(error))
            return ScoredRun(outcome, {}, None, contextlib.ExitStack())


def write_run(plan: Plan, source: Source, scored: ScoredRun) -> Outcome:
    """Write a scored run: the second half of `rescore_run`, which waits for the disk.

    Raises:
        OutputError: A file cannot be written; earlier ones are unharmed.
    """
    with scored.lock:
        if scored.receipt is not None:
            try:
                with failing_alone(source.url):
                    if scored.originals is None:
                        write_files(scored.files)
                    else:
                        write_files(scored.files, before_replacing=scored.originals.keep)
                        scored.originals.note_written()
            except OutputError:
                raise
            except EfficiencyError as error:
                return Outcome(url=source.url, status="failed", error=str(error))
            states = {path: state_of(path) for path in scored.files}
            changed = {path.name: state for path, state in states.items() if path.parent == source.local_path}
            below = {path: state for path, state in states.items() if path.is_relative_to(plan.output)}
            receipt = msgspec.structs.replace(
                scored.receipt,
                files=scored.receipt.files | changed,
                outputs={str(path.relative_to(plan.output)): state for path, state in below.items()},
            )
            write_files({_receipt_path(plan, source): msgspec.json.encode(receipt)})
    return scored.outcome


def _receipt_path(plan: Plan, source: Source) -> Path:
    return plan.output / RECEIPTS / f"{part_name(source)}.json"


def _originals(plan: Plan, source: Source, files: Files) -> Originals | None:
    """Find the originals of the files that are to be changed in place."""
    if source.harness != HELM or plan.target is not StatsTarget.in_place:
        return None
    if source.local_path is None:
        raise InputError(f"{source.url} is remote and cannot be changed in place; leave --in-place out to get a copy.")
    return Originals.of(source.local_path, [name for name in (STATS, PER_INSTANCE_STATS) if name in files.names()])


def _score(
    plan: Plan, source: Source, files: Files, states: dict[str, FileState], originals: Originals | None
) -> tuple[dict[Path, Content], Receipt]:
    """Return the contents to write for a run, and the receipt with the inputs that they were made from."""
    runs = read_source(source, files, caches=_caches(plan.caches), tokenizers=_tokenizers())
    records = [record for run in runs for record in run.records]
    scored = [
        score_requests(run.records, plan.coefficients, stacks=plan.stacks, pricing=plan.pricing, busy=plan.busy)
        for run in runs
    ]
    rows = [
        run_rows(run.records, its, score_name=run.score_name, settings=run.settings)
        for run, its in zip(runs, scored, strict=True)
    ]
    tables = itertools.chain.from_iterable(map(request_tables, (run.records for run in runs), scored))
    contents: dict[Path, Content] = {plan.output / REQUESTS / f"{part_name(source)}.parquet": _parquet(tables)}
    if isinstance(runs[0], HelmRun) and originals is not None:
        contents |= files_in_place(originals, files, runs[0], scored[0])
    elif isinstance(runs[0], HelmRun) and plan.target is StatsTarget.copy:
        contents |= files_of_copy(plan.output / RUNS / source.suite / source.name, files, runs[0], scored[0])
    outcome = Outcome(
        url=source.url,
        status="scored",
        num_requests=len(records),
        num_bytes=sum(size for size, _ in states.values()),
        num_usage=sum("usage" in (record.prompt_provenance, record.output_provenance) for record in records),
        matches=tuple(itertools.chain.from_iterable(map(_matched, runs, scored))),
        missing=dict(Counter(reason for its in scored for each in its for reason in each.reasons if reason)),
        warnings=tuple(warning for run in runs for warning in run.warnings),
    )
    deployments = list(dict.fromkeys((record.deployment, record.model) for record in records))
    return contents, Receipt(
        plan.basis(deployments), deployments, states, {}, [*map(_row_to_json, itertools.chain(*rows))], outcome
    )


_INFINITE = "inf"
"""Text of an infinite number in a receipt, as JSON cannot express it and would write null."""


def _row_to_json(row: dict[str, Any]) -> dict[str, Any]:
    return {name: _INFINITE if value == math.inf else value for name, value in row.items()}


def rows_of(receipt: Receipt) -> Iterator[dict[str, Any]]:
    """Yield the rows of the runs table that a receipt keeps."""
    for row in receipt.rows:
        is_real = {name for name, value in row.items() if value == _INFINITE and RUN_COLUMNS[name] == pa.float64()}
        yield row | dict.fromkeys(is_real, math.inf)


@functools.lru_cache(maxsize=1)
def _caches(files: tuple[tuple[Path, FileState], ...]) -> RequestCaches | None:
    """Read the request caches, once in each process as long as they do not change."""
    if not files:
        return None
    caches = RequestCaches()
    for file, _ in files:
        caches.add_sqlite(file)
    return caches


_tokenizers = functools.cache(LocalTokenizers)
"""Tokenizers of this machine, each loaded once in each process."""


def _refuse_another(receipt: Receipt | None, plan: Plan, source: Source) -> None:
    """Refuse to replace the output of another run; a run that no longer exists may have been moved.

    Raises:
        InputError: The output folder has another run of the same suite and name.
    """
    url = source.url if receipt is None else receipt.outcome.url
    if url == source.url:
        return
    earlier = Path(url)
    is_same = source.local_path is not None and earlier.resolve() == source.local_path.resolve()
    if "://" in url or (earlier.exists() and not is_same):
        raise InputError(
            f"{source.url}: a run of the same suite and name, {url}, is in {plan.output} already. Use another --output."
        )


def _holds(receipt: Receipt, plan: Plan, states: dict[str, FileState]) -> bool:
    return (
        receipt.files == states
        and receipt.basis == plan.basis(receipt.deployments)
        and all(state_of(plan.output / path) == state for path, state in receipt.outputs.items())
    )


def read_receipt(path: Path) -> Receipt | None:
    """Return a receipt, or None if it is missing or this version cannot read it."""
    try:
        return msgspec.json.decode(path.read_bytes(), type=Receipt)
    except (OSError, msgspec.DecodeError, RecursionError):
        return None


def part_name(source: Source) -> str:
    """Return the name of a run's part of the requests table, without ending: readable, and unique by suite and run."""
    identity = posixpath.join(source.suite, source.name)
    readable = re.sub(r"[^\w.=-]+", "_", f"{source.suite}-{source.name}")[:120]
    return f"{readable}-{hashlib.sha256(identity.encode(errors='surrogateescape')).hexdigest()[:12]}"


def _parquet(tables: Iterable[pa.Table]) -> bytes:
    buffer = io.BytesIO()
    with pq.ParquetWriter(buffer, request_schema(), use_dictionary=_ALIKE) as writer:
        for table in tables:
            writer.write_table(table)
    return buffer.getvalue()


_ALIKE = [name for name, kind in REQUEST_COLUMNS.items() if kind != pa.float64()]
_ALIKE += ["scores.key_value.key", "scores.key_value.value"]
"""Columns with many equal values; a dictionary of seconds and dollars would be as long as the column."""


def _matched(run: HarnessRun, scored: Sequence[ScoredRequests]) -> Iterator[Matched]:
    asked = dict.fromkeys((record.deployment, record.model) for record in run.records)
    for each in scored:
        num_requests = np.bincount(each.choice, minlength=len(asked)).tolist()
        for (deployment, model), match, number in zip(asked, each.choices, num_requests, strict=True):
            coefficients, matched_by = (match.fit.deployment, match.matched_by) if match else (None, None)
            yield Matched(deployment, model, each.stack, coefficients, matched_by, number)
