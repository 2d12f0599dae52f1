"""paper: redo the leaderboard and figures of the NeurIPS 2023 paper."""

from dataclasses import replace
from pathlib import Path
from typing import Annotated

import typer

from helm_efficiency.cli import app
from helm_efficiency.cli.boards import StackOption, TableFormat, chosen_scenarios, draw_to_files, write_board
from helm_efficiency.cli.command import printing
from helm_efficiency.cli.options import note
from helm_efficiency.cli.progress import working


@app.command(rich_help_panel="Score")
def paper(
    *,
    output: Annotated[Path | None, typer.Option("--output", "-o", help="Folder for figures and tables.")] = None,
    stack: StackOption = None,
    format: Annotated[TableFormat, "How to write the leaderboard."] = TableFormat.table,
) -> None:
    """Redo the leaderboard and the trade-off plots of Narayanan et al., NeurIPS 2023, and name what differs.

    Example: helm-efficiency paper --output plots/gallery
    """
    draw_to_files()
    from helm_efficiency.report import paper as paper_report
    from helm_efficiency.report.board import Options

    board = paper_report.leaderboard(Options(stack=stack))
    is_short = format is TableFormat.table and not printing().verbose
    shown = replace(board, notes=()) if is_short else board
    write_board(shown, format, scenarios=chosen_scenarios(board, each=False), plot=False)
    if is_short:
        note(f"{len(board.notes)} remarks on the figures and on what differs from the paper: --verbose")
    if output is not None:
        with working("Drawing"):
            paths = paper_report.write_all(board, output)
        for path in paths:
            note(f"Wrote {path}.")
