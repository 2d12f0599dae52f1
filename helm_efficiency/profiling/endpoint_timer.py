"""Times cells at an endpoint: unique prompts, a number of requests in flight, the server's own token counts."""

import re
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace

import httpx

from helm_efficiency import __version__
from helm_efficiency.core.measurement import Measurement, Profile, Stack
from helm_efficiency.errors import InputError, ProfilingError
from helm_efficiency.profiling.cells import Cell, CellResult, check_cell
from helm_efficiency.profiling.endpoint import Endpoint, EndpointOptions, Reply
from helm_efficiency.profiling.noise import Repetitions, noise_note, spread_fraction
from helm_efficiency.profiling.prompts import PromptMaker
from helm_efficiency.profiling.session import Outcome

_CALIBRATION_WORDS = (16, 112)


@dataclass(frozen=True, slots=True)
class Load:
    """How requests reach the server.

    Attributes:
        concurrency: Requests in flight.
        shared_prompts: Whether prompts repeat, so that prefix caches are used; else no two begin alike.
    """

    concurrency: int = 1
    shared_prompts: bool = False

    def __post_init__(self) -> None:
        if self.concurrency < 1:
            raise InputError(f"Concurrency is {self.concurrency}, expected 1 or more.")


class EndpointTimer:
    """Times cells at one endpoint under one load: call it with a cell."""

    def __init__(self, endpoint: Endpoint, *, load: Load, repetitions: Repetitions) -> None:
        """Ask the server twice, to learn how it counts tokens.

        Raises:
            ProfilingError: The server cannot be reached, refuses, or does not count tokens.
        """
        self._endpoint = endpoint
        self._load = load
        self._repetitions = repetitions
        self._prompts = PromptMaker()
        counts = [endpoint.request(self._prompts.words(words), 1).prompt_tokens for words in _CALIBRATION_WORDS]
        if counts[1] <= counts[0]:
            raise ProfilingError(
                f"The server counts {counts[0]} and {counts[1]} prompt tokens for {_CALIBRATION_WORDS[0]} and "
                f"{_CALIBRATION_WORDS[1]} words; its usage cannot be trusted."
            )
        self._prompts.calibrate(_CALIBRATION_WORDS, (counts[0], counts[1]))
        self._prompts.shared = load.shared_prompts

    def __call__(self, cell: Cell) -> CellResult:
        """Time one cell: a warm-up, repetitions, and more of these if they disagree.

        Raises:
            InputError: The cell is out of range or has several rows.
            ProfilingError: The server stopped answering.
        """
        check_cell(cell)
        if cell.batch_size > 1:
            raise InputError(f"Cell {cell}: the rows of a batch are the server's affair. Use --concurrency.")
        start = time.perf_counter()
        for _ in range(self._repetitions.num_warmups):
            self._ask(cell)
        replies: list[Reply] = []
        with ThreadPoolExecutor(self._load.concurrency) as pool:
            while self._repetitions.wants_more([reply.seconds for reply in replies]):
                rounds = 1 if replies else -(-self._repetitions.num_repetitions // self._load.concurrency)
                futures = [pool.submit(self._ask, cell) for _ in range(rounds * self._load.concurrency)]
                replies.extend(future.result() for future in futures)
        seconds = [reply.seconds for reply in replies]
        notes = [noise_note(seconds, wanted_fraction=self._repetitions.max_spread_fraction), *_notes(cell, replies)]
        return CellResult(
            cell,
            tuple(
                Measurement(reply.prompt_tokens, max(reply.output_tokens, 1), reply.seconds, ttft_s=reply.ttft_s)
                for reply in replies
            ),
            spread_fraction=spread_fraction(seconds),
            elapsed_s=time.perf_counter() - start,
            itl_s=tuple(gap for reply in replies if _chunks_are_tokens(reply) for gap in reply.gaps_s),
            note="; ".join(note for note in notes if note),
        )

    def _ask(self, cell: Cell) -> Reply:
        return self._endpoint.request(self._prompts.prompt(cell.prompt_tokens), cell.output_tokens)


def _chunks_are_tokens(reply: Reply) -> bool:
    """Whether gaps between chunks are gaps between tokens."""
    return reply.ttft_s is not None and len(reply.gaps_s) == reply.output_tokens - 1


def _notes(cell: Cell, replies: Sequence[Reply]) -> list[str]:
    """What a reader should know about how the server answered."""
    notes = []
    short = [reply.output_tokens for reply in replies if reply.output_tokens < cell.output_tokens]
    if short:
        notes.append(
            f"{len(short)} of {len(replies)} replies stopped early and are kept under their own {min(short)} to "
            f"{max(short)} tokens; if the server can be forced, say how with --extra-body"
        )
    lengths = sorted({reply.prompt_tokens for reply in replies})
    if lengths != [cell.prompt_tokens]:
        notes.append(f"the server counts {lengths[0]} to {lengths[-1]} prompt tokens")
    cached = [reply.cached_tokens for reply in replies if reply.cached_tokens]
    if cached:
        notes.append(f"{len(cached)} prompts partly from the server's prefix cache (up to {max(cached)} tokens)")
    retried = sum(reply.retries for reply in replies)
    if retried:
        notes.append(f"{retried} attempts failed and are not part of the times")
    return notes


def endpoint_profile(
    options: EndpointOptions, outcome: Outcome, *, deployment: str, stack: Stack, load: Load
) -> Profile:
    """What a session measured, as the profile of a deployment on the server's stack."""
    how = f"{'chat' if options.chat else 'completions'} API, {'streamed' if options.stream else 'not streamed'}"
    prompts = "shared prompts" if load.shared_prompts else "unique prompts"
    return Profile(
        deployment=deployment,
        stack=stack,
        measurements=outcome.measurements(),
        source=f"profile: {options.base_url}, {how}, {prompts}, {load.concurrency} in flight",
        measured_on=time.strftime("%Y-%m-%d"),
        versions={"helm-efficiency": __version__, "httpx": httpx.__version__},
        notes=outcome.notes(),
    )


def stack_under_load(stack: Stack, load: Load) -> Stack:
    """A stack by a name of its own for each load, since their seconds must not be mixed.

    >>> stack_under_load(Stack("h200-vllm-bf16", "h200"), Load(concurrency=8, shared_prompts=True)).name
    'h200-vllm-bf16-c8-warm'
    """
    concurrency = f"-c{load.concurrency}" if load.concurrency > 1 else ""
    return replace(stack, name=f"{stack.name}{concurrency}{'-warm' if load.shared_prompts else ''}")


def stack_of_url(base_url: str) -> Stack:
    """The stack of a server of which nothing but its address is known.

    >>> stack_of_url("https://api.example.com/v1").name
    'api.example.com'
    """
    url = httpx.URL(base_url)
    port = f"-{url.port}" if url.port else ""
    return Stack(re.sub(r"[^A-Za-z0-9._-]", "-", f"{url.host}{port}"), accelerator="unknown")
