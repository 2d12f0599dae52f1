"""Cost of one correct answer: the mean cost of an instance over the accuracy on the same instances ("cost of pass").

Its interval is a score interval: the ratios r for which `mean(cost) - r * mean(correct)` is within z standard errors of
0, where the variance of `correct` is taken at the accuracy that r implies, mean(cost) / r. Its ends are the roots of a
quadratic. It needs no random numbers, keeps the covariance of cost and correctness, and for equal costs is exactly the
cost divided by Wilson's interval of the accuracy. Unlike a bootstrap or the delta method it is also correct in extreme
cases: if nothing is right, the lower end is finite and the upper end infinite; if everything is right, there is still
an interval.

Predicted costs are off by a common factor, the error of the coefficients. It is independent of the drawn instances, so
the two errors add in squares on the scale of logarithms (method of variance estimates recovery).

References:
    Wilson 1927; Fieller 1954; Zou and Donner, Statistics in Medicine 27, 2008. Erol et al., "Cost-of-Pass", arXiv
    2504.13359.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, fields
from statistics import NormalDist
from typing import NamedTuple, Self

import numpy as np
from numpy.typing import ArrayLike

from helm_efficiency.core.arrays import FloatArray
from helm_efficiency.errors import InputError

CONFIDENCE = 0.9  # as that of all other intervals


class CostPerCorrect(NamedTuple):
    """Cost of one correct answer, in the unit of the given costs.

    Attributes:
        value: Mean cost over accuracy; infinite if nothing was right.
        low: Lower end of the interval.
        high: Upper end of the interval; infinite if nothing was right.
        num_instances: Instances with a known cost and score.
    """

    value: float
    low: float
    high: float
    num_instances: int


@dataclass(frozen=True, slots=True)
class AnswerMoments:
    """Means of cost and correctness with the variances of these means, for several models at once; shape (M,) each.

    Attributes:
        cost: Mean cost of an instance.
        accuracy: Mean score of an instance, between 0 and 1.
        cost_variance: Variance of the mean cost.
        covariance: Covariance of the two means.
        inverse_size: 1 ÷ number of instances.
        accuracy_share: Accuracy ÷ number of instances.
        square_share: Accuracy² ÷ number of instances.
    """

    cost: FloatArray
    accuracy: FloatArray
    cost_variance: FloatArray
    covariance: FloatArray
    inverse_size: FloatArray
    accuracy_share: FloatArray
    square_share: FloatArray

    @classmethod
    def of(cls, cost: FloatArray, correct: FloatArray) -> Self:
        """Return the moments of instances.

        Args:
            cost: Cost of each instance, shape (M, instances); NaN for an instance that is left out.
            correct: Score of each instance in [0, 1], same shape; NaN for an instance that is left out.
        """
        known = ~(np.isnan(cost) | np.isnan(correct))
        size = known.sum(axis=-1)
        n = np.where(size > 0, size, np.nan)
        x, y = np.where(known, cost, 0.0), np.where(known, correct, 0.0)
        mean, accuracy = x.sum(axis=-1) / n, y.sum(axis=-1) / n
        from_mean = np.where(known, x - mean[..., None], 0.0)
        variance = (from_mean**2).sum(axis=-1) / n
        covariance = (from_mean * y).sum(axis=-1) / n
        return cls.of_means(mean, accuracy, n, cost_variance=variance / n, covariance=covariance / n)

    @classmethod
    def of_means(
        cls,
        cost: FloatArray,
        accuracy: FloatArray,
        num_instances: FloatArray,
        *,
        cost_variance: FloatArray | None = None,
        covariance: FloatArray | None = None,
    ) -> Self:
        """Return the moments of samples with known means; without variances, the costs are taken to be equal."""
        n = np.asarray(num_instances, dtype=np.float64)
        zero = np.zeros_like(n)
        return cls(
            cost=cost,
            accuracy=accuracy,
            cost_variance=zero if cost_variance is None else cost_variance,
            covariance=zero if covariance is None else covariance,
            inverse_size=1.0 / n,
            accuracy_share=accuracy / n,
            square_share=accuracy**2 / n,
        )

    @classmethod
    def stacked(cls, parts: Sequence["AnswerMoments"]) -> Self:
        """Return the moments of several samples, one after another along a new first axis."""
        return cls(**{field.name: np.stack([getattr(part, field.name) for part in parts]) for field in fields(cls)})

    @classmethod
    def mean_of(cls, parts: Sequence["AnswerMoments"], *, skip_missing: bool) -> Self:
        """Return the moments of the mean over independent samples, each counting the same.

        Args:
            parts: Moments of the same models.
            skip_missing: True to average a model without a number in some sample over the other samples.
        """
        known = np.stack([~np.isnan(part.cost + part.accuracy) for part in parts])
        count = np.where(known.any(axis=0), known.sum(axis=0), np.nan)
        if not skip_missing:
            count = np.where(known.all(axis=0), count, np.nan)
        means = {}
        for field in fields(cls):
            total = np.sum(
                [np.where(k, getattr(p, field.name), 0.0) for k, p in zip(known, parts, strict=True)], axis=0
            )
            means[field.name] = total / (count if field.name in ("cost", "accuracy") else count**2)
        return cls(**means)

    def interval(self, *, confidence: float = CONFIDENCE) -> tuple[FloatArray, FloatArray]:
        """Return the ends of the score interval of cost / accuracy, shape (M,).

        They are both roots of (M - r A)² = z² (U_xx - 2 r U_xy + r M u - M² v) in r, where u and v are the shares over
        the accuracy and its square. With several samples, each has its part of the accuracy that r implies.
        """
        z2 = NormalDist().inv_cdf((1 + confidence) / 2) ** 2
        with np.errstate(all="ignore"):  # nothing right, nothing paid and nothing known are distinguished at the end
            is_any_right = self.accuracy > 0
            u = np.where(is_any_right, self.accuracy_share / self.accuracy, self.inverse_size)
            v = np.where(is_any_right, self.square_share / self.accuracy**2, self.inverse_size)
            a = self.accuracy**2
            b = self.cost * (2 * self.accuracy + z2 * u) - 2 * z2 * self.covariance
            c = self.cost**2 * (1 + z2 * v) - z2 * self.cost_variance
            root = np.sqrt(np.maximum(b * b - 4 * a * c, 0.0))
            larger = (b + np.copysign(root, b)) / 2  # the numerator larger in size: the other one would cancel
            ends = np.where(larger == 0, 0.0, np.stack([larger / a, c / larger]))
            one_root = np.stack([np.where(b == 0, np.inf, np.maximum(c / b, 0.0)), np.full_like(b, np.inf)])
        low, high = np.where(is_any_right, np.sort(ends, axis=0), one_root)
        is_known = ~np.isnan(self.cost + self.accuracy)
        return np.where(is_known, np.maximum(low, 0.0), np.nan), np.where(is_known, high, np.nan)


def widened(
    value: ArrayLike, ends: tuple[ArrayLike, ArrayLike], cost_factor: tuple[ArrayLike, ArrayLike]
) -> tuple[FloatArray, FloatArray]:
    """Return the ends of an interval that also covers the error of predicted costs.

    Args:
        value: Cost of a correct answer, any shape.
        ends: Ends of the score interval, same shape.
        cost_factor: Ends of the interval of the factor that all costs may be off by together; 1 and 1 for known costs.
    """
    v, low, high = (np.asarray(number, dtype=np.float64) for number in (value, *ends))
    factor_low, factor_high = (np.asarray(number, dtype=np.float64) for number in cost_factor)
    with np.errstate(all="ignore"):
        below = v * np.exp(-np.hypot(np.log(v / low), np.log(factor_low)))
        above = v * np.exp(np.hypot(np.log(high / v), np.log(factor_high)))
    is_ratio = np.isfinite(v) & (v > 0)
    return (
        np.where(is_ratio, below, np.where(v > 0, low * factor_low, low)),
        np.where(is_ratio & np.isfinite(high), above, high),
    )


def cost_per_correct(
    cost: ArrayLike,
    correct: ArrayLike,
    *,
    confidence: float = CONFIDENCE,
    cost_factor: tuple[float, float] = (1.0, 1.0),
) -> CostPerCorrect:
    """Return the cost of one correct answer with its interval, in the unit of the costs.

    Scores between 0 and 1 are allowed; the interval is then too wide rather than too narrow.

    Args:
        cost: Cost of each instance; an instance with NaN is left out.
        correct: Score of each instance in [0, 1], same length; an instance with NaN is left out.
        confidence: Nominal coverage.
        cost_factor: Ends of the interval, of the same coverage, of the factor that all costs may be off by together:
            the error of a predicted runtime. 1 and 1 for costs that were observed.

    Returns:
        The ratio with its interval; infinite if nothing was right, NaN if no instance has both.

    Raises:
        InputError: Lengths differ, a cost is negative, a score is outside [0, 1], or the confidence outside (0, 1).

    >>> cost_per_correct([2.0, 2.0, 2.0, 2.0], [1, 0, 1, 0]).value
    4.0
    """
    x, y = np.asarray(cost, dtype=np.float64), np.asarray(correct, dtype=np.float64)
    if x.shape != y.shape or x.ndim != 1:
        raise InputError(f"Costs have shape {x.shape} and scores {y.shape}, expected one of each for every instance.")
    known = ~(np.isnan(x) | np.isnan(y))
    x, y = x[known], y[known]
    if np.any(x < 0) or np.any((y < 0) | (y > 1)):
        raise InputError("Costs must be 0 or more and scores between 0 and 1.")
    if not 0 < confidence < 1:
        raise InputError(f"Confidence is {confidence}, expected a fraction between 0 and 1.")
    if not x.size:
        return CostPerCorrect(math.nan, math.nan, math.nan, 0)
    mean, accuracy = float(x.mean()), float(y.mean())
    value = mean / accuracy if accuracy else math.inf
    low, high = widened(value, AnswerMoments.of(x, y).interval(confidence=confidence), cost_factor)
    return CostPerCorrect(value, float(low), float(high), x.size)
