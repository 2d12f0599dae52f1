"""Choose the config of a model for AIConfigurator: its own if it has one, else one made from our sizes.

AIConfigurator decides by the class named in a config which kernels a model runs. Sizes that it cannot express are
stated as notes: a sliding window is read as full attention, and an ungated feed-forward network as a gated one of the
same weight.
"""

import json
from collections.abc import Mapping, Sequence
from contextlib import suppress
from functools import cache
from typing import Any, NamedTuple

from helm_efficiency.core.transfer.architecture import Architecture, have_same_layers
from helm_efficiency.errors import InputError
from helm_efficiency.profiling.simulated.aiconfigurator import checkpoint_dtype, packaged_configs

_CONTEXT_TOKENS = 131_072
"""Context of the configs made here: longer than any cell, so that no cell is refused."""


class SimulatedModel(NamedTuple):
    """A model in the form that AIConfigurator accepts.

    Attributes:
        config: Name of a config that AIConfigurator brings, or a config.
        dtype: Number format of the weights to ask for; empty for that of the checkpoint.
        notes: Properties of the model that the config leaves out.
    """

    config: str | Mapping[str, Any]
    dtype: str = ""
    notes: tuple[str, ...] = ()


def simulated_model(architecture: Architecture, dtype: str = "") -> SimulatedModel:
    """Return the model to simulate for an architecture with weights of a number format.

    A quantized checkpoint says which layers are quantized, so one of that dtype is preferred.

    Args:
        architecture: Sizes of the model.
        dtype: Number format of the weights; empty for that of the published checkpoint, or bf16 if none is known.

    Raises:
        InputError: AIConfigurator has no kernels for such a model.
        MissingExtraError: AIConfigurator is not installed.
    """
    alike = [name for name, known in packaged_architectures().items() if have_same_layers(known, architecture)]
    if alike:
        return packaged_model(alike, dtype)
    return made_up_model(architecture)._replace(dtype=dtype or "bf16")


def packaged_model(names: Sequence[str], dtype: str = "") -> SimulatedModel:
    """Return the checkpoint with a number format, of packaged ones with the same layers; else the first in it."""
    for name in names:
        if dtype in ("", checkpoint_dtype(name)):
            return SimulatedModel(name)
    return SimulatedModel(names[0], dtype)


@cache
def packaged_architectures() -> Mapping[str, Architecture]:
    """Map the names of AIConfigurator's configs to their sizes, checkpoints of a model's maker before quantized ones.

    Raises:
        MissingExtraError: AIConfigurator is not installed.
    """
    found: dict[str, Architecture] = {}
    for name in sorted(packaged_configs(), key=lambda name: (name.startswith("nvidia/"), name)):
        values = json.loads(packaged_configs()[name].read_bytes())
        with suppress(InputError):  # our sizes cannot describe a hybrid's layers; it is simulated by its name alone
            found[name] = Architecture.from_transformers_config(values, name=name)
    return found


def made_up_model(architecture: Architecture) -> SimulatedModel:
    """Return a model with a config made from the sizes of an architecture.

    Raises:
        InputError: AIConfigurator has no kernels for such a model.
    """
    a = architecture
    if a.kv_lora_rank and not a.num_experts:
        raise InputError(f"{a.name}: a dense model with latent attention has no kernel timings.")
    config: dict[str, Any] = {
        "_name_or_path": a.name,
        "architectures": ["LlamaForCausalLM"],
        "num_hidden_layers": a.num_layers,
        "hidden_size": a.hidden_size,
        "num_attention_heads": a.num_heads,
        "num_key_value_heads": a.num_kv_heads,
        "head_dim": a.head_size,
        "intermediate_size": _gated_size(a, a.dense_layer_ffn_size),
        "vocab_size": a.vocab_size,
        "max_position_embeddings": _CONTEXT_TOKENS,
    }
    if a.num_experts:
        config |= _expert_sizes(a)
    return SimulatedModel(config, notes=tuple(_notes(a)))


def _expert_sizes(a: Architecture) -> dict[str, Any]:
    shared = 0 if a.kv_lora_rank else round(a.shared_ffn_size / a.ffn_size)
    sizes: dict[str, Any] = {
        "architectures": ["Qwen3MoeForCausalLM"],
        "num_experts": a.num_experts + shared,
        "num_experts_per_tok": a.num_active_experts + shared,
        "moe_intermediate_size": _gated_size(a, a.ffn_size),
    }
    if a.kv_lora_rank:
        sizes |= {
            "architectures": ["DeepseekV3ForCausalLM"],
            "n_routed_experts": a.num_experts,
            "n_shared_experts": round(a.shared_ffn_size / a.ffn_size),
            "first_k_dense_replace": a.num_dense_layers,
            "kv_lora_rank": a.kv_lora_rank,
            "q_lora_rank": a.q_lora_rank or None,
            "qk_rope_head_dim": a.rope_head_size,
            "qk_nope_head_dim": a.head_size - a.rope_head_size,
            "v_head_dim": a.value_head_size or a.head_size,
        }
    return sizes


def _gated_size(a: Architecture, size: int) -> int:
    """Return the inner width of a gated network with as many weights: three matrices instead of two."""
    return size if a.gated_ffn else round(size * 2 / 3 / 64) * 64


def _notes(a: Architecture) -> list[str]:
    notes = []
    if a.sliding_window:
        notes.append(f"simulated with full attention instead of a window of {a.sliding_window} tokens in some layers")
    if not a.gated_ffn:
        notes.append("simulated with a gated feed-forward network of the same weight")
    if a.num_experts and not a.kv_lora_rank and (a.shared_ffn_size or a.num_dense_layers):
        notes.append("simulated with shared experts as further chosen ones, and experts in every layer")
    return notes
