"""Turn estimates into the rows of a leaderboard, with intervals, ranks and fronts.

For each measure M of `MEASURES` that was estimated, a table has `M`, `M_low`, `M_high` (90 % interval), `M_known`
(number of requests in the mean; instances for the score), `M_rank`, `M_rank_low` and `M_rank_high`. For each of `COSTS`
it also has `M_front` and `M_front_probability`, of the front of M against the score. `score_answered` is the mean score
over all instances that a model answered, compared or not. Missing numbers are NaN.
"""

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import numpy as np
import pandas as pd

from helm_efficiency.core.bootstrap import interval, rank_intervals
from helm_efficiency.core.pareto import front_probability, pareto_front
from helm_efficiency.metrics.measures import COSTS, MEASURES, QUANTITIES
from helm_efficiency.report.board import COUNTS, IDENTITY, Options
from helm_efficiency.report.estimates import Estimates
from helm_efficiency.report.notes import ALL
from helm_efficiency.report.overall import overall_estimates


def stack_rows(
    estimates: Mapping[str, Estimates], identities: Mapping[str, pd.DataFrame], options: Options
) -> tuple[pd.DataFrame, Estimates]:
    """Return the rows of all scenarios together, then of each.

    Args:
        estimates: Estimates by scenario, at least one, of the same models in the same order.
        identities: Tables by scenario and for `ALL`, with one row for each model in that order. Their columns are those
            of `IDENTITY` except scenario and stack, and `num_failed`, `num_out_of_domain`, `num_doubtful`
            and `num_at_todays_price`; NaN for a model without any request.
        options: Options of the leaderboard.

    Returns:
        The rows, best first within each scenario, and the estimates over all scenarios.
    """
    overall = overall_estimates(estimates.values(), common=options.common)
    parts = [_rows(name, found, identities[name], options) for name, found in estimates.items()]
    # with a single scenario, its rows are those over all
    of_all = _rows(ALL, overall, identities[ALL], options) if len(parts) > 1 else parts[0].assign(scenario=ALL)
    return pd.concat([of_all, *parts], ignore_index=True), overall


def _rows(scenario: str, found: Estimates, identity: pd.DataFrame, options: Options) -> pd.DataFrame:
    """Return one row for each model with any request, best first."""
    columns: dict[str, Any] = {
        "scenario": scenario,
        **{name: getattr(found, name) for name in COUNTS if hasattr(found, name)},
        **_measure_columns(found, lower_is_better=options.lower_is_better or found.lower_is_better),
    }
    table = pd.concat([identity.reset_index(drop=True), pd.DataFrame(columns)], axis=1)
    table = table[identity["num_failed"].notna().to_numpy()].astype(dict.fromkeys(COUNTS, "int64"))
    return table.sort_values([f"{options.sort}_rank", options.by], na_position="last")


def _measure_columns(found: Estimates, *, lower_is_better: bool) -> dict[str, Any]:
    columns: dict[str, Any] = {"score_answered": found.score_answered}
    score_sign = -1.0 if lower_is_better else 1.0
    for name in found.values.keys() & MEASURES.keys():
        value, draws = found.values[name], found.draws[name]
        higher = bool(MEASURES[name].higher_is_better) and not (name == "score" and lower_is_better)
        ranks = rank_intervals(value, draws, higher_is_better=higher)
        columns[name] = value
        quantity = name.removesuffix("_per_correct")
        is_cost_of_correct = quantity != name and quantity in found.moments
        ends = found.cost_interval(quantity) if is_cost_of_correct else interval(draws)
        columns[f"{name}_low"], columns[f"{name}_high"] = ends
        if name in found.known:
            columns[f"{name}_known"] = found.known[name]
        columns[f"{name}_rank"], columns[f"{name}_rank_low"], columns[f"{name}_rank_high"] = (
            ranks.rank,
            ranks.low,
            ranks.high,
        )
        if name in COSTS:
            columns |= _front_columns(name, found, score_sign)
    return columns


def _front_columns(name: str, found: Estimates, score_sign: float) -> dict[str, Any]:
    """Return the front of a cost against the score; a single model has nobody to beat, so it forms no front."""
    points = np.column_stack([found.values[name], score_sign * found.values["score"]])
    if (~np.isnan(points).any(axis=1)).sum() < 2:
        return {f"{name}_front": False, f"{name}_front_probability": np.nan}
    return {
        f"{name}_front": pareto_front(points, maximize=[False, True]),
        f"{name}_front_probability": front_probability(found.draws[name], score_sign * found.draws["score"]),
    }


def columns_of(measures: Iterable[str]) -> Iterator[str]:
    """Yield all columns of a table with these measures, in order."""
    yield from IDENTITY
    yield from COUNTS
    for name in measures:
        yield from (name, f"{name}_low", f"{name}_high")
        if name in ("score", *QUANTITIES) or MEASURES[name].is_published:
            yield f"{name}_known"
        if name == "score":
            yield "score_answered"
        yield from (f"{name}_rank", f"{name}_rank_low", f"{name}_rank_high")
        if name in COSTS:
            yield from (f"{name}_front", f"{name}_front_probability")


def no_rows(measures: Iterable[str]) -> pd.DataFrame:
    """Return a table with all columns and no row."""
    names = columns_of(measures)
    return pd.DataFrame({name: pd.Series(dtype=object if name in IDENTITY else float) for name in names})
