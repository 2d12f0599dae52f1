"""Notes of a leaderboard on left-out, mixed, repeated and missing data."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import numpy as np
import pandas as pd

from helm_efficiency.catalog.score_scales import ScoreKind, have_one_scale, score_scale
from helm_efficiency.metrics.quantities import number
from helm_efficiency.report.estimates import Estimates
from helm_efficiency.report.overall import shared_scenarios

ALL = "all scenarios"
_SHOWN = 3


@dataclass(frozen=True, slots=True)
class Note:
    """One sentence, and the scenario of the table that it belongs to (`ALL` for the table over all)."""

    scenario: str
    text: str


def table_notes(requests: pd.DataFrame, runs: pd.DataFrame) -> list[Note]:
    """Return notes on the tables themselves: repeated runs, several score names, reasons for missing numbers."""
    notes = []
    pairs = requests[["scenario", "deployment", "suite", "run"]].drop_duplicates()
    repeated = pairs.groupby(["scenario", "deployment"], observed=True).size()
    for row in repeated[repeated > 1].rename("count").reset_index().itertuples():
        text = f"{row.deployment} ran {row.scenario} {row.count} times: its numbers are means over these runs."
        notes.append(Note(str(row.scenario), text))
    names = sorted(runs["score_name"].dropna().unique())
    if len(names) > 1:
        notes.append(Note(ALL, _scores_text(names)))
    for reason, rows in runs[runs["reason"].notna()].groupby("reason", sort=True):
        names = sorted(map(str, rows["deployment"].dropna().unique()))
        whose = "" if len(names) == 1 and names[0] in str(reason) else f": {_some(names)}"
        notes.append(Note(ALL, f"{reason}{whose}."))
    return notes


def bill_notes(requests: pd.DataFrame, stack: str | None) -> list[Note]:
    """Return a note on the total dollars of all requests: by API, and of the accelerators of each stack."""
    first = requests.groupby(["suite", "run"], dropna=False, observed=True)["stack"].transform("first")
    each = requests[requests["stack"].eq(first) | first.isna()]  # a request is scored once for each stack
    told = []
    if each["api_usd"].notna().any():
        without = each["api_usd"].isna().sum()
        lacking = f" ({without:,} have no API price)" if without else ""
        told.append(f"${number(each['api_usd'].sum())} by API{lacking}")
    on_stack = requests if stack is None else requests[requests["stack"].eq(stack)]
    for name, rows in on_stack.groupby("stack", observed=True):
        if rows["idealized_usd"].notna().any():
            at_load = f" and ${number(rows['loaded_usd'].sum())} at load" if rows["loaded_usd"].notna().any() else ""
            told.append(f"${number(rows['idealized_usd'].sum())} alone{at_load} on {name}")
    names = requests["scenario"].unique()
    where = str(names[0]) if len(names) == 1 else ALL
    return [Note(where, f"All {len(each):,} requests cost {'; '.join(told)}.")] if told else []


def _scores_text(names: list[str]) -> str:
    """Return a sentence on how scores with several names are averaged."""
    if have_one_scale(names):
        return f"The score is a mean of different scores ({', '.join(names)}); the win rate does not mix them."
    without = [name for name in names if (scale := score_scale(name)) is None or scale.kind is ScoreKind.open]
    if without:
        return (
            f"There is no mean score over scores of different scales ({', '.join(names)}), as it is not known where "
            f"{_some(without)} ends. Compare by win rate, which does not mix them: --sort win_rate."
        )
    return (
        f"Scores of different scales ({', '.join(names)}) are mapped to 0 (worst) to 1 (best) for the mean over all; "
        "the win rate does not mix them."
    )


def comparison_notes(
    scenarios: Mapping[str, Estimates], overall: Estimates, names: list[str], *, common: bool
) -> list[Note]:
    """Return notes on the instances and scenarios that models are compared on.

    Args:
        scenarios: Estimates by scenario.
        overall: Estimates over all scenarios.
        names: Names of the models, in the order of the estimates.
        common: True if models are compared on the instances that all of them answered.
    """
    notes = [
        Note(scenario, text)
        for scenario, found in scenarios.items()
        if (text := _instances_text(found, names, common=common))
    ]
    if notes:
        what = "on fewer instances than some answered" if common else "on different instances"
        notes.append(Note(ALL, f"Models are compared {what} in {_some(note.scenario for note in notes)}."))
    if text := _scenarios_text(scenarios, overall, names, common=common):
        notes.append(Note(ALL, text))
    return notes


def _scenarios_text(
    scenarios: Mapping[str, Estimates], overall: Estimates, names: list[str], *, common: bool
) -> str | None:
    """Return a sentence on the scenarios that are compared over all, and on the models that are left out."""
    lacking = [
        f"{name} ({have} of {len(scenarios)})"
        for name, have in zip(names, overall.num_scenarios, strict=True)
        if have < len(scenarios)
    ]
    shared = shared_scenarios(list(scenarios.values()))
    if common and len(shared.scenarios) < len(scenarios):
        left_out = [text for text in lacking if text.rpartition(" (")[0] not in np.array(names)[shared.models]]
        text = f"Compared over all on {len(shared.scenarios)} of {len(scenarios)} scenarios, those " + (
            f"that {shared.models.sum()} models share" if shared.models.sum() > 1 else "of one model"
        )
        return f"{text}; left out: {_some(left_out)}." if left_out else f"{text}."
    if not lacking:
        return None
    what = "has no mean over all" if common else "is averaged over those it has"
    return f"Who lacks a scenario {what}: {_some(lacking)}."


def _instances_text(found: Estimates, names: list[str], *, common: bool) -> str | None:
    present = np.flatnonzero(found.num_answered)
    if not len(present):
        return "No model answered any instance."
    answered, compared = found.num_answered[present], found.num_instances[present]
    fewest, most = answered.min(), answered.max()
    strays = [f"{names[model]} ({found.num_answered[model]})" for model in present if not found.num_instances[model]]
    if common and strays and compared.max():
        return f"Left out, as they answered few of up to {most} instances: {_some(strays)}."
    if common and (answered != compared).any():
        moved = np.nan_to_num(np.abs(found.score_answered - found.values["score"]))
        return (
            f"Compared on the {compared[0]} instances that all {len(present)} models answered, of up to {most}; "
            f"{names[present[answered.argmin()]]} answered the fewest ({fewest}). "
            f"Over all that each answered, scores would differ by up to {moved.max():.3f} ({names[moved.argmax()]})."
        )
    if fewest < most:
        return f"Models answered different instances ({fewest} to {most}) and are compared all the same."
    return None


def _some(names: Iterable[str]) -> str:
    """Return the first few names, and how many more there are."""
    items = list(names)
    more = len(items) - _SHOWN
    return ", ".join(items[:_SHOWN]) + (f" and {more} more" if more > 0 else "")
