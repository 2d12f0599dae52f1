"""Cells are chosen by the design of experiments, and there is an end to it."""

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest

from helm_efficiency.core.measurement import Measurement
from helm_efficiency.profiling.adaptive import (
    adaptive_plan,
    belief_of,
    drift_fraction,
    expected_error_fraction,
    wanted,
)
from helm_efficiency.profiling.cells import Cell, CellResult
from helm_efficiency.profiling.choice import CellChoice
from helm_efficiency.profiling.plans import FixedPlan, default_cells
from helm_efficiency.profiling.session import run_session

Seconds = Callable[[int, int], float]


def timer(seconds: Seconds, *, noise: float = 0.003) -> Callable[[Cell], CellResult]:
    """Three repetitions of a known truth, with noise."""
    generator = np.random.default_rng(0)

    def time(cell: Cell) -> CellResult:
        truth = seconds(cell.prompt_tokens, cell.output_tokens)
        factors = 1.0 + noise * generator.standard_normal(3)
        timed = tuple(Measurement(*cell[:2], truth * factor, batch_size=cell.batch_size) for factor in factors)
        return CellResult(cell, timed, spread_fraction=noise)

    return time


def busy_from_300_tokens(p: int, o: int) -> float:
    """Flat while the device is not busy, then in proportion, as on an accelerator."""
    return max(0.020, 0.020 * p / 300) + 0.018 * (o - 1)


def attention(p: int, o: int) -> float:
    """Long prompts cost more than in proportion, and each token of context something."""
    return 0.01 + 1e-4 * p + 1e-8 * p * p + (0.01 + 1e-6 * p) * (o - 1)


@pytest.mark.parametrize("seconds", [busy_from_300_tokens, attention])
def test_a_few_cells_predict_the_others(seconds: Seconds) -> None:
    plan = adaptive_plan(4096, batch_sizes=(1, 4), target_error_fraction=0.02)
    outcome = run_session(plan, timer(seconds))
    assert outcome.finished and 6 <= len(outcome.results) <= 27 < len(plan.candidates)
    longest, *batches = (result.cell for result in outcome.results[-3:])
    assert longest == Cell(4032, 64) and [cell.batch_size for cell in batches] == [4, 4]
    single = [result for result in outcome.results if result.cell.batch_size == 1]
    prompts, outputs = np.array([cell[:2] for cell in plan.candidates]).T
    predicted = belief_of(single).predict(prompts, outputs).seconds
    truth = np.array([seconds(int(p), int(o)) for p, o in zip(prompts, outputs, strict=True)])
    assert np.mean(np.abs(predicted / truth - 1)) < 0.03
    expected = expected_error_fraction(outcome.results)
    assert expected is not None and expected < 0.05


def test_what_does_not_fit_is_left_out_and_the_rest_is_designed() -> None:
    def time(cell: Cell) -> CellResult:
        return replace(timer(attention)(cell), measurements=(), too_large=True) if cell[0] > 700 else fits(cell)

    fits = timer(attention)
    outcome = run_session(adaptive_plan(4096, target_error_fraction=0.02), time)
    assert outcome.finished
    assert sum(result.too_large for result in outcome.results) <= 6, "down from 4,096 in half doublings"
    assert max(m.prompt_tokens for m in outcome.measurements()) > 256


def test_a_machine_that_drifts_is_told() -> None:
    results = [timer(attention)(Cell(p, 1)) for p in (1, 64, 256)]
    assert drift_fraction(results) == 0.0 and drift_fraction([]) == 0.0
    slow = timer(lambda p, o: 3 * attention(p, o), noise=0.0)(Cell(64, 1))  # 0.0492 s, longer than 256 tokens take
    fast = timer(attention, noise=0.0)(Cell(256, 1))  # 0.01 + 0.0256 + 0.00065536 = 0.03625536 s
    assert drift_fraction([slow, fast]) == pytest.approx(3 * 0.01644096 / 0.03625536 - 1)


def test_noise_that_leaves_a_cell_no_time_is_doubted_and_designed_around() -> None:
    """As on a machine that stood still for a second now and then: the fit gives the shortest prompt 0 s."""
    noisy = {
        (4, 1): [0.4389, 1.3002, 1.2983, 2.3949],
        (16, 1): [0.0111, 0.0277],
        (4, 3): [0.708, 0.1358],
        (16, 3): [0.6337, 0.6024, 0.5999, 0.4577],
    }
    results = [CellResult(Cell(*cell), tuple(Measurement(*cell, s) for s in timed)) for cell, timed in noisy.items()]
    expected = expected_error_fraction(results)
    assert expected is not None and 0.5 < expected < 100
    design = wanted([Cell(p, o) for p in (4, 8, 16, 64) for o in (1, 3)], 0.02)  # type: ignore[misc]
    belief = belief_of(results)
    assert belief.predict([4], [1]).seconds[0] == 0
    assert design.next_cell(belief, [Cell(16, 3)]) is not None  # type: ignore[list-item]


@pytest.mark.parametrize("max_tokens", [8, 64, 100, 2048, 131072, None])
def test_candidates_fit_any_context(max_tokens: int | None) -> None:
    plan = adaptive_plan(max_tokens, batch_sizes=(1, 8), target_error_fraction=0.02)
    assert len(set(plan.candidates)) == len(plan.candidates)
    assert all(p + o <= (max_tokens or 4096) for p, o, _ in [*plan.candidates, *plan.last])
    assert run_session(plan, timer(attention)).finished


def test_one_output_length_is_not_enough_to_expect_an_error() -> None:
    assert expected_error_fraction([]) is None
    assert expected_error_fraction([timer(attention)(Cell(p, 1)) for p in (1, 64, 256)]) is None


def test_a_machine_without_scipy_times_a_fixed_grid(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("helm_efficiency.profiling.choice.find_spec", lambda name: None)
    assert CellChoice().plan(2048) == FixedPlan(default_cells(2048))
