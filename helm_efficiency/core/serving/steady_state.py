"""Solve a server under load: a closed loop of clients, Poisson arrivals, or the highest load within a service level.

Three equations hold with continuous batching (X requests per second, n sequences that decode, s decode passes per
request, m seconds that a prompt adds to the passes that it shares):

    step  = decode_pass_s(n') / (1 - X m)             others' prompts stretch the time between two passes
    n     = X s step                                  Little's law for the sequences that decode
    c     = n + X ttft                                Little's law for all requests of c clients

n' is the batch that one of the sequences sees, itself included. A client never meets its own requests: in a closed loop
n' = 1 + n (c - 1) / c, and X means X (c - 1) / c in the first line. With one client the solution is the request alone,
and at saturation it is the capacity of the server. Poisson arrivals come in bunches, so there n is the mean of a
birth-death chain (see `waits`).
"""

import math
from dataclasses import replace

from scipy.optimize import brentq

from helm_efficiency.core.serving.demand import Demand, share_hidden
from helm_efficiency.core.serving.lengths import Lengths
from helm_efficiency.core.serving.load import DEFAULT_LEVEL, Load, ServiceLevel
from helm_efficiency.core.serving.served import (
    Conditions,
    Served,
    excess,
    own_prefill_s,
    prefilled_after_s,
    served_under,
    spreads_under,
)
from helm_efficiency.core.serving.server import DEFAULT_SERVER, Server
from helm_efficiency.core.serving.steps import StepTimes
from helm_efficiency.core.serving.waits import Wait, occupancy, wait_at_random, wait_of_client
from helm_efficiency.errors import InputError


def closed_loop(
    steps: StepTimes,
    lengths: Lengths,
    *,
    clients: float,
    server: Server = DEFAULT_SERVER,
    rounds: float = math.inf,
) -> Served:
    """Solve a server with clients that each send the next request when they have the answer to the last.

    Args:
        steps: Times of forward passes.
        lengths: Requests of the load.
        clients: Number of clients, 1 or more; requests that the server cannot run at once wait.
        server: Limits of the server.
        rounds: Requests that each client sends after all have started together; infinite for a steady state.

    Raises:
        InputError: There is fewer than one client or round.

    Example:
        >>> from helm_efficiency.core.runtime_model import Domain, RuntimeCoefficients
        >>> knots = ((1, 1.0, 0.010), (64, 1.0, 0.020))
        >>> domain = Domain(1, 4096, 1, 4096, max_batch_size=64)
        >>> numbers = RuntimeCoefficients("linear", ((1, 0.01), (4096, 0.2)), 0.010, domain, batch_knots=knots)
        >>> steps, lengths = StepTimes.from_coefficients(numbers), Lengths.of(1000, 300)
        >>> one, many = (closed_loop(steps, lengths, clients=clients) for clients in (1, 32))
        >>> round(one.request_s.mean, 6) == round(float(numbers.predict(1000, 300).seconds), 6)
        True
        >>> round(many.requests_per_s / one.requests_per_s, 1)
        16.6
    """
    if not 1 <= clients < math.inf:
        raise InputError(f"{clients} clients: expected 1 or more.")
    load = Load(clients, rounds=rounds)
    demand = Demand.of(steps, lengths, server)
    running = min(float(clients), demand.slots)
    start_s = (running - 1.0) / 2.0 * demand.prefill_s / load.rounds

    alone_s = steps.overhead_s + server.reply_s + demand.prefill_s + demand.passes * demand.pass_s(1.0)
    if not alone_s:
        raise InputError("The requests take no time on these coefficients: no load can be told from them.")

    def met_at(unknown: float) -> tuple[float, Conditions]:
        batch = unknown if demand.passes else 0.0
        rate = _rate_of(demand, batch, running) if demand.passes else unknown / alone_s
        met = _met_by_client(demand, rate, batch=batch, clients=running)
        return rate, replace(met, wait_s=met.wait_s + start_s)

    def surplus(unknown: float) -> float:
        rate, met = met_at(unknown)
        return min(_in_system(demand, rate, met) / running, 2.0) - 1.0  # infinite beyond the capacity

    # the unknown is the mean batch; for requests without decoding it is the rate times the seconds of one alone
    most = running * (1.0 + 1e-9 if demand.passes else 2.0)
    rate, met = met_at(float(brentq(surplus, 1e-9, most, xtol=1e-12 * running, rtol=1e-12)))
    return served_under(demand, met, rate=rate, clients=float(clients), outside_s=(clients - running) / rate)


