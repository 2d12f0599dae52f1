"""predict: the idealized runtime of requests on a stack."""

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from helm_efficiency.cli import app
from helm_efficiency.cli.hardware import Prices, find_fit
from helm_efficiency.cli.options import (
    Format,
    FormatOption,
    OnOption,
    PriceDateOption,
    PriceListOption,
    PricesOption,
    StoreOption,
    emit,
    note,
)
from helm_efficiency.cli.tables import Field
from helm_efficiency.cli.workloads import read_requests
from helm_efficiency.defaults import DEFAULT_STORE
from helm_efficiency.errors import InputError, one_line
from helm_efficiency.metrics.quantities import COUNT, DOLLARS_PER_1K, SECONDS
from helm_efficiency.metrics.quantities import number as printed

if TYPE_CHECKING:
    from helm_efficiency.catalog.accelerators import Price
    from helm_efficiency.core.fitting.fit import Fit


_FIELDS = (
    Field("prompt_tokens", "Prompt tokens", COUNT),
    Field("output_tokens", "Output tokens", COUNT),
    Field("extrapolated", "Beyond what was measured", None, 2),
    Field("accelerator_s", "Accelerator time", SECONDS, 3),
    Field("idealized_s", "Idealized", SECONDS, 0, ("low_s", "high_s")),
    Field("idealized_usd", "Cost", DOLLARS_PER_1K),
)


@app.command(rich_help_panel="Estimate")
def predict(
    *,
    deployment: Annotated[str, typer.Option(help="Whose coefficients.")],
    prompt_tokens: Annotated[int | None, typer.Option(help="Tokens fed to prefill.")] = None,
    output_tokens: Annotated[int | None, typer.Option(help="Tokens generated.")] = None,
    requests: Annotated[
        Path | None, typer.Option(help="Instead: a CSV with the columns prompt_tokens,output_tokens.")
    ] = None,
    stack: Annotated[str | None, typer.Option(help="On which stack; needed if there are several.")] = None,
    on: OnOption = None,
    store: StoreOption = DEFAULT_STORE,
    prices: PricesOption = None,
    price_list: PriceListOption = "on-demand",
    price_date: PriceDateOption = None,
    format: FormatOption = Format.table,
) -> None:
    """Predict the idealized runtime of a request, or of each of a file of them, with a nominal 90 % interval.

    Example: helm-efficiency predict --deployment together/bloom --prompt-tokens 512 --output-tokens 16
    """
    from helm_efficiency.catalog.accelerators import load_accelerators

    if requests is not None and (prompt_tokens, output_tokens) == (None, None):
        asked = read_requests(requests)
    elif requests is None and prompt_tokens is not None and output_tokens is not None:
        asked = ([prompt_tokens], [output_tokens])
    else:
        raise InputError("Name one request with --prompt-tokens and --output-tokens, or a file with --requests.")
    prices_of = Prices(prices, price_list, price_date)
    fit = find_fit(deployment, stack, on, store=store, prices=prices_of)
    accelerator = load_accelerators(prices).get(fit.stack.accelerator)
    price = accelerator.price(price_date.date() if price_date else None, price_list) if accelerator else None
    rows = _predicted(fit, *asked, price=price)
    if format is Format.table:
        _show(rows, fit, price)
    else:
        emit(rows, format, _FIELDS)
    if price is None:
        note(f"{fit.stack.accelerator} has no price in the list {price_list!r} by that day.")


def _show(rows: list[dict[str, Any]], fit: "Fit", price: "Price | None") -> None:
    """Print a table with the identity of the stack above it and the price below it."""
    shown = [row | {"extrapolated": None if row["in_domain"] else "yes"} for row in rows]
    emit(shown, Format.table, _FIELDS, title=f"{fit.deployment} on {fit.stack} (evidence: {fit.tier})")
    if len(rows) > 1:
        total = sum(row["idealized_s"] for row in rows)
        sys.stdout.write(f"All {len(rows):,} requests: {printed(total)} s\n")
    if price is not None:
        hourly = f"${price.usd_per_accelerator_hour} an accelerator-hour"
        sys.stdout.write(f"Price: {hourly}, {price.date.isoformat()}, {one_line(price.source)}\n")


def _predicted(
    fit: "Fit", prompt_tokens: list[int], output_tokens: list[int], *, price: "Price | None"
) -> list[dict[str, Any]]:
    from helm_efficiency.core.cost import idealized_cost

    seconds, low_s, high_s, in_domain = fit.coefficients.predict(prompt_tokens, output_tokens)
    num_accelerators = fit.stack.num_accelerators
    cost = idealized_cost(seconds, num_accelerators, None if price is None else price.usd_per_accelerator_hour)
    usd = [None] * len(prompt_tokens) if cost.usd is None else cost.usd.tolist()
    columns = (seconds, low_s, high_s, in_domain, cost.accelerator_s)
    return [
        {
            "prompt_tokens": p,
            "output_tokens": o,
            "idealized_s": idealized_s,
            "low_s": low,
            "high_s": high,
            "in_domain": inside,
            "tier": fit.tier,
            "stack": fit.stack.name,
            "num_accelerators": num_accelerators,
            "accelerator_s": accelerator_s,
            "idealized_usd": dollars,
        }
        for p, o, idealized_s, low, high, inside, accelerator_s, dollars in zip(
            prompt_tokens, output_tokens, *(column.tolist() for column in columns), usd, strict=True
        )
    ]
