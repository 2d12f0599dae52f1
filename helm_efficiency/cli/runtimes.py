"""Commands about runtime models: fit, predict."""

import sys
from collections.abc import Sequence
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from helm_efficiency.cli import app
from helm_efficiency.cli.options import (
    Format,
    FormatOption,
    PriceDateOption,
    PriceListOption,
    PricesOption,
    StoreOption,
    emit,
    narrowed,
    note,
)
from helm_efficiency.defaults import DEFAULT_STORE
from helm_efficiency.errors import InputError

if TYPE_CHECKING:
    from helm_efficiency.catalog.accelerators import Price
    from helm_efficiency.core.fitting.fit import Fit


_FITTED_IN_TABLES = ("deployment", "stack", "rule", "max_prompt_tokens", "decode_s_per_token")


class Rule(StrEnum):
    """How prefill is read between what was measured."""

    auto = "auto"
    linear = "linear"
    tile = "tile"
    parametric = "parametric"
    helm = "helm"
    paper_2022 = "paper-2022"
    paper_2023 = "paper-2023"


@app.command()
def fit(
    *,
    deployment: Annotated[str | None, typer.Option(help="Of this deployment only.")] = None,
    stack: Annotated[str | None, typer.Option(help="On this stack only.")] = None,
    rule: Annotated[Rule, typer.Option(help="How prefill is read; auto lets the data choose.")] = Rule.auto,
    store: StoreOption = DEFAULT_STORE,
    format: FormatOption = Format.table,
) -> None:
    """Fit coefficients to the measurements in the store, one set for each deployment and stack.

    Example: helm-efficiency fit --store efficiency.sqlite --deployment together/bloom
    """
    from helm_efficiency.core.fitting.fit_all import fit_profiles
    from helm_efficiency.store import Store

    opened = Store(store, create=False)
    everything = opened.profiles()
    chosen = [p for p in everything if deployment in (None, p.deployment) and stack in (None, p.stack.name)]
    if not chosen:
        asked = " on ".join(filter(None, (deployment, stack)))
        known = ", ".join(sorted({p.deployment for p in everything})) or "none"
        raise InputError(f"{store} has no measurements{asked and f' of {asked}'}. It has those of: {known}.")
    fits, failures = fit_profiles(chosen, rule=rule, known=everything)
    opened.put_all((), fits)
    rows = [_fitted(each) for each in fits]
    emit(narrowed(rows, _FITTED_IN_TABLES) if format is Format.table else rows, format)
    for text, names in _by_note(fits).items():
        note(f"{names[0]}: {text}" if len(names) == 1 else f"{len(names)} of {len(fits)}: {text}")
    for failure in failures:
        note(failure)
    if failures:
        note("Fewer cells will do where other models were measured on the same stack: helm-efficiency transfer MODEL")
        raise typer.Exit(1)


def _by_note(fits: "Sequence[Fit]") -> dict[str, list[str]]:
    """Each note once, with those that it is about."""
    found: dict[str, list[str]] = {}
    for each in fits:
        for text in each.notes:
            found.setdefault(text, []).append(f"{each.deployment} on {each.stack.name}")
    return found


def _fitted(fit: "Fit") -> dict[str, Any]:
    coefficients = fit.coefficients
    return {
        "deployment": fit.deployment,
        "stack": fit.stack.name,
        "rule": coefficients.rule,
        "knots": len(coefficients.prefill_knots),
        "max_prompt_tokens": coefficients.domain.max_prompt_tokens,
        "decode_s_per_token": coefficients.decode_s_per_token,
        "decode_s_per_context_token": coefficients.decode_s_per_context_token,
        "relative_error": coefficients.relative_error,
    }


_MOST_DIGITS = 15
"""Of a count of tokens; Python refuses to read thousands of them."""


@app.command()
def predict(
    *,
    deployment: Annotated[str, typer.Option(help="Whose coefficients.")],
    prompt_tokens: Annotated[int | None, typer.Option(help="Tokens fed to prefill.")] = None,
    output_tokens: Annotated[int | None, typer.Option(help="Tokens generated.")] = None,
    requests: Annotated[
        Path | None, typer.Option(help="Instead: a CSV with the columns prompt_tokens,output_tokens.")
    ] = None,
    stack: Annotated[str | None, typer.Option(help="On which stack; needed if there are several.")] = None,
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
    from helm_efficiency.store import Store

    if requests is not None and (prompt_tokens, output_tokens) == (None, None):
        asked = _read_requests(requests)
    elif requests is None and prompt_tokens is not None and output_tokens is not None:
        asked = ([prompt_tokens], [output_tokens])
    else:
        raise InputError("Name one request with --prompt-tokens and --output-tokens, or a file with --requests.")
    fit = Store(store, create=False).fit(deployment, stack)
    accelerator = load_accelerators(prices).get(fit.stack.accelerator)
    price = accelerator.price(price_date.date() if price_date else None, price_list) if accelerator else None
    rows = _predicted(fit, *asked, price=price)
    if format is Format.table:
        _show(rows, fit, price)
    else:
        emit(rows, format)
    if price is None:
        note(f"{fit.stack.accelerator} has no price in the list {price_list!r} by that day.")


def _show(rows: list[dict[str, Any]], fit: "Fit", price: "Price | None") -> None:
    """For reading: one request from top to bottom, and all of the identity of the stack and the price."""
    one = [{"figure": figure, "value": value} for row in rows for figure, value in row.items()]
    emit(one if len(rows) == 1 else rows, Format.table)
    sys.stdout.write(f"Stack: {fit.stack}\n")
    if price is not None:
        hourly = f"{price.usd_per_accelerator_hour} USD per accelerator-hour"
        sys.stdout.write(f"Price: {hourly}, {price.date.isoformat()}, {price.source}\n")


def _read_requests(path: Path) -> tuple[list[int], list[int]]:
    """Prompt and output tokens of each row."""
    from helm_efficiency.errors import FileFormatError
    from helm_efficiency.formats.csv_measurements import read_rows

    columns = ("prompt_tokens", "output_tokens")
    counts: tuple[list[int], list[int]] = ([], [])
    for number, row in read_rows(path, required=columns, known=columns):
        for column, values in zip(columns, counts, strict=True):
            if not row[column].isdecimal() or len(row[column]) > _MOST_DIGITS:
                raise FileFormatError(
                    f"{path}, line {number}: {column} is {row[column][:30]!r}, expected a whole number, 0 or more."
                )
            values.append(int(row[column]))
    if not counts[0]:
        raise FileFormatError(f"{path}: no rows, expected at least one request.")
    return counts


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
