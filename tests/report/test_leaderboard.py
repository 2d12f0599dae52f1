"""Leaderboards from tables whose truth is known."""

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from helpers.scored_tables import request, tables, write

from helm_efficiency.errors import FileFormatError, InputError
from helm_efficiency.metrics.measures import ESTIMATED
from helm_efficiency.report.board import Options
from helm_efficiency.report.display import display
from helm_efficiency.report.leaderboard import build
from helm_efficiency.report.notes import ALL
from helm_efficiency.report.tables import from_arrow, load


def board_of(rows, **options):
    return build(from_arrow(*tables(rows)), Options(**options))


def by_name(part, column):
    return dict(zip(part["deployment"], part[column], strict=True))


def answers(deployment, scenario, scores, **facts):
    return [request(deployment, scenario, index, score, **facts) for index, score in enumerate(scores)]


def test_means_and_what_follows_from_them():
    # a: 3 of 4 correct at 2 s and 4 accelerators; b: 1 of 4 at 0.5 s
    costly = {"idealized_s": 2.0, "num_accelerators": 4, "accelerator_s": 8.0, "idealized_usd": 0.02, "energy_j": 100.0}
    rows = [
        *answers("org/a", "s", [1, 1, 1, 0], **costly, observed_s=3.0, denoised_s=1.0, api_usd=0.001),
        *answers("org/b", "s", [1, 0, 0, 0], idealized_s=0.5),
    ]
    a = board_of(rows).part("s").set_index("deployment").loc["org/a"]
    assert a["score"] == 0.75
    assert a["observed_s"] == 3.0
    assert a["provider_factor"] == 0.5  # 1 s denoised / 2 s idealized
    assert a["accelerator_s"] == 8.0
    assert a["idealized_usd_per_correct"] == pytest.approx(0.08 / 3)  # 4 requests of 0.02 for 3 correct answers
    assert a["energy_j_per_correct"] == pytest.approx(400 / 3)
    assert a["api_usd_per_correct"] == pytest.approx(0.004 / 3)
    assert a["num_instances"] == 4
    assert a["tier"] == "measured"
    assert board_of(rows).scenarios == ["s"]


def test_all_columns_are_there_in_order():
    table = board_of(answers("a", "s", [1])).table
    assert list(table.columns[:7]) == [
        "scenario", "stack", "deployment", "model", "stack_detail", "tier", "score_name",
    ]  # fmt: skip
    assert [name for name in table.columns if name in ESTIMATED] == list(ESTIMATED)


def test_models_are_compared_on_the_instances_that_all_answered():
    # b failed the two instances that a got wrong: on the common ones a has 2 of 2 correct, not 2 of 4
    rows = [
        *answers("a", "s", [1, 1, 0, 0]),
        *answers("b", "s", [1, 0]),
        request("b", "s", 2, None, success=False),
        request("b", "s", 3, None, success=False),
    ]
    board = board_of(rows)
    assert by_name(board.part("s"), "score") == {"a": 1.0, "b": 0.5}
    assert by_name(board.part("s"), "num_instances") == {"a": 2, "b": 2}
    assert by_name(board.part("s"), "score_answered") == {"a": 0.5, "b": 0.5}
    assert by_name(board.part("s"), "num_answered") == {"a": 4, "b": 2}
    assert by_name(board.part("s"), "num_failed") == {"a": 0, "b": 2}
    assert [(note.scenario, note.text) for note in board.notes] == [
        (
            "s",
            "Compared on the 2 instances that all 2 models answered, of up to 4; b answered the fewest (2). "
            "Over all that each answered, scores would differ by up to 0.500 (a).",
        ),
        (ALL, "Models are compared on fewer instances than some answered in s."),
        ("s", "All 8 requests cost $0.00910 alone on a100."),
    ]


def test_each_on_its_own_is_said():
    board = board_of([*answers("a", "s", [1, 1, 0, 0]), *answers("b", "s", [1, 0])], common=False)
    assert by_name(board.part("s"), "score") == {"a": 0.5, "b": 0.5}
    assert board.notes[0].text == "Models answered different instances (2 to 4) and are compared all the same."


def test_who_lacks_a_scenario_has_no_mean_over_all():
    rows = [*answers("a", "s", [1, 1]), *answers("b", "s", [1, 0]), *answers("a", "t", [0, 0])]
    rows += [*answers("c", "s", [1, 1]), *answers("c", "t", [1, 0])]
    board = board_of(rows)
    overall = board.part()
    assert by_name(overall, "score") == pytest.approx({"a": 0.5, "b": np.nan, "c": 0.75}, nan_ok=True)
    assert by_name(overall, "num_scenarios") == {"a": 2, "b": 1, "c": 2}
    assert set(board.part("t")["deployment"]) == {"a", "c"}
    assert board.notes[-2].text == "Who lacks a scenario has no mean over all: b (1 of 2)."
    available = board_of(rows, common=False)
    assert by_name(available.part(), "score") == {"a": 0.5, "b": 0.5, "c": 0.75}


