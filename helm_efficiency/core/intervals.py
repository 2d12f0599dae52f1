"""How far a prediction may be off: nominal 90 % half-widths of prefill, of decode, and of single measurements.

Three errors are told apart, because they grow differently with the request. Their constants are priors, calibrated so
that held-out measurements of the paper's A100 and V100 logs are covered 87-93 % of the time, with all prompt lengths
but one measured and with five (V100: four) of them; what the profile itself shows is added to them.
"""

import numpy as np
from numpy.typing import NDArray

from helm_efficiency.core.lines import Lines
from helm_efficiency.core.prefill import Curve

FloatArray = NDArray[np.float64]

QUANTILE_90 = 1.645
_GAP_SHARE = 0.065
_KNOT_ERROR = 0.013
_NOISE_SHARE = 1.0
_SINGLE_FLOOR = 0.002


def prefill_half_widths(curve: Curve, lines: Lines) -> FloatArray:
    """Half-width (s) of the prefill time at each point of the curve; shape (K,).

    Between two knots the time is unsure by a share of its rise from one to the other, most so in the middle, as for a
    Brownian bridge; everywhere by a share of itself, and by the noise of the measurements.
    """
    p, knots = curve.prompt_tokens, lines.prompt_tokens
    right = np.clip(np.searchsorted(knots, p, side="left"), 1, max(len(knots) - 1, 1))
    rise, share = np.zeros_like(p), np.zeros_like(p)
    if len(knots) > 1:
        at_knots = np.interp(knots, p, curve.seconds)
        rise = at_knots[right] - at_knots[right - 1]
        share = (p - knots[right - 1]) / (knots[right] - knots[right - 1])
    bridge = _GAP_SHARE * rise * 2.0 * np.sqrt(np.clip(share * (1.0 - share), 0.0, None))
    own = curve.seconds * np.hypot(_KNOT_ERROR, _NOISE_SHARE * lines.noise)
    return np.asarray(QUANTILE_90 * np.hypot(bridge, own))


def single_half_width(lines: Lines) -> float:
    """Half-width of a single measurement around its expectation, as a fraction of the seconds.

    The 90 % quantile of the absolute residuals, allowing for the degrees of freedom that the fit took up.
    """
    num, free = len(lines.residuals), len(lines.prompt_tokens) + 1
    inflation = np.sqrt(num / max(num - free, 1)) if num > 1 else 1.0
    return float(max(np.quantile(np.abs(lines.residuals), 0.9) * inflation, _SINGLE_FLOOR))
