"""Means of a run with their bootstrap intervals."""

from collections.abc import Hashable, Mapping
from functools import lru_cache
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

FloatArray = NDArray[np.float64]
Key = TypeVar("Key", bound=Hashable)

CONFIDENCE = 0.9
_SEED = 20231
_MAX_RESAMPLES, _MIN_RESAMPLES = 1000, 200
_MAX_DRAWS = 10_000_000
"""Draws of one bootstrap: runs of more than 10,000 requests are resampled less often, as their means scatter less."""
_MAX_CELLS = 1_000_000
"""Of one block of weights, so that memory does not grow with the run."""


def mean_intervals(columns: Mapping[Key, FloatArray]) -> dict[Key, tuple[float, float, float]]:
    """Mean of each column with its nominal 90 % percentile bootstrap interval.

    Resampling n values with replacement weights each by how often it is drawn, so all means of all resamples are one
    matrix product. The weights depend on n alone: equal input gives equal intervals, whoever computes them.

    Args:
        columns: Values by name, NaN where there is none.

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
    """Ends of the interval of the mean of each column, shape (2, columns)."""
    n = len(values)
    num_resamples = min(max(_MAX_DRAWS // n, _MIN_RESAMPLES), _MAX_RESAMPLES)
    step = max(_MAX_CELLS // n, 1)
    blocks = [_weights(n, first, min(step, num_resamples - first)) @ values for first in range(0, num_resamples, step)]
    tail = (1.0 - CONFIDENCE) / 2.0
    return np.asarray(np.quantile(np.concatenate(blocks) / n, (tail, 1.0 - tail), axis=0))


@lru_cache(maxsize=2)
def _weights(n: int, first: int, num_resamples: int) -> FloatArray:
    """How often each of n values is drawn in some of the resamples, shape (num_resamples, n)."""
    draws = np.random.default_rng((_SEED, n, first)).integers(0, n, size=(num_resamples, n))
    draws += np.arange(num_resamples)[:, None] * n
    return np.bincount(draws.ravel(), minlength=num_resamples * n).reshape(num_resamples, n).astype(np.float64)
