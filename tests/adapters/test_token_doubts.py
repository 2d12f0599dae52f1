"""Counts of tokens that are too low: found, settled where the record knows better, and told wherever they go."""

import json
from datetime import date
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from helpers.archives import A100, SERVICE, coefficients_of
from helpers.written_runs import AUTUMN_2025, write_answers
from typer.testing import CliRunner

from helm_efficiency.adapters.helm.format import Instance, Request, RequestResult, RequestState
from helm_efficiency.adapters.helm.hidden_reasoning import hides_reasoning
from helm_efficiency.adapters.helm.runs import read_run
from helm_efficiency.adapters.sources import find_sources
from helm_efficiency.adapters.token_counts import TokenFacts
from helm_efficiency.cli import app
from helm_efficiency.core.fitting.fit import Fit
from helm_efficiency.metrics.efficiency import Coefficients
from helm_efficiency.metrics.pricing import Pricing
from helm_efficiency.metrics.services import services
from helm_efficiency.report.display import display
from helm_efficiency.report.leaderboard import build
from helm_efficiency.report.tables import load
from helm_efficiency.rescoring.plan import Plan, StatsTarget, make_plan
from helm_efficiency.rescoring.rescore import rescore


def plan_with(output: Path, *fits: Fit, **options: Any) -> Plan:
    pricing = Pricing.as_of(date(2025, 9, 1))
    return make_plan(Coefficients.from_fits(fits), stacks=["a100"], output=output, pricing=pricing, **options)


def requests_of(output: Path) -> pd.DataFrame:
    return pd.concat([pd.read_parquet(part) for part in sorted((output / "requests").glob("*.parquet"))])


def test_cut_off_answers_count_what_the_limit_says(data_dir: Path, tmp_path: Path) -> None:
    """Together's client stored each answer of 20 tokens as one."""
    together = "together/Llama-3-70b-chat-hf"
    plan = plan_with(tmp_path, Fit(together, A100, coefficients_of()), Fit(together, SERVICE, coefficients_of(0.018)))
    runs = data_dir / "helm_runs" / "mmlu_llama3"
    rescore(plan, [s for s in find_sources([str(runs)], besides=tmp_path) if "together_Llama-3-70b" in s.url])
    requests = requests_of(tmp_path)
    assert set(requests.output_tokens) == {20}
    assert requests.doubts.isna().all()
    # 0.0001 s a prompt token and 19 further output tokens at 0.02 s: not 1, which would take a tenth of it
    assert requests.idealized_s.to_numpy() == pytest.approx(0.0001 * requests.prompt_tokens + 19 * 0.02, abs=1e-4)
    part = build(load(tmp_path)).part()
    assert part["provider_factor"].item() == pytest.approx(
        (requests.prompt_tokens.mean() / 1e4 + 19 * 0.018) / requests.idealized_s.mean(), rel=0.01
    )


@pytest.mark.parametrize(
    ("deployment", "seconds", "doubted"),
    [
        ("openai/gpt-5-2025-08-07", 0.5, True),  # known to reason
        ("openai/gpt-4o-2024-11-20", 5.6, False),  # known not to
        ("acme/oracle", 5.6, True),  # nobody knows, but no service takes 5.6 s for one token
        ("acme/oracle", 0.5, False),
        ("huggingface/my-oracle", 5.6, False),  # a slow machine; HELM stores all that it writes
    ],
)
def test_hidden_reasoning_is_a_doubt(tmp_path: Path, deployment: str, seconds: float, doubted: bool) -> None:
    run = read_run(write_answers(tmp_path / "run", deployment, ["B"] * 20, seconds=seconds))
    assert {record.doubts for record in run.records} == {("reasoning_not_counted",) if doubted else ()}
    if doubted:
        assert run.warnings == (
            "20 of 20 requests: the model reasoned before it answered, and HELM counted the answer alone",
        )
        (service,) = services(run.records)
        assert dict(service.set_apart) == {"no token counts": 20}


@pytest.mark.parametrize(("reasons", "waits"), [(True, False), (False, False), (False, True)])
def test_optional_reasoning_shows_in_long_answers(reasons: bool, waits: bool) -> None:
    """Claude 4 reasons on request: 60 tokens a second, and 10 s before the first one if it was asked to."""
    rng = np.random.default_rng(0)
    states, facts = [], []
    for tokens in rng.integers(60, 600, 40).tolist():
        seconds = 1.2 + tokens / 60 + reasons * rng.lognormal(np.log(10), 0.5)
        seconds += waits * (rng.random() < 0.3) * rng.exponential(5)
        result = RequestResult(request_time=seconds, request_datetime=AUTUMN_2025)
        states.append(RequestState(Instance(), Request(), result))
        facts.append(TokenFacts(output_tokens=tokens))
    name = "anthropic/claude-sonnet-4-20250514"
    assert hides_reasoning(name, name, states, facts) is reasons


def test_reasoning_that_was_counted_is_no_doubt(tmp_path: Path) -> None:
    shown = read_run(write_answers(tmp_path / "shown", "deepseek-ai/deepseek-r1", ["let me see </think> B"]))
    assert [(r.output_tokens, r.doubts) for r in shown.records] == [(5, ())]
    cut_off = write_answers(tmp_path / "cut", "openai/gpt-5-2025-08-07", ["it may"], finish_reason="length")
    assert [(r.output_tokens, r.doubts) for r in read_run(cut_off).records] == [(512, ())]


