"""`rescore` and `score` with nothing set up: a stated default stack, which the folder remembers."""

import json
from pathlib import Path
from typing import Any

import pytest
from helpers.odd_places import copy_to_change
from typer.testing import CliRunner

from helm_efficiency.cli import app
from helm_efficiency.core.fitting.fit import Fit
from helm_efficiency.core.measurement import Stack
from helm_efficiency.core.runtime_model import Domain, RuntimeCoefficients
from helm_efficiency.errors import EfficiencyError, InputError
from helm_efficiency.metrics.efficiency import Coefficients
from helm_efficiency.store import Store


@pytest.fixture(autouse=True)
def runs(data_dir: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Three runs below `runs`, in a folder without a store."""
    copy_to_change(data_dir / "helm_runs" / "small" / "runs" / "v1", tmp_path / "runs" / "v1")
    monkeypatch.chdir(tmp_path)
    return tmp_path / "runs"


def call(*arguments: str) -> Any:
    result = CliRunner().invoke(app, list(arguments))
    if isinstance(result.exception, EfficiencyError):
        raise result.exception
    return result


def rescored(*arguments: str) -> dict[str, Any]:
    result = call("rescore", "runs", *arguments, "--format", "json")
    assert result.exit_code == 0, result.output
    summary: dict[str, Any] = json.loads(result.stdout)
    return summary


def test_without_a_store_open_models_are_scored_on_a_stated_stack() -> None:
    result = call("rescore", "runs", "--output", "scored")
    assert result.exit_code == 0
    assert result.stdout.startswith("Scored on h100-sxm-vllm-native\n")
    summary = rescored()
    assert (summary["num_requests"], summary["missing"]) == (25, [])
    assert {match["stack"] for match in summary["matches"]} == {"h100-sxm-vllm-native"}


def test_the_folder_remembers_its_stack_and_a_change_is_told() -> None:
    assert rescored("--on", "h200-sxm:sglang")["stacks"] == ["h200-sxm-sglang-native"]
    assert rescored()["stacks"] == ["h200-sxm-sglang-native"]
    changed = call("rescore", "runs", "--on", "a100-80gb")
    assert "scored was scored on h200-sxm-sglang-native before; now on a100-80gb-vllm-native." in changed.stderr


def test_a_lost_stack_is_not_replaced_silently() -> None:
    domain = Domain(1, 2048, 1, 256)
    fitted = RuntimeCoefficients("linear", ((1, 0.1), (2048, 0.1)), 0.01, domain, relative_error=0.02)
    for name in ("one", "two"):
        fit = Fit("openai/gpt2", Stack(f"{name}-stack", "a100-80gb"), fitted)
        Store(Path(f"{name}.sqlite")).put_fit(fit)
    assert rescored("--store", "one.sqlite")["stacks"] == ["one-stack"]
    with pytest.raises(InputError, match="which two.sqlite does not have".replace(".", r"\.")):
        call("rescore", "runs", "--store", "two.sqlite")


def test_own_measurements_come_first_on_named_hardware() -> None:
    domain = Domain(1, 4096, 1, 256)
    fitted = RuntimeCoefficients("linear", ((1, 0.1), (4096, 0.1)), 0.01, domain, relative_error=0.02)
    Store(Path("prod_env/efficiency.sqlite")).put_fit(
        Fit("openai/gpt2", Stack("h100-sxm-vllm-bf16", "h100-sxm", engine="vllm", dtype="bf16"), fitted)
    )
    rescored("--on", "h100-sxm:vllm")
    board = json.loads(call("leaderboard", "scored", "--format", "json").stdout)
    assert {row["tier"] for row in board if row["deployment"] == "huggingface/gpt2"} == {"measured"}


def test_the_path_is_checked_before_the_store() -> None:
    with pytest.raises(InputError, match="nope"):
        call("rescore", "nope")


def test_a_near_miss_of_names_is_told() -> None:
    domain = Domain(1, 4096, 1, 256)
    fitted = RuntimeCoefficients("linear", ((1, 0.1), (4096, 0.1)), 0.01, domain, relative_error=0.02)
    known = Coefficients.from_fits([Fit("tiny", Stack("cpu-x", "cpu"), fitted)])
    told = "profiled as 'tiny' on cpu-x: rename with import --deployment huggingface/tiny"
    assert told in known.near_text("huggingface/tiny")
    assert known.near_text("huggingface/small") == ""


def test_score_ranks_and_draws_in_one_command() -> None:
    result = call("score", "runs")
    assert result.exit_code == 0, result.output
    assert "Scored on h100-sxm-vllm-native" in result.stdout
    assert "GPT-2 1.5B · huggingface" in result.stdout
    assert "services; their models are in prod_env/efficiency.sqlite" in result.stderr
    assert Path("scored/tradeoff.png").stat().st_size > 10_000


def test_a_store_of_services_alone_leaves_the_usual_stack() -> None:
    domain = Domain(1, 4096, 1, 256)
    fitted = RuntimeCoefficients("linear", ((1, 0.1), (4096, 0.1)), 0.01, domain, relative_error=0.02)
    Store(Path("prod_env/efficiency.sqlite")).put_fit(
        Fit("huggingface/gpt2", Stack("service-huggingface", "unknown"), fitted)
    )
    assert rescored()["stacks"] == ["h100-sxm-vllm-native"]
