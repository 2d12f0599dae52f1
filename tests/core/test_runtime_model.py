"""From coefficients to seconds, worked by hand."""

import numpy as np
import pytest

from helm_efficiency import codec
from helm_efficiency.core.fitting.fit import Fit, fit_profile
from helm_efficiency.core.measurement import Measurement, Profile, Stack
from helm_efficiency.core.rules import HELM_RULES
from helm_efficiency.core.runtime_model import Domain, RuntimeCoefficients
from helm_efficiency.errors import InputError

DOMAIN = Domain(1, 100, 1, 10)
KNOTS = ((1, 1.0), (50, 1.0), (100, 2.0))


def test_straight_lines_flat_below_and_on_beyond() -> None:
    coefficients = RuntimeCoefficients("linear", KNOTS, 0.5, DOMAIN)
    # at 75 halfway between 1 s and 2 s; at 150 another second, as from 50 to 100
    assert coefficients.prefill_s([0, 1, 75, 100, 150]).tolist() == [1.0, 1.0, 1.5, 2.0, 3.0]
    assert coefficients.predict([75, 75, 75], [0, 1, 3]).seconds.tolist() == [1.5, 1.5, 2.5]


def test_many_requests_are_predicted_as_one_by_one() -> None:
    coefficients = RuntimeCoefficients("auto", KNOTS, 0.5, DOMAIN, prefill_error_s=(0.1, 0.2, 0.3))
    prompts = np.arange(300)
    many = coefficients.predict(prompts, 2)
    one_by_one = np.array([coefficients.predict(p, 2)[:3] for p in prompts.tolist()])
    np.testing.assert_allclose(np.stack(many[:3], axis=1), one_by_one)


def test_given_tail() -> None:
    tail = RuntimeCoefficients("auto", KNOTS, 0.5, DOMAIN, tail_s_per_token=0.01, tail_s_per_token_squared=1e-4)
    # at 200: 2 s + 100 * 0.01 s + (40,000 - 10,000) * 1e-4 s
    assert tail.prefill_s(200) == pytest.approx(6.0)
    assert RuntimeCoefficients("auto", KNOTS[:1], 0.5, DOMAIN).prefill_s(200) == 1.0


def test_context_term() -> None:
    coefficients = RuntimeCoefficients("linear", KNOTS, 0.5, DOMAIN, decode_s_per_context_token=0.01, overhead_s=3.0)
    # 3 s + 1 s + two steps of 0.5 s at contexts 11 and 12
    assert coefficients.predict(10, 3).seconds == pytest.approx(3.0 + 1.0 + 1.0 + 0.23)


def test_half_width_adds_independent_errors_in_squares() -> None:
    coefficients = RuntimeCoefficients(
        "auto", KNOTS, 0.5, DOMAIN,
        relative_error=0.1, prefill_error_s=(0.2, 0.2, 0.4), decode_error=0.3, resolution_s=0.08,
    )  # fmt: skip
    predicted = coefficients.predict(75, 3)
    # 2.5 s: single 0.25, prefill halfway between 0.2 and 0.4, decode 0.3 of 1 s, rounding 0.04
    half = np.sqrt(0.25**2 + 0.3**2 + 0.3**2 + 0.04**2)
    assert (predicted.high_s - predicted.low_s) / 2 == pytest.approx(half)
    assert predicted.high_s / predicted.seconds == pytest.approx(predicted.seconds / predicted.low_s)


@pytest.mark.parametrize("relative_error", [1e-6, 0.5, 1.0, 100.0])
def test_no_interval_reaches_0(relative_error: float) -> None:
    coefficients = RuntimeCoefficients("linear", KNOTS, 0.5, DOMAIN, relative_error=relative_error)
    predicted = coefficients.predict(75, 3)
    assert predicted.low_s > 0
    assert np.log(predicted.high_s / predicted.low_s) / 2 == pytest.approx(np.arcsinh(relative_error))


