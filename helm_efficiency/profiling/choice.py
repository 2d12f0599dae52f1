"""Turn the user's choice of prompt and output lengths into a profiling plan."""

from dataclasses import dataclass
from importlib.util import find_spec

from helm_efficiency.profiling.cells import Cell
from helm_efficiency.profiling.plans import FixedPlan, default_cells, grid_cells
from helm_efficiency.profiling.session import Plan


@dataclass(frozen=True, slots=True)
class CellChoice:
    """Choice of the cells of a model to time.

    Attributes:
        prompt_tokens: Prompt lengths; empty to choose them by the remaining uncertainty.
        output_tokens: Output lengths.
        batch_sizes: Rows in one forward pass.
        cells: Exact cells to time, in this order; they replace the combinations of lengths and batch sizes.
        target_error_fraction: Wanted mean error of predictions, used if prompt lengths are empty.
    """

    prompt_tokens: tuple[int, ...] = ()
    output_tokens: tuple[int, ...] = (1, 32)
    batch_sizes: tuple[int, ...] = (1,)
    cells: tuple[Cell, ...] = ()
    target_error_fraction: float = 0.02

    def longest(self) -> int:
        """Return the tokens of the longest request that may be asked for."""
        chosen = max((*self.prompt_tokens, 4096)) + max(self.output_tokens)
        return max([chosen, *(cell.prompt_tokens + cell.output_tokens for cell in self.cells)])

    def plan(self, max_tokens: int | None) -> Plan:
        """Return a plan for a model with `max_tokens` positions, None for a model without a limit."""
        if not self.prompt_tokens and not self.cells:
            if find_spec("scipy") is None:
                return FixedPlan(default_cells(max_tokens, batch_sizes=self.batch_sizes))
            from helm_efficiency.profiling.adaptive import adaptive_plan

            return adaptive_plan(
                max_tokens, batch_sizes=self.batch_sizes, target_error_fraction=self.target_error_fraction
            )
        cells = self.cells or grid_cells(self.prompt_tokens, self.output_tokens, self.batch_sizes)
        return FixedPlan([cell for cell in cells if cell.prompt_tokens + cell.output_tokens <= (max_tokens or 10**9)])
