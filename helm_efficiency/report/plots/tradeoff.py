"""Draw capability against cost, with the Pareto front and how sure each model's position on it is."""

import textwrap
from collections.abc import Sequence
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.axes import Axes

from helm_efficiency.catalog.score_scales import have_one_scale
from helm_efficiency.core.arrays import FloatArray
from helm_efficiency.errors import InputError
from helm_efficiency.metrics.measures import COSTS, MEASURES
from helm_efficiency.report.notes import ALL
from helm_efficiency.report.plots import panel as panels
from helm_efficiency.report.plots.labels import plain
from helm_efficiency.report.plots.panel import MOST_NAMES, View, with_both
from helm_efficiency.report.plots.style import LEGEND, Look, caption, heading, log_if_wide, style
from helm_efficiency.report.scenario_names import scenario_titles

PANELS_A_PAGE = 12
_MOST_NAMED_PANELS = 6
"""Largest number of panels on a page with names next to the points; with more, a legend names the models."""
_UNNAMED_COLUMNS = 4
_FRAME_INCHES = 1.0
"""Height of the title, legend and caption of a page."""
_LEGEND_COLUMNS = 5
_TITLE_CHARACTERS_PER_INCH = 8


def tradeoff(
    part: pd.DataFrame, *, x: str = "idealized_s", y: str = "score", axes: Axes | None = None, look: Look | None = None
) -> Axes:
    """Draw the scatter of one leaderboard table: one point per model, bars for 90 % intervals, steps for the front.

    The fill of a point shows how often the model is on the front (bootstrap); colour and shape show its provider. With
    more than 40 models, only those that are most often on the front are named.

    Args:
        part: Rows of one scenario and stack: `Leaderboard.part()`.
        x: Measure on the horizontal axis.
        y: Measure on the vertical axis. The front is that of x against the score.
        axes: Axes to draw on, titled by the scenario and without caption; None for a new figure.
        look: Title, width and caption of a new figure; None for the usual ones.

    Returns:
        The axes.

    Raises:
        InputError: The table does not have the measure.

    Example:
        >>> from helm_efficiency import paper_leaderboard, plot_tradeoff
        >>> plot_tradeoff(paper_leaderboard().part(), x="idealized_usd").get_xlabel()
        'Idealized cost ($ per 1,000 requests), less is better'
    """
    _check_measures(part, x, y)
    look = look or Look()
    with style():
        panel: Axes = _figure(1, 1, (7.2, 4.8), look)[1][0, 0] if axes is None else axes
        shown = with_both(part, x, y)
        view = panels.view_of(part["deployment"], x, y, names=True)
        lines = _draw([panel], [shown], view, look)[0]
        handles = panels.legend_handles(view)
        if axes is not None or shown.empty:
            panel.set_title(plain(str(shown["scenario"].iloc[0])) if len(shown) else "Nothing to show", pad=8)
        if handles:
            columns = min(len(handles), _LEGEND_COLUMNS)
            panel.legend(handles=handles, loc="lower left", bbox_to_anchor=(0, 1), ncols=columns, **LEGEND)
            panel.set_title(panel.get_title(loc="left"), pad=9 + 15 * -(-len(handles) // columns))
        if axes is None:
            _frame(panel.get_figure(), [part], (x, y), look)
        panels.name_points(panel, shown, view, lines)
    return panel


def tradeoff_pages(
    parts: Sequence[pd.DataFrame], *, x: str = "idealized_s", y: str = "score", look: Look | None = None
) -> list[Any]:
    """Draw several tables next to each other, such as one per scenario: figures of at most 12 panels with equal axes.

    Scores of different scales have axes of their own.

    Panels are titled by the differences between their scenarios. On pages of more than six panels, points have no
    names: colour and shape show the model if there are at most eight models.

    Returns:
        The figures.

    Raises:
        InputError: The tables do not have the measure.
    """
    titles = scenario_titles([_scenario(part) for part in parts])
    named = len(parts) <= _MOST_NAMED_PANELS
    for part in parts:
        _check_measures(part, x, y)
    view = panels.view_of(pd.concat(parts)["deployment"], x, y, names=named)
    pages = [slice(start, start + PANELS_A_PAGE) for start in range(0, len(parts), PANELS_A_PAGE)]
    return [_page(parts[page], titles[page], view, look or Look(), named=named) for page in pages]


def most_different(parts: Sequence[pd.DataFrame], count: int) -> list[pd.DataFrame]:
    """Return the `count` tables in which models differ most in score, the largest difference first."""
    spread = [float(np.nan_to_num(part["score"].max() - part["score"].min())) for part in parts]
    return [parts[at] for at in np.argsort(-np.array(spread), kind="stable")[:count]]


def _page(parts: Sequence[pd.DataFrame], titles: list[str], view: View, look: Look, *, named: bool) -> Any:
    with style():
        columns = min(len(parts), 2 if len(parts) <= 4 else 3) if named else _UNNAMED_COLUMNS
        width, height = (5.4, 3.5) if named else (3.0, 2.2)
        rows = -(-len(parts) // columns)
        size = (width * columns, height * rows + _FRAME_INCHES)
        figure, grid = _figure(rows, columns, size, look, same_y=view.y.key != "score" or _have_one_scale(parts))
        shown = [with_both(part, view.x.key, view.y.key) for part in parts]
        lines = _draw(list(grid.flat), shown, view, look)
        width = int(figure.get_figwidth() / columns * _TITLE_CHARACTERS_PER_INCH)
        for axes, title in zip(grid.flat, titles, strict=False):
            axes.set_title(textwrap.fill(plain(title), width), pad=6, fontsize=11 if named else 9.5)
        for at, axes in enumerate(grid.flat):
            axes.set_visible(at < len(parts))
            is_lowest = at + columns >= len(parts)
            axes.tick_params(labelbottom=is_lowest)
            axes.set(ylabel="")
            axes.set_xlabel(axes.get_xlabel() if is_lowest else "", fontsize=9.5 if named else 8.5)
        figure.supylabel(panels.axis_label(view.y, shown), fontsize=9.5)
        _frame(figure, parts, (view.x.key, view.y.key), look, panels.legend_handles(view))
        if named:
            for axes, points, line in zip(grid.flat, shown, lines, strict=False):  # only now is the layout final
                panels.name_points(axes, points, view, line)
    return figure


def _have_one_scale(parts: Sequence[pd.DataFrame]) -> bool:
    """Return whether the scores of all panels have the same scale: a jury's 1 to 5 is not drawn beside accuracies."""
    joined = pd.concat(list(parts))["score_name"].dropna().astype(str).unique()
    return have_one_scale(sorted({name for names in joined for name in names.split(" + ")}))


def _figure(rows: int, columns: int, size: tuple[float, float], look: Look, *, same_y: bool = True) -> tuple[Any, Any]:
    """Return a figure and its grid of panels with the same x axis; another width does not change the height."""
    size = (look.width or size[0], size[1])
    figure, grid = plt.subplots(rows, columns, figsize=size, sharex=True, sharey=same_y, squeeze=False)
    return figure, grid


def _draw(grid: Sequence[Any], shown: Sequence[pd.DataFrame], view: View, look: Look) -> list[list[FloatArray]]:
    """Draw all panels except the names; return for each panel the lines that names should avoid."""
    values = pd.concat(list(shown))[view.x.key].to_numpy(dtype=float) * view.x.scale
    log_if_wide(grid[0], values, asked=look.log_x)
    pairs = list(zip(grid, shown, strict=False))
    lines = [panels.draw(axes, points, view) for axes, points in pairs]
    for axes, points in pairs:  # only now do the limits cover all panels
        panels.extend_front(axes, points, view)
        axes.set(xlabel=panels.axis_label(view.x, [points]), ylabel=panels.axis_label(view.y, [points]))
    panels.point_to_better(*pairs[0], view)
    return lines


def _frame(
    figure: Any, parts: Sequence[pd.DataFrame], xy: tuple[str, str], look: Look, handles: Sequence[Any] = ()
) -> None:
    """Write title and legend above all panels, and the caption below them."""
    title = _title(parts, *xy) if look.title is None else look.title
    if title or handles:
        heading(figure, plain(title), handles)
    if look.caption:
        caption(figure, _caption(parts, *xy))


def _check_measures(part: pd.DataFrame, x: str, y: str) -> None:
    for name in (x, y):
        if name not in MEASURES or name not in part:
            known = ", ".join(name for name in MEASURES if name in part)
            raise InputError(f"No measure {name!r} to plot. There are: {known}.")


def _scenario(part: pd.DataFrame) -> str:
    return str(part["scenario"].iloc[0]) if len(part) else "nothing to show"


def _title(parts: Sequence[pd.DataFrame], x: str, y: str) -> str:
    """Return the title of a figure: its measures, models, scenarios, stack and evidence."""
    shown = with_both(pd.concat(list(parts)), x, y)
    if shown.empty:
        return ""
    models = shown["deployment"].nunique()
    names = list(dict.fromkeys(_scenario(part) for part in parts))
    if names == [ALL]:
        scenarios = f"mean of {shown['num_scenarios'].max():.0f} scenarios"
    else:
        scenarios = scenario_titles(names)[0] if len(names) == 1 else f"{len(names)} scenarios"
    what = f"{MEASURES[y].name} against {MEASURES[x].name}"
    text = f"{what[:1].upper()}{what[1:]}: {models} {'model' if models == 1 else 'models'}, {scenarios}"
    details, tiers = _stack(parts, shown), sorted(shown["tier"].dropna().unique())
    if not details or not (MEASURES[x].is_on_stack or MEASURES[y].is_on_stack):
        return text
    return f"{text}; on {details}, {' and '.join(tiers)}"


def _stack(parts: Sequence[pd.DataFrame], shown: pd.DataFrame) -> str:
    """Return the stack of the models in words, with the differences between the models."""
    details = sorted(shown["stack_detail"].dropna().unique())
    if len(details) < 2:
        return details[0] if details else ""
    return f"{parts[0]['stack'].iloc[0]} ({_differ(details)})"


def _caption(parts: Sequence[pd.DataFrame], x: str, y: str) -> str:
    """Return the caption: stack, evidence, the comparison, the meaning of the marks, and the data not shown."""
    part = pd.concat(list(parts))
    if part.empty:
        return "The table has no rows."
    shown = with_both(part, x, y)
    sentences = []
    if MEASURES[x].is_as_observed:
        sentences.append("As observed: not comparable between providers.")
    elif (stack := _stack(parts, shown)) and (MEASURES[x].is_on_stack or MEASURES[y].is_on_stack):
        sentences.append(f"Stack: {stack}. Evidence: {', '.join(sorted(shown['tier'].dropna().unique()))}.")
    counts = sorted(part["num_instances"].unique())
    of = "a scenario" if len(parts) > 1 else ""
    span = f"{counts[0]} to {counts[-1]}" if len(counts) > 1 else f"{counts[0]}"
    sentences.append(f"{' '.join(filter(None, [span, 'instances', of]))}. Bars: 90 % intervals.")
    if x in COSTS and y == "score":
        sentences.append("Line: Pareto front; the fuller a point, the likelier its model is on it.")
    if len(shown) < len(part):
        absent = sorted(set(part["deployment"]) - set(shown["deployment"]))
        if absent:
            few = f"{', '.join(absent[:3])}{' …' if len(absent) > 3 else ''}"
            sentences.append(f"Without both numbers, not shown: {few}.")
    if max(map(len, parts)) > MOST_NAMES:
        sentences.append(f"Only {MOST_NAMES} models are named.")
    return plain(" ".join(sentences))


def _differ(details: Sequence[str]) -> str:
    """Return the common part of several details of a stack, the software; the number of accelerators differs."""
    software = {detail.partition(" ")[2] for detail in details}
    same = f"{software.pop()}, " if len(software) == 1 else ""
    return f"{same}number of accelerators differs by model"
