"""Draw how well coefficients fit the measurements: decode, prefill, residuals."""

from collections.abc import Sequence
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.axes import Axes

from helm_efficiency.core.arrays import FloatArray, IntArray
from helm_efficiency.core.fitting.fit import Fit
from helm_efficiency.core.measurement import Profile
from helm_efficiency.report.plots.labels import plain
from helm_efficiency.report.plots.style import COLOURS, INK, MARKERS, MUTED, Look, caption, heading, style

_MOST_LINES, _MOST_POINTS = 5, 500


def fit_quality(fit: Fit, profile: Profile, *, look: Look | None = None) -> Sequence[Axes]:
    """Draw three panels: runtime against output tokens, prefill against prompt tokens with its knots, residuals.

    Args:
        fit: Coefficients and their interval.
        profile: Measurements of the same deployment and stack.
        look: Title, width and caption of the figure; None for the usual ones.

    Returns:
        The three axes, in that order.

    Example:
        >>> from helm_efficiency import Store, plot_fit
        >>> fit = Store().fit("openai/davinci", "a100-80gb-megatron-fp16")
        >>> (profile,) = Store().profiles(deployment="openai/davinci")
        >>> [axes.get_title(loc="left") for axes in plot_fit(fit, profile)[:2]]
        ['Decode', 'Prefill']
    """
    p, o, seconds = _singles(profile)
    with style():
        look = look or Look()
        figure, grid = plt.subplots(1, 3, figsize=(look.width or 11, 3.9))
        _decode(grid[0], fit, p, o, seconds)
        _prefill(grid[1], fit, p, o, seconds)
        _residuals(grid[2], fit, p, o, seconds)
        text = f"{fit.deployment} on {fit.stack}, batch size 1. Points: medians of what was measured. Lines: fitted. "
        if look.caption:
            caption(figure, plain(text + "Bands: nominal 90 % intervals; crosses lie outside."))
        if look.title:
            heading(figure, plain(look.title))
    return list(grid)


def _singles(profile: Profile) -> tuple[IntArray, IntArray, FloatArray]:
    """Return the (prompt, output) cells at batch size 1 and their seconds."""
    cells = {(p, o): seconds for (p, o, batch), seconds in profile.cell_seconds().items() if batch == 1}
    pairs = np.array(list(cells)).reshape(-1, 2)
    return pairs[:, 0], pairs[:, 1], np.array(list(cells.values()))


def _decode(axes: Any, fit: Fit, p: Any, o: Any, seconds: Any) -> None:
    prompts = np.unique(p)
    for index, prompt in enumerate(prompts[np.unique(np.linspace(0, len(prompts) - 1, _MOST_LINES).astype(int))]):
        at = p == prompt
        outputs = np.unique(np.linspace(1, o.max(), min(int(o.max()), _MOST_POINTS)).round().astype(int))
        prediction = fit.coefficients.predict(prompt, outputs)
        colour = COLOURS[index]
        axes.plot(outputs, prediction.seconds, color=colour, lw=1.2)
        axes.fill_between(outputs, prediction.low_s, prediction.high_s, color=colour, alpha=0.12, lw=0)
        axes.plot(
            o[at], seconds[at], MARKERS[index], ms=4.5, mfc="white", mec=colour, label=f"{prompt:,} prompt tokens"
        )
    axes.set(xlabel="Output tokens", ylabel="Runtime (s)")
    axes.set_ylim(bottom=0)
    axes.set_title("Decode")
    axes.legend(loc="upper left", fontsize=7.5)


def _prefill(axes: Any, fit: Fit, p: Any, o: Any, seconds: Any) -> None:
    coefficients = fit.coefficients
    tokens = np.linspace(1, p.max(), 500)
    prediction = coefficients.predict(tokens, 1)
    axes.plot(tokens, prediction.seconds, color=COLOURS[0], lw=1.2)
    axes.fill_between(tokens, prediction.low_s, prediction.high_s, color=COLOURS[0], alpha=0.12, lw=0)
    knots = np.array(coefficients.prefill_knots)
    axes.plot(knots[:, 0], knots[:, 1] + coefficients.overhead_s, "|", ms=9, mec=INK, label="knots")
    first = o == 1
    axes.plot(p[first], seconds[first], "o", ms=4.5, mfc="white", mec=COLOURS[0], label="measured, one output token")
    axes.set(xlabel="Prompt tokens", ylabel="Prefill (s)")
    axes.set_ylim(bottom=0)
    axes.set_title("Prefill")
    axes.legend(loc="upper left", fontsize=7.5)


def _residuals(axes: Any, fit: Fit, p: Any, o: Any, seconds: Any) -> None:
    prediction = fit.coefficients.predict(p, o)
    residual = 100 * (seconds / prediction.seconds - 1)
    inside = (seconds >= prediction.low_s) & (seconds <= prediction.high_s)
    prompts = np.unique(p)
    for end, widest in ((prediction.low_s, np.min), (prediction.high_s, np.max)):
        band = 100 * (end / prediction.seconds - 1)
        axes.fill_between(prompts, [widest(band[p == prompt]) for prompt in prompts], color=MUTED, alpha=0.12, lw=0)
    axes.axhline(0, color=INK, lw=0.9)
    axes.plot(p[inside], residual[inside], "o", ms=4, mfc="white", mec=COLOURS[0])
    axes.plot(p[~inside], residual[~inside], "X", ms=5.5, color=COLOURS[3])
    axes.set(xlabel="Prompt tokens", ylabel="Measured − fitted (%)")
    axes.set_title(f"Residuals: {100 * inside.mean():.0f} % inside")
