"""savings: compare the cost of calibration with the cost of repeating every request."""

from datetime import UTC, datetime, time
from pathlib import Path
from typing import Annotated

import typer

from helm_efficiency.cli import app
from helm_efficiency.cli.options import (
    ApiPricesOption,
    Format,
    FormatOption,
    PriceOptions,
    StoreOption,
    emit,
    note,
)
from helm_efficiency.cli.tables import Field
from helm_efficiency.defaults import DEFAULT_STORE
from helm_efficiency.metrics.quantities import COUNT, DOLLARS, PLAIN

_FIELDS = (
    Field("deployment", "Deployment"),
    Field("stack", "Stack", None, 6),
    Field("num_requests", "Requests", COUNT, 5),
    Field("answers_usd", "Answers", DOLLARS, 4),
    Field("idealized_repeated_usd", "On the stack: repeated", DOLLARS, 3),
    Field("idealized_calibrated_usd", "On the stack: calibrated", DOLLARS, 2),
    Field("idealized_factor", "Saved (×)", PLAIN, 1),
    Field("denoised_repeated_usd", "At the service: repeated", DOLLARS, 3),
    Field("denoised_calibrated_usd", "At the service: calibrated", DOLLARS, 2),
    Field("denoised_factor", "Saved there (×)", PLAIN, 1),
)


@app.command(rich_help_panel="Score")
def savings(
    path: Annotated[Path, "Folder written by rescore, or its requests table."],
    *,
    trials: Annotated[int, typer.Option(min=1, help="Repetitions on the stack of each request, otherwise.")] = 50,
    service_trials: Annotated[
        int, typer.Option(min=1, help="Repetitions of each request to the service, otherwise.")
    ] = 10,
    store: StoreOption = DEFAULT_STORE,
    prices: PriceOptions,
    api_prices: ApiPricesOption = None,
    format: FormatOption = Format.table,
) -> None:
    """Compare what calibration cost with repeating every request of an archive, for idealized and denoised runtime.

    Example: helm-efficiency example && helm-efficiency fit --store example/efficiency.sqlite && helm-efficiency rescore
    example/runs --store example/efficiency.sqlite && helm-efficiency savings scored --store
    example/efficiency.sqlite
    """
    from helm_efficiency.catalog.accelerators import prices_as_of
    from helm_efficiency.metrics.api_cost import load_api_prices
    from helm_efficiency.metrics.savings import MeasuringPrices, measuring_costs, read_totals
    from helm_efficiency.store import Store

    priced = prices_as_of(prices.accelerators(), prices.day, prices.price_list)
    moment = datetime.combine(prices.day, time(12), UTC)
    rows, missing = measuring_costs(
        read_totals(path),
        Store(store, create=False),
        prices=MeasuringPrices(priced, load_api_prices(api_prices), moment),
        trials=trials,
        service_trials=service_trials,
    )
    emit(rows, format, _FIELDS)
    for reason in missing:
        note(reason)
    if missing:
        raise typer.Exit(1)
