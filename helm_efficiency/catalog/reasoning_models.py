"""Look up which models write reasoning tokens, so that output tokens counted from text alone can be doubted.

The facts are in `data/reasoning_models.yaml`, each with its source and the day from which it holds.
"""

from dataclasses import dataclass
from datetime import date
from fnmatch import fnmatchcase
from functools import cache
from importlib.resources import files

from helm_efficiency.catalog.user_files import parse_yaml


@dataclass(frozen=True, slots=True)
class ReasoningFact:
    """A fact on whether models with some names reason.

    Attributes:
        patterns: Shell patterns of model names.
        reasons: True if the models reason by default or always, False if never, None if the name does not tell.
        since: First day on which the fact holds.
        source: Publication that states the fact.
    """

    patterns: tuple[str, ...]
    reasons: bool | None
    since: date
    source: str


def is_reasoning_model(name: str, day: date | None = None) -> bool | None:
    """Return whether a model writes reasoning tokens by default.

    Args:
        name: Name of a model or deployment, with or without its publisher.
        day: Day of the request; today by default.

    Returns:
        True, False, or None if the table does not know the model or the mode depends on the request.

    Example:
        >>> from datetime import date
        >>> is_reasoning_model("openai/o3-mini-2025-01-31"), is_reasoning_model("meta/llama-3.1-8b-instruct")
        (True, False)
        >>> is_reasoning_model("anthropic/claude-sonnet-4-5-20250929") is None
        True
    """
    fact = reasoning_fact(name, day)
    return None if fact is None else fact.reasons


def reasoning_fact(name: str, day: date | None = None) -> ReasoningFact | None:
    """Return the row of the table that applies to a model on a day, or None."""
    first_day, facts = _packaged()
    when = day or date.today()
    if when < first_day.since:
        return first_day
    short = name.rsplit("/", 1)[-1].lower().replace("_", "-").replace(":", "-")
    return next(
        (
            fact
            for fact in facts
            if fact.since <= when and any(fnmatchcase(short, pattern) for pattern in fact.patterns)
        ),
        None,
    )


@cache
def _packaged() -> tuple[ReasoningFact, tuple[ReasoningFact, ...]]:
    """Read the table: the fact for every model before the first day of the table, and the rows in order."""
    where = "data/reasoning_models.yaml"
    document = parse_yaml(files("helm_efficiency.catalog").joinpath(where).read_text(encoding="utf-8"), where)
    first_day: date = document["first_day"]
    earlier = ReasoningFact(
        ("*",), False, first_day, "No widely used model had a reasoning mode before OpenAI o1-preview"
    )
    return earlier, tuple(
        ReasoningFact(tuple(row["match"]), row["reasons"], row.get("since", first_day), row["source"])
        for row in document["models"]
    )
