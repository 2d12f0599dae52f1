"""Runs that HELM's own runner makes here, read back: counts as HELM's, usage out of its caches, live as archive."""

import dataclasses
import json
import shutil
from inspect import signature
from pathlib import Path
from typing import Any, ClassVar

import pytest
from helm.benchmark.adaptation.scenario_state import ScenarioState
from helm.benchmark.metrics.metric import MetricInterface, MetricResult, MetricSpec
from helm.benchmark.metrics.metric_service import MetricService
from helpers.helm_home import HelmHome, simple_run_spec
from msgspec.structs import replace
from transformers import AutoTokenizer

from helm_efficiency.adapters.helm.request_cache import RequestCaches
from helm_efficiency.adapters.helm.runs import HelmRun, read_run
from helm_efficiency.adapters.tokenizers import LocalTokenizers
from helm_efficiency.helm_plugin import live as helm_live

TWO_SPACES = "helm.benchmark.augmentations.extra_space_perturbation.ExtraSpacePerturbation"


def helm_sums(folder: Path) -> dict[str, float]:
    """Totals of HELM's own per-instance stats."""
    names = {"num_prompt_tokens": 0.0, "num_output_tokens": 0.0, "inference_runtime": 0.0}
    for entry in json.loads((folder / "per_instance_stats.json").read_text()):
        for stat in entry["stats"]:
            if stat["name"]["name"] in names:
                names[stat["name"]["name"]] += stat["sum"]
    return names


def our_sums(run: HelmRun) -> dict[str, float]:
    return {
        "num_prompt_tokens": sum(r.prompt_tokens or 0 for r in run.records),
        "num_output_tokens": sum(r.output_tokens or 0 for r in run.records),
        "inference_runtime": sum(r.observed_s or 0 for r in run.records),
    }


@pytest.fixture(scope="session")
def chat_folder(helm_home: HelmHome) -> Path:
    """Two train trials of three instances and their perturbed copies, asked of a server through HELM's chat client."""
    from helm.benchmark.augmentations.data_augmenter import DataAugmenterSpec
    from helm.benchmark.augmentations.perturbation import PerturbationSpec

    augmenter = DataAugmenterSpec(
        perturbation_specs=[PerturbationSpec(TWO_SPACES, {"num_spaces": 2})],
        should_augment_eval_instances=True,
        should_include_original_eval=True,
    )
    return helm_home.run(simple_run_spec("tiny/chat", num_train_trials=2, augmenter=augmenter))


@pytest.fixture(scope="session")
def caches(chat_folder: Path, helm_home: HelmHome) -> RequestCaches:
    """All of the caches that HELM wrote."""
    caches = RequestCaches()
    caches.add_folder(helm_home.cache)
    return caches


@pytest.fixture(scope="module")
def client_counts() -> bool:
    """Whether HELM's chat client counts the tokens of an answer itself, as it did up to 0.5.13."""
    from helm.clients.openai_client import OpenAIClient

    return "tokenizer" in signature(OpenAIClient).parameters


def test_chat_client_stores_no_tokens_but_says_where_it_was_cut_off(chat_folder: Path, client_counts: bool) -> None:
    run = read_run(chat_folder)
    assert helm_sums(chat_folder)["num_output_tokens"] == (72 if client_counts else 0)
    assert {(r.output_tokens, r.output_provenance) for r in run.records} == {(6, "harness")}
    assert our_sums(run) == pytest.approx(helm_sums(chat_folder) | {"num_output_tokens": 72})
    keys = [(r.instance_id, r.train_trial, r.perturbation) for r in run.records]
    assert len(set(keys)) == len(keys) == 12
    assert {r.perturbation for r in run.records} == {"", "extra_space"}
    assert (run.suite, run.scenario, run.score_name) == ("suite", "simple_mcqa:method=generation", "exact_match")


def test_usage_comes_back_from_the_cache(chat_folder: Path, caches: RequestCaches) -> None:
    run = read_run(chat_folder, caches=caches)
    assert caches.problems == []
    assert {(r.output_tokens, r.max_completion_tokens, r.output_provenance) for r in run.records} == {(6, 6, "usage")}
    harness = read_run(chat_folder).records
    template = {u.prompt_tokens - h.prompt_tokens for u, h in zip(run.records, harness, strict=True)}
    assert template == {2}  # <|user|> and <|assistant|>, which HELM does not count
    assert {r.prompt_provenance for r in run.records} == {"usage"}


def test_tokenizer_counts_what_nobody_else_did(
    chat_folder: Path, tiny_model: Path, client_counts: bool, tmp_path: Path
) -> None:
    if client_counts:
        pytest.skip("the chat client of this HELM counted")
    stopped = shutil.copytree(chat_folder, tmp_path / "suite" / chat_folder.name)
    text = (stopped / "scenario_state.json").read_text()
    (stopped / "scenario_state.json").write_text(text.replace('"reason": "length"', '"reason": "stop"'))
    assert {(r.output_tokens, r.output_provenance) for r in read_run(stopped).records} == {(None, "missing")}
    run = read_run(stopped, tokenizers=LocalTokenizers({"tiny/chat": str(tiny_model)}))
    assert {r.output_provenance for r in run.records} == {"tokenizer"}
    tokenizer = AutoTokenizer.from_pretrained(tiny_model)
    states = json.loads((chat_folder / "scenario_state.json").read_text())["request_states"]
    texts = [state["result"]["completions"][0]["text"] for state in states]
    assert [r.output_tokens for r in run.records] == [len(tokenizer.encode(text)) for text in texts]
    assert {r.prompt_provenance for r in run.records} == {"harness"}


