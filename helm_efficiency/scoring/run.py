"""Re-score one run: read it, score its requests, write its tables and stats, and keep a receipt.

The receipt is written last. It says what the numbers were made from, so that a run that has not changed is not scored
again, and a run that was interrupted is.
"""

import contextlib
import gc
import hashlib
import io
import posixpath
import re
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Literal

import msgspec
import pyarrow.parquet as pq
from msgspec import Struct

from helm_efficiency.errors import EfficiencyError, OutputError
from helm_efficiency.harness.efficiency import ScoredRequests, score_requests
from helm_efficiency.harness.helm_aggregate import aggregated_stats, per_instance_stats, read_layout
from helm_efficiency.harness.helm_rewrite import rewrite_per_instance_stats, rewrite_stats
from helm_efficiency.harness.helm_runs import HelmRun, read_run
from helm_efficiency.harness.helm_stats import stat_columns
from helm_efficiency.scoring.files import locked, remove_unfinished, write_files
from helm_efficiency.scoring.plan import Plan, StatsTarget
from helm_efficiency.scoring.rows import request_table, run_rows
from helm_efficiency.scoring.sources import FileState, Folder, Source

REQUESTS, RUNS, RECEIPTS = "requests", "runs", ".receipts"
"""Folders of the output: parts of the requests table, copied suites, receipts."""

STATS, PER_INSTANCE_STATS = "stats.json", "per_instance_stats.json"
_DISPLAYED = frozenset({"instances.json", "display_predictions.json", "display_requests.json"})
"""What helm-summarize derives from a run; a copy gets its own."""


class Matched(Struct, frozen=True):
    """What the requests of one deployment were matched to on one stack."""

    deployment: str
    model: str
    stack: str | None
    coefficients: str | None
    matched_by: str | None
    num_requests: int


class Outcome(Struct, frozen=True, kw_only=True):
    """What became of one run.

    Attributes:
        url: Where it is.
        status: Whether it was scored now, had been scored before, or could not be.
        num_requests: Requests in it.
        num_bytes: Size of its files.
        matches: What its deployments were matched to.
        missing: How many requests have no idealized runtime, by reason.
        warnings: What is doubtful in it.
        error: Why it failed; empty otherwise.
    """

    url: str
    status: Literal["scored", "unchanged", "failed"]
    num_requests: int = 0
    num_bytes: int = 0
    matches: tuple[Matched, ...] = ()
    missing: dict[str, int] = {}
    warnings: tuple[str, ...] = ()
    error: str = ""


class Receipt(Struct, frozen=True):
    """What a run was scored from and what came of it; files by path, with their states after the scoring."""

    basis: dict[str, Any]
    deployments: list[tuple[str, str]]
    files: dict[str, FileState]
    outputs: dict[str, FileState]
    rows: list[dict[str, Any]]
    outcome: Outcome


def rescore_run(plan: Plan, source: Source) -> Outcome:
    """Re-score one run, unless nothing it depends on has changed.

    Raises:
        OutputError: A file cannot be written; earlier ones are unharmed.
    """
    in_place = source.local_path if plan.target is StatsTarget.in_place else None
    try:
        with locked(in_place, wait=True) if in_place else contextlib.nullcontext(), _without_garbage_collection():
            return _rescore(plan, source)
    except OutputError:
        raise
    except (EfficiencyError, OSError, msgspec.DecodeError) as error:
        return Outcome(url=source.url, status="failed", error=str(error))


@contextlib.contextmanager
def _without_garbage_collection() -> Iterator[None]:
    """A run is hundreds of thousands of objects and no cycle among them; walking them takes as long as the work."""
    was_enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_enabled:
            gc.enable()


