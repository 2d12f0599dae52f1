"""Output of `profile`: progress, a table of cells, their cost and their doubts."""

import itertools
import statistics
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from helm_efficiency.cli.options import Format, emit, note
from helm_efficiency.cli.progress import bar
from helm_efficiency.cli.tables import Field
from helm_efficiency.metrics.quantities import BYTES, COUNT, JOULES, PERCENT, SECONDS

if TYPE_CHECKING:
    from helm_efficiency.core.measurement import Profile
    from helm_efficiency.profiling.cells import CellResult
    from helm_efficiency.profiling.session import Outcome

    Tell = Callable[[str, CellResult], None]


@contextmanager
def progress() -> "Iterator[Tell]":
    """Show a line of progress on a terminal, and nothing elsewhere."""
    with bar("loading …", None) as advance:
        count = itertools.count(1)
        yield lambda deployment, result: advance(f"{deployment}: {next(count)} cells, last {result.cell} {result.note}")


def show(done: "Sequence[tuple[Profile, Outcome]]", format: Format) -> None:
    """Write all cells to stdout, in a table without empty columns, and their cost and doubts to stderr."""
    rows = [row for measured, outcome in done for row in _rows(measured, outcome)]
    several = {name for name in ("deployment", "stack") if len({row[name] for row in rows}) > 1}
    fields = [field for field in _FIELDS if field.key in several or field.key not in ("deployment", "stack")]
    emit(rows, format, fields)
    for measured, outcome in done:
        for line in outcome.notes():
            note(f"{measured.deployment} {line}")
        note(_summary(measured, outcome))


_ENGINE_TIMES = ("queue_s", "prefill_s", "decode_s", "rest_s")

_FIELDS = (
    Field("deployment", "Deployment"),
    Field("stack", "Stack", None, 1),
    Field("prompt_tokens", "Prompt tokens", COUNT),
    Field("output_tokens", "Output tokens", COUNT),
    Field("batch_size", "Batch", COUNT, 4),
    Field("num_repetitions", "Runs", COUNT, 4),
    Field("seconds", "Request", SECONDS),
    Field("error_fraction", "Spread", PERCENT, 2),
    Field("ttft_s", "First token", SECONDS, 1),
    Field("itl_s", "Between tokens", SECONDS, 3),
    Field("engine_queue_s", "Queue", SECONDS, 4),
    Field("engine_prefill_s", "Engine: prefill", SECONDS, 4),
    Field("engine_decode_s", "Engine: decode", SECONDS, 4),
    Field("engine_rest_s", "Engine: rest", SECONDS, 5),
    Field("energy_j", "Energy", JOULES, 3),
    Field("peak_memory_bytes", "Peak memory", BYTES, 5),
    Field("note", "Note", None, 9),
)


def _rows(measured: "Profile", outcome: "Outcome") -> "Iterator[dict[str, Any]]":
    """Yield one row for each cell, with the medians over its repetitions."""
    for result in outcome.results:
        timed = result.measurements
        yield {
            "deployment": measured.deployment,
            "stack": measured.stack.name,
            "prompt_tokens": result.cell.prompt_tokens,
            "output_tokens": result.cell.output_tokens,
            "batch_size": result.cell.batch_size,
            "num_repetitions": len(timed),
            "seconds": _median(m.seconds for m in timed),
            "error_fraction": result.spread_fraction if timed else None,
            "ttft_s": _median(m.ttft_s for m in timed),
            "itl_s": _median(result.itl_s),
            "peak_memory_bytes": max((m.peak_memory_bytes or 0 for m in timed), default=0) or None,
            "energy_j": _median(m.energy_j for m in timed),
            **{f"engine_{name}": result.engine.get(name) for name in _ENGINE_TIMES},
            "note": result.note,
        }


def _median(values: Iterable[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return statistics.median(known) if known else None


_MUCH_DRIFT = 0.05


def _summary(measured: "Profile", outcome: "Outcome") -> str:
    """Return one line on the time that a profile took, and on its remaining uncertainty."""
    from helm_efficiency.profiling.adaptive import drift_fraction, expected_error_fraction

    doubts = []
    noisy = sum(1 for result in outcome.results if result.note.startswith("noisy"))
    if noisy:
        doubts.append(f"{noisy} noisy")
    drift = drift_fraction(outcome.results)
    if drift > _MUCH_DRIFT:
        doubts.append(
            f"the machine drifted by up to {drift:.0%} between cells: measure again when it is quiet (--fresh)"
        )
    error = expected_error_fraction(outcome.results)
    if error is None:
        doubts.append("decode needs a second output length before it can be predicted")
    else:
        doubts.append(f"expected error of predictions {error:.1%}")
    if not outcome.finished:
        doubts.append("not all cells are timed, call again to go on")
    cost = f"{outcome.new_cells} new of {len(outcome.results)} cells in {outcome.elapsed_s:.1f} s"
    where = f"{measured.stack.name} ({measured.stack})"
    return f"{measured.deployment} on {where}: {'; '.join([cost, *doubts])}"
