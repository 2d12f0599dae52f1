"""A HELM home of its own and a server, for tests that run HELM."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any


@dataclass(frozen=True)
class Server:
    """A `transformers serve` on loopback."""

    base_url: str
    model: str


@dataclass(frozen=True)
class HelmHome:
    """Where HELM's runner works, and how to make it run."""

    output: Path
    cache: Path
    run: Callable[..., Path]


def simple_run_spec(deployment: str, **adapter: Any) -> Any:
    """HELM's tutorial scenario (is a number even or odd?), with HELM's own metrics."""
    from helm.benchmark.adaptation.adapter_spec import AdapterSpec
    from helm.benchmark.augmentations.data_augmenter import DataAugmenterSpec
    from helm.benchmark.metrics.common_metric_specs import get_exact_match_metric_specs
    from helm.benchmark.run_spec import RunSpec
    from helm.benchmark.scenarios.scenario import ScenarioSpec

    augmenter = adapter.pop("augmenter", DataAugmenterSpec())
    method = adapter.get("method", "generation")
    settings = {"method": "generation", "max_train_instances": 2, "max_eval_instances": 3, "num_outputs": 1}
    settings |= {"max_tokens": 6, "temperature": 0.0, "model": deployment, "model_deployment": deployment}
    return RunSpec(
        name=f"simple_mcqa:method={method},model={deployment.replace('/', '_')}",
        scenario_spec=ScenarioSpec("helm.benchmark.scenarios.simple_scenarios.SimpleMCQAScenario"),
        adapter_spec=AdapterSpec(**(settings | adapter)),
        metric_specs=get_exact_match_metric_specs(),
        data_augmenter_spec=augmenter,
        groups=[],
    )
