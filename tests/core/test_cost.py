"""Costs: each formula by hand, properties, and the coverage of the interval of a correct answer's cost."""

import math
from dataclasses import replace
from datetime import date
from decimal import Decimal

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import binomtest

from helm_efficiency.adapters.record import RequestRecord
from helm_efficiency.core.cost import (
    accelerator_usd,
    co2_g,
    estimated_energy_j,
    exact_usd,
    idealized_cost,
    mean_power_w,
    serving_cost,
)
from helm_efficiency.core.cost_per_correct import AnswerMoments, CostPerCorrect, cost_per_correct
from helm_efficiency.core.fitting.fit import Fit
from helm_efficiency.core.measurement import Measurement, Profile, Stack
from helm_efficiency.core.runtime_model import Domain, RuntimeCoefficients
from helm_efficiency.errors import InputError
from helm_efficiency.metrics.efficiency import Coefficients, score_requests
from helm_efficiency.metrics.pricing import Pricing

STACK = Stack("a100-80gb", "a100-80gb", 4)
FIT = Fit("a/b", STACK, RuntimeCoefficients("linear", ((1, 0.5), (100, 0.5)), 0.25, Domain(1, 100, 1, 64, 8)))


def test_idealized_cost_by_hand() -> None:
    # 9 s * 4 accelerators = 36 accelerator-s; 36 / 3600 h * 4.096 $/h = 0.04096 $
    cost = idealized_cost([9.0, 0.0], 4, Decimal("4.096"))
    assert cost.accelerator_s.tolist() == [36.0, 0.0]
    assert cost.usd is not None and cost.usd.tolist() == pytest.approx([0.04096, 0.0], rel=1e-15)


def test_dollars_are_the_same_to_the_last_bit_wherever_they_are_asked() -> None:
    numbers = RuntimeCoefficients("linear", ((1, 0.0123), (1000, 0.1)), 0.0217, Domain(1, 1000, 1, 64))
    fit = Fit("me/model", Stack("a100", "a100-80gb", 3), numbers)
    asked = {"harness": "m", "suite": "s", "run": "r", "scenario": "q", "model": "m", "deployment": "me/model"}
    lengths = [(p, o) for p in range(1, 1000, 7) for o in (1, 9, 64)]
    records = [RequestRecord(**asked, instance_id="1", prompt_tokens=p, output_tokens=o) for p, o in lengths]
    pricing = Pricing.as_of(date(2023, 12, 1), price_list="paper-2023")
    (scored,) = score_requests(records, Coefficients.from_fits([fit]), stacks=["a100"], pricing=pricing)
    prompts, outputs = np.array(lengths).T
    price = pricing.usd_per_accelerator_hour["a100-80gb"]
    assert price == Decimal("4.096")
    served = serving_cost(fit, prompts, outputs, usd_per_accelerator_hour=price)
    assert served.usd is not None and served.usd.tolist() == scored.idealized_usd.tolist()
    assert accelerator_usd(scored.accelerator_s, price).tolist() == scored.idealized_usd.tolist()


def test_a_batch_shares_its_accelerators() -> None:
    # 10 s for 8 requests on 4 accelerators: 5 accelerator-s each
    assert float(idealized_cost(10.0, 4, None, batch_size=8).accelerator_s) == 5.0


def test_no_price_is_none_and_an_unknown_runtime_stays_unknown() -> None:
    cost = idealized_cost([1.0, math.nan], [1, 2], None)
    assert cost.usd is None
    assert np.isnan(cost.accelerator_s).tolist() == [False, True]
    priced = idealized_cost([1.0, math.nan], 1, Decimal(1))
    assert priced.usd is not None and np.isnan(priced.usd).tolist() == [False, True]
    assert idealized_cost([], 1, None).accelerator_s.tolist() == []


def test_dollars_are_exact() -> None:
    # 0.1 is 0.1000000000000000055511151231257827… in binary, and stays that
    assert exact_usd(0.1, Decimal("3600")) == Decimal("0.1000000000000000055511151231")
    assert sum(exact_usd(s, Decimal("4.096")) for s in [0.25] * 4) == exact_usd(1.0, Decimal("4.096"))


