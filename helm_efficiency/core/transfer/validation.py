"""Validate a stack's transfer model: leave one model out, calibrate on the others, compare with its measurements."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from helm_efficiency.core.measurement import Profile
from helm_efficiency.core.transfer.calibration import architecture_of
from helm_efficiency.core.transfer.model import Parallel, fit_transfer
from helm_efficiency.core.transfer.roofline import AcceleratorSpec
from helm_efficiency.errors import InsufficientMeasurementsError


@dataclass(frozen=True, slots=True)
class LeftOut:
    """Errors on one model that the calibration did not see, as fractions of the measured seconds.

    Attributes:
        deployment: Deployment that was left out.
        num_cells: Number of cells that were compared.
        first_token_error_fraction: Mean absolute error of the cells with one output token; None without such cells.
        error_fraction: Mean absolute error of all cells.
        covered_fraction: Share of the cells inside the nominal 90 % interval.
        half_width_fraction: Mean half-width of that interval.
    """

    deployment: str
    num_cells: int
    first_token_error_fraction: float | None
    error_fraction: float
    covered_fraction: float
    half_width_fraction: float


def leave_one_out(profiles: Sequence[Profile], spec: AcceleratorSpec) -> list[LeftOut]:
    """Predict each model from all others of its stack.

    Raises:
        InsufficientMeasurementsError: There are fewer than two profiles.
        InputError: The profiles are invalid, as for `fit_transfer`.
    """
    if len(profiles) < 2:
        raise InsufficientMeasurementsError(
            f"Leaving one model out needs at least two profiles of a stack, given {len(profiles)}."
        )
    return [_left_out(profile, [other for other in profiles if other is not profile], spec) for profile in profiles]


def _left_out(profile: Profile, others: Sequence[Profile], spec: AcceleratorSpec) -> LeftOut:
    model = fit_transfer(others, spec)
    parallel = Parallel(profile.stack.tensor_parallel, profile.stack.pipeline_parallel)
    cells = profile.cell_seconds()
    p, o, b = np.array(list(cells)).T
    seconds = np.array(list(cells.values()))
    errors, covered, half = np.zeros_like(seconds), np.zeros_like(seconds), np.zeros_like(seconds)
    for batch_size in np.unique(b):
        rows = b == batch_size
        predicted = model.predict(
            architecture_of(profile), parallel, prompt_tokens=p[rows], output_tokens=o[rows], batch_size=int(batch_size)
        )
        errors[rows] = np.abs(predicted.seconds / seconds[rows] - 1.0)
        covered[rows] = (predicted.low_s <= seconds[rows]) & (seconds[rows] <= predicted.high_s)
        half[rows] = (predicted.high_s - predicted.low_s) / 2.0 / predicted.seconds
    first = errors[o == 1]
    return LeftOut(
        deployment=profile.deployment,
        num_cells=len(seconds),
        first_token_error_fraction=float(first.mean()) if first.size else None,
        error_fraction=float(errors.mean()),
        covered_fraction=float(covered.mean()),
        half_width_fraction=float(half.mean()),
    )
