"""What it costs to measure efficiency: a few calibration requests, against repeating every request of an evaluation.

    denoised:   repeated = num_trials * answers            calibrated = calibration + answers
    idealized:  repeated = num_trials * idealized + answers calibrated = calibration + answers

`answers` is what the evaluation itself costs once, whoever measures; `idealized` is every request once on the stack;
`calibration` is the profile. The paper's own figures, 9.93x and 57.42x, set the calibration of one model against the
repetitions of 28; counted for the same models on both sides they are 8.4x and 6.5x to 13.7x.
"""

from dataclasses import dataclass
from decimal import Decimal
from math import fsum

from helm_efficiency.core.cost import exact_usd
from helm_efficiency.core.measurement import Profile
from helm_efficiency.errors import InputError

DENOISED_TRIALS = 10
"""Requests to a service for each one measured, of which the paper takes the fastest."""

IDEALIZED_TRIALS = 50
"""Requests on dedicated accelerators for each one measured, of which the paper takes the mean."""

PROBE_GRID = tuple((prompt, output) for prompt in (1, 256, 512, 1024, 1536) for output in (1, 2, 4, 8, 16, 32, 64))
"""(prompt_tokens, output_tokens) that HELM's synthetic efficiency scenario asks a service for, to denoise it."""


@dataclass(frozen=True, slots=True)
class MeasuringCost:
    """Two ways to the same number, in dollars.

    Attributes:
        repeated_usd: Repeating every request.
        calibrated_usd: Calibrating, and running the evaluation once.
    """

    repeated_usd: Decimal
    calibrated_usd: Decimal

    @property
    def factor(self) -> float:
        """How many times dearer it is to repeat every request; infinite where calibrating costs nothing."""
        return float(self.repeated_usd / self.calibrated_usd) if self.calibrated_usd else float("inf")


def denoised_measuring_cost(
    answers_usd: Decimal, calibration_usd: Decimal, *, num_trials: int = DENOISED_TRIALS
) -> MeasuringCost:
    """Cost of the denoised runtime of an evaluation.

    Args:
        answers_usd: Every request of the evaluation once.
        calibration_usd: What was asked of the service beyond that; 0 where recorded latencies were enough.
        num_trials: Repetitions of each request, the first included.
    """
    _check(num_trials, answers_usd, calibration_usd)
    return MeasuringCost(num_trials * answers_usd, calibration_usd + answers_usd)


def idealized_measuring_cost(
    idealized_usd: Decimal,
    calibration_usd: Decimal,
    *,
    answers_usd: Decimal = Decimal(0),
    num_trials: int = IDEALIZED_TRIALS,
) -> MeasuringCost:
    """Cost of the idealized runtime of an evaluation on one stack.

    Args:
        idealized_usd: Every request of the evaluation once on the stack.
        calibration_usd: The profile of the model on the stack.
        answers_usd: Every request of the evaluation once, wherever its answers came from.
        num_trials: Repetitions of each request on the stack.
    """
    _check(num_trials, idealized_usd, calibration_usd, answers_usd)
    return MeasuringCost(num_trials * idealized_usd + answers_usd, calibration_usd + answers_usd)


def profile_accelerator_s(profile: Profile) -> float:
    """Accelerator-seconds that a profile took: every repetition kept, warm-ups not counted."""
    seconds = fsum(m.seconds * m.num_repetitions for m in profile.measurements)
    return seconds * profile.stack.num_accelerators


def profile_usd(profile: Profile, usd_per_accelerator_hour: Decimal) -> Decimal:
    """Dollars that a profile took."""
    return exact_usd(profile_accelerator_s(profile), usd_per_accelerator_hour)


def _check(num_trials: int, *usd: Decimal) -> None:
    if num_trials < 1 or any(amount < 0 for amount in usd):
        raise InputError("Costs must be 0 or more and trials 1 or more.")
