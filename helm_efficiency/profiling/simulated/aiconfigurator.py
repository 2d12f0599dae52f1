"""The only module that calls AIConfigurator: measured kernel times, summed to a prefill and a decode step.

AIConfigurator (PyPI `aiconfigurator-core`, Apache-2.0, NVIDIA) holds timings of kernels on real accelerators under
vLLM, SGLang and TensorRT-LLM, and knows which kernels a model runs. If a shape of a kernel was not timed, its time is
interpolated, or estimated from its neighbours; a simulation lists the estimated kernels.

Its `static` mode simulates a batch of equal requests without a server, and a cell of a profile is such a batch. No
other module of this package imports AIConfigurator, since its own project announces a successor.
"""

import json
import logging
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from importlib.metadata import version
from importlib.resources import files
from pathlib import Path
from typing import Any

from helm_efficiency.errors import InputError, ProfilingError
from helm_efficiency.extras import needs_extra

PACKAGE = "aiconfigurator-core"

SYSTEMS: Mapping[str, str] = {
    "a100-80gb": "a100_sxm",
    "h100-sxm": "h100_sxm",
    "h200-sxm": "h200_sxm",
    "b200": "b200_sxm",
    "b300": "b300_sxm",
    "gb200": "gb200",
    "gb300": "gb300",
    "l40s": "l40s",
    "rtx-pro-6000": "rtx_pro_6000_server",
}
"""AIConfigurator's name of each accelerator that it has kernel timings of, by our key."""

ENGINES = ("vllm", "sglang", "trtllm")

_QUANTIZED: Mapping[str, Sequence[tuple[str, str]]] = {
    "bf16": [("bfloat16", "bfloat16")],
    "fp16": [("bfloat16", "bfloat16")],
    "fp8": [("fp8", "fp8"), ("fp8_block", "fp8_block"), ("fp8", "fp8_block")],
    "fp4": [("nvfp4", "nvfp4")],
    "mxfp4": [("bfloat16", "w4a16_mxfp4")],
    "int8": [("int8_wo", "bfloat16")],
    "int4": [("int4_wo", "int4_wo")],
}
"""Kernels of dense layers and of experts, by dtype of the weights, in the order in which they are tried."""

_BLOCKWISE: Sequence[tuple[str, str]] = [("fp8_block", "fp8_block"), ("fp8", "fp8_block"), ("fp8", "fp8")]
"""Kernels for fp8 with a mixture of experts: it is published in blocks of 128 x 128 (DeepSeek, Qwen3, MiniMax)."""

_NOT_IN_BLOCKS: Sequence[tuple[str, str]] = [("fp8", "fp8_block"), ("fp8", "fp8")]
"""Kernels for fp8 under vLLM. Its tables of dense blockwise kernels cannot be right: on B200 one row takes 37 ms a step
while sixteen take 29 (MiniMax M2.5), against 13 ms measured with four clients; on H100 they are off by -27 to +30 %."""

_NARROW_MXFP4: Sequence[tuple[str, str]] = [("bfloat16", "w4a8_mxfp4_mxfp8"), ("bfloat16", "w4a16_mxfp4")]
"""Kernels for mxfp4 under TensorRT-LLM on Blackwell, which quantizes activations to mxfp8. They were timed; others are
estimated from other shapes, and 1.5 to 4 times as slow."""

_TIMED = ("gemm", "attention", "moe", "mla", "dsa", "ssm", "gdn", "kda")
"""Kernels with times from tables; the times of others (norms, copies, transfers) come from formulas by design."""

NO_TIMING = (RuntimeError, ValueError, AssertionError, KeyError)
"""Errors that AIConfigurator raises for a model or a kernel that it cannot time."""

_PRIVATE_PATH = " at /"


