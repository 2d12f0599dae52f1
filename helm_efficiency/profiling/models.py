"""Describe and load a causal LM that is to be timed on this machine.

A model comes from a folder or a name that transformers resolves, or is made with random weights from a transformers
config: how long a forward pass takes does not depend on the values of the weights.
"""

import contextlib
import gc
import platform
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
import transformers

from helm_efficiency.catalog.device_names import accelerator_key
from helm_efficiency.core.measurement import Stack
from helm_efficiency.core.transfer.architecture import Architecture
from helm_efficiency.errors import InputError, ProfilingError
from helm_efficiency.files import require_size
from helm_efficiency.profiling.devices import DTYPES, describe_device, find_device, find_dtype, has_cuda
from helm_efficiency.profiling.families import transformers_config
from helm_efficiency.profiling.meters import EnergyMeter, nvidia_meter
from helm_efficiency.profiling.parallel import num_processes
from helm_efficiency.version import __version__

_REPEATED = ("num_hidden_layers", "num_local_experts", "num_experts", "n_routed_experts")
_MOST_REPEATED = 10_000
"""Limit on layers and experts. They are made one by one, so a damaged config with billions of them would hang."""


@dataclass(frozen=True, slots=True)
class ModelOptions:
    """Options for loading a model.

    Attributes:
        device: `cpu`, `cuda`, or `auto` for CUDA if available, else the CPU.
        dtype: `fp32`, `bf16`, `fp16`, or `auto` for bf16 on CUDA and fp32 on the CPU.
        trust_remote_code: True to run Python that comes with the model; otherwise such a model is refused.
    """

    device: str = "auto"
    dtype: str = "auto"
    trust_remote_code: bool = False


@dataclass(frozen=True, slots=True)
class Subject:
    """A model on a device before its weights are loaded, with everything that identifies a profile of it.

    Attributes:
        name: Folder or name that transformers resolves, or name of an architecture with random weights.
        config: Config of transformers.
        device: Device on which the model is to run.
        compute_dtype: Dtype of its arithmetic, and of its weights unless they are quantized.
        random_weights: True if the weights are random.
        known_architecture: Sizes that the config was made from; if None, the sizes are read from the config.
        trust_remote_code: True to run Python that comes with the model.
    """

    name: str
    config: Any
    device: torch.device
    compute_dtype: str
    random_weights: bool = False
    known_architecture: Architecture | None = None
    trust_remote_code: bool = False

    @property
    def dtype(self) -> str:
        """Dtype of the weights, in the spelling that stacks use."""
        quantization = getattr(self.config, "quantization_config", None)
        return self.compute_dtype if quantization is None else quantized_dtype(quantization)

    @property
    def vocab_size(self) -> int:
        """Number of token ids that a prompt can be made of."""
        return int(self.config.get_text_config(decoder=True).vocab_size)

    @property
    def max_tokens(self) -> int | None:
        """Number of positions that the model was made for; None if it has no limit."""
        limit = getattr(self.config.get_text_config(decoder=True), "max_position_embeddings", None)
        return None if limit is None else int(limit)

    @property
    def architecture(self) -> Architecture | None:
        """Sizes of the model; None if it is not a plain decoder."""
        if self.known_architecture is not None:
            return self.known_architecture
        try:
            return Architecture.from_transformers_config(self.config.to_dict(), name=Path(self.name).name)
        except InputError:
            return None

    def stack(self, engine: str) -> Stack:
        """Return the stack that the model is timed on, named accelerator-engine-dtype."""
        key = "cpu" if self.device.type == "cpu" else accelerator_key(torch.cuda.get_device_name(self.device))
        return Stack(
            name=f"{key}-{engine}-{self.dtype}",
            accelerator=key,
            num_accelerators=num_processes(),
            engine=engine,
            engine_version=transformers.__version__,
            dtype=self.dtype,
            tensor_parallel=num_processes(),
        )

    def source(self) -> str:
        """Return one line that says where a profile of the model comes from."""
        what = "random weights" if self.random_weights else "weights as loaded"
        return f"profile: {self.name}, {what}, on {describe_device(self.device)}"

    def versions(self) -> dict[str, str]:
        """Return the versions of the software involved, by package."""
        versions = {
            "helm-efficiency": __version__,
            "python": platform.python_version(),
            "torch": str(torch.__version__),
            "transformers": transformers.__version__,
        }
        if self.device.type == "cuda":
            versions["cuda"] = str(torch.version.cuda)
        return versions

    def energy_meter(self) -> EnergyMeter | None:
        """Return an energy meter of the model's devices, or None if they cannot be read."""
        if self.device.type != "cuda":
            return None
        indices = range(num_processes()) if num_processes() > 1 else [self.device.index or 0]
        return nvidia_meter([f"GPU-{torch.cuda.get_device_properties(index).uuid}" for index in indices])


def stored_model(model_path: str | Path, options: ModelOptions) -> Subject:
    """Return the subject of a model with stored weights.

    Raises:
        InputError: The dtype or the device does not exist.
        ProfilingError: transformers does not know the model, or the model needs Python of its own that is not trusted.
    """
    return _usable(_subject(model_path, options, random_weights=False))


