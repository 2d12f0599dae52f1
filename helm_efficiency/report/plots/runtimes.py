"""Draw runtimes against runtimes: the time that providers add or hide, two stacks, the noise of services."""

from typing import Any

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.axes import Axes

from helm_efficiency.core.arrays import FloatArray, IntArray
from helm_efficiency.errors import InputError
from helm_efficiency.metrics.measures import MEASURES
from helm_efficiency.metrics.quantities import number
from helm_efficiency.report.display import short_names
from helm_efficiency.report.plots.labels import plain, write_names
from helm_efficiency.report.plots.style import COLOURS, FAINT, INK, MUTED, Look, frame, log_if_wide, plain_ticks, style

_FASTER, _SLOWER = COLOURS[0], COLOURS[3]
_ARROW = {"arrowstyle": "-|>", "lw": 1.6, "shrinkA": 3, "shrinkB": 0, "mutation_scale": 11}
_ROW_INCHES = 0.3
_BOXES: dict[str, Any] = {
    "boxprops": {"facecolor": FAINT, "edgecolor": MUTED, "linewidth": 0.8},
    "medianprops": {"color": COLOURS[3], "linewidth": 2},
    "whiskerprops": {"color": MUTED},
    "capprops": {"color": MUTED},
    "showfliers": False,
    "patch_artist": True,
    "widths": 0.55,
    "manage_ticks": False,
}
_REQUEST = ["suite", "run", "instance_id", "train_trial", "perturbation", "request_mode", "reference_index"]


def providers(part: pd.DataFrame, *, axes: Axes | None = None, look: Look | None = None) -> Axes:
    """Draw for each model an arrow from its idealized to its observed runtime: what the provider adds or hides.

    The factor between them is written at the right; a denoised runtime is marked if it is known.

    Args:
        part: Rows of one scenario and stack: `Leaderboard.part()`.
        axes: Axes to draw on, without caption; None for a new figure.
        look: Title, width, caption and scale of a new figure; None for the usual ones.

    Returns:
        The axes.

    Example:
        >>> from helm_efficiency import paper_leaderboard, plot_providers
        >>> plot_providers(paper_leaderboard().part()).get_xlabel()
        'Runtime (s)'
    """
    both = part[part["observed_s"].gt(0) & part["idealized_s"].gt(0)]
    both = both.assign(factor=both["observed_s"] / both["idealized_s"]).sort_values("factor", ascending=False)
    with style():
        look = look or Look()
        panel: Axes = _rows(len(both), look) if axes is None else axes
        log_if_wide(panel, both[["observed_s", "idealized_s"]].to_numpy(dtype=float).ravel(), asked=look.log_x)
        runtimes = both[["idealized_s", "denoised_s", "observed_s"]].to_numpy(dtype=float)
        for at, (idealized, denoised, observed) in enumerate(runtimes):
            _arrow(panel, at, idealized, denoised, observed)
        _name_rows(panel, np.arange(len(both)), list(both["deployment"].astype(str)))
        panel.set(xlabel="Runtime (s)")
        panel.set_title(
            plain(f"From idealized to observed runtime, {_scenario(part)}" if len(part) else _scenario(part))
        )
        if axes is None:
            text = (
                f"Ring: idealized{_on(both)}. Bar: denoised, where known. Arrow: to the observed. Right: their factor."
            )
            frame(panel, look, plain(text))
    return panel


def _arrow(axes: Any, at: int, idealized: float, denoised: float, observed: float) -> None:
    colour = _SLOWER if observed >= idealized else _FASTER
    axes.annotate("", (observed, at), (idealized, at), arrowprops=_ARROW | {"color": colour}, zorder=2)
    axes.plot(observed, at, alpha=0)  # an arrow alone does not extend the limits
    axes.plot(idealized, at, "o", ms=6.5, mfc="white", mec=INK, mew=1.3, zorder=4)
    if denoised > 0:
        axes.plot(denoised, at, "|", ms=10, mec=colour, mew=2, zorder=3)
    beside = {"xycoords": ("axes fraction", "data"), "xytext": (6, 0), "textcoords": "offset points"}
    axes.annotate(f"×{number(observed / idealized)}", (1, at), **beside, va="center", fontsize=8.5, color=colour)


def stacks(
    first: pd.DataFrame,
    second: pd.DataFrame,
    *,
    measure: str = "idealized_s",
    axes: Axes | None = None,
    look: Look | None = None,
) -> Axes:
    """Draw one stack against another: the first across, the second up, with lines of equal ratio.

    Args:
        first: Rows of one scenario on one stack: `Leaderboard.part(scenario, stack)`.
        second: Rows of the same scenario on another stack.
        measure: Measure to compare.
        axes: Axes to draw on, without caption; None for a new figure.
        look: Title, width, caption and scale of a new figure; None for the usual ones.

    Returns:
        The axes.

    Example:
        >>> from helm_efficiency import paper_leaderboard, plot_stacks
        >>> board = paper_leaderboard()
        >>> plot_stacks(board.part(stack="a100"), board.part(stack="v100")).get_xlabel()
        'Idealized runtime (s), a100'
    """
    m = MEASURES[measure]
    both = first.merge(second, on="deployment", suffixes=("", "_second"))
    both = both[both[measure].gt(0) & both[f"{measure}_second"].gt(0)]
    points = both[[measure, f"{measure}_second"]].to_numpy(dtype=float) * m.scale
    names = [str(part["stack"].iloc[0]) if len(part) else "" for part in (first, second)]
    with style():
        look = look or Look()
        panel: Axes = plt.subplots(figsize=(look.width or 6, 5.4))[1] if axes is None else axes
        lines = _ratio_lines(panel, points) if len(points) else []
        panel.plot(*points.T, "o", ms=8, mfc="white", mec=COLOURS[0], mew=1.4, zorder=4)
        panel.set(xlabel=f"{m.axis_label}, {plain(names[0])}", ylabel=f"{m.axis_label}, {plain(names[1])}")
        panel.set_title(plain(_scenario(first)))
        if axes is None:
            text = f"{len(points)} models on both stacks. Above the black line {names[1]} takes more."
            frame(panel, look, plain(text))
        write_names(panel, points, short_names(list(both["deployment"].astype(str))), lines=lines)
    return panel


