"""Denoising: known truth recovered, what is not identified said, drift told from contention, sums worked by hand."""

from dataclasses import replace

import numpy as np
import pytest
from _synthetic_services import CONTENTION, SyntheticService, drifting

from helm_efficiency.core.arrays import FloatArray
from helm_efficiency.core.runtime_model import Domain, RuntimeCoefficients
from helm_efficiency.core.services.contention import explain
from helm_efficiency.core.services.denoise import (
    MAX_REQUESTS,
    as_fit,
    denoise,
    fit_service,
    paper_minimum,
    provider_factor,
    service_stack,
    total_s,
)
from helm_efficiency.core.services.drift import find_changes
from helm_efficiency.core.services.envelope import weighted_nnls
from helm_efficiency.core.services.log import ServiceLog
from helm_efficiency.core.services.model import ServiceFit
from helm_efficiency.errors import InputError, InsufficientMeasurementsError

SERVICE = SyntheticService()
TRUTH = np.array([SERVICE.overhead_s, SERVICE.prefill_s_per_token, SERVICE.decode_s_per_token])
KINDS = ("queue", "bursts", "retries", "slowdown", "mixture")


def served(
    kind: str = "queue",
    *,
    contended_share: float = 0.2,
    num_trials: int = 10,
    seed: int = 0,
    service: SyntheticService = SERVICE,
) -> ServiceLog:
    rng = np.random.default_rng([seed, list(CONTENTION).index(kind)])
    return service.serve(kind, contended_share=contended_share, num_trials=num_trials, rng=rng)


