"""Work of a serving stack in one layer of one forward pass: matrix products cut into tiles, bytes, all-reduces.

This is the counterpart of `core.transfer.roofline`: it counts the work that engines actually do instead of the least
possible work, in quantities that do not depend on speed. `core.transfer.terms` gives each quantity a speed, and
`core.transfer.calibration` fits the speeds to profiles.

A matrix product of m x k by k x n is computed in tiles of a x b elements of the result, distributed over the processors
of the accelerator in waves; the last wave may be nearly empty, and small tiles load more for each FLOP. For this reason
measured prefill is a staircase in the number of prompt tokens (Narayanan et al., NeurIPS 2023, logs).
"""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from helm_efficiency.core.arrays import FloatArray
from helm_efficiency.core.measurement import Stack
from helm_efficiency.core.transfer.architecture import Architecture
from helm_efficiency.core.transfer.roofline import AcceleratorSpec, activation_bytes, weight_bytes

TILES: tuple[tuple[int, int], ...] = (
    *((256, 128), (128, 256), (128, 128), (128, 64)),
    *((64, 128), (64, 64), (32, 64), (16, 64)),
)
"""Rows and columns of the tiles that vendors' matrix libraries choose from (cuBLAS, CUTLASS)."""


@dataclass(frozen=True, slots=True)
class EngineTraits:
    """Traits of an engine that change the bytes or operations of a pass.

    Attributes:
        score_bytes: Bytes moved for each attention score during prefill; 0 if scores stay on chip (flash attention).
        score_bytes_unfused: Bytes moved for each score if the fused softmax does not apply: heads per accelerator not
            divisible by 4.
        all_logits: True if prefill computes logits for every prompt token, not only for the last one.
        skips_future: True if attention skips the scores that the causal mask discards.
    """

    score_bytes: float = 0.0
    score_bytes_unfused: float = 0.0
    all_logits: bool = False
    skips_future: bool = True


ENGINES: Mapping[str, EngineTraits] = {
    # Megatron-LM text generation: fused softmax needs heads/T divisible by 4 (fused_softmax.py), else eager in fp32
    "megatron": EngineTraits(score_bytes=8.0, score_bytes_unfused=41.0, all_logits=True, skips_future=False)
}
"""Traits by engine; other engines are assumed to use flash attention and to compute only the last logits."""


@dataclass(frozen=True, slots=True)
class LayerWork:
    """Work of each of several equal layers in a pass; arrays over the passes, shape (passes,).

    Attributes:
        num_layers: Number of layers with this work.
        tile_flops: FLOPs with the last wave rounded up, by tile and matrix product: shape (tiles, products, passes).
        is_misaligned: 1 for each matrix product with an odd inner or outer size, which tensor cores cannot load; else
            0. Shape (products,).
        weight_bytes: Bytes of weights read.
        cache_bytes: Bytes of keys and values read.
        attention_flops: FLOPs of scores and of their product with the values.
        elementwise_bytes: Bytes moved by norms, activations, rotary positions, residuals and softmax.
        reduce_bytes: Bytes sent and received by each accelerator in the two all-reduces of a layer.
    """

    num_layers: int
    tile_flops: FloatArray
    is_misaligned: FloatArray
    weight_bytes: FloatArray
    cache_bytes: FloatArray
    attention_flops: FloatArray
    elementwise_bytes: FloatArray
    reduce_bytes: FloatArray


@dataclass(frozen=True, slots=True)
class PassWork:
    """Work of a forward pass: its layers, and the logits after them (shape (passes,)).

    `tile_loads` is the number of elements that each tile size loads for a multiply-add, shape (tiles,): small tiles are
    slow.
    """

    layers: tuple[LayerWork, ...]
    tile_loads: FloatArray
    logit_flops: FloatArray
    logit_bytes: FloatArray


@dataclass(frozen=True, slots=True)
class _Product:
    """A number `count` of products of m x k by k x n on one accelerator; m is an array over passes."""

    m: FloatArray
    n: float
    k: float
    count: ArrayLike = 1.0