@dataclass(frozen=True, slots=True)
class Deployment:
    """Accelerators, engine and number formats that a simulated model runs on.

    Attributes:
        accelerator: Our key of the accelerator, one of `SYSTEMS`.
        engine: Name of the engine, one of `ENGINES`.
        dtype: Number format of the weights, such as `fp8`; empty for that of the checkpoint.
        tensor_parallel: Number of accelerators that each layer is split over; all accelerators.
        expert_parallel: Number of groups that the experts are distributed over; each expert is split within its group.
        cache_dtype: Number format of the key-value cache, `bf16` or `fp8`; empty for that of the checkpoint.
    """

    accelerator: str
    engine: str = "vllm"
    dtype: str = ""
    tensor_parallel: int = 1
    expert_parallel: int = 1
    cache_dtype: str = ""

    def __post_init__(self) -> None:
        if self.accelerator not in SYSTEMS:
            raise InputError(
                f"No kernel timings of accelerator {self.accelerator!r}. There are some of: {', '.join(SYSTEMS)}."
            )
        if self.engine not in ENGINES:
            raise InputError(f"No kernel timings of engine {self.engine!r}. There are some of: {', '.join(ENGINES)}.")
        if self.dtype and self.dtype not in _QUANTIZED:
            raise InputError(f"No kernel timings of dtype {self.dtype!r}. There are some of: {', '.join(_QUANTIZED)}.")
        if self.cache_dtype not in ("", "bf16", "fp8"):
            raise InputError(f"Cache dtype {self.cache_dtype!r}: expected bf16 or fp8.")
        if self.tensor_parallel < 1 or self.tensor_parallel % max(self.expert_parallel, 1):
            raise InputError(
                f"{self.tensor_parallel} accelerators cannot be {self.expert_parallel} expert-parallel groups: "
                "expected a divisor."
            )


@dataclass(frozen=True, slots=True)
class Simulation:
    """Simulation of a model on a deployment, ready to predict times.

    Attributes:
        deployment: Deployment that the model runs on.
        dtype: Number format of the weights in the kernels.
        engine_version: Version of the engine that the kernels were timed in.
        estimated_kernels: Kernels with times estimated from other shapes, since this shape was not timed.
        weight_bytes: Bytes of weights that each accelerator holds.
    """

    deployment: Deployment
    dtype: str
    engine_version: str
    estimated_kernels: tuple[str, ...]
    weight_bytes: float
    _engine: Any

    @property
    def versions(self) -> dict[str, str]:
        """Versions of the simulator and of its tables, by name."""
        tables = f"{SYSTEMS[self.deployment.accelerator]}/{self.deployment.engine}/{self.engine_version}"
        return {PACKAGE: version(PACKAGE), f"{PACKAGE} tables": tables}

    def prefill_s(self, prompt_tokens: int, *, batch_size: int = 1) -> float:
        """Return the seconds to process a batch of prompts and emit their first tokens."""
        return float(self._engine.predict_prefill_latency(batch_size, prompt_tokens)) / 1e3

    def decode_step_s(self, context_tokens: int, *, batch_size: int = 1) -> float:
        """Return the seconds of one decode step of a batch in which every row has `context_tokens` tokens before it."""
        return float(self._engine.predict_decode_latency(batch_size, context_tokens, 2)) / 1e3

    def request_s(self, prompt_tokens: int, output_tokens: int, *, batch_size: int = 1) -> float:
        """Return the seconds of a batch of equal requests from the prompt to the last token."""
        if output_tokens == 1:
            return self.prefill_s(prompt_tokens, batch_size=batch_size)
        total = self._engine.run_static(batch_size=batch_size, isl=prompt_tokens, osl=output_tokens)[2]
        return float(total) / 1e3


