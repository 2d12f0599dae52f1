"""Write a leaderboard as one HTML file that needs no network: tables, and a plot that responds to mouse and keys.

The tables and a static plot are in the page itself, so they are visible without JavaScript. All text from outside
(names of models, scenarios, scores) is escaped by the template or set as text; a content security policy forbids all
requests and every script except the report's own.
"""

import base64
import hashlib
import json
from dataclasses import dataclass
from importlib.resources import files
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from jinja2 import Environment, PackageLoader, StrictUndefined
from jinja2.utils import htmlsafe_json_dumps
from markupsafe import Markup

from helm_efficiency.core.tier import Tier
from helm_efficiency.errors import printable
from helm_efficiency.metrics.measures import COSTS, MEASURES
from helm_efficiency.report.board import Leaderboard
from helm_efficiency.report.display import display, front_axis, has_numbers, short_names
from helm_efficiency.report.notes import ALL
from helm_efficiency.report.plots import to_bytes, tradeoff
from helm_efficiency.report.scenario_table import scenario_table
from helm_efficiency.report.tables import Tables
from helm_efficiency.report.text import Display
from helm_efficiency.version import __version__

_HEIGHTS = ("score", "win_rate")

METHOD = (
    ("Observed runtime", "What the harness recorded on the day: the provider's hardware, software, load and network."),
    ("Denoised runtime", "What this service would take without contention, from a model of its own latencies."),
    (
        "Idealized runtime",
        "What the model would take alone on the stated stack: prefill(p) + (o − 1) × decode, for p prompt and o output "
        "tokens. The same hardware and software for every model, whoever serves it.",
    ),
    ("Provider factor", "Denoised ÷ idealized: below 1, the provider is faster than the stated stack."),
    (
        "Cost, energy",
        "Idealized runtime × accelerators × price of an accelerator, or its power. API cost: tokens × list price.",
    ),
    (
        "Per correct answer",
        "Total over all answers ÷ sum of their scores; infinite where no answer is correct. Its interval is a score "
        "interval, widened by the error of the predicted runtime.",
    ),
    ("Evidence", " ".join(f"{tier}: {tier.meaning}." for tier in Tier)),
    (
        "Intervals and ranks",
        "90 %. All models are drawn on the same instances, so that differences between them count, not how hard the "
        "instances are; the error of each model's predicted runtime is drawn along.",
    ),
)


@dataclass(frozen=True, slots=True)
class _Board:
    """Tables of one stack."""

    stack: str
    overall: Display
    scenarios: tuple[Display, ...]


def to_html(
    board: Leaderboard, *, title: str = "Capability and efficiency", provenance: dict[str, str] | None = None
) -> str:
    """Return the whole report as one HTML page.

    Args:
        board: Leaderboard to show, with all its stacks and scenarios.
        title: Heading of the page.
        provenance: Origin of the numbers, as terms and their meanings; see `provenance`.

    Returns:
        HTML that needs no network.

    Example:
        >>> from helm_efficiency import leaderboard_html, paper_leaderboard
        >>> leaderboard_html(paper_leaderboard(), title="Ten models of 2023").startswith("<!doctype html>")
        True
    """
    environment = Environment(
        loader=PackageLoader("helm_efficiency.report"),
        autoescape=True,
        undefined=StrictUndefined,
        finalize=_shown,
        keep_trailing_newline=True,
    )
    script = _template_text("report.js")
    return environment.get_template("report.html.j2").render(
        title=title,
        summary=_summary(board),
        boards=_boards(board),
        notes=display(board, scenario=_names(board)[0]).notes,
        method=METHOD,
        provenance=[("Made with", f"helm-efficiency {__version__}"), *(provenance or {}).items()],
        data=htmlsafe_json_dumps(_data(board), dumps=_dumps),
        figure=Markup(_figure(board)),
        css=Markup(_template_text("report.css")),
        script=Markup(script),
        script_hash=base64.b64encode(hashlib.sha256(script.encode()).digest()).decode(),
    )


def _shown(value: Any) -> Any:
    """Return a value as the template writes it: text without unprintable characters, and our own markup unchanged."""
    return printable(value) if isinstance(value, str) and not isinstance(value, Markup) else value


def _dumps(value: Any, **_: Any) -> str:
    return json.dumps(value, separators=(",", ":"), allow_nan=False)


def _template_text(name: str) -> str:
    return (files("helm_efficiency.report") / "templates" / name).read_text(encoding="utf-8")


def _names(board: Leaderboard) -> list[str]:
    """Return the tables of a stack by name: if it has several scenarios, the one over all; then each scenario."""
    return [ALL, *board.scenarios] if len(board.scenarios) != 1 else board.scenarios


def _boards(board: Leaderboard) -> list[_Board]:
    first, *others = _names(board)
    return [
        _Board(
            stack,
            display(board, scenario=first, stack=stack),
            (scenario_table(board, stack),) if others else (),
        )
        for stack in board.stacks or [""]
    ]


def _summary(board: Leaderboard) -> str:
    models = board.table[board.options.by].nunique()
    stacks = ", ".join(filter(None, board.stacks)) or "no stack"
    return f"{models:,} models, {len(board.scenarios):,} scenarios, idealized on {stacks}."


