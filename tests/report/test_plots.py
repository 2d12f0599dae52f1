"""Figures: what is drawn, that no name lies over another, that the bytes are always the same."""

import matplotlib
import matplotlib.pyplot as plt
import numpy as np
import pytest
from helpers.scored_tables import request, small_board, tables
from matplotlib.colors import to_hex, to_rgb

from helm_efficiency.core.fitting.fit import fit_profile
from helm_efficiency.core.measurement import Measurement, Profile, Stack
from helm_efficiency.errors import InputError
from helm_efficiency.report import plots
from helm_efficiency.report.board import Options
from helm_efficiency.report.leaderboard import build
from helm_efficiency.report.paper import leaderboard as paper_leaderboard
from helm_efficiency.report.plots.style import COLOURS, MARKERS
from helm_efficiency.report.tables import from_arrow

matplotlib.use("Agg")


@pytest.fixture(scope="module")
def board():
    return small_board()


@pytest.fixture(scope="module")
def paper():
    return paper_leaderboard()


def board_of(num_models, **facts):
    rng = np.random.default_rng(1)
    rows = []
    for model in range(num_models):
        seconds, ability = rng.lognormal(), rng.random()
        for index in range(20):
            score = float(rng.random() < ability)
            name = f"org-{model % 5}/model-{model}-instruct"
            rows.append(request(name, "s", index, score, idealized_s=seconds, **facts))
    return build(from_arrow(*tables(rows)))


def names(axes):
    return [text for text in axes.texts if text.get_gid() == "name"]


def overlaps(axes):
    """Pairs of names whose boxes share more than a hair, as drawn in the end."""
    axes.get_figure(root=True).canvas.draw()
    boxes = [text.get_window_extent().padded(-1) for text in names(axes)]
    return sum(a.overlaps(b) for index, a in enumerate(boxes) for b in boxes[index + 1 :])


def front_line(axes):
    return next((line.get_xydata().tolist() for line in axes.lines if line.get_gid() == "front"), None)


def test_front_is_drawn_as_steps(board):
    axes = plots.tradeoff(board.part("boolq"))
    # small (0.1 s, 0.7), then right to large (2 s) and up to 0.9
    assert np.array(front_line(axes)) == pytest.approx(np.array([[0.1, 0.7], [2.0, 0.7], [2.0, 0.9]]))
    assert axes.get_xscale() == "log"
    assert {text.get_text() for text in names(axes)} == {"large", "small", "slow"}
    assert axes.get_xlabel() == "Idealized runtime (s), less is better"
    assert axes.get_ylabel() == "Score (exact_match), more is better"


def test_caption_states_stack_evidence_and_what_is_not_shown(board):
    figure = plots.tradeoff(board.part("boolq")).get_figure()
    assert " ".join(figure.get_supxlabel().split()) == (
        "Stack: a100-80gb×1 megatron fp16. Evidence: measured. 10 instances. Bars: 90 % intervals. Line: Pareto front; "
        r"the fuller a point, the likelier its model is on it. Without both numbers, not shown: api/<b>_new|\$."
    )


def test_a_name_with_dollars_is_no_mathematics(board):
    axes = plots.tradeoff(board.part("boolq"), x="api_usd")
    axes.get_figure().canvas.draw()
    assert [text.get_text() for text in names(axes)] == [r"<b>_new|\$"]


def test_a_likely_front_is_a_full_mark(board):
    part = board.part("boolq")
    axes = plots.tradeoff(part)
    probability = dict(zip(part["idealized_s"], part["idealized_s_front_probability"], strict=True))
    (marks,) = (each for each in axes.collections if each.get_gid() == "marks")
    assert len(marks.get_offsets()) == 3
    for (seconds, _), colour in zip(marks.get_offsets(), marks.get_facecolors(), strict=True):
        assert colour[3] == pytest.approx(probability[seconds])


@pytest.mark.parametrize("num_models", [10, 30])
def test_names_do_not_overlap(num_models):
    axes = plots.tradeoff(board_of(num_models).part())
    assert len(names(axes)) == num_models
    assert overlaps(axes) == 0


@pytest.mark.parametrize("measure", ["observed_s", "idealized_usd"])
def test_names_of_the_papers_figures_do_not_overlap(paper, measure):
    (figure,) = plots.tradeoff_pages([paper.part(scenario) for scenario in paper.scenarios], x=measure)
    assert [axes.get_title(loc="left") for axes in figure.axes] == [
        "boolq",
        "imdb",
        "raft: terms of service",
        "mmlu: college chemistry",
    ]
    assert [overlaps(axes) for axes in figure.axes] == [0, 0, 0, 0]


def pages_of(num_scenarios):
    rows = [
        request(f"{provider}/m", f"mmlu:subject=topic_{at},method=joint", index, float(index < at), idealized_s=seconds)
        for at in range(num_scenarios)
        for provider, seconds in (("groq", 1.0 + at), ("together", 2.0))
        for index in range(3)
    ]
    board = build(from_arrow(*tables(rows)), Options(num_draws=100))
    return [board.part(name) for name in board.scenarios]


