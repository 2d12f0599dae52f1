"""Decide whether the repetitions of a cell agree well enough, and what to do if they do not.

Seconds have a long right tail: another process, a page fault, a clock that drops. The median and the median absolute
deviation do not follow single outliers, so they are used to judge a cell.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Self

import numpy as np

from helm_efficiency.errors import InputError

_MAD_TO_STD = 1.4826  # ratio of standard deviation to median absolute deviation of a normal distribution
_MEDIAN_TO_MEAN_ERROR = 1.2533  # sqrt(pi / 2): standard error of a median relative to that of a mean


@dataclass(frozen=True, slots=True)
class Repetitions:
    """Number of warm-ups and repetitions of each cell.

    Attributes:
        num_warmups: Number of discarded runs of the same shape before the first repetition; an engine may need more.
        num_repetitions: Number of timed runs of each cell.
        max_repetitions: Largest number of timed runs of a noisy cell.
        max_spread_fraction: Largest relative standard error of the median; a cell above it is noisy.
    """

    num_warmups: int = 1
    num_repetitions: int = 5
    max_repetitions: int = 15
    max_spread_fraction: float = 0.02

    def __post_init__(self) -> None:
        if self.num_warmups < 0 or not 1 <= self.num_repetitions <= self.max_repetitions:
            raise InputError(
                f"{self.num_warmups} warm-ups and {self.num_repetitions} to {self.max_repetitions} repetitions: "
                "expected 0 or more warm-ups, and at least 1 repetition up to a limit that is not smaller."
            )

    @classmethod
    def of_target(cls, num_repetitions: int, target_error_fraction: float) -> Self:
        """Return `num_repetitions`, and up to three times as many for a cell that is noisier than the wanted error."""
        return cls(
            num_repetitions=num_repetitions,
            max_repetitions=3 * num_repetitions,
            max_spread_fraction=target_error_fraction,
        )

    def wants_more(self, seconds: Sequence[float]) -> bool:
        """Return whether a cell with these seconds should be timed again."""
        if len(seconds) < self.num_repetitions:
            return True
        return len(seconds) < self.max_repetitions and spread_fraction(seconds) > self.max_spread_fraction


def spread_fraction(seconds: Sequence[float]) -> float:
    """Return the standard error of the median, relative to the median; infinite for a single repetition.

    >>> round(spread_fraction([1.00, 1.02, 0.98, 1.01, 5.00]), 4)  # 1.2533 * 1.4826 * 0.01 / (1.01 * sqrt(5))
    0.0082
    """
    if len(seconds) < 2:
        return float("inf")
    values = np.asarray(seconds)
    median = float(np.median(values))
    mad = float(np.median(np.abs(values - median)))
    return float(_MEDIAN_TO_MEAN_ERROR * _MAD_TO_STD * mad / (median * len(values) ** 0.5))


def noise_note(seconds: Sequence[float], *, wanted_fraction: float) -> str:
    """Return one line on a cell that stayed noisy, with the remedy; empty for any other cell."""
    spread = spread_fraction(seconds)
    if spread <= wanted_fraction:
        return ""
    return (
        f"noisy: ±{spread:.1%} after {len(seconds)} repetitions, {wanted_fraction:.1%} wanted; close other programs, "
        "fix the clocks of the device, or allow more repetitions"
    )
