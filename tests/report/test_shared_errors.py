"""Errors of prediction that models share: of the same coefficients, and of a stack that nobody measured."""

import csv
from collections import defaultdict
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from helpers.scored_tables import request, tables

from helm_efficiency.catalog.accelerators import spec_of_stack
from helm_efficiency.catalog.architectures import load_architectures
from helm_efficiency.core.measurement import Stack
from helm_efficiency.core.tier import Tier
from helm_efficiency.core.transfer.model import Parallel, fit_transfer
from helm_efficiency.report.leaderboard import build
from helm_efficiency.report.resampling import STACK_SHARE, Predicted, resampling
from helm_efficiency.report.tables import from_arrow


def answers(deployment: str, num_correct: int, seconds: float, **facts: Any) -> list[dict[str, Any]]:
    """Twenty requests of equal length, predicted to within 60 %."""
    ends = {"idealized_low_s": 0.4 * seconds, "idealized_high_s": 1.6 * seconds}
    return [
        request(deployment, "qa", number, float(number < num_correct), idealized_s=seconds, **ends, **facts)
        for number in range(20)
    ]


def part_of(*rows: list[dict[str, Any]]) -> pd.DataFrame:
    return build(from_arrow(*tables([row for each in rows for row in each]))).part().set_index("deployment")


def test_a_model_beaten_in_every_draw_is_never_on_the_front() -> None:
    """Llama 3 at three hosts: the same coefficients, longer prompts at one of them."""
    better = answers("huggingface/llama", 18, 0.0235, coefficients="a")
    worse = answers("together/llama", 10, 0.0247, coefficients="a")
    shared = part_of(better, worse)
    assert shared.loc["together/llama", "idealized_s_front_probability"] == 0.0
    assert shared.loc["together/llama", "idealized_s_rank_low"] == 2.0
    apart = part_of(better, [row | {"coefficients": "b"} for row in worse])
    assert apart.loc["together/llama", "idealized_s_front_probability"] > 0.3


def test_what_a_stack_shares_cancels_in_a_comparison() -> None:
    first = answers("a/m", 10, 1.0, coefficients="a", tier="roofline")
    second = answers("b/m", 10, 1.2, coefficients="b", tier="roofline")
    guessed = part_of(first, second)
    measured = part_of(*([row | {"tier": "measured"} for row in rows] for rows in (first, second)))
    # each has its whole interval, but which one is faster is surer
    for column in ("idealized_s_low", "idealized_s_high"):
        assert guessed.loc["a/m", column] == pytest.approx(measured.loc["a/m", column], rel=0.05)
    assert guessed.loc["b/m", "idealized_s_front_probability"] < measured.loc["b/m", "idealized_s_front_probability"]


def test_errors_have_unit_variance_and_the_stated_correlation() -> None:
    tiers = [Tier.roofline, Tier.roofline, Tier.measured, Tier.measured, Tier.roofline]
    how = resampling(Predicted(["a", "b", "c", "c", ""], tiers), num_draws=20_000, common=True, lower_is_better=False)
    errors = how.fit_errors["idealized_s"]
    assert errors.std(axis=0) == pytest.approx([1.0] * 5, abs=0.02)
    correlation = np.corrcoef(errors.T)
    assert correlation[0, 1] == pytest.approx(STACK_SHARE, abs=0.02)
    assert correlation[0, 4] == pytest.approx(STACK_SHARE, abs=0.02)
    assert correlation[2, 3] == pytest.approx(1.0)
    assert correlation[0, 2] == pytest.approx(0.0, abs=0.02)
    # a difference of both errors has a variance of 2 * (1 - share)
    assert (errors[:, 0] - errors[:, 1]).std() == pytest.approx((2 * (1 - STACK_SHARE)) ** 0.5, abs=0.02)


ACCELERATORS = {"a100-sxm4-40gb": "a100-40gb", "h100-sxm-80gb": "h100-sxm", "mi300x": "mi300x"}


def test_most_of_a_rooflines_error_is_its_stacks(data_dir: Path) -> None:
    """Argonne's measurements at batch size 1, without llama.cpp, against the roofline tier."""
    errors: dict[tuple[str, str], dict[tuple[str, int], list[float]]] = defaultdict(lambda: defaultdict(list))
    fits: dict[tuple[str, int, str], Any] = {}
    catalog = load_architectures()
    path = data_dir / "modern" / "argonne_llm_inference_bench" / "tidy.csv"
    for row in csv.DictReader(path.read_text().splitlines()):
        accelerator, entry = ACCELERATORS.get(row["accelerator"]), catalog.of_model(row["hf_id_if_known"])
        is_alone = row["batch_or_concurrency"] == "1" and row["e2e_s"]
        if accelerator is None or entry is None or not is_alone or row["engine"] == "llama.cpp":
            continue
        number = int(row["n_accelerators"])
        key = accelerator, number, entry.architecture.name
        if key not in fits:
            stack = Stack("x", accelerator, number, engine="roofline", dtype="fp16", tensor_parallel=number)
            transfer = fit_transfer([], spec_of_stack(stack), stack=stack)
            fits[key] = transfer.fit(entry.architecture, Parallel(number, 1)).coefficients
        predicted = fits[key].predict([int(row["prompt_tokens"])], [int(row["output_tokens"])]).seconds[0]
        of_stack = errors[row["accelerator"], row["engine"]]
        of_stack[entry.architecture.name, number].append(float(np.log(predicted / float(row["e2e_s"]))))
    means = [np.array([np.mean(each) for each in models.values()]) for models in errors.values() if len(models) > 1]
    assert sum(map(len, means)) >= 60
    own = sum(((each - each.mean()) ** 2).sum() for each in means) / sum(len(each) - 1 for each in means)
    share = 1 - own / np.mean(np.concatenate(means) ** 2)
    assert STACK_SHARE <= share <= 0.95
