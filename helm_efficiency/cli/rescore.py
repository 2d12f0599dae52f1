"""The command that re-scores archives of runs."""

import json
import os
import sys
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import date
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from helm_efficiency.cli import app
from helm_efficiency.cli.command import printing
from helm_efficiency.cli.load_options import (
    ConcurrencyOption,
    DisaggregatedOption,
    PrefixCacheOption,
    RateOption,
    SloOption,
    SpeculateOption,
    busy_server,
    refuse_disaggregated,
)
from helm_efficiency.cli.options import (
    NOTHING_IN_CACHE,
    ApiPricesOption,
    Format,
    FormatOption,
    OnOption,
    OutputFolder,
    PathsArgument,
    PriceDateOption,
    PriceListOption,
    PricesOption,
    StoreOption,
    emit,
    note,
)
from helm_efficiency.cli.progress import working
from helm_efficiency.cli.tables import Field
from helm_efficiency.cli.warnings import RunWarning, grouped, host_of, relative, without_path
from helm_efficiency.defaults import DEFAULT_STORE
from helm_efficiency.errors import InputError
from helm_efficiency.metrics.quantities import COUNT, PLAIN, SECONDS

if TYPE_CHECKING:
    from collections.abc import Callable

    from helm_efficiency.rescoring.run import Outcome


_FIELDS = (
    Field("num_runs", "Runs", COUNT),
    Field("num_scored", "Scored", COUNT),
    Field("num_unchanged", "Unchanged", COUNT),
    Field("num_failed", "Failed", COUNT),
    Field("num_requests", "Requests", COUNT),
    Field("seconds", "Took", SECONDS, 1),
    Field("requests_per_s", "Requests a second", PLAIN, 2),
    Field("mb_per_s", "MB a second", PLAIN, 3),
)
_MATCHES = (
    Field("deployment", "Deployment"),
    Field("model", "Model", None, 2),
    Field("stack", "Stack", None, 1),
    Field("coefficients", "Coefficients of"),
    Field("matched_by", "Matched by"),
    Field("num_requests", "Requests", COUNT, 1),
)


@app.command(rich_help_panel="Score")
def rescore(
    paths: PathsArgument,
    *,
    output: OutputFolder = Path("scored"),
    store: StoreOption = DEFAULT_STORE,
    stack: Annotated[
        list[str], typer.Option(help="On which stack of the store; may be repeated. Default: that of the folder.")
    ] = [],  # noqa: B006
    on: OnOption = None,
    jobs: Annotated[int, typer.Option(min=1, help="Processes.")] = os.cpu_count() or 1,
    scheduler: Annotated[str | None, typer.Option(help="A dask scheduler, such as tcp://host:8786.")] = None,
    cache: Annotated[list[Path], typer.Option(help="Folder of HELM's request caches; they hold usage.")] = [],  # noqa: B006
    prices: PricesOption = None,
    price_list: PriceListOption = "on-demand",
    price_date: PriceDateOption = None,
    api_prices: ApiPricesOption = None,
    slo: SloOption = None,
    concurrency: ConcurrencyOption = None,
    rate: RateOption = None,
    speculate: SpeculateOption = None,
    prefix_cache: PrefixCacheOption = False,
    disaggregated: DisaggregatedOption = False,
    in_place: Annotated[bool, typer.Option("--in-place", help="Put the stats into the runs themselves.")] = False,
    undo: Annotated[bool, typer.Option("--undo", help="Put back what --in-place changed; nothing is scored.")] = False,
    tables_only: Annotated[bool, typer.Option("--tables-only", help="Write no stats.")] = False,
    force: Annotated[bool, typer.Option("--force", help="Score again what has not changed.")] = False,
    explain: Annotated[bool, typer.Option("--explain", help="Show what each deployment was matched to.")] = False,
    strict: Annotated[bool, typer.Option("--strict", help="Exit with 1 if anything has no coefficients.")] = False,
    format: FormatOption = Format.table,
) -> None:
    """Score the efficiency of every request of every run under PATH; no model is called.

    Needs no store: without one, open models are scored on h100-sxm with vLLM, or on what --on names. Writes
    requests/*.parquet, runs.parquet and runs/SUITE/RUN below --output. The suites there are HELM's own with efficiency
    stats in them: helm-summarize --output-path OUTPUT --suite SUITE.

    Example: helm-efficiency rescore benchmark_output/runs/v1 --output scored
    """
    if undo:
        _undo(paths)
        return
    refuse_disaggregated(disaggregated)
    busy = busy_server(slo, concurrency, rate, speculate=speculate, prefix_cache=prefix_cache)
    from helm_efficiency.rescoring.forkserver import begin_to_load

    if jobs > 1 and scheduler is None:
        begin_to_load()
    from helm_efficiency.adapters.sources import find_sources
    from helm_efficiency.cli.stack_choice import choose_coefficients, remember_stacks
    from helm_efficiency.metrics.pricing import Pricing
    from helm_efficiency.rescoring.plan import StatsTarget, make_plan
    from helm_efficiency.rescoring.rescore import rescore as rescore_runs
    from helm_efficiency.rescoring.rescore import summarize

    if in_place and tables_only:
        raise InputError("--in-place and --tables-only exclude each other.")
    target = StatsTarget.in_place if in_place else StatsTarget.none if tables_only else StatsTarget.copy
    with working("Looking for runs"):
        sources = find_sources(paths, besides=output)
    if not sources:
        for path in paths:
            if "://" not in path and Path(path).resolve().is_relative_to(output.resolve()):
                raise InputError(f"{path} lies in --output {output}, which is written to. Name a folder beside it.")
        raise InputError(
            f"No runs under {', '.join(paths)}; expected those of HELM, Inspect, lm-eval or Every Eval Ever."
        )
    with working("Gathering coefficients"):
        chosen = choose_coefficients(stack, on, store=store, output=output, prices=prices)
    day = price_date.date() if price_date else date.today()
    plan = make_plan(
        chosen.coefficients,
        stacks=chosen.stacks,
        output=output.absolute(),
        target=target,
        force=force,
        caches=cache,
        pricing=Pricing.as_of(day, price_list=price_list, accelerator_file=prices, api_file=api_prices),
        busy=busy,
    )
    began = time.monotonic()
    with _progress(len(sources)) as show:
        outcomes = rescore_runs(plan, sources, jobs=jobs, scheduler=scheduler, on_outcome=show)
    summary = summarize(outcomes, seconds=time.monotonic() - began) | {"stacks": [each for each in plan.stacks if each]}
    remember_stacks(output, chosen)
    _report(summary, outcomes, roots=paths, format=format, explain=explain)
    if cache and not any(outcome.num_usage for outcome in outcomes):
        note(NOTHING_IN_CACHE.format(caches=", ".join(map(str, cache))))
    if summary["failed"] or (strict and summary["missing"]):
        raise typer.Exit(1)


