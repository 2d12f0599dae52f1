"""Sizes of architectures: counts by hand, and against the models that transformers builds from the same config."""

import dataclasses
from dataclasses import asdict
from typing import Any

import pytest

from helm_efficiency.core.transfer.architecture import Architecture
from helm_efficiency.errors import InputError

LLAMA_8B = Architecture("llama-3.1-8b", 32, 4096, 32, 8, 128, 14336, 128256, gated_ffn=True)
MIXTRAL = Architecture(
    "mixtral-8x7b", 32, 4096, 32, 8, 128, 14336, 32000, gated_ffn=True, num_experts=8, num_active_experts=2
)
MLA = Architecture(
    name="deepseek-v3",
    num_layers=61,
    hidden_size=7168,
    num_heads=128,
    num_kv_heads=128,
    head_size=192,
    ffn_size=2048,
    vocab_size=129280,
    gated_ffn=True,
    num_experts=256,
    num_active_experts=8,
    value_head_size=128,
    num_dense_layers=3,
    dense_ffn_size=18432,
    shared_ffn_size=2048,
    kv_lora_rank=512,
    q_lora_rank=1536,
    rope_head_size=64,
)


def test_counts_of_a_dense_model_by_hand() -> None:
    # 32 x (4096x4096 q + 4096x4096 o + 2 x 4096x1024 kv + 3 x 4096x14336) + 2 x 128256x4096
    assert LLAMA_8B.num_parameters() == 8_029_995_008  # published: 8.03 B with norms
    assert LLAMA_8B.num_active_parameters() == LLAMA_8B.num_parameters()
    assert LLAMA_8B.num_multiplied_parameters() == 8_029_995_008 - 128256 * 4096
    assert LLAMA_8B.kv_elements_per_token() == 32 * 2 * 8 * 128
    assert LLAMA_8B.kv_bytes(1000) == 131_072_000  # 128 KiB a token in bf16


def test_counts_of_a_mixture_of_experts() -> None:
    assert MIXTRAL.num_parameters() == pytest.approx(46.7e9, rel=1e-3)  # published
    assert MIXTRAL.num_active_parameters() == pytest.approx(12.9e9, rel=2e-3)  # published
    one, many = MIXTRAL.num_multiplied_parameters(1), MIXTRAL.num_multiplied_parameters(1000)
    assert one == MIXTRAL.num_active_parameters() - 32000 * 4096
    assert many == pytest.approx(MIXTRAL.num_parameters() - 32000 * 4096)


def test_latent_attention_caches_its_rank() -> None:
    assert MLA.num_parameters() == pytest.approx(671e9, rel=1e-3)  # DeepSeek-V3 report
    assert MLA.num_active_parameters() == pytest.approx(37e9, rel=0.02)
    assert MLA.kv_elements_per_token() == 61 * (512 + 64)


def test_a_window_bounds_the_cache_of_its_layers_only() -> None:
    windowed = dataclasses.replace(LLAMA_8B, sliding_window=100, num_full_attention_layers=8)
    assert windowed.kv_bytes(100) == LLAMA_8B.kv_bytes(100)
    assert windowed.kv_bytes(400) == (8 * 400 + 24 * 100) * 2048 * 2


def test_round_trip() -> None:
    assert Architecture.from_dict(asdict(MLA)) == MLA
    with pytest.raises(InputError, match="num_heads"):
        Architecture.from_dict({k: v for k, v in asdict(MLA).items() if k != "num_heads"})


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"num_layers": 0}, "num_layers is 0, expected 1 or more"),
        ({"num_kv_heads": 33}, "num_kv_heads is 33, at most 32"),
        ({"num_experts": 8}, "8 experts, but num_active_experts is 0"),
    ],
)
def test_impossible_sizes_are_refused(changes: dict[str, int], message: str) -> None:
    with pytest.raises(InputError, match=message):
        dataclasses.replace(LLAMA_8B, **changes)


