"""Read the requests of a HELM run from `per_instance_stats.json` alone: tokens, times and scores, but no texts.

Archives often leave `scenario_state.json` out because it is large. HELM's stats of an instance are sums over its
requests; where a separate-choice adapter made several, they are divided equally.
"""

from collections.abc import Iterable, Sequence
from itertools import chain
from typing import Any, NamedTuple

import msgspec
from msgspec import Struct

from helm_efficiency.adapters.helm import format as fmt
from helm_efficiency.adapters.helm.request import perturbation_key
from helm_efficiency.adapters.json_stream import Count
from helm_efficiency.adapters.token_counts import TokenFacts, Usage, apportion, facts_of
from helm_efficiency.catalog.helm_metadata import is_score


class _Name(Struct, gc=False):
    name: str
    split: str | None = None
    sub_split: str | None = None


class _Stat(Struct, gc=False):
    name: _Name
    count: float = 0
    sum: float | str | None = None


class _Entry(Struct, gc=False):
    instance_id: str | int
    stats: list[_Stat]
    train_trial_index: Count = 0
    perturbation: dict[str, Any] | None = None


ENTRIES = msgspec.json.Decoder(list[_Entry])
"""Decoder of `per_instance_stats.json` with the split of each stat."""


class Requests(NamedTuple):
    """Requests of a run, with HELM's counts and scores."""

    states: list[fmt.RequestState]
    facts: list[TokenFacts]
    scores: list[dict[str, float]]


class _Unit(NamedTuple):
    """Unit that HELM evaluates at once: an instance in one train trial, with its stats by name."""

    instance: fmt.Instance
    trial: int
    stats: dict[str, _Stat]

    def total(self, name: str) -> float | None:
        stat = self.stats.get(name)
        return stat.sum if stat is not None and stat.count and isinstance(stat.sum, float) else None

    def tokens(self, name: str) -> int | None:
        """Return a count; None if HELM says 0 or nothing."""
        total = self.total(name)
        return int(total) if total and total > 0 and total.is_integer() else None


def requests_from_stats(parts: Iterable[Sequence[_Entry]], adapter: fmt.AdapterSpec) -> Requests:
    """Read the requests of a run from its stats.

    A count of 0 is taken as missing if HELM says 0 for the whole run: its client then stored no tokens.
    """
    units = _units(chain.from_iterable(parts))
    stores_tokens = any(unit.tokens("num_output_tokens") for unit in units)
    found = Requests([], [], [])
    for unit in units:
        scores = {name: score for name, stat in unit.stats.items() if (score := _score(name, stat)) is not None}
        outputs = unit.tokens("num_output_tokens")
        if outputs is None and stores_tokens and unit.total("num_output_tokens") == 0:
            outputs = 0
        for state, facts in _requests_of(unit, outputs, adapter):
            found.states.append(state)
            found.facts.append(facts)
            found.scores.append(scores)
    return found


def _score(name: str, stat: _Stat) -> float | None:
    is_known = is_score(name) and stat.count
    return stat.sum / stat.count if is_known and isinstance(stat.sum, float) else None


def _units(entries: Iterable[_Entry]) -> list[_Unit]:
    """Merge the entries of each unit; a repeated first stat begins the next instance of the same id."""
    units: list[_Unit] = []
    by_key: dict[tuple[str, int, bytes], list[_Unit]] = {}
    for entry in entries:
        if not entry.stats:
            continue
        slots = by_key.setdefault(
            (str(entry.instance_id), entry.train_trial_index, perturbation_key(entry.perturbation)), []
        )
        first = entry.stats[0].name
        unit = next((unit for unit in slots if first.name not in unit.stats), None)
        if unit is None:
            instance = fmt.Instance(entry.instance_id, first.split, first.sub_split, entry.perturbation)
            unit = _Unit(instance, entry.train_trial_index, {})
            slots.append(unit)
            units.append(unit)
        unit.stats.update((stat.name.name, stat) for stat in entry.stats)
    return units


def _requests_of(
    unit: _Unit, outputs: int | None, adapter: fmt.AdapterSpec
) -> Iterable[tuple[fmt.RequestState, TokenFacts]]:
    """Yield each request of a unit with its share of the tokens and the time."""
    counted = unit.stats.get("num_prompt_tokens")
    number = max(int(counted.count), 1) if counted is not None else 1
    prompts = _shares(unit.tokens("num_prompt_tokens"), number)
    shares = zip(prompts, _shares(outputs, number), strict=True)
    seconds = unit.total("inference_runtime")
    completions = (unit.tokens("num_completions") or number) // number
    request = fmt.Request(adapter.model_deployment, adapter.model, num_completions=max(completions, 1))
    for place, (prompt, output) in enumerate(shares):
        result = fmt.RequestResult(request_time=None if seconds is None else seconds / number)
        reference = place if number > 1 else None
        yield (
            fmt.RequestState(unit.instance, request, result, unit.trial, reference_index=reference),
            facts_of(Usage(prompt, output), "harness", num_completions=completions),
        )


def _shares(total: int | None, number: int) -> Sequence[int | None]:
    return [None] * number if total is None else apportion(total, [1] * number)