def test_responses_client(helm_home: HelmHome) -> None:
    folder = helm_home.run(simple_run_spec("tiny/responses", max_tokens=16))
    caches = RequestCaches()
    caches.add_folder(helm_home.cache)
    run = read_run(folder, caches=caches)
    assert helm_sums(folder)["num_output_tokens"] == 0
    assert [(r.output_tokens, r.reasoning_tokens, r.cache_read_tokens) for r in run.records] == [(16, 0, 0)] * 3
    assert {r.output_provenance for r in run.records} == {"usage"}


@pytest.mark.parametrize(
    ("settings", "num_requests"),
    [
        ({"num_outputs": 3, "temperature": 1.0}, 3),
        ({"method": "multiple_choice_joint", "num_train_trials": 2, "max_tokens": 1}, 6),
        ({"method": "multiple_choice_separate_original", "max_tokens": 0}, 6),
        ({"method": "multiple_choice_separate_calibrated", "max_tokens": 0}, 12),
    ],
)
def test_sums_equal_helms_where_its_client_stores_tokens(
    helm_home: HelmHome, settings: dict[str, Any], num_requests: int
) -> None:
    folder = helm_home.run(simple_run_spec("tiny/local", **settings))
    run = read_run(folder)
    assert len(run.records) == num_requests
    assert our_sums(run) == pytest.approx(helm_sums(folder))
    assert {(r.prompt_provenance, r.output_provenance) for r in run.records} == {("harness", "harness")}
    identities = {(r.instance_id, r.train_trial, r.request_mode, r.reference_index) for r in run.records}
    assert len(identities) == num_requests
    if "num_outputs" in settings:
        assert all(r.num_completions == 3 and r.max_completion_tokens <= r.output_tokens <= 18 for r in run.records)


class Listener(MetricInterface):
    """A metric of HELM's kind that keeps what HELM hands to metrics."""

    seen: ClassVar[list[tuple[ScenarioState, MetricService]]] = []

    def evaluate(self, scenario_state: ScenarioState, metric_service: MetricService, *_: object) -> MetricResult:
        self.seen.append((scenario_state, metric_service))
        return MetricResult([], [])


@pytest.mark.parametrize("with_cache", [True, False])
def test_live_records_equal_those_of_the_archive(helm_home: HelmHome, with_cache: bool) -> None:
    spec = simple_run_spec("tiny/chat", max_tokens=3 if with_cache else 4)
    listening = dataclasses.replace(spec, metric_specs=[*spec.metric_specs, MetricSpec(f"{__name__}.Listener")])
    Listener.seen.clear()
    with helm_live.captured_usage() as captured:
        folder = helm_home.run(listening, with_cache=with_cache)
    [(scenario_state, metric_service)] = Listener.seen
    live = helm_live.records_from_scenario_state(
        scenario_state, run=spec.name, suite="suite", metric_service=metric_service, usage=captured
    )
    read_back = helm_live.cached_usage(scenario_state, metric_service=metric_service)
    archive = read_run(folder, caches=read_back if with_cache else captured).records
    assert {r.output_provenance for r in archive} == {"usage"}
    assert live == tuple(replace(r, scores={}) for r in archive)
    assert read_back.num_responses == (3 if with_cache else 0)


def test_references_are_counted_as_in_the_archive(helm_home: HelmHome) -> None:
    """HELM keeps the sum of an instance's requests; both divide it in the same way."""
    spec = simple_run_spec("tiny/local", method="multiple_choice_separate_calibrated", max_tokens=0)
    Listener.seen.clear()
    folder = helm_home.run(
        dataclasses.replace(spec, metric_specs=[*spec.metric_specs, MetricSpec(f"{__name__}.Listener")])
    )
    [(scenario_state, metric_service)] = Listener.seen
    live = helm_live.records_from_scenario_state(
        scenario_state, run=spec.name, suite="suite", metric_service=metric_service, usage=RequestCaches()
    )
    assert live == tuple(replace(record, scores={}) for record in read_run(folder).records)


def test_completions_are_asked_of_servers_without_log_probabilities(helm_home: HelmHome) -> None:
    folder = helm_home.run(simple_run_spec("tiny/completions"))
    caches = RequestCaches()
    caches.add_folder(helm_home.cache)
    run = read_run(folder, caches=caches)
    assert [record.output_tokens for record in run.records] == [6] * 3, "as the server counts them"
    assert all(record.prompt_tokens and record.observed_s for record in run.records)
    state = json.loads((folder / "scenario_state.json").read_text())
    assert all(request["result"]["completions"][0]["text"] for request in state["request_states"])
