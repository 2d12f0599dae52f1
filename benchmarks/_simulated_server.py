"""Simulate a server under load event by event: a slow, independent check of `steady_state`.

The server is one engine with continuous batching and chunked prefill. A request waits until its whole length fits into
the key-value cache and a slot is free, is prefilled in the order of arrival, then takes part in every decode pass until
it is done. Each pass advances the clock by its own time.
"""

import heapq
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import lru_cache

import numpy as np

from helm_efficiency.core.arrays import FloatArray
from helm_efficiency.core.serving.lengths import Lengths
from helm_efficiency.core.serving.load import Load
from helm_efficiency.core.serving.server import DEFAULT_SERVER, Server
from helm_efficiency.core.serving.steps import StepTimes
from helm_efficiency.errors import InputError

_WARM_UP = 0.2
"""Share of the requests at the start that are left out while the server fills up."""


@dataclass(slots=True)
class _Request:
    arrival_s: float
    prompt: int
    output: int
    done: int  # prompt tokens prefilled or cached
    order: int = 0
    first_token_s: float = 0.0
    end_s: float = 0.0


@dataclass(frozen=True, slots=True)
class Simulated:
    """Simulated requests after the warm-up; arrays have one entry per request.

    Attributes:
        prompt_tokens: Prompt tokens of each request.
        output_tokens: Output tokens of each request.
        ttft_s: Seconds from sending to the first output token.
        request_s: Seconds from sending to the last output token.
        requests_per_s: Requests completed per second.
        running_batch: Mean number of sequences that decode.
        busy_fraction: Share of the time in which a pass runs.
    """

    prompt_tokens: FloatArray
    output_tokens: FloatArray
    ttft_s: FloatArray
    request_s: FloatArray
    requests_per_s: float
    running_batch: float
    busy_fraction: float

    @property
    def tpot_s(self) -> FloatArray:
        """Seconds of each further output token, (request - TTFT) / (output tokens - 1), for requests that have one."""
        many = self.output_tokens > 1
        return (self.request_s[many] - self.ttft_s[many]) / (self.output_tokens[many] - 1.0)


