"""A leaderboard as people read it: its columns, headings and marks, before they are written in a format."""

from collections.abc import Iterator, Sequence
from dataclasses import replace

import pandas as pd

from helm_efficiency.catalog.helm_names import display_name
from helm_efficiency.core.tier import Tier
from helm_efficiency.errors import InputError
from helm_efficiency.metrics.measure import Measure
from helm_efficiency.metrics.measures import COSTS, FRONT_AXES, MEASURES
from helm_efficiency.report.board import Leaderboard
from helm_efficiency.report.notes import ALL
from helm_efficiency.report.text import Column, Display

SHOWN = tuple(key for key, measure in MEASURES.items() if measure.priority is not None)
"""Measures in print by default; the data formats hold all measures."""

_MEASURED = (Tier.measured, Tier.shared)
"""Tiers of which a narrow terminal may hide the intervals of means; intervals of estimates are never hidden."""

ON_FRONT = "●"
LOWER_BOUND = "≥ "
UPPER_BOUND = "≤ "
AT_TODAYS_PRICE = "‡"
_UNLIKELY = 0.05
_ASKED_FOR = 4
"""Priority of a measure that is printed on request only."""


def display(
    board: Leaderboard,
    *,
    scenario: str = ALL,
    stack: str | None = None,
    measures: Sequence[str] | None = None,
    all_intervals: bool = False,
) -> Display:
    """Return one table of a leaderboard, for reading.

    Args:
        board: Leaderboard that `leaderboard.build` returned.
        scenario: One of its scenarios; by default all together.
        stack: One of its stacks; by default the first.
        measures: Measures to show as columns; None for the usual ones that have any number.
        all_intervals: True to show the interval of every number that has one; False for those of the main measures.

    Raises:
        InputError: The scenario or the measure does not exist.
    """
    part = board.part(scenario, stack)
    if part.empty and len(board.table):
        raise InputError(f"No scenario {scenario!r} in this leaderboard. There are: {', '.join(board.scenarios)}.")
    unknown = [name for name in measures or () if name not in MEASURES]
    if unknown:
        raise InputError(f"No measure {unknown[0]!r}. Known measures: {', '.join(MEASURES)}.")
    return Display(
        title=_title(part, scenario),
        columns=tuple(_columns(part, board, measures or usual_measures(part, board), all_intervals=all_intervals)),
        legend=tuple(_legend(part, board)),
        notes=tuple(note.text for note in board.notes if note.scenario == scenario),
    )


def short_names(names: Sequence[str]) -> list[str]:
    """Return names for labels: HELM's display name of the model, else its own, and the provider if there are several.

    >>> short_names(["groq/llama3-8b-8192", "me/tiny"])
    ['Llama 3 Instruct 8B · groq', 'tiny · me']
    >>> short_names(["me/tiny", "me/small"])
    ['tiny', 'small']
    """
    split = [name.partition("/") for name in names]
    models = [display_name(name) or model or name for name, (_, _, model) in zip(names, split, strict=True)]
    if len({provider for provider, slash, _ in split if slash}) < 2:
        return models if len({*models}) == len({*names}) else list(names)
    shown = [
        f"{model} · {host}" if slash else name
        for name, model, (host, slash, _) in zip(names, models, split, strict=True)
    ]
    return shown if len({*shown}) == len({*names}) else list(names)


def row_names(names: Sequence[str], by: str) -> list[str]:
    """Return the names of a table's rows: HELM's display name with a deployment's provider, else the given name.

    >>> row_names(["groq/llama3-8b-8192", "me/tiny"], "deployment")
    ['Llama 3 Instruct 8B · groq', 'me/tiny']
    """
    known = [display_name(name) for name in names]
    hosts = [f" · {name.partition('/')[0]}" if by == "deployment" else "" for name in names]
    shown = [f"{model}{host}" if model else name for name, model, host in zip(names, known, hosts, strict=True)]
    return [name if shown.count(text) > 1 else text for name, text in zip(names, shown, strict=True)]


def has_numbers(part: pd.DataFrame, name: str) -> bool:
    """Return whether any model has this measure."""
    return name in part and bool(part[name].notna().any())


def is_shown(part: pd.DataFrame, name: str) -> bool:
    """Return whether any model has this measure, or a bound of it."""
    measure = MEASURES[name]
    return any(has_numbers(part, key) for key in (name, measure.lower_bound, measure.upper_bound))


