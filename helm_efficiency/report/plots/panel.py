"""Draw one panel of a trade-off figure: points, intervals, the Pareto front, names, and colours for the legend."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.collections import LineCollection
from matplotlib.colors import to_rgb
from matplotlib.lines import Line2D

from helm_efficiency.core.arrays import FloatArray, IntArray
from helm_efficiency.metrics.measure import Measure
from helm_efficiency.metrics.measures import COSTS, MEASURES
from helm_efficiency.report.display import short_names
from helm_efficiency.report.plots.labels import plain, write_names
from helm_efficiency.report.plots.style import COLOURS, INK, MARKERS, MUTED

MOST_NAMES = 40
_MOST_GROUPS = 8
"""Largest number of groups that a legend distinguishes at a glance; with more, all points look alike."""
_BARS = "#C4C4C4"
_AREA = "#F3F6F9"
_BETTER_CORNER = 0.13
"""Share of the panel, from its corner, that the arrow "better" takes; names avoid it."""


@dataclass(frozen=True, slots=True)
class View:
    """Measures and groups that all panels of a figure share.

    Attributes:
        x: Measure on the horizontal axis.
        y: Measure on the vertical axis.
        groups: Providers or models, each with its own colour and shape; one empty name if all points look alike.
        by_model: True if the groups are models.
    """

    x: Measure
    y: Measure
    groups: tuple[str, ...]
    by_model: bool = False

    def group(self, deployment: str) -> str:
        """Return the group that a deployment belongs to; empty if all points look alike."""
        name = deployment if self.by_model else _provider(deployment)
        return name if name in self.groups else ""


def _provider(deployment: str) -> str:
    return deployment.partition("/")[0] if "/" in deployment else ""


def view_of(deployments: Iterable[str], x: str, y: str, *, names: bool) -> View:
    """Choose the groups for colours and shapes: models if points have no names next to them, else providers."""
    models = sorted({str(name) for name in deployments})
    if not names and 1 < len(models) <= _MOST_GROUPS:
        return View(MEASURES[x], MEASURES[y], tuple(models), by_model=True)
    providers = sorted({_provider(name) for name in models})
    return View(MEASURES[x], MEASURES[y], tuple(providers) if len(providers) <= _MOST_GROUPS else ("",))


def legend_handles(view: View) -> list[Line2D]:
    """Return the legend of the colours and shapes; empty for a single group."""
    if len(view.groups) < 2:
        return []
    labels = short_names(view.groups) if view.by_model else [name or "no provider" for name in view.groups]
    look: dict[str, Any] = {"ls": "none", "ms": 8, "mfc": "white", "mew": 1.4}
    return [
        Line2D([], [], marker=MARKERS[at % len(MARKERS)], mec=COLOURS[at % len(COLOURS)], label=plain(name), **look)
        for at, name in enumerate(labels)
    ]


def with_both(part: pd.DataFrame, x: str, y: str) -> pd.DataFrame:
    """Return the rows that have finite numbers on both axes."""
    finite = np.isfinite(part[x].astype(float)) & np.isfinite(part[y].astype(float))
    return part[finite].reset_index(drop=True)


def draw(axes: Any, shown: pd.DataFrame, view: View) -> list[FloatArray]:
    """Draw everything except the names; return the lines that the names should avoid."""
    lines = [*_bars(axes, shown, view), *_front(axes, shown, view)]
    _marks(axes, shown, view)
    return lines


def extend_front(axes: Any, shown: pd.DataFrame, view: View) -> None:
    """Extend the front to the frame and shade the area that it dominates; keep the limits of the axes."""
    limits = axes.get_xlim(), axes.get_ylim()
    front = _front_points(shown, view)
    if len(front):
        up = is_higher_better(view.y, shown)
        floor, wall = limits[1][0 if up else 1], limits[0][1]
        line = np.concatenate([[[front[0, 0], floor]], _steps(front), [[wall, front[-1, 1]]]])
        axes.fill_between(line[:, 0], line[:, 1], floor, color=_AREA, lw=0, zorder=0.4, gid="dominated")
        axes.plot(*line.T, color=INK, lw=0.8, ls=(0, (1, 2)), zorder=2.4, gid="front to the frame")
    axes.set(xlim=limits[0], ylim=limits[1])


def point_to_better(axes: Any, shown: pd.DataFrame, view: View) -> None:
    """Draw an arrow to the corner of the panel where both measures are best."""
    to_left, up = not view.x.higher_is_better, is_higher_better(view.y, shown)
    tip = (0.015 if to_left else 0.985, 0.985 if up else 0.015)
    foot = (0.06 if to_left else 0.94, 0.92 if up else 0.08)
    arrow = {"arrowstyle": "-|>", "color": MUTED, "lw": 0.9, "shrinkA": 0, "shrinkB": 0}
    place = {"xycoords": "axes fraction", "textcoords": "axes fraction", "annotation_clip": False, "in_layout": False}
    side: dict[str, Any] = {"ha": "left" if to_left else "right", "va": "top" if up else "bottom"}
    axes.annotate("better", tip, foot, arrowprops=arrow, color=MUTED, fontsize=8, gid="better", **place, **side)


def name_points(axes: Any, shown: pd.DataFrame, view: View, lines: list[FloatArray]) -> None:
    """Write the names of the models next to their points."""
    names = short_names([str(name) for name in shown["deployment"]])
    named = _worth_naming(shown, view)
    points = _points(shown, view)
    edge = np.linspace(0.01, _BETTER_CORNER, 4)
    corner = np.array([[a if not view.x.higher_is_better else 1 - a, b] for a in edge for b in edge])
    corner[:, 1] = 1 - corner[:, 1] if is_higher_better(view.y, shown) else corner[:, 1]
    others = np.concatenate([points, (axes.transAxes + axes.transData.inverted()).transform(corner)])
    write_names(axes, points[named], [names[index] for index in named], lines=lines, others=others)


def axis_label(measure: Measure, parts: Sequence[pd.DataFrame]) -> str:
    """Return name, unit and direction of a measure; the score goes by its own name if it has a single one."""
    shown = pd.concat(list(parts))
    names = shown["score_name"].dropna().unique()
    name = f"Score ({plain(str(names[0]))})" if measure.key == "score" and len(names) == 1 else measure.axis_label
    if measure.higher_is_better is None:
        return name
    return name + (", more is better" if is_higher_better(measure, parts[0]) else ", less is better")


def is_higher_better(measure: Measure, shown: pd.DataFrame) -> bool:
    """Return whether more of a measure is better; for the score, its ranks decide."""
    if measure.key == "score" and shown["score_rank"].nunique() > 1:
        best_first = shown.sort_values("score_rank")["score"].to_numpy()
        return bool(best_first[0] >= best_first[-1])
    return bool(measure.higher_is_better)


def _points(shown: pd.DataFrame, view: View) -> FloatArray:
    return np.column_stack([shown[view.x.key] * view.x.scale, shown[view.y.key] * view.y.scale]).astype(float)


def _bars(axes: Any, shown: pd.DataFrame, view: View) -> list[FloatArray]:
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


def _front_points(shown: pd.DataFrame, view: View) -> FloatArray:
    """Return the points of the front from the cheapest on; empty if the panel has none."""
    if view.x.key not in COSTS or view.y.key != "score" or not shown[f"{view.x.key}_front"].any():
        return np.empty((0, 2))
    return _points(shown[shown[f"{view.x.key}_front"]].sort_values([view.x.key, view.y.key]), view)


def _steps(front: FloatArray) -> FloatArray:
    """Return the front as a line: right to the next cost, then up to its score."""
    return np.column_stack([np.repeat(front[:, 0], 2)[1:], np.repeat(front[:, 1], 2)[:-1]])


def _front(axes: Any, shown: pd.DataFrame, view: View) -> list[FloatArray]:
    """Draw the front as steps and return it as a line."""
    front = _front_points(shown, view)
    if not len(front):
        return []
    line = _steps(front)
    axes.plot(*line.T, color=INK, lw=1.1, zorder=2.5, gid="front", solid_joinstyle="miter")
    return [line]


def _marks(axes: Any, shown: pd.DataFrame, view: View) -> None:
    points = _points(shown, view)
    likely = shown.get(f"{view.x.key}_front_probability", pd.Series(1.0, shown.index)).fillna(0)
    group = shown["deployment"].astype(str).map(view.group)
    for index, name in enumerate(view.groups):
        at = group.eq(name).to_numpy(dtype=bool)
        if not at.any():  # no model of this group has both numbers
            continue
        colour = COLOURS[index % len(COLOURS)]
        look = {"marker": MARKERS[index % len(MARKERS)], "s": 64, "edgecolors": colour, "linewidths": 1.4, "zorder": 4}
        fills = [(*to_rgb(colour), share) for share in likely[at]]
        axes.scatter(*points[at].T, facecolors="white", **look)
        axes.scatter(*points[at].T, facecolors=fills, gid="marks", **look)


def _worth_naming(shown: pd.DataFrame, view: View) -> IntArray:
    if len(shown) <= MOST_NAMES or view.x.key not in COSTS:
        return np.arange(min(len(shown), MOST_NAMES))
    order = shown.sort_values([f"{view.x.key}_front", f"{view.x.key}_front_probability"], ascending=False)
    return np.sort(order.index[:MOST_NAMES].to_numpy())
