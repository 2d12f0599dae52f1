"""Express the efficiency of a request as HELM stats: names, values and their texts on a leaderboard.

HELM's own names are used where HELM means the same, and replace HELM's stats; new names state their unit. A missing
stat is absent, never 0.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

from helm_efficiency.adapters.helm.instance_stats import PROVENANCE_PREFIXES
from helm_efficiency.adapters.record import RequestRecord
from helm_efficiency.catalog.helm_metadata import CO2_STAT, ENERGY_STAT, training_stats
from helm_efficiency.metrics.efficiency import ScoredRequests
from helm_efficiency.metrics.measure import DETAILED_GROUP, Measure
from helm_efficiency.metrics.measures import MEASURES

STACK_SEPARATOR = "@"
"""`inference_idealized_runtime@STACK` is the idealized runtime on a named stack, as `exact_match@5` is HELM's."""


@dataclass(frozen=True, slots=True)
class StatInfo:
    """Texts that a table shows for a stat; `group` is HELM's metric group or None for bookkeeping."""

    display_name: str
    description: str
    short_display_name: str | None = None
    lower_is_better: bool | None = None
    group: str | None = None


def _of_measure(measure: Measure) -> dict[str, StatInfo]:
    """Return the texts that a table shows for the stats of a measure, by name."""
    lower_is_better = None if measure.higher_is_better is None else not measure.higher_is_better
    return {
        stat.name: StatInfo(stat.display_name, stat.description, stat.short_display_name, lower_is_better, stat.group)
        for stat in measure.stats
    }


STATS: dict[str, StatInfo] = {
    **_of_measure(MEASURES["prompt_tokens"]),
    **_of_measure(MEASURES["output_tokens"]),
    "num_reasoning_tokens": StatInfo("# reasoning tokens", "Output tokens that were reasoning, where known."),
    "num_cache_read_tokens": StatInfo("# cached tokens read", "Prompt tokens read from a prompt cache, where known."),
    "num_cache_write_tokens": StatInfo("# cached tokens written", "Prompt tokens written to one, where known."),
    **{name: info for measure in MEASURES.values() for name, info in _of_measure(measure).items()},
    "num_accelerators": StatInfo(
        "# accelerators", "Accelerators one instance of the model occupies on the stack.", None, True, DETAILED_GROUP
    ),
    ENERGY_STAT: StatInfo(
        "Estimated training energy cost (MWh)",
        "Energy used to train the model, as HELM has it.",
        "Training energy (MWh)",
        True,
        DETAILED_GROUP,
    ),
    CO2_STAT: StatInfo(
        "Estimated training emissions (kg CO2)",
        "CO2 emitted to train the model, as HELM has it, in the unit of the label.",
        "Training emissions (kg CO2)",
        True,
        DETAILED_GROUP,
    ),
}
"""Our stats by name: those of the measures, and some more. `prompt_tokens_from_…` and `output_tokens_from_…` (1 for
each request with tokens so counted) and `…@STACK` come in addition."""


HELM_STATS = frozenset(
    {
        "num_prompt_tokens",
        "num_output_tokens",
        "inference_runtime",
        "inference_denoised_runtime",
        "inference_idealized_runtime",
        ENERGY_STAT,
        CO2_STAT,
    }
)
"""Stats that HELM writes under the same names. HELM's own is removed only if one of ours replaces it."""


def is_efficiency_stat(name: str) -> bool:
    """Return whether we write stats of this name."""
    return name.partition(STACK_SEPARATOR)[0] in STATS or name.startswith(PROVENANCE_PREFIXES)


def is_own_stat(name: str) -> bool:
    """Return whether only we write stats of this name, so that one in a file was written by us earlier.

    >>> is_own_stat("idealized_cost_usd"), is_own_stat("num_prompt_tokens"), is_own_stat("exact_match")
    (True, False, False)
    """
    return name not in HELM_STATS and is_efficiency_stat(name)


def stat_columns(
    records: Sequence[RequestRecord], scored: ScoredRequests, *others: ScoredRequests
) -> dict[str, list[float]]:
    """Return the stats by name, in a fixed order, one value for each request; NaN if missing. Counts are ints.

    A stat that is missing for all requests is left out.

    Args:
        records: Records of the requests.
        scored: Efficiency of the requests on one stack.
        others: Efficiency on further stacks: only the idealized runtime is used, under the name with the stack.
    """
    columns = {
        **_measured("prompt_tokens", records, scored),
        **_measured("output_tokens", records, scored),
        "num_reasoning_tokens": _or_nan([r.reasoning_tokens for r in records]),
        "num_cache_read_tokens": _or_nan([r.cache_read_tokens for r in records]),
        "num_cache_write_tokens": _or_nan([r.cache_write_tokens for r in records]),
        **_flags(PROVENANCE_PREFIXES[0], [r.prompt_provenance for r in records]),
        **_flags(PROVENANCE_PREFIXES[1], [r.output_provenance for r in records]),
    }
    for key in MEASURES:
        columns |= _measured(key, records, scored)
    columns |= {
        f"inference_idealized_runtime{STACK_SEPARATOR}{each.stack}": each.idealized.seconds.tolist()
        for each in (scored, *others)
    }
    columns |= {"num_accelerators": scored.num_accelerators.tolist(), **_training([r.deployment for r in records])}
    return {name: column for name, column in columns.items() if any(value == value for value in column)}


def request_stats(
    records: Sequence[RequestRecord], scored: ScoredRequests, *others: ScoredRequests
) -> list[dict[str, float]]:
    """Return the stats of each request by name, in a fixed order; missing stats are absent. See `stat_columns`."""
    columns = stat_columns(records, scored, *others)
    return [
        {name: value for name, value in zip(columns, row, strict=True) if not math.isnan(value)}
        for row in zip(*columns.values(), strict=True)
    ]


def _measured(key: str, records: Sequence[RequestRecord], scored: ScoredRequests) -> dict[str, list[float]]:
    """Return the stats of a measure by name, one value for each request."""
    measure, columns = MEASURES[key], {}
    for stat in measure.stats:
        if measure.source == "record":
            columns[stat.name] = _or_nan([getattr(record, key) for record in records])
        else:
            columns[stat.name] = (measure.values(scored, stat.end) * stat.factor).tolist()
    return columns


def _or_nan(values: Sequence[float | None]) -> list[float]:
    return [math.nan if value is None else value for value in values]


def _training(deployments: Sequence[str]) -> dict[str, list[float]]:
    known = {deployment: training_stats(deployment) for deployment in dict.fromkeys(deployments)}
    return {
        name: [known[deployment].get(name, math.nan) for deployment in deployments] for name in (ENERGY_STAT, CO2_STAT)
    }


def _flags(prefix: str, provenances: Sequence[str]) -> dict[str, list[float]]:
    return {
        prefix + whose: [1 if provenance == whose else math.nan for provenance in provenances]
        for whose in dict.fromkeys(provenances)
    }