_MODEL_TYPES = [
    *("gpt2", "gptj", "gpt_neo", "gpt_neox", "gpt_bigcode", "codegen", "bloom", "opt"),
    *("mpt", "falcon", "phi", "phi3", "starcoder2", "llama", "mistral", "mixtral"),
    *("qwen2", "qwen2_moe", "qwen3", "qwen3_moe", "gemma", "gemma2", "gemma3_text", "cohere"),
    *("cohere2", "olmo", "olmo2", "olmo3", "olmoe", "deepseek_v3", "glm", "glm4"),
    *("glm4_moe", "gpt_oss", "granite", "granitemoe", "stablelm", "phimoe", "llama4_text", "smollm3"),
    *("exaone4", "arcee", "ernie4_5", "xglm", "minimax_m2", "ministral3"),
]


@pytest.mark.parametrize("model_type", _MODEL_TYPES)
def test_counts_agree_with_the_model_that_transformers_builds(model_type: str) -> None:
    import torch
    from transformers import CONFIG_MAPPING, AutoModelForCausalLM

    config = CONFIG_MAPPING[model_type]()
    with torch.device("meta"):
        model = AutoModelForCausalLM.from_config(config)
    counted = Architecture.from_transformers_config(config.to_dict(), name=model_type).num_parameters()
    assert counted == pytest.approx(model.num_parameters(), rel=2e-3)


def _config(**changes: Any) -> dict[str, Any]:
    """A minimal llama config with some keys changed; None takes a key away."""
    config = {
        "model_type": "llama",
        "architectures": ["LlamaForCausalLM"],
        "hidden_size": 64,
        "num_attention_heads": 4,
        "num_hidden_layers": 2,
        "intermediate_size": 128,
        "vocab_size": 1000,
    }
    return {key: value for key, value in {**config, **changes}.items() if value is not None}


def test_the_text_part_of_a_multimodal_config_is_read_and_the_rest_flagged() -> None:
    config = {"model_type": "llava", "text_config": _config(), "vision_config": {"hidden_size": 32}}
    read = Architecture.from_transformers_config(config, name="llava")
    assert read == dataclasses.replace(
        Architecture.from_transformers_config(_config(), name="llava"), excluded="vision tower"
    )


def test_all_attention_layers_of_a_hybrid_family_are_accepted() -> None:
    # Granite 4.0 micro: a hybrid's config, but every layer is attention and no experts are used
    config = _config(
        model_type="granitemoehybrid",
        architectures=["GraniteMoeHybridForCausalLM"],
        layer_types=["attention", "attention"],
        num_local_experts=0,
        num_experts_per_tok=0,
        intermediate_size=512,
        shared_intermediate_size=256,
    )
    assert Architecture.from_transformers_config(config).ffn_size == 256


@pytest.mark.parametrize(
    ("config", "message"),
    [
        (_config(num_hidden_layers=None), "none of the keys num_hidden_layers, n_layer"),
        (_config(vocab_size=None), "none of the keys vocab_size"),
        (_config(intermediate_size=None), "none of the keys intermediate_size"),
        (_config(model_type="bert", architectures=["BertForMaskedLM"]), "is an encoder"),
        (_config(model_type="roberta", architectures=None), "is an encoder"),
        (_config(is_encoder_decoder=True), "encoder-decoder"),
        ({"_class_name": "UNet2DConditionModel", "_diffusers_version": "0.2.2"}, "diffusion model"),
        (_config(model_type="llada"), "diffusion model"),
        (_config(model_type="jamba"), "state-space"),
        (_config(model_type="granitemoehybrid", layer_types=["mamba", "attention"]), "state-space"),
        (_config(layer_types=["linear_attention", "full_attention"]), r"softmax attention \(linear_attention\)"),
        ({}, "model type 'unknown'"),
    ],
)
def test_what_cannot_be_described_is_refused_with_the_reason(config: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        Architecture.from_transformers_config(config)
