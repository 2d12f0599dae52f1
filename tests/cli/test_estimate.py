"""`estimate`: every kind of model name gives times and costs on an empty machine, from the strongest evidence."""

import json
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from helm_efficiency.cli import app
from helm_efficiency.core.fitting.fit import Fit
from helm_efficiency.core.measurement import Stack
from helm_efficiency.core.runtime_model import Domain, RuntimeCoefficients
from helm_efficiency.errors import CatalogError, EfficiencyError, InputError
from helm_efficiency.store import Store

CONFIG = {
    "model_type": "llama",
    "architectures": ["LlamaForCausalLM"],
    "num_hidden_layers": 2,
    "hidden_size": 64,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "intermediate_size": 128,
    "vocab_size": 1000,
}
KEYS = [
    "model",
    "stack",
    "tier",
    "engine",
    "dtype",
    "num_accelerators",
    "prompt_tokens",
    "output_tokens",
    "concurrency",
    "ttft_s",
    "ttft_low_s",
    "ttft_high_s",
    "tpot_s",
    "tpot_low_s",
    "tpot_high_s",
    "request_s",
    "request_low_s",
    "request_high_s",
    "output_tok_per_s_per_accelerator",
    "usd_per_1k_requests",
    "usd_per_1m_tokens",
]


@pytest.fixture(autouse=True)
def empty_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder without a store, where every test stands."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "config.json").write_text(json.dumps(CONFIG))
    return tmp_path


def text(*arguments: object) -> str:
    result = CliRunner().invoke(app, ["estimate", *map(str, arguments)], env={"COLUMNS": "80"})
    if isinstance(result.exception, EfficiencyError):
        raise result.exception
    assert result.exit_code == 0, result.output
    return result.stdout


def rows(*arguments: object) -> list[dict[str, Any]]:
    found = json.loads(text(*arguments, "--format", "json"))
    return [row for row in found if row["stack"] is not None]


@pytest.mark.parametrize(
    "name", ["llama-3.1-8b", "meta-llama/Llama-3.1-8B-Instruct", "meta/llama-3.1-8b-instruct", "./config.json"]
)
def test_every_kind_of_name_has_times_and_costs(name: str) -> None:
    found = rows(name, "--on", "h100-sxm", "--input", 1000, "--output", 300, "--concurrency", "1,16")
    assert [row["concurrency"] for row in found] == [1, 16]
    for row in found:
        assert set(KEYS) <= set(row)
        assert 0 < row["ttft_s"] < row["request_s"]
        assert row["request_low_s"] < row["request_s"] < row["request_high_s"]
        assert row["tpot_low_s"] < row["tpot_s"] < row["tpot_high_s"]
        assert row["usd_per_1k_requests"] == pytest.approx(row["usd_per_1m_tokens"] * 1.3)  # 1,300 tokens a request


def test_alone_a_request_pays_for_all_accelerators() -> None:
    (row,) = rows("llama-3.1-70b", "--on", "4xh100-sxm", "--concurrency", 1)
    hours = row["request_s"] * 4 / 3600
    assert row["num_accelerators"] == 4
    assert row["usd_per_1k_requests"] == pytest.approx(hours * row["usd_per_accelerator_hour"] * 1000)


def test_sharing_a_server_is_slower_and_cheaper() -> None:
    alone, many = rows("llama-3.1-8b", "--on", "h100-sxm", "--concurrency", "1,64")
    assert many["request_s"] > alone["request_s"]
    assert many["usd_per_1k_requests"] < alone["usd_per_1k_requests"] / 5


def test_without_hardware_every_priced_accelerator_is_compared() -> None:
    found = rows("llama-3.1-8b")
    assert len({row["accelerator"] for row in found}) > 8
    costs = [row["usd_per_1k_requests"] for row in found]
    assert costs == sorted(costs)


def test_energy_is_known_under_load_alone() -> None:
    alone, many = rows("llama-3.1-8b", "--on", "h100-sxm", "--concurrency", "1,64")
    assert (alone["energy_j"], alone["energy_from"]) == (None, None)
    assert 0 < many["energy_low_j"] < many["energy_j"] < many["energy_high_j"]
    assert many["energy_from"].startswith("ML.ENERGY benchmark v3")
    assert rows("llama-3.1-8b", "--on", "a100-80gb", "--concurrency", "64")[0]["energy_j"] is None


