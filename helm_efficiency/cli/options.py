"""Options and output shared by the commands."""

import csv
import itertools
import json
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import date, datetime
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from helm_efficiency.defaults import DEFAULT_ARCHITECTURES
from helm_efficiency.errors import one_line

if TYPE_CHECKING:
    from helm_efficiency.catalog.architectures import ArchitectureCatalog

StoreOption = Annotated[
    Path, typer.Option("--store", help="The coefficient store.", envvar="HELM_EFFICIENCY_STORE", show_default=True)
]

PricesOption = Annotated[
    Path | None,
    typer.Option(
        "--prices",
        help="Your own accelerators and prices, YAML or CSV; see docs/accelerator-prices.md.",
        envvar="HELM_EFFICIENCY_PRICES",
    ),
]
ApiPricesOption = Annotated[
    Path | None,
    typer.Option(
        "--api-prices",
        help="Your own API prices, CSV; see docs/accelerator-prices.md.",
        envvar="HELM_EFFICIENCY_API_PRICES",
    ),
]
PriceListOption = Annotated[
    str, typer.Option("--price-list", help="Which prices: on-demand, modal, lambda, paper-2023 or your own.")
]
PriceDateOption = Annotated[
    datetime | None, typer.Option("--price-date", formats=["%Y-%m-%d"], help="Prices as of a day; today by default.")
]

ArchitecturesOption = Annotated[
    Path, typer.Option("--architectures", help="Your own architectures, beside the packaged ones.", show_default=True)
]
DeploymentFilter = Annotated[str | None, typer.Option("--deployment", help="Of this deployment only.")]
StackFilter = Annotated[str | None, typer.Option("--stack", help="On this stack only.")]


class Format(StrEnum):
    """How data is written to stdout."""

    table = "table"
    json = "json"
    csv = "csv"


FormatOption = Annotated[Format, typer.Option("--format", help="How data is written to stdout.")]


def day_of(moment: datetime | None) -> date | None:
    """Return the day of a date option."""
    return None if moment is None else moment.date()


def load_catalog(path: Path) -> "ArchitectureCatalog":
    """Read the packaged catalog and, if it is there, the user's own file."""
    from helm_efficiency.catalog.architectures import load_architectures, load_user_architectures

    if not path.exists() and path == DEFAULT_ARCHITECTURES:
        return load_architectures()
    return load_user_architectures(path)


def emit(rows: Sequence[Mapping[str, Any]], format: Format) -> None:
    """Write rows of one shape to stdout; null cells are empty in tables and CSV."""
    columns = list(dict.fromkeys(column for row in rows for column in row))
    if format is Format.json:
        sys.stdout.write(json.dumps(list(rows), indent=2, default=str) + "\n")
    elif format is Format.csv:
        writer = csv.DictWriter(sys.stdout, columns, lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)
    else:
        _print_table(rows, columns)


def emit_each(rows: Iterable[Mapping[str, Any]], format: Format) -> None:
    """As `emit`, of rows that all have the columns of the first: each is written as it comes, and forgotten.

    The columns of a table are as wide as their widest cell, so very long ones are several tables.
    """
    left = iter(rows)
    if format is Format.json:
        _write_json(left)
    elif format is Format.csv:
        _write_csv(left)
    else:
        emit(list(itertools.islice(left, _ROWS_OF_A_TABLE)), format)
        while piece := list(itertools.islice(left, _ROWS_OF_A_TABLE)):
            emit(piece, format)


_ROWS_OF_A_TABLE = 10_000


def _write_json(rows: Iterator[Mapping[str, Any]]) -> None:
    first = next(rows, None)
    sys.stdout.write("[")
    for row in itertools.chain([] if first is None else [first], rows):
        text = json.dumps([row], indent=2, default=str)[1:-2]
        sys.stdout.write(text if row is first else f",{text}")
    sys.stdout.write("]\n" if first is None else "\n]\n")


def _write_csv(rows: Iterator[Mapping[str, Any]]) -> None:
    first = next(rows, None)
    writer = csv.DictWriter(sys.stdout, list(first or ()), lineterminator="\n")
    writer.writeheader()
    writer.writerows(itertools.chain([] if first is None else [first], rows))


def narrowed(rows: Sequence[Mapping[str, Any]], columns: Sequence[str]) -> list[dict[str, Any]]:
    """Those columns that a table for reading has room for; the other formats have them all."""
    return [{column: row.get(column) for column in columns} for row in rows]


def _print_table(rows: Sequence[Mapping[str, Any]], columns: Sequence[str]) -> None:
    from rich.console import Console
    from rich.table import Table

    table = Table()
    for column in columns:
        table.add_column(column, overflow="fold")
    for row in rows:
        table.add_row(*("" if row.get(column) is None else _cell(row[column]) for column in columns))
    # A file or a pipe has no edge to fold at.
    # Names are not markup: one that looks so would vanish, or raise.
    Console(width=None if sys.stdout.isatty() else 10_000, markup=False, emoji=False).print(table)


def _cell(value: Any) -> str:
    return f"{value:.4g}" if isinstance(value, float) else one_line(str(value))


def note(text: str) -> None:
    """One line of diagnostics to stderr."""
    sys.stderr.write(one_line(text) + "\n")