def _ratio_lines(axes: Any, points: FloatArray) -> list[FloatArray]:
    """Set square logarithmic axes around the points, draw lines of equal ratio, and return these lines."""
    low, high = points.min() / 1.4, points.max() * 1.4
    axes.set(xscale="log", yscale="log", xlim=(low, high), ylim=(low, high), aspect="equal")
    lines = []
    for ratio in (0.5, 1, 2, 4):
        line = np.array([[low, low * ratio], [high, high * ratio]])
        axes.plot(*line.T, color=INK if ratio == 1 else "#BBBBBB", lw=0.9, zorder=1)
        end = (high / max(ratio, 1), high * min(ratio, 1))
        axes.annotate(
            "equal" if ratio == 1 else f"×{ratio:g}", end, (4, 2), textcoords="offset points", fontsize=7.5, color=MUTED
        )
        lines.append(line)
    for axis in (axes.xaxis, axes.yaxis):
        plain_ticks(axis, few=high / low < 300)
    return lines


def contention(requests: pd.DataFrame, *, axes: Axes | None = None, look: Look | None = None) -> Axes:
    """Draw the distribution of observed ÷ denoised runtime by deployment: contention and noise of each service.

    Boxes hold the middle half of the requests, whiskers 90 %, the line is the median.

    Args:
        requests: Rows of the requests table with `observed_s` and `denoised_s`.
        axes: Axes to draw on, without caption; None for a new figure.
        look: Title, width, caption and scale of a new figure; None for the usual ones.

    Returns:
        The axes.

    Raises:
        InputError: No request has both runtimes.

    Example:
        >>> import pandas as pd
        >>> from helm_efficiency import plot_contention
        >>> seen = pd.DataFrame({"instance_id": ["1", "2", "3"], "observed_s": [1.0, 1.5, 3.0], "denoised_s": 1.0})
        >>> seen = seen.assign(deployment="me/model", suite="v1", run="chat", train_trial=0, perturbation="")
        >>> plot_contention(seen.assign(request_mode="", reference_index=0)).get_xlabel()
        'Observed ÷ denoised runtime'
    """
    known = requests[requests["observed_s"].gt(0) & requests["denoised_s"].gt(0)]
    known = known.drop_duplicates(_REQUEST)  # each stack repeats a request
    if known.empty:
        raise InputError(
            "No request has both an observed and a denoised runtime. For the latter: helm-efficiency denoise"
        )
    ratio = (known["observed_s"] / known["denoised_s"]).groupby(known["deployment"].astype(str))
    names = [str(name) for name in ratio.median().sort_values(ascending=False).index]
    values = [ratio.get_group(name).to_numpy(dtype=float) for name in names]
    with style():
        look = look or Look()
        panel: Axes = _rows(len(names), look) if axes is None else axes
        log_if_wide(panel, np.concatenate(values), asked=look.log_x)
        rows = np.arange(len(names))
        panel.boxplot(values, positions=rows, orientation="horizontal", whis=(5, 95), **_BOXES)
        panel.axvline(1, color=INK, lw=0.9, zorder=1)
        _name_rows(
            panel, rows, [f"{name} ({len(value):,})" for name, value in zip(short_names(names), values, strict=True)]
        )
        panel.set(xlabel="Observed ÷ denoised runtime")
        panel.set_title("Contention and noise")
        if axes is None:
            text = "Box: middle half of the requests. Whiskers: 90 %. Line: median. In brackets: requests."
            frame(panel, look, text)
    return panel


def _rows(count: int, look: Look) -> Any:
    """Return the axes of a figure that is tall enough for `count` rows."""
    return plt.subplots(figsize=(look.width or 7.2, 1.5 + _ROW_INCHES * max(count, 3)))[1]


def _name_rows(axes: Any, rows: IntArray, names: list[str]) -> None:
    axes.set_yticks(rows, [plain(name) for name in names])
    axes.set_ylim(len(names) - 0.4, -0.6)
    axes.grid(axis="y", visible=False)
    axes.tick_params(axis="y", length=0, labelcolor=INK)


def _scenario(part: pd.DataFrame) -> str:
    return str(part["scenario"].iloc[0]) if len(part) else "Nothing to show"


def _on(part: pd.DataFrame) -> str:
    details = part["stack_detail"].dropna().unique()
    if len(details) == 1:
        return f" on {details[0]}"
    return f" on {part['stack'].iloc[0]} (number of accelerators differs by model)" if len(part) else ""
