"""Read the request records of one HELM run folder, of every version since 2022.

Memory is bounded by one run. A folder is `run_spec.json`, `scenario_state.json` (the requests) and
`per_instance_stats.json` (HELM's token counts and the scores); one of the last two is enough.
"""

from collections.abc import Iterable, Iterator
from functools import partial
from itertools import chain
from pathlib import Path
from typing import NamedTuple

from msgspec.structs import replace

from helm_efficiency.adapters.helm import format as fmt
from helm_efficiency.adapters.helm.files import (
    PER_INSTANCE_STATS,
    RUN_SPEC,
    SCENARIO_STATE,
    OpenFile,
    RunFiles,
    open_local,
)
from helm_efficiency.adapters.helm.hidden_reasoning import hides_reasoning
from helm_efficiency.adapters.helm.instance_stats import group_requests, stats_by_key
from helm_efficiency.adapters.helm.request import (
    perturbation_label,
    record_of,
    scenario_of,
    settings_of,
    shape_of,
    with_tokenizer,
)
from helm_efficiency.adapters.helm.request_cache import RequestCaches
from helm_efficiency.adapters.helm.stats_only import ENTRIES, requests_from_stats
from helm_efficiency.adapters.record import Doubt, HarnessRun, RequestRecord, RunIdentity
from helm_efficiency.adapters.token_counts import (
    RequestShape,
    TokenFacts,
    harness_facts,
    harness_facts_of_one,
    with_hidden_reasoning,
    with_usage,
)
from helm_efficiency.adapters.tokenizers import LocalTokenizers
from helm_efficiency.catalog.helm_metadata import main_score
from helm_efficiency.errors import InputError

RUN_FILES = frozenset({RUN_SPEC, SCENARIO_STATE})
"""A folder with either file is a run folder; if one is missing, reading the run warns about it."""


class HelmRun(HarnessRun, frozen=True, kw_only=True):
    """A HELM run; records are in the order of `scenario_state.json`.

    Attributes:
        groups: HELM's run groups.
        method: Method of adaptation.
        states: Request state of each record, which names its instance; without request and result.
    """

    groups: tuple[str, ...]
    method: str
    states: tuple[fmt.RequestState, ...]

    @property
    def folder(self) -> str:
        """Path or address of the run's folder."""
        return self.source


def read_run(
    folder: Path | str,
    *,
    open_file: OpenFile = open_local,
    caches: RequestCaches | None = None,
    tokenizers: LocalTokenizers | None = None,
) -> HelmRun:
    """Read one run folder.

    Files are read in parts, and texts are dropped at once, so that memory grows with the number of requests but not
    with the size of the files.

    Args:
        folder: Path of the folder, or its address if `open_file` opens remote files (as `open` of fsspec does).
        open_file: Function that opens one file.
        caches: HELM's request caches, for the provider's own token counts.
        tokenizers: Tokenizers for requests that neither provider nor HELM counted.

    Raises:
        FileFormatError: A file is truncated, or a value is not as expected; the message names the file and position.
        InputError: Both `scenario_state.json` and `per_instance_stats.json` are missing, or a file cannot be read.
    """
    files = RunFiles(str(folder).rstrip("/"), open_file)
    states = files.states()
    if states is not None:
        asked = _read_asked(files, states)
        identity = _identity(files, asked)
        counted = _read_counted(files, asked, identity)
        facts = _better_facts(files, counted.facts, identity, caches, tokenizers)
    else:
        asked, counted = _read_stats_only(files)
        identity = _identity(files, asked)
        facts = counted.facts
        if hides_reasoning(identity.deployment, identity.model, asked.states, facts):
            facts = [replace(its, doubts=("reasoning_not_counted",)) for its in facts]
    records = _records(asked.states, facts, counted.scores, identity)
    spec = asked.spec
    available = set().union(*{id(scores): scores for scores in counted.scores}.values())
    return HelmRun(
        source=files.folder,
        suite=identity.suite,
        name=identity.run,
        scenario=identity.scenario,
        model=identity.model,
        deployment=identity.deployment,
        groups=tuple(spec.groups),
        method=asked.method,
        states=tuple(asked.states),
        settings=settings_of(spec.name, spec.adapter_spec),
        score_name=main_score(spec.groups, [metric.args for metric in spec.metric_specs], available),
        records=records,
        warnings=tuple(_warnings(records, has_states=states is not None, has_stats=counted.has_stats)),
    )


class _Asked(NamedTuple):
    """Contents of `run_spec.json` and `scenario_state.json`; shapes replace the texts of the states."""

    spec: fmt.RunSpec
    method: str
    states: list[fmt.RequestState]
    shapes: list[RequestShape]


def _read_asked(files: RunFiles, parts: Iterable[fmt.ScenarioState]) -> _Asked:
    adapter_spec = None
    states: list[fmt.RequestState] = []
    shapes: list[RequestShape] = []
    known: dict[str | None, str | None] = {}
    for part in parts:
        shapes += map(shape_of, part.request_states)
        states += [_without_texts(state, known) for state in part.request_states]
        adapter_spec = part.adapter_spec or adapter_spec
    adapter_spec = adapter_spec or fmt.AdapterSpec()
    spec = files.spec() or fmt.RunSpec(name=files.place[1], adapter_spec=adapter_spec)
    return _Asked(spec, adapter_spec.method or "", states, shapes)


def _without_texts(state: fmt.RequestState, known: dict[str | None, str | None]) -> fmt.RequestState:
    """Drop the texts of a state and share its names, of which a run has few, so that many states fit into memory."""
    request, result, instance = state.request, state.result, state.instance
    request.prompt = request.messages = request.multimodal_prompt = request.max_tokens = None
    request.model = known.setdefault(request.model, request.model)
    request.model_deployment = known.setdefault(request.model_deployment, request.model_deployment)
    instance.split = known.setdefault(instance.split, instance.split)
    if result is not None:
        result.completions = None
    return state