def test_win_rates_as_in_helm():
    # s: a 1, b 0.5, c 0.5 -> a beats 2 of 2; b and c tie: each 0.5 of 2. t: c alone has a score: no win rate there
    rows = [*answers("a", "s", [1, 1]), *answers("b", "s", [1, 0]), *answers("c", "s", [0, 1]), *answers("c", "t", [1])]
    overall = board_of(rows).part()
    assert by_name(overall, "win_rate") == {"a": 1.0, "b": 0.25, "c": 0.25}


def test_exact_ties_share_a_rank():
    rows = [*answers("a", "s", [1, 0]), *answers("b", "s", [0, 1]), *answers("c", "s", [0, 0])]
    assert by_name(board_of(rows).part("s"), "score_rank") == {"a": 1, "b": 1, "c": 3}


def test_rank_intervals_are_paired():
    # b is right wherever a is, and on one more of 40: unpaired the two could not be told apart, paired b never loses
    scores = [index % 2 for index in range(40)]
    better = [1, *scores[1:]]
    part = board_of([*answers("a", "s", scores), *answers("b", "s", better)]).part("s").set_index("deployment")
    assert part.loc["b", "score_rank_low"] == part.loc["b", "score_rank_high"] == 1
    assert part.loc["a", "score_low"] < part.loc["b", "score"] < part.loc["a", "score_high"]


def test_intervals_cover_the_truth():
    # 100 made-up evaluations of a model that is right with probability 0.7: about 90 of their intervals hold 0.7
    rng = np.random.default_rng(3)
    rows = [request("a", f"s{run}", index, float(rng.random() < 0.7)) for run in range(100) for index in range(60)]
    table = board_of(rows, num_draws=100).table
    table = table[table["scenario"] != ALL]
    covered = ((table["score_low"] <= 0.7) & (table["score_high"] >= 0.7)).sum()
    assert 80 <= covered <= 97


def test_the_error_of_a_prediction_is_in_the_interval():
    # every request takes 1 s, known to 10 %: the mean is no surer than that, however many requests there are
    facts = {"idealized_s": 1.0, "idealized_low_s": 0.9, "idealized_high_s": 1.1}
    row = board_of(answers("a", "s", [1] * 200, **facts)).part("s").iloc[0]
    assert row["idealized_s_low"] == pytest.approx(0.9, abs=0.02)
    assert row["idealized_s_high"] == pytest.approx(1.1, abs=0.02)
    assert row["idealized_usd_high"] == pytest.approx(1.1 * row["idealized_usd"], rel=0.02)
    assert row["score_low"] == row["score_high"] == 1.0


def test_an_instance_of_several_requests_counts_once_in_the_score():
    # separate choice: id0 is asked 4 times and right, id1 twice and wrong: 0.5, not 4/6; seconds are a mean of requests
    rows = [request("a", "s", 0, 1.0, reference_index=k, idealized_s=1.0) for k in range(4)]
    rows += [request("a", "s", 1, 0.0, reference_index=k, idealized_s=4.0) for k in range(2)]
    row = board_of(rows).part("s").iloc[0]
    assert row["score"] == 0.5
    assert row["idealized_s"] == 2.0  # (4 * 1 + 2 * 4) / 6
    assert row["idealized_s_per_correct"] == 12.0  # 12 s in all for one correct answer
    assert (row["score_known"], row["idealized_s_known"], row["num_requests"]) == (2, 6, 6)


def test_only_the_test_split_and_originals_count():
    rows = [
        *answers("a", "s", [1, 1]),
        request("a", "s", 7, 0.0, split="valid"),
        request("a", "s", 0, 0.0, perturbation="typos"),
        *answers("a", "t", [0, 1], split="valid"),
    ]
    table = board_of(rows)
    assert table.part("s")["score"].tolist() == [1.0]
    assert table.part("t")["score"].tolist() == [0.5]  # it has no test split
    assert board_of(rows, all_splits=True).part("s")["score"].tolist() == [2 / 3]
    assert board_of(rows, perturbed=True).part("s")["score"].tolist() == [2 / 3]


