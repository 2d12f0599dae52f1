"""Make an archive of HELM runs of any size, shaped like real ones of five-shot multiple choice.

    python benchmarks/make_archive.py FOLDER --requests 100000

Ten runs are made; further ones are hard links to their big files under other names, so that a million requests need no
more room than ten thousand. Sizes follow real MMLU runs of 2024: 27 stats and some 12 kB of JSON a request.
"""

import argparse
from pathlib import Path
from typing import Any

import msgspec
import numpy as np

DISTINCT_RUNS = 10
WORDS = ("the", "of", "energy", "answer", "which", "following", "is", "true", "question", "model", "when", "nucleus")
ZERO_STATS = ("finish_reason_length", "finish_reason_stop", "finish_reason_endoftext", "finish_reason_unknown")
SCORES = ("exact_match", "quasi_exact_match", "prefix_exact_match", "quasi_prefix_exact_match")

DECODING = {
    "embedding": False,
    "temperature": 0.0,
    "num_completions": 1,
    "top_k_per_token": 5,
    "max_tokens": 20,
    "stop_sequences": ["\n"],
    "echo_prompt": False,
    "top_p": 1,
    "presence_penalty": 0,
    "frequency_penalty": 0,
}


def _text(rng: np.random.Generator, num_words: int) -> str:
    return " ".join(rng.choice(WORDS, num_words))


def _request(rng: np.random.Generator, number: int, deployment: str) -> tuple[dict[str, Any], dict[str, Any]]:
    """A request state, and the values of its stats."""
    question, shots = _text(rng, 40), _text(rng, int(rng.integers(250, 500)))
    prompt = f"{shots}\n\nQuestion: {question}\nAnswer:"
    output_tokens, seconds = int(rng.integers(1, 20)), float(rng.lognormal(0.0, 0.5))
    state = {
        "instance": _instance(rng, question, number),
        "train_trial_index": 0,
        "output_mapping": {letter: _text(rng, 5) for letter in "ABCD"},
        "request": {"model_deployment": deployment, "model": deployment, "prompt": prompt, **DECODING},
        "result": _result(rng, output_tokens, seconds, number),
        "num_train_instances": 5,
        "prompt_truncated": False,
        "num_conditioning_tokens": 0,
    }
    return state, _values(rng, len(prompt.split()), output_tokens, seconds)


def _instance(rng: np.random.Generator, question: str, number: int) -> dict[str, Any]:
    return {
        "input": {"text": question},
        "references": [{"output": {"text": _text(rng, 5)}, "tags": ["correct"] * (i == 0)} for i in range(4)],
        "split": "test",
        "id": f"id{number}",
    }


def _result(rng: np.random.Generator, output_tokens: int, seconds: float, number: int) -> dict[str, Any]:
    tokens = [{"text": str(rng.choice(WORDS)), "logprob": float(-rng.random())} for _ in range(output_tokens)]
    return {
        "success": True,
        "embedding": [],
        "completions": [{"text": _text(rng, output_tokens), "logprob": -1.5, "tokens": tokens}],
        "cached": False,
        "request_time": seconds,
        "request_datetime": 1714800000 + number,
    }


def _values(rng: np.random.Generator, prompt_tokens: int, output_tokens: int, seconds: float) -> dict[str, Any]:
    """What HELM's metrics would say of a request, by name of the stat."""
    return {
        "num_references": 4,
        "num_train_trials": 1,
        "num_prompt_tokens": prompt_tokens,
        "num_completion_tokens": output_tokens,
        "num_output_tokens": output_tokens,
        "training_co2_cost": None,
        "training_energy_cost": None,
        "inference_runtime": seconds,
        "batch_size": 1,
        **dict.fromkeys(ZERO_STATS, 0),
        "num_train_instances": 5,
        "prompt_truncated": 0,
        "max_prob": float(rng.random()),
        **{name + at: int(rng.integers(2)) for name in SCORES for at in ("", "@5")},
        "logprob": float(-rng.random()),
        "num_perplexity_tokens": output_tokens,
        "num_bytes": 4 * output_tokens,
    }


def _stat(name: str, value: float | None) -> dict[str, Any]:
    full_name = {"name": name, "split": "test"}
    if value is None:
        return {"name": full_name, "count": 0, "sum": 0, "sum_squared": 0}
    return {
        "name": full_name,
        "count": 1,
        "sum": value,
        "sum_squared": value * value,
        "min": value,
        "max": value,
        "mean": float(value),
        "variance": 0.0,
        "stddev": 0.0,
    }


def _write(path: Path, value: Any) -> None:
    path.write_bytes(msgspec.json.format(msgspec.json.encode(value), indent=2))


def _run_spec(name: str, deployment: str) -> dict[str, Any]:
    return {
        "name": name,
        "scenario_spec": {"class_name": "helm.benchmark.scenarios.mmlu_scenario.MMLUScenario", "args": {}},
        "adapter_spec": {
            "method": "multiple_choice_joint",
            "model_deployment": deployment,
            "model": deployment,
            "num_train_trials": 1,
        },
        "metric_specs": [
            {"class_name": "helm.benchmark.metrics.basic_metrics.BasicMetric", "args": {"names": ["exact_match"]}}
        ],
        "groups": ["mmlu"],
    }


def _make_run(folder: Path, number: int, *, num_requests: int, deployment: str) -> None:
    rng = np.random.default_rng(number)
    requests = [_request(rng, i, deployment) for i in range(num_requests)]
    adapter_spec = _run_spec("", deployment)["adapter_spec"]
    states = [state for state, _ in requests]
    _write(folder / "scenario_state.json", {"adapter_spec": adapter_spec, "request_states": states})
    entries = [
        {"instance_id": f"id{i}", "train_trial_index": 0, "stats": [_stat(*item) for item in values.items()]}
        for i, (_, values) in enumerate(requests)
    ]
    _write(folder / "per_instance_stats.json", entries)
    _write(folder / "stats.json", [_stat(*item) for item in requests[0][1].items()])
    _write(folder / "scenario.json", {"name": "mmlu"})


def make_archive(root: Path, *, num_requests: int, deployments: list[str], requests_per_run: int = 1000) -> list[Path]:
    """Make runs below `root`/runs/v1, deployments taking turns; the run folders."""
    folders: list[Path] = []
    for number in range(num_requests // requests_per_run):
        deployment = deployments[number % len(deployments)]
        name = f"mmlu:subject=s{number},model={deployment.replace('/', '_')}"
        folder = root / "runs" / "v1" / name
        folder.mkdir(parents=True)
        if number < DISTINCT_RUNS:
            _make_run(folder, number, num_requests=requests_per_run, deployment=deployment)
        else:
            for file in folders[number % DISTINCT_RUNS].glob("*.json"):
                if file.name != "run_spec.json":
                    (folder / file.name).hardlink_to(file)
        _write(folder / "run_spec.json", _run_spec(name, deployment))
        folders.append(folder)
    return folders


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--requests", type=int, default=100_000)
    arguments = parser.parse_args()
    make_archive(arguments.folder, num_requests=arguments.requests, deployments=["openai/gpt2"])
