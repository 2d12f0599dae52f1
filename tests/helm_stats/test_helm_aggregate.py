"""Archive aggregation against HELM's own: the same values in, complete lists of stats out, equal to the last bit."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pytest
from helm.benchmark.adaptation.adapter_spec import AdapterSpec
from helm.benchmark.adaptation.request_state import RequestState
from helm.benchmark.adaptation.scenario_state import ScenarioState
from helm.benchmark.augmentations.perturbation_description import PerturbationDescription
from helm.benchmark.metrics.language_modeling_metrics import LanguageModelingMetric
from helm.benchmark.metrics.metric import Metric, MetricResult
from helm.benchmark.metrics.metric_name import MetricName
from helm.benchmark.metrics.reference_metric import ReferenceMetric
from helm.benchmark.metrics.statistic import Stat, merge_stat
from helm.benchmark.scenarios.scenario import Input, Instance, Output, Reference
from helm.common.general import asdict_without_nones
from helm.common.request import Request
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from helm_efficiency.adapters.helm.format import SCENARIO_STATE
from helm_efficiency.helm_stats import aggregate as helm_aggregate
from helm_efficiency.helm_stats.aggregate import aggregated_stats, layout_of, per_instance_stats

COLUMNS = ("num_output_tokens", "inference_runtime", "inference_idealized_runtime")


@dataclass(frozen=True)
class TyposDescription(PerturbationDescription):
    prob: float = 0.0


PERTURBATIONS = (
    None,
    PerturbationDescription("lowercase", robustness=True),
    TyposDescription("typos", robustness=True, fairness=True, seed=1, prob=0.1),
    TyposDescription("typos", robustness=True, fairness=True, seed=2, prob=0.1),
    PerturbationDescription("dialect", fairness=True),
    PerturbationDescription("space"),
)

Values = Mapping[int, Mapping[str, float]]


class Generation(Metric):
    def __init__(self, values: Values):
        self.values = values

    def evaluate_generation(self, adapter_spec, request_state, metric_service, eval_cache_path):
        return [Stat(MetricName(name)).add(value) for name, value in self.values[id(request_state)].items()]


class References(ReferenceMetric):
    def __init__(self, values: Values):
        self.values = values

    def evaluate_references(self, adapter_spec, reference_request_states, metric_service, eval_cache_path):
        merged: dict[MetricName, Stat] = {}
        for state in reference_request_states:
            for name, value in self.values[id(state)].items():
                merge_stat(merged, Stat(MetricName(name)).add(value))
        return list(merged.values())


class Windows(LanguageModelingMetric):
    def __init__(self, values: Values):
        super().__init__(names=[])
        self.values = values

    def evaluate_generation(self, adapter_spec, request_state, metric_service, eval_cache_path):
        return [Stat(MetricName(name)).add(value) for name, value in self.values[id(request_state)].items()]


def make_instance(number: int, split: str, sub_split: str | None, perturbation: Any) -> Instance:
    references = [Reference(Output(str(i)), tags=[]) for i in range(3)]
    return Instance(Input(str(number)), references, split, sub_split, f"id{number}", perturbation)


def make_state(instance: Instance, trial: int, mode: str | None = None, index: int | None = None) -> RequestState:
    return RequestState(instance, index, mode, trial, None, Request(), None, 0, False)


def make_scenario_state(method: str, num_trials: int, states: Sequence[RequestState]) -> ScenarioState:
    return ScenarioState(AdapterSpec(method=method, num_train_trials=num_trials), list(states))


@st.composite
def generation_states(draw: st.DrawFn) -> ScenarioState:
    numbers = draw(st.lists(st.integers(0, 30), unique=True, min_size=1, max_size=6))
    instances = [
        make_instance(number, split, sub_split, perturbation)
        for number in numbers
        for split, sub_split in [draw(st.sampled_from([("test", None), ("valid", None), ("test", "toxic")]))]
        for perturbation in draw(st.lists(st.sampled_from(PERTURBATIONS), unique=True, min_size=1))
    ]
    instances = draw(st.permutations(instances))
    num_trials = draw(st.integers(1, 3))
    states = [make_state(i, trial) for trial in range(num_trials) for i in instances if draw(st.integers(0, 9)) < 9]
    return make_scenario_state("generation", num_trials, states)


@st.composite
def reference_states(draw: st.DrawFn) -> ScenarioState:
    modes = draw(st.sampled_from([["original"], ["original", "calibration"]]))
    instances = [
        make_instance(number, "test", None, perturbation)
        for number in range(draw(st.integers(1, 4)))
        for perturbation in draw(st.lists(st.sampled_from(PERTURBATIONS), unique=True, min_size=1, max_size=3))
    ]
    num_trials = draw(st.integers(1, 2))
    states = [
        make_state(instance, trial, mode, index)
        for trial in range(num_trials)
        for instance in instances
        for mode in modes
        for index in range(3)
    ]
    return make_scenario_state("multiple_choice_separate_calibrated", num_trials, draw(st.permutations(states)))


@st.composite
def window_states(draw: st.DrawFn) -> ScenarioState:
    instances = [make_instance(number, draw(st.sampled_from(["test", "valid"])), None, None) for number in range(3)]
    states = [make_state(draw(st.sampled_from(instances)), 0) for _ in range(draw(st.integers(1, 6)))]
    return make_scenario_state("language_modeling", 1, states)


def draw_values(data: st.DataObject, state: ScenarioState) -> list[dict[str, float]]:
    seconds = st.floats(0, 1e4)
    present = st.fixed_dictionaries(
        {}, optional={COLUMNS[0]: st.integers(0, 10**6), COLUMNS[1]: seconds, COLUMNS[2]: seconds}
    )
    rows = [data.draw(present) for _ in state.request_states]
    return [{name: row[name] for name in COLUMNS if name in row} for row in rows]


def of_helm(metric: Any, state: ScenarioState) -> tuple[list[Any], list[Any]]:
    result: MetricResult = metric.evaluate(state, None, "", 1)
    per_instance = [asdict_without_nones(stats) for stats in result.per_instance_stats if stats.stats]
    aggregated = [asdict_without_nones(stat) for stat in result.aggregated_stats if stat.name.name != "num_instances"]
    return per_instance, aggregated


def of_ours(state: ScenarioState, values: Sequence[Mapping[str, float]]) -> tuple[list[Any], list[Any]]:
    import msgspec

    document = json.dumps(asdict_without_nones(state)).encode()
    layout = layout_of(SCENARIO_STATE.decode(document).request_states, method=state.adapter_spec.method)
    columns = {name: [row.get(name, float("nan")) for row in values] for name in COLUMNS}
    return tuple(  # type: ignore[return-value]
        json.loads(msgspec.json.encode(stats))
        for stats in (list(per_instance_stats(layout, columns)), aggregated_stats(layout, columns))
    )


@pytest.mark.parametrize(
    ("states", "metric"),
    [(generation_states(), Generation), (reference_states(), References), (window_states(), Windows)],
    ids=["generation", "references", "language modeling"],
)
@pytest.mark.parametrize("most_cells", [1, helm_aggregate._MOST_CELLS])
@settings(deadline=None, max_examples=15, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_equals_helm(
    states: st.SearchStrategy[ScenarioState],
    metric: Any,
    most_cells: int,
    monkeypatch: pytest.MonkeyPatch,
    data: st.DataObject,
) -> None:
    monkeypatch.setattr(helm_aggregate, "_MOST_CELLS", most_cells)
    state = data.draw(states)
    values = draw_values(data, state)
    by_id = {id(request_state): row for request_state, row in zip(state.request_states, values, strict=True)}
    (ours_per_instance, ours), (helms_per_instance, helms) = of_ours(state, values), of_helm(metric(by_id), state)
    assert ours_per_instance == helms_per_instance
    if metric is References:  # requests of one instance with different stats: HELM's order is then by chance
        ours, helms = sorted(ours, key=json.dumps), sorted(helms, key=json.dumps)
    assert ours == helms
