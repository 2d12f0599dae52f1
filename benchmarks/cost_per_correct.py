"""How often the interval of the cost of a correct answer holds the truth.

    python benchmarks/cost_per_correct.py            # a minute; writes results/cost_per_correct.json

Instances are right with a known probability. Their costs are log-normal (sigma 0.5) around a mean that is 2.2 times as
high for wrong answers as for right ones, or the other way round. The truth is mean cost over accuracy. Printed is the
share of data sets whose nominal 90 % interval holds it, the lower and the higher of the two cases.
"""

import argparse
import json
from pathlib import Path
from typing import Any

import numpy as np

from helm_efficiency.core.cost import cost_per_correct

INSTANCES = (20, 50, 100, 400)
ACCURACIES = (0.05, 0.2, 0.5, 0.9)
FACTORS = (2.2, 1 / 2.2)
SIGMA = 0.5


def coverage(instances: int, accuracy: float, factor: float, data_sets: int) -> float:
    """Share of data sets whose interval holds the truth."""
    rng = np.random.default_rng([instances, round(100 * accuracy), round(100 * factor)])
    truth = (accuracy + (1 - accuracy) * factor) / accuracy
    held = 0
    for _ in range(data_sets):
        right = rng.random(instances) < accuracy
        noise = rng.lognormal(-(SIGMA**2) / 2, SIGMA, instances)
        found = cost_per_correct(np.where(right, 1.0, factor) * noise, right.astype(float))
        held += found.low <= truth <= found.high
    return held / data_sets


def markdown(rows: list[dict[str, Any]]) -> str:
    """The table for the documentation."""
    lines = ["| instances | " + " | ".join(f"accuracy {accuracy:.0%}" for accuracy in ACCURACIES) + " |"]
    lines.append("|" + "---|" * (1 + len(ACCURACIES)))
    for instances in INSTANCES:
        cells = []
        for accuracy in ACCURACIES:
            both = [r["coverage"] for r in rows if (r["instances"], r["accuracy"]) == (instances, accuracy)]
            cells.append(f"{min(both):.0%} to {max(both):.0%}")
        lines.append(f"| {instances} | {' | '.join(cells)} |")
    return "\n".join(lines)


def main() -> None:
    """Try all cases and keep the rows."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data-sets", type=int, default=4000, help="of each case")
    parser.add_argument("--output", type=Path, default=Path(__file__).parent / "results" / "cost_per_correct.json")
    options = parser.parse_args()
    cases = [(n, accuracy, factor) for n in INSTANCES for accuracy in ACCURACIES for factor in FACTORS]
    rows = [
        {
            "instances": n,
            "accuracy": accuracy,
            "factor": factor,
            "coverage": coverage(n, accuracy, factor, options.data_sets),
        }
        for n, accuracy, factor in cases
    ]
    options.output.write_text(json.dumps({"data_sets": options.data_sets, "rows": rows}, indent=1) + "\n")
    print(markdown(rows))


if __name__ == "__main__":
    main()