@dataclass(slots=True)
class _Engine:
    """State of the server between two passes."""

    steps: StepTimes
    server: Server
    prefill_s: Callable[[int, int], float]
    clock_s: float = 0.0
    busy_s: float = 0.0
    batch_s: float = 0.0
    num_passes: int = 0
    context_tokens: float = 0.0
    reserved_tokens: int = 0
    waiting: deque[_Request] = field(default_factory=deque)
    prefilling: deque[_Request] = field(default_factory=deque)
    decoding: list[tuple[int, int, _Request]] = field(default_factory=list)

    def admit(self) -> None:
        """Start the waiting requests that fit, in the order of arrival."""
        most = self.server.max_batch_size or self.steps.max_batch_size
        while self.waiting and len(self.decoding) + len(self.prefilling) < most:
            length = self.waiting[0].prompt + self.waiting[0].output
            running = self.decoding or self.prefilling
            if running and self.reserved_tokens + length > self.server.kv_tokens:
                return
            self.reserved_tokens += length
            self.prefilling.append(self.waiting.popleft())

    def step(self) -> list[_Request]:
        """Run one pass and return the requests that it finishes."""
        chunks = list(self._chunks())
        batch = 0 if self.server.prefill_first and chunks else len(self.decoding)
        seconds = self._pass_s([(start, tokens) for _, start, tokens in chunks], batch)
        self.clock_s += seconds
        self.busy_s += seconds
        self.batch_s += seconds * len(self.decoding)
        finished = self._decode() if batch else []
        for request, _, tokens in chunks:
            request.done += tokens
        while self.prefilling and self.prefilling[0].done >= self.prefilling[0].prompt:
            finished += self._first_token(self.prefilling.popleft())
        return finished

    def _chunks(self) -> Iterator[tuple[_Request, int, int]]:
        """Yield the prompts of the next pass, each with the start of its chunk and the chunk's number of tokens."""
        room = self.server.chunk_tokens
        for request in self.prefilling:
            tokens = min(request.prompt - request.done, room)
            if room <= 0:
                return
            room -= tokens
            yield request, request.done, tokens

    def _pass_s(self, chunks: list[tuple[int, int]], batch: int) -> float:
        """Return the seconds of the pass.

        Short prompts share the reading of the weights; long ones attend only to themselves.
        """
        speculation = self.server.speculation
        rows = batch * (speculation.draft_tokens + 1) if speculation else batch
        draft_s = speculation.draft_s if speculation and batch else 0.0
        context_s = self.steps.decode_s_per_context_token * self.context_tokens if batch else 0.0
        least_s = self.steps.batch_s(rows) if batch else 0.0
        if not chunks:
            return least_s + context_s + draft_s
        apart = -(-rows // len(chunks))
        apart_s = sum(self.prefill_s(start, tokens + apart) for start, tokens in chunks)
        prompts_s = (
            min(apart_s, self.prefill_s(0, sum(tokens for _, tokens in chunks) + rows)) if len(chunks) > 1 else apart_s
        )
        return max(prompts_s, least_s) + context_s + draft_s

    def _decode(self) -> list[_Request]:
        """Advance every decoding sequence by one pass."""
        self.num_passes += 1
        self.context_tokens += len(self.decoding) * self.server.tokens_per_pass
        finished = []
        while self.decoding and self.decoding[0][0] <= self.num_passes:
            request = heapq.heappop(self.decoding)[2]
            self.context_tokens -= request.prompt + request.output
            finished.append(self._end(request))
        if not self.decoding:
            self.context_tokens = 0.0
        return finished

    def _first_token(self, request: _Request) -> list[_Request]:
        request.first_token_s = self.clock_s
        if request.output <= 1:
            return [self._end(request)]
        passes = int(np.ceil((request.output - 1) / self.server.tokens_per_pass))
        heapq.heappush(self.decoding, (self.num_passes + passes, request.order, request))
        self.context_tokens += request.prompt + 1
        return []

    def _end(self, request: _Request) -> _Request:
        request.end_s = self.clock_s
        self.reserved_tokens -= request.prompt + request.output
        return request


def simulate(
    steps: StepTimes,
    lengths: Lengths,
    load: Load,
    *,
    server: Server = DEFAULT_SERVER,
    num_requests: int = 2000,
) -> Simulated:
    """Simulate a closed loop of clients, or Poisson arrivals.

    A client sends its next request as soon as it has the last token of the one before. The overhead of a request
    passes before it reaches the engine.

    Args:
        steps: Times of forward passes.
        lengths: Requests to draw from.
        load: Clients, or a rate of arrivals.
        server: Limits of the server.
        num_requests: Number of requests to complete.

    Returns:
        Times of the requests after the warm-up.

    Raises:
        InputError: The load is a service level instead of clients or a rate.
    """
    if load.clients is None and load.requests_per_s is None:
        raise InputError("A simulation needs clients or a rate of requests, not a service level.")
    random = np.random.default_rng(0)
    clients = None if load.clients is None else round(load.clients)
    draw = _drawn(lengths, random)
    arriving: list[tuple[float, int, _Request]] = []
    if clients is not None:
        for index in range(clients):
            _send(arriving, next(draw), at_s=0.0, overhead_s=steps.overhead_s, order=index)
    else:
        for index, at_s in enumerate(np.cumsum(random.exponential(1.0 / (load.requests_per_s or 1.0), num_requests))):
            _send(arriving, next(draw), at_s=float(at_s), overhead_s=steps.overhead_s, order=index)
    engine = _Engine(steps, server, _prefill_of(steps))
    finished: list[_Request] = []
    marks: list[tuple[float, float, float]] = []
    while len(finished) < num_requests:
        while arriving and arriving[0][0] <= engine.clock_s:
            engine.waiting.append(heapq.heappop(arriving)[2])
        engine.admit()
        if not engine.prefilling and not engine.decoding:
            engine.clock_s = arriving[0][0]
            continue
        for request in engine.step():
            finished.append(request)
            marks.append((engine.clock_s, engine.busy_s, engine.batch_s))
            if clients is not None:
                order = clients + len(finished)
                _send(arriving, next(draw), at_s=engine.clock_s, overhead_s=steps.overhead_s, order=order)
    return _simulated(finished[:num_requests], marks)


def _send(
    arriving: list[tuple[float, int, _Request]], request: _Request, *, at_s: float, overhead_s: float, order: int
) -> None:
    request.arrival_s, request.order = at_s, order
    heapq.heappush(arriving, (at_s + overhead_s, order, request))


def _drawn(lengths: Lengths, random: np.random.Generator) -> Iterator[_Request]:
    """Yield requests in rounds of a few hundred; each round holds the kinds by their weights, in random order."""
    size = max(len(lengths.weights), 100)
    ends = np.cumsum(lengths.weights)
    while True:
        points = (np.arange(size) + random.random()) / size
        for index in random.permutation(np.searchsorted(ends[:-1], points)).tolist():
            p, o, q = (
                round(float(x[index])) for x in (lengths.prompt_tokens, lengths.output_tokens, lengths.cached_tokens)
            )
            yield _Request(0.0, p, o, done=min(q, max(p - 1, 0)))


def _prefill_of(steps: StepTimes) -> Callable[[int, int], float]:
    """Return the seconds of a chunk by its start and tokens; each is computed once."""

    @lru_cache(maxsize=100_000)
    def prefill_s(start: int, tokens: int) -> float:
        return float(steps.new_prompt_s(start + tokens, start))

    return prefill_s


def _simulated(finished: list[_Request], marks: list[tuple[float, float, float]]) -> Simulated:
    """Summarize the requests after the warm-up."""
    first = int(_WARM_UP * len(finished))
    rows = sorted(finished[first:], key=lambda request: request.arrival_s)
    (start_s, start_busy_s, start_batch_s), (end_s, end_busy_s, end_batch_s) = (
        marks[first - 1],
        marks[len(finished) - 1],
    )
    span_s = end_s - start_s
    return Simulated(
        prompt_tokens=np.array([r.prompt for r in rows], dtype=np.float64),
        output_tokens=np.array([r.output for r in rows], dtype=np.float64),
        ttft_s=np.array([r.first_token_s - r.arrival_s for r in rows]),
        request_s=np.array([r.end_s - r.arrival_s for r in rows]),
        requests_per_s=(len(finished) - first) / span_s,
        running_batch=(end_batch_s - start_batch_s) / span_s,
        busy_fraction=(end_busy_s - start_busy_s) / span_s,
    )
