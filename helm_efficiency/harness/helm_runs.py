"""HELM run folders, of every version since 2022: one folder in, its request records out.

Memory is bounded by one run. A folder is `run_spec.json`, `scenario_state.json` (the requests; needed) and
`per_instance_stats.json` (HELM's token counts and the scores; without it both are missing).
"""

import os
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import msgspec
from msgspec import Struct

from helm_efficiency.errors import InputError
from helm_efficiency.files import MOST_LOG_BYTES, read_bytes
from helm_efficiency.harness import helm_format as fmt
from helm_efficiency.harness.folders import walk
from helm_efficiency.harness.helm_cache import RequestCaches
from helm_efficiency.harness.helm_instances import Group, InstanceStats, group_requests, stats_by_key
from helm_efficiency.harness.helm_records import (
    perturbation_label,
    record_of,
    scenario_of,
    shape_of,
    with_tokenizer,
)
from helm_efficiency.harness.json_files import decode
from helm_efficiency.harness.local_tokenizers import LocalTokenizers
from helm_efficiency.harness.records import Doubt, HarnessRun, RequestRecord, RunIdentity
from helm_efficiency.harness.scores import main_score
from helm_efficiency.harness.token_facts import RequestShape, TokenFacts, harness_facts, with_usage

RUN_FILES = frozenset({"run_spec.json", "scenario_state.json"})
"""A folder with either is a run folder; one without the other is incomplete, and reading it says so."""

ReadBytes = Callable[[str], bytes]
"""Reads one file, given its path; raises FileNotFoundError where there is none, else OSError."""


class HelmRun(HarnessRun, frozen=True, kw_only=True):
    """A HELM run; records are in the order of `scenario_state.json`.

    Attributes:
        groups: HELM's run groups.
    """

    groups: tuple[str, ...]

    @property
    def folder(self) -> str:
        """Path or address of the run's folder."""
        return self.source


def find_runs(root: Path | str) -> Iterator[Path]:
    """Folders at or below `root` that hold a run, in order of their paths.

    Links are followed, but no folder is entered twice. A folder that cannot be listed is yielded too, so that reading
    it reports why.

    Raises:
        InputError: `root` is not a folder.
    """
    for folder, files in walk(root):
        if files is None or not RUN_FILES.isdisjoint(files):
            yield folder


def read_local(path: str) -> bytes:
    """Bytes of a file on this machine.

    Raises:
        FileFormatError: It is too large to be of a run.
        OSError: It cannot be read.
    """
    return read_bytes(path, most_bytes=MOST_LOG_BYTES)


def read_run(
    folder: Path | str,
    *,
    read_bytes: ReadBytes = read_local,
    caches: RequestCaches | None = None,
    tokenizers: LocalTokenizers | None = None,
) -> HelmRun:
    """Read one run folder.

    Args:
        folder: Path of the folder, or its address where `read_bytes` reads elsewhere (as `cat_file` of fsspec does).
        read_bytes: Reads one file.
        caches: HELM's request caches, for the provider's own token counts.
        tokenizers: For requests that neither provider nor HELM counted.

    Raises:
        FileFormatError: A file is truncated, or a value is not what it should be; names the file and the place.
        InputError: `scenario_state.json` is missing, or a file cannot be read; names it.
    """
    files = _read_files(str(folder).rstrip("/"), read_bytes)
    return _run(files, partial(_better_counts, caches=caches, tokenizers=tokenizers))


class _Files(Struct, frozen=True):
    """What the files of one run say; `entries` is None without per-instance stats."""

    folder: str
    suite: str
    spec: fmt.RunSpec
    states: list[fmt.RequestState]
    entries: list[fmt.PerInstanceStats] | None


def _read_files(folder: str, read_bytes: ReadBytes) -> _Files:
    whole = folder if "://" in folder else os.path.abspath(folder)  # noqa: PTH100 (Path.absolute keeps `..`)
    *_, around, own_name = ["", *whole.replace(os.sep, "/").split("/")]
    state = _read(folder, "scenario_state.json", decoder=fmt.SCENARIO_STATE, read_bytes=read_bytes)
    if state is None:
        raise InputError(f"{folder}/scenario_state.json: not there, so the run has no requests to read.")
    spec = _read(folder, "run_spec.json", decoder=fmt.RUN_SPEC, read_bytes=read_bytes)
    entries = _read(folder, "per_instance_stats.json", decoder=fmt.PER_INSTANCE_STATS, read_bytes=read_bytes)
    spec = spec or fmt.RunSpec(name=own_name, adapter_spec=state.adapter_spec)
    return _Files(folder, around, spec, state.request_states, entries)


