"""The cost commands, run as a user runs them."""

import json
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from helpers.run_commands import call

from helm_efficiency.core.fitting.fit import Fit
from helm_efficiency.core.measurement import Measurement, Profile, Stack
from helm_efficiency.core.runtime_model import Domain, RuntimeCoefficients
from helm_efficiency.metrics.table import REQUEST_COLUMNS, request_schema
from helm_efficiency.store import Store


def rows_of(*arguments: str, code: int = 0) -> list[dict[str, Any]]:
    done = call(*arguments, "--format", "json")
    assert done.code == code, done.stderr
    rows: list[dict[str, Any]] = json.loads(done.stdout)
    return rows


@pytest.fixture
def store(tmp_path: Path) -> Path:
    """One deployment on 4 A100: 1 s for any prompt, 0.25 s a further token, measured to batches of 8."""
    path = tmp_path / "store.sqlite"
    stack = Stack("a100-80gb-x", "a100-80gb", 4, engine="x")
    coefficients = RuntimeCoefficients("linear", ((1, 1.0), (100, 1.0)), 0.25, Domain(1, 100, 1, 64, 8))
    opened = Store(path)
    opened.put_fit(Fit("a/b", stack, coefficients))
    opened.put_profile(Profile("a/b", stack, (Measurement(1, 1, 1.0),)))
    return path


def request(store: Path) -> list[str]:
    return ["cost", "--store", str(store), "--deployment", "a/b", "--prompt-tokens", "10", "--output-tokens", "5"]


def test_cost_of_a_request(store: Path) -> None:
    # 1 + 4 * 0.25 = 2 s on 4 accelerators: 8 accelerator-s, shared by 8: 1
    # dollars: 8 / 3600 * 4.096; energy: 8 * 400 W * 0.5 = 1600 J; at 900 g/kWh 0.4 g
    paper = ["--price-list", "paper-2023", "--utilization", "0.5", "--grid-g-per-kwh", "900"]
    latency, throughput = rows_of(*request(store), *paper)
    assert latency == {
        "profile": "latency",
        "batch_size": 1,
        "num_accelerators": 4,
        "accelerator_s": 8.0,
        "usd": pytest.approx(8 / 3600 * 4.096),
        "usd_per_accelerator_hour": 4.096,
        "price_date": "2023-05-03",
        "price_source": "Narayanan et al., arXiv 2305.02440: AWS, 8-A100 instance divided by 8",
        "energy_j": 1600.0,
        "energy_low_j": None,
        "energy_high_j": None,
        "energy_from": "estimate: 0.5 of 400 W",
        "co2_g": pytest.approx(0.4),
        "tier": "measured",
        "stack": "a100-80gb×4 x",
    }
    assert (throughput["profile"], throughput["batch_size"], throughput["accelerator_s"]) == ("throughput", 8, 1.0)


def test_energy_that_was_measured_comes_first(store: Path) -> None:
    fit = Store(store).fit("a/b")
    # 1200 J in 1 s on 4 accelerators: 300 W each
    Store(store).put_profile(Profile("a/b", fit.stack, (Measurement(1, 1, 1.0, energy_j=1200.0),)))
    latency, _ = rows_of(*request(store), "--utilization", "0.5")
    assert (latency["energy_j"], latency["energy_from"]) == (2400.0, "measured power")


def test_a_batch_that_was_not_measured_is_missing(store: Path) -> None:
    latency, throughput = rows_of(*request(store), "--batch-size", "16", code=1)
    assert latency["usd"] is not None
    assert (throughput["accelerator_s"], throughput["usd"]) == (None, None)
    assert "was measured at batches of up to 8 only" in call(*request(store), "--batch-size", "16").stderr


def test_no_price_by_that_day(store: Path) -> None:
    done = call(*request(store), "--price-date", "2001-01-01")
    assert done.code == 1
    assert "a100-80gb has no price in the list 'on-demand' by that day" in done.stderr


