"""Turn an architecture into a transformers config with its sizes, so that a model with random weights can be timed.

The sizes alone do not determine which code runs: norms, biases and activations differ between families, and in an eager
engine each small kernel costs its launch. The family is therefore taken from the name of the architecture if a pattern
matches it (`qwen3-8b` runs Qwen 3's code), and from its sizes otherwise. The model's parameter count is checked against
that of the architecture: a family that cannot express an architecture is refused, not timed.
"""

import re
from typing import Any

import torch
import transformers

from helm_efficiency.core.transfer.architecture import Architecture
from helm_efficiency.errors import ProfilingError

# (pattern in the name of an architecture, transformers model type); the first match counts
_FAMILIES = (
    (r"qwen-?3", "qwen3"),
    (r"qwen-?(1\.5|2|2\.5)\b", "qwen2"),
    (r"mistral|ministral", "mistral"),
    (r"gemma-?3\b", "gemma3_text"),
    (r"gemma-?2\b", "gemma2"),
    (r"gemma", "gemma"),
    (r"phi-?(3|4)\b", "phi3"),
    (r"phi-?(1|2)\b", "phi"),
    (r"olmo-?(2|3)\b", "olmo2"),
    (r"olmo", "olmo"),
    (r"gpt-?j\b", "gptj"),
    (r"neox|pythia", "gpt_neox"),
    (r"falcon-\d", "falcon"),
    (r"starcoder-?2", "starcoder2"),
    (r"granite-[34]\b", "granite"),
    (r"nemotron", "nemotron"),
    (r"bloom", "bloom"),
    (r"gpt-?2", "gpt2"),
    (r"\bopt-", "opt"),
)
_EXPERT_FAMILIES = (
    (r"gpt-?oss", "gpt_oss"),
    (r"qwen-?3", "qwen3_moe"),
    (r"qwen", "qwen2_moe"),
    (r"mixtral", "mixtral"),
    (r"olmoe", "olmoe"),
    (r"granite", "granitemoe"),
)

_MAX_POSITIONS = 1 << 17
_MAX_PARAMETER_ERROR_FRACTION = 0.01


def transformers_config(architecture: Architecture, *, max_tokens: int = _MAX_POSITIONS) -> Any:
    """Return a transformers config with the sizes of an architecture, checked by the parameter count of its model.

    Raises:
        ProfilingError: This module knows no transformers family that can express the architecture.
    """
    model_type = family(architecture)
    sizes = _common(architecture, max_tokens) | _particular(model_type, architecture)
    config = transformers.AutoConfig.for_model(model_type, **sizes)
    with torch.device("meta"):
        built = transformers.AutoModelForCausalLM.from_config(config).num_parameters()
    wanted = architecture.num_parameters()
    if abs(built / wanted - 1.0) > _MAX_PARAMETER_ERROR_FRACTION:
        raise ProfilingError(
            f"{architecture.name} cannot be built with random weights: as {model_type} it would have {built:,} "
            f"parameters, its sizes say {wanted:,}. Profile it from its own weights or config.json."
        )
    return config


def family(architecture: Architecture) -> str:
    """Return the transformers model type that runs an architecture, chosen by its name, else by its sizes."""
    if architecture.kv_lora_rank:
        return "deepseek_v3" if architecture.q_lora_rank else "deepseek_v2"
    for pattern, model_type in _EXPERT_FAMILIES if architecture.num_experts else _FAMILIES:
        if re.search(pattern, architecture.name.lower()):
            return model_type
    if architecture.num_experts:
        return "qwen2_moe" if architecture.shared_ffn_size or architecture.num_dense_layers else "mixtral"
    if architecture.gated_ffn:
        if architecture.sliding_window:
            return "qwen2" if architecture.num_full_attention_layers else "mistral"
        return "llama"
    if architecture.num_positions:
        return "gpt2" if architecture.num_kv_heads == architecture.num_heads else "gpt_bigcode"
    return "gpt_neox" if architecture.num_kv_heads == architecture.num_heads else "falcon"


