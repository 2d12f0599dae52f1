"""Takes a profile cell by cell: which next, within which budget, every finished one kept at once.

A session knows nothing of models or endpoints: it asks a plan for the next cell, a timer for what came of it, and a
checkpoint to keep it. So it can be ended at any moment and go on from what the checkpoint holds.
"""

import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol, Self

from helm_efficiency.core.measurement import Measurement
from helm_efficiency.errors import ProfilingError
from helm_efficiency.profiling.cells import BudgetSpentError, Cell, CellRefusedError, CellResult
from helm_efficiency.profiling.checkpoint import Checkpoint

Timer = Callable[[Cell], CellResult]
OnResult = Callable[[CellResult], None]

_MOST_REFUSED = 3
"""Cells; what refuses so many is broken, and each further one may cost half a minute of retries."""


@dataclass(frozen=True, slots=True)
class Limits:
    """When a session ends before its plan is done.

    Attributes:
        deadline: Reading of `time.perf_counter` after which no further cell is begun.
        max_cells: Cells in all, those of earlier sessions included.
    """

    deadline: float = math.inf
    max_cells: float = math.inf

    @classmethod
    def of_budget(cls, budget_s: float | None) -> Self:
        """A deadline so many seconds from now; none for None."""
        return cls() if budget_s is None else cls(time.perf_counter() + budget_s)

    def reached(self, num_cells: int) -> bool:
        """Whether no further cell is to be begun after so many."""
        return num_cells >= self.max_cells or time.perf_counter() >= self.deadline


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
        results: All finished cells, those of earlier sessions included, then the refused ones of this session.
        new_cells: How many of them are new.
        elapsed_s: What the new ones took.
        finished: Whether the plan had nothing left; else a limit was reached, or cells were refused.
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


def run_session(
    plan: Plan,
    timer: Timer,
    *,
    checkpoint: Checkpoint | None = None,
    limits: Limits | None = None,
    on_result: OnResult | None = None,
) -> Outcome:
    """Time one cell after the other until the plan is done or a limit is reached.

    Args:
        plan: Which cells.
        timer: Times one.
        checkpoint: Cells of earlier sessions, which are not timed again; every new one is appended at once.
        limits: When to end before the plan is done.
        on_result: Called with every new result.

    Returns:
        All results and how the session ended. A cell that was refused stands among them without a measurement; it is
        not kept, so that another session tries it again.

    Raises:
        ProfilingError: Nothing could be timed.
    """
    start, limits = time.perf_counter(), limits or Limits()
    results = [] if checkpoint is None else list(checkpoint.results)
    before = len(results)
    refused: list[CellResult] = []
    while (cell := plan.next_cell([*results, *refused])) is not None:
        if limits.reached(len(results)) or len(refused) == _MOST_REFUSED:
            break
        try:
            result = timer(cell)
        except CellRefusedError as error:
            refused.append(CellResult(cell, (), note=f"refused: {error}"))
            continue
        except BudgetSpentError as error:
            refused.append(CellResult(cell, (), note=str(error)))
            break
        results.append(result)
        if checkpoint is not None:
            checkpoint.append(result)
        if on_result is not None:
            on_result(result)
    if refused and not results:
        raise ProfilingError(refused[0].note)
    done = cell is None and not refused
    return Outcome((*results, *refused), len(results) - before, time.perf_counter() - start, finished=done)
