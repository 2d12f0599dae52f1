"""Results of a server under load: times, throughput, and each request's share of the accelerators' time."""

import math
from dataclasses import dataclass, replace
from typing import NamedTuple, Self

import numpy as np
from numpy.typing import ArrayLike
from scipy.special import gammaincinv

from helm_efficiency.core.arrays import FloatArray
from helm_efficiency.core.serving.demand import Demand
from helm_efficiency.core.serving.lengths import Lengths
from helm_efficiency.core.serving.load import ServiceLevel
from helm_efficiency.core.serving.server import Server
from helm_efficiency.core.serving.steps import StepTimes, num_passes
from helm_efficiency.core.serving.waits import Wait


class Spread(NamedTuple):
    """Mean, median and 95th percentile of seconds over the requests."""

    mean: float
    p50: float
    p95: float


TTFT_ERROR = 0.87
TPOT_ERROR = 0.28
"""Half-widths of nominal 90 % intervals of the logarithm of a time at load, in addition to the coefficients' error.

They cover 90 % of 2,200 measured closed loops, given a factor of their configuration (`benchmarks/serving.py`). The
first token is much less certain than the others because of queueing."""


BEYOND_BATCH_ERROR = 0.3
"""Further half-width for each doubling of the largest batch that was measured, as in `RuntimeCoefficients.predict`."""


def widened(ends: tuple[float, float], error: float) -> tuple[float, float]:
    """Return the ends of an interval, as shares of the value, with an independent error of its logarithm added.

    >>> [round(end, 3) for end in widened((1.0, 1.0), TPOT_ERROR)]
    [0.756, 1.323]
    """
    low, high = (math.hypot(math.log(max(end, 1e-9)), error) for end in ends)
    return math.exp(-low), math.exp(high)


@dataclass(frozen=True, slots=True)
class Conditions:
    """Conditions that a request meets on the server.

    Attributes:
        wait_s: Mean seconds from the engine's receipt of a request to its first pass, and for prompts that share it.
        wait_variation: Squared coefficient of variation of that wait.
        busy_fraction: Probability that other sequences decode when a request arrives.
        batch_beside: Sequences that decode together with a prompt, if there are any.
        pass_beside_s: Seconds of the decode pass of these sequences.
        batch_seen: Sequences in a decode pass as one of them sees it, itself included.
        batch_s: Seconds of the decode pass of that batch, without contexts.
        hidden: Share of prompts that are the first in their pass.
        step_s: Seconds between two passes of a decoding sequence, others' prompts included.
        step_variance: Variance of decoding caused by others' prompts (s² for each second of decoding).
    """

    wait_s: float = 0.0
    wait_variation: float = 0.0
    busy_fraction: float = 0.0
    batch_beside: float = 1.0
    pass_beside_s: float = 0.0
    batch_seen: float = 1.0
    batch_s: float = 0.0
    hidden: float = 1.0
    step_s: float = 0.0
    step_variance: float = 0.0

    def after(self, wait: Wait) -> Self:
        """Return the same conditions with another wait."""
        return replace(self, wait_s=wait.mean_s, wait_variation=wait.variation)

    def with_step(self, step_s: float) -> Self:
        """Return the same conditions with another time between two passes."""
        return replace(self, step_s=step_s)


