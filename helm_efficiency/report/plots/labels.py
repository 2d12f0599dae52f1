"""Write names next to their points, without overlaps.

Each name tries positions around its point, near ones first, and takes the one that hides least: other names and points
weigh most, lines little. Names are placed in turn, and then a few times again with all other names in place.
(Force-directed placement, as in adjustText, cannot guarantee this: it left names over points and drew needlessly long
lines.)
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any

import numpy as np
import numpy.typing as npt
from matplotlib import patheffects
from matplotlib.layout_engine import PlaceHolderLayoutEngine

from helm_efficiency.core.arrays import FloatArray
from helm_efficiency.errors import printable
from helm_efficiency.report.plots.style import INK, MUTED

_DISTANCES = (7, 11, 16, 24, 35, 48, 64, 84)  # tried distances between mark and name (points)
_ANGLES = np.deg2rad([0, 30, -30, 180, 150, -150, 90, -90, 60, -60, 120, -120])
_LEADER_FROM = 17
_SWEEPS = 4
_SIZE = 8.5
_SAMPLE = 4.0  # distance between samples of a line (points)
_NAME, _MARK, _OUTSIDE, _NEAR, _LEADER = 1000.0, 400.0, 800.0, 80.0, 40.0
_LINE = 12.0
"""Cost of each sample of a line that a name covers. A name is three samples high, so it rather moves by 36 points than
cross a whisker; at 4 it crosses whiskers, at 16 names move further away than they need."""


_LONG_WORD = re.compile(r"(\S{50})\S{12,}(\S{20})")
"""Pattern of a name so long that nothing else would have room."""


def plain(name: str) -> str:
    """Return a name that is printable, short enough to draw, and not read as mathematics by matplotlib.

    >>> plain("cheap$")
    'cheap\\\\$'
    >>> len(plain("x" * 5000))
    71
    """
    return _LONG_WORD.sub(r"\1…\2", printable(name)).replace("$", r"\$")


@dataclass
class _Scene:
    """Obstacles of the names, in points of the figure from the lower left corner of the axes.

    Attributes:
        anchors: Points to name, shape (names, 2).
        sizes: Width and height of each name, shape (names, 2).
        marks: Positions of all marks, shape (marks, 2).
        lines: Samples of lines, shape (samples, 2).
        extent: Width and height of the axes.
        boxes: Box of each name (left, bottom, right, top), shape (names, 4); NaN until placed.
        leaders: Samples of the line from each mark to its name.
    """

    anchors: FloatArray
    sizes: FloatArray
    marks: FloatArray
    lines: FloatArray
    extent: FloatArray
    boxes: FloatArray = field(init=False)
    leaders: list[FloatArray] = field(init=False)

    def __post_init__(self) -> None:
        self.boxes = np.full((len(self.anchors), 4), np.nan)
        self.leaders = [np.empty((0, 2))] * len(self.anchors)


def write_names(
    axes: Any,
    points: npt.ArrayLike,
    names: Sequence[str],
    *,
    lines: Sequence[npt.ArrayLike] = (),
    others: npt.ArrayLike = (),
) -> list[Any]:
    """Write each name near its point, with a thin line to the point if the name had to move away.

    The figure is laid out first and keeps that layout, so call this function when everything else is drawn.

    Args:
        axes: Axes on which the points are drawn.
        points: Points to name, shape (names, 2), in data coordinates.
        names: Names to write.
        lines: Polylines that names should avoid, each of shape (vertices, 2) in data coordinates.
        others: Marks without a name that names should avoid, shape (marks, 2) in data coordinates.

    Returns:
        The annotations.
    """
    figure = axes.get_figure(root=True)
    texts = [axes.text(0, 0, plain(name), fontsize=_SIZE, in_layout=False) for name in names]
    if not isinstance(figure.get_layout_engine(), PlaceHolderLayoutEngine):
        figure.draw_without_rendering()  # settles the layout, which transforms to points depend on
        figure.set_layout_engine("none")  # keeps the layout, or the names would be next to other points
    scale = 72 / figure.dpi
    to_points = axes.transData.transform
    origin = axes.bbox.p0
    anchors = (to_points(np.asarray(points, dtype=float).reshape(-1, 2)) - origin) * scale
    boxes = [text.get_window_extent() for text in texts]
    scene = _Scene(
        anchors=anchors,
        sizes=np.array([[box.width * scale, box.height * scale] for box in boxes]).reshape(-1, 2),
        marks=np.concatenate([anchors, (to_points(np.asarray(others, dtype=float).reshape(-1, 2)) - origin) * scale]),
        lines=np.concatenate([np.empty((0, 2)), *(_samples((to_points(line) - origin) * scale) for line in lines)]),
        extent=np.array([axes.bbox.width, axes.bbox.height]) * scale,
    )
    for _ in range(_SWEEPS):
        before = scene.boxes.copy()
        for index in range(len(anchors)):
            _place(scene, index)
        if np.array_equal(before, scene.boxes):
            break
    for text in texts:
        text.remove()
    return [_write(axes, scene, index, name) for index, name in enumerate(names)]


def _place(scene: _Scene, index: int) -> None:
    """Put one name at the position where it hides least, given the positions of the others."""
    anchor, half = scene.anchors[index], scene.sizes[index] / 2
    distance, angle = (grid.ravel() for grid in np.meshgrid(_DISTANCES, _ANGLES, indexing="ij"))
    direction = np.column_stack([np.cos(angle), np.sin(angle)])
    centre = anchor + direction * (distance[:, np.newaxis] + np.abs(direction) * half)
    boxes = np.column_stack([centre - half, centre + half])
    others = np.delete(scene.boxes, index, axis=0)
    others = others[~np.isnan(others[:, 0])]
    foreign = np.concatenate([np.empty((0, 2)), *(line for at, line in enumerate(scene.leaders) if at != index)])
    cost = (
        distance
        + 0.5 * np.arange(len(_ANGLES))[np.newaxis].repeat(len(_DISTANCES), axis=0).ravel()
        + _NAME * _overlaps(boxes, others)
        + _MARK * _inside(boxes, scene.marks, margin=4)
        + _LINE * _inside(boxes, scene.lines)
        + _LEADER * _inside(boxes, foreign)
        + _OUTSIDE * ((boxes[:, :2] < 0) | (boxes[:, 2:] > scene.extent)).any(axis=1)
    )
    best, least = 0, np.inf
    for candidate in np.argsort(cost, kind="stable"):
        if cost[candidate] >= least:
            break  # all further candidates cost at least this much, even without their lines
        leader = _leader(anchor, boxes[candidate], distance[candidate])
        total = cost[candidate] + _LEADER * _inside(others, leader).sum() + _NEAR * _near(scene.marks, leader, anchor)
        if total < least:
            best, least = candidate, total
    scene.boxes[index] = boxes[best]
    scene.leaders[index] = _leader(anchor, boxes[best], distance[best])


def _leader(anchor: FloatArray, box: FloatArray, distance: float) -> FloatArray:
    """Return samples of the line from a mark to its name; empty if the name is near."""
    if distance < _LEADER_FROM:
        return np.empty((0, 2))
    return _samples(np.array([anchor, np.clip(anchor, box[:2], box[2:])]))[1:]


def _samples(line: FloatArray) -> FloatArray:
    """Return points along a polyline."""
    pieces = [
        start + np.linspace(0, 1, max(2, int(np.hypot(*(end - start)) / _SAMPLE)))[:, np.newaxis] * (end - start)
        for start, end in pairwise(line)
    ]
    return np.concatenate(pieces) if pieces else np.empty((0, 2))


def _overlaps(boxes: FloatArray, others: FloatArray, margin: float = 1.0) -> FloatArray:
    """Count the other boxes that each box overlaps."""
    a, b = boxes[:, np.newaxis], others[np.newaxis]
    apart = (a[..., :2] > b[..., 2:] + margin) | (a[..., 2:] < b[..., :2] - margin)
    counts: FloatArray = (~apart.any(axis=-1)).sum(axis=1).astype(float)
    return counts


def _inside(boxes: FloatArray, points: FloatArray, margin: float = 0.0) -> FloatArray:
    """Count the points that each box covers."""
    p = points[np.newaxis]
    inside = (p > boxes[:, np.newaxis, :2] - margin) & (p < boxes[:, np.newaxis, 2:] + margin)
    counts: FloatArray = inside.all(axis=-1).sum(axis=1).astype(float)
    return counts


def _near(marks: FloatArray, line: FloatArray, own: FloatArray) -> float:
    """Count the marks that a leader line crosses, apart from the one it leads to."""
    if not len(line):
        return 0.0
    distance = np.hypot(*np.moveaxis(marks[:, np.newaxis] - line[np.newaxis], -1, 0)).min(axis=1)
    return float(((distance < 5) & (marks != own).any(axis=1)).sum())


def _write(axes: Any, scene: _Scene, index: int, name: str) -> Any:
    box, anchor = scene.boxes[index], scene.anchors[index]
    if len(scene.leaders[index]):
        start, end = anchor, np.clip(anchor, box[:2], box[2:])
        start = start + (end - start) * 5 / np.hypot(*(end - start))
        line = {"arrowstyle": "-", "color": MUTED, "lw": 0.6, "shrinkA": 0, "shrinkB": 0}
        axes.annotate(
            "", start, end, xycoords="axes points", textcoords="axes points", arrowprops=line, in_layout=False
        )
    text = axes.annotate(
        plain(name),
        (box[0], box[1]),
        xycoords="axes points",
        fontsize=_SIZE,
        color=INK,
        gid="name",
        va="bottom",
        zorder=6,
    )
    text.set_path_effects([patheffects.withStroke(linewidth=2, foreground="white", alpha=0.8)])
    return text
