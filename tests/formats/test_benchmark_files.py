"""Result files of benchmark tools: what each states, what is missing, what is refused.

The documents have the shape that the tools write (GuideLLM 0.8.1 and AIPerf 0.13.0 were run against a small server for
it; the others are as their sources write them), with few and round numbers.
"""

import csv
import io
import json
from pathlib import Path
from typing import Any

import pytest

from helm_efficiency.core.measurement import Measurement, Profile
from helm_efficiency.errors import FileFormatError, InputError
from helm_efficiency.formats.benchmarks.tools import TOOLS
from helm_efficiency.formats.detect import read_coefficient_files

VLLM = {
    "date": "20260401-120000",
    "endpoint_type": "vllm",
    "backend": "vllm",
    "model_id": "Qwen/Qwen3-8B",
    "tokenizer_id": "Qwen/Qwen3-8B",
    "num_prompts": 20,
    "request_rate": "inf",
    "burstiness": 1.0,
    "max_concurrency": 8,
    "duration": 12.5,
    "completed": 20,
    "total_input_tokens": 20480,
    "total_output_tokens": 2560,
    "request_throughput": 1.6,
    "mean_ttft_ms": 100.0,
    "median_ttft_ms": 90.0,
    "mean_tpot_ms": 10.0,
    "mean_itl_ms": 10.0,
}
SGLANG = {
    "backend": "sglang",
    "dataset_name": "random",
    "request_rate": 2.5,
    "max_concurrency": None,
    "completed": 10,
    "total_input_tokens": 10240,
    "total_output_tokens": 1280,
    "mean_e2e_latency_ms": 1400.0,
    "mean_ttft_ms": 130.0,
    "mean_tpot_ms": 10.0,
    "server_info": {"model_path": "Qwen/Qwen3-32B", "tp_size": 2, "version": "0.5.9"},
}
INFERENCEMAX = {
    "hw": "h200-trt",
    "tp": 4,
    "ep": 1,
    "conc": 16,
    "dp_attention": "false",
    "model": "openai/gpt-oss-120b",
    "framework": "trt",
    "precision": "fp4",
    "isl": 1024,
    "osl": 1024,
    "tput_per_gpu": 900.0,
    "mean_ttft": 0.1,
    "mean_tpot": 0.005,
    "mean_e2el": 4.7,
}
LATENCY = [
    {
        "benchmark": {
            "name": "vLLM benchmark",
            "extra_info": {
                "args": {"input_len": 32, "output_len": 128, "batch_size": 8, "tensor_parallel_size": 2, "seed": 0},
                "avg_latency": 2.0,
            },
        },
        "model": {"name": "meta-llama/Llama-3.1-8B"},
        "metric": {"name": "latency", "benchmark_values": [1.9, 2.1], "extra_info": {}},
    }
]


def guide_stat(mean: float, **more: float) -> dict[str, Any]:
    return {"successful": {"mean": mean, "median": mean, **more}, "errored": {"mean": 0.0}, "total": {"mean": mean}}


