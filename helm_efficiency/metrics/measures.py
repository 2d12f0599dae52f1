"""The registry of measures: every number of a request that tables, leaderboards, figures, pages and HELM stats show.

To add a measure, add one entry here. The columns of the two tables, of the leaderboard and of the report, and the HELM
stats follow from it. Tables hold seconds, dollars and joules for one request; prefixes (dollars for a thousand
requests, TFLOP) exist only in print. This module imports nothing heavy, so that a report needs no more than tables.
"""

from collections.abc import Iterator

from helm_efficiency.errors import InputError
from helm_efficiency.metrics.measure import EFFICIENCY_GROUP, HelmStat, Measure

_SCORES = (
    Measure(
        key="score",
        title="Score",
        name="score",
        decimals=3,
        higher_is_better=True,
        priority=1,
        shows_interval=True,
    ),
    Measure(
        key="win_rate",
        title="Win rate",
        name="mean win rate, a tie counting half",
        decimals=3,
        higher_is_better=True,
        priority=7,
    ),
)

_RUNTIMES = (
    Measure(
        key="observed_s",
        title="Observed",
        name="observed runtime",
        unit="s",
        source="record",
        is_as_observed=True,
        is_cost=True,
        priority=6,
        stats=(
            HelmStat(
                "inference_runtime",
                "Observed inference runtime (s)",
                "Seconds the request took that day.",
                "Observed inference time (s)",
            ),
        ),
    ),
    Measure(
        key="denoised_s",
        title="Denoised",
        name="denoised runtime",
        unit="s",
        source="denoised.seconds",
        has_interval=True,
        upper_bound="denoised_s_at_most",
        is_cost=True,
        priority=5,
        stats=(
            HelmStat(
                "inference_denoised_runtime",
                "Denoised inference runtime (s)",
                "Seconds the same service would take without contention.",
                "Denoised inference time (s)",
                EFFICIENCY_GROUP,
            ),
        ),
    ),
    Measure(
        key="denoised_s_at_most",
        title="Denoised, at most",
        name="upper bound of the denoised runtime",
        unit="s",
        source="denoised_s_at_most",
        stats=(
            HelmStat(
                "inference_denoised_runtime_at_most",
                "Denoised inference runtime, at most (s)",
                "Seconds the service takes without contention; an upper bound where it was never seen alone.",
            ),
        ),
    ),
    Measure(
        key="idealized_s",
        title="Idealized",
        name="idealized runtime",
        unit="s",
        source="idealized.seconds",
        has_interval=True,
        is_on_stack=True,
        is_cost=True,
        per_correct="Time/correct",
        priority=2,
        shows_interval=True,
        stats=(
            HelmStat(
                "inference_idealized_runtime",
                "Idealized inference runtime (s)",
                "Seconds the model would take alone on the stated hardware and software.",
                "Idealized inference time (s)",
                EFFICIENCY_GROUP,
            ),
            HelmStat(
                "inference_idealized_runtime_low",
                "Idealized inference runtime, low (s)",
                "Lower end of the nominal 90 % interval.",
                end="low",
            ),
            HelmStat(
                "inference_idealized_runtime_high",
                "Idealized inference runtime, high (s)",
                "Upper end of the nominal 90 % interval.",
                end="high",
            ),
        ),
    ),
    Measure(
        key="provider_factor",
        title="Provider factor",
        name="denoised ÷ idealized runtime",
        unit="×",
        higher_is_better=None,
        is_on_stack=True,
        priority=8,
    ),
)

