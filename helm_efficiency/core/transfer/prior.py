"""Belief about a runtime before, or with a few, measurements: a Gaussian over log seconds.

The unknowns are log prefill_s at some knots and log decode_s. A request takes prefill_s + decode_s, so the log of its
seconds changes by their shares; with that linearisation measured requests update the belief in closed form.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Self

import numpy as np
from numpy.typing import ArrayLike
from scipy.special import stdtrit

from helm_efficiency.core.arrays import FloatArray
from helm_efficiency.core.measurement import Measurement
from helm_efficiency.core.rules import PrefillRule
from helm_efficiency.core.runtime_model import Domain, Prediction, RuntimeCoefficients
from helm_efficiency.errors import InputError

_SMALLEST_NOISE = 0.005  # relative difference that remains between two careful measurements of one cell


@dataclass(frozen=True)
class RuntimePrior:
    """Belief about prefill and decode of one model on one stack.

    Attributes:
        prompt_tokens: Knots of prefill, ascending; shape (n,).
        prefill_s: Expected prefill seconds at the knots; shape (n,).
        decode_s_per_token: Expected seconds of a decode step at an empty context.
        decode_s_per_context_token: Further seconds of a step for each token of its context.
        log_covariance: Covariance of (log prefill_s at the knots, log decode_s), shape (n + 1, n + 1).
        noise_fraction: Relative standard deviation of one measured cell around prefill and decode.
        degrees_of_freedom: Number of models behind the covariance, which sets the width of its tails.
        domain: Ranges that were measured on other models.
    """

    prompt_tokens: FloatArray
    prefill_s: FloatArray
    decode_s_per_token: float
    decode_s_per_context_token: float
    log_covariance: FloatArray
    noise_fraction: float
    degrees_of_freedom: float
    domain: Domain

    def predict(
        self, prompt_tokens: ArrayLike, output_tokens: ArrayLike, *, batch_size: ArrayLike | None = None
    ) -> Prediction:
        """Return the expected seconds of requests with their nominal 90 % interval.

        Args:
            prompt_tokens: Tokens fed to prefill; any shape.
            output_tokens: Tokens generated; broadcast against `prompt_tokens`.
            batch_size: Rows in one forward pass; the belief is about its own batch size only, which is the default.

        Raises:
            InputError: The batch size differs from that of the belief.
        """
        if batch_size is not None and np.any(np.asarray(batch_size) != self.domain.max_batch_size):
            raise InputError(f"A belief about batches of {self.domain.max_batch_size} was asked about {batch_size}.")
        p, o = np.broadcast_arrays(prompt_tokens, output_tokens)
        expected = self.coefficients().predict(p, o)
        shares = self._shares(p.ravel(), o.ravel())
        variance = np.einsum("ij,jk,ik->i", shares, self.log_covariance, shares) + self.noise_fraction**2
        half = stdtrit(self.degrees_of_freedom, 0.95) * np.sqrt(variance).reshape(p.shape)
        return expected._replace(low_s=expected.seconds * np.exp(-half), high_s=expected.seconds * np.exp(half))

    def updated(self, measurements: Sequence[Measurement]) -> Self:
        """Return the belief after some cells of the model itself were measured, in this batch size.

        Args:
            measurements: Independent observations; average repetitions of a cell before.
        """
        if not measurements:
            return self
        p = np.array([m.prompt_tokens for m in measurements], dtype=np.float64)
        o = np.array([m.output_tokens for m in measurements], dtype=np.float64)
        shares = self._shares(p, o)
        surprise = np.log([m.seconds for m in measurements] / self.coefficients().predict(p, o).seconds)
        noise = np.array(
            [(m.seconds_std or 0.0) / m.seconds / np.sqrt(m.num_repetitions) + _SMALLEST_NOISE for m in measurements]
        )
        cross = self.log_covariance @ shares.T
        gain = np.linalg.solve(shares @ cross + np.diag(noise**2 + self.noise_fraction**2), cross.T).T
        shift = gain @ surprise
        return replace(
            self,
            prefill_s=np.maximum.accumulate(self.prefill_s * np.exp(shift[:-1])),
            decode_s_per_token=self.decode_s_per_token * float(np.exp(shift[-1])),
            decode_s_per_context_token=self.decode_s_per_context_token * float(np.exp(shift[-1])),
            log_covariance=self.log_covariance - gain @ cross.T,
        )

    def coefficients(self) -> RuntimeCoefficients:
        """Return the expected runtime as coefficients, for predicting and scoring.

        Its intervals are those of prefill, of decode and of a single cell, assumed to be independent of each other.
        """
        wide = float(stdtrit(self.degrees_of_freedom, 0.95))
        sd = np.sqrt(np.diag(self.log_covariance))
        return RuntimeCoefficients(
            rule=PrefillRule.linear,
            prefill_knots=tuple(zip(self.prompt_tokens.astype(int).tolist(), self.prefill_s.tolist(), strict=True)),
            decode_s_per_token=self.decode_s_per_token,
            decode_s_per_context_token=self.decode_s_per_context_token,
            relative_error=wide * self.noise_fraction,
            prefill_error_s=tuple((self.prefill_s * np.sinh(wide * sd[:-1])).tolist()),
            decode_error=float(np.sinh(wide * sd[-1])),
            domain=self.domain,
        )

    def _shares(self, p: FloatArray, o: FloatArray) -> FloatArray:
        """Return the share of each unknown in each request's seconds, shape (requests, n + 1)."""
        coefficients = self.coefficients()
        prefill, decode = coefficients.prefill_s(p), coefficients.decode_s(p, o)
        shares = np.zeros((len(p), len(self.prompt_tokens) + 1))
        upper = np.clip(np.searchsorted(self.prompt_tokens, p), 1, len(self.prompt_tokens) - 1)
        lower = upper - 1
        width = self.prompt_tokens[upper] - self.prompt_tokens[lower]
        weight = np.clip((p - self.prompt_tokens[lower]) / width, 0.0, 1.0)
        rows = np.arange(len(p))
        shares[rows, lower] = (1.0 - weight) * prefill / (prefill + decode)
        shares[rows, upper] = weight * prefill / (prefill + decode)
        shares[:, -1] = decode / (prefill + decode)
        return shares
