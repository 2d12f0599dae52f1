"""Write a small example to try commands on: invented runs of two models, measurements, and a model's config."""

import json
import math
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from helm_efficiency.core.measurement import Measurement, Profile, Stack
from helm_efficiency.files import write_file
from helm_efficiency.store import Store

_ASKED = datetime(2025, 6, 2, 9, tzinfo=UTC).timestamp()
_NUM_REQUESTS = 40
_SOURCE = "invented, by: helm-efficiency example"
_MODELS = {"groq/llama3-8b-8192": (0.004, 3, 1), "groq/llama3-70b-8192": (0.02, 4, 4)}
"""Invented seconds of an output token, right answers out of five, and accelerators, by deployment."""
_CONFIG = {
    "model_type": "llama",
    "num_hidden_layers": 2,
    "hidden_size": 64,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "intermediate_size": 128,
    "vocab_size": 1000,
}


def write_example(folder: Path) -> list[Path]:
    """Write the example and return its parts: runs as HELM writes them, a store, measurements as CSV, a config.json.

    Raises:
        OutputError: A file cannot be written.
    """
    for deployment in _MODELS:
        for name, document in _helm_run(deployment).items():
            run = f"arithmetic:model={deployment.replace('/', '_')}"
            write_file(folder / "runs" / "v1" / run / name, json.dumps(document))
    profiles = [_profile(deployment) for deployment in _MODELS]
    store = folder / "efficiency.sqlite"
    store.unlink(missing_ok=True)
    Store(store).put_all(profiles, ())
    cells = (f"{m.prompt_tokens},{m.output_tokens},1,{m.seconds:.6g}\n" for m in profiles[0].measurements)
    write_file(folder / "measurements.csv", "prompt_tokens,output_tokens,batch_size,seconds\n" + "".join(cells))
    write_file(folder / "config.json", json.dumps(_CONFIG, indent=2))
    return [folder / "runs", store, folder / "measurements.csv", folder / "config.json"]


def _seconds(deployment: str, prompt_tokens: int, output_tokens: int) -> float:
    per_token = _MODELS[deployment][0]
    return 0.05 + per_token * (prompt_tokens / 60 + output_tokens - 1)


def _profile(deployment: str) -> Profile:
    cells = [(p, o) for p in (1, 64, 256, 1024, 2048) for o in (1, 16, 64)]
    number = _MODELS[deployment][2]
    stack = Stack("a100-80gb-example", "a100-80gb", number, engine="vllm", dtype="bf16", tensor_parallel=number)
    # repetitions that differ by 1 % show the noise
    timed = [Measurement(p, o, _seconds(deployment, p, o) * (1 + sign / 200)) for p, o in cells for sign in (-1, 1)]
    return Profile(deployment, stack, tuple(timed), source=_SOURCE)


def _helm_run(deployment: str) -> dict[str, Any]:
    """Return the files of a run of HELM by name."""
    adapter = {"model": deployment, "model_deployment": deployment, "max_tokens": 100}
    states, answers = zip(*_requests(deployment), strict=True)
    metric = {"class_name": "helm.benchmark.metrics.basic_metrics.BasicMetric", "args": {"names": ["exact_match"]}}
    name = f"arithmetic:model={deployment.replace('/', '_')}"
    return {
        "run_spec.json": {"name": name, "adapter_spec": adapter, "metric_specs": [metric], "groups": []},
        "scenario_state.json": {"adapter_spec": adapter, "request_states": states},
        "per_instance_stats.json": answers,
        "stats.json": [],
    }


def _requests(deployment: str) -> Iterator[tuple[dict[str, Any], dict[str, Any]]]:
    """Yield each request with the stats of its answer."""
    for index in range(_NUM_REQUESTS):
        prompt_tokens, output_tokens = 50 + 37 * index % 900, 1 + 13 * index % 60
        waited = 1 + 0.3 * (1 + math.sin(index)) * (index % 4 == 0)  # every fourth request meets others
        completion = {"text": "four", "tokens": [{"text": "four"}] * output_tokens, "finish_reason": {"reason": "stop"}}
        result = {
            "success": True,
            "cached": False,
            "completions": [completion],
            "request_time": _seconds(deployment, prompt_tokens, output_tokens) * waited,
            "request_datetime": _ASKED + 60 * index,
        }
        request = {"model": deployment, "model_deployment": deployment, "prompt": "2 + 2 =", "max_tokens": 100}
        instance = {"id": f"id{index}", "split": "test"}
        stats = {
            "num_prompt_tokens": prompt_tokens,
            "num_output_tokens": output_tokens,
            "exact_match": float(7 * index % 5 < _MODELS[deployment][1]),
        }
        named = [{"name": {"name": name, "split": "test"}, "count": 1, "sum": value} for name, value in stats.items()]
        yield (
            {"instance": instance, "request": request, "result": result},
            {"instance_id": instance["id"], "train_trial_index": 0, "stats": named},
        )
