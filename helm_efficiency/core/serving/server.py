"""The limits and scheduling of a server, and the number of tokens that its key-value cache holds."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Self

from helm_efficiency.core.transfer.architecture import Architecture
from helm_efficiency.core.transfer.placement import Placement
from helm_efficiency.errors import InputError


@dataclass(frozen=True, slots=True)
class Speculation:
    """Speculative decoding: a draft proposes tokens, one pass of the model checks them all.

    A pass yields 1 + a + a^2 + … + a^k tokens, where k tokens are drafted and each is accepted with probability a
    (Leviathan et al., ICML 2023, equation 1). It costs as much as a pass of k + 1 times as many sequences, with their
    contexts read once, plus the draft.

    Attributes:
        draft_tokens: Tokens that the draft proposes for each pass.
        acceptance_fraction: Probability that a drafted token is accepted, given that those before it were.
        draft_s: Seconds that drafting takes for each pass.
    """

    draft_tokens: int
    acceptance_fraction: float
    draft_s: float = 0.0

    def __post_init__(self) -> None:
        if self.draft_tokens < 1 or not 0 <= self.acceptance_fraction <= 1 or not 0 <= self.draft_s < math.inf:
            raise InputError(
                f"Speculative decoding with {self.draft_tokens} drafted tokens, acceptance {self.acceptance_fraction} "
                f"and {self.draft_s} s a draft: expected 1 token or more, a fraction, and 0 s or more."
            )

    @property
    def tokens_per_pass(self) -> float:
        """Mean tokens that a pass yields for each sequence.

        >>> Speculation(draft_tokens=2, acceptance_fraction=0.5).tokens_per_pass
        1.75
        """
        return sum(self.acceptance_fraction**index for index in range(self.draft_tokens + 1))


@dataclass(frozen=True, slots=True)
class Server:
    """Limits of a server and its scheduling.

    Attributes:
        num_accelerators: Accelerators that one instance occupies.
        kv_tokens: Tokens that the key-value cache holds, of all sequences together.
        max_batch_size: Sequences that may run at once; None for four times the largest batch size that was measured.
        chunk_tokens: Prompt tokens that one pass takes at most. vLLM (H100 and above) and TensorRT-LLM default to
            8,192, SGLang to 8,192 or more. Half as many raise a time to the first token by 3 to 10 %.
        prefill_first: True if prompts run in passes of their own, before any decoding continues (SGLang's default).
            Otherwise they share decode passes (vLLM, TensorRT-LLM).
        speculation: Speculative decoding; None without it.
        reply_s: Seconds of a request outside the engine: network, tokenizer, front end.
        reply_steps: Decode steps for which the engine holds back the first token, to send several at once.
    """

    num_accelerators: int = 1
    kv_tokens: float = math.inf
    max_batch_size: int | None = None
    chunk_tokens: int = 8192
    prefill_first: bool = False
    speculation: Speculation | None = None
    reply_s: float = 0.0
    reply_steps: float = 0.0

    def __post_init__(self) -> None:
        if self.num_accelerators < 1 or self.chunk_tokens < 1 or not self.kv_tokens > 0:
            raise InputError(
                f"A server with {self.num_accelerators} accelerators, a cache of {self.kv_tokens} tokens and chunks of "
                f"{self.chunk_tokens} tokens: all must be above 0."
            )
        if not (0 <= self.reply_s < math.inf and 0 <= self.reply_steps < math.inf):
            raise InputError(f"reply_s {self.reply_s} and reply_steps {self.reply_steps}: expected 0 or more.")
        if self.max_batch_size is not None and self.max_batch_size < 1:
            raise InputError(f"max_batch_size is {self.max_batch_size}, expected 1 or more.")

    @property
    def tokens_per_pass(self) -> float:
        """Mean tokens that a decode pass yields for each sequence."""
        return self.speculation.tokens_per_pass if self.speculation else 1.0

    @classmethod
    def of_engine(cls, engine: str, *, num_accelerators: int = 1, kv_tokens: float = math.inf) -> Self:
        """Return a server with the scheduling of an engine; an unknown engine is treated like vLLM."""
        return cls(num_accelerators, kv_tokens, prefill_first="sglang" in engine.lower())

    def as_benchmarked(self, engine: str) -> Self:
        """Return the server with reply times from an engine's public benchmarks, to predict such a measurement."""
        reply_s, reply_steps = next((r for name, r in _REPLIES.items() if name in engine.lower()), _REPLIES["vllm"])
        return replace(self, reply_s=reply_s, reply_steps=reply_steps)


_REPLIES: Mapping[str, tuple[float, float]] = {
    "vllm": (0.037, 0.0),
    "trtllm": (0.1, 0.0),
    "tensorrt": (0.1, 0.0),
    "sglang": (0.02, 20.0),
}
"""`reply_s` and `reply_steps` of public benchmarks: those with the least median error over the closed loops that
`benchmarks/modern.py` learns from. InferenceX lets SGLang look for new requests every 10 or 30 steps, and send
tokens in groups of 30 (`--scheduler-recv-interval`, `--stream-interval`); other servers reply sooner.
"""


DEFAULT_SERVER = Server()
"""One accelerator, a cache without limit and the scheduling of vLLM."""


def kv_cache_tokens(
    architecture: Architecture, placement: Placement, *, context_tokens: int, kv_bytes_per_element: float = 2.0
) -> float:
    """Return how many cached tokens fit in addition to weights and workspace, over all accelerators of a placement.

    Args:
        architecture: Architecture of the model.
        placement: Placement of the model; its own key-value cache is ignored.
        context_tokens: Typical context; with sliding windows a long context takes fewer bytes per token.
        kv_bytes_per_element: Bytes of one cached number: 2 for fp16 and bf16, 1 for fp8.
    """
    heads = 1 if architecture.kv_lora_rank else architecture.num_kv_heads
    ways = min(placement.tensor_parallel, heads) * placement.pipeline_parallel
    free_bytes = placement.memory_bytes - placement.weights_bytes - placement.workspace_bytes
    bytes_per_token = architecture.kv_bytes(context_tokens, kv_bytes_per_element) / context_tokens
    return max(free_bytes, 0.0) * ways / bytes_per_token
