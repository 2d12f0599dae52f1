"""Map names of devices, as drivers and benchmark tools write them, and of stacks to keys of the accelerator catalog."""

import re
from collections.abc import Iterable

# pairs of (pattern in the name of a device, key of the catalog); the first match counts
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


def accelerator_key(device_name: str) -> str:
    """Return the catalog key of a device; a device that is not in the catalog keeps its own name.

    >>> [accelerator_key(name) for name in ("NVIDIA A100-SXM4-80GB", "NVIDIA H200", "NVIDIA GeForce X 9")]
    ['a100-80gb', 'h200-sxm', 'nvidia-geforce-x-9']
    """
    for pattern, key in _ACCELERATORS:
        if re.search(pattern, device_name):
            return key
    return re.sub(r"[^a-z0-9]+", "-", device_name.lower()).strip("-")


_IN_PUBLICATIONS = ("cpu", "v100-16gb", "v100-32gb", "a100-40gb", "a100-80gb", "h100-80gb", "h200-141gb")
"""Keys of accelerators with which names of stacks in publications start."""


def accelerator_of(stack_name: str, accelerators: Iterable[str] = _IN_PUBLICATIONS) -> str:
    """Return the longest known key that the name starts with, or the whole name if no key matches.

    >>> accelerator_of("a100-80gb-megatron-fp16"), accelerator_of("a100-80gb"), accelerator_of("abacus-fp16")
    ('a100-80gb', 'a100-80gb', 'abacus-fp16')
    """
    known = [key for key in accelerators if stack_name == key or stack_name.startswith(f"{key}-")]
    return max(known, key=len, default=stack_name)