GUIDELLM = {
    "metadata": {"version": 2, "guidellm_version": "0.8.1", "python_version": "3.11.7", "platform": "Linux"},
    "config": {"metadata": {"labels": {}}, "spec": {"backend": {"kind": "openai_http", "model": "Qwen/Qwen3-8B"}}},
    "benchmarks": [
        {
            "type_": "generative_benchmark",
            "config": {"strategy": {"type_": kind, "streams": streams, "rate": rate}},
            "metrics": {
                "request_latency": guide_stat(1.5, std_dev=0.1, count=6),
                "time_to_first_token_ms": guide_stat(80.0),
                "prompt_token_count": guide_stat(512.0),
                "output_token_count": guide_stat(64.0),
            },
        }
        for kind, streams, rate in (("synchronous", None, None), ("concurrent", 4, None), ("constant", None, 2.0))
    ],
}
AIPERF = {
    "schema_version": "1.4",
    "aiperf_version": "0.13.0",
    "request_latency": {"unit": "ms", "avg": 92.0, "p50": 110.0, "std": 32.0, "count": 12},
    "request_count": {"unit": "requests", "avg": 12.0},
    "time_to_first_token": {"unit": "ms", "avg": 44.0, "count": 12},
    "input_sequence_length": {"unit": "tokens", "avg": 32.0},
    "output_sequence_length": {"unit": "tokens", "avg": 8.0},
    "input_config": {
        "models": {"items": [{"name": "Qwen/Qwen3-8B"}]},
        "phases": [{"name": "profiling", "kind": "profiling", "type": "concurrency", "concurrency": 4}],
    },
    "is_complete": True,
    "start_time": "2026-11-21T16:36:39.282518",
}
INFERENCE_PERF = {
    "load_summary": {"count": 100, "requested_rate": 8.0, "achieved_rate": 7.9},
    "successes": {
        "count": 100,
        "latency": {
            "request_latency": {"mean": 3.3},
            "time_to_first_token": {"mean": 0.8},
            "time_per_output_token": {"mean": 0.08},
        },
        "prompt_len": {"mean": 500.0},
        "output_len": {"mean": 32.0},
    },
    "failures": {"count": 0},
}
TRTLLM = {
    "engine": {"model": "meta-llama/Llama-3.1-8B", "version": "1.2.0", "backend": "Pytorch", "quantization": "FP8"},
    "machine": {"name": "NVIDIA H100 80GB HBM3", "memory.total": 79.1, "clocks.mem": 2.6},
    "world_info": {"tp_size": 2, "pp_size": 1, "world_size": 2},
    "request_info": {
        "num_requests": 50,
        "avg_num_concurrent_requests": 3.9,
        "avg_input_length": 128.0,
        "avg_output_length": 128.0,
    },
    "performance": {"avg_request_latency_ms": 900.0},
    "streaming_metrics": {"avg_ttft_ms": 30.0, "avg_tpot_ms": 6.9},
}
OPTIMUM = {
    "config": {
        "name": "pytorch",
        "backend": {"name": "pytorch", "model": "EleutherAI/pythia-1.4b", "device": "cuda", "torch_dtype": "float16"},
        "scenario": {
            "name": "inference",
            "input_shapes": {"batch_size": 2, "sequence_length": 256},
            "generate_kwargs": {"max_new_tokens": 64, "min_new_tokens": 64},
        },
        "environment": {"cpu": "AMD EPYC", "gpu": ["NVIDIA A10"], "transformers_version": "4.48.0"},
    },
    "report": {
        "prefill": {"latency": {"unit": "s", "values": [0.04, 0.06]}},
        "decode": {"latency": {"unit": "s", "mean": 1.45, "count": 10}},
    },
}


def llama_bench(n_prompt: int, n_gen: int, avg_ns: float, **more: Any) -> dict[str, Any]:
    return {
        "build_commit": "abc",
        "build_number": 6000,
        "cpu_info": "AMD EPYC",
        "gpu_info": "NVIDIA GeForce RTX 4090",
        "backends": "CUDA",
        "model_filename": "models/llama-3-8b-Q4_K_M.gguf",
        "model_type": "llama 8B Q4_K - Medium",
        "n_gpu_layers": 99,
        "n_prompt": n_prompt,
        "n_gen": n_gen,
        "n_depth": 0,
        "test_time": "2026-05-01T00:00:00Z",
        "avg_ns": avg_ns,
        "stddev_ns": 1000000,
        **more,
    }


LLAMA_BENCH = [
    llama_bench(512, 0, 50e6),
    llama_bench(0, 128, 1e9),
    llama_bench(512, 128, 1.1e9),
    llama_bench(0, 128, 2e9, n_depth=4096),
]
MODERN = (
    "source,model,hf_id_if_known,accelerator,n_accelerators,parallelism,engine,engine_version,precision,"
    "batch_or_concurrency,prompt_tokens,output_tokens,ttft_s,tpot_s,e2e_s,energy_j,date,note\n"
)


def profiles(folder: Path, document: Any, *, name: str = "result.json", **names: str) -> list[Profile]:
    path = folder / name
    path.write_text(document if isinstance(document, str) else json.dumps(document))
    return list(read_coefficient_files([str(path)], **names).profiles)


def stack(profile: Profile) -> tuple[str, str, int]:
    return profile.stack.name, profile.stack.accelerator, profile.stack.num_accelerators


