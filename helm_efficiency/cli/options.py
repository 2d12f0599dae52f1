"""Options and output shared by the commands."""

import csv
import json
import shutil
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import date, datetime
from enum import StrEnum
from itertools import chain, islice
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from helm_efficiency.cli.command import printing
from helm_efficiency.cli.tables import Field, as_display
from helm_efficiency.defaults import DEFAULT_ARCHITECTURES
from helm_efficiency.errors import InputError, one_line, printable

if TYPE_CHECKING:
    from helm_efficiency.catalog.accelerators import Accelerator, Price
    from helm_efficiency.catalog.architectures import ArchitectureCatalog
    from helm_efficiency.metrics.pricing import Pricing
    from helm_efficiency.report.text import Display

StoreOption = Annotated[
    Path, typer.Option("--store", help="The coefficient store.", envvar="HELM_EFFICIENCY_STORE", show_default=True)
]

PricesOption = Annotated[
    Path | None,
    typer.Option(
        "--prices",
        help="Your own accelerators and prices, YAML or CSV; see docs/costs.md.",
        envvar="HELM_EFFICIENCY_PRICES",
    ),
]


@dataclass(frozen=True)
class PriceOptions:
    """Choice of the accelerators' prices: a user's own file, a list, a day."""

    prices: PricesOption = None
    price_list: Annotated[str, "Which prices: on-demand, modal, lambda, paper-2023 or your own."] = "on-demand"
    price_date: Annotated[
        datetime | None,
        typer.Option("--price-date", formats=["%Y-%m-%d"], help="Prices as of a day; today by default."),
    ] = None

    @property
    def day(self) -> date:
        """Day of the prices."""
        return date.today() if self.price_date is None else self.price_date.date()

    def accelerators(self) -> "Mapping[str, Accelerator]":
        """Return all accelerators, the user's own included."""
        from helm_efficiency.catalog.accelerators import load_accelerators

        return load_accelerators(self.prices)

    def pricing(self, api_prices: Path | None) -> "Pricing":
        """Return the prices of accelerators and APIs on the day."""
        from helm_efficiency.metrics.pricing import Pricing

        return Pricing.as_of(self.day, price_list=self.price_list, accelerator_file=self.prices, api_file=api_prices)

    def of(self, key: str) -> "Price | None":
        """Return the price of an accelerator; None, with a note, if it has none."""
        accelerator = self.accelerators().get(key)
        price = accelerator.price(self.day, self.price_list) if accelerator else None
        if price is None:
            note(f"{key} has no price in the list {self.price_list!r} by that day. See: helm-efficiency accelerators")
        return price


ApiPricesOption = Annotated[
    Path | None,
    typer.Option(
        "--api-prices",
        help="Your own API prices, CSV; see docs/costs.md.",
        envvar="HELM_EFFICIENCY_API_PRICES",
    ),
]
ArchitecturesOption = Annotated[
    Path, typer.Option("--architectures", help="Your own architectures, beside the packaged ones.", show_default=True)
]
PathsArgument = Annotated[
    list[str], typer.Argument(metavar="PATH...", help="Runs, logs or folders of them; or gs://, s3://, https:// …")
]
DeploymentFilter = Annotated[str | None, "Only this deployment."]
StackFilter = Annotated[str | None, "Only this stack."]
CachesOption = Annotated[list[Path], "HELM's request caches, for the provider's token counts: prod_env/cache."]

OutputFolder = Annotated[
    Path, typer.Option("--output", "-o", help="Folder for the tables and the re-scored suites.", show_default=True)
]
OnOption = Annotated[
    str | None,
    typer.Option("--on", metavar="[N]xACCELERATOR", help="Instead of a stack in the store, such as 4xh100-sxm:vllm."),
]


NOTHING_IN_CACHE = (
    "--cache {caches}: none of the requests is in it. Name the folder with the caches of the hosts that were asked, "
    "such as prod_env/cache, of the machine that made these runs."
)
"""Message for a request cache that holds none of the requests."""


class Format(StrEnum):
    """Format in which data is written to stdout."""

    table = "table"
    json = "json"
    csv = "csv"


FormatOption = Annotated[Format, "How data is written to stdout."]