def _better_counts(
    facts: TokenFacts,
    state: fmt.RequestState,
    identity: RunIdentity,
    *,
    caches: RequestCaches | None,
    tokenizers: LocalTokenizers | None,
) -> TokenFacts:
    """HELM's counts with the provider's in their place, else with a tokenizer's where there are none."""
    usage = caches.find(state) if caches is not None else None
    if usage is not None:
        facts = with_usage(facts, usage, num_completions=state.request.num_completions)
    if tokenizers is not None and (facts.prompt_tokens is None or facts.output_tokens is None or facts.doubts):
        count = partial(tokenizers.count, deployment=identity.deployment, model=identity.model)
        facts = with_tokenizer(facts, state, count)
    return facts


_Better = Callable[[TokenFacts, fmt.RequestState, RunIdentity], TokenFacts]


def _read(folder: str, name: str, *, decoder: msgspec.json.Decoder[Any], read_bytes: ReadBytes) -> Any:
    """One decoded file of a run, None if there is none."""
    file = f"{folder}/{name}"
    try:
        data = read_bytes(file)
    except FileNotFoundError:
        return None
    except OSError as error:
        raise InputError(f"{file}: {error.strerror or error}.") from error
    return decode(data, decoder, file=file)


def _run(files: _Files, better: _Better) -> HelmRun:
    spec, states = files.spec, files.states
    first = states[0].request if states else fmt.Request()
    model = spec.adapter_spec.model or first.model or ""
    identity = RunIdentity(
        suite=files.suite,
        run=spec.name,
        scenario=scenario_of(spec.name),
        model=model,
        deployment=spec.adapter_spec.model_deployment or first.model_deployment or model,
    )
    by_key = stats_by_key(files.entries or [], file=f"{files.folder}/per_instance_stats.json")
    groups = group_requests(states, by_key)
    records = _records(states, groups, identity, better)
    available: dict[str, float] = {}
    for group in groups:
        available |= group.stats.scores
    return HelmRun(
        source=files.folder,
        suite=identity.suite,
        name=identity.run,
        scenario=identity.scenario,
        model=identity.model,
        deployment=identity.deployment,
        groups=tuple(spec.groups),
        score_name=main_score(spec.groups, [metric.args for metric in spec.metric_specs], available),
        records=records,
        warnings=tuple(_warnings(records, has_stats=files.entries is not None)),
    )


def _records(
    states: list[fmt.RequestState], groups: list[Group], identity: RunIdentity, better: _Better
) -> tuple[RequestRecord, ...]:
    shapes = [shape_of(state) for state in states]
    client_stores_tokens = any(any(shape.completion_tokens) for shape in shapes)
    records: list[RequestRecord | None] = [None] * len(states)
    for group in groups:
        facts = _facts([shapes[i] for i in group.members], group.stats, client_stores_tokens=client_stores_tokens)
        for i, its_facts in zip(group.members, facts, strict=True):
            records[i] = record_of(
                states[i],
                identity=identity,
                perturbation=perturbation_label(states[i].instance.perturbation),
                facts=better(its_facts, states[i], identity),
                scores=group.stats.scores,
            )
    return tuple(record for record in records if record is not None)


def _facts(shapes: list[RequestShape], stats: InstanceStats, *, client_stores_tokens: bool) -> list[TokenFacts]:
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
    for doubt, meaning in _MEANINGS.items():
        number = sum([doubt in record.doubts for record in records])
        if number:
            yield f"{number} of {len(records)} requests: {meaning}"


_MEANINGS: dict[Doubt, str] = {
    "media_not_counted": "HELM counted the text of the prompt but not its images, audio or video",
    "prompt_as_one_token": "HELM has no tokenizer for the model and counted the prompt as one token",
    "text_as_one_token": "the client stored a whole answer as one token",
}
