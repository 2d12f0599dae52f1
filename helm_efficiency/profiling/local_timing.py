"""Time a local transformers causal LM at exact prompt and output lengths, on the CPU or CUDA devices.

Every repetition is kept as a measurement of its own; the fit decides how to summarise them. The module needs only
torch, transformers and numpy, so that it runs on a bare GPU machine.
"""

import time
from typing import Any

import torch

from helm_efficiency.core.measurement import Measurement, Profile
from helm_efficiency.errors import InputError, ProfilingError
from helm_efficiency.profiling.cells import Cell, CellResult, check_cell
from helm_efficiency.profiling.devices import describe_device
from helm_efficiency.profiling.engines import Timing, make_engine
from helm_efficiency.profiling.meters import energy_per_run_j, peak_bytes, reset_peak
from helm_efficiency.profiling.models import Subject, first_line
from helm_efficiency.profiling.noise import Repetitions, noise_note, spread_fraction
from helm_efficiency.profiling.parallel import LeadingEngine, num_processes
from helm_efficiency.profiling.session import Outcome


def build_profile(subject: Subject, outcome: Outcome, *, deployment: str, engine: str) -> Profile:
    """Return the measurements of a session as the profile of a deployment on this machine."""
    return Profile(
        deployment=deployment,
        stack=subject.stack(engine),
        measurements=outcome.measurements(),
        architecture=subject.architecture,
        source=subject.source(),
        measured_on=time.strftime("%Y-%m-%d"),
        versions=subject.versions(),
        notes=outcome.notes(),
    )


class CellTimer:
    """Timer of one loaded model with one engine: call it with a cell to time the cell."""

    def __init__(self, subject: Subject, model: Any, engine: str, *, repetitions: Repetitions) -> None:
        """Put an engine around a model.

        Raises:
            InputError: The engine is unknown.
        """
        self._subject = subject
        self._engine = make_engine(engine, model) if num_processes() == 1 else LeadingEngine(make_engine(engine, model))
        self._repetitions = repetitions
        self._meter = subject.energy_meter()
        self._generator = torch.Generator().manual_seed(0)

    def __call__(self, cell: Cell) -> CellResult:
        """Time one cell: warm-ups, repetitions, and further repetitions if these disagree.

        Returns:
            One measurement for each repetition; a note and no measurement if the device has no room for the cell.

        Raises:
            InputError: The cell is out of range, or longer than the model's context.
            ProfilingError: The model cannot be run.
        """
        check_cell(cell)
        limit = self._subject.max_tokens
        if limit is not None and cell.prompt_tokens + cell.output_tokens > limit:
            raise InputError(f"Cell {cell} is longer than the {limit} tokens that the model has positions for.")
        start = time.perf_counter()
        measurements = self._measure_if_it_fits(cell)
        elapsed_s = time.perf_counter() - start
        if measurements is None:
            # The tensors of the failed run are referred to until the exception handler is left, so free them only here.
            self._engine.release()
            if self._subject.device.type == "cuda":
                torch.cuda.empty_cache()
            note = f"out of memory on {describe_device(self._subject.device)}; nothing larger was tried"
            return CellResult(cell, (), too_large=True, elapsed_s=elapsed_s, note=note)
        seconds = [m.seconds for m in measurements]
        return CellResult(
            cell,
            tuple(measurements),
            spread_fraction=spread_fraction(seconds),
            elapsed_s=elapsed_s,
            note=noise_note(seconds, wanted_fraction=self._repetitions.max_spread_fraction),
        )

    def _measure_if_it_fits(self, cell: Cell) -> list[Measurement] | None:
        """Return the measurements of a cell, or None if the device has no room for it."""
        try:
            return self._measure(cell)
        except (RuntimeError, ValueError, IndexError, TypeError) as error:
            if is_out_of_memory(error):
                return None
            raise ProfilingError(f"The model failed at {cell}: {first_line(error)}") from error

    def _measure(self, cell: Cell) -> list[Measurement]:
        wanted = self._repetitions
        for _ in range(max(wanted.num_warmups, self._engine.warmups(cell))):
            self._run(cell)
        peak_is_seen = reset_peak(self._subject.device)
        before_mj = self._meter.read_mj() if self._meter else 0
        start = time.perf_counter()
        timings: list[Timing] = []
        while wanted.wants_more([timing.seconds for timing in timings]):
            timings.append(self._run(cell))
        window_s = time.perf_counter() - start
        after_mj = self._meter.read_mj() if self._meter else 0
        peak = peak_bytes(self._subject.device) if peak_is_seen else None
        energy_j = energy_per_run_j(before_mj, after_mj, window_s=window_s, num_runs=len(timings))
        return [
            Measurement(
                cell.prompt_tokens,
                cell.output_tokens,
                timing.seconds,
                batch_size=cell.batch_size,
                ttft_s=timing.ttft_s,
                peak_memory_bytes=peak,
                energy_j=energy_j,
            )
            for timing in timings
        ]

    def _run(self, cell: Cell) -> Timing:
        """Time one request with a new random prompt."""
        shape = (cell.batch_size, cell.prompt_tokens)
        prompt = torch.randint(0, self._subject.vocab_size, shape, generator=self._generator)
        return self._engine.run(prompt.to(self._subject.device), cell)


def is_out_of_memory(error: BaseException) -> bool:
    """Return whether torch says that a device has no room; on the CPU only the text of the error shows it."""
    return isinstance(error, torch.cuda.OutOfMemoryError) or "can't allocate memory" in str(error)
