"""Style and save figures: colour-blind safe, readable in grey, the same bytes for the same input."""

import io
import textwrap
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import matplotlib as mpl
import matplotlib.pyplot as plt
import numpy as np
import numpy.typing as npt
from matplotlib.axes import Axes
from matplotlib.backends.backend_pdf import PdfPages
from matplotlib.figure import Figure
from matplotlib.font_manager import get_font_names
from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

from helm_efficiency.errors import InputError
from helm_efficiency.files import write_file
from helm_efficiency.version import __version__

# Okabe and Ito, "Color Universal Design" (2008), ordered so that neighbours differ in lightness too; yellow is left out
# because it vanishes on white
COLOURS = ("#0072B2", "#E69F00", "#009E73", "#D55E00", "#56B4E9", "#CC79A7", "#000000")
MARKERS = ("o", "s", "^", "D", "v", "P", "X", "<", ">", "p", "h")
INK, MUTED, FAINT = "#222222", "#666666", "#D9D9D9"

_LOG_FROM, _FEW_DECADES = 8, 500
_PLAIN = FuncFormatter(lambda value, _: f"{value:g}")
_CHARACTERS_PER_INCH, _BOLD_CHARACTERS_PER_INCH = 17, 10
_TITLE_SIZE = 11
_TITLE_LINE_INCHES, _TOP_INCHES = 1.3 * _TITLE_SIZE / 72, 0.06
_LEGEND_INCHES = 2.6
"""Width of one entry of a figure's legend (inches): that of the longest model names in use."""
LEGEND = {"borderpad": 0, "borderaxespad": 0.4, "handletextpad": 0.1, "columnspacing": 1.2}

_SOFTWARE = f"helm-efficiency {__version__}"
_METADATA: dict[str, dict[str, str | None]] = {
    "png": {"Software": _SOFTWARE},
    "svg": {"Date": None, "Creator": _SOFTWARE},
    "pdf": {"CreationDate": None, "Producer": None, "Creator": _SOFTWARE},
}
"""Metadata without dates and versions of other packages; `_DESCRIPTION` is added."""
_DESCRIPTION = {"png": "Description", "svg": "Description", "pdf": "Subject"}
FORMATS = tuple(_METADATA)

_FALLBACK_FONTS = ("Noto Sans CJK JP", "Noto Sans CJK SC", "WenQuanYi Zen Hei", "Hiragino Sans", "Microsoft YaHei")
"""Fonts for names in scripts that the first font lacks."""

