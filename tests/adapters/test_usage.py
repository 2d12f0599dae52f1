"""Usage out of the raw responses that HELM's clients keep, in the shape of each provider's documented example."""

from typing import Any

import msgspec
import pytest

from helm_efficiency.adapters.helm.usage import extract_usage
from helm_efficiency.adapters.token_counts import RequestShape, TokenFacts, Usage, UsageAside, harness_facts, with_usage

RESPONSES: dict[str, tuple[dict[str, Any], Usage | None]] = {
    "openai chat": (
        {
            "object": "chat.completion",
            "model": "gpt-4o-mini",
            "choices": [],
            "usage": {
                "prompt_tokens": 100,
                "completion_tokens": 20,
                "total_tokens": 120,
                "prompt_tokens_details": {"cached_tokens": 64, "audio_tokens": 0},
                "completion_tokens_details": {"reasoning_tokens": 12},
            },
        },
        Usage(prompt_tokens=100, output_tokens=20, reasoning_tokens=12, cache_read_tokens=64),
    ),
    "openai-compatible, nothing in detail": (
        {"usage": {"prompt_tokens": 5, "completion_tokens": 8, "prompt_tokens_details": None}},
        Usage(prompt_tokens=5, output_tokens=8),
    ),
    "openai responses": (
        {
            "object": "response",
            "usage": {
                "input_tokens": 100,
                "output_tokens": 20,
                "input_tokens_details": {"cached_tokens": 0},
                "output_tokens_details": {"reasoning_tokens": 12},
            },
        },
        Usage(prompt_tokens=100, output_tokens=20, reasoning_tokens=12, cache_read_tokens=0),
    ),
    "anthropic: cached tokens beside input tokens, 100 + 7 + 64": (
        {
            "type": "message",
            "usage": {
                "input_tokens": 100,
                "output_tokens": 20,
                "cache_creation_input_tokens": 7,
                "cache_read_input_tokens": 64,
            },
        },
        Usage(prompt_tokens=171, output_tokens=20, cache_read_tokens=64, cache_write_tokens=7),
    ),
    "google: thoughts beside candidates, 20 + 9": (
        {
            "candidates": [],
            "usage_metadata": {
                "prompt_token_count": 100,
                "candidates_token_count": 20,
                "thoughts_token_count": 9,
                "cached_content_token_count": None,
                "total_token_count": 129,
            },
        },
        Usage(prompt_tokens=100, output_tokens=29, reasoning_tokens=9),
    ),
    "xai: reasoning beside completion tokens, 20 + 15": (
        {
            "usage": {
                "prompt_tokens": 100,
                "completion_tokens": 20,
                "total_tokens": 135,
                "completion_tokens_details": {"reasoning_tokens": 15},
            }
        },
        Usage(prompt_tokens=100, output_tokens=35, reasoning_tokens=15),
    ),
    "deepseek": (
        {"usage": {"prompt_tokens": 100, "completion_tokens": 20, "prompt_cache_hit_tokens": 64}},
        Usage(prompt_tokens=100, output_tokens=20, cache_read_tokens=64),
    ),
    "mistral, together, groq": (
        {"usage": {"prompt_tokens": 10, "completion_tokens": 2, "total_tokens": 12}},
        Usage(prompt_tokens=10, output_tokens=2),
    ),
    "embedding": ({"usage": {"prompt_tokens": 10, "total_tokens": 10}}, Usage(prompt_tokens=10, output_tokens=0)),
    "bedrock converse": (
        {"usage": {"inputTokens": 10, "outputTokens": 5, "totalTokens": 15}, "metrics": {"latencyMs": 100}},
        Usage(prompt_tokens=10, output_tokens=5),
    ),
    "bedrock llama": (
        {"generation": "x", "prompt_token_count": 10, "generation_token_count": 5},
        Usage(prompt_tokens=10, output_tokens=5),
    ),
    "bedrock titan": (
        {"inputTextTokenCount": 10, "results": [{"tokenCount": 5, "outputText": "x"}]},
        Usage(prompt_tokens=10, output_tokens=5),
    ),
    "watsonx": (
        {"results": [{"generated_token_count": 5, "input_token_count": 10}]},
        Usage(prompt_tokens=10, output_tokens=5),
    ),
    "cohere": (
        {"text": "x", "meta": {"tokens": {"input_tokens": 10.0, "output_tokens": 5.0}}},
        Usage(prompt_tokens=10, output_tokens=5),
    ),
    "aleph alpha": (
        {"num_tokens_prompt_total": 10, "num_tokens_generated": 5},
        Usage(prompt_tokens=10, output_tokens=5),
    ),
    "hugging face, local": (
        {"completions": [{"text": "x", "tokens": ["a", "b"], "logprobs": [-1.0, -2.0]}], "input_length": 10},
        Usage(prompt_tokens=10, output_tokens=2),
    ),
    "hugging face, padded to the longest": (
        {"completions": [{"logprobs": [-1.0]}, {"logprobs": [-1.0]}], "input_length": 10},
        None,
    ),
    "together, legacy": ({"choices": [{"text": "x"}], "raw_compute_time": 0.5}, None),
    "vertex": ({"predictions": [{"text": "x"}]}, None),
    "prompt tokens alone": ({"usage": {"prompt_tokens": 9}}, Usage(prompt_tokens=9)),
    "no count of the output": ({"usage": {"prompt_tokens": 9, "completion_tokens": None}}, Usage(prompt_tokens=9)),
    "more cached than there are": (
        {"usage": {"prompt_tokens": 5, "completion_tokens": 7, "prompt_tokens_details": {"cached_tokens": 500}}},
        Usage(prompt_tokens=5, output_tokens=7, doubts=("parts_above_total",)),
    ),
    "more reasoning than there is output": (
        {"usage": {"prompt_tokens": 5, "completion_tokens": 7, "completion_tokens_details": {"reasoning_tokens": 900}}},
        Usage(prompt_tokens=5, output_tokens=7, doubts=("parts_above_total",)),
    ),
    "not counts": ({"usage": {"prompt_tokens": "many", "completion_tokens": 2}}, None),
    "negative": ({"usage": {"prompt_tokens": -4, "completion_tokens": 2}}, None),
    "not a number": ({"prompt_token_count": float("nan"), "generation_token_count": True}, None),
    "usage is text": ({"usage": "none"}, None),
}


