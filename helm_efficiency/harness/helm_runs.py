"""HELM run folders, of every version since 2022: one folder in, its request records out.

Memory is bounded by one run. A folder is `run_spec.json`, `scenario_state.json` (the requests; needed) and
`per_instance_stats.json` (HELM's token counts and the scores; without it both are missing).
"""

import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import msgspec
from msgspec import Struct

from helm_efficiency.errors import FileFormatError, InputError
from helm_efficiency.harness import helm_format as fmt
from helm_efficiency.harness.helm_records import (
    RunIdentity,
    perturbation_key,
    perturbation_label,
    record_of,
    scenario_of,
    shape_of,
)
from helm_efficiency.harness.records import RequestRecord
from helm_efficiency.harness.scores import is_score, main_score
from helm_efficiency.harness.token_facts import RequestShape, TokenFacts, harness_facts

RUN_FILES = frozenset({"run_spec.json", "scenario_state.json"})
"""A folder with either is a run folder; one without the other is incomplete, and reading it says so."""

ReadBytes = Callable[[str], bytes]
"""Reads one file, given its path; raises FileNotFoundError where there is none, else OSError."""


class HelmRun(Struct, frozen=True, kw_only=True):
    """One run: what it was, and a record for each request.

    Attributes:
        folder: Path of its folder, as given.
        suite: Name of the folder around it; empty if there is none.
        name: Name of the run, as its run spec has it.
        scenario: The name without who was asked.
        model: Name of the model.
        deployment: Name of the deployment; equal to `model` in runs before there were deployments.
        groups: HELM's run groups.
        score_name: Its main score, None where it cannot be known.
        records: One for each request, in the order of `scenario_state.json`.
        warnings: What is doubtful in it, one line each.
    """

    folder: str
    suite: str
    name: str
    scenario: str
    model: str
    deployment: str
    groups: tuple[str, ...]
    score_name: str | None
    records: tuple[RequestRecord, ...]
    warnings: tuple[str, ...] = ()


def find_runs(root: Path | str) -> Iterator[Path]:
    """Folders at or below `root` that hold a run, in order of their paths.

    Links are followed, but no folder is entered twice. A folder that cannot be listed is yielded too, so that reading
    it reports why.

    Raises:
        InputError: `root` is not a folder.
    """
    root = Path(root)
    if not root.is_dir():
        raise InputError(f"{root} is not a folder; expected a HELM run, a suite or a folder of suites.")
    entered: set[tuple[int, int]] = set()
    stack = [root]
    while stack:
        folder = stack.pop()
        try:
            status = folder.stat()
            if (status.st_dev, status.st_ino) in entered:
                continue
            entered.add((status.st_dev, status.st_ino))
            with os.scandir(folder) as listing:
                entries = list(listing)
        except OSError:
            yield folder
            continue
        if any(entry.name in RUN_FILES for entry in entries):
            yield folder
        stack.extend(sorted((Path(entry.path) for entry in entries if _is_dir(entry)), reverse=True))


def _is_dir(entry: os.DirEntry[str]) -> bool:
    try:
        return entry.is_dir()
    except OSError:  # a link to itself
        return False


def read_local(path: str) -> bytes:
    """Bytes of a file on this machine."""
    return Path(path).read_bytes()


def read_run(folder: Path | str, *, read_bytes: ReadBytes = read_local) -> HelmRun:
    """Read one run folder.

    Args:
        folder: Path of the folder, or its address where `read_bytes` reads elsewhere (as `cat_file` of fsspec does).
        read_bytes: Reads one file.

    Raises:
        FileFormatError: A file is truncated, or a value is not what it should be; names the file and the place.
        InputError: `scenario_state.json` is missing, or a file cannot be read; names it.
    """
    folder = str(folder).rstrip("/")
    *_, around, own_name = ["", *folder.replace(os.sep, "/").split("/")]
    state = _read(folder, "scenario_state.json", decoder=fmt.SCENARIO_STATE, read_bytes=read_bytes)
    if state is None:
        raise InputError(f"{folder}/scenario_state.json: not there, so the run has no requests to read.")
    spec = _read(folder, "run_spec.json", decoder=fmt.RUN_SPEC, read_bytes=read_bytes)
    entries = _read(folder, "per_instance_stats.json", decoder=fmt.PER_INSTANCE_STATS, read_bytes=read_bytes)
    return _run(
        folder=folder,
        suite=around if around not in (".", "..") else "",
        spec=spec or fmt.RunSpec(name=own_name, adapter_spec=state.adapter_spec),
        states=state.request_states,
        entries=entries,
    )


def _read(folder: str, name: str, *, decoder: msgspec.json.Decoder[Any], read_bytes: ReadBytes) -> Any:
    """One decoded file of a run, None if there is none."""
    file = f"{folder}/{name}"
    try:
        data = read_bytes(file)
    except FileNotFoundError:
        return None
    except OSError as error:
        raise InputError(f"{file}: {error.strerror or error}.") from error
    return fmt.decode(data, decoder, file=file)


