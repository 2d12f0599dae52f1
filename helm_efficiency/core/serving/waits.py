"""Estimate how long a request waits for its first pass, and how many sequences decode in the meantime.

**Closed loop.** A client sends when its last answer ends, which is when a pass ends. So a request meets an ordinary
pass that has just begun, and the requests of other clients with answers that ended in the same pass: batch / passes of
them on average, in one pass or in consecutive passes, as their prompts fit.

**Poisson arrivals.** A request meets the pass that is running: more often a long one, and half done on average. The
number of sequences that decode follows a birth-death chain with the server's own speed at each batch; in a queue with
evenly shared servers its law depends only on the mean lengths (Kelly, "Reversibility and Stochastic Networks", 1979,
section 3.3).
"""

import math
from typing import NamedTuple

import numpy as np

from helm_efficiency.core.arrays import FloatArray
from helm_efficiency.core.serving.demand import Demand


class Wait(NamedTuple):
    """Seconds before a request's first pass, and those for prompts that share its passes.

    Attributes:
        mean_s: Mean wait; infinite if the server cannot keep the rate.
        variation: Squared coefficient of variation of the wait.
    """

    mean_s: float
    variation: float


class Occupancy(NamedTuple):
    """Number of requests that hold a slot under Poisson arrivals.

    Attributes:
        running: Mean number of sequences that decode.
        seen: Mean batch as one of these sequences sees it, itself included.
        busy: Share of the time in which at least one sequence runs.
        outside: Mean number of requests that wait for a slot.
    """

    running: float
    seen: float
    busy: float
    outside: float


def wait_of_client(demand: Demand, own_s: FloatArray, *, rate: float, decode_s: float, batch: float) -> Wait:
    """Return the wait in a closed loop while sequences decode.

    Args:
        demand: Requests on the server.
        own_s: Seconds that each kind of prompt adds to its passes.
        rate: Requests per second of the other clients.
        decode_s: Seconds of a pass of the sequences that decode.
        batch: Number of sequences of other clients that decode.
    """
    mean_s = demand.lengths.mean(own_s)
    mates = batch / demand.passes
    room = demand.prompts_of_a_chunk
    if demand.server.prefill_first:
        next_s, turn_s, crowded = decode_s, mean_s, 1.0
    else:
        next_s = decode_s / max(1.0 - rate * mean_s, 1e-9)
        turn_s, crowded = mean_s + decode_s / room, 1.0 - mates / room
    if crowded <= 0.0:
        return Wait(math.inf, 0.0)
    overhead_s = demand.steps.overhead_s
    rest_s = next_s - overhead_s if overhead_s < next_s / 2.0 else next_s / 2.0
    together = 0.5 + 0.5 * (1.0 - min(1.0, 1.0 / room))  # a mate that comes later delays only requests in the same pass
    mates_s = mates * turn_s * together / crowded
    return _wait(rest_s, mates_s, next_s, turn_s)


def wait_at_random(demand: Demand, own_s: FloatArray, *, rate: float, decode_s: float) -> Wait:
    """Return the wait of a request that arrives at a random time.

    Args:
        demand: Requests on the server.
        own_s: Seconds that each kind of prompt adds to its passes.
        rate: Other requests per second.
        decode_s: Seconds of a pass of the sequences that decode; 0 if none decode.
    """
    mean_s = demand.lengths.mean(own_s)
    filled = rate * mean_s
    mixed = not demand.server.prefill_first
    used = filled + mixed * rate * decode_s / demand.prompts_of_a_chunk
    if used >= 1.0:
        return Wait(math.inf, 0.0)
    square_s = demand.lengths.mean(own_s**2) / mean_s if mean_s else 0.0
    rest_s = ((1.0 - filled) * decode_s + filled * (mixed * decode_s + square_s)) / 2.0
    return _wait(rest_s / (1.0 - used), filled * square_s / 2.0, decode_s, square_s)


def _wait(rest_s: float, mates_s: float, pass_s: float, turn_s: float) -> Wait:
    """Add the rest of a pass and others' prompts; as a compound Poisson sum, these vary by the length of one."""
    mean_s = rest_s + mates_s
    if not mean_s:
        return Wait(0.0, 0.0)
    plain_s = min(pass_s, rest_s)
    return Wait(mean_s, (plain_s * plain_s / 12.0 + (mean_s - plain_s) * turn_s) / (mean_s * mean_s))


def occupancy(demand: Demand, rate: float) -> Occupancy:
    """Return how many sequences decode under Poisson arrivals; infinitely many wait if the rate cannot be kept.

    State k has the speed of a batch of k; beyond the last slot it has the speed of a full batch.
    """
    if not demand.passes:
        return Occupancy(0.0, 1.0, 0.0, 0.0)
    places = max(int(demand.slots), 1)
    k = np.arange(1, places + 1)
    left = 1.0 - rate * np.interp(k, demand.batches, demand.added_s)
    pass_s = np.interp(k, demand.batches, [demand.pass_s(batch) for batch in demand.batches.tolist()])
    ends = k * left / (demand.passes * pass_s)  # requests that end per second
    if ends[-1] <= rate:
        return Occupancy(float(places), float(places), 1.0, math.inf)
    log_chance = np.concatenate([[0.0], np.cumsum(np.log(rate / np.maximum(ends, 1e-300)))])
    chance = np.exp(log_chance - log_chance.max())
    ratio = rate / ends[-1]
    tail = chance[-1] * ratio / (1.0 - ratio)  # all slots taken and some requests waiting
    total = chance.sum() + tail
    sizes = np.arange(places + 1)
    running = (chance @ sizes + tail * places) / total
    seen = (chance @ sizes**2 + tail * places**2) / total / running
    return Occupancy(float(running), float(seen), float(1.0 - chance[0] / total), float(tail / (1.0 - ratio) / total))
