"""The paper's ten models, redone from the catalog: counts, fronts, ratios, and what is wrong with the figures."""

import csv
from pathlib import Path

import numpy as np
import pytest
from scipy.stats import spearmanr

from helm_efficiency.catalog.reference_results import paper_2023
from helm_efficiency.errors import InputError
from helm_efficiency.report.board import Options
from helm_efficiency.report.paper import differences, leaderboard, markdown, provenance, write_all

BOOLQ, IMDB, RAFT, MMLU = "boolq", "imdb", "raft:subset=terms_of_service", "mmlu:subject=college_chemistry"
LARGE, GRANDE, JUMBO = "AI21/J1-Large v1", "AI21/J1-Grande v1", "AI21/J1-Jumbo v1"
ANTHROPIC, DAVINCI, GPT_J, YALM = "Anthropic/v4-s3", "OpenAI/davinci", "EleutherAI/GPT-J", "Yandex/YALM"

# Fronts as published; membership is the same on corrected means.
FRONTS = {
    "idealized_s": ({LARGE, GRANDE, ANTHROPIC}, {LARGE}, {LARGE, GRANDE, GPT_J}, {GPT_J, LARGE, ANTHROPIC}),
    "idealized_usd": ({LARGE, GRANDE, ANTHROPIC}, {LARGE}, {LARGE, GRANDE, GPT_J}, {GPT_J, LARGE, ANTHROPIC}),
    "flops": ({LARGE, GRANDE, ANTHROPIC}, {LARGE}, {LARGE, GPT_J}, {GPT_J, LARGE, ANTHROPIC}),
    "parameters": ({GPT_J, LARGE, GRANDE, ANTHROPIC}, {GPT_J, LARGE}, {GPT_J}, {GPT_J, LARGE, ANTHROPIC}),
    "observed_s": (
        {DAVINCI, ANTHROPIC},
        {DAVINCI, LARGE},
        {LARGE, DAVINCI, JUMBO, GRANDE, GPT_J},
        {DAVINCI, LARGE, ANTHROPIC},
    ),
    "denoised_s": (
        {DAVINCI, ANTHROPIC},
        {DAVINCI, LARGE},
        {DAVINCI, GRANDE, GPT_J},
        {YALM, DAVINCI, LARGE, ANTHROPIC},
    ),
}


@pytest.fixture(scope="module")
def board():
    return leaderboard()


@pytest.mark.parametrize("measure", FRONTS)
def test_fronts_are_the_papers(board, measure):
    found = []
    for scenario in (BOOLQ, IMDB, RAFT, MMLU):
        part = board.part(scenario, "a100")
        found.append(set(part.loc[part[f"{measure}_front"], "deployment"]))
    assert tuple(found) == FRONTS[measure]


def test_the_catalog_agrees_with_the_recovered_table(data_dir):
    with (data_dir / "paper_2023_results.csv").open() as file:
        rows = {(row["scenario"], row["model"].replace("_", "/", 1)): row for row in csv.DictReader(file)}
    results = paper_2023().results
    assert len(results) == len(rows) == 40
    for result in results:
        row = rows[result.scenario, result.model]
        assert result.num_correct / result.num_instances == pytest.approx(float(row["exact_match"]), abs=1e-6)
        assert result.raw_s == float(row["raw_runtime_s"])
        assert result.denoised_s == (float(row["denoised_runtime_s"]) if row["denoised_runtime_s"] else None)
        assert result.idealized_s["a100"] == float(row["idealized_runtime_a100_s"])
        assert result.idealized_s.get("v100", 0) == float(row["idealized_runtime_v100_s"] or 0)
        assert result.flops == float(row["flops"])
        assert result.mean_tokens == float(row["mean_prompt_plus_output_tokens_minus_1"])


