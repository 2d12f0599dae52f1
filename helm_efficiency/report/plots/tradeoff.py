"""Capability against what it costs, with the Pareto front and how sure each model's place on it is."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.collections import LineCollection
from matplotlib.colors import to_rgb
from matplotlib.lines import Line2D

from helm_efficiency.core.arrays import FloatArray, IntArray
from helm_efficiency.errors import InputError
from helm_efficiency.metrics.measure import Measure
from helm_efficiency.metrics.measures import COSTS, MEASURES
from helm_efficiency.report.display import short_names
from helm_efficiency.report.plots.labels import plain, write_names
from helm_efficiency.report.plots.style import COLOURS, INK, MARKERS, caption, log_if_wide, style

_MOST_NAMES = 40
_MOST_OWNERS = 8
_LEGEND_COLUMNS = 5
_LEGEND = {"borderpad": 0, "borderaxespad": 0.4, "handletextpad": 0.1, "columnspacing": 1.2}
_BARS = "#C4C4C4"


def tradeoff(part: pd.DataFrame, *, x: str = "idealized_s", y: str = "score", axes: Axes | None = None) -> Axes:
    """Scatter of one leaderboard table: a point a model, bars for 90 % intervals, steps for the front.

    The likelier a model is on the front, the fuller its point; colour and shape say whose model it is. With more than
    40 models only those likeliest on the front are named.

    Args:
        part: Rows of one scenario and stack: `Leaderboard.part()`.
        x: Measure on the horizontal axis.
        y: Measure on the vertical axis. The front is that of x against the score.
        axes: Where to draw, without caption; None for a figure of its own.

    Returns:
        The axes.

    Raises:
        InputError: The table has no such measure.

    Example:
        >>> from helm_efficiency import paper_leaderboard, plot_tradeoff
        >>> plot_tradeoff(paper_leaderboard().part(), x="idealized_usd").get_xlabel()
        'Idealized cost ($ per 1,000 requests), less is better'
    """
    for name in (x, y):
        if name not in MEASURES or name not in part:
            known = ", ".join(name for name in MEASURES if name in part)
            raise InputError(f"No measure {name!r} to plot. There are: {known}.")
    with style():
        alone = axes is None
        panel: Axes = plt.subplots()[1] if axes is None else axes
        shown = _with_both(part, x, y)
        view = _View(MEASURES[x], MEASURES[y], _owners(part["deployment"]))
        lines = _draw(panel, shown, view)
        handles = _owner_handles(view.owners, shown["deployment"])
        if handles:
            columns = min(len(handles), _LEGEND_COLUMNS)
            panel.legend(handles=handles, loc="lower left", bbox_to_anchor=(0, 1), ncols=columns, **_LEGEND)
            panel.set_title(panel.get_title(loc="left"), pad=9 + 15 * -(-len(handles) // columns))
        if alone:
            caption(panel.get_figure(), _caption([part], x, y))
        _name(panel, shown, view, lines)
    return panel


def tradeoff_by_scenario(parts: Sequence[pd.DataFrame], *, x: str = "idealized_s", y: str = "score") -> Any:
    """The same for several tables beside each other, such as one a scenario.

    Returns:
        The figure.
    """
    with style():
        columns = min(len(parts), 2)
        rows = -(-len(parts) // columns)
        figure, grid = plt.subplots(rows, columns, figsize=(5.4 * columns, 3.7 * rows), squeeze=False)
        for axes in grid.flat[len(parts) :]:
            axes.set_visible(False)
        shown = [_with_both(part, x, y) for part in parts]
        view = _View(MEASURES[x], MEASURES[y], _owners(pd.concat(parts)["deployment"]))
        lines = [_draw(axes, points, view) for axes, points in zip(grid.flat, shown, strict=False)]
        for axes in grid[:, 1:].flat:
            axes.set_ylabel("")
        handles = _owner_handles(view.owners, pd.concat(shown)["deployment"])
        if handles:
            figure.legend(handles=handles, loc="outside upper left", ncols=len(handles), **_LEGEND)
        caption(figure, _caption(parts, x, y))
        for axes, points, line in zip(grid.flat, shown, lines, strict=False):  # the layout is settled only now
            _name(axes, points, view, line)
    return figure


@dataclass(frozen=True, slots=True)
class _View:
    """What is on the axes, and all owners that colours are for."""

    x: Measure
    y: Measure
    owners: list[str]


def _with_both(part: pd.DataFrame, x: str, y: str) -> pd.DataFrame:
    finite = np.isfinite(part[x].astype(float)) & np.isfinite(part[y].astype(float))
    return part[finite].reset_index(drop=True)


def _draw(axes: Any, shown: pd.DataFrame, view: _View) -> list[FloatArray]:
    """Draw all but the names; return the lines that these should keep off."""
    log_if_wide(axes, shown[view.x.key].to_numpy(dtype=float) * view.x.scale)
    lines = [*_bars(axes, shown, view), *_front(axes, shown, view)]
    _marks(axes, shown, view)
    axes.set(xlabel=_axis_label(view.x, shown), ylabel=_axis_label(view.y, shown))
    title = str(shown["scenario"].iloc[0]) if len(shown) else "Nothing to show"
    axes.set_title(plain(title), pad=8)
    return lines


def _name(axes: Any, shown: pd.DataFrame, view: _View, lines: list[FloatArray]) -> None:
    names = short_names([str(name) for name in shown["deployment"]])
    named = _worth_naming(shown, view)
    points = _points(shown, view)
    write_names(axes, points[named], [names[index] for index in named], lines=lines, others=points)


def _points(shown: pd.DataFrame, view: _View) -> FloatArray:
    return np.column_stack([shown[view.x.key] * view.x.scale, shown[view.y.key] * view.y.scale]).astype(float)


def _bars(axes: Any, shown: pd.DataFrame, view: _View) -> list[FloatArray]:
    """Draw the intervals on both axes and return them as lines, each of shape (2, 2)."""
    lines = []
    for axis, measure in enumerate((view.x, view.y)):
        for end in ("low", "high"):
            to = _points(shown, view)
            to[:, axis] = shown[f"{measure.key}_{end}"].where(np.isfinite, shown[measure.key]) * measure.scale
            lines.append(np.stack([_points(shown, view), to], axis=1))
    segments = np.concatenate(lines)
    axes.add_collection(LineCollection(list(segments), colors=_BARS, linewidths=0.8, zorder=2))
    return list(segments)


def _front(axes: Any, shown: pd.DataFrame, view: _View) -> Iterator[FloatArray]:
    """Draw the front as steps and yield it as a line."""
    if view.x.key not in COSTS or view.y.key != "score" or not shown[f"{view.x.key}_front"].any():
        return
    front = shown[shown[f"{view.x.key}_front"]].sort_values([view.x.key, view.y.key])
    x, y = front[view.x.key].to_numpy() * view.x.scale, front[view.y.key].to_numpy() * view.y.scale
    # right to the next cost, then up to what it buys
    line = np.column_stack([np.repeat(x, 2)[1:], np.repeat(y, 2)[:-1]])
    axes.plot(*line.T, color=INK, lw=1.1, zorder=2.5, gid="front", solid_joinstyle="miter")
    yield line


def _marks(axes: Any, shown: pd.DataFrame, view: _View) -> None:
    points = _points(shown, view)
    likely = shown.get(f"{view.x.key}_front_probability", pd.Series(1.0, shown.index)).fillna(0)
    owner = shown["deployment"].astype(str).map(_owner)
    for index, name in enumerate(view.owners):
        at = owner.eq(name).to_numpy(dtype=bool)
        if not at.any():  # none of this owner's models has both numbers
            continue
        colour = COLOURS[index % len(COLOURS)]
        look = {"marker": MARKERS[index % len(MARKERS)], "s": 64, "edgecolors": colour, "linewidths": 1.4, "zorder": 4}
        fills = [(*to_rgb(colour), share) for share in likely[at]]
        axes.scatter(*points[at].T, facecolors="white", **look)
        axes.scatter(*points[at].T, facecolors=fills, gid="marks", **look)


def _owner(deployment: str) -> str:
    return deployment.partition("/")[0] if "/" in deployment else ""


def _owners(deployments: pd.Series) -> list[str]:
    return sorted({_owner(str(name)) for name in deployments})


def _owner_handles(owners: list[str], shown: pd.Series) -> list[Line2D]:
    """Legend of the colours and shapes that are shown; none where it would tell nothing apart, or too much."""
    present = _owners(shown)
    if not 1 < len(present) <= min(_MOST_OWNERS, shown.nunique() - 1):
        return []
    look: dict[str, Any] = {"ls": "none", "ms": 8, "mfc": "white", "mew": 1.4}
    return [
        Line2D([], [], marker=MARKERS[at % len(MARKERS)], mec=COLOURS[at % len(COLOURS)], label=plain(name), **look)
        for at, name in enumerate(owners)
        if name in present
    ]


def _worth_naming(shown: pd.DataFrame, view: _View) -> IntArray:
    if len(shown) <= _MOST_NAMES or view.x.key not in COSTS:
        return np.arange(min(len(shown), _MOST_NAMES))
    order = shown.sort_values([f"{view.x.key}_front", f"{view.x.key}_front_probability"], ascending=False)
    return np.sort(order.index[:_MOST_NAMES].to_numpy())


def _axis_label(measure: Measure, shown: pd.DataFrame) -> str:
    """Name, unit and direction; the score is called by its name where it has one."""
    names = shown["score_name"].dropna().unique()
    name = f"Score ({plain(str(names[0]))})" if measure.key == "score" and len(names) == 1 else measure.axis_label
    return name + {True: ", more is better", False: ", less is better", None: ""}[measure.higher_is_better]


def _caption(parts: Sequence[pd.DataFrame], x: str, y: str) -> str:
    """Stack, evidence, what is compared, how to read the marks, what is not shown."""
    part = pd.concat(parts)
    if part.empty:
        return "The table has no rows."
    shown = _with_both(part, x, y)
    details, tiers = sorted(shown["stack_detail"].dropna().unique()), sorted(shown["tier"].dropna().unique())
    sentences = []
    if MEASURES[x].is_as_observed:
        sentences.append("As observed: not comparable between providers.")
    elif details and (MEASURES[x].is_on_stack or MEASURES[y].is_on_stack):
        stack = details[0] if len(details) == 1 else f"{part['stack'].iloc[0]} ({_differ(details)})"
        sentences.append(f"Stack: {stack}. Evidence: {', '.join(tiers)}.")
    counts = ", ".join(str(count) for count in part["num_instances"].drop_duplicates())
    sentences.append(f"{counts} instances. Bars: 90 % intervals.")
    if x in COSTS and y == "score":
        sentences.append("Line: Pareto front; the fuller a point, the likelier its model is on it.")
    if len(shown) < len(part):
        absent = sorted(set(part["deployment"]) - set(shown["deployment"]))
        sentences.append(f"Without both numbers, not shown: {', '.join(absent[:3])}{' …' if len(absent) > 3 else ''}.")
    if max(map(len, parts)) > _MOST_NAMES:
        sentences.append(f"Only {_MOST_NAMES} models are named.")
    return plain(" ".join(sentences))


def _differ(details: Sequence[str]) -> str:
    """What stays the same in the details of a stack: the software; how many accelerators differs."""
    software = {detail.partition(" ")[2] for detail in details}
    same = f"{software.pop()}, " if len(software) == 1 else ""
    return f"{same}number of accelerators differs by model"
