"""The efficiency of a request as HELM stats: names, values and what a leaderboard shows of them.

HELM's own names are used where HELM means the same, and replace what HELM wrote; new names say their unit. A stat that
is missing is absent, never 0.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

from helm_efficiency.adapters.record import RequestRecord
from helm_efficiency.catalog.helm_metadata import CO2_STAT, ENERGY_STAT, training_stats
from helm_efficiency.metrics.efficiency import ScoredRequests

STACK_SEPARATOR = "@"
"""`inference_idealized_runtime@STACK` is the idealized runtime on a named stack, as `exact_match@5` is HELM's."""


@dataclass(frozen=True, slots=True)
class StatInfo:
    """What a table shows of a stat; `group` is HELM's metric group or None for bookkeeping."""

    display_name: str
    description: str
    short_display_name: str | None = None
    lower_is_better: bool | None = None
    group: str | None = None


EFFICIENCY_GROUP = "efficiency"
DETAILED_GROUP = "efficiency_detailed"

STATS: dict[str, StatInfo] = {
    "num_prompt_tokens": StatInfo("# prompt tokens", "Tokens of the prompt.", group="general_information"),
    "num_output_tokens": StatInfo(
        "# output tokens",
        "Tokens generated, reasoning included, an echoed prompt excluded.",
        group="general_information",
    ),
    "num_reasoning_tokens": StatInfo("# reasoning tokens", "Output tokens that were reasoning, where known."),
    "inference_runtime": StatInfo(
        "Observed inference runtime (s)",
        "Seconds the request took that day.",
        "Observed inference time (s)",
        True,
        DETAILED_GROUP,
    ),
    "inference_denoised_runtime": StatInfo(
        "Denoised inference runtime (s)",
        "Seconds the same service would take without contention.",
        "Denoised inference time (s)",
        True,
        EFFICIENCY_GROUP,
    ),
    "inference_idealized_runtime": StatInfo(
        "Idealized inference runtime (s)",
        "Seconds the model would take alone on the stated hardware and software.",
        "Idealized inference time (s)",
        True,
        EFFICIENCY_GROUP,
    ),
    "inference_idealized_runtime_low": StatInfo(
        "Idealized inference runtime, low (s)", "Lower end of the nominal 90 % interval.", None, True, DETAILED_GROUP
    ),
    "inference_idealized_runtime_high": StatInfo(
        "Idealized inference runtime, high (s)", "Upper end of the nominal 90 % interval.", None, True, DETAILED_GROUP
    ),
    "num_accelerators": StatInfo(
        "# accelerators", "Accelerators one instance of the model occupies on the stack.", None, True, DETAILED_GROUP
    ),
    "idealized_accelerator_seconds": StatInfo(
        "Idealized accelerator time (accelerator-s)",
        "Idealized runtime times accelerators.",
        "Accelerator-s",
        True,
        DETAILED_GROUP,
    ),
    "idealized_cost_usd": StatInfo(
        "Idealized cost ($)", "Accelerator-seconds times the price.", None, True, DETAILED_GROUP
    ),
    # HELM's pages show three decimals, so that a request alone would cost 0.
    "idealized_cost_usd_per_1k_requests": StatInfo(
        "Idealized cost ($ per 1000 requests)",
        "Accelerator-seconds times the price.",
        "Idealized cost ($/1k requests)",
        True,
        EFFICIENCY_GROUP,
    ),
    "idealized_energy_joules": StatInfo(
        "Idealized energy (J)", "Energy at the wall of the accelerators.", "Energy (J)", True, DETAILED_GROUP
    ),
    "api_cost_usd": StatInfo(
        "API cost ($)", "Billed at the price on the day of the request.", None, True, DETAILED_GROUP
    ),
    "api_cost_usd_per_1k_requests": StatInfo(
        "API cost ($ per 1000 requests)",
        "Billed at the price on the day of the request.",
        "API cost ($/1k requests)",
        True,
        EFFICIENCY_GROUP,
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
    "api_cost_usd_today": StatInfo(
        "API cost today ($)", "The same tokens at today's price.", None, True, DETAILED_GROUP
    ),
}
"""Stats of ours by name. `prompt_tokens_from_…` and `output_tokens_from_…` (1 for each request whose tokens were so
counted) and `…@STACK` come beside them."""


PROVENANCE_PREFIXES = ("prompt_tokens_from_", "output_tokens_from_")
"""How the names of stats begin that say who counted."""

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
"""Stats that HELM writes under the same names. HELM's own is taken out only where one of ours takes its place."""


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
    """Stats by name, in a fixed order, one value for each request; NaN where it is missing. Counts are ints.

    A stat that is missing for all of them is left out.

    Args:
        records: The requests.
        scored: Their scores on one stack.
        others: Their scores on further stacks: of these only the idealized runtime, under the name with the stack.
    """
    columns = {
        "num_prompt_tokens": _or_nan([r.prompt_tokens for r in records]),
        "num_output_tokens": _or_nan([r.output_tokens for r in records]),
        "num_reasoning_tokens": _or_nan([r.reasoning_tokens for r in records]),
        **_flags(PROVENANCE_PREFIXES[0], [r.prompt_provenance for r in records]),
        **_flags(PROVENANCE_PREFIXES[1], [r.output_provenance for r in records]),
        "inference_runtime": _or_nan([r.observed_s for r in records]),
        "inference_denoised_runtime": scored.denoised.seconds.tolist(),
        "inference_idealized_runtime": scored.idealized.seconds.tolist(),
        **{
            f"inference_idealized_runtime{STACK_SEPARATOR}{each.stack}": each.idealized.seconds.tolist()
            for each in (scored, *others)
        },
        "inference_idealized_runtime_low": scored.idealized.low_s.tolist(),
        "inference_idealized_runtime_high": scored.idealized.high_s.tolist(),
        "num_accelerators": scored.num_accelerators.tolist(),
        "idealized_accelerator_seconds": scored.accelerator_s.tolist(),
        "idealized_cost_usd": scored.idealized_usd.tolist(),
        "idealized_cost_usd_per_1k_requests": (scored.idealized_usd * 1000.0).tolist(),
        "idealized_energy_joules": scored.energy_j.tolist(),
        "api_cost_usd": scored.api_usd.tolist(),
        "api_cost_usd_per_1k_requests": (scored.api_usd * 1000.0).tolist(),
        "api_cost_usd_today": scored.api_usd_today.tolist(),
        **_training([r.deployment for r in records]),
    }
    return {name: column for name, column in columns.items() if any(value == value for value in column)}


def request_stats(
    records: Sequence[RequestRecord], scored: ScoredRequests, *others: ScoredRequests
) -> list[dict[str, float]]:
    """Stats of each request by name, in a fixed order; what is missing is absent. See `stat_columns`."""
    columns = stat_columns(records, scored, *others)
    return [
        {name: value for name, value in zip(columns, row, strict=True) if not math.isnan(value)}
        for row in zip(*columns.values(), strict=True)
    ]


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
