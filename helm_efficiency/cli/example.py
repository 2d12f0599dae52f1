"""example: write files to try the other commands on."""

from pathlib import Path
from typing import Annotated

import typer

from helm_efficiency.cli import app
from helm_efficiency.cli.options import note


@app.command(rich_help_panel="Manage")
def example(
    output: Annotated[Path, typer.Option("--output", "-o", help="Folder to write.", show_default=True)] = Path(
        "example"
    ),
) -> None:
    """Write invented runs of two models, measurements and a model's config, to try the other commands on.

    Example: helm-efficiency example --output example
    """
    from helm_efficiency.quickstart.example import write_example

    for path in write_example(output):
        note(f"Wrote {path}")
