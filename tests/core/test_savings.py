"""What measuring costs: the formulas by hand, and the paper's figures from its own logs and results."""

import csv
import math
from decimal import Decimal
from pathlib import Path

import pytest

from helm_efficiency.core.cost import (
    denoised_measuring_cost,
    exact_usd,
    idealized_measuring_cost,
    profile_accelerator_s,
    profile_usd,
)
from helm_efficiency.core.measurement import Measurement, Profile, Stack
from helm_efficiency.errors import InputError
from helm_efficiency.formats.megatron import read_megatron_log

NODE_HOUR = Decimal("40.96")  # p4de.24xlarge, 8 A100, as in the authors' cost analysis
INPUT_USD_PER_TOKEN, OUTPUT_USD_PER_TOKEN = Decimal("0.0000015"), Decimal("0.000002")  # GPT-3.5-turbo, for davinci


def test_by_hand() -> None:
    # repeated 10 * 5 = 50; calibrated 5 + 5 = 10
    denoised = denoised_measuring_cost(Decimal(5), Decimal(5))
    assert (denoised.repeated_usd, denoised.calibrated_usd, denoised.factor) == (50, 10, 5.0)
    # repeated 50 * 2 + 1 = 101; calibrated 9 + 1 = 10
    idealized = idealized_measuring_cost(Decimal(2), Decimal(9), answers_usd=Decimal(1))
    assert (idealized.repeated_usd, idealized.calibrated_usd, idealized.factor) == (101, 10, 10.1)
    assert idealized_measuring_cost(Decimal(2), Decimal(0), num_trials=3).factor == math.inf


def test_a_profile_by_hand() -> None:
    # (2 * 1.5 s + 3 s) * 4 accelerators = 24 accelerator-s; at 3600 $/h 24 $
    measurements = (Measurement(1, 1, 1.5, num_repetitions=2), Measurement(1, 2, 3.0))
    profile = Profile("a/b", Stack("x", "x", 4), measurements)
    assert profile_accelerator_s(profile) == 24.0
    assert profile_usd(profile, Decimal(3600)) == 24


@pytest.mark.parametrize(
    "bad", [(Decimal(-1), Decimal(1), 1), (Decimal(1), Decimal(-1), 1), (Decimal(1), Decimal(1), 0)]
)
def test_bad_amounts(bad: tuple[Decimal, Decimal, int]) -> None:
    for measuring_cost in (denoised_measuring_cost, idealized_measuring_cost):
        with pytest.raises(InputError, match="0 or more and trials 1 or more"):
            measuring_cost(bad[0], bad[1], num_trials=bad[2])  # type: ignore[operator]


def test_the_papers_figures_as_printed() -> None:
    """9.93x and 57.42x: 28 models repeated, one calibrated (idealized_metrics_cost_analysis.ipynb, cells 12 and 13)."""
    denoised = denoised_measuring_cost(Decimal("417.634"), Decimal("3.11"))
    assert f"{denoised.repeated_usd:.2f} {denoised.calibrated_usd:.2f} {denoised.factor:.2f}" == "4176.34 420.74 9.93"
    idealized = idealized_measuring_cost(Decimal("30877.35") / 50, Decimal("291.16"), answers_usd=Decimal("250.91"))
    assert f"{idealized.repeated_usd:.2f} {idealized.calibrated_usd:.2f} {idealized.factor:.2f}" == (
        "31128.26 542.07 57.42"
    )


def test_the_papers_figures_counted_consistently(data_dir: Path) -> None:
    """8.4x and 6.5x for davinci on both sides, 13.7x for nine models profiled and billed as the authors bill them."""
    logs = {path.stem: read_megatron_log(path) for path in (data_dir / "megatron_logs" / "a100").glob("*.log")}
    davinci = logs["openai_davinci"]
    calibration = profile_usd(davinci, NODE_HOUR / 8)
    assert f"{calibration:.2f}" == "291.16"
    with (data_dir / "paper_2023_results.csv").open() as file:
        rows = [row for row in csv.DictReader(file) if row["model"] == "openai_davinci"]
    seconds = math.fsum(int(row["num_instances"]) * float(row["idealized_runtime_a100_s"]) for row in rows)
    tokens = sum(int(row["num_instances"]) * Decimal(row["mean_prompt_plus_output_tokens_minus_1"]) for row in rows)
    answers = tokens * INPUT_USD_PER_TOKEN
    idealized = idealized_measuring_cost(exact_usd(8 * seconds, NODE_HOUR / 8), calibration, answers_usd=answers)
    assert f"{idealized.factor:.1f}" == "6.5"

    probe = 10 * sum(
        (m.prompt_tokens * INPUT_USD_PER_TOKEN + m.output_tokens * OUTPUT_USD_PER_TOKEN for m in davinci.measurements),
        Decimal(0),
    )
    assert f"{probe:.2f}" == "3.11"
    assert f"{denoised_measuring_cost(answers, probe).factor:.1f}" == "8.4"

    nine = sum((profile_usd(log, NODE_HOUR / 8) * 8 / log.stack.num_accelerators for log in logs.values()), Decimal(0))
    assert len(logs) == 9 and f"{nine:.0f}" == "2015"
    all_models = idealized_measuring_cost(Decimal("30877.35") / 50, nine, answers_usd=Decimal("250.91"))
    assert f"{all_models.factor:.1f}" == "13.7"