def usual_measures(part: pd.DataFrame, board: Leaderboard) -> list[str]:
    """Return the measures to show: those with any number, including the one that the table is sorted by."""
    names = dict.fromkeys((*SHOWN, board.options.sort))
    if not part["scenario"].eq(ALL).all() and board.options.sort != "win_rate":
        names.pop("win_rate", None)  # within one scenario it repeats the rank
    return [name for name in names if is_shown(part, name)]


def front_axis(part: pd.DataFrame, sort: str) -> Measure | None:
    """Return the cost that the front is drawn against: the measure sorted by if it is one, else the fairest one."""
    for name in (sort, *FRONT_AXES):
        if name in COSTS and has_numbers(part, name):
            return MEASURES[name]
    return None


def rank_text(part: pd.DataFrame, name: str) -> list[str]:
    """Return ranks with their intervals: `2= (1–4)` is second in a tie; ranks from first to fourth are plausible."""
    ranks = part[f"{name}_rank"]
    ties = ranks.duplicated(keep=False)
    texts = []
    for rank, low, high, tied in zip(ranks, part[f"{name}_rank_low"], part[f"{name}_rank_high"], ties, strict=True):
        if pd.isna(rank):
            texts.append("—")
        else:
            span = f"{low:.0f}" if low == high else f"{low:.0f}–{high:.0f}"
            texts.append(f"{rank:.0f}{'=' if tied else ''} ({span})")
    return texts


def value_text(part: pd.DataFrame, measure: Measure) -> list[str]:
    """Return values in print, with the number of requests (score: instances) of a mean if it does not cover all."""
    texts = bounded_text(part, measure)
    if measure.key.startswith("api_usd"):
        marks = [f" {AT_TODAYS_PRICE}" * bool(number) for number in part["num_at_todays_price"]]
        texts = [f"{text}{mark}" for text, mark in zip(texts, marks, strict=True)]
    if f"{measure.key}_known" not in part:
        return texts
    of = part["num_instances" if measure.key == "score" else "num_requests"]
    return [
        text if known == total or text.startswith((LOWER_BOUND, UPPER_BOUND)) else f"{text} ({known:.0f}/{total:.0f})"
        for text, known, total in zip(texts, part[f"{measure.key}_known"], of, strict=True)
    ]


def bounded_text(part: pd.DataFrame, measure: Measure) -> list[str]:
    """Return values in print; bounds have a mark: from token counts that are too low, or services never seen alone."""
    values, mark = part[measure.key], LOWER_BOUND
    is_bound = pd.Series(False, part.index)
    bound = measure.lower_bound or measure.upper_bound
    if bound in part:
        is_bound = values.isna() & part[bound].notna()
        values = values.fillna(part[bound])
        mark = UPPER_BOUND if measure.upper_bound else LOWER_BOUND
    elif measure.fitted_to or measure.key == "output_tokens":
        is_bound = part["num_doubtful"].gt(0) & values.notna()
    return [f"{mark * is_one}{measure.text(value)}" for is_one, value in zip(is_bound, values, strict=True)]


def interval_text(part: pd.DataFrame, measure: Measure) -> list[str]:
    """Return 90 % intervals to print behind values; empty for a value without an interval."""
    ends = zip(part[f"{measure.key}_low"], part[f"{measure.key}_high"], strict=True)
    texts = [(measure.text(low), measure.text(high)) for low, high in ends]
    return [f" ({low}–{high})" if low != high else "" for low, high in texts]


def front_text(part: pd.DataFrame, axis: Measure) -> list[str]:
    """Return a mark for models on the front, with the share of draws in which they are on it; blank below 5 %."""
    texts = []
    for on_front, share in zip(part[f"{axis.key}_front"], part[f"{axis.key}_front_probability"], strict=True):
        likely = f"{100 * share:.0f}%" if share >= _UNLIKELY or on_front else ""
        texts.append(f"{ON_FRONT} {likely}" if on_front else likely)
    return texts


