"""estimate: what a workload takes and costs on any hardware, without a measurement."""

from collections.abc import Iterator
from datetime import UTC, datetime, time
from decimal import Decimal
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from helm_efficiency.cli import app
from helm_efficiency.cli.hardware import parse_hardware
from helm_efficiency.cli.options import (
    ArchitecturesOption,
    Format,
    FormatOption,
    PriceOptions,
    StoreOption,
    counts_of,
    emit,
    load_catalog,
)
from helm_efficiency.cli.progress import bar
from helm_efficiency.cli.tables import ONLY_ON_REQUEST, Field
from helm_efficiency.defaults import DEFAULT_ARCHITECTURES, DEFAULT_STORE
from helm_efficiency.errors import CatalogError, InputError, InsufficientMeasurementsError
from helm_efficiency.metrics.quantities import COUNT, DOLLARS, JOULES, PLAIN, SECONDS
from helm_efficiency.metrics.quantities import number as number_text

if TYPE_CHECKING:
    from helm_efficiency.catalog.accelerators import Accelerator, Price
    from helm_efficiency.metrics.api_offers import Offer
    from helm_efficiency.metrics.estimate import Workload
    from helm_efficiency.metrics.known_models import Hardware, KnownModel
    from helm_efficiency.store import Store

_FIELDS = (
    Field("on", "On"),
    Field("tier", "Evidence", None, 4),
    Field("prompt_tokens", "Prompt tokens", COUNT, 1),
    Field("output_tokens", "Output tokens", COUNT, 1),
    Field("concurrency", "At a time", COUNT),
    Field("ttft_s", "First token", SECONDS, 2, ("ttft_low_s", "ttft_high_s")),
    Field("tpot_s", "Each further token", SECONDS, 3, ("tpot_low_s", "tpot_high_s")),
    Field("request_s", "Request", SECONDS, 0, ("request_low_s", "request_high_s"), keeps_interval=True),
    Field("output_tok_per_s", "Output (tokens/s)", PLAIN, 4),
    Field("usd_per_1m_tokens", "Per 1M tokens", DOLLARS, 1, ("usd_per_1m_tokens_low", "usd_per_1m_tokens_high")),
    Field(
        "usd_per_1k_requests",
        "Per 1k requests",
        DOLLARS,
        0,
        ("usd_per_1k_requests_low", "usd_per_1k_requests_high"),
        keeps_interval=True,
    ),
    Field("energy_j", "Energy", JOULES, 5, ("energy_low_j", "energy_high_j")),
    Field("limited_by", "Limited by", None, 5),
    Field("price_date", "Price as of", None, ONLY_ON_REQUEST),
)
_MOST_OFFERS = 4


@app.command(rich_help_panel="Estimate")
def estimate(
    model: Annotated[str, "Hugging Face id, model of HELM or the catalog, deployment, or a config.json."],
    *,
    on: Annotated[
        list[str],
        typer.Option(metavar="[N]xACCELERATOR", help="Such as 4xh100-sxm; may repeat. Default: the cheapest."),
    ] = [],  # noqa: B006
    engine: Annotated[str, "vllm, sglang, trtllm … Default: vllm, or what was measured."] = "",
    dtype: Annotated[str, "bf16, fp8, fp4 … Default: that of the checkpoint."] = "",
    input: Annotated[str, "Prompt tokens, such as 1000 or 500,2000."] = "1000",
    output: Annotated[str, typer.Option("--output", "-o", help="Output tokens, such as 300.")] = "300",
    concurrency: Annotated[str, "Requests in flight; by default 1,16,64, and 16 to compare all accelerators."] = "",
    slo: Annotated[str | None, "Instead: the most that keep this, such as ttft=1s,tpot=50ms."] = None,
    requests: Annotated[Path | None, "Workload: a CSV of prompt_tokens,output_tokens, or a folder of runs."] = None,
    store: StoreOption = DEFAULT_STORE,
    architectures: ArchitecturesOption = DEFAULT_ARCHITECTURES,
    prices: PriceOptions,
    format: FormatOption = Format.table,
) -> None:
    """Estimate times and costs of a workload on any hardware, alone and at load. Nothing has to be measured first.

    Uses the strongest evidence there is: your own measurements, simulated kernels of today's engines, a model of the
    architecture. API prices of the same request are printed beside it; for closed models they are all there is.

    Example: helm-efficiency estimate meta-llama/Llama-3.1-70B-Instruct --on 4xh100-sxm --input 1000 --output 300
    """
    from helm_efficiency.metrics.api_offers import api_offers
    from helm_efficiency.metrics.known_models import find_model, unknown_text
    from helm_efficiency.store import Store

    workloads = list(_workloads(requests, (input, output), concurrency or ("1,16,64" if on else "16"), slo))
    named = on or _every_accelerator(prices)
    targets = [parse_hardware(each, engine=engine, dtype=dtype, prices=prices.prices) for each in named]
    priced = [(target, target.accelerator.price(prices.day, prices.price_list)) for target in targets]
    opened = Store(store, create=False) if store.exists() else None
    catalog = load_catalog(architectures)
    known = find_model(model, catalog, opened)
    now = datetime.combine(prices.day, time(12), UTC)
    first = workloads[0]
    offers = api_offers(model, float(first.prompt_tokens.mean()), float(first.output_tokens.mean()), when=now)
    if known is None and not offers:
        raise InputError(unknown_text(model, catalog, opened))
    rows = [] if known is None else _rows(known, priced, workloads, opened, is_named=bool(on))
    if format is Format.table:
        unknown = catalog.excluded.get(model) or "its weights are not published"
        why = unknown if known is None else "no accelerator with a price holds it"
        _show(model if rows else f"{model}: {why}", rows, offers, workloads)
    else:
        emit([*rows, *(_offered(model, offer, first) for offer in offers)], format, _FIELDS)


