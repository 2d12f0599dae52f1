"""Synthetic services with known true runtimes, used to test estimators in `benchmarks/denoise.py` and the tests.

seen = (overhead_s + prefill_s_per_token * p + decode_s_per_token * (o - 1)
            + decode_s_per_context_token * sum over t = 1 … o-1 of (p + t)) * level * jitter + wait
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace

import numpy as np
from numpy.random import Generator
from numpy.typing import ArrayLike

from helm_efficiency.core.arrays import FloatArray
from helm_efficiency.core.fitting.additive_model import context_tokens
from helm_efficiency.core.services.log import ServiceLog

PAPER_PROMPT_TOKENS = (1, 256, 512, 1024, 1536)
PAPER_OUTPUT_TOKENS = (1, 2, 4, 8, 16, 32, 64)

_SECONDS_BETWEEN = 5.0
_BEGIN = 1.7e9  # some day in 2023
_COLD_START_S = 8.0
_MEAN_BURST = 20.0  # requests


@dataclass(frozen=True, slots=True)
class SyntheticService:
    """True coefficients of a synthetic service.

    Attributes:
        overhead_s: Seconds that every request takes, whatever its lengths.
        prefill_s_per_token: Seconds of each prompt token.
        decode_s_per_token: Seconds of each output token after the first.
        decode_s_per_context_token: Further seconds of each such output token for each token that it looks back on.
        jitter_fraction: Standard deviation of the logarithm of uncontended seconds.
    """

    overhead_s: float = 0.18
    prefill_s_per_token: float = 1.2e-4
    decode_s_per_token: float = 0.03
    decode_s_per_context_token: float = 0.0
    jitter_fraction: float = 0.03

    def uncontended_s(self, prompt_tokens: ArrayLike, output_tokens: ArrayLike) -> FloatArray:
        """Return the seconds without jitter, contention or drift."""
        p, o = np.asarray(prompt_tokens, dtype=np.float64), np.asarray(output_tokens, dtype=np.float64)
        decode_s = self.decode_s_per_token * (o - 1.0) + self.decode_s_per_context_token * context_tokens(p, o)
        return np.asarray(self.overhead_s + self.prefill_s_per_token * p + decode_s)

    def serve(self, kind: str, *, contended_share: float, num_trials: int, rng: Generator) -> ServiceLog:
        """Return a log of requests of the paper's 5 × 7 lengths, in random order, a few seconds apart.

        Args:
            kind: A key of `CONTENTION`.
            contended_share: Share of the requests that wait.
            num_trials: Requests of each pair of lengths.
            rng: Source of all random numbers.
        """
        grid = [(p, o) for p in PAPER_PROMPT_TOKENS for o in PAPER_OUTPUT_TOKENS] * num_trials
        p, o = rng.permutation(np.array(grid, dtype=np.float64)).T
        uncontended_s = self.uncontended_s(p, o)
        jitter = np.exp(self.jitter_fraction * rng.standard_normal(len(p)))
        wait_s = CONTENTION[kind](contended_share, uncontended_s, rng)
        at = _BEGIN + _SECONDS_BETWEEN * np.arange(len(p))
        log = ServiceLog.of(p, o, uncontended_s * jitter + wait_s, requested_at=at)
        return drifting(log, at=len(log) // 2, before=1.25) if kind == "drift" else log


def drifting(log: ServiceLog, *, at: int, before: float) -> ServiceLog:
    """Return the same requests, with those before the index `at` slower by the factor `before`."""
    return replace(log, seconds=log.seconds * np.where(np.arange(len(log)) < at, before, 1.0))


def _queue(share: float, uncontended_s: FloatArray, rng: Generator) -> FloatArray:
    """Return independent waits in line, half a second on average."""
    n = len(uncontended_s)
    return np.asarray((rng.random(n) < share) * rng.exponential(0.5, n))


def _bursts(share: float, uncontended_s: FloatArray, rng: Generator) -> FloatArray:
    """Return waits like those of `_queue`, but in bursts of neighbouring requests."""
    n = len(uncontended_s)
    busy = np.zeros(n, dtype=np.bool_)
    while busy.mean() < share:
        begin = int(rng.integers(n))
        busy[begin : begin + int(rng.geometric(1.0 / _MEAN_BURST))] = True
    return np.asarray(busy * rng.exponential(0.5, n))


def _retries(share: float, uncontended_s: FloatArray, rng: Generator) -> FloatArray:
    """Return waits of retries: failed tries of half the request's length, and back-offs of 0.5, 1, 2 … s.

    Back-offs are shortened at random, as OpenAI's client does.
    """
    n = len(uncontended_s)
    num_retries = np.minimum(rng.geometric(0.7, n), 4)
    back_off_s = 0.5 * (2.0**num_retries - 1.0) * rng.uniform(0.75, 1.0, n)
    return np.asarray((rng.random(n) < share) * (num_retries * 0.5 * uncontended_s + back_off_s))


def _slowdown(share: float, uncontended_s: FloatArray, rng: Generator) -> FloatArray:
    """Return the waits on a shared accelerator: everything takes up to 2.5 times as long."""
    n = len(uncontended_s)
    return np.asarray((rng.random(n) < share) * uncontended_s * rng.uniform(0.0, 1.5, n))


def _mixture(share: float, uncontended_s: FloatArray, rng: Generator) -> FloatArray:
    """Return waits drawn from all the other kinds, and from cold starts."""
    sources = (_queue, _retries, _slowdown, _cold_start)
    waits = np.stack([source(1.0, uncontended_s, rng) for source in sources])
    n = len(uncontended_s)
    which = rng.choice(len(sources), n, p=(0.4, 0.3, 0.27, 0.03))
    return np.asarray((rng.random(n) < share) * waits[which, np.arange(n)])


def _cold_start(share: float, uncontended_s: FloatArray, rng: Generator) -> FloatArray:
    n = len(uncontended_s)
    return np.asarray((rng.random(n) < share) * _COLD_START_S * rng.uniform(0.8, 1.2, n))


CONTENTION: Mapping[str, Callable[[float, FloatArray, Generator], FloatArray]] = {
    "queue": _queue,
    "bursts": _bursts,
    "retries": _retries,
    "slowdown": _slowdown,
    "mixture": _mixture,
    "drift": _queue,
}
"""Seconds of wait by kind of contention; `drift` adds a change of level to a queue."""
