"""The registry of measures: every number of a request that tables, leaderboards, figures, pages and HELM stats show.

To add a measure, add one entry here. The columns of the two tables, of the leaderboard and of the report, and the HELM
stats follow from it. Tables hold seconds, dollars and joules for one request; prefixes (dollars for a thousand
requests, TFLOP) exist only in print. This module imports nothing heavy, so that a report needs no more than tables.
"""

from collections.abc import Iterator
from functools import partial

from helm_efficiency.errors import InputError
from helm_efficiency.metrics.measure import EFFICIENCY_GROUP, HelmStat, Measure

_observed = partial(Measure, is_as_observed=True)
_idealized = partial(Measure, is_on_stack=True, is_cost=True)
_proportional = partial(_idealized, proportional_to="idealized_s")


def _usd_stats(name: str, title: str, heading: str, description: str) -> tuple[HelmStat, HelmStat]:
    """Return the stats in dollars: of one request, and of 1,000, because HELM's pages show three decimals.

    HELM's pages cut long headings, so `heading` differs from the others in its first letters.
    """
    of_many = HelmStat(
        *(f"{name}_usd_per_1k_requests", f"{title} ($ per 1000 requests)", description, heading),
        group=EFFICIENCY_GROUP,
        factor=1000.0,
    )
    return HelmStat(f"{name}_usd", f"{title} ($)", description), of_many


_SCORES = (
    Measure("score", "Score", "score", decimals=3, higher_is_better=True, priority=1, shows_interval=True),
    Measure(
        *("win_rate", "Win rate", "mean win rate, a tie counting half"), decimals=3, higher_is_better=True, priority=7
    ),
)

_RUNTIMES = (
    _observed(
        *("observed_s", "Observed", "observed runtime", "s"),
        source="record",
        is_cost=True,
        priority=6,
        stats=(
            HelmStat(
                *("inference_runtime", "Observed inference runtime (s)"),
                *("Seconds the request took that day.", "Observed (s)"),
            ),
        ),
    ),
    Measure(
        *("denoised_s", "Denoised", "denoised runtime", "s"),
        source="denoised.seconds",
        has_interval=True,
        upper_bound="denoised_s_at_most",
        is_cost=True,
        priority=5,
        stats=(
            HelmStat(
                *("inference_denoised_runtime", "Denoised inference runtime (s)"),
                *("Seconds the same service would take without contention.", "Denoised (s)"),
                group=EFFICIENCY_GROUP,
            ),
        ),
    ),
    Measure(
        *("denoised_s_at_most", "Denoised, at most", "upper bound of the denoised runtime", "s"),
        source="denoised_s_at_most",
        stats=(
            HelmStat(
                *("inference_denoised_runtime_at_most", "Denoised inference runtime, at most (s)"),
                "Seconds the service takes without contention; an upper bound where it was never seen alone.",
            ),
        ),
    ),
    _idealized(
        *("idealized_s", "Idealized", "idealized runtime", "s"),
        source="idealized.seconds",
        has_interval=True,
        per_correct="Time/correct",
        priority=2,
        shows_interval=True,
        stats=(
            HelmStat(
                *("inference_idealized_runtime", "Idealized inference runtime (s)"),
                "Seconds the model would take alone on the stated hardware and software.",
                "Idealized (s)",
                group=EFFICIENCY_GROUP,
            ),
            HelmStat(
                *("inference_idealized_runtime_low", "Idealized inference runtime, low (s)"),
                "Lower end of the nominal 90 % interval.",
                end="low",
            ),
            HelmStat(
                *("inference_idealized_runtime_high", "Idealized inference runtime, high (s)"),
                "Upper end of the nominal 90 % interval.",
                end="high",
            ),
        ),
    ),
    Measure(
        *("provider_factor", "Provider factor", "denoised ÷ idealized runtime", "×"),
        higher_is_better=None,
        is_on_stack=True,
        priority=8,
    ),
)

