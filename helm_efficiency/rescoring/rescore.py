"""Re-score archives of runs: find the runs, score them, and write the runs table."""

import contextlib
import itertools
import json
import os
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, BinaryIO

import msgspec
import pyarrow.parquet as pq

from helm_efficiency.adapters.sources import Source
from helm_efficiency.codec import decode, encode
from helm_efficiency.core.runtime_model import RuntimeCoefficients
from helm_efficiency.errors import InputError
from helm_efficiency.files import locked, remove_unfinished, write_file, write_files
from helm_efficiency.metrics.rows import run_table, short_hash
from helm_efficiency.metrics.table import COEFFICIENTS, run_schema
from helm_efficiency.rescoring.plan import Plan
from helm_efficiency.rescoring.run import (
    RECEIPTS,
    REQUESTS,
    Matched,
    Outcome,
    Receipt,
    part_name,
    read_receipt,
    rows_of,
)
from helm_efficiency.rescoring.workers import rescore_here, rescore_in_processes, rescore_on_cluster

_WORTH_PROCESSES_BYTES = 300_000_000
"""Size of the files below which scoring takes less time than starting processes."""


def rescore(
    plan: Plan,
    sources: Sequence[Source],
    *,
    jobs: int = 1,
    scheduler: str | None = None,
    on_outcome: Callable[[Outcome], None] = lambda _: None,
) -> list[Outcome]:
    """Re-score runs and write the tables.

    Args:
        plan: Inputs and options.
        sources: Runs to score, each once.
        jobs: Most processes.
        scheduler: Address of a dask scheduler that does the work instead.
        on_outcome: Function that is called after each run, in any order.

    Returns:
        One outcome for each source, in order.

    Raises:
        InputError: Another rescore writes into the same folder, or the scheduler does not answer.
        OutputError: A file cannot be written; earlier files are left unchanged.
        EfficiencyError: A worker was killed.

    Example:
        >>> from pathlib import Path
        >>> from helm_efficiency import Coefficients, Store, find_sources, make_plan, rescore
        >>> output = Path("scored").absolute()
        >>> plan = make_plan(Coefficients.from_store(Store()), stacks=[], output=output)
        >>> {outcome.status for outcome in rescore(plan, find_sources(["benchmark_output/runs"], besides=output))}
        {'unchanged'}
    """
    with locked(plan.output, wait=False):
        _clean(plan.output)
        unique, outcomes = _without_clashes(sources)
        for outcome in outcomes.values():
            on_outcome(outcome)
        share = _Shared()
        for outcome in _work(plan, unique, jobs=jobs, scheduler=scheduler):
            outcomes[outcome.url] = share(outcome)
            on_outcome(outcome)
        _clean(plan.output)
        _write_runs(plan.output)
        _write_coefficients(plan, outcomes.values())
        return [outcomes[source.url] for source in sources]


class _Shared:
    """Memory saver for outcomes: equal parts are shared, as a million runs may have much in common."""

    def __init__(self) -> None:
        self._known: dict[Any, Any] = {}

    def __call__(self, outcome: Outcome) -> Outcome:
        return msgspec.structs.replace(
            outcome,
            matches=self._known.setdefault(outcome.matches, outcome.matches),
            missing=self._known.setdefault(("missing", *outcome.missing.items()), outcome.missing),
            warnings=self._known.setdefault(outcome.warnings, outcome.warnings),
        )


def _clean(output: Path) -> None:
    """Remove partly written files of killed processes, from an earlier call or from a cluster in this one."""
    for name in (REQUESTS, RECEIPTS, ""):
        remove_unfinished(output / name)


def _without_clashes(sources: Sequence[Source]) -> tuple[list[Source], dict[str, Outcome]]:
    """Return the sources that differ in suite or name, and failures for those that would overwrite another."""
    by_part: dict[str, Source] = {}
    clashes: dict[str, Outcome] = {}
    for source in sources:
        if not source.url.isprintable() and any("\ud800" <= character <= "\udfff" for character in source.url):
            error = f"{source.url}: its path is not UTF-8, so that no table can name it. Rename it."
            clashes[source.url] = Outcome(url=source.url, status="failed", error=error)
            continue
        first = by_part.setdefault(part_name(source), source)
        if first is not source:
            error = f"{source.url}: a run of the same suite and name is at {first.url}. Use another --output for it."
            clashes[source.url] = Outcome(url=source.url, status="failed", error=error)
    return list(by_part.values()), clashes


def _work(plan: Plan, sources: Sequence[Source], *, jobs: int, scheduler: str | None) -> Iterator[Outcome]:
    if scheduler is not None:
        return rescore_on_cluster(plan, sources, address=scheduler)
    jobs = min(jobs, len(sources))
    if jobs <= 1 or any(source.is_in_memory for source in sources) or _is_small(sources):
        return rescore_here(plan, sources)
    return rescore_in_processes(plan, sources, jobs=jobs)


