"""Coefficients that the package brings, read as a user's command reads them."""

import dataclasses

from helm_efficiency import load_architectures
from helm_efficiency.catalog.default_stacks import _table, default_fits
from helm_efficiency.catalog.simulation_corrections import simulation_correction
from helm_efficiency.core.fitting.fit import Fit
from helm_efficiency.core.tier import Tier
from helm_efficiency.core.transfer.architecture import Architecture

LLAMA_8B = "meta/llama-3.1-8b-instruct"


def default_fit(model: str | Architecture, stack: str = "h100-sxm-vllm-native") -> Fit:
    (fit,) = default_fits(model, stack)
    return fit


def test_every_packaged_model_predicts_on_some_stack() -> None:
    for model in (model.name for model in _table().models):
        fits = default_fits(model)
        assert fits and {fit.tier for fit in fits} == {Tier.simulated}, model
        for fit in fits:
            alone, loaded = (fit.coefficients.predict(1000, 200, batch_size=b) for b in (1, 64))
            assert 0 < alone.low_s < alone.seconds < alone.high_s and alone.in_domain, (model, fit.stack)
            assert alone.seconds < loaded.seconds < 64 * alone.seconds, (model, fit.stack)


def test_stacks_are_named_by_accelerator_engine_and_dtype() -> None:
    names = {fit.stack.name for fit in default_fits(LLAMA_8B)}
    assert {"h100-sxm-vllm-native", "h200-sxm-sglang-native", "b200-trtllm-fp8-x8"} <= names
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


def test_unknown_models_and_stacks_have_no_coefficients() -> None:
    assert default_fits(LLAMA_8B, "h100-sxm-vllm-int3") == default_fits("nobody/has-this") == []


def test_latent_attention_has_a_correction_of_its_own() -> None:
    stack = default_fit("deepseek-ai/deepseek-v3", "h200-sxm-sglang-native").stack
    names = ("deepseek-ai/deepseek-v3", "qwen3-30b-a3b", LLAMA_8B)
    kinds = {name: load_architectures().find(name).architecture for name in names}
    factors = [simulation_correction(stack, architecture).decode_factor for architecture in kinds.values()]
    assert len(set(factors)) == 3
    assert simulation_correction(stack).decode_error > simulation_correction(stack, kinds[LLAMA_8B]).decode_error
