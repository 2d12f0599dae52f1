"""Choose coefficients of every open model on stated hardware, for archives that are scored without a store."""

from collections.abc import Iterator
from dataclasses import replace

from helm_efficiency.catalog.architectures import ArchitectureCatalog, CatalogEntry
from helm_efficiency.catalog.default_stacks import default_fits
from helm_efficiency.core.fitting.fit import Fit
from helm_efficiency.core.measurement import Stack
from helm_efficiency.errors import CatalogError, InputError
from helm_efficiency.metrics.efficiency import Coefficients
from helm_efficiency.metrics.known_models import USUAL_ENGINE, Hardware, stored_fits
from helm_efficiency.metrics.transfer_fits import StackTransfer, roofline
from helm_efficiency.store import SERVICE_STACK_PREFIX, Store

USUAL_HARDWARE = "h100-sxm"
"""Accelerator that is assumed if none is named: most public measurements of served models were made on it."""


def default_stack_name(hardware: Hardware) -> str:
    """Return the name of the stack of `default_coefficients`; `native` means each checkpoint's own precision."""
    number = f"-x{hardware.num_accelerators}" if hardware.num_accelerators else ""
    return f"{hardware.accelerator.key}-{hardware.engine or USUAL_ENGINE}-{hardware.dtype or 'native'}{number}"


def default_coefficients(hardware: Hardware, catalog: ArchitectureCatalog, store: Store | None) -> Coefficients:
    """Return coefficients of every model of the catalog on one stack, from the strongest evidence for each model.

    Args:
        hardware: Hardware of the stack; without a number of accelerators, the fewest that hold a model.
        catalog: Models by architecture.
        store: Store of the user's own measurements, which come first, and of services; None for none.

    Raises:
        CatalogError: The accelerator's speeds are not known.
    """
    name = default_stack_name(hardware)
    fits = {fit.deployment: fit for fit in _estimated(hardware, catalog)}
    stored = stored_fits(store)
    fits |= {fit.deployment: fit for fit in stored if hardware.admits(fit.stack)}
    services = [fit for fit in stored if fit.stack.name.startswith(SERVICE_STACK_PREFIX)]
    on_stack = (replace(fit, stack=replace(fit.stack, name=name)) for fit in fits.values())
    return Coefficients.from_fits([*on_stack, *services])


def _estimated(hardware: Hardware, catalog: ArchitectureCatalog) -> Iterator[Fit]:
    """Yield a fit for each name of each model that the hardware can hold: simulated, else by roofline."""
    transfers: dict[str, StackTransfer | None] = {}
    for entry in catalog.entries.values():
        fits = {fit.stack.dtype: fit for fit in reversed(_simulated(hardware, entry))}
        for name in entry.helm_models or (entry.architecture.name,):
            dtype = hardware.dtype or catalog.dtype_of(name)
            if dtype not in fits:
                if dtype not in transfers:
                    transfers[dtype] = _roofline(hardware, dtype)
                transfer = transfers[dtype]
                fit = None if transfer is None else _fit(transfer, entry)
                if fit is None:
                    continue
                fits[dtype] = fit
            yield replace(fits[dtype], deployment=name)


def _simulated(hardware: Hardware, entry: CatalogEntry) -> list[Fit]:
    """Return the packaged fits of an architecture on the hardware, the fewest accelerators first."""
    wanted = replace(hardware, engine=hardware.engine or USUAL_ENGINE)
    found = default_fits(entry.architecture, admits=wanted.admits)
    return sorted(found, key=lambda fit: fit.stack.num_accelerators)


def _roofline(hardware: Hardware, dtype: str) -> StackTransfer | None:
    """Return the datasheet's transfer model; None if the accelerator does not compute in this number format."""
    key = hardware.accelerator.key
    stack = Stack(default_stack_name(hardware), key, engine=hardware.engine or USUAL_ENGINE, dtype=dtype)
    try:
        return roofline(stack, accelerators={key: hardware.accelerator})
    except InputError:
        return None


def _fit(transfer: StackTransfer, entry: CatalogEntry) -> Fit | None:
    try:
        return transfer.fit(entry.architecture.name, entry.architecture)
    except (InputError, CatalogError):  # no number of these accelerators holds the model
        return None
