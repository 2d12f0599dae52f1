"""Measurements, stacks and profiles: records of what was timed and on what. All are immutable; statistics are derived.

A *measurement* is one timed request, or the mean of several. A *stack* is the identity of a set of coefficients: two
numbers with different stacks are never averaged or compared without saying so. A *profile* holds all measurements of
one deployment on one stack.
"""

import hashlib
import json
import math
import re
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from statistics import median
from typing import Self

from helm_efficiency.core.fitting.additive_model import Cells
from helm_efficiency.core.fitting.correction import Correction
from helm_efficiency.core.tier import Tier
from helm_efficiency.core.transfer.architecture import Architecture
from helm_efficiency.errors import InputError, InsufficientMeasurementsError

_MOST_TOKENS = 10**9
"""Limit of tokens, more than any real request has; the square of a far larger number would overflow."""

_MOST_S = 1e9
"""Limit of seconds, more than any real request takes; the square of a far larger number would overflow."""

_MOST_ACCELERATORS = 10**6
"""Limit of accelerators, more than any real model is spread over."""


@dataclass(frozen=True, slots=True, order=True)
class Stack:
    """Hardware and software that a runtime belongs to.

    The `name` makes models comparable and is selected by `--stack`: it means one kind of accelerator and one software
    stack. The number of accelerators that a model is spread over is part of the identity but may differ between the
    models of a named stack, as in the paper (GPT-J on one A100, davinci on eight).

    Attributes:
        name: Name by which the stack is selected; by default accelerator-engine-dtype.
        accelerator: Key of the accelerator catalog, such as `a100-80gb`, or `cpu`.
        num_accelerators: Accelerators that one model instance occupies.
        engine: Serving or inference software, such as `megatron` or `transformers-eager`.
        engine_version: Version that the engine states; empty if unknown.
        dtype: Precision of the weights: `fp32`, `fp16`, `bf16`, `fp8`, `int8`, `int4` …; empty if unknown.
        tensor_parallel: Number of ways in which each layer is split.
        pipeline_parallel: Number of stages into which the layers are split.

    Raises:
        InputError: The name has spaces, commas or equals signs, or a count is below 1 or above a million.
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
        """Return the whole identity in one line.

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
        seconds: End-to-end seconds; the mean if `num_repetitions` > 1.
        batch_size: Rows in one forward pass.
        seconds_std: Standard deviation over the repetitions (s), if they were averaged.
        num_repetitions: Number of timed requests that `seconds` averages.
        ttft_s: Seconds from sending the request to its first token, if observed.
        peak_memory_bytes: Peak memory in use during the request, weights included, if observed.
        energy_j: Energy (J) of all accelerators for the whole batch, if it was measured.

    Raises:
        InputError: A count is below 1, or the seconds are not above 0.

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
    """All measurements of one deployment on one stack.

    Attributes:
        deployment: HELM's name of the model deployment, such as `together/bloom`.
        stack: Stack on which it was measured.
        measurements: Measurements in the order in which they were taken.
        architecture: Sizes of the model, if known.
        resolution_s: Step (s) to which the recorded seconds were rounded; 0 for full precision.
        source: Origin of the measurements: a file, a command, a publication.
        measured_on: ISO date of the measurements, empty if unknown.
        versions: Versions of the software involved, by package.
        notes: Notes for the reader: cells that ran out of memory, noise that remained.
        tier: Tier of a fit to the profile: `measured`, or `simulated` if cells were simulated rather than timed.
        correction: Factors from simulated cells to a real server; None for cells that were timed.

    Raises:
        InputError: The `resolution_s` is out of range.

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
        """Return the measurements by (prompt_tokens, output_tokens, batch_size), sorted by these."""
        cells: dict[tuple[int, int, int], list[Measurement]] = {}
        for m in self.measurements:
            cells.setdefault((m.prompt_tokens, m.output_tokens, m.batch_size), []).append(m)
        return dict(sorted(cells.items()))

    def cell_seconds(self) -> dict[tuple[int, int, int], float]:
        """Return the seconds of each cell, by (prompt_tokens, output_tokens, batch_size), sorted by these."""
        return {cell: median_seconds(measurements) for cell, measurements in self.cells().items()}

    def sha256(self) -> str:
        """Return a hash of the measurements, to trace any number back to the measurements behind it."""
        text = json.dumps([_known_values(m) for m in self.measurements], sort_keys=True)
        return hashlib.sha256(text.encode()).hexdigest()

    def with_more(self, measurements: Sequence[Measurement]) -> Self:
        """Return the same profile with measurements appended."""
        return replace(self, measurements=(*self.measurements, *measurements))


def _known_values(measurement: Measurement) -> dict[str, float]:
    """Return the fields that are not None, with seconds and joules as floats, as they are read back from a file."""
    values = ((name, getattr(measurement, name)) for name in Measurement.__slots__)
    return {name: float(value) if name in _REALS else value for name, value in values if value is not None}


_REALS = ("seconds", "seconds_std", "ttft_s", "energy_j")


_LEAST_S, _MOST_S = 1e-9, 1e9
"""Range of seconds within which squares and ratios of them do not overflow or underflow."""


def median_seconds(measurements: Sequence[Measurement]) -> float:
    """Return the seconds of one cell: the median over its repetitions, which one slow repetition does not move."""
    return float(median([measurement.seconds for measurement in measurements]))


def cells_by_batch(profile: Profile) -> dict[int, Cells]:
    """Return the median seconds of each cell, by batch size, ascending.

    A time to first token is a measurement with one output token; it fills such a cell if that was not timed separately.

    Raises:
        InsufficientMeasurementsError: The profile is empty, or holds impossible seconds.
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
            by_batch[batch].setdefault((p, 1), float(median(seconds)))
    return {batch: dict(sorted(by_batch[batch].items())) for batch in sorted(by_batch)}
