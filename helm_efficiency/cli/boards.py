"""Options and helpers shared by the commands about scored tables."""

import sys
from dataclasses import replace
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from helm_efficiency.cli.options import first_rows, note, print_display, terminal_width
from helm_efficiency.errors import InputError

if TYPE_CHECKING:
    from helm_efficiency.report.board import Leaderboard
    from helm_efficiency.report.tables import Tables


FolderArgument = Annotated[Path, typer.Argument(help="Folder written by rescore.", show_default=False)]
ScoreOption = Annotated[str | None, "Name of the score; by default each run's main one."]
LowerOption = Annotated[bool, "A lower score is better."]
StackOption = Annotated[str | None, "Only this stack; by default each."]
ScenarioOption = Annotated[str | None, "Only those that begin with this, such as mmlu; by default all."]
SortOption = Annotated[str, "Measure to rank by: score, time, cost, api cost, energy …"]
AvailableOption = Annotated[bool, "Compare each model on what it answered, not on what all answered."]


class TableFormat(StrEnum):
    """Format in which a leaderboard is written."""

    table = "table"
    markdown = "markdown"
    latex = "latex"
    csv = "csv"
    json = "json"


def load_scored(folder: Path, score: str | None = None, scenario: str | None = None) -> "Tables":
    """Read the scored tables in a folder, of all scenarios or of those with names that begin with `scenario`.

    Raises:
        InputError: The names of all scenarios begin differently.
    """
    from helm_efficiency.report.tables import load

    tables = load(folder, score=score)
    if scenario is None:
        return tables
    names = tables.requests["scenario"].astype(str)
    known = sorted(names.unique())
    chosen = [scenario] if scenario in known else [name for name in known if name.startswith(scenario)]
    if not chosen:
        few = ", ".join(known[:_FEW_NAMES]) + (
            f" and {len(known) - _FEW_NAMES} more" if len(known) > _FEW_NAMES else ""
        )
        raise InputError(f"No scenario begins with {scenario!r}. There are: {few or 'none'}.")
    runs = tables.runs[tables.runs["scenario"].astype(str).isin(chosen)]
    return replace(tables, requests=tables.requests[names.isin(chosen)].reset_index(drop=True), runs=runs)


def of_models(tables: "Tables", words: str | None) -> "Tables":
    """Return the tables of the deployments whose names have one of some words, separated by commas; None for all.

    Raises:
        InputError: No deployment has any of the words.
    """
    if words is None:
        return tables
    asked = [word.strip().lower() for word in words.split(",") if word.strip()]
    known = sorted(tables.requests["deployment"].astype(str).unique())
    chosen = [name for name in known if any(word in name.lower() for word in asked)]
    if not chosen:
        raise InputError(f"No model has {words!r} in its name. There are: {', '.join(known[:_FEW_NAMES])} …")
    requests = tables.requests[tables.requests["deployment"].isin(chosen)].reset_index(drop=True)
    return replace(tables, requests=requests, runs=tables.runs[tables.runs["deployment"].isin(chosen)])


_FEW_NAMES = 5


def chosen_scenarios(board: "Leaderboard", *, each: bool) -> list[str]:
    """Return the tables to show: the one over all scenarios and, with `each`, one for each scenario."""
    from helm_efficiency.report.notes import ALL

    if len(board.scenarios) == 1:
        return board.scenarios
    return [ALL, *board.scenarios] if each else [ALL]


def write_board(board: "Leaderboard", format: TableFormat, *, scenarios: list[str], plot: bool) -> None:
    """Write the data to stdout, and the notes to stderr if the format has no room for them."""
    from helm_efficiency.report import formats

    if format in (TableFormat.csv, TableFormat.json):
        sys.stdout.write(formats.to_csv(board) if format is TableFormat.csv else formats.to_json(board))
        for remark in board.notes:
            note(f"{remark.scenario}: {remark.text}")
        return
    for stack in board.stacks:
        for scenario in scenarios:
            _write_table(board, format, scenario, stack)
            if plot:
                _write_plot(board, scenario, stack)


def _write_table(board: "Leaderboard", format: TableFormat, scenario: str, stack: str) -> None:
    from helm_efficiency.report import formats
    from helm_efficiency.report.display import display

    table = display(board, scenario=scenario, stack=stack)
    if format is TableFormat.table:
        print_display(first_rows(table))
        sys.stdout.write("\n")
    else:
        write = formats.to_markdown if format is TableFormat.markdown else formats.to_latex
        sys.stdout.write(write(table) + "\n")


def draw_to_files() -> None:
    """Set matplotlib to draw into files, so that it opens no window and needs no display."""
    import jinja2  # noqa: F401  report a missing package now rather than after the work
    import matplotlib

    matplotlib.use("Agg")


def _write_plot(board: "Leaderboard", scenario: str, stack: str) -> None:
    from helm_efficiency.report.display import front_axis
    from helm_efficiency.report.terminal import text_plot

    part = board.part(scenario, stack)
    axis = front_axis(part, board.options.sort)
    width = min(terminal_width(), _WIDEST_PLOT)
    drawn = text_plot(
        part, x="idealized_s" if axis is None else axis.key, size=(width, width // 4), coloured=sys.stdout.isatty()
    )
    sys.stdout.write(f"\n{drawn}\n")


_WIDEST_PLOT = 120
"""Number of characters from which a plot is no easier to read."""