def test_accelerators_lists_all_with_prices_as_of_a_day() -> None:
    by_key = {row["accelerator"]: row for row in rows_of("accelerators", "--price-date", "2026-10-01")}
    assert by_key["a100-80gb"] == {
        "accelerator": "a100-80gb",
        "memory_gb": 80.0,
        "gb_per_s": 2039.0,
        "tflop_per_s": 312.0,
        "tdp_w": 400.0,
        "usd_per_hour": 3.43088125,
        "price_date": "2026-03-04",
    }
    assert len(by_key) == 54
    old = {row["accelerator"]: row["usd_per_hour"] for row in rows_of("accelerators", "--price-date", "2024-01-01")}
    assert (old["a100-80gb"], old["h200-sxm"]) == (5.12, None)


def test_one_accelerator_with_every_source() -> None:
    rows = rows_of("accelerators", "v100-16gb")
    assert [(row["figure"], row["value"], row["unit"], row["date"]) for row in rows] == [
        ("name", "NVIDIA V100 SXM2 16GB", None, None),
        ("memory", 16.0, "GB", None),
        ("memory bandwidth", 900.0, "GB/s", None),
        ("dense fp32", 15.7, "TFLOP/s", None),
        ("dense fp16", 125.0, "TFLOP/s", None),
        ("link", 300.0, "GB/s", None),
        ("thermal design power", 300.0, "W", None),
        ("accelerators a node", 8, "", None),
        ("price, paper-2023", 3.06, "USD/hour", "2023-05-03"),
        ("price, on-demand", 3.06, "USD/hour", "2026-09-14"),
        ("price, lambda", 0.79, "USD/hour", "2026-09-17"),
    ]
    assert all(rows[index]["source"] for index in (0, 8, 9))


LLAMA_70B = {
    "model_type": "llama",
    "hidden_size": 8192,
    "intermediate_size": 28672,
    "num_hidden_layers": 80,
    "num_attention_heads": 64,
    "num_key_value_heads": 8,
    "vocab_size": 128256,
    "hidden_act": "silu",
    "tie_word_embeddings": False,
}


def test_a_model_needs_what_its_checkpoint_weighs(tmp_path: Path) -> None:
    counts = {
        name: rows_of("accelerators", "h200-sxm", "--fits", name)[0]["num_accelerators"]
        for name in ("deepseek-ai/deepseek-r1", "openai/gpt-oss-120b", "meta/llama-3.1-70b-instruct")
    }
    assert counts == {"deepseek-ai/deepseek-r1": 8, "openai/gpt-oss-120b": 1, "meta/llama-3.1-70b-instruct": 2}
    config = tmp_path / "config.json"
    config.write_text(json.dumps({**LLAMA_70B, "quantization_config": {"quant_method": "awq", "bits": 4}}))
    (awq,) = rows_of("accelerators", "h100-sxm", "--fits", str(config))
    assert (awq["num_accelerators"], awq["weights_gb"]) == (1, pytest.approx(70.55 / 2, rel=1e-3))


