"""The paper's estimators against the tables that HELM ships and the figures that the authors printed."""

import json
from importlib import resources
from pathlib import Path

import numpy as np
import pytest

from helm_efficiency import codec
from helm_efficiency.core.fitting.fit import Fit, fit_profile
from helm_efficiency.core.fitting.paper_estimators import fit_paper_2023
from helm_efficiency.core.measurement import Measurement, Profile, Stack, cells_by_batch
from helm_efficiency.core.rules import HELM_RULES
from helm_efficiency.errors import InsufficientMeasurementsError
from helm_efficiency.formats.megatron import read_megatron_log

# reference: fit_runtimes.ipynb, cell 11: R², beta, mean and largest squared error as printed there
PRINTED = {
    "a100": {
        "openai_davinci": ("1.000", 0.081, "0.0002", "0.0021"),
        "ai21_j1_large": ("1.000", 0.024, "0.0001", "0.0004"),
        "ai21_j1_grande": ("1.000", 0.038, "0.0000", "0.0007"),
        "ai21_j1_jumbo": ("1.000", 0.064, "0.0004", "0.0372"),
        "gptj_6b": ("1.000", 0.021, "0.0000", "0.0000"),
        "mt_nlg": ("1.000", 0.123, "0.0018", "0.0262"),
        "anthropic": ("1.000", 0.054, "0.0001", "0.0010"),
        "bloom": ("1.000", 0.061, "0.0001", "0.0094"),
        "yalm": ("1.000", 0.068, "0.0002", "0.0031"),
    },
    "v100": {
        "openai_davinci": ("0.995", 0.101, "0.0226", "0.5595"),
        "ai21_j1_large": ("1.000", 0.027, "0.0003", "0.0020"),
        "ai21_j1_grande": ("0.996", 0.052, "0.0045", "0.1747"),
        "ai21_j1_jumbo": ("0.993", 0.083, "0.0217", "0.2540"),
        "gptj_6b": ("1.000", 0.023, "0.0002", "0.0018"),
        "mt_nlg": ("0.996", 0.138, "0.0393", "0.6757"),
        "anthropic": ("0.987", 0.065, "0.0230", "0.2788"),
        "bloom": ("0.993", 0.080, "0.0178", "0.2153"),
        "yalm": ("0.997", 0.080, "0.0069", "0.1529"),
    },
}
LOGS = [(hardware, name) for hardware, names in PRINTED.items() for name in names]
STACK = Stack("x", "cpu")


def log(data_dir: Path, hardware: str, name: str) -> Profile:
    return read_megatron_log(data_dir / "megatron_logs" / hardware / f"{name}.log")


@pytest.mark.parametrize("name", list(PRINTED["a100"]))
def test_paper_2022_is_the_table_that_helm_ships(data_dir: Path, name: str) -> None:
    package = resources.files("helm.benchmark.efficiency_data")
    fit = fit_profile(log(data_dir, "a100", name), rule="paper-2022")
    table = json.loads(package.joinpath("inference_idealized_runtimes.json").read_text())[fit.deployment]
    assert fit.coefficients.decode_s_per_token == table["runtime_per_output_token"]
    assert {str(p): seconds for p, seconds in fit.coefficients.prefill_knots} == table["runtime_for_prompt_tokens"]


@pytest.mark.parametrize(("hardware", "name"), LOGS)
def test_paper_2023_is_what_the_authors_printed(data_dir: Path, hardware: str, name: str) -> None:
    profile = log(data_dir, hardware, name)
    fit = fit_profile(profile, rule="paper-2023")
    printed = fit_paper_2023(cells_by_batch(profile)[1])
    r_squared, beta, mean_error, max_error = PRINTED[hardware][name]
    alphas = {m.prompt_tokens: round(m.seconds, 3) for m in profile.measurements if m.output_tokens == 1}
    assert dict(fit.coefficients.prefill_knots) == alphas == printed.prefill_s
    assert fit.coefficients.decode_s_per_token == beta == printed.decode_s_per_token
    assert f"{printed.r_squared:.3f}" == r_squared
    assert f"{printed.mean_squared_error:.4f}" == mean_error
    assert f"{printed.max_squared_error:.4f}" == max_error


def a_profile(cells: dict[tuple[int, int], float]) -> Profile:
    return Profile("a/b", STACK, tuple(Measurement(p, o, seconds) for (p, o), seconds in cells.items()), source="here")


def test_worked_example() -> None:
    # at 4 prompt tokens 1 s, at 8 2 s; each further token 0.5 s
    cells = {(4, 1): 1.0, (4, 3): 2.0, (8, 1): 2.0, (8, 3): 3.0}
    for name in HELM_RULES:
        fit = fit_profile(a_profile(cells), rule=name)
        assert fit.coefficients.rule == name
        assert fit.coefficients.prefill_knots == ((4, pytest.approx(1.0)), (8, pytest.approx(2.0)))
        assert fit.coefficients.decode_s_per_token == pytest.approx(0.5)
        assert fit.coefficients.relative_error == pytest.approx(0.0, abs=1e-12)
        assert (fit.deployment, fit.stack, fit.source, fit.profile_sha256) == (
            "a/b",
            STACK,
            "here",
            a_profile(cells).sha256(),
        )
        # p = 2: 1 s * 2/4; p = 5: 2 s * 5/8; p = 16: 2 s * 16/8; then 0.5 s for each of (o - 1); o = 0 as o = 1
        seconds = fit.coefficients.predict([2, 4, 5, 16, 5], [1, 2, 3, 1, 0]).seconds
        np.testing.assert_allclose(seconds, [0.5, 1.5, 2.25, 4.0, 1.25])
        assert codec.from_plain(codec.to_plain(fit), Fit) == fit


def knots(rule: str, cells: dict[tuple[int, int], float]) -> tuple[tuple[int, float], ...]:
    return fit_profile(a_profile(cells), rule=rule).coefficients.prefill_knots


def test_2022_is_never_below_the_shortest_prompt_and_2023_is_as_measured() -> None:
    cells = {(4, 1): 1.0004, (4, 3): 2.0004, (8, 1): 0.9, (8, 3): 1.9}
    assert knots("paper-2022", cells) == ((4, 1.0), (8, 1.0))
    assert knots("paper-2023", cells) == ((4, 1.0), (8, 0.9))
    assert knots("helm", cells) == ((4, 1.0004), (8, 0.9))


@pytest.mark.parametrize(
    ("rule", "cells", "message"),
    [
        ("paper-2023", {(4, 1): 1.0, (8, 1): 2.0}, "needs at least two output lengths"),
        ("helm", {(4, 1): 1.0, (4, 2): 2.0, (8, 2): 3.0}, r"one output token; not measured for prompt tokens \[8\]"),
        ("paper-2022", {(4, 1): 1.0, (4, 2): 2.0, (8, 2): 3.0}, "needs two output lengths for prompt tokens 8"),
    ],
)
def test_what_is_missing_is_named(rule: str, cells: dict[tuple[int, int], float], message: str) -> None:
    with pytest.raises(InsufficientMeasurementsError, match=f"a/b on x: .*{message}"):
        fit_profile(a_profile(cells), rule=rule)