def test_reasoning_kept_apart_is_a_doubt(tmp_path: Path) -> None:
    folder = write_answers(tmp_path / "apart", "together/some-model", ["B"])
    state = json.loads((folder / "scenario_state.json").read_text())
    state["request_states"][0]["result"]["completions"][0]["thinking"] = {"text": "let me see"}
    (folder / "scenario_state.json").write_text(json.dumps(state))
    assert [r.doubts for r in read_run(folder).records] == [("reasoning_not_counted",)]


@pytest.fixture
def reasoned(tmp_path: Path) -> Path:
    """A scored archive of GPT-5, whose reasoning HELM did not count, and GPT-4o."""
    write_answers(tmp_path / "runs" / "v1" / "qa-a", "openai/gpt-5-2025-08-07", ["B"] * 40)
    write_answers(tmp_path / "runs" / "v1" / "qa-b", "openai/gpt-4o-2024-11-20", ["B"] * 40, seconds=0.5)
    output = tmp_path / "out"
    fits = [
        Fit(deployment, stack, coefficients_of())
        for deployment in ("openai/gpt-5-2025-08-07", "openai/gpt-4o-2024-11-20")
        for stack in (A100, SERVICE)
    ]
    rescore(plan_with(output, *fits), find_sources([str(tmp_path / "runs")], besides=output))
    return output


def test_doubtful_counts_have_a_bound_and_no_bill(reasoned: Path) -> None:
    requests = requests_of(reasoned).set_index("deployment")
    gpt5, gpt4o = (requests.loc[name] for name in ("openai/gpt-5-2025-08-07", "openai/gpt-4o-2024-11-20"))
    # $1.25 a million prompt tokens and $10 a million output tokens, three and one of which were counted
    assert gpt5.api_usd_at_least.to_numpy() == pytest.approx((3 * 1.25 + 10) / 1e6)
    assert gpt5[["api_usd", "api_usd_today"]].isna().all(axis=None)
    assert set(gpt5.doubts) == {"reasoning_not_counted"}
    assert gpt4o.api_usd.to_numpy() == pytest.approx(gpt4o.api_usd_at_least)
    assert gpt4o.doubts.isna().all()
    runs = pd.read_parquet(reasoned / "runs.parquet").set_index("deployment")
    assert runs.num_doubtful.to_dict() == {"openai/gpt-5-2025-08-07": 40, "openai/gpt-4o-2024-11-20": 0}


def test_a_board_marks_bounds_and_makes_no_factor_of_them(reasoned: Path) -> None:
    board = build(load(reasoned))
    part = board.part().set_index("deployment")
    gpt5, gpt4o = (part.loc[name] for name in ("openai/gpt-5-2025-08-07", "openai/gpt-4o-2024-11-20"))
    assert gpt4o["provider_factor"] == pytest.approx(1.0)
    assert pd.isna(gpt5["provider_factor"])
    assert pd.isna(gpt5["api_usd_rank"])
    assert not gpt5["api_usd_front"]
    shown = display(board, scenario=board.scenarios[0])
    cells = {row[1]: dict(zip(shown.headings, row, strict=True)) for row in shown.rows}
    idealized = next(heading for heading in shown.headings if heading.startswith("Idealized"))
    assert cells["GPT-5 (2025-08-07) · openai"]["API cost ($/1k)"] == "≥ 0.0138"
    assert cells["GPT-5 (2025-08-07) · openai"][idealized].startswith("≥ ")
    assert not cells["GPT-4o (2024-11-20) · openai"][idealized].startswith("≥ ")
    assert any("tokens of 40 requests were counted too low" in line for line in shown.legend)
    page = CliRunner().invoke(app, ["report", str(reasoned), "--output", str(reasoned / "page.html")])
    assert page.exit_code == 0, page.stderr
    text = (reasoned / "page.html").read_text()
    assert "tokens of 40 requests were counted too low" in text
    assert "reasoning_not_counted 40" in text


def test_what_was_written_is_read_with_who_counted(tmp_path: Path) -> None:
    """The provider's counts stay the provider's when a run changed in place is read again."""
    archive = write_answers(tmp_path / "runs" / "v1" / "qa", "acme/m", ["it is", "so"], seconds=0.5)
    provider = json.loads((archive / "per_instance_stats.json").read_text())
    for entry in provider:
        split = {"split": "test"}
        counts = {"num_prompt_tokens": 83, "num_output_tokens": 40, "num_reasoning_tokens": 30}
        counts |= {"num_cache_read_tokens": 64, "prompt_tokens_from_usage": 1, "output_tokens_from_usage": 1}
        entry["stats"] = [stat for stat in entry["stats"] if not stat["name"]["name"].startswith("num_")]
        entry["stats"] += [{"name": {"name": n, **split}, "count": 1, "sum": value} for n, value in counts.items()]
    (archive / "per_instance_stats.json").write_text(json.dumps(provider))
    for _ in range(2):
        for record in read_run(archive).records:
            assert (record.prompt_tokens, record.output_tokens, record.reasoning_tokens) == (83, 40, 30)
            assert (record.cache_read_tokens, record.max_completion_tokens) == (64, 40)
            assert (record.prompt_provenance, record.output_provenance) == ("usage", "usage")
        plan = plan_with(tmp_path / "out", Fit("acme/m", A100, coefficients_of()), target=StatsTarget.in_place)
        rescore(plan, find_sources([str(archive)], besides=tmp_path / "out"))
