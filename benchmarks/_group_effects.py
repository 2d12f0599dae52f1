"""Errors of a prediction by group, with partial pooling: the share of an engine, an accelerator or a model in them.

    log(measured / predicted) = overall + one effect per group of each factor + residual

Every effect is drawn from a normal distribution around 0, and each factor has its own width. So groups with few
observations are pulled towards the overall error, and a group that was never seen has effect 0 and the whole width of
its factor. Widths are the most probable ones given the observations. Residuals may have outliers (a measurement with
an option that nobody wrote down), so they follow Student's t with four degrees of freedom.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from scipy.optimize import minimize

from helm_efficiency.core.arrays import FloatArray
from helm_efficiency.errors import InputError

Groups = Mapping[str, str]
"""Group of an observation by factor, such as {"engine": "vllm"}; a factor may be missing."""

_OVERALL_SD = 0.5
"""Width of the overall error: a factor of 1.6 either way. Halving it moves the results by less than 1 %."""

_WIDTH_MEDIAN, _WIDTH_LOG_SD = 0.1, 1.0
"""Prior of the width of a factor: 2 to 50 %. It matters for factors with two or three groups only."""

_DEGREES_OF_FREEDOM = 4.0
_ITERATIONS = 3


class LogError(NamedTuple):
    """Expected distribution of log(measured / predicted).

    Attributes:
        mean: Mean of the logarithm.
        sd: Standard deviation of the logarithm, for a single new configuration.
    """

    mean: float
    sd: float


@dataclass(frozen=True, slots=True)
class GroupEffects:
    """Fitted errors by group.

    Attributes:
        widths: Standard deviation of the effects of each factor.
        residual_sd: Standard deviation of the residuals that the groups do not explain.
        groups: Groups of each observation.
    """

    widths: Mapping[str, float]
    residual_sd: float
    groups: Sequence[Groups]
    _solved: FloatArray
    _factor: FloatArray

    def predict(self, groups: Groups) -> LogError:
        """Return the expected error of a new configuration; groups that were not seen fall back to their factor."""
        shared = _covariance([groups], self.groups, self.widths)[0]
        explained = np.linalg.solve(self._factor, shared)
        total = _covariance([groups], [groups], self.widths)[0, 0]
        total += sum(width**2 for factor, width in self.widths.items() if factor not in groups)
        variance = total - float(explained @ explained) + self.residual_sd**2
        return LogError(float(shared @ self._solved), float(np.sqrt(max(variance, 0.0))))


def fit_group_effects(log_ratios: Sequence[float], groups: Sequence[Groups]) -> GroupEffects:
    """Fit effects to observed errors.

    Args:
        log_ratios: log(measured / predicted) of each configuration; repetitions averaged, as they are not independent.
        groups: Groups of each configuration.

    Raises:
        InputError: The observations are empty, or their number differs from the number of group sets.

    Example:
        >>> seen = [{"engine": "a"}] * 20 + [{"engine": "b"}] * 20
        >>> effects = fit_group_effects([0.3] * 20 + [-0.1] * 20, seen)
        >>> round(effects.predict({"engine": "a"}).mean, 2)
        0.3
        >>> effects.predict({"engine": "c"}).sd > 3 * effects.predict({"engine": "a"}).sd
        True
    """
    y = np.asarray(log_ratios, dtype=np.float64)
    if not len(y) or len(y) != len(groups):
        raise InputError(f"{len(y)} errors of {len(groups)} configurations: expected as many, and at least one.")
    factors = sorted({factor for each in groups for factor in each})
    same = np.array([_same(groups, groups, factor) for factor in factors]).reshape(len(factors), len(y), len(y))
    weights = np.ones(len(y))
    log_widths = np.zeros(len(factors) + 1)
    for _ in range(_ITERATIONS):
        log_widths = _most_probable(y, same, weights, log_widths)
        *widths, residual_sd = _WIDTH_MEDIAN * np.exp(log_widths)
        noise = residual_sd**2 / weights
        factor = np.linalg.cholesky(_OVERALL_SD**2 + np.tensordot(np.square(widths), same, axes=1) + np.diag(noise))
        solved = np.linalg.solve(factor.T, np.linalg.solve(factor, y))
        left = noise * solved / residual_sd
        weights = (_DEGREES_OF_FREEDOM + 1.0) / (_DEGREES_OF_FREEDOM + left**2)
    return GroupEffects(
        dict(zip(factors, map(float, widths), strict=True)),
        float(residual_sd),
        groups,
        solved,
        np.asarray(factor, dtype=np.float64),
    )


def _most_probable(y: FloatArray, same: FloatArray, weights: FloatArray, start: FloatArray) -> FloatArray:
    """Return the logarithms of the widths, the residual's last, relative to the prior's median."""

    def negative_log_posterior(log_widths: FloatArray) -> tuple[float, FloatArray]:
        variances = (_WIDTH_MEDIAN * np.exp(log_widths)) ** 2
        covariance = _OVERALL_SD**2 + np.tensordot(variances[:-1], same, axes=1) + np.diag(variances[-1] / weights)
        inverse = np.linalg.inv(covariance)
        solved = inverse @ y
        value = float(y @ solved) / 2.0 + float(np.linalg.slogdet(covariance)[1]) / 2.0
        pull = inverse - np.outer(solved, solved)
        slopes = [*np.tensordot(same, pull, axes=2), float(np.diag(pull) @ (1.0 / weights))]
        gradient = variances * np.array(slopes) + log_widths / _WIDTH_LOG_SD**2
        return value + float(np.sum((log_widths / _WIDTH_LOG_SD) ** 2)) / 2.0, gradient

    bounds = [(-4.0, 3.0)] * len(start)
    return np.asarray(minimize(negative_log_posterior, start, jac=True, method="L-BFGS-B", bounds=bounds).x)


def _covariance(some: Sequence[Groups], others: Sequence[Groups], widths: Mapping[str, float]) -> FloatArray:
    """Return the covariance of the errors of configurations, without residuals; shape (some, others)."""
    parts = [width**2 * _same(some, others, factor) for factor, width in widths.items()]
    return np.asarray(sum(parts, np.full((len(some), len(others)), _OVERALL_SD**2)))


def _same(some: Sequence[Groups], others: Sequence[Groups], factor: str) -> FloatArray:
    """Return 1 where two configurations are in the same group of a factor, else 0."""
    ones, twos = ([each.get(factor) for each in side] for side in (some, others))
    return np.array([[float(a is not None and a == b) for b in twos] for a in ones])
