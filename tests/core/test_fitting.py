"""Profiles -> coefficients: round trips, intervals, batches, notes, and the figures on the paper's logs."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from helm_efficiency import codec
from helm_efficiency.core.fitting.experiment_design import Cell, Design, MeasuredBelief, Requests, first_cells
from helm_efficiency.core.fitting.fit import Fit, fit_profile, fit_smallest_batch
from helm_efficiency.core.fitting.validation import folds, validate
from helm_efficiency.core.measurement import Measurement, Profile, Stack
from helm_efficiency.core.rules import PrefillRule, Protocol
from helm_efficiency.core.runtime_model import Domain, RuntimeCoefficients
from helm_efficiency.errors import InputError, InsufficientMeasurementsError
from helm_efficiency.formats.megatron import read_megatron_log
from helm_efficiency.formats.splitwise import read_splitwise_csv

STACK = Stack("x", "cpu")
PROMPTS = (1, 64, 128, 256, 384, 512, 768, 1024, 1536)


def made(noise: float = 0.0, *, seed: int = 0, prompts: tuple[int, ...] = PROMPTS, name: str = "a/b") -> Profile:
    """Prefill max(30 ms, 0.1 ms a token), decode 20 ms a token."""
    rng = np.random.default_rng(seed)
    cells = [(p, o, max(0.03, 1e-4 * p) + 0.02 * (o - 1)) for p in prompts for o in (1, 2, 8, 16, 64)]
    return Profile(name, STACK, tuple(Measurement(p, o, s * (1 + noise * rng.standard_normal())) for p, o, s in cells))


@pytest.fixture(scope="module")
def logs(data_dir: Path) -> list[Profile]:
    return [read_megatron_log(path) for path in sorted((data_dir / "megatron_logs").glob("*/*.log"))]


@pytest.mark.parametrize("rule", PrefillRule)
def test_every_rule_gives_a_fit_that_round_trips_and_meets_what_was_measured(rule: str) -> None:
    profile = replace(made(), source="here", versions={"torch": "2"}, resolution_s=0.001)
    fit = fit_profile(profile, rule=rule)
    assert codec.from_plain(codec.to_plain(fit), Fit) == fit
    assert (fit.coefficients.rule, fit.source, fit.versions, fit.profile_sha256) == (
        rule, "here", {"torch": "2"}, profile.sha256(),
    )  # fmt: skip
    assert fit.coefficients.domain == Domain(1, 1536, 1, 64, 1)
    predicted = fit.coefficients.predict(
        *np.array([(m.prompt_tokens, m.output_tokens) for m in profile.measurements]).T
    )
    measured = np.array([m.seconds for m in profile.measurements])
    np.testing.assert_allclose(predicted.seconds, measured, rtol=0.15 if rule.startswith("paper") else 0.06)
    assert predicted.in_domain.all()


def test_no_such_rule_and_nothing_to_fit() -> None:
    with pytest.raises(InputError, match="No rule 'cubic'"):
        fit_profile(made(), rule="cubic")
    with pytest.raises(InsufficientMeasurementsError, match="a/b on x: no measurements"):
        fit_profile(replace(made(), measurements=()))
    with pytest.raises(InsufficientMeasurementsError, match="a/b on x: Decode needs"):
        fit_profile(replace(made(), measurements=(Measurement(1, 1, 0.5),)))


def test_notes_say_what_was_left_at_zero_and_what_is_noisy() -> None:
    quiet, noisy = fit_profile(made()), fit_profile(made(0.05))
    assert quiet.notes[1:] == (
        "decode context term left at zero: the measurements do not identify it",
        "quadratic prefill term left at zero: the measurements do not identify it",
    )
    assert quiet.notes[0].startswith("prefill between knots: ")
    assert "noisy: cells stray" in noisy.notes[-1] and "repeat them" in noisy.notes[-1]


def test_intervals_widen_with_noise_and_outside_the_domain() -> None:
    quiet, noisy = fit_profile(made()).coefficients, fit_profile(made(0.05)).coefficients

    def width(coefficients: RuntimeCoefficients, p: int, o: int) -> float:
        predicted = coefficients.predict(p, o)
        return float((predicted.high_s - predicted.low_s) / predicted.seconds)

    assert width(noisy, 512, 16) > 3 * width(quiet, 512, 16)
    assert width(quiet, 4096, 1) > 3 * width(quiet, 1024, 1)
    assert width(quiet, 512, 4096) > 3 * width(quiet, 512, 64)
    assert not quiet.predict(4096, 1).in_domain and not quiet.predict(512, 65).in_domain


@pytest.mark.parametrize("seed", range(3))
def test_known_coefficients_are_recovered_within_their_intervals(seed: int) -> None:
    fit = fit_profile(made(0.02, seed=seed)).coefficients
    assert fit.decode_s_per_token == pytest.approx(0.02, rel=fit.decode_error + 0.005)
    prompts, outputs = np.array([(p, o) for p in PROMPTS for o in (1, 2, 8, 16, 64)]).T
    truth = np.maximum(0.03, 1e-4 * prompts) + 0.02 * (outputs - 1)
    predicted = fit.predict(prompts, outputs)
    assert np.mean((predicted.low_s <= truth) & (truth <= predicted.high_s)) >= 0.9


@given(p=st.integers(0, 5000), o=st.integers(1, 500))
def test_one_more_token_is_never_faster(p: int, o: int) -> None:
    coefficients = FITTED
    seconds = coefficients.predict([p, p + 1, p], [o, o, o + 1]).seconds
    assert seconds[0] <= seconds[1] + 1e-12 and seconds[0] <= seconds[2]


FITTED = fit_profile(made(0.02)).coefficients


def test_time_to_first_token_stands_in_for_one_output_token() -> None:
    measurements = [Measurement(p, 32, 1e-3 * p + 31 * 0.02, ttft_s=1e-3 * p) for p in (64, 256, 512)]
    lines = fit_smallest_batch(Profile("a/b", STACK, tuple(measurements)))
    np.testing.assert_allclose(lines.prefill_s, [0.064, 0.256, 0.512], rtol=1e-4)
    assert lines.decode_s_per_token == pytest.approx(0.02, rel=1e-4)


def test_batches_prefill_as_one_long_prompt_and_decode_at_their_own_pace() -> None:
    base = [Measurement(p, o, 1e-3 * p + 0.02 * (o - 1)) for p in (64, 128, 256, 512) for o in (1, 8)]
    batched = [Measurement(64, o, 0.9e-3 * 256 + 0.03 * (o - 1), batch_size=4) for o in (1, 8)]
    only_prefill = [Measurement(64, 1, 1e-3 * 512, batch_size=8)]
    only_long = [Measurement(32, 8, 1e-3 * 512 + 0.05 * 7, batch_size=16)]
    fit = fit_profile(Profile("a/b", STACK, (*base, *batched, *only_prefill, *only_long)), rule="linear").coefficients
    np.testing.assert_allclose(fit.batch_knots, [(1, 1, 0.02), (4, 0.9, 0.03), (8, 1, 0.02), (16, 1, 0.05)], rtol=1e-3)
    # batch 4: 0.9 * 256 ms + 2 * 30 ms; batch 2 is a third of the way there: factor 29/30, 23.3 ms a token
    seconds = fit.predict(64, 3, batch_size=[4, 2, 32]).seconds
    np.testing.assert_allclose(seconds[:2], [0.2304 + 0.06, 0.128 * 29 / 30 + 2 * 0.07 / 3], rtol=1e-3)
    assert seconds[2] == pytest.approx(2.048 + 2 * (0.05 + 16 * 0.03 / 8), rel=1e-3)
    assert fit.predict(64, 3, batch_size=[16, 17]).in_domain.tolist() == [True, False]


def test_splitwise_batches(data_dir: Path) -> None:
    """Its table has batches of 1 to 64 at 512 prompt tokens; the fit meets them."""
    for profile in read_splitwise_csv(data_dir / "latency" / "splitwise_perf_model.csv"):
        fit = fit_profile(profile)
        cells = profile.cells()
        prompts, outputs, batches = np.array(list(cells)).T
        measured = np.array([np.median([m.seconds for m in ms]) for ms in cells.values()])
        errors = np.abs(fit.coefficients.predict(prompts, outputs, batch_size=batches).seconds / measured - 1.0)
        assert errors.mean() < 0.04
        assert [b for b, _, _ in fit.coefficients.batch_knots] == [1, 2, 4, 8, 16, 32, 64]
        growth = fit.coefficients.decode_s_per_context_token * 8192 / fit.coefficients.decode_s_per_token
        assert growth < 0.2


def test_folds_hold_out_whole_prompt_lengths() -> None:
    for protocol, held_out in zip(
        Protocol, ([{p} for p in PROMPTS[1:-1]], [{64, 128, 384, 768}], [{1024, 1536}]), strict=True
    ):
        found = list(folds(made(), protocol))
        assert [{m.prompt_tokens for m in test.measurements} for _, test in found] == held_out
        for train, test in found:
            assert {*train.measurements, *test.measurements} == set(made().measurements)
            assert not {m.prompt_tokens for m in train.measurements} & {m.prompt_tokens for m in test.measurements}
    assert list(folds(made(prompts=(1, 256)), Protocol.leave_one_knot_out)) == []
    assert list(folds(made(prompts=(1, 256)), Protocol.few_knots)) == []


def test_validation_of_what_cannot_be_validated_is_empty() -> None:
    alone = replace(made(), measurements=(Measurement(1, 1, 0.5),))
    undetermined = Profile(
        "c/d", STACK, (Measurement(1, 1, 0.5), Measurement(8, 1, 0.5), Measurement(8, 2, 0.6), Measurement(16, 1, 0.5))
    )
    assert validate([alone]) == []
    assert validate([undetermined], protocols=["leave-one-knot-out"]) == []
    no_one_token = replace(made(), measurements=tuple(m for m in made().measurements if m.output_tokens > 1))
    scores = validate([no_one_token], protocols=["leave-one-knot-out"])
    assert [score.deployment for score in scores] == ["a/b", "mean"]
    assert np.isnan(scores[0].one_token_error_fraction) and scores[0].end_to_end_error_fraction < 0.05


# reference: the bars that this package set itself, on nine logs a generation; HELM's rule misses by 3-18 % end to end
BARS = {
    ("a100-80gb-megatron-fp16", "leave-one-knot-out"): (0.022, 0.008),
    ("a100-80gb-megatron-fp16", "few-knots"): (0.030, 0.010),
    ("a100-80gb-megatron-fp16", "extrapolation"): (0.050, 0.050),
    ("v100-32gb-megatron-fp16", "leave-one-knot-out"): (0.050, 0.033),
    ("v100-32gb-megatron-fp16", "few-knots"): (0.060, 0.034),
    ("v100-32gb-megatron-fp16", "extrapolation"): (0.080, 0.050),
}


def test_held_out_errors_and_coverage_on_the_papers_logs(logs: list[Profile]) -> None:
    means = [score for score in validate(logs) if score.deployment == "mean"]
    assert {(score.stack, score.protocol) for score in means} == set(BARS)
    for score in means:
        one_token, end_to_end = BARS[score.stack, score.protocol]
        assert score.one_token_error_fraction <= one_token
        assert score.end_to_end_error_fraction <= end_to_end
        if score.protocol == "extrapolation":
            assert score.coverage_fraction >= 0.87
        else:
            assert 0.87 <= score.coverage_fraction <= 0.93
        if score.stack.startswith("a100") and score.protocol != "extrapolation":
            assert score.half_width_fraction <= 0.04


def test_designed_profiling_of_the_a100_logs_is_cheap_and_honest(logs: list[Profile]) -> None:
    """2 % of mean error with half a percent of the authors' profiling time, stopped by the belief's own error."""
    shares, own, true = [], [], []
    for profile in (p for p in logs if p.stack.accelerator == "a100-80gb"):
        cells = {Cell(m.prompt_tokens, m.output_tokens): m for m in profile.measurements}
        prompts, outputs, _ = np.array(list(cells), dtype=np.float64).T
        seconds = np.array([m.seconds for m in cells.values()])
        chosen = first_cells(list(cells))
        belief = MeasuredBelief(replace(profile, measurements=tuple(cells[cell] for cell in chosen)))
        design = Design([c for c in cells if c.output_tokens in (1, 16)], Requests(prompts, outputs), 0.02)
        while cell := design.next_cell(belief, chosen):
            chosen.append(cell)
            belief = belief.updated([cells[cell]])
        shares.append(sum(cells[cell].seconds for cell in chosen) / seconds.sum())
        own.append(design.expected_error_fraction(belief))
        true.append(np.mean(np.abs(belief.predict(prompts, outputs).seconds / seconds - 1.0)))
    assert np.mean(true) <= 0.02 and np.mean(shares) <= 0.005
    assert np.mean(true) <= 1.3 * np.mean(own)


def test_a_design_ends_when_nothing_is_left_or_nothing_helps() -> None:
    belief = MeasuredBelief(made())
    requests = Requests([512], [16])
    assert Design([Cell(64, 1)], requests, 1e-9).next_cell(belief, [Cell(64, 1)]) is None
    assert Design([Cell(64, 1)], requests, 1.0).next_cell(belief) is None
    assert Design([Cell(600, 1)], requests, 1e-9).next_cell(belief) in (Cell(600, 1), None)


def test_a_batch_that_was_never_timed_is_worth_timing() -> None:
    design = Design([Cell(600, 1), Cell(64, 1, 8), Cell(64, 1, 2)], Requests([512, 512], [1, 1], [1, 8]), 0.02)
    belief = MeasuredBelief(made())
    cell = design.next_cell(belief)
    assert cell == Cell(64, 1, 8)
    after = belief.updated([Measurement(64, 1, 0.05, batch_size=8)])
    assert design.expected_error_fraction(after) < 0.5 * design.expected_error_fraction(belief)


def test_first_cells() -> None:
    candidates = [Cell(p, o) for p in (1, 64, 1920) for o in (1, 2, 8, 32)]
    assert first_cells(candidates) == [Cell(1, 1), Cell(1, 8), Cell(1920, 1)]
    with pytest.raises(InputError, match="one output token"):
        first_cells([Cell(1, 1), Cell(2, 8)])
