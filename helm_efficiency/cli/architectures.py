"""Commands about architectures: list, show and add them; transfer to models nobody measured; coverage."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from helm_efficiency.cli import app
from helm_efficiency.cli.options import Format, FormatOption, PricesOption, StoreOption, emit, note
from helm_efficiency.defaults import DEFAULT_STORE

if TYPE_CHECKING:
    from helm_efficiency.catalog.architectures import ArchitectureCatalog, CatalogEntry
    from helm_efficiency.core.fitting.fit import Fit
    from helm_efficiency.core.measurement import Profile
    from helm_efficiency.core.transfer.architecture import Architecture
    from helm_efficiency.metrics.transfer_fits import StackTransfer

DEFAULT_FILE = Path("prod_env/architectures.yaml")

FileOption = Annotated[
    Path, typer.Option("--architectures", help="Your own architectures, beside the packaged ones.", show_default=True)
]
StackOption = Annotated[str | None, typer.Option(help="Which stack; needed if the store has profiles of several.")]

architecture = typer.Typer(
    help="Sizes of language models: list and show them, add one from its config.json.", no_args_is_help=True
)
app.add_typer(architecture, name="architecture")


@architecture.command("list")
def list_architectures(
    pattern: Annotated[str, typer.Argument(help="Part of a name or a family.")] = "",
    *,
    architectures: FileOption = DEFAULT_FILE,
    format: FormatOption = Format.table,
) -> None:
    """List architectures with their parameter counts.

    Example: helm-efficiency architecture list llama-3
    """
    entries = _catalog(architectures).entries.values()
    chosen = [entry for entry in entries if pattern in entry.family or pattern in entry.architecture.name]
    emit([_summary(entry) for entry in chosen], format)


@architecture.command("show")
def show_architecture(
    name: Annotated[str, typer.Argument(help="Of an architecture, or of a model of HELM that has it.")],
    *,
    architectures: FileOption = DEFAULT_FILE,
    format: FormatOption = Format.table,
) -> None:
    """Show all sizes of an architecture, what follows from them, their source and who has it.

    Example: helm-efficiency architecture show meta/llama-3.1-8b-instruct
    """
    entry = _catalog(architectures).find(name)
    sizes = entry.architecture
    facts: dict[str, Any] = {
        **{key: value for key, value in sizes.to_dict().items() if value},
        "parameters": sizes.num_parameters(),
        "active_parameters": sizes.num_active_parameters(),
        "published_parameters": entry.published_parameters,
        "kv_cache_bytes_per_token_16_bit": 2 * sizes.kv_elements_per_token(),
        "family": entry.family,
        "source": entry.source,
        "helm_models": ", ".join(entry.helm_models) or None,
    }
    emit([{"fact": fact, "value": value} for fact, value in facts.items() if value is not None], format)


@architecture.command("add")
def add_architecture(
    config: Annotated[
        str, typer.Argument(help="A config.json, the folder around it, or a model of the Hugging Face hub.")
    ],
    *,
    name: Annotated[str | None, typer.Option(help="Of the architecture; by default the folder or the model.")] = None,
    helm_model: Annotated[list[str], typer.Option(help="A model of HELM that has it; may be repeated.")] = [],  # noqa: B006
    architectures: FileOption = DEFAULT_FILE,
    format: FormatOption = Format.table,
) -> None:
    """Read an architecture from a transformers config and keep it.

    Example: helm-efficiency architecture add ./my-model/config.json --name my-model
    """
    from helm_efficiency.catalog.architectures import add_to_file
    from helm_efficiency.core.transfer.architecture import Architecture
    from helm_efficiency.profiling.model_configs import read_config

    document, source, own_name = read_config(config)
    sizes = Architecture.from_transformers_config(document, name=name or own_name)
    if sizes.excluded:
        note(f"Without its {sizes.excluded}: only the language model is described.")
    entry = add_to_file(architectures, sizes, source=source, helm_models=helm_model)
    note(f"Kept in {architectures}.")
    emit([_summary(entry)], format)


@app.command()
def transfer(
    models: Annotated[
        list[str] | None, typer.Argument(help="Architectures, models of HELM or profiled ones; by default all HELM's.")
    ] = None,
    *,
    stack: StackOption = None,
    accelerator: Annotated[
        str | None, typer.Option(help="Instead of a profiled stack: the roofline of this one.")
    ] = None,
    dtype: Annotated[str, typer.Option(help="Of the weights, with --accelerator.")] = "bf16",
    validate: Annotated[
        bool, typer.Option("--validate", help="Leave each profiled model out in turn, on each stack.")
    ] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Show coefficients, keep none.")] = False,
    prices: PricesOption = None,
    store: StoreOption = DEFAULT_STORE,
    architectures: FileOption = DEFAULT_FILE,
    format: FormatOption = Format.table,
) -> None:
    """Predict coefficients of models nobody measured on a stack, from their architecture and the models measured there.

    Shown for 512 prompt and 64 output tokens: seconds with their nominal 90 % interval, the least that any software
    could take on that accelerator (speed of light), and which fraction of its peaks would be reached.

    Example: helm-efficiency transfer meta/llama-3.1-8b-instruct --stack a100-80gb-megatron-fp16 --dry-run
    """
    if validate:
        emit(_validated(store, stack), format)
        return
    catalog = _catalog(architectures)
    found = (
        _calibrated(store, stack, prices)
        if accelerator is None
        else _roofline(accelerator, stack, dtype=dtype, prices=prices)
    )
    fits, reasons = _fits(found, catalog, models)
    for model, reason in reasons.items():
        note(f"{model}: {reason}")
    if not dry_run:
        _keep(store, fits)
    emit([_predicted(fit, found, catalog) for fit in fits], format)
    if reasons:
        raise typer.Exit(1)


@app.command()
def coverage(
    paths: Annotated[
        list[Path] | None, typer.Argument(metavar="[PATH]...", help="HELM runs; by default all of HELM.")
    ] = None,
    *,
    stack: StackOption = None,
    deployments: Annotated[bool, typer.Option("--deployments", help="A row a deployment, not a tier.")] = False,
    store: StoreOption = DEFAULT_STORE,
    architectures: FileOption = DEFAULT_FILE,
    format: FormatOption = Format.table,
) -> None:
    """How many deployments have an idealized runtime on a stack, by tier, and why the others have none.

    Example: helm-efficiency coverage benchmark_output/runs/v1
    """
    from dataclasses import asdict

    from helm_efficiency.catalog.helm_metadata import helm_deployments
    from helm_efficiency.metrics.coverage import archive_deployments, summarize_coverage
    from helm_efficiency.metrics.coverage import coverage as covered
    from helm_efficiency.metrics.efficiency import Coefficients
    from helm_efficiency.store import Store

    catalog = _catalog(architectures)
    known = helm_deployments()
    asked, counts, failed = archive_deployments(paths, known) if paths else (known, {}, [])
    for line in failed:
        note(line)
    coefficients = Coefficients.from_store(Store(store, create=False))
    named = stack or coefficients.default_stack() or ""
    rows = covered(asked, coefficients, catalog, stack=named, num_requests=counts)
    note(f"Stack: {named or 'none, the store has no coefficients'}.")
    emit([asdict(row) for row in rows] if deployments else summarize_coverage(rows), format)
    if failed:
        raise typer.Exit(1)


def _catalog(path: Path) -> "ArchitectureCatalog":
    """The packaged catalog and, if it is there, the user's own file."""
    from helm_efficiency.catalog.architectures import load_architectures, load_user_architectures

    if not path.exists() and path == DEFAULT_FILE:
        return load_architectures()
    return load_user_architectures(path)


