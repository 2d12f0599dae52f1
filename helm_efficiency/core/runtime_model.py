"""From coefficients to seconds: what a request with p prompt and o output tokens takes, with an interval.

    request_s(p, o)  = overhead_s + prefill_s(p) + (o - 1) * decode_s_per_token
                       + decode_s_per_context_token * sum over t = 1 … o-1 of (p + t)
    prefill_s(p)     = monotone piecewise linear between the knots, flat below the first

With the context term at 0 this is the model of Narayanan et al., NeurIPS 2023, equations 1 and 2. A fitted model knows
its domain; outside it a prediction is flagged and its interval widens.
"""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, NamedTuple, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray

from helm_efficiency.errors import InputError

FloatArray = NDArray[np.float64]
BoolArray = NDArray[np.bool_]

HELM_RULES = ("helm", "paper-2022", "paper-2023")
"""Rules whose knots are read as HELM reads its tables."""


class Prediction(NamedTuple):
    """Predicted seconds of requests, each field an array of their common shape.

    Attributes:
        seconds: Expected end-to-end seconds.
        low_s: Lower end of the nominal 90 % interval.
        high_s: Upper end of the nominal 90 % interval.
        in_domain: Whether the request lies within what was measured.
    """

    seconds: FloatArray
    low_s: FloatArray
    high_s: FloatArray
    in_domain: BoolArray


@dataclass(frozen=True, slots=True)
class Domain:
    """What was measured: inclusive ranges of tokens and batch sizes."""

    min_prompt_tokens: int
    max_prompt_tokens: int
    min_output_tokens: int
    max_output_tokens: int
    max_batch_size: int = 1


@dataclass(frozen=True, slots=True)
class RuntimeCoefficients:
    """Fitted numbers of one deployment on one stack, and how to read them.

    Attributes:
        rule: How prefill is read between knots.
        prefill_knots: (prompt_tokens, seconds) pairs, ascending; seconds of the prompt and the first output token.
        decode_s_per_token: Seconds of each further output token at an empty context.
        decode_s_per_context_token: Further seconds of a decode step for each token of its context.
        overhead_s: Seconds of every request that depend on neither length.
        relative_error: Half-width of the nominal 90 % interval inside the domain, as a fraction of the seconds.
        domain: What was measured.
    """

    rule: str
    prefill_knots: tuple[tuple[int, float], ...]
    decode_s_per_token: float
    domain: Domain
    decode_s_per_context_token: float = 0.0
    overhead_s: float = 0.0
    relative_error: float = 0.0

    def prefill_s(self, prompt_tokens: ArrayLike) -> FloatArray:
        """Seconds to process prompts and emit their first output tokens, shaped like `prompt_tokens`."""
        knots = np.asarray(self.prefill_knots, dtype=np.float64)
        p = np.asarray(prompt_tokens, dtype=np.float64)
        if self.rule in HELM_RULES:
            return _next_larger_key(p, knots)
        inside = np.interp(p, knots[:, 0], knots[:, 1])
        if len(knots) < 2:
            return np.asarray(inside)
        slope = max(0.0, (knots[-1, 1] - knots[-2, 1]) / (knots[-1, 0] - knots[-2, 0]))
        return np.asarray(inside + np.maximum(p - knots[-1, 0], 0.0) * slope)

    def decode_s(self, prompt_tokens: ArrayLike, output_tokens: ArrayLike) -> FloatArray:
        """Seconds of all output tokens after the first."""
        p = np.asarray(prompt_tokens, dtype=np.float64)
        steps = np.maximum(np.asarray(output_tokens, dtype=np.float64) - 1.0, 0.0)
        context = steps * p + steps * (steps + 1.0) / 2.0
        return np.asarray(steps * self.decode_s_per_token + context * self.decode_s_per_context_token)

    def predict(self, prompt_tokens: ArrayLike, output_tokens: ArrayLike, *, batch_size: ArrayLike = 1) -> Prediction:
        """Predict end-to-end seconds.

        Args:
            prompt_tokens: Tokens fed to prefill; any shape.
            output_tokens: Tokens generated; broadcast against `prompt_tokens`.
            batch_size: Rows in one forward pass; broadcast likewise.

        Returns:
            Seconds with their intervals and whether each request lies in the domain.

        Raises:
            InputError: A negative count.
        """
        p, o, b = np.broadcast_arrays(prompt_tokens, output_tokens, batch_size)
        if p.size and (p.min() < 0 or o.min() < 0 or b.min() < 1):
            raise InputError("Token counts must be 0 or more and batch sizes 1 or more.")
        seconds = self.overhead_s + self.prefill_s(p) + self.decode_s(p, o)
        d = self.domain
        in_domain = (
            (p >= d.min_prompt_tokens)
            & (p <= d.max_prompt_tokens)
            & (o >= d.min_output_tokens)
            & (o <= d.max_output_tokens)
            & (b <= d.max_batch_size)
        )
        beyond = np.maximum(np.maximum(p / d.max_prompt_tokens, o / d.max_output_tokens), 1.0)
        half = seconds * self.relative_error * beyond
        return Prediction(seconds, np.maximum(seconds - half, 0.0), seconds + half, np.asarray(in_domain))

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON values; `from_dict` reads them back."""
        return asdict(self)

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Self:
        """Read what `to_dict` wrote.

        Raises:
            InputError: A value is missing.
        """
        try:
            knots = tuple((int(p), float(s)) for p, s in data["prefill_knots"])
            return cls(**{**data, "prefill_knots": knots, "domain": Domain(**data["domain"])})
        except (KeyError, TypeError) as error:
            raise InputError(f"Not runtime coefficients of this package: {error}.") from error


def _next_larger_key(p: FloatArray, knots: FloatArray) -> FloatArray:
    """HELM's rule: the time of the next larger knot, in proportion to p; in proportion to the last knot beyond it.

    Source: helm.benchmark.metrics.efficiency_metrics, crfm-helm 0.5.16.
    """
    index = np.minimum(np.searchsorted(knots[:, 0], p, side="left"), len(knots) - 1)
    return np.asarray(knots[index, 1] * (p / knots[index, 0]))
