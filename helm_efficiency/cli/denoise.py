"""The command that fits service models to recorded latencies."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from helm_efficiency.cli import app
from helm_efficiency.cli.options import CachesOption, Format, FormatOption, PathsArgument, StoreOption, emit, note
from helm_efficiency.cli.progress import bar, working
from helm_efficiency.cli.tables import Field
from helm_efficiency.cli.warnings import shortened
from helm_efficiency.defaults import DEFAULT_STORE
from helm_efficiency.errors import InputError, InsufficientMeasurementsError
from helm_efficiency.metrics.quantities import COUNT, PERCENT, PLAIN, SECONDS

if TYPE_CHECKING:
    from helm_efficiency.adapters.record import RequestRecord
    from helm_efficiency.core.fitting.fit import Fit
    from helm_efficiency.metrics.services import Service
    from helm_efficiency.store import Store


_FIELDS = (
    Field("deployment", "Deployment"),
    Field("num_requests", "Requests", COUNT, 3),
    Field("observed_s", "Observed", SECONDS),
    Field(
        "denoised_s",
        "Denoised",
        SECONDS,
        0,
        ("denoised_s_low", "denoised_s_high"),
        bound="is_upper_bound",
        keeps_interval=True,
    ),
    Field("contended_share", "Contended", PERCENT, 2),
    Field(
        "decode_s_per_token", "Each further token", SECONDS, 3, ("decode_s_per_token_low", "decode_s_per_token_high")
    ),
    Field("provider_factor", "Over idealized (×)", PLAIN, 1, ("provider_factor_low", "provider_factor_high")),
)
_WEEKS = (
    Field("deployment", "Deployment"),
    Field("begin", "From"),
    Field("end", "To", None, 2),
    Field("requests", "Requests", COUNT, 1),
    Field("level", "Level (×)", PLAIN, 0, ("low", "high")),
)


@app.command(rich_help_panel="Score")
def denoise(
    paths: PathsArgument,
    *,
    store: StoreOption = DEFAULT_STORE,
    deployment: Annotated[list[str], "Only these; may be repeated."] = [],  # noqa: B006
    stack: Annotated[str | None, "Idealized stack for the provider factor."] = None,
    cache: CachesOption = [],  # noqa: B006
    minimum: Annotated[bool, "Store the paper's estimator, the minimum over trials, instead."] = False,
    weeks: Annotated[bool, "Show the level of each week instead."] = False,
    format: FormatOption = Format.table,
) -> None:
    """Show what services take without contention, from the latencies that runs recorded. No model is called.

    Fits a service model for each deployment and keeps it in the store, where scoring and predict find it under the
    stack service-HOST. Runs of the entry efficiency_probe tell most; any others tell what their requests identify.

    Example: helm-efficiency example && helm-efficiency denoise example/runs
    """
    from helm_efficiency.metrics.service_report import flat_row, week_rows
    from helm_efficiency.store import Store

    found, problems = read_services(paths, cache)
    found = [service for service in found if not deployment or service.deployment in deployment]
    if not found and not problems:
        raise InputError(f"No requests of {' or '.join(deployment) or 'any deployment'} in {', '.join(paths)}.")
    reports = denoised(found, Store(store), stack, minimum=minimum)
    problems += [f"{report['deployment']}: not denoised" for report in reports if "denoised_s" not in report]
    if weeks:
        emit([row for report in reports for row in week_rows(report)], format, _WEEKS)
    else:
        emit([dict(report) if format is Format.json else flat_row(report) for report in reports], format, _FIELDS)
    told = [f"{report['deployment']}: {text}" for report in reports for text in report["notes"]]
    for line in [*(told if format is not Format.json else ()), *problems]:
        note(line)
    if problems:
        raise typer.Exit(1)


def read_services(paths: list[str], cache: list[Path]) -> tuple[list["Service"], list[str]]:
    """Return the observed requests of each service in some runs, and a line for each run that cannot be read."""
    from helm_efficiency.metrics.services import services

    problems: list[str] = []
    with working("Reading runs"):
        return services(_records(paths, cache, problems)), problems


def denoised(
    found: "Sequence[Service]", into: "Store", stack: str | None = None, *, minimum: bool = False
) -> list[dict[str, Any]]:
    """Denoise services, keep their models in a store, and return their reports.

    Args:
        found: Observed requests of each service.
        into: Store of the models.
        stack: Idealized stack for the provider factor; None for the default one.
        minimum: True to keep the paper's estimator, the minimum over trials.
    """
    from helm_efficiency.metrics.service_report import missing_report

    reports = []
    with bar("Denoising services", len(found)) as advance:
        for service in found:
            try:
                reports.append(_report(service, into, stack, minimum=minimum))
            except InsufficientMeasurementsError as error:
                reports.append(missing_report(service, " ".join(filter(None, [str(error), service.advice()]))))
            advance()
    return reports


def _records(paths: list[str], cache: list[Path], problems: list[str]) -> Iterator["RequestRecord"]:
    """Yield the records of every run that can be read; append a line to `problems` for each other run."""
    from helm_efficiency.adapters.helm.request_cache import RequestCaches
    from helm_efficiency.adapters.sources import read_runs

    caches = RequestCaches.of(cache) if cache else None
    problems.extend(caches.problems if caches else ())
    for run in read_runs(
        paths, caches=caches, on_error=lambda error: problems.append(_with_hint(shortened(str(error), paths)))
    ):
        yield from run.records


def _with_hint(problem: str) -> str:
    is_negative_time = "`float` >= 0.0" in problem and any(name in problem for name in ("time", "latency", "ttft"))
    return problem + " A time below 0: the client's clock was set back. Run it again." * is_negative_time


def _report(service: "Service", store: "Store", stack: str | None, *, minimum: bool) -> dict[str, Any]:
    """Denoise one service, keep its model in the store, and return the report."""
    from helm_efficiency.core.services.denoise import denoise
    from helm_efficiency.metrics.service_report import service_report
    from helm_efficiency.metrics.services import service_fit

    denoised = denoise(service.log)
    store.put_fit(service_fit(service, None if minimum else denoised))
    return service_report(service, denoised, _idealized(service, store, stack))


def _idealized(service: "Service", store: "Store", stack: str | None) -> "Fit | None":
    """Return the coefficients of the service's model on a stack, by default the one with most profiled deployments."""
    from helm_efficiency.metrics.efficiency import Coefficients

    coefficients = Coefficients.from_store(store)
    name = stack or coefficients.default_stack()
    match = coefficients.match(name, service.deployment, service.model) if name else None
    return match.fit if match else None
