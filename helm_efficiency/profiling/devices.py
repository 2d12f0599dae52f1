"""Devices and dtypes by the names that users and catalogs have for them."""

import platform
import re
from collections.abc import Mapping
from pathlib import Path

import torch

from helm_efficiency.errors import InputError

DTYPES: Mapping[str, torch.dtype] = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}

# (pattern in what CUDA calls the device, key of the accelerator catalog); the first match counts
_ACCELERATORS = (
    (r"GB300", "gb300"),
    (r"B300", "b300"),
    (r"GB200", "gb200"),
    (r"B200", "b200"),
    (r"GH200", "gh200"),
    (r"H200", "h200-sxm"),
    (r"H100.*PCIe", "h100-pcie"),
    (r"H100", "h100-sxm"),
    (r"H20\b", "h20"),
    (r"A100.*40GB", "a100-40gb"),
    (r"A100.*PCIE", "a100-pcie"),
    (r"A100", "a100-80gb"),
    (r"V100.*16GB", "v100-16gb"),
    (r"V100", "v100-32gb"),
    (r"L40S", "l40s"),
    (r"\bL4\b", "l4"),
    (r"\bA10G?\b", "a10"),
    (r"\bT4\b", "t4"),
    (r"\bA30\b", "a30"),
    (r"\bA40\b", "a40"),
    (r"RTX PRO 6000 Blackwell", "rtx-pro-6000"),
    (r"RTX 5090", "rtx-5090"),
    (r"RTX 4090", "rtx-4090"),
    (r"RTX 3090", "rtx-3090"),
    (r"MI355X", "mi355x"),
    (r"MI325X", "mi325x"),
    (r"MI300X", "mi300x"),
    (r"MI250", "mi250"),
    (r"Max 1550", "intel-max-1550"),
)


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
    ('a100-80gb', 'h200-sxm', 'nvidia-geforce-x-9')
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
