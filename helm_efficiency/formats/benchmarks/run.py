"""Represent one result of a benchmark tool, and group results into profiles.

A static batch and clients in a closed loop are different things: the first is the `batch_size` of a measurement, the
second belongs to the name of the stack (`-c8` for 8 clients), so that the two are never averaged or fitted together.
"""

import math
import re
from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from pathlib import Path

from helm_efficiency.catalog.architectures import load_architectures
from helm_efficiency.core.measurement import Measurement, Profile, Stack
from helm_efficiency.core.transfer.architecture import Architecture
from helm_efficiency.errors import FileFormatError, InputError


@dataclass(frozen=True, slots=True, kw_only=True)
class Traffic:
    """Requests that were in flight together.

    Attributes:
        batch_size: Number of rows of a static batch.
        concurrency: Number of clients of a closed loop, each of which sends its next request when it has an answer.
        requests_per_s: Request rate of an open loop.
        is_burst: True if all requests were sent at once.

    Raises:
        ValueError: Fewer than one client, or a rate that is not a finite number above 0.
    """

    batch_size: int = 1
    concurrency: int | None = None
    requests_per_s: float | None = None
    is_burst: bool = False

    def __post_init__(self) -> None:
        if self.concurrency is not None and self.concurrency < 1:
            raise ValueError(f"a concurrency of {self.concurrency}")
        if self.requests_per_s is not None and not 0 < self.requests_per_s < math.inf:
            raise ValueError(f"a rate of {self.requests_per_s} requests a second")

    @property
    def suffix(self) -> str:
        """Ending of a stack's name that states the load: empty for a static batch and for a single client."""
        if self.concurrency is not None:
            return f"-c{self.concurrency}" if self.concurrency > 1 else ""
        if self.requests_per_s is not None:
            return f"-r{self.requests_per_s:g}"
        return "-burst" if self.is_burst else ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Hardware:
    """Hardware and software of a result; empty if its file does not state them.

    `detail` holds further words that distinguish stacks, such as the kernel of quantized weights.
    """

    accelerator: str = ""
    num_accelerators: int = 1
    engine: str = ""
    engine_version: str = ""
    dtype: str = ""
    tensor_parallel: int = 1
    pipeline_parallel: int = 1
    detail: str = ""

    def stack(self, name: str, source: str) -> Stack:
        """Return the stack of that name, or one named after all facts that distinguish stacks.

        Raises:
            InputError: No name is given and the file names no accelerator.
        """
        if not name and not self.accelerator:
            raise InputError(
                f"{source}: the file does not say on which accelerator it was measured. Name the stack, such as: "
                f"--stack h100-sxm-{self.engine or 'vllm'}-{self.dtype or 'bf16'}"
            )
        number = max(self.num_accelerators, self.tensor_parallel * self.pipeline_parallel)
        split = {"tp": self.tensor_parallel, "pp": self.pipeline_parallel, "x": number}
        if number == self.tensor_parallel * self.pipeline_parallel:
            del split["x"]
        parallel = (f"{kind}{ways}" for kind, ways in split.items() if ways > 1)
        parts = (self.accelerator, self.engine, self.engine_version, self.dtype, *parallel, self.detail)
        return Stack(
            name=name or re.sub(r"[^\w.+-]+", "-", "-".join(part for part in parts if part)).strip("-"),
            accelerator=self.accelerator or name,
            num_accelerators=number,
            engine=self.engine,
            engine_version=self.engine_version,
            dtype=self.dtype,
            tensor_parallel=self.tensor_parallel,
            pipeline_parallel=self.pipeline_parallel,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    """One result: the mean over requests of about the same lengths, under one load.

    Attributes:
        model: Name of the model in the file; empty if it names none.
        prompt_tokens: Mean prompt length.
        output_tokens: Mean output length.
        seconds: Mean end-to-end time (s); None if the file has none.
        ttft_s: Mean time to first token (s).
        tpot_s: Mean time per output token after the first (s).
        seconds_std: Standard deviation of the end-to-end times (s).
        num_repetitions: Number of requests or iterations that were averaged.
        energy_j: Energy (J) of one batch.
        traffic: Load during the measurement.
        hardware: Hardware and software.
        measured_on: ISO date, empty if unknown.
    """

    model: str
    prompt_tokens: float
    output_tokens: float
    seconds: float | None = None
    ttft_s: float | None = None
    tpot_s: float | None = None
    seconds_std: float | None = None
    num_repetitions: int = 1
    energy_j: float | None = None
    traffic: Traffic = field(default_factory=Traffic)
    hardware: Hardware = field(default_factory=Hardware)
    measured_on: str = ""

    def measurement(self) -> Measurement | None:
        """Return the measurement of one request, or None if its end-to-end time is neither given nor derivable."""
        seconds = self.seconds
        if seconds is None and self.ttft_s is not None and self.tpot_s is not None:
            seconds = self.ttft_s + (self.output_tokens - 1) * self.tpot_s
        if seconds is None:
            return None
        return Measurement(
            prompt_tokens=max(1, round(self.prompt_tokens)),
            output_tokens=max(1, round(self.output_tokens)),
            seconds=seconds,
            batch_size=self.traffic.batch_size,
            seconds_std=self.seconds_std,
            num_repetitions=max(1, self.num_repetitions),
            ttft_s=self.ttft_s,
            energy_j=self.energy_j,
        )


def profiles_of(
    runs: Iterable[Run], *, path: Path, tool: str, deployment: str | None = None, stack_name: str | None = None
) -> list[Profile]:
    """Group results into one profile for each model and stack.

    Raises:
        FileFormatError: A value is out of range, or no result has a time.
        InputError: Neither the file nor the caller names the model or the stack.
    """
    source = f"{path}: {tool}"
    groups: dict[tuple[str, Stack], list[Measurement]] = {}
    days: dict[tuple[str, Stack], str] = {}
    without_time = 0
    for run in runs:
        name = deployment or run.model
        if not name:
            raise InputError(f"{source}: the file does not name the model. Name it: --deployment NAME")
        try:
            base = run.hardware.stack(stack_name or "", source)
            stack = replace(base, name=base.name + run.traffic.suffix)
        except InputError as error:
            if not run.hardware.accelerator and not stack_name:
                raise
            raise FileFormatError(f"{source}: {error}") from error
        try:
            measurement = run.measurement()
        except (InputError, OverflowError, ValueError) as error:  # lengths that are not finite numbers
            raise FileFormatError(f"{source}: {error}") from error
        if measurement is None:
            without_time += 1
        else:
            groups.setdefault((name, stack), []).append(measurement)
            days[name, stack] = max(days.get((name, stack), ""), run.measured_on)
    if not groups:
        raise FileFormatError(f"{source}: no result has an end-to-end time, or both a TTFT and a TPOT.")
    notes = (f"{without_time} results without a time left out",) if without_time else ()
    return [
        Profile(
            deployment=name,
            stack=stack,
            measurements=tuple(measurements),
            architecture=_architecture(name),
            source=f"{tool} {path.name}",
            measured_on=days[name, stack],
            notes=notes,
        )
        for (name, stack), measurements in groups.items()
    ]


def _architecture(model: str) -> Architecture | None:
    entry = load_architectures().of_model(model)
    return None if entry is None else entry.architecture