def pass_work(
    architecture: Architecture,
    stack: Stack,
    spec: AcceleratorSpec,
    *,
    new_tokens: ArrayLike,
    context_tokens: ArrayLike,
    batch_size: ArrayLike = 1,
) -> PassWork:
    """Return the work of forward passes on one accelerator of a tensor-parallel group.

    Args:
        architecture: Architecture of the model.
        stack: Stack, for its dtype, engine and tensor-parallel degree.
        spec: Peaks of one accelerator, for the number of processors in a wave.
        new_tokens: New tokens of each row, an array over passes: the prompt for prefill, 1 for decode.
        context_tokens: Tokens attended to, new ones included; broadcast against `new_tokens`.
        batch_size: Rows of each pass; broadcast against `new_tokens`.
    """
    n, c, rows = (
        np.atleast_1d(array).astype(np.float64) for array in np.broadcast_arrays(new_tokens, context_tokens, batch_size)
    )
    shape = _Pass(architecture, stack, spec, n, c, rows)
    a = architecture
    dense = a.num_layers - a.num_expert_layers
    windowed = a.num_layers - a.num_full_attention_layers if a.sliding_window else 0
    # attention windows and experts are spread evenly over the depth: average the attention, keep the two kinds of FFN
    window_share = windowed / a.num_layers
    layers = []
    if dense:
        layers.append(shape.layer(dense, window_share, with_experts=False))
    if a.num_expert_layers:
        layers.append(shape.layer(a.num_expert_layers, window_share, with_experts=True))
    traits = shape.traits
    positions = n * rows if traits.all_logits else rows
    columns = a.vocab_size / stack.tensor_parallel
    # logits are converted to fp32 (read 2, write 4) and, if split, gathered (4)
    logit_bytes = positions * columns * (6.0 + 4.0 * (stack.tensor_parallel > 1))
    return PassWork(
        layers=tuple(layers),
        tile_loads=np.array([1.0 / rows + 1.0 / columns for rows, columns in TILES] if spec.num_processors else [0.0]),
        logit_flops=2.0 * np.ceil(positions / 128.0) * 128.0 * columns * a.hidden_size * traits.all_logits,
        logit_bytes=logit_bytes + columns * a.hidden_size * weight_bytes(stack.dtype),
    )


