"""Tables for people: what a table shows, and how it is fitted to the width of a terminal.

Every command and every leaderboard is shown by `to_text`. Where a table is too wide, the intervals go first, then the
columns of the least weight; what was hidden is named below the table.
"""

import io
import textwrap
from collections.abc import Sequence
from dataclasses import dataclass, replace

from rich.cells import cell_len

from helm_efficiency.errors import one_line

PAGE_COLUMNS = 80
"""Width of a table where the terminal's is not known: that of the narrowest terminals in use."""

_GAP = 2
_USUAL_NAME = 36
"""Characters that a name keeps while there are columns to hide: most names of deployments are no longer."""
_SHORTEST_NAME = 16
"""Characters that a name keeps at least when it is shortened: enough to tell most models apart."""


@dataclass(frozen=True, slots=True)
class Column:
    """One column of text.

    Attributes:
        heading: Words, then the unit in brackets.
        cells: Cells with their intervals, one a row.
        plain: The same cells for a narrow terminal, without intervals; empty where they are the same.
        is_number: Whether the cells are set flush right.
        priority: 0 is never hidden; of the others, the highest number is hidden first.
        wraps: Whether long cells take several lines; else they lose their middle.
        width: Characters to fold at; 0 where nothing is folded.
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
        """Cells without intervals."""
        return self.plain or self.cells


@dataclass(frozen=True, slots=True)
class Display:
    """A table of text.

    Attributes:
        title: What is shown; may be empty.
        columns: From left to right.
        legend: What the marks mean, one sentence each.
        notes: What was left out, mixed or missing, one sentence each.
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
        """Whether each column is set flush right."""
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
    """Write a table for terminals and logs, its legend below.

    Args:
        table: What to write.
        width: Characters of a line; None shows every column in full.
    """
    shown, hidden = (list(table.columns), []) if width is None else _fitted(table.columns, width)
    names = ", ".join(heading.partition(" (")[0] for heading in hidden)
    told = [*table.legend, *table.notes, *([f"Hidden (too narrow): {names}. Show: --all-columns"] if names else [])]
    below = [textwrap.fill(one_line(sentence), min(width or 100, 100)) for sentence in told]
    above = [textwrap.fill(one_line(table.title), width or 100), ""] if table.title else []
    return "\n".join([*above, *_lines(shown), *([""] if below else []), *below]) + "\n"


def _lines(columns: Sequence[Column]) -> list[str]:
    """Lay out columns that fit."""
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
    # Names are not markup: one that looks so would vanish, or raise.
    Console(file=page, width=total, markup=False, emoji=False, highlight=False, color_system=None).print(laid)
    return [line.rstrip() for line in page.getvalue().splitlines()]


def _width(column: Column) -> int:
    """Characters that a column takes: its widest cell, or the widest word of its heading."""
    if column.width:
        return column.width
    lines = _heading_lines(column)
    if len(lines) == 1:
        # A heading of two or three words may take two lines, and the unit one.
        title, bracket, unit = column.heading.partition(" (")
        lines = (*title.split(), f"({unit}" if bracket else "", "x" * -(-cell_len(title) // 2))
    return max(1, *map(cell_len, lines), *(cell_len(one_line(cell)) for cell in column.cells))


def _heading_lines(column: Column) -> tuple[str, ...]:
    """Return the lines of a heading: it is broken after a comma, else where rich does."""
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
    """Shorten columns of text until all fit a width, none below so many characters; those that fold come first."""
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
    """Fold long cells, or take their middle out: both ends of a name tell it apart."""
    if column.wraps:
        return replace(column, width=width)
    cells = []
    for cell in map(one_line, column.cells):
        left = (width - 1) // 3
        right = width - 1 - left
        cells.append(cell if cell_len(cell) <= width else f"{cell[:left]}…{cell[-right:]}")
    return replace(column, cells=tuple(cells))