def test_missing_numbers_stay_missing():
    rows = [
        *answers("a", "s", [1, 0], idealized_s=None, observed_s=None),
        *answers("b", "s", [1, 0]),
        request("b", "s", 2, 1.0, idealized_s=None),
        request("a", "s", 2, None, idealized_s=None),
    ]
    part = board_of(rows).part("s").set_index("deployment")
    assert np.isnan(part.loc["a", "idealized_s"])
    assert part.loc["a", "idealized_s_known"] == 0
    assert np.isnan(part.loc["a", "idealized_s_rank"])
    assert not part.loc["a", "idealized_s_front"]
    assert part.loc["b", "idealized_s_known"] == 2
    assert part.loc["a", "score"] == 0.5
    assert part.loc["a", "score_known"] == 2


def test_a_table_for_each_stack():
    rows = [
        *answers("a", "s", [1, 0], stack="h100", idealized_s=0.5),
        *answers("a", "s", [1, 0], stack="a100", idealized_s=1.0),
        *answers("b", "s", [1, 1], stack="a100", idealized_s=2.0),
        *answers("c", "s", [0, 0], stack=None, stack_detail=None, tier=None, idealized_s=None),
    ]
    board = board_of(rows)
    assert board.stacks == ["a100", "h100"]
    assert by_name(board.part("s", "a100"), "idealized_s") == pytest.approx(
        {"a": 1.0, "b": 2.0, "c": np.nan}, nan_ok=True
    )
    # b is not known on h100: its score stands there all the same, its idealized runtime does not
    h100 = board.part("s", "h100").set_index("deployment")
    assert h100["score"].to_dict() == {"a": 0.5, "b": 1.0, "c": 0.0}
    assert h100["idealized_s"].to_dict() == pytest.approx({"a": 0.5, "b": np.nan, "c": np.nan}, nan_ok=True)
    assert h100["observed_s"].to_dict() == {"a": 2.0, "b": 2.0, "c": 2.0}
    assert h100["num_requests"].to_dict() == {"a": 2, "b": 2, "c": 2}
    assert board_of(rows, stack="h100").stacks == ["h100"]


def test_rows_by_model_join_deployments():
    rows = [*answers("x/m", "s", [1, 0], model="m"), *answers("y/m", "s", [1, 1], model="m")]
    part = board_of(rows, by="model").part("s")
    assert part[["model", "deployment", "score"]].to_numpy().tolist() == [["m", "x/m + y/m", 0.75]]


def test_lower_may_be_better():
    rows = [*answers("good", "s", [0.1, 0.1]), *answers("bad", "s", [0.9, 0.9])]
    part = board_of(rows, lower_is_better=True).part("s")
    assert list(part["deployment"]) == ["good", "bad"]
    assert by_name(part, "win_rate") == {"good": 1.0, "bad": 0.0}
    assert by_name(part, "idealized_s_front") == {"good": True, "bad": False}


def test_sorted_by_any_measure():
    rows = [*answers("slow", "s", [1], idealized_s=2.0), *answers("fast", "s", [0], idealized_s=1.0)]
    assert list(board_of(rows, sort="idealized_s").part("s")["deployment"]) == ["fast", "slow"]
    with pytest.raises(InputError, match=r"Cannot sort by 'speed'. Known measures: score, win_rate"):
        board_of(rows, sort="speed")


def test_an_answer_that_is_never_right_costs_infinitely_much():
    rows = [*answers("wrong", "s", [0, 0]), *answers("free", "s", [1, 1], idealized_s=0.0)]
    part = board_of(rows).part("s").set_index("deployment")
    assert part.loc["wrong", "idealized_s_per_correct"] == np.inf
    assert part.loc["wrong", "idealized_s_per_correct_rank"] == 2
    assert part.loc["free", "idealized_usd_per_correct"] == 0.0
    assert part["idealized_s_front"].to_dict() == {"free": True, "wrong": False}


def test_repeated_and_mixed_runs_are_said():
    rows = [
        *answers("a", "s", [1, 1], suite="v1"),
        *answers("a", "s", [0, 0], suite="v2"),
        *answers("b", "s", [1, 1], reason="no coefficients of b", idealized_s=None),
    ]
    board = board_of(rows)
    assert by_name(board.part("s"), "score") == {"a": 0.5, "b": 1.0}
    assert [note.text for note in board.notes] == [
        "a ran s 2 times: its numbers are means over these runs.",
        "no coefficients of b.",
        "All 6 requests cost $0.00455 alone on a100.",
    ]


