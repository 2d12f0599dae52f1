"""Write leaderboards as Markdown, LaTeX and text for a terminal (for reading), or as CSV and JSON (for programs).

Programs get every column and row with nine significant digits. A missing number is empty in CSV and null in JSON. An
infinite one (the cost of a correct answer if a model has none) is the text `inf`, since JSON has no infinity.
"""

import json
import re
from typing import Any

import numpy as np
import pandas as pd

from helm_efficiency.errors import printable
from helm_efficiency.report.board import Leaderboard
from helm_efficiency.report.text import Display

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
    "‡": r"$\ddagger$",
    "·": r"$\cdot$",
    "∞": r"$\infty$",
    **{character: rf"\{character}" for character in "&%$#_{}"},
}


def to_markdown(table: Display) -> str:
    """Return a GitHub table with its title above and its legend below; all markup in its texts is escaped."""
    lines = [
        f"**{_markdown(table.title)}**",
        "",
        _markdown_row(table.headings),
        "|" + "|".join(" ---: " if number else " --- " for number in table.is_number) + "|",
        *(_markdown_row(row) for row in table.short_rows),
        "",
        *(f"- {_markdown(sentence)}" for sentence in (*table.legend, *table.notes)),
    ]
    return "\n".join(lines) + "\n"


def _markdown_row(cells: tuple[str, ...]) -> str:
    return "| " + " | ".join(map(_markdown, cells)) + " |"


def _markdown(text: str) -> str:
    escaped = printable(" ".join(text.split())).replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    return _MARKDOWN_SPECIAL.sub(r"\\\1", escaped)


def to_latex(table: Display) -> str:
    """Return a LaTeX `table` for booktabs, with the legend in the caption."""
    lines = [
        r"\begin{table}",
        r"  \centering",
        rf"  \caption{{{_latex(f'{table.title}. ' + ' '.join((*table.legend, *table.notes)))}}}",
        rf"  \begin{{tabular}}{{{''.join('r' if number else 'l' for number in table.is_number)}}}",
        r"    \toprule",
        *(f"    {_latex_row(row)}" for row in (table.headings,)),
        r"    \midrule",
        *(f"    {_latex_row(row)}" for row in table.short_rows),
        r"    \bottomrule",
        r"  \end{tabular}",
        r"\end{table}",
    ]
    return "\n".join(lines) + "\n"


def _latex_row(cells: tuple[str, ...]) -> str:
    return " & ".join(map(_latex, cells)) + r" \\"


def _latex(text: str) -> str:
    return "".join(_LATEX.get(character, character) for character in printable(" ".join(text.split())))


def to_csv(board: Leaderboard) -> str:
    """Return all rows and columns as CSV; each row has its provenance.

    Only unprintable characters of names are replaced: a cell may begin with = or @, as some names do.
    """
    table = _rounded(board.table).assign(made_with=board.source)
    texts = table.select_dtypes(exclude="number").columns
    shown = table.assign(**{name: table[name].map(_csv_text) for name in texts})
    return shown.to_csv(index=False, lineterminator="\n")


def _csv_text(value: Any) -> Any:
    return printable(value) if isinstance(value, str) else value


def to_records(board: Leaderboard) -> list[dict[str, Any]]:
    """Return all rows and columns as plain JSON values; each row has its provenance."""
    table = _rounded(board.table).assign(made_with=board.source).astype(object)
    return [
        {str(name): _plain(value) for name, value in row.items()}
        for row in table.where(table.notna(), None).to_dict("records")
    ]


def to_json(board: Leaderboard) -> str:
    """Return all rows and columns as a JSON list of objects."""
    return json.dumps(to_records(board), indent=2, allow_nan=False) + "\n"


def _plain(value: Any) -> Any:
    if isinstance(value, float) and np.isinf(value):
        return "inf" if value > 0 else "-inf"
    return value


def _rounded(table: pd.DataFrame) -> pd.DataFrame:
    """Round numbers to nine significant digits: further digits differ between processors."""
    reals = table.select_dtypes("float")
    rounded = reals.map(lambda value: float(f"{value:.9g}"))
    return table.assign(**{str(name): rounded[name] for name in reals})
