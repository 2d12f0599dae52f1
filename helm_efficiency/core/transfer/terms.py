"""The formula of the transfer model: seconds of a pass from its work and a few terms.

A pass over m new tokens at context c takes, with the quantities of `core.transfer.workload` and the terms below,

    pass_s    = call_s * stages + sum over layers of max8(launch_s, gpu_s) + logits
    gpu_s     = hypot(tiles / flops, weights / bandwidth) + (elementwise + cache) / bandwidth + attention / flops
                + hypot(all-reduce / link, reduce latency)
    prefill_s = pass_s(m = p, c = p) + layers * prefill_launch_s_per_layer + p * prompt_token_s
    decode    = pass_s(m = 1, c)

max8(a, b) is (a^8 + b^8)^(1/8): the host launches kernels while the accelerator still computes earlier ones, so a layer
takes the longer of the two. Terms are positive; priors and fits are of their logarithms.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from helm_efficiency.core.arrays import FloatArray
from helm_efficiency.core.measurement import Stack
from helm_efficiency.core.transfer.roofline import AcceleratorSpec
from helm_efficiency.core.transfer.workload import LayerWork, PassWork

_EAGER_ENGINES = ("megatron", "transformers-eager")
_OVERLAP_POWER = 8.0  # nearly a maximum. Left-out models of the paper are 3.87 % off; 4.28 % at 4, 3.94 % at 12

_QUANTIZED_LAUNCH: Mapping[str, tuple[float, float]] = {"int8": (2.9e-3, 0.4), "int4": (2.5e-3, 1.0)}
"""Host time of a layer of an eager engine that unpacks weights by extra kernels, and its spread. The values are medians
of the LLM-Perf leaderboard (transformers, batch 1, 2024), with the weights read at 80 % of the bandwidth: bitsandbytes
takes 2.9 ms in 8 bits and 1.7 to 1.8 ms in 4 on A10 and A100, GPTQ 4 to 9 ms, AWQ 0.7 to 35 ms by kernel."""


class Term(NamedTuple):
    """Prior of a term: log-normal with this median and standard deviation of the logarithm, and an upper bound."""

    median: float
    log_sd: float
    most: float = np.inf


@dataclass(frozen=True, slots=True)
class Terms:
    """Terms of the formula that a stack's profiles calibrate.

    Attributes:
        launch_s_per_layer: Host time to launch the kernels of a layer.
        parallel_launch_ratio: Host time with tensor parallelism ÷ without it: all-reduces are launched too.
        call_s: Host time of a pass outside its layers, for each pipeline stage.
        prefill_launch_s_per_layer: Further host time of a layer in prefill.
        prompt_token_s: Host time of each prompt token (tokenizing, copying).
        bandwidth_fraction: Fraction of the memory bandwidth that is reached.
        flop_fraction: Fraction of peak FLOP/s reached by matrix products, apart from waves and tile sizes.
        tile_penalty: Slowdown of small tiles: 1 + penalty * (1/rows + 1/columns).
        reduce_latency_s: Latency of the all-reduces of a layer.
        link_fraction: Fraction of the link bandwidth reached by all-reduces.
        internode_fraction: Link bandwidth reached across nodes ÷ that within a node.
        misaligned_fraction: Speed of matrix products of odd size ÷ that of others.
    """

    launch_s_per_layer: float
    parallel_launch_ratio: float
    call_s: float
    prefill_launch_s_per_layer: float
    prompt_token_s: float
    bandwidth_fraction: float
    flop_fraction: float
    tile_penalty: float
    reduce_latency_s: float
    link_fraction: float
    internode_fraction: float
    misaligned_fraction: float


TERM_NAMES = tuple(Terms.__dataclass_fields__)


def priors(engine: str, spec: AcceleratorSpec, dtype: str = "") -> Mapping[str, Term]:
    """Return the priors of the terms of a stack, before anything is measured.

    Launching a layer takes an eager engine (a Python call for each kernel) about 0.6 ms, several times that with
    quantized weights (fewer bytes, more kernels), and an engine that replays recorded graphs about 0.03 ms. Vendors'
    benchmarks reach 60-90 % of peak bandwidth and FLOP/s. The all-reduces of a layer take serving engines 0.1 ms, which
    reproduces two to eight accelerators of Splitwise's table approximately. The width of a prior is the typical error
    of a first guess: a factor of e^log_sd.

    Args:
        engine: Engine, as in `Stack.engine`.
        spec: Peaks of one accelerator; if they are guesses, the fractions that are reached have wide priors.
        dtype: Number format of the weights, as in `Stack.dtype`.
    """
    eager = engine in _EAGER_ENGINES
    launch_s, launch_log_sd = _QUANTIZED_LAUNCH.get(dtype, (0.6e-3, 1.0)) if eager else (0.03e-3, 1.0)
    guess = 0.0 if spec.is_datasheet else 2.0
    most = 1.0 if spec.is_datasheet else np.inf
    return {
        "launch_s_per_layer": Term(launch_s, launch_log_sd),
        "parallel_launch_ratio": Term(1.2, 0.1),
        "call_s": Term(2e-3, 0.4 if eager else 0.8),
        "prefill_launch_s_per_layer": Term(0.05e-3 if eager else 0.01e-3, 0.5),
        "prompt_token_s": Term(6e-6, 0.3),
        "bandwidth_fraction": Term(0.75, 0.15 + guess, most),
        "flop_fraction": Term(0.9, 0.15 + guess, 1.2 * most),
        "tile_penalty": Term(20.0, 0.3),
        "reduce_latency_s": Term(0.2e-3 if eager else 0.1e-3, 0.5 if eager else 0.7),
        "link_fraction": Term(0.4, 0.3, 1.0),
        "internode_fraction": Term(0.4, 0.4, 1.0),
        "misaligned_fraction": Term(0.5, 0.4, 1.0),
    }


def pass_s(work: PassWork, stack: Stack, spec: AcceleratorSpec, terms: Terms) -> FloatArray:
    """Return the seconds of forward passes, shape (passes,)."""
    flop_per_s = terms.flop_fraction * spec.flop_per_s
    bytes_per_s = terms.bandwidth_fraction * spec.bandwidth_bytes_per_s
    seconds = terms.call_s * stack.pipeline_parallel + work.logit_flops / flop_per_s + work.logit_bytes / bytes_per_s
    slowdown = 1.0 + terms.tile_penalty * work.tile_loads
    parallel = stack.tensor_parallel > 1
    launch_s = terms.launch_s_per_layer * (terms.parallel_launch_ratio if parallel else 1.0)
    for layer in work.layers:
        compute_s = _product_flops(layer, slowdown, terms) / flop_per_s
        gpu_s = np.hypot(compute_s, layer.weight_bytes / bytes_per_s)
        gpu_s += (layer.elementwise_bytes + layer.cache_bytes) / bytes_per_s + layer.attention_flops / flop_per_s
        if parallel:
            gpu_s += np.hypot(layer.reduce_bytes / _link_bytes_per_s(stack, spec, terms), terms.reduce_latency_s)
        seconds = seconds + layer.num_layers * _overlapped(launch_s, gpu_s)
    return np.asarray(seconds)


def prefill_s(
    work: PassWork, stack: Stack, spec: AcceleratorSpec, terms: Terms, prompt_tokens: FloatArray
) -> FloatArray:
    """Return the seconds to process prompts (over all rows) and emit the first output tokens, shape (passes,)."""
    num_layers = sum(layer.num_layers for layer in work.layers)
    host_s = num_layers * terms.prefill_launch_s_per_layer + prompt_tokens * terms.prompt_token_s
    return pass_s(work, stack, spec, terms) + host_s


def _product_flops(layer: LayerWork, slowdown: FloatArray, terms: Terms) -> FloatArray:
    """Return the equivalent FLOPs at full speed of the matrix products: the best tile for each, more if misaligned."""
    best = (layer.tile_flops * slowdown[:, None, None]).min(axis=0)
    misaligned = 1.0 + layer.is_misaligned * (1.0 / terms.misaligned_fraction - 1.0)
    return np.asarray(misaligned @ best)


def _link_bytes_per_s(stack: Stack, spec: AcceleratorSpec, terms: Terms) -> float:
    link = terms.link_fraction * spec.link_bytes_per_s
    return link * terms.internode_fraction if stack.tensor_parallel > spec.node_size else link


def _overlapped(a: float, b: FloatArray) -> FloatArray:
    """Return max8: the longer of two overlapping times, or slightly more if they are close."""
    longer = np.maximum(a, b)
    ratio = np.minimum(a, b) / longer
    return np.asarray(longer * (1.0 + ratio**_OVERLAP_POWER) ** (1.0 / _OVERLAP_POWER))