def _undo(paths: Sequence[str]) -> None:
    """Put the original stat files back, and note into how many runs.

    Raises:
        Exit: A run was changed since, or no run has files to put back.
    """
    from helm_efficiency.rescoring.originals import undo

    restored, changed = 0, []
    for path in paths:
        runs, lines = undo(Path(path))
        restored += len(runs)
        changed += lines
    _note_all(changed)
    note(f"{restored} runs are as they were before --in-place.")
    if changed or not restored:
        raise typer.Exit(1)


@contextmanager
def _progress(num_runs: int) -> Iterator["Callable[[Outcome], None]"]:
    """Show a bar with runs, speed and skipped runs on stderr, and nothing if stderr is not a terminal."""
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    counts = {"requests": 0, "bytes": 0, "unchanged": 0, "failed": 0}
    began = time.monotonic()
    columns = (BarColumn(), MofNCompleteColumn(), TextColumn("runs · {task.description}"), TimeRemainingColumn())
    with Progress(*columns, console=Console(stderr=True), disable=not sys.stderr.isatty()) as progress:
        task = progress.add_task("", total=num_runs)

        def show(outcome: "Outcome") -> None:
            if outcome.status == "scored":
                counts["requests"] += outcome.num_requests
                counts["bytes"] += outcome.num_bytes
            else:
                counts[outcome.status] += 1
            seconds = time.monotonic() - began
            speed = f"{counts['requests'] / seconds:,.0f} requests/s · {counts['bytes'] / seconds / 1e6:,.0f} MB/s"
            skipped = f"{counts['unchanged']} unchanged · {counts['failed']} failed"
            progress.update(task, advance=1, description=f"{speed} · {skipped}")

        yield show


def _report(
    summary: dict[str, Any], outcomes: Sequence["Outcome"], *, roots: Sequence[str], format: Format, explain: bool
) -> None:
    if format is Format.json:
        sys.stdout.write(json.dumps(summary, indent=2) + "\n")
        return
    for line in _warning_lines(outcomes, roots):
        note(line)
    _note_all([without_path(each["error"], each["run"], roots) for each in summary["failed"]])
    _note_all([f"No idealized runtime for {m['num_requests']} requests: {m['reason']}" for m in summary["missing"]])
    if explain:
        emit(summary["matches"], format, _MATCHES)
    on = f"Scored on {', '.join(summary['stacks']) or 'no stack'}"
    emit([{name: value for name, value in summary.items() if not isinstance(value, list)}], format, _FIELDS, title=on)


def _warning_lines(outcomes: Sequence["Outcome"], roots: Sequence[str]) -> list[str]:
    """Return the warnings as lines; without --verbose, the warnings of one host share a line."""
    hosts = [host_of(outcome.matches[0].deployment) if outcome.matches else "" for outcome in outcomes]
    found = [
        RunWarning(outcome.url, host, text)
        for outcome, host in zip(outcomes, hosts, strict=True)
        for text in outcome.warnings
    ]
    if printing().verbose:
        return [f"{relative(each.run, roots)}: {each.text}" for each in found]
    return grouped(found, Counter(hosts), roots)


def _note_all(lines: Sequence[str]) -> None:
    for line in lines:
        note(line)
