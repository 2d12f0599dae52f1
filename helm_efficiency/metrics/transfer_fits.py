"""Find coefficients for every model of a stack: measured, shared by architecture, transferred, or by roofline.

Fits in the store are used unchanged. A model without a fit gets one of these on the same stack:

    shared       the fit of a profiled model with the same layers
    transferred  a prediction from the architecture, by a model calibrated on the stack's profiles
    roofline     the same prediction without any profile of the stack: datasheet figures with typical efficiencies

Cells of the model itself, if too few for a fit, sharpen the prediction from other models. An architecture is spread
over as many accelerators as it needs (`core.memory`).
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from helm_efficiency.catalog.accelerators import Accelerator, find_accelerator, load_accelerators, spec_of
from helm_efficiency.catalog.architectures import CatalogEntry
from helm_efficiency.core.fitting.fit import Fit
from helm_efficiency.core.measurement import Measurement, Profile, Stack, median_seconds
from helm_efficiency.core.tier import Tier
from helm_efficiency.core.transfer.architecture import Architecture, have_same_layers
from helm_efficiency.core.transfer.model import Parallel, TransferModel, fit_transfer
from helm_efficiency.core.transfer.placement import Serving, place_model
from helm_efficiency.errors import InputError
from helm_efficiency.store import Store


@dataclass(frozen=True)
class StackTransfer:
    """Transfer of a stack's profiles to models that were not profiled there.

    Attributes:
        model: Calibrated transfer model.
        measured: Fits of the stack by deployment.
        profiles: Profiles of the stack, with their architectures.
        accelerator: Accelerator of the stack.
    """

    model: TransferModel
    measured: Mapping[str, Fit]
    profiles: Sequence[Profile]
    accelerator: Accelerator

    def fit(self, name: str, architecture: Architecture, parallel: Parallel | None = None) -> Fit:
        """Return the best available coefficients for a model.

        Args:
            name: Name of the model or deployment; a measured fit under this name is returned unchanged.
            architecture: Architecture of the model.
            parallel: Parallelism of the model; by default it is spread over as many accelerators as it needs.

        Raises:
            InputError: No number of these accelerators holds the model.
        """
        if name in self.measured:
            return self.measured[name]
        own = self._profiles_of(name, architecture, parallel)
        for profile in own:
            if profile.deployment in self.measured:
                shared = self.measured[profile.deployment]
                note = f"measured as {profile.deployment}, whose layers are the same"
                return replace(shared, deployment=name, tier=Tier.shared, notes=(*shared.notes, note))
        if not own:
            return self.model.fit(architecture, parallel or self.parallel(architecture), deployment=name)
        others = [profile for profile in self.profiles if profile is not own[0]]
        model = fit_transfer(others, self.model.spec, stack=self.model.stack)
        return model.fit(architecture, _parallel(own[0].stack), deployment=name, measurements=_one_of_each_cell(own[0]))

    def _profiles_of(self, name: str, architecture: Architecture, parallel: Parallel | None) -> list[Profile]:
        """Return the profiles of a model, or of models with the same layers."""
        found = []
        for profile in self.profiles:
            same = profile.architecture is not None and have_same_layers(profile.architecture, architecture)
            if (same or profile.deployment == name) and parallel in (None, _parallel(profile.stack)):
                found.append(profile)
        return found

    def at_dtype(self, dtype: str) -> "StackTransfer":
        """Return the roofline of the same stack with weights of another precision.

        Raises:
            InputError: The dtype is unknown, or the stack is calibrated by profiles, which hold for its own precision.
        """
        stack = self.model.stack
        if dtype == stack.dtype:
            return self
        if self.profiles:
            raise InputError(
                f"Stack {stack.name!r} was profiled in {stack.dtype}, so nothing is known of {dtype} there."
            )
        return roofline(replace(stack, dtype=dtype), accelerators={stack.accelerator: self.accelerator})

    def parallel(self, architecture: Architecture) -> Parallel:
        """Return the smallest parallelism that holds a model with a context of 2048 tokens.

        Raises:
            InputError: No number of these accelerators holds the model.
        """
        memory_bytes = self.accelerator.memory_bytes
        if memory_bytes is None or not self.model.spec.link_bytes_per_s:
            return Parallel()
        serving = Serving(dtype=self.model.stack.dtype or "fp16")
        placed = place_model(architecture, serving, memory_bytes=memory_bytes, node_size=self.accelerator.node_size)
        return Parallel(placed.tensor_parallel, placed.pipeline_parallel)


def load_transfer(
    store: Store, stack_name: str, *, accelerators: Mapping[str, Accelerator] | None = None
) -> StackTransfer:
    """Calibrate a transfer model on the profiles of a stack in a store.

    Args:
        store: Store with the profiles, which name their architectures.
        stack_name: Name of the stack.
        accelerators: All known accelerators; the packaged ones by default.

    Returns:
        Transfer model that predicts coefficients of other models on the stack.

    Raises:
        InputError: The store holds no profile of the stack with a known architecture.
        CatalogError: The catalogs do not have the stack's accelerator.

    Example:
        >>> from helm_efficiency import Store, load_architectures, load_transfer
        >>> llama = load_architectures().find("meta/llama-3.1-70b-instruct").architecture
        >>> fit = load_transfer(Store(), "a100-80gb-megatron-fp16").fit("me/llama", llama)
        >>> print(fit.tier, fit.stack.num_accelerators)
        transferred 2
    """
    profiles = [profile for profile in store.profiles(stack=stack_name) if profile.architecture is not None]
    if not profiles:
        names = sorted({profile.stack.name for profile in store.profiles()})
        raise InputError(
            f"No profile of a known architecture on stack {stack_name!r} in {store.path}. "
            f"Stacks with profiles: {', '.join(names) or 'none'}. Without any, name --accelerator for the roofline."
        )
    stack = profiles[0].stack
    accelerator = find_accelerator(stack.accelerator, accelerators or load_accelerators())
    spec = spec_of(accelerator, stack.dtype)
    measured = {fit.deployment: fit for fit in store.fits(stack=stack_name) if fit.tier == Tier.measured}
    return StackTransfer(fit_transfer(profiles, spec), measured, profiles, accelerator)


def roofline(stack: Stack, *, accelerators: Mapping[str, Accelerator] | None = None) -> StackTransfer:
    """Return the transfer model of a stack that nobody measured.

    Args:
        stack: Stack to predict for; only its accelerator and dtype matter.
        accelerators: All known accelerators; the packaged ones by default.

    Returns:
        Transfer model that predicts coefficients on the stack, with wide intervals.

    Raises:
        CatalogError: The catalogs do not have the stack's accelerator.
        InputError: The stack's dtype is unknown.

    Example:
        >>> from helm_efficiency import Stack, load_architectures, roofline
        >>> llama = load_architectures().find("meta/llama-3.1-8b-instruct").architecture
        >>> print(roofline(Stack("h100-roofline", "h100-sxm", dtype="bf16")).fit("me/llama", llama).tier)
        roofline
    """
    accelerator = find_accelerator(stack.accelerator, accelerators or load_accelerators())
    return StackTransfer(fit_transfer([], spec_of(accelerator, stack.dtype), stack=stack), {}, [], accelerator)


def catalog_fits(
    transfer: StackTransfer, entries: Iterable[CatalogEntry], *, dtype_of: Callable[[str], str] | None = None
) -> tuple[list[Fit], dict[str, str]]:
    """Predict coefficients for each model of HELM that has one of the architectures.

    Args:
        transfer: Transfer model of a stack.
        entries: Architectures, each with the models that use it.
        dtype_of: Function from a model's name to the precision of its weights; by default the stack's own for all.

    Returns:
        Fits under HELM's names of the models, and the reasons by name for models without a fit.
    """
    fits: list[Fit] = []
    reasons: dict[str, str] = {}
    by_dtype = {transfer.model.stack.dtype: transfer}
    for entry in entries:
        of_entry: dict[str, Fit] = {}
        for name in entry.helm_models:
            dtype = transfer.model.stack.dtype if dtype_of is None else dtype_of(name)
            try:
                if dtype not in by_dtype:
                    by_dtype[dtype] = transfer.at_dtype(dtype)
                if dtype not in of_entry:
                    of_entry[dtype] = by_dtype[dtype].fit(entry.architecture.name, entry.architecture)
            except InputError as error:
                reasons[name] = str(error)
                continue
            fits.append(transfer.measured.get(name) or replace(of_entry[dtype], deployment=name))
    return fits, reasons


def _one_of_each_cell(profile: Profile) -> list[Measurement]:
    """Return one measurement for each cell with a batch size of 1: its repetitions are not independent."""
    reduced = []
    for (p, o, batch_size), repeated in profile.cells().items():
        if batch_size == 1:
            seconds = [measurement.seconds for measurement in repeated]
            deviation = float(np.std(seconds, ddof=1)) if len(seconds) > 1 else repeated[0].seconds_std
            number = max(len(seconds), repeated[0].num_repetitions)
            middle = median_seconds(repeated)
            reduced.append(Measurement(p, o, middle, seconds_std=deviation, num_repetitions=number))
    return reduced


def _parallel(stack: Stack) -> Parallel:
    return Parallel(stack.tensor_parallel, stack.pipeline_parallel)
