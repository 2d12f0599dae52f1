"""The catalog of architectures against published counts and against HELM's own metadata."""

import csv
from collections import Counter
from pathlib import Path

import pytest

from helm_efficiency.catalog.architectures import add_to_file, load_architectures, load_user_architectures
from helm_efficiency.catalog.helm_metadata import helm_deployments
from helm_efficiency.core.transfer.architecture import Architecture
from helm_efficiency.errors import CatalogError, FileFormatError

CATALOG = load_architectures()

# HELM's metadata round these by more than a tenth, count the embedding or the vision tower in or out, or are wrong
HELM_COUNTS_OTHERWISE = {
    "openai/gpt2": "1.5 B is GPT-2 XL; the deployment loads openai-community/gpt2",
    "eleutherai/pythia-1b-v0": "without embeddings",
    "eleutherai/pythia-2.8b-v0": "without embeddings",
    "databricks/dolly-v2-3b": "without embeddings",
    "stabilityai/stablelm-base-alpha-3b": "without embeddings",
    "stabilityai/stablelm-base-alpha-7b": "without embeddings",
    "ibm/granite-3b-code-instruct": "rounded",
    "aisingapore/llama3.1-8b-cpt-sea-lionv3-base": "the count of Gemma 2 9B",
    "aisingapore/llama3.1-8b-cpt-sea-lionv3-instruct": "the count of Gemma 2 9B",
    "meta/llama-3.2-11b-vision-instruct-turbo": "with vision tower",
    "meta/llama-3.2-90b-vision-instruct-turbo": "with vision tower",
    "mistralai/mixtral-8x22b": "8 times 22",
    "mistralai/mixtral-8x22b-instruct-v0.1": "8 times 22",
    "mistralai/ministral-3b-2512": "rounded",
    "ura-hcmut/GemSUra-2B": "rounded",
    "ura-hcmut/GemSUra-7B": "without embeddings",
    "damo/seallm-7b-v2.5": "without embeddings",
    "microsoft/phi-2": "13 B is wrong",
    "allenai/olmoe-1b-7b-0125-instruct": "the count of OLMo 2 32B",
    "sail/sailor-7b": "rounded",
    "sail/sailor-7b-chat": "rounded",
    "vilm/Quyen-Plus-v0.1": "rounded",
}


@pytest.mark.parametrize("name", CATALOG.entries)
def test_counts_agree_with_the_published_ones(name: str) -> None:
    entry = CATALOG.entries[name]
    assert entry.published_parameters is not None
    tolerance = 0.03 if entry.is_rounded else 0.01
    assert entry.architecture.num_parameters() == pytest.approx(entry.published_parameters, rel=tolerance)
    assert len(entry.source) > 10


@pytest.mark.parametrize(
    ("name", "billions"),
    [
        ("mixtral-8x7b", 12.9),
        ("deepseek-v3", 37),
        ("kimi-k2", 32.6),
        ("qwen3-235b-a22b", 22.2),
        ("gpt-oss-120b", 5.13 + 0.58),  # the publisher leaves the input embedding out
        ("glm-4.5-air", 12 + 1.24),  # and GLM's both embeddings
        ("llama-4-maverick", 17.2),
        ("dbrx", 36),
        ("phi-3.5-moe", 6.6),
        ("granite-3-3b-a800m", 0.88),
        ("olmoe-1b-7b", 1.28),
    ],
)
def test_active_counts_agree_with_the_published_ones(name: str, billions: float) -> None:
    assert CATALOG.entries[name].architecture.num_active_parameters() == pytest.approx(billions * 1e9, rel=0.04)


def test_helm_models_are_covered_and_agree_with_its_metadata() -> None:
    by_model = {deployment.model: deployment for deployment in helm_deployments()}
    matched = [model for entry in CATALOG.entries.values() for model in entry.helm_models]
    assert len(set(matched)) == len(matched)
    stated = [d for d in by_model.values() if d.num_parameters and d.is_open and not d.other_than_text]
    with_entry = [d.model for d in stated if CATALOG.of_model(d.model)]
    assert len(with_entry) >= 200
    assert [d.model for d in stated if d.model not in with_entry and d.model not in CATALOG.excluded] == []
    assert not set(CATALOG.excluded) & set(matched)
    wrong = {
        model
        for model in matched
        if (deployment := by_model.get(model)) is not None
        and deployment.num_parameters
        and (entry := CATALOG.of_model(model))
        and abs(entry.architecture.num_parameters() / deployment.num_parameters - 1) > 0.1
    }
    assert wrong <= set(HELM_COUNTS_OTHERWISE)


