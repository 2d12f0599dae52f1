"""How one request is run and timed in transformers: the engines, each a software stack of its own.

Both engines call `generate`, because that is what people run: HELM's Hugging Face client, `transformers serve` and a
user's own script all do. A hand-written loop would be a little faster and would measure software that nobody uses; it
would also have to repeat what `generate` decides for each family (cache classes, expert kernels, masks).

`generate` is forced to exact lengths: without an end-of-sequence token in its config nothing stops it before
`max_new_tokens`. The first token is seen through a stopping criterion, which `generate` calls after each token, so
that prefill and decode are told apart within one request.
"""

import time
from typing import Any, NamedTuple, Protocol

import torch
from transformers import GenerationConfig, StoppingCriteriaList

from helm_efficiency.errors import ProfilingError
from helm_efficiency.profiling.cells import Cell


class Timing(NamedTuple):
    """One timed request: seconds to the first token, and to the last."""

    ttft_s: float
    seconds: float


class Engine(Protocol):
    """Runs one request of a given shape and times it."""

    def run(self, prompt: Any, cell: Cell) -> Timing:
        """Time one request; `prompt` holds token ids, (batch_size, prompt_tokens), on the model's device."""


def synchronize(device: torch.device) -> None:
    """Wait until the device has done all that was queued; without this a clock read on CUDA means nothing."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)


class EagerEngine:
    """`generate` with a growing cache, one kernel launch after another."""

    def __init__(self, model: Any) -> None:
        self._model = model
        # An empty config: a model's own would stop at its end-of-sequence token or sample.
        model.generation_config = GenerationConfig()

    def run(self, prompt: Any, cell: Cell) -> Timing:
        """Time one request.

        Raises:
            ProfilingError: The engine did not generate exactly what was asked for.
        """
        device = prompt.device
        first_token_at: list[float] = []
        never = torch.zeros(cell.batch_size, dtype=torch.bool, device=device)

        def see_first_token(_ids: Any, _scores: Any, **_: Any) -> Any:
            if not first_token_at:
                synchronize(device)
                first_token_at.append(time.perf_counter())
            return never

        config = GenerationConfig(max_new_tokens=cell.output_tokens, do_sample=False, use_cache=True)
        synchronize(device)
        start = time.perf_counter()
        with torch.inference_mode():
            generated = self._model.generate(
                prompt,
                attention_mask=torch.ones_like(prompt),
                generation_config=config,
                stopping_criteria=StoppingCriteriaList([see_first_token]),
            )
        synchronize(device)
        end = time.perf_counter()
        if tuple(generated.shape) != (cell.batch_size, cell.prompt_tokens + cell.output_tokens):
            raise ProfilingError(
                f"{type(self._model).__name__} returned {tuple(generated.shape)} tokens for {cell}, expected "
                f"{(cell.batch_size, cell.prompt_tokens + cell.output_tokens)}; it cannot be profiled."
            )
        return Timing(first_token_at[0] - start, end - start)
