"""Read HELM's counts and scores for each instance of a run, and match them to the requests that they cover.

`per_instance_stats.json` has an entry for each metric and instance. Most instances have one request; separate-choice
adapters make one for each reference (and calibration), and HELM adds up their tokens.
"""

from collections.abc import Iterable, Iterator, Sequence
from itertools import chain
from typing import NamedTuple, Self

import msgspec
from msgspec import Struct
from msgspec.structs import replace

from helm_efficiency.adapters.helm import format as fmt
from helm_efficiency.adapters.helm.request import perturbation_key
from helm_efficiency.adapters.record import TokenProvenance
from helm_efficiency.adapters.token_counts import TokenFacts, Usage, with_usage
from helm_efficiency.catalog.helm_metadata import is_score
from helm_efficiency.errors import FileFormatError

_Key = tuple[str, int, bytes]
"""Key of HELM's per-instance stats: instance id, train trial, perturbation."""


PROVENANCE_PREFIXES = ("prompt_tokens_from_", "output_tokens_from_")
"""Beginnings of the names of our stats that say who counted; the name of the counter follows."""

_ELSEWHERE: dict[str, TokenProvenance] = {"usage": "usage", "tokenizer": "tokenizer"}
"""Provenances of counts that are not HELM's; such counts cannot be recomputed from what HELM stored."""

_USAGE_STATS = {
    "num_reasoning_tokens": "reasoning_tokens",
    "num_cache_read_tokens": "cache_read_tokens",
    "num_cache_write_tokens": "cache_write_tokens",
}
"""Further stats of ours, with the attribute of `Usage` that each was written from."""


class Written(Struct, gc=False):
    """Values that an earlier rescore wrote into the stats of an instance.

    Attributes:
        prompt_from: Counter of its prompt tokens, if it was not HELM.
        output_from: Counter of its output tokens, if it was not HELM.
        parts: Token counts by their attribute names in `Usage`.
    """

    prompt_from: TokenProvenance | None = None
    output_from: TokenProvenance | None = None
    parts: dict[str, int] = {}


class InstanceStats(Struct, gc=False):
    """HELM's counts and scores for the requests of one instance.

    Attributes:
        num_requests: Number of requests that HELM counted.
        prompt_total: Prompt tokens of these requests.
        output_total: Output tokens of these requests.
        scores: Scores of the instance, by name.
        firsts: Names of the first stats of the entries that were added.
        members: Indices of its requests in the run.
        written: Values that an earlier rescore wrote; None if there was none.
    """

    num_requests: int = 1
    prompt_total: int | None = None
    output_total: int | None = None
    scores: dict[str, float] = msgspec.field(default_factory=dict)
    firsts: tuple[str, ...] = ()
    members: list[int] = msgspec.field(default_factory=list)
    written: Written | None = None

    def with_written(self, facts: TokenFacts, num_completions: int) -> TokenFacts:
        """Return the facts of its one request, with the counts that an earlier rescore did not take from HELM."""
        written = self.written
        if written is None:
            return facts
        usage = Usage(
            self.prompt_total if written.prompt_from else None, self.output_total if written.output_from else None
        )
        usage = msgspec.structs.replace(usage, **written.parts)
        return self.with_provenance(with_usage(facts, usage, num_completions=num_completions))

    def with_provenance(self, facts: TokenFacts) -> TokenFacts:
        """Return the facts of one of its requests, with the provenance that an earlier rescore recorded."""
        written = self.written
        if written is None:
            return facts
        return replace(
            facts,
            prompt_provenance=(facts.prompt_tokens is not None and written.prompt_from) or facts.prompt_provenance,
            output_provenance=(facts.output_tokens is not None and written.output_from) or facts.output_provenance,
        )


def stats_by_key(
    parts: Iterable[Iterable[fmt.PerInstanceStats]] | None, *, file: str
) -> dict[_Key, list[InstanceStats]] | None:
    """Return the stats of each instance, in order; a key has several if HELM has several instances of one id."""
    if parts is None:
        return None
    by_key: dict[_Key, list[InstanceStats]] = {}
    wanted: dict[tuple[str, ...], _Wanted] = {}
    last: list[str] = []
    its = _Wanted.of(())
    for entry in chain.from_iterable(parts):
        if not entry.stats:
            continue
        names = [stat.name.name for stat in entry.stats]
        if names != last:
            last, key_of_names = names, tuple(names)
            its = wanted.get(key_of_names) or wanted.setdefault(key_of_names, _Wanted.of(key_of_names))
        key = (str(entry.instance_id), entry.train_trial_index, perturbation_key(entry.perturbation))
        slots = by_key.setdefault(key, [])
        _add(slots, entry.stats, its, file=file)
    return by_key


