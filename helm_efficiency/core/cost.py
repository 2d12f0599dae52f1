"""What seconds cost: accelerator-seconds, dollars, joules.

    accelerator_s = seconds * num_accelerators / batch_size
    usd           = accelerator_s / 3600 * usd_per_accelerator_hour
    energy_j      = accelerator_s * tdp_w * utilization_fraction        an estimate, where none was measured

Two serving profiles, each by name: `latency` is one request at a time (batch size 1, as in Narayanan et al., NeurIPS
2023); `throughput` is a stated batch, whose requests share its accelerators. In the second, `seconds` are those of the
whole batch.
"""

import math
from dataclasses import dataclass
from decimal import Decimal
from math import fsum
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from helm_efficiency.core.arrays import FloatArray
from helm_efficiency.core.fitting.fit import Fit
from helm_efficiency.core.measurement import Profile
from helm_efficiency.errors import InputError

SECONDS_PER_HOUR = 3600
JOULES_PER_KWH = 3_600_000


class IdealizedCost(NamedTuple):
    """What requests take of the accelerators, each field an array of the shape of their seconds.

    Attributes:
        accelerator_s: Seconds × accelerators ÷ batch size.
        usd: Dollars; None where there is no price.
    """

    accelerator_s: FloatArray
    usd: FloatArray | None


def idealized_cost(
    seconds: ArrayLike,
    num_accelerators: ArrayLike,
    usd_per_accelerator_hour: Decimal | None,
    *,
    batch_size: ArrayLike = 1,
) -> IdealizedCost:
    """Cost of requests that have the accelerators to themselves, or share them with a batch.

    Dollars are rounded once, to the nearest float64; `exact_usd` gives them and their sums as decimals.

    Args:
        seconds: Of a request, or of the batch it is served in; any shape. NaN where unknown.
        num_accelerators: That the model instance occupies; broadcast against `seconds`.
        usd_per_accelerator_hour: Exact price; None if unknown.
        batch_size: Requests that share the accelerators; broadcast likewise.

    Returns:
        Accelerator-seconds, and dollars or None.

    Raises:
        InputError: Less than one accelerator or request, negative seconds, or a price that is not above 0.

    >>> idealized_cost([0.402007], 8, Decimal("4.096")).usd.round(6).tolist()
    [0.003659]
    """
    s, n, b = np.broadcast_arrays(np.asarray(seconds, dtype=np.float64), num_accelerators, batch_size)
    if s.size and (n.min() < 1 or b.min() < 1 or np.any(s < 0)):
        raise InputError("Seconds must be 0 or more, accelerators and batch sizes 1 or more.")
    accelerator_s = np.asarray(s * n / b, dtype=np.float64)
    if usd_per_accelerator_hour is None:
        return IdealizedCost(accelerator_s, None)
    if not usd_per_accelerator_hour > 0:
        raise InputError(f"The price is {usd_per_accelerator_hour} dollars an hour, expected more than 0.")
    return IdealizedCost(accelerator_s, accelerator_usd(accelerator_s, usd_per_accelerator_hour))


def accelerator_usd(accelerator_s: ArrayLike, usd_per_accelerator_hour: Decimal) -> FloatArray:
    """Return the dollars of accelerator-seconds, shaped like them: the one place that turns a price into dollars.

    The price stays exact until here; that of one second is rounded to the nearest float64.

    >>> accelerator_usd([3600.0, 7200.0], Decimal("4.096")).tolist()
    [4.096, 8.192]
    """
    return np.asarray(accelerator_s, dtype=np.float64) * float(usd_per_accelerator_hour / SECONDS_PER_HOUR)


def exact_usd(accelerator_s: float, usd_per_accelerator_hour: Decimal) -> Decimal:
    """Dollars of an amount of accelerator-seconds, to 28 digits.

    >>> exact_usd(3600.0, Decimal("4.096"))
    Decimal('4.096')
    """
    return Decimal(accelerator_s) * usd_per_accelerator_hour / SECONDS_PER_HOUR


