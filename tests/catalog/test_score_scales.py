"""Scale and meaning of scores: those of HELM's schemas, and what is made of them in tables and on boards."""

from importlib.resources import files
from pathlib import Path

import numpy as np
import pytest
import yaml
from helpers.archives import A100, coefficients_of
from helpers.written_runs import write_answers

from helm_efficiency.adapters.sources import find_sources
from helm_efficiency.catalog.score_scales import counts_correct_answers, on_one_scale, score_scale
from helm_efficiency.core.fitting.fit import Fit
from helm_efficiency.metrics.efficiency import Coefficients
from helm_efficiency.report.board import Leaderboard
from helm_efficiency.report.leaderboard import build
from helm_efficiency.report.notes import ALL
from helm_efficiency.report.plots import tradeoff_pages
from helm_efficiency.report.tables import load
from helm_efficiency.rescoring.plan import make_plan
from helm_efficiency.rescoring.rescore import rescore

WITHOUT_A_SCALE = {"alrage_score", "arabic_content_generation_score", "model_judged_score", "none"} | {"rougeL"}
"""Main scores for which HELM's schemas name no scale."""


@pytest.fixture(scope="module")
def schemas() -> list[dict[str, object]]:
    shipped = [file for file in files("helm.benchmark.static").iterdir() if file.name.startswith("schema_")]
    return [yaml.load(file.read_text(), Loader=yaml.CSafeLoader) for file in shipped]


def test_every_main_score_of_helm_has_a_scale(schemas: list[dict[str, object]]) -> None:
    groups = [group for schema in schemas for group in schema["run_groups"]]
    names = {name for group in groups if (name := (group.get("environment") or {}).get("main_name"))}
    assert {name for name in names if score_scale(name) is None} == WITHOUT_A_SCALE


def test_juries_rate_from_one_to_five(schemas: list[dict[str, object]]) -> None:
    described = {m["name"]: m.get("description") or "" for schema in schemas for m in schema.get("metrics") or ()}
    juries = [name for name, text in described.items() if "LLM-based jury" in text]
    assert len(juries) >= 12
    assert {(scale.low, scale.high, scale.kind.value) for name in juries if (scale := score_scale(name))} == {
        (1, 5, "graded")
    }


@pytest.mark.parametrize(
    "name", ["bleu_4", "f1_score", "rouge_l", "ifeval_strict_accuracy", "toxic_frac", "my_score", None]
)
def test_not_every_fraction_counts_right_answers(name: str | None) -> None:
    assert not counts_correct_answers([name])
    assert not counts_correct_answers([])
    assert counts_correct_answers(["exact_match", "quasi_exact_match@5"])


def test_unlike_scales_meet_between_zero_and_one() -> None:
    comparable = on_one_scale(["exact_match", "medi_qa_accuracy", "toxic_frac", "wer"])
    values = np.array([1.0, 0.25])
    assert comparable(["exact_match"], values).tolist() == [1.0, 0.25]
    assert comparable(["medi_qa_accuracy"], np.array([1.0, 4.0])).tolist() == [0.0, 0.75]
    assert comparable(["toxic_frac"], values).tolist() == [0.0, 0.75]
    assert np.isnan(comparable(["wer"], values)).all()
    assert on_one_scale(["wer"])(["wer"], values) is values


def board_of(folder: Path, **scores: tuple[str, list[float]]) -> Leaderboard:
    """Two models, the first as given, the second half as good on every scenario."""
    models = ("openai/gpt-4o-2024-11-20", "openai/gpt-4o-mini-2024-07-18")
    for scenario, (name, values) in scores.items():
        for model, share in zip(models, (1.0, 0.5), strict=True):
            run = folder / "runs" / "v1" / f"{scenario}-{share}"
            its = (name, [value * share for value in values])
            write_answers(run, model, ["B"] * 10, seconds=0.5, scenario=scenario, score=its)
    output = folder / "out"
    plan = make_plan(
        Coefficients.from_fits(Fit(model, A100, coefficients_of()) for model in models), stacks=["a100"], output=output
    )
    rescore(plan, find_sources([str(folder / "runs")], besides=output))
    return build(load(output))


def test_the_worst_of_a_jury_is_no_correct_answer(tmp_path: Path) -> None:
    board = board_of(tmp_path, medi_qa=("medi_qa_accuracy", [2.0]), gsm=("exact_match", [1.0, 0.0]))
    assert set(board.part("medi_qa")["score"]) == {1.0, 2.0}
    assert board.part("medi_qa")["idealized_s_per_correct"].isna().all()
    assert board.part("gsm")["idealized_s_per_correct"].notna().all()
    assert board.part(ALL)["idealized_s_per_correct"].isna().all()
    (figure,) = tradeoff_pages([board.part("gsm"), board.part("medi_qa")])
    assert figure.axes[0].get_xlim() == figure.axes[1].get_xlim()
    assert figure.axes[0].get_ylim() != figure.axes[1].get_ylim()


def test_a_mean_of_unlike_scores_is_of_one_scale(tmp_path: Path) -> None:
    board = board_of(tmp_path, medi_qa=("medi_qa_accuracy", [4.0]), gsm=("exact_match", [1.0, 0.0]))
    # (4 - 1) / 4 and 0.5; (2 - 1) / 4 and 0.25
    assert board.part(ALL)["score"].tolist() == pytest.approx([0.625, 0.25])
    assert board.part("medi_qa")["score"].tolist() == [4.0, 2.0]
    assert any("are mapped to 0 (worst) to 1 (best)" in note.text for note in board.notes)


def test_no_mean_over_a_score_without_a_scale(tmp_path: Path) -> None:
    board = board_of(tmp_path, own=("my_own_score", [70.0]), gsm=("exact_match", [1.0, 0.0]))
    part = board.part(ALL)
    assert part["score"].isna().all()
    assert not part["idealized_s_front"].any()
    assert sorted(part["win_rate"]) == [0.0, 1.0]
    assert any("There is no mean score" in note.text and "my_own_score" in note.text for note in board.notes)


def test_less_of_an_error_rate_is_better(tmp_path: Path) -> None:
    board = board_of(tmp_path, speech=("wer_score", [0.4]))
    assert board.part("speech")["score"].tolist() == [0.2, 0.4]
    assert board.part("speech")["deployment"].iloc[0] == "openai/gpt-4o-mini-2024-07-18"


def test_the_mean_score_of_a_run_is_of_its_test_split(data_dir: Path, tmp_path: Path) -> None:
    """As HELM's own leaderboards have it."""
    import json

    suite = data_dir / "helm_runs" / "mmlu_llama3" / "runs" / "v1"
    plan = make_plan(
        Coefficients.from_fits([Fit("groq/llama3-70b-8192", A100, coefficients_of())]), stacks=["a100"], output=tmp_path
    )
    rescore(plan, find_sources([str(suite)], besides=tmp_path))
    tables = load(tmp_path)
    board, runs = build(tables), tables.runs.set_index("run")
    for folder in suite.iterdir():
        spec = json.loads((folder / "run_spec.json").read_text())
        of_run = {"name": "exact_match", "split": "test"}
        [helm] = [stat for stat in json.loads((folder / "stats.json").read_text()) if stat["name"] == of_run]
        run = runs.loc[spec["name"]]
        score = board.part(run["scenario"]).set_index("deployment").loc[run["deployment"], "score"]
        assert score == pytest.approx(helm["mean"])