@given(st.floats(1e-3, 1e5), st.integers(1, 64), st.integers(1, 64))
def test_cost_is_linear_in_accelerators_and_agrees_with_the_exact_one(seconds: float, count: int, batch: int) -> None:
    price = Decimal("3.43088125")
    one, many = (idealized_cost(seconds, n, price, batch_size=batch) for n in (1, count))
    assert float(many.accelerator_s) == pytest.approx(count * float(one.accelerator_s), rel=1e-15)
    assert many.usd is not None
    assert float(many.usd) == pytest.approx(float(exact_usd(float(many.accelerator_s), price)), rel=1e-15)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((-1.0, 1, None, 1), "Seconds must be 0 or more"),
        ((1.0, 0, None, 1), "accelerators and batch sizes 1 or more"),
        ((1.0, 1, None, 0), "accelerators and batch sizes 1 or more"),
        ((1.0, 1, Decimal(0), 1), "The price is 0 dollars an hour, expected more than 0"),
        ((1.0, 1, Decimal(-2), 1), "The price is -2 dollars"),
    ],
)
def test_bad_costs(arguments: tuple[float, int, Decimal | None, int], message: str) -> None:
    seconds, count, price, batch = arguments
    with pytest.raises(InputError, match=message):
        idealized_cost(seconds, count, price, batch_size=batch)


def test_energy_and_emissions_by_hand() -> None:
    # 36 accelerator-s * 400 W * 0.5 = 7200 J = 0.002 kWh; at 350 g/kWh 0.7 g
    energy = estimated_energy_j([36.0], 400.0, 0.5)
    assert energy is not None and energy.tolist() == [7200.0]
    assert co2_g(energy, 350.0).tolist() == pytest.approx([0.7])
    assert estimated_energy_j([36.0], None, 0.5) is None
    for utilization in (0.0, 1.5, -0.1):
        with pytest.raises(InputError, match=r"Utilization is .*, expected a fraction above 0 and up to 1"):
            estimated_energy_j([1.0], 400.0, utilization)
    with pytest.raises(InputError, match="grid factor is -1 g/kWh"):
        co2_g(1.0, -1)


def test_measured_power_by_hand() -> None:
    # 2 * 1 s drew 2 * 800 J, 1 * 3 s drew 3000 J: 4600 J in 5 s on 4 accelerators are 230 W each
    measured = (
        Measurement(1, 1, 1.0, num_repetitions=2, energy_j=800.0),
        Measurement(1, 2, 3.0, energy_j=3000.0),
        Measurement(1, 3, 9.0),
    )
    profile = Profile("a/b", STACK, measured)
    assert mean_power_w(profile) == 230.0
    assert mean_power_w(replace(profile, measurements=measured[2:])) is None


def test_serving_cost_by_hand() -> None:
    # 0.5 + 3 * 0.25 = 1.25 s on 4 accelerators = 5 accelerator-s; shared by 8: 0.625
    latency = serving_cost(FIT, [10, 20], 4, usd_per_accelerator_hour=Decimal(720))
    assert latency.accelerator_s.tolist() == [5.0, 5.0]
    assert latency.usd is not None and latency.usd.tolist() == [1.0, 1.0]
    throughput = serving_cost(FIT, 10, 4, usd_per_accelerator_hour=None, batch_size=8)
    assert float(throughput.accelerator_s) == 0.625
    unknown = serving_cost(FIT, 10, 4, usd_per_accelerator_hour=Decimal(1), batch_size=9)
    assert math.isnan(unknown.accelerator_s) and unknown.usd is not None and math.isnan(unknown.usd)


def test_cost_of_a_correct_answer_by_hand() -> None:
    # mean cost (1 + 2 + 3 + 6) / 4 = 3, accuracy 3/4: 4 for one correct answer
    found = cost_per_correct([1.0, 2.0, 3.0, 6.0], [1, 1, 0, 1])
    assert found.value == 4.0
    assert found.low < 4.0 < found.high
    assert found.num_instances == 4


@pytest.mark.parametrize(("right", "of"), [(0, 20), (1, 20), (5, 20), (20, 20), (120, 400)])
@pytest.mark.parametrize("confidence", [0.9, 0.99])
def test_equal_costs_give_wilsons_interval(right: int, of: int, confidence: float) -> None:
    found = cost_per_correct(np.full(of, 3.0), np.arange(of) < right, confidence=confidence)
    accuracy = binomtest(right, of).proportion_ci(confidence, method="wilson")
    high = math.inf if right == 0 else 3.0 / accuracy.low
    assert (found.low, found.high) == pytest.approx((3.0 / accuracy.high, high), rel=1e-9)


def test_nothing_right_is_infinite_with_a_finite_lower_end() -> None:
    found = cost_per_correct([1.0, 3.0, 2.0], [0, 0, 0])
    assert (found.value, found.high) == (math.inf, math.inf)
    assert 2.0 < found.low < math.inf


def test_free_and_unknown() -> None:
    assert cost_per_correct([0.0, 0.0], [1, 0])[:2] == (0.0, 0.0)
    assert cost_per_correct([0.0, 0.0], [0, 0]) == CostPerCorrect(math.inf, math.inf, math.inf, 2)
    assert cost_per_correct([1.0, math.nan, 3.0], [1, 1, math.nan]) == cost_per_correct([1.0], [1])
    empty = cost_per_correct([math.nan], [1])
    assert np.isnan(empty[:3]).all() and empty.num_instances == 0


