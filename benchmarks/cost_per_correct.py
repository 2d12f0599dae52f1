"""How often the interval of the cost of a correct answer holds the truth.

    python benchmarks/cost_per_correct.py

Instances are right with a known probability. Their costs are log-normal (sigma 0.5) around a mean that is 2.2 times as
high for wrong answers as for right ones, or the other way round. The truth is mean cost over accuracy.
"""

from typing import Any

import numpy as np
from _harness import SEED, Benchmark, Options, Results, main, table

from helm_efficiency.core.cost_per_correct import cost_per_correct

INSTANCES = (20, 50, 100, 400)
ACCURACIES = (0.05, 0.2, 0.5, 0.9)
FACTORS = (2.2, 1 / 2.2)
SIGMA = 0.5


def coverage(instances: int, accuracy: float, factor: float, data_sets: int) -> float:
    """Share of data sets whose interval holds the truth."""
    rng = np.random.default_rng([SEED, instances, round(100 * accuracy), round(100 * factor)])
    truth = (accuracy + (1 - accuracy) * factor) / accuracy
    held = 0
    for _ in range(data_sets):
        right = rng.random(instances) < accuracy
        noise = rng.lognormal(-(SIGMA**2) / 2, SIGMA, instances)
        found = cost_per_correct(np.where(right, 1.0, factor) * noise, right.astype(float))
        held += found.low <= truth <= found.high
    return held / data_sets


def measure(options: Options) -> Results:
    """A row for each number of instances, accuracy and factor."""
    data_sets = 200 if options.quick else 4000
    rows = [
        {"instances": n, "accuracy": accuracy, "factor": factor, "coverage": coverage(n, accuracy, factor, data_sets)}
        for n in INSTANCES
        for accuracy in ACCURACIES
        for factor in FACTORS
    ]
    return {"data_sets": data_sets, "rows": rows}


def markdown(rows: list[dict[str, Any]]) -> str:
    """The lower and the higher coverage of the two factors."""
    lines = []
    for instances in INSTANCES:
        cells = []
        for accuracy in ACCURACIES:
            both = [r["coverage"] for r in rows if (r["instances"], r["accuracy"]) == (instances, accuracy)]
            cells.append(f"{min(both):.0%} to {max(both):.0%}")
        lines.append([str(instances), *cells])
    return table(["instances", *(f"accuracy {accuracy:.0%}" for accuracy in ACCURACIES)], lines)


def section(results: Results) -> str:
    """What the page says."""
    return (
        "How often the nominal 90% interval of the cost of a correct answer holds the truth, of "
        f"{results['data_sets']:,} simulated data sets a case; the lower and the higher of two cases (wrong answers "
        f"2.2 times as dear as right ones, or the other way round).\n\n{markdown(results['rows'])}"
    )


BENCHMARK = Benchmark("cost_per_correct", measure, section, needs_data=False)

if __name__ == "__main__":
    main(BENCHMARK, __doc__)
