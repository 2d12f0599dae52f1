"""The fitted model of a service: its terms, its coefficients, and an interval for every estimate made from them."""

from dataclasses import dataclass
from typing import NamedTuple, Self

import numpy as np
from numpy.typing import ArrayLike

from helm_efficiency.core.arrays import FloatArray
from helm_efficiency.core.fitting.additive_model import context_tokens
from helm_efficiency.core.rules import PrefillRule
from helm_efficiency.core.runtime_model import Domain, RuntimeCoefficients
from helm_efficiency.core.services.envelope import Envelope
from helm_efficiency.core.services.log import ServiceLog


class Interval(NamedTuple):
    """Estimates with their nominal 90 % intervals: three numbers, or three arrays of one shape."""

    value: FloatArray
    low: FloatArray
    high: FloatArray


@dataclass(frozen=True, slots=True)
class RequestShape:
    """Terms that the runtime of a request consists of.

    Attributes:
        knots: Prompt lengths between which prefill is linear; a single one where prefill is flat.
        has_decode: True if there is a decode slope.
        has_context: True if a decode step takes longer the more tokens it looks back on.
    """

    knots: tuple[int, ...]
    has_decode: bool
    has_context: bool = False

    @property
    def has_prefill(self) -> bool:
        """Whether prefill depends on the prompt."""
        return len(self.knots) > 1

    def identifies(self, other: Self) -> bool:
        """Return True if this shape has all the terms of another one."""
        return (
            self.has_prefill >= other.has_prefill
            and self.has_decode >= other.has_decode
            and self.has_context >= other.has_context
        )

    def design(self, prompt_tokens: ArrayLike, output_tokens: ArrayLike) -> FloatArray:
        """Return the design matrix with one row per request.

        The columns are: 1, the share of each prefill segment that the prompt passes, the number of decode steps, and
        the summed context lengths of these steps. The first segment reaches down to an empty prompt; the last one has
        no upper end.
        """
        p, o = np.broadcast_arrays(
            np.asarray(prompt_tokens, dtype=np.float64), np.asarray(output_tokens, dtype=np.float64)
        )
        columns = [np.ones(p.shape)]
        for begin, end in zip((0, *self.knots[1:-1]), self.knots[1:], strict=True) if self.has_prefill else ():
            limit = np.inf if end == self.knots[-1] else end
            columns.append((np.clip(p, begin, limit) - begin) / (end - begin))
        if self.has_decode:
            columns.append(o - 1.0)
        if self.has_context:
            columns.append(context_tokens(p, o))
        return np.stack(columns, axis=-1)


@dataclass(frozen=True, slots=True, eq=False)
class ServiceFit:
    """A service model with everything that its intervals are computed from.

    Attributes:
        shape: Terms of the model.
        envelope: Fitted lower envelope.
        covariance: q × q, covariance of the coefficients.
        alternatives: a × q, coefficients under other assumptions about waits.
        spread_factor: Half-width of a nominal 90 % interval, in standard deviations.
        domain: Token counts that the fitted requests cover.
        notes: Notes for the reader: terms that the requests do not identify, and how to identify them.
        is_upper_bound: True if the service may be faster than estimated: too few uncontended requests, or none alone.
    """

    shape: RequestShape
    envelope: Envelope
    covariance: FloatArray
    alternatives: FloatArray
    spread_factor: float
    domain: Domain
    notes: tuple[str, ...] = ()
    is_upper_bound: bool = False

    def denoised_s(self, prompt_tokens: ArrayLike, output_tokens: ArrayLike) -> Interval:
        """Return the uncontended seconds of each request."""
        return self._combine(self.shape.design(prompt_tokens, output_tokens))

    def total_s(self, prompt_tokens: ArrayLike, output_tokens: ArrayLike) -> Interval:
        """Return the total uncontended seconds of all the requests."""
        return self._combine(self.shape.design(prompt_tokens, output_tokens).sum(axis=0))

    def overhead_s(self) -> Interval | None:
        """Return the seconds at no prompt tokens and one output token; None if inseparable from prefill."""
        return self._combine(self.shape.design(0, 1)) if self.shape.has_prefill else None

    def prefill_s_per_token(self) -> Interval | None:
        """Return the seconds per prompt token, averaged over the prompt lengths seen; None if not identified."""
        if not self.shape.has_prefill:
            return None
        first, last = self.shape.knots[0], self.shape.knots[-1]
        return self._combine((self.shape.design(last, 1) - self.shape.design(first, 1)) / (last - first))

    def decode_s_per_token(self) -> Interval | None:
        """Return the seconds of each output token after the first; None if not identified.

        If they depend on the context, return those of the second output token after a prompt of the median knot's
        length.
        """
        if not self.shape.has_decode:
            return None
        middle = np.median(self.shape.knots)
        return self._combine(self.shape.design(middle, 2) - self.shape.design(middle, 1))

    def decode_s_per_context_token(self) -> Interval | None:
        """Return the further seconds of a decode step for each token that it looks back on; None if not identified."""
        if not self.shape.has_context:
            return None
        return self._combine(np.eye(len(self.envelope.coefficients))[-1])

    def memberships(self, log: ServiceLog) -> FloatArray:
        """Return the probabilities that each request (n) is uncontended, contended, too fast: n × 3, rows sum to 1."""
        return self.envelope.memberships(self.shape.design(log.prompt_tokens, log.output_tokens), log.seconds)

    def coefficients(self) -> RuntimeCoefficients:
        """Return the service model as coefficients.

        Their intervals hold for the denoised runtime, not for single requests.
        """
        theta, knots = self.envelope.coefficients, self.shape.knots
        overhead_s = float(theta[0]) if self.shape.has_prefill else 0.0
        shortest = self.denoised_s(knots, 1)
        decode = self._combine(self.shape.design(knots, 2) - self.shape.design(knots, 1))
        return RuntimeCoefficients(
            PrefillRule.linear,
            tuple(zip(knots, (shortest.value - overhead_s).tolist(), strict=True)),
            float(theta[len(knots)]) if self.shape.has_decode else 0.0,
            self.domain,
            decode_s_per_context_token=float(theta[-1]) if self.shape.has_context else 0.0,
            overhead_s=overhead_s,
            prefill_error_s=tuple((shortest.high - shortest.value).tolist()),
            decode_error=float(np.max(decode.high / decode.value - 1.0)) if self.shape.has_decode else 0.0,
        )

    def _combine(self, rows: FloatArray) -> Interval:
        """Return linear combinations of the coefficients with their intervals.

        The half-width combines the scatter of the requests and the largest change under other assumptions.
        """
        value = rows @ self.envelope.coefficients
        scatter = self.spread_factor * np.sqrt(((rows @ self.covariance) * rows).sum(axis=-1))
        assumed = np.max(np.abs(rows @ self.alternatives.T - value[..., None]), axis=-1)
        half = np.hypot(scatter, assumed)
        low = np.zeros_like(value) if self.is_upper_bound else np.maximum(value - half, 0.0)
        return Interval(value, low, value + half)