def _columns(
    part: pd.DataFrame, board: Leaderboard, measures: Sequence[str], *, all_intervals: bool
) -> Iterator[Column]:
    names = row_names(list(part[board.options.by].astype(str)), board.options.by)
    yield Column("Rank", tuple(rank_text(part, board.options.sort)))
    yield Column(board.options.by.capitalize(), tuple(names), is_number=False)
    for measure in map(MEASURES.__getitem__, measures):
        priority = 0 if measure.key == board.options.sort else measure.priority or _ASKED_FOR
        shown = replace(measure, shows_interval=measure.shows_interval or all_intervals)
        yield _measure_column(part, shown.in_unit_of(part[measure.key]), priority)
    axis = front_axis(part, board.options.sort)
    if axis is not None and part[f"{axis.key}_front"].any():
        yield Column("Front", tuple(front_text(part, axis)), is_number=False, priority=4)
    if len(board.scenarios) > 1 and part["num_scenarios"].nunique() > 1:
        of = len(board.scenarios)
        yield Column("Scenarios", tuple(f"{count}/{of}" for count in part["num_scenarios"]), priority=3)
    if part["stack_detail"].nunique() > 1:
        yield Column("On", tuple(part["stack_detail"].fillna("—")), is_number=False, priority=8)
    if part["tier"].nunique(dropna=False) > 1:
        yield Column("Evidence", tuple(part["tier"].fillna(Tier.none)), is_number=False, priority=5)


def _measure_column(part: pd.DataFrame, measure: Measure, priority: int) -> Column:
    """Return a column of values; estimates keep their intervals even in a narrow table, measured values do not."""
    plain = value_text(part, measure)
    if measure.key == "idealized_s":
        marks = [" †" if count else "" for count in part["num_out_of_domain"]]
        plain = [f"{text}{mark}" for text, mark in zip(plain, marks, strict=True)]
    if not measure.shows_interval:
        return Column(measure.heading, tuple(plain), priority=priority)
    spans = interval_text(part, measure)
    cells = tuple(f"{text}{span}" for text, span in zip(plain, spans, strict=True))
    is_estimate = measure.key == "idealized_s" and not part["tier"].dropna().isin(_MEASURED).all()
    return Column(measure.heading, cells, cells if is_estimate else tuple(plain), priority=priority)


def _title(part: pd.DataFrame, scenario: str) -> str:
    details = part["stack_detail"].dropna().unique()
    stack = part["stack"].iloc[0] if len(part) else ""
    on = details[0] if len(details) == 1 else stack
    return f"{scenario}, idealized on {on}" if on else scenario


def _legend(part: pd.DataFrame, board: Leaderboard) -> Iterator[str]:
    if part.empty:
        yield "There is nothing to compare."
        return
    counts = part["num_instances"]
    basis = "the same" if board.options.common and counts.nunique() == 1 else f"{counts.min()} to"
    scores = ", ".join(sorted(part["score_name"].dropna().unique())) or "none"
    splits = ", of all splits" if board.options.all_splits else ""
    yield f"Models are compared on {basis} {counts.max()} instances{splits}; the score is {scores}."
    yield (
        f"Ranks are by {MEASURES[board.options.sort].name}, with the 90 % interval of {board.options.num_draws} "
        f"{board.draws}; = is an exact tie."
    )
    axis = front_axis(part, board.options.sort)
    if axis is not None and part[f"{axis.key}_front"].any():
        yield (
            f"{ON_FRONT} is on the Pareto front of score against {axis.name}; "
            "the percentage is the share of draws in which a model is."
        )
    if any(MEASURES[name].unit == "$/1k" and has_numbers(part, name) for name in SHOWN):
        yield "Costs are in dollars for a thousand requests, or for a thousand correct answers."
    if part["tier"].notna().any():
        tiers = part["tier"].fillna(Tier.none).value_counts().sort_index()
        which = next(iter(tiers.index)) if len(tiers) == 1 else ", ".join(f"{tier} {n}" for tier, n in tiers.items())
        yield f"Evidence for the idealized numbers: {which}."
    if part["num_at_todays_price"].any():
        yield f"{AT_TODAYS_PRICE} At today's API price, as none of the day of the request is known."
    if part["num_out_of_domain"].any():
        yield "† Some requests lie outside what the stack was measured on; their prediction is an extrapolation."
    if part["num_doubtful"].any():
        yield (
            f"{LOWER_BOUND.strip()} is a lower bound: tokens of {part['num_doubtful'].sum():.0f} requests were counted "
            "too low (column doubts). They are no part of a provider factor, and their API cost is not ranked."
        )
    if has_numbers(part, "denoised_s_at_most") and part["denoised_s"].isna().any():
        yield (
            f"{UPPER_BOUND.strip()} is an upper bound: the service was not seen computing one request alone. "
            "It is not ranked, and no provider factor is made of it."
        )
    if part["num_failed"].any():
        yield f"{part['num_failed'].sum()} requests failed; their instances are left out."
