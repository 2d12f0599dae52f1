"""Fit a prefill curve through measured knots: monotone, piecewise linear in a work coordinate that the data choose.

Several work coordinates compete. Each is scored by how well it predicts every interior knot from the others. The curve
is their average, weighted by these scores or, with few knots, by a stated prior. If knots are noisy, the curve is
smoothed; the degree depends on the noise relative to the roughness of clean profiles.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from helm_efficiency.core.arrays import FloatArray
from helm_efficiency.core.fitting import work_coordinates as work
from helm_efficiency.core.fitting.additive_model import AdditiveFit, monotone
from helm_efficiency.core.fitting.work_coordinates import WorkCoordinate
from helm_efficiency.core.rules import PrefillRule

# Sensitivities as in `additive_model`: percentage points of the held-out error at one output token for 50 % either way.
_PRIOR: Mapping[str, float] = {"linear": 0.02, "tile-64": 0.03, "tile-128": 0.92, "tile-256": 0.03, "stack": 4.0}
"""Prior weights: most GEMM kernels of the profiled accelerators work in tiles of 128 rows, and the curves of the
stack's other models, if there are any, reproduce its steps better than any tile."""
_SCORE_POWER = 0.4  # how fast left-out knots outweigh the prior: neighbouring knots are not independent. 0.02
_KNOTS_BEFORE_SCORING = 4  # fewer left-out errors choose by chance
_ROUGHNESS = 0.07  # relative scatter of clean profiles around the chord of their neighbours. 0.1 at most
_MIN_WEIGHT = 0.01  # a smaller share of a coordinate changes only the notes. 0.01
_MIN_ERROR = 1e-3  # an error below it is luck, not accuracy. Less than 0.01


@dataclass(frozen=True, slots=True)
class Curve:
    """A prefill curve.

    Attributes:
        prompt_tokens: Prompt lengths, ascending; shape (K,).
        seconds: Prefill seconds, not descending, with straight lines between them; shape (K,).
        weights: Share of each work coordinate.
        left_out: Predicted / measured - 1 of each interior knot when interpolated from its neighbours; shape (P - 2,).
    """

    prompt_tokens: FloatArray
    seconds: FloatArray
    weights: Mapping[str, float]
    left_out: FloatArray


def candidates(rule: PrefillRule, stack: WorkCoordinate | None) -> dict[str, WorkCoordinate]:
    """Return the work coordinates from which `linear`, `tile` or `auto` chooses."""
    tiles = {f"tile-{tile}": work.tiled(tile) for tile in work.TILES}
    if rule is PrefillRule.linear:
        return {"linear": work.tokens}
    if rule is PrefillRule.tile:
        return tiles
    return {"linear": work.tokens, **tiles, **({} if stack is None else {"stack": stack})}


def fit_curve(
    additive: AdditiveFit, *, rule: PrefillRule = PrefillRule.auto, stack: WorkCoordinate | None = None
) -> Curve:
    """Fit a curve through the knots of `additive`."""
    p, seconds = additive.prompt_tokens, additive.prefill_s
    works = candidates(rule, stack)
    errors = {name: left_out_errors(coordinate, p, seconds) for name, coordinate in works.items()}
    weights = _weights(errors)
    points = np.union1d(p, work.breakpoints(p[0], p[-1], work.TILES))
    curve = np.zeros_like(points)
    for name, weight in weights.items():
        curve += weight * _through(works[name], points, p, smoothed(works[name], p, seconds, additive.noise))
    points, curve = _without_straight(points, np.maximum.accumulate(curve))
    left_out = sum((weights[name] * errors[name] for name in weights), np.zeros(max(len(p) - 2, 0)))
    return Curve(points, curve, weights, left_out)


def left_out_errors(coordinate: WorkCoordinate, p: FloatArray, seconds: FloatArray) -> FloatArray:
    """Return predicted / measured - 1 of each interior knot, predicted by a straight line between its neighbours."""
    if len(p) < 3:
        return np.empty(0)
    x = coordinate(p)
    share = (x[1:-1] - x[:-2]) / (x[2:] - x[:-2])
    return np.asarray(((1.0 - share) * seconds[:-2] + share * seconds[2:]) / seconds[1:-1] - 1.0)


def _weights(errors: Mapping[str, FloatArray]) -> dict[str, float]:
    """Return weights of prior times error^(-0.4 n), for n knots beyond the first few.

    This treats a mean of absolute errors as a likelihood.
    """
    log = {}
    for name, left_out in errors.items():
        power = _SCORE_POWER * max(len(left_out) - _KNOTS_BEFORE_SCORING, 0)
        log[name] = np.log(_PRIOR[name]) - (power * np.log(np.mean(np.abs(left_out)) + _MIN_ERROR) if power else 0.0)
    raw = {name: float(np.exp(value - max(log.values()))) for name, value in log.items()}
    kept = {name: value for name, value in raw.items() if value >= _MIN_WEIGHT * sum(raw.values())}
    return {name: value / sum(kept.values()) for name, value in kept.items()}


