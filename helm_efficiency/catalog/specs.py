"""From the catalog's accelerators to what the transfer model computes with."""

from helm_efficiency.catalog.accelerators import Accelerator, find_accelerator, load_accelerators
from helm_efficiency.core.measurement import Stack
from helm_efficiency.core.roofline import AcceleratorSpec

_INSTEAD = {"fp4": "fp8", "int4": "int8", "fp8": "int8", "int8": "fp16", "bf16": "fp16", "tf32": "fp32", "fp16": "bf16"}
"""What a dtype computes in where the accelerator has no matrix unit for it: quantized weights are widened first."""

_GUESSED_FLOP_PER_S = 1e11
_GUESSED_BYTES_PER_S = 2e10


def spec_of(accelerator: Accelerator, dtype: str) -> AcceleratorSpec:
    """Peaks of an accelerator at a dtype; a guess, marked as one, where no datasheet gives them.

    The guess is 100 GFLOP/s and 20 GB/s, a small CPU; profiles correct it.
    """
    flops = accelerator.dense_flop_per_s
    computed_in: str | None = dtype
    tried: set[str] = set()
    while computed_in is not None and computed_in not in flops and computed_in not in tried:
        tried.add(computed_in)
        computed_in = _INSTEAD.get(computed_in)
    flop_per_s = flops.get(computed_in or "")
    bandwidth = accelerator.bandwidth_bytes_per_s
    return AcceleratorSpec(
        flop_per_s=flop_per_s or _GUESSED_FLOP_PER_S,
        bandwidth_bytes_per_s=bandwidth or _GUESSED_BYTES_PER_S,
        link_bytes_per_s=(accelerator.link_bytes_per_s or 0.0) / 2.0,
        num_processors=accelerator.num_processors or 0,
        node_size=accelerator.node_size,
        is_datasheet=bool(flop_per_s and bandwidth),
    )


def spec_of_stack(stack: Stack) -> AcceleratorSpec:
    """Peaks of a stack's accelerator at its dtype.

    Raises:
        CatalogError: The catalog does not know the accelerator.
    """
    return spec_of(find_accelerator(stack.accelerator, load_accelerators()), stack.dtype)
