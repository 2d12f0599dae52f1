"""Turn the estimates of each scenario into those over all: choose the compared models and scenarios, and average."""

from collections.abc import Iterable, Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from helm_efficiency.catalog.score_scales import counts_correct_answers, on_one_scale
from helm_efficiency.core.arrays import FloatArray
from helm_efficiency.core.cost_per_correct import AnswerMoments
from helm_efficiency.metrics.measures import PER_CORRECT
from helm_efficiency.report.estimates import Estimates, ratio, ratios


class SharedScenarios(NamedTuple):
    """Scenarios and models that are compared over all scenarios.

    Attributes:
        scenarios: Indices of the compared scenarios.
        models: Flags of the compared models, shape (M,).
    """

    scenarios: npt.NDArray[np.intp]
    models: npt.NDArray[np.bool_]


def shared_scenarios(parts: Sequence[Estimates]) -> SharedScenarios:
    """Return the largest choice of models and scenarios in which all of these models have all of these scenarios.

    Models are taken from the most complete one on, as many as maximize the number of models times scenarios. So one run
    of a stray model leaves that model out, and not the scenarios that it lacks.
    """
    has = np.array([part.num_instances > 0 for part in parts])
    order = np.argsort(-has.sum(axis=0), kind="stable")
    of_first = np.logical_and.accumulate(has[:, order], axis=1)  # scenarios that the first models all have
    sizes = of_first.sum(axis=0) * np.arange(1, len(order) + 1)
    number = len(order) - int(np.argmax(sizes[::-1]))
    models = np.zeros(len(order), dtype=bool)
    models[order[:number]] = True
    scenarios = np.flatnonzero(of_first[:, number - 1])
    return SharedScenarios(scenarios if len(scenarios) else np.arange(len(parts)), models)


def overall_estimates(scenarios: Iterable[Estimates], *, common: bool) -> Estimates:
    """Return the mean over scenarios; each scenario counts the same.

    Scores of different scales are first mapped to 0 (worst) to 1 (best). If the catalog does not know a scale, the mean
    score is missing.

    Args:
        scenarios: Estimates of at least one scenario.
        common: True to compare on the scenarios that all models except stray ones share; False to compare each model on
            its own scenarios.
    """
    parts = list(scenarios)
    all_parts = parts
    shared = shared_scenarios(parts) if common else SharedScenarios(np.arange(len(parts)), parts[0].num_instances >= 0)
    parts = [parts[index] for index in shared.scenarios]

    def mean(columns: list[FloatArray]) -> FloatArray:
        return np.where(shared.models, _mean(columns), np.nan) if common else _mean_of_known(columns)

    names = tuple(sorted({name for part in parts for name in part.score_names}))
    comparable = on_one_scale(names)
    tables = []
    for name in ("values", "draws"):
        columns = [getattr(part, name) for part in parts]
        table = {key: mean([column[key] for column in columns]) for key in columns[0]}
        table["score"] = mean([comparable(part.score_names, getattr(part, name)["score"]) for part in parts])
        if names and not counts_correct_answers(names):
            table |= {f"{name}_correct": np.full_like(table["score"], np.nan) for name in PER_CORRECT}
        table["win_rate"] = _mean_of_known([column["win_rate"] for column in columns])
        tables.append(table | ratios(table))
    totals = {
        name: np.sum([getattr(part, name) for part in some], axis=0)
        for name, some in (
            ("num_requests", parts),
            ("num_instances", parts),
            ("num_answered", all_parts),
            ("num_scenarios", all_parts),
        )
    }
    moments = {
        name: AnswerMoments.mean_of([part.moments[name] for part in parts], skip_missing=not common)
        for name in parts[0].moments
    }
    return Estimates(
        tables[0],
        tables[1],
        {key: np.sum([part.known[key] for part in parts], axis=0) for key in parts[0].known},
        mean([comparable(part.score_names, part.score_answered) for part in parts]),
        moments,
        **totals,
        score_names=names,
        lower_is_better=all(part.lower_is_better for part in parts),
    )


def _mean(parts: list[FloatArray]) -> FloatArray:
    result: FloatArray = np.sum(parts, axis=0) / len(parts)
    return result


def _mean_of_known(parts: list[FloatArray]) -> FloatArray:
    known = np.sum([~np.isnan(part) for part in parts], axis=0)
    return ratio(np.sum([np.nan_to_num(part, nan=0, posinf=np.inf) for part in parts], axis=0), known.astype(float))