def test_scenarios_are_drawn_twelve_a_page_with_shared_axes():
    first, second = plots.tradeoff_pages(pages_of(14))
    assert [axes.get_title(loc="left") for axes in second.axes if axes.get_visible()] == ["topic 12", "topic 13"]
    assert len(first.axes) == 12
    assert len({axes.get_xlim() for axes in first.axes} | {axes.get_ylim() for axes in first.axes}) == 2
    assert [text.get_text() for text in first.legends[0].texts] == ["m · groq", "m · together"]


def test_pages_are_one_pdf_or_numbered_pictures(tmp_path):
    (pdf,) = plots.save_pages(plots.tradeoff_pages(pages_of(13)), tmp_path / "each.pdf")
    assert pdf.read_bytes().count(b"/Type /Page ") == 2
    pictures = plots.save_pages(plots.tradeoff_pages(pages_of(13)), tmp_path / "each.png", dpi=40)
    assert [path.name for path in pictures] == ["each-1.png", "each-2.png"]
    assert all(path.exists() for path in pictures)


def test_the_scenarios_that_tell_models_apart_come_first():
    def spread(low, high):
        return build(from_arrow(*tables([request("a", "s", 0, low), request("b", "s", 0, high)]))).part()

    parts = [spread(0.4, 0.5), spread(0.1, 0.9), spread(0.2, 0.6)]
    assert plots.most_different(parts, 2) == [parts[1], parts[2]]


def test_the_title_says_what_is_shown_unless_one_is_given(board):
    figure = plots.tradeoff(board.part("boolq")).get_figure()
    assert " ".join(figure.get_suptitle().split()) == (
        "Score against idealized runtime: 3 models, boolq; on a100-80gb×1 megatron fp16, measured"
    )
    mine = plots.tradeoff(board.part("boolq"), look=plots.Look(title="Mine", width=5, caption=False)).get_figure()
    assert (mine.get_suptitle(), mine.get_supxlabel(), mine.get_figwidth()) == ("Mine", "", 5)


def test_where_a_low_score_is_better_the_arrow_points_down():
    rows = [request(name, "s", 0, score, idealized_s=1.0) for name, score in (("a", 0.2), ("b", 0.9))]
    axes = plots.tradeoff(build(from_arrow(*tables(rows)), Options(lower_is_better=True)).part())
    arrow = next(text for text in axes.texts if text.get_gid() == "better")
    assert arrow.xy[1] < 0.1
    assert axes.get_ylabel() == "Score (exact_match), less is better"


def test_captions_break_no_percentage(board):
    text = plots.tradeoff(board.part("boolq"), look=plots.Look(width=2.2)).get_figure().get_supxlabel()
    assert "90\N{NO-BREAK SPACE}%" in text


def test_of_many_models_the_likeliest_on_the_front_are_named():
    part = board_of(60).part()
    axes = plots.tradeoff(part)
    assert len(names(axes)) == 40
    shown = {text.get_text() for text in names(axes)}
    on_front = part[part["idealized_s_front"]]["deployment"].str.split("/")
    assert {f"{model} · {provider}" for provider, model in on_front} <= shown
    assert "Only 40 models are named." in axes.get_figure().get_supxlabel()


def test_zero_and_infinite_costs():
    rows = [
        *(request("a/free", "s", index, 1.0, idealized_s=0.0) for index in range(3)),
        *(request("a/cheap", "s", index, 1.0, idealized_s=0.01) for index in range(3)),
        *(request("a/wrong", "s", index, 0.0, idealized_s=10.0) for index in range(3)),
    ]
    part = build(from_arrow(*tables(rows))).part()
    assert plots.tradeoff(part).get_xscale() == "symlog"
    axes = plots.tradeoff(part, x="idealized_s_per_correct")
    assert {text.get_text() for text in names(axes)} == {"free", "cheap"}
    assert "not shown: a/wrong" in axes.get_figure().get_supxlabel().replace("\n", " ")


def test_nothing_one_and_unknown():
    empty = build(from_arrow(*tables([]))).part()
    assert plots.tradeoff(empty).get_title(loc="left") == "Nothing to show"
    assert plots.providers(empty).get_title(loc="left") == "Nothing to show"
    assert len(names(plots.tradeoff(board_of(1).part()))) == 1
    with pytest.raises(InputError, match=r"No measure 'speed' to plot. There are: score, win_rate"):
        plots.tradeoff(empty, x="speed")


@pytest.mark.parametrize("kind", ["png", "svg", "pdf"])
def test_the_same_bytes_for_the_same_input(board, kind, tmp_path):
    first = plots.save(plots.tradeoff(board.part()), tmp_path / "a" / f"one.{kind}").read_bytes()
    assert plots.to_bytes(plots.tradeoff(board.part()), kind) == first


