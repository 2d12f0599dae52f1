"""The commands about architectures, transfer and coverage, run as a user runs them."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from typer.testing import CliRunner, Result

from helm_efficiency.cli import app
from helm_efficiency.core.fitting.fit import fit_profile
from helm_efficiency.core.measurement import Measurement, Profile, Stack
from helm_efficiency.errors import CatalogError, InputError
from helm_efficiency.formats.megatron import read_megatron_log
from helm_efficiency.store import Store

A100 = "a100-80gb-megatron-fp16"
CONFIG = {
    "model_type": "llama",
    "architectures": ["LlamaForCausalLM"],
    "hidden_size": 64,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "num_hidden_layers": 2,
    "intermediate_size": 128,
    "vocab_size": 1000,
    "tie_word_embeddings": True,
}


@pytest.fixture(autouse=True)
def _in_its_own_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


@pytest.fixture(scope="module")
def store(data_dir: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("store") / "s.sqlite"
    opened = Store(path)
    for name in ("ai21_j1_large", "gptj_6b", "anthropic", "bloom"):
        profile = read_megatron_log(data_dir / "megatron_logs" / "a100" / f"{name}.log")
        opened.put_profile(profile)
        opened.put_fit(fit_profile(profile))
    return path


def run(*arguments: str) -> Result:
    return CliRunner().invoke(app, list(arguments))


def rows(*arguments: str) -> list[dict[str, Any]]:
    result = run(*arguments, "--format", "json")
    assert result.exit_code == 0, result.output
    return list(json.loads(result.stdout))


def test_list_and_show() -> None:
    assert [row["architecture"] for row in rows("architecture", "list", "mixtral")] == ["mixtral-8x7b", "mixtral-8x22b"]
    assert len(rows("architecture", "list")) > 100
    facts = {row["fact"]: row["value"] for row in rows("architecture", "show", "meta/llama-3.1-8b-instruct")}
    assert facts["name"] == "llama-3-8b"
    assert facts["parameters"] == facts["active_parameters"] == 8_029_995_008
    assert facts["kv_cache_bytes_per_token_16_bit"] == 131072
    assert "2407.21783" in facts["source"]


def test_add_keeps_a_config_beside_the_packaged_ones(tmp_path: Path) -> None:
    folder = tmp_path / "my-model"
    folder.mkdir()
    (folder / "config.json").write_text(json.dumps(CONFIG))
    added = rows("architecture", "add", str(folder), "--helm-model", "me/my-model")
    # 2 x (2 x 64x64 + 2 x 64x32 + 3 x 64x128) + 1000x64
    assert [(row["architecture"], row["parameters"]) for row in added] == [("my-model", 137_728)]
    assert Path("prod_env/architectures.yaml").is_file()
    assert [row["architecture"] for row in rows("architecture", "list", "my-model")] == ["my-model"]
    assert rows("architecture", "show", "me/my-model")[0] == {"fact": "name", "value": "my-model"}


def test_add_refuses_what_it_cannot_describe(tmp_path: Path) -> None:
    path = tmp_path / "config.json"
    path.write_text(json.dumps({**CONFIG, "model_type": "mamba"}))
    assert "state-space" in str(run("architecture", "add", str(path)).exception)
    path.write_text("[]")
    assert "expected a JSON object" in str(run("architecture", "add", str(path)).exception)
    path.write_text("{")
    assert "not a readable config.json" in str(run("architecture", "add", str(path)).exception)
    assert "no such file" in str(run("architecture", "add", "nowhere.json").exception)
    missing = run("architecture", "add", "acme/no-such-model").exception
    assert isinstance(missing, InputError)
    assert "nor a model to be had from the hub" in str(missing)


def test_transfer_shows_interval_and_speed_of_light(store: Path) -> None:
    asked = ("meta/llama-3.1-8b-instruct", "eleutherai/gpt-j-6b", "together/bloom")
    predicted = rows("transfer", *asked, "--store", str(store), "--dry-run")
    assert [(row["model"], row["tier"], row["stack"]) for row in predicted] == [
        ("meta/llama-3.1-8b-instruct", "transferred", "a100-80gb×1 megatron fp16"),
        ("eleutherai/gpt-j-6b", "shared", "a100-80gb×1 megatron fp16"),
        ("together/bloom", "measured", "a100-80gb×8 megatron fp16 tp8"),
    ]
    for row in predicted:
        assert 0 < row["speed_of_light_s"] < row["idealized_s"]
        assert row["low_s"] < row["idealized_s"] < row["high_s"]
        assert 0 < row["mfu_fraction"] < row["mbu_fraction"] < 1
    assert len(Store(store).fits()) == 4


def test_one_measured_cell_of_a_model_sharpens_what_the_others_say_of_it(store: Path, tmp_path: Path) -> None:
    profile = next(p for p in Store(store).profiles() if p.deployment == "together/gpt-j-6b")
    before, after = Store(tmp_path / "before.sqlite"), Store(tmp_path / "after.sqlite")
    for own in (before, after):
        for other in Store(store).profiles():
            if other.deployment != profile.deployment:
                own.put_profile(other)
    cell = tuple(m for m in profile.measurements if (m.prompt_tokens, m.output_tokens) == (512, 16))
    after.put_profile(replace(profile, measurements=cell))
    fitted = run("fit", "--store", str(after.path), "--deployment", profile.deployment)
    assert fitted.exit_code == 1
    assert "Measure another" in fitted.stderr
    assert "helm-efficiency transfer" in fitted.stderr

    p, o, seconds = np.array([(m.prompt_tokens, m.output_tokens, m.seconds) for m in profile.measurements]).T
    errors, half_widths = [], []
    for own in (before, after):
        assert rows("transfer", "eleutherai/gpt-j-6b", "--store", str(own.path))[0]["tier"] == "transferred"
        fit = own.fit("eleutherai/gpt-j-6b", A100)
        predicted = fit.coefficients.predict(p, o)
        errors.append(float(np.mean(np.abs(predicted.seconds / seconds - 1.0))))
        half_widths.append(float(np.mean(predicted.high_s / predicted.seconds - 1.0)))
        assert np.mean((predicted.low_s <= seconds) & (predicted.high_s >= seconds)) > 0.85
    (by_deployment,) = rows("transfer", "together/gpt-j-6b", "--store", str(after.path), "--dry-run")
    assert by_deployment["idealized_s"] == pytest.approx(float(fit.coefficients.predict(512, 64).seconds), rel=0.01)
    assert errors[1] < min(errors[0], 0.02)
    assert half_widths[1] < half_widths[0]
    assert fit.notes[:2] == ("transferred from 3 profiled models", "sharpened by 1 measured cell of its own")


def test_transfer_gives_every_model_of_the_catalog_a_runtime_and_coverage_counts_them(
    store: Path, tmp_path: Path, data_dir: Path
) -> None:
    own = tmp_path / "s.sqlite"
    own.write_bytes(store.read_bytes())
    before = {row["tier"]: row["deployments"] for row in rows("coverage", "--store", str(own))}
    assert "transferred" not in before
    assert before["shared"] == 2  # HELM's gpt-j-6b and gpt-jt-6b-v1, measured as together/gpt-j-6b
    transferred = rows("transfer", "--store", str(own))
    assert len(transferred) > 250
    assert all(row["idealized_s"] > row["speed_of_light_s"] for row in transferred)
    covered = rows("coverage", "--store", str(own))
    assert sum(row["deployments"] for row in covered if row["tier"] == "transferred") > 250
    assert {row["why"] for row in covered if row["tier"] != "none"} == {None}
    assert "its weights and sizes are not published" in {row["why"] for row in covered}
    archive = rows("coverage", str(data_dir / "helm_runs"), "--store", str(own), "--deployments")
    assert {row["tier"] for row in archive} <= {"transferred", "shared"}
    assert sum(row["num_requests"] for row in archive) == 325


def test_transfer_of_a_stack_nobody_measured_is_a_roofline() -> None:
    row = rows("transfer", "qwen3-8b", "--accelerator", "h100-sxm", "--dry-run")[0]
    assert (row["tier"], row["stack"]) == ("roofline", "h100-sxm×1 roofline bf16")
    assert row["high_s"] / row["low_s"] > 1.5
    assert (
        "speed_of_light_s"
        not in rows("transfer", "qwen3-8b", "--accelerator", "cpu", "--dtype", "fp32", "--dry-run")[0]
    )


def test_each_model_has_the_precision_of_its_checkpoint() -> None:
    models = ("deepseek-ai/deepseek-r1", "openai/gpt-oss-120b", "Qwen/Qwen3-32B-FP8", "qwen3-8b")
    found = rows("transfer", *models, "--accelerator", "h100-sxm", "--dry-run")
    # 671 GB of fp8 weights need more than a node of 8 x 80 GB; 58 GB of fp4 and 33 GB of fp8 weights fit on one each.
    assert [row["stack"] for row in found] == [
        "h100-sxm×16 roofline fp8 tp8 pp2",
        "h100-sxm×1 roofline fp4",
        "h100-sxm×1 roofline fp8",
        "h100-sxm×1 roofline bf16",
    ]
    (forced,) = rows("transfer", "openai/gpt-oss-120b", "--accelerator", "h100-sxm", "--dtype", "bf16", "--dry-run")
    assert forced["stack"] == "h100-sxm×4 roofline bf16 tp4"
    assert all(row["low_s"] < row["idealized_s"] < row["high_s"] for row in found)


def test_validate_leaves_each_model_out(store: Path) -> None:
    validated = rows("transfer", "--validate", "--store", str(store))
    assert len(validated) == 4
    assert max(row["error_fraction"] for row in validated) < 0.08


def test_few_small_accelerators_still_hold_every_model(store: Path, tmp_path: Path) -> None:
    t4 = Stack("t4-vllm-fp32", "t4", engine="vllm", dtype="fp32")
    own = Store(tmp_path / "t4.sqlite")
    known = Store(store).profiles(deployment="together/gpt-j-6b")[0]
    own.put_profile(Profile("me/x", t4, (Measurement(1, 1, 0.1), Measurement(1, 9, 0.9)), known.architecture))
    predicted = {row["model"]: row for row in rows("transfer", "--store", str(own.path), "--dry-run")}
    assert predicted["moonshotai/kimi-k2-instruct"]["stack"].startswith("t4×")
    assert predicted["moonshotai/kimi-k2-instruct"]["tier"] == "transferred"
    assert predicted["eleutherai/gpt-j-6b"]["tier"] == "transferred"  # the profile has no fit to share


def test_wrong_use_is_one_clear_line(store: Path, tmp_path: Path) -> None:
    empty = Store(tmp_path / "empty.sqlite")
    for arguments, expected in (
        (("transfer", "--store", str(empty.path)), "profiles of known architectures on 0 stacks (none)"),
        (("transfer", "--store", str(store), "--stack", "nope"), "Stacks with profiles: " + A100),
        (("transfer", "acme/gpt-9", "--store", str(store)), "'acme/gpt-9': neither in the store nor in the catalog."),
        (("architecture", "show", "ai21/jamba-1.5-mini"), "state-space"),
    ):
        error = run(*arguments).exception
        assert isinstance(error, (InputError, CatalogError))
        assert expected in str(error)
