"""Across the whole catalog and every accelerator: predictions obey what has to hold whatever the numbers are."""

import dataclasses

import numpy as np
import pytest

from helm_efficiency.catalog.accelerators import load_accelerators, spec_of
from helm_efficiency.catalog.architectures import load_architectures
from helm_efficiency.core.measurement import Stack
from helm_efficiency.core.transfer.architecture import Architecture
from helm_efficiency.core.transfer.model import TransferModel, fit_transfer
from helm_efficiency.core.transfer.roofline import AcceleratorSpec, speed_of_light, utilization

ENTRIES = load_architectures().entries
PROMPTS, OUTPUTS = np.array([1, 100, 1000, 4000]), np.array([1, 64, 512, 4])


def model(engine: str = "vllm", dtype: str = "bf16", accelerator: str = "h100-sxm") -> TransferModel:
    stack = Stack("any", accelerator, engine=engine, dtype=dtype)
    return fit_transfer([], spec_of(load_accelerators()[accelerator], dtype), stack=stack)


def seconds(architecture: Architecture, prompt_tokens: int, output_tokens: int, transfer: TransferModel) -> float:
    return float(transfer.predict(architecture, prompt_tokens=prompt_tokens, output_tokens=output_tokens).seconds)


def decode_s(architecture: Architecture, prompt_tokens: int = 100) -> float:
    """Seconds of 63 decode steps on the fused stack."""
    return seconds(architecture, prompt_tokens, 64, FUSED) - seconds(architecture, prompt_tokens, 1, FUSED)


FUSED, EAGER = model(), model("transformers-eager")


@pytest.mark.parametrize("name", ENTRIES)
@pytest.mark.parametrize("transfer", [FUSED, EAGER], ids=["fused", "eager"])
def test_no_prediction_is_below_the_speed_of_light(name: str, transfer: TransferModel) -> None:
    architecture = ENTRIES[name].architecture
    light = speed_of_light(architecture, transfer.stack, transfer.spec, prompt_tokens=PROMPTS, output_tokens=OUTPUTS)
    predicted = transfer.predict(architecture, prompt_tokens=PROMPTS, output_tokens=OUTPUTS)
    assert np.all(predicted.seconds >= light.seconds)
    assert np.all((predicted.low_s < predicted.seconds) & (predicted.seconds < predicted.high_s))
    for fraction in utilization(light, transfer.stack, transfer.spec, predicted.seconds):
        assert np.all((fraction > 0) & (fraction < 1))


@pytest.mark.parametrize("name", ENTRIES)
def test_more_layers_are_never_faster_at_equal_width(name: str) -> None:
    architecture = ENTRIES[name].architecture
    deeper = dataclasses.replace(architecture, num_layers=architecture.num_layers + 8)
    for p, o in ((1, 64), (2000, 1)):
        assert seconds(deeper, p, o, FUSED) > seconds(architecture, p, o, FUSED)


@pytest.mark.parametrize("name", [name for name, entry in ENTRIES.items() if entry.architecture.num_experts])
def test_mixtures_decode_by_active_and_load_by_total_parameters(name: str) -> None:
    architecture = ENTRIES[name].architecture
    more = dataclasses.replace(architecture, num_experts=2 * architecture.num_experts)
    assert more.num_parameters() > 1.5 * architecture.num_parameters()
    assert decode_s(more) < 1.1 * decode_s(architecture)
    # a dense model of the same total reads all of it for each token
    dense_ffn = architecture.ffn_size * architecture.num_experts + architecture.shared_ffn_size
    dense = dataclasses.replace(
        architecture, num_experts=0, num_active_experts=0, shared_ffn_size=0, ffn_size=dense_ffn, num_dense_layers=0
    )
    assert decode_s(dense) > 1.1 * decode_s(architecture)


@pytest.mark.parametrize(
    "name",
    [
        name
        for name, entry in ENTRIES.items()
        if entry.architecture.num_kv_heads < entry.architecture.num_heads and not entry.architecture.sliding_window
    ],
)
def test_grouped_queries_beat_full_heads_at_long_context(name: str) -> None:
    architecture = ENTRIES[name].architecture
    full = dataclasses.replace(architecture, num_kv_heads=architecture.num_heads)
    assert decode_s(architecture, 4096) < decode_s(full, 4096)


@pytest.mark.parametrize("name", ENTRIES)
def test_int8_is_never_slower_than_bf16_where_bandwidth_binds(name: str) -> None:
    architecture = ENTRIES[name].architecture
    assert seconds(architecture, 16, 256, model(dtype="int8")) <= seconds(architecture, 16, 256, FUSED)


def test_a_window_helps_and_faster_hardware_is_faster() -> None:
    gemma = ENTRIES["gemma-2-27b"].architecture
    unlimited = dataclasses.replace(gemma, sliding_window=0, num_full_attention_layers=0)
    assert seconds(gemma, 16000, 64, FUSED) < seconds(unlimited, 16000, 64, FUSED)
    llama = ENTRIES["llama-3-8b"].architecture
    by_accelerator = [
        seconds(llama, 1000, 200, model(accelerator=key)) for key in ("t4", "l4", "a100-80gb", "h200-sxm")
    ]
    assert by_accelerator[2] > by_accelerator[3]
    assert min(by_accelerator[:2]) > by_accelerator[2]


def test_latent_attention_keeps_decode_flat() -> None:
    deepseek = ENTRIES["deepseek-v3"].architecture
    plain = dataclasses.replace(deepseek, kv_lora_rank=0, q_lora_rank=0, rope_head_size=0)
    growth = [FUSED.fit(each).coefficients.decode_s_per_context_token for each in (deepseek, plain)]
    assert growth[0] < growth[1] / 10


def test_every_accelerator_of_the_catalog_has_a_roofline() -> None:
    llama = ENTRIES["llama-3-8b"].architecture
    for key, accelerator in load_accelerators().items():
        stack = Stack("any", key, engine="vllm", dtype="fp16")
        transfer = fit_transfer([], spec_of(accelerator, "fp16"), stack=stack)
        predicted = transfer.predict(llama, prompt_tokens=512, output_tokens=32)
        assert 0 < predicted.low_s < predicted.seconds < predicted.high_s < np.inf


@pytest.mark.parametrize(
    ("accelerator", "dtype", "flop_per_s"),
    [
        ("v100-32gb", "bf16", 125e12),
        ("v100-32gb", "int4", 125e12),
        ("h100-sxm", "fp4", 1978.9e12),
        ("cpu", "fp32", 1e11),
    ],
)
def test_a_dtype_without_matrix_units_is_computed_in_the_next(accelerator: str, dtype: str, flop_per_s: float) -> None:
    spec: AcceleratorSpec = spec_of(load_accelerators()[accelerator], dtype)
    assert spec.flop_per_s == pytest.approx(flop_per_s)
    assert spec.is_datasheet == (accelerator != "cpu")
