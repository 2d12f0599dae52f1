"""Decode the answers of servers into types: counts, text and errors, or one line that says why one is not usable.

Coefficients are fitted to the counts, so a count that contradicts the request or the received text is refused.
"""

from dataclasses import dataclass
from typing import Annotated, Any

import msgspec

from helm_efficiency.profiling.cells import CellRefusedError

_Count = Annotated[int, msgspec.Meta(ge=0, le=10**9)]
_Milliseconds = Annotated[float, msgspec.Meta(ge=0, le=1e12)]


@dataclass(frozen=True, slots=True)
class Reply:
    """Times and counts of one answered request.

    Attributes:
        seconds: Time from sending the request to the last byte (s).
        prompt_tokens: Prompt tokens by the server's count.
        output_tokens: Output tokens by the server's count, reasoning included.
        ttft_s: Time from sending the request to the first text (s); None if not streamed, or if no text came.
        gaps_s: Times between chunks with text (s).
        cached_tokens: Prompt tokens that the server took from its prefix cache, if it says so.
        retries: Number of attempts before the timed one.
        engine_s: The engine's own times of prefill and decode (s), if it states them with the answer.
        sent_s: Value of `time.perf_counter` when the request was sent (s).
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
    """Tokens of one request by the server's count.

    Attributes:
        prompt_tokens: Tokens of the prompt, template included.
        completion_tokens: Tokens of the output, reasoning included.
        prompt_tokens_details: Tokens of the prompt that came from a cache, if the server says so.
    """

    prompt_tokens: _Count | None = None
    completion_tokens: _Count | None = None
    prompt_tokens_details: _PromptDetails | None = None

    def cached_tokens(self) -> int:
        """Return the prompt tokens from the server's prefix cache; 0 if the server does not state them."""
        details = self.prompt_tokens_details
        return (details.cached_tokens or 0) if details else 0


class _Timings(msgspec.Struct):
    """Times of one request by llama.cpp's own clock."""

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
        choices: New text of each completion.
        usage: Token counts, which come with the last event.
        error: Error that the server reports.
        timings: The engine's own times, from llama.cpp with the last event.
    """

    choices: list[_Choice] | None = None
    usage: Usage | None = None
    error: Any = None
    timings: _Timings | None = None

    def has_text(self) -> bool:
        """Return whether the event brings text, visible or reasoning, rather than a role or a count."""
        for choice in self.choices or ():
            delta = choice.delta or _Delta()
            if choice.text or delta.content or delta.reasoning_content or delta.reasoning:
                return True
        return False


_DECODER = msgspec.json.Decoder(Event)


def decode_event(data: bytes) -> Event:
    """Decode an event, or a whole answer, from its JSON.

    Raises:
        CellRefusedError: The data is not JSON, or has another form.
    """
    try:
        return _DECODER.decode(data)
    except (msgspec.DecodeError, RecursionError, UnicodeDecodeError) as error:
        raise CellRefusedError(f"the server answers what cannot be read: {error}.") from error


def check_pieces(num_pieces: int, output_tokens: int) -> None:
    """Refuse an answer in more pieces than tokens. Each piece has a token, so it ran on, or was counted wrongly.

    One further piece is allowed: it may complete a character of which a half was held back.

    Raises:
        CellRefusedError: The answer came in more pieces.
    """
    if num_pieces > output_tokens + 1:
        raise CellRefusedError(f"the server sent {num_pieces} pieces of text for {output_tokens} output tokens.")


def check_usage(usage: Usage | None, *, asked_output_tokens: int, num_chunks: int) -> tuple[int, int]:
    """Return (prompt tokens, output tokens) of an answer, if they are plausible.

    Args:
        usage: Token counts that the server states.
        asked_output_tokens: Largest number of output tokens that was asked for.
        num_chunks: Number of received chunks with text; 0 if the answer was not streamed.

    Raises:
        CellRefusedError: The server states no counts, or counts that contradict the request or the received chunks.
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
