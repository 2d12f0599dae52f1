"""Bootstrap intervals of means, against scipy's own bootstrap and against what they must be by definition."""

import numpy as np
import pytest
from scipy import stats

from helm_efficiency.core.bootstrap import mean_intervals


@pytest.mark.parametrize("n", [5, 100, 30_000])
def test_agrees_with_scipy(n: int) -> None:
    values = np.random.default_rng(1).lognormal(size=n)
    mean, low, high = mean_intervals({"x": values})["x"]
    assert mean == pytest.approx(values.mean())
    of_scipy = stats.bootstrap(
        (values,), np.mean, confidence_level=0.9, n_resamples=2000, method="percentile", batch=50, rng=2
    ).confidence_interval
    assert (low, high) == pytest.approx(of_scipy, abs=0.3 * (of_scipy.high - of_scipy.low))


def test_covers_the_true_mean_about_nine_times_in_ten() -> None:
    rng = np.random.default_rng(3)
    intervals = [mean_intervals({"x": rng.normal(5.0, 2.0, size=80)})["x"] for _ in range(400)]
    covered = np.mean([low <= 5.0 <= high for _, low, high in intervals])
    assert 0.85 <= covered <= 0.94


def test_missing_values_are_left_out_and_empty_columns_too() -> None:
    x = np.array([1.0, np.nan, 3.0])
    intervals = mean_intervals({"x": x, "none": np.full(3, np.nan), "y": np.array([2.0, 2.0, 2.0])})
    assert list(intervals) == ["x", "y"]
    assert intervals["x"] == mean_intervals({"x": x[[0, 2]]})["x"]
    assert intervals["x"][0] == 2.0
    assert intervals["y"] == (2.0, 2.0, 2.0)
    assert mean_intervals({"x": np.array([])}) == {}


def test_equal_input_gives_equal_intervals_beside_whatever_other_columns() -> None:
    values = np.random.default_rng(4).normal(size=50)
    alone = mean_intervals({"x": values})["x"]
    beside = mean_intervals({"y": values**2, "x": values})["x"]
    assert beside == pytest.approx(alone, rel=1e-12)