def _figure(board: Leaderboard) -> str:
    """Return the static plot of the first table, as SVG to embed in a page."""
    part = board.part(_names(board)[0])
    axis = front_axis(part, board.options.sort)
    axes = tradeoff(part, x="idealized_s" if axis is None else axis.key)
    text = to_bytes(axes, "svg").decode()
    plt.close(axes.get_figure())
    return text[text.index("<svg") :]


def _data(board: Leaderboard) -> dict[str, Any]:
    """Return the data of the plot as JSON values: each table by columns, numbers with four significant digits."""
    names = sorted(board.table[board.options.by].astype(str).unique())
    measures = [name for name in MEASURES if has_numbers(board.table, name)]
    evidence = sorted(_evidence(board.table).unique())
    first = board.part(_names(board)[0])
    axis = front_axis(first, board.options.sort)
    axes = [name for name in measures if name not in _HEIGHTS and has_numbers(first, name)]
    if axis is not None:
        axes = [axis.key, *(name for name in axes if name != axis.key)]
    parts = [
        _part(part, names, measures, evidence, board.options.by)
        | {"label": printable(name if len(board.stacks) < 2 else f"{name}, {stack}")}
        for stack in board.stacks
        for name in _names(board)
        if len(part := board.part(name, stack))
    ]
    return {
        "names": [printable(name) for name in names],
        "labels": [printable(name) for name in short_names(names)],
        "evidence": [printable(text) for text in evidence],
        "measures": {name: {"label": MEASURES[name].axis_label} for name in measures},
        "axes": axes,
        "heights": [name for name in _HEIGHTS if name in measures],
        "parts": parts if axes and has_numbers(first, "score") else [],
    }


def _part(part: pd.DataFrame, names: list[str], measures: list[str], evidence: list[str], by: str) -> dict[str, Any]:
    index = {name: at for at, name in enumerate(names)}
    fronts = [name for name in measures if name in COSTS]
    return {
        "models": [index[str(name)] for name in part[by]],
        "evidence": list(_evidence(part).map({text: at for at, text in enumerate(evidence)})),
        "columns": {name: _column(part, name) for name in measures if has_numbers(part, name)},
        "front": {
            name: {
                "on": [int(row) for row in np.flatnonzero(part[f"{name}_front"])],
                "likely": [round(share, 3) for share in part[f"{name}_front_probability"].fillna(0)],
            }
            for name in fronts
        },
    }


def _evidence(part: pd.DataFrame) -> pd.Series:
    """Return the stack and the tier of each row in words."""
    return (part["stack_detail"].fillna("").astype(str) + ", " + part["tier"].fillna(Tier.none).astype(str)).str.strip(
        ", "
    )


def _column(part: pd.DataFrame, name: str) -> list[list[Any]]:
    """Return value, low and high of each row in the unit of print; the value alone if it has no interval."""
    cells = part[[name, f"{name}_low", f"{name}_high"]].to_numpy(dtype=float) * MEASURES[name].scale
    texts = [(_json(value), _json(low, 3), _json(high, 3)) for value, low, high in cells]
    return [[value] if low == high else [value, low, high] for value, low, high in texts]


def _json(value: float, digits: int = 4) -> float | int | str | None:
    if np.isnan(value):
        return None
    if np.isinf(value):
        return "inf"
    rounded = float(f"{value:.{digits}g}")
    return int(rounded) if rounded.is_integer() else rounded


def provenance(tables: Tables) -> dict[str, str]:
    """Return the origin of the numbers of scored tables, as terms and their meanings."""
    requests, runs = tables.requests, tables.runs
    harnesses = ", ".join(sorted(runs["harness"].dropna().unique())) or "none"
    facts = {
        "Tables": tables.source,
        "Runs": f"{len(runs.drop_duplicates(['suite', 'run'])):,} of {harnesses}, in suites {_listed(runs['suite'])}",
        "Requests": f"{len(requests):,} rows; {int(requests['success'].eq(False).sum()):,} failed; "
        f"{int(requests['cached'].eq(True).sum()):,} answered from the harness's cache",
        "Prompt tokens counted by": _counts(requests["prompt_provenance"]),
        "Output tokens counted by": _counts(requests["output_provenance"]),
        "Counted too low": _counts(requests["doubts"].dropna()),
        "Coefficients matched by": _counts(requests["matched_by"]),
        "Stacks": _listed(requests["stack_detail"]),
        "Outside the measured domain": f"{int(requests['in_domain'].eq(False).sum()):,} requests",
    }
    prices = requests[["stack", "usd_per_accelerator_hour"]].drop_duplicates().dropna()
    if len(prices):
        facts["Price of an accelerator"] = "; ".join(
            f"{stack}: ${price:.4g} an hour" for stack, price in prices.sort_values(list(prices.columns)).to_numpy()
        )
    return facts


def _counts(column: pd.Series) -> str:
    counts = column.astype(object).fillna("nothing").value_counts().sort_index()
    return ", ".join(f"{name} {count:,}" for name, count in counts.items()) or "nothing"


def _listed(column: pd.Series) -> str:
    return ", ".join(sorted(column.dropna().astype(str).unique())) or "none"
