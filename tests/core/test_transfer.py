"""The transfer model on the paper's logs: models, degrees and stacks it did not see; and on data of known terms."""

import dataclasses
from functools import cache
from pathlib import Path

import numpy as np
import pytest

from helm_efficiency import codec
from helm_efficiency.catalog.accelerators import spec_of_stack
from helm_efficiency.core.measurement import Measurement, Profile, Stack
from helm_efficiency.core.transfer.architecture import Architecture
from helm_efficiency.core.transfer.model import ALONE, Parallel, TransferModel, fit_transfer
from helm_efficiency.core.transfer.roofline import AcceleratorSpec
from helm_efficiency.core.transfer.terms import TERM_NAMES, Terms, pass_s, prefill_s, priors
from helm_efficiency.core.transfer.validation import LeftOut, leave_one_out
from helm_efficiency.core.transfer.workload import pass_work
from helm_efficiency.errors import InputError, InsufficientMeasurementsError
from helm_efficiency.formats.megatron import read_megatron_log

YALM = "together/yalm"
SPEC = AcceleratorSpec(312e12, 2.039e12, 300e9, 108)
STACK = Stack("made-up", "a100-80gb", engine="megatron", dtype="fp16")


@cache
def profiles(folder: Path) -> tuple[Profile, ...]:
    return tuple(read_megatron_log(path) for path in sorted(folder.glob("*.log")))


@cache
def left_out(folder: Path) -> tuple[LeftOut, ...]:
    return tuple(leave_one_out(profiles(folder), spec_of_stack(profiles(folder)[0].stack)))


def parallel(profile: Profile) -> Parallel:
    return Parallel(profile.stack.tensor_parallel, profile.stack.pipeline_parallel)


def mean_error(model: TransferModel, profile: Profile, measured: tuple[tuple[int, int], ...] = ()) -> float:
    """Mean absolute error on all cells of a profile, with some of its own cells given."""
    assert profile.architecture is not None
    known = [m for m in profile.measurements if (m.prompt_tokens, m.output_tokens) in measured]
    fit = model.fit(profile.architecture, parallel(profile), measurements=known)
    p, o, seconds = np.array([(m.prompt_tokens, m.output_tokens, m.seconds) for m in profile.measurements]).T
    return float(np.mean(np.abs(fit.coefficients.predict(p, o).seconds / seconds - 1.0)))


@pytest.mark.parametrize(("name", "end_to_end", "first_token"), [("a100", 0.025, 0.045), ("v100", 0.07, 0.10)])
def test_a_model_that_was_left_out_is_predicted(
    data_dir: Path, name: str, end_to_end: float, first_token: float
) -> None:
    rows = [row for row in left_out(data_dir / "megatron_logs" / name) if row.deployment != YALM]
    assert len(rows) == 8
    assert np.mean([row.error_fraction for row in rows]) < end_to_end
    assert np.mean([row.first_token_error_fraction or np.inf for row in rows]) < first_token


@pytest.mark.parametrize("name", ["a100", "v100"])
def test_the_interval_holds_for_a_new_model(data_dir: Path, name: str) -> None:
    rows = left_out(data_dir / "megatron_logs" / name)
    assert np.mean([row.covered_fraction for row in rows]) > 0.88
    if name == "a100":
        ordinary = [row.half_width_fraction for row in rows if row.deployment != YALM]
        assert np.mean(ordinary) < 0.08
        assert min(row.covered_fraction for row in rows) > 0.85  # the widest model and the misaligned one included


def test_one_measured_cell_sharpens_to_two_percent(data_dir: Path) -> None:
    all_profiles = profiles(data_dir / "megatron_logs" / "a100")
    before, after = [], []
    for profile in all_profiles[::2]:
        model = fit_transfer([other for other in all_profiles if other is not profile], SPEC)
        before.append(mean_error(model, profile))
        after.append(mean_error(model, profile, ((512, 16),)))
    assert np.mean(after) < min(0.02, np.mean(before))


