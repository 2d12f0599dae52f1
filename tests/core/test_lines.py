"""Knots and decode times: recovery of a known truth, outliers, context term, what cannot be told."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from helm_efficiency.core.fitting.additive_model import context_tokens, fit_additive
from helm_efficiency.errors import InsufficientMeasurementsError

PROMPTS = (1, 256, 512, 1024, 1536)
OUTPUTS = (1, 2, 4, 8, 16, 32, 64)


def made(
    decode_s: float = 0.02, context_s: float = 0.0, prompts: tuple[int, ...] = PROMPTS
) -> dict[tuple[int, int], float]:
    """Prefill of 20 ms + 0.1 ms a token."""
    return {
        (p, o): 0.02 + 1e-4 * p + decode_s * (o - 1) + context_s * float(context_tokens(np.array(p), np.array(o)))
        for p in prompts
        for o in OUTPUTS
    }


def test_context_tokens() -> None:
    # 3 output tokens after 10: steps at contexts 11 and 12
    assert context_tokens(np.array([10.0, 10.0, 10.0]), np.array([3.0, 1.0, 0.0])).tolist() == [23.0, 0.0, 0.0]


@given(decode_ms=st.floats(0.5, 200.0), scale=st.floats(0.1, 10.0))
def test_exact_lines_are_found(decode_ms: float, scale: float) -> None:
    cells = {cell: scale * seconds for cell, seconds in made(decode_ms / 1e3).items()}
    lines = fit_additive(cells)
    np.testing.assert_allclose(lines.prefill_s, [scale * (0.02 + 1e-4 * p) for p in PROMPTS], rtol=1e-6)
    assert lines.decode_s_per_token == pytest.approx(scale * decode_ms / 1e3, rel=1e-6)
    assert lines.decode_s_per_context_token == 0.0
    assert lines.noise == pytest.approx(0.0, abs=1e-6)


def test_agrees_with_least_squares_where_noise_is_small_and_even() -> None:
    rng = np.random.default_rng(0)
    cells = {cell: seconds * (1.0 + 1e-4 * rng.standard_normal()) for cell, seconds in made().items()}
    design = np.zeros((len(cells), len(PROMPTS) + 1))
    for row, (p, o) in enumerate(cells):
        design[row, PROMPTS.index(p)], design[row, -1] = 1.0, o - 1
    seconds = np.array(list(cells.values()))
    expected = np.linalg.lstsq(design / seconds[:, None], np.ones(len(cells)), rcond=None)[0]
    lines = fit_additive(cells)
    np.testing.assert_allclose([*lines.prefill_s, lines.decode_s_per_token], expected, rtol=1e-4)


def test_outliers_of_cells_and_of_a_whole_prompt_length_do_little() -> None:
    rng = np.random.default_rng(1)
    cells = {cell: seconds * (1.0 + 0.01 * rng.standard_normal()) for cell, seconds in made().items()}
    cells[256, 8] *= 1.5
    for o in OUTPUTS[1:]:
        cells[1, o] += 0.15 * 0.02 * (o - 1)  # a busy machine while the shortest prompt was timed
    lines = fit_additive(cells)
    assert lines.decode_s_per_token == pytest.approx(0.02, rel=0.01)
    np.testing.assert_allclose(lines.prefill_s, [0.02 + 1e-4 * p for p in PROMPTS], rtol=0.03)


def test_decode_that_grows_with_context_is_told_and_noise_is_not_mistaken_for_it() -> None:
    rng = np.random.default_rng(2)
    growing = {c: s * (1.0 + 0.002 * rng.standard_normal()) for c, s in made(context_s=2e-6).items()}
    assert fit_additive(growing).decode_s_per_context_token == pytest.approx(2e-6, rel=0.15)
    flat = {c: s * (1.0 + 0.01 * rng.standard_normal()) for c, s in made().items()}
    assert fit_additive(flat).decode_s_per_context_token == 0.0
    negligible = {c: s * (1.0 + 1e-5 * rng.standard_normal()) for c, s in made(context_s=1e-7).items()}
    assert fit_additive(negligible).decode_s_per_context_token == 0.0


def test_two_output_lengths_at_one_prompt_length_are_enough() -> None:
    lines = fit_additive({(1, 1): 0.02, (1, 16): 0.32, (512, 1): 0.1}, resolution_s=0.001)
    assert lines.decode_s_per_token == pytest.approx(0.02, rel=1e-6)
    assert lines.prefill_s.tolist() == pytest.approx([0.02, 0.1])


def test_without_them_it_says_what_is_missing() -> None:
    with pytest.raises(InsufficientMeasurementsError, match=r"given output lengths \[1, 2\]. Measure another"):
        fit_additive({(1, 1): 0.02, (512, 2): 0.1})


def test_a_decode_time_is_never_negative() -> None:
    assert fit_additive({(1, 1): 0.3, (1, 16): 0.2}).decode_s_per_token == 0.0