class _Wanted(NamedTuple):
    """Indices of the wanted stats within an entry; nearly all entries of a run have the same stats.

    Attributes:
        first: Name of the first stat.
        scores: Names of the scores.
        places: Indices of the scores.
        prompt: Index of the prompt tokens.
        output: Index of the output tokens.
        written: Indices and names of the stats that an earlier rescore wrote.
        made: Mappings of scores by their values: most scores of a run are 0 or 1, so thousands of requests share one.
    """

    first: tuple[str, ...]
    scores: Sequence[str]
    places: Sequence[int]
    prompt: int | None
    output: int | None
    written: Sequence[tuple[int, str]]
    made: dict[tuple[float | None, ...], dict[str, float]]

    @classmethod
    def of(cls, names: tuple[str, ...]) -> Self:
        place_of = {name: place for place, name in enumerate(names)}
        places = [place for place, name in enumerate(names) if is_score(name)]
        scores = [names[place] for place in places]
        tokens = place_of.get("num_prompt_tokens"), place_of.get("num_output_tokens")
        written = [(i, name) for i, name in enumerate(names) if name.startswith((*PROVENANCE_PREFIXES, *_USAGE_STATS))]
        return cls(names[:1], scores, places, *tokens, written, {})

    def scores_of(self, stats: list[fmt.Stat]) -> dict[str, float]:
        """Return the scores by name. Do not change the mapping, as other requests may share it."""
        values: tuple[float | None, ...]
        try:
            values = tuple([stats[place].sum / stats[place].count for place in self.places])  # type: ignore[operator]
        except (TypeError, ZeroDivisionError):  # few entries lack a score
            values = tuple([_mean(stats[place]) for place in self.places])
        scores = self.made.get(values)
        if scores is None:
            scores = {name: value for name, value in zip(self.scores, values, strict=True) if value is not None}
            if len(self.made) < _MOST_SHARED:
                self.made[values] = scores
        return scores


def _mean(stat: fmt.Stat) -> float | None:
    return stat.sum / stat.count if isinstance(stat.sum, float) and stat.count else None


_MOST_SHARED = 1000
"""Most mappings of scores to keep for reuse; with more distinct values, scores are rarely equal."""


def _add(slots: list[InstanceStats], more: list[fmt.Stat], wanted: _Wanted, *, file: str) -> None:
    """Add an entry. Each metric writes one per instance; a repeated first stat begins the next instance of that id."""
    scores, first = wanted.scores_of(more), wanted.first
    for stats in slots:
        if first[0] not in stats.firsts:
            stats.scores = {**stats.scores, **scores} if scores else stats.scores
            stats.firsts += first
            break
    else:
        stats = InstanceStats(scores=scores, firsts=first)
        slots.append(stats)
    if wanted.prompt is not None and (total := _total(more[wanted.prompt], file)) is not None:
        stats.prompt_total, stats.num_requests = total, int(more[wanted.prompt].count)
    if wanted.output is not None and (total := _total(more[wanted.output], file)) is not None:
        stats.output_total = total
    if wanted.written:
        stats.written = _written([(name, more[place]) for place, name in wanted.written], stats.num_requests, file)


def _written(found: Iterable[tuple[str, fmt.Stat]], num_requests: int, file: str) -> Written:
    """Collect the values that an earlier rescore wrote, and who counted if one counter counted all."""
    written = Written(parts={})
    for name, stat in found:
        total = _total(stat, file)
        if name in _USAGE_STATS and total is not None:
            written.parts[_USAGE_STATS[name]] = total
        prefix, _, whose = name.partition("_from_")
        if whose in _ELSEWHERE and total == num_requests:
            if prefix == "prompt_tokens":
                written.prompt_from = _ELSEWHERE[whose]
            else:
                written.output_from = _ELSEWHERE[whose]
    return written


def _total(stat: fmt.Stat, file: str) -> int | None:
    value = stat.sum
    if not stat.count or value is None:
        return None
    if isinstance(value, str) or not 0 <= value <= 2**53 or not value.is_integer():
        raise FileFormatError(f"{file}: {stat.name.name} is {value}, expected a count.")
    return int(value)


def group_requests(states: list[fmt.RequestState], by_key: dict[_Key, list[InstanceStats]]) -> Iterator[InstanceStats]:
    """Yield the stats with the requests that they count: one, or one per reference of a separate-choice instance."""
    for place, state in enumerate(states):
        instance = state.instance
        key = (str(instance.id), state.train_trial_index, perturbation_key(instance.perturbation))
        slots = by_key.get(key)
        if slots is None:
            slots = by_key[key] = [InstanceStats()]
        _unserved(slots).members.append(place)
    for slots in by_key.values():
        # Left-over stats do not come from another instance, but from a metric with the same first stat as another.
        served = [stats for stats in slots if stats.members]
        for stats in slots if served else ():
            if not stats.members:
                served[-1].scores = {**stats.scores, **served[-1].scores}
        yield from served


def _unserved(slots: list[InstanceStats]) -> InstanceStats:
    """Return the first slot that lacks a request, else the last."""
    for stats in slots:
        if len(stats.members) < stats.num_requests:
            return stats
    return slots[-1]
