"""Paired bootstrap: estimate how far a table depends on the instances that were drawn.

All models are resampled with the same draws, so that a hard instance is hard for all of them. Differences and ranks are
then much more certain than the models' own intervals suggest.
"""

from collections.abc import Hashable, Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import TypeVar

import numpy as np
import numpy.typing as npt
from scipy.stats import rankdata

from helm_efficiency.core.arrays import FloatArray

LEVEL = 0.90


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


Key = TypeVar("Key", bound=Hashable)

CONFIDENCE = 0.9
_SEED = 20231
_MAX_RESAMPLES, _MIN_RESAMPLES = 1000, 200
_MAX_DRAWS = 10_000_000
"""Most draws of one bootstrap: runs of more than 10,000 requests are resampled less often, as their means scatter
less."""
_MAX_CELLS = 1_000_000
"""Most cells of one block of weights, so that memory does not grow with the run."""


def mean_intervals(columns: Mapping[Key, FloatArray]) -> dict[Key, tuple[float, float, float]]:
    """Return the mean of each column with its nominal 90 % percentile bootstrap interval.

    Resampling n values with replacement weights each by how often it is drawn, so all means of all resamples are one
    matrix product. The weights depend on n alone, so equal input gives equal intervals on every machine.

    Args:
        columns: Values by name; missing values are NaN.

    Returns:
        (mean, low, high) by name, for columns that have any value.

    References:
        Efron and Tibshirani, An Introduction to the Bootstrap, 1993, chapter 13.
    """
    by_length: dict[int, dict[Key, FloatArray]] = {}
    for name, column in columns.items():
        present = column[~np.isnan(column)]
        if len(present):
            by_length.setdefault(len(present), {})[name] = present
    results = {}
    for names in by_length.values():
        values = np.column_stack(list(names.values()))
        means = values.mean(axis=0)
        low, high = _percentiles(values - means)
        for name, mean, below, above in zip(names, means.tolist(), low.tolist(), high.tolist(), strict=True):
            results[name] = (mean, mean + below, mean + above)
    return {name: results[name] for name in columns if name in results}


def _percentiles(values: FloatArray) -> FloatArray:
    """Return the ends of the interval of the mean of each column, shape (2, columns)."""
    n = len(values)
    num_resamples = min(max(_MAX_DRAWS // n, _MIN_RESAMPLES), _MAX_RESAMPLES)
    step = max(_MAX_CELLS // n, 1)
    blocks = [_weights(n, first, min(step, num_resamples - first)) @ values for first in range(0, num_resamples, step)]
    tail = (1.0 - CONFIDENCE) / 2.0
    return np.asarray(np.quantile(np.concatenate(blocks) / n, (tail, 1.0 - tail), axis=0))


@lru_cache(maxsize=2)
def _weights(n: int, first: int, num_resamples: int) -> FloatArray:
    """Return how often each of n values is drawn in some of the resamples, shape (num_resamples, n)."""
    draws = np.random.default_rng((_SEED, n, first)).integers(0, n, size=(num_resamples, n))
    draws += np.arange(num_resamples)[:, None] * n
    return np.bincount(draws.ravel(), minlength=num_resamples * n).reshape(num_resamples, n).astype(np.float64)
