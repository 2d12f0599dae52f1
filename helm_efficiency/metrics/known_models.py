"""Find the model that a name means, and its best coefficients on some hardware.

`estimate`, `predict`, `cost` and `transfer` all take the same names: a deployment in the store, a model of HELM or of
the architecture catalog, a Hugging Face id, or the path of a config.json.
"""

import difflib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from helm_efficiency.catalog.accelerators import Accelerator
from helm_efficiency.catalog.architectures import ArchitectureCatalog
from helm_efficiency.catalog.default_stacks import default_fits
from helm_efficiency.core.fitting.fit import Fit
from helm_efficiency.core.measurement import Stack
from helm_efficiency.core.tier import Tier
from helm_efficiency.core.transfer.architecture import Architecture
from helm_efficiency.core.transfer.model import Parallel
from helm_efficiency.errors import CatalogError, InputError
from helm_efficiency.metrics.transfer_fits import StackTransfer, load_transfer, roofline
from helm_efficiency.store import SERVICE_STACK_PREFIX, Store

_TIERS = list(Tier)
USUAL_ENGINE = "vllm"
"""Engine that is assumed if none is named: most public measurements of served models were made with it."""


@dataclass(frozen=True, slots=True)
class KnownModel:
    """A model that was named.

    Attributes:
        name: Name by which the user named it.
        architecture: Sizes of the model; None if only measurements of it are known.
        dtype: Number format of the model's checkpoint.
    """

    name: str
    architecture: Architecture | None
    dtype: str = "bf16"


@dataclass(frozen=True, slots=True)
class Hardware:
    """Hardware and software to estimate on.

    Attributes:
        accelerator: Accelerator of the catalog.
        num_accelerators: Number of accelerators that one instance of the model occupies; None for the fewest possible.
        engine: Serving engine; empty for any engine, with vLLM preferred.
        dtype: Number format of the weights; empty for that of the checkpoint.
    """

    accelerator: Accelerator
    num_accelerators: int | None = None
    engine: str = ""
    dtype: str = ""

    def admits(self, stack: Stack) -> bool:
        """Return whether a stack is this hardware and software."""
        asked = (self.num_accelerators, self.engine, self.dtype)
        has = (stack.num_accelerators, stack.engine, stack.dtype)
        keys = {self.accelerator.key, *self.accelerator.aliases}
        return stack.accelerator in keys and all(not a or a == h for a, h in zip(asked, has, strict=True))


def find_model(name: str, catalog: ArchitectureCatalog, store: Store | None) -> KnownModel | None:
    """Return the model of a name; None if its sizes and measurements are unknown, as for a closed model.

    Args:
        name: Deployment, model of HELM, architecture, Hugging Face id, or path of a config.json.
        catalog: Architectures by name.
        store: Store of measurements and coefficients; None for none.

    Raises:
        InputError: The path cannot be read.
    """
    if Path(name).exists() or name.endswith(".json"):
        return _from_config(name)
    entry = catalog.entries.get(name) or catalog.of_model(name)
    if entry is not None:
        return KnownModel(name, entry.architecture, catalog.dtype_of(name))
    for profile in store.profiles(deployment=name) if store else ():
        return KnownModel(name, profile.architecture)
    is_known = bool(default_fits(name)) or (store is not None and bool(store.fits(deployment=name)))
    return KnownModel(name, None) if is_known else None


def require_model(name: str, catalog: ArchitectureCatalog, store: Store | None) -> KnownModel:
    """Return the model of a name, as `find_model` does.

    Raises:
        InputError: The model's sizes and measurements are unknown; the message names the most similar models.
    """
    found = find_model(name, catalog, store)
    if found is None:
        raise InputError(unknown_text(name, catalog, store))
    return found


def unknown_text(name: str, catalog: ArchitectureCatalog, store: Store | None) -> str:
    """Return a text that says why a name is not known, and what to write instead."""
    like = " or ".join(near_names(name, catalog, store))
    reason = catalog.excluded.get(name, "neither in the store nor in the catalog")
    advice = f"Did you mean {like}? " if like else ""
    return f"{name!r}: {reason}. {advice}For a model of your own, name its config.json."


def _from_config(path: str) -> KnownModel:
    from helm_efficiency.core.transfer.transformers_config import weights_dtype
    from helm_efficiency.profiling.model_configs import read_config

    values, _, name = read_config(path)
    return KnownModel(name, Architecture.from_transformers_config(values, name=name), weights_dtype(values) or "bf16")


