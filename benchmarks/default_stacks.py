"""Make the coefficients that the package brings: open models on common accelerators and engines, simulated and fitted.

    python benchmarks/default_stacks.py helm_efficiency/catalog/data/default_stacks.json.gz

It takes some minutes and needs no accelerator. Models are those of the architecture catalog and those whose configs
AIConfigurator brings, once for each set of layers.
"""

import gzip
import logging
import re
import sys
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, replace
from datetime import date
from importlib.metadata import version
from itertools import product
from pathlib import Path

import msgspec
from _simulated_coefficients import MAX_OUTPUT_TOKENS, simulated_coefficients

from helm_efficiency.catalog.accelerators import load_accelerators
from helm_efficiency.catalog.architectures import load_architectures
from helm_efficiency.catalog.default_stacks import (
    SimulatedFit,
    SimulatedName,
    SimulatedStack,
    SimulatedTable,
)
from helm_efficiency.core.transfer.architecture import Architecture, have_same_layers
from helm_efficiency.errors import InputError, ProfilingError
from helm_efficiency.files import write_file
from helm_efficiency.profiling.simulated.aiconfigurator import (
    ENGINES,
    NO_TIMING,
    PACKAGE,
    Deployment,
    Simulation,
    checkpoint_dtype,
    packaged_configs,
    simulate,
)
from helm_efficiency.profiling.simulated.configs import (
    SimulatedModel,
    made_up_model,
    packaged_architectures,
    packaged_model,
)
from helm_efficiency.profiling.simulated.jobs import BATCH_SIZES, PROMPT_TOKENS
from helm_efficiency.version import __version__

_LOG = logging.getLogger(__name__)

ACCELERATORS = ("a100-80gb", "h100-sxm", "h200-sxm", "b200", "l40s")
COUNTS = (1, 2, 4, 8)
QUANTIZED = {"fp8": ACCELERATORS, "fp4": ("b200",)}
"""Further number formats to simulate if the checkpoint is bf16, and the accelerators to simulate them on."""

_WEIGHTS_FRACTION = 0.85
"""Share of an accelerator's memory that weights may take: a tenth is workspace, the rest the cache of one long request.
Only few models are within 5 % of the limit; another share would place these on twice or half as many accelerators."""

_CROWD, _LEAST_RISE = (1, *BATCH_SIZES).index(64), 0.9
"""Index of 64 rows, and the least ratio of their step to a step of one row. A ratio below it shows a broken table; such
fits are left out."""

_DIGITS = 4
_QUANTIZED_COPY = re.compile(r"-(FP8|NVFP4|BF16|FP8-Static-PerTensor)$")


@dataclass(frozen=True, slots=True)
class Candidate:
    """A model to simulate on every accelerator and engine.

    Attributes:
        name: Name in the architecture catalog, else on Hugging Face.
        architecture: Sizes of the model; None for a hybrid, because sizes cannot describe its layers.
        checkpoints: Packaged configs with the same layers, that of the model's maker first.
        dtype: Number format of the published weights, if no checkpoint is packaged.
    """

    name: str
    architecture: Architecture | None
    checkpoints: tuple[str, ...] = ()
    dtype: str = "bf16"

    def simulated(self, dtype: str) -> SimulatedModel:
        """Return the model to simulate with weights of a number format; empty for that of the checkpoint."""
        if self.checkpoints:
            return packaged_model(self.checkpoints, dtype)
        if self.architecture is None:
            raise InputError(f"{self.name}: neither sizes nor a config.")
        return made_up_model(self.architecture)._replace(dtype=dtype or self.dtype)

    @property
    def is_of_older_kind(self) -> bool:
        """True if every head has its own keys and every token uses all weights, as in models before 2023."""
        a = self.architecture
        return a is not None and a.num_kv_heads == a.num_heads and not a.num_experts and not a.kv_lora_rank

    @property
    def native_dtype(self) -> str:
        """Number format of the published checkpoint."""
        return checkpoint_dtype(self.checkpoints[0]) if self.checkpoints else self.dtype


def candidates() -> list[Candidate]:
    """Return every model once: those of the catalog, then packaged configs that have layers of their own."""
    packaged = packaged_architectures()
    found: list[Candidate] = []
    for entry in load_architectures().entries.values():
        if not any(c.architecture and have_same_layers(c.architecture, entry.architecture) for c in found):
            alike = tuple(n for n, known in packaged.items() if have_same_layers(known, entry.architecture))
            found.append(Candidate(entry.architecture.name, entry.architecture, alike, entry.dtype))
    for name, architecture in packaged.items():
        if not any(c.architecture and have_same_layers(c.architecture, architecture) for c in found):
            alike = tuple(n for n, known in packaged.items() if have_same_layers(known, architecture))
            found.append(Candidate(name, architecture, alike))
    hybrids: dict[str, list[str]] = {}
    for name in sorted(set(packaged_configs()) - set(packaged), key=lambda name: (name.startswith("nvidia/"), name)):
        hybrids.setdefault(_QUANTIZED_COPY.sub("", name.rsplit("/", 1)[-1]), []).append(name)
    return [*found, *(Candidate(names[0], None, tuple(names)) for names in hybrids.values())]