def of_any_length(n: int, *, contended_share: float = 0.2, output_tokens: FloatArray | float = 16.0) -> ServiceLog:
    """Requests as archives have them: prompts of any length, 30 a run."""
    rng = np.random.default_rng(n)
    p = rng.integers(50, 1500, n)
    o = np.broadcast_to(output_tokens, n)
    seconds = SERVICE.uncontended_s(p, o) * np.exp(0.03 * rng.standard_normal(n))
    seconds += (rng.random(n) < contended_share) * rng.exponential(1.0, n)
    return ServiceLog.of(p, o, seconds, requested_at=1.7e9 + 10.0 * np.arange(n), run=np.arange(n) // 30)


def coefficients(service: ServiceFit) -> FloatArray:
    """Value, low and high (rows) of overhead, prefill and decode (columns)."""
    intervals = [service.overhead_s(), service.prefill_s_per_token(), service.decode_s_per_token()]
    assert None not in intervals
    return np.array([tuple(interval) for interval in intervals if interval is not None]).T


def least_squares(log: ServiceLog, seconds: FloatArray, service: ServiceFit) -> FloatArray:
    """Overhead, prefill and decode fitted to given seconds with the terms of a service."""
    theta = weighted_nnls(service.shape.design(log.prompt_tokens, log.output_tokens), seconds, 1.0 / seconds**2)
    return coefficients(replace(service, envelope=replace(service.envelope, coefficients=theta)))[0]


def of_cells(log: ServiceLog, statistic: "np.ufunc | object") -> FloatArray:
    """For each request a statistic of all trials of its lengths."""
    cell = np.unique(np.column_stack([log.prompt_tokens, log.output_tokens]), axis=0, return_inverse=True)[1]
    return np.array([statistic(log.seconds[cell.reshape(-1) == c]) for c in cell.reshape(-1)])  # type: ignore[operator]


@pytest.mark.parametrize("share", [0.05, 0.2, 0.5])
def test_recovers_truth_within_intervals_where_minimum_and_mean_do_not(share: float) -> None:
    inside: list[FloatArray] = []
    errors: dict[str, list[FloatArray]] = {"ours": [], "minimum": [], "mean": []}
    for kind in KINDS:
        for seed in range(2):
            log = served(kind, contended_share=share, seed=seed)
            service = fit_service(log)
            value, low, high = coefficients(service)
            inside.append((low <= TRUTH) & (high >= TRUTH))
            errors["ours"].append(value / TRUTH - 1.0)
            errors["minimum"].append(least_squares(log, of_cells(log, np.min), service) / TRUTH - 1.0)
            errors["mean"].append(least_squares(log, of_cells(log, np.mean), service) / TRUTH - 1.0)
    assert np.mean(inside) >= 0.8  # nominal 0.9, of thirty
    rmse = {name: float(np.sqrt(np.mean(np.square(error)))) for name, error in errors.items()}
    assert rmse["ours"] < 0.02
    assert rmse["minimum"] > 2.0 * rmse["ours"]
    assert rmse["mean"] > 2.0 * rmse["ours"]


def test_history_of_any_length_is_fitted_with_few_knots() -> None:
    rng = np.random.default_rng(0)
    service = fit_service(of_any_length(400, output_tokens=rng.integers(1, 100, 400)))
    assert len(service.shape.knots) == 6
    value, low, high = coefficients(service)
    np.testing.assert_allclose(value, TRUTH, rtol=0.06)
    assert ((low <= TRUTH) & (high >= TRUTH)).all()
    assert service.notes == ()


@pytest.mark.parametrize("share", [0.05, 0.2, 0.5])
def test_decode_that_slows_down_with_context_is_no_contention(share: float) -> None:
    truth = replace(SERVICE, decode_s_per_context_token=1e-5)
    p, o = np.array([1.0, 1536.0, 512.0]), np.array([64.0, 64.0, 2.0])
    inside: list[FloatArray] = []
    for seed in range(2):
        fit = fit_service(served(contended_share=share, service=truth, seed=seed))
        context, decode, seconds = fit.decode_s_per_context_token(), fit.decode_s_per_token(), fit.denoised_s(p, o)
        assert context is not None
        assert decode is not None
        assert decode.value == pytest.approx(0.03 + 513e-5, rel=0.02)
        np.testing.assert_allclose(seconds.value, truth.uncontended_s(p, o), rtol=0.03)
        assert fit.memberships(served(contended_share=0.0, service=truth, seed=9))[:, 0].mean() > 0.8
        for interval, true in ((context, 1e-5), (decode, 0.03 + 513e-5), (seconds, truth.uncontended_s(p, o))):
            inside.append(np.atleast_1d((interval.low <= true) & (interval.high >= true)))
    assert np.concatenate(inside).mean() >= 0.7  # nominal 0.9, of ten


@pytest.mark.parametrize("kind", ["queue", "slowdown", "mixture"])
def test_no_context_term_where_decode_does_not_depend_on_it(kind: str) -> None:
    fit = fit_service(served(kind, contended_share=0.5))
    assert fit.decode_s_per_context_token() is None
    assert fit.coefficients().decode_s_per_context_token == 0.0


@pytest.mark.parametrize("per_context_s", [0.0, 1e-5])
def test_stored_coefficients_predict_what_the_service_model_says(per_context_s: float) -> None:
    log = served(service=replace(SERVICE, decode_s_per_context_token=per_context_s))
    service = fit_service(log)
    assert service.shape.has_context == (per_context_s > 0)
    fit = as_fit(service, "host/model")
    p, o = log.prompt_tokens.astype(int), log.output_tokens.astype(int)
    prediction = fit.coefficients.predict(p, o)
    np.testing.assert_allclose(prediction.seconds, service.denoised_s(p, o).value, rtol=1e-12)
    assert prediction.in_domain.all()
    assert (fit.deployment, fit.stack.name, fit.tier) == ("host/model", "service-host", "measured")
    # the errors of prefill and of decode are added in squares, as if they were independent
    widening = (prediction.high_s - prediction.seconds) / (service.denoised_s(p, o).high - prediction.seconds)
    assert 0.9 < widening.min() <= widening.max() < 2.1
    total = service.total_s(p, o)
    assert total.value == pytest.approx(service.denoised_s(p, o).value.sum())
    assert total.low < total.value < total.high


def test_one_output_length_has_no_decode() -> None:
    service = fit_service(of_any_length(120, output_tokens=1.0))
    assert service.decode_s_per_token() is None
    assert service.notes == (
        "decode not identified: fitted to the 120 requests with 1 output tokens; probe several output lengths",
    )
    coefs = service.coefficients()
    assert coefs.decode_s_per_token == 0.0
    assert not coefs.predict(500, 2).in_domain  # flagged, not invented


def test_a_few_other_output_lengths_do_not_make_a_decode_slope() -> None:
    o = np.ones(120)
    o[:4] = [20, 2, 7, 20]
    result = denoise(of_any_length(120, output_tokens=o))
    assert result.service.decode_s_per_token() is None
    assert len(result.log) == 116
    assert "116 requests with 1 output tokens" in result.service.notes[0]


def test_a_decode_slope_lost_in_noise_is_not_reported() -> None:
    rng = np.random.default_rng(0)
    o = rng.choice([10.0, 11.0], 80, p=[0.9, 0.1])
    seconds = 1.0 + 0.1 * rng.standard_normal(80)
    service = fit_service(ServiceLog.of(rng.integers(1, 900, 80), o, seconds))
    assert service.decode_s_per_token() is None
    assert service.prefill_s_per_token() is None
    assert service.overhead_s() is None
    assert service.coefficients().overhead_s == 0.0


def test_one_cell_gives_its_level_and_says_what_is_missing() -> None:
    rng = np.random.default_rng(0)
    seconds = 0.7 * np.exp(0.02 * rng.standard_normal(40))
    service = fit_service(ServiceLog.of(256, 16, seconds))
    level = service.denoised_s(256, 16)
    assert level.low < 0.7 < level.high
    assert service.notes == (
        "decode not identified: fitted to the 40 requests with 16 output tokens; probe several output lengths",
        "prefill not told apart from overhead: prompts of 256 to 256 tokens; probe a wider range of prompt lengths",
    )
    assert service.coefficients().domain == Domain(256, 256, 16, 16)


def test_too_few_requests_say_how_to_get_more() -> None:
    with pytest.raises(InsufficientMeasurementsError) as caught:
        fit_service(ServiceLog.of(256, 16, np.full(19, 0.7)))
    assert str(caught.value) == (
        "19 usable requests, expected at least 20: fewer do not tell contention from service. "
        "Send more, for instance with the run entry efficiency_probe."
    )


@pytest.mark.parametrize(
    ("columns", "message"),
    [
        ((256, 16, -0.5), "A request took -0.5 s, expected more than 0."),
        ((256, 16, float("nan")), "A request took nan s, expected more than 0."),
        ((0, 16, 0.5), "A request has no prompt tokens or no output tokens, expected at least 1 of each."),
        ((256, 0, 0.5), "A request has no prompt tokens or no output tokens, expected at least 1 of each."),
    ],
)
def test_a_log_refuses_what_cannot_be(columns: tuple[float, float, float], message: str) -> None:
    with pytest.raises(InputError) as caught:
        ServiceLog.of(*columns)
    assert str(caught.value) == message


def test_times_to_first_token_identify_decode_where_lengths_do_not() -> None:
    rng = np.random.default_rng(0)
    wait_s = (rng.random(150) < 0.3) * rng.exponential(1.0, 150)
    first_s = 0.3 * np.exp(0.03 * rng.standard_normal(150)) + wait_s
    end_s = first_s + 149 * 0.02 * np.exp(0.02 * rng.standard_normal(150))
    without = fit_service(ServiceLog.of(550, 150, end_s))
    assert without.decode_s_per_token() is None
    decode = fit_service(ServiceLog.of(550, 150, end_s, ttft_s=first_s)).decode_s_per_token()
    assert decode is not None
    assert decode.low < 0.02 < decode.high
    assert decode.high - decode.low < 0.002


def test_mostly_contended_service_is_called_an_upper_bound() -> None:
    service = fit_service(served(contended_share=0.95))
    assert service.notes[-1] == "most requests look contended, or may be: the denoised runtime is an upper bound"


@pytest.mark.parametrize("seed", [3, 7])
def test_a_load_that_never_lets_up_gives_an_upper_bound(seed: int) -> None:
    rng = np.random.default_rng(seed)
    lengths = [(p, o) for p in (32, 256, 768) for o in (1, 16, 48)] * 5
    p, o = rng.permutation(np.array(lengths, dtype=float)).T
    alone_s = 0.02 + 4e-4 * p + 0.007 * (o - 1)
    jitter = np.exp(rng.normal(0, 0.02, len(p)))
    others = 1.2 * rng.integers(2, 9, len(p)) * rng.beta(2, 2, len(p))
    log = ServiceLog.of(p, o, alone_s * jitter * (1 + 0.25 * others), requested_at=np.arange(len(p)) * 2.0)
    service = fit_service(log)
    assert service.is_upper_bound
    assert service.envelope.is_determined  # by itself: three in ten may have met an equal load, the least there was


def test_drift_is_found_and_the_service_described_as_it_is_last() -> None:
    log = served("drift", contended_share=0.2)
    result = denoise(log)
    before, after = result.periods
    assert abs(before.num_requests - len(log) // 2) <= 20
    assert before.low < 1.25 < before.high
    assert after.level == pytest.approx(1.0, abs=0.02)
    np.testing.assert_allclose(coefficients(result.service)[0], TRUTH, rtol=0.05)
    assert result.service.notes[-1].startswith("the service changed, last on 2023-11-14 ")
    assert result.service.notes[-1].endswith(" UTC: fitted to what came after")
    assert result.contention.contended_share() == pytest.approx(0.2, abs=0.07)


def test_a_change_that_its_neighbour_explains_is_dropped() -> None:
    log = served("drift", contended_share=0.05, num_trials=6, seed=29)  # the search finds two places, near each other
    assert len(find_changes(log, fit_service(log))) == 1


def test_what_came_after_a_change_borrows_the_terms_it_does_not_identify() -> None:
    log = drifting(served(num_trials=16), at=280, before=1.4)
    log = log.where((np.arange(len(log)) < 280) | (log.output_tokens == 1))  # afterwards, answers of one token only
    result = denoise(log)
    assert result.service.notes[-1].endswith("earlier requests scaled to its level")
    np.testing.assert_allclose(coefficients(result.service)[0], TRUTH, rtol=0.08)


def test_a_busier_half_is_no_drift() -> None:
    log = served(contended_share=0.0, num_trials=8)
    rng = np.random.default_rng(0)
    busy = (np.arange(len(log)) > len(log) // 2) & (rng.random(len(log)) < 0.6)
    result = denoise(replace(log, seconds=log.seconds + busy * rng.exponential(0.5, len(log))))
    assert len(result.periods) == 1
    assert result.periods[0].level == pytest.approx(1.0, abs=0.02)


def test_levels_of_weeks() -> None:
    log = served("queue", contended_share=0.2, num_trials=6)
    two_weeks_apart = np.where(np.arange(len(log)) < len(log) // 2, 0.0, 14 * 86400.0)
    apart = replace(log, requested_at=log.requested_at + two_weeks_apart)
    result = denoise(drifting(apart, at=len(log) // 2, before=1.5))
    assert [week.num_requests for week in result.weeks] == [len(log) // 2, len(log) - len(log) // 2]
    assert [week.level for week in result.weeks] == pytest.approx([1.5, 1.0], rel=0.03)


def test_without_times_there_is_one_period_and_no_weeks() -> None:
    log = served(num_trials=4)
    result = denoise(replace(log, requested_at=np.full(len(log), np.nan)))
    assert len(result.periods) == 1
    assert result.weeks == ()


def test_long_logs_are_thinned() -> None:
    log = of_any_length(MAX_REQUESTS + 1000, output_tokens=8.0)
    result = denoise(replace(log, requested_at=np.full(len(log), np.nan)))
    assert len(result.log) == MAX_REQUESTS
    assert result.service.notes[-1] == "fitted to an even thinning, 2500 of 3500 requests"


def test_runs_that_repeat_each_other_are_resampled_whole() -> None:
    lengths = {"prompt_tokens": np.tile([10, 500], 40), "output_tokens": np.tile([1, 1, 9, 9], 20)}
    repeated = ServiceLog.of(**lengths, seconds=1.0, run=np.repeat(np.arange(10), 8))
    assert repeated.blocks().tolist() == np.repeat(np.arange(10), 8).tolist()
    different = ServiceLog.of(2.0 ** np.repeat(np.arange(1, 11), 8), 1, 1.0, run=np.repeat(np.arange(10), 8))
    assert different.blocks().tolist() == np.repeat(np.arange(40), 2).tolist()  # cube root of 8 neighbours


def test_waits_are_told_apart() -> None:
    log = served("retries", contended_share=0.3)
    contention = explain(log, fit_service(log))
    assert contention.share("retry") > 0.2
    assert contention.share("queue") < 0.1
    log = served("queue", contended_share=0.3)
    contention = explain(log, fit_service(log))
    assert contention.share("retry") < 0.05
    assert contention.share("queue") > 0.2
    assert contention.burstiness == pytest.approx(1.0, abs=0.5)
    log = served("bursts", contended_share=0.3)
    assert explain(log, fit_service(log)).burstiness > 3.0


def test_without_contention_there_are_no_bursts() -> None:
    log = served(contended_share=0.0, num_trials=3)
    contention = explain(log, fit_service(log))
    assert contention.contended_share() == 0.0
    assert contention.burstiness == 1.0


def test_openers_that_wait_are_cold_starts() -> None:
    log = served(contended_share=0.05)
    run = np.arange(len(log)) // 35
    opens = np.append(True, np.diff(run) > 0)
    cold = replace(log, run=run, seconds=log.seconds + 8.0 * opens)
    contention = explain(cold, fit_service(cold))
    assert (contention.kind[opens] == "cold start").all()
    assert contention.share("cold start") == pytest.approx(opens.mean())


def test_observed_over_denoised_is_a_distribution() -> None:
    log = served(contended_share=0.2)
    contention = explain(log, fit_service(log))
    quantiles = contention.ratio_quantiles()
    assert list(quantiles) == ["mean", "p5", "p25", "p50", "p75", "p95", "max"]
    assert quantiles["p5"] == pytest.approx(0.95, abs=0.03)
    assert quantiles["p50"] == pytest.approx(1.0, abs=0.03)
    assert quantiles["max"] == contention.ratio.max() > 2.0
    assert contention.contended_share() == pytest.approx(0.2, abs=0.07)
    assert contention.wait_s[contention.kind == "uncontended"].max() == 0.0


def test_provider_factor_is_a_ratio_of_totals() -> None:
    service = fit_service(served(contended_share=0.0))
    # prefill 0.1 s and 0.1 s a token: 0.1 + 0.1 · 3 = 0.4 s for 4 output tokens, 0.1 s for 1
    table = RuntimeCoefficients("linear", ((1, 0.1), (2048, 0.1)), 0.1, Domain(1, 2048, 1, 64), relative_error=0.03)
    idealized = total_s(table, [256, 256], [4, 1])
    assert tuple(idealized) == pytest.approx((0.5, 0.5 * np.exp(-np.arcsinh(0.03)), 0.5 * np.exp(np.arcsinh(0.03))))
    denoised = service.total_s([256, 256], [4, 1])
    factor = provider_factor(denoised, idealized)
    assert factor.value == pytest.approx(denoised.value / 0.5)
    # errors of both, in squares
    half = np.hypot(np.log(denoised.high / denoised.value), np.arcsinh(0.03))
    assert factor.high == pytest.approx(factor.value * np.exp(half))
    assert factor.low == pytest.approx(factor.value / np.exp(half))


def test_paper_minimum_takes_the_least_of_each_cell() -> None:
    cells = {(1, 1): 0.2, (1, 5): 0.6, (512, 1): 0.3, (512, 5): 0.7}
    p, o, seconds = np.array([(p, o, s + wait) for (p, o), s in cells.items() for wait in (0.5, 0.0, 3.0)]).T
    fit = paper_minimum(ServiceLog.of(p, o, seconds), "host/model")
    # alpha is T(p, 1); beta is (0.6 - 0.2) / 4 = 0.1
    assert dict(fit.coefficients.prefill_knots) == pytest.approx({1: 0.2, 512: 0.3})
    assert fit.coefficients.decode_s_per_token == pytest.approx(0.1)
    assert fit.stack == service_stack("host/model")
    assert fit.notes[-1] == "minimum over trials: lower with every further trial"