def _summary(entry: "CatalogEntry") -> dict[str, Any]:
    sizes = entry.architecture
    return {
        "architecture": sizes.name,
        "family": entry.family,
        "parameters": sizes.num_parameters(),
        "active": sizes.num_active_parameters(),
        "published": entry.published_parameters,
        "layers": sizes.num_layers,
        "hidden": sizes.hidden_size,
        "kv_bytes_per_token": 2 * sizes.kv_elements_per_token(),
        "helm_models": len(entry.helm_models),
    }


def _roofline(accelerator: str, stack: str | None, *, dtype: str, prices: Path | None) -> "StackTransfer":
    from helm_efficiency.catalog.accelerators import load_accelerators
    from helm_efficiency.core.measurement import Stack
    from helm_efficiency.metrics.transfer_fits import roofline

    name = stack or f"{accelerator}-roofline-{dtype}"
    unmeasured = Stack(name, accelerator, engine="roofline", dtype=dtype)
    return roofline(unmeasured, accelerators=load_accelerators(prices))


def _calibrated(store: Path, stack: str | None, prices: Path | None) -> "StackTransfer":
    from helm_efficiency.catalog.accelerators import load_accelerators
    from helm_efficiency.metrics.transfer_fits import load_transfer
    from helm_efficiency.store import Store

    opened = Store(store, create=False)
    return load_transfer(opened, stack or _only_stack(opened), accelerators=load_accelerators(prices))