def test_vllm_serve_is_a_closed_loop(tmp_path: Path) -> None:
    (profile,) = profiles(tmp_path, VLLM, stack_name="h100-sxm-vllm-bf16")
    # 20480 / 20 prompt and 2560 / 20 output tokens; 0.1 s + 127 further tokens of 0.01 s
    assert profile.measurements == (Measurement(1024, 128, 0.1 + 127 * 0.01, num_repetitions=20, ttft_s=0.1),)
    assert stack(profile) == ("h100-sxm-vllm-bf16-c8", "h100-sxm", 1)
    assert (profile.deployment, profile.stack.engine, profile.measured_on) == ("Qwen/Qwen3-8B", "vllm", "2026-04-01")
    assert profile.architecture is not None and profile.architecture.name == "qwen3-8b"
    assert profile.source == "vllm bench serve result.json"


def test_an_end_to_end_time_is_taken_where_it_is(tmp_path: Path) -> None:
    document = {**VLLM, "mean_e2el_ms": 1500.0, "std_e2el_ms": 50.0, "max_concurrency": 1}
    (profile,) = profiles(tmp_path, document, stack_name="h100-sxm-vllm-bf16")
    assert profile.measurements == (Measurement(1024, 128, 1.5, seconds_std=0.05, num_repetitions=20, ttft_s=0.1),)
    assert profile.stack.name == "h100-sxm-vllm-bf16"


def test_a_burst_is_no_closed_loop(tmp_path: Path) -> None:
    (profile,) = profiles(tmp_path, {**VLLM, "max_concurrency": None}, stack_name="h100-sxm")
    assert profile.stack.name == "h100-sxm-burst"


def test_sglang_lines_state_server_and_rate(tmp_path: Path) -> None:
    lines = json.dumps(SGLANG) + "\n" + json.dumps({**SGLANG, "request_rate": 5.0}) + "\n"
    first, second = profiles(tmp_path, lines, name="online.jsonl", stack_name="b200-sglang-fp8")
    assert stack(first) == ("b200-sglang-fp8-r2.5", "b200", 2)
    assert (second.stack.name, second.stack.engine_version) == ("b200-sglang-fp8-r5", "0.5.9")
    assert first.deployment == "Qwen/Qwen3-32B"
    assert first.measurements == (Measurement(1024, 128, 1.4, num_repetitions=10, ttft_s=0.13),)


def test_inferencemax_lengths_are_as_drawn(tmp_path: Path) -> None:
    (profile,) = profiles(tmp_path, [INFERENCEMAX])
    # 1 + (4.7 - 0.1) / 0.005 = 921 of 1024 output tokens, and the same share of the prompt
    assert profile.measurements == (Measurement(921, 921, 4.7, ttft_s=0.1),)
    assert stack(profile) == ("h200-sxm-trt-fp4-tp4-c16", "h200-sxm", 4)


def test_vllm_latency_is_a_static_batch(tmp_path: Path) -> None:
    (profile,) = profiles(tmp_path, LATENCY, stack_name="a100-80gb-vllm-bf16")
    assert profile.measurements == (Measurement(32, 128, 1.9, batch_size=8), Measurement(32, 128, 2.1, batch_size=8))
    assert stack(profile) == ("a100-80gb-vllm-bf16", "a100-80gb", 2)


def test_guidellm_has_one_stack_a_load(tmp_path: Path) -> None:
    found = profiles(tmp_path, GUIDELLM, stack_name="h100-sxm-vllm-bf16")
    names = ["h100-sxm-vllm-bf16", "h100-sxm-vllm-bf16-c4", "h100-sxm-vllm-bf16-r2"]
    assert [profile.stack.name for profile in found] == names
    assert {profile.measurements for profile in found} == {
        (Measurement(512, 64, 1.5, seconds_std=0.1, num_repetitions=6, ttft_s=0.08),)
    }


def test_guidellm_before_it_had_versions(tmp_path: Path) -> None:
    (benchmark, *_) = GUIDELLM["benchmarks"]
    old = {
        "metrics": benchmark["metrics"],
        "args": {"strategy": {"type_": "concurrent", "streams": 2}},
        "worker": {"type_": "generative_requests_worker", "backend_model": "Qwen/Qwen3-8B"},
    }
    (profile,) = profiles(tmp_path, {"benchmarks": [old]}, stack_name="h100-sxm-vllm-bf16")
    assert (profile.deployment, profile.stack.name) == ("Qwen/Qwen3-8B", "h100-sxm-vllm-bf16-c2")


