"""Records sorted into service logs: what counts, what is set apart and why; and real archives."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from helm_efficiency.adapters.record import RequestRecord
from helm_efficiency.adapters.sources import find_sources, read_source
from helm_efficiency.metrics.services import services


def record(**facts: Any) -> RequestRecord:
    defaults: dict[str, Any] = {
        "harness": "helm",
        "suite": "v1",
        "run": "mmlu",
        "scenario": "mmlu",
        "model": "lab/m",
        "deployment": "host/m",
        "instance_id": "id1",
        "prompt_tokens": 100,
        "output_tokens": 5,
        "observed_s": 0.5,
        "requested_at": 1.7e9,
    }
    return RequestRecord(**(defaults | facts))


@pytest.mark.parametrize(
    ("facts", "reason"),
    [
        ({"success": False, "output_tokens": None, "observed_s": None}, "failed"),
        ({"observed_s": None}, "no time"),
        ({"observed_s": 0.0}, "clock set back"),
        ({"observed_s": -3.0}, "clock set back"),
        ({"output_tokens": None}, "no token counts"),
        ({"prompt_tokens": None}, "no token counts"),
        ({"doubts": ("media_not_counted",)}, "no token counts"),
        ({"doubts": ("text_as_one_token",), "output_tokens": 1}, "no token counts"),
        ({"doubts": ("reasoning_not_counted",)}, "no token counts"),
        ({"output_tokens": 0}, "stopped early"),
        ({"scenario": "efficiency_probe:trials=10,session=0,output_tokens=16,round=0"}, "stopped early"),
        ({"num_completions": 5}, "several completions"),
        ({"batch_size": 8}, "batched"),
        ({"cache_read_tokens": 64}, "prefix cache"),
    ],
)
def test_what_misleads_is_set_apart(facts: dict[str, Any], reason: str) -> None:
    (service,) = services([record(**facts)])
    assert len(service.log) == 0
    assert dict(service.set_apart) == {reason: 1}


@pytest.mark.parametrize(
    ("facts", "output_tokens"),
    [
        ({}, 5),
        ({"cached": True}, 5),
        ({"batch_size": 1}, 5),
        ({"scenario": "efficiency_probe:trials=10,session=0,output_tokens=5,round=0"}, 5),
        ({"doubts": ("prompt_as_one_token",)}, 5),
    ],
)
def test_what_tells_is_used(facts: dict[str, Any], output_tokens: int) -> None:
    (service,) = services([record(**facts)])
    assert not service.set_apart
    assert service.log.output_tokens.tolist() == [output_tokens]


def test_a_time_that_a_cache_repeats_counts_once() -> None:
    first, again = record(run="one"), record(run="two", cached=True)
    (service,) = services([first, again, record(instance_id="id2", observed_s=0.6)])
    assert service.log.seconds.tolist() == [0.5, 0.6]
    assert dict(service.set_apart) == {"repeated from a cache": 1}


def test_without_dates_a_repeated_time_counts_once_too() -> None:
    (service,) = services([record(requested_at=None), record(requested_at=None, run="two")])
    assert len(service.log) == 1


def test_deployments_runs_and_times_are_kept() -> None:
    records = [
        record(deployment="b/m", run="one", requested_at=30.0, observed_s=0.3),
        record(deployment="a/m", run="one", requested_at=10.0),
        record(deployment="b/m", run="two", requested_at=20.0, ttft_s=0.1),
    ]
    one, other = services(iter(records))
    assert (one.deployment, other.deployment, other.model) == ("a/m", "b/m", "lab/m")
    assert other.log.requested_at.tolist() == [20.0, 30.0]  # in the order they were made
    assert other.log.seconds.tolist() == [0.5, 0.3]
    assert other.log.run[0] != other.log.run[1]
    assert other.log.ttft_s[0] == 0.1
    assert np.isnan(other.log.ttft_s[1])


def test_advice_is_about_the_commonest_reason_that_can_be_helped() -> None:
    (service,) = services([record(batch_size=8)] * 3 + [record(success=False)] * 2 + [record(output_tokens=None)])
    assert service.advice() == "2 failed: the service refused or broke off; run it again, more slowly"
    (batched,) = services([record(batch_size=8)])
    assert batched.advice() == ""


def test_hosts_of_the_same_prompts(data_dir: Path) -> None:
    """Together's old chat client stored a whole answer as one token; where it was cut off says how many there were."""
    sources = find_sources([str(data_dir / "helm_runs" / "mmlu_llama3")])
    found = services(r for source in sources for run in read_source(source) for r in run.records)
    told = {s.deployment: (len(s.log), dict(s.set_apart), np.median(s.log.output_tokens)) for s in found}
    assert told == {
        "groq/llama3-70b-8192": (60, {}, 1.0),
        "groq/llama3-8b-8192": (60, {}, 1.0),
        "huggingface/Meta-Llama-3-8B": (60, {}, 1.0),
        "together/Llama-3-70b-chat-hf": (60, {}, 20.0),
        "together/Llama-3-8b-chat-hf": (60, {}, 20.0),
    }


def test_eight_hosts_of_llmperf(data_dir: Path) -> None:
    sources = find_sources([str(data_dir / "latency" / "llmperf")])
    assert {source.harness for source in sources} == {"llmperf"}
    found = services(r for source in sources for run in read_source(source) for r in run.records)
    assert len({s.deployment.partition("/")[0] for s in found}) == 8
    assert sum(len(s.log) + s.set_apart.total() for s in found) == 2845
    lepton = next(s for s in found if s.deployment == "lepton/7b")
    assert (len(lepton.log), dict(lepton.set_apart)) == (20, {"failed": 130})
    assert np.isfinite(lepton.log.ttft_s).all()