def test_other_formats_are_refused(board, tmp_path):
    with pytest.raises(InputError, match=r"x\.gif: figures are written as png, svg, pdf\."):
        plots.save(plots.tradeoff(board.part()), tmp_path / "x.gif")


def test_the_callers_settings_stay(board):
    before = dict(matplotlib.rcParams)
    plots.tradeoff(board.part())
    assert dict(matplotlib.rcParams) == before


def test_colours_differ_for_the_colour_blind_and_in_grey():
    assert len(set(zip(COLOURS, MARKERS, strict=False))) == len(COLOURS)
    okabe_ito = {"#000000", "#e69f00", "#56b4e9", "#009e73", "#0072b2", "#d55e00", "#cc79a7"}
    assert {to_hex(colour) for colour in COLOURS} == okabe_ito
    for colour in COLOURS:  # each is dark enough for a line on white: contrast at least 2 (yellow would have 1.3)
        linear = [c / 12.92 if c <= 0.03928 else ((c + 0.055) / 1.055) ** 2.4 for c in to_rgb(colour)]
        assert 1.05 / (np.dot([0.2126, 0.7152, 0.0722], linear) + 0.05) >= 2


def test_providers_point_from_idealized_to_observed(paper):
    axes = plots.providers(paper.part("boolq"))
    labels = [label.get_text() for label in axes.get_yticklabels()]
    factors = [text.get_text() for text in axes.texts if text.get_text()]
    assert (labels[0], factors[0]) == ("BigScience/BLOOM", "×31.4")  # 21.2267 s observed / 0.676444 s idealized
    assert (labels[-1], factors[-1]) == ("OpenAI/davinci", "×1.15")
    arrow = next(text for text in axes.texts if not text.get_text())
    assert (arrow.xyann[0], arrow.xy[0]) == (0.676444, 21.2267)


def test_every_kind_of_figure_takes_a_look(paper):
    mine = plots.Look(title="Mine", width=5, caption=False, log_x=False)
    one, other = paper.part("boolq", "a100"), paper.part("boolq", "v100")
    for axes in (plots.providers(one, look=mine), plots.stacks(one, other, look=mine)):
        figure = axes.get_figure()
        assert (axes.get_title(loc="left"), figure.get_supxlabel(), figure.get_figwidth()) == ("Mine", "", 5)
    assert plots.providers(one, look=mine).get_xscale() == "linear"
    assert plots.tradeoff(one, look=plots.Look(log_x=True)).get_xscale() == "log"


def test_stack_against_stack(paper):
    axes = plots.stacks(paper.part("boolq", "a100"), paper.part("boolq", "v100"))
    points = next(line for line in axes.lines if line.get_marker() == "o").get_xydata()
    assert len(points) == 9  # TNLG has no V100 value
    assert [0.402007, 0.749659] in points.tolist()
    assert overlaps(axes) == 0


def test_contention_by_deployment():
    rows = [
        request(f"org/{name}", "s", index, 1.0, observed_s=0.5 * factor * (1 + index / 10), denoised_s=0.5)
        for name, factor in (("calm", 1), ("busy", 10))
        for index in range(11)
    ]
    twice = [*rows, *({**row, "stack": "h100"} for row in rows)]  # stacks repeat requests, they count once
    axes = plots.contention(from_arrow(*tables(twice)).requests)
    assert [label.get_text() for label in axes.get_yticklabels()] == ["busy (11)", "calm (11)"]
    medians = sorted(line.get_xdata()[0] for line in axes.lines if to_hex(line.get_color()) == "#d55e00")
    assert medians == pytest.approx([1.5, 15.0])
    with pytest.raises(InputError, match="No request has both an observed and a denoised runtime"):
        plots.contention(from_arrow(*tables([request("a", "s", 0, 1.0)])).requests)


def test_fit_quality():
    # prefill 0.1 s + 0.1 ms a token, decode 20 ms a token, one cell 10 % off
    cells = [(p, o, (0.1 + 1e-4 * p + 0.02 * (o - 1))) for p in (1, 256, 512, 1024) for o in (1, 16, 64)]
    measurements = [Measurement(p, o, s * (1.1 if (p, o) == (512, 16) else 1)) for p, o, s in cells]
    profile = Profile("org/m", Stack("a100", "a100-80gb", engine="megatron"), tuple(measurements))
    fit = fit_profile(profile)
    decode, prefill, residuals = plots.fit_quality(fit, profile)
    assert [line.get_label() for line in decode.lines if not line.get_label().startswith("_")] == [
        "1 prompt tokens",
        "256 prompt tokens",
        "512 prompt tokens",
        "1,024 prompt tokens",
    ]
    assert decode.get_ylabel() == "Runtime (s)"
    knots = next(line for line in prefill.lines if line.get_label() == "knots")
    assert knots.get_xydata().tolist() == [list(knot) for knot in fit.coefficients.prefill_knots]
    assert residuals.get_title(loc="left").startswith("Residuals: ")
    assert "org/m on a100-80gb×1 megatron" in plt.gcf().get_supxlabel()
