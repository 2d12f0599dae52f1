"""Configs as published, with the keys that are particular to each publisher, against the catalog's sizes."""

import dataclasses
from typing import Any

import pytest

from helm_efficiency.catalog.architectures import load_architectures
from helm_efficiency.core.transfer.architecture import Architecture
from helm_efficiency.core.transfer.transformers_config import weights_dtype

GPT_OSS_LAYERS = ["sliding_attention", "full_attention"] * 12

PUBLISHED: dict[str, dict[str, Any]] = {
    "gpt2": {
        "model_type": "gpt2",
        "n_embd": 768,
        "n_head": 12,
        "n_layer": 12,
        "n_positions": 1024,
        "vocab_size": 50257,
    },
    "opt-1.3b": {
        **{"model_type": "opt", "hidden_size": 2048, "num_attention_heads": 32, "num_hidden_layers": 24},
        **{"ffn_dim": 8192, "vocab_size": 50272, "max_position_embeddings": 2050},
    },
    "santacoder": {
        **{"model_type": "gpt_bigcode", "n_embd": 2048, "n_head": 16, "n_layer": 24, "n_positions": 2048},
        **{"multi_query": True, "vocab_size": 49280, "n_inner": 8192},
    },
    "mpt-30b": {
        **{"model_type": "mpt", "d_model": 7168, "n_heads": 64, "n_layers": 48, "expansion_ratio": 4},
        **{"vocab_size": 50432, "attn_config": {"alibi": True, "attn_type": "multihead_attention"}},
    },
    "falcon-7b": {
        **{"model_type": "falcon", "hidden_size": 4544, "num_attention_heads": 71, "num_hidden_layers": 32},
        **{"multi_query": True, "new_decoder_architecture": False, "num_kv_heads": 71, "vocab_size": 65024},
    },
    "falcon-40b": {
        **{"model_type": "falcon", "hidden_size": 8192, "num_attention_heads": 128, "num_hidden_layers": 60},
        **{"multi_query": True, "new_decoder_architecture": True, "num_kv_heads": 8, "vocab_size": 65024},
    },
    "jais-family-590m": {
        **{"model_type": "jais", "n_embd": 1536, "n_head": 12, "n_layer": 18, "n_inner": 4096, "vocab_size": 84992},
        **{"activation_function": "swiglu", "position_embedding_type": "alibi", "tie_word_embeddings": False},
    },
    "qwen-7b": {
        **{"model_type": "qwen", "hidden_size": 4096, "num_attention_heads": 32, "num_hidden_layers": 32},
        **{"intermediate_size": 22016, "kv_channels": 128, "vocab_size": 151936, "tie_word_embeddings": False},
    },
    "qwen2.5-32b": {
        **{"model_type": "qwen2", "hidden_size": 5120, "num_attention_heads": 40, "num_key_value_heads": 8},
        **{"num_hidden_layers": 64, "intermediate_size": 27648, "vocab_size": 152064, "tie_word_embeddings": False},
        **{"sliding_window": 131072, "max_window_layers": 64, "use_sliding_window": False},
    },
    "mistral-7b-v0.1": {
        **{"model_type": "mistral", "hidden_size": 4096, "num_attention_heads": 32, "num_key_value_heads": 8},
        **{"num_hidden_layers": 32, "intermediate_size": 14336, "vocab_size": 32000, "sliding_window": 4096},
        **{"tie_word_embeddings": False},
    },
    "gemma-2-9b": {
        **{"model_type": "gemma2", "hidden_size": 3584, "num_attention_heads": 16, "num_key_value_heads": 8},
        **{"head_dim": 256, "num_hidden_layers": 42, "intermediate_size": 14336, "vocab_size": 256000},
        **{"sliding_window": 4096},
    },
    "gemma-3-4b": {
        **{"model_type": "gemma3", "architectures": ["Gemma3ForConditionalGeneration"], "vision_config": {"x": 1}},
        "text_config": {
            **{"model_type": "gemma3_text", "hidden_size": 2560, "num_attention_heads": 8, "num_key_value_heads": 4},
            **{"head_dim": 256, "num_hidden_layers": 34, "intermediate_size": 10240, "vocab_size": 262208},
            **{"sliding_window": 1024},
        },
    },
    "command-a": {
        **{"model_type": "cohere2", "hidden_size": 12288, "num_attention_heads": 96, "num_key_value_heads": 8},
        **{"num_hidden_layers": 64, "intermediate_size": 36864, "vocab_size": 256000, "sliding_window": 4096},
        **{"sliding_window_pattern": 4},
    },
    "dbrx": {
        **{"model_type": "dbrx", "d_model": 6144, "n_heads": 48, "n_layers": 40, "vocab_size": 100352},
        **{"attn_config": {"kv_n_heads": 8}, "tie_word_embeddings": False},
        "ffn_config": {"ffn_hidden_size": 10752, "moe_num_experts": 16, "moe_top_k": 4},
    },
    "snowflake-arctic": {
        **{"model_type": "arctic", "hidden_size": 7168, "num_attention_heads": 56, "num_key_value_heads": 8},
        **{"num_hidden_layers": 35, "intermediate_size": 4864, "vocab_size": 32000, "num_local_experts": 128},
        **{"num_experts_per_tok": 2, "moe_layer_frequency": 1, "parallel_attn_mlp_res": True},
        **{"tie_word_embeddings": False},
    },
    "llama-4-maverick": {
        **{"model_type": "llama4", "vision_config": {"x": 1}},
        "text_config": {
            **{"model_type": "llama4_text", "hidden_size": 5120, "num_attention_heads": 40, "num_key_value_heads": 8},
            **{"head_dim": 128, "num_hidden_layers": 48, "intermediate_size": 8192, "intermediate_size_mlp": 16384},
            **{"num_local_experts": 128, "num_experts_per_tok": 1, "interleave_moe_layer_step": 2},
            **{"vocab_size": 202048, "attention_chunk_size": 8192, "tie_word_embeddings": False},
        },
    },
    "deepseek-v3": {
        **{"model_type": "deepseek_v3", "hidden_size": 7168, "num_attention_heads": 128, "num_hidden_layers": 61},
        **{"num_key_value_heads": 128, "q_lora_rank": 1536, "kv_lora_rank": 512, "qk_nope_head_dim": 128},
        **{"qk_rope_head_dim": 64, "v_head_dim": 128, "intermediate_size": 18432, "moe_intermediate_size": 2048},
        **{"n_routed_experts": 256, "n_shared_experts": 1, "num_experts_per_tok": 8, "first_k_dense_replace": 3},
        **{"vocab_size": 129280, "tie_word_embeddings": False},
    },
    "gpt-oss-20b": {
        **{"model_type": "gpt_oss", "hidden_size": 2880, "num_attention_heads": 64, "num_key_value_heads": 8},
        **{"head_dim": 64, "num_hidden_layers": 24, "intermediate_size": 2880, "vocab_size": 201088},
        **{"num_local_experts": 32, "num_experts_per_tok": 4, "sliding_window": 128, "layer_types": GPT_OSS_LAYERS},
        **{"tie_word_embeddings": False},
    },
}