def _common(architecture: Architecture, max_tokens: int) -> dict[str, Any]:
    """Return model sizes under the generic names that transformers translates for each model family."""
    return {
        "num_hidden_layers": architecture.num_layers,
        "hidden_size": architecture.hidden_size,
        "num_attention_heads": architecture.num_heads,
        "num_key_value_heads": architecture.num_kv_heads,
        "intermediate_size": architecture.ffn_size,
        "vocab_size": architecture.vocab_size,
        "tie_word_embeddings": architecture.tied_embeddings,
        "max_position_embeddings": architecture.num_positions or max_tokens,
        "bos_token_id": None,
        "eos_token_id": None,
        "pad_token_id": None,
    }


def _particular(model_type: str, architecture: Architecture) -> dict[str, Any]:
    """Return the sizes that a family reads under names of its own."""
    sizes: dict[str, Any] = {"head_dim": architecture.head_size}
    if architecture.sliding_window:
        sizes |= _window(architecture)
    elif model_type in ("mistral", "mixtral", "phi3"):
        sizes["sliding_window"] = None  # their default is a window
    if architecture.num_experts:
        sizes |= _experts(architecture)
    if architecture.kv_lora_rank:
        sizes |= _latent_attention(architecture)
    if model_type in ("gptj", "gpt2", "gpt_bigcode"):
        sizes |= {"n_inner": architecture.ffn_size, "rotary_dim": min(64, architecture.head_size)}
    if model_type == "gpt_bigcode":
        sizes["multi_query"] = architecture.num_kv_heads == 1
    if model_type == "falcon":
        # Falcon derives its head size from the other sizes; its second generation has more than one group of heads.
        sizes = {
            "num_kv_heads": architecture.num_kv_heads,
            "multi_query": architecture.num_kv_heads == 1,
            "new_decoder_architecture": architecture.num_kv_heads > 1,
            "ffn_hidden_size": architecture.ffn_size,
        }
    if model_type == "opt":
        sizes |= {"ffn_dim": architecture.ffn_size, "word_embed_proj_dim": architecture.hidden_size}
    return sizes


def _window(architecture: Architecture) -> dict[str, Any]:
    """Return the config of windowed layers with the full-attention layers spread evenly among them."""
    full, layers = architecture.num_full_attention_layers, architecture.num_layers
    kinds = ["sliding_attention"] * layers
    for index in range(full):
        kinds[(index + 1) * layers // full - 1] = "full_attention"
    return {
        "sliding_window": architecture.sliding_window,
        "use_sliding_window": True,
        "max_window_layers": 0,
        "layer_types": kinds,
    }


def _experts(architecture: Architecture) -> dict[str, Any]:
    """Return the sizes of a mixture of experts under the names that the families use."""
    count, active = architecture.num_experts, architecture.num_active_experts
    dense = architecture.dense_ffn_size or architecture.ffn_size
    return {
        "num_experts": count,
        "num_local_experts": count,
        "n_routed_experts": count,
        "num_experts_per_tok": active,
        "moe_intermediate_size": architecture.ffn_size,
        "intermediate_size": dense if architecture.num_dense_layers else architecture.ffn_size,
        "shared_expert_intermediate_size": architecture.shared_ffn_size,
        "n_shared_experts": architecture.shared_ffn_size // architecture.ffn_size,
        "first_k_dense_replace": architecture.num_dense_layers,
        "mlp_only_layers": list(range(architecture.num_dense_layers)),
        "n_group": 1,  # DeepSeek's default groups need more experts than a small model has
        "topk_group": 1,
        "norm_topk_prob": True,
    }


def _latent_attention(architecture: Architecture) -> dict[str, Any]:
    """Return the sizes of multi-head latent attention (DeepSeek V2 and V3)."""
    return {
        "kv_lora_rank": architecture.kv_lora_rank,
        "q_lora_rank": architecture.q_lora_rank or None,
        "qk_rope_head_dim": architecture.rope_head_size,
        "qk_nope_head_dim": architecture.head_size - architecture.rope_head_size,
        "v_head_dim": architecture.value_head_size or architecture.head_size,
        "head_dim": architecture.rope_head_size,
    }
