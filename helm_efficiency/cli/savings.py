"""savings: compare the cost of calibration with the cost of repeating every request."""

from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from helm_efficiency.cli import app
from helm_efficiency.cli.options import (
    ApiPricesOption,
    Format,
    FormatOption,
    PriceDateOption,
    PriceListOption,
    PricesOption,
    StoreOption,
    day_of,
    emit,
    note,
)
from helm_efficiency.cli.tables import Field
from helm_efficiency.defaults import DEFAULT_STORE
from helm_efficiency.metrics.quantities import COUNT, DOLLARS, PLAIN

if TYPE_CHECKING:
    pass


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
    path: Annotated[Path, typer.Argument(help="Folder written by rescore, or its requests table.")],
    *,
    trials: Annotated[int, typer.Option(min=1, help="Repetitions on the stack of each request, otherwise.")] = 50,
    service_trials: Annotated[
        int, typer.Option(min=1, help="Repetitions to the service of each request, otherwise.")
    ] = 10,
    store: StoreOption = DEFAULT_STORE,
    prices: PricesOption = None,
    api_prices: ApiPricesOption = None,
    price_list: PriceListOption = "on-demand",
    price_date: PriceDateOption = None,
    format: FormatOption = Format.table,
) -> None:
    """What calibration cost against repeating every request of an archive, for idealized and denoised runtime.

    Example: helm-efficiency savings scored/ --price-list paper-2023
    """
    from helm_efficiency.catalog.accelerators import load_accelerators, prices_as_of
    from helm_efficiency.metrics.api_cost import load_api_prices
    from helm_efficiency.metrics.savings import MeasuringPrices, measuring_costs, read_totals
    from helm_efficiency.store import Store

    priced = prices_as_of(load_accelerators(prices), day_of(price_date), price_list)
    moment = datetime.now(UTC) if price_date is None else price_date.replace(tzinfo=UTC)
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
