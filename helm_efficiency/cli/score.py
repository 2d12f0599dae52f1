"""score: one command from a folder of runs to a ranked table and a figure."""

from pathlib import Path
from typing import Annotated

import typer

from helm_efficiency.cli import app
from helm_efficiency.cli.options import OnOption, OutputFolder, StoreOption, note
from helm_efficiency.defaults import DEFAULT_STORE
from helm_efficiency.errors import InputError


@app.command(rich_help_panel="Score")
def score(
    paths: Annotated[list[str], typer.Argument(metavar="PATH...", help="Runs, suites or archives.")],
    *,
    output: OutputFolder = Path("scored"),
    on: OnOption = None,
    sort: Annotated[str, typer.Option(help="Rank by score, time, cost, api cost …")] = "score",
    store: StoreOption = DEFAULT_STORE,
) -> None:
    """Score runs, rank their models and draw the trade-off: rescore, leaderboard and plot in one command.

    Example: helm-efficiency score benchmark_output/runs/v1
    """
    from helm_efficiency.cli.leaderboard import leaderboard
    from helm_efficiency.cli.plot import plot
    from helm_efficiency.cli.rescore import rescore
    from helm_efficiency.metrics.measures import find_measure

    find_measure(sort)  # before the work, which may take long
    failed = False
    try:
        rescore(paths, output=output, on=on, store=store)
    except typer.Exit as end:  # some runs could not be scored; the others are still ranked
        failed = bool(end.exit_code)
    typer.echo()
    leaderboard(output, sort=sort)
    try:
        plot(output, output=output / "tradeoff.png")
    except InputError as error:  # no model has both a score and a time; the board says so too
        note(str(error))
        failed = True
    if failed:
        raise typer.Exit(1)
