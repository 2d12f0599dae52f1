"""One engine end to end: what it says of itself, its profile, HELM against it, and whether all count alike."""

import json
import os
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import yaml
from engine_servers import Server, counters, model_folder, running

ENGINES = ("vllm", "llama.cpp", "transformers-serve")
CLIENTS = {
    "completions": ("helm_efficiency.helm_plugin.completions_client.CompletionsClient", "served_model"),
    "chat": ("helm.clients.vllm_client.VLLMChatClient", "vllm_model_name"),
}
COUNTERS = {
    "vllm": {"prompt_tokens": ("vllm:prompt_tokens_total",), "output_tokens": ("vllm:generation_tokens_total",)},
    "llama.cpp": {
        "prompt_tokens": ("llamacpp:prompt_tokens_total", "llamacpp:prompt_tokens_cached_total"),
        "output_tokens": ("llamacpp:tokens_predicted_total",),
    },
}
_CHOSEN = ("--budget-seconds", "45")
"""First with lengths chosen within the server's limit, for as long as this."""

_GIVEN = ("--prompt-tokens", "16,128", "--output-tokens", "1,8", "--concurrency", "1,4", "--repetitions", "2")
_MOST = ("--budget-seconds", "240")
"""Then with these, in the same profile, so that every engine has batches."""

NAME = "local/llama"
_RUNNER = "helm_efficiency.helm_plugin.plugin.EfficiencyRunner"


def check(engine: str, size: str = "8M") -> dict[str, Any]:
    """One engine end to end: what it says of itself, its profile, and HELM against it with both clients."""
    begun = time.monotonic()
    with running(engine, size) as server, tempfile.TemporaryDirectory() as scratch:
        started_s = time.monotonic() - begun
        store = Path(scratch) / "prod_env" / "efficiency.sqlite"
        chosen = profile(server, store, *_CHOSEN)
        found = profile(server, store, *_GIVEN, *_MOST)
        helm = {name: run_helm(server, name, store, model_folder(size)) for name in CLIENTS}
    return {"engine": engine, "started_s": started_s, "chosen": chosen, **found, "helm": helm}


def profile(server: Server, store: Path, *options: str) -> dict[str, Any]:
    """Profile a server as a user would, with no option that it could tell itself, and fit."""
    named = [server.model] if server.engine == "transformers-serve" else []
    arguments = ["profile", *named, "--base-url", server.base_url, "--deployment", NAME, "--store", str(store)]
    begun = time.monotonic()
    told = command(*arguments, *options, "--format", "json")
    seconds = time.monotonic() - begun
    cells = json.loads(told.stdout)
    fits = json.loads(command("fit", "--store", str(store), "--format", "json").stdout)
    facts = {"stack": cells[0]["stack"], "profile_s": seconds, "exit_code": told.returncode}
    return {**facts, "said": told.stderr.strip().splitlines()[-2], "cells": cells, "fits": fits}


def command(*arguments: str) -> "subprocess.CompletedProcess[str]":
    """Run a command of ours; 1 means that it ended early or something is missing, which the results show."""
    done = subprocess.run(
        [sys.executable, "-m", "helm_efficiency.cli", *arguments], capture_output=True, text=True, check=False
    )
    if done.returncode not in (0, 1) or not done.stdout:
        raise RuntimeError(f"{arguments[0]} failed: {done.stderr[-2000:]}")
    return done


def run_helm(server: Server, client: str, store: Path, model: Path) -> dict[str, Any]:
    """HELM's own command with one of its clients and our runner; its counts beside those of the server."""
    home = store.parent
    write_deployment(home, server, client, model)
    before = counted(server)
    entry = f"efficiency_probe:trials=2,session=0,model={NAME},model_deployment=local/{client},probe=16+128x1+8"
    arguments = ["--run-entries", entry, "--suite", client, "--output-path", str(home.parent / "out")]
    arguments += ["--local-path", str(home), "--max-eval-instances", "100", "--num-threads", "1"]
    settings = {"HELM_EFFICIENCY_STORE": str(store), "HF_HUB_OFFLINE": "1"}
    done = subprocess.run(
        [sys.executable, "-m", "helm.benchmark.run", *arguments, "--runner-class-name", _RUNNER],
        capture_output=True,
        text=True,
        check=False,
        env=os.environ | settings,
        cwd=home.parent,
    )
    runs = list((home.parent / "out" / "runs" / client).glob("efficiency_probe*/per_instance_stats.json"))
    if not runs:
        problems = re.findall(r"^(?:\w+Error|Exception): .*$", done.stdout + done.stderr, re.MULTILINE)
        return {"failed": (problems or ["?"])[-1][:300]}
    after = counted(server)
    return {**summed(runs), "server": grown(before, after)}


def summed(files: Sequence[Path]) -> dict[str, Any]:
    """Sums over the requests of runs; of each stat, how many requests have it."""
    names = {"num_prompt_tokens", "num_output_tokens", "inference_runtime", "inference_idealized_runtime"}
    sums: dict[str, Any] = {}
    for instance in (each for file in files for each in json.loads(file.read_text())):
        for stat in instance["stats"]:
            name = stat["name"]["name"]
            if name in names and stat["count"]:
                sums[name] = sums.get(name, 0.0) + stat["sum"]
                sums[f"{name}_count"] = sums.get(f"{name}_count", 0) + stat["count"]
    return sums


def write_deployment(home: Path, server: Server, client: str, model: Path) -> None:
    """HELM's configuration files for a server."""
    class_name, argument = CLIENTS[client]
    args = {"base_url": server.base_url, argument: server.model}
    name = f"local/{client}"
    tokenizer = {"class_name": "helm.tokenizers.huggingface_tokenizer.HuggingFaceTokenizer"}
    tokenizer |= {"args": {"pretrained_model_name_or_path": str(model)}}
    contents = {
        "model_deployments": {
            "model_deployments": [
                {
                    "name": name,
                    "model_name": NAME,
                    "tokenizer_name": name,
                    "max_sequence_length": 2000,
                    "client_spec": {"class_name": class_name, "args": args},
                }
            ]
        },
        "tokenizer_configs": {
            "tokenizer_configs": [
                {"name": name, "tokenizer_spec": tokenizer, "end_of_text_token": "</s>", "prefix_token": "<s>"}
            ]
        },
    }
    home.mkdir(parents=True, exist_ok=True)
    for file, content in contents.items():
        (home / f"{file}.yaml").write_text(yaml.safe_dump(content, sort_keys=False))


def counted(server: Server) -> dict[str, float]:
    """Prompt and output tokens that the server counted by now, where it has counters."""
    names = COUNTERS.get(server.engine.partition("-")[0])
    if names is None:
        return {}
    found = counters(server)
    return {kind: sum(found.get(name, 0.0) for name in of_kind) for kind, of_kind in names.items()}


def grown(before: dict[str, float], after: dict[str, float]) -> dict[str, float]:
    """What was counted between two readings."""
    return {name: value - before[name] for name, value in after.items()}
