"""HELM itself, run as a user runs it, with the plugin found through its entry point."""

import json
import os
import subprocess
import sys
from collections import Counter
from importlib.metadata import entry_points
from pathlib import Path
from typing import Any

import pytest

from helm_efficiency.core.fitting.fit import Fit
from helm_efficiency.core.measurement import Stack
from helm_efficiency.core.runtime_model import Domain, RuntimeCoefficients
from helm_efficiency.store import Store

STACK = Stack("a100-80gb-test", "a100-80gb", 2, engine="test", dtype="fp16")
RUNNER = "helm_efficiency.helm_plugin.plugin.EfficiencyRunner"
COEFFICIENTS = RuntimeCoefficients(
    rule="linear",
    prefill_knots=((1, 0.1), (1001, 1.1)),  # 0.1 s and 1 ms a token
    decode_s_per_token=0.01,
    domain=Domain(1, 1001, 1, 64),
)
STATS_OF_OURS = {
    "num_prompt_tokens",
    "num_output_tokens",
    "inference_runtime",
    "inference_idealized_runtime",
    "inference_idealized_runtime@a100-80gb-test",
    "inference_idealized_runtime_low",
    "inference_idealized_runtime_high",
    "num_accelerators",
    "idealized_accelerator_seconds",
    "idealized_cost_usd",
}


PROGRAM = """
import json, os, sys
from helm.benchmark.run import main

for folder, arguments in json.loads(sys.argv[1]):
    os.chdir(folder)
    os.environ["HELM_EFFICIENCY_STORE"] = os.path.join(folder, "store.sqlite")
    sys.argv = ["helm-run", *arguments]
    main()
"""


def helm_runs(*calls: tuple[Path, list[str], list[str]]) -> str:
    """Call helm-run's own main in one process, each time in a folder, with entries and options; what it logged."""
    options = ["--suite", "v1", "--max-eval-instances", "2", "--num-threads", "1"]
    given = [(str(folder), ["--run-entries", *entries, *options, *more]) for folder, entries, more in calls]
    prices = calls[0][0] / "prices.csv"
    prices.write_text("accelerator,usd_per_accelerator_hour,date,source\na100-80gb,7.2,2026-01-01,ours\n")
    environment = os.environ | {"HF_HUB_OFFLINE": "1", "HELM_EFFICIENCY_PRICES": str(prices)}
    command = [sys.executable, "-c", PROGRAM, json.dumps(given)]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=240, check=False)
    log = done.stdout + done.stderr
    assert done.returncode == 0, log[-3000:]
    return log


def stats_of(home: Path, run: str) -> list[dict[str, Any]]:
    return json.loads((home / "benchmark_output/runs/v1" / run / "stats.json").read_text())


def means(stats: list[dict[str, Any]], split: str) -> dict[str, float]:
    return {s["name"]["name"]: s["mean"] for s in stats if s["name"].get("split") == split and s["count"]}


@pytest.fixture(scope="module")
def ran(tmp_path_factory: pytest.TempPathFactory, tiny_model: Path) -> tuple[Path, Path, str]:
    """A folder in which HELM ran two scenarios on two models with our runner, and one entry with our expander; one in
    which it ran without a store; and what it logged."""
    home, storeless = tmp_path_factory.mktemp("helm"), tmp_path_factory.mktemp("storeless")
    store = Store(home / "store.sqlite")
    for deployment in ("simple/model1", "huggingface/tiny"):
        store.put_fit(Fit(deployment, STACK, COEFFICIENTS))
    asked = "synthetic_reasoning:mode=pattern_match,max_train_instances=0,model="
    entries = ["simple1:model=simple/model1", f"{asked}simple/model1", f"{asked}huggingface/tiny"]
    ours = ["--runner-class-name", RUNNER]
    probe = "efficiency_probe:model=simple/model1,trials=1,session=0,probe=4x1"
    log = helm_runs(
        (home, entries, [*ours, "--enable-local-huggingface-models", str(tiny_model)]),
        (home, ["simple_classification:model=simple/model1,efficiency=a100-80gb-test", probe], []),
        (storeless, ["simple1:model=simple/model1"], ours),
    )
    return home, storeless, log


