"""The efficiency probe: exact prompts for any tokenizer, the runs of a grid, and HELM running them."""

import json
import random
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from helpers.helm_home import HelmHome
from transformers import AutoTokenizer

from helm_efficiency.adapters.helm.runs import read_run
from helm_efficiency.errors import InputError
from helm_efficiency.helm_plugin.probe_prompts import REQUEST, exact_prompt
from helm_efficiency.helm_plugin.probe_run_specs import GRIDS, ProbeGrid, parse_grid
from helm_efficiency.metrics.services import services

COUNTERS: dict[str, Callable[[str], int]] = {
    "a token a word": lambda text: len(text.split()),
    "a token a character": len,
    "a token for three characters": lambda text: -(-len(text) // 3),
}


@pytest.mark.parametrize("num_tokens", [1, 2, 3, 16, 64, 256, 1536])
@pytest.mark.parametrize("counter", COUNTERS)
def test_prompts_are_exact_to_the_token(counter: str, num_tokens: int) -> None:
    prompt = exact_prompt(num_tokens, COUNTERS[counter], random.Random(0))
    assert COUNTERS[counter](prompt) == num_tokens
    assert prompt.endswith(REQUEST) == (num_tokens >= 2 * COUNTERS[counter](REQUEST))


@pytest.mark.parametrize("num_tokens", [1, 2, 3, 16, 256])
def test_prompts_are_exact_for_a_real_tokenizer(tiny_model: Path, num_tokens: int) -> None:
    tokenizer = AutoTokenizer.from_pretrained(tiny_model)

    def count(text: str) -> int:
        return len(tokenizer.encode(text, add_special_tokens=False))

    prompts = [exact_prompt(num_tokens, count, random.Random(seed)) for seed in range(5)]
    assert {count(prompt) for prompt in prompts} == {num_tokens}
    assert len(set(prompts)) > 1


def test_a_length_that_cannot_be_made_is_an_error() -> None:
    with pytest.raises(InputError) as caught:
        exact_prompt(3, lambda text: 2 * len(text), random.Random(0))
    assert str(caught.value) == (
        "No prompt of exactly 3 tokens was found for this tokenizer; a single letter has 2. Ask for longer prompts."
    )


def test_grids_by_name_and_by_lengths() -> None:
    assert parse_grid("paper") == GRIDS["paper"] == ProbeGrid((1, 256, 512, 1024, 1536), (1, 2, 4, 8, 16, 32, 64))
    assert parse_grid("7x1+9") == ProbeGrid((7,), (1, 9))
    for text in ("", "paper2", "256", "x16", "256x", "0x16", "256+x16", "256x16.5"):
        with pytest.raises(InputError, match=f"probe={text.replace('+', '.')}: expected paper, quick, or lengths"):
            parse_grid(text)


def run_specs(entry: str) -> list[Any]:
    from helm.benchmark.run_spec_factory import construct_run_specs
    from helm.common.object_spec import parse_object_spec

    return list(construct_run_specs(parse_object_spec(entry)))


@pytest.mark.usefixtures("helm_home")
def test_the_paper_grid_in_rounds() -> None:
    specs = run_specs("efficiency_probe:trials=3,session=monday,model=tiny/local,probe=8+300x1+64+128")
    assert [spec.name for spec in specs] == [
        f"efficiency_probe:trials=3,session=monday,model=tiny_local,output_tokens={o},round={r}"
        for r in (0, 1)
        for o in (1, 64, 128)
    ]
    assert [spec.adapter_spec.max_tokens for spec in specs] == [1, 64, 128, 1, 64, 128]
    assert [spec.adapter_spec.random for spec in specs] == ["monday.0"] * 3 + ["monday.1"] * 3
    assert [spec.scenario_spec.args for spec in specs[2::3]] == [
        # 300 + 128 tokens do not fit the 400 of the deployment
        {"tokenizer": "tiny/tokenizer", "prompt_tokens": [8], "num_trials": 2, "seed": "monday.0.128"},
        {"tokenizer": "tiny/tokenizer", "prompt_tokens": [8], "num_trials": 1, "seed": "monday.1.128"},
    ]


@pytest.mark.usefixtures("helm_home")
@pytest.mark.parametrize(
    ("entry", "message"),
    [
        ("efficiency_probe:probe=8x1,model=tiny/local", "no model yet. Write model=… before probe=…."),
        ("efficiency_probe:trials=0,model=tiny/local,probe=8x1", "trials=0, expected a number from 1."),
        ("efficiency_probe:trials=many,model=tiny/local,probe=8x1", "trials=many, expected a number from 1."),
        ("efficiency_probe:model=tiny/local,probe=500x1", "no length of the grid fits its context window."),
        ("simple_mcqa:model=tiny/local,probe=8x1", "probe= belongs to the run entry efficiency_probe"),
    ],
)
def test_entries_that_cannot_be_run(entry: str, message: str) -> None:
    from helm.benchmark.run_specs import simple_run_specs  # noqa: F401 (registers simple_mcqa)

    with pytest.raises(InputError) as caught:
        run_specs(entry)
    assert message in str(caught.value)


def test_helm_runs_the_probe(helm_home: HelmHome) -> None:
    """HELM's own client for local models stores every token: counts are exact. No two prompts are alike."""
    specs = run_specs("efficiency_probe:trials=2,model=tiny/local,probe=5+40x1+4")
    folders = [helm_home.run(spec) for spec in specs]
    records = [record for folder in folders for record in read_run(folder).records]
    lengths = Counter((r.prompt_tokens, r.output_tokens) for r in records)
    assert lengths == {(5, 1): 2, (5, 4): 2, (40, 1): 2, (40, 4): 2}
    states = json.loads((folders[1] / "scenario_state.json").read_text())["request_states"]
    assert len({state["request"]["prompt"] for state in states}) == 4
    (service,) = services(records)
    assert len(service.log) == 8


def test_a_service_that_always_stops_early_is_told(helm_home: HelmHome) -> None:
    """HELM's toy model answers a probe with one word, whatever it was asked for."""
    (spec,) = run_specs("efficiency_probe:trials=2,model=simple/model1,probe=30x16")
    (service,) = services(read_run(helm_home.run(spec)).records)
    assert dict(service.set_apart) == {"stopped early": 2}
    assert service.advice() == (
        "2 stopped early: the model ends its answers; probe shorter ones, as in probe=16+256+1024x1+4+16"
    )


def test_too_few_different_prompts_are_an_error(tmp_path: Path) -> None:
    from helm.benchmark.config_registry import register_builtin_configs_from_helm_package

    from helm_efficiency.helm_plugin.probe_scenario import EfficiencyProbeScenario

    register_builtin_configs_from_helm_package()
    scenario = EfficiencyProbeScenario("simple/tokenizer1", prompt_tokens=[1], num_trials=600, seed="0")
    with pytest.raises(InputError, match="different prompts of 1 tokens, asked for 600"):
        scenario.get_instances(str(tmp_path))
    metadata = scenario.get_metadata()
    assert (metadata.name, metadata.main_metric) == ("efficiency_probe", "inference_runtime")
