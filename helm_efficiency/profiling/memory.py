"""The most memory in use at once while a piece of work ran."""

import sys
from pathlib import Path

import torch

_STATUS = Path("/proc/self/status")
_CLEAR = Path("/proc/self/clear_refs")
_RESET_PEAK = "5"  # proc(5): sets the peak resident size to the present one


def reset_peak(device: torch.device) -> bool:
    """Forget the peak up to now; whether that can be done here, so that `peak_bytes` will be of what follows."""
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)
        return True
    if sys.platform != "linux":
        return False
    try:
        _CLEAR.write_text(_RESET_PEAK)
    except OSError:  # a kernel or a sandbox that forbids it
        return False
    return True


def peak_bytes(device: torch.device) -> int | None:
    """Peak since `reset_peak`: allocated on a CUDA device, resident of the process on Linux."""
    if device.type == "cuda":
        return int(torch.cuda.max_memory_allocated(device))
    lines = (line.split() for line in _STATUS.read_text().splitlines())
    return next((int(words[1]) * 1024 for words in lines if words and words[0] == "VmHWM:"), None)
