"""What a leaderboard is: options, rows, notes."""

from dataclasses import dataclass

import pandas as pd

from helm_efficiency.report.notes import ALL, Note
from helm_efficiency.version import __version__

IDENTITY = ("scenario", "stack", "deployment", "model", "stack_detail", "tier", "score_name")
COUNTS = (
    "num_scenarios",
    "num_instances",
    "num_answered",
    "num_requests",
    "num_failed",
    "num_out_of_domain",
    "num_doubtful",
)


@dataclass(frozen=True, slots=True)
class Options:
    """What a leaderboard compares, and how.

    Attributes:
        by: What a row is: `deployment` or `model`.
        stack: Only this stack; None for a table each.
        sort: Measure to sort by.
        common: Compare on the instances that all models answered; else each model on those it answered.
        perturbed: Whether perturbed copies of instances count.
        all_splits: Whether instances of all splits count; else only those of the test split, where a scenario has one,
            as on HELM's own leaderboards.
        lower_is_better: Direction of the score.
        num_draws: Bootstrap draws; fewer where there are thousands of models.

    Example:
        >>> from helm_efficiency import LeaderboardOptions, build_leaderboard, load_tables
        >>> board = build_leaderboard(load_tables("scored"), LeaderboardOptions(sort="idealized_s"))
        >>> board.part()["deployment"][0]
        'huggingface/Meta-Llama-3-8B'
    """

    by: str = "deployment"
    stack: str | None = None
    sort: str = "score"
    common: bool = True
    perturbed: bool = False
    all_splits: bool = False
    lower_is_better: bool = False
    num_draws: int = 1000


@dataclass(frozen=True)
class Leaderboard:
    """A leaderboard and what must be said beside it.

    Attributes:
        table: One row a stack, scenario and model, best first; see `build`.
        notes: What was left out, mixed or missing.
        options: How it was made, with the number of draws that were.
        draws: What the intervals come from.
        source: What a number is traced back by; see `Tables`.

    Example:
        >>> from helm_efficiency import build_leaderboard, load_tables
        >>> board = build_leaderboard(load_tables("scored"))
        >>> board.part().loc[:1, ["score", "idealized_s"]].round(2).to_numpy().tolist()
        [[0.55, 1.66], [0.53, 0.23]]
    """

    table: pd.DataFrame
    notes: tuple[Note, ...]
    options: Options
    draws: str = "paired bootstrap draws"
    source: str = f"helm-efficiency {__version__}"

    def part(self, scenario: str = ALL, stack: str | None = None) -> pd.DataFrame:
        """The rows of one scenario (by default of all together) and stack (by default the first)."""
        table = self.table[self.table["scenario"] == scenario]
        if stack is None and len(table):
            stack = str(table["stack"].iloc[0])
        return table[table["stack"] == stack].reset_index(drop=True)

    @property
    def scenarios(self) -> list[str]:
        """Names of the scenarios, without the row over all."""
        return [name for name in self.table["scenario"].drop_duplicates() if name != ALL]

    @property
    def stacks(self) -> list[str]:
        """Names of the stacks; one empty name where nothing was idealized."""
        return list(self.table["stack"].drop_duplicates())
