"""Take the whole profile of an endpoint: ask the server for its facts, then time its cells."""

import time
from dataclasses import dataclass, field, replace

import httpx

from helm_efficiency.core.measurement import Profile, Stack
from helm_efficiency.errors import InputError
from helm_efficiency.profiling.checkpoint import CellFiles
from helm_efficiency.profiling.choice import CellChoice
from helm_efficiency.profiling.endpoint.client import Endpoint
from helm_efficiency.profiling.endpoint.options import EndpointOptions
from helm_efficiency.profiling.endpoint.server import ServerFacts, ask_server
from helm_efficiency.profiling.endpoint.timing import EndpointTimer
from helm_efficiency.profiling.noise import Repetitions
from helm_efficiency.profiling.session import Limits, OnResult, Outcome, run_session
from helm_efficiency.version import __version__


@dataclass(frozen=True, slots=True)
class EndpointJob:
    """An endpoint to profile.

    Attributes:
        options: Address of the server, and settings of its requests; without a model, the only served one is asked.
        deployment: Name under which coefficients are looked up later; empty for that of the model.
        stack_name: Name of the stack; empty to name it after the facts of the server.
        accelerator: Accelerator that the user states; like `engine` and `dtype`, it precedes what the server states.
        engine: Serving software that the user states.
        dtype: Dtype of the weights that the user states.
        shared_prompts: True to repeat prompts, so that prefix caches are used.
        cells: Choice of the cells to time; rows of a batch are requests sent together.
        repetitions: Number of warm-ups and repetitions of each cell.
    """

    options: EndpointOptions
    deployment: str = ""
    stack_name: str = ""
    accelerator: str = ""
    engine: str = ""
    dtype: str = ""
    shared_prompts: bool = False
    cells: CellChoice = field(default_factory=CellChoice)
    repetitions: Repetitions = field(default_factory=Repetitions)

    def __post_init__(self) -> None:
        fewest = min(self.cells.batch_sizes)
        if fewest < 1:
            raise InputError(f"Concurrency is {fewest}, expected 1 or more.")

    def stack(self, facts: ServerFacts) -> Stack:
        """Return the stack of a server, from its own facts and those that the user states."""
        stack = facts.with_given(accelerator=self.accelerator, engine=self.engine, dtype=self.dtype).stack()
        name = self.stack_name or stack.name
        return replace(stack, name=f"{name}-warm" if self.shared_prompts else name)


def run_endpoint_job(
    job: EndpointJob,
    files: CellFiles,
    *,
    fresh: bool = False,
    limits: Limits | None = None,
    on_result: OnResult | None = None,
) -> tuple[Profile, Outcome]:
    """Profile an endpoint.

    Returns:
        The profile of all measurements up to now, and how the session ended.

    Raises:
        InputError: A file of cells belongs to another profile, or the server serves several models and none is named.
        ProfilingError: The server cannot be reached, refuses everything, or does not count tokens.
    """
    limits = limits or Limits()
    with Endpoint(job.options, deadline=limits.deadline) as endpoint:
        facts = ask_server(endpoint, job.options.model)
    if not facts.model:
        raise InputError(f"{job.options.base_url} does not say which one model it serves. Name it: profile MODEL …")
    options = replace(job.options, model=facts.model)
    deployment, stack = job.deployment or facts.model, job.stack(facts)
    if fresh:
        files.path(deployment, stack).unlink(missing_ok=True)
    source = _describe(options, shared_prompts=job.shared_prompts)
    checkpoint = files.open(deployment, stack, source=source)
    with Endpoint(options, deadline=limits.deadline) as endpoint:
        timer = EndpointTimer(endpoint, repetitions=job.repetitions, shared_prompts=job.shared_prompts)
        plan = job.cells.plan(facts.max_tokens)
        outcome = run_session(plan, timer, checkpoint=checkpoint, limits=limits, on_result=on_result)
    profile = Profile(
        deployment=deployment,
        stack=stack,
        measurements=outcome.measurements(),
        source=source,
        measured_on=time.strftime("%Y-%m-%d"),
        versions={"helm-efficiency": __version__, "httpx": httpx.__version__},
        notes=outcome.notes(),
    )
    return profile, outcome


def _describe(options: EndpointOptions, *, shared_prompts: bool) -> str:
    """Return one line that says how a profile was taken."""
    how = f"{'chat' if options.chat else 'completions'} API, {'streamed' if options.stream else 'not streamed'}"
    return f"profile: {options.model} at {options.base_url}, {how}, {'shared' if shared_prompts else 'unique'} prompts"