def near_names(name: str, catalog: ArchitectureCatalog, store: Store | None) -> list[str]:
    """Return the known names that are most similar to an unknown one, best first."""
    known = {*catalog.entries, *(model for entry in catalog.entries.values() for model in entry.helm_models)}
    known |= {fit.deployment for fit in store.fits()} if store else set()
    by_last = {each.rpartition("/")[2].lower(): each for each in sorted(known, reverse=True)}
    close = difflib.get_close_matches(name.rpartition("/")[2].lower(), by_last, n=3, cutoff=0.6)
    return [by_last[last] for last in close]


def fits_on(model: KnownModel, hardware: Hardware, store: Store | None) -> list[Fit]:
    """Return all coefficients of a model on some hardware, the strongest evidence first.

    Args:
        model: Model from `find_model`.
        hardware: Hardware and software of the stacks.
        store: Store of measurements and coefficients; None for none.

    Raises:
        InputError: No coefficients were found; the message says why.
    """
    found = [fit for fit in stored_fits(store) if fit.deployment == model.name and hardware.admits(fit.stack)]
    found += default_fits(model.architecture or model.name, admits=hardware.admits)
    reasons: list[str] = []
    if model.architecture is not None:
        more, reasons = _transferred(model, model.architecture, hardware, store)
        found += more
    if not found:
        where = hardware.accelerator.key
        raise InputError(f"No estimate of {model.name} on {where}: {' '.join(reasons) or 'no sizes known.'}")
    return sorted(
        found, key=lambda fit: (_TIERS.index(fit.tier), _is_unusual(fit, hardware), fit.stack.num_accelerators)
    )


def _is_unusual(fit: Fit, hardware: Hardware) -> tuple[bool, bool]:
    """Return whether a fit has an unusual engine, and whether its number format is not the checkpoint's own."""
    return (not hardware.engine and fit.stack.engine != USUAL_ENGINE, "native" not in fit.stack.name)


def stored_fits(store: Store | None) -> list[Fit]:
    """Return all coefficients of a store; an empty list without a store."""
    return [] if store is None else store.fits()


def _transferred(
    model: KnownModel, architecture: Architecture, hardware: Hardware, store: Store | None
) -> tuple[list[Fit], list[str]]:
    """Return the fits that stacks' profiles and the datasheet give for a model, and the reasons for missing fits."""
    fits: list[Fit] = []
    reasons: list[str] = []
    for make in _transfers(model, hardware, store):
        try:
            fits.append(make().fit(model.name, architecture, _spread(hardware, architecture)))
        except (InputError, CatalogError) as error:
            reasons.append(str(error))
    return fits, reasons


def _transfers(model: KnownModel, hardware: Hardware, store: Store | None) -> Iterator[Callable[[], StackTransfer]]:
    """Yield a function that makes the transfer model of each profiled stack of this kind, then of the datasheet."""
    stacks = {profile.stack for profile in store.profiles() if profile.architecture} if store else set()
    for stack_name in sorted({stack.name for stack in stacks if _is_kind_of(stack, hardware)}):
        assert store is not None
        yield partial(load_transfer, store, stack_name)
    dtype = hardware.dtype or model.dtype
    name = f"{hardware.accelerator.key}-roofline-{dtype}"
    unmeasured = Stack(name, hardware.accelerator.key, engine=hardware.engine or USUAL_ENGINE, dtype=dtype)
    yield partial(roofline, unmeasured, accelerators={hardware.accelerator.key: hardware.accelerator})


def _is_kind_of(stack: Stack, hardware: Hardware) -> bool:
    """Return whether a profiled stack has this kind of hardware, with any number of accelerators."""
    keys = {hardware.accelerator.key, *hardware.accelerator.aliases}
    return (
        stack.accelerator in keys
        and hardware.engine in ("", stack.engine)
        and hardware.dtype in ("", stack.dtype)
        and not stack.name.startswith(SERVICE_STACK_PREFIX)
    )


def _spread(hardware: Hardware, architecture: Architecture) -> Parallel | None:
    """Return how a stated number of accelerators share the model: by tensor within a node, by layer over nodes."""
    number = hardware.num_accelerators
    if number is None:
        return None
    tensor = min(number, hardware.accelerator.node_size)
    if number % tensor or number // tensor > architecture.num_layers:
        raise InputError(f"{number} accelerators: expected up to {tensor}, or whole nodes of {tensor}.")
    return Parallel(tensor, number // tensor)
