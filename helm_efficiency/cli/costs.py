"""Commands about cost: accelerators, cost, savings."""

from datetime import UTC, date, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

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
    emit,
    note,
)
from helm_efficiency.defaults import DEFAULT_STORE

if TYPE_CHECKING:
    from helm_efficiency.catalog.accelerators import Accelerator, Price
    from helm_efficiency.core.fitting.fit import Fit
    from helm_efficiency.core.transfer.placement import Serving


@app.command()
def accelerators(
    key: Annotated[str | None, typer.Argument(help="One accelerator, with all its figures and their sources.")] = None,
    *,
    fits: Annotated[Path | None, typer.Option(help="config.json of a model: how many accelerators it needs.")] = None,
    dtype: Annotated[str, typer.Option(help="Of the weights, with --fits.")] = "bf16",
    context_tokens: Annotated[int, typer.Option(min=1, help="Prompt and output together, with --fits.")] = 2048,
    batch_size: Annotated[int, typer.Option(min=1, help="Sequences cached at once, with --fits.")] = 1,
    prices: PricesOption = None,
    price_list: PriceListOption = "on-demand",
    price_date: PriceDateOption = None,
    format: FormatOption = Format.table,
) -> None:
    """List accelerators and their prices, or how many of each a model needs.

    Example: helm-efficiency accelerators a100-80gb --price-date 2023-06-01
    """
    from helm_efficiency.catalog.accelerators import find_accelerator, load_accelerators
    from helm_efficiency.core.transfer.placement import Serving

    known = load_accelerators(prices)
    chosen = sorted({a.key for a in known.values()}) if key is None else [find_accelerator(key, known).key]
    priced = [(known[each], known[each].price(_day(price_date), price_list)) for each in chosen]
    if fits is not None:
        serving = Serving(dtype=dtype, context_tokens=context_tokens, batch_size=batch_size)
        emit(_placements(fits, serving, priced, only=key is not None), format)
    elif key is not None:
        emit(_figures(known[chosen[0]]), format)
    else:
        emit([_summary(accelerator, price) for accelerator, price in priced], format)


def _day(price_date: datetime | None) -> date | None:
    return None if price_date is None else price_date.date()


def _summary(accelerator: "Accelerator", price: "Price | None") -> dict[str, Any]:
    flops = accelerator.dense_flop_per_s
    return {
        "accelerator": accelerator.key,
        "memory_gb": _scaled(accelerator.memory_bytes, 1e9),
        "gb_per_s": _scaled(accelerator.bandwidth_bytes_per_s, 1e9),
        "tflop_per_s": _scaled(flops.get("bf16", flops.get("fp16")), 1e12),
        "tdp_w": accelerator.tdp_w,
        "usd_per_hour": None if price is None else float(price.usd_per_accelerator_hour),
        "price_date": None if price is None else price.date.isoformat(),
    }


def _figures(accelerator: "Accelerator") -> list[dict[str, Any]]:
    """One row a figure; the source of the first holds for all but the prices, which have their own."""
    rows: list[tuple[str, Any, str]] = [
        ("memory", _scaled(accelerator.memory_bytes, 1e9), "GB"),
        ("memory bandwidth", _scaled(accelerator.bandwidth_bytes_per_s, 1e9), "GB/s"),
        *((f"dense {dtype}", value / 1e12, "TFLOP/s") for dtype, value in accelerator.dense_flop_per_s.items()),
        ("link", _scaled(accelerator.link_bytes_per_s, 1e9), "GB/s"),
        ("thermal design power", accelerator.tdp_w, "W"),
        ("accelerators a node", accelerator.node_size, ""),
    ]
    figures = [
        {"figure": "name", "value": accelerator.name, "unit": None, "date": None, "source": accelerator.source},
        *(
            {"figure": figure, "value": value, "unit": unit, "date": None, "source": None}
            for figure, value, unit in rows
            if value is not None
        ),
    ]
    if accelerator.description:
        note(accelerator.description)
    return figures + [
        {
            "figure": f"price, {price.price_list}",
            "value": float(price.usd_per_accelerator_hour),
            "unit": "USD/hour",
            "date": price.date.isoformat(),
            "source": price.source,
        }
        for price in accelerator.prices
    ]


