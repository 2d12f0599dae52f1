"""Take whole profiles of local models, from a name to measurements; called by the command line and bare machines.

A job is a model and one or several engines. Each engine has its own file of finished cells. A job that was killed
therefore goes on where it was, and a job that is finished costs nothing when it is asked for again.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from helm_efficiency.catalog.architectures import load_architectures
from helm_efficiency.core.measurement import Profile
from helm_efficiency.core.transfer.architecture import Architecture
from helm_efficiency.errors import InputError
from helm_efficiency.profiling.checkpoint import CellFiles, Checkpoint
from helm_efficiency.profiling.choice import CellChoice
from helm_efficiency.profiling.engines import ENGINES, make_engine
from helm_efficiency.profiling.local_timing import CellTimer, build_profile
from helm_efficiency.profiling.models import (
    ModelOptions,
    Subject,
    forget_models,
    load_model,
    made_up_model,
    stored_model,
)
from helm_efficiency.profiling.noise import Repetitions
from helm_efficiency.profiling.parallel import dismiss_followers, follow, is_first_process, num_processes
from helm_efficiency.profiling.session import Limits, OnResult, Outcome, Plan, run_session


@dataclass(frozen=True, slots=True)
class LocalJob:
    """A local model to profile.

    Attributes:
        model: Folder or name of a model; with `random_weights`, that of a transformers config or of an architecture.
        deployment: Name under which coefficients are looked up later.
        random_weights: True to use random weights instead of loading weights.
        options: Device and dtype with which the model is loaded.
        engines: Keys of `engines.ENGINES`; each engine makes a profile of its own.
        cells: Choice of the cells to time.
        repetitions: Number of warm-ups and repetitions of each cell.
        architecture: Architecture of the random weights, if neither a file nor the catalog has it.
    """

    model: str
    deployment: str
    random_weights: bool = False
    options: ModelOptions = field(default_factory=ModelOptions)
    engines: tuple[str, ...] = ("transformers-eager",)
    cells: CellChoice = field(default_factory=CellChoice)
    repetitions: Repetitions = field(default_factory=Repetitions)
    architecture: Architecture | None = None

    def __post_init__(self) -> None:
        for engine in self.engines:
            if engine not in ENGINES:
                raise InputError(f"Engine {engine!r}: expected one of {', '.join(ENGINES)}.")


@dataclass(frozen=True, slots=True)
class PreparedJob:
    """A job with everything that is known before the weights are loaded.

    Attributes:
        job: Job to run.
        subject: The model on its device.
        files: Files in which finished cells are kept.
    """

    job: LocalJob
    subject: Subject
    files: CellFiles

    def checkpoint(self, engine: str) -> Checkpoint:
        """Open the finished cells of an engine.

        Raises:
            FileFormatError: The file is not a file of cells.
            InputError: The file holds cells that were measured in another way.
        """
        return self.files.open(self.job.deployment, self.subject.stack(engine), source=self.subject.source())

    def plan(self) -> Plan:
        """Return the plan of the cells to time."""
        return self.job.cells.plan(self.subject.max_tokens)

    def is_pending(self, engine: str, limits: Limits) -> bool:
        """Return whether an engine has a cell left to time within the limits."""
        results = self.checkpoint(engine).results
        return not limits.reached(len(results)) and self.plan().next_cell(results) is not None

    def run(
        self, engine: str, model: Any, *, limits: Limits | None = None, on_result: OnResult | None = None
    ) -> Outcome:
        """Time the remaining cells of an engine."""
        timer = CellTimer(self.subject, model, engine, repetitions=self.job.repetitions)
        return run_session(self.plan(), timer, checkpoint=self.checkpoint(engine), limits=limits, on_result=on_result)

    def kept(self, engine: str) -> Outcome:
        """Return all measurements up to now, without timing anything."""
        results = self.checkpoint(engine).results
        return Outcome(tuple(results), 0, 0.0, finished=self.plan().next_cell(results) is None)

    def profile(self, engine: str, outcome: Outcome) -> Profile:
        """Return the measurements of an engine as a profile."""
        return build_profile(self.subject, outcome, deployment=self.job.deployment, engine=engine)


def prepare_job(job: LocalJob, files: CellFiles, *, fresh: bool = False) -> PreparedJob:
    """Find the model of a job, but do not load it.

    Raises:
        InputError: The dtype or the device does not exist.
        CatalogError: The catalog has no such architecture.
        ProfilingError: The model does not exist, or the architecture cannot be built.
    """
    if job.random_weights:
        source: Architecture | str = job.architecture or job.model
        if job.architecture is None and not Path(job.model).exists():
            source = load_architectures().find(job.model).architecture
        subject = made_up_model(source, job.options, max_tokens=job.cells.longest())
    else:
        subject = stored_model(job.model, job.options)
    for engine in job.engines if fresh else ():
        files.path(job.deployment, subject.stack(engine)).unlink(missing_ok=True)
    return PreparedJob(job, subject, files)


def run_job(
    prepared: PreparedJob, *, limits: Limits | None = None, on_result: OnResult | None = None
) -> Iterator[tuple[Profile, Outcome]]:
    """Profile a model with each engine in turn; the model is loaded only if a cell is left to time.

    Yields:
        For each engine: its profile up to now, and how the session ended.

    Raises:
        InputError: A file of cells belongs to another profile.
        ProfilingError: The model cannot be loaded or run.
    """
    limits = limits or Limits()
    if num_processes() > 1:
        yield from _run_split(prepared, limits=limits, on_result=on_result)
        return
    model = None
    for engine in prepared.job.engines:
        if prepared.is_pending(engine, limits):
            model = load_model(prepared.subject) if model is None else model
            outcome = prepared.run(engine, model, limits=limits, on_result=on_result)
        else:
            outcome = prepared.kept(engine)
        yield prepared.profile(engine, outcome), outcome
    if model is not None:
        del model
        forget_models()


def _run_split(
    prepared: PreparedJob, *, limits: Limits, on_result: OnResult | None
) -> Iterator[tuple[Profile, Outcome]]:
    """Do what `run_job` does with the model split over the processes of torchrun; only the first process yields."""
    model = load_model(prepared.subject)
    for engine in prepared.job.engines:
        if not is_first_process():
            follow(make_engine(engine, model), model.device)
            continue
        try:
            outcome = prepared.run(engine, model, limits=limits, on_result=on_result)
        finally:
            dismiss_followers()
        yield prepared.profile(engine, outcome), outcome
