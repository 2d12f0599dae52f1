"""Results of tools that time static batches or bare passes: vLLM's latency benchmark, llama-bench, optimum-benchmark.

The pass over the prompt emits the first token, and each further token is one pass. So llama-bench's `pp512` is a
request with one output token, and `tg128`, which begins with an empty cache, is one with a prompt of one token.
"""

import statistics
from typing import Any

import msgspec

from helm_efficiency.catalog.architectures import dtype_in_name
from helm_efficiency.catalog.device_names import accelerator_key
from helm_efficiency.formats.benchmarks.run import Hardware, Run, Traffic


class _LatencyArgs(msgspec.Struct):
    input_len: int
    output_len: int
    batch_size: int
    tensor_parallel_size: int = 1
    pipeline_parallel_size: int = 1
    quantization: str | None = None


class _LatencyInfo(msgspec.Struct):
    args: _LatencyArgs


class _LatencyBenchmark(msgspec.Struct):
    extra_info: _LatencyInfo


class _Model(msgspec.Struct):
    name: str


class _Metric(msgspec.Struct):
    name: str
    benchmark_values: list[float]


class _Latency(msgspec.Struct):
    """A record of `vllm bench latency` in PyTorch's benchmark format."""

    benchmark: _LatencyBenchmark
    model: _Model
    metric: _Metric


class _LlamaBench(msgspec.Struct):
    model_filename: str
    model_type: str
    n_prompt: int
    n_gen: int
    avg_ns: float
    stddev_ns: float
    n_depth: int = 0
    gpu_info: str = ""
    cpu_info: str = ""
    n_gpu_layers: int = 0
    build_number: int | str = ""
    test_time: str = ""
    samples_ns: list[float] | None = None


class _Energy(msgspec.Struct):
    total: float | None = None


class _Seconds(msgspec.Struct):
    mean: float | None = None
    values: list[float] | None = None
    stdev: float | None = None
    count: int = 1

    def average(self) -> float:
        """Return the mean (s).

        Raises:
            msgspec.ValidationError: The file gives neither a mean nor values.
        """
        if self.mean is None and not self.values:
            raise msgspec.ValidationError("latency without mean and values")
        return self.mean if self.mean is not None else statistics.fmean(self.values or ())


class _Phase(msgspec.Struct):
    latency: _Seconds


class _OptimumReport(msgspec.Struct):
    prefill: _Phase
    decode: _Phase


class _OptimumShapes(msgspec.Struct):
    batch_size: int
    sequence_length: int


class _OptimumScenario(msgspec.Struct):
    input_shapes: _OptimumShapes
    generate_kwargs: dict[str, Any]


class _OptimumBackend(msgspec.Struct):
    name: str
    model: str
    device: str = ""
    device_ids: str | int | None = None
    torch_dtype: str | None = None
    dtype: str | None = None
    quantization_scheme: str | None = None


class _OptimumEnvironment(msgspec.Struct):
    gpu: list[str] | str | None = None
    transformers_version: str | None = None


class _OptimumConfig(msgspec.Struct):
    backend: _OptimumBackend
    scenario: _OptimumScenario
    environment: _OptimumEnvironment


class _Optimum(msgspec.Struct):
    config: _OptimumConfig
    report: _OptimumReport


def read_vllm_latency(records: list[Any]) -> list[Run]:
    """Read `vllm bench latency` in PyTorch's format, which holds its arguments.

    Raises:
        msgspec.ValidationError: The file is the plain JSON, which holds no lengths.
    """
    if "latencies" in records[0]:
        raise msgspec.ValidationError("it holds no lengths; they are in the .pytorch.json written beside it")
    runs = []
    for result in msgspec.convert(records, list[_Latency], strict=False):
        if result.metric.name != "latency":
            continue
        arguments, values = result.benchmark.extra_info.args, result.metric.benchmark_values
        runs += [
            Run(
                model=result.model.name,
                prompt_tokens=arguments.input_len,
                output_tokens=arguments.output_len,
                seconds=seconds,
                traffic=Traffic(batch_size=arguments.batch_size),
                hardware=Hardware(
                    engine="vllm",
                    dtype=arguments.quantization if arguments.quantization == "fp8" else "",
                    tensor_parallel=arguments.tensor_parallel_size,
                    pipeline_parallel=arguments.pipeline_parallel_size,
                ),
            )
            for seconds in values
        ]
    return runs


