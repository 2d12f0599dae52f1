"""Commands that show scored tables: leaderboard, plot, report, paper."""

import shutil
import sys
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from helm_efficiency.cli import app
from helm_efficiency.cli.options import note
from helm_efficiency.errors import InputError
from helm_efficiency.extras import needs_extra
from helm_efficiency.files import write_file

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


class RowsBy(StrEnum):
    """What a row of a leaderboard is."""

    deployment = "deployment"
    model = "model"


class Kind(StrEnum):
    """What a figure shows."""

    tradeoff = "tradeoff"
    providers = "providers"
    stacks = "stacks"
    contention = "contention"
    fit = "fit"


def _tables(folder: Path, score: str | None = None) -> "Tables":
    """The scored tables that a folder holds."""
    from helm_efficiency.report.tables import load

    return load(folder, score=score)


@app.command()
def leaderboard(
    folder: FolderArgument,
    *,
    scenario: ScenarioOption = None,
    each: Annotated[bool, typer.Option("--each", help="Also a table for each scenario.")] = False,
    stack: StackOption = None,
    sort: SortOption = "score",
    by: Annotated[RowsBy, typer.Option("--by", help="What a row is.")] = RowsBy.deployment,
    score: ScoreOption = None,
    lower_is_better: LowerOption = False,
    available: AvailableOption = False,
    perturbed: Annotated[bool, typer.Option("--perturbed", help="Count perturbed copies of instances.")] = False,
    all_splits: Annotated[bool, typer.Option("--all-splits", help="Count more than the test split.")] = False,
    plot: Annotated[bool, typer.Option("--plot", help="Also a plot in text.")] = False,
    format: Annotated[TableFormat, typer.Option("--format", help="How to write it.")] = TableFormat.table,
) -> None:
    """Rank models by capability and efficiency, with intervals of their ranks.

    JSON and CSV hold all scenarios, stacks and measures; the other formats are for reading.

    Example: helm-efficiency leaderboard scored/ --sort idealized_s
    """
    from helm_efficiency.report.board import Options
    from helm_efficiency.report.leaderboard import build

    options = Options(
        by=by.value,
        stack=stack,
        sort=sort,
        common=not available,
        perturbed=perturbed,
        all_splits=all_splits,
        lower_is_better=lower_is_better,
    )
    board = build(_tables(folder, score), options)
    _write(board, format, scenarios=_chosen(board, scenario, each=each), plot=plot)
    if board.table.empty:
        note(f"{folder} holds no scored request.")
        raise typer.Exit(1)


def _chosen(board: "Leaderboard", scenario: str | None, *, each: bool) -> list[str]:
    from helm_efficiency.report.notes import ALL

    if scenario is not None and scenario not in board.scenarios:
        raise InputError(f"No scenario {scenario!r}. There are: {', '.join(board.scenarios) or 'none'}.")
    if scenario is not None:
        return [scenario]
    if len(board.scenarios) == 1:
        return board.scenarios
    return [ALL, *board.scenarios] if each else [ALL]


def _write(board: "Leaderboard", format: TableFormat, *, scenarios: list[str], plot: bool) -> None:
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
    from helm_efficiency.report.display import Detail, display

    detail = Detail.brief if format is TableFormat.table else Detail.usual
    table = display(board, scenario=scenario, stack=stack, detail=detail)
    if format is TableFormat.table:
        width = shutil.get_terminal_size().columns if sys.stdout.isatty() else None
        sys.stdout.write(formats.to_text(table, width=width) + "\n")
    else:
        write = formats.to_markdown if format is TableFormat.markdown else formats.to_latex
        sys.stdout.write(write(table) + "\n")


def _write_plot(board: "Leaderboard", scenario: str, stack: str) -> None:
    from helm_efficiency.report.display import front_axis
    from helm_efficiency.report.terminal import text_plot

    part = board.part(scenario, stack)
    axis = front_axis(part, board.options.sort)
    sys.stdout.write("\n" + text_plot(part, x="idealized_s" if axis is None else axis.key) + "\n")


def _draw_to_files() -> None:
    """No window, and no display needed."""
    with needs_extra("report"):
        import jinja2  # noqa: F401  found missing now rather than after the work
        import matplotlib

    matplotlib.use("Agg")


