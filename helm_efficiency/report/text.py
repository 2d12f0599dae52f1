"""Tables for people, and how they are fitted to the width of a terminal.

All commands and leaderboards print with `to_text`. If a table is too wide, it hides the intervals first, then the
least important columns; a line below the table names the hidden columns.
"""

import io
import textwrap
from collections.abc import Sequence
from dataclasses import dataclass, replace

from rich.cells import cell_len

from helm_efficiency.errors import one_line

PAGE_COLUMNS = 80
"""Width of a table if the terminal's is not known: that of the narrowest terminals in use (characters)."""

_GAP = 2
_USUAL_NAME = 36
"""Number of characters that a name keeps while columns can be hidden: most names of deployments are not longer."""
_SHORTEST_NAME = 16
"""Least number of characters of a shortened name: enough to distinguish most models."""


@dataclass(frozen=True, slots=True)
class Column:
    """One column of text.

    Attributes:
        heading: Heading, with the unit in brackets at its end.
        cells: Cells with their intervals, one for each row.
        plain: Cells without intervals, for a narrow terminal; empty if they are the same.
        is_number: True to align the cells to the right.
        priority: Order of hiding: 0 is never hidden; of the others, the highest number is hidden first.
        wraps: True to wrap long cells over several lines; False to cut their middle.
        width: Number of characters to fold at; 0 for no folding.
    """

    heading: str
    cells: tuple[str, ...]
    plain: tuple[str, ...] = ()
    is_number: bool = True
    priority: int = 0
    wraps: bool = False
    width: int = 0

    @property
    def short(self) -> tuple[str, ...]:
        """Cells without their intervals."""
        return self.plain or self.cells


@dataclass(frozen=True, slots=True)
class Display:
    """A table of text.

    Attributes:
        title: Title above the table; may be empty.
        columns: Columns from left to right.
        legend: Sentences that explain the marks.
        notes: Sentences on left-out, mixed or missing data.
    """

    title: str
    columns: tuple[Column, ...]
    legend: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()

    @property
    def headings(self) -> tuple[str, ...]:
        """Headings with units."""
        return tuple(column.heading for column in self.columns)

    @property
    def is_number(self) -> tuple[bool, ...]:
        """Flags of the columns that are aligned to the right."""
        return tuple(column.is_number for column in self.columns)

    @property
    def rows(self) -> tuple[tuple[str, ...], ...]:
        """Cells with their intervals, row by row."""
        return tuple(zip(*(column.cells for column in self.columns), strict=True))

    @property
    def short_rows(self) -> tuple[tuple[str, ...], ...]:
        """Cells without intervals, row by row."""
        return tuple(zip(*(column.short for column in self.columns), strict=True))


def to_text(table: Display, *, width: int | None = PAGE_COLUMNS) -> str:
    """Return a table as text for terminals and logs, with its legend below.

    Args:
        table: Table to write.
        width: Number of characters of a line; None shows every column in full.
    """
    shown, hidden = (list(table.columns), []) if width is None else _fitted(table.columns, width)
    names = ", ".join(heading.partition(" (")[0] for heading in hidden)
    told = [*table.legend, *table.notes, *([f"Hidden (too narrow): {names}. Show: --all-columns"] if names else [])]
    below = [textwrap.fill(one_line(sentence), min(width or 100, 100)) for sentence in told]
    above = [textwrap.fill(one_line(table.title), width or 100), ""] if table.title else []
    return "\n".join([*above, *_lines(shown), *([""] if below else []), *below]) + "\n"


def _lines(columns: Sequence[Column]) -> list[str]:
    """Return the lines of columns that fit."""
    from rich.box import SIMPLE_HEAD
    from rich.console import Console
    from rich.table import Table

    if not columns:
        return []
    laid = Table(box=SIMPLE_HEAD, show_edge=False, pad_edge=False, padding=(0, 1, 0, 0))
    for column in columns:
        laid.add_column(
            "\n".join(map(one_line, _heading_lines(column))),
            justify="right" if column.is_number else "left",
            vertical="bottom",
            no_wrap=False,
            min_width=_width(column),
            max_width=_width(column),
        )
    for row in zip(*(column.cells for column in columns), strict=True):
        laid.add_row(*map(one_line, row))
    page = io.StringIO()
    total = sum(_width(column) + _GAP for column in columns) + _GAP
    # Names are not markup: rich would drop a name that looks like markup, or raise an error.
    Console(file=page, width=total, markup=False, emoji=False, highlight=False, color_system=None).print(laid)
    return [line.rstrip() for line in page.getvalue().splitlines()]


def _width(column: Column) -> int:
    """Return the number of characters that a column needs: its widest cell, or the widest word of its heading."""
    if column.width:
        return column.width
    lines = _heading_lines(column)
    if len(lines) == 1:
        # A heading of two or three words may take two lines, and the unit one.
        title, bracket, unit = column.heading.partition(" (")
        lines = (*title.split(), f"({unit}" if bracket else "", "x" * -(-cell_len(title) // 2))
    return max(1, *map(cell_len, lines), *(cell_len(one_line(cell)) for cell in column.cells))


def _heading_lines(column: Column) -> tuple[str, ...]:
    """Return the lines of a heading: it is broken after a comma; otherwise rich breaks it."""
    before, comma, after = column.heading.partition(", ")
    return (f"{before},", after) if comma else (before,)


def _fitted(columns: Sequence[Column], width: int) -> tuple[list[Column], list[str]]:
    """Return the columns that fit a width, and the headings of those that do not."""
    shown = list(columns)
    for _, index in sorted(((column.priority, index) for index, column in enumerate(shown)), reverse=True):
        if _total(shown) > width and shown[index].plain:
            shown[index] = _without_intervals(shown[index])
    _shorten_names(shown, width, _USUAL_NAME)
    hidden: list[str] = []
    while _total(shown) > width and any(column.priority for column in shown):
        least = max(range(len(shown)), key=lambda index: (shown[index].priority, index))
        hidden.insert(0, shown.pop(least).heading)
    _shorten_names(shown, width, _SHORTEST_NAME)
    return shown, hidden


def _shorten_names(shown: list[Column], width: int, least: int) -> None:
    """Shorten columns of text, those that wrap first, until all fit a width; none gets less than `least` characters."""
    names = [index for index, column in enumerate(shown) if not column.is_number and _width(column) > least]
    for index in sorted(names, key=lambda index: (not shown[index].wraps, -_width(shown[index]))):
        excess = _total(shown) - width
        if excess > 0:
            shown[index] = _shortened(shown[index], max(_width(shown[index]) - excess, least))


def _total(columns: Sequence[Column]) -> int:
    return sum(_width(column) + _GAP for column in columns) - _GAP


def _without_intervals(column: Column) -> Column:
    return replace(column, cells=column.short, plain=())


def _shortened(column: Column, width: int) -> Column:
    """Fold long cells, or cut their middle: both ends of a name are needed to recognize it."""
    if column.wraps:
        return replace(column, width=width)
    cells = []
    for cell in map(one_line, column.cells):
        left = (width - 1) // 3
        right = width - 1 - left
        cells.append(cell if cell_len(cell) <= width else f"{cell[:left]}…{cell[-right:]}")
    return replace(column, cells=tuple(cells))
