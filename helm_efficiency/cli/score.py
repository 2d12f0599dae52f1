"""score: one command from a folder of runs to a ranked table and a figure."""

from pathlib import Path
from typing import Annotated

import typer

from helm_efficiency.cli import app
from helm_efficiency.cli.boards import SortOption
from helm_efficiency.cli.command import printing
from helm_efficiency.cli.load_options import LoadOptions
from helm_efficiency.cli.options import (
    CachesOption,
    OnOption,
    OutputFolder,
    PathsArgument,
    PriceOptions,
    StoreOption,
    note,
)
from helm_efficiency.defaults import DEFAULT_STORE
from helm_efficiency.errors import InputError


@app.command(rich_help_panel="Score")
def score(
    paths: PathsArgument,
    *,
    output: OutputFolder = Path("scored"),
    on: OnOption = None,
    sort: SortOption = "score",
    cache: CachesOption = [],  # noqa: B006
    denoise: Annotated[bool, "Also fit what each service takes without contention."] = True,
    store: StoreOption = DEFAULT_STORE,
) -> None:
    """Score runs, rank their models and draw the trade-off: denoise, rescore, leaderboard and plot in one command.

    Example: helm-efficiency example && helm-efficiency score example/runs
    """
    from helm_efficiency.cli.leaderboard import leaderboard
    from helm_efficiency.cli.plot import plot
    from helm_efficiency.cli.rescore import Work, rescore
    from helm_efficiency.metrics.measures import find_measure

    find_measure(sort)  # before the work, which may take long
    if denoise:
        _denoise(paths, cache, store)
    failed = False
    try:
        rescore(
            paths,
            output=output,
            on=on,
            store=store,
            cache=cache,
            prices=PriceOptions(),
            load=LoadOptions(),
            work=Work(),
        )
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


def _denoise(paths: list[str], cache: list[Path], store: Path) -> None:
    """Denoise the services of all runs, and keep them in the store, where the scoring finds them."""
    from helm_efficiency.cli.denoise import denoised, read_services
    from helm_efficiency.store import Store

    found, _ = read_services(paths, cache)  # rescore will name the runs that cannot be read
    if not found:
        return
    reports = denoised(found, Store(store))
    lacking = [report for report in reports if "denoised_s" not in report]
    why = "; --verbose says why not all" * bool(lacking)
    note(f"Denoised {len(found) - len(lacking)} of {len(found)} services; their models are in {store}{why}.")
    for report in lacking if printing().verbose else ():
        note(f"{report['deployment']}: {' '.join(report['notes'])}")
