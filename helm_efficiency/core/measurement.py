"""What was timed, on what: measurements, stacks and profiles. All immutable; every statistic is derived.

A *measurement* is one timed request, or the mean of several. A *stack* is the identity of a set of coefficients: two
numbers with different stacks are never averaged or compared without saying so. A *profile* is all that was measured of
one deployment on one stack.
"""

import hashlib
import json
import math
import re
import sys
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from typing import Self

import numpy as np

from helm_efficiency.core.fitting.additive_model import Cells
from helm_efficiency.core.fitting.correction import Correction
from helm_efficiency.core.tier import Tier
from helm_efficiency.core.transfer.architecture import Architecture
from helm_efficiency.errors import InputError, InsufficientMeasurementsError

_MOST_TOKENS = 10**9
"""More than any request has; far more would overflow in squares of it."""

_MOST_S = 1e9
"""Likewise of seconds."""

_MOST_ACCELERATORS = 10**6
"""More than any model is spread over."""


@dataclass(frozen=True, slots=True, order=True)
class Stack:
    """Hardware and software that a runtime belongs to.

    `name` is what is comparable across models and what `--stack` selects: one kind of accelerator and one software
    stack. How many accelerators a model is spread over is part of the identity but may differ between the models of a
    named stack, as in the paper (GPT-J on one A100 beside davinci on eight).

    Attributes:
        name: For selecting; by default accelerator-engine-dtype.
        accelerator: A key of the accelerator catalog, such as `a100-80gb`, or `cpu`.
        num_accelerators: Accelerators that one model instance occupies.
        engine: Serving or inference software, such as `megatron` or `transformers-eager`.
        engine_version: As the engine states it; empty if unknown.
        dtype: Of the weights: `fp32`, `fp16`, `bf16`, `fp8`, `int8`, `int4` …; empty if unknown.
        tensor_parallel: Ways each layer is split.
        pipeline_parallel: Stages the layers are split into.

    Raises:
        InputError: A name with spaces, commas or equals signs, or a count below 1 or above a million.
    """

    name: str
    accelerator: str
    num_accelerators: int = 1
    engine: str = ""
    engine_version: str = ""
    dtype: str = ""
    tensor_parallel: int = 1
    pipeline_parallel: int = 1

    def __post_init__(self) -> None:
        if not self.name or re.search(r"[,=\s\x00-\x1f]", self.name):
            raise InputError(
                f"Stack name {self.name!r}: expected letters, digits and . _ - + without spaces, ',' or '='."
            )
        for what in ("num_accelerators", "tensor_parallel", "pipeline_parallel"):
            if not 1 <= getattr(self, what) <= _MOST_ACCELERATORS:
                raise InputError(
                    f"Stack {self.name!r}: {what} is {str(getattr(self, what))[:30]}, expected 1 or more, "
                    f"at most {_MOST_ACCELERATORS}."
                )

    def __str__(self) -> str:
        """All of the identity in one line.

        >>> str(Stack("a100-80gb", "a100-80gb", 8, engine="megatron", dtype="fp16", tensor_parallel=8))
        'a100-80gb×8 megatron fp16 tp8'
        """
        parts = [f"{self.accelerator}×{self.num_accelerators}", self.engine, self.engine_version, self.dtype]
        if self.tensor_parallel > 1:
            parts.append(f"tp{self.tensor_parallel}")
        if self.pipeline_parallel > 1:
            parts.append(f"pp{self.pipeline_parallel}")
        return " ".join(part for part in parts if part)


@dataclass(frozen=True, slots=True)
class Measurement:
    """One timed request, or the mean of several alike.

    Attributes:
        prompt_tokens: Tokens fed to prefill, at least 1.
        output_tokens: Tokens generated, at least 1.
        seconds: End to end; the mean where `num_repetitions` > 1.
        batch_size: Rows in one forward pass.
        seconds_std: Standard deviation over the repetitions (s), if they were averaged.
        num_repetitions: How many timed requests `seconds` is the mean of.
        ttft_s: Request sent to first token (s), if it was seen.
        peak_memory_bytes: Most memory in use at once while it ran, weights included, if it was seen.
        energy_j: Energy (J) of all accelerators for the whole batch, if it was measured.

    Raises:
        InputError: A count below 1, or seconds that are not above 0.

    Example:
        >>> Measurement(prompt_tokens=512, output_tokens=16, seconds=0.42, seconds_std=0.01, num_repetitions=5).seconds
        0.42
    """

    prompt_tokens: int
    output_tokens: int
    seconds: float
    batch_size: int = 1
    seconds_std: float | None = None
    num_repetitions: int = 1
    ttft_s: float | None = None
    peak_memory_bytes: int | None = None
    energy_j: float | None = None

    def __post_init__(self) -> None:
        for what in ("prompt_tokens", "output_tokens", "batch_size", "num_repetitions"):
            if not 1 <= getattr(self, what) <= _MOST_TOKENS:
                raise InputError(
                    f"{what} is {str(getattr(self, what))[:30]}, expected 1 or more, at most {_MOST_TOKENS}."
                )
        if not 0 < self.seconds <= sys.float_info.max:
            raise InputError(f"seconds is {self.seconds}, expected a positive number.")
        if self.seconds_std is not None and not (math.isfinite(self.seconds_std) and self.seconds_std >= 0):
            raise InputError(f"seconds_std is {self.seconds_std}, expected 0 or more.")
        if self.ttft_s is not None and not (math.isfinite(self.ttft_s) and self.ttft_s >= 0):
            raise InputError(f"ttft_s is {self.ttft_s}, expected 0 or more.")
        if self.energy_j is not None and not (math.isfinite(self.energy_j) and self.energy_j >= 0):
            raise InputError(f"energy_j is {self.energy_j}, expected 0 or more.")


