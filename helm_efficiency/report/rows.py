"""Turn estimates into the rows of a leaderboard, with intervals, ranks and fronts.

For each measure M of `MEASURES` that was estimated, a table has `M`, `M_low`, `M_high` (90 % interval), `M_known`
(number of requests in the mean; instances for the score), `M_rank`, `M_rank_low` and `M_rank_high`. For each of `COSTS`
it also has `M_front` and `M_front_probability`, of the front of M against the score. `score_answered` is the mean score
over all instances that a model answered, compared or not. Missing numbers are NaN.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from helm_efficiency.core.arrays import FloatArray
from helm_efficiency.core.bootstrap import interval, rank_intervals
from helm_efficiency.core.pareto import front_probability, fronts
from helm_efficiency.metrics.measures import COSTS, MEASURES, QUANTITIES
from helm_efficiency.report.board import COUNTS, IDENTITY, Options
from helm_efficiency.report.estimates import Estimates
from helm_efficiency.report.notes import ALL
from helm_efficiency.report.overall import overall_estimates


def stack_rows(
    estimates: Mapping[str, Estimates], identity: pd.DataFrame, options: Options
) -> tuple[pd.DataFrame, Estimates]:
    """Return the rows of all scenarios together, then of each.

    Args:
        estimates: Estimates by scenario, at least one, of the same models in the same order.
        identity: One row for each model in that order: first over all scenarios, then for each scenario. The columns
            are those of `IDENTITY` except scenario and stack, and `num_failed`, `num_out_of_domain`, `num_doubtful`
            and `num_at_todays_price`; NaN for a model without any request.
        options: Options of the leaderboard.

    Returns:
        The rows, best first within each scenario, and the estimates over all scenarios.
    """
    overall = overall_estimates(estimates.values(), common=options.common)
    parts = list(estimates.values())
    # with a single scenario, its rows are those over all
    blocks = [overall if len(parts) > 1 else parts[0], *parts]
    found = Estimates.stacked(blocks)
    columns: dict[str, Any] = {
        "scenario": np.repeat(np.array([ALL, *estimates], dtype=object), found.num_requests.shape[-1]),
        **{name: getattr(found, name).ravel() for name in COUNTS if hasattr(found, name)},
        **_measure_columns(found, [options.lower_is_better or block.lower_is_better for block in blocks]),
    }
    table = pd.concat([identity.reset_index(drop=True), pd.DataFrame(columns)], axis=1)
    table["block"] = np.arange(len(table)) // found.num_requests.shape[-1]
    table = table[identity["num_failed"].notna().to_numpy()].astype(dict.fromkeys(COUNTS, "int64"))
    ordered = table.sort_values(["block", f"{options.sort}_rank", options.by], na_position="last", ignore_index=True)
    return ordered.drop(columns="block"), overall


def _measure_columns(found: Estimates, lower_is_better: Sequence[bool]) -> dict[str, npt.NDArray[Any]]:
    """Return the columns of all measures of stacked estimates; `lower_is_better` is the scores' direction in each."""
    columns: dict[str, npt.NDArray[Any]] = {"score_answered": found.score_answered}
    score_sign = np.where(lower_is_better, -1.0, 1.0)[:, np.newaxis]
    for name in found.values.keys() & MEASURES.keys():
        value, draws, score_draws = found.values[name], found.draws[name], found.draws["score"]
        if np.isnan(value).all():  # nothing to draw
            draws, score_draws = draws[:1], score_draws[:1]
        sign = score_sign if name == "score" else 1.0
        ranks = rank_intervals(sign * value, sign * draws, higher_is_better=bool(MEASURES[name].higher_is_better))
        quantity = name.removesuffix("_per_correct")
        is_cost_of_correct = quantity != name and quantity in found.moments
        low, high = found.cost_interval(quantity) if is_cost_of_correct else interval(draws)
        columns |= {name: value, f"{name}_low": low, f"{name}_high": high}
        columns |= {f"{name}_rank": ranks.rank, f"{name}_rank_low": ranks.low, f"{name}_rank_high": ranks.high}
        if name in found.known:
            columns[f"{name}_known"] = found.known[name]
        if name in COSTS:
            scores = score_sign * found.values["score"], score_sign * score_draws
            columns |= _front_columns(name, (value, draws), scores)
    return {name: column.ravel() for name, column in columns.items()}


def _front_columns(
    name: str, costs: tuple[FloatArray, FloatArray], scores: tuple[FloatArray, FloatArray]
) -> dict[str, npt.NDArray[Any]]:
    """Return the fronts of a cost against the score; a single model has nobody to beat, so it forms no front.

    Args:
        name: Name of the cost.
        costs: Values of the cost, and its draws.
        scores: Values of the score, more is better, and its draws.
    """
    has_rival = (~np.isnan(costs[0] + scores[0])).sum(axis=-1, keepdims=True) > 1
    probability = np.where(has_rival, front_probability(costs[1], scores[1]), np.nan)
    return {f"{name}_front": fronts(costs[0], scores[0]) & has_rival, f"{name}_front_probability": probability}


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
