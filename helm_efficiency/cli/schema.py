"""schema: add efficiency columns to a schema of HELM."""

import sys
from pathlib import Path
from typing import Annotated

import typer

from helm_efficiency.cli import app
from helm_efficiency.cli.options import note
from helm_efficiency.files import write_file


@app.command(rich_help_panel="HELM")
def schema(
    name: Annotated[str, "One that crfm-helm ships, such as lite or classic, or a file."] = "lite",
    *,
    stack: Annotated[list[str] | None, "Also a column for this stack."] = None,
    detailed: Annotated[bool, "Also intervals, accelerator-seconds, energy."] = False,
    output: Annotated[Path | None, typer.Option("--output", "-o", help="File to write; by default stdout.")] = None,
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