def smoothed(coordinate: WorkCoordinate, p: FloatArray, seconds: FloatArray, noise: float) -> FloatArray:
    """Move knots towards their neighbours' chord, by relative least squares, then make them monotone.

    This minimises sum((f / seconds - 1)^2) + (noise / 0.07)^2 * sum((f_i - chord_i)^2 / seconds_i^2).
    """
    if len(p) >= 3:
        x = coordinate(p)
        share = (x[1:-1] - x[:-2]) / (x[2:] - x[:-2])
        inner = np.arange(len(p) - 2)
        bend = np.zeros((len(p) - 2, len(p)))
        bend[inner, inner], bend[inner, inner + 1], bend[inner, inner + 2] = 1.0 - share, -1.0, share
        bend /= seconds[1:-1, None]
        fidelity = np.diag(seconds**-2.0)
        stiff = fidelity + (noise / _ROUGHNESS) ** 2 * bend.T @ bend
        seconds = np.asarray(np.linalg.solve(stiff, fidelity @ seconds), dtype=np.float64)
    return monotone(np.maximum(seconds, 0.0))


def _through(coordinate: WorkCoordinate, points: FloatArray, p: FloatArray, seconds: FloatArray) -> FloatArray:
    return np.asarray(np.interp(coordinate(points), coordinate(p), seconds))


def _without_straight(points: FloatArray, seconds: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Drop points that lie on the chord of those kept around them, to a ten-thousandth."""
    keep = [0]
    for i in range(1, len(points) - 1):
        before, after = keep[-1], i + 1
        chord = np.interp(points[i], points[[before, after]], seconds[[before, after]])
        if abs(chord - seconds[i]) > 1e-4 * seconds[i]:
            keep.append(i)
    keep += [len(points) - 1] if len(points) > 1 else []
    return points[keep], seconds[keep]


_TAIL_NOISE = 0.02  # least scatter around the tail: steps of tiles remain in it. Errors beyond the data: less than 0.01
_TAIL_T = 3.0  # standard errors; strict, as attention's term predicts prompts that were not measured. Less than 0.01


def fit_tail(additive: AdditiveFit) -> tuple[float, float]:
    """Return the linear (s/token) and quadratic (s/token²) growth of prefill beyond the last knot.

    The linear term is fitted to the upper half of the prompt lengths by relative least squares. The quadratic term
    (attention) is kept if it exceeds 2 % of noise by three standard errors, over prompt lengths at which prefill is at
    least twice its floor; otherwise it is left at zero.
    """
    p, seconds = additive.prompt_tokens, additive.prefill_s
    if len(p) < 2:
        return 0.0, 0.0
    clear = (p >= p[-1] / 16.0) & (seconds >= 2.0 * seconds[0])
    if clear.sum() >= 4:
        (_, linear, quadratic), error = _polynomial(p[clear], seconds[clear], degree=2)
        if linear > 0 and quadratic > _TAIL_T * error:
            return linear, quadratic
    upper = p >= min(p[-1] / 2.0, p[max(len(p) - 3, 0)])
    (_, linear), _ = _polynomial(p[upper], seconds[upper], degree=1)
    return max(linear, 0.0), 0.0


def _polynomial(p: FloatArray, seconds: FloatArray, *, degree: int) -> tuple[list[float], float]:
    """Fit coefficients by relative least squares, lowest degree first; also return the standard error of the last."""
    scale = p[-1]
    design = np.vander(p / scale, degree + 1, increasing=True) / seconds[:, None]
    solution = np.linalg.lstsq(design, np.ones_like(seconds), rcond=None)[0]
    residuals = 1.0 - design @ solution
    variance = max(float(residuals @ residuals) / max(len(p) - degree - 1, 1), _TAIL_NOISE**2)
    error = np.sqrt(variance * np.linalg.pinv(design.T @ design)[-1, -1]) / scale**degree
    return [float(c / scale**k) for k, c in enumerate(solution)], float(error)


_LOSS_SCALE = 0.02  # relative residual at which squares turn linear: above the scatter of cells, below steps of tiles
_NUM_POINTS = 257  # enough points that straight lines between them are as good as the curve


def fit_parametric_curve(additive: AdditiveFit) -> Curve:
    """Fit by relative error with a soft-L1 loss and tabulate: 257 prompt lengths from the first knot to the last."""
    from scipy.optimize import least_squares  # imported here because predictions do not need it

    p, seconds = additive.prompt_tokens, additive.prefill_s
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
