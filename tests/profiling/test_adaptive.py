"""The next cell is where prefill is least certain, and there is an end to it."""

from collections.abc import Callable

import numpy as np
import pytest

from helm_efficiency.core.measurement import Measurement
from helm_efficiency.profiling.adaptive import AdaptivePlan, drift_fraction, least_certain
from helm_efficiency.profiling.cells import Cell, CellResult
from helm_efficiency.profiling.plans import default_cells
from helm_efficiency.profiling.session import run_session


def timer(prefill_s: Callable[[int], float]) -> Callable[[Cell], CellResult]:
    def time(cell: Cell) -> CellResult:
        seconds = prefill_s(cell.prompt_tokens) + 0.01 * (cell.output_tokens - 1)
        return CellResult(cell, (Measurement(*cell[:2], seconds),), spread_fraction=0.001)

    return time


def kinked(p: int) -> float:
    """Flat while the device is not busy, then in proportion, as on an accelerator."""
    return max(0.020, 0.020 * p / 300)


def quadratic(p: int) -> float:
    """Attention over a long prompt."""
    return 0.01 + 1e-4 * p + 1e-7 * p * p


@pytest.mark.parametrize("prefill_s", [kinked, quadratic])
def test_cells_are_added_until_interpolation_is_as_good_as_wanted(prefill_s: Callable[[int], float]) -> None:
    start = default_cells(4096)
    outcome = run_session(AdaptivePlan(start, 0.02), timer(prefill_s))
    assert outcome.finished and len(start) < len(outcome.results) <= len(start) + 12
    knots = sorted(
        (r.cell.prompt_tokens, r.measurements[0].seconds) for r in outcome.results if r.cell.output_tokens == 1
    )
    p = np.arange(1, knots[-1][0])
    truth = np.array([prefill_s(int(tokens)) for tokens in p])
    error = np.abs(np.interp(p, *zip(*knots, strict=True)) / truth - 1)
    before = [(tokens, prefill_s(tokens)) for tokens in sorted({cell.prompt_tokens for cell in start})]
    error_before = np.abs(np.interp(p, *zip(*before, strict=True)) / truth - 1)
    assert error.max() < 0.05 and error.max() < error_before.max() / 4 and error.mean() < 0.01


def test_the_added_cells_lie_where_prefill_bends() -> None:
    start = default_cells(4096)
    outcome = run_session(AdaptivePlan(start, 0.02), timer(kinked))
    added = [result.cell.prompt_tokens for result in outcome.results[len(start) :]]
    assert all(64 < p < 1024 for p in added[:3]), "the kink is at 300"


def test_a_straight_line_needs_no_more_cells() -> None:
    start = default_cells(4096)
    outcome = run_session(AdaptivePlan(start, 0.02), timer(lambda p: 0.01 + 1e-4 * p))
    assert [result.cell for result in outcome.results] == start and outcome.finished


def test_a_machine_that_drifts_is_not_chased() -> None:
    start = default_cells(4096)
    slower = run_session(AdaptivePlan(start, 0.02), timer(lambda p: 0.5 if p == 64 else 0.01 + 1e-4 * p))
    assert drift_fraction(slower.results) == pytest.approx(0.5 / 0.0356 - 1)
    assert len(slower.results) == len(start), "0.5 s at 64 tokens and 0.04 s at 256 is no bend of prefill"


def test_few_knots_tell_nothing() -> None:
    assert least_certain([]) == [] and drift_fraction([]) == 0.0
    assert least_certain([timer(kinked)(Cell(p, 1)) for p in (1, 2)]) == []
