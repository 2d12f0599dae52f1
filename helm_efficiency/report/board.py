"""The parts of a leaderboard: options, rows, notes."""

from collections.abc import Mapping
from dataclasses import dataclass, field

import pandas as pd

from helm_efficiency.errors import printable
from helm_efficiency.report.draws import StackDraws
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
    "num_at_todays_price",
)


@dataclass(frozen=True, slots=True)
class Options:
    """Options of a leaderboard.

    Attributes:
        by: Subject of a row: `deployment` or `model`.
        stack: Only stack to show; None for one table per stack.
        sort: Measure to sort by.
        common: True to compare on the instances that all models answered; False to compare each model on its own ones.
        perturbed: True to count perturbed copies of instances.
        all_splits: True to count instances of all splits; False to count only those of the test split if a scenario has
            one, as on HELM's own leaderboards.
        lower_is_better: Direction of the score.
        num_draws: Number of bootstrap draws; fewer are made for thousands of models.
        keep_draws: True to keep draws and coefficients in the leaderboard, for the HTML page to answer questions.

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
    keep_draws: bool = False


@dataclass(frozen=True, repr=False)
class Leaderboard:
    """A leaderboard and its notes.

    Attributes:
        table: One row for each stack, scenario and model, best first; see `build`.
        notes: Notes on left-out, mixed or missing data.
        options: Options that the leaderboard was made with, with the actual number of draws.
        draws: Name of the draws that the intervals come from.
        source: Provenance of the numbers; see `Tables`.
        kept: Draws and coefficients by stack; empty unless the options ask for them.

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
    kept: Mapping[str, StackDraws] = field(default_factory=dict)

    def part(self, scenario: str = ALL, stack: str | None = None) -> pd.DataFrame:
        """Return the rows of one scenario (by default of all together) and one stack (by default the first)."""
        table = self.table[self.table["scenario"] == scenario]
        if stack is None and len(table):
            stack = str(table["stack"].iloc[0])
        return table[table["stack"] == stack].reset_index(drop=True)

    def __repr__(self) -> str:
        """Return one line: how much is compared, and on what."""
        models, stacks = self.table[self.options.by].nunique(), ", ".join(filter(None, self.stacks)) or "no stack"
        return f"<Leaderboard of {models} models on {len(self.scenarios)} scenarios, idealized on {stacks}>"

    def _repr_html_(self) -> str:
        """Return the first table as HTML, for notebooks."""
        from markupsafe import Markup

        from helm_efficiency.report.display import display

        table = display(self, scenario=self.scenarios[0] if len(self.scenarios) == 1 else ALL)
        head = Markup("").join(Markup("<th>{}</th>").format(printable(heading)) for heading in table.headings)
        rows = [Markup("").join(Markup("<td>{}</td>").format(printable(cell)) for cell in row) for row in table.rows]
        body = Markup("").join(Markup("<tr>{}</tr>").format(row) for row in rows)
        small = Markup("<br>").join(map(printable, (*table.legend, *table.notes)))
        page = Markup("<table><caption>{}</caption><tr>{}</tr>{}</table><small>{}</small>")
        return str(page.format(printable(table.title), head, body, small))

    @property
    def scenarios(self) -> list[str]:
        """Names of the scenarios, without the row over all."""
        return [name for name in self.table["scenario"].drop_duplicates() if name != ALL]

    @property
    def stacks(self) -> list[str]:
        """Names of the stacks; one empty name if nothing was idealized."""
        return list(self.table["stack"].drop_duplicates())
