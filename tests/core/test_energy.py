"""Energy on a loaded server: known coefficients come back, and the packaged ones are those of the measurements."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from _energy_fit import EnergyRow, fit_energy, interval, left_out_errors, with_interval
from energy import read_rows

from helm_efficiency.catalog.architectures import load_architectures
from helm_efficiency.catalog.energy import energy_models, published_energy
from helm_efficiency.core.energy import EnergyModel
from helm_efficiency.core.measurement import Stack

NAMES = ("llama-3-8b", "llama-3-70b", "qwen3-30b-a3b", "qwen3-14b", "gemma-3-27b", "deepseek-v3")
TRUE = EnergyModel(byte_j=2e-10, parameter_j=4e-12, idle_j=0.5)
H100 = Stack("h100-sxm-vllm-bf16", "h100-sxm", engine="vllm", dtype="bf16")


def rows(noise: float = 0.0, seed: int = 0) -> list[EnergyRow]:
    random = np.random.default_rng(seed)
    made = []
    for name in NAMES:
        architecture = load_architectures().find(name).architecture
        factor = float(np.exp(noise * random.standard_normal()))
        for batch in (8, 16, 64, 256):
            joules = TRUE.j_per_output_token(architecture, "bf16", batch=batch, accelerators=4)
            made.append(EnergyRow(architecture, "bf16", 4, batch, joules * factor))
    return made


def test_one_token_costs_what_the_formula_says() -> None:
    llama = load_architectures().find("llama-3-8b").architecture
    read = llama.num_multiplied_parameters(16) * 2  # bytes in bf16
    by_hand = 2e-10 * read / 16 + 4e-12 * llama.num_active_parameters() + 0.5 * 2 / 4
    assert TRUE.j_per_output_token(llama, "bf16", batch=16, accelerators=2) == pytest.approx(by_hand)


def test_known_coefficients_are_recovered() -> None:
    found = fit_energy(rows())
    assert found.byte_j == pytest.approx(TRUE.byte_j, rel=1e-3)
    assert found.parameter_j == pytest.approx(TRUE.parameter_j, rel=1e-3)
    assert found.idle_j == pytest.approx(TRUE.idle_j, rel=1e-3)
    assert (found.min_batch, found.max_batch) == (8, 256)


def test_interval_widens_with_the_spread_of_models() -> None:
    narrow, wide = (interval(left_out_errors(rows(noise))) for noise in (0.02, 0.3))
    assert wide[0] < narrow[0] < 1 < narrow[1] < wide[1]
    model = with_interval(TRUE, left_out_errors(rows(0.3)))
    assert (model.low_factor, model.high_factor) == wide


@pytest.mark.parametrize(
    ("stack", "batch"),
    [
        (H100, 1),  # alone: the measurements begin at a batch of 8
        (H100, 5000),
        (replace(H100, accelerator="a100-80gb"), 64),
        (replace(H100, dtype=""), 64),
    ],
)
def test_nothing_is_said_beyond_the_measurements(stack: Stack, batch: int) -> None:
    llama = load_architectures().find("llama-3-8b").architecture
    assert published_energy(stack, llama, (500, 100), batch=batch) is None
    assert published_energy(H100, None, (500, 100), batch=64) is None


def test_energy_falls_with_the_batch() -> None:
    llama = load_architectures().find("llama-3-8b").architecture
    found = [published_energy(H100, llama, (100, 100), batch=batch) for batch in (8, 16, 64, 256)]
    joules = [each.energy.joules for each in found if each is not None]
    assert len(joules) == 4 and joules == sorted(joules, reverse=True)
    assert all(each is not None and each.energy.low_j < each.energy.joules < each.energy.high_j for each in found)
    assert found[0] is not None and found[0].source.startswith("ML.ENERGY benchmark v3")


def test_packaged_coefficients_are_those_of_the_measurements(data_dir: Path) -> None:
    measured = read_rows(data_dir / "modern" / "ml_energy_v3")
    model = with_interval(fit_energy(measured), left_out_errors(measured))
    assert len(measured) > 300
    packaged = energy_models()["h100-sxm"][0]
    for name in EnergyModel.__dataclass_fields__:
        assert getattr(packaged, name) == pytest.approx(getattr(model, name), rel=0.02), name
