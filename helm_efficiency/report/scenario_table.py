"""Show all scenarios of a stack as one table, with one row per scenario and one column per model."""

import pandas as pd

from helm_efficiency.metrics.measures import MEASURES
from helm_efficiency.report.board import Leaderboard
from helm_efficiency.report.display import ON_FRONT, front_axis, interval_text, short_names, value_text
from helm_efficiency.report.notes import ALL
from helm_efficiency.report.scenario_names import scenario_titles
from helm_efficiency.report.text import Column, Display

_EXTRAPOLATED = "†"


def scenario_table(board: Leaderboard, stack: str) -> Display:
    """Return score and cost of every model in every scenario, with their intervals.

    The cost is the one that the front over all scenarios is drawn against; a mark shows the models on the front of the
    scenario. Remarks on single scenarios are in the notes; a remark that several scenarios share is written once.
    """
    names = board.scenarios
    titles = dict(zip(names, scenario_titles(names), strict=True))
    parts = {name: board.part(name, stack) for name in names}
    overall = board.part(ALL, stack)
    axis = front_axis(overall, board.options.sort)
    models = list(overall[board.options.by].astype(str))
    cells = {name: _cells(part, board.options.by, None if axis is None else axis.key) for name, part in parts.items()}
    columns = [Column("Scenario", tuple(titles.values()), is_number=False)]
    for model, label in zip(models, short_names(models), strict=True):
        columns.append(Column(label, tuple(cells[name].get(model, "—") for name in names)))
    legend = "Score with its 90 % interval" + ("." if axis is None else f"; then {axis.axis_label} with its own.")
    if axis is not None:
        legend += f" {ON_FRONT} is on the scenario's Pareto front."
    if axis is not None and axis.is_on_stack and any(part["num_out_of_domain"].any() for part in parts.values()):
        legend += f" {_EXTRAPOLATED} rests on requests outside what the stack was measured on."
    scenarios_of: dict[str, list[str]] = {}
    for note in board.notes:
        if note.scenario in titles:
            scenarios_of.setdefault(note.text, []).append(titles[note.scenario])
    notes = tuple(f"{', '.join(of)}: {text}" for text, of in scenarios_of.items())
    return Display(title=f"On {stack}" if stack else "", columns=tuple(columns), legend=(legend,), notes=notes)


def _cells(part: pd.DataFrame, by: str, cost: str | None) -> dict[str, str]:
    """Map each model to the text of its cell in one scenario."""
    texts = _with_intervals(part, "score")
    if cost is not None and cost in part:
        outside = part["num_out_of_domain"].gt(0) & MEASURES[cost].is_on_stack
        pairs_of_marks = zip(outside, part[f"{cost}_front"], strict=True)
        marks = [f" {_EXTRAPOLATED}" * bool(is_out) + f" {ON_FRONT}" * bool(on) for is_out, on in pairs_of_marks]
        pairs = zip(texts, _with_intervals(part, cost), marks, strict=True)
        texts = [f"{score}; {value}{mark}" for score, value, mark in pairs]
    return dict(zip(part[by].astype(str), texts, strict=True))


def _with_intervals(part: pd.DataFrame, name: str) -> list[str]:
    values, spans = value_text(part, MEASURES[name]), interval_text(part, MEASURES[name])
    return [f"{value}{span}" for value, span in zip(values, spans, strict=True)]