def _subject(source: str | Path, options: ModelOptions, *, random_weights: bool) -> Subject:
    trust = options.trust_remote_code
    device = find_device(options.device)
    dtype = find_dtype(options.dtype, device)
    config = read_config(source, trust_remote_code=trust)
    return Subject(str(source), config, device, dtype, random_weights=random_weights, trust_remote_code=trust)


def made_up_model(source: Architecture | str | Path, options: ModelOptions, *, max_tokens: int = 4096) -> Subject:
    """Return the subject of a model with random weights.

    Args:
        source: Architecture to build, or path of a `config.json` or of its folder.
        options: Device and dtype with which the model is loaded.
        max_tokens: Positions to allow for, if an architecture has no limit.

    Raises:
        InputError: The dtype or the device does not exist.
        ProfilingError: The config cannot be read, or needs Python of its own that is not trusted, or no family of
            transformers can express the architecture.
    """
    if not isinstance(source, Architecture):
        return _usable(_subject(source, options, random_weights=True))
    device = find_device(options.device)
    dtype = find_dtype(options.dtype, device)
    config = transformers_config(source, max_tokens=max_tokens)
    return Subject(source.name, config, device, dtype, random_weights=True, known_architecture=source)


def _usable(subject: Subject) -> Subject:
    """Check that the config of a subject says what a profile needs, and return the subject."""
    with _loading(subject.name):
        if subject.vocab_size < 1 or (subject.max_tokens is not None and subject.max_tokens < 1):
            raise ValueError(f"a vocabulary of {subject.vocab_size}, {subject.max_tokens} positions")
        text = subject.config.get_text_config(decoder=True)
        for what in _REPEATED:
            if (getattr(text, what, None) or 0) > _MOST_REPEATED:
                raise ValueError(f"{what} is {getattr(text, what)}, expected at most {_MOST_REPEATED}")
        subject.stack("transformers-eager")
    return subject


@contextlib.contextmanager
def _loading(name: str | Path) -> Iterator[None]:
    """Raise ProfilingError for any error that transformers raises about an invalid config or invalid weights.

    Damaged files cause so many kinds of error in transformers that a list of them was never complete.
    """
    try:
        yield
    except ProfilingError:
        raise
    except Exception as error:
        reason = first_line(error)
        if _CUSTOM_CODE in str(error):
            reason = (
                "it comes with Python code of its own, which was not run. "
                "Read that code; if you trust it, call again with --trust-remote-code."
            )
        raise ProfilingError(f"Cannot load {name} as a causal LM: {reason}") from error


_CUSTOM_CODE = "custom code"
"""Part of the message with which transformers refuses to run the Python of a model's folder."""


def read_config(model_path: str | Path, *, trust_remote_code: bool = False) -> Any:
    """Return the transformers config of a folder, a file or a name.

    Raises:
        ProfilingError: The config does not exist, or it needs Python of its own that is not trusted.
    """
    path = Path(model_path)
    with _loading(model_path):
        if path.exists():
            require_size(path / "config.json" if path.is_dir() else path)
        # Without the option, transformers would ask on stdout and accept a "y" from stdin, even if that is a pipe.
        return transformers.AutoConfig.from_pretrained(model_path, trust_remote_code=trust_remote_code)


def load_model(subject: Subject) -> Any:
    """Return a causal LM in eval mode on its device: its own weights, quantized ones as stored, or random ones.

    Under torchrun with several processes the model is split by transformers' own tensor-parallel plan.

    Raises:
        ProfilingError: transformers cannot load or make it, it needs Python of its own that is not trusted, or the
            device has no room for it.
    """
    transformers.utils.logging.disable_progress_bar()
    loading: dict[str, Any] = {"dtype": DTYPES[subject.compute_dtype], "trust_remote_code": subject.trust_remote_code}
    if subject.random_weights and num_processes() > 1:
        raise ProfilingError("Random weights cannot be split over processes: save such a model and profile its folder.")
    with _loading(subject.name):
        if subject.random_weights:
            torch.manual_seed(0)
            with subject.device:
                return transformers.AutoModelForCausalLM.from_config(subject.config, **loading).eval()
        placement: dict[str, Any] = {}
        if num_processes() > 1:
            placement = {"distributed_config": transformers.distributed.DistributedConfig(tp_plan="auto")}
        elif subject.device.type == "cuda" and transformers.utils.is_accelerate_available():
            placement = {"device_map": {"": subject.device}}
        model = transformers.AutoModelForCausalLM.from_pretrained(subject.name, **loading, **placement)
        return (model if placement else model.to(subject.device)).eval()


def forget_models() -> None:
    """Free the memory of models that are no longer referred to, and drop the code compiled for them."""
    compiled = "torch._dynamo" in sys.modules  # else nothing was compiled, and importing it takes seconds
    if compiled:
        torch.compiler.reset()
    if compiled or has_cuda():
        gc.collect()  # compiled code and its model refer to each other
    if has_cuda():
        torch.cuda.empty_cache()


def quantized_dtype(quantization: Any) -> str:
    """Return the name that stacks give to the weights that a quantization config describes.

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


def first_line(error: BaseException) -> str:
    """Return the first line of the message of an error, or the name of its type if the message is empty."""
    text = str(error).strip()
    return text.splitlines()[0] if text else type(error).__name__
