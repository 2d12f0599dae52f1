"""report: write one HTML page that needs no network."""

from datetime import date
from pathlib import Path
from typing import Annotated

import typer

from helm_efficiency.cli import app
from helm_efficiency.cli.boards import (
    AvailableOption,
    LowerOption,
    ScoreOption,
    SortOption,
    StackOption,
    draw_to_files,
    load_scored,
)
from helm_efficiency.cli.options import note
from helm_efficiency.cli.progress import working
from helm_efficiency.errors import InputError
from helm_efficiency.files import write_file


@app.command(rich_help_panel="Score")
def report(
    folder: Annotated[Path | None, typer.Argument(help="Folder written by rescore.", show_default=False)] = None,
    *,
    output: Annotated[Path, typer.Option("--output", "-o", help="HTML file to write.")],
    paper: Annotated[bool, "The ten models of the paper, instead of a folder."] = False,
    title: Annotated[str | None, "Heading of the page."] = None,
    sort: SortOption = "score",
    stack: StackOption = None,
    score: ScoreOption = None,
    lower_is_better: LowerOption = False,
    available: AvailableOption = False,
) -> None:
    """Write leaderboard, trade-off plot, method and provenance as one HTML file that needs no network.

    Example: helm-efficiency example && helm-efficiency rescore example/runs && helm-efficiency report scored
    --output report.html
    """
    draw_to_files()
    from helm_efficiency.metrics.measures import find_measure
    from helm_efficiency.report import html
    from helm_efficiency.report import paper as paper_report
    from helm_efficiency.report.board import Options
    from helm_efficiency.report.leaderboard import build

    if paper == (folder is not None):
        raise InputError("Name a folder written by rescore, or --paper, and not both.")
    options = Options(
        stack=stack,
        sort=find_measure(sort),
        common=not available,
        lower_is_better=lower_is_better,
        keep_draws=True,
    )
    if folder is None:
        board, sources = paper_report.leaderboard(options), paper_report.provenance()
    else:
        tables = load_scored(folder, score)
        with working("Comparing models"):
            board, sources = build(tables, options), html.provenance(tables)
    title = title or (paper_report.TITLE if folder is None else "Capability and efficiency")
    text = html.to_html(board, title=title, provenance=sources, made_on=date.today().isoformat())
    write_file(output, text)
    size = len(text.encode())
    note(f"Wrote {output}, {f'{size / 1e6:.1f} MB' if size >= 1e6 else f'{size / 1e3:.0f} kB'}.")
