"""Least work of a forward pass in FLOPs and bytes, and the least time that it takes: the speed of light.

A multiply-add is 2 FLOPs. A bound counts the work that any implementation has to do: each weight that is used is read
once per pass, each cached key and value once per step, causal attention over half of the scores, logits for one
position. Real stacks also launch kernels, round tiles up and communicate; `core.transfer` adds that.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from helm_efficiency.core.arrays import FloatArray
from helm_efficiency.core.measurement import Stack
from helm_efficiency.core.transfer.architecture import Architecture
from helm_efficiency.core.transfer.placement import BYTES_PER_PARAMETER
from helm_efficiency.errors import InputError


@dataclass(frozen=True, slots=True)
class AcceleratorSpec:
    """Peak figures from an accelerator's datasheet.

    Attributes:
        flop_per_s: Dense peak FLOP/s at the stack's dtype.
        bandwidth_bytes_per_s: Peak bandwidth of the memory.
        link_bytes_per_s: Peak bandwidth to other accelerators of the node in one direction; 0 without a link.
        num_processors: Streaming multiprocessors or compute units, over which the tiles of a matrix product are
            distributed; 0 if unknown.
        node_size: Accelerators that share the fast link.
        is_datasheet: False if the figures are guesses, as for an unknown CPU.
    """

    flop_per_s: float
    bandwidth_bytes_per_s: float
    link_bytes_per_s: float = 0.0
    num_processors: int = 0
    node_size: int = 8
    is_datasheet: bool = True

    def __post_init__(self) -> None:
        if self.flop_per_s <= 0 or self.bandwidth_bytes_per_s <= 0:
            raise InputError(
                f"An accelerator needs a peak FLOP/s and a memory bandwidth, given {self.flop_per_s} and "
                f"{self.bandwidth_bytes_per_s}."
            )


@dataclass(frozen=True, slots=True)
class SpeedOfLight:
    """Least seconds of a request, with its operations and bytes.

    Attributes:
        prefill_s: Least seconds of processing the prompt and emitting the first token.
        decode_s: Least seconds of all further tokens.
        flops: Floating-point operations of the whole request.
        bytes: Bytes of weights and cache that the whole request reads.
    """

    prefill_s: FloatArray
    decode_s: FloatArray
    flops: FloatArray
    bytes: FloatArray

    @property
    def seconds(self) -> FloatArray:
        """Least seconds end to end."""
        return np.asarray(self.prefill_s + self.decode_s)


def weight_bytes(dtype: str) -> float:
    """Return the bytes of one weight.

    Raises:
        InputError: The dtype is unknown.
    """
    try:
        return BYTES_PER_PARAMETER[dtype]
    except KeyError:
        raise InputError(f"Unknown dtype {dtype!r} of a stack. Known: {', '.join(BYTES_PER_PARAMETER)}.") from None


def activation_bytes(dtype: str) -> float:
    """Return the bytes of one activation or cached number: quantized weights still compute in 16 bits.

    Raises:
        InputError: The dtype is unknown.
    """
    return max(weight_bytes(dtype), 2.0)


def pass_flops(architecture: Architecture, new_tokens: ArrayLike, context_tokens: ArrayLike) -> FloatArray:
    """Return the FLOPs of a forward pass over `new_tokens` at the end of a context, with logits for the last one.

    The count is 2 per weight (of the active experts) and token, and 4 * heads * head size per pair of tokens that
    attend to each other.

    Args:
        architecture: Architecture of the model.
        new_tokens: Tokens in the pass.
        context_tokens: Tokens attended to by the last of them, itself included; broadcast against `new_tokens`.
    """
    a = architecture
    n, c = np.broadcast_arrays(np.asarray(new_tokens, dtype=np.float64), np.asarray(context_tokens, dtype=np.float64))
    weights = a.num_active_parameters() - a.embedding_parameters() * (1 if a.tied_embeddings else 2)
    weights -= a.num_positions * a.hidden_size
    widths = a.num_heads * (a.head_size + (a.value_head_size or a.head_size))
    pairs = n * (c - (n - 1.0) / 2.0)
    full = a.num_layers
    windowed_pairs = pairs
    if a.sliding_window:
        full = a.num_full_attention_layers
        windowed_pairs = np.minimum(pairs, n * a.sliding_window)
    attention = 2.0 * widths * (full * pairs + (a.num_layers - full) * windowed_pairs)
    return np.asarray(2.0 * n * weights + attention + 2.0 * a.embedding_parameters())


def speed_of_light(
    architecture: Architecture,
    stack: Stack,
    spec: AcceleratorSpec,
    *,
    prompt_tokens: ArrayLike,
    output_tokens: ArrayLike,
) -> SpeedOfLight:
    """Return the least seconds of one request alone on a stack: each pass takes at least its FLOPs or bytes at peak.

    Args:
        architecture: Architecture of the model.
        stack: Stack; its tensor-parallel degree divides the work, its pipeline stages run one after the other.
        spec: Peaks of one accelerator.
        prompt_tokens: Tokens fed to prefill; any shape.
        output_tokens: Tokens generated; broadcast against `prompt_tokens`.

    Raises:
        InputError: The stack's dtype is unknown.
    """
    p, o = np.broadcast_arrays(np.asarray(prompt_tokens, np.float64), np.asarray(output_tokens, np.float64))
    steps = np.maximum(o - 1.0, 0.0)
    middle = p + (steps + 1.0) / 2.0
    flop_rate = spec.flop_per_s * stack.tensor_parallel
    byte_rate = spec.bandwidth_bytes_per_s * stack.tensor_parallel
    per_weight, per_element = weight_bytes(stack.dtype), activation_bytes(stack.dtype)
    prompt_flops = pass_flops(architecture, p, p)
    prompt_bytes = per_weight * np.vectorize(architecture.num_multiplied_parameters, otypes=[float])(np.maximum(p, 1))
    step_flops = pass_flops(architecture, 1.0, middle)
    cache = np.vectorize(architecture.kv_bytes, otypes=[float])(middle, per_element)
    step_bytes = per_weight * architecture.num_multiplied_parameters() + cache
    return SpeedOfLight(
        prefill_s=np.maximum(prompt_flops / flop_rate, prompt_bytes / byte_rate),
        decode_s=steps * np.maximum(step_flops / flop_rate, step_bytes / byte_rate),
        flops=prompt_flops + steps * step_flops,
        bytes=prompt_bytes + steps * step_bytes,
    )


def utilization(
    light: SpeedOfLight, stack: Stack, spec: AcceleratorSpec, seconds: ArrayLike
) -> tuple[FloatArray, FloatArray]:
    """Return the fractions of peak FLOP/s (MFU) and of peak bytes/s (MBU) that a request reaches.

    Returns:
        The mfu_fraction and mbu_fraction over all accelerators of the tensor-parallel group.
    """
    t = np.asarray(seconds, dtype=np.float64) * stack.tensor_parallel
    return np.asarray(light.flops / (t * spec.flop_per_s)), np.asarray(light.bytes / (t * spec.bandwidth_bytes_per_s))