def _placements(
    config: Path, serving: "Serving", priced: "list[tuple[Accelerator, Price | None]]", *, only: bool
) -> list[dict[str, Any]]:
    """One row an accelerator that holds the model; bytes are those of one accelerator."""
    from helm_efficiency.core.transfer.placement import place
    from helm_efficiency.errors import InputError

    architecture = _architecture(config)
    rows = []
    for accelerator, price in priced:
        if accelerator.memory_bytes is None:
            note(f"{accelerator.key}: its memory is not known.")
            continue
        try:
            placement = place(
                architecture, serving, memory_bytes=accelerator.memory_bytes, node_size=accelerator.node_size
            )
        except InputError as error:
            if only:
                raise
            note(f"{accelerator.key}: {error}")
            continue
        rows.append(
            {
                "accelerator": accelerator.key,
                "num_accelerators": placement.num_accelerators,
                "nodes": placement.pipeline_parallel,
                "weights_gb": placement.weights_bytes / 1e9,
                "kv_cache_gb": placement.kv_cache_bytes / 1e9,
                "workspace_gb": placement.workspace_bytes / 1e9,
                "margin_gb": placement.margin_bytes / 1e9,
                "usd_per_hour": None
                if price is None
                else float(placement.num_accelerators * price.usd_per_accelerator_hour),
                "price_date": None if price is None else price.date.isoformat(),
            }
        )
    return rows


def _architecture(config: Path) -> Any:
    import json

    from helm_efficiency.core.transfer.architecture import Architecture
    from helm_efficiency.errors import FileFormatError
    from helm_efficiency.files import read_bytes

    try:
        values = json.loads(read_bytes(config))
    except (OSError, ValueError, RecursionError) as error:
        raise FileFormatError(f"{config}: not the config.json of a model ({str(error).splitlines()[0]}).") from error
    if not isinstance(values, dict):
        raise FileFormatError(f"{config}: expected the config.json of a model, an object.")
    return Architecture.from_transformers_config(values, name=config.stem)


def _scaled(value: float | None, unit: float) -> float | None:
    return None if value is None else value / unit


@app.command()
def cost(
    *,
    deployment: Annotated[str, typer.Option(help="Whose coefficients.")],
    prompt_tokens: Annotated[int, typer.Option(help="Tokens fed to prefill.")],
    output_tokens: Annotated[int, typer.Option(help="Tokens generated.")],
    stack: Annotated[str | None, typer.Option(help="On which stack; needed if there are several.")] = None,
    batch_size: Annotated[
        int | None, typer.Option(help="Of the throughput profile; by default the largest that was measured.")
    ] = None,
    utilization: Annotated[
        float | None, typer.Option(help="Share of the thermal design power drawn, to estimate energy not measured.")
    ] = None,
    grid_g_per_kwh: Annotated[
        float | None, typer.Option(help="Grams of CO2 a kWh of your grid, for emissions.")
    ] = None,
    store: StoreOption = DEFAULT_STORE,
    prices: PricesOption = None,
    price_list: PriceListOption = "on-demand",
    price_date: PriceDateOption = None,
    format: FormatOption = Format.table,
) -> None:
    """What a request takes: accelerator-seconds, dollars, energy; alone (latency) and in a batch (throughput).

    Example: helm-efficiency cost --deployment together/bloom --prompt-tokens 512 --output-tokens 16 --utilization 0.6
    """
    from helm_efficiency.catalog.accelerators import find_accelerator, load_accelerators
    from helm_efficiency.core.cost import mean_power_w
    from helm_efficiency.store import Store

    opened = Store(store, create=False)
    fit = opened.fit(deployment, stack)
    accelerator = find_accelerator(fit.stack.accelerator, load_accelerators(prices))
    price = accelerator.price(_day(price_date), price_list)
    if price is None:
        note(
            f"{accelerator.key} has no price in the list {price_list!r} by that day: see helm-efficiency accelerators."
        )
    profiles = opened.profiles(deployment=deployment, stack=fit.stack.name)
    power_w = mean_power_w(profiles[0]) if profiles else None
    batch = batch_size or fit.coefficients.domain.max_batch_size
    sizes = {"latency": 1} | ({"throughput": batch} if batch > 1 else {})
    rows = []
    for name, size in sizes.items():
        paid = _request_cost(fit, (prompt_tokens, output_tokens, size), price)
        energy = _energy(paid["accelerator_s"], power_w, (accelerator.tdp_w, utilization))
        rows.append(
            {"profile": name, "batch_size": size, "num_accelerators": fit.stack.num_accelerators}
            | paid
            | energy
            | {"co2_g": _co2_g(energy["energy_j"], grid_g_per_kwh), "tier": fit.tier, "stack": str(fit.stack)}
        )
    emit(rows, format)
    if any(row["usd"] is None for row in rows):
        raise typer.Exit(1)


