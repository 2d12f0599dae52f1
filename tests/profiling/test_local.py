"""A local model is timed at exact shapes, each repetition kept."""

from pathlib import Path

import pytest
import torch
import transformers

from helm_efficiency import codec
from helm_efficiency.core.measurement import Profile
from helm_efficiency.errors import InputError, ProfilingError
from helm_efficiency.profiling.cells import Cell
from helm_efficiency.profiling.checkpoint import CellFiles
from helm_efficiency.profiling.choice import CellChoice
from helm_efficiency.profiling.engines import EagerEngine, make_engine, static_cache_tokens
from helm_efficiency.profiling.jobs import LocalJob, prepare_job, run_job
from helm_efficiency.profiling.local_timing import CellTimer
from helm_efficiency.profiling.models import ModelOptions, load_model, stored_model
from helm_efficiency.profiling.noise import Repetitions

ONCE = Repetitions(num_warmups=0, num_repetitions=1, max_repetitions=1)


def profiled(
    model: Path,
    *cells: Cell,
    cell_files: Path,
    repetitions: Repetitions = ONCE,
    engine: str = "transformers-eager",
    seen: list[tuple[Cell, int]] | None = None,
    **options: str,
) -> Profile:
    job = LocalJob(
        model=str(model),
        deployment="test/tiny",
        options=ModelOptions(**{"device": "cpu", **options}),
        engines=(engine,),
        cells=CellChoice(cells=cells),
        repetitions=repetitions,
    )
    tell = None if seen is None else lambda result: seen.append((result.cell, len(result.measurements)))
    ((profile, _),) = run_job(prepare_job(job, CellFiles(cell_files)), on_result=tell)
    return profile


def test_every_repetition_of_every_cell_is_kept(tiny_llama: Path, tmp_path: Path) -> None:
    cells = [Cell(8, 1), Cell(8, 4), Cell(33, 2, 3)]
    seen: list[tuple[Cell, int]] = []
    three = Repetitions(num_repetitions=3, max_repetitions=3)
    profile = profiled(tiny_llama, *cells, cell_files=tmp_path, repetitions=three, seen=seen)
    assert seen == [(cell, 3) for cell in cells]
    assert {cell: len(timed) for cell, timed in profile.cells().items()} == {(8, 1, 1): 3, (8, 4, 1): 3, (33, 2, 3): 3}
    assert all(m.ttft_s is not None and 0 < m.ttft_s <= m.seconds for m in profile.measurements)
    assert all(m.peak_memory_bytes is None or m.peak_memory_bytes > 1e6 for m in profile.measurements)
    assert all(m.energy_j is None for m in profile.measurements), "no meter on a CPU: missing, not 0"
    assert str(profile.stack) == f"cpu×1 transformers-eager {transformers.__version__} fp32"
    assert profile.stack.name == "cpu-transformers-eager-fp32"
    assert profile.architecture is not None
    assert (profile.architecture.num_layers, profile.architecture.num_kv_heads) == (2, 2)
    assert set(profile.versions) == {"helm-efficiency", "python", "torch", "transformers"}
    assert codec.from_plain(codec.to_plain(profile), Profile) == profile


def test_noisy_cells_are_repeated_then_flagged(tiny_llama: Path, tmp_path: Path) -> None:
    never_satisfied = Repetitions(num_repetitions=2, max_repetitions=4, max_spread_fraction=0.0)
    profile = profiled(tiny_llama, Cell(4, 2), cell_files=tmp_path, repetitions=never_satisfied)
    assert len(profile.measurements) == 4
    (note,) = profile.notes
    assert note.startswith("p=4 o=2: noisy: ±") and "close other programs" in note


def test_out_of_memory_ends_the_domain_there_and_the_rest_goes_on(tiny_llama: Path, tmp_path: Path) -> None:
    too_many = 10**12  # rows of 1,000 tokens: 8 petabytes of prompt, more than an address can name
    cells = [Cell(1000, 1), Cell(1000, 1, too_many), Cell(1000, 2, too_many), Cell(8, 1)]
    profile = profiled(tiny_llama, *cells, cell_files=tmp_path)
    assert list(profile.cells()) == [(8, 1, 1), (1000, 1, 1)]
    (note,) = (note for note in profile.notes if "memory" in note)
    assert note.startswith(f"p=1000 o=1 batch={too_many}: out of memory on ")


def test_an_end_of_sequence_token_does_not_end_the_output(tiny_llama: Path) -> None:
    model = load_model(stored_model(tiny_llama, ModelOptions("cpu")))
    prompt = torch.ones(1, 8, dtype=torch.long)
    assert model.generate(prompt, max_new_tokens=9, do_sample=False).shape == (1, 9), "the model's own config stops it"
    make_engine("transformers-eager", model)
    assert model.generate(prompt, max_new_tokens=9, do_sample=False).shape == (1, 17)
    timing = EagerEngine(model).run(prompt, Cell(8, 9))
    assert 0 < timing.ttft_s < timing.seconds


def test_compiled_decoding_is_an_engine_of_its_own(tiny_llama: Path, tmp_path: Path) -> None:
    profile = profiled(tiny_llama, Cell(8, 3), cell_files=tmp_path, engine="transformers-compiled")
    assert profile.stack.name == "cpu-transformers-compiled-fp32"
    assert [(m.prompt_tokens, m.output_tokens) for m in profile.measurements] == [(8, 3)]
    engine = make_engine("transformers-compiled", load_model(stored_model(tiny_llama, ModelOptions("cpu"))))
    assert [engine.warmups(cell) for cell in (Cell(8, 1), Cell(8, 3))] == [1, 3], "compile, record, replay"
    assert static_cache_tokens(Cell(100, 28)) == 128 and static_cache_tokens(Cell(100, 29)) == 256


@pytest.mark.parametrize(
    ("cell", "options", "message"),
    [
        (Cell(0, 1), {}, "Cell p=0 o=1: expected 1 or more"),
        (Cell(1, 1), {"device": "tpu"}, "Device 'tpu' is not on this machine"),
        (Cell(1, 1), {"dtype": "fp64"}, "dtype 'fp64': expected auto, fp32, bf16, fp16"),
        (Cell(1, 1), {"engine": "vllm"}, "Engine 'vllm': expected one of transformers-"),
    ],
)
def test_options_out_of_range_are_refused(
    tiny_llama: Path, tmp_path: Path, cell: Cell, options: dict[str, str], message: str
) -> None:
    with pytest.raises(InputError, match=message):
        profiled(tiny_llama, cell, cell_files=tmp_path, **options)


def test_a_cell_beyond_the_context_is_refused(tiny_llama: Path) -> None:
    subject = stored_model(tiny_llama, ModelOptions("cpu"))
    timer = CellTimer(subject, load_model(subject), "transformers-eager", repetitions=ONCE)
    with pytest.raises(InputError, match="Cell p=2048 o=1 is longer than the 2048 tokens"):
        timer(Cell(2048, 1))


def test_a_folder_without_a_model_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ProfilingError, match=r"Cannot load .* as a causal LM: "):
        profiled(tmp_path, Cell(1, 1), cell_files=tmp_path)


def test_repetitions_out_of_range_are_refused() -> None:
    with pytest.raises(InputError, match="1 warm-ups and 5 to 4 repetitions"):
        Repetitions(num_repetitions=5, max_repetitions=4)
