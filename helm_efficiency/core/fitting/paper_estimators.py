"""The paper's own estimators, which reproduce HELM's packaged tables and the paper's notebooks to the digit.

Two of them exist in the authors' code (stanford-crfm/helm-efficiency, notebooks/fit_runtimes.py). Both give a table of
prefill seconds (alpha) and one decode time (beta), rounded to a millisecond:

- `paper-2023`: alpha is the measured time with one output token; beta the slope of one least-squares line through
  (o - 1, T(p, o) - alpha(p)), all prompt lengths pooled. This is what the notebooks print.
- `paper-2022`: alpha is slope plus intercept of a least-squares line of T on o for each prompt length, never below
  that of the shortest prompt; beta the pooled slope through (o, T - alpha). This is what HELM ships.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from helm_efficiency.core.fitting.additive_model import Cells
from helm_efficiency.errors import InsufficientMeasurementsError


@dataclass(frozen=True, slots=True)
class PaperFit:
    """A fitted table as in the paper.

    Attributes:
        prefill_s: Seconds by prompt tokens (the paper's alpha).
        decode_s_per_token: Seconds per output token after the first (the paper's beta).
        r_squared: R² of the pooled line.
        mean_squared_error: Mean squared error (s²) of alpha + beta * (o - 1), without the line's intercept, as in the
            paper.
        max_squared_error: Largest squared error (s²) of the same prediction.
    """

    prefill_s: Mapping[int, float]
    decode_s_per_token: float
    r_squared: float
    mean_squared_error: float
    max_squared_error: float


def fit_paper_2023(cells: Cells, *, digits: int | None = 3) -> PaperFit:
    """Fit as `paper-2023`, with alpha from requests of one output token.

    Args:
        cells: Seconds by (prompt tokens, output tokens).
        digits: Decimals to which seconds are rounded, as the authors do; None for full precision.

    Raises:
        InsufficientMeasurementsError: A prompt length was not measured with one output token, or nothing with more.
    """
    prompts = sorted({p for p, _ in cells})
    missing = [p for p in prompts if (p, 1) not in cells]
    if missing:
        raise InsufficientMeasurementsError(
            f"paper-2023 reads prefill from one output token; not measured for prompt tokens {missing}."
        )
    return _pooled(cells, {p: _rounded(cells[p, 1], digits) for p in prompts}, first_step=1, digits=digits)


def fit_paper_2022(cells: Cells) -> PaperFit:
    """Fit as `paper-2022`, with alpha from a line in the output length for each prompt length.

    Raises:
        InsufficientMeasurementsError: A prompt length was measured with one output length only.
    """
    prefill_s: dict[int, float] = {}
    for p in sorted({p for p, _ in cells}):
        line = {o: seconds for (its, o), seconds in cells.items() if its == p}
        if len(line) < 2:
            raise InsufficientMeasurementsError(f"paper-2022 needs two output lengths for prompt tokens {p}.")
        slope, intercept = np.polyfit(np.array(list(line), dtype=np.float64), list(line.values()), 1)
        prefill_s[p] = round(round(float(slope), 3) + round(float(intercept), 3), 3)
    floor = prefill_s[min(prefill_s)]
    return _pooled(cells, {p: max(seconds, floor) for p, seconds in prefill_s.items()}, first_step=0, digits=3)


def _rounded(seconds: float, digits: int | None) -> float:
    return seconds if digits is None else round(seconds, digits)


def _pooled(cells: Cells, prefill_s: Mapping[int, float], *, first_step: int, digits: int | None) -> PaperFit:
    steps = np.array([o - first_step for _, o in cells], dtype=np.float64)
    rest = np.array([seconds - prefill_s[p] for (p, _), seconds in cells.items()])
    if np.ptp(steps) == 0:
        raise InsufficientMeasurementsError(
            "Decode needs at least two output lengths. Measure another, for instance 16."
        )
    slope, intercept = np.polyfit(steps, rest, 1)
    decode_s_per_token = _rounded(float(slope), digits)
    unexplained = float(np.sum((rest - intercept - slope * steps) ** 2))
    spread = float(np.sum((rest - rest.mean()) ** 2))
    squares = (rest - decode_s_per_token * steps) ** 2
    return PaperFit(
        prefill_s,
        decode_s_per_token,
        1.0 - unexplained / spread if spread else 1.0,
        float(np.mean(squares)),
        float(np.max(squares)),
    )
