"""coverage: count the deployments that have an idealized runtime on a stack."""

from typing import Annotated

import typer

from helm_efficiency.cli import app
from helm_efficiency.cli.options import ArchitecturesOption, Format, FormatOption, StoreOption, emit, load_catalog, note
from helm_efficiency.cli.progress import working
from helm_efficiency.cli.tables import Field
from helm_efficiency.defaults import DEFAULT_ARCHITECTURES, DEFAULT_STORE
from helm_efficiency.metrics.quantities import COUNT

StackOption = Annotated[str | None, "Which stack; needed if the store has profiles of several."]


_TIERS = (
    Field("tier", "Evidence"),
    Field("deployments", "Deployments", COUNT),
    Field("requests", "Requests", COUNT),
    Field("why", "Why there is none", wraps=True),
)
_DEPLOYMENTS = (
    Field("deployment", "Deployment"),
    Field("tier", "Evidence"),
    Field("num_requests", "Requests", COUNT),
    Field("reason", "From, or why there is none", wraps=True),
)


@app.command(rich_help_panel="Estimate")
def coverage(
    paths: Annotated[
        list[str] | None,
        typer.Argument(metavar="[PATH...]", help="Runs, local or remote; by default all that HELM knows."),
    ] = None,
    *,
    stack: StackOption = None,
    deployments: Annotated[bool, "A row a deployment, not a tier."] = False,
    store: StoreOption = DEFAULT_STORE,
    architectures: ArchitecturesOption = DEFAULT_ARCHITECTURES,
    format: FormatOption = Format.table,
) -> None:
    """Count the deployments that have an idealized runtime on a stack, by tier, and say why the others have none.

    Example: helm-efficiency example && helm-efficiency coverage example/runs --store example/efficiency.sqlite
    """
    from dataclasses import asdict

    from helm_efficiency.catalog.helm_metadata import helm_deployments
    from helm_efficiency.metrics.coverage import archive_deployments, summarize_coverage
    from helm_efficiency.metrics.coverage import coverage as covered
    from helm_efficiency.metrics.efficiency import Coefficients
    from helm_efficiency.store import Store

    catalog = load_catalog(architectures)
    known = helm_deployments()
    with working("Reading runs"):
        asked, counts, failed = archive_deployments(paths, known) if paths else (known, {}, [])
    for line in failed:
        note(line)
    coefficients = Coefficients.from_store(Store(store, create=False))
    named = stack or coefficients.default_stack() or ""
    rows = covered(asked, coefficients, catalog, stack=named, num_requests=counts)
    note(f"Stack: {named or 'none, the store has no coefficients'}.")
    of = _DEPLOYMENTS if deployments else _TIERS
    fields = [field for field in of if paths or "requests" not in field.key]
    emit([asdict(row) for row in rows] if deployments else summarize_coverage(rows), format, fields)
    if failed:
        raise typer.Exit(1)
