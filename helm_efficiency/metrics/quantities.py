"""Print numbers: choose the unit and the number of digits, and never use scientific notation.

Data formats keep seconds, dollars and bytes; prefixes exist in print only. A column has one unit, chosen by its
largest value.
"""

import math
from collections.abc import Iterable
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Quantity:
    """A kind of number.

    Attributes:
        units: Names of units with the factor from the unit of the data, the largest unit first.
        decimals: Fixed number of decimals; None for three significant digits.
        least: Smallest value that the largest number of a column has in its unit.
    """

    units: tuple[tuple[str, float], ...] = (("", 1.0),)
    decimals: int | None = None
    least: float = 1.0

    def unit(self, values: Iterable[float]) -> tuple[str, float]:
        """Return the largest unit in which some value is at least `least`, and its factor.

        >>> SECONDS.unit([0.002, 0.4])
        ('ms', 1000.0)
        """
        largest = max((abs(value) for value in values if math.isfinite(value)), default=0.0)
        found = (unit for unit in self.units if largest * unit[1] >= self.least)
        return next(found, self.units[-1 if largest else 0])

    def text(self, value: float) -> str:
        """Return the text of a value that is already in the printed unit."""
        if self.decimals is None or not math.isfinite(value):
            return number(value)
        return f"{value:,.{self.decimals}f}"


SECONDS = Quantity((("s", 1.0), ("ms", 1e3), ("µs", 1e6)))
DOLLARS = Quantity((("$", 1.0),))
DOLLARS_PER_1K = Quantity((("$/1k", 1e3), ("$/1M", 1e6)), least=0.01)
"""Dollars of one request, printed for a thousand or a million requests."""
PERCENT = Quantity((("%", 100.0),))
COUNT = Quantity(decimals=0)
LARGE_COUNT = Quantity((("B", 1e-9), ("M", 1e-6), ("k", 1e-3), ("", 1.0)))
BYTES = Quantity((("GB", 1e-9), ("MB", 1e-6), ("kB", 1e-3), ("bytes", 1.0)))
JOULES = Quantity((("kJ", 1e-3), ("J", 1.0), ("mJ", 1e3)))
PLAIN = Quantity()


def number(value: float) -> str:
    """Return a number with three significant digits, never in scientific notation; an em dash for NaN.

    >>> number(0.0123), number(1234567.0), number(2.5e-7)
    ('0.0123', '1,234,567', '0.00000025')
    """
    if math.isnan(value):
        return "—"
    if math.isinf(value):
        return "∞" if value > 0 else "−∞"
    magnitude = abs(value)
    if magnitude == 0:
        return "0"
    if magnitude >= 1000:
        return f"{round(value):,}"
    if magnitude < _SMALLEST:
        return f"<{_SMALLEST:.9f}"
    decimals = 2 - math.floor(math.log10(magnitude))
    text = f"{value:.{max(0, min(decimals, _MOST_DECIMALS))}f}"
    return text if magnitude >= 0.0001 else text.rstrip("0")


_SMALLEST = 1e-9
_MOST_DECIMALS = 9
"""A unit with a prefix is chosen by the largest value, so fewer decimals than these are printed in practice."""
