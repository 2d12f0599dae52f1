"""Coefficients that the package brings, read as a user's command reads them."""

import dataclasses

import pytest

from helm_efficiency import load_architectures
from helm_efficiency.catalog.default_stacks import (
    DEFAULT_STACK,
    default_fit,
    default_fits,
    default_models,
    default_stacks,
)
from helm_efficiency.core.tier import Tier
from helm_efficiency.errors import UnknownDeploymentError

LLAMA_8B = "meta/llama-3.1-8b-instruct"


def test_every_packaged_model_predicts_on_some_stack() -> None:
    for model in default_models():
        fits = default_fits(model)
        assert fits and {fit.tier for fit in fits} == {Tier.simulated}, model
        for fit in fits:
            alone, loaded = (fit.coefficients.predict(1000, 200, batch_size=b) for b in (1, 64))
            assert 0 < alone.low_s < alone.seconds < alone.high_s and alone.in_domain, (model, fit.stack)
            assert alone.seconds < loaded.seconds < 64 * alone.seconds, (model, fit.stack)


def test_stacks_are_named_by_accelerator_engine_and_dtype() -> None:
    assert {DEFAULT_STACK, "h200-sxm-sglang-native", "b200-trtllm-fp8-x8"} <= set(default_stacks())
    native, fp8, eight = (default_fit(LLAMA_8B, f"h100-sxm-vllm-{name}") for name in ("native", "fp8", "fp8-x8"))
    assert (native.stack.dtype, fp8.stack.dtype, eight.stack.dtype) == ("bf16", "fp8", "fp8")
    assert (native.stack.num_accelerators, eight.stack.num_accelerators) == (1, 8)
    token_s = [fit.coefficients.decode_s_per_token for fit in (native, fp8, eight)]
    assert token_s == sorted(token_s, reverse=True)


def test_model_without_a_row_is_found_by_its_layers() -> None:
    architecture = load_architectures().find(LLAMA_8B).architecture
    mine = dataclasses.replace(architecture, name="me/my-llama")
    fit = default_fit(mine)
    assert fit.deployment == "me/my-llama" and any("layers are the same" in note for note in fit.notes)
    assert fit.coefficients == default_fit(LLAMA_8B).coefficients


def test_checkpoint_dtype_is_the_native_one() -> None:
    assert default_fit("openai/gpt-oss-120b").stack.dtype == "mxfp4"
    assert default_fit("deepseek-ai/deepseek-v3", "h200-sxm-sglang-native").stack.dtype == "fp8"


def test_unknown_stack_lists_those_of_the_model() -> None:
    with pytest.raises(UnknownDeploymentError, match=r"Stacks with some of this model: .*h100-sxm-vllm-fp8"):
        default_fit(LLAMA_8B, "h100-sxm-vllm-int3")
    assert default_fits("nobody/has-this") == []