_STYLE: dict[str, Any] = {
    "figure.figsize": (7.2, 4.8),
    "figure.dpi": 100,
    "savefig.dpi": 150,
    "figure.constrained_layout.use": True,
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


@dataclass(frozen=True, slots=True)
class Look:
    """Title, width, caption and scale of a figure.

    Attributes:
        title: Title of the figure; None for one that describes the figure, "" for none.
        width: Width in inches; None for the usual one.
        caption: True to write small print below that explains how to read the figure.
        log_x: True for a logarithmic horizontal axis, False for a linear one, None for the one that suits the values.
    """

    title: str | None = None
    width: float | None = None
    caption: bool = True
    log_x: bool | None = None


@contextmanager
def style() -> Iterator[None]:
    """Apply the look of all figures of this package, without changing the caller's settings."""
    installed = set(get_font_names())
    fonts = ["DejaVu Sans", *(name for name in _FALLBACK_FONTS if name in installed)]
    with mpl.rc_context(_STYLE | {"font.family": fonts}), warnings.catch_warnings():
        warnings.filterwarnings(
            "ignore", "Glyph .* missing from font"
        )  # drawn as a box; in SVG the reader's font has it
        yield


def log_if_wide(axes: Any, values: npt.ArrayLike, *, asked: bool | None = None) -> None:
    """Make the horizontal axis logarithmic if asked to, or else if the values span about a decade or more."""
    array = np.asarray(values, dtype=float)
    positive = array[array > 0]
    is_wide = len(positive) > 0 and positive.max() / positive.min() >= _LOG_FROM
    if not len(positive) or not (is_wide if asked is None else asked):
        return
    if len(positive) == len(array):
        axes.set_xscale("log")
        plain_ticks(axes.xaxis, few=positive.max() / positive.min() < _FEW_DECADES)
    else:  # 0 has no logarithm
        axes.set_xscale("symlog", linthresh=float(positive.min()))
        axes.xaxis.set_major_formatter(_PLAIN)


def plain_ticks(axis: Any, *, few: bool) -> None:
    """Label a logarithmic axis in plain numbers; if it spans few decades, also at 2 and 5."""
    axis.set_major_locator(LogLocator(subs=(1, 2, 5) if few else (1,)))
    axis.set_major_formatter(_PLAIN)
    axis.set_minor_formatter(NullFormatter())


def heading(figure: Any, text: str, handles: Sequence[Any] = ()) -> None:
    """Write the title above everything, wrapped to the width of the figure, and a legend of `handles` below it."""
    width, height = figure.get_size_inches()
    lines = textwrap.wrap(text, int(width * _BOLD_CHARACTERS_PER_INCH), break_on_hyphens=False)
    columns = max(1, min(len(handles), int(width / _LEGEND_INCHES)))
    if handles:
        top = 1 - (_TITLE_LINE_INCHES * len(lines) + _TOP_INCHES) / height
        figure.legend(handles=handles, loc="upper left", bbox_to_anchor=(0, top), ncols=columns, **LEGEND)
    room = [" "] * -(-len(handles) // columns)  # the layout leaves no room for a legend below a title
    figure.suptitle("\n".join([*lines, *room]), x=0.01, ha="left", fontsize=_TITLE_SIZE, fontweight="bold")


def caption(figure: Any, text: str) -> None:
    """Write small print below everything, wrapped to the width of the figure but never between a number and its %."""
    text = text.replace(" %", "\N{NO-BREAK SPACE}%")
    width = int(figure.get_figwidth() * _CHARACTERS_PER_INCH)
    size = {"fontsize": 7.5, "color": MUTED, "linespacing": 1.35}
    figure.supxlabel(textwrap.fill(text, width, break_on_hyphens=False), x=0.01, ha="left", **size)


def frame(axes: Any, look: Look, text: str) -> None:
    """Give a figure of one panel its own title instead of the usual one, and its caption."""
    if look.title is not None:
        axes.set_title(look.title.replace("$", r"\$"))
    if look.caption:
        caption(axes.get_figure(), text)


def save(drawn: Axes | Figure, path: Path | str, *, source: str = "", dpi: int | None = None) -> Path:
    """Write a figure, or that of some axes, as PNG, SVG or PDF without a date.

    Args:
        drawn: Figure, or axes of a figure.
        path: Path of the file; its ending determines the format.
        source: Provenance of its numbers, written into the metadata with the version of this package.
        dpi: Pixels per inch of a PNG; None for 150.

    Returns:
        The path.

    Raises:
        InputError: The name has another ending.
        OutputError: The file cannot be written; an earlier file is unchanged.

    Example:
        >>> from helm_efficiency import paper_leaderboard, plot_tradeoff, save_figure
        >>> save_figure(plot_tradeoff(paper_leaderboard().part()), "paper.png").name
        'paper.png'
    """
    path = Path(path)
    kind = path.suffix.lstrip(".").lower()
    if kind not in FORMATS:
        raise InputError(f"{path}: figures are written as {', '.join(FORMATS)}.")
    write_file(path, to_bytes(drawn, kind, source=source, dpi=dpi))
    return path


def save_and_close(drawn: Axes | Figure, path: Path | str, *, source: str = "", dpi: int | None = None) -> Path:
    """Write a figure as `save` does, then close it: pyplot keeps every open figure in memory."""
    try:
        return save(drawn, path, source=source, dpi=dpi)
    finally:
        plt.close(_figure_of(drawn))


def save_pages(figures: Sequence[Figure], path: Path, *, source: str = "", dpi: int | None = None) -> list[Path]:
    """Write figures as the pages of one PDF, or as numbered files of another format; then close them.

    Returns:
        Paths of the written files: `path`, or `name-1.png`, `name-2.png` … in the same folder.
    """
    if len(figures) == 1:
        return [save_and_close(figures[0], path, source=source, dpi=dpi)]
    if path.suffix.lower() != ".pdf":
        names = [path.with_stem(f"{path.stem}-{page}") for page in range(1, len(figures) + 1)]
        return [
            save_and_close(figure, name, source=source, dpi=dpi) for figure, name in zip(figures, names, strict=True)
        ]
    buffer = io.BytesIO()
    with style(), PdfPages(buffer, metadata=_METADATA["pdf"] | {_DESCRIPTION["pdf"]: source or None}) as pages:
        for figure in figures:
            pages.savefig(figure)
            plt.close(figure)
    write_file(path, buffer.getvalue())
    return [path]


def _figure_of(drawn: Any) -> Figure:
    figure: Figure = drawn if isinstance(drawn, Figure) else drawn.get_figure(root=True)
    return figure


def to_bytes(drawn: Any, kind: str, *, source: str = "", dpi: int | None = None) -> bytes:
    """Return the bytes that `save` would write; `kind` is one of `FORMATS`."""
    figure = _figure_of(drawn)
    buffer = io.BytesIO()
    with style():
        figure.savefig(
            buffer,
            format=kind,
            dpi=dpi or _STYLE["savefig.dpi"],
            metadata=_METADATA[kind] | {_DESCRIPTION[kind]: source or None},
        )
    return buffer.getvalue()