@pytest.mark.parametrize("name", RESPONSES)
def test_usage_of_each_provider(name: str) -> None:
    response, expected = RESPONSES[name]
    assert extract_usage(response) == expected


@pytest.mark.parametrize(
    ("written", "expected"),
    [
        ({"input_tokens": 5}, Usage(prompt_tokens=5)),
        ({"output_tokens": 5}, Usage(output_tokens=5)),
        ({"input_tokens": 5, "output_tokens": 0, "total_tokens": 5}, Usage(5, 0)),
        ({"input_tokens": 0, "output_tokens": 0, "total_tokens": 0}, Usage()),
        ({"input_tokens": 5, "output_tokens": 7, "reasoning_tokens": 9}, Usage(5, 7, doubts=("parts_above_total",))),
    ],
)
def test_usage_of_inspect_and_every_eval_ever_is_missing_where_it_is_absent(
    written: dict[str, int], expected: Usage
) -> None:
    assert msgspec.convert(written, UsageAside).to_usage() == expected


def test_doubts_of_usage_are_those_of_the_request() -> None:
    usage = Usage(prompt_tokens=5, output_tokens=7, doubts=("parts_above_total",))
    facts = with_usage(TokenFacts(doubts=("text_as_one_token",)), usage, num_completions=1)
    assert (facts.output_tokens, facts.doubts) == (7, ("parts_above_total",))


def test_usage_takes_the_place_of_helms_counts_and_settles_doubts() -> None:
    shape = RequestShape(
        completion_tokens=(1,),
        has_answer=True,
        has_messages=False,
        has_media=True,
        one_token=True,
        long_prompt=True,
        echo=False,
        success=True,
        prompt_chars=90,
    )
    [facts] = harness_facts([shape], prompt_total=1, output_total=1, client_stores_tokens=True)
    assert facts.doubts == ("media_not_counted", "prompt_as_one_token", "text_as_one_token")
    usage = Usage(prompt_tokens=800, output_tokens=25, reasoning_tokens=5, cache_read_tokens=512)
    assert with_usage(facts, usage, num_completions=1) == TokenFacts(
        prompt_tokens=800,
        output_tokens=25,
        reasoning_tokens=5,
        cache_read_tokens=512,
        prompt_provenance="usage",
        output_provenance="usage",
        max_completion_tokens=25,
    )
    only_output = with_usage(facts, Usage(output_tokens=25), num_completions=2)
    assert (only_output.prompt_tokens, only_output.prompt_provenance) == (1, "harness")
    assert only_output.doubts == ("media_not_counted", "prompt_as_one_token")
    assert only_output.max_completion_tokens == 1  # of several completions usage is the sum