def _workloads(
    requests: Path | None, lengths: tuple[str, str], concurrency: str, slo: str | None
) -> "Iterator[Workload]":
    """Yield every combination of lengths and loads; a file or folder of requests counts as one set of lengths."""
    from helm_efficiency.cli.workloads import read_lengths
    from helm_efficiency.core.serving.load import Load, ServiceLevel
    from helm_efficiency.metrics.estimate import Workload

    loads = [Load(level=ServiceLevel.parse(slo))] if slo else [Load(clients=n) for n in counts_of(concurrency)]
    if requests is not None:
        pairs = [read_lengths(requests)]
    else:
        pairs = [([p], [o]) for p in counts_of(lengths[0]) for o in counts_of(lengths[1])]
    for prompt_tokens, output_tokens in pairs:
        for load in loads:
            yield Workload.of(prompt_tokens, output_tokens, load)


def _every_accelerator(prices: PriceOptions) -> list[str]:
    """Return every accelerator that people rent to serve models."""
    known = prices.accelerators().values()
    return sorted({accelerator.key for accelerator in known if accelerator.prices and _can_serve(accelerator)})


def _can_serve(accelerator: "Accelerator") -> bool:
    """Return whether people rent an accelerator to serve models: its sizes are known, and it is not a CPU."""
    return bool(accelerator.memory_bytes and accelerator.bandwidth_bytes_per_s and accelerator.key != "cpu")


def _rows(
    model: "KnownModel",
    targets: "list[tuple[Hardware, Price | None]]",
    workloads: "list[Workload]",
    store: "Store | None",
    *,
    is_named: bool,
) -> list[dict[str, Any]]:
    """Return the rows of all hardware; if the user named none, the cheapest comes first and failures are left out."""
    rows: list[list[dict[str, Any]]] = []
    with bar("Estimating", len(targets)) as advance:
        for hardware, price in targets:
            try:
                rows.append(_rows_on(model, hardware, price, workloads, store))
            except (InputError, CatalogError, InsufficientMeasurementsError):
                if is_named:
                    raise
            advance()
    if not is_named:
        rows = [of for of in rows if of and of[0]["usd_per_1k_requests"] is not None]
        rows.sort(key=lambda of: min((row["usd_per_1k_requests"] for row in of), default=float("inf")))
    return [row for of in rows for row in of]


def _rows_on(
    model: "KnownModel",
    hardware: "Hardware",
    price: "Price | None",
    workloads: "list[Workload]",
    store: "Store | None",
) -> list[dict[str, Any]]:
    from helm_efficiency.metrics.estimate import estimate_rows
    from helm_efficiency.metrics.known_models import fits_on

    fits = fits_on(model, hardware, store)
    memory_bytes = hardware.accelerator.memory_bytes
    rows = estimate_rows(fits, workloads, architecture=model.architecture, memory_bytes=memory_bytes, price=price)
    return list(rows)


def _offered(model: str, offer: "Offer", workload: "Workload") -> dict[str, Any]:
    """Return the row of an API, which has a price but no time."""
    tokens = float((workload.prompt_tokens + workload.output_tokens).mean())
    return {
        "model": model,
        "stack": None,
        "tier": "none",
        "prompt_tokens": float(workload.prompt_tokens.mean()),
        "output_tokens": float(workload.output_tokens.mean()),
        "usd_per_1k_requests": offer.usd * 1e3,
        "usd_per_1m_tokens": offer.usd * 1e6 / tokens,
        "api": offer.host,
    }


