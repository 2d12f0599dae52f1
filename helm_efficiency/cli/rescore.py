"""rescore: score archives of runs."""

import json
import os
import sys
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from helm_efficiency.cli import app
from helm_efficiency.cli.load_options import LoadOptions
from helm_efficiency.cli.options import (
    NOTHING_IN_CACHE,
    ApiPricesOption,
    CachesOption,
    Format,
    FormatOption,
    OnOption,
    OutputFolder,
    PathsArgument,
    PriceOptions,
    StoreOption,
    emit,
    note,
)
from helm_efficiency.cli.progress import bar, working
from helm_efficiency.cli.tables import Field
from helm_efficiency.cli.warnings import RunWarning, grouped, host_of, without_path
from helm_efficiency.defaults import DEFAULT_STORE
from helm_efficiency.errors import InputError
from helm_efficiency.metrics.quantities import COUNT, PLAIN, SECONDS

if TYPE_CHECKING:
    from collections.abc import Callable

    from helm_efficiency.adapters.sources import Source
    from helm_efficiency.rescoring.plan import Plan, StatsTarget
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


@dataclass(frozen=True)
class Work:
    """Options on what is written, and on who does the work."""

    jobs: Annotated[int, typer.Option(min=1, help="Processes.")] = os.cpu_count() or 1
    scheduler: Annotated[str | None, "A dask scheduler, such as tcp://host:8786."] = None
    in_place: Annotated[bool, "Put the stats into the runs themselves."] = False
    tables_only: Annotated[bool, "Write no stats."] = False
    force: Annotated[bool, "Score again what has not changed."] = False

    def target(self) -> "StatsTarget":
        """Return the place of the stats.

        Raises:
            InputError: Two places were asked for.
        """
        from helm_efficiency.rescoring.plan import StatsTarget

        if self.in_place and self.tables_only:
            raise InputError("--in-place and --tables-only exclude each other.")
        return StatsTarget.in_place if self.in_place else StatsTarget.none if self.tables_only else StatsTarget.copy

    def begin_to_load(self) -> None:
        """Let the worker processes load their modules while this process looks for runs."""
        from helm_efficiency.rescoring.forkserver import begin_to_load

        if self.jobs > 1 and self.scheduler is None:
            begin_to_load()

    def rescore(self, plan: "Plan", sources: "list[Source]") -> tuple[list["Outcome"], float]:
        """Score the runs with a bar; return the outcomes and the seconds that it took."""
        from helm_efficiency.rescoring.rescore import rescore

        began = time.monotonic()
        with _progress(len(sources)) as show:
            outcomes = rescore(plan, sources, jobs=self.jobs, scheduler=self.scheduler, on_outcome=show)
        return outcomes, time.monotonic() - began


@app.command(rich_help_panel="Score")
def rescore(
    paths: PathsArgument,
    *,
    output: OutputFolder = Path("scored"),
    store: StoreOption = DEFAULT_STORE,
    stack: Annotated[list[str], "On which stack of the store; may be repeated. Default: that of the folder."] = [],  # noqa: B006
    on: OnOption = None,
    prices: PriceOptions,
    api_prices: ApiPricesOption = None,
    cache: CachesOption = [],  # noqa: B006
    load: LoadOptions,
    work: Work,
    undo: Annotated[bool, "Put back what --in-place changed; nothing is scored."] = False,
    explain: Annotated[bool, "Show what each deployment was matched to."] = False,
    strict: Annotated[bool, "Exit with 1 if anything has no coefficients."] = False,
    format: FormatOption = Format.table,
) -> None:
    """Score the efficiency of every request of every run under PATH; no model is called.

    Needs no store: without one, open models are scored on h100-sxm with vLLM, or on what --on names. Writes
    requests/*.parquet, runs.parquet and runs/SUITE/RUN below --output. The suites there are HELM's own with efficiency
    stats in them: helm-summarize --output-path OUTPUT --suite SUITE.

    Example: helm-efficiency example && helm-efficiency rescore example/runs
    """
    if undo:
        _undo(paths)
        return
    from helm_efficiency.cli.stack_choice import choose_coefficients, remember_stacks
    from helm_efficiency.rescoring.plan import make_plan
    from helm_efficiency.rescoring.rescore import summarize

    target = work.target()
    busy = load.server()
    work.begin_to_load()
    sources = _sources(paths, output)
    with working("Gathering coefficients"):
        chosen = choose_coefficients(stack, on, store=store, output=output, prices=prices.prices)
    plan = make_plan(
        chosen.coefficients,
        stacks=chosen.stacks,
        output=output.absolute(),
        target=target,
        force=work.force,
        caches=cache,
        pricing=prices.pricing(api_prices),
        busy=busy,
    )
    outcomes, seconds = work.rescore(plan, sources)
    remember_stacks(output, chosen)
    summary = summarize(outcomes, seconds=seconds) | {"stacks": [each for each in plan.stacks if each]}
    _report(summary, outcomes, roots=paths, format=format, explain=explain)
    if cache and not any(outcome.num_usage for outcome in outcomes):
        note(NOTHING_IN_CACHE.format(caches=", ".join(map(str, cache))))
    if summary["failed"] or (strict and summary["missing"]):
        raise typer.Exit(1)


