"""quickstart: the whole main job in one command, on small models."""

import os
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from helm_efficiency.cli import app
from helm_efficiency.cli.options import note
from helm_efficiency.cli.progress import bar
from helm_efficiency.errors import InputError

if TYPE_CHECKING:
    from helm_efficiency.quickstart.pipeline import Advance


@app.command(rich_help_panel="HELM")
def quickstart(
    *,
    output: Annotated[Path, typer.Option("--output", "-o", help="HELM's output folder.")] = Path("benchmark_output"),
    plots: Annotated[Path, "Folder for the leaderboard and the figure."] = Path("plots"),
    store: Annotated[Path | None, "The coefficient store; by default one of its own below --output."] = None,
    fresh: Annotated[bool, "Start over instead of going on."] = False,
) -> None:
    """Do the main job on this machine: train three small models, profile them, run HELM on them, score, rank and plot.

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
    models = pipeline.make_models(places, scale, _step)
    pipeline.profile_models(places, scale, models, _step)
    pipeline.run_helm(places, scale, models, _step)
    pipeline.denoise_and_rescore(places, _step)
    pipeline.summarize(places, _step)
    leaderboard = pipeline.report(places, _step)
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
def _step(title: str, total: int | None) -> Iterator["Advance"]:
    """Show a bar while a step runs, and note its duration when it ends."""
    began = time.monotonic()
    with bar(title, total) as advance:
        yield advance
    note(f"{title}: {time.monotonic() - began:.1f} s")
