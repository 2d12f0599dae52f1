"""transfer: predict coefficients of models that nobody measured."""

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
from helm_efficiency.errors import InputError
from helm_efficiency.metrics.quantities import COUNT, PERCENT, SECONDS

if TYPE_CHECKING:
    from helm_efficiency.core.fitting.fit import Fit
    from helm_efficiency.core.measurement import Profile
    from helm_efficiency.metrics.known_models import KnownModel
    from helm_efficiency.metrics.transfer_fits import StackTransfer
    from helm_efficiency.store import Store


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
    models: Annotated[list[str] | None, "Any names that estimate takes; by default all models of HELM."] = None,
    *,
    stack: Annotated[str | None, "Stack in the store; needed if it has profiles of several."] = None,
    accelerator: Annotated[str | None, "Instead of a profiled stack: the roofline of this one."] = None,
    dtype: Annotated[str, "Precision of the weights, with --accelerator; auto is that of each checkpoint."] = "auto",
    validate: Annotated[bool, "Instead: leave each profiled model out in turn, on each stack."] = False,
    dry_run: Annotated[bool, "Show coefficients, keep none."] = False,
    prices: PricesOption = None,
    store: StoreOption = DEFAULT_STORE,
    architectures: ArchitecturesOption = DEFAULT_ARCHITECTURES,
    format: FormatOption = Format.table,
) -> None:
    """Predict coefficients of models nobody measured on a stack, from their architecture and the models measured there.

    Shown for 512 prompt and 64 output tokens: seconds with their nominal 90 % interval, the least that any software
    could take on that accelerator (speed of light), and which fraction of its peaks would be reached.

    Example: helm-efficiency transfer meta/llama-3.1-8b-instruct --accelerator h100-sxm --dry-run
    """
    if validate:
        emit(_validated(store, stack), format, _LEFT_OUT)
        return
    from helm_efficiency.metrics.known_models import require_model
    from helm_efficiency.metrics.transfer_fits import catalog_fits
    from helm_efficiency.store import Store

    catalog = load_catalog(architectures)
    opened = Store(store, create=False) if accelerator is None or store.exists() else None
    found = _transfer_model(opened, stack, accelerator, dtype=dtype, prices=prices)
    own_dtypes = accelerator is not None and dtype == "auto"
    reasons: dict[str, str] = {}
    if models:
        asked = [require_model(name, catalog, opened) for name in models]
        fits = [_fit_of(found.at_dtype(each.dtype) if own_dtypes else found, each) for each in asked]
    else:
        entries = catalog.entries.values()
        fits, reasons = catalog_fits(found, entries, dtype_of=catalog.dtype_of if own_dtypes else None)
        asked = [require_model(fit.deployment, catalog, opened) for fit in fits]
    if not dry_run:
        kept = [fit for fit in fits if fit.tier != Tier.measured]  # the store has the measured ones
        Store(store).put_all((), kept)
        note(f"Kept {len(kept)} fits in {store}.")
    emit([_predicted(*each, found) for each in zip(fits, asked, strict=True)], format, _FIELDS, title=_title(found))
    for model, reason in reasons.items():
        note(f"{model}: {reason}")
    if reasons:
        raise typer.Exit(1)


def _title(found: "StackTransfer") -> str:
    return f"{found.accelerator.name} ({found.model.stack.dtype}), alone: 512 prompt and 64 output tokens"


def _fit_of(found: "StackTransfer", model: "KnownModel") -> "Fit":
    if model.architecture is None:
        raise InputError(f"{model.name}: its sizes are not known. Name its config.json.")
    return found.fit(model.name, model.architecture)


def _transfer_model(
    store: "Store | None", stack: str | None, accelerator: str | None, *, dtype: str, prices: Path | None
) -> "StackTransfer":
    """Return the roofline of an accelerator, or without one the transfer model of a stack of the store."""
    from helm_efficiency.catalog.accelerators import load_accelerators
    from helm_efficiency.catalog.architectures import DEFAULT_DTYPE
    from helm_efficiency.core.measurement import Stack
    from helm_efficiency.metrics.transfer_fits import load_transfer, roofline

    if accelerator is None:
        assert store is not None
        return load_transfer(store, stack or _only_stack(store), accelerators=load_accelerators(prices))
    name = stack or f"{accelerator}-roofline-{dtype}"
    unmeasured = Stack(name, accelerator, engine="roofline", dtype=DEFAULT_DTYPE if dtype == "auto" else dtype)
    return roofline(unmeasured, accelerators=load_accelerators(prices))


def _only_stack(store: "Store") -> str:
    """Return the only stack for which the store has profiles of known architectures."""
    names = sorted({profile.stack.name for profile in store.profiles() if profile.architecture is not None})
    if len(names) != 1:
        raise InputError(
            f"{store.path} has profiles of known architectures on {len(names)} stacks ({', '.join(names) or 'none'}): "
            "name one with --stack, or --accelerator for the roofline of one that nobody measured."
        )
    return names[0]


def _predicted(fit: "Fit", model: "KnownModel", found: "StackTransfer") -> dict[str, Any]:
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
    if not found.model.spec.is_datasheet or model.architecture is None:
        return row
    spec = found.at_dtype(fit.stack.dtype).model.spec if not found.profiles else found.model.spec
    lengths = {"prompt_tokens": prompt_tokens, "output_tokens": output_tokens}
    light = speed_of_light(model.architecture, fit.stack, spec, **lengths)
    mfu, mbu = utilization(light, fit.stack, spec, predicted.seconds)
    return row | {"speed_of_light_s": float(light.seconds), "mfu_fraction": float(mfu), "mbu_fraction": float(mbu)}


def _validated(store: Path, stack: str | None) -> list[dict[str, Any]]:
    from dataclasses import asdict

    from helm_efficiency.catalog.accelerators import spec_of_stack
    from helm_efficiency.core.transfer.validation import leave_one_out
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