def test_how_many_a_model_needs(tmp_path: Path) -> None:
    config = tmp_path / "config.json"
    config.write_text(json.dumps(LLAMA_70B))
    fits = ["accelerators", "--fits", str(config), "--context-tokens", "8192"]
    (h100,) = rows_of(*fits[:1], "h100-sxm", *fits[1:])
    # 70.55 billion weights of 2 bytes on 2 accelerators; 8192 tokens * 80 layers * 2 * 8 heads * 128 * 2 bytes on 2
    assert (h100["num_accelerators"], h100["nodes"]) == (2, 1)
    assert h100["weights_gb"] == pytest.approx(141.1 / 2, rel=1e-3)
    assert h100["kv_cache_gb"] == pytest.approx(8192 * 80 * 2 * 8 * 128 * 2 / 2 / 1e9)
    assert h100["workspace_gb"] == pytest.approx(8.0)
    assert h100["margin_gb"] == pytest.approx(80 - 8 - h100["weights_gb"] - h100["kv_cache_gb"])
    assert h100["usd_per_hour"] == pytest.approx(2 * 6.88)
    counts = {row["accelerator"]: row["num_accelerators"] for row in rows_of(*fits)}
    assert (counts["mi300x"], counts["b200"], counts["h200-sxm"], counts["v100-32gb"]) == (1, 1, 2, 8)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["accelerators", "h101"], "helm-efficiency: Unknown accelerator 'h101'. Did you mean h100-sxm? "),
        (["accelerators", "--prices", "none.csv"], "helm-efficiency: none.csv: cannot be read as a price file"),
        (["accelerators", "cpu", "--fits", "{llama}", "--context-tokens", "9000000"], "does not fit on 80 acc"),
        (["accelerators", "--fits", "{broken}"], "not a readable config.json"),
        (["accelerators", "--fits", "{llama}", "--dtype", "fp12"], "Unknown dtype 'fp12'. Known: fp32, "),
        (["savings", "nowhere", "--store", "{store}"], "nowhere: no requests table"),
    ],
)
def test_wrong_use_is_one_clear_line(tmp_path: Path, store: Path, arguments: list[str], message: str) -> None:
    (tmp_path / "llama.json").write_text(json.dumps(LLAMA_70B))
    (tmp_path / "broken.json").write_text("{")
    names = {"llama": tmp_path / "llama.json", "broken": tmp_path / "broken.json", "store": store}
    done = call(*(argument.format(**names) for argument in arguments))
    assert (done.code, done.stdout, done.stderr.count("\n")) == (2, "", 1)
    assert message in done.stderr


def write_scored(folder: Path, *, api_usd: float | None) -> Path:
    """A scored archive of one request to a/b that took 8 accelerator-seconds."""
    row = dict.fromkeys(REQUEST_COLUMNS) | {
        "deployment": "a/b",
        "model": "a/b",
        "stack": "a100-80gb-x",
        "accelerator_s": 8.0,
        "api_usd": api_usd,
    }
    (folder / "requests").mkdir(parents=True)
    pq.write_table(pa.Table.from_pylist([row], schema=request_schema()), folder / "requests" / "part-0.parquet")
    return folder


def test_savings_of_an_archive_at_own_prices(tmp_path: Path, store: Path) -> None:
    prices, api_prices = tmp_path / "prices.csv", tmp_path / "api.csv"
    prices.write_text("accelerator,usd_per_accelerator_hour,date,source\na100-80gb,3600,2020-01-01,a dollar a second\n")
    api_prices.write_text("deployment,input_usd_per_mtok,output_usd_per_mtok,date,source\na/b,100,0,2020-01-01,ours\n")
    scored = write_scored(tmp_path / "scored", api_usd=2.0)
    (row,) = rows_of(
        *("savings", str(scored), "--store", str(store), "--prices", str(prices), "--api-prices", str(api_prices))
    )
    # idealized: 50 * 8 + 2 = 402 against a profile of 1 s on 4 accelerators: 4 + 2 = 6
    # denoised: 10 * 2 = 20 against the probe, 10 * 23303 tokens at $100 a million: 23.303 + 2
    assert row == {
        "deployment": "a/b",
        "stack": "a100-80gb-x",
        "num_requests": 1,
        "answers_usd": 2.0,
        "idealized_repeated_usd": 402.0,
        "idealized_calibrated_usd": 6.0,
        "idealized_factor": 67.0,
        "denoised_repeated_usd": 20.0,
        "denoised_calibrated_usd": 25.303,
        "denoised_factor": pytest.approx(20 / 25.303),
    }


def test_savings_that_cannot_be_told_are_listed(tmp_path: Path, store: Path) -> None:
    scored = write_scored(tmp_path / "scored", api_usd=None)
    done = call("savings", str(scored), "--store", str(store))
    assert done.code == 1
    assert done.stderr == "a/b on a100-80gb-x: 1 of 1 requests without an API price\n"
