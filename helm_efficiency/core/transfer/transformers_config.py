"""Read the sizes of a decoder-only transformer from a transformers config.

Publishers name the same size differently (`hidden_size`, `n_embd`, `d_model`), and defaults of a model type are not
always written down. A config that cannot be read, or is not of a decoder with plain attention layers, is refused with
the reason.
"""

from collections.abc import Mapping
from typing import Any

from helm_efficiency.errors import InputError

Config = Mapping[str, Any]

_TEXT_PARTS = ("text_config", "llm_config", "language_config", "thinker_config")

_STATE_SPACE_TYPES = (
    *("mamba", "jamba", "rwkv", "recurrent_gemma", "zamba", "bamba"),
    *("nemotron_h", "falcon_h1", "lfm2", "xlstm"),
)
_DIFFUSION_TYPES = ("llada", "dream", "sdar", "diffusion")
_LINEAR_TYPES = ("qwen3_next", "minimax", "minimax_text_01")
_ENCODER_TYPES = ("bert", "roberta", "distilbert", "deberta-v2", "electra", "albert", "xlm-roberta", "modernbert")

_UNGATED_TYPES = {
    *("gpt2", "gptj", "gpt_neo", "gpt_neox", "gpt_neox_japanese", "gpt_bigcode", "codegen", "bloom", "opt", "mpt"),
    *("phi", "falcon", "RefinedWeb", "RefinedWebModel", "starcoder2", "nemotron", "xglm", "persimmon", "biogpt"),
    *("arcee", "jais"),
}
_BOTH_HALVES_TYPES = {"qwen", "hf_olmo"}
"""Model types that give the width of a gated network as the sum of gate and input."""

_LEARNED_POSITION_TYPES = {"gpt2", "gpt_neo", "gpt_bigcode", "opt", "biogpt"}
_TIED_BY_DEFAULT = {
    *("gpt2", "gpt_neo", "gpt_bigcode", "bloom", "opt", "mpt", "falcon", "RefinedWeb", "RefinedWebModel", "starcoder2"),
    *("gemma", "gemma2", "gemma3_text", "cohere", "cohere2", "jais", "biogpt"),
}


def sizes_from_config(config: Config) -> dict[str, Any]:
    """Return the sizes by the names of `Architecture`, without the model's name.

    Raises:
        InputError: A size is missing, or this package cannot describe the model.
    """
    text, excluded = _text_part(config)
    _refuse_other_models(config, text)
    hidden = _first(text, "hidden_size", "n_embd", "d_model", "n_embed")
    heads = _first(text, "num_attention_heads", "n_head", "n_heads", "num_heads", "attention_heads")
    layers = _first(text, "num_hidden_layers", "n_layer", "n_layers", "num_layers")
    sizes: dict[str, Any] = {
        "num_layers": layers,
        "hidden_size": hidden,
        "num_heads": heads,
        "num_kv_heads": _kv_heads(text, heads),
        "head_size": text.get("head_dim")
        or text.get("kv_channels")
        or text.get("attention_head_dim")
        or hidden // heads,
        "vocab_size": text.get("padded_vocab_size") or text.get("embedding_size") or _first(text, "vocab_size"),
        "gated_ffn": _is_gated(text),
        "tied_embeddings": _is_tied(config, text),
        "excluded": excluded,
    }
    sizes.update(_feed_forward(text, hidden, layers))
    sizes.update(_window(text, layers))
    if text.get("kv_lora_rank"):
        sizes.update(_latent_attention(text, heads))
    if _model_type(text) in _LEARNED_POSITION_TYPES or text.get("position_embedding_type") == "learned":
        sizes["num_positions"] = _first(text, "n_positions", "max_position_embeddings")
    return sizes


def weights_dtype(config: Config) -> str | None:
    """Return the precision of a checkpoint's weights by its config, or None if the config does not state it.

    Example:
        >>> weights_dtype({"torch_dtype": "bfloat16", "quantization_config": {"quant_method": "mxfp4"}})
        'fp4'
    """
    text, _ = _text_part(config)
    quantized = config.get("quantization_config") or text.get("quantization_config")
    if isinstance(quantized, Mapping):
        return _quantized_dtype(quantized)
    stated = str(text.get("dtype") or text.get("torch_dtype") or config.get("dtype") or config.get("torch_dtype"))
    return {"float16": "fp16", "bfloat16": "bf16"}.get(stated)  # a float32 checkpoint is never served as it is