_COSTS = (
    Measure(
        key="accelerator_s",
        title="Accelerator time, alone",
        name="idealized accelerator time",
        unit="s",
        source="accelerator_s",
        proportional_to="idealized_s",
        is_on_stack=True,
        is_cost=True,
        per_correct="Acc. time/correct",
        stats=(
            HelmStat(
                "idealized_accelerator_seconds",
                "Idealized accelerator time (accelerator-s)",
                "Idealized runtime times accelerators.",
                "Accelerator-s",
            ),
        ),
    ),
    Measure(
        key="idealized_usd",
        title="GPU cost, alone",
        name="idealized cost",
        unit="$/1k",
        scale=1000,
        source="idealized_usd",
        proportional_to="idealized_s",
        is_on_stack=True,
        is_cost=True,
        per_correct="GPU cost/correct",
        priority=1,
        shows_interval=True,
        stats=(
            HelmStat("idealized_cost_usd", "Idealized cost ($)", "Accelerator-seconds times the price."),
            # HELM's pages show three decimals, so the cost of a single request would read 0.
            HelmStat(
                "idealized_cost_usd_per_1k_requests",
                "Idealized cost ($ per 1000 requests)",
                "Accelerator-seconds times the price.",
                "Idealized cost ($/1k requests)",
                EFFICIENCY_GROUP,
                factor=1000.0,
            ),
        ),
    ),
    Measure(
        key="loaded_s",
        title="At load",
        name="runtime at load",
        unit="s",
        source="loaded_s",
        proportional_to="idealized_s",
        is_on_stack=True,
        is_cost=True,
        priority=8,
        stats=(
            HelmStat(
                "loaded_runtime",
                "Runtime at load (s)",
                "Seconds on a busy server that keeps a service level, queueing included.",
                "At load (s)",
            ),
        ),
    ),
    Measure(
        key="loaded_accelerator_s",
        title="Accelerator time, at load",
        name="accelerator time at load",
        unit="s",
        source="loaded_accelerator_s",
        proportional_to="idealized_s",
        is_on_stack=True,
        is_cost=True,
        per_correct="Acc. time at load/correct",
        stats=(
            HelmStat(
                "loaded_accelerator_seconds",
                "Accelerator time at load (accelerator-s)",
                "Own prefill and share of the decode steps on a busy server, times accelerators.",
                "Accelerator-s at load",
            ),
        ),
    ),
    Measure(
        key="loaded_usd",
        title="GPU cost, at load",
        name="cost at load",
        unit="$/1k",
        scale=1000,
        source="loaded_usd",
        proportional_to="idealized_s",
        is_on_stack=True,
        is_cost=True,
        per_correct="GPU cost at load/correct",
        priority=4,
        stats=(
            HelmStat("loaded_cost_usd", "Cost at load ($)", "Accelerator-seconds at load times the price."),
            HelmStat(
                "loaded_cost_usd_per_1k_requests",
                "Cost at load ($ per 1000 requests)",
                "Accelerator-seconds at load times the price.",
                "Cost at load ($/1k requests)",
                EFFICIENCY_GROUP,
                factor=1000.0,
            ),
        ),
    ),
    Measure(
        key="energy_j",
        title="Energy, alone",
        name="idealized energy",
        unit="J",
        source="energy_j",
        proportional_to="idealized_s",
        is_on_stack=True,
        is_cost=True,
        per_correct="Energy/correct",
        priority=7,
        stats=(
            HelmStat(
                "idealized_energy_joules",
                "Idealized energy (J)",
                "Energy at the wall of the accelerators.",
                "Energy (J)",
            ),
        ),
    ),
    Measure(
        key="loaded_energy_j",
        title="Energy, at load",
        name="energy at load",
        unit="J",
        source="loaded_energy_j",
        proportional_to="idealized_s",
        is_on_stack=True,
        is_cost=True,
        per_correct="Energy at load/correct",
        stats=(
            HelmStat(
                "loaded_energy_joules",
                "Energy at load (J)",
                "Energy of the accelerators on a busy server, by published measurements.",
                "Energy at load (J)",
            ),
        ),
    ),
    Measure(
        key="api_usd",
        title="API cost",
        name="API cost on the day",
        unit="$/1k",
        scale=1000,
        source="api_usd",
        lower_bound="api_usd_at_least",
        is_as_observed=True,
        is_cost=True,
        per_correct="API cost/correct",
        priority=3,
        stats=(
            HelmStat("api_cost_usd", "API cost ($)", "Billed at the price on the day of the request."),
            HelmStat(
                "api_cost_usd_per_1k_requests",
                "API cost ($ per 1000 requests)",
                "Billed at the price on the day of the request.",
                "API cost ($/1k requests)",
                EFFICIENCY_GROUP,
                factor=1000.0,
            ),
        ),
    ),
    Measure(
        key="api_usd_today",
        title="API cost today",
        name="API cost at today's price",
        unit="$/1k",
        scale=1000,
        source="api_usd_today",
        is_as_observed=True,
        stats=(HelmStat("api_cost_usd_today", "API cost today ($)", "The same tokens at today's price."),),
    ),
    Measure(
        key="api_usd_at_least",
        title="API cost, at least",
        name="lower bound of the API cost on the day",
        unit="$/1k",
        scale=1000,
        source="api_usd_at_least",
        is_as_observed=True,
        stats=(
            HelmStat(
                "api_cost_usd_at_least",
                "API cost, at least ($)",
                "Billed for the tokens that were counted; a lower bound where some were not.",
            ),
        ),
    ),
)