@dataclass(frozen=True, slots=True)
class Served:
    """A server in a steady state under a stated load.

    Attributes:
        clients: Clients of the closed loop; None for an open one.
        requests_per_s: Requests completed per second.
        ttft_s: Seconds from sending a request to its first output token.
        tpot_s: Seconds of each further output token.
        request_s: Seconds from sending a request to its last output token.
        output_tok_per_s_per_accelerator: Output tokens per second and accelerator.
        running_batch: Mean number of sequences that decode.
        queue: Mean number of requests that are sent and still wait for their first token.
        work_s: Mean seconds of passes that a request accounts for.
        busy_fraction: Share of the time in which the accelerators run a pass.
        limited_by: Limit on the requests that run at once: `kv cache`, `batch` or nothing (empty).
        steps: Times of forward passes.
        server: Limits of the server.
        conditions: Conditions that a request meets on the server.
    """

    clients: float | None
    requests_per_s: float
    ttft_s: Spread
    tpot_s: Spread
    request_s: Spread
    output_tok_per_s_per_accelerator: float
    running_batch: float
    queue: float
    work_s: float
    busy_fraction: float
    limited_by: str
    steps: StepTimes
    server: Server
    conditions: Conditions

    @property
    def extrapolated(self) -> float:
        """Ratio of the batch to the largest batch that was measured; 1 within the measured range."""
        return max(self.conditions.batch_seen / self.steps.measured_batch_size, 1.0)

    def times_s(
        self, prompt_tokens: ArrayLike, output_tokens: ArrayLike, cached_tokens: ArrayLike = 0
    ) -> tuple[FloatArray, FloatArray]:
        """Return the mean TTFT and end-to-end seconds of requests of these lengths among the others.

        Args:
            prompt_tokens: Prompt tokens of each request, of any shape.
            output_tokens: Output tokens of each request; broadcast against `prompt_tokens`.
            cached_tokens: Prompt tokens that a prefix cache holds; broadcast against `prompt_tokens`.
        """
        prefilled_s = prefilled_after_s(self.steps, self.server, self.conditions, prompt_tokens, cached_tokens)
        decode_s, held_s = _decoded_in_s(self.server, self.conditions, output_tokens)
        return np.asarray(prefilled_s + held_s), np.asarray(prefilled_s + decode_s)

    def accelerator_s(
        self, prompt_tokens: ArrayLike, output_tokens: ArrayLike, cached_tokens: ArrayLike = 0
    ) -> FloatArray:
        """Return the accelerator-seconds that requests of these lengths account for, with idle time in proportion.

        Each request accounts for its own prefill and its share of the decode passes; over the requests of the load the
        shares sum to the whole time of all accelerators.
        """
        work_s = share_s(self.steps, self.server, self.conditions, prompt_tokens, output_tokens, cached_tokens)
        return np.asarray(work_s * (self.server.num_accelerators / (self.work_s * self.requests_per_s)))

    def split_accelerator_s(
        self, prompt_tokens: ArrayLike, output_tokens: ArrayLike, cached_tokens: ArrayLike = 0
    ) -> FloatArray:
        """Return `accelerator_s` of all requests of the load, one entry each, scaled so that their sum is exact."""
        shares = self.accelerator_s(prompt_tokens, output_tokens, cached_tokens)
        return np.asarray(shares * (self.server.num_accelerators / (self.requests_per_s * shares.mean())))


def served_under(demand: Demand, met: Conditions, *, rate: float, clients: float | None, outside_s: float) -> Served:
    """Return the result at a rate, with the wait outside a full server added.

    Args:
        demand: Requests on the server.
        met: Conditions that a request meets inside the server.
        rate: Requests completed per second.
        clients: Clients of a closed loop; None for an open one.
        outside_s: Mean wait for a slot.
    """
    lengths, steps, server = demand.lengths, demand.steps, demand.server
    met = replace(met, wait_s=met.wait_s + outside_s)
    ttft, tpot, whole = spreads_under(steps, server, lengths, met)
    work_s = share_s(steps, server, met, lengths.prompt_tokens, lengths.output_tokens, lengths.cached_tokens)
    limit = "batch" if demand.slots >= demand.most else "kv cache"
    return Served(
        clients=clients,
        requests_per_s=rate,
        ttft_s=ttft,
        tpot_s=tpot,
        request_s=whole,
        output_tok_per_s_per_accelerator=rate * lengths.mean_output_tokens / server.num_accelerators,
        running_batch=rate * demand.passes * met.step_s,
        queue=rate * ttft.mean,
        work_s=lengths.mean(work_s),
        busy_fraction=min(rate * lengths.mean(work_s), 1.0),
        limited_by=limit if outside_s > 0.01 * whole.mean else "",
        steps=steps,
        server=server,
        conditions=met,
    )


def prefilled_after_s(
    steps: StepTimes, server: Server, met: Conditions, prompt_tokens: ArrayLike, cached_tokens: ArrayLike
) -> FloatArray:
    """Return the mean seconds until the first token is made, under given conditions."""
    if server.prefill_first:
        own_s = steps.new_prompt_s(prompt_tokens, cached_tokens)
    else:
        own_s = own_prefill_s(steps, server, met, prompt_tokens, cached_tokens)
        passes = num_passes(prompt_tokens, cached_tokens, server.chunk_tokens)
        own_s = own_s + passes * met.busy_fraction * met.pass_beside_s
    return np.asarray(steps.overhead_s + server.reply_s + met.wait_s + own_s)


def excess(ttft_s: Spread, tpot_s: Spread, level: ServiceLevel) -> float:
    """Return the larger ratio of a time to that of a service level: at most 1 if the level is kept.

    Requests of one output token do not have further ones, so they keep any TPOT.
    """
    first, further = (getattr(spread, level.quantile) for spread in (ttft_s, tpot_s))
    return max(float(first) / level.ttft_s, 0.0 if math.isnan(further) else float(further) / level.tpot_s)