def _quantized_dtype(quantized: Config) -> str | None:
    """Read any format of transformers: fp8, mxfp4, modelopt, AWQ, GPTQ, bitsandbytes, compressed-tensors."""
    method = f"{quantized.get('quant_method', '')} {quantized.get('quant_algo', '')}".lower()
    if "fp4" in method:
        return "fp4"
    if "fp8" in method:
        return "fp8"
    groups = quantized.get("config_groups")
    group = next(iter(groups.values()), None) if isinstance(groups, Mapping) else None
    weights = (group.get("weights") if isinstance(group, Mapping) else None) or quantized
    bits = weights.get("num_bits") or weights.get("bits")
    if bits is None and "bitsandbytes" in method:
        bits = 4 if quantized.get("load_in_4bit") else 8
    kind = "fp" if weights.get("type") == "float" else "int"
    return f"{kind}{bits}" if bits in (4, 8) else None


def _first(config: Config, *keys: str) -> int:
    """Return the value of the first key that the config has."""
    for key in keys:
        if config.get(key) is not None:
            return int(config[key])
    raise InputError(
        f"Config of model type {_model_type(config) or 'unknown'!r}: none of the keys {', '.join(keys)} is there. "
        "Give the config.json that is published with the weights."
    )


def _model_type(config: Config) -> str:
    return str(config.get("model_type") or "")


def _text_part(config: Config) -> tuple[Config, str]:
    """Return the language model of a multimodal config, and a description of the parts left out."""
    for part in _TEXT_PARTS:
        inner = config.get(part)
        if isinstance(inner, Mapping):
            deeper, _ = _text_part(inner)
            towers = [key.removesuffix("_config") for key in ("vision_config", "audio_config") if config.get(key)]
            return deeper, " and ".join(towers or ["everything"]) + (" tower" if towers else " but the text model")
    return config, "vision tower" if config.get("vision_config") else ""


def _refuse_other_models(config: Config, text: Config) -> None:
    """Refuse a model that is not a decoder of attention layers, with the reason."""
    kind = _model_type(text)
    if "_class_name" in config or "_diffusers_version" in config or kind.lower().startswith(_DIFFUSION_TYPES):
        raise InputError(
            f"{config.get('_class_name') or kind!r} is a diffusion model: it does not decode token by token."
        )
    if config.get("is_encoder_decoder") or text.get("is_encoder_decoder"):
        raise InputError(f"{kind!r} is an encoder-decoder model: only decoder-only transformers are modelled.")
    layers = {str(layer) for layer in text.get("layer_types") or text.get("layers_block_type") or ()}
    unusual = sorted(layer for layer in layers if "attention" not in layer or "linear" in layer)
    if kind.startswith(_STATE_SPACE_TYPES) or any("mamba" in layer for layer in layers) or "ssm_cfg" in text:
        raise InputError(
            f"{kind!r} has state-space layers (Mamba, RWKV or alike), which have no key-value cache; not modelled."
        )
    if unusual or kind in _LINEAR_TYPES:
        raise InputError(
            f"{kind!r} has layers other than softmax attention ({', '.join(unusual) or 'linear'}); not modelled."
        )
    names = [str(name) for name in config.get("architectures") or ()]
    generates = ("CausalLM", "LMHead", "ConditionalGeneration", "ForGeneration", "ChatGLM", "GPT", "LLaMA")
    if kind in _ENCODER_TYPES or (names and not any(part in name for name in names for part in generates)):
        raise InputError(
            f"{', '.join(names) or kind} is an encoder or has no language-model head: it generates no tokens."
        )


def _kv_heads(text: Config, heads: int) -> int:
    """Return the number of key-value heads under any of its names; a flag `multi_query` means 1."""
    for key in ("num_key_value_heads", "num_kv_heads", "n_head_kv", "multi_query_group_num"):
        if text.get(key) and not (
            key == "num_kv_heads" and text.get("multi_query") and not text.get("new_decoder_architecture")
        ):
            return int(text[key])
    inner = text.get("attn_config") or {}
    if inner.get("kv_n_heads"):
        return int(inner["kv_n_heads"])
    return 1 if text.get("multi_query") or inner.get("attn_type") == "multiquery_attention" else heads


def _is_gated(text: Config) -> bool:
    activation = str(text.get("activation_function") or text.get("hidden_act") or "").lower()
    return _model_type(text) not in _UNGATED_TYPES or "glu" in activation


