"""Leaderboards as text, Markdown, LaTeX, CSV and JSON: whole texts."""
# ruff: noqa: E501  texts as they are written

import csv
import io
import json

import pytest
from helpers.scored_tables import request, small_board, tables

from helm_efficiency.errors import InputError
from helm_efficiency.metrics.measures import MEASURES
from helm_efficiency.metrics.quantities import number
from helm_efficiency.report import formats
from helm_efficiency.report.display import display
from helm_efficiency.report.leaderboard import build
from helm_efficiency.report.tables import from_arrow
from helm_efficiency.report.terminal import text_plot
from helm_efficiency.report.text import to_text

TEXT = """\
all scenarios, idealized on a100-80gb×1 megatron fp16

                                 Win  Observed  Denoised  Idealized     GPU cost,  API cost
   Rank  Deployment     Score   rate       (s)       (s)        (s)  alone ($/1k)    ($/1k)  Front   Scenarios  Evidence
────────────────────────────────────────────────────────────────────────────────────────────────────────────────────────
  1 (1)  org/large      0.850  0.875      2.00      1.00     2.00 †          2.28  — (0/20)  ● 90%         2/2  measured
2 (1–2)  org/small      0.750  0.625      2.00     0.300      0.100         0.114  — (0/20)  ● 100%        2/2  measured
  3 (3)  api/<b>_new|$  0.450  0.250      2.00  — (0/20)   — (0/20)      — (0/20)      2.00                2/2  none
      —  org/slow           —  0.000         —  — (0/10)          —             —  — (0/10)                1/2  measured

Models are compared on 10 to 20 instances; the score is exact_match.
Ranks are by score, with the 90 % interval of 1000 paired bootstrap draws; = is an exact tie.
● is on the Pareto front of score against idealized runtime; the percentage is the share of draws in
which a model is.
Costs are in dollars for a thousand requests, or for a thousand correct answers.
Evidence for the idealized numbers: measured 3, none 1.
† Some requests lie outside what the stack was measured on; their prediction is an extrapolation.
Who lacks a scenario has no mean over all: org/slow (1 of 2).
All 70 requests cost $0.0400 by API (50 have no API price); $0.0819 alone on a100.
Hidden (too narrow): Provider factor, GPU cost/correct, Output tokens. Show: --all-columns
"""

MARKDOWN = r"""**boolq, idealized on a100-80gb×1 megatron fp16**

| Rank | Deployment | Score | Observed (s) | Denoised (s) | Idealized (s) | Provider factor (×) | GPU cost, alone (\$/1k) | API cost (\$/1k) | GPU cost/correct (\$/1k) | Output tokens | Front | Evidence |
| ---: | --- | ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: | --- | --- |
| 1 (1) | org/large | 0.900 | 2.00 | 1.00 | 2.00 † | 0.500 | 2.28 | — (0/10) | 2.53 | 10.0 | ● 90% | measured |
| 2= (1–2) | api/&lt;b&gt;\_new\|\$ | 0.700 | 2.00 | — (0/10) | — (0/10) | — | — (0/10) | 2.00 | — | 10.0 |  | none |
| 2= (1–2) | org/small | 0.700 | 2.00 | 0.300 | 0.100 | 3.00 | 0.114 | — (0/10) | 0.163 | 10.0 | ● 100% | measured |
| 4 (4) | org/slow | 0.200 | 2.00 | — (0/10) | 3.00 | — | 3.41 | — (0/10) | 17.1 | 10.0 |  | measured |

- Models are compared on the same 10 instances; the score is exact\_match.
- Ranks are by score, with the 90 % interval of 1000 paired bootstrap draws; = is an exact tie.
- ● is on the Pareto front of score against idealized runtime; the percentage is the share of draws in which a model is.
- Costs are in dollars for a thousand requests, or for a thousand correct answers.
- Evidence for the idealized numbers: measured 3, none 1.
- † Some requests lie outside what the stack was measured on; their prediction is an extrapolation.
"""

LATEX = r"""\begin{table}
  \centering
  \caption{boolq, idealized on a100-80gb$\times$1 megatron fp16. Models are compared on the same 10 instances; the score is exact\_match. Ranks are by score, with the 90 \% interval of 1000 paired bootstrap draws; = is an exact tie. $\bullet$ is on the Pareto front of score against idealized runtime; the percentage is the share of draws in which a model is. Costs are in dollars for a thousand requests, or for a thousand correct answers. Evidence for the idealized numbers: measured 3, none 1. $\dagger$ Some requests lie outside what the stack was measured on; their prediction is an extrapolation.}
  \begin{tabular}{rlrrll}
    \toprule
    Rank & Deployment & Score & Idealized (s) & Front & Evidence \\
    \midrule
    1 (1) & org/large & 0.900 & 2.00 $\dagger$ & $\bullet$ 90\% & measured \\
    2= (1--2) & api/<b>\_new|\$ & 0.700 & --- (0/10) &  & none \\
    2= (1--2) & org/small & 0.700 & 0.100 & $\bullet$ 100\% & measured \\
    4 (4) & org/slow & 0.200 & 3.00 &  & measured \\
    \bottomrule
  \end{tabular}
\end{table}
"""

