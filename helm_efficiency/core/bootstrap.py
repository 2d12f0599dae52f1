"""Paired bootstrap: estimate how far a table depends on the instances that were drawn.

All models are resampled with the same draws, so that a hard instance is hard for all of them. Differences and ranks are
then much more certain than the models' own intervals suggest.
"""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy.stats import rankdata

from helm_efficiency.core.arrays import FloatArray

LEVEL = 0.90  # nominal coverage of all intervals of this package


def bootstrap_weights(num_items: int, *, num_resamples: int, rng: np.random.Generator) -> FloatArray:
    """Return how often each item is drawn in each resample.

    Returns:
        Shape (resamples, items); each row holds counts that sum to `num_items`.
    """
    if num_items == 0:
        return np.zeros((num_resamples, 0))
    counts = rng.multinomial(num_items, np.full(num_items, 1 / num_items), size=num_resamples)
    return counts.astype(float)


def interval(draws: npt.ArrayLike, *, level: float = LEVEL) -> tuple[FloatArray, FloatArray]:
    """Return the central percentile interval of each column.

    Args:
        draws: Bootstrap draws of shape (draws, columns), at least one draw; NaNs are left out.
        level: Share of the draws inside the interval.

    Returns:
        Low and high ends, each of shape (columns,); NaN for a column that has only NaNs.
    """
    array = np.sort(np.asarray(draws, dtype=float), axis=0)  # NaNs last
    num_known = (~np.isnan(array)).sum(axis=0)
    ends = []
    for share in ((1 - level) / 2, (1 + level) / 2):
        # the nearest draw, not an interpolation: infinities (no correct answer in a draw) would become NaN
        nearest = np.maximum(np.rint(share * (num_known - 1)).astype(int), 0)
        ends.append(np.take_along_axis(array, nearest[np.newaxis], axis=0)[0])
    return ends[0], ends[1]


@dataclass(frozen=True, slots=True)
class Ranks:
    """Ranks of all models, 1 the best; NaN for models without a number.

    Attributes:
        rank: Rank of each model, shape (models,); equal numbers share the better rank, as in sports.
        low: Best rank within the interval, shape (models,).
        high: Worst rank within the interval, shape (models,).
    """

    rank: FloatArray
    low: FloatArray
    high: FloatArray


def rank_intervals(
    values: npt.ArrayLike, draws: npt.ArrayLike, *, higher_is_better: bool, level: float = LEVEL
) -> Ranks:
    """Rank the models, with the interval of ranks over the paired draws.

    Args:
        values: Value of each model, shape (models,); a model with NaN is not ranked and does not affect other ranks.
        draws: Bootstrap draws of the same models, drawn jointly, shape (draws, models).
        higher_is_better: Direction of the axis.
        level: Share of the draws inside the interval.
    """
    value, draw = np.asarray(values, dtype=float), np.asarray(draws, dtype=float)
    sign = -1.0 if higher_is_better else 1.0
    rank, low, high = (np.full(len(value), np.nan) for _ in range(3))
    known = ~np.isnan(value)
    if known.any():
        rank[known] = rankdata(sign * value[known], method="min")
        # a NaN draw of a known model (none of its instances was drawn) ranks last
        costs = np.nan_to_num(sign * draw[:, known], nan=np.inf, posinf=np.inf, neginf=-np.inf)
        low[known], high[known] = interval(rankdata(costs, method="min", axis=1), level=level)
        low, high = np.fmin(low, rank), np.fmax(high, rank)
    return Ranks(rank, low, high)