@pytest.mark.parametrize(
    ("name", "architecture"),
    [
        ("meta/llama-3.1-8b-instruct", "llama-3-8b"),
        ("llama-3-8b", "llama-3-8b"),
        ("groq/llama3-70b-8192", "llama-3-70b"),
        ("together/Llama-3-8b-chat-hf", "llama-3-8b"),
        ("huggingface/Meta-Llama-3.1-8B", "llama-3-8b"),
        ("fireworks/llama-v3p1-405b-instruct", "llama-3.1-405b"),
        ("together/bloom", "bloom-176b"),
        ("mistralai/Mistral-7B-Instruct-v0.3", "mistral-7b-v0.3"),
        ("Qwen/Qwen3-8B", "qwen3-8b"),
    ],
)
def test_models_and_their_renamed_deployments_are_found(name: str, architecture: str) -> None:
    assert CATALOG.find(name).architecture.name == architecture


def test_what_is_not_there_is_refused_with_the_reason() -> None:
    with pytest.raises(CatalogError, match="No architecture for 'acme/gpt-9': not in the catalog"):
        CATALOG.find("acme/gpt-9")
    with pytest.raises(CatalogError, match="state-space layers"):
        CATALOG.find("ai21/jamba-1.5-mini")
    assert CATALOG.of_model("anthropic/claude-3-opus-20240229") is None


def test_architectures_of_ones_own(tmp_path: Path) -> None:
    path = tmp_path / "own" / "architectures.yaml"
    tiny = Architecture("tiny", 2, 64, 4, 2, 16, 128, 1000, gated_ffn=True)
    add_to_file(path, tiny, source="me", helm_models=["me/tiny"])
    entry = add_to_file(path, Architecture("other", 3, 64, 4, 2, 16, 128, 1000), source="me too")
    own = load_user_architectures(path)
    assert own.find("me/tiny").architecture == tiny
    assert own.find("other") == entry
    assert own.find("llama-3-8b") == CATALOG.find("llama-3-8b")
    path.write_text("families: {x: {source: me, models: {y: {num_layers: 0}}}}")
    with pytest.raises(FileFormatError, match=r"architectures\.yaml, y: .*missing"):
        load_user_architectures(path)
    path.write_text("- a list")
    with pytest.raises(FileFormatError, match="not a file of architectures"):
        load_user_architectures(path)


@pytest.mark.parametrize(
    ("name", "architecture"),
    [
        *(("Qwen/Qwen2.5-0.5B-Instruct", "qwen2-0.5b"), ("Qwen/Qwen2-beta-14B", "qwen1.5-14b")),
        *(("Qwen/Qwen3-32B-FP8", "qwen3-32b"), ("Qwen/Qwen3-30B-A3B-Thinking-2507", "qwen3-30b-a3b")),
        *(("MiniMaxAI/MiniMax-M2.5", "minimax-m2"), ("moonshotai/Kimi-K2.5", "kimi-k2.5"), ("zhipuai/GLM-5", "glm-5")),
        *(("deepseek-ai/DeepSeek-R1-0528", "deepseek-v3"), ("meta-llama/Llama-3.3-70B-Instruct", "llama-3-70b")),
        *(("Qwen/Qwen2.5-7B-Instruct-GPTQ-Int4", "qwen2-7b"), ("EleutherAI/pythia-1.3b", "pythia-1.4b")),
    ],
)
def test_models_of_public_measurements_are_found(name: str, architecture: str) -> None:
    assert CATALOG.find(name).architecture.name == architecture


def test_nearly_all_public_rows_have_an_architecture(data_dir: Path) -> None:
    rows = [row for path in (data_dir / "modern").glob("*/tidy.csv") for row in csv.DictReader(path.open(newline=""))]
    missing = Counter(
        row["model"] for row in rows if not (CATALOG.of_model(row["hf_id_if_known"]) or CATALOG.of_model(row["model"]))
    )
    # Layers that are not modelled (Qwen3.5, Nemotron Nano), and an embedding narrower than the layers (OPT 350M).
    assert set(missing) <= {
        *("Qwen3.5-397B-A17B", "NVIDIA-Nemotron-Nano-12B-v2", "NVIDIA-Nemotron-Nano-9B-v2", "opt-350m")
    }
    assert sum(missing.values()) < 0.06 * len(rows)


@pytest.mark.parametrize(
    ("name", "dtype"),
    [
        *(("deepseek-ai/deepseek-r1-0528", "fp8"), ("openai/gpt-oss-120b", "fp4"), ("moonshotai/Kimi-K2.5", "int4")),
        *(("moonshotai/kimi-k2-instruct", "fp8"), ("MiniMaxAI/MiniMax-M2.5", "fp8"), ("zai-org/GLM-5", "bf16")),
        *(("nvidia/DeepSeek-V3.1-NVFP4", "fp4"), ("Qwen/Qwen3-32B-AWQ", "int4"), ("zai-org/glm-4.5-air-fp8", "fp8")),
        *(("meta/llama-3.1-8b-instruct", "bf16"), ("nobody/knows", "bf16")),
    ],
)
def test_default_precision_is_the_checkpoints_own(name: str, dtype: str) -> None:
    assert CATALOG.dtype_of(name) == dtype