def _only_stack(store: Any) -> str:
    """The one stack that the store has profiles of known architectures on."""
    from helm_efficiency.errors import InputError

    names = sorted({profile.stack.name for profile in store.profiles() if profile.architecture is not None})
    if len(names) != 1:
        raise InputError(
            f"{store.path} has profiles of known architectures on {len(names)} stacks ({', '.join(names) or 'none'}): "
            "name one with --stack, or --accelerator for the roofline of one that nobody measured."
        )
    return str(names[0])


def _fits(
    found: "StackTransfer", catalog: "ArchitectureCatalog", models: Sequence[str] | None
) -> "tuple[list[Fit], dict[str, str]]":
    from helm_efficiency.metrics.transfer_fits import catalog_fits

    if not models:
        return catalog_fits(found, catalog.entries.values())
    return [found.fit(model, _architecture(model, found, catalog)) for model in models], {}


def _architecture(model: str, found: "StackTransfer", catalog: "ArchitectureCatalog") -> "Architecture":
    """What a profile of the model says it is of, else what the catalog has."""
    profiled = (profile.architecture for profile in found.profiles if profile.deployment == model)
    return next(profiled, None) or catalog.find(model).architecture


def _keep(store: Path, fits: "Sequence[Fit]") -> None:
    """Put fits that are not measured into the store; those that are stand there already."""
    from helm_efficiency.store import Store

    opened = Store(store)
    kept = [fit for fit in fits if fit.tier != "measured"]
    for fit in kept:
        opened.put_fit(fit)
    note(f"Kept {len(kept)} fits in {store}.")


def _predicted(fit: "Fit", found: "StackTransfer", catalog: "ArchitectureCatalog") -> dict[str, Any]:
    from helm_efficiency.core.transfer.roofline import speed_of_light, utilization

    prompt_tokens, output_tokens = 512, 64
    predicted = fit.coefficients.predict(prompt_tokens, output_tokens)
    row = {
        "model": fit.deployment,
        "tier": fit.tier,
        "stack": str(fit.stack),
        "idealized_s": float(predicted.seconds),
        "low_s": float(predicted.low_s),
        "high_s": float(predicted.high_s),
    }
    if not found.model.spec.is_datasheet:
        return row
    sizes = _architecture(fit.deployment, found, catalog)
    light = speed_of_light(sizes, fit.stack, found.model.spec, prompt_tokens=prompt_tokens, output_tokens=output_tokens)
    mfu, mbu = utilization(light, fit.stack, found.model.spec, predicted.seconds)
    return row | {
        "speed_of_light_s": float(light.seconds),
        "mfu_fraction": float(mfu),
        "mbu_fraction": float(mbu),
    }


def _validated(store: Path, stack: str | None) -> list[dict[str, Any]]:
    from dataclasses import asdict

    from helm_efficiency.catalog.accelerators import spec_of_stack
    from helm_efficiency.core.transfer.validation import leave_one_out
    from helm_efficiency.errors import InputError
    from helm_efficiency.store import Store

    by_stack: dict[str, list[Profile]] = {}
    for profile in Store(store, create=False).profiles(stack=stack):
        if profile.architecture is not None:
            by_stack.setdefault(profile.stack.name, []).append(profile)
    if not by_stack:
        raise InputError(f"{store} has no profile of a known architecture{f' on stack {stack}' if stack else ''}.")
    return [
        {"stack": name, **asdict(row)}
        for name, profiles in sorted(by_stack.items())
        for row in leave_one_out(profiles, spec_of_stack(profiles[0].stack))
    ]
