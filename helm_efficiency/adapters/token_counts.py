"""Decide the token counts of a request and their provenance, by one set of rules for archives and live runs.

HELM counts prompt tokens with the model's tokenizer and output tokens as the tokens its client stored. Its count is
right except where

- the client stored no tokens although there is an answer (most chat clients): its 0 output tokens are wrong;
- the request carries `messages`: it counted an empty prompt;
- the request failed: it counted an answer that never came.

In these cases the provider's own `usage` is taken, else the model's tokenizer counts, else the count is missing. A
known `usage` is always taken: it counts the chat template and the reasoning, which HELM leaves out. If the provider cut
an answer off at the limit, the limit is the count. HELM's count is kept, but marked with a `Doubt`, if it is too low
rather than absent.
"""

from collections.abc import Sequence

from msgspec import Struct
from msgspec.structs import asdict, replace

from helm_efficiency.adapters.json_stream import Count
from helm_efficiency.adapters.record import Doubt, TokenProvenance


class Usage(Struct, frozen=True, gc=False):
    """Provider's counts for one request, over all completions; None if not reported.

    Attributes:
        prompt_tokens: Prompt tokens, cached ones included.
        output_tokens: Output tokens, reasoning included.
        reasoning_tokens: Part of `output_tokens` that was reasoning.
        cache_read_tokens: Part of `prompt_tokens` that was read from a prompt cache.
        cache_write_tokens: Part of `prompt_tokens` that was written to a prompt cache.
        max_completion_tokens: Tokens of the longest completion, if there are several.
        doubts: Reasons why the totals may be too low.
    """

    prompt_tokens: int | None = None
    output_tokens: int | None = None
    reasoning_tokens: int | None = None
    cache_read_tokens: int | None = None
    cache_write_tokens: int | None = None
    max_completion_tokens: int | None = None
    doubts: tuple[Doubt, ...] = ()


def without_impossible_parts(usage: Usage) -> Usage:
    """Return the usage without parts that exceed their total; either of the two may be wrong.

    >>> without_impossible_parts(Usage(prompt_tokens=5, output_tokens=7, cache_read_tokens=500)).doubts
    ('parts_above_total',)
    """
    cached = (usage.cache_read_tokens or 0) + (usage.cache_write_tokens or 0)
    if usage.prompt_tokens is not None and cached > usage.prompt_tokens:
        usage = replace(usage, cache_read_tokens=None, cache_write_tokens=None, doubts=("parts_above_total",))
    if usage.output_tokens is not None and (usage.reasoning_tokens or 0) > usage.output_tokens:
        usage = replace(usage, reasoning_tokens=None, doubts=("parts_above_total",))
    return usage


class RequestShape(Struct, frozen=True, gc=False):
    """Facts of a request and its answer that decide how its tokens are counted.

    Attributes:
        completion_tokens: Number of tokens stored for each completion.
        has_answer: True if the answer has any text, reasoning included.
        has_messages: True if the prompt was a list of messages.
        has_media: True if the prompt holds images, audio or video.
        one_token: True if a whole answer is stored as one token.
        long_prompt: True if the prompt is too long to be one token.
        echo: True if the stored tokens include the prompt's.
        success: True if the request was answered.
        reasons_apart: True if reasoning text is stored apart from the answer, where HELM does not count it.
        reasons_in_text: True if reasoning text is part of the answer, where it is counted.
        prompt_chars: Length of the prompt in characters, to divide the tokens that HELM counted for several requests.
        cut_off_tokens: Number of tokens at which the provider cut off the only answer, if it says so.
    """

    completion_tokens: tuple[int, ...]
    has_answer: bool
    has_messages: bool
    has_media: bool
    one_token: bool
    long_prompt: bool
    echo: bool
    success: bool
    prompt_chars: int
    reasons_apart: bool = False
    reasons_in_text: bool = False
    cut_off_tokens: int | None = None


class TokenFacts(Usage, frozen=True, gc=False):
    """Token counts of one request and their counters: the attributes that `RequestRecord` has for them."""

    prompt_provenance: TokenProvenance = "missing"
    output_provenance: TokenProvenance = "missing"


def facts_of(usage: Usage, counter: TokenProvenance, *, num_completions: int = 1) -> TokenFacts:
    """Return the token facts of a request whose known totals come from one counter."""
    longest = usage.output_tokens if num_completions <= 1 else usage.max_completion_tokens
    return TokenFacts(
        **asdict(replace(usage, max_completion_tokens=longest)),
        prompt_provenance="missing" if usage.prompt_tokens is None else counter,
        output_provenance="missing" if usage.output_tokens is None else counter,
    )


