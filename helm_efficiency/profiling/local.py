"""Times a local transformers causal LM: exact prompt and output lengths, on the CPU or a CUDA device.

Every repetition is kept as a measurement of its own; whoever fits them decides how to sum them up. Needs torch,
transformers and numpy, so that it runs on a bare GPU machine.
"""

import datetime
import platform
import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
import transformers

from helm_efficiency import __version__
from helm_efficiency.core.measurement import Measurement, Profile, Stack
from helm_efficiency.errors import InputError, ProfilingError
from helm_efficiency.profiling.cells import Cell, check_cell
from helm_efficiency.profiling.engines import EagerEngine, Engine

DTYPES = {"fp32": "float32", "bf16": "bfloat16", "fp16": "float16"}

# (pattern in what CUDA calls the device, key of the accelerator catalog); the first match counts
_ACCELERATORS = (
    (r"GB?200|B200", "b200"),
    (r"H200", "h200"),
    (r"H100.*PCIe", "h100-pcie"),
    (r"H100", "h100-sxm"),
    (r"A100.*40GB", "a100-40gb"),
    (r"A100", "a100-80gb"),
    (r"V100", "v100"),
    (r"L40S", "l40s"),
    (r"\bL4\b", "l4"),
    (r"\bA10\b|A10G", "a10"),
    (r"\bT4\b", "t4"),
    (r"MI300X", "mi300x"),
)


@dataclass(frozen=True, slots=True)
class LocalOptions:
    """What to time and how.

    Attributes:
        deployment: Name under which coefficients are looked up later, such as `huggingface/pythia-160m`.
        cells: Shapes to time, in this order.
        device: `cpu`, `cuda`, or `auto` for CUDA where there is one.
        dtype: Of weights and arithmetic: `fp32`, `bf16` or `fp16`.
        num_warmups: Discarded runs of the same shape before the first repetition.
        num_repetitions: Timed runs of each cell.
        seed: Of the random prompts.
    """

    deployment: str
    cells: Sequence[Cell]
    device: str = "auto"
    dtype: str = "fp32"
    num_warmups: int = 1
    num_repetitions: int = 5
    seed: int = 0


def profile_model(
    model_path: str | Path, *, options: LocalOptions, on_cell: Callable[[Cell, list[Measurement]], None] | None = None
) -> Profile:
    """Time a causal LM at each of the given shapes.

    Args:
        model_path: Folder with `config.json` and weights, or a name that transformers can resolve.
        options: What to time and how.
        on_cell: Called with every finished cell and its measurements, for progress and saving.

    Returns:
        One measurement for each repetition of each cell; seconds.

    Raises:
        InputError: An option or a cell is out of range, or there is no such device.
        ProfilingError: The model cannot be loaded or run.
    """
    device = find_device(options.device)
    model = load_model(model_path, device=device, dtype=options.dtype)
    measurements: list[Measurement] = []
    for cell, timed in time_cells(EagerEngine(model), model, options=options):
        measurements.extend(timed)
        if on_cell is not None:
            on_cell(cell, timed)
    return Profile(
        deployment=options.deployment,
        stack=local_stack(device, options.dtype, engine="transformers-eager"),
        measurements=tuple(measurements),
        source=f"helm-efficiency {__version__} profile, {platform.machine()} {platform.system()}",
        measured_on=datetime.date.today().isoformat(),
        versions={
            "helm-efficiency": __version__,
            "python": platform.python_version(),
            "torch": torch.__version__,
            "transformers": transformers.__version__,
        },
    )


def time_cells(engine: Engine, model: Any, *, options: LocalOptions) -> Iterator[tuple[Cell, list[Measurement]]]:
    """Each cell with one measurement for each of its repetitions."""
    generator = torch.Generator().manual_seed(options.seed)
    for cell in options.cells:
        check_cell(cell)
        timed = []
        for run in range(options.num_warmups + options.num_repetitions):
            shape = (cell.batch_size, cell.prompt_tokens)
            prompt = torch.randint(0, model.config.get_text_config().vocab_size, shape, generator=generator)
            timing = engine.run(prompt.to(model.device), cell)
            if run >= options.num_warmups:
                timed.append(
                    Measurement(
                        cell.prompt_tokens,
                        cell.output_tokens,
                        timing.seconds,
                        batch_size=cell.batch_size,
                        ttft_s=timing.ttft_s,
                    )
                )
        yield cell, timed


def load_model(model_path: str | Path, *, device: torch.device, dtype: str) -> Any:
    """A causal LM on a device, ready to generate.

    Raises:
        InputError: An unknown dtype.
        ProfilingError: transformers cannot load it.
    """
    if dtype not in DTYPES:
        raise InputError(f"dtype {dtype!r}: expected one of {', '.join(DTYPES)}.")
    transformers.utils.logging.disable_progress_bar()
    try:
        model = transformers.AutoModelForCausalLM.from_pretrained(model_path, dtype=getattr(torch, DTYPES[dtype]))
    except (OSError, ValueError, ImportError, RuntimeError) as error:
        reason = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        raise ProfilingError(f"Cannot load {model_path} as a causal LM: {reason}") from error
    return model.to(device).eval()


def find_device(name: str) -> torch.device:
    """The device of that name; `auto` is CUDA where there is one, else the CPU.

    Raises:
        InputError: There is no such device on this machine.
    """
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "cpu"
    if name != "cpu" and not (name.startswith("cuda") and torch.cuda.is_available()):
        raise InputError(f"Device {name!r} is not on this machine: expected auto, cpu" + _cuda_hint())
    return torch.device(name)


def _cuda_hint() -> str:
    return " or cuda." if torch.cuda.is_available() else ". Without CUDA: --device cpu."


def local_stack(device: torch.device, dtype: str, *, engine: str) -> Stack:
    """The identity of what a local model is timed on, named accelerator-engine-dtype."""
    accelerator = "cpu" if device.type == "cpu" else accelerator_key(torch.cuda.get_device_name(device))
    return Stack(
        name=f"{accelerator}-{engine}-{dtype}",
        accelerator=accelerator,
        engine=engine,
        engine_version=transformers.__version__,
        dtype=dtype,
    )


def accelerator_key(device_name: str) -> str:
    """Catalog key of a CUDA device; a device that is not in the catalog keeps its own name.

    >>> accelerator_key("NVIDIA A100-SXM4-80GB"), accelerator_key("NVIDIA H200"), accelerator_key("NVIDIA GeForce X 9")
    ('a100-80gb', 'h200', 'nvidia-geforce-x-9')
    """
    for pattern, key in _ACCELERATORS:
        if re.search(pattern, device_name):
            return key
    return re.sub(r"[^a-z0-9]+", "-", device_name.lower()).strip("-")
