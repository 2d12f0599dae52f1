"""Results of tools that time a server as its clients see it: GuideLLM, AIPerf, inference-perf, TensorRT-LLM's bench."""

from typing import Any

import msgspec

from helm_efficiency.catalog.architectures import dtype_in_name
from helm_efficiency.catalog.device_names import accelerator_key
from helm_efficiency.formats.benchmarks.run import Hardware, Run, Traffic


class _Stat(msgspec.Struct):
    mean: float
    std_dev: float | None = None
    count: int = 1


class _ByStatus(msgspec.Struct):
    successful: _Stat


class _GuideMetrics(msgspec.Struct):
    request_latency: _ByStatus
    time_to_first_token_ms: _ByStatus
    prompt_token_count: _ByStatus
    output_token_count: _ByStatus


class _Strategy(msgspec.Struct):
    type_: str
    streams: int | None = None
    rate: float | None = None


class _GuideRun(msgspec.Struct):
    strategy: _Strategy | None = None


class _GuideBenchmark(msgspec.Struct):
    """Benchmark of one load; the strategy is in `args` up to GuideLLM 0.3 and in `config` since."""

    metrics: _GuideMetrics
    config: _GuideRun | None = None
    args: _GuideRun | None = None
    worker: dict[str, Any] | None = None

    def strategy(self) -> _Strategy:
        """Return how requests were sent.

        Raises:
            msgspec.ValidationError: The benchmark does not state it.
        """
        for told in (self.config, self.args):
            if told is not None and told.strategy is not None:
                return told.strategy
        raise msgspec.ValidationError("a benchmark without config.strategy and args.strategy")


class _GuideReport(msgspec.Struct):
    benchmarks: list[_GuideBenchmark]
    config: dict[str, Any] | None = None
    args: dict[str, Any] | None = None


class _Avg(msgspec.Struct):
    avg: float
    unit: str = ""
    std: float | None = None
    count: int | None = None


class _AiPerf(msgspec.Struct):
    schema_version: str
    request_latency: _Avg
    input_sequence_length: _Avg
    output_sequence_length: _Avg
    request_count: _Avg
    input_config: dict[str, Any]
    time_to_first_token: _Avg | None = None
    is_complete: bool | None = None
    start_time: str = ""


class _Mean(msgspec.Struct):
    mean: float


class _PerfLatency(msgspec.Struct):
    request_latency: _Mean
    time_to_first_token: _Mean | None = None


class _PerfSuccesses(msgspec.Struct):
    count: int
    latency: _PerfLatency
    output_len: _Mean | None = None
    prompt_len: _Mean | None = None
    prompt_tokens: _Mean | None = None


class _PerfLoad(msgspec.Struct):
    concurrency: int | None = None
    requested_rate: float | None = None


class _InferencePerf(msgspec.Struct):
    load_summary: _PerfLoad
    successes: _PerfSuccesses


class _TrtEngine(msgspec.Struct):
    model: str
    version: str = ""
    quantization: str | None = None
    dtype: str | None = None


class _TrtMachine(msgspec.Struct):
    name: str


class _TrtWorld(msgspec.Struct):
    tp_size: int
    pp_size: int
    world_size: int


class _TrtRequests(msgspec.Struct):
    num_requests: int
    avg_num_concurrent_requests: float
    avg_input_length: float
    avg_output_length: float


class _TrtPerformance(msgspec.Struct):
    avg_request_latency_ms: float


class _TrtStreaming(msgspec.Struct):
    avg_ttft_ms: float


class _Trt(msgspec.Struct):
    engine: _TrtEngine
    world_info: _TrtWorld
    request_info: _TrtRequests
    performance: _TrtPerformance
    machine: _TrtMachine | None = None
    streaming_metrics: _TrtStreaming | None = None


_GUIDELLM_VERSIONS = (None, 1, 2)
"""Supported versions of GuideLLM's report: up to 0.4 it states none, 0.5 and 0.6 write 1, 0.8 writes 2."""


def read_guidellm(records: list[Any]) -> list[Run]:
    """Read GuideLLM's JSON report: one result for each benchmark (load) in it.

    Raises:
        msgspec.ValidationError: The report is of another version.
    """
    version = (records[0].get("metadata") or {}).get("version")
    if version not in _GUIDELLM_VERSIONS:
        raise msgspec.ValidationError(f"version {version!r} of the report")
    report = msgspec.convert(records[0], _GuideReport, strict=False)
    backend = ((report.config or {}).get("spec") or {}).get("backend") or {}
    worker = next((benchmark.worker for benchmark in report.benchmarks if benchmark.worker), {})
    model = str(backend.get("model") or (report.args or {}).get("model") or worker.get("backend_model") or "")
    runs = []
    for benchmark in report.benchmarks:
        metrics = benchmark.metrics
        latency = metrics.request_latency.successful
        if latency.count < 1 or latency.mean <= 0:
            continue
        runs.append(
            Run(
                model=model,
                prompt_tokens=metrics.prompt_token_count.successful.mean,
                output_tokens=metrics.output_token_count.successful.mean,
                seconds=latency.mean,
                ttft_s=metrics.time_to_first_token_ms.successful.mean / 1e3,
                seconds_std=latency.std_dev if latency.count > 1 else None,
                num_repetitions=latency.count,
                traffic=_guidellm_traffic(benchmark.strategy()),
            )
        )
    return runs