def _decoded_in_s(server: Server, met: Conditions, output_tokens: ArrayLike) -> tuple[FloatArray, FloatArray]:
    """Return the mean seconds of decoding, and the part of them for which the first token is held back."""
    steps = np.maximum(np.asarray(output_tokens, dtype=np.float64) - 1.0, 0.0)
    decode_s = steps * (met.step_s / server.tokens_per_pass)
    return np.asarray(decode_s), np.minimum(server.reply_steps * met.step_s, decode_s)


def own_prefill_s(
    steps: StepTimes, server: Server, met: Conditions, prompt_tokens: ArrayLike, cached_tokens: ArrayLike
) -> FloatArray:
    """Return the seconds that prompts add to the passes they take part in: all of their prefill on an idle server."""
    alone_s = steps.new_prompt_s(prompt_tokens, cached_tokens)
    if server.prefill_first or not met.busy_fraction:
        return alone_s
    chunk = server.chunk_tokens
    beside_s = steps.added_s(prompt_tokens, met.batch_beside, cached=cached_tokens, chunk_tokens=chunk)
    return np.asarray(alone_s + met.busy_fraction * (beside_s - alone_s))


def share_s(
    steps: StepTimes,
    server: Server,
    met: Conditions,
    prompt_tokens: ArrayLike,
    output_tokens: ArrayLike,
    cached_tokens: ArrayLike,
) -> FloatArray:
    """Return the seconds of passes that requests account for: own prefill, own attention, an equal part of the rest."""
    p, o = np.asarray(prompt_tokens, dtype=np.float64), np.asarray(output_tokens, dtype=np.float64)
    decode_steps = np.maximum(o - 1.0, 0.0)
    context = decode_steps * p + decode_steps * (decode_steps + 1.0) / 2.0
    decode_s = decode_steps * met.batch_s / met.batch_seen + steps.decode_s_per_context_token * context
    alone_s = steps.new_prompt_s(p, cached_tokens)
    saved_s = met.hidden * (alone_s - own_prefill_s(steps, server, met, p, cached_tokens))
    return np.asarray(alone_s - saved_s + decode_s / server.tokens_per_pass)


def spreads_under(steps: StepTimes, server: Server, lengths: Lengths, met: Conditions) -> tuple[Spread, Spread, Spread]:
    """Return the spread of TTFT, of TPOT and of end-to-end seconds over lengths, waits and others' prompts."""
    prefilled_s = prefilled_after_s(steps, server, met, lengths.prompt_tokens, lengths.cached_tokens)
    decode_s, held_s = _decoded_in_s(server, met, lengths.output_tokens)
    waits = met.wait_s * (_gamma_quantiles(met.wait_variation) - 1.0)
    weights = np.repeat(lengths.weights[:, None] / waits.size, waits.size, axis=1)
    first = _spread((prefilled_s + held_s)[:, None] + waits, weights)
    whole = _spread((prefilled_s + decode_s)[:, None] + waits, weights)
    many = lengths.decode_steps > 0
    if not many.any():
        return first, Spread(np.nan, np.nan, np.nan), whole
    steps_of = lengths.decode_steps[many]
    tpot_s = (decode_s - held_s)[many] / steps_of
    deviation = np.sqrt(met.step_variance * decode_s[many]) / steps_of
    each = np.maximum(tpot_s[:, None] + deviation[:, None] * _NORMAL_QUANTILES, 0.0)
    each_weights = np.repeat(lengths.weights[many][:, None], each.shape[1], axis=1)
    mean_s = float(lengths.weights[many] @ tpot_s / lengths.weights[many].sum())
    return first, _spread(each, each_weights)._replace(mean=mean_s), whole


_POINTS = (np.arange(20) + 0.5) / 20
_NORMAL_QUANTILES = np.array([-1.645, -0.842, -0.385, 0.0, 0.385, 0.842, 1.645])


def _gamma_quantiles(variation: float) -> FloatArray:
    """Return 20 quantiles of a gamma distribution of mean 1 with a squared coefficient of variation."""
    shape = 1.0 / min(max(variation, 1e-6), 20.0)  # beyond 20 nearly all of them are 0
    quantiles = gammaincinv(shape, _POINTS)
    return np.asarray(quantiles / quantiles.mean())


def _spread(values: FloatArray, weights: FloatArray) -> Spread:
    """Return the mean, the median and the 95th percentile of weighted values."""
    flat, weight = values.ravel(), weights.ravel()
    order = np.argsort(flat)
    cumulated = np.cumsum(weight[order])
    cumulated = (cumulated - weight[order] / 2.0) / cumulated[-1]
    p50, p95 = np.interp([0.5, 0.95], cumulated, flat[order])
    return Spread(float(flat @ weight / weight.sum()), float(p50), float(p95))
