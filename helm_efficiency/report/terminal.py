"""Draw a trade-off plot in text with plotext, for terminals and logs."""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from helm_efficiency.core.arrays import FloatArray
from helm_efficiency.errors import printable
from helm_efficiency.metrics.measure import Measure
from helm_efficiency.metrics.measures import MEASURES
from helm_efficiency.report.display import short_names

_LOG_FROM = 8
"""Ratio of the largest to the least value from which an axis is logarithmic, as in the figures."""
_MARGIN = 0.04
"""Share of an axis that is kept free beside the outermost points."""
_FEWEST_TICKS = 4
_COLOURS = ("blue+", "orange+", "green+", "magenta+", "cyan+", "red+")
_FRONT, _BEATEN = "●", "○"

_Cell = tuple[int, int]


@dataclass(frozen=True, slots=True)
class _Axis:
    """Positions of points on an axis, from `low` to `high`, and its ticks: positions with their labels."""

    label: str
    places: FloatArray
    low: float
    high: float
    ticks: dict[float, str]

    @classmethod
    def of(cls, part: pd.DataFrame, measure: Measure, *, may_be_log: bool) -> "_Axis":
        values = part[measure.key].to_numpy(dtype=float) * measure.scale
        is_log = may_be_log and values.min() > 0 and values.max() / values.min() >= _LOG_FROM
        places = np.log10(values) if is_log else values
        room = _MARGIN * float(np.ptp(places) or abs(places[0]) or 1.0)
        low, high = float(places.min()) - room, float(places.max()) + room
        ticks = _decades(low, high) if is_log else _steps(low, high)
        return cls(f"{measure.axis_label}{', logarithmic' if is_log else ''}", places, low, high, ticks)

    def cells(self, count: int) -> list[int]:
        """Return the index of the cell of each point on an axis of `count` characters."""
        return [round(place) for place in (self.places - self.low) / (self.high - self.low) * (count - 1)]

    def at(self, cell: int, count: int) -> float:
        """Return the position of a cell."""
        return self.low + cell / (count - 1) * (self.high - self.low)


def text_plot(
    part: pd.DataFrame,
    *,
    x: str = "idealized_s",
    y: str = "score",
    size: tuple[int, int] = (80, 20),
    coloured: bool = False,
) -> str:
    """Draw the scatter of one leaderboard table in characters, with names that do not overlap.

    Args:
        part: Rows of one scenario and stack, the best first: `Leaderboard.part()`.
        x: Measure on the horizontal axis; the axis is logarithmic if it spans about a decade or more.
        y: Measure on the vertical axis.
        size: Characters of a line, and lines.
        coloured: True to colour the points by provider, as on a terminal.
    """
    import plotext as plot  # its figure is global, so it is cleared first

    finite = np.isfinite(part[x].astype(float)) & np.isfinite(part[y].astype(float))
    shown = part[finite]
    if shown.empty:
        return f"No model has both {MEASURES[x].name} and {MEASURES[y].name}.\n"
    across = _Axis.of(shown, MEASURES[x].in_unit_of(shown[x]), may_be_log=True)
    up = _Axis.of(shown, MEASURES[y].in_unit_of(shown[y]), may_be_log=False)
    plot.clear_figure()
    plot.theme("clear")
    plot.limit_size(False, False)
    plot.plot_size(*size)
    plot.xlim(across.low, across.high)
    plot.ylim(up.low, up.high)
    plot.xticks([*across.ticks], [*across.ticks.values()])
    plot.yticks([*up.ticks], [*up.ticks.values()])
    plot.xlabel(across.label)
    canvas = size[0] - max(map(len, up.ticks.values())) - 2, size[1] - 4  # without the frame, ticks and the label
    cells = list(zip(across.cells(canvas[0]), up.cells(canvas[1]), strict=True))
    names = short_names([printable(str(name)) for name in shown["deployment"]])
    for name, (column, row) in _placed(names, cells, canvas):
        plot.text(name, across.at(column, canvas[0]), up.at(row, canvas[1]), alignment="left")
    hosts = [str(name).partition("/")[0] for name in shown["deployment"]]
    colour_of = dict(zip(dict.fromkeys(hosts), _COLOURS * len(hosts), strict=False))
    on_front = shown.get(f"{x}_front", pd.Series(False, shown.index))
    for *place, host, front in reversed(list(zip(across.places, up.places, hosts, on_front, strict=True))):
        plot.scatter(*([each] for each in place), marker=_FRONT if front else _BEATEN, color=colour_of[host])
    lines = (plot.build() if coloured else plot.uncolorize(plot.build())).splitlines()
    return "\n".join([up.label, *map(str.rstrip, lines), f"{_FRONT} is on the Pareto front, {_BEATEN} is not."]) + "\n"


def _placed(names: Sequence[str], cells: Sequence[_Cell], canvas: _Cell) -> Iterator[tuple[str, _Cell]]:
    """Yield names with the cell where each begins, beside its point; a name without room is left out."""
    taken = {*cells}
    for name, (column, row) in zip(names, cells, strict=True):
        for at_row in (row, row + 1, row - 1):
            for begin in (column + 2, column - 1 - len(name)):
                wanted = {(each, at_row) for each in range(begin - 1, begin + len(name) + 1)} - {(column, row)}
                fits = begin >= 0 and begin + len(name) <= canvas[0] and 0 <= at_row < canvas[1]
                if fits and wanted.isdisjoint(taken):
                    taken |= wanted
                    yield name, (begin, at_row)
                    break
            else:
                continue
            break


def _decades(low: float, high: float) -> dict[float, str]:
    """Return ticks between two logarithms: 1, 2 and 5 of each decade."""
    numbers = [digit * 10.0**decade for decade in range(math.floor(low), math.ceil(high)) for digit in (1, 2, 5)]
    return {math.log10(number): f"{number:g}" for number in numbers if low <= math.log10(number) <= high}


def _steps(low: float, high: float) -> dict[float, str]:
    """Return ticks between two numbers: multiples of 1, 2 or 5 times a power of ten."""
    decade = math.floor(math.log10(high - low))
    step = next(s for s in (10.0**decade * d for d in (1, 0.5, 0.2, 0.1)) if (high - low) / s >= _FEWEST_TICKS)
    ticks = np.arange(math.ceil(low / step), math.floor(high / step) + 1) * step
    return {float(tick): f"{tick:.6g}" for tick in ticks}