def test_aiperf_states_model_and_clients(tmp_path: Path) -> None:
    (profile,) = profiles(tmp_path, AIPERF, stack_name="h100-sxm-vllm-bf16")
    assert profile.measurements == (Measurement(32, 8, 0.092, seconds_std=0.032, num_repetitions=12, ttft_s=0.044),)
    assert (profile.deployment, profile.stack.name) == ("Qwen/Qwen3-8B", "h100-sxm-vllm-bf16-c4")
    assert profile.measured_on == "2026-11-21"


def test_inference_perf_needs_the_models_name(tmp_path: Path) -> None:
    (profile,) = profiles(tmp_path, INFERENCE_PERF, deployment="me/model", stack_name="h100-sxm-vllm-bf16")
    assert profile.measurements == (Measurement(500, 32, 3.3, num_repetitions=100, ttft_s=0.8),)
    assert profile.stack.name == "h100-sxm-vllm-bf16-r8"
    with pytest.raises(InputError, match=r"does not name the model. Name it: --deployment"):
        profiles(tmp_path, INFERENCE_PERF, stack_name="h100-sxm-vllm-bf16")


def test_trtllm_names_its_machine(tmp_path: Path) -> None:
    (profile,) = profiles(tmp_path, TRTLLM)
    assert profile.measurements == (Measurement(128, 128, 0.9, num_repetitions=50, ttft_s=0.03),)
    assert stack(profile) == ("h100-sxm-tensorrt-llm-1.2.0-fp8-tp2-c4", "h100-sxm", 2)


def test_optimum_benchmark_is_a_static_batch(tmp_path: Path) -> None:
    (profile,) = profiles(tmp_path, OPTIMUM)
    assert profile.measurements == (Measurement(256, 64, 1.5, batch_size=2, num_repetitions=10, ttft_s=0.05),)
    assert stack(profile) == ("a10-transformers-4.48.0-fp16", "a10", 1)


@pytest.mark.parametrize("kind", ["json", "jsonl", "csv"])
def test_llama_bench_passes_make_requests(tmp_path: Path, kind: str) -> None:
    text = json.dumps(LLAMA_BENCH)
    if kind == "jsonl":
        text = "".join(json.dumps(test) + "\n" for test in LLAMA_BENCH)
    if kind == "csv":
        file = io.StringIO()
        writer = csv.DictWriter(file, LLAMA_BENCH[0], quoting=csv.QUOTE_ALL)
        writer.writeheader()
        writer.writerows(LLAMA_BENCH)
        text = file.getvalue()
    (profile,) = profiles(tmp_path, text, name=f"bench.{kind}")
    assert profile.measurements == (Measurement(512, 1, 0.05), Measurement(1, 128, 1.0), Measurement(512, 129, 1.1))
    assert stack(profile) == ("rtx-4090-llama.cpp-b6000-int4", "rtx-4090", 1)
    assert profile.architecture is None or profile.architecture.name == "llama-3-8b"


def test_tidy_rows_tell_batches_from_clients(tmp_path: Path) -> None:
    text = MODERN + (
        "aic_silicon_e2e,Qwen3-235B-A22B,,h200-sxm-141gb,4,tp4,vllm,0.12.0,fp8,16,1024,1024,0.2,0.01,,,2025-11-10,\n"
        "lmdeploy_a100,llama2-7b,,a100-80gb,1,tp1,turbomind,0.2.0,fp16,16,128,128,,,1.5,,2024-01,\n"
        "ml_energy_v3,Qwen3-8B,,h100-sxm-80gb,1,tp1,vllm,0.11.1,bf16,8,,640,,0.009,,170,2025-12,\n"
    )
    clients, batch = profiles(tmp_path, text, name="tidy.csv")
    assert stack(clients) == ("h200-sxm-vllm-0.12.0-fp8-tp4-c16", "h200-sxm", 4)
    assert clients.measurements == (Measurement(1024, 1024, 0.2 + 1023 * 0.01, ttft_s=0.2),)
    assert stack(batch) == ("a100-80gb-turbomind-0.2.0-fp16", "a100-80gb", 1)
    assert batch.measurements == (Measurement(128, 128, 1.5, batch_size=16),)


@pytest.mark.parametrize(
    ("source", "rows"),
    [
        ("aic_silicon_e2e", 918),
        ("argonne_llm_inference_bench", 1314),
        ("aws_neuron", 90),
        ("llm_perf", 1238),
        ("lmdeploy_a100", 10),
        ("qwen_speed_benchmark", 422),
    ],
)
def test_public_rows_come_in(data_dir: Path, source: str, rows: int) -> None:
    found = read_coefficient_files([str(data_dir / "modern" / source / "tidy.csv")]).profiles
    assert sum(len(profile.measurements) for profile in found) == rows
    under_load = {profile.stack.name.rsplit("-c", 1)[-1].isdigit() for profile in found}
    assert under_load <= ({True} if source == "aic_silicon_e2e" else {False})


