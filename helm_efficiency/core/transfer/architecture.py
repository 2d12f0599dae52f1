"""Sizes of a language model, in the terms of a transformers config.

Runtime does not depend on the values of the weights, only on these sizes, so that one measured model is informative
about another. Only matrices are counted: biases and norms, below a thousandth of any model here, are left out.
"""

from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any, Self

from helm_efficiency.core.checked import checked
from helm_efficiency.core.transfer.transformers_config import sizes_from_config
from helm_efficiency.errors import InputError

_SAME_VOCABULARY_FRACTION = 0.05
"""Vocabularies within this of each other count as the same: below 1 % of the weights of any model of 7B or more."""

_NOT_LAYERS = ("name", "excluded", "vocab_size", "num_positions", "tied_embeddings")
_POSITIVE = ("num_layers", "hidden_size", "num_heads", "num_kv_heads", "head_size", "ffn_size", "vocab_size")


@dataclass(frozen=True, slots=True)
class Architecture:
    """Sizes of a decoder-only transformer.

    Attributes:
        name: Name of the architecture, such as `llama-3.1-8b`.
        num_layers: Number of transformer blocks.
        hidden_size: Width of the residual stream.
        num_heads: Number of query heads.
        num_kv_heads: Number of key-value heads: equal to `num_heads` for MHA, 1 for MQA, between for GQA.
        head_size: Width of one query (and key) head.
        ffn_size: Inner width of one feed-forward network (of one expert, for MoE).
        vocab_size: Rows of the embedding, padding included.
        gated_ffn: True for three matrices in the feed-forward network (SwiGLU, GeGLU), False for two.
        num_experts: Experts per layer; 0 for a dense model.
        num_active_experts: Experts per layer that a token goes through; 0 for a dense model.
        sliding_window: Attention window in tokens; 0 for full attention.
        tied_embeddings: True if input and output embeddings share weights.
        value_head_size: Width of one value head; 0 for that of the query head.
        num_full_attention_layers: Layers that attend to the whole context although there is a window.
        num_positions: Rows of a learned position embedding; 0 for rotary, ALiBi or none.
        num_dense_layers: Layers of a MoE model that have one feed-forward network and no experts.
        dense_ffn_size: Inner width of that network; 0 for that of an expert.
        shared_ffn_size: Inner width that every token goes through in addition to its experts (shared experts, dense
            residual).
        kv_lora_rank: MLA: width of the compressed keys and values, which is what is cached; 0 for no MLA.
        q_lora_rank: MLA: width of the compressed queries; 0 for uncompressed.
        rope_head_size: MLA: part of `head_size` with rotary positions, shared by all key heads and cached once.
        excluded: Parts of the model that these sizes leave out, such as a vision tower; empty for none.
    """

    name: str
    num_layers: int
    hidden_size: int
    num_heads: int
    num_kv_heads: int
    head_size: int
    ffn_size: int
    vocab_size: int
    gated_ffn: bool = False
    num_experts: int = 0
    num_active_experts: int = 0
    sliding_window: int = 0
    tied_embeddings: bool = False
    value_head_size: int = 0
    num_full_attention_layers: int = 0
    num_positions: int = 0
    num_dense_layers: int = 0
    dense_ffn_size: int = 0
    shared_ffn_size: int = 0
    kv_lora_rank: int = 0
    q_lora_rank: int = 0
    rope_head_size: int = 0
    excluded: str = ""

    def __post_init__(self) -> None:
        for what in _POSITIVE:
            if getattr(self, what) < 1:
                raise InputError(f"Architecture {self.name!r}: {what} is {getattr(self, what)}, expected 1 or more.")
        for what, most in (
            ("num_kv_heads", self.num_heads),
            ("num_active_experts", self.num_experts),
            ("num_full_attention_layers", self.num_layers),
            ("num_dense_layers", self.num_layers),
            ("rope_head_size", self.head_size),
        ):
            if getattr(self, what) > most:
                raise InputError(
                    f"Architecture {self.name!r}: {what} is {getattr(self, what)}, at most {most} expected."
                )
        if self.num_experts and not self.num_active_experts:
            raise InputError(f"Architecture {self.name!r}: {self.num_experts} experts, but num_active_experts is 0.")

    @property
    def num_expert_layers(self) -> int:
        """Layers with a mixture of experts; 0 for a dense model."""
        return self.num_layers - self.num_dense_layers if self.num_experts else 0

    @property
    def dense_layer_ffn_size(self) -> int:
        """Inner width of the feed-forward network of a layer without experts."""
        return (self.dense_ffn_size if self.num_experts else 0) or self.ffn_size

    def attention_parameters(self) -> int:
        """Count the weights of the attention of one layer."""
        values = self.value_head_size or self.head_size
        output = self.num_heads * values * self.hidden_size
        if not self.kv_lora_rank:
            query = self.hidden_size * self.num_heads * self.head_size
            return query + self.hidden_size * self.num_kv_heads * (self.head_size + values) + output
        queries = self.num_heads * self.head_size
        rank = self.q_lora_rank
        query = rank * (self.hidden_size + queries) if rank else self.hidden_size * queries
        compress = self.hidden_size * (self.kv_lora_rank + self.rope_head_size)
        expand = self.kv_lora_rank * self.num_heads * (self.head_size - self.rope_head_size + values)
        return query + compress + expand + output

    def ffn_parameters(self, num_experts: float) -> float:
        """Count the weights of all feed-forward networks, with `num_experts` experts in each layer that has some."""
        matrices = (3 if self.gated_ffn else 2) * self.hidden_size
        experts = num_experts * self.ffn_size + self.shared_ffn_size
        layers = self.num_expert_layers
        router = self.hidden_size * self.num_experts
        return (
            layers * (matrices * experts + router) + (self.num_layers - layers) * matrices * self.dense_layer_ffn_size
        )

    def embedding_parameters(self) -> int:
        """Count the weights of one embedding matrix: the input one, or the output one if it is separate."""
        return self.vocab_size * self.hidden_size

    def num_parameters(self) -> int:
        """Count all weights, which have to fit into memory."""
        return self._parameters(self.num_experts)

    def num_active_parameters(self) -> int:
        """Count the weights except experts that a token does not go through, as publishers count active parameters."""
        return self._parameters(self.num_active_experts)

    def num_multiplied_parameters(self, tokens: int = 1) -> float:
        """Count the weights that a forward pass reads, without the input embedding and with only the chosen experts.

        With uniform routing, n tokens choose num_experts * (1 - (1 - active/num_experts)^n) different experts a layer.

        Args:
            tokens: Tokens in the forward pass, over all rows of the batch.
        """
        experts = self.num_experts
        chosen = experts * (1.0 - (1.0 - self.num_active_experts / experts) ** tokens) if experts else 0.0
        return self.num_layers * self.attention_parameters() + self.ffn_parameters(chosen) + self.embedding_parameters()

    def kv_elements_per_token(self) -> int:
        """Count the numbers cached for each token of context, over all layers, before any window is full."""
        return self.num_layers * self._kv_elements_per_layer()

    def kv_bytes(self, context_tokens: int, bytes_per_element: float = 2.0) -> float:
        """Return the bytes of the key-value cache of one sequence; windowed layers keep at most their window.

        Args:
            context_tokens: Tokens in the context.
            bytes_per_element: Bytes of one cached number: 2 for fp16 and bf16, 1 for fp8.
        """
        windowed = self.num_layers - self.num_full_attention_layers if self.sliding_window else 0
        tokens = (self.num_layers - windowed) * context_tokens + windowed * min(context_tokens, self.sliding_window)
        return tokens * self._kv_elements_per_layer() * bytes_per_element

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Self:
        """Read plain JSON values.

        Raises:
            InputError: A size is missing, unknown or not positive.
        """
        try:
            return checked(cls(**data))
        except TypeError as error:
            raise InputError(f"Not an architecture of this package: {error}.") from error

    @classmethod
    def from_transformers_config(cls, config: Mapping[str, Any], *, name: str = "") -> Self:
        """Read the sizes from a transformers config (`config.json`, or `PretrainedConfig.to_dict()`).

        Args:
            config: Config published with the weights. If the model is multimodal, the text part is read and `excluded`
                says so.
            name: Name of the architecture; by default the config's own `_name_or_path` or `model_type`.

        Raises:
            InputError: A size is missing (the message names the key), or the model is an encoder, a diffusion model or
                has state-space or linear-attention layers; this package does not model their runtime.
        """
        own_name = name or str(config.get("_name_or_path") or config.get("model_type") or "unnamed")
        try:
            return checked(cls(name=own_name, **sizes_from_config(config)))
        except (TypeError, ValueError, AttributeError, LookupError, ArithmeticError, RecursionError) as error:
            raise InputError(f"Config of {own_name!r}: a size is not what it should be: {error}.") from error

    def _parameters(self, num_experts: int) -> int:
        embeddings = self.embedding_parameters() * (1 if self.tied_embeddings else 2)
        positions = self.num_positions * self.hidden_size
        layers = self.num_layers * self.attention_parameters() + self.ffn_parameters(num_experts)
        return int(layers + embeddings + positions)

    def _kv_elements_per_layer(self) -> int:
        if self.kv_lora_rank:
            return self.kv_lora_rank + self.rope_head_size
        return self.num_kv_heads * (self.head_size + (self.value_head_size or self.head_size))


def have_same_layers(one: Architecture, other: Architecture) -> bool:
    """Return whether two architectures run alike: equal sizes of all layers, vocabularies within 5 %."""
    is_close = abs(one.vocab_size / other.vocab_size - 1.0) <= _SAME_VOCABULARY_FRACTION
    return is_close and all(
        getattr(one, field.name) == getattr(other, field.name)
        for field in fields(Architecture)
        if field.name not in _NOT_LAYERS
    )
