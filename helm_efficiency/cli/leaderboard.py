"""leaderboard: rank models by capability and efficiency."""

from enum import StrEnum
from typing import TYPE_CHECKING, Annotated

import typer

from helm_efficiency.cli import app
from helm_efficiency.cli.boards import (
    AvailableOption,
    FolderArgument,
    LowerOption,
    ScenarioOption,
    ScoreOption,
    SortOption,
    StackOption,
    TableFormat,
    chosen_scenarios,
    load_scored,
    write_board,
)
from helm_efficiency.cli.options import note
from helm_efficiency.cli.progress import working

if TYPE_CHECKING:
    from helm_efficiency.report.board import Leaderboard


class RowsBy(StrEnum):
    """Subject of one row of a leaderboard."""

    deployment = "deployment"
    model = "model"


@app.command(rich_help_panel="Score")
def leaderboard(
    folder: FolderArgument,
    *,
    scenario: ScenarioOption = None,
    each: Annotated[bool, "Also a table for each scenario."] = False,
    stack: StackOption = None,
    sort: SortOption = "score",
    by: Annotated[RowsBy, "What a row is."] = RowsBy.deployment,
    score: ScoreOption = None,
    lower_is_better: LowerOption = False,
    available: AvailableOption = False,
    perturbed: Annotated[bool, "Count perturbed copies of instances."] = False,
    all_splits: Annotated[bool, "Count more than the test split."] = False,
    plot: Annotated[bool, "Also a plot in text."] = False,
    format: Annotated[TableFormat, "How to write it."] = TableFormat.table,
) -> None:
    """Rank models by capability and efficiency, with intervals of their ranks.

    JSON and CSV hold all scenarios, stacks and measures; the other formats are for reading.

    Example: helm-efficiency example && helm-efficiency rescore example/runs && helm-efficiency leaderboard scored
    --sort cost
    """
    from helm_efficiency.metrics.measures import find_measure
    from helm_efficiency.report.board import Options
    from helm_efficiency.report.leaderboard import build

    options = Options(
        by=by.value,
        stack=stack,
        sort=find_measure(sort),
        common=not available,
        perturbed=perturbed,
        all_splits=all_splits,
        lower_is_better=lower_is_better,
    )
    with working("Comparing models"):
        board = build(load_scored(folder, score, scenario), options)
    scenarios = board.scenarios if _shares_nothing(board) else chosen_scenarios(board, each=each)
    write_board(board, format, scenarios=scenarios, plot=plot)
    if board.table.empty:
        note(f"{folder} holds no scored request.")
        raise typer.Exit(1)


def _shares_nothing(board: "Leaderboard") -> bool:
    """Return whether no two models have a scenario in common; a table over all would then rank one of them."""
    overall = board.part()
    return len(overall) > 1 and int(overall[f"{board.options.sort}_rank"].notna().sum()) < 2