def simulate(model: str | Mapping[str, Any], deployment: Deployment) -> Simulation:
    """Prepare to simulate a model.

    The first call for an accelerator and engine reads their tables, which takes a second or two.

    Args:
        model: Name of a packaged config (`packaged_configs`), or a transformers config.
        deployment: Deployment that the model runs on.

    Returns:
        Simulation that predicts a time within one to a few hundred microseconds.

    Raises:
        MissingExtraError: AIConfigurator is not installed.
        InputError: AIConfigurator does not know the model's kind.
        ProfilingError: It has no timings of a kernel that the model needs there; the message names the kernel.
    """
    with needs_extra("stacks"):
        import aiconfigurator_core  # noqa: F401
    failures = []
    dtype = deployment.dtype or (checkpoint_dtype(model) if isinstance(model, str) else "bf16")
    with _quietly(), _as_folder(model) as where:
        for modes in _kernel_modes(model, deployment, dtype):
            try:
                return _compile(where, deployment, modes, dtype)
            except NO_TIMING as error:
                failures.append(str(error).split(_PRIVATE_PATH)[0])
    named = model if isinstance(model, str) else model.get("_name_or_path", "the model")
    raise ProfilingError(
        f"{PACKAGE} {version(PACKAGE)} cannot simulate {named} on {deployment.tensor_parallel} x "
        f"{deployment.accelerator} {deployment.engine} {deployment.dtype or 'as published'}: {failures[0]}"
    )


@cache
def packaged_configs() -> Mapping[str, Path]:
    """Map each Hugging Face name to its config file, for the configs that AIConfigurator brings.

    Raises:
        MissingExtraError: AIConfigurator is not installed.
    """
    with needs_extra("stacks"):
        folder = Path(str(files("aiconfigurator_core") / "model_configs"))
    ending = "_config.json"
    return {
        path.name.removesuffix(ending).replace("--", "/", 1): path
        for path in sorted(folder.glob(f"*{ending}"))
        if not path.name.endswith("_hf_quant_config.json")
    }


def _kernel_modes(model: str | Mapping[str, Any], deployment: Deployment, dtype: str) -> Iterator[dict[str, str]]:
    """Yield the kernels to try: those of the checkpoint, or of the dtype asked for; last with a cache of 16 bits."""
    config = json.loads(packaged_configs()[model].read_bytes()) if isinstance(model, str) else model
    d = deployment
    pairs: Sequence[tuple[str, str]] = _QUANTIZED[dtype]
    if dtype == "fp8" and d.engine == "vllm":
        pairs = _NOT_IN_BLOCKS
    elif dtype == "fp8" and _num_experts(config):
        pairs = _BLOCKWISE
    elif dtype == "mxfp4" and d.engine == "trtllm" and SYSTEMS[d.accelerator].startswith(("b", "gb")):
        pairs = _NARROW_MXFP4
    weights = [{"gemm_quant_mode": dense, "moe_quant_mode": expert} for dense, expert in pairs]
    if not d.dtype and pairs not in (_NOT_IN_BLOCKS, _NARROW_MXFP4):
        weights = [{}, *weights]  # empty: AIConfigurator reads the formats of the checkpoint itself, layer by layer
    wide = {"kvcache_quant_mode": "bfloat16", "fmha_quant_mode": "bfloat16"}
    narrow = {"kvcache_quant_mode": "fp8", "fmha_quant_mode": "bfloat16"}
    given = {"bf16": [wide], "fp8": [narrow], "": [wide] if d.dtype else [{}, wide]}
    for cache_modes in given[d.cache_dtype]:
        for modes in weights:
            yield modes | cache_modes


@cache
def checkpoint_dtype(name: str) -> str:
    """Return the number format of the weights of a packaged config: `bf16`, `fp8`, `fp4`, `mxfp4` or `int4`."""
    path = packaged_configs()[name]
    config = json.loads(path.read_bytes())
    beside = path.with_name(path.name.replace("_config.json", "_hf_quant_config.json"))
    by_maker = json.loads(beside.read_bytes())["quantization"] if beside.exists() else {}
    given = config.get("quantization_config") or config.get("text_config", {}).get("quantization_config") or {}
    method = str(by_maker.get("quant_algo") or given.get("quant_algo") or given.get("quant_method") or "bf16").lower()
    names = {"nvfp4": "fp4", "mixed_precision": "fp4", "compressed-tensors": "int4"}
    return names.get(method, method)