def test_helm_rule_spans_both_readings() -> None:
    for rule in HELM_RULES:
        coefficients = RuntimeCoefficients(rule, KNOTS, 0.5, DOMAIN, relative_error=0.1)
        # at 25 the next key says half of 1 s, a straight line 1 s; beyond the last both are in proportion
        predicted = coefficients.predict([25, 200], 1)
        assert predicted.seconds.tolist() == [0.5, 4.0]
        # 10 % of 0.5 s; 10 % of 4 s and 30 % of the 2 s beyond what was measured
        halves = np.array([0.05, np.hypot(0.4, 0.6)])
        np.testing.assert_allclose(predicted.low_s, np.hypot([0.5, 4.0], halves) - halves)
        np.testing.assert_allclose(predicted.high_s, np.hypot([1.0, 4.0], halves) + halves)


def test_batches_of_long_prompts_take_no_longer_than_one_by_one() -> None:
    # 10 ms and 1 ms a token up to 100 tokens, then 0.1 ms a token more for each of them: long prompts attend to more
    knots = ((1, 0.011), (100, 0.11), (200, 0.31))
    numbers = RuntimeCoefficients("linear", knots, 0.0, DOMAIN, batch_knots=((1, 1.0, 0.0), (4, 1.0, 0.0)))
    together, apart = numbers.batched_prefill_s([10, 100], [4, 4])
    assert together == pytest.approx(numbers.prefill_s(40))  # short prompts share the reading of the weights
    assert apart == pytest.approx(4 * 0.11) and apart < numbers.prefill_s(400)


def test_batches_without_knots_of_their_own_are_flagged() -> None:
    predicted = RuntimeCoefficients("linear", KNOTS, 0.5, DOMAIN).predict([50, 50], 1, batch_size=[1, 2])
    assert predicted.seconds.tolist() == [1.0, 2.0]
    assert predicted.in_domain.tolist() == [True, False]
    assert ((predicted.high_s - predicted.low_s) / 2).tolist() == pytest.approx([0.0, 0.3 * 2.0])


def test_shapes_broadcast_and_may_be_empty() -> None:
    coefficients = RuntimeCoefficients("linear", KNOTS, 0.5, DOMAIN, prefill_error_s=(0.1, 0.1, 0.1))
    assert coefficients.predict(np.ones((3, 1)), np.ones(4)).seconds.shape == (3, 4)
    assert coefficients.predict([], []).seconds.shape == (0,)


@pytest.mark.parametrize(("p", "o", "b"), [(-1, 1, 1), (1, -1, 1), (1, 1, 0)])
def test_negative_counts(p: int, o: int, b: int) -> None:
    with pytest.raises(InputError, match="0 or more"):
        RuntimeCoefficients("linear", KNOTS, 0.5, DOMAIN).predict(p, o, batch_size=b)


def test_round_trip_and_what_is_not_coefficients() -> None:
    full = RuntimeCoefficients(
        "auto", KNOTS, 0.1 + 0.2, DOMAIN, prefill_error_s=(0.1, 0.2, 0.3), batch_knots=((1, 1.0, 0.3), (2, 0.9, 0.4))
    )
    assert codec.from_plain(codec.to_plain(full), RuntimeCoefficients) == full
    older = {"rule": "linear", "prefill_knots": [[1, 1.0]], "decode_s_per_token": 0.5, "domain": vars_of(DOMAIN)}
    assert codec.from_plain(older, RuntimeCoefficients) == RuntimeCoefficients("linear", ((1, 1.0),), 0.5, DOMAIN)
    for broken in ({}, {**older, "knots": 1}, {**older, "prefill_knots": [["many", 1.0]]}):
        with pytest.raises(InputError, match="Not runtime coefficients"):
            codec.from_plain(broken, RuntimeCoefficients)
    with pytest.raises(InputError, match="Not a fit"):
        codec.from_plain({"deployment": "a/b"}, Fit)


def vars_of(domain: Domain) -> dict[str, int]:
    return {name: getattr(domain, name) for name in domain.__dataclass_fields__}


def test_one_prompt_length_and_neighbours_that_tell_nothing() -> None:
    stack = Stack("x", "cpu")
    profile = Profile("a/b", stack, (Measurement(8, 1, 0.5), Measurement(8, 9, 0.9)))
    useless = Profile("c/d", stack, (Measurement(8, 1, 0.5),))
    fit = fit_profile(profile, others=[profile, useless, Profile("e/f", stack, profile.measurements)])
    assert fit.coefficients.prefill_knots == ((8, pytest.approx(0.5)),)
    predicted = fit.coefficients.predict(8, 9)
    assert predicted.low_s < 0.9 < predicted.high_s
