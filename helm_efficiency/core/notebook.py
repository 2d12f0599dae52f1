"""Show results in notebooks: a small table of facts as HTML."""

from collections.abc import Mapping, Sequence
from html import escape


def fact_table(title: str, facts: Mapping[str, str], notes: Sequence[str] = ()) -> str:
    """Return HTML with a row for each fact, and notes in small print below.

    >>> fact_table("me/<model>", {"Evidence": "measured"})
    '<table><caption>me/&lt;model&gt;</caption><tr><th>Evidence</th><td>measured</td></tr></table>'
    """
    rows = "".join(f"<tr><th>{escape(name)}</th><td>{escape(text)}</td></tr>" for name, text in facts.items())
    small = f"<small>{'<br>'.join(map(escape, notes))}</small>" if notes else ""
    return f"<table><caption>{escape(title)}</caption>{rows}</table>{small}"
