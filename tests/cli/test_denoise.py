"""The command denoise on real archives, and what it says of bad input."""

import csv
import io
import json
import re
from pathlib import Path
from typing import Any

import pytest
from helpers.odd_places import copy_to_change
from typer.testing import CliRunner

from helm_efficiency.cli import app
from helm_efficiency.core.fitting.fit import Fit
from helm_efficiency.core.measurement import Stack
from helm_efficiency.core.runtime_model import Domain, RuntimeCoefficients
from helm_efficiency.core.services.denoise import provider_factor, service_stack, total_s
from helm_efficiency.metrics.efficiency import Coefficients
from helm_efficiency.store import Store

PAGE = (Path(__file__).parents[2] / "docs" / "denoising.md").read_text(encoding="utf-8")


def documented(deployment: str) -> tuple[float, float]:
    """Return the observed and the denoised seconds that the page shows of a deployment."""
    (line,) = re.findall(rf"^{re.escape(deployment)} +(\d.*)$", PAGE, re.MULTILINE)
    _, observed, denoised, *_ = line.replace("≤", "").split()
    return float(observed), float(denoised)


def run(*arguments: object) -> Any:
    return CliRunner().invoke(app, ["denoise", *map(str, arguments)])


@pytest.fixture
def store(tmp_path: Path) -> Path:
    return tmp_path / "store.sqlite"


def test_two_hosts_of_the_same_prompts(data_dir: Path, store: Path) -> None:
    result = run(data_dir / "helm_runs" / "mmlu_llama3", "--store", store, "--format", "json")
    assert result.exit_code == 0
    reports = {report["deployment"]: report for report in json.loads(result.stdout)}
    assert list(reports) == [
        "groq/llama3-70b-8192",
        "groq/llama3-8b-8192",
        "huggingface/Meta-Llama-3-8B",
        "together/Llama-3-70b-chat-hf",
        "together/Llama-3-8b-chat-hf",
    ]
    groq = reports["groq/llama3-70b-8192"]
    # HELM's own mean over the three runs: (1.813 + 10.609 + 6.246) / 3 s, up to 28 s for one token
    assert groq["observed_s"] == pytest.approx(6.223, abs=0.001)
    assert 0.424 < groq["denoised_s"]["value"] < 0.8  # no less than the fastest, no more than a tenth of the mean
    assert groq["decode_s_per_token"] is None
    assert any(note.startswith("decode not identified: fitted to the 60 requests") for note in groq["notes"])
    assert groq["contended_share"] > 0.5
    assert groq["observed_over_denoised"]["p95"] > 10
    assert groq["stack"] == "service-groq"
    for name, report in reports.items():
        assert documented(name) == pytest.approx((report["observed_s"], report["denoised_s"]["value"]), rel=0.01)
        assert report["is_upper_bound"] and report["denoised_s"]["low"] is None
        assert report["denoised_s"]["value"] <= report["denoised_s"]["high"]
        assert report["denoised_s"]["value"] <= report["observed_s"]
        assert report["provider_factor"] is None
    services = Coefficients.from_store(Store(store, create=False)).services
    assert list(services) == list(reports)  # where scoring looks them up
    assert services["groq/llama3-70b-8192"].source == "latencies of 60 recorded requests"


def test_eight_hosts_as_csv(data_dir: Path, store: Path) -> None:
    result = run(data_dir / "latency" / "llmperf", "--store", store, "--format", "csv")
    assert result.exit_code == 0
    rows = list(csv.DictReader(io.StringIO(result.stdout)))
    assert len(rows) == 19
    shown = [row for row in rows if f"\n{row['deployment']} " in PAGE]
    assert len(shown) == 5
    for row in shown:
        told = (float(row["observed_s"]), float(row["denoised_s"]))
        assert documented(row["deployment"]) == pytest.approx(told, rel=0.01)
    together = next(row for row in rows if row["deployment"] == "together/13b")
    assert float(together["observed_s"]) == pytest.approx(2.953, abs=0.001)  # one request took 102 s
    assert float(together["denoised_s_high"]) < 1.7
    assert float(together["decode_s_per_token_low"]) > 0.005  # identified by times to first token
    assert together["overhead_s"] == together["provider_factor"] == ""


def test_table_of_one_deployment(data_dir: Path, store: Path) -> None:
    result = run(data_dir / "latency" / "llmperf", "--store", store, "--deployment", "groq/70b")
    assert result.exit_code == 0
    cells = re.split("  +", result.stdout.splitlines()[-1])
    assert cells[:3] + cells[4:5] == ["groq/70b", "150", "815", "0"]
    assert cells[3].startswith("815 (")
    assert cells[5].startswith("3.94 (3.")  # milliseconds a token
    assert result.stderr == (
        "groq/70b: prefill not told apart from overhead: prompts of 550 to 550 tokens; "
        "probe a wider range of prompt lengths\n"
    )


def test_provider_factor_on_a_stack(data_dir: Path, store: Path) -> None:
    domain = Domain(1, 2048, 1, 256)
    slow = RuntimeCoefficients("linear", ((1, 0.2), (2048, 0.4)), 0.01, domain, relative_error=0.02)
    Store(store).put_fit(Fit("groq/70b", Stack("a100", "a100-80gb", 8), slow))
    path = data_dir / "latency" / "llmperf" / "groq_70b.json"
    result = run(path, "--store", store, "--format", "json")
    (report,) = json.loads(result.stdout)
    # idealized: 0.2 + 0.2 · 549 / 2047 + 149 · 0.01 = 1.7436 s
    expected = report["denoised_s"]["value"] / 1.7436
    assert report["provider_factor"]["value"] == pytest.approx(expected, rel=1e-3)
    assert report["provider_factor"]["low"] < expected < report["provider_factor"]["high"]
    assert report["idealized_stack"] == "a100"
    (other,) = json.loads(run(path, "--store", store, "--stack", "h100", "--format", "json").stdout)
    assert other["provider_factor"] is None