def harness_facts_of_one(
    shape: RequestShape, prompt_total: int | None, output_total: int | None, *, client_stores_tokens: bool
) -> TokenFacts:
    """Return the `harness_facts` of a request that HELM counted alone, which is the usual case: nothing is divided."""
    output = _derived_output(shape, prompt_total)
    if output_total is not None and (output or 0) != output_total:
        output = output_total
    return _facts(shape, prompt_total, output, client_stores_tokens=client_stores_tokens)


def harness_facts(
    shapes: Sequence[RequestShape], *, prompt_total: int | None, output_total: int | None, client_stores_tokens: bool
) -> list[TokenFacts]:
    """Return HELM's token facts of requests that it counted together, without wrong counts.

    If HELM makes one request for each reference of an instance, it adds them up; such totals are divided among the
    requests by the tokens stored for each, else by the length of their prompts, so that they still add up.
    """
    if len(shapes) == 1:
        return [harness_facts_of_one(shapes[0], prompt_total, output_total, client_stores_tokens=client_stores_tokens)]
    prompts = _prompts(shapes, prompt_total)
    outputs = [_derived_output(shape, prompt) for shape, prompt in zip(shapes, prompts, strict=True)]
    if output_total is not None and sum(n or 0 for n in outputs) != output_total:
        outputs = list(apportion(output_total, [n or 0 for n in outputs]))
    return [
        _facts(shape, prompt, output, client_stores_tokens=client_stores_tokens)
        for shape, prompt, output in zip(shapes, prompts, outputs, strict=True)
    ]


def _prompts(shapes: Sequence[RequestShape], total: int | None) -> list[int | None]:
    if total is None:
        return [total] * len(shapes)
    echoed = [sum(shape.completion_tokens) if shape.echo else 0 for shape in shapes]
    return list(apportion(total, echoed if all(echoed) else [shape.prompt_chars for shape in shapes]))


def _derived_output(shape: RequestShape, prompt: int | None) -> int | None:
    """Return the output tokens by HELM's own rule: stored tokens, less the prompt if it was echoed."""
    stored = sum(shape.completion_tokens)
    if not shape.echo:
        return stored
    return None if prompt is None else max(0, stored - prompt)


def _facts(shape: RequestShape, prompt: int | None, output: int | None, *, client_stores_tokens: bool) -> TokenFacts:
    stored = sum(shape.completion_tokens)
    if not shape.success or (
        not output and not stored and shape.completion_tokens and (shape.has_answer or not client_stores_tokens)
    ):
        output = None
    if shape.success and shape.cut_off_tokens is not None and (output is None or shape.one_token):
        output = shape.cut_off_tokens
    if shape.has_messages:
        prompt = None
    longest = output
    if output is not None and len(shape.completion_tokens) > 1:
        echoed = (prompt or 0) if shape.echo else 0
        longest = max(0, max(shape.completion_tokens) - echoed) if stored else None
    return TokenFacts(
        prompt_tokens=prompt,
        output_tokens=output,
        prompt_provenance="missing" if prompt is None else "harness",
        output_provenance="missing" if output is None else "harness",
        max_completion_tokens=longest,
        doubts=_doubts(shape, prompt, output),
    )


def _doubts(shape: RequestShape, prompt: int | None, output: int | None) -> tuple[Doubt, ...]:
    doubts: tuple[Doubt, ...] = ()
    if shape.has_media and prompt is not None:
        doubts = (*doubts, "media_not_counted")
    if shape.long_prompt and prompt == 1:
        doubts = (*doubts, "prompt_as_one_token")
    if output is None or output == shape.cut_off_tokens:
        return doubts
    if shape.one_token:
        doubts = (*doubts, "text_as_one_token")
    if shape.reasons_apart:
        doubts = (*doubts, "reasoning_not_counted")
    return doubts


PROMPT_DOUBTS: frozenset[Doubt] = frozenset({"media_not_counted", "prompt_as_one_token"})
OUTPUT_DOUBTS: frozenset[Doubt] = frozenset({"text_as_one_token", "reasoning_not_counted"})


