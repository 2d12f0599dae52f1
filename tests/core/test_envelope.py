"""The envelope by its defining properties, against an independent solver, and on requests of known truth."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import lsq_linear

from helm_efficiency.core.services.envelope import (
    MIN_UNCONTENDED_SHARE,
    WAIT_SCALES,
    Envelope,
    FloatArray,
    fit_envelope,
    weighted_nnls,
)
from helm_efficiency.core.services.jackknife import covariance

TRUTH = np.array([0.2, 0.03])


def requests(
    seed: int, *, contended_share: float, jitter: float = 0.03, n: int = 300
) -> tuple[FloatArray, FloatArray, FloatArray]:
    """Design, seconds, and which met a wait of half a second in the mean."""
    rng = np.random.default_rng(seed)
    design = np.column_stack([np.ones(n), rng.integers(0, 64, n)])
    contended = rng.random(n) < contended_share
    seconds = design @ TRUTH * np.exp(jitter * rng.standard_normal(n)) + contended * rng.exponential(0.5, n)
    return design, seconds, contended


@settings(deadline=None, max_examples=30)
@given(st.integers(0, 10_000), st.integers(1, 5))
def test_weighted_nnls_agrees_with_a_bounded_solver(seed: int, num_columns: int) -> None:
    rng = np.random.default_rng(seed)
    design, target = rng.random((40, num_columns)), rng.normal(size=40)
    weights = rng.random(40) + 0.1
    root = np.sqrt(weights)
    expected = lsq_linear(design * root[:, None], target * root, bounds=(0, np.inf), tol=1e-12)
    found = weighted_nnls(design, target, weights)
    assert (found >= 0).all()
    cost = 0.5 * np.sum(weights * (design @ found - target) ** 2)
    assert cost == pytest.approx(expected.cost, rel=1e-6)


def test_without_contention_it_is_least_squares() -> None:
    design, seconds, _ = requests(1, contended_share=0.0)
    fit = fit_envelope(design, seconds)
    uncontended_s = design @ TRUTH
    squares = np.linalg.lstsq(design / uncontended_s[:, None], seconds / uncontended_s, rcond=None)[0]
    np.testing.assert_allclose(fit.coefficients, squares, rtol=0.01)
    assert fit.shares[0] > 0.99
    assert np.mean(fit.jitter_s(uncontended_s) / uncontended_s) == pytest.approx(0.03, rel=0.15)


@pytest.mark.parametrize("share", [0.05, 0.2, 0.5])
def test_recovers_truth_and_share_of_contention(share: float) -> None:
    design, seconds, contended = requests(2, contended_share=share)
    fit = fit_envelope(design, seconds)
    np.testing.assert_allclose(fit.coefficients, TRUTH, rtol=0.025)
    called = fit.memberships(design, seconds)[:, 1] > 0.5
    assert called.mean() == pytest.approx(contended.mean(), abs=0.08)
    assert np.mean(called == contended) > 0.88  # the others wait less than the jitter


def test_memberships_are_probabilities() -> None:
    design, seconds, _ = requests(3, contended_share=0.3)
    memberships = fit_envelope(design, seconds).memberships(design, seconds)
    assert memberships.shape == (300, 3)
    assert (memberships >= 0).all()
    np.testing.assert_allclose(memberships.sum(axis=1), 1.0)


@settings(deadline=None, max_examples=10)
@given(st.floats(1e-3, 1e3))
def test_does_not_depend_on_the_unit_of_time(factor: float) -> None:
    design, seconds, _ = requests(4, contended_share=0.3, n=120)
    one, other = fit_envelope(design, seconds), fit_envelope(design, seconds * factor)
    np.testing.assert_allclose(other.coefficients, one.coefficients * factor, rtol=1e-3)


def test_a_request_that_counts_twice_is_two_requests() -> None:
    design, seconds, _ = requests(5, contended_share=0.2, n=120)
    twice = np.arange(120) % 3 == 0
    weighted = fit_envelope(design, seconds, weights=1.0 + twice)
    repeated = fit_envelope(np.vstack([design, design[twice]]), np.append(seconds, seconds[twice]))
    np.testing.assert_allclose(weighted.coefficients, repeated.coefficients, rtol=1e-3)
    assert weighted.log_likelihood == pytest.approx(repeated.log_likelihood, abs=0.05)


def test_longer_waits_do_not_move_it() -> None:
    design, seconds, contended = requests(6, contended_share=0.3)
    wait = seconds - design @ TRUTH
    long = contended & (wait > 0.5)
    one = fit_envelope(design, seconds)
    other = fit_envelope(design, np.where(long, seconds + 20.0, seconds))
    np.testing.assert_allclose(other.coefficients, one.coefficients, rtol=0.01)


def test_a_few_requests_that_are_too_fast_do_not_pull_it_down() -> None:
    design, seconds, _ = requests(7, contended_share=0.2)
    seconds[:6] *= 0.3  # of which a provider had the prompt in its cache
    fit = fit_envelope(design, seconds)
    np.testing.assert_allclose(fit.coefficients, TRUTH, rtol=0.03)
    assert (fit.memberships(design, seconds)[:6].argmax(axis=1) == 2).all()


def test_from_the_optimum_it_stays_there() -> None:
    design, seconds, _ = requests(8, contended_share=0.3)
    fit = fit_envelope(design, seconds)
    again = fit_envelope(design, seconds, start=fit)
    np.testing.assert_allclose(again.coefficients, fit.coefficients, rtol=1e-4)
    assert again.log_likelihood >= fit.log_likelihood - 0.01


def test_is_likelier_than_the_truth_that_made_the_requests() -> None:
    design, seconds, _ = requests(9, contended_share=0.3)
    fit = fit_envelope(design, seconds)
    shares = np.append(0.7, np.full(len(WAIT_SCALES), 0.3 / len(WAIT_SCALES)))
    truth = Envelope(TRUTH, np.array([0.0, 0.03**2]), shares, WAIT_SCALES)
    climbed = fit_envelope(design, seconds, start=truth)
    assert fit.log_likelihood >= climbed.log_likelihood - 0.05


def test_says_when_too_few_requests_are_uncontended() -> None:
    design, seconds, _ = requests(10, contended_share=0.95)
    fit = fit_envelope(design, seconds)
    assert not fit.is_determined
    assert fit.shares[0] == pytest.approx(MIN_UNCONTENDED_SHARE, rel=1e-3)
    assert fit.shares.sum() == pytest.approx(1.0)


def test_constant_seconds_have_the_least_jitter() -> None:
    design = np.ones((40, 1))
    fit = fit_envelope(design, np.full(40, 0.5))
    assert fit.coefficients == pytest.approx([0.5])
    assert fit.jitter_s(np.array([0.5])) == pytest.approx(0.003 * 0.5)


def test_covariance_is_that_of_fits_without_each_block() -> None:
    design, seconds, _ = requests(3, contended_share=0.3, n=200)
    blocks = np.arange(200) // 10
    fit = fit_envelope(design, seconds)
    without = [fit_envelope(design[blocks != b], seconds[blocks != b]).coefficients for b in range(20)]
    expected = 19 / 20 * ((np.array(without) - fit.coefficients) ** 2).sum(axis=0)
    found = covariance(fit, design, seconds, blocks)
    np.testing.assert_allclose(np.sqrt(np.diag(found)), np.sqrt(expected), rtol=0.15)


def test_a_coefficient_at_zero_has_no_scatter() -> None:
    design, seconds, _ = requests(4, contended_share=0.3)
    extra = np.random.default_rng(0).random(300)
    falling, faster = np.column_stack([design, extra]), seconds * (1 - 0.2 * extra)
    fit = fit_envelope(falling, faster)
    assert fit.coefficients[2] < 1e-9
    scatter = covariance(fit, falling, faster, np.arange(300) // 10)
    assert (scatter[2] == 0).all()
    assert (np.diag(scatter)[:2] > 0).all()