def counts_of(text: str, *, or_none: bool = False) -> tuple[int, ...]:
    """Return the counts in a list with commas.

    Raises:
        InputError: The list holds something else, or is empty.
    """
    try:
        counts = tuple(int(part) for part in text.split(",") if part.strip())
    except ValueError as error:
        raise InputError(f"{text!r}: expected counts such as 1,256,1024.") from error
    if not (counts or or_none):
        raise InputError(f"{text!r}: expected at least one count, such as 1,256,1024.")
    return counts


def load_catalog(path: Path) -> "ArchitectureCatalog":
    """Read the packaged catalog and, if it exists, the user's own file."""
    from helm_efficiency.catalog.architectures import load_architectures, load_user_architectures

    if not path.exists() and path == DEFAULT_ARCHITECTURES:
        return load_architectures()
    return load_user_architectures(path)


def emit(
    rows: Iterable[Mapping[str, Any]],
    format: Format,
    fields: Sequence[Field],
    *,
    title: str = "",
    notes: Sequence[str] = (),
    whole: bool = False,
) -> None:
    """Write rows to stdout, each as it comes: all of them for programs, the first ten as a table for people.

    Args:
        rows: Rows to write, the best or most important ones first.
        format: Format to write them in.
        fields: Columns of the table. JSON and CSV have every key of the rows; CSV those of an iterator's first row.
        title: Line above the table.
        notes: Sentences below the table.
        whole: True to print all rows of a table even without --all, for example all figures of one accelerator.
    """
    left = iter(rows)
    if format is Format.json:
        _write_json(left)
    elif format is Format.csv:
        first = list(islice(left, None if isinstance(rows, Sequence) else 1))
        _write_csv(chain(first, left), list(dict.fromkeys(column for row in first for column in row)))
    else:
        whole = whole or printing().all_rows
        shown = list(islice(left, _ROWS_OF_A_TABLE if whole else _FEW_ROWS + 1))
        num_more = 0
        if not whole and len(shown) > _FEW_ROWS:
            num_more = len(shown) - _TOP_ROWS + sum(1 for _ in left)
            del shown[_TOP_ROWS:]
        more = (f"… {num_more:,} more: --all",) if num_more else ()
        while True:
            table = as_display(shown, fields, title=title, all_columns=printing().all_columns)
            print_display(replace(table, notes=(*more, *notes)))
            shown = list(islice(left, _ROWS_OF_A_TABLE))
            if not shown:
                return


_ROWS_OF_A_TABLE = 10_000
_TOP_ROWS = 10
_FEW_ROWS = 12
"""Largest number of rows of a table that is shown whole: leaving out two rows would save nothing."""


def _write_json(rows: Iterator[Mapping[str, Any]]) -> None:
    first = next(rows, None)
    sys.stdout.write("[")
    for row in chain([] if first is None else [first], rows):
        text = json.dumps([row], indent=2, default=str)[1:-2]
        sys.stdout.write(text if row is first else f",{text}")
    sys.stdout.write("]\n" if first is None else "\n]\n")


def _write_csv(rows: Iterator[Mapping[str, Any]], columns: Sequence[str]) -> None:
    """Write rows as CSV; only unprintable characters are replaced. A cell may begin with = or @, as some names do."""
    writer = csv.DictWriter(sys.stdout, columns, lineterminator="\n")
    writer.writeheader()
    for row in rows:
        writer.writerow({key: printable(value) if isinstance(value, str) else value for key, value in row.items()})


def first_rows(table: "Display") -> "Display":
    """Return the first ten rows of a long table with a note of how many more it has; with --all, return every row."""
    total = len(table.rows)
    if printing().all_rows or total <= _FEW_ROWS:
        return table
    columns = tuple(
        replace(column, cells=column.cells[:_TOP_ROWS], plain=column.plain[:_TOP_ROWS]) for column in table.columns
    )
    return replace(table, columns=columns, notes=(f"… {total - _TOP_ROWS:,} more: --all", *table.notes))


def print_display(table: "Display") -> None:
    """Write a table to stdout, as wide as the terminal, or 80 characters if its width is not known."""
    from helm_efficiency.report.text import to_text

    sys.stdout.write(to_text(table, width=None if printing().all_columns else terminal_width()))


def terminal_width() -> int:
    """Return the number of characters of a line of the terminal; 80 if it is not known."""
    from helm_efficiency.report.text import PAGE_COLUMNS

    return shutil.get_terminal_size((PAGE_COLUMNS, 24)).columns


def note(text: str) -> None:
    """Write one line of diagnostics to stderr, unless --quiet was given."""
    if not printing().quiet:
        sys.stderr.write(one_line(text) + "\n")