_COSTS = (
    _proportional(
        *("accelerator_s", "Accelerator time, alone", "idealized accelerator time", "s"),
        source="accelerator_s",
        per_correct="Acc. time/correct",
        stats=(
            HelmStat(
                *("idealized_accelerator_seconds", "Idealized accelerator time (accelerator-s)"),
                *("Idealized runtime times accelerators.", "Accelerator-s"),
            ),
        ),
    ),
    _proportional(
        *("idealized_usd", "GPU cost, alone", "idealized cost", "$/1k"),
        scale=1000,
        source="idealized_usd",
        per_correct="GPU cost/correct",
        priority=1,
        shows_interval=True,
        stats=_usd_stats("idealized_cost", "Idealized cost", "$/1k alone", "Accelerator-seconds times the price."),
    ),
    _proportional(
        *("loaded_s", "At load", "runtime at load", "s"),
        source="loaded_s",
        priority=8,
        stats=(
            HelmStat(
                *("loaded_runtime", "Runtime at load (s)"),
                *("Seconds on a busy server that keeps a service level, queueing included.", "At load (s)"),
            ),
        ),
    ),
    _proportional(
        *("loaded_accelerator_s", "Accelerator time, at load", "accelerator time at load", "s"),
        source="loaded_accelerator_s",
        per_correct="Acc. time at load/correct",
        stats=(
            HelmStat(
                *("loaded_accelerator_seconds", "Accelerator time at load (accelerator-s)"),
                "Own prefill and share of the decode steps on a busy server, times accelerators.",
                "Busy accelerator-s",
            ),
        ),
    ),
    _proportional(
        *("loaded_usd", "GPU cost, at load", "cost at load", "$/1k"),
        scale=1000,
        source="loaded_usd",
        per_correct="GPU cost at load/correct",
        priority=4,
        stats=_usd_stats("loaded_cost", "Cost at load", "$/1k at load", "Accelerator-seconds at load times the price."),
    ),
    _proportional(
        *("energy_j", "Energy, alone", "idealized energy", "J"),
        source="energy_j",
        per_correct="Energy/correct",
        priority=7,
        stats=(
            HelmStat(
                *("idealized_energy_joules", "Idealized energy (J)"),
                *("Energy at the wall of the accelerators.", "Energy (J)"),
            ),
        ),
    ),
    _proportional(
        *("loaded_energy_j", "Energy, at load", "energy at load", "J"),
        source="loaded_energy_j",
        per_correct="Energy at load/correct",
        stats=(
            HelmStat(
                *("loaded_energy_joules", "Energy at load (J)"),
                "Energy of the accelerators on a busy server, by published measurements.",
                "Busy energy (J)",
            ),
        ),
    ),
    _observed(
        *("api_usd", "API cost", "API cost on the day", "$/1k"),
        scale=1000,
        source="api_usd",
        lower_bound="api_usd_at_least",
        is_cost=True,
        per_correct="API cost/correct",
        priority=3,
        stats=_usd_stats("api_cost", "API cost", "$/1k by API", "Billed at the price on the day of the request."),
    ),
    _observed(
        *("api_usd_today", "API cost today", "API cost at today's price", "$/1k"),
        scale=1000,
        source="api_usd_today",
        stats=(HelmStat("api_cost_usd_today", "API cost today ($)", "The same tokens at today's price."),),
    ),
    _observed(
        *("api_usd_at_least", "API cost, at least", "lower bound of the API cost on the day", "$/1k"),
        scale=1000,
        source="api_usd_at_least",
        stats=(
            HelmStat(
                *("api_cost_usd_at_least", "API cost, at least ($)"),
                "Billed for the tokens that were counted; a lower bound where some were not.",
            ),
        ),
    ),
)

_token_count = partial(Measure, higher_is_better=None, source="record")
_token_stat = partial(HelmStat, group="general_information")
_TOKENS = (
    _token_count(
        *("prompt_tokens", "Prompt tokens", "prompt tokens"),
        stats=(_token_stat("num_prompt_tokens", "# prompt tokens", "Tokens of the prompt."),),
    ),
    _token_count(
        *("output_tokens", "Output tokens", "output tokens"),
        priority=8,
        stats=(
            _token_stat(
                *("num_output_tokens", "# output tokens"),
                "Tokens generated, reasoning included, an echoed prompt excluded.",
            ),
        ),
    ),
)

_PUBLISHED = (
    Measure("flops", "FLOPs", "FLOPs", "TFLOP", scale=1e-12, is_cost=True, is_published=True),
    Measure("parameters", "Parameters", "parameters", "B", scale=1e-9, is_cost=True, is_published=True),
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

FRONT_AXES = tuple(
    sorted(
        (key for key in COSTS if not MEASURES[key].proportional_to and not MEASURES[key].is_published),
        key=lambda key: (MEASURES[key].is_as_observed, not MEASURES[key].is_on_stack),
    )
)
"""Keys of the costs that a front is drawn against, the one that is fairest between providers first."""

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