def estimated_energy_j(accelerator_s: ArrayLike, tdp_w: float | None, utilization_fraction: float) -> FloatArray | None:
    """Energy by thermal design power, for where none was measured; always to be shown as an estimate.

    Args:
        accelerator_s: Any shape.
        tdp_w: Of one accelerator; None if unknown.
        utilization_fraction: Share of that power taken to be drawn, in (0, 1].

    Returns:
        Joules, shaped like `accelerator_s`; None where the power is unknown.

    Raises:
        InputError: A utilization outside (0, 1].

    Example:
        >>> estimated_energy_j([2.0, 4.0], tdp_w=400.0, utilization_fraction=0.5).tolist()
        [400.0, 800.0]
    """
    if not 0 < utilization_fraction <= 1:
        raise InputError(f"Utilization is {utilization_fraction}, expected a fraction above 0 and up to 1.")
    if tdp_w is None:
        return None
    return np.asarray(np.asarray(accelerator_s, dtype=np.float64) * tdp_w * utilization_fraction)


def mean_power_w(profile: Profile) -> float | None:
    """Power that one accelerator drew on average while requests ran, where the profile measured energy.

    Args:
        profile: Of one stack; joules and seconds.

    Returns:
        Watts an accelerator; None where no measurement has an energy.

    Example:
        >>> from helm_efficiency import Measurement, Profile, Stack
        >>> timed = tuple(Measurement(256, o, seconds=o / 50, energy_j=6.0 * o) for o in (64, 128))
        >>> mean_power_w(Profile("me/model", Stack("a100", "a100-80gb"), timed))
        300.0
    """
    measured = [m for m in profile.measurements if m.energy_j is not None]
    if not measured:
        return None
    energy_j = math.fsum(m.energy_j * m.num_repetitions for m in measured if m.energy_j is not None)
    seconds = math.fsum(m.seconds * m.num_repetitions for m in measured)
    return energy_j / seconds / profile.stack.num_accelerators


def co2_g(energy_j: ArrayLike, grid_g_per_kwh: float) -> FloatArray:
    """Emissions of an amount of energy.

    Args:
        energy_j: Any shape.
        grid_g_per_kwh: Grams of CO2 equivalent for each kWh of the grid that the user names.

    Returns:
        Grams, shaped like `energy_j`.

    Raises:
        InputError: A negative grid factor.

    Example:
        >>> co2_g([3.6e6], grid_g_per_kwh=400.0).tolist()
        [400.0]
    """
    if not grid_g_per_kwh >= 0:
        raise InputError(f"The grid factor is {grid_g_per_kwh} g/kWh, expected 0 or more.")
    return np.asarray(np.asarray(energy_j, dtype=np.float64) / JOULES_PER_KWH * grid_g_per_kwh)


def serving_cost(
    fit: Fit,
    prompt_tokens: ArrayLike,
    output_tokens: ArrayLike,
    *,
    usd_per_accelerator_hour: Decimal | None,
    batch_size: int = 1,
) -> IdealizedCost:
    """Cost of requests on the stack of a fit: `latency` profile for a batch size of 1, `throughput` above.

    Args:
        fit: Coefficients and the stack they belong to.
        prompt_tokens: Any shape.
        output_tokens: Broadcast against `prompt_tokens`.
        usd_per_accelerator_hour: Exact price; None if unknown.
        batch_size: Requests alike that are served together.

    Returns:
        Cost of each request; NaN where the stack was not measured at such a batch.

    Raises:
        InputError: A negative count, or a price that is not above 0.

    Example:
        >>> from helm_efficiency import Domain, Fit, PrefillRule, RuntimeCoefficients, Stack
        >>> numbers = RuntimeCoefficients(PrefillRule.linear, ((1, 0.01), (1000, 0.11)), 0.02, Domain(1, 1000, 1, 64))
        >>> fit = Fit("me/model", Stack("a100", "a100-80gb", num_accelerators=2), numbers)
        >>> serving_cost(fit, [1000], [2], usd_per_accelerator_hour=Decimal("3.6")).accelerator_s.round(3).tolist()
        [0.26]
    """
    seconds = fit.coefficients.predict(prompt_tokens, output_tokens, batch_size=batch_size).seconds
    if batch_size > fit.coefficients.domain.max_batch_size:
        seconds = np.full_like(seconds, np.nan)
    return idealized_cost(seconds, fit.stack.num_accelerators, usd_per_accelerator_hour, batch_size=batch_size)


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
