"""Build records of a HELM run while it runs, equal to those that its archive gives later.

HELM drops the provider's usage. There are two ways to get it: `captured_usage` listens while HELM's clients get their
responses, with any cache or none, but must be there before the first request; `cached_usage` reads it back from the
request cache afterwards.
"""

import threading
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

from helm.benchmark.adaptation.request_state import RequestState
from helm.benchmark.adaptation.scenario_state import ScenarioState
from helm.benchmark.metrics.metric_service import MetricService
from helm.benchmark.window_services.window_service_factory import WindowServiceFactory
from helm.common.cache import Cache, MongoCacheConfig, SqliteCacheConfig

from helm_efficiency.adapters.helm.hidden_reasoning import hides_reasoning
from helm_efficiency.adapters.helm.request import perturbation_label, record_of, scenario_of, shape_of
from helm_efficiency.adapters.helm.request_cache import RequestCaches
from helm_efficiency.adapters.record import RequestRecord, RunIdentity
from helm_efficiency.adapters.token_counts import TokenFacts, Usage, harness_facts, with_hidden_reasoning, with_usage
from helm_efficiency.helm_plugin.mongo_cache import add_mongo


def records_from_scenario_state(
    scenario_state: ScenarioState, *, run: str, suite: str, metric_service: MetricService, usage: RequestCaches
) -> tuple[RequestRecord, ...]:
    """Build the records of all requests of a run that HELM has executed, in order."""
    states = scenario_state.request_states
    shapes = [shape_of(state) for state in states]
    stores_tokens = any(any(shape.completion_tokens) for shape in shapes)
    prompts = [helm_prompt_tokens(state, metric_service=metric_service) for state in states]
    facts = [TokenFacts()] * len(states)
    for together in _counted_together(states):
        of_group = harness_facts(
            [shapes[index] for index in together],
            prompt_total=sum(prompts[index] for index in together),
            output_total=None,
            client_stores_tokens=stores_tokens,
        )
        for index, its_facts in zip(together, of_group, strict=True):
            facts[index] = its_facts
    first = states[0].request if states else None
    if first is not None and hides_reasoning(first.model_deployment or first.model, first.model, states, facts):
        facts = list(map(with_hidden_reasoning, facts, shapes))
    return tuple(
        _record(state, _identity(state, run, suite), its_facts, usage.find(state))
        for state, its_facts in zip(states, facts, strict=True)
    )


def _counted_together(states: Sequence[RequestState]) -> Iterable[list[int]]:
    """Return the indices of each group of requests that HELM adds up: those for the references of one instance.

    An archive has only the sum of their tokens. Live records divide it in the same way, to be equal to the last bit.
    """
    groups: dict[tuple[object, ...], list[int]] = {}
    for index, state in enumerate(states):
        instance = state.instance
        alone = index if state.reference_index is None else -1
        groups.setdefault((instance.id, state.train_trial_index, instance.perturbation, alone), []).append(index)
    return groups.values()


def helm_prompt_tokens(request_state: RequestState, *, metric_service: MetricService) -> int:
    """Return HELM's `num_prompt_tokens`: the text alone, counted by HELM's tokenizer for the deployment."""
    request = request_state.request
    window_service = WindowServiceFactory.get_window_service(request.model_deployment, metric_service)
    prompt = request.prompt if request.multimodal_prompt is None else request.multimodal_prompt.text
    return int(window_service.get_num_tokens(prompt))


def cached_usage(scenario_state: ScenarioState, *, metric_service: MetricService) -> RequestCaches:
    """Read the usage of a run's requests back from the request caches that HELM has just written.

    The result is empty if HELM runs without a cache.

    Raises:
        InputError: The cache is in MongoDB and pymongo is not installed.
        FileFormatError: A cache file is damaged.
    """
    caches = RequestCaches()
    times = {
        float(state.result.request_time)
        for state in scenario_state.request_states
        if state.result is not None and state.result.request_time is not None
    }
    for host in sorted({state.request.model_host for state in scenario_state.request_states}):
        config = metric_service.get_cache(host).config
        if isinstance(config, SqliteCacheConfig):
            caches.add_sqlite(config.path, only=times)
        elif isinstance(config, MongoCacheConfig):
            add_mongo(caches, config.uri, config.collection_name)
    return caches


@contextmanager
def captured_usage() -> Iterator[RequestCaches]:
    """Collect the usage of every response that HELM's clients get in this process while the context is open."""
    caches = RequestCaches()
    lock = threading.Lock()
    get = Cache.get

    def get_and_note(
        self: Cache, request: Mapping[str, Any], compute: Callable[[], dict[str, Any]]
    ) -> tuple[dict[str, Any], bool]:
        response, cached = get(self, request, compute)
        with lock:
            caches.add_pairs([(request, response)])
        return response, cached

    Cache.get = get_and_note
    try:
        yield caches
    finally:
        Cache.get = get


def _identity(state: RequestState, run: str, suite: str) -> RunIdentity:
    request = state.request
    return RunIdentity(
        suite=suite,
        run=run,
        scenario=scenario_of(run),
        model=request.model,
        deployment=request.model_deployment or request.model,
    )


def _record(state: RequestState, identity: RunIdentity, facts: TokenFacts, usage: Usage | None) -> RequestRecord:
    if usage is not None:
        facts = with_usage(facts, usage, num_completions=state.request.num_completions)
    perturbation = state.instance.perturbation
    label = "" if perturbation is None else perturbation_label({"name": perturbation.name, "seed": perturbation.seed})
    return record_of(state, identity=identity, perturbation=label, facts=facts, scores={})