def _is_tied(config: Config, text: Config) -> bool:
    for level in (text, config):
        if level.get("tie_word_embeddings") is not None:
            return bool(level["tie_word_embeddings"])
    return _model_type(text) in _TIED_BY_DEFAULT


def _feed_forward(text: Config, hidden: int, layers: int) -> dict[str, int]:
    """Return the widths of the feed-forward networks, dense or of experts."""
    inner = text.get("ffn_config") or {}
    experts = _optional(text, "num_local_experts", "num_experts", "n_routed_experts") or int(
        inner.get("moe_num_experts") or 0
    )
    dense = _optional(text, "intermediate_size", "n_inner", "ffn_dim", "ffn_hidden_size", "mlp_hidden_size")
    dense = dense or int(inner.get("ffn_hidden_size") or 0)
    if not experts:
        dense = _optional(text, "shared_intermediate_size") or dense
        if not dense and _model_type(text) in _UNGATED_TYPES:
            dense = int(text.get("expansion_ratio") or 4) * hidden
        if _model_type(text) in _BOTH_HALVES_TYPES:
            dense //= 2
        return {"ffn_size": dense or _first(text, "intermediate_size", "n_inner", "ffn_dim")}
    expert = _optional(text, "moe_intermediate_size") or dense or _first(text, "intermediate_size")
    without = _layers_without_experts(text, layers)
    shared = _optional(text, "shared_expert_intermediate_size", "shared_intermediate_size")
    shared = shared or _optional(text, "n_shared_experts", "num_shared_experts") * expert
    if _model_type(text).startswith("llama4"):
        shared, dense = expert, _first(text, "intermediate_size_mlp")
    if _model_type(text) == "arctic":
        shared = hidden  # Arctic's dense residual is as wide as the residual stream
    return {
        "ffn_size": expert,
        "num_experts": experts,
        "num_active_experts": _active_experts(text, inner),
        "shared_ffn_size": shared,
        "num_dense_layers": without,
        "dense_ffn_size": dense if without else 0,
    }


def _active_experts(text: Config, inner: Config) -> int:
    return int(inner.get("moe_top_k") or 0) or _first(
        text, "num_experts_per_tok", "num_experts_per_token", "moe_top_k", "moe_topk"
    )


def _optional(config: Config, *keys: str) -> int:
    """Return the first value other than 0 of the keys, else 0."""
    return next((int(config[key]) for key in keys if isinstance(config.get(key), int) and config[key]), 0)


def _layers_without_experts(text: Config, layers: int) -> int:
    """Return the number of layers of a MoE model that have one dense feed-forward network."""
    first = _optional(text, "first_k_dense_replace")
    if first:
        return first
    listed = text.get("moe_layers")
    if isinstance(listed, list):
        return layers - len(listed)
    step = (
        _optional(text, "decoder_sparse_step", "interleave_moe_layer_step", "moe_layer_frequency", "moe_layer_freq")
        or 1
    )
    return layers - layers // step + len(text.get("mlp_only_layers") or ())


def _window(text: Config, layers: int) -> dict[str, int]:
    """Return the attention window and the number of layers without it."""
    window = _optional(text, "sliding_window", "attention_chunk_size")
    if not window or text.get("use_sliding_window") is False:
        return {}
    types = text.get("layer_types")
    pattern = _optional(text, "sliding_window_pattern", "_sliding_window_pattern")
    if types:
        full = sum(str(kind) == "full_attention" for kind in types)
    elif _model_type(text) == "llama4_text":
        full = layers // 4
    elif pattern or _model_type(text) == "gemma2":
        full = layers // (pattern or 2)
    elif _model_type(text) == "gemma3_text":
        full = layers // 6
    elif text.get("use_sliding_window") and text.get("max_window_layers"):
        full = min(int(text["max_window_layers"]), layers)
    else:
        full = 0
    return {"sliding_window": window, "num_full_attention_layers": full} if full < layers else {}


def _latent_attention(text: Config, heads: int) -> dict[str, int]:
    """Return the ranks and head sizes of multi-head latent attention (DeepSeek V2, V3, Kimi K2)."""
    rope = _first(text, "qk_rope_head_dim")
    return {
        "kv_lora_rank": int(text["kv_lora_rank"]),
        "q_lora_rank": _optional(text, "q_lora_rank"),
        "rope_head_size": rope,
        "head_size": _first(text, "qk_nope_head_dim") + rope,
        "value_head_size": _first(text, "v_head_dim"),
        "num_kv_heads": heads,
    }
