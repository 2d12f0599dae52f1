"""Corrections of simulated times to real servers, by engine, accelerator generation, number format and kind of model.

`benchmarks/modern.py --learn` learns `data/simulation_corrections.csv` from public measurements of served models, with
the partial pooling of `benchmarks/_group_effects.py`: factors, overheads of a step and of a row, and intervals. `*` is
any value that was not measured, and has the wider interval of an unknown one.
"""

import csv
from collections.abc import Mapping
from functools import cache
from importlib.resources import files

from helm_efficiency.core.fitting.correction import Correction
from helm_efficiency.core.measurement import Stack
from helm_efficiency.core.transfer.architecture import Architecture

ANY = "*"

GENERATIONS: Mapping[str, str] = {
    "a100-80gb": "ampere",
    "h100-sxm": "hopper",
    "h200-sxm": "hopper",
    "b200": "blackwell",
    "b300": "blackwell",
    "gb200": "blackwell",
    "gb300": "blackwell",
    "rtx-pro-6000": "blackwell",
    "l40s": "ada",
}
"""Generation of the accelerators that can be simulated: kernels are written once for each."""

_DATA = "data/simulation_corrections.csv"
_KEYS = ("engine", "generation", "dtype", "kind")
_NUMBERS = ("prefill_factor", "decode_factor", "prefill_error", "decode_error", "step_s", "row_s")


def simulation_correction(stack: Stack, architecture: Architecture | None = None) -> Correction:
    """Return the correction of a simulated stack."""
    kind = ANY if architecture is None else kind_of(architecture)
    asked = (stack.engine, GENERATIONS.get(stack.accelerator, ANY), stack.dtype, kind)
    levels = zip(asked, _known(), strict=True)
    return _table()[tuple(level if level in known else ANY for level, known in levels)]  # type: ignore[index]


@cache
def _known() -> tuple[set[str], ...]:
    """Return the known values of each key."""
    return tuple({row[i] for row in _table()} for i in range(len(_KEYS)))


def kind_of(architecture: Architecture) -> str:
    """Return `latent` for latent attention (DeepSeek, Kimi), else `moe` for a mixture of experts, else `dense`."""
    return "latent" if architecture.kv_lora_rank else "moe" if architecture.num_experts else "dense"


@cache
def _table() -> Mapping[tuple[str, str, str, str], Correction]:
    text = files("helm_efficiency.catalog").joinpath(_DATA).read_text(encoding="utf-8")
    lines = [line for line in text.splitlines() if not line.startswith("#")]
    table = {}
    for row in csv.DictReader(lines):
        engine, generation, dtype, kind = (row[key] for key in _KEYS)
        numbers = {name: float(row[name]) for name in _NUMBERS}
        table[engine, generation, dtype, kind] = Correction(**numbers, source="public measurements of served models")
    return table
