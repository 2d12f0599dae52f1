"""Whether the repetitions of a cell agree well enough, and what to do when they do not.

Seconds have a long right tail: another process, a page fault, a clock that drops. The median and the median absolute
deviation do not follow single outliers, so they are what is judged.
"""

from collections.abc import Sequence

import numpy as np

_MAD_TO_STD = 1.4826  # of a normal distribution
_MEDIAN_TO_MEAN_ERROR = 1.2533  # sqrt(pi / 2): standard error of a median against that of a mean


def spread_fraction(seconds: Sequence[float]) -> float:
    """Standard error of the median, relative to it; infinite for a single repetition.

    >>> round(spread_fraction([1.00, 1.02, 0.98, 1.01, 5.00]), 4)  # 1.2533 * 1.4826 * 0.01 / (1.01 * sqrt(5))
    0.0082
    """
    if len(seconds) < 2:
        return float("inf")
    values = np.asarray(seconds)
    median = float(np.median(values))
    mad = float(np.median(np.abs(values - median)))
    return _MEDIAN_TO_MEAN_ERROR * _MAD_TO_STD * mad / (median * len(values) ** 0.5)


def noise_note(seconds: Sequence[float], *, wanted_fraction: float) -> str:
    """One line on a cell that stayed noisy, with the remedy; empty for a cell that did not."""
    spread = spread_fraction(seconds)
    if spread <= wanted_fraction:
        return ""
    return (
        f"noisy: ±{spread:.1%} after {len(seconds)} repetitions, {wanted_fraction:.1%} wanted; close other programs, "
        "fix the clocks of the device, or allow more repetitions"
    )
