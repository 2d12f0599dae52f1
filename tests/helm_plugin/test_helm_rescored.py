"""Re-scoring an archive writes what a live run with our plugin writes: every stat, equal, in the same order."""

import json
from pathlib import Path
from typing import Any

import pytest
from helpers.helm_home import HelmHome, simple_run_spec

from helm_efficiency.adapters.helm.request_cache import RequestCaches
from helm_efficiency.adapters.helm.runs import HelmRun, read_run
from helm_efficiency.adapters.record import RequestRecord
from helm_efficiency.adapters.sources import find_sources
from helm_efficiency.core.fitting.fit import Fit
from helm_efficiency.core.measurement import Stack
from helm_efficiency.core.runtime_model import Domain, RuntimeCoefficients
from helm_efficiency.helm_plugin.plugin import with_efficiency
from helm_efficiency.metrics.efficiency import Coefficients
from helm_efficiency.rescoring.plan import make_plan
from helm_efficiency.rescoring.rescore import rescore
from helm_efficiency.store import Store

PERTURBATIONS = {
    "helm.benchmark.augmentations.extra_space_perturbation.ExtraSpacePerturbation": {"num_spaces": 2},
    "helm.benchmark.augmentations.lowercase_perturbation.LowerCasePerturbation": {},
}


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("store") / "efficiency.sqlite"
    coefficients = RuntimeCoefficients(
        "linear", ((1, 0.011), (64, 0.02)), 0.003, Domain(1, 64, 1, 8), relative_error=0.1
    )
    for deployment in ("tiny/local", "tiny/chat"):
        Store(path).put_fit(Fit(deployment, Stack("rig", "a100-80gb", 2), coefficients))
    Store(path).put_fit(Fit("tiny/local", Stack("service-tiny", "unknown"), coefficients))
    return path


def augmenter() -> Any:
    from helm.benchmark.augmentations.data_augmenter import DataAugmenterSpec
    from helm.benchmark.augmentations.perturbation import PerturbationSpec

    return DataAugmenterSpec(
        perturbation_specs=[PerturbationSpec(name, args) for name, args in PERTURBATIONS.items()],
        should_augment_eval_instances=True,
        should_include_original_eval=True,
    )


@pytest.mark.parametrize(
    ("deployment", "settings"),
    [
        ("tiny/local", {"num_train_trials": 2}),
        ("tiny/local", {"method": "multiple_choice_separate_calibrated", "max_tokens": 0}),
        ("tiny/chat", {}),
    ],
    ids=["perturbed, two trials", "a request a reference", "usage from the cache"],
)
def test_equals_a_live_run(
    helm_home: HelmHome, store: Path, tmp_path: Path, deployment: str, settings: dict[str, Any]
) -> None:
    spec = simple_run_spec(deployment, augmenter=augmenter(), **settings)
    folder = helm_home.run(spec)
    plan = make_plan(
        Coefficients.from_store(Store(store)), stacks=["rig"], output=tmp_path / "out", caches=[helm_home.cache]
    )
    [outcome] = rescore(plan, find_sources([str(folder)], besides=tmp_path))
    assert outcome.status == "scored", outcome.error
    helm_home.run(with_efficiency(spec, stack="rig", store=str(store)))
    rescored = tmp_path / "out" / "runs" / "suite" / folder.name
    for name in ("stats.json", "per_instance_stats.json"):
        live = json.loads((folder / name).read_text())
        assert json.loads((rescored / name).read_text()) == live
        assert any("inference_idealized_runtime@rig" in json.dumps(entry) for entry in live)
    # what was written is read again with who counted, without the cache
    caches = RequestCaches()
    caches.add_folder(helm_home.cache)
    assert token_facts(read_run(rescored)) == token_facts(read_run(folder, caches=caches))


def token_facts(run: HelmRun) -> list[tuple[object, ...]]:
    names = [name for name in RequestRecord.__struct_fields__ if name.endswith(("_tokens", "_provenance"))]
    return [tuple(getattr(record, name) for name in names) for record in run.records]
