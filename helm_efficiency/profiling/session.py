"""Take a profile cell by cell within a budget, and keep every finished cell at once.

A session knows nothing of models or endpoints: it asks a plan for the next cell, a timer for its result, and a
checkpoint to keep the result. So it can be ended at any moment and resumed from the checkpoint.
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
OnResult = Callable[[CellResult], object]

_MOST_REFUSED = 3
"""Number of refused cells that ends a session. A target that refuses so many is broken, and each further cell may cost
half a minute of retries."""


@dataclass(frozen=True, slots=True)
class Limits:
    """Limits that end a session before its plan is done.

    Attributes:
        deadline: Value of `time.perf_counter` (s) after which no further cell is begun.
        max_cells: Largest number of cells in all, those of earlier sessions included.
    """

    deadline: float = math.inf
    max_cells: float = math.inf

    @classmethod
    def of_budget(cls, budget_s: float | None) -> Self:
        """Return a deadline `budget_s` seconds from now; None gives no deadline."""
        return cls() if budget_s is None else cls(time.perf_counter() + budget_s)

    def reached(self, num_cells: int) -> bool:
        """Return whether a limit is reached after `num_cells` cells, so that no further cell may begin."""
        return num_cells >= self.max_cells or time.perf_counter() >= self.deadline


class Plan(Protocol):
    """Plan that chooses the next cell to time from the results of the previous ones."""

    def next_cell(self, results: Sequence[CellResult]) -> Cell | None:
        """Return the next cell, or None if nothing is left to learn."""

    def expected_cells(self) -> int | None:
        """Return the number of cells in all, for a progress bar; None if it depends on what is measured."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """Outcome of a session.

    Attributes:
        results: All finished cells, those of earlier sessions included, then the refused ones of this session.
        new_cells: Number of cells that this session finished.
        elapsed_s: Time that this session took (s).
        finished: True if the plan had no cell left; otherwise a limit was reached, or cells were refused.
    """

    results: tuple[CellResult, ...]
    new_cells: int
    elapsed_s: float
    finished: bool

    def measurements(self) -> tuple[Measurement, ...]:
        """Return all measurements, in the order in which they were taken."""
        return tuple(m for result in self.results for m in result.measurements)

    def notes(self) -> tuple[str, ...]:
        """Return the notes for the reader, one line for each cell that has a note."""
        return tuple(f"{result.cell}: {result.note}" for result in self.results if result.note)


def run_session(
    plan: Plan,
    timer: Timer,
    *,
    checkpoint: Checkpoint | None = None,
    limits: Limits | None = None,
    on_result: OnResult | None = None,
) -> Outcome:
    """Time one cell after another until the plan is done or a limit is reached.

    Cells in the checkpoint are not timed again; every new one is appended to it at once.

    Returns:
        All results and how the session ended. A refused cell is included without a measurement; it is not kept, so that
        another session tries it again.

    Raises:
        ProfilingError: Not a single cell could be timed.
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
