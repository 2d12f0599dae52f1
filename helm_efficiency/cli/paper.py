"""paper: redo the leaderboard and figures of the NeurIPS 2023 paper."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from helm_efficiency.cli import app
from helm_efficiency.cli.boards import StackOption, TableFormat, chosen_scenarios, draw_to_files, write_board
from helm_efficiency.cli.options import note

if TYPE_CHECKING:
    pass


@app.command(rich_help_panel="Score")
def paper(
    *,
    output: Annotated[Path | None, typer.Option("--output", "-o", help="Folder for figures and tables.")] = None,
    stack: StackOption = None,
    format: Annotated[TableFormat, typer.Option("--format", help="How to write the leaderboard.")] = TableFormat.table,
) -> None:
    """Redo the leaderboard and the trade-off plots of Narayanan et al., NeurIPS 2023, and name what differs.

    Example: helm-efficiency paper --output plots/gallery
    """
    draw_to_files()
    from helm_efficiency.report import paper as paper_report
    from helm_efficiency.report.board import Options

    board = paper_report.leaderboard(Options(stack=stack))
    write_board(board, format, scenarios=chosen_scenarios(board, each=False), plot=False)
    if output is not None:
        for path in paper_report.write_all(board, output):
            note(f"Wrote {path}.")
