"""How cheap profiling can be: the design of experiments replayed on the paper's A100 logs.

    python benchmarks/design.py

For each log, cells are chosen one after another as if they had yet to be timed, until the belief's own error is below
the target. Printed are, as means over models, the cells, their share of the seconds of the authors' whole grid, the
belief's own error and the true mean error over that grid. Once from nothing, and once from a transfer model that was
calibrated on the other logs (YaLM is neither calibrated on nor counted there: reference/paper.md calls it an artefact).
"""

import dataclasses
from collections.abc import Sequence
from typing import Any

import numpy as np
from _harness import Benchmark, Options, Results, main, percent, table, times
from runtime_models import profiles_of

from helm_efficiency.catalog.accelerators import spec_of_stack
from helm_efficiency.core.fitting.experiment_design import Belief, Cell, Design, MeasuredBelief, Requests, first_cells
from helm_efficiency.core.measurement import Profile
from helm_efficiency.core.transfer.calibration import architecture_of
from helm_efficiency.core.transfer.model import Parallel, fit_transfer

OUTPUT_TOKENS = (1, 16)
MAX_CELLS = 20


def replay(profile: Profile, belief: Belief, timed: Sequence[Cell], target: float, max_cells: int) -> dict[str, float]:
    """Choose and time cells until the belief is content."""
    cells = {Cell(m.prompt_tokens, m.output_tokens): m for m in profile.measurements}
    prompts, outputs, _ = np.array(list(cells), dtype=np.float64).T
    seconds = np.array([m.seconds for m in cells.values()])
    candidates = [cell for cell in cells if cell.output_tokens in OUTPUT_TOKENS]
    design = Design(candidates, Requests(prompts, outputs), target)
    chosen = list(timed)
    while len(chosen) < max_cells and (cell := design.next_cell(belief, chosen)):
        chosen.append(cell)
        belief = belief.updated([cells[cell]])
    return {
        "cells": len(chosen),
        "share": sum(cells[cell].seconds for cell in chosen) / float(seconds.sum()),
        "own_error": design.expected_error_fraction(belief),
        "true_error": float(np.mean(np.abs(belief.predict(prompts, outputs).seconds / seconds - 1.0))),
    }


def from_nothing(profile: Profile, target: float) -> dict[str, float]:
    """The first cells, then by design."""
    first = first_cells([Cell(m.prompt_tokens, m.output_tokens) for m in profile.measurements])
    known = tuple(m for m in profile.measurements if Cell(m.prompt_tokens, m.output_tokens) in first)
    return replay(profile, MeasuredBelief(dataclasses.replace(profile, measurements=known)), first, target, MAX_CELLS)


def from_transfer(profile: Profile, others: Sequence[Profile], target: float, max_cells: int) -> dict[str, float]:
    """No first cells: what other models' profiles say of the architecture comes first."""
    parallel = Parallel(profile.stack.tensor_parallel, profile.stack.pipeline_parallel)
    prior = fit_transfer(others, spec_of_stack(profile.stack)).prior(architecture_of(profile), parallel)
    return replay(profile, prior, [], target, max_cells)


def mean(rows: Sequence[dict[str, float]]) -> dict[str, float]:
    return {name: float(np.mean([row[name] for row in rows])) for name in rows[0]}


def measure(options: Options) -> Results:
    """A row for each start and target, means over models."""
    profiles = profiles_of(options.real_data, "a100", quick=options.quick)
    regular = [profile for profile in profiles if profile.deployment != "together/yalm"]
    rows: list[dict[str, Any]] = []
    for target in (0.02, 0.01):
        found = mean([from_nothing(profile, target) for profile in profiles])
        rows.append({"from": "nothing", "target": target, "num_models": len(profiles), **found})
    for cells in (0, 1, 4):
        found = mean(
            [from_transfer(profile, [x for x in regular if x is not profile], 0.0, cells) for profile in regular]
        )
        rows.append({"from": "transfer", "target": None, "num_models": len(regular), **found})
    return {"rows": rows}


def section(results: Results) -> str:
    """What the page says."""
    lines = [
        [
            {"nothing": "nothing", "transfer": "a transfer model of the other logs"}[row["from"]],
            percent(row["target"]) if row["target"] else "",
            times(1 / row["share"]) if row["share"] else "",
            percent(row["share"]),
            f"{row['cells']:.1f}",
            percent(row["own_error"]),
            percent(row["true_error"]),
        ]
        for row in results["rows"]
    ]
    header = ["starting from", "wanted error", "the authors' time ÷ ours", "share of it", "cells", "own estimate"]
    return (
        "Profiling replayed on the paper's A100 logs, until the design's own estimate reaches the wanted error; the "
        "share is of the seconds that the authors' grid took.\n\n" + table([*header, "true error"], lines)
    )


BENCHMARK = Benchmark("design", measure, section)

if __name__ == "__main__":
    main(BENCHMARK, __doc__)
