"""accelerators: list accelerators and prices, or how many of each a model needs."""

from typing import TYPE_CHECKING, Annotated, Any

import typer

from helm_efficiency.cli import app
from helm_efficiency.cli.options import (
    Format,
    FormatOption,
    PriceOptions,
    emit,
    load_catalog,
    note,
)
from helm_efficiency.cli.tables import Field
from helm_efficiency.defaults import DEFAULT_ARCHITECTURES
from helm_efficiency.metrics.quantities import COUNT, PLAIN

if TYPE_CHECKING:
    from helm_efficiency.catalog.accelerators import Accelerator, Price
    from helm_efficiency.core.transfer.architecture import Architecture
    from helm_efficiency.core.transfer.placement import Serving


_LISTED = (
    Field("accelerator", "Accelerator"),
    Field("memory_gb", "Memory (GB)", PLAIN, 1),
    Field("gb_per_s", "Bandwidth (GB/s)", PLAIN, 2),
    Field("tflop_per_s", "16-bit speed (TFLOP/s)", PLAIN, 3),
    Field("tdp_w", "Design power (W)", PLAIN, 4),
    Field("usd_per_hour", "Price ($/hour)", PLAIN),
    Field("price_date", "As of", None, 3),
)
_FIGURES = (
    Field("figure", "Figure"),
    Field("value", "Value", PLAIN),
    Field("unit", "Unit"),
    Field("date", "As of", None, 2),
    Field("source", "Source", None, 3, wraps=True),
)
_PLACED = (
    Field("accelerator", "Accelerator"),
    Field("num_accelerators", "Number", COUNT),
    Field("nodes", "Nodes", COUNT, 4),
    Field("weights_gb", "Weights (GB each)", PLAIN, 3),
    Field("kv_cache_gb", "KV cache (GB each)", PLAIN, 6),
    Field("workspace_gb", "Workspace (GB each)", PLAIN, 7),
    Field("margin_gb", "Left free (GB each)", PLAIN, 5),
    Field("usd_per_hour", "Price ($/hour)", PLAIN),
    Field("price_date", "As of", None, 5),
)


@app.command(rich_help_panel="Estimate")
def accelerators(
    key: Annotated[str | None, "One accelerator, with all its figures and their sources."] = None,
    *,
    fits: Annotated[str | None, "A model's config.json, or its name: how many accelerators it needs."] = None,
    dtype: Annotated[str, "Precision of the weights, with --fits; auto is the checkpoint's."] = "auto",
    context_tokens: Annotated[int, typer.Option(min=1, help="Prompt and output together, with --fits.")] = 2048,
    batch_size: Annotated[int, typer.Option(min=1, help="Sequences cached at once, with --fits.")] = 1,
    prices: PriceOptions,
    format: FormatOption = Format.table,
) -> None:
    """List accelerators and their prices, or how many of each a model needs.

    Example: helm-efficiency accelerators a100-80gb --price-date 2023-06-01
    """
    from helm_efficiency.catalog.accelerators import find_accelerator
    from helm_efficiency.core.transfer.placement import Serving
    from helm_efficiency.metrics.known_models import require_model

    known = prices.accelerators()
    chosen = sorted({a.key for a in known.values()}) if key is None else [find_accelerator(key, known).key]
    priced = [(known[each], known[each].price(prices.day, prices.price_list)) for each in chosen]
    if fits is not None:
        model = require_model(fits, load_catalog(DEFAULT_ARCHITECTURES), None)
        assert model.architecture is not None  # without a store, a model is known only by its architecture
        own = model.dtype if dtype == "auto" else dtype
        rows = _placements(model.architecture, Serving(own, context_tokens, batch_size), priced, only=key is not None)
        emit(rows, format, _PLACED, title=f"Accelerators that hold the model, cheapest first ({own})")
    elif key is not None:
        emit(_figures(known[chosen[0]]), format, _FIGURES, whole=True)
    else:
        priced.sort(key=lambda each: (each[1] is None, -(each[0].bandwidth_bytes_per_s or 0.0)))
        emit([_summary(accelerator, price) for accelerator, price in priced], format, _LISTED)


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
    """Return one row for each figure; the first row's source holds for all but the prices, which have their own."""
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
    architecture: "Architecture", serving: "Serving", priced: "list[tuple[Accelerator, Price | None]]", *, only: bool
) -> list[dict[str, Any]]:
    """Return one row for each accelerator that holds the model; bytes are those of one accelerator."""
    from helm_efficiency.core.transfer.placement import place_model
    from helm_efficiency.errors import InputError

    rows = []
    for accelerator, price in priced:
        if accelerator.memory_bytes is None:
            note(f"{accelerator.key}: its memory is not known.")
            continue
        try:
            placement = place_model(
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
    return sorted(rows, key=lambda row: (row["usd_per_hour"] is None, row["usd_per_hour"] or 0.0))


def _scaled(value: float | None, unit: float) -> float | None:
    return None if value is None else value / unit
