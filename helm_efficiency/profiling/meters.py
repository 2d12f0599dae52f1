"""Measure the energy and the peak memory of a piece of work, if the machine can measure them.

NVIDIA accelerators since Volta count the millijoules they have drawn since the driver was loaded. The counter moves in
steps of 20 to 100 ms, so a reading is used only for windows well beyond that, and only if the counter moved. A meter
reads any such counter: the device's own, or a recorded one that is replayed on a machine without a device.
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
    """Meter of the energy (mJ) that a set of accelerators has drawn up to now.

    Attributes:
        counters: One function for each accelerator; its value only grows.
        source: Description of the counters, for the provenance of a profile.
    """

    counters: Sequence[Callable[[], int]]
    source: str

    def read_mj(self) -> int:
        """Return the energy (mJ) that all accelerators together have drawn up to now."""
        return sum(counter() for counter in self.counters)


def energy_per_run_j(before_mj: int, after_mj: int, *, window_s: float, num_runs: int) -> float | None:
    """Return the energy (J) of one of several equal runs; None if the counter is too coarse for the window.

    >>> energy_per_run_j(1_000, 601_000, window_s=2.0, num_runs=4)
    150.0
    >>> energy_per_run_j(1_000, 9_000, window_s=0.1, num_runs=4) is None
    True
    """
    if window_s < MIN_WINDOW_S or after_mj <= before_mj:
        return None
    return (after_mj - before_mj) / 1000.0 / num_runs


def nvidia_meter(uuids: Sequence[str]) -> EnergyMeter | None:
    """Return a meter of the NVIDIA accelerators with these UUIDs, or None if their counters cannot be read.

    CUDA and the driver number devices differently if some are hidden (CUDA_VISIBLE_DEVICES); their UUIDs are the same.

    Args:
        uuids: UUIDs as the driver writes them: `GPU-` and the hexadecimal digits.
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
_RESET_PEAK = "5"  # proc(5): sets the peak resident size to the current one


def reset_peak(device: torch.device) -> bool:
    """Reset the peak of memory, so that `peak_bytes` measures only later work; return whether that is possible."""
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)
        return True
    if sys.platform != "linux":
        return False
    try:
        _CLEAR.write_text(_RESET_PEAK)
    except OSError:  # the kernel or a sandbox forbids it
        return False
    return True


def peak_bytes(device: torch.device) -> int | None:
    """Return the peak memory since `reset_peak`: allocated memory on CUDA, resident memory of the process on Linux."""
    if device.type == "cuda":
        return int(torch.cuda.max_memory_allocated(device))
    lines = (line.split() for line in _STATUS.read_text().splitlines())
    return next((int(words[1]) * 1024 for words in lines if words and words[0] == "VmHWM:"), None)