def _request_cost(fit: "Fit", request: tuple[int, int, int], price: "Price | None") -> dict[str, Any]:
    """Columns of (prompt_tokens, output_tokens, batch_size); null where the stack was not measured at such a batch."""
    from helm_efficiency.core.cost import serving_cost

    prompt_tokens, output_tokens, batch_size = request
    usd_per_hour = None if price is None else price.usd_per_accelerator_hour
    cost = serving_cost(fit, prompt_tokens, output_tokens, usd_per_accelerator_hour=usd_per_hour, batch_size=batch_size)
    known = batch_size <= fit.coefficients.domain.max_batch_size
    if not known:
        note(f"{fit.stack.name} was measured at batches of up to {fit.coefficients.domain.max_batch_size} only.")
    return {
        "accelerator_s": float(cost.accelerator_s) if known else None,
        "usd": float(cost.usd) if known and cost.usd is not None else None,
        "usd_per_accelerator_hour": None if price is None else float(price.usd_per_accelerator_hour),
        "price_date": None if price is None else price.date.isoformat(),
        "price_source": None if price is None else price.source,
    }


def _energy(
    accelerator_s: float | None, power_w: float | None, estimate: tuple[float | None, float | None]
) -> dict[str, Any]:
    """Energy measured, else estimated from (thermal design power, utilization) if both are known."""
    from helm_efficiency.core.cost import estimated_energy_j

    tdp_w, utilization = estimate
    if accelerator_s is not None and power_w is not None:
        return {"energy_j": accelerator_s * power_w, "energy_from": "measured power"}
    if accelerator_s is not None and utilization is not None:
        estimated = estimated_energy_j(accelerator_s, tdp_w, utilization)
        if estimated is not None:
            return {"energy_j": float(estimated), "energy_from": f"estimate: {utilization:g} of {tdp_w:g} W"}
        note("The thermal design power of the accelerator is not known: energy cannot be estimated.")
    return {"energy_j": None, "energy_from": None}


def _co2_g(energy_j: float | None, grid_g_per_kwh: float | None) -> float | None:
    from helm_efficiency.core.cost import co2_g

    return None if energy_j is None or grid_g_per_kwh is None else float(co2_g(energy_j, grid_g_per_kwh))


@app.command()
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

    priced = prices_as_of(load_accelerators(prices), _day(price_date), price_list)
    moment = datetime.now(UTC) if price_date is None else price_date.replace(tzinfo=UTC)
    rows, missing = measuring_costs(
        read_totals(path),
        Store(store, create=False),
        prices=MeasuringPrices(priced, load_api_prices(api_prices), moment),
        trials=trials,
        service_trials=service_trials,
    )
    emit(rows, format)
    for reason in missing:
        note(reason)
    if missing:
        raise typer.Exit(1)
