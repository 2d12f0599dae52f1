"""Extend HELM by a runner, a run expander and a metric; `helm-run` finds them by the entry-point group `helm`.

    helm-run --runner-class-name helm_efficiency.helm_plugin.plugin.EfficiencyRunner …    every run of any entries file
    mmlu:subject=anatomy,model=…,efficiency=a100-80gb-megatron-fp16                       one entry

All three end in `EfficiencyMetric`, which runs a run's own metrics, drops the efficiency stats that HELM made, and adds
ours. Store and stack are those of the metric's arguments, else of the environment variables HELM_EFFICIENCY_STORE and
HELM_EFFICIENCY_STACK, else `prod_env/efficiency.sqlite` and the stack with most profiled deployments. The user's own
prices are read from the files that HELM_EFFICIENCY_PRICES and HELM_EFFICIENCY_API_PRICES name.
"""

import os
from collections.abc import Collection, Mapping, Sequence
from dataclasses import asdict, replace
from datetime import date
from pathlib import Path
from typing import Any

from helm.benchmark.adaptation.adapter_spec import AdapterSpec
from helm.benchmark.adaptation.adapters.adapter_factory import ADAPT_LANGUAGE_MODELING
from helm.benchmark.adaptation.request_state import RequestState
from helm.benchmark.adaptation.scenario_state import ScenarioState
from helm.benchmark.metrics.language_modeling_metrics import LanguageModelingMetric
from helm.benchmark.metrics.metric import (
    Metric,
    MetricInterface,
    MetricMetadata,
    MetricResult,
    MetricSpec,
    PerInstanceStats,
    create_metric,
)
from helm.benchmark.metrics.metric_name import MetricName
from helm.benchmark.metrics.metric_service import MetricService
from helm.benchmark.metrics.reference_metric import ReferenceMetric
from helm.benchmark.metrics.statistic import Stat, merge_stat
from helm.benchmark.run_expander import RUN_EXPANDERS, RunExpander
from helm.benchmark.run_spec import RunSpec
from helm.benchmark.runner import Runner
from helm.common.hierarchical_logger import hlog, hwarn

from helm_efficiency.defaults import DEFAULT_STORE
from helm_efficiency.helm_plugin import probe_run_specs  # noqa: F401  registers the entry `efficiency_probe`
from helm_efficiency.helm_plugin.live import cached_usage, records_from_scenario_state
from helm_efficiency.helm_stats.stats import STATS, is_efficiency_stat, request_stats
from helm_efficiency.metrics.efficiency import Coefficients, score_requests
from helm_efficiency.metrics.pricing import Pricing
from helm_efficiency.store import Store

STORE_VARIABLE = "HELM_EFFICIENCY_STORE"
STACK_VARIABLE = "HELM_EFFICIENCY_STACK"
PRICES_VARIABLE, API_PRICES_VARIABLE = "HELM_EFFICIENCY_PRICES", "HELM_EFFICIENCY_API_PRICES"
METRIC_CLASS_NAME = f"{__name__}.EfficiencyMetric"

StatsOfRequests = Mapping[int, Mapping[str, float]]
"""Stat values by name, by the `id` of their request state."""


class EfficiencyMetric(MetricInterface):  # type: ignore[misc]
    """Metric that runs a run's own metrics and replaces HELM's efficiency stats by ours.

    Args:
        metrics: Specs of the run's own metrics, as dicts of `class_name` and `args`.
        stack: Name of the stack to idealize on.
        store: Path of the coefficient store.
    """

    def __init__(self, metrics: Sequence[Mapping[str, Any]] = (), stack: str | None = None, store: str | None = None):
        self.metrics: list[MetricInterface] = [create_metric(MetricSpec(**spec)) for spec in metrics]
        self.stack = stack or os.environ.get(STACK_VARIABLE)
        self.store = Path(store or os.environ.get(STORE_VARIABLE) or DEFAULT_STORE)

    def __repr__(self) -> str:
        return f"EfficiencyMetric({', '.join(map(repr, self.metrics))})"

    def evaluate(
        self, scenario_state: ScenarioState, metric_service: MetricService, eval_cache_path: str, parallelism: int
    ) -> MetricResult:
        """Evaluate the run's own metrics and the efficiency of its requests."""
        arguments = (scenario_state, metric_service, eval_cache_path, parallelism)
        own = [metric.evaluate(*arguments) for metric in self.metrics]
        stats = self._stats_of_requests(scenario_state, metric_service)
        ours = _per_request_metric(scenario_state, stats).evaluate(*arguments)
        added = [stat for stat in ours.aggregated_stats if is_efficiency_stat(stat.name.name)]
        replaced = {stat.name for stat in added}
        aggregated = [stat for result in own for stat in result.aggregated_stats if stat.name not in replaced]
        per_instance = [_without(replaced, stats) for result in own for stats in result.per_instance_stats]
        return MetricResult(aggregated + added, [p for p in per_instance if p.stats] + ours.per_instance_stats)

    def get_metadata(self) -> list[MetricMetadata]:
        """Return the texts that tables show for the run's own stats and for ours."""
        own = [m for metric in self.metrics for m in metric.get_metadata() if not is_efficiency_stat(m.name)]
        return own + [MetricMetadata(name=name, **asdict(info)) for name, info in STATS.items()]

    def _stats_of_requests(self, scenario_state: ScenarioState, metric_service: MetricService) -> StatsOfRequests:
        usage = cached_usage(scenario_state, metric_service=metric_service)
        records = records_from_scenario_state(
            scenario_state, run="", suite="", metric_service=metric_service, usage=usage
        )
        coefficients = self._coefficients()
        stack = self.stack or coefficients.default_stack()
        [scored] = score_requests(records, coefficients, stacks=[stack], pricing=_pricing())
        missing = sorted({reason for reason in scored.reasons if reason})
        for reason in missing:
            hwarn(f"No idealized runtime: {reason}")
        values = request_stats(records, scored)
        return {id(state): stats for state, stats in zip(scenario_state.request_states, values, strict=True)}

    def _coefficients(self) -> Coefficients:
        if not self.store.exists():
            hwarn(f"No coefficient store at {self.store}: observed facts only. Name one with {STORE_VARIABLE}.")
            return Coefficients()
        return Coefficients.from_store(Store(self.store, create=False))