def open_loop(steps: StepTimes, lengths: Lengths, *, requests_per_s: float, server: Server = DEFAULT_SERVER) -> Served:
    """Solve a server with Poisson arrivals.

    Raises:
        InputError: The rate is not above 0, or is more than the server's capacity, which the message states.
    """
    if not 0 < requests_per_s < math.inf:
        raise InputError(f"{requests_per_s} requests a second: expected more than 0.")
    demand = Demand.of(steps, lengths, server)
    served = _served_at(demand, requests_per_s)
    if served is None:
        most = demand.capacity()
        raise InputError(f"{requests_per_s:g} requests a second are more than the server can complete ({most:.4g}).")
    return served


def capacity(steps: StepTimes, lengths: Lengths, *, server: Server = DEFAULT_SERVER) -> float:
    """Return the most requests per second that a server completes, with its batch always full."""
    return Demand.of(steps, lengths, server).capacity()


def highest_load(
    steps: StepTimes, lengths: Lengths, *, level: ServiceLevel = DEFAULT_LEVEL, server: Server = DEFAULT_SERVER
) -> Served | None:
    """Solve the highest rate of Poisson arrivals that keeps a service level; None if one request alone breaks it."""
    demand = Demand.of(steps, lengths, server)
    most = demand.capacity()

    def surplus(load: float) -> float:
        met, outside_s = _met_at_random(demand, most * math.exp(load))
        if math.isinf(met.wait_s):
            return 1.0
        met = replace(met, wait_s=met.wait_s + outside_s)
        ttft_s, tpot_s, _ = spreads_under(steps, server, lengths, met)
        return math.log(min(max(excess(ttft_s, tpot_s, level), 0.1), math.e))

    if surplus(_LEAST_LOAD) > 0.0:
        return None
    load = brentq(surplus, _LEAST_LOAD, 0.0, xtol=_LOAD_STEP) if surplus(0.0) > 0.0 else 0.0
    return _served_at(demand, most * math.exp(load - 2.0 * _LOAD_STEP))  # on the side that keeps the level


_LEAST_LOAD = math.log(1e-6)
"""Share of the capacity, as a logarithm, at which a request is as good as alone."""

_LOAD_STEP = 1e-3
"""Precision of the highest load, as a logarithm: a thousandth, far below the error of any coefficients."""


def solve(steps: StepTimes, lengths: Lengths, load: Load, *, server: Server = DEFAULT_SERVER) -> Served | None:
    """Solve any kind of load; return None for a service level that one request alone breaks.

    Raises:
        InputError: There is fewer than one client, or the rate is more than the server's capacity.
    """
    if load.clients is not None:
        return closed_loop(steps, lengths, clients=load.clients, server=server, rounds=load.rounds)
    if load.requests_per_s is not None:
        return open_loop(steps, lengths, requests_per_s=load.requests_per_s, server=server)
    return highest_load(steps, lengths, level=load.level, server=server)


def _served_at(demand: Demand, rate: float) -> Served | None:
    """Return a server under Poisson arrivals; None if it cannot keep up."""
    met, outside_s = _met_at_random(demand, rate)
    if math.isinf(met.wait_s):
        return None
    return served_under(demand, met, rate=rate, clients=None, outside_s=outside_s)


_OVERLOAD = Conditions(wait_s=math.inf)