def test_an_unseen_parallel_degree_and_what_one_model_of_it_adds(data_dir: Path) -> None:
    all_profiles = [p for p in profiles(data_dir / "megatron_logs" / "a100") if p.deployment != YALM]
    first, *others = [p for p in all_profiles if p.stack.tensor_parallel == 1]
    split = [p for p in all_profiles if p.stack.tensor_parallel > 1]
    unseen, anchored = fit_transfer(split, SPEC), fit_transfer([*split, first], SPEC)
    without, with_one = (np.mean([mean_error(model, profile) for profile in others]) for model in (unseen, anchored))
    assert with_one < 0.025 < without < 0.06


def test_few_models_leave_the_terms_sane_and_the_interval_wide(data_dir: Path) -> None:
    first, second, *others = (p for p in profiles(data_dir / "megatron_logs" / "a100") if p.deployment != YALM)
    prior = priors("megatron", SPEC)
    half_widths = []
    for known in ([], [first], [first, second]):
        model = fit_transfer(known, SPEC, stack=first.stack)
        shifts = {name: np.log(getattr(model.terms, name) / prior[name].median) for name in TERM_NAMES}
        assert all(abs(shift) < 2.5 * prior[name].log_sd for name, shift in shifts.items())
        assert others[0].architecture is not None
        predicted = model.predict(others[0].architecture, parallel(others[0]), prompt_tokens=512, output_tokens=32)
        half_widths.append(float((predicted.high_s - predicted.low_s) / 2 / predicted.seconds))
    assert half_widths[0] > half_widths[1] > half_widths[2] > 0.05
    assert max(mean_error(model, profile) for profile in others) < 0.10


def _made_up(architecture: Architecture, terms: Terms, parallel: Parallel = ALONE) -> Profile:
    """A profile whose seconds are the formula's own, with known terms."""
    stack = dataclasses.replace(
        STACK,
        num_accelerators=parallel.tensor * parallel.pipeline,
        tensor_parallel=parallel.tensor,
        pipeline_parallel=parallel.pipeline,
    )
    p = np.array([1.0, 64.0, 512.0, 1024.0, 2048.0])
    prompt = pass_work(architecture, stack, SPEC, new_tokens=p, context_tokens=p)
    step = pass_work(architecture, stack, SPEC, new_tokens=1.0, context_tokens=p + 32 / 2)
    first_s, step_s = prefill_s(prompt, stack, SPEC, terms, p), pass_s(step, stack, SPEC, terms)
    cells = [Measurement(int(n), 1, float(s)) for n, s in zip(p, first_s, strict=True)]
    cells += [Measurement(int(n), 32, float(a + 31 * b)) for n, a, b in zip(p, first_s, step_s, strict=True)]
    return Profile(architecture.name, stack, tuple(cells), architecture)


SMALL = Architecture("small", 24, 2048, 16, 16, 128, 8192, 50000)
MIDDLE = Architecture("middle", 32, 4096, 32, 32, 128, 16384, 50000)
WIDE = Architecture("wide", 40, 8192, 64, 8, 128, 28672, 50000, gated_ffn=True)


def test_known_terms_are_recovered_and_an_unseen_model_predicted_exactly() -> None:
    prior = priors("megatron", SPEC)
    truth = Terms(*(prior[name].median for name in TERM_NAMES))
    truth = dataclasses.replace(truth, launch_s_per_layer=0.3e-3, bandwidth_fraction=0.85, flop_fraction=0.8)
    known = [_made_up(SMALL, truth), _made_up(WIDE, truth), _made_up(MIDDLE, truth, Parallel(2))]
    model = fit_transfer(known, SPEC)
    assert model.terms.launch_s_per_layer == pytest.approx(0.3e-3, rel=0.02)
    assert model.terms.bandwidth_fraction == pytest.approx(0.85, rel=0.05)
    assert model.terms.flop_fraction == pytest.approx(0.8, rel=0.05)
    unseen = _made_up(MIDDLE, truth)
    predicted = model.predict(
        MIDDLE,
        prompt_tokens=[m.prompt_tokens for m in unseen.measurements],
        output_tokens=[m.output_tokens for m in unseen.measurements],
    )
    assert predicted.seconds == pytest.approx([m.seconds for m in unseen.measurements], rel=0.02)


