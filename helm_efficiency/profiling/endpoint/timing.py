"""Times cells at an endpoint: unique prompts, a number of requests in flight, the server's own token counts."""

import re
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace

import httpx

from helm_efficiency.core.measurement import Measurement, Stack
from helm_efficiency.errors import InputError, ProfilingError
from helm_efficiency.profiling.cells import Cell, CellRefusedError, CellResult, check_cell
from helm_efficiency.profiling.endpoint.client import Endpoint, Reply, TooLongError
from helm_efficiency.profiling.endpoint.prompts import PromptMaker
from helm_efficiency.profiling.noise import Repetitions, noise_note, spread_fraction

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
        self._endpoint = endpoint
        self._load = load
        self._repetitions = repetitions
        self._prompts: PromptMaker | None = None

    def __call__(self, cell: Cell) -> CellResult:
        """Time one cell: a warm-up, repetitions, and more of these if they disagree.

        Raises:
            InputError: The cell is out of range or has several rows.
            CellRefusedError: The server refuses this cell, or answers what cannot be used.
            BudgetSpentError: The budget ended.
            ProfilingError: The server cannot be reached, refuses everything, or does not count tokens.
        """
        check_cell(cell)
        if cell.batch_size > 1:
            raise InputError(f"Cell {cell}: the rows of a batch are the server's affair. Use --concurrency.")
        if self._prompts is None:
            self._prompts = calibrated_prompts(self._endpoint, shared=self._load.shared_prompts)
        start = time.perf_counter()
        try:
            replies = self._replies(cell, self._prompts)
        except TooLongError as error:
            elapsed_s = time.perf_counter() - start
            return CellResult(cell, (), too_large=True, elapsed_s=elapsed_s, note=f"too long for the server: {error}")
        seconds = [reply.seconds for reply in replies]
        notes = [noise_note(seconds, wanted_fraction=self._repetitions.max_spread_fraction), *_notes(cell, replies)]
        return CellResult(
            cell,
            tuple(
                Measurement(reply.prompt_tokens, reply.output_tokens, reply.seconds, ttft_s=reply.ttft_s)
                for reply in replies
            ),
            spread_fraction=spread_fraction(seconds),
            elapsed_s=time.perf_counter() - start,
            itl_s=tuple(gap for reply in replies if _chunks_are_tokens(reply) for gap in reply.gaps_s),
            note="; ".join(note for note in notes if note),
        )

    def _replies(self, cell: Cell, prompts: PromptMaker) -> list[Reply]:
        """Replies of as many repetitions as it takes, after warm-ups."""

        def ask(count: int) -> list[Reply]:
            wanted = [prompts.prompt(cell.prompt_tokens) for _ in range(count)]
            replies = self._endpoint.request_all(wanted, cell.output_tokens, concurrency=self._load.concurrency)
            for reply, prompt in zip(replies, wanted, strict=True):
                prompts.check(prompt, reply.prompt_tokens)
            return replies

        if self._repetitions.num_warmups:
            ask(self._repetitions.num_warmups)
        replies: list[Reply] = []
        while self._repetitions.wants_more([reply.seconds for reply in replies]):
            rounds = 1 if replies else -(-self._repetitions.num_repetitions // self._load.concurrency)
            replies.extend(ask(rounds * self._load.concurrency))
        return replies


def calibrated_prompts(endpoint: Endpoint, *, shared: bool) -> PromptMaker:
    """A maker of prompts that has asked the server twice how it counts tokens.

    Raises:
        ProfilingError: The server cannot be reached, refuses, or does not count tokens.
    """
    prompts = PromptMaker(shared=shared)
    try:
        few, many = (endpoint.request(prompts.words(words), 1).prompt_tokens for words in _CALIBRATION_WORDS)
    except CellRefusedError as error:
        raise ProfilingError(str(error)) from error
    prompts.calibrate(_CALIBRATION_WORDS, (few, many))
    return prompts


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


def stack_under_load(stack: Stack, load: Load) -> Stack:
    """A stack by a name of its own for each load, since their seconds must not be mixed.

    >>> stack_under_load(Stack("h200-vllm-bf16", "h200-sxm"), Load(concurrency=8, shared_prompts=True)).name
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
