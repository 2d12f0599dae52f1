"""cost: what one request takes on a stack."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any

import typer

from helm_efficiency.cli import app
from helm_efficiency.cli.hardware import FitOptions
from helm_efficiency.cli.options import Format, FormatOption, emit, note
from helm_efficiency.cli.tables import Field
from helm_efficiency.metrics.quantities import COUNT, DOLLARS_PER_1K, JOULES, PLAIN, SECONDS

if TYPE_CHECKING:
    from helm_efficiency.catalog.accelerators import Price
    from helm_efficiency.core.fitting.fit import Fit
    from helm_efficiency.core.transfer.architecture import Architecture


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
    of: FitOptions,
    prompt_tokens: Annotated[int, "Tokens fed to prefill."],
    output_tokens: Annotated[int, "Tokens generated."],
    batch_size: Annotated[int | None, "Of the throughput profile; by default the largest that was measured."] = None,
    utilization: Annotated[float | None, "Share of the design power drawn, to estimate energy not measured."] = None,
    grid_g_per_kwh: Annotated[float | None, "Grams of CO2 a kWh of your grid, for emissions."] = None,
    format: FormatOption = Format.table,
) -> None:
    """Show what a request takes: accelerator-seconds, dollars, energy; alone (latency) and in a batch (throughput).

    Example: helm-efficiency cost --deployment together/bloom --prompt-tokens 512 --output-tokens 16 --utilization 0.6
    """
    from helm_efficiency.core.cost import mean_power_w

    fit, model = of.find()
    opened = of.open_store()
    profiles = opened.profiles(deployment=of.deployment, stack=fit.stack.name) if opened else []
    accelerator = of.prices.accelerators().get(fit.stack.accelerator)
    power = _Power(
        architecture=next((p.architecture for p in profiles if p.architecture), model.architecture if model else None),
        measured_w=mean_power_w(profiles[0]) if profiles else None,
        design_w=accelerator.tdp_w if accelerator else None,
        utilization=utilization,
    )
    price = of.prices.of(fit.stack.accelerator)
    batch = batch_size or fit.coefficients.domain.max_batch_size
    rows = []
    for name, size in {"latency": 1, **({"throughput": batch} if batch > 1 else {})}.items():
        row: dict[str, Any] = {"profile": name, "batch_size": size, "num_accelerators": fit.stack.num_accelerators}
        row |= _request_cost(fit, (prompt_tokens, output_tokens, size), price)
        row |= power.energy(fit, (prompt_tokens, output_tokens, size), row["accelerator_s"])
        rows.append(row | {"co2_g": _co2_g(row["energy_j"], grid_g_per_kwh), "tier": fit.tier, "stack": str(fit.stack)})
    title = f"{fit.deployment} on {fit.stack}: {prompt_tokens:,} prompt and {output_tokens:,} output tokens"
    emit(rows, format, _FIELDS, title=title, notes=[] if price is None else [f"Price: {price}"])
    if any(row["usd"] is None for row in rows):
        raise typer.Exit(1)


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


@dataclass(frozen=True)
class _Power:
    """What is known of the power of one accelerator.

    Attributes:
        architecture: Sizes of the model, for published measurements; None if unknown.
        measured_w: Mean power that a profile measured (W); None if none did.
        design_w: Thermal design power (W); None if unknown.
        utilization: Share of the design power to assume; None to assume none.
    """

    architecture: "Architecture | None"
    measured_w: float | None
    design_w: float | None
    utilization: float | None

    def energy(self, fit: "Fit", request: tuple[int, int, int], accelerator_s: float | None) -> dict[str, Any]:
        """Return the energy of (prompt_tokens, output_tokens, batch_size): measured, assumed or published."""
        from helm_efficiency.catalog.energy import published_energy
        from helm_efficiency.core.cost import estimated_energy_j

        columns: dict[str, Any] = dict.fromkeys(("energy_j", "energy_low_j", "energy_high_j", "energy_from"))
        if accelerator_s is not None and self.measured_w is not None:
            return columns | {"energy_j": accelerator_s * self.measured_w, "energy_from": "measured power"}
        if accelerator_s is not None and self.utilization is not None:
            estimated = estimated_energy_j(accelerator_s, self.design_w, self.utilization)
            if estimated is not None:
                told = f"estimate: {self.utilization:g} of {self.design_w:g} W"
                return columns | {"energy_j": float(estimated), "energy_from": told}
            note("The thermal design power of the accelerator is not known: energy cannot be estimated.")
        prompt_tokens, output_tokens, batch_size = request
        found = published_energy(fit.stack, self.architecture, (prompt_tokens, output_tokens), batch=batch_size)
        if found is None:
            return columns
        ends = {"energy_low_j": found.energy.low_j, "energy_high_j": found.energy.high_j}
        return {"energy_j": found.energy.joules, **ends, "energy_from": found.source}


def _co2_g(energy_j: float | None, grid_g_per_kwh: float | None) -> float | None:
    from helm_efficiency.core.cost import co2_g

    return None if energy_j is None or grid_g_per_kwh is None else float(co2_g(energy_j, grid_g_per_kwh))
