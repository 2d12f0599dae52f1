"""Whole profiles of an endpoint, one for each load it is put under."""

import time
from collections.abc import Iterator
from dataclasses import dataclass, field

import httpx

from helm_efficiency.core.measurement import Profile, Stack
from helm_efficiency.profiling.checkpoint import CellFiles
from helm_efficiency.profiling.choice import CellChoice
from helm_efficiency.profiling.endpoint.client import Endpoint
from helm_efficiency.profiling.endpoint.options import EndpointOptions
from helm_efficiency.profiling.endpoint.timing import EndpointTimer, Load, stack_under_load
from helm_efficiency.profiling.noise import Repetitions
from helm_efficiency.profiling.session import Limits, OnResult, Outcome, run_session
from helm_efficiency.version import __version__


@dataclass(frozen=True, slots=True)
class EndpointJob:
    """An endpoint to profile.

    Attributes:
        options: Which server, and how it is asked.
        deployment: Name under which coefficients are looked up later.
        stack: What the server runs on, as far as it is known.
        loads: Each makes a profile of its own.
        cells: Which cells are timed.
        repetitions: How often.
    """

    options: EndpointOptions
    deployment: str
    stack: Stack
    loads: tuple[Load, ...] = (Load(),)
    cells: CellChoice = field(default_factory=CellChoice)
    repetitions: Repetitions = field(default_factory=Repetitions)


def run_endpoint_job(
    job: EndpointJob,
    files: CellFiles,
    *,
    fresh: bool = False,
    limits: Limits | None = None,
    on_result: OnResult | None = None,
) -> Iterator[tuple[Profile, Outcome]]:
    """Profile an endpoint under each load in turn.

    Args:
        job: What to profile.
        files: Where finished cells are kept.
        fresh: Whether to forget the finished cells of this job.
        limits: When to end early.
        on_result: Called with every new cell.

    Yields:
        For each load: all that is measured by now, and how the session ended.

    Raises:
        InputError: A file of cells belongs to something else.
        ProfilingError: The server cannot be reached, refuses everything, or does not count tokens.
    """
    limits = limits or Limits()
    with Endpoint(job.options, deadline=limits.deadline) as endpoint:
        for load in job.loads:
            stack = stack_under_load(job.stack, load)
            if fresh:
                files.path(job.deployment, stack).unlink(missing_ok=True)
            source = describe_load(job.options, load)
            checkpoint = files.open(job.deployment, stack, source=source)
            timer = EndpointTimer(endpoint, load=load, repetitions=job.repetitions)
            plan = job.cells.plan(None)
            outcome = run_session(plan, timer, checkpoint=checkpoint, limits=limits, on_result=on_result)
            profile = Profile(
                deployment=job.deployment,
                stack=stack,
                measurements=outcome.measurements(),
                source=source,
                measured_on=time.strftime("%Y-%m-%d"),
                versions={"helm-efficiency": __version__, "httpx": httpx.__version__},
                notes=outcome.notes(),
            )
            yield profile, outcome


def describe_load(options: EndpointOptions, load: Load) -> str:
    """How a profile was taken, in one line."""
    how = f"{'chat' if options.chat else 'completions'} API, {'streamed' if options.stream else 'not streamed'}"
    prompts = "shared prompts" if load.shared_prompts else "unique prompts"
    return f"profile: {options.model} at {options.base_url}, {how}, {prompts}, {load.concurrency} in flight"
