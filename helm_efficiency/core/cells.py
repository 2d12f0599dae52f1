"""Measurements of a profile as cells: one time for each prompt length, output length and batch size."""

import numpy as np

from helm_efficiency.core.lines import Cells
from helm_efficiency.core.measurement import Profile
from helm_efficiency.errors import InsufficientMeasurementsError

_LEAST_S, _MOST_S = 1e-9, 1e9
"""Beyond these, squares and ratios of seconds would leave the range of a number."""


def cells_by_batch(profile: Profile) -> dict[int, Cells]:
    """Median seconds of each cell, by batch size, ascending.

    A time to first token is a measurement with one output token; it fills such a cell where none was timed apart.

    Raises:
        InsufficientMeasurementsError: The profile is empty, or holds seconds that nothing takes.
    """
    if not profile.measurements:
        raise InsufficientMeasurementsError("no measurements.")
    for m in profile.measurements:
        if not _LEAST_S <= m.seconds <= _MOST_S:
            raise InsufficientMeasurementsError(
                f"a measurement of {m.seconds:g} s; expected {_LEAST_S:g} to {_MOST_S:g} s to fit anything to."
            )
    by_batch: dict[int, dict[tuple[int, int], float]] = {}
    first_tokens: dict[tuple[int, int], list[float]] = {}
    for (p, o, batch), measurements in profile.cells().items():
        by_batch.setdefault(batch, {})[p, o] = float(np.median([m.seconds for m in measurements]))
        seen = [m.ttft_s for m in measurements if m.ttft_s]
        first_tokens.setdefault((p, batch), []).extend(seen)
    for (p, batch), seconds in first_tokens.items():
        if seconds:
            by_batch[batch].setdefault((p, 1), float(np.median(seconds)))
    return {batch: dict(sorted(by_batch[batch].items())) for batch in sorted(by_batch)}
