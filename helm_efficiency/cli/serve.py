"""serve: show scored runs in HELM's own pages."""

from pathlib import Path
from typing import Annotated

import typer

from helm_efficiency.cli import app
from helm_efficiency.cli.options import note
from helm_efficiency.cli.progress import working
from helm_efficiency.errors import InputError


@app.command(rich_help_panel="HELM")
def serve(
    folder: Annotated[Path, typer.Argument(help="Folder written by rescore.", show_default=False)],
    *,
    suite: Annotated[str | None, typer.Option("--suite", help="Suite to show; by default the only one.")] = None,
    schema: Annotated[
        str | None, typer.Option("--schema", help="Schema of HELM, or a file; by default one that knows the scenarios.")
    ] = None,
    stack: Annotated[list[str] | None, typer.Option("--stack", help="Also a column for this stack.")] = None,
    port: Annotated[int, typer.Option("--port", min=1, max=65535, help="Port to listen on.")] = 8000,
    local_path: Annotated[Path, typer.Option("--local-path", help="HELM's folder of configurations.")] = Path(
        "prod_env"
    ),
    summarize_only: Annotated[bool, typer.Option("--summarize-only", help="Make HELM's tables, and end.")] = False,
) -> None:
    """Show scored runs in HELM's own pages: write a schema, run helm-summarize, then helm-server.

    Example: helm-efficiency serve scored/
    """
    from helm_efficiency.helm_plugin.commands import helm_server, helm_summarize, is_listening
    from helm_efficiency.helm_plugin.pages import choose_suite, write_configs, write_schema

    suite = choose_suite(folder, suite)
    if not summarize_only and is_listening(port):
        raise InputError(f"--port {port}: another program listens there. Name another port.")
    schema_path = write_schema(folder, suite, name=schema, stacks=stack or ())
    configs, added = write_configs(folder, suite, local_path=local_path)
    if added:
        note(f"HELM does not know {', '.join(added)}; registered in {configs}.")
    log = folder / "helm_config"
    with working("Summarizing with HELM"):
        helm_summarize(folder, suite, local_path=configs, schema=schema_path, log=log / "summarize.log")
    if summarize_only:
        note(f"HELM's tables of {suite} are in {folder / 'runs' / suite}.")
        return
    helm_server(folder, suite, port=port, log=log / "server.log", on_ready=lambda url: note(f"{url} (Ctrl-C ends it)"))