def _sources(paths: Sequence[str], output: Path) -> list["Source"]:
    """Return the runs under the paths.

    Raises:
        InputError: There are none.
    """
    from helm_efficiency.adapters.sources import find_sources

    with working("Looking for runs"):
        sources = find_sources(paths, besides=output)
    if sources:
        return sources
    for path in paths:
        if "://" not in path and Path(path).resolve().is_relative_to(output.resolve()):
            raise InputError(f"{path} lies in --output {output}, which is written to. Name a folder beside it.")
    raise InputError(f"No runs under {', '.join(paths)}; expected those of HELM, Inspect, lm-eval or Every Eval Ever.")


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
    for line in (*changed, f"{restored} runs are as they were before --in-place."):
        note(line)
    if changed or not restored:
        raise typer.Exit(1)


@contextmanager
def _progress(num_runs: int) -> Iterator["Callable[[Outcome], None]"]:
    """Show a bar with runs, speed and skipped runs on a terminal."""
    counts = {"requests": 0, "bytes": 0, "unchanged": 0, "failed": 0}
    began = time.monotonic()
    with bar("", num_runs) as advance:

        def show(outcome: "Outcome") -> None:
            if outcome.status == "scored":
                counts["requests"] += outcome.num_requests
                counts["bytes"] += outcome.num_bytes
            else:
                counts[outcome.status] += 1
            seconds = time.monotonic() - began
            speed = f"{counts['requests'] / seconds:,.0f} requests/s · {counts['bytes'] / seconds / 1e6:,.0f} MB/s"
            advance(f"{speed} · {counts['unchanged']} unchanged · {counts['failed']} failed")

        yield show


def _report(
    summary: dict[str, Any], outcomes: Sequence["Outcome"], *, roots: Sequence[str], format: Format, explain: bool
) -> None:
    if format is Format.json:
        sys.stdout.write(json.dumps(summary, indent=2) + "\n")
        return
    failures = [without_path(each["error"], each["run"], roots) for each in summary["failed"]]
    missing = [f"No idealized runtime for {m['num_requests']} requests: {m['reason']}" for m in summary["missing"]]
    for line in (*_warning_lines(outcomes, roots), *failures, *missing):
        note(line)
    if explain:
        emit(summary["matches"], format, _MATCHES)
    on = f"Scored on {', '.join(summary['stacks']) or 'no stack'}"
    emit([{name: value for name, value in summary.items() if not isinstance(value, list)}], format, _FIELDS, title=on)


def _warning_lines(outcomes: Sequence["Outcome"], roots: Sequence[str]) -> list[str]:
    """Return the warnings as lines; the warnings of one host share a line."""
    hosts = [host_of(outcome.matches[0].deployment) if outcome.matches else "" for outcome in outcomes]
    found = [
        RunWarning(outcome.url, host, text)
        for outcome, host in zip(outcomes, hosts, strict=True)
        for text in outcome.warnings
    ]
    return grouped(found, Counter(hosts), roots)