@dataclass(frozen=True, slots=True)
class _Pass:
    """Arguments of `pass_work`, from which layers are built."""

    architecture: Architecture
    stack: Stack
    spec: AcceleratorSpec
    new_tokens: FloatArray
    context_tokens: FloatArray
    batch_size: FloatArray

    @property
    def traits(self) -> EngineTraits:
        return ENGINES.get(self.stack.engine, EngineTraits())

    def layer(self, num_layers: int, window_share: float, *, with_experts: bool) -> LayerWork:
        a, split = self.architecture, self.stack.tensor_parallel
        tokens = self.new_tokens * self.batch_size
        products = [*self._attention_products(tokens), *self._ffn_products(tokens, with_experts)]
        attended = self._attended(window_share)
        scores = tokens * attended * (0.5 if self.traits.skips_future else 1.0)
        scores = np.where(self.new_tokens > 1.0, scores, tokens * attended)
        heads = a.num_heads / split
        values = a.value_head_size or a.head_size
        kv_split = 1 if a.kv_lora_rank else min(split, a.num_kv_heads)
        per_element = activation_bytes(self.stack.dtype)
        cached = a.kv_elements_per_token() / a.num_layers
        weights = sum(np.asarray(p.count) * p.n * p.k for p in products)
        return LayerWork(
            num_layers=num_layers,
            tile_flops=np.stack([self._tile_flops(product) for product in products], axis=1),
            is_misaligned=np.array([float(p.n % 2 == 1 or p.k % 2 == 1) for p in products]),
            weight_bytes=np.broadcast_to(np.asarray(weights) * weight_bytes(self.stack.dtype), tokens.shape),
            cache_bytes=self.batch_size * attended * cached / kv_split * per_element * (self.new_tokens == 1.0),
            attention_flops=2.0 * heads * (a.head_size + values) * scores,
            elementwise_bytes=self._elementwise_bytes(tokens, with_experts) + self._score_bytes() * heads * scores,
            reduce_bytes=4.0 * (split - 1) / split * tokens * a.hidden_size * per_element,
        )

    def _attended(self, window_share: float) -> FloatArray:
        window = self.architecture.sliding_window or np.inf
        seen = np.minimum(self.context_tokens, window)
        return np.asarray(window_share * seen + (1.0 - window_share) * self.context_tokens)

    def _score_bytes(self) -> float:
        fused = (self.architecture.num_heads // self.stack.tensor_parallel) % 4 == 0
        return self.traits.score_bytes if fused else self.traits.score_bytes_unfused

    def _elementwise_bytes(self, tokens: FloatArray, with_experts: bool) -> FloatArray:
        """Count the bytes moved outside matrix products.

        Norms and residuals are computed on every accelerator; projections, rotary positions and activations are split.
        """
        a, split = self.architecture, self.stack.tensor_parallel
        inner = a.dense_layer_ffn_size
        if with_experts:
            inner = a.ffn_size * a.num_active_experts + a.shared_ffn_size
        projected = 2 * (a.num_heads + a.num_kv_heads) * a.head_size
        activations = (3 if a.gated_ffn else 2) * inner
        half = activation_bytes(self.stack.dtype)
        return np.asarray(tokens * half * (10.0 * a.hidden_size + (2.25 * projected + activations) / split))

    def _attention_products(self, tokens: FloatArray) -> list[_Product]:
        a, split = self.architecture, self.stack.tensor_parallel
        values = a.value_head_size or a.head_size
        output = _Product(tokens, a.hidden_size, a.num_heads * values / split)
        if not a.kv_lora_rank:
            kv_heads = a.num_kv_heads / min(split, a.num_kv_heads)
            columns = a.num_heads * a.head_size / split + kv_heads * (a.head_size + values)
            return [_Product(tokens, columns, a.hidden_size), output]
        queries = a.num_heads * a.head_size / split
        expanded = a.num_heads * (a.head_size - a.rope_head_size + values) / split
        compressed = a.kv_lora_rank + a.rope_head_size + a.q_lora_rank
        return [
            _Product(tokens, compressed, a.hidden_size),
            _Product(tokens, queries, a.q_lora_rank or a.hidden_size),
            _Product(tokens, expanded, a.kv_lora_rank),
            output,
        ]

    def _ffn_products(self, tokens: FloatArray, with_experts: bool) -> list[_Product]:
        a = self.architecture
        if not with_experts:
            return self._ffn(tokens, a.dense_layer_ffn_size)
        # with uniform routing, this many experts of a layer are chosen, and they share the tokens
        unchosen = 1.0 - a.num_active_experts / a.num_experts
        chosen = a.num_experts * (1.0 - unchosen**tokens)
        products = self._ffn(tokens * a.num_active_experts / chosen, a.ffn_size, chosen)
        if a.shared_ffn_size:
            products += self._ffn(tokens, a.shared_ffn_size)
        return products

    def _ffn(self, tokens: FloatArray, width: int, count: ArrayLike = 1.0) -> list[_Product]:
        hidden, inner = self.architecture.hidden_size, width / self.stack.tensor_parallel
        gates = 2 if self.architecture.gated_ffn else 1
        return [_Product(tokens, gates * inner, hidden, count), _Product(tokens, hidden, inner, count)]

    def _tile_flops(self, product: _Product) -> FloatArray:
        """Return the FLOPs of whole waves for each tile size, shape (tiles, passes).

        If the number of processors is unknown, return the exact FLOPs as one size.
        """
        count, processors = np.asarray(product.count), self.spec.num_processors
        if not processors:
            return np.array([2.0 * count * product.m * product.n * product.k])
        flops = []
        for rows, columns in TILES:
            tiles = count * np.ceil(product.m / rows) * np.ceil(product.n / columns)
            flops.append(2.0 * np.ceil(tiles / processors) * processors * rows * columns * product.k)
        return np.array(flops)
