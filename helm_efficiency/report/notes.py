"""What must be said beside a leaderboard: left out, mixed, repeated, missing. One sentence each."""

from collections.abc import Iterable, Mapping

import numpy as np
import pandas as pd

from helm_efficiency.report.estimates import Estimates

_SHOWN = 3


def table_notes(requests: pd.DataFrame, runs: pd.DataFrame) -> list[str]:
    """Notes on the tables themselves: repeated runs, scores of several names, reasons for missing numbers."""
    notes = []
    pairs = requests[["scenario", "deployment", "suite", "run"]].drop_duplicates()
    repeated = pairs.groupby(["scenario", "deployment"], observed=True).size()
    for row in repeated[repeated > 1].rename("count").reset_index().itertuples():
        notes.append(f"{row.deployment} ran {row.scenario} {row.count} times: its numbers are means over these runs.")
    names = sorted(runs["score_name"].dropna().unique())
    if len(names) > 1:
        notes.append(
            f"Over all scenarios the score is a mean of different scores ({', '.join(names)}); "
            "the win rate does not mix them."
        )
    for reason, rows in runs[runs["reason"].notna()].groupby("reason", sort=True):
        notes.append(f"{reason}: {_some(sorted(rows['deployment'].dropna().unique()))}.")
    return notes


def comparison_notes(
    scenarios: Mapping[str, Estimates], overall: Estimates, names: list[str], *, common: bool
) -> list[str]:
    """Notes on what models are compared on."""
    notes = []
    for scenario, found in scenarios.items():
        notes += _instance_notes(scenario, found, names, common=common)
    incomplete = overall.num_scenarios < len(scenarios)
    if incomplete.any():
        who = _some(
            f"{name} ({have} of {len(scenarios)})"
            for name, have, lacks in zip(names, overall.num_scenarios, incomplete, strict=True)
            if lacks
        )
        what = "has no mean over all scenarios" if common else "is averaged over the scenarios it has"
        notes.append(f"Whoever lacks a scenario {what}: {who}.")
    return notes


def _instance_notes(scenario: str, found: Estimates, names: list[str], *, common: bool) -> list[str]:
    present = found.num_answered > 0
    answered = found.num_answered[present]
    if not present.any():
        return [f"{scenario}: no model answered any instance."]
    compared = found.num_instances[present]
    if common and (answered != compared).any():
        fewest = int(np.argmin(np.where(present, found.num_answered, np.iinfo(np.int64).max)))
        return [
            f"{scenario}: compared on the {compared[0]} instances that all {present.sum()} models answered, of up to "
            f"{answered.max()}; {names[fewest]} answered the fewest ({answered.min()})."
        ]
    if not common and (answered != answered[0]).any():
        return [
            f"{scenario}: models answered different instances ({answered.min()} to {answered.max()}), "
            "and are compared all the same."
        ]
    return []


def _some(names: Iterable[str]) -> str:
    """The first few, and how many more."""
    items = list(names)
    more = len(items) - _SHOWN
    return ", ".join(items[:_SHOWN]) + (f" and {more} more" if more > 0 else "")
