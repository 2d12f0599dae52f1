"""HELM's packaged tables as fits, against HELM's own function."""

import json
from importlib import resources
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from helm.benchmark.adaptation.request_state import RequestState
from helm.benchmark.metrics.efficiency_metrics import _compute_estimated_time_from_prompt_size_and_num_output_tokens
from helm.benchmark.scenarios.scenario import Input, Instance
from helm.common.request import Request

from helm_efficiency.core.fitting.fit import Fit
from helm_efficiency.core.measurement import Stack
from helm_efficiency.core.runtime_model import Domain, RuntimeCoefficients
from helm_efficiency.errors import FileFormatError, InputError
from helm_efficiency.formats.helm_tables import PACKAGED_STACK, packaged_fits, read_table

PROMPT_TOKENS = (0, 1, 2, 15, 16, 17, 128, 255, 256, 257, 511, 1000, 1024, 1537, 1919, 1920, 1921, 4000)
OUTPUT_TOKENS = (0, 1, 2, 63, 64, 500)


def table(name: str) -> dict[str, Any]:
    file = resources.files("helm.benchmark.efficiency_data").joinpath(f"inference_{name}_runtimes.json")
    content: dict[str, Any] = json.loads(file.read_text())
    return content


def request_state(deployment: str) -> RequestState:
    return RequestState(
        instance=Instance(input=Input(text=""), references=[]),
        reference_index=None,
        request_mode=None,
        train_trial_index=0,
        output_mapping=None,
        request=Request(model=deployment, model_deployment=deployment),
        result=None,
        num_train_instances=0,
        prompt_truncated=False,
    )


def of_helm(fit: Fit, runtimes: dict[str, Any]) -> np.ndarray:
    state = request_state(fit.deployment)
    return np.array(
        [
            [
                _compute_estimated_time_from_prompt_size_and_num_output_tokens(state, runtimes, p, o)
                for o in OUTPUT_TOKENS
            ]
            for p in PROMPT_TOKENS
        ]
    )


def test_all_37_tables_agree_with_helms_own_function_over_a_grid() -> None:
    fits = packaged_fits()
    tables = {"idealized": table("idealized"), "denoised": table("denoised")}
    assert len(fits) == 37
    for fit in fits:
        runtimes = tables["denoised" if fit.stack.accelerator == "service" else "idealized"]
        ours = fit.coefficients.predict(np.array(PROMPT_TOKENS)[:, None], np.array(OUTPUT_TOKENS)).seconds
        np.testing.assert_allclose(ours, of_helm(fit, runtimes), rtol=1e-14, atol=0, err_msg=fit.deployment)


def test_stacks_tiers_and_accelerators_of_the_idealized_table() -> None:
    fits = {fit.deployment: fit for fit in packaged_fits() if fit.stack.name == PACKAGED_STACK}
    assert list(fits) == list(table("idealized"))
    assert {name: fit.stack.num_accelerators for name, fit in fits.items()} == {
        "openai/ada": 1,
        "openai/davinci": 8,
        "together/opt-175b": 8,
        "ai21/j1-large": 1,
        "openai/curie": 1,
        "microsoft/TNLGv2_7B": 1,
        "ai21/j1-grande": 1,
        "ai21/j1-jumbo": 8,
        "huggingface/gptj_6b": 1,
        "gooseai/gpt-j-6b": 1,
        "together/gpt-j-6b": 1,
        "gooseai/gpt-neo-20b": 1,
        "together/gpt-neox-20b": 1,
        "microsoft/TNLGv2_530B": 24,
        "anthropic/stanford-online-all-v4-s3": 4,
        "cohere/xlarge-20220609": 4,
        "together/bloom": 8,
        "together/opt-66b": 4,
        "together/yalm": 4,
    }
    assert [name for name, fit in fits.items() if fit.tier == "shared"] == [
        "together/opt-175b",
        "openai/curie",
        "microsoft/TNLGv2_7B",
        "huggingface/gptj_6b",
        "gooseai/gpt-j-6b",
        "gooseai/gpt-neo-20b",
        "cohere/xlarge-20220609",
    ]
    assert (
        fits["cohere/xlarge-20220609"].notes[-1]
        == "the table of anthropic/stanford-online-all-v4-s3, which was measured"
    )
    bloom = fits["together/bloom"]
    assert str(bloom.stack) == "a100-80gb×8 megatron fp16 tp8"
    assert str(fits["microsoft/TNLGv2_530B"].stack) == "a100-80gb×24 megatron fp16 tp8 pp3"
    assert bloom.coefficients.domain == Domain(1, 1920, 1, 64)
    assert bloom.source.startswith("crfm-helm ")
    assert not any("not known" in note for fit in fits.values() for note in fit.notes)


def test_the_denoised_table_is_of_services() -> None:
    fits = {fit.deployment: fit for fit in packaged_fits() if fit.stack.name != PACKAGED_STACK}
    assert list(fits) == list(table("denoised"))
    davinci = fits["openai/davinci"]
    assert davinci.stack == Stack("service-openai", "service", engine="openai")
    assert davinci.coefficients.overhead_s == table("denoised")["openai/davinci"]["overhead"]


def write(folder: Path, content: object) -> Path:
    path = folder / "table.json"
    path.write_text(json.dumps(content))
    return path


def test_a_file_of_the_same_form(tmp_path: Path) -> None:
    entry = {"runtime_per_output_token": 0.1, "runtime_for_prompt_tokens": {"16": 0.5, "1": 0.25}}
    path = write(tmp_path, {"a/b": entry, "a/c": entry | {"overhead": 1.0}})
    ours, service = read_table(path, stack_name="v100-32gb-x")
    assert ours.coefficients == RuntimeCoefficients(
        "helm", ((1, 0.25), (16, 0.5)), 0.1, Domain(1, 16, 1, 64), relative_error=0.167
    )
    assert ours.stack == Stack("v100-32gb-x", "v100-32gb", engine="megatron", dtype="fp16")
    assert ours.notes[-1] == "number of accelerators not known: 1 assumed"
    assert (ours.source, service.stack.name) == ("table.json", "service-a")
    # 3 of 16 tokens: 0.5 * 3/16 = 0.09375; three further tokens 0.3; overhead 1
    np.testing.assert_allclose(service.coefficients.predict(3, 4).seconds, 1.39375)
    with pytest.raises(InputError, match=r"does not name its stack\. Name it: --stack"):
        read_table(path)


@pytest.mark.parametrize(
    "entry",
    [
        {"runtime_per_output_token": 0.1},
        {"runtime_per_output_token": 0.1, "runtime_for_prompt_tokens": {}},
        {"runtime_per_output_token": 0.1, "runtime_for_prompt_tokens": {"one": 1}},
        {"runtime_per_output_token": None, "runtime_for_prompt_tokens": {"1": 1}},
        [1],
    ],
)
def test_a_bad_entry_is_named(tmp_path: Path, entry: object) -> None:
    good = {"runtime_per_output_token": 0.1, "runtime_for_prompt_tokens": {"1": 0.5}}
    path = write(tmp_path, {"a/good": good, "a/bad": entry})
    with pytest.raises(FileFormatError, match=r"table\.json: entry 'a/bad': expected runtime_per_output_token"):
        read_table(path, stack_name="x")


def test_something_else(tmp_path: Path) -> None:
    with pytest.raises(FileFormatError, match=r"table\.json: expected a table of HELM"):
        read_table(write(tmp_path, {"a": 1}), stack_name="x")
