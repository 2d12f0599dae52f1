"""transfer: predict coefficients of models that nobody measured."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from helm_efficiency.cli import app
from helm_efficiency.cli.options import (
    ArchitecturesOption,
    Format,
    FormatOption,
    PricesOption,
    StoreOption,
    emit,
    load_catalog,
    note,
)
from helm_efficiency.cli.tables import Field
from helm_efficiency.core.tier import Tier
from helm_efficiency.defaults import DEFAULT_ARCHITECTURES, DEFAULT_STORE
from helm_efficiency.metrics.quantities import COUNT, PERCENT, SECONDS

if TYPE_CHECKING:
    from helm_efficiency.catalog.architectures import ArchitectureCatalog
    from helm_efficiency.core.fitting.fit import Fit
    from helm_efficiency.core.measurement import Profile
    from helm_efficiency.core.transfer.architecture import Architecture
    from helm_efficiency.metrics.transfer_fits import StackTransfer


StackOption = Annotated[str | None, typer.Option(help="Which stack; needed if the store has profiles of several.")]


_FIELDS = (
    Field("model", "Model"),
    Field("num_accelerators", "Accelerators", COUNT, 1),
    Field("tier", "Evidence", None, 2),
    Field("speed_of_light_s", "Speed of light", SECONDS, 3),
    Field("mfu_fraction", "Of peak FLOP/s", PERCENT, 4),
    Field("mbu_fraction", "Of peak bandwidth", PERCENT, 4),
    Field("idealized_s", "Idealized", SECONDS, 0, ("low_s", "high_s"), keeps_interval=True),
)
_LEFT_OUT = (
    Field("stack", "Stack", None, 3),
    Field("deployment", "Left out"),
    Field("num_cells", "Cells", COUNT, 2),
    Field("first_token_error_fraction", "Error, first token", PERCENT, 1),
    Field("error_fraction", "Error, all", PERCENT),
    Field("covered_fraction", "In the interval", PERCENT, 1),
    Field("half_width_fraction", "Half-width", PERCENT, 1),
)


@app.command(rich_help_panel="Estimate")
def transfer(
    models: Annotated[
        list[str] | None, typer.Argument(help="Architectures, models of HELM or profiled ones; by default all HELM's.")
    ] = None,
    *,
    stack: StackOption = None,
    accelerator: Annotated[
        str | None, typer.Option(help="Instead of a profiled stack: the roofline of this one.")
    ] = None,
    dtype: Annotated[
        str, typer.Option(help="Of the weights, with --accelerator; auto is that of each model's checkpoint.")
    ] = "auto",
    validate: Annotated[
        bool, typer.Option("--validate", help="Leave each profiled model out in turn, on each stack.")
    ] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Show coefficients, keep none.")] = False,
    prices: PricesOption = None,
    store: StoreOption = DEFAULT_STORE,
    architectures: ArchitecturesOption = DEFAULT_ARCHITECTURES,
    format: FormatOption = Format.table,
) -> None:
    """Predict coefficients of models nobody measured on a stack, from their architecture and the models measured there.

    Shown for 512 prompt and 64 output tokens: seconds with their nominal 90 % interval, the least that any software
    could take on that accelerator (speed of light), and which fraction of its peaks would be reached.

    Example: helm-efficiency transfer meta/llama-3.1-8b-instruct --stack a100-80gb-megatron-fp16 --dry-run
    """
    if validate:
        emit(_validated(store, stack), format, _LEFT_OUT)
        return
    catalog = load_catalog(architectures)
    found = (
        _calibrated(store, stack, prices)
        if accelerator is None
        else _roofline(accelerator, stack, dtype=dtype, prices=prices)
    )
    own_dtypes = accelerator is not None and dtype == "auto"
    fits, reasons = _fits(found, catalog, models, own_dtypes=own_dtypes)
    for model, reason in reasons.items():
        note(f"{model}: {reason}")
    if not dry_run:
        _keep(store, fits)
    emit([_predicted(fit, found, catalog) for fit in fits], format, _FIELDS, title=_title(fits, found))
    if reasons:
        raise typer.Exit(1)


def _roofline(accelerator: str, stack: str | None, *, dtype: str, prices: Path | None) -> "StackTransfer":
    from helm_efficiency.catalog.accelerators import load_accelerators
    from helm_efficiency.catalog.architectures import DEFAULT_DTYPE
    from helm_efficiency.core.measurement import Stack
    from helm_efficiency.metrics.transfer_fits import roofline

    name = stack or f"{accelerator}-roofline-{dtype}"
    unmeasured = Stack(name, accelerator, engine="roofline", dtype=DEFAULT_DTYPE if dtype == "auto" else dtype)
    return roofline(unmeasured, accelerators=load_accelerators(prices))


def _calibrated(store: Path, stack: str | None, prices: Path | None) -> "StackTransfer":
    from helm_efficiency.catalog.accelerators import load_accelerators
    from helm_efficiency.metrics.transfer_fits import load_transfer
    from helm_efficiency.store import Store

    opened = Store(store, create=False)
    return load_transfer(opened, stack or _only_stack(opened), accelerators=load_accelerators(prices))


def _only_stack(store: Any) -> str:
    """Return the only stack for which the store has profiles of known architectures."""
    from helm_efficiency.errors import InputError

    names = sorted({profile.stack.name for profile in store.profiles() if profile.architecture is not None})
    if len(names) != 1:
        raise InputError(
            f"{store.path} has profiles of known architectures on {len(names)} stacks ({', '.join(names) or 'none'}): "
            "name one with --stack, or --accelerator for the roofline of one that nobody measured."
        )
    return str(names[0])


def _fits(
    found: "StackTransfer", catalog: "ArchitectureCatalog", models: Sequence[str] | None, *, own_dtypes: bool
) -> "tuple[list[Fit], dict[str, str]]":
    from helm_efficiency.metrics.transfer_fits import catalog_fits

    if not models:
        dtype_of = catalog.dtype_of if own_dtypes else None
        return catalog_fits(found, catalog.entries.values(), dtype_of=dtype_of)
    return [
        (found.at_dtype(catalog.dtype_of(model)) if own_dtypes else found).fit(
            model, _architecture(model, found, catalog)
        )
        for model in models
    ], {}


def _architecture(model: str, found: "StackTransfer", catalog: "ArchitectureCatalog") -> "Architecture":
    """Return the architecture that a profile of the model states, else that of the catalog."""
    profiled = (profile.architecture for profile in found.profiles if profile.deployment == model)
    return next(profiled, None) or catalog.find(model).architecture


def _keep(store: Path, fits: "Sequence[Fit]") -> None:
    """Put fits that are not measured into the store, all or none; it already holds the measured ones."""
    from helm_efficiency.store import Store

    kept = [fit for fit in fits if fit.tier != Tier.measured]
    Store(store).put_all((), kept)
    note(f"Kept {len(kept)} fits in {store}.")


def _predicted(fit: "Fit", found: "StackTransfer", catalog: "ArchitectureCatalog") -> dict[str, Any]:
    from helm_efficiency.core.transfer.roofline import speed_of_light, utilization

    prompt_tokens, output_tokens = 512, 64
    predicted = fit.coefficients.predict(prompt_tokens, output_tokens)
    row = {
        "model": fit.deployment,
        "tier": fit.tier,
        "stack": str(fit.stack),
        "num_accelerators": fit.stack.num_accelerators,
        "idealized_s": float(predicted.seconds),
        "low_s": float(predicted.low_s),
        "high_s": float(predicted.high_s),
    }
    if not found.model.spec.is_datasheet:
        return row
    sizes = _architecture(fit.deployment, found, catalog)
    spec = found.at_dtype(fit.stack.dtype).model.spec if not found.profiles else found.model.spec
    light = speed_of_light(sizes, fit.stack, spec, prompt_tokens=prompt_tokens, output_tokens=output_tokens)
    mfu, mbu = utilization(light, fit.stack, spec, predicted.seconds)
    return row | {
        "speed_of_light_s": float(light.seconds),
        "mfu_fraction": float(mfu),
        "mbu_fraction": float(mbu),
    }


def _title(fits: "Sequence[Fit]", found: "StackTransfer") -> str:
    models = "1 model" if len(fits) == 1 else f"{len(fits):,} models"
    tokens = "512 prompt and 64 output tokens"
    return f"{models} on {found.accelerator.name} ({found.model.stack.dtype}), alone: {tokens}"


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
