"""Leaderboards: capability and efficiency of every model, by scenario and over all, with intervals and ranks.

Models are compared on the instances that all of them answered, on one stack at a time. Whatever that leaves out is said
in the leaderboard's notes.
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pandas as pd

from helm_efficiency.core.pareto import front_probability, pareto_front
from helm_efficiency.core.resampling import interval, rank_intervals
from helm_efficiency.errors import InputError
from helm_efficiency.report.estimates import (
    Estimates,
    overall_estimates,
    resampling,
    scenario_estimates,
)
from helm_efficiency.report.measures import COSTS, MEASURES, QUANTITIES
from helm_efficiency.report.notes import ALL, Note, comparison_notes, table_notes
from helm_efficiency.report.tables import Tables

IDENTITY = ("scenario", "stack", "deployment", "model", "stack_detail", "tier", "score_name")
COUNTS = ("num_scenarios", "num_instances", "num_answered", "num_requests", "num_failed", "num_out_of_domain")

_STACK_COLUMNS = (
    "stack_detail",
    "tier",
    "idealized_s",
    "idealized_low_s",
    "idealized_high_s",
    "in_domain",
    "num_accelerators",
    "accelerator_s",
    "idealized_usd",
    "energy_j",
)
_MAX_DRAWN, _FEWEST_DRAWS = 2_000_000, 100


@dataclass(frozen=True, slots=True)
class Options:
    """What a leaderboard compares, and how.

    Attributes:
        by: What a row is: `deployment` or `model`.
        stack: Only this stack; None for a table each.
        sort: Measure to sort by.
        common: Compare on the instances that all models answered; else each model on those it answered.
        perturbed: Whether perturbed copies of instances count.
        lower_is_better: Direction of the score.
        num_draws: Bootstrap draws; fewer where there are thousands of models.
    """

    by: str = "deployment"
    stack: str | None = None
    sort: str = "score"
    common: bool = True
    perturbed: bool = False
    lower_is_better: bool = False
    num_draws: int = 1000


@dataclass(frozen=True)
class Leaderboard:
    """A leaderboard and what must be said beside it.

    Attributes:
        table: One row a stack, scenario and model, best first; see `build`.
        notes: What was left out, mixed or missing.
        options: How it was made, with the number of draws that were.
    """

    table: pd.DataFrame
    notes: tuple[Note, ...]
    options: Options

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


def build(tables: Tables, options: Options | None = None) -> Leaderboard:
    """Rank all models of scored tables.

    The table has the columns of `IDENTITY` and `COUNTS`, and for each measure M of `MEASURES`: `M`, `M_low`, `M_high`
    (90 % interval: instances drawn anew, and the error of the runtime's prediction), `M_known` (requests that the mean
    is over; instances for the score), `M_rank`, `M_rank_low`, `M_rank_high`; for each of `COSTS` also `M_front` and
    `M_front_probability`, of the front of M against the score. Missing is NaN.

    Raises:
        InputError: There is no such stack or measure.
    """
    options = options or Options()
    if options.sort not in MEASURES:
        raise InputError(f"Cannot sort by {options.sort!r}. Known measures: {', '.join(MEASURES)}.")
    requests = tables.requests
    if not options.perturbed:
        requests = requests[requests["perturbation"].fillna("") == ""]
    num_models = max(requests[options.by].nunique(), 1)
    options = replace(options, num_draws=max(_FEWEST_DRAWS, min(options.num_draws, _MAX_DRAWN // num_models)))
    parts: list[pd.DataFrame] = []
    notes = table_notes(requests, tables.runs)
    for stack, rows in _by_stack(requests, options.stack):
        part, part_notes = _stack_leaderboard(rows, options)
        parts.append(part.assign(stack=stack))
        notes += part_notes
    table = pd.concat(parts, ignore_index=True) if parts else _empty()
    return Leaderboard(table[list(_columns())], tuple(dict.fromkeys(notes)), options)


def _by_stack(requests: pd.DataFrame, stack: str | None) -> Iterator[tuple[str, pd.DataFrame]]:
    """For each stack the rows of every run: those on the stack, else any other's with the idealized numbers blanked."""
    stacks = sorted(requests["stack"].dropna().unique())
    if stack is not None and stack not in stacks:
        raise InputError(f"No request is scored on stack {stack!r}. There are: {', '.join(stacks) or 'none'}.")
    for name in [stack] if stack is not None else stacks or [""]:
        on_stack = requests["stack"] == name
        runs = requests.groupby(["suite", "run"], dropna=False, observed=True)
        has_some = on_stack.groupby(runs.ngroup()).transform("any")
        elsewhere = requests[~has_some]
        # one copy of each request: those of the stack that comes first, or of none
        first = elsewhere.groupby(["suite", "run"], dropna=False, observed=True)["stack"].transform("first")
        blank = elsewhere[(elsewhere["stack"] == first) | first.isna()]
        blank = blank.assign(**dict.fromkeys(_STACK_COLUMNS, None))
        yield name, requests[on_stack] if blank.empty else pd.concat([requests[on_stack], blank])


