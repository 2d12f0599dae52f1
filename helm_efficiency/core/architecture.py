"""What a language model is made of, in the terms of a transformers config.

Runtime does not depend on the values of the weights, only on these sizes; so they are what one measured model says
about another.
"""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, Self

from helm_efficiency.errors import InputError


@dataclass(frozen=True, slots=True)
class Architecture:
    """Sizes of a decoder-only transformer.

    Attributes:
        name: Such as `llama-3.1-8b`.
        num_layers: Transformer blocks.
        hidden_size: Width of the residual stream.
        num_heads: Query heads.
        num_kv_heads: Key-value heads: equal to `num_heads` for MHA, 1 for MQA, between for GQA.
        head_size: Width of one head.
        ffn_size: Inner width of one feed-forward network (of one expert, for MoE).
        vocab_size: Rows of the embedding, padding included.
        gated_ffn: Three matrices in the feed-forward network (SwiGLU, GeGLU) rather than two.
        num_experts: Experts a layer; 0 for a dense model.
        num_active_experts: Experts a token goes through; 0 for a dense model.
        sliding_window: Attention window in tokens; 0 for full attention.
        tied_embeddings: Whether input and output embeddings share weights.
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

    def __post_init__(self) -> None:
        for what in ("num_layers", "hidden_size", "num_heads", "num_kv_heads", "head_size", "ffn_size", "vocab_size"):
            if getattr(self, what) < 1:
                raise InputError(f"Architecture {self.name!r}: {what} is {getattr(self, what)}, expected 1 or more.")

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON values; `from_dict` reads them back."""
        return asdict(self)

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Self:
        """Read what `to_dict` wrote.

        Raises:
            InputError: A size is missing, unknown or not positive.
        """
        try:
            return cls(**data)
        except TypeError as error:
            raise InputError(f"Not an architecture of this package: {error}.") from error
