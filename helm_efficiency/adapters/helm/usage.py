"""Extract the provider's own token counts from the raw response that a HELM client kept.

Shapes that several providers share are read by genai-prices, which knows how each counts cached and reasoning tokens;
the rest by the functions here. The shape of a response is recognized by its keys, because a cache does not say which
client wrote it. Prompt tokens include cached ones, output tokens include reasoning, whatever the provider's habit.
"""

from collections.abc import Mapping
from typing import Any

from genai_prices import extract_usage as extract_by_provider

from helm_efficiency.adapters.token_counts import Usage, reasoning_included, without_impossible_parts

_MOST_TOKENS = 2**53


def extract_usage(response: Mapping[str, Any]) -> Usage | None:
    """Return the token counts of one raw response; None if it has none.

    >>> extract_usage({"usage": {"prompt_tokens": 9, "completion_tokens": 4}}).output_tokens
    4
    """
    usage = response.get("usage")
    if isinstance(usage, Mapping):
        found = _from_usage(usage, is_anthropic=response.get("type") == "message")
    elif isinstance(response.get("usage_metadata"), Mapping):
        found = _from_google(response["usage_metadata"])
    else:
        found = _from_counts(response) or _from_cohere(response) or _from_hugging_face(response)
    return without_impossible_parts(found) if found is not None and found != Usage() else None


def _from_usage(usage: Mapping[str, Any], *, is_anthropic: bool) -> Usage | None:
    """Read the value of `usage`: OpenAI's two APIs and all that copy them, Anthropic's, Bedrock's Converse."""
    if "prompt_tokens" in usage:
        return _from_chat(usage)
    if "inputTokens" in usage:
        return _by_provider({"usage": usage}, "aws", "default")
    if is_anthropic or "cache_read_input_tokens" in usage or "cache_creation_input_tokens" in usage:
        return _by_provider({"usage": usage}, "anthropic", "default")
    return _by_provider({"usage": usage}, "openai", "responses")


def _from_chat(usage: Mapping[str, Any]) -> Usage | None:
    is_counted = _count(usage.get("completion_tokens")) is not None
    given = usage if is_counted else {**usage, "completion_tokens": 0}  # genai-prices wants one
    found = _by_provider({"usage": given}, "openai", "chat")
    if found is None:
        return None
    cached = found.cache_read_tokens
    if cached is None:
        cached = _count(usage.get("prompt_cache_hit_tokens"))  # DeepSeek
    prompt, reasoning, total = found.prompt_tokens, found.reasoning_tokens, _count(usage.get("total_tokens"))
    output = found.output_tokens if is_counted else None
    if not is_counted and total is not None and prompt is not None and total >= prompt:
        output = total - prompt  # 0 for an embedding
    if prompt is not None and output is not None:
        output = reasoning_included(prompt, output, reasoning, total=total)
    return Usage(prompt, output, reasoning, cached, found.cache_write_tokens)


def _from_google(metadata: Mapping[str, Any]) -> Usage | None:
    """Read Gemini's counts; HELM keeps the Python client's names, genai-prices reads the API's."""
    camel = {_camel_case(key): value for key, value in metadata.items() if isinstance(key, str)}
    return _by_provider({"usageMetadata": camel}, "google", "default")


def _camel_case(name: str) -> str:
    first, *rest = name.split("_")
    return first + "".join(word.capitalize() for word in rest)


def _by_provider(response: Mapping[str, Any], provider: str, flavor: str) -> Usage | None:
    try:
        found = extract_by_provider(response, provider_id=provider, api_flavor=flavor).usage
    except ValueError:
        return None
    reported = vars(found)  # its attributes turn unreported counts into 0
    return Usage(
        prompt_tokens=_count(reported.get("input_tokens")),
        output_tokens=_count(reported.get("output_tokens")),
        reasoning_tokens=_count(reported.get("output_reasoning_tokens")),
        cache_read_tokens=_count(reported.get("cache_read_tokens")),
        cache_write_tokens=_count(reported.get("cache_write_tokens")),
    )


_COUNT_KEYS = (
    ("prompt_token_count", "generation_token_count"),  # Llama on Bedrock
    ("num_tokens_prompt_total", "num_tokens_generated"),  # Aleph Alpha
)
_RESULT_COUNT_KEYS = (
    ("inputTextTokenCount", "tokenCount"),  # Titan on Bedrock
    ("input_token_count", "generated_token_count"),  # IBM watsonx
)


def _from_counts(response: Mapping[str, Any]) -> Usage | None:
    """Read counts at the top level of the response, or in a list of results."""
    for prompt_key, output_key in _COUNT_KEYS:
        if prompt_key in response or output_key in response:
            return Usage(_count(response.get(prompt_key)), _count(response.get(output_key)))
    results = response.get("results")
    for prompt_key, output_key in _RESULT_COUNT_KEYS:
        if isinstance(results, list) and results and all(isinstance(r, Mapping) and output_key in r for r in results):
            outputs = [_count(result[output_key]) for result in results]
            prompt = response.get(prompt_key, results[0].get(prompt_key))
            return Usage(_count(prompt), None if None in outputs else sum(n or 0 for n in outputs))
    return None


def _from_cohere(response: Mapping[str, Any]) -> Usage | None:
    meta = response.get("meta")
    tokens = meta.get("tokens") or meta.get("billed_units") if isinstance(meta, Mapping) else None
    if not isinstance(tokens, Mapping):
        return None
    return Usage(_count(tokens.get("input_tokens")), _count(tokens.get("output_tokens")))


def _from_hugging_face(response: Mapping[str, Any]) -> Usage | None:
    """Count the tokens of HELM's local Hugging Face client, which keeps every token that it generated.

    Several completions are padded to the longest, so their tokens do not say how many were generated.
    """
    completions = response.get("completions")
    if "input_length" not in response or not isinstance(completions, list) or len(completions) != 1:
        return None
    log_probabilities = completions[0].get("logprobs") if isinstance(completions[0], Mapping) else None
    generated = len(log_probabilities) if isinstance(log_probabilities, list) else None
    return Usage(_count(response["input_length"]), generated)


def _count(value: Any) -> int | None:
    """Return a count from an int or a whole float; None for anything else."""
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value <= _MOST_TOKENS:
        return None
    return int(value) if value == int(value) else None
