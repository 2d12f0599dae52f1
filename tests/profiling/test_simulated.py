"""Simulated profiles, by the real AIConfigurator and its tables."""

import dataclasses
import json
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from helm_efficiency import Store, load_architectures
from helm_efficiency.cli import app
from helm_efficiency.core.fitting.fit import fit_profile
from helm_efficiency.errors import InputError, ProfilingError
from helm_efficiency.profiling.simulated.aiconfigurator import PACKAGE, Deployment, simulate
from helm_efficiency.profiling.simulated.configs import made_up_model, simulated_model
from helm_efficiency.profiling.simulated.jobs import SimulatedJob, run_simulated_job

pytest.importorskip("aiconfigurator_core", reason="the extra [stacks] is not installed")

LLAMA_8B = "meta/llama-3.1-8b-instruct"


def test_batch_one_agrees_with_a_published_server() -> None:
    # NVIDIA NIM, Llama 3.3 70B, fp8, two H100: 18.6 to 18.9 ms a token, first token of 500 tokens after 47.8 ms
    simulation = simulate("meta-llama/Meta-Llama-3.1-70B", Deployment("h100-sxm", "trtllm", "fp8", tensor_parallel=2))
    assert 0.0175 < simulation.decode_step_s(512) < 0.0198
    assert 0.040 < simulation.prefill_s(512) < 0.055


def test_made_up_config_is_as_fast_as_the_published_one() -> None:
    architecture = load_architectures().find(LLAMA_8B).architecture
    assert simulated_model(architecture).config == "meta-llama/Meta-Llama-3.1-8B"
    published = simulate("meta-llama/Meta-Llama-3.1-8B", Deployment("h100-sxm", dtype="bf16"))
    made_up = simulate(made_up_model(architecture).config, Deployment("h100-sxm", dtype="bf16"))
    assert made_up.prefill_s(2048) == published.prefill_s(2048)
    assert made_up.decode_step_s(2048, batch_size=16) == published.decode_step_s(2048, batch_size=16)


def test_fit_follows_the_simulated_cells() -> None:
    profile, outcome = run_simulated_job(SimulatedJob(LLAMA_8B, LLAMA_8B, Deployment("h100-sxm", dtype="bf16")))
    fit = fit_profile(dataclasses.replace(profile, correction=None), rule="linear")
    assert outcome.finished and fit.tier == "simulated"
    timed = [m for m in profile.measurements if m.batch_size <= 64]
    p, o, b, seconds = np.array([(m.prompt_tokens, m.output_tokens, m.batch_size, m.seconds) for m in timed]).T
    assert np.mean(np.abs(fit.coefficients.predict(p, o, batch_size=b).seconds / seconds - 1.0)) < 0.03


def test_versions_say_where_the_times_come_from() -> None:
    profile, _ = run_simulated_job(SimulatedJob("openai/gpt-oss-20b", "oss", Deployment("h200-sxm", "sglang")))
    assert profile.tier == "simulated"
    assert profile.stack.dtype == "mxfp4"
    assert set(profile.versions) == {PACKAGE, f"{PACKAGE} tables"}
    assert profile.versions[f"{PACKAGE} tables"] == f"h200_sxm/sglang/{profile.stack.engine_version}"


def test_missing_kernels_are_named_in_one_line() -> None:
    with pytest.raises(ProfilingError, match=r"cannot simulate .* fp4.*nvfp4") as raised:
        simulate("meta-llama/Meta-Llama-3.1-8B", Deployment("a100-80gb", dtype="fp4"))
    assert "\n" not in str(raised.value) and "site-packages" not in str(raised.value)


@pytest.mark.parametrize(
    "wrong", [{"accelerator": "mi300x"}, {"engine": "llama.cpp"}, {"dtype": "fp3"}, {"tensor_parallel": 0}]
)
def test_unknown_hardware_lists_what_there_is(wrong: dict[str, object]) -> None:
    with pytest.raises(InputError, match=r"expected|There are some of"):
        Deployment(**{"accelerator": "h100-sxm", **wrong})  # type: ignore[arg-type]


def test_simulated_command_fills_a_store(tmp_path: Path) -> None:
    store = tmp_path / "s.sqlite"
    runs_on = ["--accelerator", "h200-sxm", "--engine", "vllm", "--dtype", "fp8", "--tensor-parallel", "2"]
    _run("profile", LLAMA_8B, "--simulated", *runs_on, "--store", str(store))
    _run("fit", "--store", str(store))
    asked = ["--prompt-tokens", "1000", "--output-tokens", "100", "--format", "json"]
    (predicted,) = json.loads(_run("predict", "--store", str(store), "--deployment", LLAMA_8B, *asked))
    assert (predicted["tier"], predicted["stack"]) == ("simulated", "simulated-h200-sxm-vllm-fp8")
    assert Store(store).fit(LLAMA_8B).stack.num_accelerators == 2


def _run(*arguments: str) -> str:
    result = CliRunner().invoke(app, arguments)
    assert result.exit_code == 0, result.output
    return result.stdout


def test_mxfp4_on_blackwell_has_timed_kernels() -> None:
    timed, other = (simulate("openai/gpt-oss-120b", Deployment("b200", engine)) for engine in ("trtllm", "vllm"))
    assert timed.estimated_kernels == ()
    assert timed.decode_step_s(1500, batch_size=64) < 1.5 * other.decode_step_s(1500, batch_size=64)