def make_table(models: Sequence[Candidate], accelerators: Sequence[str] = ACCELERATORS) -> SimulatedTable:
    """Simulate every model on every accelerator and engine that has kernel timings for it.

    Args:
        models: Models to simulate.
        accelerators: Accelerators to simulate them on.
    """
    stacks: list[SimulatedStack] = []
    fits: list[SimulatedFit] = []
    for accelerator, engine in product(accelerators, ENGINES):  # the outer loop: each pair has its own tables
        before = len(fits)
        for index, candidate in enumerate(models):
            if engine != ENGINES[0] and candidate.is_of_older_kind:
                continue
            for simulation, is_fewest in _simulations(candidate, accelerator, engine):
                stack = SimulatedStack(accelerator, engine, simulation.engine_version)
                if stack not in stacks:
                    stacks.append(stack)
                is_native = simulation.dtype == candidate.native_dtype
                with suppress(*NO_TIMING):
                    where = (index, stacks.index(stack))
                    fit = _fit(where, simulation, is_native=is_native, is_fewest=is_fewest)
                    if fit.decode_s_per_token[_CROWD] >= _LEAST_RISE * fit.decode_s_per_token[0]:
                        fits.append(fit)
        _LOG.info("%s %s: %d fits", accelerator, engine, len(fits) - before)
    used = sorted({fit.model for fit in fits})
    return SimulatedTable(
        versions={PACKAGE: version(PACKAGE), "helm-efficiency": __version__},
        made_on=date.today().isoformat(),
        prompt_tokens=PROMPT_TOKENS,
        batch_sizes=(1, *BATCH_SIZES),
        max_output_tokens=MAX_OUTPUT_TOKENS,
        models=tuple(_name(models[index]) for index in used),
        stacks=tuple(stacks),
        fits=tuple(fit._replace(model=used.index(fit.model)) for fit in fits),
    )


def _name(candidate: Candidate) -> SimulatedName:
    sizes = {} if candidate.architecture is None else asdict(candidate.architecture)
    sizes = {key: value for key, value in sizes.items() if value and key != "name"}
    return SimulatedName(candidate.name, sizes, candidate.simulated("").notes)


def _simulations(candidate: Candidate, accelerator: str, engine: str) -> Iterator[tuple[Simulation, bool]]:
    """Yield a simulation for each number format, on the fewest accelerators that hold the model and on a whole node."""
    native = candidate.native_dtype
    others = [dtype for dtype, on in QUANTIZED.items() if native == "bf16" and accelerator in on]
    most_bytes = _WEIGHTS_FRACTION * (load_accelerators()[accelerator].memory_bytes or 0.0)
    for dtype in (native, *others):
        is_fewest = True
        for count in COUNTS:
            if not is_fewest and count != COUNTS[-1]:
                continue
            with suppress(ProfilingError, InputError):
                simulation = _simulate(candidate.simulated(dtype), Deployment(accelerator, engine, dtype, count))
                if simulation.weight_bytes <= most_bytes:
                    yield replace(simulation, dtype=dtype), is_fewest
                    is_fewest = False


def _simulate(model: SimulatedModel, runs_on: Deployment) -> Simulation:
    """Simulate with each expert split over all accelerators, or else with experts distributed, as the sizes allow."""
    runs_on = replace(runs_on, dtype=model.dtype)
    try:
        return simulate(model.config, runs_on)
    except ProfilingError:
        if runs_on.tensor_parallel == 1:
            raise
        return simulate(model.config, replace(runs_on, expert_parallel=runs_on.tensor_parallel))


def _fit(where: tuple[int, int], simulation: Simulation, *, is_native: bool, is_fewest: bool) -> SimulatedFit:
    c = simulated_coefficients(simulation)
    return SimulatedFit(
        *where,
        simulation.dtype,
        simulation.deployment.tensor_parallel,
        is_native,
        is_fewest,
        tuple(_short(seconds) for _, seconds in c.prefill_knots),
        tuple(_short(seconds) for _, _, seconds in c.batch_knots),
        _short(c.decode_s_per_context_token),
        tuple(_short(factor) for _, factor, _ in c.batch_knots),
        (_short(c.tail_s_per_token or 0.0), _short(c.tail_s_per_token_squared)),
        _short(c.relative_error),
    )


def _short(number: float) -> float:
    """Return a number with four digits; the rounding is a fiftieth of the error of the fit."""
    return float(f"{number:.{_DIGITS}g}")


def main(arguments: Sequence[str] | None = None) -> None:
    """Make the table and write it to the file named in the arguments."""
    logging.basicConfig(level=logging.INFO, format="%(message)s", stream=sys.stderr)
    (path,) = sys.argv[1:] if arguments is None else arguments
    table = msgspec.json.encode(make_table(candidates()))
    write_file(Path(path), gzip.compress(table, compresslevel=9, mtime=0))


if __name__ == "__main__":
    main()
