"""Packaged coefficients of today's stacks, so that an empty store can score today's models.

`benchmarks/default_stacks.py` writes `data/default_stacks.json.gz`: coefficients fitted to simulated cells of open
models on common accelerators and engines. Corrections learnt from public measurements are applied when they are read,
so that a better table of corrections needs no new simulation. The tier is `simulated`.

A stack is named accelerator-engine-dtype, such as `h100-sxm-vllm-fp8`. With `native` for the dtype, every model has the
dtype of its own checkpoint. A model is spread over the fewest accelerators that hold it, or over 8 if the name ends in
`-x8`.
"""

import gzip
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from typing import Any, NamedTuple

import msgspec

from helm_efficiency.catalog.architectures import load_architectures, name_key
from helm_efficiency.catalog.simulation_corrections import simulation_correction
from helm_efficiency.core.fitting.correction import corrected
from helm_efficiency.core.fitting.fit import Fit
from helm_efficiency.core.measurement import Stack
from helm_efficiency.core.rules import PrefillRule
from helm_efficiency.core.runtime_model import Domain, RuntimeCoefficients
from helm_efficiency.core.tier import Tier
from helm_efficiency.core.transfer.architecture import Architecture, have_same_layers

NATIVE = "native"
ON_EIGHT = "-x8"

_DATA = "data/default_stacks.json.gz"


class SimulatedStack(NamedTuple):
    """One engine on one accelerator, as it was simulated.

    Attributes:
        accelerator: Key of the accelerator catalog.
        engine: Serving engine.
        engine_version: Version of the engine for which kernels were timed.
    """

    accelerator: str
    engine: str
    engine_version: str


class SimulatedFit(NamedTuple):
    """Coefficients of one model on one stack, before any correction; seconds in the units of `RuntimeCoefficients`.

    Attributes:
        model: Index of the model.
        stack: Index of the stack.
        dtype: Number format of the weights.
        num_accelerators: Accelerators that share each layer.
        is_native: True if the dtype is that of the checkpoint.
        is_fewest: True if fewer accelerators would not hold the model.
        prefill_s: Prefill seconds at each of the table's prompt lengths.
        decode_s_per_token: Seconds of a decode step at each of the table's batch sizes, at an empty context.
        decode_s_per_context_token: Further seconds of a decode step for each token of context.
        batch_factors: Prefill factor of each of the table's batch sizes.
        tail: Linear and quadratic term of prefill beyond the longest prompt.
        relative_error: Relative deviation of simulated cells from these coefficients.
    """

    model: int
    stack: int
    dtype: str
    num_accelerators: int
    is_native: bool
    is_fewest: bool
    prefill_s: tuple[float, ...]
    decode_s_per_token: tuple[float, ...]
    decode_s_per_context_token: float
    batch_factors: tuple[float, ...]
    tail: tuple[float, float]
    relative_error: float


class SimulatedName(msgspec.Struct, frozen=True, omit_defaults=True):
    """A model of the table.

    Attributes:
        name: Name in the architecture catalog, or else on Hugging Face.
        architecture: Sizes other than zero; empty if they cannot describe the layers.
        notes: Parts of the model that the simulation leaves out.
    """

    name: str
    architecture: dict[str, Any] = {}
    notes: tuple[str, ...] = ()


class SimulatedTable(msgspec.Struct, frozen=True):
    """All packaged coefficients.

    Attributes:
        versions: Versions of the software that simulated and fitted, by package.
        made_on: ISO date of the simulation.
        prompt_tokens: Prompt lengths of the prefill knots.
        batch_sizes: Batch sizes of the decode steps; the first is 1.
        max_output_tokens: Tokens of the longest simulated output.
        models: Models, each once.
        stacks: Pairs of accelerator and engine, each once.
        fits: Coefficients, one entry per model, stack, dtype and number of accelerators.
    """

    versions: dict[str, str]
    made_on: str
    prompt_tokens: tuple[int, ...]
    batch_sizes: tuple[int, ...]
    max_output_tokens: int
    models: tuple[SimulatedName, ...]
    stacks: tuple[SimulatedStack, ...]
    fits: tuple[SimulatedFit, ...]


