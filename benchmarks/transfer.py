"""How good transfer is: a model nobody measured, from those that were, on the paper's logs and on Splitwise's table.

    python benchmarks/transfer.py

For each accelerator of the paper's logs, each model left out and predicted from the others, beside two simpler ways:
the priors alone, without any profile, and the nearest other model's times in proportion to the weights on an
accelerator. Then, without YaLM (its profile is an artefact, see docs/trust.md): the same with one cell of the
model's own; from random sets of one to four other models; without any model of its parallel degree, and with one. Then
Splitwise's profiles, each left out in turn. Errors are means of |predicted / measured - 1| over all cells, then over
models.
"""

import dataclasses
import random
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from _harness import SEED, Benchmark, Options, Results, main, percent, table, times
from runtime_models import profiles_of

from helm_efficiency.catalog.accelerators import spec_of_stack
from helm_efficiency.catalog.architectures import load_architectures
from helm_efficiency.core.fitting.fit import fit_profile
from helm_efficiency.core.measurement import Profile
from helm_efficiency.core.transfer.calibration import architecture_of
from helm_efficiency.core.transfer.model import Parallel, TransferModel, fit_transfer
from helm_efficiency.core.transfer.validation import leave_one_out
from helm_efficiency.formats.splitwise import read_splitwise_csv

DRAWS = 12
OWN_CELLS = ((512, 16), (1024, 1), (1, 64))
YALM = "together/yalm"
SPLITWISE = {"llama2-70b": "llama-2-70b", "bloom-176b": "bloom-176b"}


def calibrated(profiles: Sequence[Profile]) -> TransferModel:
    return fit_transfer(profiles, spec_of_stack(profiles[0].stack))


def mean_error(model: TransferModel, profile: Profile, own: tuple[tuple[int, int], ...] = ()) -> float:
    known = [m for m in profile.measurements if (m.prompt_tokens, m.output_tokens) in own]
    parallel = Parallel(profile.stack.tensor_parallel, profile.stack.pipeline_parallel)
    coefficients = model.fit(architecture_of(profile), parallel, measurements=known).coefficients
    p, o, seconds = _columns(profile)
    return float(np.mean(np.abs(coefficients.predict(p, o).seconds / seconds - 1.0)))


def _columns(profile: Profile) -> Any:
    """Prompt tokens, output tokens, seconds of the measurements."""
    return np.array([(m.prompt_tokens, m.output_tokens, m.seconds) for m in profile.measurements]).T


def simpler_ways(profiles: Sequence[Profile]) -> list[dict[str, float]]:
    """Errors of each model, in order, of the priors alone and of the nearest other model scaled by its weights."""
    found = []
    for profile in profiles:
        prior = fit_transfer([], spec_of_stack(profile.stack), stack=profile.stack)
        weights = _weights_of_accelerator(profile)
        others = [other for other in profiles if other is not profile]
        nearest = min(others, key=lambda other: abs(np.log(_weights_of_accelerator(other) / weights)))
        p, o, seconds = _columns(profile)
        scaled = fit_profile(nearest).coefficients.predict(p, o).seconds * weights / _weights_of_accelerator(nearest)
        nearest_error = float(np.mean(np.abs(scaled / seconds - 1.0)))
        found.append({"priors_error_fraction": mean_error(prior, profile), "nearest_error_fraction": nearest_error})
    return found


def _weights_of_accelerator(profile: Profile) -> float:
    return architecture_of(profile).num_parameters() / profile.stack.num_accelerators


def with_one_cell(profiles: Sequence[Profile]) -> dict[str, float]:
    errors: dict[str, list[float]] = {}
    for profile in profiles:
        model = calibrated([other for other in profiles if other is not profile])
        errors.setdefault("none", []).append(mean_error(model, profile))
        for cell in OWN_CELLS:
            errors.setdefault(f"{cell}", []).append(mean_error(model, profile, (cell,)))
    return {cell: float(np.mean(values)) for cell, values in errors.items()}


def from_few(profiles: Sequence[Profile]) -> dict[int, float]:
    rng = random.Random(SEED)
    errors: dict[int, list[float]] = {}
    for count in (1, 2, 3, 4):
        for _ in range(DRAWS):
            known = rng.sample(list(profiles), count)
            model = calibrated(known)
            errors.setdefault(count, []).extend(mean_error(model, other) for other in profiles if other not in known)
    return {count: float(np.mean(values)) for count, values in errors.items()}


