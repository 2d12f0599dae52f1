"""Find devices and dtypes by the names that users and catalogs give them."""

import platform
import re
from collections.abc import Mapping
from pathlib import Path

import torch

from helm_efficiency.errors import InputError

DTYPES: Mapping[str, torch.dtype] = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}


def find_dtype(name: str, device: torch.device) -> str:
    """Return the name of a dtype; `auto` gives the usual dtype of the device (bf16 on CUDA, else fp32).

    Raises:
        InputError: The dtype is unknown.
    """
    if name == "auto":
        return "bf16" if device.type == "cuda" else "fp32"
    if name not in DTYPES:
        raise InputError(f"dtype {name!r}: expected auto, {', '.join(DTYPES)}.")
    return name


def find_device(name: str) -> torch.device:
    """Return the device with a name; `auto` gives CUDA if this machine has a CUDA device, else the CPU.

    Raises:
        InputError: This machine has no such device.
    """
    known = ["cpu"] + (["cuda", *(f"cuda:{i}" for i in range(torch.cuda.device_count()))] if has_cuda() else [])
    if name == "auto":
        name = "cuda" if has_cuda() else "cpu"
    if name not in known:
        raise InputError(f"Device {name!r} is not on this machine: expected auto or one of {', '.join(known)}.")
    return torch.device(name)


def has_cuda() -> bool:
    """Return whether torch sees a CUDA device."""
    return bool(torch.cuda.is_available())


def describe_device(device: torch.device) -> str:
    """Return the name of a device and, for a CPU, the number of threads that work on it."""
    if device.type == "cuda":
        return str(torch.cuda.get_device_name(device))
    return f"{cpu_name()}, {torch.get_num_threads()} threads"


def cpu_name() -> str:
    """Return the name that the processor reports."""
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.exists():
        found = re.search(r"^model name\s*:\s*(.+)$", cpuinfo.read_text(), re.MULTILINE)
        if found:
            return found[1].strip()
    return platform.processor() or platform.machine()
