"""Energy of output tokens on a loaded H100, predicted for models that were left out, against ML.ENERGY's measurements.

    python benchmarks/energy.py

The coefficients and the interval that it prints are those of `helm_efficiency/catalog/data/energy.yaml`.
"""

import csv
import re
from pathlib import Path
from typing import Any

import numpy as np
from _energy_fit import EnergyRow, fit_energy, interval, left_out_errors, with_interval
from _harness import Benchmark, Options, Results, main, percent, table

from helm_efficiency.catalog.architectures import dtype_in_name, load_architectures

_NOTE = re.compile(r"mean running batch ([\d.]+)\).*energy_per_token ([\d.]+) J")


def read_rows(folder: Path) -> list[EnergyRow]:
    """Read the rows of H100 whose architecture the catalog has; a row that is in both tables counts once."""
    catalog = load_architectures()
    rows: dict[tuple[str, ...], EnergyRow] = {}
    for name in ("tidy.csv", "tidy_all_batches.csv"):
        for row in csv.DictReader((folder / name).read_text(encoding="utf-8").splitlines()):
            entry, found = catalog.of_model(row["hf_id_if_known"]), _NOTE.search(row["note"])
            if entry is None or found is None or not row["accelerator"].startswith("h100-sxm"):
                continue
            dtype = dtype_in_name(row["precision"]) or "bf16"
            batch, joules = float(found[1]), float(found[2])
            measured = EnergyRow(entry.architecture, dtype, int(row["n_accelerators"]), batch, joules)
            rows[tuple(row.values())] = measured
    return list(rows.values())


def measure(options: Options) -> Results:
    """Fit to all rows; predict each model from the others, with the interval that the others' errors give."""
    rows = read_rows(options.real_data / "modern" / "ml_energy_v3")
    errors = left_out_errors(rows)
    model = with_interval(fit_energy(rows), errors)
    found = []
    for name, of_model in errors.items():
        low, high = interval({other: values for other, values in errors.items() if other != name})
        found.append(
            {
                "model": name,
                "num_rows": len(of_model),
                "bias_fraction": float(np.mean(np.exp(-of_model)) - 1.0),
                "error_fraction": float(np.mean(np.abs(np.expm1(-of_model)))),
                "num_covered": int(np.sum((np.log(low) <= of_model) & (of_model <= np.log(high)))),
            }
        )
    together = np.abs(np.expm1(-np.concatenate(list(errors.values()))))
    return {
        "rows": found,
        "mean_error_fraction": float(together.mean()),
        "median_error_fraction": float(np.median(together)),
        "coverage_by_model": float(np.mean([row["num_covered"] / row["num_rows"] for row in found])),
        "coefficients": {name: getattr(model, name) for name in model.__dataclass_fields__},
    }


def markdown(rows: list[dict[str, Any]]) -> str:
    """Return the table, one row a model that was left out."""
    lines = [
        [
            row["model"],
            str(row["num_rows"]),
            f"{100 * row['bias_fraction']:+.0f}%",
            percent(row["error_fraction"]),
            f"{row['num_covered']} of {row['num_rows']}",
        ]
        for row in rows
    ]
    return table(["model left out", "rows", "bias", "mean error", "interval holds"], lines)


def section(results: Results) -> str:
    """Return what the page says."""
    covered = sum(row["num_covered"] for row in results["rows"])
    total = sum(row["num_rows"] for row in results["rows"])
    made = results["coefficients"]
    mean, median = (percent(results[f"{kind}_error_fraction"]) for kind in ("mean", "median"))
    by_model = percent(results["coverage_by_model"])
    return (
        "Joules an output token on a loaded H100 with vLLM, at running batches of "
        f"{made['min_batch']:.0f} to {made['max_batch']:.0f}, against ML.ENERGY v3: each model is predicted from the "
        f"others, with the interval that their errors give. Mean error {mean}, median {median}; the nominal 90% "
        f"interval holds {covered} of {total} rows ({percent(covered / total)}), and {by_model} where each model "
        f"counts the same.\n\n{markdown(results['rows'])}"
    )


BENCHMARK = Benchmark("energy", measure, section)

if __name__ == "__main__":
    main(BENCHMARK, __doc__)