def _identity(files: RunFiles, asked: _Asked) -> RunIdentity:
    spec = asked.spec
    first = asked.states[0].request if asked.states else fmt.Request()
    model = spec.adapter_spec.model or first.model or ""
    return RunIdentity(
        suite=files.place[0],
        run=spec.name,
        scenario=scenario_of(spec.name),
        model=model,
        deployment=spec.adapter_spec.model_deployment or first.model_deployment or model,
    )


class _Counted(NamedTuple):
    """Facts and scores of each request from `per_instance_stats.json`, if the run has that file."""

    facts: list[TokenFacts]
    scores: list[dict[str, float]]
    has_stats: bool


def _read_counted(files: RunFiles, asked: _Asked, identity: RunIdentity) -> _Counted:
    """Read HELM's own counts of each request, and the scores of its instance."""
    by_key = stats_by_key(files.stats(), file=f"{files.folder}/{PER_INSTANCE_STATS}")
    stored = any(any(shape.completion_tokens) for shape in asked.shapes)
    facts = [TokenFacts()] * len(asked.states)
    scores = [_NO_SCORES] * len(asked.states)
    for stats in group_requests(asked.states, by_key or {}):
        members = stats.members
        counted = stats.num_requests == len(members)  # else HELM's totals cover other requests
        totals = (stats.prompt_total, stats.output_total) if counted else (None, None)
        if len(members) == 1:
            its_facts = harness_facts_of_one(asked.shapes[members[0]], *totals, client_stores_tokens=stored)
            if stats.written is not None:
                its_facts = stats.with_written(its_facts, asked.states[members[0]].request.num_completions)
            facts[members[0]] = its_facts
            scores[members[0]] = stats.scores
            continue
        shapes = [asked.shapes[place] for place in members]
        of_group = harness_facts(shapes, prompt_total=totals[0], output_total=totals[1], client_stores_tokens=stored)
        for place, its_facts in zip(members, of_group, strict=True):
            facts[place] = stats.with_provenance(its_facts)
            scores[place] = stats.scores
    if hides_reasoning(identity.deployment, identity.model, asked.states, facts):
        facts = list(map(with_hidden_reasoning, facts, asked.shapes))
    asked.shapes.clear()
    return _Counted(facts, scores, by_key is not None)


def _read_stats_only(files: RunFiles) -> tuple[_Asked, _Counted]:
    """Read a run without `scenario_state.json`."""
    parts = files.stats_as(ENTRIES)
    if parts is None:
        raise InputError(
            f"{files.folder}/{SCENARIO_STATE}: not there, nor is {PER_INSTANCE_STATS}: there are no requests to read."
        )
    spec = files.spec() or fmt.RunSpec(name=files.place[1])
    found = requests_from_stats(parts, spec.adapter_spec)
    asked = _Asked(spec, spec.adapter_spec.method or "", found.states, [])
    return asked, _Counted(found.facts, found.scores, has_stats=True)


def _better_facts(
    files: RunFiles,
    facts: list[TokenFacts],
    identity: RunIdentity,
    caches: RequestCaches | None,
    tokenizers: LocalTokenizers | None,
) -> list[TokenFacts]:
    """Replace HELM's counts by the provider's, and missing ones by a tokenizer's. This reads the texts again."""
    if tokenizers is not None:
        may_help = caches is not None or any(map(_is_wanting, facts))
        is_there = may_help and tokenizers.has(deployment=identity.deployment, model=identity.model)
        tokenizers = tokenizers if is_there else None
    if caches is None and tokenizers is None:
        return facts
    states = chain.from_iterable(part.request_states for part in files.states() or ())
    return [
        _better(its_facts, state, identity, caches, tokenizers) for its_facts, state in zip(facts, states, strict=True)
    ]


def _is_wanting(facts: TokenFacts) -> bool:
    return facts.prompt_tokens is None or facts.output_tokens is None or bool(facts.doubts)


def _better(
    facts: TokenFacts,
    state: fmt.RequestState,
    identity: RunIdentity,
    caches: RequestCaches | None,
    tokenizers: LocalTokenizers | None,
) -> TokenFacts:
    usage = caches.find(state) if caches is not None else None
    if usage is not None:
        facts = with_usage(facts, usage, num_completions=state.request.num_completions)
    if tokenizers is not None and _is_wanting(facts):
        count = partial(tokenizers.count, deployment=identity.deployment, model=identity.model)
        facts = with_tokenizer(facts, state, count)
    return facts


def _records(
    states: list[fmt.RequestState], facts: list[TokenFacts], scores: list[dict[str, float]], identity: RunIdentity
) -> tuple[RequestRecord, ...]:
    """Build the records, then drop request and result from each state to save memory."""
    records = []
    for state, its_facts, its_scores in zip(states, facts, scores, strict=True):
        label = perturbation_label(state.instance.perturbation)
        records.append(record_of(state, identity=identity, perturbation=label, facts=its_facts, scores=its_scores))
        state.request, state.result = _NO_REQUEST, None
    return tuple(records)


_NO_REQUEST = fmt.Request()
_NO_SCORES: dict[str, float] = {}


def _warnings(records: tuple[RequestRecord, ...], *, has_states: bool, has_stats: bool) -> Iterator[str]:
    if not has_states:
        yield "no scenario_state.json: tokens, times and scores are HELM's sums; dates, texts and failures are unknown"
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
    "reasoning_not_counted": "the model reasoned before it answered, and HELM counted the answer alone",
    "parts_above_total": "the provider counted more cached or reasoning tokens than tokens in all",
}