def _guidellm_traffic(strategy: _Strategy) -> Traffic:
    if strategy.type_ == "synchronous":
        return Traffic(concurrency=1)
    if strategy.type_ == "concurrent":
        return Traffic(concurrency=strategy.streams)
    return Traffic(is_burst=True) if strategy.rate is None else Traffic(requests_per_s=strategy.rate)


def read_aiperf(records: list[Any]) -> list[Run]:
    """Read AIPerf's `profile_export_aiperf.json`.

    Raises:
        msgspec.ValidationError: The file is of another version, or the run stopped early.
    """
    result = msgspec.convert(records[0], _AiPerf, strict=False)
    if not result.schema_version.startswith("1."):
        raise msgspec.ValidationError(f"schema_version {result.schema_version}")
    if result.is_complete is False:
        raise msgspec.ValidationError("a run that stopped before it was complete")
    config = result.input_config
    phase: dict[str, Any] = next(
        (phase for phase in config.get("phases") or () if phase.get("kind") == "profiling"), config.get("loadgen") or {}
    )
    names = [item.get("name") for item in (config.get("models") or {}).get("items") or ()]
    model = next(iter(names or (config.get("endpoint") or {}).get("model_names") or ()), "")
    latency, first = result.request_latency, result.time_to_first_token
    count = int(result.request_count.avg)
    return [
        Run(
            model=str(model),
            prompt_tokens=result.input_sequence_length.avg,
            output_tokens=result.output_sequence_length.avg,
            seconds=latency.avg / 1e3,
            ttft_s=None if first is None else first.avg / 1e3,
            seconds_std=None if latency.std is None or count < 2 else latency.std / 1e3,
            num_repetitions=count,
            traffic=_aiperf_traffic(phase),
            measured_on=result.start_time[:10],
        )
    ]


def _aiperf_traffic(phase: dict[str, Any]) -> Traffic:
    rate = phase.get("rate") or phase.get("request_rate")
    if rate:
        return Traffic(requests_per_s=float(rate))
    concurrency = phase.get("concurrency")
    return Traffic(concurrency=int(concurrency)) if concurrency else Traffic(is_burst=True)


def read_inference_perf(records: list[Any]) -> list[Run]:
    """Read a stage of inference-perf (`stage_0_lifecycle_metrics.json`). It names neither model nor hardware.

    Raises:
        msgspec.ValidationError: The file is the summary over stages, which states no load, or lacks the lengths.
    """
    result = msgspec.convert(records[0], _InferencePerf, strict=False)
    load, done = result.load_summary, result.successes
    prompt = done.prompt_len or done.prompt_tokens
    if load.concurrency is None and load.requested_rate is None:
        raise msgspec.ValidationError("a summary over stages states no load; give stage_0_lifecycle_metrics.json")
    if prompt is None or done.output_len is None:
        raise msgspec.ValidationError("successes without lengths of prompts and outputs")
    first = done.latency.time_to_first_token
    return [
        Run(
            model="",
            prompt_tokens=prompt.mean,
            output_tokens=done.output_len.mean,
            seconds=done.latency.request_latency.mean,
            ttft_s=None if first is None else first.mean,
            num_repetitions=done.count,
            traffic=Traffic(concurrency=load.concurrency)
            if load.concurrency is not None
            else Traffic(requests_per_s=load.requested_rate),
        )
    ]


def read_trtllm(records: list[Any]) -> list[Run]:
    """Read the report of `trtllm-bench throughput` or `latency` (`--report_json`).

    Its load is the mean number of requests in flight, rounded: the report does not keep `--concurrency`.
    """
    runs = []
    for result in msgspec.convert(records, list[_Trt], strict=False):
        requests, streaming = result.request_info, result.streaming_metrics
        stated = dtype_in_name(result.engine.quantization or "")
        dtype = stated or {"float16": "fp16", "bfloat16": "bf16"}.get(str(result.engine.dtype), "")
        runs.append(
            Run(
                model=result.engine.model,
                prompt_tokens=requests.avg_input_length,
                output_tokens=requests.avg_output_length,
                seconds=result.performance.avg_request_latency_ms / 1e3,
                ttft_s=None if streaming is None else streaming.avg_ttft_ms / 1e3,
                num_repetitions=requests.num_requests,
                traffic=Traffic(concurrency=max(1, round(requests.avg_num_concurrent_requests))),
                hardware=Hardware(
                    accelerator="" if result.machine is None else accelerator_key(result.machine.name),
                    num_accelerators=result.world_info.world_size,
                    engine="tensorrt-llm",
                    engine_version=result.engine.version,
                    dtype=dtype,
                    tensor_parallel=result.world_info.tp_size,
                    pipeline_parallel=result.world_info.pp_size,
                ),
            )
        )
    return runs
