"""Write a leaderboard as one HTML file that needs no network: tables, and a plot that answers questions.

The tables and a static plot are in the page itself, so they are visible without JavaScript. All text from outside
(names of models, scenarios, scores) is escaped by the template or set as text; a content security policy forbids all
requests and every script except the report's own.
"""

import base64
import hashlib
import json
import re
from dataclasses import dataclass
from importlib.resources import files
from typing import Any

import matplotlib.pyplot as plt
import pandas as pd
from jinja2 import Environment, PackageLoader, StrictUndefined
from jinja2.utils import htmlsafe_json_dumps
from markupsafe import Markup, escape

from helm_efficiency.core.tier import Tier
from helm_efficiency.errors import printable
from helm_efficiency.report.board import Leaderboard
from helm_efficiency.report.display import display, front_axis
from helm_efficiency.report.html_data import page_data, table_names
from helm_efficiency.report.plots import to_bytes, tradeoff
from helm_efficiency.report.scenario_table import scenario_table
from helm_efficiency.report.tables import Tables
from helm_efficiency.report.text import Display
from helm_efficiency.version import __version__

_SCRIPTS = ("numbers", "models", "chart", "tables", "choices")
"""Parts of the page's script, in order."""

_INTERVAL = re.compile(r" (\([^()]*–[^()]*\))")

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
    board: Leaderboard,
    *,
    title: str = "Capability and efficiency",
    provenance: dict[str, str] | None = None,
    made_on: str = "",
) -> str:
    """Return the whole report as one HTML page.

    Args:
        board: Leaderboard to show, with all its stacks and scenarios. If it kept its draws, the page compares pairs
            of models, and predicts requests of other lengths too.
        title: Heading of the page.
        provenance: Origin of the numbers, as terms and their meanings; see `provenance`.
        made_on: Date of the page, to be shown in it; empty for none.

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
    environment.filters["intervals"] = _small_intervals
    script = "".join(_template_text(f"report_{part}.js") for part in _SCRIPTS)
    return environment.get_template("report.html.j2").render(
        title=title,
        summary=_summary(board),
        made=f"Made{f' on {made_on}' if made_on else ''} with helm-efficiency {__version__}.",
        boards=_boards(board),
        notes=display(board, scenario=table_names(board)[0]).notes,
        method=METHOD,
        provenance=[("Made with", f"helm-efficiency {__version__}"), *(provenance or {}).items()],
        data=htmlsafe_json_dumps(page_data(board), dumps=_dumps),
        figure=_figure(board),
        css=Markup(_template_text("report.css")),
        script=Markup(script),
        script_hash=base64.b64encode(hashlib.sha256(script.encode()).digest()).decode(),
    )


def _shown(value: Any) -> Any:
    """Return a value as the template writes it: text without unprintable characters, and our own markup unchanged."""
    return printable(value) if isinstance(value, str) and not isinstance(value, Markup) else value


def _small_intervals(text: str) -> Markup:
    """Return the markup of a cell, with its intervals in small print and each of its numbers on a line."""
    return Markup(_INTERVAL.sub(r" <small>\1</small>", str(escape(printable(text)))).replace("; ", "<br>"))


def _dumps(value: Any, **_: Any) -> str:
    return json.dumps(value, separators=(",", ":"), allow_nan=False)


def _template_text(name: str) -> str:
    return (files("helm_efficiency.report") / "templates" / name).read_text(encoding="utf-8")


def _boards(board: Leaderboard) -> list[_Board]:
    first, *others = table_names(board)
    return [
        _Board(
            stack,
            display(board, scenario=first, stack=stack, all_intervals=True),
            (scenario_table(board, stack),) if others else (),
        )
        for stack in board.stacks or [""]
    ]


def _summary(board: Leaderboard) -> str:
    models = board.table[board.options.by].nunique()
    stacks = ", ".join(filter(None, board.stacks)) or "no stack"
    return f"{models:,} models, {len(board.scenarios):,} scenarios, idealized on {stacks}."


def _figure(board: Leaderboard) -> str:
    """Return the static plot of the first table as an image in an address; as SVG, it would be 20 times as large."""
    part = board.part(table_names(board)[0])
    axis = front_axis(part, board.options.sort)
    axes = tradeoff(part, x="idealized_s" if axis is None else axis.key)
    picture = to_bytes(axes, "png")
    plt.close(axes.get_figure())
    return f"data:image/png;base64,{base64.b64encode(picture).decode()}"


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
        "Load of the busy server": _listed(requests["load"]),
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