def with_hidden_reasoning(facts: TokenFacts, shape: RequestShape) -> TokenFacts:
    """Return the facts of an answer that has hidden reasoning before the counted text.

    An answer that was cut off at the limit has as many tokens as the limit says, reasoning included. For any other
    answer the count is too low, and is marked so, unless the reasoning is part of the text or nothing was counted.
    """
    is_whole = facts.output_provenance == "usage" or shape.reasons_in_text
    if is_whole or not shape.success or "reasoning_not_counted" in facts.doubts:
        return facts
    if shape.cut_off_tokens is not None:
        return replace(
            facts,
            output_tokens=shape.cut_off_tokens,
            output_provenance="harness",
            max_completion_tokens=shape.cut_off_tokens,
            doubts=without(facts.doubts, OUTPUT_DOUBTS),
        )
    return replace(facts, doubts=(*facts.doubts, "reasoning_not_counted"))


def without(doubts: Sequence[Doubt], settled: frozenset[Doubt]) -> tuple[Doubt, ...]:
    """Return the doubts that a better count leaves."""
    return tuple(doubt for doubt in doubts if doubt not in settled)


def with_usage(facts: TokenFacts, usage: Usage, *, num_completions: int) -> TokenFacts:
    """Return the facts with the provider's own counts in place of others."""
    if usage.prompt_tokens is not None:
        facts = replace(
            facts,
            prompt_tokens=usage.prompt_tokens,
            cache_read_tokens=usage.cache_read_tokens,
            cache_write_tokens=usage.cache_write_tokens,
            prompt_provenance="usage",
            doubts=without(facts.doubts, PROMPT_DOUBTS),
        )
    if usage.output_tokens is not None:
        longest = usage.output_tokens if num_completions == 1 else usage.max_completion_tokens
        facts = replace(
            facts,
            output_tokens=usage.output_tokens,
            reasoning_tokens=usage.reasoning_tokens,
            output_provenance="usage",
            max_completion_tokens=facts.max_completion_tokens if longest is None else longest,
            doubts=without(facts.doubts, OUTPUT_DOUBTS),
        )
    return replace(facts, doubts=(*facts.doubts, *usage.doubts)) if usage.doubts else facts


def reasoning_included(prompt: int, output: int, reasoning: int | None, *, total: int | None) -> int:
    """Return output tokens with reasoning. Some providers (xAI) count it separately: then all three add up to total.

    >>> reasoning_included(100, 20, 15, total=135), reasoning_included(100, 20, 15, total=120)
    (35, 20)
    """
    return output + reasoning if reasoning and total == prompt + output + reasoning else output


class UsageAside(Struct):
    """Usage as Inspect and Every Eval Ever write it: input tokens exclude cached ones; a total serves as a check."""

    input_tokens: Count | None = None
    output_tokens: Count | None = None
    total_tokens: Count | None = None
    input_tokens_cache_write: Count | None = None
    input_tokens_cache_read: Count | None = None
    reasoning_tokens: Count | None = None

    def to_usage(self) -> Usage:
        """Return prompt tokens with cached ones and output tokens with reasoning; no counts at all if all are 0."""
        if not (self.input_tokens or self.output_tokens or self.total_tokens):
            return Usage()
        read, write, reasoning = self.input_tokens_cache_read, self.input_tokens_cache_write, self.reasoning_tokens
        prompt, output = self.input_tokens, self.output_tokens
        cached = (read or 0) + (write or 0)
        # Older converters and versions counted cached tokens among the input tokens, which the total reveals.
        if prompt is not None and (cached > prompt or self.total_tokens != prompt + (output or 0)):
            prompt += cached
        if prompt is not None and output is not None:
            output = reasoning_included(prompt, output, reasoning, total=self.total_tokens)
        return without_impossible_parts(Usage(prompt, output, reasoning, read, write))


def apportion(total: int, weights: Sequence[int]) -> list[int]:
    """Divide a total in proportion to weights, by largest remainders, so that the parts add up to it.

    >>> apportion(10, [1, 1, 1])
    [4, 3, 3]
    >>> apportion(7, [0, 0])
    [4, 3]
    """
    whole = sum(weights)
    if not whole:
        weights, whole = [1] * len(weights), len(weights)
    parts = [total * weight // whole for weight in weights]
    by_remainder = sorted(range(len(parts)), key=lambda i: -(total * weights[i] % whole))
    for i in by_remainder[: total - sum(parts)]:
        parts[i] += 1
    return parts