def test_flops_follow_from_the_architectures():
    # 24 h² L (p + o - 1), the formula of the figures; J1-Large: h 4096, L 32; davinci: h 12288, L 96
    shapes = {"ai21/j1-large": (4096, 32), "openai/davinci": (12288, 96), "together/bloom": (14336, 70)}
    for result in paper_2023().results:
        if result.model in shapes:
            hidden, layers = shapes[result.model]
            assert result.flops == pytest.approx(24 * hidden**2 * layers * result.mean_tokens, rel=2e-4)


def test_rank_correlations(board):
    # between raw and idealized runtime: .49, .47, .68, .13 over the ten models
    found = [spearmanr(part["observed_s"], part["idealized_s"]).statistic for part in map(board.part, board.scenarios)]
    assert np.round(found, 2).tolist() == [0.49, 0.47, 0.68, 0.13]


def test_v100_against_a100(board):
    a100, v100 = (board.part(BOOLQ, stack).set_index("deployment") for stack in ("a100", "v100"))
    ratio = v100["idealized_s"] / a100["idealized_s"]
    assert ratio.round(2)[[DAVINCI, LARGE, YALM]].to_list() == [1.86, 1.91, 0.99]
    cost = v100["idealized_usd"] / a100["idealized_usd"]
    assert cost.round(2)[[DAVINCI, LARGE]].to_list() == [2.79, 1.43]
    assert np.isnan(v100.loc["Microsoft+NV/TNLG v2", "idealized_s"])


def test_davinci_is_on_the_raw_fronts_and_off_the_idealized_ones(board):
    rows = [board.part(scenario).set_index("deployment").loc[DAVINCI] for scenario in board.scenarios]
    assert [bool(row["observed_s_front"]) for row in rows] == [True] * 4
    assert [bool(row["idealized_s_front"]) for row in rows] == [False] * 4


def test_the_published_points_are_of_the_first_instance():
    table = differences().set_index(["scenario", "model"])
    assert len(table) == 40
    assert table["published_s_off_percent"].agg(["idxmin", "min", "idxmax", "max"]).to_list() == [
        (RAFT, YALM), -57.1, (RAFT, GPT_J), 85.0,
    ]  # fmt: skip
    assert table.loc[(BOOLQ, DAVINCI)].to_dict() == {
        "published_s": 0.5441,
        "mean_s": 0.402007,
        "published_s_off_percent": 35.3,
        "published_usd": 0.006544,
        "mean_usd": 0.003659,  # 0.402007 s * 8 * $4.096 / 3600
        "published_usd_off_percent": 78.8,
    }


def test_accuracy_has_a_binomial_interval(board):
    # 97 of 119 correct: 0.8151 ± 1.645 * sqrt(0.8151 * 0.1849 / 119) = 0.757 to 0.874
    row = board.part(RAFT).set_index("deployment").loc[GRANDE]
    assert (row["score_low"], row["score_high"]) == pytest.approx((0.757, 0.874), abs=0.01)
    assert row["idealized_s_low"] == row["idealized_s"] == row["idealized_s_high"] == 0.225996


def test_files(board, tmp_path):
    small = leaderboard(Options(stack="v100", num_draws=50))
    names = [path.name for path in write_all(small, tmp_path)]
    assert names == [
        "paper_leaderboard.md",
        "paper_differences.csv",
        "paper_observed_s.png",
        "paper_denoised_s.png",
        "paper_idealized_s_v100.png",
        "paper_idealized_usd_v100.png",
        "paper_flops.png",
        "paper_parameters.png",
        "paper_providers.png",
    ]
    assert all((tmp_path / name).stat().st_size > 1000 for name in names)
    with pytest.raises(InputError, match=r"The paper has no stack 'h100'. There are: a100, v100."):
        leaderboard(Options(stack="h100"))
    assert "github.com/stanford-crfm/helm-efficiency" in provenance()["Source"]


def test_the_gallery_is_what_the_command_writes(board):
    gallery = Path(__file__).parents[2] / "plots" / "gallery"
    assert (gallery / "paper_leaderboard.md").read_text(encoding="utf-8") == markdown(board)
    assert (gallery / "paper_differences.csv").read_text(encoding="utf-8") == differences().to_csv(
        index=False, lineterminator="\n"
    )
