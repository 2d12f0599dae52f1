"""Cost of seconds: accelerator-seconds, dollars, joules.

    accelerator_s = seconds * num_accelerators / batch_size
    usd           = accelerator_s / 3600 * usd_per_accelerator_hour
    energy_j      = accelerator_s * tdp_w * utilization_fraction        an estimate, if energy was not measured

There are two serving profiles, each with a name: `latency` is one request at a time (batch size 1, as in Narayanan et
al., NeurIPS 2023); `throughput` is a stated batch of requests that share its accelerators. In the second, `seconds` are
those of the whole batch.
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
    """Cost of requests on accelerators; each field is an array of the shape of their seconds.

    Attributes:
        accelerator_s: Accelerator-seconds: seconds × accelerators ÷ batch size.
        usd: Dollars; None if the price is unknown.
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
    """Return the cost of requests that have the accelerators to themselves, or share them with a batch.

    Dollars are rounded once, to the nearest float64; `exact_usd` gives them and their sums as decimals.

    Args:
        seconds: Seconds of a request, or of the batch it is served in; any shape. NaN where unknown.
        num_accelerators: Accelerators that the model instance occupies; broadcast against `seconds`.
        usd_per_accelerator_hour: Exact price; None if unknown.
        batch_size: Requests that share the accelerators; broadcast against `seconds`.

    Returns:
        Accelerator-seconds, and dollars or None.

    Raises:
        InputError: There is less than one accelerator or request, seconds are negative, or the price is not above 0.

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
    """Return the dollars of accelerator-seconds, shaped like them. Only this function turns a price into dollars.

    The price stays exact until here; the price of one second is rounded to the nearest float64.

    >>> accelerator_usd([3600.0, 7200.0], Decimal("4.096")).tolist()
    [4.096, 8.192]
    """
    return np.asarray(accelerator_s, dtype=np.float64) * float(usd_per_accelerator_hour / SECONDS_PER_HOUR)


def exact_usd(accelerator_s: float, usd_per_accelerator_hour: Decimal) -> Decimal:
    """Return the dollars of an amount of accelerator-seconds, to 28 digits.

    >>> exact_usd(3600.0, Decimal("4.096"))
    Decimal('4.096')
    """
    return Decimal(accelerator_s) * usd_per_accelerator_hour / SECONDS_PER_HOUR


def break_even_requests_per_s(
    num_accelerators: int, usd_per_accelerator_hour: Decimal, api_usd_per_request: float
) -> float:
    """Return the rate from which owned accelerators are cheaper than an API.

    The cost of owned accelerators does not depend on how busy they are, so a request costs accelerators × price / rate.

    >>> break_even_requests_per_s(4, Decimal(9), 0.002)
    5.0
    """
    return float(num_accelerators * usd_per_accelerator_hour / SECONDS_PER_HOUR) / api_usd_per_request


def estimated_energy_j(accelerator_s: ArrayLike, tdp_w: float | None, utilization_fraction: float) -> FloatArray | None:
    """Estimate energy from thermal design power, for requests without measured energy; always show it as an estimate.

    Args:
        accelerator_s: Accelerator-seconds, of any shape.
        tdp_w: Thermal design power (W) of one accelerator; None if unknown.
        utilization_fraction: Share of that power assumed to be drawn, in (0, 1].

    Returns:
        Joules, shaped like `accelerator_s`; None if the power is unknown.

    Raises:
        InputError: The utilization is outside (0, 1].

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
    """Return the mean power that one accelerator drew while requests ran, if the profile measured energy.

    Args:
        profile: Profile of one stack, with joules and seconds.

    Returns:
        Watts per accelerator; None if the measurements have no energy.

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
    """Return the emissions of an amount of energy.

    Args:
        energy_j: Energy (J), of any shape.
        grid_g_per_kwh: Grams of CO2 equivalent for each kWh of the grid that the user names.

    Returns:
        Grams of CO2 equivalent, shaped like `energy_j`.

    Raises:
        InputError: The grid factor is negative.

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
    """Return the cost of requests on the stack of a fit: `latency` profile for a batch size of 1, `throughput` above.

    Args:
        fit: Coefficients and the stack they belong to.
        prompt_tokens: Prompt tokens of each request, of any shape.
        output_tokens: Output tokens of each request; broadcast against `prompt_tokens`.
        usd_per_accelerator_hour: Exact price; None if unknown.
        batch_size: Number of equal requests that are served together.

    Returns:
        Cost of each request; NaN if the stack was not measured at such a batch.

    Raises:
        InputError: A count is negative, or the price is not above 0.

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
"""Requests to a service for each denoised one; the paper takes the fastest of them."""

IDEALIZED_TRIALS = 50
"""Requests on dedicated accelerators for each idealized one; the paper takes their mean."""

PROBE_GRID = tuple((prompt, output) for prompt in (1, 256, 512, 1024, 1536) for output in (1, 2, 4, 8, 16, 32, 64))
"""Pairs of (prompt_tokens, output_tokens) that HELM's synthetic efficiency scenario requests from a service, to denoise
its runtime."""


@dataclass(frozen=True, slots=True)
class MeasuringCost:
    """Cost in dollars of two ways to measure the same number.

    Attributes:
        repeated_usd: Cost of repeating every request.
        calibrated_usd: Cost of calibrating, and of running the evaluation once.
    """

    repeated_usd: Decimal
    calibrated_usd: Decimal

    @property
    def factor(self) -> float:
        """Cost of repeating every request ÷ cost of calibrating; infinite if calibrating costs nothing."""
        return float(self.repeated_usd / self.calibrated_usd) if self.calibrated_usd else float("inf")


def denoised_measuring_cost(
    answers_usd: Decimal, calibration_usd: Decimal, *, num_trials: int = DENOISED_TRIALS
) -> MeasuringCost:
    """Return the cost of measuring the denoised runtime of an evaluation.

    Args:
        answers_usd: Cost of every request of the evaluation once.
        calibration_usd: Cost of further requests to the service; 0 if recorded latencies were enough.
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
    """Return the cost of measuring the idealized runtime of an evaluation on one stack.

    Args:
        idealized_usd: Cost of every request of the evaluation once on the stack.
        calibration_usd: Cost of the profile of the model on the stack.
        answers_usd: Cost of every request of the evaluation once, wherever its answers came from.
        num_trials: Repetitions of each request on the stack.
    """
    _check(num_trials, idealized_usd, calibration_usd, answers_usd)
    return MeasuringCost(num_trials * idealized_usd + answers_usd, calibration_usd + answers_usd)


def profile_accelerator_s(profile: Profile) -> float:
    """Return the accelerator-seconds that a profile took: every repetition kept, warm-ups not counted."""
    seconds = fsum(m.seconds * m.num_repetitions for m in profile.measurements)
    return seconds * profile.stack.num_accelerators


def profile_usd(profile: Profile, usd_per_accelerator_hour: Decimal) -> Decimal:
    """Return the dollars that a profile took."""
    return exact_usd(profile_accelerator_s(profile), usd_per_accelerator_hour)


def _check(num_trials: int, *usd: Decimal) -> None:
    if num_trials < 1 or any(amount < 0 for amount in usd):
        raise InputError("Costs must be 0 or more and trials 1 or more.")
