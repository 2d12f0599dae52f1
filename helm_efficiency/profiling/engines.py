"""Run and time one request in transformers: the engines, each a software stack of its own.

Both engines call `generate`, because HELM's Hugging Face client, `transformers serve` and users' own scripts all call
it. A hand-written loop would be a little faster and would measure software that nobody uses; it would also have to
repeat the decisions of `generate` for each family (cache classes, expert kernels, masks).

`generate` is forced to exact lengths: without an end-of-sequence token in its config nothing stops it before
`max_new_tokens`. A stopping criterion, which `generate` calls after each token, records the time of the first token.
It separates prefill from decode within one request.
"""

import importlib
import time
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple, Protocol

import torch
from transformers import CompileConfig, GenerationConfig, StaticCache, StoppingCriteriaList

from helm_efficiency.errors import InputError, ProfilingError
from helm_efficiency.profiling.cells import Cell

_MIN_STATIC_CACHE_TOKENS = 128
_MAX_COMPILED_SHAPES = 64


class Timing(NamedTuple):
    """Seconds of one timed request: to the first token, and to the last one."""

    ttft_s: float
    seconds: float


class Engine(Protocol):
    """Runs one request of a given shape and times it."""

    def warmups(self, cell: Cell) -> int:
        """Return how many runs of a cell the engine needs to reach its full speed, if this cell comes next."""

    def run(self, prompt: torch.Tensor, cell: Cell) -> Timing:
        """Time one request; `prompt` holds token ids of shape (batch_size, prompt_tokens) on the model's device."""

    def release(self) -> None:
        """Free the memory that the engine keeps between requests."""


def synchronize(device: torch.device) -> None:
    """Wait until the device has finished all queued work; without this, a clock read on CUDA means nothing."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)


class EagerEngine:
    """Engine that calls `generate` with a growing cache and launches one kernel after another."""

    def __init__(self, model: Any) -> None:
        self._model = model

    def warmups(self, cell: Cell) -> int:
        """Return 1: the first run of a shape allocates memory."""
        return 1

    def run(self, prompt: torch.Tensor, cell: Cell) -> Timing:
        """Time one request.

        Raises:
            ProfilingError: The model did not generate exactly the tokens that were asked for.
        """
        return _timed_generate(self._model, prompt, cell)

    def release(self) -> None:
        """Do nothing: this engine keeps no memory between requests."""


class CompiledEngine:
    """Engine that calls `generate` with a static cache and decode steps of torch.compile, as CUDA graphs on CUDA.

    The size of the cache is the tokens of the cell, rounded up to a power of two, so that few shapes are compiled. The
    cache is kept from one repetition to the next, since a new one would be recorded into a new graph. It is emptied
    outside of the timing.
    """

    def __init__(self, model: Any) -> None:
        self._model = model
        self._cache: Any = None
        self._cache_shape = (0, 0)
        self._has_decoded = False  # with this cache
        # Beyond its limit, torch.compile would silently run a new shape without compiling it.
        dynamo = importlib.import_module("torch._dynamo")
        dynamo.config.recompile_limit = _MAX_COMPILED_SHAPES
        dynamo.config.fail_on_recompile_limit_hit = True
        # transformers compiles by default on accelerators only; on the CPU it has to be asked to.
        self._compile_config = CompileConfig(mode="reduce-overhead" if model.device.type == "cuda" else "default")
        self._compile_config._compile_all_devices = True

    def warmups(self, cell: Cell) -> int:
        """Return 3 for the first decoding with a cache (compile, record the graph, replay it), else 1."""
        ready = self._cache_shape == (cell.batch_size, static_cache_tokens(cell)) and self._has_decoded
        return 1 if ready or cell.output_tokens == 1 else 3

    def run(self, prompt: torch.Tensor, cell: Cell) -> Timing:
        """Time one request.

        Raises:
            ProfilingError: transformers cannot compile this model, or it did not generate the tokens asked for.
        """
        shape = (cell.batch_size, static_cache_tokens(cell))
        if shape != self._cache_shape:
            self.release()
            self._cache = StaticCache(config=self._model.config.get_text_config(decoder=True), max_cache_len=shape[1])
            self._cache_shape = shape
        self._cache.reset()
        settings = {"compile_config": self._compile_config}
        timing = _timed_generate(self._model, prompt, cell, settings=settings, cache=self._cache)
        if cell.output_tokens > 1 and getattr(self._model, "_compiled_call", None) is None:
            raise ProfilingError(
                f"transformers does not compile {type(self._model).__name__} (its cache or its quantization cannot be "
                "compiled). Profile it with --engine transformers-eager."
            )
        self._has_decoded |= cell.output_tokens > 1
        return timing

    def release(self) -> None:
        """Free the cache."""
        self._cache, self._cache_shape, self._has_decoded = None, (0, 0), False


ENGINES: Mapping[str, Callable[[Any], Engine]] = {
    "transformers-eager": EagerEngine,
    "transformers-compiled": CompiledEngine,
}


def make_engine(name: str, model: Any) -> Engine:
    """Make the engine with a name for a model; the model's own generation settings (stop tokens, sampling) are dropped.

    Raises:
        InputError: The engine is unknown.
    """
    if name not in ENGINES:
        raise InputError(f"Engine {name!r}: expected one of {', '.join(ENGINES)}.")
    model.generation_config = GenerationConfig()
    return ENGINES[name](model)


def static_cache_tokens(cell: Cell) -> int:
    """Return the number of tokens that the static cache of a cell has room for.

    >>> static_cache_tokens(Cell(1, 16)), static_cache_tokens(Cell(1000, 24)), static_cache_tokens(Cell(1000, 25))
    (128, 1024, 2048)
    """
    tokens = cell.prompt_tokens + cell.output_tokens
    return max(_MIN_STATIC_CACHE_TOKENS, 1 << (tokens - 1).bit_length())


def _timed_generate(
    model: Any, prompt: torch.Tensor, cell: Cell, *, settings: Mapping[str, Any] | None = None, cache: Any = None
) -> Timing:
    device = prompt.device
    first_token_at: list[float] = []
    never = torch.zeros(cell.batch_size, dtype=torch.bool, device=device)

    def see_first_token(_ids: torch.Tensor, _scores: Any, **_: Any) -> torch.Tensor:
        if not first_token_at:
            synchronize(device)
            first_token_at.append(time.perf_counter())
        return never

    config = GenerationConfig(max_new_tokens=cell.output_tokens, do_sample=False, use_cache=True, **(settings or {}))
    mask = torch.ones_like(prompt)
    given_cache = {} if cache is None else {"past_key_values": cache}
    synchronize(device)
    start = time.perf_counter()
    generated = model.generate(
        prompt,
        attention_mask=mask,
        generation_config=config,
        stopping_criteria=StoppingCriteriaList([see_first_token]),
        **given_cache,
    )
    synchronize(device)
    end = time.perf_counter()
    wanted = (cell.batch_size, cell.prompt_tokens + cell.output_tokens)
    if tuple(generated.shape) != wanted:
        raise ProfilingError(
            f"{type(model).__name__} returned {tuple(generated.shape)} tokens for {cell}, expected {wanted}; "
            "it cannot be profiled."
        )
    return Timing(first_token_at[0] - start, end - start)
