"""Curves through knots: work coordinates, weights, smoothing, tails, and what other models say."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.isotonic import IsotonicRegression

from helm_efficiency.core.fitting import work_coordinates as work
from helm_efficiency.core.fitting.additive_model import AdditiveFit
from helm_efficiency.core.fitting.prefill_curve import (
    fit_curve,
    fit_parametric_curve,
    fit_tail,
    left_out_errors,
    smoothed,
)
from helm_efficiency.core.fitting.work_coordinates import stack_work
from helm_efficiency.core.rules import PrefillRule
from helm_efficiency.errors import InputError

FEW = np.array([1.0, 256.0, 512.0, 1024.0, 1536.0])
FITTED = (PrefillRule.auto, PrefillRule.linear, PrefillRule.tile)
MANY = np.array([1.0, 32.0, 64.0, *(64.0 * k for k in range(2, 31))])


def lines(p: np.ndarray, seconds: np.ndarray, residual: float = 0.0) -> AdditiveFit:
    return AdditiveFit(p, np.asarray(seconds, dtype=np.float64), 0.02, 0.0, 0.001, np.full(10, residual))


def staircase(p: np.ndarray, tile: int) -> np.ndarray:
    return np.maximum(0.02, 2e-4 * tile * np.ceil(np.asarray(p) / tile))


@pytest.mark.parametrize("coordinate", [work.tokens, *map(work.tiled, work.TILES)])
@given(p=st.lists(st.integers(1, 20_000), min_size=2, max_size=30, unique=True))
def test_more_tokens_are_more_work(coordinate: work.WorkCoordinate, p: list[int]) -> None:
    assert np.all(np.diff(coordinate(np.array(sorted(p), dtype=np.float64))) > 0)


@given(st.lists(st.floats(0.001, 10.0), min_size=5, max_size=5), st.sampled_from(FITTED))
def test_curve_is_monotone_and_meets_monotone_knots(steps: list[float], rule: PrefillRule) -> None:
    seconds = np.cumsum(steps)
    curve = fit_curve(lines(FEW, seconds), rule=rule)
    assert np.all(np.diff(curve.seconds) >= 0)
    assert np.all(np.diff(curve.prompt_tokens) > 0)
    np.testing.assert_allclose(np.interp(FEW, curve.prompt_tokens, curve.seconds), seconds, rtol=1e-3)
    assert sum(curve.weights.values()) == pytest.approx(1.0)


def test_linear_is_straight_lines() -> None:
    curve = fit_curve(lines(FEW, [1.0, 1.0, 2.0, 3.0, 5.0]), rule=PrefillRule.linear)
    assert curve.prompt_tokens.tolist() == [1.0, 256.0, 512.0, 1024.0, 1536.0]
    assert np.interp([384, 768], curve.prompt_tokens, curve.seconds).tolist() == [1.5, 2.5]
    assert curve.weights == {"linear": 1.0}


def test_no_such_rule() -> None:
    with pytest.raises(InputError, match=r"No rule 'spline'\. Known rules: auto, linear"):
        PrefillRule("spline")


@pytest.mark.parametrize("tile", [64, 128, 256])
def test_the_tile_of_a_staircase_is_found(tile: int) -> None:
    curve = fit_curve(lines(MANY, staircase(MANY, tile)), rule=PrefillRule.tile)
    assert max(curve.weights, key=lambda name: curve.weights[name]) == f"tile-{tile}"


def test_left_out_errors_worked_by_hand() -> None:
    # at 2, a quarter of the way from 1 to 5: 1 + 0.25 * 4 = 2 s predicted for 4 s measured
    assert left_out_errors(work.tokens, np.array([1.0, 2.0, 5.0]), np.array([1.0, 4.0, 5.0])).tolist() == [-0.5]
    assert left_out_errors(work.tokens, np.array([1.0, 2.0]), np.array([1.0, 4.0])).tolist() == []


@given(st.lists(st.floats(0.1, 10.0), min_size=5, max_size=5))
def test_without_noise_smoothing_is_isotonic_regression(seconds: list[float]) -> None:
    expected = IsotonicRegression().fit_transform(FEW, seconds)
    np.testing.assert_allclose(smoothed(work.tokens, FEW, np.array(seconds), 0.0), expected, rtol=1e-9)


def test_noise_moves_a_kink_towards_the_chord() -> None:
    seconds = np.array([1.0, 2.0, 4.0, 4.5, 6.0])
    chord = 2.0 + (4.5 - 2.0) * 256 / 768
    noisy = smoothed(work.tokens, FEW, seconds, 0.05)
    assert chord < noisy[2] < 4.0


def test_one_knot_is_flat() -> None:
    curve = fit_curve(lines(np.array([8.0]), [0.5]))
    assert (curve.prompt_tokens.tolist(), curve.seconds.tolist()) == ([8.0], [0.5])
    assert fit_tail(lines(np.array([8.0]), [0.5])) == (0.0, 0.0)


def test_tail_of_a_line_and_of_a_parabola() -> None:
    linear, quadratic = fit_tail(lines(FEW, 0.02 + 2e-4 * FEW))
    assert (linear, quadratic) == (pytest.approx(2e-4), 0.0)
    p = np.array([128.0, 512.0, 1024.0, 2048.0, 4096.0, 8192.0])
    linear, quadratic = fit_tail(lines(p, 0.02 + 1e-4 * p + 2e-8 * p**2))
    assert (linear, quadratic) == (pytest.approx(1e-4, rel=0.01), pytest.approx(2e-8, rel=0.01))
    assert fit_tail(lines(np.array([1.0, 8.0, 16.0]), [3.0, 2.0, 1.0])) == (0.0, 0.0)


def test_parametric_recovers_floor_and_slope() -> None:
    truth = np.maximum(0.05, 0.01 + 2e-4 * MANY)
    curve = fit_parametric_curve(lines(MANY, truth))
    np.testing.assert_allclose(np.interp(MANY, curve.prompt_tokens, curve.seconds), truth, rtol=0.01)
    np.testing.assert_allclose(curve.left_out, 0.0, atol=0.01)


def test_other_models_tell_where_the_steps_are() -> None:
    steps = lambda p: 0.03 + 1e-3 * np.ceil(np.asarray(p) / 96)  # noqa: E731
    others = [lines(MANY, scale * steps(MANY)) for scale in (1.0, 2.0, 5.0)]
    mine = lines(FEW, 3.0 * steps(FEW))
    stack = stack_work(mine, others)
    assert stack is not None
    curve = fit_curve(mine, stack=stack)
    assert curve.weights["stack"] > 0.7
    alone = fit_curve(mine)
    held_out = MANY[(MANY < 1536) & ~np.isin(MANY, FEW)]
    error = [
        np.abs(np.interp(held_out, c.prompt_tokens, c.seconds) - 3.0 * steps(held_out)).mean() for c in (curve, alone)
    ]
    assert error[0] < 0.5 * error[1]


def test_too_few_other_models_or_too_short_ones_tell_nothing() -> None:
    long, short = lines(MANY, MANY), lines(FEW[:3], FEW[:3])
    assert stack_work(lines(FEW, FEW), [long, long]) is None
    assert stack_work(lines(FEW, FEW), [long, long, short]) is None
    assert stack_work(lines(FEW[:1], FEW[:1]), [long, long, long]) is None
