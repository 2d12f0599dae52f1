"""Leaderboards as Markdown, LaTeX and text for a terminal (for reading), as CSV and JSON (for programs).

Programs get every column and row with nine significant digits; a missing number is empty in CSV and null in JSON, an
infinite one (the cost of a correct answer where there is none) is the text `inf`, since JSON has no infinity.
"""

import json
import re
import textwrap
from typing import Any

import numpy as np
import pandas as pd
from rich.cells import cell_len

from helm_efficiency.report.board import Leaderboard
from helm_efficiency.report.display import Display

_GAP = 2
_LEGEND_WIDTH = 100
_MARKDOWN_SPECIAL = re.compile(r"([\\`*_{}\[\]|~$])")
_LATEX = {
    "\\": r"\textbackslash{}",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    "—": "---",
    "–": "--",
    "−": "$-$",
    "×": r"$\times$",
    "÷": r"$\div$",
    "●": r"$\bullet$",
    "†": r"$\dagger$",
    "∞": r"$\infty$",
    **{character: rf"\{character}" for character in "&%$#_{}"},
}


def to_markdown(table: Display) -> str:
    """A GitHub table with its title above and its legend below; nothing in it is taken for markup."""
    lines = [
        f"**{_markdown(table.title)}**",
        "",
        _markdown_row(table.headings),
        "|" + "|".join(" ---: " if number else " --- " for number in table.is_number) + "|",
        *(_markdown_row(row) for row in table.rows),
        "",
        *(f"- {_markdown(sentence)}" for sentence in (*table.legend, *table.notes)),
    ]
    return "\n".join(lines) + "\n"


def _markdown_row(cells: tuple[str, ...]) -> str:
    return "| " + " | ".join(map(_markdown, cells)) + " |"


def _markdown(text: str) -> str:
    escaped = text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    return _MARKDOWN_SPECIAL.sub(r"\\\1", " ".join(escaped.split()))


def to_latex(table: Display) -> str:
    """A `table` for booktabs, its legend in the caption."""
    lines = [
        r"\begin{table}",
        r"  \centering",
        rf"  \caption{{{_latex(f'{table.title}. ' + ' '.join((*table.legend, *table.notes)))}}}",
        rf"  \begin{{tabular}}{{{''.join('r' if number else 'l' for number in table.is_number)}}}",
        r"    \toprule",
        *(f"    {_latex_row(row)}" for row in (table.headings,)),
        r"    \midrule",
        *(f"    {_latex_row(row)}" for row in table.rows),
        r"    \bottomrule",
        r"  \end{tabular}",
        r"\end{table}",
    ]
    return "\n".join(lines) + "\n"


def _latex_row(cells: tuple[str, ...]) -> str:
    return " & ".join(map(_latex, cells)) + r" \\"


def _latex(text: str) -> str:
    return "".join(_LATEX.get(character, character) for character in " ".join(text.split()))


def to_text(table: Display, *, width: int | None = None) -> str:
    """A table for terminals and logs, its legend below, nothing folded.

    Args:
        table: What to write.
        width: Of the terminal, in characters; columns that do not fit are left out, from the right, and named below.
    """
    columns = [
        [*_heading_lines(heading), *(_printable(row[index]) for row in table.rows)]
        for index, heading in enumerate(table.headings)
    ]
    widths = [max(map(cell_len, column)) for column in columns]
    shown = list(range(len(columns)))
    optional = [index for index in shown[2:] if table.is_number[index]]
    while width is not None and sum(widths[index] + _GAP for index in shown) - _GAP > width and len(optional) > 1:
        shown.remove(optional.pop())
    lines = [
        (" " * _GAP).join(_pad(columns[at][line], widths[at], right=table.is_number[at]) for at in shown).rstrip()
        for line in range(2 + len(table.rows) if columns else 0)
    ]
    if columns:
        lines.insert(2, "─" * (sum(widths[index] + _GAP for index in shown) - _GAP))
    absent = [heading for index, heading in enumerate(table.headings) if index not in shown]
    legend = [*table.legend, *table.notes, *([f"Left out for want of width: {', '.join(absent)}."] if absent else [])]
    wrapped = (textwrap.fill(sentence, width or _LEGEND_WIDTH) for sentence in legend)
    return "\n".join([table.title, "", *lines, "", *wrapped]) + "\n"


def _heading_lines(heading: str) -> tuple[str, str]:
    """Return a heading on two lines, broken after a comma, else before the unit."""
    title, separator, rest = heading.partition(", " if ", " in heading else " (")
    return title, separator.strip(" ,") + rest


def _printable(text: str) -> str:
    """Without line breaks and without what would steer the terminal."""
    return "".join(character if character.isprintable() else "�" for character in text)


def _pad(text: str, width: int, *, right: bool) -> str:
    blank = " " * (width - cell_len(text))
    return blank + text if right else text + blank


def to_csv(board: Leaderboard) -> str:
    """All rows and columns, and in each row what it is traced back by."""
    return _rounded(board.table).assign(made_with=board.source).to_csv(index=False, lineterminator="\n")


def to_records(board: Leaderboard) -> list[dict[str, Any]]:
    """All rows and columns as plain JSON values, and in each row what it is traced back by."""
    table = _rounded(board.table).assign(made_with=board.source).astype(object)
    return [
        {str(name): _plain(value) for name, value in row.items()}
        for row in table.where(table.notna(), None).to_dict("records")
    ]


def to_json(board: Leaderboard) -> str:
    """All rows and columns as a list of objects."""
    return json.dumps(to_records(board), indent=2, ensure_ascii=False, allow_nan=False) + "\n"


def _plain(value: Any) -> Any:
    if isinstance(value, float) and np.isinf(value):
        return "inf" if value > 0 else "-inf"
    return value


def _rounded(table: pd.DataFrame) -> pd.DataFrame:
    """Nine significant digits: more would differ between processors."""
    reals = table.select_dtypes("float")
    rounded = reals.map(lambda value: float(f"{value:.9g}"))
    return table.assign(**{str(name): rounded[name] for name in reals})
