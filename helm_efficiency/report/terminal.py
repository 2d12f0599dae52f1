"""Draw a trade-off plot in plain text, for terminals and logs."""

import string

import numpy as np
import pandas as pd

from helm_efficiency.core.arrays import FloatArray, IntArray
from helm_efficiency.errors import printable
from helm_efficiency.metrics.measures import MEASURES
from helm_efficiency.report.display import short_names

_KEYS = string.ascii_lowercase
_LOG_FROM = 8
_MARGIN = 7


def text_plot(
    part: pd.DataFrame, *, x: str = "idealized_s", y: str = "score", width: int = 64, height: int = 16
) -> str:
    """Draw the scatter of one leaderboard table in characters: one letter for each model, upper case on the front.

    Models beyond the 26th are dots. If several models fall on one position, the best ranked is shown.

    Args:
        part: Rows of one scenario and stack: `Leaderboard.part()`.
        x: Measure on the horizontal axis; the axis is logarithmic if it spans about a decade or more.
        y: Measure on the vertical axis.
        width: Number of characters between the axes.
        height: Number of lines between the axes.
    """
    finite = np.isfinite(part[x].astype(float)) & np.isfinite(part[y].astype(float))
    shown = part[finite].reset_index(drop=True)
    if shown.empty:
        return f"No model has both {MEASURES[x].name} and {MEASURES[y].name}.\n"
    across, up = shown[x].to_numpy(dtype=float), shown[y].to_numpy(dtype=float)
    log = across.min() > 0 and across.max() / across.min() >= _LOG_FROM
    columns, rows = _places(np.log(across) if log else across, width), _places(up, height)
    on_front = shown.get(f"{x}_front", pd.Series(False, shown.index))
    keys = [key.upper() if front else key for key, front in zip(_KEYS.ljust(len(shown), "·"), on_front, strict=False)]
    canvas = np.full((height, width), " ")
    for key, column, row in reversed(list(zip(keys, columns, rows, strict=True))):
        canvas[height - 1 - row, column] = key
    ticks = {0: MEASURES[y].text(up.max()), height - 1: MEASURES[y].text(up.min())}
    lines = [f"{MEASURES[y].axis_label}"]
    lines += [f"{ticks.get(line, ''):>{_MARGIN}} ┤{''.join(canvas[line]).rstrip()}" for line in range(height)]
    low, high = MEASURES[x].text(across.min()), MEASURES[x].text(across.max())
    lines += [
        f"{'':>{_MARGIN}} └{'─' * width}",
        f"{'':>{_MARGIN}}  {low}{high:>{width - len(low)}}",
        f"{'':>{_MARGIN}}  {MEASURES[x].axis_label}{', logarithmic' if log else ''}",
        "",
    ]
    names = short_names([printable(str(name)) for name in shown["deployment"]])
    lines += [f"  {key} {name}" for key, name in zip(keys, names, strict=True) if key != "·"]
    return "\n".join([*lines, "  upper case: on the Pareto front"]) + "\n"


def _places(values: FloatArray, count: int) -> IntArray:
    """Return the index of the cell of each value, with `count` cells between the least and the greatest value."""
    span = np.ptp(values)
    share = (values - values.min()) / span if span else np.full(len(values), 0.5)
    places: IntArray = np.rint(share * (count - 1)).astype(np.int64)
    return places
