"""export: write what the store holds to one file."""

import sys
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from helm_efficiency.cli import app
from helm_efficiency.cli.options import DeploymentFilter, StackFilter, StoreOption
from helm_efficiency.defaults import DEFAULT_STORE


class ExportFormat(StrEnum):
    """Format that `export` writes."""

    json = "json"
    csv = "csv"


@app.command(rich_help_panel="Manage")
def export(
    *,
    output: Annotated[Path | None, typer.Option("--output", "-o", help="File to write; by default stdout.")] = None,
    deployment: DeploymentFilter = None,
    stack: StackFilter = None,
    store: StoreOption = DEFAULT_STORE,
    format: Annotated[ExportFormat, "json: measurements and coefficients; csv: measurements."] = ExportFormat.json,
) -> None:
    """Write what the store holds to one file, which `import` reads back to the same numbers.

    Example: helm-efficiency example && helm-efficiency export --store example/efficiency.sqlite --format csv
    """
    import io
    import json

    from helm_efficiency.files import write_file
    from helm_efficiency.formats.csv_measurements import write_measurement_csv
    from helm_efficiency.formats.detect import export_document
    from helm_efficiency.store import Store

    opened = Store(store, create=False)
    profiles = opened.profiles(deployment=deployment, stack=stack)
    text = io.StringIO()
    if format is ExportFormat.csv:
        write_measurement_csv(profiles, text)
    else:
        json.dump(export_document(profiles, opened.fits(deployment=deployment, stack=stack)), text, indent=1)
        text.write("\n")
    if output is None:
        sys.stdout.write(text.getvalue())
    else:
        write_file(output, text.getvalue())
