"""Speed of light: worked examples, and what no stack can beat."""

import dataclasses

import numpy as np
import pytest

from helm_efficiency.core.measurement import Stack
from helm_efficiency.core.transfer.architecture import Architecture
from helm_efficiency.core.transfer.roofline import AcceleratorSpec, pass_flops, speed_of_light, utilization
from helm_efficiency.errors import InputError

LLAMA_8B = Architecture("llama-3-8b", 32, 4096, 32, 8, 128, 14336, 128256, gated_ffn=True)
A100 = AcceleratorSpec(312e12, 2.039e12, 300e9, 108)
ALONE = Stack("a100", "a100-80gb", dtype="bf16")


def test_flops_of_a_pass_by_hand() -> None:
    layers = 32 * (2 * 4096 * 4096 + 2 * 4096 * 1024 + 3 * 4096 * 14336)
    # one new token at context 100: weights, scores and values of 100 pairs, logits
    assert pass_flops(LLAMA_8B, 1, 100) == 2 * layers + 32 * 4 * 4096 * 100 + 2 * 128256 * 4096
    # a prompt of 10: 1 + 2 + … + 10 = 55 pairs
    assert pass_flops(LLAMA_8B, 10, 10) == 20 * layers + 32 * 4 * 4096 * 55 + 2 * 128256 * 4096


def test_decode_reads_the_weights_and_the_cache_once_a_step() -> None:
    light = speed_of_light(LLAMA_8B, ALONE, A100, prompt_tokens=100, output_tokens=3)
    # two steps; halfway through them the context is 101.5 tokens; 128 KiB of cache a token
    step_bytes = 2 * (8_029_995_008 - 128256 * 4096) + 101.5 * 131072
    assert light.decode_s == pytest.approx(2 * step_bytes / 2.039e12)
    assert light.seconds == light.prefill_s + light.decode_s
    _, mbu = utilization(light, ALONE, A100, light.decode_s)
    assert 1.0 < mbu < 2.0  # the prompt's bytes on top of two steps at full bandwidth


def test_a_long_prompt_is_bound_by_flops_and_splits_evenly() -> None:
    light = speed_of_light(LLAMA_8B, ALONE, A100, prompt_tokens=[4096], output_tokens=[1])
    assert light.prefill_s == pytest.approx(pass_flops(LLAMA_8B, 4096, 4096) / 312e12)
    mfu, _ = utilization(light, ALONE, A100, light.prefill_s)
    assert mfu == pytest.approx(1.0)
    split = dataclasses.replace(ALONE, tensor_parallel=4, num_accelerators=4)
    assert speed_of_light(LLAMA_8B, split, A100, prompt_tokens=4096, output_tokens=1).prefill_s == light.prefill_s / 4


def test_a_window_bounds_attention() -> None:
    windowed = dataclasses.replace(LLAMA_8B, sliding_window=1024)
    short, long = 512, 8192
    assert pass_flops(windowed, short, short) == pass_flops(LLAMA_8B, short, short)
    assert pass_flops(windowed, long, long) < pass_flops(LLAMA_8B, long, long)


def test_bad_input_is_refused() -> None:
    with pytest.raises(InputError, match="Unknown dtype 'fp12'"):
        speed_of_light(LLAMA_8B, dataclasses.replace(ALONE, dtype="fp12"), A100, prompt_tokens=1, output_tokens=1)
    with pytest.raises(InputError, match="peak FLOP/s and a memory bandwidth"):
        AcceleratorSpec(0.0, 1e12)


def test_requests_without_output_take_no_decode() -> None:
    light = speed_of_light(LLAMA_8B, ALONE, A100, prompt_tokens=np.array([5, 5]), output_tokens=np.array([0, 1]))
    assert light.decode_s.tolist() == [0.0, 0.0]