@dataclass(frozen=True, slots=True)
class Profile:
    """All that was measured of one deployment on one stack.

    Attributes:
        deployment: HELM's name of the model deployment, such as `together/bloom`.
        stack: Where it was measured.
        measurements: In the order taken.
        architecture: What the model is made of, if known.
        resolution_s: Step (s) that the recorded seconds were rounded to; 0 for full precision.
        source: Where the measurements come from: a file, a command, a publication.
        measured_on: ISO date, empty if unknown.
        versions: Versions of the software involved, by package.
        notes: What a reader should know: cells that ran out of memory, noise that remained.
        tier: Tier of a fit of it: `measured`, or `simulated` where cells were simulated rather than timed.
        correction: Factors from simulated cells to a real server; None for cells that were timed.

    Raises:
        InputError: A `resolution_s` out of range.

    Example:
        >>> profile = Profile("me/model", Stack("a100", "a100-80gb"), (Measurement(512, 16, seconds=0.42),))
        >>> sorted(profile.cells())
        [(512, 16, 1)]
    """

    deployment: str
    stack: Stack
    measurements: tuple[Measurement, ...]
    architecture: Architecture | None = None
    resolution_s: float = 0.0
    source: str = ""
    measured_on: str = ""
    versions: Mapping[str, str] = field(default_factory=dict)
    notes: tuple[str, ...] = ()
    tier: Tier = Tier.measured
    correction: Correction | None = None

    def __post_init__(self) -> None:
        if not 0 <= self.resolution_s <= _MOST_S:
            raise InputError(f"resolution_s is {self.resolution_s}, expected 0 to {_MOST_S:g}.")

    def cells(self) -> dict[tuple[int, int, int], list[Measurement]]:
        """Measurements by (prompt_tokens, output_tokens, batch_size), sorted by these."""
        cells: dict[tuple[int, int, int], list[Measurement]] = {}
        for m in self.measurements:
            cells.setdefault((m.prompt_tokens, m.output_tokens, m.batch_size), []).append(m)
        return dict(sorted(cells.items()))

    def cell_seconds(self) -> dict[tuple[int, int, int], float]:
        """Return the seconds of each cell, by (prompt_tokens, output_tokens, batch_size), sorted by these."""
        return {cell: median_seconds(measurements) for cell, measurements in self.cells().items()}

    def sha256(self) -> str:
        """Return a hash of the measurements, to trace any number back to what it was computed from."""
        text = json.dumps([_known_values(m) for m in self.measurements], sort_keys=True)
        return hashlib.sha256(text.encode()).hexdigest()

    def with_more(self, measurements: Sequence[Measurement]) -> Self:
        """The same profile with measurements appended."""
        return replace(self, measurements=(*self.measurements, *measurements))


def _known_values(measurement: Measurement) -> dict[str, float]:
    """Return the fields that are not None; seconds and joules as floats, as a file gives them back."""
    values = {name: value for name, value in asdict(measurement).items() if value is not None}
    return {name: float(value) if name in _REALS else value for name, value in values.items()}


_REALS = ("seconds", "seconds_std", "ttft_s", "energy_j")


_LEAST_S, _MOST_S = 1e-9, 1e9
"""Beyond these, squares and ratios of seconds would leave the range of a number."""


def median_seconds(measurements: Sequence[Measurement]) -> float:
    """Return the seconds of one cell: the median over its repetitions, which one slow repetition does not move."""
    return float(np.median([measurement.seconds for measurement in measurements]))


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
        by_batch.setdefault(batch, {})[p, o] = median_seconds(measurements)
        seen = [m.ttft_s for m in measurements if m.ttft_s]
        first_tokens.setdefault((p, batch), []).extend(seen)
    for (p, batch), seconds in first_tokens.items():
        if seconds:
            by_batch[batch].setdefault((p, 1), float(np.median(seconds)))
    return {batch: dict(sorted(by_batch[batch].items())) for batch in sorted(by_batch)}
