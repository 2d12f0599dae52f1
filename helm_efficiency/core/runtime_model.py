"""From coefficients to seconds: predict the time of a request with p prompt and o output tokens, with an interval.

    request_s(p, o)  = overhead_s + prefill_s(p) + (o - 1) * decode_s_per_token
                       + decode_s_per_context_token * sum over t = 1 … o-1 of (p + t)
    prefill_s(p)     = monotone piecewise linear between the knots, flat below the first

With the context term at 0 this is the model of Narayanan et al., NeurIPS 2023, equations 1 and 2. Beyond the last knot
prefill goes on with a linear and a quadratic term. A batch of b rows prefills like one prompt of b * p tokens, or like
its prompts one after another if that is faster, times a factor, and decodes at its own pace. A fitted model knows its
domain; outside it a prediction is flagged and its interval widens.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from helm_efficiency.core.arrays import BoolArray, FloatArray
from helm_efficiency.core.notebook import fact_table
from helm_efficiency.core.rules import HELM_RULES, PrefillRule
from helm_efficiency.errors import InputError

_MOST_TOKENS = 10**9
"""Limit of prompt tokens, more than any real prompt has."""

_MOST_S = 1e15
"""Limit of seconds, more than any real time; the square of a far larger number would overflow."""

_MOST_SHOWN = 10
"""Requests of a prediction that a notebook shows."""

BEYOND_PREFILL = 0.3
"""Relative deviation of the prefill added beyond the longest prompt measured. With the longest 45 % of eight logs held
out, 95.6 % are covered; 89.7 % at half of it, 96.3 % at one and a half."""

BEYOND_DECODE = 0.1
"""Relative deviation of decode, for each longest context's length beyond it. 93.8 % at half of it, 95.6 % at one and a
half."""

_BEYOND_BATCH = 0.3
"""Relative deviation of all seconds, for each doubling of the largest batch: a judgement, as few tables have several
batch sizes."""


class Prediction(NamedTuple):
    """Predicted seconds of requests, each field an array of their common shape.

    Attributes:
        seconds: Expected end-to-end seconds.
        low_s: Lower end of the nominal 90 % interval.
        high_s: Upper end of the nominal 90 % interval.
        in_domain: True where the request lies within the measured ranges.
    """

    seconds: FloatArray
    low_s: FloatArray
    high_s: FloatArray
    in_domain: BoolArray

    def __repr__(self) -> str:
        """Return one line: the number of requests, and their seconds with the interval."""
        seconds, low, high = (np.ravel(each) for each in self[:3])
        if len(seconds) == 1:
            return f"<Prediction: {seconds[0]:.3g} s ({low[0]:.3g}–{high[0]:.3g})>"
        span = f": {seconds.min():.3g} to {seconds.max():.3g} s" if len(seconds) else ""
        return f"<Prediction of {len(seconds):,} requests{span}>"

    def _repr_html_(self) -> str:
        """Return the seconds of the first requests as an HTML table, for notebooks."""
        each = list(zip(*map(np.ravel, self), strict=True))
        rows = {
            f"Request {at:,}": f"{s:.3g} s ({low:.3g}–{high:.3g}){'' if inside else ', outside what was measured'}"
            for at, (s, low, high, inside) in enumerate(each[:_MOST_SHOWN], 1)
        }
        return fact_table("Seconds with their 90 % interval", rows, ["…"] if len(each) > _MOST_SHOWN else [])


def _around(seconds: FloatArray, half: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Return the ends of an interval at equal ratios from the value: errors are factors, and seconds stay above 0.

    They are seconds * exp(-x) and seconds * exp(x), where sinh(x) is half over seconds. Narrow intervals are symmetric.
    """
    root = np.sqrt(seconds * seconds + half * half)
    return root - half, root + half


@dataclass(frozen=True, slots=True)
class Domain:
    """Inclusive ranges of the token counts and batch sizes that were measured.

    Attributes:
        min_prompt_tokens: Tokens of the shortest prompt.
        max_prompt_tokens: Tokens of the longest prompt.
        min_output_tokens: Tokens of the shortest output.
        max_output_tokens: Tokens of the longest output.
        max_batch_size: Rows of the largest batch.
    """

    min_prompt_tokens: int
    max_prompt_tokens: int
    min_output_tokens: int
    max_output_tokens: int
    max_batch_size: int = 1