def test_batches_take_longer_than_one_request_and_less_than_one_after_the_other() -> None:
    model = fit_transfer([], SPEC, stack=STACK)
    one, many = (
        float(model.predict(MIDDLE, prompt_tokens=256, output_tokens=64, batch_size=b).seconds) for b in (1, 32)
    )
    assert one < many < 32 * one
    kept = model.fit(MIDDLE).coefficients
    assert kept.predict(256, 64, batch_size=1).seconds == pytest.approx(one)
    assert kept.predict(256, 64, batch_size=32).seconds == pytest.approx(many, rel=0.1)


def test_a_fit_says_where_it_comes_from_and_round_trips() -> None:
    truth = Terms(*(term.median for term in priors("megatron", SPEC).values()))
    model = fit_transfer([_made_up(SMALL, truth), _made_up(MIDDLE, truth)], SPEC)
    mixture = dataclasses.replace(WIDE, num_experts=8, num_active_experts=2, excluded="vision tower")
    fit = model.fit(mixture, Parallel(4), deployment="me/wide", measurements=[Measurement(64, 1, 0.5)])
    assert (fit.deployment, fit.tier, fit.stack.num_accelerators) == ("me/wide", "transferred", 4)
    assert fit.notes == (
        "transferred from 2 profiled models",
        "sharpened by 1 measured cell of its own",
        "no profiled model was split 4 ways (known: 1)",
        "no profiled model has a gated feed-forward network or experts or grouped queries",
        "without its vision tower",
    )
    assert codec.from_plain(codec.to_plain(fit), type(fit)) == fit
    assert fit.coefficients.decode_error > model.fit(MIDDLE).coefficients.decode_error > 0


def test_nothing_measured_is_the_roofline_tier() -> None:
    model = fit_transfer([], SPEC, stack=dataclasses.replace(STACK, engine="vllm"))
    assert model.tier == "roofline"
    assert model.fit(MIDDLE).notes[0] == "roofline from the datasheet alone"
    eager = fit_transfer([], SPEC, stack=STACK)
    assert (
        eager.predict(SMALL, prompt_tokens=1, output_tokens=64).seconds
        > 2 * model.predict(SMALL, prompt_tokens=1, output_tokens=64).seconds
    )


def test_guessed_hardware_is_learned_from_profiles() -> None:
    truth = Terms(*(term.median for term in priors("transformers-eager", SPEC).values()))
    cpu = AcceleratorSpec(4e11, 8e9, is_datasheet=False)
    guess = AcceleratorSpec(1e11, 2e10, node_size=1, is_datasheet=False)
    stack = Stack("cpu", "cpu", engine="transformers-eager", dtype="fp32")
    made = []
    for architecture in (
        SMALL,
        dataclasses.replace(SMALL, name="tiny", num_layers=6, hidden_size=512, num_heads=4, num_kv_heads=4),
    ):
        cells = []
        for p in (1, 128, 512):
            work = pass_work(architecture, stack, cpu, new_tokens=p, context_tokens=p)
            step = pass_work(architecture, stack, cpu, new_tokens=1, context_tokens=p + 8)
            first = float(prefill_s(work, stack, cpu, truth, np.array([float(p)]))[0])
            cells.append(Measurement(p, 1, first))
            cells.append(Measurement(p, 16, first + 15 * float(pass_s(step, stack, cpu, truth)[0])))
        made.append(Profile(architecture.name, stack, tuple(cells), architecture))
    model = fit_transfer(made, guess)
    wanted = prefill_s(
        pass_work(MIDDLE, stack, cpu, new_tokens=256, context_tokens=256), stack, cpu, truth, np.array([256.0])
    )
    assert model.predict(MIDDLE, prompt_tokens=256, output_tokens=1).seconds == pytest.approx(wanted[0], rel=0.1)


