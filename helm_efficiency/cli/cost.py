"""cost: what one request takes on a stack."""

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
    day_of,
    emit,
    note,
)
from helm_efficiency.cli.tables import Field
from helm_efficiency.defaults import DEFAULT_STORE
from helm_efficiency.metrics.quantities import COUNT, DOLLARS_PER_1K, JOULES, PLAIN, SECONDS

if TYPE_CHECKING:
    from helm_efficiency.catalog.accelerators import Price
    from helm_efficiency.core.fitting.fit import Fit
    from helm_efficiency.core.measurement import Profile


_FIELDS = (
    Field("profile", "Served"),
    Field("batch_size", "Batch", COUNT),
    Field("num_accelerators", "Accelerators", COUNT, 3),
    Field("accelerator_s", "Accelerator time", SECONDS, 1),
    Field("energy_j", "Energy", JOULES, 2, ("energy_low_j", "energy_high_j")),
    Field("energy_from", "Energy from", None, 4),
    Field("co2_g", "CO2 (g)", PLAIN, 3),
    Field("tier", "Evidence", None, 2),
    Field("usd", "Cost", DOLLARS_PER_1K),
)


@app.command(rich_help_panel="Estimate")
def cost(
    *,
    deployment: Annotated[str, typer.Option(help="Whose coefficients.")],
    prompt_tokens: Annotated[int, typer.Option(help="Tokens fed to prefill.")],
    output_tokens: Annotated[int, typer.Option(help="Tokens generated.")],
    stack: Annotated[str | None, typer.Option(help="On which stack; needed if there are several.")] = None,
    on: OnOption = None,
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

    fit = find_fit(deployment, stack, on, store=store, prices=Prices(prices))
    accelerator = find_accelerator(fit.stack.accelerator, load_accelerators(prices))
    price = accelerator.price(day_of(price_date), price_list)
    if price is None:
        note(
            f"{accelerator.key} has no price in the list {price_list!r} by that day: see helm-efficiency accelerators."
        )
    opened = Store(store, create=False) if store.exists() else None
    profiles = opened.profiles(deployment=deployment, stack=fit.stack.name) if opened else []
    power_w = mean_power_w(profiles[0]) if profiles else None
    batch = batch_size or fit.coefficients.domain.max_batch_size
    sizes = {"latency": 1} | ({"throughput": batch} if batch > 1 else {})
    rows = []
    for name, size in sizes.items():
        paid = _request_cost(fit, (prompt_tokens, output_tokens, size), price)
        energy = _energy(paid["accelerator_s"], power_w, (accelerator.tdp_w, utilization))
        if energy["energy_j"] is None:
            energy = _published_energy(fit, (prompt_tokens, output_tokens, size), profiles) or energy
        rows.append(
            {"profile": name, "batch_size": size, "num_accelerators": fit.stack.num_accelerators}
            | paid
            | energy
            | {"co2_g": _co2_g(energy["energy_j"], grid_g_per_kwh), "tier": fit.tier, "stack": str(fit.stack)}
        )
    emit(rows, format, _FIELDS, title=_title(fit, (prompt_tokens, output_tokens)))
    if format is Format.table and price is not None:
        note(f"Price: ${price.usd_per_accelerator_hour} an accelerator-hour, {price.date.isoformat()}, {price.source}")
    if any(row["usd"] is None for row in rows):
        raise typer.Exit(1)


def _title(fit: "Fit", tokens: tuple[int, int]) -> str:
    return f"{fit.deployment} on {fit.stack}: {tokens[0]:,} prompt and {tokens[1]:,} output tokens"


def _request_cost(fit: "Fit", request: tuple[int, int, int], price: "Price | None") -> dict[str, Any]:
    """Return the columns of (prompt_tokens, output_tokens, batch_size); null if the batch is larger than measured."""
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


def _published_energy(fit: "Fit", request: tuple[int, int, int], profiles: "list[Profile]") -> dict[str, Any] | None:
    """Return the energy of (prompt_tokens, output_tokens, batch_size) by published measurements of the accelerator."""
    from helm_efficiency.catalog.architectures import load_architectures
    from helm_efficiency.catalog.energy import published_energy

    entry = load_architectures().of_model(fit.deployment)
    profiled = next((profile.architecture for profile in profiles if profile.architecture is not None), None)
    prompt_tokens, output_tokens, batch_size = request
    architecture = profiled or (None if entry is None else entry.architecture)
    found = published_energy(fit.stack, architecture, (prompt_tokens, output_tokens), batch=batch_size)
    if found is None:
        return None
    ends = {"energy_low_j": found.energy.low_j, "energy_high_j": found.energy.high_j}
    return {"energy_j": found.energy.joules, **ends, "energy_from": found.source}


def _energy(
    accelerator_s: float | None, power_w: float | None, estimate: tuple[float | None, float | None]
) -> dict[str, Any]:
    """Return the measured energy, else an estimate from (thermal design power, utilization) if both are known."""
    from helm_efficiency.core.cost import estimated_energy_j

    ends = {"energy_low_j": None, "energy_high_j": None}
    tdp_w, utilization = estimate
    if accelerator_s is not None and power_w is not None:
        return {"energy_j": accelerator_s * power_w, **ends, "energy_from": "measured power"}
    if accelerator_s is not None and utilization is not None:
        estimated = estimated_energy_j(accelerator_s, tdp_w, utilization)
        if estimated is not None:
            return {"energy_j": float(estimated), **ends, "energy_from": f"estimate: {utilization:g} of {tdp_w:g} W"}
        note("The thermal design power of the accelerator is not known: energy cannot be estimated.")
    return {"energy_j": None, **ends, "energy_from": None}


def _co2_g(energy_j: float | None, grid_g_per_kwh: float | None) -> float | None:
    from helm_efficiency.core.cost import co2_g

    return None if energy_j is None or grid_g_per_kwh is None else float(co2_g(energy_j, grid_g_per_kwh))