def _is_small(sources: Sequence[Source]) -> bool:
    total = 0
    for source in sources:
        if source.local_path is None:
            return False
        total += sum(size for size, _ in source.open().states().values())
        if total >= _WORTH_PROCESSES_BYTES:
            return False
    return True


def _write_runs(output: Path) -> None:
    """Write the runs table of the whole output folder, earlier calls included; memory holds few runs at a time."""
    schema = run_schema()
    schema = schema.with_metadata((schema.metadata or {}) | trace(_receipts(output)))

    def write(target: BinaryIO) -> None:
        rows = itertools.chain.from_iterable(map(rows_of, _receipts(output)))
        with pq.ParquetWriter(target, schema) as writer:
            while block := list(itertools.islice(rows, _ROWS_AT_ONCE)):
                writer.write_table(run_table(block).replace_schema_metadata(schema.metadata))

    write_files({output / "runs.parquet": write})


_ROWS_AT_ONCE = 2_000


def _write_coefficients(plan: Plan, outcomes: Iterable[Outcome]) -> None:
    """Add the coefficients of these runs to the file of earlier calls, by their hash in the requests table."""
    path = plan.output / COEFFICIENTS
    known: dict[str, RuntimeCoefficients] = {}
    with contextlib.suppress(InputError, FileNotFoundError):  # a damaged file is written again
        known = decode(path.read_bytes(), dict[str, RuntimeCoefficients])
    matches = {(of.stack, of.deployment, of.model) for outcome in outcomes for of in outcome.matches if of.stack}
    for stack, deployment, model in sorted(matches):
        match = plan.coefficients.match(stack, deployment, model)
        if match is not None:
            known[short_hash(match.fit)] = match.fit.coefficients
    write_file(path, encode(known))


def _receipts(output: Path) -> Iterator[Receipt]:
    folder = output / RECEIPTS
    names = os.listdir(folder) if folder.is_dir() else []  # noqa: PTH208 (not paths: there may be a million)
    for name in sorted(names):
        receipt = read_receipt(folder / name) if name.endswith(".json") else None
        if receipt is not None:
            yield receipt


def summarize(outcomes: Sequence[Outcome], *, seconds: float) -> dict[str, Any]:
    """Summarize the outcomes of a rescore as plain values.

    Args:
        outcomes: Outcomes of all runs.
        seconds: Duration of the rescore (s).

    Returns:
        Counts of runs and requests, speed, matches, and all missing, doubtful or failed results with their reasons.

    Example:
        >>> from helm_efficiency import summarize
        >>> summarize([], seconds=1.0)["num_failed"]
        0
    """
    statuses = Counter(outcome.status for outcome in outcomes)
    fresh = [outcome for outcome in outcomes if outcome.status == "scored"]
    missing: Counter[str] = Counter()
    matches: Counter[tuple[Any, ...]] = Counter()
    for outcome in outcomes:
        missing.update(outcome.missing)
        for matched in outcome.matches:
            *what, num_requests = msgspec.structs.astuple(matched)
            matches[tuple(what)] += num_requests
    return {
        "num_runs": len(outcomes),
        "num_scored": statuses["scored"],
        "num_unchanged": statuses["unchanged"],
        "num_failed": statuses["failed"],
        "num_requests": sum(outcome.num_requests for outcome in outcomes),
        "seconds": seconds,
        "requests_per_s": sum(outcome.num_requests for outcome in fresh) / seconds,
        "mb_per_s": sum(outcome.num_bytes for outcome in fresh) / 1e6 / seconds,
        "matches": [dict(zip(Matched.__struct_fields__, (*key, n), strict=True)) for key, n in matches.items()],
        "missing": [{"reason": reason, "num_requests": n} for reason, n in missing.items()],
        "warnings": [{"run": o.url, "warning": warning} for o in outcomes for warning in o.warnings],
        "failed": [{"run": outcome.url, "error": outcome.error} for outcome in outcomes if outcome.error],
    }


def trace(receipts: Iterable[Receipt]) -> dict[bytes, bytes]:
    """Return the versions of this package that scored, and the hash of each fit that a deployment was scored with.

    `helm-efficiency show --format json` prints the same hash next to that of the measurements.
    """
    versions: set[str] = set()
    hashes: dict[str, set[str]] = {}
    for receipt in receipts:
        versions.add(str(receipt.basis["version"][0]))
        for deployment, _, service, _, *matches in receipt.basis["fits"]:
            found = [service] if service else []
            hashes.setdefault(deployment, set()).update([*found, *(sha256 for _, sha256, *_ in matches)])
    by_deployment = {deployment: sorted(hashes[deployment]) for deployment in sorted(hashes)}
    return {
        b"helm_efficiency_versions": " ".join(sorted(versions)).encode(),
        b"helm_efficiency_coefficients_sha256": json.dumps(by_deployment).encode(),
    }