def without_degree(profiles: Sequence[Profile]) -> dict[int, dict[str, float]]:
    found: dict[int, dict[str, float]] = {}
    for degree in sorted({profile.stack.tensor_parallel for profile in profiles}):
        same = [profile for profile in profiles if profile.stack.tensor_parallel == degree]
        others = [profile for profile in profiles if profile.stack.tensor_parallel != degree]
        unseen = calibrated(others)
        found[degree] = {"none": float(np.mean([mean_error(unseen, profile) for profile in same]))}
        if len(same) > 1:
            anchored = [
                mean_error(model, profile)
                for anchor in same
                for model in [calibrated([*others, anchor])]
                for profile in same
                if profile is not anchor
            ]
            found[degree]["one"] = float(np.mean(anchored))
    return found


def splitwise(path: Path) -> list[dict[str, object]]:
    entries = load_architectures().entries
    rows: list[dict[str, object]] = []
    by_accelerator: dict[str, list[Profile]] = {}
    for profile in read_splitwise_csv(path):
        name = f"{profile.stack.accelerator}-splitwise"
        architecture = entries[SPLITWISE[profile.deployment.removeprefix("splitwise/")]].architecture
        stack = dataclasses.replace(profile.stack, name=name, dtype="fp16")
        by_accelerator.setdefault(name, []).append(dataclasses.replace(profile, stack=stack, architecture=architecture))
    for name, profiles in by_accelerator.items():
        for profile, row in zip(profiles, leave_one_out(profiles, spec_of_stack(profiles[0].stack)), strict=True):
            rows.append({"stack": name, "degree": profile.stack.tensor_parallel, **dataclasses.asdict(row)})
    return rows


def measure(options: Options) -> Results:
    """Errors by accelerator of the paper's logs, and a row for each of Splitwise's profiles."""
    results: Results = {}
    for name in ("a100", "v100"):
        profiles = profiles_of(options.real_data, name, quick=options.quick)
        rows = leave_one_out(profiles, spec_of_stack(profiles[0].stack))
        others = simpler_ways(profiles)
        left_out = [dataclasses.asdict(row) | other for row, other in zip(rows, others, strict=True)]
        results[name] = {"left_out": left_out}
        profiles = [profile for profile in profiles if profile.deployment != YALM]
        if not options.quick:
            results[name] |= {
                "own_cells": with_one_cell(profiles),
                "other_models": from_few(profiles),
                "degrees": without_degree(profiles),
            }
    results["splitwise"] = splitwise(options.real_data / "latency" / "splitwise_perf_model.csv")
    return results


def section(results: Results) -> str:
    """What the page says."""
    lines = []
    for name in ("a100", "v100"):
        rows = [row for row in results[name]["left_out"] if row["deployment"] != YALM]
        ours, priors, nearest = (mean_of(rows, f"{way}error_fraction") for way in ("", "priors_", "nearest_"))
        lines.append(
            [
                f"{name.upper()}, {len(rows)} models",
                *(times(other / ours) for other in (priors, nearest)),
                *(percent(error) for error in (ours, mean_of(rows, "first_token_error_fraction"), priors, nearest)),
                percent(mean_of(rows, "covered_fraction")),
                percent(mean_of(rows, "half_width_fraction")),
            ]
        )
    header = ["log", "priors' error ÷ ours", "nearest model's ÷ ours", "error end to end", "one token"]
    splitwise_held = percent(mean_of(results["splitwise"], "covered_fraction"))
    return (
        "Each model but YaLM left out and predicted from the others on its stack. The priors know the datasheet and no "
        "profile (they were stated looking at these logs); the nearest model's times are scaled by the weights that an "
        f"accelerator holds. With each of Splitwise's profiles left out, intervals hold {splitwise_held}.\n\n"
        + table([*header, "priors", "nearest", "90% interval holds", "half-width"], lines)
    )


def mean_of(rows: Sequence[dict[str, Any]], name: str) -> float:
    """Mean of what the rows have."""
    return float(np.mean([row[name] for row in rows if row[name] is not None]))


BENCHMARK = Benchmark("transfer", measure, section)

if __name__ == "__main__":
    main(BENCHMARK, __doc__)