NOTHING = """\
all scenarios

Rank  Deployment
────────────────

There is nothing to compare.
"""

PLOT = """\
Score
   ┌─────────────────────────────────────────────┐
0.9┤                                      ● large│
0.8┤                                             │
0.7┤  ● small                                    │
0.6┤                                             │
0.5┤                                             │
0.4┤                                             │
0.3┤                                             │
0.2┤                                     slow ○  │
   └──┬───────┬──────────┬───────┬────────┬──────┘
     0.1     0.2        0.5      1        2
         Idealized runtime (s), logarithmic
● is on the Pareto front, ○ is not.
"""


@pytest.fixture(scope="module")
def board():
    return small_board()


def test_text(board):
    assert to_text(display(board), width=120) == TEXT


def test_markdown(board):
    assert formats.to_markdown(display(board, scenario="boolq")) == MARKDOWN


def test_latex(board):
    assert formats.to_latex(display(board, scenario="boolq", measures=["score", "idealized_s"])) == LATEX


def test_plot_in_text(board):
    assert text_plot(board.part("boolq"), size=(50, 12)) == PLOT


def test_text_leaves_out_what_does_not_fit(board):
    text = to_text(display(board), width=80)
    table, _, legend = text.partition("\n\nModels are")
    assert max(map(len, text.splitlines())) <= 80
    assert "Idealized" in table
    assert "GPU cost" in table
    assert "Observed" not in table
    assert "Hidden (too narrow): Front, Denoised, Evidence, Observed" in " ".join(legend.split())


def test_intervals_are_shown_where_there_is_room(board):
    table = display(board, scenario="boolq")
    assert [row[2] for row in table.rows][:2] == ["0.900 (0.700–1.000)", "0.700 (0.500–0.900)"]


def test_csv_and_json_hold_everything(board):
    rows = list(csv.DictReader(io.StringIO(formats.to_csv(board))))
    records = json.loads(formats.to_json(board))
    assert len(rows) == len(records) == len(board.table) == 4 + 4 + 3
    assert list(rows[0]) == list(records[0]) == [*board.table.columns, "made_with"]
    missing = next(record for record in records if record["deployment"] == "api/<b>_new|$")
    assert missing["idealized_s"] is None
    assert missing["api_usd"] == 0.002
    assert float(rows[0]["score"]) == records[0]["score"] == 0.85


def test_json_says_infinite():
    board = build(from_arrow(*tables([request("a", "s", 0, 0.0)])))
    assert json.loads(formats.to_json(board))[0]["idealized_s_per_correct"] == "inf"


def test_names_of_any_script_keep_their_columns():
    names = ["组织/模型-1", "org/модель", "org/\u202eright\x1b[31mred", "org/नमूना"]
    board = build(from_arrow(*tables([request(name, "s", 0, 1.0) for name in names])))
    text = to_text(display(board))
    assert "\x1b" not in text
    assert all(name in text for name in ("组织/模型-1", "org/модель", "org/नमूना"))


def test_nothing_to_show():
    board = build(from_arrow(*tables([])))
    assert to_text(display(board)) == NOTHING
    assert json.loads(formats.to_json(board)) == []
    assert text_plot(board.part()) == "No model has both idealized runtime and score.\n"


def test_unknown_names(board):
    with pytest.raises(InputError, match=r"No scenario 'x' in this leaderboard. There are: boolq, imdb."):
        display(board, scenario="x")
    with pytest.raises(InputError, match="No measure 'speed'"):
        display(board, measures=["speed"])


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (float("nan"), "—"),
        (float("inf"), "∞"),
        (float("-inf"), "−∞"),
        (0.0, "0"),
        (0.00012345, "0.000123"),
        (0.000012345, "0.0000123"),
        (0.1, "0.100"),
        (12.345, "12.3"),
        (123.45, "123"),
        (12345.6, "12,346"),
        (1234567.0, "1,234,567"),
        (3e-12, "<0.000000001"),
    ],
)
def test_numbers_in_print(value, text):
    assert number(value) == text


def test_units_in_print():
    assert MEASURES["idealized_usd"].heading == "GPU cost, alone ($/1k)"
    assert MEASURES["idealized_usd"].text(0.0025) == "2.50"
    assert MEASURES["idealized_usd_per_correct"].axis_label == "Idealized cost per correct answer ($ per 1,000 answers)"
    assert MEASURES["score"].text(0.5) == "0.500"
    assert MEASURES["score"].text(57.123) == "57.1"
