"""Uncertainty of a prediction: nominal 90 % half-widths of prefill, of decode, and of single measurements.

These three errors are kept separate because they grow differently with the request. Their constants are priors,
calibrated so that held-out measurements of the paper's A100 and V100 logs are covered 87-93 % of the time, both with
all prompt lengths but one measured and with five (V100: four) of them. The profile's own scatter is added to them.
"""

import numpy as np

from helm_efficiency.core.arrays import FloatArray
from helm_efficiency.core.fitting.additive_model import AdditiveFit
from helm_efficiency.core.fitting.prefill_curve import Curve

# Sensitivities as in `additive_model`: percentage points of coverage (90.9 %) for 50 % less and 50 % more.
QUANTILE_90 = 1.645  # of the normal distribution, both sides
_GAP_SHARE = 0.05  # error mid-way between two knots, as a share of the rise: the largest lever. -2.0 and +1.6
_KNOT_ERROR = 0.01  # fraction of the seconds: steps that a tile coordinate does not have. -0.6 and +0.6
_NOISE_SHARE = 1.2  # share of the noise of single cells: a knot is an average of few. -0.3 and +0.3
_SINGLE_FLOOR = 0.002  # fraction of the seconds: clocks do not repeat better. No effect on these logs
_PRIOR_KNOTS = 20.0  # weight of the prior, in left-out knots: the paper's logs have 11 to 27. +0.6 and -0.2
_MAX_RATIO = 25.0  # limits how far one knot five deviations off widens all the others. -0.4 and +0.2


def prefill_half_widths(curve: Curve, additive: AdditiveFit) -> FloatArray:
    """Return the half-width (s) of the prefill time at each point of the curve; shape (K,).

    Between two knots the time is uncertain by a share of its rise from one to the other, mostly in the middle, as for a
    Brownian bridge. Everywhere it is also uncertain by a share of itself, and by the noise of the measurements. The sum
    is scaled by the observed errors of left-out knots relative to the errors that these shares predict.
    """
    p, knots = curve.prompt_tokens, additive.prompt_tokens
    if len(knots) < 2:
        return np.asarray(QUANTILE_90 * _deviation(curve.seconds, np.zeros_like(p), np.zeros_like(p), additive.noise))
    right = np.clip(np.searchsorted(knots, p, side="left"), 1, len(knots) - 1)
    at_knots = np.interp(knots, p, curve.seconds)
    rise = at_knots[right] - at_knots[right - 1]
    share = (p - knots[right - 1]) / (knots[right] - knots[right - 1])
    return np.asarray(QUANTILE_90 * _surprise(curve, additive) * _deviation(curve.seconds, rise, share, additive.noise))


def _deviation(seconds: FloatArray, rise: FloatArray, share: FloatArray, noise: float) -> FloatArray:
    """Return the prior standard deviation (s) of prefill at a share of the way between two knots."""
    bridge = _GAP_SHARE * rise * 2.0 * np.sqrt(np.clip(share * (1.0 - share), 0.0, None))
    return np.asarray(np.hypot(bridge, seconds * np.hypot(_KNOT_ERROR, _NOISE_SHARE * noise)))


def _surprise(curve: Curve, additive: AdditiveFit) -> float:
    """Return the root mean square of left-out errors ÷ prior deviations; the prior weighs as much as twenty knots."""
    p, seconds = additive.prompt_tokens, additive.prefill_s
    if len(p) < 3:
        return 1.0
    share = (p[1:-1] - p[:-2]) / (p[2:] - p[:-2])
    deviation = _deviation(seconds[1:-1], seconds[2:] - seconds[:-2], share, additive.noise)
    ratios = (curve.left_out * seconds[1:-1] / deviation) ** 2
    return float(np.sqrt((_PRIOR_KNOTS + np.sum(np.minimum(ratios, _MAX_RATIO))) / (_PRIOR_KNOTS + len(ratios))))


def single_half_width(additive: AdditiveFit) -> float:
    """Return the half-width of a single measurement around its expectation, as a fraction of the seconds.

    It is the 90 % quantile of the absolute residuals, corrected for the degrees of freedom that the fit took up.
    """
    num, free = len(additive.residuals), len(additive.prompt_tokens) + 1
    inflation = np.sqrt(num / max(num - free, 1)) if num > 1 else 1.0
    return float(max(np.quantile(np.abs(additive.residuals), 0.9) * inflation, _SINGLE_FLOOR))