def _num_experts(config: Mapping[str, Any]) -> int:
    """Return the experts of each layer of a transformers config, 0 for a dense model."""
    text = config.get("text_config") or config
    names = ("num_local_experts", "n_routed_experts", "num_experts", "moe_num_experts")
    return max(int(text.get(name) or 0) for name in names)


def _compile(where: str, deployment: Deployment, modes: Mapping[str, str], dtype: str) -> Simulation:
    """Build the list of kernels and try it once, so that a kernel without timings is found here."""
    import aiconfigurator_core
    from aiconfigurator_core.sdk import engine, models
    from aiconfigurator_core.sdk.config_builders import build_model_config

    d = deployment
    system = SYSTEMS[d.accelerator]
    config = build_model_config(
        tp_size=d.tensor_parallel,
        pp_size=1,
        attention_dp_size=1,
        moe_tp_size=d.tensor_parallel // d.expert_parallel,
        moe_ep_size=d.expert_parallel,
        **modes,
    )
    model = models.get_model(where, config, d.engine)
    tables = _tables(system, d.engine)
    spec = engine.build_engine_spec_json(
        model,
        model_path=where,
        system=system,
        backend=d.engine,
        backend_version=tables.version,
        kv_block_size=None,
        systems_path=None,
        nextn=0,
        database=tables,
    )
    compiled = engine.EngineHandle(bytes(aiconfigurator_core.engine_spec_bincode_from_json(spec)))
    kernels = [kernel for phase in compiled.run_static_per_op(batch_size=1, isl=1024, osl=2) for kernel in phase]
    compiled.run_static(batch_size=16, isl=128, osl=64)
    estimated = {name.split("_", 1)[1] for name, _, _, source in kernels if source == "empirical"}
    return Simulation(
        deployment=d,
        dtype=dtype,
        engine_version=str(tables.version),
        estimated_kernels=tuple(sorted(name for name in estimated if any(word in name for word in _TIMED))),
        weight_bytes=float(sum(op.get_weights() for op in model.context_ops)),
        _engine=compiled,
    )


@cache
def _tables(system: str, engine: str) -> Any:
    """Read the tables of an engine on a system: timed kernels, else estimates from other shapes of the same kernel."""
    from aiconfigurator_core.sdk import perf_database

    tables = perf_database.get_database_view(system, engine, "current", database_mode="HYBRID")
    if tables is None:
        raise ValueError(f"no tables of {engine} on {system}")
    return tables


@contextmanager
def _quietly() -> Iterator[None]:
    """Keep AIConfigurator's log of the files it reads off the terminal; the results already hold what matters in it."""
    logger = logging.getLogger("aiconfigurator_core")
    before = logger.level
    logger.setLevel(logging.ERROR)
    try:
        yield
    finally:
        logger.setLevel(before)


@contextmanager
def _as_folder(model: str | Mapping[str, Any]) -> Iterator[str]:
    """Yield the model as AIConfigurator accepts it: a name that it has a config of, or a folder with a config.json."""
    if isinstance(model, str):
        if model not in packaged_configs():
            raise InputError(f"{PACKAGE} has no config of {model!r}; give its config.json instead.")
        from aiconfigurator_core.sdk.common import DefaultHFModels

        if model in DefaultHFModels:  # AIConfigurator recognizes a few models by their name
            yield model
            return
        content = packaged_configs()[model].read_bytes()
    else:
        content = json.dumps(dict(model)).encode()
    with tempfile.TemporaryDirectory(prefix="simulated-") as folder:
        (Path(folder) / "config.json").write_bytes(content)
        yield folder