@pytest.mark.parametrize(
    ("document", "message"),
    [
        ({**VLLM, "completed": 0}, "vllm bench serve: no request was completed. Expected JSON of --save-result"),
        ({"mean_ttft_ms": 1.0, "total_input_tokens": 3}, "vllm bench serve: Object missing required field `completed`"),
        ({**VLLM, "max_concurrency": -1}, "vllm bench serve: a concurrency of -1. Expected JSON"),
        (
            {**VLLM, "max_concurrency": None, "request_rate": "fast"},
            "vllm bench serve: could not convert string to float",
        ),
        ({**SGLANG, "request_rate": -2.0}, "sglang.bench_serving: a rate of -2.0 requests a second"),
        ({**SGLANG, "server_info": {"tp_size": "x"}}, r"sglang.bench_serving: invalid literal for int\(\)"),
        ({**INFERENCEMAX, "isl": None}, r"InferenceMAX: Expected `int`, got `null` - at `\$\[0\].isl`"),
        ({**INFERENCEMAX, "disagg": True}, "InferenceMAX: disaggregated serving"),
        ({**VLLM, "total_input_tokens": 1, "mean_ttft_ms": -1.0}, "vllm bench serve: ttft_s is -0.001"),
        ({"avg_latency": 1.0, "latencies": [1.0], "percentiles": {}}, "it holds no lengths; they are in the .pytorch"),
        (
            {**GUIDELLM, "metadata": {"version": 9}},
            "GuideLLM: version 9 of the report. Expected a JSON report of version",
        ),
        ({"benchmarks": [{"args": {}}]}, "GuideLLM: Object missing required field `metrics`"),
        ({**AIPERF, "schema_version": "2.0"}, "AIPerf: schema_version 2.0. Expected profile_export_aiperf.json"),
        ({**AIPERF, "is_complete": False}, "AIPerf: a run that stopped before it was complete"),
        ({**INFERENCE_PERF, "load_summary": {"count": 3}}, "inference-perf: a summary over stages states no load"),
        ({**OPTIMUM, "report": {}}, "optimum-benchmark: Object missing required field `prefill`"),
        ([llama_bench(512, 0, 1.0) | {"n_gen": "x"}], "llama-bench: Expected `int`, got `str`"),
        ({"activated_params_billions": 8.0, "configurations": []}, "ML.ENERGY: it states no prompt lengths"),
        ({**TRTLLM, "world_info": {}}, "trtllm-bench: Object missing required field `tp_size`"),
    ],
)
def test_another_version_is_refused_in_one_line(tmp_path: Path, document: Any, message: str) -> None:
    with pytest.raises(FileFormatError, match=message) as caught:
        profiles(tmp_path, document, stack_name="h100-sxm-vllm-bf16")
    assert "\n" not in str(caught.value) and str(tmp_path) in str(caught.value)


def test_a_tidy_source_nobody_knows_is_refused(tmp_path: Path) -> None:
    text = MODERN + "mine,llama2-7b,,a100-80gb,1,tp1,vllm,,fp16,16,128,128,,,1.5,,,\n"
    with pytest.raises(FileFormatError, match="source 'mine' is unknown, so that batch_or_concurrency may be"):
        profiles(tmp_path, text, name="tidy.csv")


def test_a_client_does_not_know_the_accelerator(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"does not say on which accelerator .* --stack h100-sxm-vllm-bf16"):
        profiles(tmp_path, VLLM)


def test_results_without_any_time_are_refused(tmp_path: Path) -> None:
    text = MODERN + "lmdeploy_a100,llama2-7b,,a100-80gb,1,tp1,turbomind,0.2.0,fp16,1,128,128,0.1,,,,2024-01,\n"
    with pytest.raises(FileFormatError, match=r"no result has an end-to-end time, or both a TTFT and a TPOT"):
        profiles(tmp_path, text, name="tidy.csv")


def test_every_tool_says_what_it_expects() -> None:
    assert all(tool.name and tool.keys and tool.expected for tool in TOOLS)
    assert len({tool.name for tool in TOOLS}) == 12
