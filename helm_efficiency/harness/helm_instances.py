"""What HELM counted and scored for each instance of a run, and which requests that covers.

`per_instance_stats.json` has an entry for each metric and instance. Most instances have one request; separate-choice
adapters make one for each reference (and calibration), and HELM adds up their tokens.
"""

import msgspec
from msgspec import Struct

from helm_efficiency.errors import FileFormatError
from helm_efficiency.harness import helm_format as fmt
from helm_efficiency.harness.helm_records import perturbation_key
from helm_efficiency.harness.scores import is_score

_Key = tuple[str, int, bytes]
"""Instance id, train trial, perturbation: what HELM's per-instance stats belong to."""


class InstanceStats(Struct, gc=False):
    """What HELM counted and scored for the requests of one instance."""

    num_requests: int = 1
    prompt_total: int | None = None
    output_total: int | None = None
    scores: dict[str, float] = msgspec.field(default_factory=dict)
    firsts: list[str] = msgspec.field(default_factory=list)


class Group(Struct, gc=False):
    """Requests that HELM counted together, by their places in the run."""

    stats: InstanceStats
    members: list[int] = msgspec.field(default_factory=list)


def stats_by_key(entries: list[fmt.PerInstanceStats], *, file: str) -> dict[_Key, list[InstanceStats]]:
    """Stats of each instance; several of one key where HELM has several instances of one id, in order."""
    by_key: dict[_Key, list[InstanceStats]] = {}
    for entry in entries:
        if not entry.stats:
            continue
        key = (str(entry.instance_id), entry.train_trial_index, perturbation_key(entry.perturbation))
        # Each metric adds an entry. One that begins like an earlier entry is of the next instance of the same id.
        slots = by_key.setdefault(key, [])
        first = entry.stats[0].name.name
        stats = next((slot for slot in slots if first not in slot.firsts), None)
        if stats is None:
            stats = InstanceStats()
            slots.append(stats)
        stats.firsts.append(first)
        _add(stats, entry.stats, file=file)
    return by_key


def _add(stats: InstanceStats, more: list[fmt.Stat], *, file: str) -> None:
    scores = stats.scores
    for stat in more:
        name, count, total = stat.name.name, stat.count, stat.sum
        if not count or total is None:
            continue
        if is_score(name):
            if not isinstance(total, str):
                scores[name] = total / count
        elif name == "num_prompt_tokens":
            stats.prompt_total, stats.num_requests = _as_count(total, name, file), int(count)
        elif name == "num_output_tokens":
            stats.output_total = _as_count(total, name, file)


def _as_count(value: float | str, name: str, file: str) -> int:
    if isinstance(value, str) or not 0 <= value <= 2**53 or value != int(value):
        raise FileFormatError(f"{file}: {name} is {value}, expected a count.")
    return int(value)


def group_requests(states: list[fmt.RequestState], by_key: dict[_Key, list[InstanceStats]]) -> list[Group]:
    """Requests with the stats that count them: one, or one for each reference of a separate-choice instance."""
    of_keys: dict[_Key, list[Group]] = {}
    for place, state in enumerate(states):
        instance = state.instance
        key = (str(instance.id), state.train_trial_index, perturbation_key(instance.perturbation))
        groups = of_keys.get(key)
        if groups is None:
            groups = of_keys[key] = [Group(stats) for stats in by_key.get(key) or [InstanceStats()]]
        unserved = (group for group in groups if len(group.members) < group.stats.num_requests)
        next(unserved, groups[-1]).members.append(place)
    for groups in of_keys.values():
        # Stats that no request is left for are not of a further instance but of a metric that begins like another.
        served = [group for group in groups if group.members]
        for group in groups:
            if not group.members:
                served[-1].stats.scores = {**group.stats.scores, **served[-1].stats.scores}
    return [group for groups in of_keys.values() for group in groups if group.members]