def _rate_of(demand: Demand, batch: float, clients: float) -> float:
    """Return the rate at which a mean number of sequences decodes in a closed loop: the first two equations."""
    others = 1.0 - 1.0 / clients
    seen = 1.0 + batch * others
    return batch / (demand.passes * demand.pass_s(seen) + batch * others * demand.mean_added_s(seen))


def _met_by_client(demand: Demand, rate: float, *, batch: float, clients: float) -> Conditions:
    """Return the conditions that a request of a closed loop meets; the wait is infinite if the rate cannot be kept.

    Args:
        demand: Requests on the server.
        rate: Requests per second of all clients.
        batch: Mean number of sequences that decode.
        clients: Number of clients that the server runs at once.
    """
    others = 1.0 - 1.0 / clients
    busy = 1.0 - max(1.0 - batch / clients, 0.0) ** (clients - 1.0)
    met = _met(demand, rate * others, seen=1.0 + batch * others, busy=busy, beside=batch * others)
    own_s = own_prefill_s(demand.steps, demand.server, met, demand.lengths.prompt_tokens, demand.lengths.cached_tokens)
    idle = wait_at_random(demand, own_s, rate=rate * others, decode_s=0.0)
    if not busy:
        return met.after(idle)
    decode_s = met.pass_beside_s
    wait = wait_of_client(demand, own_s, rate=rate * others, decode_s=decode_s, batch=batch * others / busy)
    idle_s = (1.0 - busy) * idle.mean_s if busy < 1.0 else 0.0
    return met.after(Wait(busy * wait.mean_s + idle_s, wait.variation))


def _met_at_random(demand: Demand, rate: float) -> tuple[Conditions, float]:
    """Return the conditions that a Poisson arrival meets, and its wait for a slot; infinite if the rate is too high."""
    taken = occupancy(demand, rate)
    if math.isinf(taken.outside):
        return _OVERLOAD, math.inf
    met = _met(demand, rate, seen=taken.seen, busy=taken.busy, beside=taken.running)
    own_s = own_prefill_s(demand.steps, demand.server, met, demand.lengths.prompt_tokens, demand.lengths.cached_tokens)
    wait = wait_at_random(demand, own_s, rate=rate, decode_s=met.busy_fraction * met.pass_beside_s)
    used = rate / demand.capacity()
    if used >= 1.0:
        return _OVERLOAD, math.inf
    if demand.passes and not math.isinf(wait.mean_s):
        # others' prompts are not divided: as interruptions of a queue they add their residual over the capacity left
        left = (1.0 - rate * demand.mean_added_s(taken.seen)) * (1.0 - used)
        bunched_s = rate * demand.mean_added_squared(taken.seen) / 2.0 / left
        met = met.with_step(taken.running / rate / demand.passes + bunched_s / demand.passes)
    return met.after(wait), taken.outside / rate


def _met(demand: Demand, rate: float, *, seen: float, busy: float, beside: float) -> Conditions:
    """Return the conditions that a request meets, without its wait.

    Args:
        demand: Requests on the server.
        rate: Other requests per second.
        seen: Batch that a decoding sequence sees.
        busy: Probability that other sequences decode.
        beside: Mean number of other sequences that decode.
    """
    batch = max(beside / busy, 1.0) if busy else 1.0
    left = max(1.0 - rate * demand.mean_added_s(seen), 1e-9)
    return Conditions(
        busy_fraction=busy,
        batch_beside=batch,
        pass_beside_s=demand.pass_s(batch),
        batch_seen=seen,
        batch_s=demand.batch_s(seen),
        hidden=share_hidden(seen, demand.passes),
        step_s=demand.pass_s(seen) / left,
        step_variance=rate * demand.mean_added_squared(seen),
    )


def _in_system(demand: Demand, rate: float, met: Conditions) -> float:
    """Return the number of requests on their way and on the server, by Little's law."""
    if math.isinf(met.wait_s):
        return math.inf
    lengths = demand.lengths
    prefilled_s = prefilled_after_s(demand.steps, demand.server, met, lengths.prompt_tokens, lengths.cached_tokens)
    return rate * (lengths.mean(prefilled_s) + demand.passes * met.step_s)