@dataclass(frozen=True, slots=True)
class RuntimeCoefficients:
    """Fitted numbers of one deployment on one stack, and the rule by which to read them.

    Attributes:
        rule: Rule by which prefill is read between knots: HELM's for `HELM_RULES`, straight lines otherwise.
        prefill_knots: Pairs of (prompt_tokens, seconds), ascending; seconds of the prompt and the first output token.
        decode_s_per_token: Seconds of each further output token at an empty context.
        decode_s_per_context_token: Further seconds of a decode step for each token of its context.
        overhead_s: Seconds of every request that depend on neither length.
        relative_error: Half-width of the nominal 90 % interval of a request with known prefill and decode times, as a
            fraction of the seconds: the scatter of single measurements.
        domain: Ranges that were measured.
        prefill_error_s: Half-width of the 90 % interval of prefill at each knot (s); empty for none.
        decode_error: Half-width of the 90 % interval of the decode time, as a fraction.
        tail_s_per_token: Linear term of prefill beyond the last knot; None for the slope between the last two knots.
        tail_s_per_token_squared: Quadratic term of prefill beyond the last knot.
        resolution_s: Step (s) to which measurements are rounded; an interval for them has to allow for it.
        batch_knots: Triples of (batch size, prefill factor, decode seconds per token), ascending; empty for batch 1
            alone.

    Example:
        >>> from helm_efficiency import PrefillRule
        >>> numbers = RuntimeCoefficients(PrefillRule.linear, ((1, 0.01), (1000, 0.11)), 0.02, Domain(1, 1000, 1, 64))
        >>> numbers.predict([1000, 2000], [2, 2]).in_domain.tolist()
        [True, False]
    """

    rule: PrefillRule
    prefill_knots: tuple[tuple[int, float], ...]
    decode_s_per_token: float
    domain: Domain
    decode_s_per_context_token: float = 0.0
    overhead_s: float = 0.0
    relative_error: float = 0.0
    prefill_error_s: tuple[float, ...] = ()
    decode_error: float = 0.0
    tail_s_per_token: float | None = None
    tail_s_per_token_squared: float = 0.0
    resolution_s: float = 0.0
    batch_knots: tuple[tuple[int, float, float], ...] = ()

    def __post_init__(self) -> None:
        knots = [knot for knot, _ in self.prefill_knots]
        sizes = [size for size, _, _ in self.batch_knots]
        if not knots or any(not 1 <= knot <= _MOST_TOKENS for knot in knots) or sorted(set(knots)) != knots:
            raise InputError(f"prefill_knots: expected prompt tokens in ascending order, at most {_MOST_TOKENS}.")
        if any(size < 1 for size in sizes) or sorted(set(sizes)) != sizes:
            raise InputError("batch_knots: expected batch sizes in ascending order.")
        if len(self.prefill_error_s) not in (0, len(knots)):
            raise InputError(f"prefill_error_s: {len(self.prefill_error_s)} values, expected one a knot or none.")
        if not all(abs(number) <= _MOST_S for number in self._numbers()):  # NaN fails the comparison as well
            raise InputError(f"A coefficient is not a number, or is beyond {_MOST_S:g}.")

    def _numbers(self) -> Iterator[float]:
        """Yield all coefficients except token counts."""
        yield from (seconds for _, seconds in self.prefill_knots)
        yield from self.prefill_error_s
        for _, factor, step_s in self.batch_knots:
            yield from (factor, step_s)
        yield from (self.decode_s_per_token, self.decode_s_per_context_token, self.overhead_s, self.relative_error)
        yield from (self.decode_error, self.tail_s_per_token or 0.0, self.tail_s_per_token_squared, self.resolution_s)

    def prefill_s(self, prompt_tokens: ArrayLike) -> FloatArray:
        """Return the seconds to process prompts and emit their first output tokens, shaped like `prompt_tokens`."""
        p = np.asarray(prompt_tokens, dtype=np.float64)
        knots = np.asarray(self.prefill_knots, dtype=np.float64)
        if self.rule in HELM_RULES:
            return _next_larger_key(p, knots)
        return np.asarray(_read_off(np.asarray(prompt_tokens), knots[:, 0], knots[:, 1]) + self._tail_s(p, knots))

    def _tail_s(self, p: FloatArray, knots: FloatArray) -> FloatArray | float:
        """Return the seconds that prefill adds beyond the last knot."""
        last = knots[-1, 0]
        if len(knots) < 2 or not p.size or p.max() <= last:
            return 0.0
        slope = self.tail_s_per_token
        if slope is None:
            slope = max(0.0, (knots[-1, 1] - knots[-2, 1]) / (last - knots[-2, 0]))
        beyond = np.maximum(p, last)
        return np.asarray(slope * (beyond - last) + self.tail_s_per_token_squared * (beyond**2 - last**2))

    def decode_s(self, prompt_tokens: ArrayLike, output_tokens: ArrayLike) -> FloatArray:
        """Return the seconds of all output tokens after the first."""
        p = np.asarray(prompt_tokens, dtype=np.float64)
        steps = np.maximum(np.asarray(output_tokens, dtype=np.float64) - 1.0, 0.0)
        seconds = steps * self.decode_s_per_token
        if self.decode_s_per_context_token:
            seconds = seconds + self.decode_s_per_context_token * (steps * p + steps * (steps + 1.0) / 2.0)
        return np.asarray(seconds)

    def predict(self, prompt_tokens: ArrayLike, output_tokens: ArrayLike, *, batch_size: ArrayLike = 1) -> Prediction:
        """Predict end-to-end seconds.

        Args:
            prompt_tokens: Tokens fed to prefill in each row; any shape.
            output_tokens: Tokens generated in each row; broadcast against `prompt_tokens`.
            batch_size: Rows in one forward pass; broadcast against `prompt_tokens`. Seconds are those of the whole
                batch.

        Returns:
            Seconds with their intervals and whether each request lies in the domain.

        Raises:
            InputError: A count is negative, or too large for an integer of 64 bits.
        """
        p, o, b = np.broadcast_arrays(prompt_tokens, output_tokens, batch_size)
        if any(counts.dtype.kind == "O" for counts in (p, o, b)):
            raise InputError("Counts of tokens must be numbers, and below 2**63.")
        if p.size and (p.min() < 0 or o.min() < 0 or b.min() < 1):
            raise InputError("Token counts must be 0 or more and batch sizes 1 or more.")
        one_row = not b.size or b.max() == 1
        prefill_s, decode_s = self._parts(p, o) if one_row else self._batched_parts(p, o, b)
        seconds = np.maximum(prefill_s + decode_s + self.overhead_s, 0.0)  # a slope in a user's table may be negative
        half = self._half_width(p, o, seconds, decode_s) if one_row else self._batched_half_width(p, o, b, seconds)
        if not one_row:  # each doubling of the largest batch measured is uncertain by 30 %
            half = np.hypot(half, _BEYOND_BATCH * seconds * np.log2(np.maximum(b / self.domain.max_batch_size, 1.0)))
        low, high = _around(seconds, half)
        if self.rule in HELM_RULES:
            straight_low, straight_high = _around(self._straight_s(p) + decode_s + self.overhead_s, half)
            low, high = np.minimum(low, straight_low), np.maximum(high, straight_high)
        return Prediction(seconds, np.maximum(low, 0.0), high, self._in_domain(p, o, b))

    def _parts(self, p: FloatArray, o: FloatArray) -> tuple[FloatArray, FloatArray]:
        return self.prefill_s(p), self.decode_s(p, o)

    def _batched_parts(self, p: FloatArray, o: FloatArray, b: FloatArray) -> tuple[FloatArray, FloatArray]:
        """Return prefill and decode seconds of batches: rows share a decode step; each row reads its own context."""
        sizes, factors, decode = (np.asarray(self.batch_knots or ((1, 1.0, self.decode_s_per_token),))).T
        steps = np.maximum(o - 1.0, 0.0)
        context = self.decode_s_per_context_token * b * (steps * p + steps * (steps + 1.0) / 2.0)
        step_s = np.interp(b, sizes, decode)
        if len(sizes) > 1:
            slope = max(0.0, float((decode[-1] - decode[-2]) / (sizes[-1] - sizes[-2])))
            step_s = step_s + slope * np.maximum(b - sizes[-1], 0.0)
        return self.batched_prefill_s(p, b) * np.interp(b, sizes, factors), np.asarray(steps * step_s + context)

    def batched_prefill_s(self, prompt_tokens: ArrayLike, batch_size: ArrayLike) -> FloatArray:
        """Return the seconds to process a batch of equal prompts, before the factor of its batch size.

        Short prompts share the reading of the weights, like one prompt as long as all of them. Tokens of different
        prompts do not attend to each other, so long prompts take as long as one after another.
        """
        p, b = np.asarray(prompt_tokens), np.asarray(batch_size)
        return np.asarray(np.minimum(self.prefill_s(p * b), self.prefill_s(p) * b))

    def _batched_half_width(self, p: FloatArray, o: FloatArray, b: FloatArray, seconds: FloatArray) -> FloatArray:
        """Return the half-width of a batch: that of one long prompt, or the sum over its prompts if that is faster."""
        decode_s = self._batched_parts(p, o, b)[1]
        together = self._half_width(p * b, o, seconds, decode_s)
        apart = self._half_width(p, o, seconds / b, decode_s / b) * b
        return np.asarray(np.where(self.prefill_s(p * b) <= self.prefill_s(p) * b, together, apart))

    def _half_width(self, p: FloatArray, o: FloatArray, seconds: FloatArray, decode_s: FloatArray) -> FloatArray:
        """Return the independent errors of prefill, of decode and of a single measurement, added in squares (s)."""
        d = self.domain
        squares = (self.relative_error * seconds) ** 2 + (self.decode_error * decode_s) ** 2
        if self.prefill_error_s:
            knots = np.array([knot for knot, _ in self.prefill_knots], dtype=np.float64)
            squares = squares + _read_off(p, knots, np.asarray(self.prefill_error_s)) ** 2
        if self.resolution_s:
            squares = squares + (self.resolution_s / 2.0) ** 2
        if p.size and p.max() > d.max_prompt_tokens:
            beyond = np.maximum(self.prefill_s(p) - self.prefill_s(d.max_prompt_tokens), 0.0)
            squares = squares + (BEYOND_PREFILL * beyond) ** 2
        longest = d.max_prompt_tokens + d.max_output_tokens
        if p.size and (o.max() > d.max_output_tokens or p.max() > d.max_prompt_tokens):
            squares = squares + (BEYOND_DECODE * decode_s * np.maximum((p + o) / longest - 1.0, 0.0)) ** 2
        return np.asarray(np.sqrt(squares))

    def _straight_s(self, p: FloatArray) -> FloatArray:
        knots = np.asarray(self.prefill_knots, dtype=np.float64)
        return np.asarray(np.interp(p, knots[:, 0], knots[:, 1]) * np.maximum(p / knots[-1, 0], 1.0))

    def _in_domain(self, p: FloatArray, o: FloatArray, b: FloatArray) -> BoolArray:
        d = self.domain
        return np.asarray(
            (p >= d.min_prompt_tokens)
            & (p <= d.max_prompt_tokens)
            & (o >= d.min_output_tokens)
            & (o <= d.max_output_tokens)
            & (b <= d.max_batch_size)
        )


def _read_off(p: NDArray[Any], knots: FloatArray, values: FloatArray) -> FloatArray:
    """Interpolate by straight lines between knots, flat outside.

    Many requests are read from a table of every whole number of tokens.
    """
    last = int(knots[-1])
    if p.size <= last or not np.issubdtype(p.dtype, np.integer):
        return np.asarray(np.interp(p, knots, values))
    return np.asarray(np.interp(np.arange(last + 1), knots, values)[np.minimum(p, last)])


def _next_larger_key(p: FloatArray, knots: FloatArray) -> FloatArray:
    """Apply HELM's rule: scale the time of the next larger knot in proportion to p; beyond the last knot, scale that.

    Source: helm.benchmark.metrics.efficiency_metrics, crfm-helm 0.5.16.
    """
    index = np.minimum(np.searchsorted(knots[:, 0], p, side="left"), len(knots) - 1)
    return np.asarray(knots[index, 1] * (p / knots[index, 0]))
