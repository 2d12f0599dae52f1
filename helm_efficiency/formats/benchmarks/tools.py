"""Detect from the content of a result file which benchmark tool wrote it, and read it."""

import csv
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec

from helm_efficiency.core.measurement import Profile
from helm_efficiency.errors import FileFormatError
from helm_efficiency.files import read_bytes
from helm_efficiency.formats.benchmarks import batch_tools, endpoint_tools, serving_clients, tidy_csv
from helm_efficiency.formats.benchmarks.run import Run, profiles_of

Records = list[Any]


@dataclass(frozen=True, slots=True)
class Tool:
    """Supported benchmark tool.

    Attributes:
        name: Name of the tool, for messages and provenance.
        keys: Keys in the first record of its files that distinguish it from other tools.
        read: Function from the records of a file to results.
        expected: Kind and versions of the file that is read.
    """

    name: str
    keys: frozenset[str]
    read: Callable[[Records], list[Run]]
    expected: str


def _refuse_ml_energy(records: Records) -> list[Run]:
    raise msgspec.ValidationError("it states no prompt lengths and no time to first token, so no request can be timed")


def _tool(name: str, keys: Sequence[str], read: Callable[[Records], list[Run]], expected: str) -> Tool:
    return Tool(name, frozenset(keys), read, expected)


TOOLS: tuple[Tool, ...] = (
    _tool(
        "sglang.bench_serving",
        ("mean_e2e_latency_ms", "total_input_tokens"),
        serving_clients.read_sglang,
        "a line of JSON with backend, completed, mean_ttft_ms, mean_tpot_ms and mean_e2e_latency_ms",
    ),
    _tool(
        "vllm bench serve",
        ("mean_ttft_ms", "total_input_tokens"),
        serving_clients.read_vllm_serve,
        "JSON of --save-result with model_id, completed, mean_ttft_ms and mean_tpot_ms",
    ),
    _tool(
        "InferenceMAX",
        ("hw", "conc", "mean_ttft"),
        serving_clients.read_inference_max,
        "aggregated JSON of one node with isl, osl, mean_ttft and mean_tpot",
    ),
    _tool(
        "vllm bench latency",
        ("avg_latency", "latencies"),
        batch_tools.read_vllm_latency,
        "PyTorch's benchmark format (SAVE_TO_PYTORCH_BENCHMARK_FORMAT=1)",
    ),
    _tool(
        "vllm bench latency",
        ("benchmark", "model", "metric"),
        batch_tools.read_vllm_latency,
        "PyTorch's benchmark format with input_len, output_len and batch_size",
    ),
    _tool(
        "GuideLLM",
        ("benchmarks",),
        endpoint_tools.read_guidellm,
        "a JSON report of version 1 or 2, or of GuideLLM 0.3 or 0.4, with a strategy and metrics in each benchmark",
    ),
    _tool(
        "AIPerf",
        ("request_latency", "input_sequence_length"),
        endpoint_tools.read_aiperf,
        "profile_export_aiperf.json of schema version 1, with lengths, request_latency and input_config",
    ),
    _tool(
        "inference-perf",
        ("load_summary", "successes"),
        endpoint_tools.read_inference_perf,
        "stage_N_lifecycle_metrics.json with load_summary and successes",
    ),
    _tool(
        "trtllm-bench",
        ("engine", "performance", "request_info"),
        endpoint_tools.read_trtllm,
        "a report with engine, world_info, request_info and performance",
    ),
    _tool(
        "optimum-benchmark",
        ("config", "report"),
        batch_tools.read_optimum,
        "benchmark.json of the inference scenario, with config and report of prefill and decode",
    ),
    _tool(
        "llama-bench",
        ("n_prompt", "n_gen", "avg_ns"),
        batch_tools.read_llama_bench,
        "JSON, JSON lines or CSV with model_filename, n_prompt, n_gen, avg_ns and stddev_ns",
    ),
    _tool(
        "ML.ENERGY",
        ("activated_params_billions", "configurations"),
        _refuse_ml_energy,
        "a tool that times whole requests",
    ),
    _tool(
        "tidy CSV",
        ("source", "accelerator", "batch_or_concurrency"),
        tidy_csv.read_tidy_csv,
        "columns source, model, accelerator, batch_or_concurrency, prompt_tokens, output_tokens and times in seconds",
    ),
)


def read_tool_file(path: Path, *, deployment: str | None = None, stack_name: str | None = None) -> list[Profile] | None:
    """Read the result file of a benchmark tool. A given deployment or stack name replaces that in the file.

    Returns:
        One profile for each model, stack and load; None if no known tool wrote the file.

    Raises:
        FileFormatError: The version or kind of the file is not supported; the message says what was expected.
        InputError: Neither the file nor the caller names the model or the stack.
    """
    records = _records(path)
    first = records[0] if records else None
    if not isinstance(first, Mapping):
        return None
    tool = next((tool for tool in TOOLS if tool.keys <= first.keys()), None)
    if tool is None:
        return None
    try:
        runs = tool.read(records)
    except (msgspec.MsgspecError, ArithmeticError, ValueError, AttributeError, TypeError) as error:  # odd values
        raise FileFormatError(f"{path}: {tool.name}: {error}. Expected {tool.expected}.") from error
    return profiles_of(runs, path=path, tool=tool.name, deployment=deployment, stack_name=stack_name)


def _records(path: Path) -> Records:
    """Return the objects of a JSON value, of JSON lines, or the rows of a CSV; empty for anything else."""
    try:
        text = read_bytes(path).decode("utf-8-sig")
    except (OSError, UnicodeDecodeError):
        return []
    start = text.lstrip()[:1]
    try:
        if start in ("{", "["):
            try:
                value = json.loads(text)
            except json.JSONDecodeError:
                value = [json.loads(line) for line in text.splitlines() if line.strip()]
            return value if isinstance(value, list) else [value]
        header = next(iter(text.splitlines()), "")
        if "n_prompt" in header or "batch_or_concurrency" in header:
            return list(csv.DictReader(text.splitlines(), strict=True))
    except (ValueError, RecursionError, csv.Error):
        return []
    return []
