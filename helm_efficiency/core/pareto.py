"""Pareto fronts: the points that no other point beats, and the probability of each point to be one of them.

A point is on the front unless another one is at least as good on every axis and better on one. Points that are equal on
every axis are treated the same way, so an exact tie keeps both. (The notebook of Narayanan et al. asks for a strictly
cheaper *and* strictly better rival; the two rules differ only if models tie on one axis, which never happens on the
paper's fronts.)
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from helm_efficiency.core.arrays import BoolArray, FloatArray


def pareto_front(points: npt.ArrayLike, *, maximize: Sequence[bool]) -> BoolArray:
    """Return a mask of the points that no other point beats.

    >>> pareto_front([[1.0, 0.6], [2.0, 0.8], [3.0, 0.7]], maximize=[False, True])
    array([ True,  True, False])

    Args:
        points: Coordinates, shape (points, axes). A point with a NaN is never on the front and never beats another
            one; infinities are ordinary.
        maximize: Direction of each axis; True if more is better.

    Returns:
        True for points on the front, shape (points,).

    Raises:
        ValueError: The shape is not (points, len(maximize)).
    """
    array = np.asarray(points, dtype=float)
    if array.ndim != 2 or array.shape[1] != len(maximize):
        raise ValueError(f"points have shape {array.shape}, expected (points, {len(maximize)})")
    costs = np.where(np.asarray(maximize), -array, array)
    known = np.flatnonzero(~np.isnan(costs).any(axis=1))
    # sorted from the first axis on, a point is never beaten by a later one; equal points are looked at once
    distinct, which = np.unique(costs[known], axis=0, return_inverse=True)
    is_beaten = np.zeros(len(distinct), dtype=bool)
    front = distinct[:0]
    for index, point in enumerate(distinct):
        is_beaten[index] = (front <= point).all(axis=1).any()
        if not is_beaten[index]:
            front = np.append(front, point[np.newaxis], axis=0)
    on_front = np.zeros(len(costs), dtype=bool)
    on_front[known] = ~is_beaten[which.ravel()]
    return on_front


def front_probability(costs: npt.ArrayLike, values: npt.ArrayLike) -> FloatArray:
    """Return how often each point is on the front of cost (less is better) against value (more is better).

    Args:
        costs: Costs, shape (draws, ..., points): bootstrap draws, all points of the last axis drawn jointly.
        values: Values, in the same shape.

    Returns:
        Share of draws, shape (..., points); NaN for points with a NaN in every draw, and for all points without any
        draw.
    """
    cost, value = np.asarray(costs, dtype=float), np.asarray(values, dtype=float)
    counts = (~(np.isnan(cost) | np.isnan(value))).sum(axis=0)
    on_front = fronts(cost, value).sum(axis=0)
    share: FloatArray = np.divide(on_front, counts, out=np.full(counts.shape, np.nan), where=counts > 0)
    return share


def fronts(cost: FloatArray, value: FloatArray) -> BoolArray:
    """Return masks of the points on the fronts of cost (less is better) against value, along the last axis.

    A point with a NaN is never on the front and never beats another one.
    """
    unknown = np.isnan(cost) | np.isnan(value)
    cost, value = np.where(unknown, np.inf, cost), np.where(unknown, -np.inf, value)
    of = _fronts_of_few if cost.shape[-1] <= _FEW else _fronts_of_many
    return of(cost, value) & ~unknown


_FEW = 16
"""Most points that are compared with each other one by one; sorting is as fast from about 16 points on."""


def _fronts_of_few(cost: FloatArray, value: FloatArray) -> BoolArray:
    is_beaten = np.zeros(cost.shape, dtype=bool)
    for index in range(cost.shape[-1]):
        c, v = cost[..., index : index + 1], value[..., index : index + 1]
        is_beaten |= (c <= cost) & (v >= value) & ((c < cost) | (v > value))
    return ~is_beaten


def _fronts_of_many(cost: FloatArray, value: FloatArray) -> BoolArray:
    """Sort by cost, then keep each point that exceeds the best value seen so far."""
    order = np.lexsort((-value, cost), axis=-1)
    c, v = np.take_along_axis(cost, order, -1), np.take_along_axis(value, order, -1)
    best = np.maximum.accumulate(v, axis=-1)[..., :-1]
    best_before = np.concatenate([np.full((*v.shape[:-1], 1), -np.inf), best], axis=-1)
    better = v > best_before
    cost_of_best: Any = np.maximum.accumulate(np.where(better, c, -np.inf), axis=-1)
    on_front = better | ((v == best_before) & (c == cost_of_best))
    result = np.zeros(cost.shape, dtype=bool)
    np.put_along_axis(result, order, on_front, -1)
    return result
