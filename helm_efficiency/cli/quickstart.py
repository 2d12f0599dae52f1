"""The whole main job in one command, on small models."""

import os
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from helm_efficiency.cli import app
from helm_efficiency.cli.options import note
from helm_efficiency.errors import InputError

if TYPE_CHECKING:
    from rich.progress import TaskID

    from helm_efficiency.quickstart.pipeline import Advance, StartStep


@app.command(rich_help_panel="HELM")
def quickstart(
    *,
    output: Annotated[Path, typer.Option("--output", "-o", help="HELM's output folder.")] = Path("benchmark_output"),
    plots: Annotated[Path, typer.Option(help="Folder for the leaderboard and the figure.")] = Path("plots"),
    store: Annotated[
        Path | None, typer.Option(help="The coefficient store; by default one of its own below --output.")
    ] = None,
    fresh: Annotated[bool, typer.Option("--fresh", help="Start over instead of going on.")] = False,
) -> None:
    """The main job on this machine: train three small models, profile them, run HELM on them, score, rank and plot.

    Nothing is downloaded and no GPU is needed. A second call goes on from what the first one left.

    Example: helm-efficiency quickstart
    """
    from helm_efficiency.quickstart import pipeline
    from helm_efficiency.store import Store

    os.environ.setdefault("HF_HUB_OFFLINE", "1")  # read when transformers is imported
    # Read when torch is imported: threads that spin while they wait slow small models down on a busy machine.
    os.environ.setdefault("OMP_WAIT_POLICY", "passive")
    places = pipeline.Places(output, plots, store or output / pipeline.SUITE / "efficiency.sqlite")
    _check_writable(output, plots)
    import matplotlib  # noqa: F401  report a missing package now rather than after the training

    if places.store.exists():
        Store(places.store, create=False)  # find an invalid store before the training rather than after it
    if fresh:
        pipeline.start_over(places)
    scale = pipeline.Scale()
    with _steps() as start:
        models = pipeline.make_models(places, scale, start)
        pipeline.profile_models(places, scale, models, start)
        pipeline.run_helm(places, scale, models, start)
        pipeline.denoise_and_rescore(places, start)
        pipeline.summarize(places, start)
        leaderboard = pipeline.report(places, start)
    sys.stdout.write(leaderboard + "\n")
    for path in sorted(plots.glob(f"{pipeline.SUITE}*")):
        note(f"Wrote {path}")
    note(f"See it in HELM: helm-server --output-path {output} --suite {pipeline.SUITE}")


def _check_writable(*folders: Path) -> None:
    for folder in folders:
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise InputError(f"Cannot make folder {folder}: {error.strerror}. Name another one.") from error
        if not os.access(folder, os.W_OK):
            raise InputError(f"Folder {folder} cannot be written to. Name another one with --output or --plots.")


@contextmanager
def _steps() -> Iterator["StartStep"]:
    """Show a bar for each step on a terminal; elsewhere write a line when the step ends."""
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

    console = Console(stderr=True)
    columns = (SpinnerColumn(finished_text="✓"), TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn())
    with Progress(*columns, TimeElapsedColumn(), console=console, disable=not console.is_terminal) as progress:

        def start(title: str, total: int | None) -> AbstractContextManager["Advance"]:
            return _step(progress.add_task(title, total=total), title)

        @contextmanager
        def _step(task: "TaskID", title: str) -> Iterator[Callable[[], None]]:
            began = time.monotonic()
            yield lambda: progress.advance(task)
            progress.update(task, total=progress.tasks[task].total or 1, completed=progress.tasks[task].total or 1)
            if not console.is_terminal:
                note(f"{title}: {time.monotonic() - began:.1f} s")

        yield start
