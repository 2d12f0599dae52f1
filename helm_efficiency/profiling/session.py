"""Takes a profile cell by cell: which next, within which budget, every finished one kept at once.

A session knows nothing of models or endpoints: it asks a plan for the next cell, a timer for what came of it, and a
checkpoint to keep it. So it can be ended at any moment and go on from what the checkpoint holds.
"""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

from helm_efficiency.core.measurement import Measurement
from helm_efficiency.profiling.cells import Cell, CellResult
from helm_efficiency.profiling.checkpoint import Checkpoint

Timer = Callable[[Cell], CellResult]


class Plan(Protocol):
    """Says which cell to time next, from what came of the ones before."""

    def next_cell(self, results: Sequence[CellResult]) -> Cell | None:
        """The next cell; None when nothing is left to learn."""

    def expected_cells(self) -> int | None:
        """How many cells there will be in all, for a progress bar; None if that depends on what is measured."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """How a session ended.

    Attributes:
        results: All finished cells, those of earlier sessions included.
        new_cells: How many of them are new.
        elapsed_s: What the new ones took.
        finished: Whether the plan had nothing left; else the budget was spent.
    """

    results: tuple[CellResult, ...]
    new_cells: int
    elapsed_s: float
    finished: bool

    def measurements(self) -> tuple[Measurement, ...]:
        """Of all finished cells, in the order taken."""
        return tuple(m for result in self.results for m in result.measurements)

    def notes(self) -> tuple[str, ...]:
        """What a reader should know, one line for each cell that has something."""
        return tuple(f"{result.cell}: {result.note}" for result in self.results if result.note)


@dataclass(frozen=True, slots=True)
class FixedPlan:
    """Given cells in the given order, but none that reaches one for which there was no room."""

    cells: Sequence[Cell]

    def next_cell(self, results: Sequence[CellResult]) -> Cell | None:
        """The first cell that was not timed and may fit."""
        done = {result.cell for result in results}
        return next((cell for cell in self.cells if cell not in done and may_fit(cell, results)), None)

    def expected_cells(self) -> int | None:
        """All of them."""
        return len(self.cells)


def may_fit(cell: Cell, results: Sequence[CellResult]) -> bool:
    """Whether no cell ran out of memory that this one is at least as large as."""
    return not any(result.out_of_memory and cell.reaches(result.cell) for result in results)


def run_session(
    plan: Plan,
    timer: Timer,
    *,
    checkpoint: Checkpoint | None = None,
    budget_s: float | None = None,
    on_result: Callable[[CellResult], None] | None = None,
) -> Outcome:
    """Time one cell after the other until the plan is done or the budget is spent.

    Args:
        plan: Which cells.
        timer: Times one.
        checkpoint: Cells of earlier sessions, which are not timed again; every new one is appended at once.
        budget_s: No further cell is begun after this many seconds.
        on_result: Called with every new result.

    Returns:
        All results and how the session ended.
    """
    start = time.perf_counter()
    results = [] if checkpoint is None else list(checkpoint.results)
    before = len(results)
    while (cell := plan.next_cell(results)) is not None:
        if budget_s is not None and time.perf_counter() - start >= budget_s:
            break
        result = timer(cell)
        results.append(result)
        if checkpoint is not None:
            checkpoint.append(result)
        if on_result is not None:
            on_result(result)
    return Outcome(tuple(results), len(results) - before, time.perf_counter() - start, finished=cell is None)


def default_cells(max_tokens: int | None, *, batch_sizes: Sequence[int] = (1,)) -> list[Cell]:
    """A small grid that determines prefill, decode, and how decode grows with the context.

    Knots at powers of four from 1, where prefill bends, up to the model's context or 4,096 tokens; a longer output at
    both ends and in the middle, because one output length alone would leave decode undetermined, and one prompt length
    its growth. Batches are timed at the middle alone.

    Args:
        max_tokens: Positions of the model; None if it has no limit.
        batch_sizes: Rows in one forward pass; 1 is always among them.
    """
    longest = min(max_tokens or 4096, 4096)
    long_output = min(32, max(2, longest // 4))
    prompts = sorted({p for p in (1, 64, 256, 1024, 4096) if p + long_output <= longest} | {longest - long_output})
    middle = prompts[len(prompts) // 2]
    corners = [Cell(1, 1), Cell(prompts[-1], 1), Cell(middle, long_output)]
    cells = corners + [Cell(p, 1) for p in prompts] + [Cell(prompts[0], long_output), Cell(prompts[-1], long_output)]
    cells += [Cell(middle, o, batch) for batch in sorted(set(batch_sizes) - {1}) for o in (1, long_output)]
    return list(dict.fromkeys(cells))
