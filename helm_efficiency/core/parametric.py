"""The parametric rule: a floor (launches, weights read once) and a quadratic above it.

prefill_s(p) = max(floor, a0 + a1 * p + a2 * p²),  a1, a2 >= 0
"""

import numpy as np
from numpy.typing import NDArray

from helm_efficiency.core.lines import Lines
from helm_efficiency.core.prefill import Curve

FloatArray = NDArray[np.float64]

_LOSS_SCALE = 0.02
_NUM_POINTS = 257


def fit_parametric_curve(lines: Lines) -> Curve:
    """Fit by relative error with a soft-L1 loss and tabulate: 257 prompt lengths from the first knot to the last."""
    from scipy.optimize import least_squares  # here, as predictions need none of it

    p, seconds = lines.prompt_tokens, lines.prefill_s
    scale, floor = float(p[-1]), float(max(seconds[0], 1e-9))
    start = np.array([floor, 0.0, max(float(seconds[-1]) - floor, 1e-3 * floor), 0.0])
    bounds = ([0.0, -np.inf, 0.0, 0.0], np.inf)
    result = least_squares(
        lambda x: _curve(x, p / scale) / seconds - 1.0, start, bounds=bounds, loss="soft_l1", f_scale=_LOSS_SCALE
    )
    points = np.unique(np.round(np.concatenate([np.linspace(p[0], p[-1], _NUM_POINTS), p])))
    curve = np.maximum.accumulate(_curve(result.x, points / scale))
    return Curve(points, curve, {"parametric": 1.0}, left_out=_curve(result.x, p / scale)[1:-1] / seconds[1:-1] - 1.0)


def _curve(x: FloatArray, p: FloatArray) -> FloatArray:
    return np.asarray(np.maximum(x[0], x[1] + x[2] * p + x[3] * p**2))