@pytest.mark.parametrize("name", PUBLISHED)
def test_a_published_config_gives_the_sizes_of_the_catalog(name: str) -> None:
    read = Architecture.from_transformers_config(PUBLISHED[name], name=name)
    assert read == load_architectures().entries[name].architecture


def test_variants_of_a_mixture_are_read() -> None:
    base = {
        **{"model_type": "qwen2_moe", "hidden_size": 64, "num_attention_heads": 4, "num_hidden_layers": 8},
        **{"num_experts": 4, "num_experts_per_tok": 2, "moe_intermediate_size": 32, "intermediate_size": 128},
        **{"shared_expert_intermediate_size": 48, "vocab_size": 100, "decoder_sparse_step": 2},
    }
    read = Architecture.from_transformers_config({**base, "mlp_only_layers": [1]})
    assert (read.num_dense_layers, read.dense_ffn_size, read.ffn_size, read.shared_ffn_size) == (5, 128, 32, 48)
    listed = Architecture.from_transformers_config({**base, "moe_layers": [0, 4]})
    assert listed.num_dense_layers == 6


def test_windows_may_begin_at_a_layer() -> None:
    config = {**PUBLISHED["qwen2.5-32b"], "use_sliding_window": True, "sliding_window": 4096, "max_window_layers": 16}
    read = Architecture.from_transformers_config(config, name="qwen2.5-32b")
    expected = load_architectures().entries["qwen2.5-32b"].architecture
    assert read == dataclasses.replace(expected, sliding_window=4096, num_full_attention_layers=16)


def test_multi_query_attention_of_mpt() -> None:
    config = {**PUBLISHED["mpt-30b"], "attn_config": {"attn_type": "multiquery_attention"}}
    assert Architecture.from_transformers_config(config).num_kv_heads == 1


@pytest.mark.parametrize(
    ("config", "dtype"),
    [
        ({"torch_dtype": "bfloat16", "quantization_config": {"quant_method": "fp8", "fmt": "e4m3"}}, "fp8"),
        ({"quantization_config": {"quant_method": "modelopt", "quant_algo": "NVFP4"}}, "fp4"),
        ({"quantization_config": {"quant_method": "gptq", "bits": 8}}, "int8"),
        ({"quantization_config": {"quant_method": "bitsandbytes", "load_in_4bit": True}}, "int4"),
        (
            {
                "text_config": {
                    "quantization_config": {
                        "quant_method": "compressed-tensors",
                        "config_groups": {"group_0": {"weights": {"num_bits": 4, "type": "int"}}},
                    }
                }
            },
            "int4",
        ),
        ({"quantization_config": {"quant_method": "something new"}}, None),
        ({"torch_dtype": "float16"}, "fp16"),
        ({"torch_dtype": "float32"}, None),
        ({}, None),
    ],
)
def test_the_precision_of_a_checkpoint_is_read(config: dict[str, Any], dtype: str | None) -> None:
    assert weights_dtype(config) == dtype
