"""Which cell to time next, and when to stop: design of experiments for one model on one stack.

A *belief* predicts requests with intervals and can be updated by measurements. The next cell is the one that would
narrow the intervals of the requests of interest most for each second that timing it takes, judged before it is timed:
the belief is updated by what it predicts itself. Profiling stops when the belief's own expected error is small enough;
the truth is never needed.

There are two beliefs: `MeasuredBelief`, which knows only what was measured, and `runtime_prior.RuntimePrior`, which
also knows what a transfer model says of the architecture. Any other with the two methods of `Belief` will do.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple, Protocol, Self

import numpy as np
from numpy.typing import ArrayLike

from helm_efficiency.core.fitting.additive_model import AdditiveFit
from helm_efficiency.core.fitting.fit import fit_among
from helm_efficiency.core.fitting.intervals import QUANTILE_90
from helm_efficiency.core.measurement import Measurement, Profile
from helm_efficiency.core.runtime_model import Prediction
from helm_efficiency.errors import InputError

_MEAN_ABSOLUTE = float(np.sqrt(2.0 / np.pi))
_DECODE_OUTPUT_TOKENS = 16
_LEAST_S = 1e-6


class Belief(Protocol):
    """What is known of a model's runtime so far."""

    def predict(self, prompt_tokens: ArrayLike, output_tokens: ArrayLike, *, batch_size: ArrayLike = 1) -> Prediction:
        """Seconds of requests, with nominal 90 % intervals."""

    def updated(self, measurements: Sequence[Measurement]) -> Self:
        """The belief after some more cells were measured."""


class Cell(NamedTuple):
    """What can be timed."""

    prompt_tokens: int
    output_tokens: int
    batch_size: int = 1


class Requests(NamedTuple):
    """Requests that are to be predicted well: arrays of one shape, or a batch size for all."""

    prompt_tokens: ArrayLike
    output_tokens: ArrayLike
    batch_size: ArrayLike = 1


@dataclass(frozen=True, slots=True)
class MeasuredBelief:
    """The fit of what was measured so far.

    Attributes:
        profile: At least the cells of `first_cells`.
        neighbours: `fit_smallest_batch` of other models on the stack, if there are any.
    """

    profile: Profile
    neighbours: Sequence[AdditiveFit] = ()

    def predict(self, prompt_tokens: ArrayLike, output_tokens: ArrayLike, *, batch_size: ArrayLike = 1) -> Prediction:
        """Seconds of requests, with nominal 90 % intervals.

        Raises:
            InsufficientMeasurementsError: The measurements do not determine decode.
        """
        coefficients = fit_among(self.profile, self.neighbours).coefficients
        return coefficients.predict(prompt_tokens, output_tokens, batch_size=batch_size)

    def updated(self, measurements: Sequence[Measurement]) -> Self:
        """The belief after some more cells were measured."""
        return replace(self, profile=self.profile.with_more(measurements))


def first_cells(candidates: Sequence[Cell]) -> list[Cell]:
    """Cells that have to be timed before anything can be predicted without a prior.

    The shortest and the longest prompt with one output token, and the shortest with the output length nearest to 16:
    long enough that a clock of a millisecond tells the decode time to half a percent, and no longer.

    Args:
        candidates: All that can be timed, with one output token among them.

    Raises:
        InputError: One output token or a longer output is not among them.
    """
    prompts = [c.prompt_tokens for c in candidates if c.output_tokens == 1]
    outputs = [c.output_tokens for c in candidates if c.output_tokens > 1 and c.prompt_tokens in prompts]
    if not outputs:
        raise InputError("Candidates need one output token, and a longer output at the same prompt length.")
    longer = min(outputs, key=lambda o: (abs(o - _DECODE_OUTPUT_TOKENS), o))
    shortest = min(c.prompt_tokens for c in candidates if c.output_tokens == longer)
    return list(dict.fromkeys([Cell(shortest, 1), Cell(shortest, longer), Cell(max(prompts), 1)]))


@dataclass(frozen=True, slots=True)
class Design:
    """What is to be known, of which requests, to be found out by timing which cells.

    Attributes:
        candidates: Cells that can be timed; each once.
        requests: What the error is averaged over.
        target_error_fraction: Wanted mean absolute error.
    """

    candidates: Sequence[Cell]
    requests: Requests
    target_error_fraction: float

    def expected_error_fraction(self, belief: Belief) -> float:
        """Mean absolute error over the requests that the belief's intervals amount to, if they are Gaussian.

        A request that is predicted to take no time, which only noise can do, counts as wholly unknown.
        """
        prompts, outputs, batches = self.requests
        predicted = belief.predict(prompts, outputs, batch_size=batches)
        seconds, half = predicted.seconds, np.asarray((predicted.high_s - predicted.low_s) / 2.0)
        fraction = np.divide(half, seconds, out=np.ones_like(half), where=seconds > 0)
        return float(np.mean(fraction)) / QUANTILE_90 * _MEAN_ABSOLUTE

    def next_cell(self, belief: Belief, timed: Sequence[Cell] = ()) -> Cell | None:
        """The cell whose timing lowers the expected error most per second; None when to stop.

        Stops when the target is met, or when no cell is expected to lower the error.

        Args:
            belief: What is known.
            timed: Cells that were timed before.
        """
        error = self.expected_error_fraction(belief)
        if error <= self.target_error_fraction:
            return None
        left = [cell for cell in self.candidates if cell not in set(timed)]
        if not left:
            return None
        prompts, outputs, batches = np.array(left).T
        gains = []
        seconds = np.maximum(belief.predict(prompts, outputs, batch_size=batches).seconds, _LEAST_S)
        for cell, s in zip(left, seconds, strict=True):
            imagined = Measurement(cell.prompt_tokens, cell.output_tokens, float(s), batch_size=cell.batch_size)
            gains.append((error - self.expected_error_fraction(belief.updated([imagined]))) / float(s))
        best = int(np.argmax(gains))
        return left[best] if gains[best] > 0 else None
