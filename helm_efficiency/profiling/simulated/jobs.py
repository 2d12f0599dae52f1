"""Simulate whole profiles of models instead of timing them, with the same cells, store and fit as any other profile."""

from dataclasses import dataclass, field, replace
from datetime import date
from pathlib import Path

from helm_efficiency.catalog.architectures import load_architectures
from helm_efficiency.catalog.simulation_corrections import simulation_correction
from helm_efficiency.core.measurement import Measurement, Profile, Stack
from helm_efficiency.core.tier import Tier
from helm_efficiency.core.transfer.architecture import Architecture
from helm_efficiency.errors import InputError
from helm_efficiency.profiling.cells import Cell, CellResult
from helm_efficiency.profiling.choice import CellChoice
from helm_efficiency.profiling.model_configs import read_config
from helm_efficiency.profiling.plans import FixedPlan
from helm_efficiency.profiling.session import OnResult, Outcome, run_session
from helm_efficiency.profiling.simulated.aiconfigurator import (
    PACKAGE,
    Deployment,
    Simulation,
    packaged_configs,
    simulate,
)
from helm_efficiency.profiling.simulated.configs import (
    SimulatedModel,
    packaged_architectures,
    packaged_model,
    simulated_model,
)

PROMPT_TOKENS = (1, 128, 256, 512, 1024, 2048, 4096, 8192, 16384, 32768)
"""Prompt lengths of a simulated profile. Between two of these doublings, prefill was straight to 1 % in our trials."""

BATCH_SIZES = (2, 4, 8, 16, 32, 64, 128, 256)

_BATCHED_PROMPT_TOKENS = (128, 1024, 4096)
_OUTPUT_TOKENS = (1, 65, 4097)
_BATCHED_OUTPUT_TOKENS = (1, 257)
"""Output lengths. One token alone determines prefill; the others determine decode and, with the prompts, its growth."""


@dataclass(frozen=True, slots=True)
class SimulatedJob:
    """A model to simulate.

    Attributes:
        model: Name in the catalog, HELM's name, Hugging Face name, config.json, or a folder with one.
        deployment: Name under which coefficients are looked up later.
        runs_on: Accelerators, engine and number formats.
        cells: Cells to simulate; those of `simulated_cells` if it names no prompt lengths.
        stack_name: Name of the stack; by default simulated-accelerator-engine-dtype.
    """

    model: str
    deployment: str
    runs_on: Deployment
    cells: CellChoice = field(default_factory=CellChoice)
    stack_name: str = ""


@dataclass(frozen=True, slots=True)
class Subject:
    """A model that was found by its name or config.

    Attributes:
        simulated: Model in the form that AIConfigurator accepts.
        architecture: Sizes of the model; None for a hybrid, because sizes cannot describe its layers.
        source: Source of the sizes.
    """

    simulated: SimulatedModel
    architecture: Architecture | None
    source: str


def run_simulated_job(job: SimulatedJob, *, on_result: OnResult | None = None) -> tuple[Profile, Outcome]:
    """Simulate every cell of a job.

    Returns:
        The profile, with tier `simulated`, and how the session ended.

    Raises:
        InputError: The model is not known, or models of its kind cannot be simulated.
        ProfilingError: AIConfigurator has no timings of a kernel that the model needs there.
        MissingExtraError: AIConfigurator is not installed.
    """
    subject = find_subject(job.model, job.runs_on.dtype)
    simulation = simulate(subject.simulated.config, replace(job.runs_on, dtype=subject.simulated.dtype))
    chosen = job.cells.plan(None) if job.cells.prompt_tokens or job.cells.cells else FixedPlan(simulated_cells())
    outcome = run_session(
        chosen, lambda cell: CellResult(cell, (cell_measurement(simulation, cell),)), on_result=on_result
    )
    return build_profile(job, subject, simulation, outcome.measurements()), outcome


def simulated_cells(longest_tokens: int = PROMPT_TOKENS[-1]) -> list[Cell]:
    """Return the cells of a simulated profile: single requests of every prompt length, then batches of a few."""
    single = [Cell(p, o) for p in PROMPT_TOKENS if p <= longest_tokens for o in _OUTPUT_TOKENS]
    batched = [Cell(p, o, b) for b in BATCH_SIZES for p in _BATCHED_PROMPT_TOKENS for o in _BATCHED_OUTPUT_TOKENS]
    return [*single, *(cell for cell in batched if cell.prompt_tokens <= longest_tokens)]


def find_subject(model: str, dtype: str = "") -> Subject:
    """Find a model by a name or by its config.

    Args:
        model: Name or path of the model, as in `SimulatedJob.model`.
        dtype: Number format of the weights; empty for that of the checkpoint.

    Raises:
        InputError: The name or file does not exist, or AIConfigurator has no kernels for such a model.
    """
    entry = load_architectures().entries.get(model) or load_architectures().of_model(model)
    if model in packaged_configs():
        return Subject(packaged_model([model], dtype), packaged_architectures().get(model), f"{PACKAGE}: {model}")
    if entry is not None:
        return Subject(simulated_model(entry.architecture, dtype), entry.architecture, entry.source)
    config = read_config(model)
    try:
        architecture = Architecture.from_transformers_config(config.values, name=Path(config.name).name)
    except InputError:
        return Subject(SimulatedModel(config.values, dtype or "bf16"), None, config.source)
    return Subject(simulated_model(architecture, dtype), architecture, config.source)


def build_profile(
    job: SimulatedJob, subject: Subject, simulation: Simulation, measurements: tuple[Measurement, ...]
) -> Profile:
    """Return a profile of simulated cells, with the versions of the simulator and of its tables."""
    d = job.runs_on
    notes = [*subject.simulated.notes]
    if simulation.estimated_kernels:
        notes.append(f"kernels of shapes that were not timed: {', '.join(simulation.estimated_kernels)}")
    stack = Stack(
        name=job.stack_name or f"simulated-{d.accelerator}-{d.engine}-{simulation.dtype}",
        accelerator=d.accelerator,
        num_accelerators=d.tensor_parallel,
        engine=d.engine,
        engine_version=simulation.engine_version,
        dtype=simulation.dtype,
        tensor_parallel=d.tensor_parallel,
    )
    return Profile(
        deployment=job.deployment,
        stack=stack,
        measurements=measurements,
        architecture=subject.architecture,
        source=f"simulated by {PACKAGE}; sizes: {subject.source}",
        measured_on=date.today().isoformat(),
        versions=simulation.versions,
        notes=tuple(notes),
        tier=Tier.simulated,
        correction=simulation_correction(stack, subject.architecture),
    )


def cell_measurement(simulation: Simulation, cell: Cell) -> Measurement:
    """Return the simulated measurement of one cell.

    Raises:
        RuntimeError: A kernel has neither a timing nor anything to estimate it from.
    """
    seconds = simulation.request_s(cell.prompt_tokens, cell.output_tokens, batch_size=cell.batch_size)
    first_s = simulation.prefill_s(cell.prompt_tokens, batch_size=cell.batch_size)
    return Measurement(*cell[:2], seconds=seconds, batch_size=cell.batch_size, ttft_s=first_s)
