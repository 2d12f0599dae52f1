"""A causal LM ready to be timed, and what is known about it and the machine it is on.

A model comes from a folder or a name that transformers resolves, or is made with random weights from a transformers
config: how long a forward pass takes does not depend on the values of the weights.
"""

import os
import platform
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
import transformers

from helm_efficiency import __version__
from helm_efficiency.core.architecture import Architecture
from helm_efficiency.core.measurement import Stack
from helm_efficiency.errors import InputError, ProfilingError
from helm_efficiency.profiling.energy import EnergyMeter, nvidia_meter

DTYPES: Mapping[str, torch.dtype] = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}

# (pattern in what CUDA calls the device, key of the accelerator catalog); the first match counts
_ACCELERATORS = (
    (r"B200", "b200"),
    (r"H200", "h200"),
    (r"H100.*PCIe", "h100-pcie"),
    (r"H100", "h100-sxm"),
    (r"A100.*40GB", "a100-40gb"),
    (r"A100", "a100-80gb"),
    (r"V100.*16GB", "v100-16gb"),
    (r"V100", "v100-32gb"),
    (r"L40S", "l40s"),
    (r"\bL4\b", "l4"),
    (r"\bA10G?\b", "a10"),
    (r"\bT4\b", "t4"),
    (r"MI300X", "mi300x"),
)


@dataclass(frozen=True, slots=True)
class ModelOptions:
    """Where and how a model is loaded.

    Attributes:
        device: `cpu`, `cuda`, or `auto` for CUDA where there is one.
        dtype: `fp32`, `bf16`, `fp16`, or `auto` for bf16 on CUDA and fp32 on the CPU.
    """

    device: str = "auto"
    dtype: str = "auto"


@dataclass(frozen=True, slots=True)
class LoadedModel:
    """A model on a device.

    Attributes:
        model: A transformers causal LM in eval mode.
        device: Where its inputs go.
        dtype: Of its weights, as stacks name it.
        num_accelerators: Devices that its layers are split over.
        random_weights: Whether it was made from a config.
    """

    model: Any
    device: torch.device
    dtype: str
    num_accelerators: int = 1
    random_weights: bool = False

    @property
    def vocab_size(self) -> int:
        """Token ids that a prompt can be made of."""
        return int(self.model.config.get_text_config(decoder=True).vocab_size)

    @property
    def max_tokens(self) -> int | None:
        """Positions that the model was made for; None if it has no limit."""
        limit = getattr(self.model.config.get_text_config(decoder=True), "max_position_embeddings", None)
        return None if limit is None else int(limit)

    @property
    def architecture(self) -> Architecture | None:
        """Sizes of the model; None for one that is no plain decoder."""
        try:
            config = self.model.config.to_dict()
            return Architecture.from_transformers_config(config, name=Path(self.model.config.name_or_path).name)
        except InputError:
            return None

    def stack(self, engine: str) -> Stack:
        """The identity of what it is timed on, named accelerator-engine-dtype."""
        key = "cpu" if self.device.type == "cpu" else accelerator_key(torch.cuda.get_device_name(self.device))
        return Stack(
            name=f"{key}-{engine}-{self.dtype}",
            accelerator=key,
            num_accelerators=self.num_accelerators,
            engine=engine,
            engine_version=transformers.__version__,
            dtype=self.dtype,
            tensor_parallel=self.num_accelerators,
        )

    def source(self) -> str:
        """Where a profile of it comes from, in one line."""
        what = "random weights" if self.random_weights else "weights as loaded"
        attention = getattr(self.model.config, "_attn_implementation", None) or "default"
        return f"profile: {what}, {attention} attention, on {describe_device(self.device)}"

    def versions(self) -> dict[str, str]:
        """Versions of the software involved, by package."""
        versions = {
            "helm-efficiency": __version__,
            "python": platform.python_version(),
            "torch": torch.__version__,
            "transformers": transformers.__version__,
        }
        if self.device.type == "cuda":
            versions["cuda"] = str(torch.version.cuda)
        return versions

    def energy_meter(self) -> EnergyMeter | None:
        """A meter of the devices it is on; None where they cannot be read."""
        if self.device.type != "cuda":
            return None
        indices = range(self.num_accelerators) if self.num_accelerators > 1 else [self.device.index or 0]
        return nvidia_meter([f"GPU-{torch.cuda.get_device_properties(index).uuid}" for index in indices])


