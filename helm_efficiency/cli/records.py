"""The command that shows what runs of any harness recorded."""

import json
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from helm_efficiency.cli import app
from helm_efficiency.cli.command import printing
from helm_efficiency.cli.options import NOTHING_IN_CACHE, Format, FormatOption, PathsArgument, emit_each, note
from helm_efficiency.cli.tables import Field
from helm_efficiency.cli.warnings import RunWarning, grouped, host_of, relative
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
    cache: Annotated[
        list[Path], typer.Option(help="HELM's request caches, for the provider's token counts: prod_env/cache.")
    ] = [],  # noqa: B006 (typer copies it)
    count_tokens: Annotated[
        bool, typer.Option("--count-tokens", help="Count what nobody counted, with tokenizers on this machine.")
    ] = False,
    tokenizer: Annotated[
        list[str],
        typer.Option(metavar="NAME=PLACE", help="Tokenizer of a model or deployment."),
    ] = [],  # noqa: B006 (typer copies it)
    every_eval_ever: Annotated[Path | None, typer.Option(help="Folder to write Every Eval Ever data to.")] = None,
    organization: Annotated[str, typer.Option(help="Who provides that data.")] = "unknown",
    format: FormatOption = Format.table,
) -> None:
    """What HELM, Inspect, lm-evaluation-harness and Every Eval Ever recorded: tokens, times, scores, and who counted.

    A table has a row a run, JSON and CSV have a row a request.

    Example: helm-efficiency records benchmark_output/runs/v1 --cache prod_env/cache
    """
    from helm_efficiency.adapters.helm.request_cache import RequestCaches
    from helm_efficiency.adapters.sources import iter_sources, read_runs
    from helm_efficiency.adapters.tokenizers import LocalTokenizers

    named = dict(_pair(text) for text in tokenizer)
    tokenizers = LocalTokenizers(named) if count_tokens or named else None
    caches = RequestCaches.of(cache)
    counts = {"runs": 0, "problems": 0}
    hosts: Counter[str] = Counter()
    counted_by: Counter[str] = Counter()
    warnings: list[RunWarning] = []

    def tell(problem: object) -> None:
        counts["problems"] += 1
        note(str(problem))

    def rows() -> Iterator[dict[str, Any]]:
        for run in read_runs(paths, caches=caches if cache else None, tokenizers=tokenizers, on_error=tell):
            counts["runs"] += 1
            host = host_of(run.records[0].deployment) if run.records else ""
            hosts[host] += 1
            counted_by.update(who for r in run.records for who in (r.prompt_provenance, r.output_provenance))
            warnings.extend(RunWarning(str(run.source), host, warning) for warning in run.warnings)
            if every_eval_ever is not None:
                _write(run, every_eval_ever, organization, tell)
            yield from [_summary(run)] if format is Format.table else _requests(run, flat=format is Format.csv)
            show(counts)

    for problem in caches.problems:
        tell(problem)
    for path in paths:  # report unreadable paths before anything is written
        next(iter_sources([path]), None)
    with _progress(shown=format is Format.table or not sys.stdout.isatty()) as show:
        emit_each(rows(), format, _FIELDS)
    each = [f"{relative(warning.run, paths)}: {warning.text}" for warning in warnings]
    for line in each if printing().verbose else grouped(warnings, hosts, paths):
        note(line)
    if cache and not counted_by["usage"]:
        note(NOTHING_IN_CACHE.format(caches=", ".join(map(str, cache))))
    if tokenizers is not None and counted_by["missing"] and not counted_by["tokenizer"]:
        note(_NO_TOKENIZER)
    if counts["problems"] or not counts["runs"]:
        note(f"{counts['runs']} runs read, {counts['problems']} problems.")
        raise typer.Exit(1)


@contextmanager
def _progress(*, shown: bool) -> Iterator[Callable[[Mapping[str, int]], None]]:
    """Show how many runs were read on a terminal, and nothing elsewhere."""
    from rich.console import Console
    from rich.progress import Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

    columns = (SpinnerColumn(), TextColumn("{task.description}"), TimeElapsedColumn())
    is_off = not (shown and sys.stderr.isatty())
    on_one_terminal = sys.stdout.isatty()  # else do not redirect stdout: rich would send it to the bar's terminal
    with Progress(
        *columns, console=Console(stderr=True), disable=is_off, transient=True, redirect_stdout=on_one_terminal
    ) as bar:
        task = bar.add_task("looking for runs …")
        yield lambda counts: bar.update(
            task, description=f"{counts['runs']:,} runs read · {counts['problems']:,} problems"
        )


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
