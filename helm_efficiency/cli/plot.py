"""plot: draw capability against cost and other figures."""

from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from helm_efficiency.cli import app
from helm_efficiency.cli.boards import (
    AvailableOption,
    LowerOption,
    ScenarioOption,
    ScoreOption,
    chosen_scenarios,
    draw_to_files,
    load_scored,
)
from helm_efficiency.cli.options import note
from helm_efficiency.cli.progress import working
from helm_efficiency.errors import InputError

if TYPE_CHECKING:
    from helm_efficiency.report.board import Leaderboard


_SUFFIXES = (".png", ".svg", ".pdf")


class Kind(StrEnum):
    """Kind of figure."""

    tradeoff = "tradeoff"
    providers = "providers"
    stacks = "stacks"
    contention = "contention"
    fit = "fit"


@app.command(rich_help_panel="Score")
def plot(
    folder: Annotated[
        Path, typer.Argument(help="Folder written by rescore; a store for --kind fit.", show_default=False)
    ],
    *,
    output: Annotated[Path, typer.Option("--output", "-o", help="File to write: .png, .svg or .pdf.")],
    kind: Annotated[Kind, typer.Option("--kind", help="What the figure shows.")] = Kind.tradeoff,
    x: Annotated[str, typer.Option("--x", help="Measure on the horizontal axis.")] = "idealized_s",
    y: Annotated[str, typer.Option("--y", help="Measure on the vertical axis.")] = "score",
    scenario: ScenarioOption = None,
    each: Annotated[bool, typer.Option("--each", help="A panel for each scenario.")] = False,
    stack: Annotated[list[str] | None, typer.Option("--stack", help="On which; two for --kind stacks.")] = None,
    deployment: Annotated[str | None, typer.Option("--deployment", help="Whose fit, for --kind fit.")] = None,
    score: ScoreOption = None,
    lower_is_better: LowerOption = False,
    available: AvailableOption = False,
) -> None:
    """Draw capability against cost, providers, stacks, contention or a fit.

    Example: helm-efficiency plot scored/ --output plots/tradeoff.png
    """
    draw_to_files()
    from helm_efficiency.metrics.measures import find_measure
    from helm_efficiency.report import plots
    from helm_efficiency.report.board import Options
    from helm_efficiency.report.leaderboard import build

    if output.suffix.lower() not in _SUFFIXES:
        raise InputError(f"--output {output}: expected a name that ends in {', '.join(_SUFFIXES)}.")
    axes = find_measure(x), find_measure(y)
    stacks = stack or []
    if kind is Kind.fit:
        figure, source = _fit_figure(folder, deployment, stacks)
        plots.save_and_close(figure, output, source=source)
    elif kind is Kind.contention:
        tables = load_scored(folder)
        plots.save_and_close(plots.contention(tables.requests), output, source=tables.source)
    else:
        options = Options(
            stack=stacks[0] if len(stacks) == 1 else None, common=not available, lower_is_better=lower_is_better
        )
        with working("Comparing models"):
            board = build(load_scored(folder, score, scenario), options)
        with working("Drawing"):
            figure = _figure(board, kind, axes, scenarios=chosen_scenarios(board, each=each), stacks=stacks)
            plots.save_and_close(figure, output, source=board.source)
    note(f"Wrote {output}.")


def _figure(board: "Leaderboard", kind: Kind, xy: tuple[str, str], *, scenarios: list[str], stacks: list[str]) -> Any:
    from helm_efficiency.report import plots

    names = stacks or board.stacks
    if kind is Kind.stacks:
        if len(names) < 2:
            raise InputError(f"--kind stacks compares two stacks; there is only {', '.join(names) or 'none'}.")
        return plots.stacks(board.part(scenarios[0], names[0]), board.part(scenarios[0], names[1]), measure=xy[0])
    parts = [board.part(name, names[0] if names else None) for name in scenarios]
    if kind is Kind.providers:
        return plots.providers(parts[0])
    shown = parts[:1] if len(parts) == 1 else parts[1:]
    if not any((part[xy[0]].notna() & part[xy[1]].notna()).any() for part in shown if {*xy} <= set(part)):
        raise InputError(
            f"Nothing to draw: no model has both {xy[0]} and {xy[1]} in {', '.join(scenarios[:3])}. --each draws every "
            "scenario, --available compares each model on what it has."
        )
    if len(parts) == 1:
        return plots.tradeoff(parts[0], x=xy[0], y=xy[1])
    return plots.tradeoff_by_scenario(parts[1:], x=xy[0], y=xy[1])


def _fit_figure(path: Path, deployment: str | None, stacks: list[str]) -> tuple[Any, str]:
    """Return the figure of a fit and its provenance."""
    from helm_efficiency.report import plots
    from helm_efficiency.store import Store

    if deployment is None:
        raise InputError("--kind fit needs --deployment: whose fit?")
    store = Store(path, create=False)
    fit = store.fit(deployment, stacks[0] if stacks else None)
    profiles = store.profiles(deployment=deployment, stack=fit.stack.name)
    if not profiles:
        raise InputError(f"{path} holds a fit of {deployment} on {fit.stack.name}, but not what was measured.")
    return plots.fit_quality(fit, profiles[0])[0], f"coefficients sha256 {fit.sha256()}"