def load_model(model_path: str | Path, options: ModelOptions) -> LoadedModel:
    """Load a causal LM from a folder, or by a name that transformers resolves.

    Quantized weights are loaded as they are stored. Under torchrun with several processes the model is split by
    transformers' own tensor-parallel plan.

    Raises:
        InputError: There is no such dtype or device.
        ProfilingError: transformers cannot load it.
    """
    device = find_device(options.device)
    dtype = find_dtype(options.dtype, device)
    transformers.utils.logging.disable_progress_bar()
    num_processes = int(os.environ.get("WORLD_SIZE", "1"))
    placement: dict[str, Any] = {}
    if num_processes > 1:
        placement = {"tp_plan": "auto"}
    elif device.type == "cuda" and transformers.utils.is_accelerate_available():
        placement = {"device_map": {"": device}}
    try:
        model = transformers.AutoModelForCausalLM.from_pretrained(model_path, dtype=DTYPES[dtype], **placement)
        if not placement:
            model = model.to(device)
    except (OSError, ValueError, ImportError, RuntimeError, KeyError) as error:
        raise ProfilingError(f"Cannot load {model_path} as a causal LM: {first_line(error)}") from error
    quantization = getattr(model.config, "quantization_config", None)
    return LoadedModel(
        model.eval(),
        model.device,
        dtype if quantization is None else quantized_dtype(quantization),
        num_accelerators=num_processes,
    )


def random_model(config: Any, options: ModelOptions) -> LoadedModel:
    """Make a causal LM with random weights from a transformers config, on the device itself.

    Raises:
        InputError: There is no such dtype or device.
        ProfilingError: transformers cannot make it, or the device has no room for it.
    """
    device = find_device(options.device)
    dtype = find_dtype(options.dtype, device)
    torch.manual_seed(0)
    try:
        with device:
            model = transformers.AutoModelForCausalLM.from_config(config, dtype=DTYPES[dtype])
    except (ValueError, ImportError, RuntimeError, KeyError) as error:
        raise ProfilingError(f"Cannot make a {config.model_type} model: {first_line(error)}") from error
    return LoadedModel(model.eval(), device, dtype, random_weights=True)


def quantized_dtype(quantization: Any) -> str:
    """How stacks name the weights that a quantization config describes.

    >>> quantized_dtype({"quant_method": "gptq", "bits": 4}), quantized_dtype({"quant_method": "fp8"})
    ('int4-gptq', 'fp8')
    >>> quantized_dtype({"quant_method": "bitsandbytes", "load_in_4bit": True, "bnb_4bit_quant_type": "nf4"})
    'nf4-bitsandbytes'
    """
    config = quantization if isinstance(quantization, Mapping) else quantization.to_dict()
    method = str(getattr(config.get("quant_method"), "value", config.get("quant_method")) or "quantized")
    if config.get("load_in_4bit"):
        return f"{config.get('bnb_4bit_quant_type', 'int4')}-{method}"
    if config.get("load_in_8bit"):
        return f"int8-{method}"
    bits = config.get("bits") or config.get("w_bit")
    return f"int{bits}-{method}" if bits else method


def find_dtype(name: str, device: torch.device) -> str:
    """The dtype of that name; `auto` is what people run on the device.

    Raises:
        InputError: There is no such dtype.
    """
    if name == "auto":
        return "bf16" if device.type == "cuda" else "fp32"
    if name not in DTYPES:
        raise InputError(f"dtype {name!r}: expected auto, {', '.join(DTYPES)}.")
    return name


def find_device(name: str) -> torch.device:
    """The device of that name; `auto` is CUDA where there is one, else the CPU.

    Raises:
        InputError: There is no such device on this machine.
    """
    known = ["cpu"] + (["cuda", *(f"cuda:{i}" for i in range(torch.cuda.device_count()))] if has_cuda() else [])
    if name == "auto":
        name = "cuda" if has_cuda() else "cpu"
    if name not in known:
        raise InputError(f"Device {name!r} is not on this machine: expected auto or one of {', '.join(known)}.")
    return torch.device(name)


def has_cuda() -> bool:
    """Whether torch sees a CUDA device."""
    return bool(torch.cuda.is_available())


def accelerator_key(device_name: str) -> str:
    """Catalog key of a CUDA device; a device that is not in the catalog keeps its own name.

    >>> accelerator_key("NVIDIA A100-SXM4-80GB"), accelerator_key("NVIDIA H200"), accelerator_key("NVIDIA GeForce X 9")
    ('a100-80gb', 'h200', 'nvidia-geforce-x-9')
    """
    for pattern, key in _ACCELERATORS:
        if re.search(pattern, device_name):
            return key
    return re.sub(r"[^a-z0-9]+", "-", device_name.lower()).strip("-")


def describe_device(device: torch.device) -> str:
    """The device and, for a CPU, how many threads work on it."""
    if device.type == "cuda":
        return str(torch.cuda.get_device_name(device))
    return f"{cpu_name()}, {torch.get_num_threads()} threads"


def cpu_name() -> str:
    """What the processor calls itself."""
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.exists():
        found = re.search(r"^model name\s*:\s*(.+)$", cpuinfo.read_text(), re.MULTILINE)
        if found:
            return found[1].strip()
    return platform.processor() or platform.machine()


def first_line(error: BaseException) -> str:
    """The first line of a message of somebody else's error."""
    text = str(error).strip()
    return text.splitlines()[0] if text else type(error).__name__
