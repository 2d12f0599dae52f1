"""How figures look, and how they are saved: colour-blind safe, readable in grey, the same bytes for the same input."""

import textwrap
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import matplotlib as mpl
import numpy as np
import numpy.typing as npt
from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

from helm_efficiency.errors import InputError

# Okabe and Ito, "Color Universal Design" (2008), ordered so that neighbours differ in lightness too; yellow is left out
# because it vanishes on white
COLOURS = ("#0072B2", "#E69F00", "#009E73", "#D55E00", "#56B4E9", "#CC79A7", "#000000")
MARKERS = ("o", "s", "^", "D", "v", "P", "X", "<", ">", "p", "h")
INK, MUTED, FAINT = "#222222", "#666666", "#D9D9D9"

_LOG_FROM = 8

_NO_METADATA = {
    "png": {"Software": None},
    "svg": {"Date": None, "Creator": None},
    "pdf": {"CreationDate": None, "Producer": None, "Creator": None},
}
FORMATS = tuple(_NO_METADATA)

_STYLE: dict[str, Any] = {
    "figure.figsize": (7.2, 4.8),
    "figure.dpi": 100,
    "savefig.dpi": 200,
    "figure.constrained_layout.use": True,
    "font.family": ["DejaVu Sans"],
    "font.size": 9.5,
    "text.color": INK,
    "axes.edgecolor": MUTED,
    "axes.labelcolor": INK,
    "axes.titlelocation": "left",
    "axes.titlesize": 11,
    "axes.titleweight": "bold",
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "axes.axisbelow": True,
    "grid.color": "#EEEEEE",
    "grid.linewidth": 0.8,
    "xtick.color": MUTED,
    "ytick.color": MUTED,
    "legend.frameon": False,
    "legend.fontsize": 8.5,
    "svg.hashsalt": "helm-efficiency",  # else element ids are random
    "svg.fonttype": "none",
    "pdf.fonttype": 42,
}


@contextmanager
def style() -> Iterator[None]:
    """The look of all figures of this package, without changing the caller's settings."""
    with mpl.rc_context(_STYLE):
        yield


def log_if_wide(axes: Any, values: npt.NDArray[np.float64]) -> None:
    """A logarithmic horizontal axis, labelled in plain numbers, where the values span about a decade or more."""
    positive = values[values > 0]
    if not len(positive) or positive.max() / positive.min() < _LOG_FROM:
        return
    if len(positive) == len(values):
        axes.set_xscale("log")
        few = positive.max() / positive.min() < 300
        axes.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5) if few else (1,)))
        axes.xaxis.set_minor_formatter(NullFormatter())
    else:  # a logarithm has no place for nothing
        axes.set_xscale("symlog", linthresh=float(positive.min()))
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))


def caption(axes: Any, text: str) -> None:
    """Small print below the axes, wrapped to their width."""
    figure = axes.get_figure(root=True)
    per_line = max(40, int(axes.get_position().width * figure.get_figwidth() * 19))
    axes.set_xlabel(axes.get_xlabel())
    axes.annotate(
        textwrap.fill(text, per_line),
        (0, 0),
        xycoords="axes fraction",
        xytext=(0, -38),
        textcoords="offset points",
        va="top",
        fontsize=7.5,
        linespacing=1.35,
        color=MUTED,
        gid="caption",
    )


def save(axes: Any, path: Path | str) -> Path:
    """Write the figure of some axes as PNG, SVG or PDF, without the date or the version of anything.

    Raises:
        InputError: The name ends in something else.
    """
    path = Path(path)
    kind = path.suffix.lstrip(".").lower()
    if kind not in FORMATS:
        raise InputError(f"{path}: figures are written as {', '.join(FORMATS)}.")
    path.parent.mkdir(parents=True, exist_ok=True)
    with style():
        axes.get_figure(root=True).savefig(path, format=kind, metadata=_NO_METADATA[kind])
    return path
