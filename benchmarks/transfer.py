"""How good transfer is with less: the figures of docs/transfer.md that `transfer --validate` does not print.

    python benchmarks/transfer.py DATA          # DATA holds megatron_logs and latency; about a minute

For each stack of the paper's logs, without YaLM: mean error of a left-out model with one cell of its own; from random
sets of one to four other models; without any model of its parallel degree, and with one. Then Splitwise's profiles,
each left out in turn. Errors are means of |predicted / measured - 1| over all cells, then over models.
"""

import argparse
import dataclasses
import json
import random
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from helm_efficiency.catalog.architectures import load_architectures
from helm_efficiency.catalog.specs import spec_of_stack
from helm_efficiency.core.calibration import architecture_of
from helm_efficiency.core.measurement import Profile
from helm_efficiency.core.transfer import Parallel, TransferModel, fit_transfer
from helm_efficiency.core.transfer_validation import leave_one_out
from helm_efficiency.profiling.megatron_logs import read_megatron_log
from helm_efficiency.profiling.splitwise_csv import read_splitwise_csv

DRAWS = 12
OWN_CELLS = ((512, 16), (1024, 1), (1, 64))
SPLITWISE = {"llama2-70b": "llama-2-70b", "bloom-176b": "bloom-176b"}


def calibrated(profiles: Sequence[Profile]) -> TransferModel:
    return fit_transfer(profiles, spec_of_stack(profiles[0].stack))


def mean_error(model: TransferModel, profile: Profile, own: tuple[tuple[int, int], ...] = ()) -> float:
    known = [m for m in profile.measurements if (m.prompt_tokens, m.output_tokens) in own]
    parallel = Parallel(profile.stack.tensor_parallel, profile.stack.pipeline_parallel)
    coefficients = model.fit(architecture_of(profile), parallel, measurements=known).coefficients
    p, o, seconds = np.array([(m.prompt_tokens, m.output_tokens, m.seconds) for m in profile.measurements]).T
    return float(np.mean(np.abs(coefficients.predict(p, o).seconds / seconds - 1.0)))


def with_one_cell(profiles: Sequence[Profile]) -> dict[str, float]:
    errors: dict[str, list[float]] = {}
    for profile in profiles:
        model = calibrated([other for other in profiles if other is not profile])
        errors.setdefault("none", []).append(mean_error(model, profile))
        for cell in OWN_CELLS:
            errors.setdefault(f"{cell}", []).append(mean_error(model, profile, (cell,)))
    return {cell: float(np.mean(values)) for cell, values in errors.items()}


def from_few(profiles: Sequence[Profile]) -> dict[int, float]:
    rng = random.Random(0)
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


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path)
    parser.add_argument("--output", type=Path, default=Path(__file__).parent / "results" / "transfer.json")
    options = parser.parse_args()
    results: dict[str, object] = {}
    for name in ("a100", "v100"):
        profiles = [read_megatron_log(p) for p in sorted((options.data / "megatron_logs" / name).glob("*.log"))]
        profiles = [profile for profile in profiles if profile.deployment != "together/yalm"]
        results[name] = {
            "own_cells": with_one_cell(profiles),
            "other_models": from_few(profiles),
            "degrees": without_degree(profiles),
        }
        print(name, json.dumps(results[name], indent=1))
    results["splitwise"] = splitwise(options.data / "latency" / "splitwise_perf_model.csv")
    print(json.dumps(results["splitwise"], indent=1))
    options.output.write_text(json.dumps(results, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
