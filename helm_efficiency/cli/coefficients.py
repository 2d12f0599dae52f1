"""Commands about what the store holds: import, export, show."""

import sys
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from helm_efficiency.cli import app
from helm_efficiency.cli.options import Format, FormatOption, PricesOption, StoreOption, emit, narrowed, note
from helm_efficiency.defaults import DEFAULT_STORE

if TYPE_CHECKING:
    from helm_efficiency.core.fitting.fit import Fit
    from helm_efficiency.core.measurement import Profile
    from helm_efficiency.formats.detect import Found
    from helm_efficiency.store import Store

DeploymentOption = Annotated[str | None, typer.Option(help="Of this deployment only.")]
StackOption = Annotated[str | None, typer.Option(help="On this stack only.")]

_IMPORTED_IN_TABLES = ("deployment", "stack", "what", "measurements")
_HELD_IN_TABLES = ("deployment", "stack", "tier", "rule", "measurements", "stale")


class ExportFormat(StrEnum):
    """What `export` writes."""

    json = "json"
    csv = "csv"


@app.command("import")
def import_files(
    files: Annotated[
        list[str], typer.Argument(metavar="FILE...", help="Megatron logs, CSV, JSON; or the word helm-packaged.")
    ],
    *,
    deployment: Annotated[str | None, typer.Option(help="Whose; replaces what the files say.")] = None,
    stack: Annotated[
        str | None, typer.Option(help="On what, such as a100-80gb-vllm-bf16; replaces what the files say.")
    ] = None,
    num_accelerators: Annotated[
        int | None, typer.Option(min=1, help="That the measured model occupied; a CSV counts as 1.")
    ] = None,
    prices: PricesOption = None,
    store: StoreOption = DEFAULT_STORE,
    format: FormatOption = Format.table,
) -> None:
    """Bring measurements or coefficients from elsewhere into the store: all of the files, or none.

    Reads the logs of the paper, CSV of measurements, the table of Splitwise, JSON as export and profile write it, and
    coefficients of HELM: helm-packaged names the two tables inside the installed crfm-helm.

    Example: helm-efficiency import train.csv --deployment me/model --stack a100-80gb
    """
    from helm_efficiency.formats.detect import read_coefficient_files
    from helm_efficiency.store import Store

    found = read_coefficient_files(
        files,
        deployment=deployment,
        stack_name=stack,
        num_accelerators=num_accelerators,
        accelerator_file=prices,
    )
    opened = Store(store)
    num_replaced = _num_replaced(opened, found)
    opened.put_all(found.profiles, found.fits)
    rows = [*map(_imported_profile, found.profiles), *map(_imported_fit, found.fits)]
    emit(narrowed(rows, _IMPORTED_IN_TABLES) if format is Format.table else rows, format)
    if num_replaced:
        note(f"{num_replaced} of them stand in place of earlier ones of the same deployment and stack.")
    if found.profiles:
        note(f"Measurements are in {store}. Next: helm-efficiency fit --store {store}")


def _num_replaced(store: "Store", found: "Found") -> int:
    known = store.stored_at()
    return sum((item.deployment, item.stack.name) in known["profiles"] for item in found.profiles) + sum(
        (item.deployment, item.stack.name) in known["fits"] for item in found.fits
    )


def _imported_profile(profile: "Profile") -> dict[str, Any]:
    cells = profile.cells()
    return {
        "deployment": profile.deployment,
        "stack": profile.stack.name,
        "what": "measurements",
        "num_accelerators": profile.stack.num_accelerators,
        "measurements": len(profile.measurements),
        "prompt_lengths": len({p for p, _, _ in cells}),
        "output_lengths": len({o for _, o, _ in cells}),
        "source": profile.source,
    }


def _imported_fit(fit: "Fit") -> dict[str, Any]:
    return {
        "deployment": fit.deployment,
        "stack": fit.stack.name,
        "what": "coefficients",
        "num_accelerators": fit.stack.num_accelerators,
        "source": fit.source,
    }


@app.command()
def export(
    *,
    output: Annotated[Path | None, typer.Option(help="File to write; by default stdout.")] = None,
    deployment: DeploymentOption = None,
    stack: StackOption = None,
    store: StoreOption = DEFAULT_STORE,
    format: Annotated[
        ExportFormat, typer.Option("--format", help="json: measurements and coefficients; csv: measurements.")
    ] = ExportFormat.json,
) -> None:
    """Write what the store holds to one file, which `import` reads back to the same numbers.

    Example: helm-efficiency export --output efficiency.json
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


@app.command()
def show(
    *,
    deployment: DeploymentOption = None,
    stack: StackOption = None,
    coverage: Annotated[
        bool, typer.Option("--coverage", help="Instead: how many deployments of HELM have coefficients on a stack.")
    ] = False,
    store: StoreOption = DEFAULT_STORE,
    format: FormatOption = Format.table,
) -> None:
    """What the store holds: deployments, stacks, tiers, rules, errors, dates.

    Example: helm-efficiency show --store efficiency.sqlite
    """
    from helm_efficiency.store import Store

    if coverage:
        from helm_efficiency.cli import architectures

        architectures.coverage(stack=stack, store=store, format=format)
        return
    opened = Store(store, create=False)
    profiles = {(p.deployment, p.stack.name): p for p in opened.profiles(deployment=deployment, stack=stack)}
    fits = {(f.deployment, f.stack.name): f for f in opened.fits(deployment=deployment, stack=stack)}
    dates = opened.stored_at()
    rows = [_held(profiles.get(key), fits.get(key), dates, key) for key in sorted({*profiles, *fits})]
    emit(narrowed(rows, _HELD_IN_TABLES) if format is Format.table else rows, format)
    stale = sum(_is_stale(profile, fits.get(key)) for key, profile in profiles.items())
    if stale:
        note(f"{stale} of them were fitted to other measurements than these: helm-efficiency fit --store {store}")


def _held(
    profile: "Profile | None", fit: "Fit | None", dates: dict[str, dict[tuple[str, str], str]], key: tuple[str, str]
) -> dict[str, Any]:
    known = fit or profile
    assert known is not None
    return {
        "deployment": key[0],
        "stack": key[1],
        "num_accelerators": known.stack.num_accelerators,
        "tier": fit.tier if fit else "none",
        "rule": fit.coefficients.rule if fit else None,
        "relative_error": fit.coefficients.relative_error if fit else None,
        "measurements": len(profile.measurements) if profile else 0,
        "measured_on": (profile.measured_on or None) if profile else None,
        "fitted_on": (fit.fitted_on or None) if fit else None,
        "stored_at": max(dates[table].get(key, "") for table in dates) or None,
        "stale": _is_stale(profile, fit),
        "measurements_sha256": profile.sha256() if profile else (fit.profile_sha256 if fit else None) or None,
        "coefficients_sha256": fit.sha256() if fit else None,
        "source": known.source or (profile.source if profile else "") or None,
    }


def _is_stale(profile: "Profile | None", fit: "Fit | None") -> bool:
    """Whether coefficients belong to other measurements than those beside them, or are yet to be fitted."""
    if profile is None:
        return False
    return fit is None or fit.profile_sha256 != profile.sha256()