def _show(model: str, rows: list[dict[str, Any]], offers: "list[Offer]", workloads: "list[Workload]") -> None:
    """Print the estimate, the API prices, the price of the hardware, and advice that would narrow the interval."""
    first = workloads[0]
    if rows:
        shown = [row | {"on": _where(row)} for row in rows]
        alike = {
            key for key in ("on", "tier", "prompt_tokens", "output_tokens") if len({row[key] for row in shown}) == 1
        }
        fields = [field for field in _FIELDS if field.key not in alike]
        emit(shown, Format.table, fields, title=_title(model, rows, first), notes=list(_below(rows, offers, first)))
    else:
        typer.echo(f"{model}, so there are only API prices, no times.")
        for line in _below(rows, offers, first):
            typer.echo(line)


def _where(row: dict[str, Any]) -> str:
    return f"{row['num_accelerators']}×{row['accelerator']} {row['engine']} {row['dtype']}".strip()


def _title(model: str, rows: list[dict[str, Any]], workload: "Workload") -> str:
    from helm_efficiency.core.tier import Tier

    where = {_where(row) for row in rows}
    tiers = list(dict.fromkeys(row["tier"] for row in rows))
    on = f" on {where.pop()}" if len(where) == 1 else ""
    number = len(workload.prompt_tokens)
    many = f"{number:,} requests, on average " if number > 1 else ""
    lengths = f"{workload.prompt_tokens.mean():,.0f} prompt and {workload.output_tokens.mean():,.0f} output tokens"
    evidence = "; ".join(f"{tier} ({Tier(tier).meaning})" for tier in tiers)
    return f"{model}{on}: {many}{lengths}. Evidence: {evidence}; 90 % intervals."


def _owning(row: dict[str, Any], offer: "Offer") -> str:
    """Return a sentence that says from which load on owned accelerators are cheaper than an API."""
    from helm_efficiency.core.cost import break_even_requests_per_s

    price = Decimal(str(row["usd_per_accelerator_hour"]))
    enough = break_even_requests_per_s(row["num_accelerators"], price, offer.usd)
    done = row["output_tok_per_s"] / row["output_tokens"]
    reach = "which it can" if done >= enough else "more than it can at that load"
    return (
        f"{_where(row)} is cheaper than {offer.host} from {enough:.3g} requests a second on, {reach}: it completes "
        f"{done:.3g} at {row['concurrency']:.3g} at a time."
    )


def _below(rows: list[dict[str, Any]], offers: "list[Offer]", workload: "Workload") -> Iterator[str]:
    tokens = float((workload.prompt_tokens + workload.output_tokens).mean())
    number = len(workload.prompt_tokens)
    if number > 1 and rows and rows[0]["usd_per_1k_requests"] is not None:
        total = rows[0]["usd_per_1k_requests"] * number / 1e3
        where = f"on {_where(rows[0])}, {rows[0]['concurrency']:.0f} at a time"
        yield f"All {number:,} requests: ${number_text(total)} {where}."
    if offers:
        told = (f"{o.host} ${o.usd * 1e3:,.2f} (${o.usd * 1e6 / tokens:,.2f})" for o in offers[:_MOST_OFFERS])
        more = f", {len(offers) - _MOST_OFFERS} more in --format json" if len(offers) > _MOST_OFFERS else ""
        yield f"API prices today per 1k requests (per 1M tokens, in and out together): {', '.join(told)}{more}."
        if number > 1:
            yield f"All {number:,} requests by API: ${number_text(offers[0].usd * number)} at {offers[0].host}."
        if rows and rows[-1]["usd_per_accelerator_hour"] is not None:
            yield _owning(rows[-1], offers[0])
    elif rows:
        yield "API prices: none known for this model."
    seen = {row["accelerator"]: row for row in rows if row["usd_per_accelerator_hour"] is not None}
    for key, row in list(seen.items())[:_MOST_OFFERS]:
        yield f"{key}: ${row['usd_per_accelerator_hour']:g} an hour, {row['price_date']}, {row['price_source']}."
    for source in dict.fromkeys(row["energy_from"] for row in rows if row["energy_from"]):
        yield f"Energy of the accelerators: {source}."
    if any(not row["in_domain"] for row in rows):
        yield "Some requests lie beyond what the coefficients were made from; their times are extrapolated."
    if rows and rows[0]["tier"] not in ("measured",):
        yield "A narrower interval: profile a few cells on the machine (helm-efficiency profile --help)."
