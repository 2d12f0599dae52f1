"""Results of the clients that grew out of vLLM's benchmark_serving: vLLM's own, SGLang's, and InferenceMAX's summaries.

All report means in milliseconds over the requests of one load; InferenceMAX divides them by 1000 and keeps the names.
vLLM writes an end-to-end time only if `--percentile-metrics` asks for `e2el`; else it follows from TTFT and TPOT, which
both tools define without the first token.
"""

from typing import Any

import msgspec

from helm_efficiency.catalog.device_names import accelerator_key
from helm_efficiency.formats.benchmarks.run import Hardware, Run, Traffic


class _Client(msgspec.Struct):
    """Fields that vLLM's and SGLang's clients share."""

    completed: int
    total_input_tokens: int
    total_output_tokens: int
    mean_ttft_ms: float
    mean_tpot_ms: float
    request_rate: float | str | None = None
    max_concurrency: int | None = None
    num_prompts: int | None = None
    date: str = ""

    def run(self, model: str, *, seconds: float | None, seconds_std: float | None, hardware: Hardware) -> Run:
        """Return the mean request of the load.

        Raises:
            msgspec.ValidationError: No request was completed.
        """
        if self.completed < 1:
            raise msgspec.ValidationError("no request was completed")
        return Run(
            model=model,
            prompt_tokens=self.total_input_tokens / self.completed,
            output_tokens=self.total_output_tokens / self.completed,
            seconds=seconds,
            ttft_s=self.mean_ttft_ms / 1e3,
            tpot_s=self.mean_tpot_ms / 1e3,
            seconds_std=seconds_std,
            num_repetitions=self.completed,
            traffic=traffic(self.max_concurrency, self.request_rate),
            hardware=hardware,
            measured_on=f"{self.date[:4]}-{self.date[4:6]}-{self.date[6:8]}" if self.date[:8].isdigit() else "",
        )


class _Vllm(_Client, kw_only=True):
    model_id: str
    backend: str = ""
    mean_e2el_ms: float | None = None
    std_e2el_ms: float | None = None


class _Sglang(_Client, kw_only=True):
    backend: str
    mean_e2e_latency_ms: float
    model_id: str = ""
    tag: str | None = None
    server_info: dict[str, Any] | None = None


class _InferenceMax(msgspec.Struct):
    hw: str
    model: str
    framework: str
    precision: str
    tp: int
    conc: int
    mean_ttft: float
    mean_tpot: float
    isl: int
    osl: int
    mean_e2el: float | None = None
    std_e2el: float | None = None
    disagg: bool | str = False
    image: str = ""


def traffic(max_concurrency: int | None, request_rate: float | str | None) -> Traffic:
    """Return the load that a client's options describe: a rate of `inf` without a limit sends all at once."""
    if max_concurrency:
        return Traffic(concurrency=max_concurrency)
    rate = float(request_rate or "inf")
    return Traffic(is_burst=True) if rate == float("inf") else Traffic(requests_per_s=rate)


def read_vllm_serve(records: list[Any]) -> list[Run]:
    """Read `vllm bench serve --save-result`. It does not know the server; the engine is taken to be the backend's."""
    runs = []
    for result in msgspec.convert(records, list[_Vllm], strict=False):
        seconds = None if result.mean_e2el_ms is None else result.mean_e2el_ms / 1e3
        std = None if result.std_e2el_ms is None else result.std_e2el_ms / 1e3
        engine = "vllm" if result.backend in ("", "vllm") else ""  # `openai` and others may be any server
        runs.append(result.run(result.model_id, seconds=seconds, seconds_std=std, hardware=Hardware(engine=engine)))
    return runs


def read_sglang(records: list[Any]) -> list[Run]:
    """Read the lines of `sglang.bench_serving --output-file`, with the server's own facts if it gave them."""
    runs = []
    for result in msgspec.convert(records, list[_Sglang], strict=False):
        server = result.server_info or {}
        hardware = Hardware(
            engine="sglang" if result.backend.startswith("sglang") else result.backend,
            engine_version=str(server.get("version") or ""),
            tensor_parallel=int(server.get("tp_size") or 1),
            pipeline_parallel=int(server.get("pp_size") or 1),
        )
        model = result.model_id or str(server.get("model_path") or "")
        runs.append(result.run(model, seconds=result.mean_e2e_latency_ms / 1e3, seconds_std=None, hardware=hardware))
    return runs


def read_inference_max(records: list[Any]) -> list[Run]:
    """Read InferenceMAX's aggregated results.

    Lengths are drawn uniformly from 0.8 to 1.0 of the nominal ones. If the end-to-end time is given, the mean output
    length follows from it, and the prompt is assumed to be shorter in the same ratio; else the nominal lengths are
    used.

    Raises:
        msgspec.ValidationError: A result has prefill and decode on different accelerators.
    """
    runs = []
    for result in msgspec.convert(records, list[_InferenceMax], strict=False):
        if result.disagg in (True, "true", "True"):
            raise msgspec.ValidationError("disaggregated serving, which one set of coefficients does not describe")
        output = (
            result.osl if result.mean_e2el is None else 1 + (result.mean_e2el - result.mean_ttft) / result.mean_tpot
        )
        drawn = min(1.0, output / result.osl)
        runs.append(
            Run(
                model=result.model,
                prompt_tokens=result.isl * drawn,
                output_tokens=result.osl * drawn,
                seconds=result.mean_e2el,
                ttft_s=result.mean_ttft,
                tpot_s=result.mean_tpot,
                traffic=Traffic(concurrency=result.conc),
                hardware=Hardware(
                    accelerator=accelerator_key(result.hw.split("-")[0].upper()),
                    engine=result.framework,
                    dtype=result.precision,
                    tensor_parallel=result.tp,
                ),
            )
        )
    return runs