@given(
    st.lists(st.tuples(st.floats(1e-6, 1e6), st.just(0.0) | st.floats(1e-6, 1)), min_size=1, max_size=30),
    st.sampled_from([0.001, 7.0]),
)
def test_the_interval_holds_the_value_and_scales_with_the_unit(
    instances: list[tuple[float, float]], scale: float
) -> None:
    cost, correct = np.array(instances).T
    found = cost_per_correct(cost, correct)
    assert 0 <= found.low <= found.high
    if math.isfinite(found.value):
        assert found.low <= found.value * (1 + 1e-9) and found.value <= found.high * (1 + 1e-9)
    scaled = cost_per_correct(scale * cost, correct)
    assert scaled[:3] == pytest.approx([scale * x for x in found[:3]], rel=1e-6)


@pytest.mark.parametrize("accuracy", [0.05, 0.3, 0.8])
@pytest.mark.parametrize("tilt", [-0.8, 0.8])  # log of what a right answer costs over a wrong one
def test_nine_of_ten_intervals_cover_the_truth(accuracy: float, tilt: float) -> None:
    rng = np.random.default_rng(7)
    truth = (accuracy * math.exp(tilt) + 1 - accuracy) * math.exp(0.18) / accuracy
    covered = 0
    for _ in range(1000):
        correct = rng.random(60) < accuracy
        cost = np.where(correct, math.exp(tilt), 1.0) * np.exp(rng.normal(0, 0.6, 60))
        found = cost_per_correct(cost, correct)
        covered += found.low <= truth <= found.high
    assert 870 <= covered <= 940


def test_errors_of_runtime_and_instances_add_in_squares_of_logarithms() -> None:
    correct = np.arange(20) < 5
    alone = cost_per_correct(np.full(20, 2.0), correct)
    widened = cost_per_correct(np.full(20, 2.0), correct, cost_factor=(0.5, 2.0))
    # value 8; ln(8 / low) and ln 2 are the legs of a right triangle
    assert math.log(8.0 / widened.low) == pytest.approx(math.hypot(math.log(8.0 / alone.low), math.log(2.0)))
    assert math.log(widened.high / 8.0) == pytest.approx(math.hypot(math.log(alone.high / 8.0), math.log(2.0)))
    nothing_right = cost_per_correct([2.0, 2.0], [0, 0], cost_factor=(0.5, 2.0))
    assert nothing_right.low == cost_per_correct([2.0, 2.0], [0, 0]).low / 2
    assert nothing_right.high == math.inf


def test_one_sample_in_two_halves_has_the_same_interval() -> None:
    cost, correct = np.tile([[1.0, 2.0, 3.0, 6.0]], 2), np.tile([[1.0, 1.0, 0.0, 1.0]], 2)
    half = AnswerMoments.of(cost[:, :4], correct[:, :4])
    found = AnswerMoments.mean_of([half, half], skip_missing=False).interval()
    assert np.array(found) == pytest.approx(np.array(AnswerMoments.of(cost, correct).interval()))


def test_missing_samples_are_averaged_over_or_not() -> None:
    known = AnswerMoments.of(np.array([[1.0, 3.0]]), np.array([[1.0, 0.0]]))
    missing = AnswerMoments.of(np.array([[np.nan, np.nan]]), np.array([[1.0, 0.0]]))
    assert AnswerMoments.mean_of([known, missing], skip_missing=True).interval() == known.interval()
    assert np.isnan(AnswerMoments.mean_of([known, missing], skip_missing=False).interval()).all()


def test_agrees_with_a_bootstrap_where_there_is_much_data() -> None:
    rng = np.random.default_rng(3)
    correct = rng.random(2000) < 0.4
    cost = np.where(correct, 1.5, 1.0) * np.exp(rng.normal(0, 0.5, 2000))
    draws = rng.integers(0, 2000, (2000, 2000))
    low, high = np.quantile(cost[draws].mean(axis=1) / correct[draws].mean(axis=1), [0.05, 0.95])
    found = cost_per_correct(cost, correct)
    assert (found.low, found.high) == pytest.approx((low, high), rel=0.01)


@pytest.mark.parametrize(
    ("cost", "correct", "confidence", "message"),
    [
        ([1.0], [1, 0], 0.9, r"shape \(1,\) and scores \(2,\)"),
        ([[1.0]], [[1]], 0.9, r"shape \(1, 1\)"),
        ([-1.0], [1], 0.9, "Costs must be 0 or more"),
        ([1.0], [1.5], 0.9, "scores between 0 and 1"),
        ([1.0], [1], 1.0, "Confidence is 1.0"),
    ],
)
def test_bad_instances(cost: list[float], correct: list[float], confidence: float, message: str) -> None:
    with pytest.raises(InputError, match=message):
        cost_per_correct(cost, correct, confidence=confidence)
