"""A local model is timed at exact shapes, each repetition kept."""

from pathlib import Path

import pytest

from helm_efficiency.errors import InputError, ProfilingError
from helm_efficiency.profiling.cells import Cell
from helm_efficiency.profiling.local import LocalOptions, profile_model


def test_every_repetition_of_every_cell_is_kept(tiny_llama: Path) -> None:
    cells = [Cell(8, 1), Cell(8, 4), Cell(33, 2, 3)]
    seen = []
    profile = profile_model(
        tiny_llama,
        options=LocalOptions("test/tiny", cells, device="cpu", num_warmups=1, num_repetitions=3),
        on_cell=lambda cell, timed: seen.append((cell, len(timed))),
    )
    assert seen == [(cell, 3) for cell in cells]
    assert {cell: len(timed) for cell, timed in profile.cells().items()} == {(8, 1, 1): 3, (8, 4, 1): 3, (33, 2, 3): 3}
    assert all(0 < m.ttft_s <= m.seconds for m in profile.measurements if m.ttft_s is not None)
    assert all(m.ttft_s is not None for m in profile.measurements)
    assert profile.stack.name == "cpu-transformers-eager-fp32"
    assert (profile.stack.accelerator, profile.stack.engine, profile.stack.dtype) == (
        "cpu",
        "transformers-eager",
        "fp32",
    )
    assert type(profile).from_dict(profile.to_dict()) == profile


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (LocalOptions("x", [Cell(0, 1)], device="cpu"), "Cell p=0 o=1: expected 1 or more"),
        (LocalOptions("x", [Cell(1, 1)], device="tpu"), "Device 'tpu' is not on this machine"),
        (LocalOptions("x", [Cell(1, 1)], device="cpu", dtype="fp64"), "dtype 'fp64': expected one of fp32, bf16, fp16"),
    ],
)
def test_options_out_of_range_are_refused(tiny_llama: Path, options: LocalOptions, message: str) -> None:
    with pytest.raises(InputError, match=message):
        profile_model(tiny_llama, options=options)


def test_a_folder_without_a_model_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ProfilingError, match=r"Cannot load .* as a causal LM: "):
        profile_model(tmp_path, options=LocalOptions("x", [Cell(1, 1)], device="cpu"))
