"""Meaning of a score, by its name: whether it counts right answers, and the ends of its scale.

The meaning is never inferred from the values of a run: five answers that a jury rated 1 of 5, the worst, look like five
right ones.
"""

import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from enum import StrEnum
from fnmatch import fnmatchcase
from functools import cache
from importlib.resources import files

import numpy as np

from helm_efficiency.catalog.user_files import parse_yaml
from helm_efficiency.core.arrays import FloatArray


class ScoreKind(StrEnum):
    """Quantity that a score counts."""

    correctness = "correctness"
    graded = "graded"
    open = "open"


@dataclass(frozen=True, slots=True)
class ScoreScale:
    """Scale and meaning of a score.

    Attributes:
        kind: Kind of the score. `correctness`: share of right answers. `graded`: any other number between two ends.
            `open`: no upper end.
        low: Lower end of the scale.
        high: Upper end of the scale; meaningless for an open scale.
        lower_is_better: Direction of the scale; True if less is better.
    """

    kind: ScoreKind
    low: float = 0.0
    high: float = 1.0
    lower_is_better: bool = False

    def normalized(self, score: "FloatArray") -> "FloatArray":
        """Return scores on a scale of 0, the worst, to 1, the best; NaN if the scale is open."""
        if self.kind is ScoreKind.open:
            return np.full_like(score, np.nan)
        share = (score - self.low) / (self.high - self.low)
        return 1 - share if self.lower_is_better else share


def score_scale(name: str | None) -> ScoreScale | None:
    """Return scale and meaning of a score, or None if the catalog does not know it.

    Example:
        >>> score_scale("quasi_exact_match@5").kind.value, score_scale("medi_qa_accuracy").high
        ('correctness', 5)
        >>> score_scale("my_own_score") is None
        True
    """
    return None if name is None else _find(name)


def counts_correct_answers(names: Iterable[str | None]) -> bool:
    """Return True if there are scores and all of them are shares of right answers."""
    scales = [score_scale(name) for name in names]
    return bool(scales) and all(scale is not None and scale.kind is ScoreKind.correctness for scale in scales)


def is_lower_better(names: Iterable[str]) -> bool:
    """Return True if there are scores and less is better for all of them."""
    scales = [score_scale(name) for name in names]
    return bool(scales) and all(scale is not None and scale.lower_is_better for scale in scales)


def have_one_scale(names: Sequence[str]) -> bool:
    """Return True if scores can be averaged as they are: they have the same ends and direction, or the same name."""
    scales = {score_scale(name) for name in names}
    if None in scales or any(scale is not None and scale.kind is ScoreKind.open for scale in scales):
        return len(names) <= 1
    return len({(scale.low, scale.high, scale.lower_is_better) for scale in scales if scale is not None}) <= 1


def on_one_scale(names: Sequence[str]) -> Callable[[Sequence[str], FloatArray], FloatArray]:
    """Return a function that maps scores to a common scale.

    Args:
        names: Names of all scores to average.

    Returns:
        Function of the names of some of the scores and their values. It returns the values themselves if all scales are
        alike, and otherwise values from 0, the worst, to 1, the best; NaN if the scale is unknown or has no end.
    """
    if have_one_scale(names):
        return lambda _, values: values
    return _normalized


def _normalized(names: Sequence[str], values: FloatArray) -> FloatArray:
    scale = score_scale(names[0]) if names and have_one_scale(names) else None
    return np.full_like(values, np.nan) if scale is None else scale.normalized(values)


@cache
def _find(name: str) -> ScoreScale | None:
    plain = re.split(r"@\d+$| \(", name, maxsplit=1)[0]
    for patterns, scale in _packaged():
        if any(fnmatchcase(each, pattern) for each in (name, plain) for pattern in patterns):
            return scale
    return None


@cache
def _packaged() -> tuple[tuple[tuple[str, ...], ScoreScale], ...]:
    """Read the catalog: patterns of names, and the scale of each."""
    where = "data/score_scales.yaml"
    document = parse_yaml(files("helm_efficiency.catalog").joinpath(where).read_text(encoding="utf-8"), where)
    return tuple(
        (
            tuple(row["match"]),
            ScoreScale(
                ScoreKind(row["kind"]), row.get("low", 0.0), row.get("high", 1.0), row.get("lower_is_better", False)
            ),
        )
        for row in document["scales"]
    )