def test_impossible_requests_are_refused() -> None:
    profile = _made_up(SMALL, Terms(*(term.median for term in priors("megatron", SPEC).values())))
    other = dataclasses.replace(profile, stack=dataclasses.replace(profile.stack, name="another"))
    with pytest.raises(InputError, match=r"Profiles of several stacks \(another, made-up\)"):
        fit_transfer([profile, other], SPEC)
    with pytest.raises(InputError, match="does not say which architecture"):
        fit_transfer([dataclasses.replace(profile, architecture=None)], SPEC)
    with pytest.raises(InputError, match="stack has to be named"):
        fit_transfer([], SPEC)
    with pytest.raises(InputError, match="link between them is not known"):
        fit_transfer([profile], dataclasses.replace(SPEC, link_bytes_per_s=0.0)).fit(WIDE, Parallel(2))
    with pytest.raises(InsufficientMeasurementsError, match="at least two profiles"):
        leave_one_out([profile], SPEC)


def test_without_first_tokens_their_error_is_missing() -> None:
    truth = Terms(*(term.median for term in priors("megatron", SPEC).values()))
    made = [_made_up(architecture, truth) for architecture in (SMALL, MIDDLE)]
    longer = [
        dataclasses.replace(p, measurements=tuple(m for m in p.measurements if m.output_tokens > 1)) for p in made
    ]
    assert [row.first_token_error_fraction for row in leave_one_out(longer, SPEC)] == [None, None]


def test_the_interval_without_others_is_as_wide_as_the_misfit() -> None:
    truth = Terms(*(term.median for term in priors("megatron", SPEC).values()))
    clean = _made_up(SMALL, truth)
    noise = np.random.default_rng(0).lognormal(0.0, 0.3, len(clean.measurements))
    cells = [dataclasses.replace(m, seconds=m.seconds * f) for m, f in zip(clean.measurements, noise, strict=True)]
    noisy = dataclasses.replace(clean, measurements=tuple(cells))
    assert fit_transfer([], SPEC, stack=STACK).effects == pytest.approx((0.04, 0.04, 0.04, 0.02))
    effects, clean_effects = (fit_transfer([profile], SPEC).effects for profile in (noisy, clean))
    assert sum(effects) > 0.2 > 0.14 == pytest.approx(sum(clean_effects))
    guessed = dataclasses.replace(SPEC, is_datasheet=False)
    assert fit_transfer([], guessed, stack=STACK).effects == pytest.approx((0.12, 0.12, 0.12, 0.06))


def test_eager_engine_is_slower_with_quantized_weights_than_the_bytes_say() -> None:
    # LLM-Perf leaderboard, Llama 2 7B, bitsandbytes, batch 1: on an A10 64 ms a token in 4 bits, 113 ms in 8
    llama = Architecture("llama-2-7b", 32, 4096, 32, 32, 128, 11008, 32000, gated_ffn=True)
    a100 = AcceleratorSpec(312e12, 2.039e12, 300e9, 108)
    token_s = {}
    for dtype in ("bf16", "int8", "int4"):
        stack = Stack("eager", "a100-80gb", engine="transformers-eager", dtype=dtype)
        model = fit_transfer([], a100, stack=stack)
        token_s[dtype] = model.fit(llama, Parallel(1, 1)).coefficients.decode_s_per_token
    assert token_s["bf16"] < token_s["int4"] < token_s["int8"]
    assert token_s["int8"] == pytest.approx(0.095, rel=0.3) and 0.04 < token_s["int4"] < 0.12