def _stack_leaderboard(requests: pd.DataFrame, options: Options) -> tuple[pd.DataFrame, list[Note]]:
    """All scenarios, and all of them together, on one stack."""
    codes, index = pd.factorize(requests[options.by].astype(str), sort=True)
    names = list(index)
    how = resampling(
        len(names), num_draws=options.num_draws, common=options.common, lower_is_better=options.lower_is_better
    )
    by_scenario = requests.reset_index(drop=True).groupby("scenario", observed=True, sort=True).indices
    estimates: dict[str, Estimates] = {}
    parts: list[pd.DataFrame] = []
    for scenario, rows in by_scenario.items():
        of_scenario = requests.iloc[rows]
        estimates[str(scenario)] = found = scenario_estimates(of_scenario, codes[rows], len(names), how)
        parts.append(_rows(str(scenario), found, _identity(of_scenario, names, options.by), options))
    if not estimates:
        return _empty(), []
    overall = overall_estimates(estimates.values(), common=options.common)
    parts.insert(0, _rows(ALL, overall, _identity(requests, names, options.by), options))
    return pd.concat(parts, ignore_index=True), comparison_notes(estimates, overall, names, common=options.common)


def _identity(requests: pd.DataFrame, names: list[str], by: str) -> pd.DataFrame:
    """Who each model is and how much of it is doubtful, in order of `names`; NaN for those without any request."""
    row_name = requests[by].astype(str)
    identity = {
        "num_failed": requests["success"].eq(False).groupby(row_name).sum(),
        "num_out_of_domain": requests["in_domain"].eq(False).groupby(row_name).sum(),
        by: pd.Series(names, names),
    }
    for column in ("deployment", "model", "stack_detail", "tier", "score_name"):
        if column != by:
            pairs = requests[[by, column]].drop_duplicates().dropna().astype(str).sort_values([by, column])
            identity[column] = pairs.groupby(by)[column].agg(" + ".join)
    return pd.DataFrame(identity).reindex(names)


def _rows(scenario: str, found: Estimates, identity: pd.DataFrame, options: Options) -> pd.DataFrame:
    """One row for each model that was asked anything, best first."""
    columns: dict[str, Any] = {
        "scenario": scenario,
        **{name: getattr(found, name) for name in COUNTS if hasattr(found, name)},
        **_measure_columns(found, options),
    }
    table = pd.concat([identity.reset_index(drop=True), pd.DataFrame(columns)], axis=1)
    table = table[identity["num_failed"].notna().to_numpy()].astype(dict.fromkeys(COUNTS, "int64"))
    return table.sort_values([f"{options.sort}_rank", options.by], na_position="last")


def _measure_columns(found: Estimates, options: Options) -> dict[str, Any]:
    columns: dict[str, Any] = {}
    score_sign = -1.0 if options.lower_is_better else 1.0
    for name, measure in MEASURES.items():
        value, draws = found.values[name], found.draws[name]
        higher = bool(measure.higher_is_better) and not (name == "score" and options.lower_is_better)
        ranks = rank_intervals(value, draws, higher_is_better=higher)
        columns[name] = value
        columns[f"{name}_low"], columns[f"{name}_high"] = interval(draws)
        if name in found.known:
            columns[f"{name}_known"] = found.known[name]
        columns[f"{name}_rank"], columns[f"{name}_rank_low"], columns[f"{name}_rank_high"] = (
            ranks.rank,
            ranks.low,
            ranks.high,
        )
        if name in COSTS:
            points = np.column_stack([value, score_sign * found.values["score"]])
            columns[f"{name}_front"] = pareto_front(points, maximize=[False, True])
            columns[f"{name}_front_probability"] = front_probability(draws, score_sign * found.draws["score"])
    return columns


def _columns() -> Iterator[str]:
    """All columns in order."""
    yield from IDENTITY
    yield from COUNTS
    for name in MEASURES:
        yield from (name, f"{name}_low", f"{name}_high")
        if name in QUANTITIES or name == "score":
            yield f"{name}_known"
        yield from (f"{name}_rank", f"{name}_rank_low", f"{name}_rank_high")
        if name in COSTS:
            yield from (f"{name}_front", f"{name}_front_probability")


def _empty() -> pd.DataFrame:
    return pd.DataFrame({name: pd.Series(dtype=object if name in IDENTITY else float) for name in _columns()})