def test_a_model_that_is_not_modelled_says_so() -> None:
    told = text("qwen/qwen3-next-80b-a3b-instruct", "--input", 1000, "--output", 100)
    assert told.startswith(
        "qwen/qwen3-next-80b-a3b-instruct: linear-attention layers (Gated DeltaNet) are not modelled"
    )


def test_a_closed_model_has_api_prices_alone() -> None:
    told = text("gpt-4o", "--input", 1000, "--output", 100)
    assert told.startswith("gpt-4o: its weights are not published, so there are only API prices, no times.")
    assert "OpenAI $3.50" in told  # 1,000 x 2.50 and 100 x 10 dollars a million
    assert "profile" not in told


def test_measurements_come_before_estimates_where_they_say_enough(tmp_path: Path) -> None:
    domain = Domain(1, 2048, 1, 256)
    measured = RuntimeCoefficients("linear", ((1, 0.1), (2048, 0.1)), 0.01, domain, relative_error=0.02)
    stack = Stack("h100-sxm-vllm-bf16", "h100-sxm", engine="vllm", dtype="bf16")
    Store(tmp_path / "s.sqlite").put_fit(Fit("meta/llama-3.1-8b-instruct", stack, measured))
    asked = ("--on", "h100-sxm", "--input", 100, "--output", 101, "--concurrency", "1,16", "--store", "s.sqlite")
    alone, many = rows("meta/llama-3.1-8b-instruct", *asked)
    assert (alone["tier"], many["tier"] != "measured") == ("measured", True)
    assert alone["request_s"] == pytest.approx(0.1 + 100 * 0.01)


def test_a_service_level_sets_the_load() -> None:
    (row,) = rows("llama-3.1-8b", "--on", "h100-sxm", "--slo", "ttft=1s,tpot=50ms")
    assert row["concurrency"] > 8
    assert row["ttft_s"] < 1
    assert row["tpot_s"] < 0.05


def test_a_file_of_requests_is_one_workload(tmp_path: Path) -> None:
    (tmp_path / "mine.csv").write_text("prompt_tokens,output_tokens\n100,10\n300,30\n")
    (row,) = rows("llama-3.1-8b", "--on", "h100-sxm", "--requests", "mine.csv", "--concurrency", 1)
    assert (row["prompt_tokens"], row["output_tokens"], row["num_requests"]) == (200, 20, 2)
    assert "All 2 requests: $" in text("llama-3.1-8b", "--on", "h100-sxm", "--requests", "mine.csv")


def test_the_table_fits_and_names_the_evidence() -> None:
    told = text("llama-3.1-70b", "--on", "4xh100-sxm")
    assert max(map(len, told.splitlines())) <= 80
    assert "Evidence: " in told
    assert "API prices today" in told
    assert "$6.88 an hour" in told


def test_nothing_is_written(empty_folder: Path) -> None:
    text("llama-3.1-8b", "--on", "h100-sxm")
    assert [path.name for path in empty_folder.iterdir()] == ["config.json"]


def test_unknown_names_are_answered_with_similar_ones() -> None:
    with pytest.raises(InputError, match=r"Did you mean .*llama-3"):
        text("llama-3.1-7b", "--on", "h100-sxm")
    with pytest.raises(InputError, match="expected such as h100-sxm"):
        text("llama-3.1-8b", "--on", "0xh100-sxm")
    with pytest.raises(CatalogError, match="h1000"):
        text("llama-3.1-8b", "--on", "h1000")


def test_predict_and_cost_take_the_same_names() -> None:
    request = ("--deployment", "meta-llama/Llama-3.1-8B-Instruct", "--prompt-tokens", "512", "--output-tokens", "64")
    asked = [*request, "--on", "h100-sxm", "--format", "json"]
    (predicted,) = json.loads(CliRunner().invoke(app, ["predict", *asked]).stdout)
    (cost, *_) = json.loads(CliRunner().invoke(app, ["cost", *asked]).stdout)
    assert predicted["idealized_s"] == pytest.approx(cost["accelerator_s"])