def _run(
    *,
    folder: str,
    suite: str,
    spec: fmt.RunSpec,
    states: list[fmt.RequestState],
    entries: list[fmt.PerInstanceStats] | None,
) -> HelmRun:
    first = states[0].request if states else fmt.Request()
    model = spec.adapter_spec.model or first.model
    identity = RunIdentity(
        suite=suite,
        run=spec.name,
        scenario=scenario_of(spec.name),
        model=model,
        deployment=spec.adapter_spec.model_deployment or first.model_deployment or model,
    )
    by_key = _stats_by_key(entries or [], file=f"{folder}/per_instance_stats.json")
    groups = _groups(states, by_key)
    records = _records(states, groups, identity)
    available = dict.fromkeys(name for group in groups for name in group.stats.scores)
    return HelmRun(
        folder=folder,
        suite=suite,
        name=spec.name,
        scenario=identity.scenario,
        model=identity.model,
        deployment=identity.deployment,
        groups=tuple(spec.groups),
        score_name=main_score(spec.groups, [metric.args for metric in spec.metric_specs], available),
        records=records,
        warnings=tuple(_warnings(records, has_stats=entries is not None)),
    )


_Key = tuple[str, int, bytes]
"""Instance id, train trial, perturbation: what HELM's per-instance stats belong to."""


class _Stats(Struct):
    """What HELM counted and scored for the requests of one instance."""

    num_requests: int = 0
    prompt_total: int | None = None
    output_total: int | None = None
    scores: dict[str, float] = msgspec.field(default_factory=dict)
    firsts: list[str] = msgspec.field(default_factory=list)


class _Group(Struct):
    """Requests that HELM counted together, by their places in the run."""

    stats: _Stats
    members: list[int] = msgspec.field(default_factory=list)


def _stats_by_key(entries: list[fmt.PerInstanceStats], *, file: str) -> dict[_Key, list[_Stats]]:
    """Stats of each instance; several of one key where HELM has several instances of one id, in order."""
    by_key: dict[_Key, list[_Stats]] = {}
    for entry in entries:
        if not entry.stats:
            continue
        key = (str(entry.instance_id), entry.train_trial_index, perturbation_key(entry.perturbation))
        # Each metric adds an entry. One that begins like an earlier entry is of the next instance of the same id.
        slots = by_key.setdefault(key, [])
        first = entry.stats[0].name.name
        stats = next((slot for slot in slots if first not in slot.firsts), None)
        if stats is None:
            stats = _Stats()
            slots.append(stats)
        stats.firsts.append(first)
        _add(stats, entry.stats, file=file)
    return by_key


def _add(stats: _Stats, more: list[fmt.Stat], *, file: str) -> None:
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


def _groups(states: list[fmt.RequestState], by_key: dict[_Key, list[_Stats]]) -> list[_Group]:
    """Requests with the stats that count them: one, or one for each reference of a separate-choice instance."""
    groups: list[_Group] = []
    open_groups: dict[_Key, list[_Group]] = {}
    for place, state in enumerate(states):
        instance = state.instance
        key = (str(instance.id), state.train_trial_index, perturbation_key(instance.perturbation))
        waiting = open_groups.get(key)
        if waiting is None:
            waiting = open_groups[key] = [_Group(stats) for stats in by_key.get(key) or [_Stats()]]
            groups.extend(waiting)
        waiting[0].members.append(place)
        if len(waiting) > 1 and len(waiting[0].members) >= waiting[0].stats.num_requests:
            del waiting[0]
    return groups


def _records(states: list[fmt.RequestState], groups: list[_Group], identity: RunIdentity) -> tuple[RequestRecord, ...]:
    shapes = [shape_of(state) for state in states]
    client_stores_tokens = any(any(shape.completion_tokens) for shape in shapes)
    records: list[RequestRecord | None] = [None] * len(states)
    for group in groups:
        facts = _facts([shapes[i] for i in group.members], group.stats, client_stores_tokens=client_stores_tokens)
        for i, its_facts in zip(group.members, facts, strict=True):
            perturbation = perturbation_label(states[i].instance.perturbation)
            records[i] = record_of(
                states[i], identity=identity, perturbation=perturbation, facts=its_facts, scores=group.stats.scores
            )
    return tuple(record for record in records if record is not None)


def _facts(shapes: list[RequestShape], stats: _Stats, *, client_stores_tokens: bool) -> list[TokenFacts]:
    counted = stats.num_requests == len(shapes)  # else HELM's totals are of other requests than these
    return harness_facts(
        shapes,
        prompt_total=stats.prompt_total if counted else None,
        output_total=stats.output_total if counted else None,
        client_stores_tokens=client_stores_tokens,
    )


def _warnings(records: tuple[RequestRecord, ...], *, has_stats: bool) -> Iterator[str]:
    if not has_stats:
        yield "no per_instance_stats.json: HELM's prompt tokens and the scores are missing"
    one_token = sum("text_as_one_token" in record.doubts for record in records)
    if one_token:
        yield f"{one_token} of {len(records)} requests: the client stored a whole answer as one token"
    media = sum("media_not_counted" in record.doubts for record in records)
    if media:
        yield f"{media} of {len(records)} requests: HELM counted the text of the prompt but not its media"
