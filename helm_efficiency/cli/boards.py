"""Options and steps that the commands about scored tables share."""

import sys
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from helm_efficiency.cli.options import note, print_display
from helm_efficiency.errors import InputError
from helm_efficiency.extras import needs_extra

if TYPE_CHECKING:
    from helm_efficiency.report.board import Leaderboard
    from helm_efficiency.report.tables import Tables


FolderArgument = Annotated[Path, typer.Argument(help="Folder written by rescore.", show_default=False)]
ScoreOption = Annotated[str | None, typer.Option("--score", help="Name of the score; by default each run's main one.")]
LowerOption = Annotated[bool, typer.Option("--lower-is-better", help="A lower score is better.")]
StackOption = Annotated[str | None, typer.Option("--stack", help="Only this stack; by default each.")]
ScenarioOption = Annotated[str | None, typer.Option("--scenario", help="Only this one; by default all together.")]
SortOption = Annotated[str, typer.Option("--sort", help="Measure to rank by: score, idealized_s, idealized_usd …")]
AvailableOption = Annotated[
    bool, typer.Option("--available", help="Compare each model on what it answered, not on what all answered.")
]


class TableFormat(StrEnum):
    """How a leaderboard is written."""

    table = "table"
    markdown = "markdown"
    latex = "latex"
    csv = "csv"
    json = "json"


def load_scored(folder: Path, score: str | None = None) -> "Tables":
    """The scored tables that a folder holds."""
    from helm_efficiency.report.tables import load

    return load(folder, score=score)


def chosen_scenarios(board: "Leaderboard", scenario: str | None, *, each: bool) -> list[str]:
    from helm_efficiency.report.notes import ALL

    if scenario is not None and scenario not in board.scenarios:
        raise InputError(f"No scenario {scenario!r}. There are: {', '.join(board.scenarios) or 'none'}.")
    if scenario is not None:
        return [scenario]
    if len(board.scenarios) == 1:
        return board.scenarios
    return [ALL, *board.scenarios] if each else [ALL]


def write_board(board: "Leaderboard", format: TableFormat, *, scenarios: list[str], plot: bool) -> None:
    """Data to stdout; the notes to stderr where the format has no room for them."""
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
        print_display(table)
        sys.stdout.write("\n")
    else:
        write = formats.to_markdown if format is TableFormat.markdown else formats.to_latex
        sys.stdout.write(write(table) + "\n")


def draw_to_files() -> None:
    """No window, and no display needed."""
    with needs_extra("report"):
        import jinja2  # noqa: F401  found missing now rather than after the work
        import matplotlib

    matplotlib.use("Agg")


def _write_plot(board: "Leaderboard", scenario: str, stack: str) -> None:
    from helm_efficiency.report.display import front_axis
    from helm_efficiency.report.terminal import text_plot

    part = board.part(scenario, stack)
    axis = front_axis(part, board.options.sort)
    sys.stdout.write("\n" + text_plot(part, x="idealized_s" if axis is None else axis.key) + "\n")
