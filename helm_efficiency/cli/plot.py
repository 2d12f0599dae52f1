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
    of_models,
)
from helm_efficiency.cli.options import note
from helm_efficiency.cli.progress import working
from helm_efficiency.errors import InputError

if TYPE_CHECKING:
    import pandas as pd

    from helm_efficiency.report.board import Leaderboard
    from helm_efficiency.report.plots import Look


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
    each: Annotated[bool, typer.Option("--each", help="A panel for each scenario, 12 a page.")] = False,
    top: Annotated[
        int | None, typer.Option("--top", min=1, help="With --each: only so many, where scores differ most.")
    ] = None,
    stack: Annotated[list[str] | None, typer.Option("--stack", help="On which; two for --kind stacks.")] = None,
    deployment: Annotated[str | None, typer.Option("--deployment", help="Whose fit, for --kind fit.")] = None,
    score: ScoreOption = None,
    lower_is_better: LowerOption = False,
    available: AvailableOption = False,
    models: Annotated[
        str | None, typer.Option("--models", help="Only models with one of these words in their name: llama,qwen.")
    ] = None,
    title: Annotated[str | None, typer.Option("--title", help="Title; by default what the figure shows.")] = None,
    width: Annotated[float | None, typer.Option("--width", min=2, max=50, help="Width in inches.")] = None,
    log_x: Annotated[
        bool | None, typer.Option("--log-x/--linear-x", help="Scale across; by default the one that suits.")
    ] = None,
    dpi: Annotated[int | None, typer.Option("--dpi", min=30, max=1200, help="Pixels an inch of a PNG; 150.")] = None,
    caption: Annotated[bool, typer.Option(help="Small print below on how to read it.")] = True,
) -> None:
    """Draw capability against cost, providers, stacks, contention or a fit.

    Example: helm-efficiency example && helm-efficiency rescore example/runs
    && helm-efficiency plot scored --output tradeoff.png
    """
    draw_to_files()
    from helm_efficiency.metrics.measures import find_measure
    from helm_efficiency.report import plots
    from helm_efficiency.report.board import Options
    from helm_efficiency.report.leaderboard import build

    if output.suffix.lower() not in _SUFFIXES:
        raise InputError(f"--output {output}: expected a name that ends in {', '.join(_SUFFIXES)}.")
    if kind in (Kind.fit, Kind.stacks) and log_x is not None:
        raise InputError(f"--log-x and --linear-x: --kind {kind} has its own scales.")
    axes = find_measure(x), find_measure(y)
    stacks = stack or []
    written = [output]
    look = plots.Look(title, width, caption, log_x)
    if kind is Kind.fit:
        if models is not None:
            raise InputError("--models: a fit is of one model; name it with --deployment.")
        figure, source = _fit_figure(folder, deployment, stacks, look)
        plots.save_and_close(figure, output, source=source, dpi=dpi)
    elif kind is Kind.contention:
        tables = of_models(load_scored(folder), models)
        plots.save_and_close(plots.contention(tables.requests, look=look), output, source=tables.source, dpi=dpi)
    else:
        options = Options(
            stack=stacks[0] if len(stacks) == 1 else None, common=not available, lower_is_better=lower_is_better
        )
        with working("Comparing models"):
            board = build(of_models(load_scored(folder, score, scenario), models), options)
        with working("Drawing"):
            scenarios = chosen_scenarios(board, each=each)
            if kind is Kind.tradeoff:
                parts = [board.part(name, stacks[0] if stacks else None) for name in scenarios]
                figures = _tradeoffs(parts, axes, look, top)
                written = plots.save_pages(figures, output, source=board.source, dpi=dpi)
            else:
                figure = _figure(board, kind, axes[0], look, scenario=scenarios[0], stacks=stacks)
                plots.save_and_close(figure, output, source=board.source, dpi=dpi)
    note(f"Wrote {', '.join(map(str, written))}.")


def _figure(board: "Leaderboard", kind: Kind, measure: str, look: "Look", *, scenario: str, stacks: list[str]) -> Any:
    from helm_efficiency.report import plots

    names = stacks or board.stacks
    if kind is Kind.providers:
        return plots.providers(board.part(scenario, names[0] if names else None), look=look)
    if len(names) < 2:
        raise InputError(f"--kind stacks compares two stacks; there is only {', '.join(names) or 'none'}.")
    parts = board.part(scenario, names[0]), board.part(scenario, names[1])
    return plots.stacks(*parts, measure=measure, look=look)


def _tradeoffs(parts: "list[pd.DataFrame]", xy: tuple[str, str], look: "Look", top: int | None) -> list[Any]:
    """Return the figures of one table, or those of all but the first, which is over all scenarios."""
    from helm_efficiency.report import plots

    x, y = xy
    shown = parts[:1] if len(parts) == 1 else parts[1:]
    if not any((part[x].notna() & part[y].notna()).any() for part in shown if {*xy} <= set(part)):
        names = ", ".join(str(part["scenario"].iloc[0]) for part in parts[:3] if len(part))
        raise InputError(
            f"Nothing to draw: no model has both {x} and {y} in {names}. --each draws every "
            "scenario, --available compares each model on what it has."
        )
    if len(parts) == 1:
        return [plots.tradeoff(parts[0], x=x, y=y, look=look).get_figure(root=True)]
    chosen = shown if top is None else plots.most_different(shown, top)
    return plots.tradeoff_pages(chosen, x=x, y=y, look=look)


def _fit_figure(path: Path, deployment: str | None, stacks: list[str], look: "Look") -> tuple[Any, str]:
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
    return plots.fit_quality(fit, profiles[0], look=look)[0], f"coefficients sha256 {fit.sha256()}"
