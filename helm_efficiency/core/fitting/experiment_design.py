"""Choose which cell to time next, and when to stop: design of experiments for one model on one stack.

A *belief* predicts requests with intervals and can be updated by measurements. The next cell is the one that would
narrow the intervals of the requests of interest most for each second that timing it takes. This is judged before the
cell is timed: the belief is updated by its own prediction. Profiling stops when the belief's own expected error is
small enough; the truth is never needed.

There are two beliefs: `MeasuredBelief` knows only the measurements, and `runtime_prior.RuntimePrior` also knows the
transfer model's prediction for the architecture. Any other object with the two methods of `Belief` works as well.
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
_DECODE_OUTPUT_TOKENS = 16  # see `first_cells`
_LEAST_S = 1e-6  # a belief may say 0 s, by which gains are divided


class Belief(Protocol):
    """Current knowledge of a model's runtime."""

    def predict(self, prompt_tokens: ArrayLike, output_tokens: ArrayLike, *, batch_size: ArrayLike = 1) -> Prediction:
        """Predict the seconds of requests, with nominal 90 % intervals."""

    def updated(self, measurements: Sequence[Measurement]) -> Self:
        """Return the belief after some more cells were measured."""


class Cell(NamedTuple):
    """A combination of prompt length, output length and batch size that can be timed."""

    prompt_tokens: int
    output_tokens: int
    batch_size: int = 1


class Requests(NamedTuple):
    """Requests to predict well: arrays of one shape; the batch size may be a single number for all."""

    prompt_tokens: ArrayLike
    output_tokens: ArrayLike
    batch_size: ArrayLike = 1


@dataclass(frozen=True, slots=True)
class MeasuredBelief:
    """Belief that consists of a fit to the measurements so far.

    Attributes:
        profile: Measurements so far, at least the cells of `first_cells`.
        neighbours: Fits by `fit_smallest_batch` of other models on the stack, if there are any.
    """

    profile: Profile
    neighbours: Sequence[AdditiveFit] = ()

    def predict(self, prompt_tokens: ArrayLike, output_tokens: ArrayLike, *, batch_size: ArrayLike = 1) -> Prediction:
        """Predict the seconds of requests, with nominal 90 % intervals.

        Raises:
            InsufficientMeasurementsError: The measurements do not determine decode.
        """
        coefficients = fit_among(self.profile, self.neighbours).coefficients
        return coefficients.predict(prompt_tokens, output_tokens, batch_size=batch_size)

    def updated(self, measurements: Sequence[Measurement]) -> Self:
        """Return the belief after some more cells were measured."""
        return replace(self, profile=self.profile.with_more(measurements))


def first_cells(candidates: Sequence[Cell]) -> list[Cell]:
    """Return the cells that have to be timed before anything can be predicted without a prior.

    These are the shortest and the longest prompt with one output token, and the shortest with the output length nearest
    to 16: just long enough for a clock of a millisecond to measure the decode time to half a percent.

    Raises:
        InputError: The candidates lack one output token or a longer output.
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
    """Goal of an experiment: the cells that can be timed, the requests to predict, and the wanted error.

    Attributes:
        candidates: Cells that can be timed; each once.
        requests: Requests that the error is averaged over.
        target_error_fraction: Wanted mean absolute error.
    """

    candidates: Sequence[Cell]
    requests: Requests
    target_error_fraction: float

    def expected_error_fraction(self, belief: Belief) -> float:
        """Return the mean absolute error over the requests that the belief's intervals imply, if they are Gaussian.

        A request with a predicted time of 0, which only noise can cause, counts as wholly unknown.
        """
        prompts, outputs, batches = self.requests
        predicted = belief.predict(prompts, outputs, batch_size=batches)
        seconds, half = predicted.seconds, np.asarray((predicted.high_s - predicted.low_s) / 2.0)
        fraction = np.divide(half, seconds, out=np.ones_like(half), where=seconds > 0)
        return float(np.mean(fraction)) / QUANTILE_90 * _MEAN_ABSOLUTE

    def next_cell(self, belief: Belief, timed: Sequence[Cell] = ()) -> Cell | None:
        """Return the cell that lowers the expected error most per second of timing, or None to stop.

        Profiling stops when the target is met, or when no cell is expected to lower the error.
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
