"""How far off the roofline tier is: no profile at all, held against Splitwise's measurements.

    python benchmarks/roofline.py

Each profile of Splitwise's table at batch size 1 (Llama 2 70B on two, four and eight accelerators, BLOOM-176B on eight)
is predicted from the architecture, the accelerator's datasheet and the stated priors, as `transfer --accelerator` does.
Nothing in the priors was set by these measurements.
"""

import dataclasses
from typing import Any

import numpy as np
from _harness import Benchmark, Options, Results, main, percent, table

from helm_efficiency.catalog.accelerators import spec_of_stack
from helm_efficiency.catalog.architectures import load_architectures
from helm_efficiency.core.measurement import Profile, cells_by_batch
from helm_efficiency.core.transfer.model import Parallel, fit_transfer
from helm_efficiency.formats.splitwise import read_splitwise_csv

ARCHITECTURES = {"splitwise/llama2-70b": "llama-2-70b", "splitwise/bloom-176b": "bloom-176b"}


def against(profile: Profile) -> dict[str, Any]:
    """Bias, error and coverage over the cells of batch size 1."""
    architecture = load_architectures().entries[ARCHITECTURES[profile.deployment]].architecture
    stack = dataclasses.replace(profile.stack, engine="roofline", dtype="fp16")
    model = fit_transfer([], spec_of_stack(stack), stack=stack)
    coefficients = model.fit(architecture, Parallel(stack.tensor_parallel, stack.pipeline_parallel)).coefficients
    cells = cells_by_batch(profile)[1]
    prompts, outputs = np.array(list(cells)).T
    seconds = np.array(list(cells.values()))
    predicted = coefficients.predict(prompts, outputs)
    ratio = predicted.seconds / seconds
    return {
        "deployment": profile.deployment,
        "accelerator": stack.accelerator,
        "num_accelerators": stack.num_accelerators,
        "num_cells": len(cells),
        "bias_fraction": float(np.mean(ratio - 1.0)),
        "error_fraction": float(np.mean(np.abs(ratio - 1.0))),
        "num_covered": int(np.sum((predicted.low_s <= seconds) & (seconds <= predicted.high_s))),
        "half_width_fraction": float(np.median((predicted.high_s - predicted.low_s) / 2 / predicted.seconds)),
    }


def measure(options: Options) -> Results:
    """A row a profile."""
    path = options.real_data / "latency" / "splitwise_perf_model.csv"
    return {"rows": [against(profile) for profile in read_splitwise_csv(path)]}


def markdown(rows: list[dict[str, Any]]) -> str:
    """A row a profile."""
    lines = [
        [
            row["deployment"].removeprefix("splitwise/"),
            f"{row['num_accelerators']}×{row['accelerator']}",
            f"{100 * row['bias_fraction']:+.0f}%",
            f"{row['num_covered']} of {row['num_cells']}",
            f"±{percent(row['half_width_fraction'])}",
        ]
        for row in rows
    ]
    return table(["model", "accelerators", "predicted against measured", "interval holds", "its half-width"], lines)


def section(results: Results) -> str:
    """What the page says."""
    return (
        "The tier `roofline`, for which nothing is measured on a stack, against Splitwise's table (batch size 1).\n\n"
        f"{markdown(results['rows'])}"
    )


BENCHMARK = Benchmark("roofline", measure, section)

if __name__ == "__main__":
    main(BENCHMARK, __doc__)
