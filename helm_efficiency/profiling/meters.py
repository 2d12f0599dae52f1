"""Energy of a piece of work, where the machine can measure it.

NVIDIA accelerators since Volta count the millijoules they have drawn since the driver was loaded. The counter moves in
steps of 20 to 100 ms, so only windows well beyond that are believed, and only a counter that moved. A meter reads any
such counter: the device's own, or a recorded one that is replayed where there is no device.
"""

import importlib
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch

MIN_WINDOW_S = 0.5


@dataclass(frozen=True, slots=True)
class EnergyMeter:
    """Reads the energy (mJ) that each of some accelerators has drawn up to now.

    Attributes:
        counters: One function for each accelerator; its value only grows.
        source: What the counters are, for the provenance of a profile.
    """

    counters: Sequence[Callable[[], int]]
    source: str

    def read_mj(self) -> int:
        """Millijoules drawn by all accelerators together, up to now."""
        return sum(counter() for counter in self.counters)


def energy_per_run_j(before_mj: int, after_mj: int, *, window_s: float, num_runs: int) -> float | None:
    """Joules of one of several equal runs; None where the counter is too coarse for the window.

    >>> energy_per_run_j(1_000, 601_000, window_s=2.0, num_runs=4)
    150.0
    >>> energy_per_run_j(1_000, 9_000, window_s=0.1, num_runs=4) is None
    True
    """
    if window_s < MIN_WINDOW_S or after_mj <= before_mj:
        return None
    return (after_mj - before_mj) / 1000.0 / num_runs


def nvidia_meter(uuids: Sequence[str]) -> EnergyMeter | None:
    """A meter of the NVIDIA accelerators with these UUIDs, or None where they cannot be read.

    CUDA and the driver number devices differently when some are hidden (CUDA_VISIBLE_DEVICES), UUIDs are the same.

    Args:
        uuids: As the driver writes them: `GPU-` and the hexadecimal digits.
    """
    try:
        nvml = importlib.import_module("pynvml")
    except ImportError:
        return None
    try:
        nvml.nvmlInit()
        handles = [nvml.nvmlDeviceGetHandleByUUID(uuid) for uuid in uuids]
        for handle in handles:
            nvml.nvmlDeviceGetTotalEnergyConsumption(handle)
    except nvml.NVMLError:
        return None

    def counter_of(handle: object) -> Callable[[], int]:
        return lambda: int(nvml.nvmlDeviceGetTotalEnergyConsumption(handle))

    return EnergyMeter([counter_of(handle) for handle in handles], source=f"NVML of {len(handles)} device(s)")


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
