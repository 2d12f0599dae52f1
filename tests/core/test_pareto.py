"""Pareto fronts: by their definition, by the paper's rule, with ties, missing and infinite points."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from helm_efficiency.core.pareto import front_probability, pareto_front

_COORDINATE = st.one_of(st.integers(0, 5).map(float), st.sampled_from([np.inf, -np.inf, np.nan]))


def by_definition(points: np.ndarray, maximize: list[bool]) -> list[bool]:
    """On the front unless some other point is at least as good on every axis and better on one."""
    costs = np.where(maximize, -points, points)
    known = ~np.isnan(costs).any(axis=1)
    beaten = [
        any(known[j] and (costs[j] <= costs[i]).all() and (costs[j] < costs[i]).any() for j in range(len(costs)))
        for i in range(len(costs))
    ]
    return [bool(is_known and not is_beaten) for is_known, is_beaten in zip(known, beaten, strict=True)]


@given(
    st.integers(1, 4).flatmap(
        lambda axes: st.tuples(
            st.lists(st.lists(_COORDINATE, min_size=axes, max_size=axes), min_size=1, max_size=12),
            st.lists(st.booleans(), min_size=axes, max_size=axes),
        )
    )
)
def test_front_equals_its_definition(case):
    points, maximize = np.array(case[0]), case[1]
    assert pareto_front(points, maximize=maximize).tolist() == by_definition(points, maximize)


@given(st.lists(st.tuples(st.integers(0, 5), st.integers(0, 5)), min_size=1, max_size=24))
def test_one_draw_has_the_front_of_its_points(points):
    cost, value = np.array(points, dtype=float).T
    share = front_probability(cost[np.newaxis], value[np.newaxis])
    assert (share == 1).tolist() == pareto_front(np.column_stack([cost, value]), maximize=[False, True]).tolist()


def test_no_points_have_no_front():
    assert pareto_front(np.empty((0, 2)), maximize=[False, True]).tolist() == []


def test_shape_must_fit_the_directions():
    with pytest.raises(ValueError, match=r"shape \(2,\), expected \(points, 1\)"):
        pareto_front([1.0, 2.0], maximize=[False])


def test_probability_is_the_share_of_draws():
    # a is always cheapest; b is on the front where it scores more than a (3 of 4 draws), c never is; d is known twice
    cost = np.array([[1.0, 2.0, 3.0, np.nan], [1.0, 2.0, 3.0, 0.5], [1.0, 2.0, 3.0, np.nan], [1.0, 2.0, 3.0, 9.0]])
    value = np.array([[0.5, 0.6, 0.4, 0.9], [0.5, 0.7, 0.4, 0.1], [0.5, 0.4, 0.4, 0.9], [0.5, 0.8, 0.4, 0.1]])
    assert front_probability(cost, value).tolist() == [1.0, 0.75, 0.0, 0.5]


def test_probability_of_an_unknown_point_is_unknown():
    share = front_probability([[1.0, np.nan]], [[0.5, 0.5]])
    assert share[0] == 1.0
    assert np.isnan(share[1])
