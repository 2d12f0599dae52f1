"""Find the number of accelerators that a model needs, by one stated rule.

    weights   = parameters * bytes of the stack's dtype, split evenly over all accelerators
    kv_cache  = key-value cache of `batch_size` sequences of `context_tokens`, split over the accelerators of a node by
                key-value head (a head is never split, and MLA's compressed cache is kept whole on each) and over the
                nodes by layer
    workspace = a tenth of each accelerator: activations, kernels, communication buffers, fragmentation

The rule takes the smallest count for which the three fit: a power of two inside one node (tensor parallel), whole nodes
above (pipeline parallel over the nodes). vLLM's default `gpu_memory_utilization` of 0.9 leaves the same tenth. The
paper does not state a rule; its own counts are kept by name in the catalog (`catalog.reference_results`).
"""

from collections.abc import Iterator
from dataclasses import dataclass

from helm_efficiency.core.transfer.architecture import Architecture
from helm_efficiency.errors import InputError

BYTES_PER_PARAMETER = {
    "fp32": 4.0,
    "tf32": 4.0,
    "fp16": 2.0,
    "bf16": 2.0,
    "fp8": 1.0,
    "int8": 1.0,
    "int4": 0.5,
    "fp4": 0.5,
}
"""Bytes of a weight by dtype, without the scales of quantized formats."""

WORKSPACE_FRACTION = 0.1


@dataclass(frozen=True, slots=True)
class Serving:
    """Conditions under which a model is served.

    Attributes:
        dtype: Precision of the weights, a key of `BYTES_PER_PARAMETER`.
        context_tokens: Prompt and output tokens of the longest request together.
        batch_size: Sequences cached at once.
        kv_bytes_per_element: Bytes of one cached number: 2 for fp16 and bf16, 1 for fp8.
    """

    dtype: str = "bf16"
    context_tokens: int = 2048
    batch_size: int = 1
    kv_bytes_per_element: float = 2.0

    def __post_init__(self) -> None:
        if self.dtype not in BYTES_PER_PARAMETER:
            raise InputError(f"Unknown dtype {self.dtype!r}. Known: {', '.join(BYTES_PER_PARAMETER)}.")
        if self.context_tokens < 1 or self.batch_size < 1 or not self.kv_bytes_per_element > 0:
            raise InputError(
                f"context_tokens {self.context_tokens}, batch_size {self.batch_size} and kv_bytes_per_element "
                f"{self.kv_bytes_per_element} must be above 0."
            )


@dataclass(frozen=True, slots=True)
class Placement:
    """A model on accelerators, with the bytes that each of them holds.

    Attributes:
        tensor_parallel: Accelerators of a node that share each layer.
        pipeline_parallel: Nodes that share the layers.
        weights_bytes: Weights on one accelerator.
        kv_cache_bytes: Key-value cache on one accelerator.
        workspace_bytes: Workspace on one accelerator.
        memory_bytes: Memory capacity of one accelerator.
    """

    tensor_parallel: int
    pipeline_parallel: int
    weights_bytes: float
    kv_cache_bytes: float
    workspace_bytes: float
    memory_bytes: float

    @property
    def num_accelerators(self) -> int:
        """Number of accelerators that one instance of the model occupies."""
        return self.tensor_parallel * self.pipeline_parallel

    @property
    def margin_bytes(self) -> float:
        """Free memory of each accelerator; negative if the model does not fit."""
        return self.memory_bytes - self.weights_bytes - self.kv_cache_bytes - self.workspace_bytes


def place_model(architecture: Architecture, serving: Serving, *, memory_bytes: float, node_size: int = 8) -> Placement:
    """Find the fewest accelerators that hold a model.

    Returns:
        The smallest placement with a margin of 0 or more.

    Raises:
        InputError: The model does not fit on any number of nodes up to one for each layer.
    """
    for tensor, pipeline in _counts(node_size, architecture.num_layers):
        placement = place_on(architecture, serving, memory_bytes, (tensor, pipeline))
        if placement.margin_bytes >= 0:
            return placement
    most = architecture.num_layers * node_size
    raise InputError(
        f"{architecture.name} in {serving.dtype} with {serving.batch_size} × {serving.context_tokens} tokens of "
        f"context does not fit on {most} accelerators of {memory_bytes / 1e9:g} GB (one node of {node_size} a layer). "
        "Ask for less context, a smaller batch or dtype, or larger accelerators."
    )


def _counts(node_size: int, most_nodes: int) -> Iterator[tuple[int, int]]:
    """Yield pairs of (tensor_parallel, pipeline_parallel) from small to large."""
    tensor = 1
    while tensor < node_size:
        yield tensor, 1
        tensor *= 2
    for nodes in range(1, most_nodes + 1):
        yield node_size, nodes


def place_on(architecture: Architecture, serving: Serving, memory_bytes: float, ways: tuple[int, int]) -> Placement:
    """Return the placement of a model in `ways` of (tensor_parallel, pipeline_parallel), whether it fits or not."""
    tensor, pipeline = ways
    weights = architecture.num_parameters() * BYTES_PER_PARAMETER[serving.dtype]
    cache = serving.batch_size * architecture.kv_bytes(serving.context_tokens, serving.kv_bytes_per_element)
    heads = 1 if architecture.kv_lora_rank else architecture.num_kv_heads
    return Placement(
        tensor_parallel=tensor,
        pipeline_parallel=pipeline,
        weights_bytes=weights / (tensor * pipeline),
        kv_cache_bytes=cache / (min(tensor, heads) * pipeline),
        workspace_bytes=WORKSPACE_FRACTION * memory_bytes,
        memory_bytes=memory_bytes,
    )
