"""Choose cells one after another by the design of experiments, and estimate the error that a profile leaves.

The design (core.design) asks at each step which cell would narrow the predictions most for each second that timing it
takes, and stops when its own estimate of the error is below the target. It needs scipy, which a bare machine may lack;
there a fixed grid is timed instead (`choice.CellChoice`).
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from helm_efficiency.core.fitting import experiment_design as design
from helm_efficiency.core.fitting.experiment_design import Design, MeasuredBelief, Requests, first_cells
from helm_efficiency.core.measurement import Profile, Stack, median_seconds
from helm_efficiency.errors import InsufficientMeasurementsError
from helm_efficiency.profiling.cells import Cell, CellResult
from helm_efficiency.profiling.plans import FixedPlan, may_fit

_LONGEST_PROMPT_TOKENS = 4096
_STEPS_PER_DOUBLING = 2
_MAX_DESIGNED_CELLS = 24


@dataclass(frozen=True, slots=True)
class AdaptivePlan:
    """Cells that the design asks for, then cells that are timed in any case.

    Attributes:
        candidates: Cells with a batch size of 1 that may be timed.
        last: Cells that are timed in any case, after the designed ones.
        target_error_fraction: Wanted mean error over the requests that the candidates span.
    """

    candidates: Sequence[Cell]
    last: Sequence[Cell]
    target_error_fraction: float

    def next_cell(self, results: Sequence[CellResult]) -> Cell | None:
        """Return the next cell, or None if the target is met or no further cell can help to meet it."""
        single = [result for result in results if result.cell in self.candidates]
        timed = {result.cell for result in single}
        possible = [cell for cell in self.candidates if cell in timed or may_fit(cell, results)]
        if not single or len(timed) < _MAX_DESIGNED_CELLS:
            cell = self._designed(possible, single)
            if cell is not None:
                return cell
        return FixedPlan(self.last).next_cell(results)

    def _designed(self, possible: Sequence[Cell], single: Sequence[CellResult]) -> Cell | None:
        """Return the next cell with a batch size of 1, or None if the design needs no more."""
        timed = [design.Cell(*result.cell[:2]) for result in single]
        candidates = [design.Cell(*cell[:2]) for cell in possible]
        for first in first_cells(candidates):
            if first not in timed:
                return Cell(*first)
        try:
            cell = wanted(candidates, self.target_error_fraction).next_cell(belief_of(single), timed)
        except InsufficientMeasurementsError:  # the device had no room for the cells that determine decode
            return None
        return None if cell is None else Cell(*cell)

    def expected_cells(self) -> int | None:
        """Return None: the number of cells depends on what is measured."""
        return None


def adaptive_plan(
    max_tokens: int | None, *, batch_sizes: Sequence[int] = (1,), target_error_fraction: float
) -> AdaptivePlan:
    """Return a plan for a model with `max_tokens` positions.

    Its prompts have 1 token up to the model's context or 4,096 tokens, its outputs 1 and 16 tokens. An output of
    64 tokens after the longest prompt comes last: it shows how decode grows with the context and how far predictions
    may go. Batches of a middle prompt follow it.
    """
    longest = min(max_tokens or _LONGEST_PROMPT_TOKENS, _LONGEST_PROMPT_TOKENS)
    output, long_output = min(16, max(2, longest // 8)), min(64, max(2, longest // 4))
    steps = np.arange(0.0, np.log2(longest - long_output), 1.0 / _STEPS_PER_DOUBLING)
    prompts = sorted({*np.unique(np.round(2.0**steps)).astype(int).tolist(), longest - long_output})
    middle = prompts[len(prompts) // 2]
    batches = [Cell(middle, o, batch) for batch in sorted(set(batch_sizes) - {1}) for o in (1, output)]
    candidates = [Cell(p, o) for p in prompts for o in (1, output)]
    return AdaptivePlan(candidates, [Cell(prompts[-1], long_output), *batches], target_error_fraction)


def belief_of(results: Sequence[CellResult]) -> MeasuredBelief:
    """Return the belief that the given cells with a batch size of 1 support."""
    measurements = tuple(m for result in results for m in result.measurements)
    return MeasuredBelief(Profile("being profiled", Stack("here", "here"), measurements))


def wanted(candidates: Sequence[design.Cell], target_error_fraction: float) -> Design:
    """Return a design for the requests that the candidates span, all with the same weight."""
    return Design(candidates, Requests(*np.array(candidates, dtype=np.float64).T), target_error_fraction)


def expected_error_fraction(results: Sequence[CellResult]) -> float | None:
    """Return the mean error expected of predictions from these cells over themselves; None if they do not suffice."""
    single = [result for result in results if result.cell.batch_size == 1 and result.measurements]
    if not single:
        return None
    cells = [design.Cell(*result.cell[:2]) for result in single]
    try:
        return wanted(cells, 0.0).expected_error_fraction(belief_of(single))
    except InsufficientMeasurementsError:
        return None


def drift_fraction(results: Sequence[CellResult]) -> float:
    """Return by which fraction a prompt was faster than a shorter one, at most; 0 on a machine that keeps its speed."""
    knots = sorted(
        (result.cell.prompt_tokens, median_seconds(result.measurements))
        for result in results
        if result.measurements and result.cell[1:] == (1, 1)
    )
    seconds = np.array([s for _, s in knots])
    return float(np.max(np.maximum.accumulate(seconds) / seconds - 1.0)) if len(seconds) else 0.0
