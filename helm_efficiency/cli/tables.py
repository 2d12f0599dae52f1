"""Turn the rows of a command into the table that people see, with one field for each column that is worth showing."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from typing import Any

from helm_efficiency.metrics.quantities import Quantity
from helm_efficiency.report.text import Column, Display

Row = Mapping[str, Any]

ONLY_ON_REQUEST = 9
"""Priority of columns that only --all-columns shows."""


@dataclass(frozen=True, slots=True)
class Field:
    """One column of a command's table.

    Attributes:
        key: Machine name, the key of the rows.
        heading: Heading for people; the unit is added to it.
        quantity: Kind of the number; None for text.
        priority: Order in which columns are hidden; 0 is never hidden, see `Column`.
        interval: Keys of the low and the high end of the value's interval; empty if it has none.
        keeps_interval: True to keep the interval however narrow the table is, as for estimates.
        bound: Key of the flag that says that the value is an upper bound.
        wraps: True to wrap long text over several lines instead of cutting its middle.
    """

    key: str
    heading: str
    quantity: Quantity | None = None
    priority: int = 0
    interval: tuple[str, str] | tuple[()] = ()
    bound: str = ""
    keeps_interval: bool = False
    wraps: bool = False

    def column(self, rows: Sequence[Row]) -> Column:
        """Return this column of the rows."""
        if self.quantity is None:
            cells = tuple(_text(row.get(self.key)) for row in rows)
            return Column(self.heading, cells, is_number=False, priority=self.priority, wraps=self.wraps)
        keys = (self.key, *self.interval)
        unit, factor = self.quantity.unit(_real(row.get(key)) for row in rows for key in keys)
        marks = ["≤ " if row.get(self.bound) else "" for row in rows]
        values = [f"{mark}{self._printed(row, self.key, factor)}" for mark, row in zip(marks, rows, strict=True)]
        heading = f"{self.heading} ({unit})" if unit else self.heading
        if not self.interval:
            return Column(heading, tuple(values), priority=self.priority)
        ends = ([self._printed(row, key, factor) for row in rows] for key in self.interval)
        spans = [f" ({low}–{high})" if low and high else "" for low, high in zip(*ends, strict=True)]
        cells = tuple(value + span for value, span in zip(values, spans, strict=True))
        plain = () if self.keeps_interval else tuple(values)
        return Column(heading, cells, plain, priority=self.priority)

    def _printed(self, row: Row, key: str, factor: float) -> str:
        value = row.get(key)
        if value is None or isinstance(value, str):  # some figures are texts
            return _text(value)
        assert self.quantity is not None
        return self.quantity.text(float(value) * factor)


def as_display(rows: Sequence[Row], fields: Sequence[Field], *, title: str = "", all_columns: bool = False) -> Display:
    """Return the table of some rows.

    Args:
        rows: One mapping for each row; a key that is missing or None leaves its cell blank.
        fields: Columns in order; a column without a value in any row is left out.
        title: Line above the table.
        all_columns: True to include the columns that only --all-columns shows.
    """
    least = math.inf if all_columns else ONLY_ON_REQUEST
    known = {key for row in rows for key, value in row.items() if value is not None}
    shown = [field for field in fields if field.priority < least and field.key in known]
    return Display(title, tuple(field.column(rows) for field in shown))


def _real(value: Any) -> float:
    return float(value) if isinstance(value, (int, float)) else math.nan


def _text(value: Any) -> str:
    if value is None:
        return ""
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, (date, datetime)):
        return value.isoformat()
    return f"{value:,}" if isinstance(value, int) else str(value)
