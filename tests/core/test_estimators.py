"""The paper's estimators against the tables that HELM ships and the figures that the authors printed."""

import json
from importlib import resources
from pathlib import Path

import numpy as np
import pytest

from helm_efficiency.core.estimators import ESTIMATORS, decode_line, helm, paper_2022, paper_2023
from helm_efficiency.core.fitting import Fit
from helm_efficiency.core.measurement import Measurement, Profile, Stack
from helm_efficiency.errors import InsufficientMeasurementsError
from helm_efficiency.profiling.megatron_logs import read_megatron_log

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
    fit = paper_2022(log(data_dir, "a100", name))
    table = json.loads(package.joinpath("inference_idealized_runtimes.json").read_text())[fit.deployment]
    assert fit.coefficients.decode_s_per_token == table["runtime_per_output_token"]
    assert {str(p): seconds for p, seconds in fit.coefficients.prefill_knots} == table["runtime_for_prompt_tokens"]


@pytest.mark.parametrize(("hardware", "name"), LOGS)
def test_paper_2023_is_what_the_authors_printed(data_dir: Path, hardware: str, name: str) -> None:
    profile = log(data_dir, hardware, name)
    fit = paper_2023(profile)
    cells = {(p, o): mean.seconds for (p, o, _), (mean,) in profile.cells().items()}
    alphas = {p: round(cells[p, 1], 3) for p, _ in cells}
    line = decode_line(cells, alphas)
    r_squared, beta, mean_error, max_error = PRINTED[hardware][name]
    assert fit.coefficients.prefill_knots == tuple(sorted(alphas.items()))
    assert fit.coefficients.decode_s_per_token == beta
    assert f"{line.r_squared:.3f}" == r_squared
    assert f"{line.mean_squared_error_s2:.4f}" == mean_error
    assert f"{line.max_squared_error_s2:.4f}" == max_error


def a_profile(cells: dict[tuple[int, int], float]) -> Profile:
    return Profile("a/b", STACK, tuple(Measurement(p, o, seconds) for (p, o), seconds in cells.items()), source="here")


def test_worked_example() -> None:
    # at 4 prompt tokens 1 s, at 8 2 s; each further token 0.5 s
    cells = {(4, 1): 1.0, (4, 3): 2.0, (8, 1): 2.0, (8, 3): 3.0}
    for name, estimator in ESTIMATORS.items():
        fit = estimator(a_profile(cells))
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
        assert Fit.from_dict(fit.to_dict()) == fit


def test_2022_is_never_below_the_shortest_prompt_and_2023_is_as_measured() -> None:
    cells = {(4, 1): 1.0004, (4, 3): 2.0004, (8, 1): 0.9, (8, 3): 1.9}
    assert paper_2022(a_profile(cells)).coefficients.prefill_knots == ((4, 1.0), (8, 1.0))
    assert paper_2023(a_profile(cells)).coefficients.prefill_knots == ((4, 1.0), (8, 0.9))
    assert helm(a_profile(cells)).coefficients.prefill_knots == ((4, 1.0004), (8, 0.9))


def test_what_is_missing_is_named() -> None:
    with pytest.raises(InsufficientMeasurementsError, match="a/b on x: decode needs at least two output lengths"):
        paper_2023(a_profile({(4, 1): 1.0, (8, 1): 2.0}))
    with pytest.raises(InsufficientMeasurementsError, match=r"one output token, which \[8\] prompt tokens lack"):
        helm(a_profile({(4, 1): 1.0, (4, 2): 2.0, (8, 2): 3.0}))
    with pytest.raises(InsufficientMeasurementsError, match="two output lengths for 8 prompt tokens"):
        paper_2022(a_profile({(4, 1): 1.0, (4, 2): 2.0, (8, 2): 3.0}))