def default_fits(
    model: str | Architecture, stack: str | None = None, *, admits: Callable[[Stack], bool] | None = None
) -> list[Fit]:
    """Return the packaged coefficients of a model, on every packaged stack or on one.

    Args:
        model: Name in the architecture catalog, of HELM or of Hugging Face; or sizes, which match a model with the same
            layers.
        stack: Name of a stack, such as `h100-sxm-vllm-fp8`; None for all.
        admits: Function that says whether a stack is wanted; None for all.

    Returns:
        Fits under the model's name, with intervals that hold for real servers; empty without packaged coefficients.

    Example:
        >>> from helm_efficiency.catalog.default_stacks import default_fits
        >>> (fit,) = default_fits("meta/llama-3.1-8b-instruct", "h100-sxm-vllm-fp8")
        >>> fit.tier, str(fit.stack.accelerator), fit.stack.num_accelerators
        ('simulated', 'h100-sxm', 1)
    """
    found = _find(model)
    if found is None:
        return []
    name = model if isinstance(model, str) else model.name
    fits = (fit for fit in _table().fits if fit.model == found.index)
    wanted = ((fit, _stack(fit, named)) for fit in fits for named in _names(fit) if stack in (None, named))
    return [_fit(name, found, fit, on) for fit, on in wanted if admits is None or admits(on)]


@dataclass(frozen=True, slots=True)
class _Found:
    index: int
    model: SimulatedName
    note: str


def _find(model: str | Architecture) -> _Found | None:
    """Return a model of the table by its name, or else by the layers of the catalog's architecture of that name."""
    by_name = _by_name()
    if isinstance(model, str):
        index = by_name.get(model.lower(), by_name.get(name_key(model)))
        if index is not None:
            return _Found(index, _table().models[index], "")
        entry = load_architectures().of_model(model) or load_architectures().entries.get(model)
        if entry is None:
            return None
        model = entry.architecture
    for index, known in _architectures():
        if have_same_layers(known, model):
            return _Found(index, _table().models[index], f"simulated as {known.name}, whose layers are the same")
    return None


def _names(fit: SimulatedFit) -> Iterator[str]:
    """Yield the names of the stacks that a fit belongs to."""
    accelerator, engine, _ = _table().stacks[fit.stack]
    for dtype in (NATIVE, fit.dtype) if fit.is_native else (fit.dtype,):
        if fit.is_fewest:
            yield f"{accelerator}-{engine}-{dtype}"
        if fit.num_accelerators == 8:
            yield f"{accelerator}-{engine}-{dtype}{ON_EIGHT}"


def _stack(fit: SimulatedFit, name: str) -> Stack:
    on = _table().stacks[fit.stack]
    return Stack(
        name,
        on.accelerator,
        fit.num_accelerators,
        engine=on.engine,
        engine_version=on.engine_version,
        dtype=fit.dtype,
        tensor_parallel=fit.num_accelerators,
    )


def _fit(name: str, found: _Found, fit: SimulatedFit, stack: Stack) -> Fit:
    table = _table()
    architecture = dict(_architectures()).get(found.index)
    correction = simulation_correction(stack, architecture)
    return Fit(
        name,
        stack,
        corrected(_coefficients(table, fit), correction),
        tier=Tier.simulated,
        notes=(*found.model.notes, *((found.note,) if found.note else ())),
        versions=table.versions,
        source=f"simulated by aiconfigurator-core, corrected by {correction.source}",
        fitted_on=table.made_on,
    )


def _coefficients(table: SimulatedTable, fit: SimulatedFit) -> RuntimeCoefficients:
    prompts = table.prompt_tokens
    return RuntimeCoefficients(
        PrefillRule.linear,
        tuple(zip(prompts, fit.prefill_s, strict=True)),
        fit.decode_s_per_token[0],
        Domain(prompts[0], prompts[-1], 1, table.max_output_tokens, table.batch_sizes[-1]),
        decode_s_per_context_token=fit.decode_s_per_context_token,
        relative_error=fit.relative_error,
        tail_s_per_token=fit.tail[0],
        tail_s_per_token_squared=fit.tail[1],
        batch_knots=tuple(zip(table.batch_sizes, fit.batch_factors, fit.decode_s_per_token, strict=True)),
    )


@cache
def _table() -> SimulatedTable:
    packed = files("helm_efficiency.catalog").joinpath(_DATA).read_bytes()
    return msgspec.json.decode(gzip.decompress(packed), type=SimulatedTable)


@cache
def _by_name() -> dict[str, int]:
    """Map names, in lower case and in the form that hosts share, to the index of their model."""
    named = [(model.name, index) for index, model in enumerate(_table().models)]
    return {name_key(name): index for name, index in named} | {name.lower(): index for name, index in named}


@cache
def _architectures() -> tuple[tuple[int, Architecture], ...]:
    models = enumerate(_table().models)
    return tuple(
        (index, Architecture(name=model.name, **model.architecture)) for index, model in models if model.architecture
    )
