"""Plans of cells to time: a given list in its order, grids, and a small default grid."""

from collections.abc import Sequence
from dataclasses import dataclass

from helm_efficiency.profiling.cells import Cell, CellResult


@dataclass(frozen=True, slots=True)
class FixedPlan:
    """Plan of given cells in the given order; it skips cells at least as large as one that was too large."""

    cells: Sequence[Cell]

    def next_cell(self, results: Sequence[CellResult]) -> Cell | None:
        """Return the first cell that was not timed and may fit, or None."""
        done = {result.cell for result in results}
        return next((cell for cell in self.cells if cell not in done and may_fit(cell, results)), None)

    def expected_cells(self) -> int | None:
        """Return the number of given cells."""
        return len(self.cells)


def may_fit(cell: Cell, results: Sequence[CellResult]) -> bool:
    """Return whether a cell may fit: it is not at least as large as one that was too large."""
    return not any(result.too_large and cell.reaches(result.cell) for result in results)


def grid_cells(
    prompt_tokens: Sequence[int], output_tokens: Sequence[int], batch_sizes: Sequence[int] = (1,)
) -> list[Cell]:
    """Return every combination of lengths and batch sizes, smaller batches and shorter outputs first.

    >>> [str(cell) for cell in grid_cells([8, 64], [1, 4])]
    ['p=8 o=1', 'p=64 o=1', 'p=8 o=4', 'p=64 o=4']
    """
    return [Cell(p, o, batch) for batch in batch_sizes for o in output_tokens for p in prompt_tokens]


def default_cells(max_tokens: int | None, *, batch_sizes: Sequence[int] = (1,)) -> list[Cell]:
    """Return a small grid that determines prefill, decode, and how decode grows with the context.

    Prompt lengths go up to the model's context or 4,096 tokens, at powers of four from 1, where prefill bends. A longer
    output is timed at both ends and in the middle: one output length alone would leave decode undetermined, and one
    prompt length its growth. Batches are timed at the middle alone.

    Args:
        max_tokens: Number of positions of the model; None if it has no limit.
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
