"""Return the time of one forward pass of a server from runtime coefficients.

    decode_pass_s(n, C)   = decode_s_per_token(n) + decode_s_per_context_token * C
    mixed_pass_s(x, n, C) = max(prefill_s(x + n), decode_s_per_token(n)) + decode_s_per_context_token * C

n is the number of sequences that decode, C the sum of their contexts, x the prompt tokens in the same pass. Weights are
read once for all tokens of a pass, so n decoding tokens in the pass of a prompt cost as much as n more prompt tokens;
their attention is added to that. AIConfigurator's times of mixed passes (208 configurations of 15 models, x of 512 to
8,192, n of 1 to 128) agree with the rule to 1.5 % (median) and 4 % (mean); adding prefill and decode instead is 12 %
and 16 % too much.
"""

from dataclasses import dataclass
from typing import Self

import numpy as np
from numpy.typing import ArrayLike

from helm_efficiency.core.arrays import FloatArray
from helm_efficiency.core.runtime_model import RuntimeCoefficients
from helm_efficiency.errors import InsufficientMeasurementsError

BEYOND_MEASURED = 4
"""Factor of the largest measured batch up to which passes are extrapolated along their last slope. Beyond that, a pass
bound by memory may have become bound by arithmetic, which smaller batches cannot show."""


@dataclass(frozen=True, slots=True)
class StepTimes:
    """Times of forward passes, by prompt tokens, batch and context.

    Attributes:
        coefficients: Runtime coefficients from which prefill is read.
        batch_sizes: Batch sizes that were measured, ascending.
        decode_s_per_token: Seconds of a decode pass at an empty context, one number per batch size.
        decode_s_per_context_token: Further seconds of a decode pass for each token of each context.
        overhead_s: Seconds of a request outside the forward passes.
    """

    coefficients: RuntimeCoefficients
    batch_sizes: tuple[int, ...]
    decode_s_per_token: tuple[float, ...]
    decode_s_per_context_token: float
    overhead_s: float

    @classmethod
    def from_coefficients(cls, coefficients: RuntimeCoefficients) -> Self:
        """Read the times of passes from coefficients that were measured at several batch sizes.

        Raises:
            InsufficientMeasurementsError: Only one batch size was measured.
        """
        knots = coefficients.batch_knots
        if len(knots) < 2:
            raise InsufficientMeasurementsError(
                "Load cannot be told from measurements of one batch size: profile at several "
                "(profile --batch-sizes 1,8,32), or use simulated coefficients."
            )
        seconds = np.maximum.accumulate([max(step_s, 0.0) for _, _, step_s in knots])  # more rows never take less
        return cls(
            coefficients=coefficients,
            batch_sizes=tuple(size for size, _, _ in knots),
            decode_s_per_token=tuple(seconds.tolist()),
            decode_s_per_context_token=max(coefficients.decode_s_per_context_token, 0.0),
            overhead_s=max(coefficients.overhead_s, 0.0),
        )

    @property
    def measured_batch_size(self) -> int:
        """Largest batch size that was measured."""
        return self.batch_sizes[-1]

    @property
    def max_batch_size(self) -> int:
        """Largest batch size that is predicted: `BEYOND_MEASURED` times the largest that was measured."""
        return BEYOND_MEASURED * self.batch_sizes[-1]

    def prefill_s(self, tokens: ArrayLike) -> FloatArray:
        """Return the seconds of a pass of prompt tokens alone; 0 for none. Shaped like `tokens`."""
        x = np.asarray(tokens, dtype=np.float64)
        return np.where(x > 0, np.maximum(self.coefficients.prefill_s(x), 0.0), 0.0)

    def batch_s(self, batch: float) -> float:
        """Return the seconds of a decode pass at an empty context; a batch below 1 counts as 1.

        The time is linear between measured sizes; beyond the largest it continues with the last slope.
        """
        sizes, seconds = self.batch_sizes, self.decode_s_per_token
        slope = (seconds[-1] - seconds[-2]) / (sizes[-1] - sizes[-2])
        return float(np.interp(batch, sizes, seconds)) + slope * max(batch - sizes[-1], 0.0)

    def decode_pass_s(self, batch: float, context_tokens: float) -> float:
        """Return the seconds of a pass of `batch` decoding sequences with contexts that sum to `context_tokens`."""
        return self.batch_s(batch) + self.decode_s_per_context_token * context_tokens

    def pass_s(self, prompt_tokens: float, batch: float, context_tokens: float) -> float:
        """Return the seconds of any pass: prompt tokens together with decoding sequences, or only one of the two."""
        if not batch:
            return float(self.prefill_s(prompt_tokens))
        decode_s = self.decode_pass_s(batch, context_tokens)
        if not prompt_tokens:
            return decode_s
        together_s = float(self.prefill_s(prompt_tokens + batch))
        return max(together_s, self.batch_s(batch)) + self.decode_s_per_context_token * context_tokens

    def new_prompt_s(
        self, prompt_tokens: ArrayLike, cached_tokens: ArrayLike, beside: FloatArray | float = 0.0
    ) -> FloatArray:
        """Return the prefill seconds of tokens outside a prefix cache, with `beside` more tokens in their passes.

        New tokens attend to the cached ones: prefill_s(p) - prefill_s(q). A pass reads all weights even for few tokens,
        so the time is at least prefill_s(p - q).
        """
        p, q = np.asarray(prompt_tokens, dtype=np.float64), np.asarray(cached_tokens, dtype=np.float64)
        new = np.where(p > 0, np.maximum(p - q, 1.0), 0.0)  # an engine computes the last prompt token again
        difference_s = self.prefill_s(p + beside) - self.prefill_s(q)
        return np.maximum(difference_s, self.prefill_s(new + np.where(new > 0, beside, 0.0)))

    def added_s(self, prompt_tokens: ArrayLike, batch: float, *, cached: ArrayLike, chunk_tokens: float) -> FloatArray:
        """Return the seconds that prompts add to the decode passes that they share.

        A prompt of more than `chunk_tokens` shares several passes, and each of them hides a part of it.

        Args:
            prompt_tokens: Tokens of each prompt, of any shape.
            batch: Sequences that decode in the same passes, 1 or more.
            cached: Prompt tokens that a prefix cache holds.
            chunk_tokens: Prompt tokens that a pass takes at most.
        """
        passes = num_passes(prompt_tokens, cached, chunk_tokens)
        together_s = self.new_prompt_s(prompt_tokens, cached, passes * batch)
        return np.asarray(np.maximum(together_s - passes * self.batch_s(batch), 0.0))


def num_passes(prompt_tokens: ArrayLike, cached: ArrayLike, chunk_tokens: float) -> FloatArray:
    """Return the passes that each prompt takes when a pass holds at most `chunk_tokens` prompt tokens; 0 for no prompt.

    >>> num_passes([0, 1, 8192, 8193], 0, 8192).tolist()
    [0.0, 1.0, 1.0, 2.0]
    """
    p = np.asarray(prompt_tokens, dtype=np.float64)
    new = np.where(p > 0, np.maximum(p - np.asarray(cached, dtype=np.float64), 1.0), 0.0)
    return np.ceil(new / chunk_tokens)
