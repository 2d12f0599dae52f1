"""Capability against what it costs, with the Pareto front and how sure each model's place on it is."""

from collections.abc import Iterator
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
import numpy.typing as npt
import pandas as pd
from matplotlib.colors import to_rgb
from matplotlib.lines import Line2D

from helm_efficiency.errors import InputError
from helm_efficiency.report.measures import COSTS, MEASURES, Measure
from helm_efficiency.report.plots.labels import plain, short_names, write_names
from helm_efficiency.report.plots.style import COLOURS, INK, MARKERS, caption, log_if_wide, style

_MOST_NAMES = 40
_MOST_GROUPS = 7
_BARS = "#C4C4C4"


def tradeoff(part: pd.DataFrame, *, x: str = "idealized_s", y: str = "score", axes: Any = None) -> Any:
    """Scatter of one leaderboard table: a point a model, bars for 90 % intervals, steps for the front.

    The likelier a model is on the front, the fuller its point; colour and shape say whose model it is. With more than
    40 models only those likeliest on the front are named. Models without both numbers are counted in the caption.

    Args:
        part: Rows of one scenario and stack: `Leaderboard.part()`.
        x: Measure on the horizontal axis.
        y: Measure on the vertical axis. The front is that of x against the score.
        axes: Where to draw; None for a new figure.

    Returns:
        The axes.

    Raises:
        InputError: There is no such measure.
    """
    for name in (x, y):
        if name not in MEASURES:
            raise InputError(f"No measure {name!r}. Known measures: {', '.join(MEASURES)}.")
    across, up = MEASURES[x], MEASURES[y]
    finite = np.isfinite(part[x].astype(float)) & np.isfinite(part[y].astype(float))
    shown = part[finite].reset_index(drop=True)
    with style():
        axes = axes if axes is not None else plt.subplots()[1]
        points = np.column_stack([shown[x] * across.scale, shown[y] * up.scale]).astype(float)
        log_if_wide(axes, points[:, 0])
        lines = [*_bars(axes, shown, across, up), *_front(axes, shown, across, up)]
        _marks(axes, shown, points, across)
        axes.set(xlabel=f"{across.axis_label}{_direction(across)}", ylabel=f"{up.axis_label}{_direction(up)}")
        axes.set_title(plain(_title(part)), pad=8 if axes.get_legend() is None else 24)
        caption(axes, _caption(part, shown, across))
        named = _worth_naming(shown, across)
        names = short_names([str(name) for name in shown["deployment"]])
        write_names(axes, points[named], [names[index] for index in named], lines=lines)
    return axes


def _bars(axes: Any, shown: pd.DataFrame, across: Measure, up: Measure) -> Iterator[npt.NDArray[np.float64]]:
    """Draw the intervals on both axes and yield them as lines."""
    x, y = shown[across.key] * across.scale, shown[up.key] * up.scale
    for measure in (across, up):
        low, high = (
            shown[f"{measure.key}_{end}"].where(np.isfinite, shown[measure.key]) * measure.scale
            for end in ("low", "high")
        )
        for index in shown.index:
            if measure is across:
                line = np.array([[low[index], y[index]], [high[index], y[index]]])
            else:
                line = np.array([[x[index], low[index]], [x[index], high[index]]])
            axes.plot(*line.T, color=_BARS, lw=0.8, zorder=2, solid_capstyle="butt")
            yield line


def _front(axes: Any, shown: pd.DataFrame, across: Measure, up: Measure) -> Iterator[npt.NDArray[np.float64]]:
    """Draw the front as steps and yield it as a line."""
    if across.key not in COSTS or up.key != "score" or not shown[f"{across.key}_front"].any():
        return
    front = shown[shown[f"{across.key}_front"]].sort_values([across.key, up.key])
    x, y = front[across.key].to_numpy() * across.scale, front[up.key].to_numpy() * up.scale
    # right to the next cost, then up to what it buys
    line = np.column_stack([np.repeat(x, 2)[1:], np.repeat(y, 2)[:-1]])
    axes.plot(*line.T, color=INK, lw=1.1, zorder=2.5, gid="front", solid_joinstyle="miter")
    yield line


def _marks(axes: Any, shown: pd.DataFrame, points: npt.NDArray[np.float64], across: Measure) -> None:
    owner = shown["deployment"].astype(str).map(lambda name: name.partition("/")[0] if "/" in name else "")
    owners = sorted(owner.unique())
    likely = shown.get(f"{across.key}_front_probability", pd.Series(1.0, shown.index)).fillna(0)
    for index, name in enumerate(owners):
        colour, marker = COLOURS[index % len(COLOURS)], MARKERS[index % len(MARKERS)]
        for at in np.flatnonzero(owner == name):
            look = {"marker": marker, "ms": 8, "mec": colour, "mew": 1.4, "zorder": 4, "ls": "none"}
            axes.plot(*points[at], **look, mfc="white")
            axes.plot(*points[at], **look, mfc=(*to_rgb(colour), likely[at]))
    if 1 < len(owners) <= _MOST_GROUPS and len(owners) < len(shown):
        handles = [
            Line2D(
                [], [], ls="none", marker=MARKERS[index], mec=COLOURS[index], mfc="white", mew=1.4, label=plain(name)
            )
            for index, name in enumerate(owners)
        ]
        axes.legend(
            handles=handles,
            loc="lower left",
            bbox_to_anchor=(0, 1),
            ncols=len(owners),
            borderpad=0,
            borderaxespad=0.4,
            handletextpad=0.1,
            columnspacing=1.2,
        )


def _worth_naming(shown: pd.DataFrame, across: Measure) -> npt.NDArray[np.int64]:
    if len(shown) <= _MOST_NAMES or across.key not in COSTS:
        return np.arange(min(len(shown), _MOST_NAMES))
    order = shown.sort_values([f"{across.key}_front", f"{across.key}_front_probability"], ascending=False)
    return np.sort(order.index[:_MOST_NAMES].to_numpy())


def _direction(measure: Measure) -> str:
    return {True: ", more is better", False: ", less is better", None: ""}[measure.higher_is_better]


def _title(part: pd.DataFrame) -> str:
    return str(part["scenario"].iloc[0]) if len(part) else "Nothing to show"


def _caption(part: pd.DataFrame, shown: pd.DataFrame, across: Measure) -> str:
    """Stack, evidence, what is compared, how to read the marks, what is not shown."""
    if part.empty:
        return "The table has no rows."
    sentences = []
    details, tiers = sorted(shown["stack_detail"].dropna().unique()), sorted(shown["tier"].dropna().unique())
    if details:
        stack = details[0] if len(details) == 1 else f"{part['stack'].iloc[0]} (accelerators differ by model)"
        sentences.append(f"Stack: {stack}. Evidence: {', '.join(tiers)}.")
    sentences.append(f"{part['num_instances'].max()} instances. Bars: 90 % intervals.")
    if across.key in COSTS:
        sentences.append("Line: Pareto front; the fuller a point, the likelier its model is on it.")
    if len(shown) < len(part):
        sentences.append(f"Without both numbers, not shown: {len(part) - len(shown)}.")
    if len(shown) > _MOST_NAMES:
        sentences.append(f"Only {_MOST_NAMES} of {len(shown)} models are named.")
    return " ".join(sentences)
