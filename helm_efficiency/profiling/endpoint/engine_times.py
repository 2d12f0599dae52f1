"""Read the engine's own times of requests in addition to those of the client: queue, prefill and decode.

vLLM sums them for all requests in `/metrics`, so they are read before and after a cell and subtracted; llama.cpp states
them with each answer (`timings`). The rest of the client's time is network, HTTP, tokenizing and the client itself.
"""

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from helm_efficiency.profiling.endpoint.client import Endpoint
from helm_efficiency.profiling.endpoint.replies import Reply

_LINE = re.compile(rb"^(vllm:[a-z0-9_]+)(?:\{[^}\n]*\})? ([0-9.eE+]+)$", re.MULTILINE)
_SUMS = {
    "queue_s": b"vllm:request_queue_time_seconds_sum",
    "prefill_s": b"vllm:request_prefill_time_seconds_sum",
    "decode_s": b"vllm:request_decode_time_seconds_sum",
}
_REQUESTS = b"vllm:request_queue_time_seconds_count"
_BUSY = (b"vllm:num_requests_running", b"vllm:num_requests_waiting")
_CACHED = b"vllm:prefix_cache_hits_total"


@dataclass(frozen=True, slots=True)
class EngineTimes:
    """Mean times of the requests of one cell by the engine's own clock.

    Attributes:
        prefill_s: Time from the start of the engine's work to the first token (s).
        decode_s: Time from the first to the last token (s).
        rest_s: Rest of the client's time beyond queue, prefill and decode (s): network, HTTP, tokenizing.
        queue_s: Time from the arrival of a request to the start of the work (s); None if the engine does not state it.
        cached_tokens: Prompt tokens of all requests that came from the engine's prefix cache.
        others: Number of requests of other clients: in flight before the cell, or ended during it.
    """

    prefill_s: float
    decode_s: float
    rest_s: float
    queue_s: float | None = None
    cached_tokens: int = 0
    others: int = 0


class EngineClock:
    """Clock that reads the counters of a server before and after a cell, if the server has counters."""

    def __init__(self, endpoint: Endpoint) -> None:
        self._endpoint = endpoint
        self._has_counters = True
        self._before: Mapping[bytes, float] = {}

    def start(self) -> None:
        """Read the counters before a cell."""
        self._before = self._counters()
        self._has_counters = bool(self._before)

    def stop(self, replies: Sequence[Reply]) -> EngineTimes | None:
        """Return the engine's times of the requests since `start`; None if it states none."""
        if all(reply.engine_s is not None for reply in replies):
            return _of_replies(replies)
        after = self._counters() if self._has_counters else {}
        return _of_counters(self._before, after, replies) if after else None

    def _counters(self) -> Mapping[bytes, float]:
        if not self._has_counters:
            return {}
        return read_counters(self._endpoint.page("/metrics") or b"")


def read_counters(page: bytes) -> dict[bytes, float]:
    """Read vLLM's counters and gauges by name, summed over their labels.

    >>> read_counters(b'vllm:num_requests_running{engine="0"} 2.0\\nvllm:num_requests_running{engine="1"} 1.0')
    {b'vllm:num_requests_running': 3.0}
    """
    found: dict[bytes, float] = {}
    for name, text in _LINE.findall(page):
        try:
            value = float(text)
        except ValueError:
            continue
        if math.isfinite(value):
            found[name] = found.get(name, 0.0) + value
    return found


def _of_counters(
    before: Mapping[bytes, float], after: Mapping[bytes, float], replies: Sequence[Reply]
) -> EngineTimes | None:
    """Return the means over the requests that ended between two readings."""

    def grown(name: bytes) -> float:
        return after.get(name, 0.0) - before.get(name, 0.0)

    requests = round(grown(_REQUESTS))
    if requests < len(replies):  # not counted yet, or counted by another process at the same address
        return None
    queue_s, prefill_s, decode_s = (max(grown(name) / requests, 0.0) for name in _SUMS.values())
    return EngineTimes(
        prefill_s,
        decode_s,
        rest_s=_mean_s(replies) - queue_s - prefill_s - decode_s,
        queue_s=queue_s,
        cached_tokens=round(grown(_CACHED)),
        others=requests - len(replies) + round(sum(before.get(name, 0.0) for name in _BUSY)),
    )


def _of_replies(replies: Sequence[Reply]) -> EngineTimes:
    """Return the means over answers that each state their times."""
    times = [reply.engine_s for reply in replies if reply.engine_s is not None]
    prefill_s, decode_s = (sum(part) / len(times) for part in zip(*times, strict=True))
    cached = sum(reply.cached_tokens for reply in replies)
    return EngineTimes(prefill_s, decode_s, rest_s=_mean_s(replies) - prefill_s - decode_s, cached_tokens=cached)


def _mean_s(replies: Sequence[Reply]) -> float:
    return sum(reply.seconds for reply in replies) / len(replies)
