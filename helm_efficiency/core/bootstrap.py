"""Paired bootstrap: estimate how far a table depends on the instances that were drawn.

All models are resampled with the same draws, so that a hard instance is hard for all of them. Differences and ranks are
then much more certain than the models' own intervals suggest.
"""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from helm_efficiency.core.arrays import FloatArray

LEVEL = 0.90  # nominal coverage of all intervals of this package


def bootstrap_weights(num_items: int, *, num_resamples: int, rng: np.random.Generator) -> FloatArray:
    """Return how often each item is drawn in each resample.

    Returns:
        Shape (resamples, items); each row holds counts that sum to `num_items`.
    """
    weights = np.zeros((num_resamples, num_items))
    step = max(_MAX_CELLS // max(num_items, 1), 1)
    for first in range(0, num_resamples if num_items else 0, step):
        block = weights[first : first + step]
        draws = rng.integers(0, num_items, size=block.shape) + np.arange(len(block))[:, np.newaxis] * num_items
        block[:] = np.bincount(draws.ravel(), minlength=block.size).reshape(block.shape)
    return weights


_MAX_CELLS = 1_000_000
"""Most cells that are drawn at a time, so that the memory besides the weights does not grow with the items."""


def interval(draws: npt.ArrayLike, *, level: float = LEVEL) -> tuple[FloatArray, FloatArray]:
    """Return the central percentile interval of the draws along the first axis.

    Args:
        draws: Bootstrap draws of shape (draws, ...), at least one draw; NaNs are left out.
        level: Share of the draws inside the interval.

    Returns:
        Low and high ends, each of shape (...); NaN where there are only NaNs.
    """
    array = np.sort(np.asarray(draws, dtype=float), axis=0)  # NaNs last
    num_known = (~np.isnan(array)).sum(axis=0)
    ends = []
    for share in ((1 - level) / 2, (1 + level) / 2):
        # the nearest draw, not an interpolation: infinities (no correct answer in a draw) would become NaN
        nearest = np.maximum(np.rint(share * (num_known - 1)).astype(int), 0)
        ends.append(np.take_along_axis(array, nearest[np.newaxis], axis=0)[0])
    return ends[0], ends[1]


def ranks(costs: FloatArray) -> FloatArray:
    """Return the rank of each number along the last axis: 1 plus how many are lower."""
    size = costs.shape[-1]
    if size > _FEW:
        from scipy.stats import rankdata  # imported here because it takes longer than ranking few models

        result: FloatArray = rankdata(costs, method="min", axis=-1)
        return result
    result = np.ones(costs.shape)
    for index in range(size):
        result += costs[..., index : index + 1] < costs
    return result


_FEW = 64
"""Most models that are compared with each other one by one; sorting is as fast from about 60 models on."""


@dataclass(frozen=True, slots=True)
class Ranks:
    """Ranks of all models, 1 the best; NaN for models without a number.

    Attributes:
        rank: Rank of each model, shape (..., models); equal numbers share the better rank, as in sports.
        low: Best rank within the interval, same shape.
        high: Worst rank within the interval, same shape.
    """

    rank: FloatArray
    low: FloatArray
    high: FloatArray


def rank_intervals(
    values: npt.ArrayLike, draws: npt.ArrayLike, *, higher_is_better: bool, level: float = LEVEL
) -> Ranks:
    """Rank the models, with the interval of ranks over the paired draws.

    Args:
        values: Value of each model, shape (..., models); models are ranked along the last axis. A model with NaN is not
            ranked and does not affect other ranks.
        draws: Bootstrap draws of the same models, drawn jointly, shape (draws, ..., models).
        higher_is_better: Direction of the axis.
        level: Share of the draws inside the interval.
    """
    value, draw = np.asarray(values, dtype=float), np.asarray(draws, dtype=float)
    sign = -1.0 if higher_is_better else 1.0
    known = ~np.isnan(value)
    rank = np.where(known, ranks(np.where(known, sign * value, np.inf)), np.nan)
    # a NaN draw of a known model (none of its instances was drawn) ranks last
    low, high = interval(ranks(np.where(known & ~np.isnan(draw), sign * draw, np.inf)), level=level)
    return Ranks(rank, np.minimum(low, rank), np.maximum(high, rank))
