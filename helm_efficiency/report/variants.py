"""Separate the runs of one scenario that asked in different ways: they do not repeat each other."""

import pandas as pd

from helm_efficiency.report.notes import ALL, Note

_RUN = ["suite", "run"]


def with_variants(requests: pd.DataFrame, runs: pd.DataFrame) -> tuple[pd.DataFrame, list[Note]]:
    """Split a scenario by the settings of its requests, if one deployment was asked with several settings.

    HELM adapts prompts to models, so different models may be asked in different ways; these stay one scenario.

    Args:
        requests: Rows of the requests table.
        runs: Rows of the runs table.

    Returns:
        The requests, with the settings in the names of split scenarios, and a note for each split scenario.
    """
    each = runs.drop_duplicates(_RUN)[[*_RUN, "scenario", "deployment", "settings"]].fillna({"settings": ""})
    ways = each.groupby(["scenario", "deployment"], observed=True)["settings"].nunique()
    several = sorted(set(ways[ways > 1].index.get_level_values("scenario")))
    if not several:
        return requests, []
    notes, names = [], {}
    for scenario in several:
        its = each[each["scenario"] == scenario]
        pairs = [dict(pair.split("=", 1) for pair in text.split(",") if "=" in pair) for text in its["settings"]]
        differing = [
            key for key in dict.fromkeys(key for of in pairs for key in of) if len({of.get(key) for of in pairs}) > 1
        ]
        for run, of in zip(its[_RUN].itertuples(index=False, name=None), pairs, strict=True):
            names[run] = f"{scenario} [{', '.join(f'{key}={of[key]}' for key in differing if key in of) or 'default'}]"
        text = f"{scenario} was asked in several ways ({', '.join(differing)}), each of which is a scenario of its own."
        notes.append(Note(ALL, text))
    whose = zip(requests["suite"].astype(object), requests["run"].astype(object), requests["scenario"], strict=True)
    renamed = [names.get((suite, run), scenario) for suite, run, scenario in whose]
    return requests.assign(scenario=pd.Categorical(renamed)), notes