def _pricing() -> Pricing:
    accelerators, apis = (os.environ.get(variable) for variable in (PRICES_VARIABLE, API_PRICES_VARIABLE))
    return Pricing.as_of(
        date.today(),
        accelerator_file=Path(accelerators) if accelerators else None,
        api_file=Path(apis) if apis else None,
    )


def _as_stats(values: Mapping[str, float]) -> list[Stat]:
    return [Stat(MetricName(name)).add(value) for name, value in values.items()]


class _GenerationEfficiency(Metric):  # type: ignore[misc]
    """Precomputed stats with one request per instance, aggregated by HELM's rules."""

    def __init__(self, stats: StatsOfRequests):
        self.stats = stats

    def evaluate_generation(
        self,
        adapter_spec: AdapterSpec,
        request_state: RequestState,
        metric_service: MetricService,
        eval_cache_path: str,
    ) -> list[Stat]:
        return _as_stats(self.stats[id(request_state)])


class _ReferencesEfficiency(ReferenceMetric):  # type: ignore[misc]
    """Precomputed stats with one request per reference, aggregated by HELM's rules."""

    def __init__(self, stats: StatsOfRequests):
        self.stats = stats

    def evaluate_references(
        self,
        adapter_spec: AdapterSpec,
        reference_request_states: list[RequestState],
        metric_service: MetricService,
        eval_cache_path: str,
    ) -> list[Stat]:
        merged: dict[MetricName, Stat] = {}
        for state in reference_request_states:
            for stat in _as_stats(self.stats[id(state)]):
                merge_stat(merged, stat)
        return list(merged.values())


class _LanguageModelingEfficiency(LanguageModelingMetric):  # type: ignore[misc]
    """Precomputed stats of each window of a text, aggregated by HELM's rules."""

    def __init__(self, stats: StatsOfRequests):
        super().__init__(names=[])
        self.stats = stats

    evaluate_generation = _GenerationEfficiency.evaluate_generation

    def derive_stats(self, stats_dict: dict[MetricName, Stat]) -> list[Stat]:
        return []


def _per_request_metric(scenario_state: ScenarioState, stats: StatsOfRequests) -> MetricInterface:
    if scenario_state.adapter_spec.method == ADAPT_LANGUAGE_MODELING:
        return _LanguageModelingEfficiency(stats)
    if any(state.reference_index is not None for state in scenario_state.request_states):
        return _ReferencesEfficiency(stats)
    return _GenerationEfficiency(stats)


def _without(replaced: Collection[MetricName], per_instance: PerInstanceStats) -> PerInstanceStats:
    kept = [stat for stat in per_instance.stats if stat.name not in replaced]
    return replace(per_instance, stats=kept)


def with_efficiency(run_spec: RunSpec, *, stack: str | None = None, store: str | None = None) -> RunSpec:
    """Return the same run, with its own metrics inside an `EfficiencyMetric`; unchanged if it already has one.

    The name is kept: the requests are the same, so it is the same run.
    """
    specs = run_spec.metric_specs
    if any(spec.class_name == METRIC_CLASS_NAME for spec in specs):
        return run_spec
    args: dict[str, Any] = {"metrics": [{"class_name": spec.class_name, "args": spec.args} for spec in specs]}
    args |= {name: value for name, value in (("stack", stack), ("store", store)) if value}
    return replace(run_spec, metric_specs=[MetricSpec(class_name=METRIC_CLASS_NAME, args=args)])


class EfficiencyRunner(Runner):  # type: ignore[misc]
    """HELM's runner, with efficiency stats for every run; for `--runner-class-name`."""

    def run_one(self, run_spec: RunSpec) -> None:
        """Run one run spec with the efficiency metric around its own metrics."""
        hlog(f"Efficiency stats for {run_spec.name}")
        super().run_one(with_efficiency(run_spec))


class EfficiencyRunExpander(RunExpander):  # type: ignore[misc]
    """`efficiency=STACK` in a run entry adds efficiency stats on that stack; `efficiency=default` takes the default."""

    name = "efficiency"

    def __init__(self, value: str):
        self.stack = None if value == "default" else value

    def expand(self, run_spec: RunSpec) -> list[RunSpec]:
        """Return the run spec with the efficiency metric around its own metrics."""
        return [with_efficiency(run_spec, stack=self.stack)]


RUN_EXPANDERS[EfficiencyRunExpander.name] = EfficiencyRunExpander