def test_services_of_2022_come_with_helm(store: Path) -> None:
    """HELM's own tables: davinci's API gave a token in 0.030 s, Megatron on eight A100 takes 0.081 s."""
    assert CliRunner().invoke(app, ["import", "helm-packaged", "--store", str(store)]).exit_code == 0
    coefficients = Coefficients.from_store(Store(store, create=False))
    service = coefficients.services["openai/davinci"]
    assert service.stack == service_stack("openai/davinci")
    match = coefficients.match(coefficients.default_stack() or "", "openai/davinci", "openai/davinci")
    assert match is not None
    many_tokens = (1, 100_000)
    factor = provider_factor(total_s(service.coefficients, *many_tokens), total_s(match.fit.coefficients, *many_tokens))
    assert factor.value == pytest.approx(0.030 / 0.081, rel=0.001)
    assert factor.low < factor.value < factor.high


def test_weeks(data_dir: Path, store: Path) -> None:
    archive = data_dir / "helm_runs" / "mmlu_llama3"
    result = run(archive, "--store", store, "--deployment", "groq/llama3-8b-8192", "--weeks", "--format", "json")
    rows = json.loads(result.stdout)
    # ten requests of 16 May are too few for a level; two of more than one output token are not described
    assert [(row["begin"], row["end"], row["requests"]) for row in rows] == [
        ("2024-05-20T08:46:40Z", "2024-05-20T08:51:22Z", 48)
    ]
    assert rows[0]["low"] < 1.0 < rows[0]["high"]


def test_the_papers_estimator_is_stored_by_name(store: Path, tmp_path: Path) -> None:
    cells = {(16, 1): 0.2, (16, 9): 0.6, (512, 1): 0.3, (512, 9): 0.7}
    rows = [
        {"number_input_tokens": p, "number_output_tokens": o, "end_to_end_latency_s": s + wait, "ttft_s": 0.1 * s}
        for (p, o), s in cells.items()
        for wait in (0.01, 0.0, 0.02, 0.015, 0.005, 3.0)
    ]
    (tmp_path / "host_m.json").write_text(json.dumps(rows))
    assert run(tmp_path / "host_m.json", "--store", store, "--minimum").exit_code == 0
    (fit,) = Store(store, create=False).fits(deployment="host/m", stack="service-host")
    assert dict(fit.coefficients.prefill_knots) == pytest.approx({16: 0.2, 512: 0.3})
    assert fit.coefficients.decode_s_per_token == pytest.approx((0.6 - 0.2) / 8)
    assert fit.notes[-1] == "minimum over trials: lower with every further trial"


def test_too_few_requests_are_told_and_the_others_done(data_dir: Path, store: Path) -> None:
    result = run(data_dir / "helm_runs" / "small", "--store", store, "--format", "json")
    assert result.exit_code == 1
    reports = json.loads(result.stdout)
    assert [(report["deployment"], report["num_requests"]) for report in reports] == [
        ("huggingface/gpt2", 15),
        ("huggingface/pythia-1b-v0", 10),
    ]
    assert reports[0]["notes"] == [
        "15 usable requests, expected at least 20: fewer do not tell contention from service. "
        "Send more, for instance with the run entry efficiency_probe."
    ]
    assert result.stderr == "huggingface/gpt2: not denoised\nhuggingface/pythia-1b-v0: not denoised\n"
    assert Store(store, create=False).fits() == []


def test_a_damaged_run_is_told_and_the_others_read(data_dir: Path, store: Path, tmp_path: Path) -> None:
    archive = tmp_path / "llmperf"
    archive.mkdir()
    for name in ("groq_70b.json", "together_70b.json"):
        copy_to_change(data_dir / "latency" / "llmperf" / name, archive / name)
    (archive / "groq_70b.json").write_text((archive / "groq_70b.json").read_text()[:900])
    result = run(archive, "--store", store, "--format", "json")
    assert result.exit_code == 1
    assert [report["deployment"] for report in json.loads(result.stdout)] == ["together/70b"]
    assert "groq_70b.json: Input data was truncated.\n" in result.stderr


def test_a_clock_that_was_set_back_is_told(data_dir: Path, store: Path, tmp_path: Path) -> None:
    source = data_dir / "helm_runs" / "small" / "runs" / "v1" / "mmlu-subject=philosophy,method=multiple_choice_joint"
    archive = tmp_path / "v1" / "run"
    copy_to_change(source.with_name(source.name + ",model=openai_gpt2"), archive)
    state = json.loads((archive / "scenario_state.json").read_text())
    state["request_states"][3]["result"]["request_time"] = -3599.2
    (archive / "scenario_state.json").write_text(json.dumps(state))
    result = run(tmp_path / "v1", "--store", store)
    assert result.exit_code == 1
    assert result.stderr == (
        "run/scenario_state.json: Expected `float` >= 0.0 - at `$.request_states[3].result.request_time`. "
        "A time below 0: the client's clock was set back. Run it again.\n"
    )


def test_nothing_to_denoise_is_wrong_use(data_dir: Path, store: Path, tmp_path: Path) -> None:
    empty = tmp_path / "empty"
    empty.mkdir()
    result = run(empty, "--store", store)
    assert str(result.exception) == f"No requests of any deployment in {empty}."
    result = run(data_dir / "latency" / "llmperf", "--deployment", "nobody/m", "--store", store)
    assert str(result.exception).startswith("No requests of nobody/m in ")