_TOKENS = (
    Measure(
        key="prompt_tokens",
        title="Prompt tokens",
        name="prompt tokens",
        higher_is_better=None,
        source="record",
        stats=(HelmStat("num_prompt_tokens", "# prompt tokens", "Tokens of the prompt.", group="general_information"),),
    ),
    Measure(
        key="output_tokens",
        title="Output tokens",
        name="output tokens",
        higher_is_better=None,
        source="record",
        priority=8,
        stats=(
            HelmStat(
                "num_output_tokens",
                "# output tokens",
                "Tokens generated, reasoning included, an echoed prompt excluded.",
                group="general_information",
            ),
        ),
    ),
)

_PUBLISHED = (
    Measure(key="flops", title="FLOPs", name="FLOPs", unit="TFLOP", scale=1e-12, is_cost=True, is_published=True),
    Measure(
        key="parameters", title="Parameters", name="parameters", unit="B", scale=1e-9, is_cost=True, is_published=True
    ),
)


def _costs_of_correct_answers() -> Iterator[Measure]:
    """Yield a measure of the cost of a correct answer for each measure that has one."""
    for cost in (*_RUNTIMES, *_COSTS):
        if cost.per_correct:
            yield Measure(
                key=f"{cost.key}_per_correct",
                title=cost.per_correct,
                name=f"{cost.name} per correct answer",
                unit=cost.unit,
                scale=cost.scale,
                proportional_to=cost.fitted_to,
                is_on_stack=cost.is_on_stack,
                is_as_observed=cost.is_as_observed,
                priority=8 if cost.key == "idealized_usd" else None,
                shows_interval=cost.key == "idealized_usd",
            )


MEASURES: dict[str, Measure] = {
    measure.key: measure
    for measure in (*_SCORES, *_RUNTIMES, *_COSTS, *_costs_of_correct_answers(), *_TOKENS, *_PUBLISHED)
}
"""All measures by key, in the order of columns."""

ESTIMATED = tuple(key for key, measure in MEASURES.items() if not measure.is_published)
"""Keys of the measures that scored tables hold."""

QUANTITIES = tuple(key for key, measure in MEASURES.items() if measure.source)
"""Keys of the measures that each request has, and that are averaged over requests."""

COSTS = tuple(key for key, measure in MEASURES.items() if measure.is_cost)
"""Keys of the measures that form a Pareto front against the score."""

PER_CORRECT = tuple(key for key, measure in MEASURES.items() if measure.per_correct)
"""Keys of the measures that are also divided by the number of correct answers."""

_SHORT_NAMES = {"cost": "idealized_usd", "time": "idealized_s", "runtime": "idealized_s", "api": "api_usd"}
"""Everyday names of measures, with their keys."""


def find_measure(text: str) -> str:
    """Return the key of a measure from its key, its heading or a word of it.

    Raises:
        InputError: The measure is unknown; the message lists short names.

    Example:
        >>> find_measure("cost"), find_measure("API cost"), find_measure("energy")
        ('idealized_usd', 'api_usd', 'energy_j')
    """
    asked = text.strip().lower()
    if asked in MEASURES:
        return asked
    if asked in _SHORT_NAMES:
        return _SHORT_NAMES[asked]
    titles = {measure.title.lower(): key for key, measure in MEASURES.items() if not measure.is_published}
    found = titles.get(asked) or next((key for title, key in titles.items() if title.startswith(asked) and asked), None)
    if found is None:
        known = ", ".join([*_SHORT_NAMES, *list(titles)[:6]])
        raise InputError(f"No measure {text!r}. Name it by its heading or key, such as {known}.")
    return found
