"""The table of reasoning models: what names say, from which day, and how many of HELM's models it knows."""

from datetime import date
from importlib import resources

import pytest
import yaml

from helm_efficiency.catalog.reasoning_models import is_reasoning_model, reasoning_fact

DAY = date(2026, 6, 1)


@pytest.mark.parametrize(
    "name",
    [
        *("openai/o1-2024-12-17-low-reasoning-effort", "openai/o3-2025-04-16", "openai/o4-mini-2025-04-16"),
        *("openai/gpt-5-2025-08-07", "openai/gpt-5-mini-2025-08-07", "openai/gpt-oss-120b", "gpt-oss:20b"),
        *("deepseek-ai/deepseek-r1-0528", "deepseek-ai/DeepSeek-R1-Distill-Llama-8B", "deepseek-reasoner"),
        *(
            "qwen/qwen3-235b-a22b-fp8-tput",
            "qwen/qwen3-235b-a22b-thinking-2507",
            "Qwen/Qwen3-8B",
            "qwen/qwq-32b-preview",
        ),
        *("google/gemini-2.5-pro", "google/gemini-2.5-flash", "google/gemini-2.0-flash-thinking-exp-01-21"),
        *("anthropic/claude-sonnet-4-20250514-thinking-10k", "moonshotai/kimi-k2-thinking", "zai-org/glm-4.5-air-fp8"),
        *("xai/grok-4-0709", "xai/grok-4-fast-reasoning", "MiniMaxAI/MiniMax-M2.5", "moonshotai/Kimi-K2.5"),
    ],
)
def test_reasoning_models_are_known(name: str) -> None:
    assert is_reasoning_model(name, DAY) is True


@pytest.mark.parametrize(
    "name",
    [
        *("openai/gpt-4o-2024-11-20", "openai/davinci", "openai/gpt-4.1-2025-04-14", "meta/llama-4-maverick"),
        *("google/gemini-2.5-flash-thinking-disabled", "xai/grok-4-fast-non-reasoning", "google/gemini-2.0-flash-001"),
        *("qwen/qwen3-235b-a22b-instruct-2507-fp8", "Qwen/Qwen3-8B-Base", "qwen/qwen2.5-72b-instruct-turbo"),
        *("deepseek-ai/deepseek-v3", "moonshotai/kimi-k2-instruct", "xai/grok-3-beta", "mistralai/mixtral-8x7b-v0.1"),
    ],
)
def test_other_models_are_known(name: str) -> None:
    assert is_reasoning_model(name, DAY) is False


@pytest.mark.parametrize(
    "name", ["anthropic/claude-opus-4-6", "openai/gpt-5.2-2025-12-11", "deepseek-ai/deepseek-v3.1", "nobody/knows-1b"]
)
def test_names_that_do_not_tell_are_unknown(name: str) -> None:
    assert is_reasoning_model(name, DAY) is None


def test_no_model_reasoned_before_the_first() -> None:
    assert is_reasoning_model("nobody/knows-1b", date(2024, 9, 11)) is False
    assert is_reasoning_model("openai/o1-preview-2024-09-12", date(2024, 9, 12)) is True
    assert is_reasoning_model("openai/gpt-5-2025-08-07", date(2025, 8, 6)) is None


def test_each_answer_has_a_source() -> None:
    fact = reasoning_fact("openai/gpt-oss-20b", DAY)
    assert fact is not None and "2508.10925" in fact.source and fact.since == date(2025, 8, 5)


def test_most_late_models_of_helm_are_known() -> None:
    text = resources.files("helm").joinpath("config/model_metadata.yaml").read_text(encoding="utf-8")
    late = [
        model["name"]
        for model in yaml.safe_load(text)["models"]
        if (model.get("release_date") or date.min) >= date(2024, 9, 12) and "TEXT_MODEL_TAG" in model["tags"]
    ]
    unknown = [name for name in late if reasoning_fact(name, DAY) is None]
    assert len(late) > 100
    assert len(unknown) / len(late) < 0.35, unknown
