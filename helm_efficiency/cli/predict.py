"""predict: the idealized runtime of requests on a stack."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from helm_efficiency.cli import app
from helm_efficiency.cli.hardware import FitOptions
from helm_efficiency.cli.options import Format, FormatOption, emit
from helm_efficiency.cli.tables import Field
from helm_efficiency.cli.workloads import read_requests
from helm_efficiency.errors import InputError
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
    of: FitOptions,
    prompt_tokens: Annotated[int | None, "Tokens fed to prefill."] = None,
    output_tokens: Annotated[int | None, "Tokens generated."] = None,
    requests: Annotated[Path | None, "Instead: a CSV with the columns prompt_tokens,output_tokens."] = None,
    format: FormatOption = Format.table,
) -> None:
    """Predict the idealized runtime of a request, or of each of a file of them, with a nominal 90 % interval.

    Example: helm-efficiency predict --deployment together/bloom --prompt-tokens 512 --output-tokens 16
    """
    if requests is not None and (prompt_tokens, output_tokens) == (None, None):
        asked = read_requests(requests)
    elif requests is None and prompt_tokens is not None and output_tokens is not None:
        asked = ([prompt_tokens], [output_tokens])
    else:
        raise InputError("Name one request with --prompt-tokens and --output-tokens, or a file with --requests.")
    fit, _ = of.find()
    price = of.prices.of(fit.stack.accelerator)
    rows = _predicted(fit, *asked, price=price)
    if format is not Format.table:
        emit(rows, format, _FIELDS)
        return
    shown = [row | {"extrapolated": None if row["in_domain"] else "yes"} for row in rows]
    total = f"All {len(rows):,} requests: {printed(sum(row['idealized_s'] for row in rows))} s"
    notes = [total] * (len(rows) > 1) + ([] if price is None else [f"Price: {price}"])
    emit(shown, format, _FIELDS, title=f"{fit.deployment} on {fit.stack} (evidence: {fit.tier})", notes=notes)


def _predicted(
    fit: "Fit", prompt_tokens: list[int], output_tokens: list[int], *, price: "Price | None"
) -> list[dict[str, Any]]:
    from helm_efficiency.core.cost import idealized_cost

    seconds, low_s, high_s, in_domain = fit.coefficients.predict(prompt_tokens, output_tokens)
    number = fit.stack.num_accelerators
    cost = idealized_cost(seconds, number, None if price is None else price.usd_per_accelerator_hour)
    columns: dict[str, list[Any]] = {
        "prompt_tokens": prompt_tokens,
        "output_tokens": output_tokens,
        "idealized_s": seconds.tolist(),
        "low_s": low_s.tolist(),
        "high_s": high_s.tolist(),
        "in_domain": in_domain.tolist(),
        "tier": [fit.tier] * len(prompt_tokens),
        "stack": [fit.stack.name] * len(prompt_tokens),
        "num_accelerators": [number] * len(prompt_tokens),
        "accelerator_s": cost.accelerator_s.tolist(),
        "idealized_usd": [None] * len(prompt_tokens) if cost.usd is None else cost.usd.tolist(),
    }
    return [dict(zip(columns, values, strict=True)) for values in zip(*columns.values(), strict=True)]