@pytest.fixture(scope="module")
def home(ran: tuple[Path, Path, str]) -> Path:
    return ran[0]


RUNS = [
    "simple1:model=simple_model1",
    "synthetic_reasoning:mode=pattern_match,max_train_instances=0,model=simple_model1",
    "synthetic_reasoning:mode=pattern_match,max_train_instances=0,model=huggingface_tiny",
    "simple_classification:model=simple_model1",
]


def test_entry_point_loads_without_a_warning() -> None:
    [ours] = entry_points(group="helm", name="helm_efficiency")
    assert ours.load().EfficiencyRunner.__mro__[1].__module__ == "helm.benchmark.runner"


@pytest.mark.parametrize("run", RUNS)
def test_every_run_has_each_stat_once(home: Path, run: str) -> None:
    stats = stats_of(home, run)
    twice = [name for name, count in Counter(json.dumps(s["name"], sort_keys=True) for s in stats).items() if count > 1]
    ours = [json.loads(name)["name"] for name in twice if json.loads(name)["name"] in STATS_OF_OURS]
    assert ours == []
    splits = {s["name"]["split"] for s in stats if s["name"]["name"] == "num_prompt_tokens"}
    for split in splits:
        names = set(means(stats, split))
        assert names >= STATS_OF_OURS
        assert names & {"output_tokens_from_harness", "output_tokens_from_usage"}


@pytest.mark.parametrize("run", RUNS)
def test_idealized_runtime_is_that_of_the_tokens(home: Path, run: str) -> None:
    folder = home / "benchmark_output/runs/v1" / run
    state = json.loads((folder / "scenario_state.json").read_text())
    completions = state["request_states"][0]["request"]["num_completions"]  # of one length; they run as a batch
    for entry in json.loads((folder / "per_instance_stats.json").read_text()):
        values = {stat["name"]["name"]: stat["sum"] for stat in entry["stats"]}
        if "inference_idealized_runtime" not in values:
            continue
        p, o = values["num_prompt_tokens"], values["num_output_tokens"] / completions
        expected = 0.1 + 0.001 * (p - 1) + 0.01 * max(o - 1, 0)
        assert values["inference_idealized_runtime"] == pytest.approx(expected)
        assert values["idealized_accelerator_seconds"] == pytest.approx(2 * expected)
        assert values["idealized_cost_usd"] == pytest.approx(2 * expected * 7.2 / 3600)


def test_the_probe_is_an_entry_of_helm_run(home: Path) -> None:
    [state] = (home / "benchmark_output/runs/v1").glob("efficiency_probe*/scenario_state.json")
    [request, *_] = json.loads(state.read_text())["request_states"]
    assert request["request"]["max_tokens"] == 1


def test_run_spec_keeps_the_metrics_of_its_own(home: Path) -> None:
    spec = json.loads((home / "benchmark_output/runs/v1/simple1:model=simple_model1/run_spec.json").read_text())
    [metric] = spec["metric_specs"]
    assert metric["class_name"] == "helm_efficiency.helm_plugin.plugin.EfficiencyMetric"
    assert "BasicGenerationMetric" in metric["args"]["metrics"][0]["class_name"]


def test_without_a_store_the_facts_are_still_recorded(ran: tuple[Path, Path, str]) -> None:
    _, storeless, log = ran
    assert f"No coefficient store at {storeless}" in log
    stats = stats_of(storeless, "simple1:model=simple_model1")
    [split] = {s["name"]["split"] for s in stats if s["name"]["name"] == "num_prompt_tokens"}
    assert {"num_prompt_tokens", "inference_runtime"} <= set(means(stats, split))
    assert "inference_idealized_runtime" not in means(stats, split)
