"""Bootstrap weights, percentile intervals and ranks."""

import numpy as np
import pytest
from scipy.stats import bootstrap

from helm_efficiency.core.bootstrap import bootstrap_weights, interval, rank_intervals, ranks

NAN, INF = np.nan, np.inf


def test_weights_draw_as_many_as_there_are():
    weights = bootstrap_weights(7, num_resamples=500, rng=np.random.default_rng(1))
    assert weights.shape == (500, 7)
    assert (weights.sum(axis=1) == 7).all()
    # each item is drawn once on average; the standard error of a mean of 500 is about 0.04
    assert weights.mean(axis=0) == pytest.approx(np.ones(7), abs=0.2)


def test_nothing_to_draw_from():
    assert bootstrap_weights(0, num_resamples=3, rng=np.random.default_rng(1)).shape == (3, 0)


def test_interval_agrees_with_scipy():
    data = np.random.default_rng(5).gamma(2.0, size=80)
    weights = bootstrap_weights(80, num_resamples=4000, rng=np.random.default_rng(6))
    low, high = interval((weights @ data / 80)[:, np.newaxis])
    theirs = bootstrap((data,), np.mean, confidence_level=0.9, n_resamples=4000, method="percentile", rng=7)
    width = theirs.confidence_interval.high - theirs.confidence_interval.low
    assert low[0] == pytest.approx(theirs.confidence_interval.low, abs=0.1 * width)
    assert high[0] == pytest.approx(theirs.confidence_interval.high, abs=0.1 * width)


def test_interval_of_columns_with_gaps_and_infinities():
    draws = np.array([[1.0, NAN, INF], [2.0, NAN, 5.0], [NAN, NAN, 4.0]])
    low, high = interval(draws, level=1.0)
    assert low.tolist() == pytest.approx([1.0, NAN, 4.0], nan_ok=True)
    assert high.tolist() == pytest.approx([2.0, NAN, INF], nan_ok=True)


def test_ranks_share_the_better_one_and_skip_the_missing():
    # 0.8 leads; the two 0.7 share rank 2; 0.5 is fourth; the missing one takes no rank
    values = [0.7, 0.8, NAN, 0.5, 0.7]
    ranks = rank_intervals(values, np.array([values]), higher_is_better=True)
    assert ranks.rank.tolist() == pytest.approx([2, 1, NAN, 4, 2], nan_ok=True)
    lowest_first = rank_intervals(values, np.array([values]), higher_is_better=False)
    assert lowest_first.rank.tolist() == pytest.approx([2, 4, NAN, 1, 2], nan_ok=True)


@pytest.mark.parametrize("num_models", [1, 5, 80])
def test_a_rank_is_one_more_than_how_many_are_lower(num_models: int) -> None:
    costs = np.random.default_rng(0).integers(0, 9, size=(4, 3, num_models)).astype(float)
    lower = costs[..., np.newaxis, :] < costs[..., np.newaxis]
    assert ranks(costs).tolist() == (1 + lower.sum(axis=-1)).tolist()


def test_rank_intervals_are_where_the_draws_put_a_model():
    # model 1 beats model 0 in 8 of 10 draws; model 2 is always last
    draws = np.array([[1.0, 2.0, 0.0]] * 8 + [[2.0, 1.0, 0.0]] * 2)
    ranks = rank_intervals([1.0, 2.0, 0.0], draws, higher_is_better=True)
    assert ranks.rank.tolist() == [2, 1, 3]
    assert ranks.low.tolist() == [1, 1, 3]
    assert ranks.high.tolist() == [2, 2, 3]


def test_an_undrawn_model_ranks_last_in_that_draw():
    ranks = rank_intervals([1.0, 2.0], np.array([[NAN, 2.0], [1.0, 2.0]]), higher_is_better=False, level=1.0)
    assert ranks.low.tolist() == [1, 1]
    assert ranks.high.tolist() == [2, 2]


def test_ranks_of_nothing():
    ranks = rank_intervals([NAN, NAN], np.full((3, 2), NAN), higher_is_better=True)
    assert np.isnan([ranks.rank, ranks.low, ranks.high]).all()