@app.command()
def plot(
    folder: Annotated[
        Path, typer.Argument(help="Folder written by rescore; a store for --kind fit.", show_default=False)
    ],
    *,
    output: Annotated[Path, typer.Option("--output", help="File to write: .png, .svg or .pdf.")],
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
    _draw_to_files()
    from helm_efficiency.report import plots
    from helm_efficiency.report.board import Options
    from helm_efficiency.report.leaderboard import build

    stacks = stack or []
    if kind is Kind.fit:
        figure, source = _fit_figure(folder, deployment, stacks)
        plots.save_and_close(figure, output, source=source)
    elif kind is Kind.contention:
        tables = _tables(folder)
        plots.save_and_close(plots.contention(tables.requests), output, source=tables.source)
    else:
        options = Options(
            stack=stacks[0] if len(stacks) == 1 else None, common=not available, lower_is_better=lower_is_better
        )
        board = build(_tables(folder, score), options)
        figure = _figure(board, kind, (x, y), scenarios=_chosen(board, scenario, each=each), stacks=stacks)
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
    if len(parts) == 1:
        return plots.tradeoff(parts[0], x=xy[0], y=xy[1])
    return plots.tradeoff_by_scenario(parts[1:], x=xy[0], y=xy[1])


def _fit_figure(path: Path, deployment: str | None, stacks: list[str]) -> tuple[Any, str]:
    """The figure of a fit, and what it is traced back by."""
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


@app.command()
def schema(
    name: Annotated[str, typer.Argument(help="One that crfm-helm ships, such as lite or classic, or a file.")] = "lite",
    *,
    stack: Annotated[list[str] | None, typer.Option("--stack", help="Also a column for this stack.")] = None,
    detailed: Annotated[bool, typer.Option("--detailed", help="Also intervals, accelerator-seconds, energy.")] = False,
    output: Annotated[Path | None, typer.Option("--output", help="File to write; by default stdout.")] = None,
) -> None:
    """Add efficiency columns to a schema of HELM, for helm-summarize --schema-path.

    Example: helm-efficiency schema lite --output schema_lite_efficiency.yaml
    """
    from helm_efficiency.helm_stats.schema import add_efficiency, read_schema, to_yaml

    text = to_yaml(add_efficiency(read_schema(name), stacks=stack or (), detailed=detailed, file=name))
    if output is None:
        sys.stdout.write(text)
    else:
        write_file(output, text)
        note(f"Wrote {output}. Show it with: helm-summarize --schema-path {output} --suite SUITE")


@app.command()
def report(
    folder: Annotated[Path | None, typer.Argument(help="Folder written by rescore.", show_default=False)] = None,
    *,
    output: Annotated[Path, typer.Option("--output", help="HTML file to write.")],
    paper: Annotated[bool, typer.Option("--paper", help="The ten models of the paper, instead of a folder.")] = False,
    title: Annotated[str | None, typer.Option("--title", help="Heading of the page.")] = None,
    sort: SortOption = "score",
    stack: StackOption = None,
    score: ScoreOption = None,
    lower_is_better: LowerOption = False,
    available: AvailableOption = False,
) -> None:
    """Write leaderboard, trade-off plot, method and provenance as one HTML file that needs no network.

    Example: helm-efficiency report scored/ --output report.html
    """
    _draw_to_files()
    from helm_efficiency.report import html
    from helm_efficiency.report import paper as paper_report
    from helm_efficiency.report.board import Options
    from helm_efficiency.report.leaderboard import build

    if paper == (folder is not None):
        raise InputError("Name a folder written by rescore, or --paper, and not both.")
    options = Options(stack=stack, sort=sort, common=not available, lower_is_better=lower_is_better)
    if folder is None:
        board, sources = paper_report.leaderboard(options), paper_report.provenance()
    else:
        tables = _tables(folder, score)
        board, sources = build(tables, options), html.provenance(tables)
    title = title or (paper_report.TITLE if folder is None else "Capability and efficiency")
    text = html.to_html(board, title=title, provenance=sources)
    write_file(output, text)
    size = len(text.encode())
    note(f"Wrote {output}, {f'{size / 1e6:.1f} MB' if size >= 1e6 else f'{size / 1e3:.0f} kB'}.")


@app.command()
def paper(
    *,
    output: Annotated[Path | None, typer.Option("--output", help="Folder for figures and tables.")] = None,
    stack: StackOption = None,
    format: Annotated[TableFormat, typer.Option("--format", help="How to write the leaderboard.")] = TableFormat.table,
) -> None:
    """Redo the leaderboard and the trade-off plots of Narayanan et al., NeurIPS 2023, and name what differs.

    Example: helm-efficiency paper --output plots/gallery
    """
    _draw_to_files()
    from helm_efficiency.report import paper as paper_report
    from helm_efficiency.report.board import Options

    board = paper_report.leaderboard(Options(stack=stack))
    _write(board, format, scenarios=_chosen(board, None, each=True), plot=False)
    if output is not None:
        for path in paper_report.write_all(board, output):
            note(f"Wrote {path}.")
