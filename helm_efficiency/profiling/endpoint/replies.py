"""What servers answer, read by types: counts, text and errors, or one line that says why an answer is not usable.

Counts are what coefficients are fitted to, so none is believed that contradicts what was asked for or what arrived.
"""

from dataclasses import dataclass
from typing import Annotated, Any

import msgspec

from helm_efficiency.profiling.cells import CellRefusedError

_Count = Annotated[int, msgspec.Meta(ge=0, le=10**9)]
_Milliseconds = Annotated[float, msgspec.Meta(ge=0, le=1e12)]


@dataclass(frozen=True, slots=True)
class Reply:
    """What came of one request.

    Attributes:
        seconds: Sent to last byte.
        prompt_tokens: As the server counts them.
        output_tokens: As the server counts them, reasoning included.
        ttft_s: Sent to first text; None if not streamed, or if no text came.
        gaps_s: Times between chunks with text.
        cached_tokens: Prompt tokens that the server took from its prefix cache, if it says so.
        retries: Attempts before the one that was timed.
        engine_s: Prefill and decode (s) as the engine took them, if it tells them with the answer.
        sent_s: Reading of `time.perf_counter` when it was sent.
    """

    seconds: float
    prompt_tokens: int
    output_tokens: int
    ttft_s: float | None = None
    gaps_s: tuple[float, ...] = ()
    cached_tokens: int = 0
    retries: int = 0
    engine_s: tuple[float, float] | None = None
    sent_s: float = 0.0


class _PromptDetails(msgspec.Struct):
    cached_tokens: _Count | None = None


class Usage(msgspec.Struct):
    """Tokens of one request as the server counts them.

    Attributes:
        prompt_tokens: Of the prompt, template included.
        completion_tokens: Of the output, reasoning included.
        prompt_tokens_details: How many of the prompt came from a cache, if the server says so.
    """

    prompt_tokens: _Count | None = None
    completion_tokens: _Count | None = None
    prompt_tokens_details: _PromptDetails | None = None

    def cached_tokens(self) -> int:
        """Prompt tokens from the server's prefix cache, as far as it says so."""
        details = self.prompt_tokens_details
        return (details.cached_tokens or 0) if details else 0


class _Timings(msgspec.Struct):
    """llama.cpp's own times of one request."""

    prompt_ms: _Milliseconds
    predicted_ms: _Milliseconds
    cache_n: _Count = 0


class _Delta(msgspec.Struct):
    content: str | None = None
    reasoning_content: str | None = None
    reasoning: str | None = None


class _Choice(msgspec.Struct):
    text: str | None = None
    delta: _Delta | None = None


class Event(msgspec.Struct):
    """One event of a stream, or a whole answer that is not streamed.

    Attributes:
        choices: What it brings of each completion.
        usage: Counts, which come with the last event.
        error: What went wrong.
        timings: The engine's own times, from llama.cpp with the last event.
    """

    choices: list[_Choice] | None = None
    usage: Usage | None = None
    error: Any = None
    timings: _Timings | None = None

    def has_text(self) -> bool:
        """Whether it brings text, visible or reasoning, rather than a role or a count."""
        for choice in self.choices or ():
            delta = choice.delta or _Delta()
            if choice.text or delta.content or delta.reasoning_content or delta.reasoning:
                return True
        return False


_DECODER = msgspec.json.Decoder(Event)


def decode_event(data: bytes) -> Event:
    """An event, or a whole answer, from its JSON.

    Raises:
        CellRefusedError: It is not JSON, or not of this form.
    """
    try:
        return _DECODER.decode(data)
    except (msgspec.DecodeError, RecursionError, UnicodeDecodeError) as error:
        raise CellRefusedError(f"the server answers what cannot be read: {error}.") from error


def check_pieces(num_pieces: int, output_tokens: int) -> None:
    """Refuse an answer in more pieces than its tokens, which each has one of: it ran on, or was counted wrongly.

    One more may bring what was held back of half a character.

    Raises:
        CellRefusedError: It came in more.
    """
    if num_pieces > output_tokens + 1:
        raise CellRefusedError(f"the server sent {num_pieces} pieces of text for {output_tokens} output tokens.")


def check_usage(usage: Usage | None, *, asked_output_tokens: int, num_chunks: int) -> tuple[int, int]:
    """(prompt tokens, output tokens) of an answer, if they can be true.

    Args:
        usage: As the server states them.
        asked_output_tokens: Most that it was to generate.
        num_chunks: Chunks with text that arrived; 0 if the answer was not streamed.

    Raises:
        CellRefusedError: It states none, or such as contradict what was asked for or what arrived.
    """
    if usage is None or usage.prompt_tokens is None or usage.completion_tokens is None:
        raise CellRefusedError(
            "the server does not say how many tokens it used (usage), and chunks are not tokens. Try --no-stream."
        )
    prompt, output, cached = usage.prompt_tokens, usage.completion_tokens, usage.cached_tokens()
    if prompt < 1 or output < 1:
        raise CellRefusedError(f"the server counts {prompt} prompt and {output} output tokens; expected 1 or more.")
    if output > asked_output_tokens:
        raise CellRefusedError(f"the server counts {output} output tokens where {asked_output_tokens} were asked for.")
    check_pieces(num_chunks, output)
    if cached > prompt:
        raise CellRefusedError(f"the server took {cached} of {prompt} prompt tokens from its cache.")
    return prompt, output
