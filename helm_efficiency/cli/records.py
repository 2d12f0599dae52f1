"""records: show what runs of any harness recorded."""

import json
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from helm_efficiency.cli import app
from helm_efficiency.cli.options import (
    NOTHING_IN_CACHE,
    CachesOption,
    Format,
    FormatOption,
    PathsArgument,
    emit,
    note,
)
from helm_efficiency.cli.progress import bar
from helm_efficiency.cli.tables import Field
from helm_efficiency.cli.warnings import RunWarning, grouped, host_of, shortened
from helm_efficiency.errors import InputError
from helm_efficiency.metrics.quantities import COUNT, SECONDS

if TYPE_CHECKING:
    from helm_efficiency.adapters.record import HarnessRun


_FIELDS = (
    Field("run", "Run"),
    Field("requests", "Requests", COUNT, 1),
    Field("prompt_tokens", "Prompt tokens", COUNT, 2),
    Field("output_tokens", "Output tokens", COUNT, 2),
    Field("observed_s", "Observed", SECONDS, 2),
    Field("missing", "Without counts", COUNT, 4),
    Field("doubtful", "Doubtful", COUNT, 5),
    Field("counted_by", "Counted by", None, 3),
)


_NO_TOKENIZER = (
    "Nothing was counted: no tokenizer of these models is on this machine. Name one with --tokenizer NAME=FOLDER, or "
    "put the model's own into the local Hugging Face cache."
)


@app.command(rich_help_panel="HELM")
def records(
    paths: PathsArgument,
    *,
    cache: CachesOption = [],  # noqa: B006
    count_tokens: Annotated[bool, "Count what nobody counted, with tokenizers on this machine."] = False,
    tokenizer: Annotated[
        list[str], typer.Option(metavar="NAME=PLACE", help="Tokenizer of a model or deployment.")
    ] = [],  # noqa: B006
    every_eval_ever: Annotated[Path | None, "Folder to write Every Eval Ever data to."] = None,
    organization: Annotated[str, "Provider of that data."] = "unknown",
    format: FormatOption = Format.table,
) -> None:
    """Show what HELM, Inspect, lm-evaluation-harness and Every Eval Ever recorded: tokens, times, scores, who counted.

    A table has a row a run, JSON and CSV have a row a request.

    Example: helm-efficiency example && helm-efficiency records example/runs
    """
    from helm_efficiency.adapters.helm.request_cache import RequestCaches
    from helm_efficiency.adapters.sources import iter_sources, read_runs
    from helm_efficiency.adapters.tokenizers import LocalTokenizers

    named = dict(_pair(text) for text in tokenizer)
    tokenizers = LocalTokenizers(named) if count_tokens or named else None
    caches = RequestCaches.of(cache)
    seen = _Seen(paths, format, every_eval_ever, organization)
    for problem in caches.problems:
        seen.tell(problem)
    for path in paths:  # report unreadable paths before anything is written
        next(iter_sources([path]), None)
    runs = read_runs(paths, caches=caches if cache else None, tokenizers=tokenizers, on_error=seen.tell)
    emit(seen.rows(runs), format, _FIELDS)
    for line in grouped(seen.warnings, seen.hosts, paths):
        note(line)
    if cache and not seen.counted_by["usage"]:
        note(NOTHING_IN_CACHE.format(caches=", ".join(map(str, cache))))
    if tokenizers is not None and seen.counted_by["missing"] and not seen.counted_by["tokenizer"]:
        note(_NO_TOKENIZER)
    if seen.num_problems or not seen.hosts:
        note(f"{seen.hosts.total()} runs read, {seen.num_problems} problems.")
        raise typer.Exit(1)


@dataclass
class _Seen:
    """Rows of runs that are read one after the other, and what was met on the way."""

    paths: list[str]
    format: Format
    every_eval_ever: Path | None
    organization: str
    num_problems: int = 0
    hosts: Counter[str] = field(default_factory=Counter)
    counted_by: Counter[str] = field(default_factory=Counter)
    warnings: list[RunWarning] = field(default_factory=list)

    def tell(self, problem: object) -> None:
        """Note a problem."""
        self.num_problems += 1
        note(shortened(str(problem), self.paths))

    def rows(self, runs: "Iterable[HarnessRun]") -> Iterator[dict[str, Any]]:
        """Yield the rows of each run while a line shows how many runs were read."""
        with bar("looking for runs …", None, shown=self.format is Format.table or not sys.stdout.isatty()) as advance:
            for run in runs:
                host = host_of(run.records[0].deployment) if run.records else ""
                self.hosts[host] += 1
                self.counted_by.update(who for r in run.records for who in (r.prompt_provenance, r.output_provenance))
                self.warnings += (RunWarning(str(run.source), host, warning) for warning in run.warnings)
                if self.every_eval_ever is not None:
                    _write(run, self.every_eval_ever, self.organization, self.tell)
                is_flat = self.format is Format.csv
                yield from [_summary(run)] if self.format is Format.table else _requests(run, flat=is_flat)
                advance(f"{self.hosts.total():,} runs read · {self.num_problems:,} problems")


def _pair(text: str) -> tuple[str, str]:
    name, equals, place = text.partition("=")
    if not (name and equals and place):
        raise InputError(f"--tokenizer {text}: expected NAME=PLACE, such as host/model=org/repository.")
    return name, place


def _summary(run: "HarnessRun") -> dict[str, Any]:
    records = run.records
    return {
        "run": run.name,
        "requests": len(records),
        "prompt_tokens": _total(r.prompt_tokens for r in records),
        "output_tokens": _total(r.output_tokens for r in records),
        "observed_s": _total(r.observed_s for r in records),
        "missing": sum(r.prompt_tokens is None or r.output_tokens is None for r in records),
        "doubtful": sum(bool(r.doubts) for r in records),
        "counted_by": ", ".join(sorted({r.output_provenance for r in records})),
    }


def _total(values: Iterable[float | None]) -> float | None:
    """Return the sum of the known values; None if none is known."""
    known = [value for value in values if value is not None]
    return sum(known) if known else None


def _requests(run: "HarnessRun", *, flat: bool) -> Iterator[dict[str, Any]]:
    """Yield one row for each request; in flat rows, scores are JSON in one cell."""
    import msgspec

    for record in run.records:
        row: dict[str, Any] = msgspec.to_builtins(record)
        yield {**row, "scores": json.dumps(record.scores), "doubts": " ".join(record.doubts)} if flat else row


def _write(run: "HarnessRun", folder: Path, organization: str, tell: Callable[[object], None]) -> None:
    from helm_efficiency.adapters.every_eval_ever import write_every_eval_ever

    try:
        written = write_every_eval_ever(run, folder, organization=organization, retrieved_at=time.time())
    except InputError as error:
        tell(error)
        return
    if written.num_skipped:
        tell(f"{run.source}: {written.num_skipped} requests have no {run.score_name} and were not written")
