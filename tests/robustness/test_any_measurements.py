"""Fits and predictions of whatever measurements there may be: finite numbers, or a reason."""

import random

import numpy as np
import pytest
from helpers.run_commands import NUM_CASES, little_memory

from helm_efficiency import codec
from helm_efficiency.core.fitting.fit import Fit, fit_profile
from helm_efficiency.core.measurement import Measurement, Profile, Stack
from helm_efficiency.core.rules import PrefillRule
from helm_efficiency.core.runtime_model import Domain, RuntimeCoefficients
from helm_efficiency.errors import EfficiencyError, InputError, InsufficientMeasurementsError

STACK = Stack("a100-80gb-x", "a100-80gb")
COUNTS = (1, 2, 3, 16, 255, 256, 257, 1024, 100_000, 10**9)
ASKED = np.array([0, 1, 2, 100, 1024, 10**6, 10**9])


def any_profile(rng: random.Random) -> Profile:
    """A few prompts and outputs; times that make sense, are all the same, or are anything."""
    kind = rng.randrange(4)
    prompts, outputs = rng.sample(COUNTS, rng.randint(1, 5)), rng.sample(COUNTS, rng.randint(1, 4))
    measurements = []
    for p in prompts:
        for o in outputs:
            seconds = (0.01 + 1e-5 * p + 0.02 * o, 1.0, 10 ** rng.uniform(-9, 9), 10 ** rng.uniform(-3, 0))[kind]
            batch = rng.choice((1, 1, 1, 2, 8))
            ttft = rng.choice((None, None, seconds / 2))
            measurements.append(Measurement(p, o, seconds, batch_size=batch, ttft_s=ttft))
    return Profile("me/model", STACK, tuple(measurements), resolution_s=rng.choice((0.0, 0.001)))


def test_any_measurements() -> None:
    num_fits = 0
    for seed in range(NUM_CASES // 2):
        profile = any_profile(random.Random(seed))
        for rule in PrefillRule:
            try:
                with little_memory():
                    fit = fit_profile(profile, rule=rule)
                    predicted = fit.coefficients.predict(ASKED[:, None], ASKED[None, :])
            except EfficiencyError:
                continue
            num_fits += 1
            assert np.isfinite(predicted.high_s).all(), (seed, rule)
            assert (predicted.low_s <= predicted.high_s).all(), (seed, rule)
            assert codec.from_plain(codec.to_plain(fit), Fit) == fit
    assert num_fits > NUM_CASES // 2


@pytest.mark.parametrize("seconds", [1e-300, 1e20, 1e300])
def test_seconds_that_nothing_takes_are_not_fitted(seconds: float) -> None:
    profile = Profile("me/model", STACK, tuple(Measurement(p, o, seconds) for p in (1, 100) for o in (1, 10)))
    with pytest.raises(InsufficientMeasurementsError, match=r"me/model on a100-80gb-x: a measurement of 1e.* expected"):
        fit_profile(profile)


def test_times_that_contradict_each_other_are_not_fitted() -> None:
    profile = any_profile(random.Random(48))
    with pytest.raises(InsufficientMeasurementsError, match=r"contradict each other .*wrong units"):
        fit_profile(profile)


DOMAIN = Domain(1, 10, 1, 10)


@pytest.mark.parametrize(
    "wrong",
    [
        {"prefill_knots": ()},
        {"prefill_knots": ((2, 0.1), (1, 0.2))},
        {"prefill_knots": ((1, 0.1), (1, 0.2))},
        {"prefill_knots": ((0, 0.1),)},
        {"prefill_knots": ((1, 0.1), (10**15, 0.2))},
        {"prefill_knots": ((1, float("nan")),)},
        {"decode_s_per_token": float("inf")},
        {"decode_s_per_token": 1e300},
        {"prefill_error_s": (0.1, 0.1)},
        {"batch_knots": ((2, 1.0, 0.1), (1, 1.0, 0.1))},
        {"batch_knots": ((0, 1.0, 0.1),)},
    ],
)
def test_coefficients_that_cannot_be_read_off_are_refused(wrong: dict[str, object]) -> None:
    sound: dict[str, object] = {"rule": "linear", "prefill_knots": ((1, 0.1),), "decode_s_per_token": 0.02}
    assert RuntimeCoefficients(**sound, domain=DOMAIN)  # type: ignore[arg-type]
    with pytest.raises(InputError):
        RuntimeCoefficients(**(sound | wrong), domain=DOMAIN)  # type: ignore[arg-type]


def test_a_knot_of_a_billion_tokens_takes_no_table_of_them() -> None:
    knots = ((1, 0.1), (10**9, 100.0))
    coefficients = RuntimeCoefficients("linear", knots, 0.02, DOMAIN, prefill_error_s=(0.0, 0.0))
    requests = np.arange(100_000)
    with little_memory(100_000_000):
        predicted = coefficients.predict(requests, requests)
    expected = np.interp(requests, [1, 10**9], [0.1, 100.0]) + np.maximum(requests - 1, 0) * 0.02
    assert np.allclose(predicted.seconds, expected, rtol=1e-12)
