"""Where a profile is least certain, and the next cell to time there.

Between two measured prompt lengths, prefill is read off a straight line. How far that is off shows at the knots one
has: leave one out, read it off the line between its neighbours, and compare. The error there is that of an interval as
wide as both of its neighbours together; a narrower one is taken to be less uncertain in proportion, which holds at a
kink and is cautious elsewhere. What repetitions differ by, and what a machine drifts by between cells (a longer prompt
that was measured faster than a shorter one tells), is not an error that another cell would mend, and is taken off.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from helm_efficiency.profiling.cells import Cell, CellResult
from helm_efficiency.profiling.plans import FixedPlan, may_fit

_MIN_GAP_TOKENS = 8
_MAX_ADDED_CELLS = 12


class Doubt(NamedTuple):
    """An interval between measured prompt lengths, and how far prefill may be off within it."""

    low_tokens: int
    high_tokens: int
    error_fraction: float


@dataclass(frozen=True, slots=True)
class AdaptivePlan:
    """A small grid first, then the middle of the least certain interval, until none is as uncertain as the target.

    Attributes:
        start: Cells that are timed in any case, in this order.
        target_error_fraction: Wanted error of prefill between knots.
    """

    start: Sequence[Cell]
    target_error_fraction: float

    def next_cell(self, results: Sequence[CellResult]) -> Cell | None:
        """The next cell; None when the target is met, or nothing more can be done about it."""
        first = FixedPlan(self.start).next_cell(results)
        if first is not None or len(results) >= len(self.start) + _MAX_ADDED_CELLS:
            return first
        for doubt in least_certain(results):
            if doubt.error_fraction <= self.target_error_fraction:
                return None
            cell = Cell(_between(doubt.low_tokens, doubt.high_tokens), 1)
            if doubt.high_tokens - doubt.low_tokens >= _MIN_GAP_TOKENS and may_fit(cell, results):
                return cell
        return None

    def expected_cells(self) -> int | None:
        """It depends on what is measured."""
        return None


class _Knots(NamedTuple):
    """Measured prefill: prompt lengths, seconds, and the relative error of these; ascending."""

    prompt_tokens: NDArray[np.float64]
    seconds: NDArray[np.float64]
    spread_fraction: NDArray[np.float64]


def least_certain(results: Sequence[CellResult]) -> list[Doubt]:
    """Intervals between knots (batch 1, one output token), the most uncertain first; none with fewer than 3 knots."""
    p, seconds, spread = _knots(results)
    if len(p) < 3:
        return []
    read_off = seconds[:-2] + (seconds[2:] - seconds[:-2]) * (p[1:-1] - p[:-2]) / (p[2:] - p[:-2])
    off = np.abs(read_off / seconds[1:-1] - 1.0) - spread[1:-1] - drift_fraction(results)
    per_token = np.maximum(off, 0.0) / (p[2:] - p[:-2])
    # An interval has a knot that was left out at either end, the first and the last only at one.
    steepest = np.maximum(np.append(per_token, 0.0), np.insert(per_token, 0, 0.0))
    doubts = [
        Doubt(int(low), int(high), float(slope * (high - low)))
        for low, high, slope in zip(p[:-1], p[1:], steepest, strict=True)
    ]
    return sorted(doubts, key=lambda doubt: -doubt.error_fraction)


def drift_fraction(results: Sequence[CellResult]) -> float:
    """By how much a prompt was measured faster than a shorter one, at most; 0 on a machine that keeps its speed."""
    _, seconds, _ = _knots(results)
    return float(np.max(np.maximum.accumulate(seconds) / seconds - 1.0)) if len(seconds) else 0.0


def _knots(results: Sequence[CellResult]) -> _Knots:
    knots = sorted(
        (
            float(result.cell.prompt_tokens),
            float(np.median([m.seconds for m in result.measurements])),
            result.spread_fraction if np.isfinite(result.spread_fraction) else 0.0,
        )
        for result in results
        if result.measurements and result.cell[1:] == (1, 1)
    )
    return _Knots(*np.array(knots, dtype=np.float64).reshape(-1, 3).T)


def _between(low: int, high: int) -> int:
    """The geometric middle: prefill bends on the scale of its own length."""
    return min(max(round(math.sqrt(low * high)), low + 1), high - 1)