def _rescore(plan: Plan, source: Source) -> Outcome:
    folder = source.open()
    states = folder.states()
    receipt_path = plan.output / RECEIPTS / f"{part_name(source)}.json"
    receipt = None if plan.force else read_receipt(receipt_path)
    if receipt is not None and _holds(receipt, plan, states):
        return msgspec.structs.replace(receipt.outcome, url=source.url, status="unchanged")
    run = read_run(folder.path, read_bytes=folder.read_path)
    scored = score_requests(run.records, plan.coefficients, stacks=plan.stacks, pricing=plan.pricing)
    written = _write(plan, source, folder=folder, run=run, scored=scored)
    deployments = list(dict.fromkeys((record.deployment, record.model) for record in run.records))
    outcome = Outcome(
        url=source.url,
        status="scored",
        num_requests=len(run.records),
        num_bytes=sum(size for size, _ in states.values()),
        matches=_matched(run, scored),
        missing=dict(Counter(reason for each in scored for reason in each.reasons if reason)),
        warnings=run.warnings,
    )
    receipt = Receipt(
        plan.basis(deployments),
        deployments,
        states | folder.states() if plan.target is StatsTarget.in_place else states,
        {str(path.relative_to(plan.output)): _state(path) for path in written if path.is_relative_to(plan.output)},
        run_rows(run.records, scored, score_name=run.score_name),
        outcome,
    )
    write_files({receipt_path: msgspec.json.encode(receipt)})
    return outcome


def _holds(receipt: Receipt, plan: Plan, states: dict[str, FileState]) -> bool:
    return (
        receipt.files == states
        and receipt.basis == plan.basis(receipt.deployments)
        and all(_state(plan.output / path) == state for path, state in receipt.outputs.items())
    )


def _state(path: Path) -> FileState:
    try:
        status = path.stat()
    except OSError:
        return (-1, "")
    return status.st_size, str(status.st_mtime_ns)


def read_receipt(path: Path) -> Receipt | None:
    """A receipt, None where there is none that this version can read."""
    try:
        return msgspec.json.decode(path.read_bytes(), type=Receipt)
    except (OSError, msgspec.DecodeError):
        return None


def part_name(source: Source) -> str:
    """Name of a run's part of the requests table, without its ending: readable, and unique by suite and run."""
    identity = posixpath.join(source.suite, source.name)
    readable = re.sub(r"[^\w.=-]+", "_", f"{source.suite}-{source.name}")[:120]
    return f"{readable}-{hashlib.sha256(identity.encode()).hexdigest()[:12]}"


def _write(plan: Plan, source: Source, *, folder: Folder, run: HelmRun, scored: Sequence[ScoredRequests]) -> list[Path]:
    """Write the part of the requests table and the stats; the paths written."""
    buffer = io.BytesIO()
    pq.write_table(request_table(run.records, scored), buffer)
    files = {plan.output / REQUESTS / f"{part_name(source)}.parquet": buffer.getvalue()}
    if plan.target is not StatsTarget.none:
        target = source.local_path if plan.target is StatsTarget.in_place else None
        target = target or plan.output / RUNS / source.suite / source.name
        remove_unfinished(target)
        stats = _stats_files(folder, run, scored)
        if plan.target is StatsTarget.copy:
            stats = {name: folder.read(name) for name in folder.names() if name not in _DISPLAYED} | stats
        files |= {target / name: content for name, content in stats.items()}
    write_files(files)
    return list(files)


def _stats_files(folder: Folder, run: HelmRun, scored: Sequence[ScoredRequests]) -> dict[str, bytes]:
    """The two stat files of a run with ours in them; only those that it has."""
    layout = read_layout(folder.read("scenario_state.json"))
    columns = stat_columns(run.records, *scored)
    files = {}
    if STATS in folder.names():
        added = aggregated_stats(layout, columns)
        files[STATS] = rewrite_stats(folder.read(STATS), added, file=f"{folder.path}/{STATS}")
    if PER_INSTANCE_STATS in folder.names():
        file = f"{folder.path}/{PER_INSTANCE_STATS}"
        entries = per_instance_stats(layout, columns)
        files[PER_INSTANCE_STATS] = rewrite_per_instance_stats(folder.read(PER_INSTANCE_STATS), entries, file=file)
    return files


def _matched(run: HelmRun, scored: Sequence[ScoredRequests]) -> tuple[Matched, ...]:
    counts: Counter[tuple[str, str, str | None, str | None, str | None]] = Counter()
    for each in scored:
        for record, match in zip(run.records, each.matches, strict=True):
            coefficients, matched_by = (match.fit.deployment, match.matched_by) if match else (None, None)
            counts[record.deployment, record.model, each.stack, coefficients, matched_by] += 1
    return tuple(Matched(*key, num_requests) for key, num_requests in counts.items())
