"""An architecture becomes a transformers model of just its sizes, which runs."""

from dataclasses import replace

import pytest

from helm_efficiency.catalog.architectures import load_architectures
from helm_efficiency.core.transfer.architecture import Architecture
from helm_efficiency.errors import ProfilingError
from helm_efficiency.profiling.cells import Cell
from helm_efficiency.profiling.families import family, transformers_config
from helm_efficiency.profiling.local_timing import CellTimer
from helm_efficiency.profiling.models import ModelOptions, load_model, made_up_model
from helm_efficiency.profiling.noise import Repetitions

GQA = Architecture("llama-3.1-8b", 4, 256, 8, 2, 32, 512, 1000, gated_ffn=True)
MHA = Architecture("pythia-1b", 4, 256, 8, 8, 32, 1024, 1000)
LEARNED = replace(MHA, name="gpt2", num_positions=256, tied_embeddings=True)
MOE = replace(GQA, name="mixtral-8x7b", num_experts=8, num_active_experts=2)
WINDOW = replace(GQA, sliding_window=64, num_full_attention_layers=2)
MLA = replace(
    GQA,
    name="deepseek-v3",
    num_kv_heads=8,
    head_size=48,
    value_head_size=32,
    num_experts=8,
    num_active_experts=2,
    num_dense_layers=1,
    dense_ffn_size=512,
    ffn_size=128,
    shared_ffn_size=128,
    kv_lora_rank=64,
    q_lora_rank=96,
    rope_head_size=16,
)
ARCHITECTURES = {
    "llama": GQA,
    "qwen2": replace(GQA, name="qwen2.5-7b-instruct"),
    "qwen3": replace(GQA, name="qwen3-8b", head_size=64),
    "qwen3_moe": replace(MOE, name="qwen3-30b-a3b", head_size=64, ffn_size=128),
    "qwen2_moe": replace(MOE, name="qwen1.5-moe-a2.7b", ffn_size=128, shared_ffn_size=512),
    "mistral": replace(GQA, name="mistral-7b", sliding_window=64),
    "mixtral": MOE,
    "gemma2": replace(WINDOW, name="gemma-2-9b", head_size=64, tied_embeddings=True),
    "gemma3_text": replace(WINDOW, name="gemma-3-12b", head_size=64, tied_embeddings=True),
    "phi3": replace(GQA, name="phi-4"),
    "phi": replace(MHA, name="phi-2"),
    "olmo2": replace(GQA, name="olmo-2-7b", num_kv_heads=8),
    "olmoe": replace(MOE, name="olmoe-1b-7b", num_kv_heads=8, ffn_size=128),
    "gpt_oss": replace(WINDOW, name="gpt-oss-20b", num_experts=8, num_active_experts=4, head_size=64, ffn_size=256),
    "deepseek_v3": MLA,
    "deepseek_v2": replace(MLA, name="deepseek-v2-lite", q_lora_rank=0, shared_ffn_size=256),
    "gptj": replace(MHA, name="gpt-j-6b"),
    "gpt_neox": MHA,
    "gpt2": LEARNED,
    "opt": replace(LEARNED, name="opt-1.3b"),
    "bloom": replace(MHA, name="bloom-7b1", tied_embeddings=True),
    "starcoder2": replace(MHA, name="starcoder2-7b", num_kv_heads=2, tied_embeddings=True),
    "granite": replace(GQA, name="granite-3-8b"),
    "granitemoe": replace(MOE, name="granite-3-1b-a400m"),
    "falcon": replace(MHA, name="falcon-40b", num_kv_heads=2, tied_embeddings=True),
    "gpt_bigcode": replace(LEARNED, name="starcoder", num_kv_heads=1),
    "nemotron": replace(MHA, name="nemotron-4-340b", num_kv_heads=2),
}


@pytest.mark.parametrize(("model_type", "architecture"), ARCHITECTURES.items(), ids=ARCHITECTURES)
def test_every_family_runs_an_architecture_of_exactly_its_sizes(model_type: str, architecture: Architecture) -> None:
    subject = made_up_model(architecture, ModelOptions("cpu"), max_tokens=512)
    assert subject.config.model_type == model_type
    assert Architecture.from_transformers_config(subject.config.to_dict(), name=architecture.name) == architecture
    once = Repetitions(num_warmups=1, num_repetitions=1, max_repetitions=1)
    result = CellTimer(subject, load_model(subject), "transformers-eager", repetitions=once)(Cell(70, 2, 2))
    assert [(m.prompt_tokens, m.output_tokens, m.batch_size) for m in result.measurements] == [(70, 2, 2)]
    assert subject.source().startswith(f"profile: {architecture.name}, random weights, on ")
    assert subject.architecture == architecture


@pytest.mark.parametrize(
    ("architecture", "model_type"),
    [
        (GQA, "llama"),
        (MHA, "gpt_neox"),
        (LEARNED, "gpt2"),
        (replace(LEARNED, num_kv_heads=1), "gpt_bigcode"),
        (replace(MHA, num_kv_heads=1), "falcon"),
        (MOE, "mixtral"),
        (replace(MOE, shared_ffn_size=64), "qwen2_moe"),
        (WINDOW, "qwen2"),
        (replace(WINDOW, num_full_attention_layers=0), "mistral"),
        (MLA, "deepseek_v3"),
    ],
)
def test_a_name_nobody_knows_leaves_the_sizes_to_tell(architecture: Architecture, model_type: str) -> None:
    assert family(replace(architecture, name="somebody/new-model")) == model_type


@pytest.mark.parametrize("name", sorted(load_architectures().entries)[::15])
def test_architectures_of_the_catalog_can_be_built(name: str) -> None:
    architecture = load_architectures().find(name).architecture
    built = Architecture.from_transformers_config(transformers_config(architecture).to_dict(), name=name)
    assert built == replace(architecture, excluded="")


def test_an_architecture_that_no_family_expresses_is_refused() -> None:
    odd = replace(MOE, name="somebody/odd", dense_ffn_size=4096, num_dense_layers=2, shared_ffn_size=0, gated_ffn=False)
    with pytest.raises(
        ProfilingError, match=r"somebody/odd cannot be built with random weights: as qwen2_moe .* Profile it"
    ):
        transformers_config(odd)