def read_llama_bench(records: list[Any]) -> list[Run]:
    """Read `llama-bench -o json`, `-o jsonl` or `-o csv`. Tests that begin with a filled cache are left out."""
    rows = [{key: value for key, value in row.items() if value != ""} for row in records]
    runs = []
    for test in msgspec.convert(rows, list[_LlamaBench], strict=False):
        if test.n_depth:
            continue
        # After a prompt, which emits a token itself, each generated token is one more; alone, the first is the prompt.
        output = test.n_gen + 1 if test.n_prompt else test.n_gen
        repetitions = len(test.samples_ns or ()) or 1
        runs.append(
            Run(
                model=test.model_filename.rsplit("/", 1)[-1].removesuffix(".gguf"),
                prompt_tokens=max(1, test.n_prompt),
                output_tokens=output,
                seconds=test.avg_ns / 1e9,
                seconds_std=test.stddev_ns / 1e9 if repetitions > 1 else None,
                num_repetitions=repetitions,
                hardware=Hardware(
                    accelerator=accelerator_key(test.gpu_info) if test.gpu_info and test.n_gpu_layers else "cpu",
                    engine="llama.cpp",
                    engine_version=f"b{test.build_number}" if test.build_number != "" else "",
                    dtype=_gguf_dtype(test.model_type),
                ),
                measured_on=test.test_time[:10],
            )
        )
    return runs


def read_optimum(records: list[Any]) -> list[Run]:
    """Read `benchmark.json` of optimum-benchmark's inference scenario: prompt pass and decoding of one batch.

    Raises:
        msgspec.ValidationError: The number of output tokens is not fixed.
    """
    runs = []
    for result in msgspec.convert(records, list[_Optimum], strict=False):
        scenario, backend = result.config.scenario, result.config.backend
        outputs = scenario.generate_kwargs.get("max_new_tokens")
        if not isinstance(outputs, int) or scenario.generate_kwargs.get("min_new_tokens") != outputs:
            raise msgspec.ValidationError("generate_kwargs does not fix max_new_tokens and min_new_tokens alike")
        prefill_s, decode_s = result.report.prefill.latency.average(), result.report.decode.latency.average()
        environment = result.config.environment
        names = [environment.gpu] if isinstance(environment.gpu, str) else environment.gpu or []
        on_gpu = bool(names) and backend.device != "cpu"
        runs.append(
            Run(
                model=backend.model,
                prompt_tokens=scenario.input_shapes.sequence_length,
                output_tokens=outputs,
                seconds=prefill_s + decode_s,
                ttft_s=prefill_s,
                num_repetitions=result.report.decode.latency.count,
                traffic=Traffic(batch_size=scenario.input_shapes.batch_size),
                hardware=Hardware(
                    accelerator=accelerator_key(names[0]) if on_gpu else "cpu",
                    num_accelerators=len(str(backend.device_ids or 0).split(",")),
                    engine="transformers" if backend.name == "pytorch" else backend.name,
                    engine_version=environment.transformers_version or "" if backend.name == "pytorch" else "",
                    dtype=_torch_dtype(backend.torch_dtype or backend.dtype),
                ),
            )
        )
    return runs


def _torch_dtype(name: str | None) -> str:
    return {"float16": "fp16", "bfloat16": "bf16", "float32": "fp32"}.get(str(name).removeprefix("torch."), "")


def _gguf_dtype(model_type: str) -> str:
    """Return the width of the weights by llama.cpp's name of the quantization: `Q4_K - Medium` is int4."""
    widths = {"Q4": "int4", "IQ4": "int4", "Q8": "int8", "F16": "fp16", "BF16": "bf16", "F32": "fp32"}
    words = model_type.replace("_", " ").split()
    return next((widths[word] for word in words if word in widths), dtype_in_name(model_type) or "")