def test_scores_of_several_names_are_said():
    requests, runs = tables([*answers("a", "s", [1]), request("a", "t", 0, None, scores=[("f1_score", 0.5)])])
    names = ["exact_match" if scenario == "s" else "f1_score" for scenario in runs["scenario"].to_pylist()]
    runs = runs.set_column(runs.schema.get_field_index("score_name"), "score_name", pa.array(names))
    board = build(from_arrow(requests, runs))
    assert board.part()["score"].tolist() == [0.75]
    assert board.notes[0].text.startswith("The score is a mean of different scores (exact_match, f1_score)")


def test_the_same_input_gives_the_same_numbers():
    rows = [request(f"m{m}", "s", i, float((m * i) % 3 == 0)) for m in range(5) for i in range(30)]
    pd.testing.assert_frame_equal(board_of(rows).table, board_of(rows).table)


def test_no_requests():
    board = board_of([])
    assert board.table.empty
    assert board.part().empty
    assert (board.scenarios, board.stacks, board.notes) == ([], [], ())


def test_ten_thousand_models():
    board = board_of([request(f"m{m}", "s", i, float((m + i) % 2)) for m in range(10_000) for i in range(3)])
    assert len(board.part("s")) == 10_000
    assert board.options.num_draws == 100


def test_tables_are_read_from_files(tmp_path):
    rows = [*answers("a", "s", [1, 0]), *answers("b", "s", [None, 1.0])]
    found = load(write(tmp_path / "scored", rows))
    assert found.requests["score"].tolist() == pytest.approx([1.0, 0.0, np.nan, 1.0], nan_ok=True)
    assert found.requests["score_name"].unique().tolist() == ["exact_match"]
    with pytest.raises(InputError, match=r"No request has a score named 'f1'. There are: exact_match."):
        load(tmp_path / "scored", score="f1")
    assert load(tmp_path / "scored", score="exact_match").runs["score_name"].tolist() == ["exact_match"] * 2


def test_what_is_no_table_is_said(tmp_path):
    with pytest.raises(InputError, match=r"expected runs.parquet and requests/\*.parquet. Write them with: helm-eff"):
        load(tmp_path)
    folder = write(tmp_path / "scored", answers("a", "s", [1]))
    (folder / "requests" / "broken.parquet").write_bytes(b"no parquet")
    with pytest.raises(FileFormatError, match=r"broken.parquet: not a Parquet file"):
        load(folder)
    pq.write_table(pa.table({"run": ["x"]}), folder / "requests" / "broken.parquet")
    with pytest.raises(FileFormatError, match="it lacks harness, suite, scenario, model, deployment"):
        load(folder)
    newer = pq.read_table(folder / "runs.parquet").replace_schema_metadata({"helm_efficiency_schema_version": "9"})
    pq.write_table(newer, folder / "runs.parquet")
    with pytest.raises(FileFormatError, match="table format 9 is newer than this package's 3"):
        load(folder)


def test_unknown_stack():
    with pytest.raises(InputError, match=r"No request is scored on stack 'h100'. There are: a100."):
        board_of(answers("a", "s", [1]), stack="h100")


def test_todays_price_stands_in_for_one_of_the_day():
    rows = [*answers("a", "s", [1, 0], api_usd_today=0.002), *answers("b", "s", [1, 1], api_usd=0.001)]
    board = board_of(rows)
    assert by_name(board.part("s"), "api_usd") == {"a": 0.002, "b": 0.001}
    assert by_name(board.part("s"), "num_at_todays_price") == {"a": 2, "b": 0}
    shown = display(board)
    assert [cells[shown.headings.index("API cost ($/1k)")] for cells in shown.rows] == ["1.00", "2.00 ‡"]
    assert board.notes[-1].text == "All 4 requests cost $0.00600 by API; $0.00455 alone on a100."


def test_a_single_model_forms_no_front():
    rows = [*answers("a", "s", [1, 0], api_usd=0.002), *answers("b", "s", [1, 1])]
    part = board_of(rows).part("s")
    assert part["idealized_s_front"].any()
    assert not part["api_usd_front"].any()
    assert "Front" not in display(board_of(rows, sort="api_usd")).headings


def test_hosts_of_the_same_weights_are_joined():
    hosts = ("groq/llama3-8b-8192", "together/Llama-3-8b-chat-hf", "huggingface/Meta-Llama-3-8B")
    board = board_of([row for host in hosts for row in answers(host, "s", [1, 0])], by="model")
    assert sorted(board.part("s")["model"]) == ["meta/llama-3-8b", "meta/llama-3-8b-chat"]
    assert set(display(board).columns[1].cells) == {"Llama 3 8B", "Llama 3 Instruct 8B"}
