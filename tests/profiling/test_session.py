"""A profile goes on where it was ended, and nothing finished is lost or done twice."""

import json
import random
from pathlib import Path

import pytest

from helm_efficiency.core.measurement import Measurement
from helm_efficiency.errors import FileFormatError, InputError
from helm_efficiency.profiling.cells import Cell, CellResult
from helm_efficiency.profiling.checkpoint import Checkpoint
from helm_efficiency.profiling.noise import spread_fraction
from helm_efficiency.profiling.plans import FixedPlan, default_cells
from helm_efficiency.profiling.session import Limits, run_session

IDENTITY = {"deployment": "a/b", "stack": {"name": "cpu", "accelerator": "cpu"}}


def timed(cell: Cell) -> CellResult:
    """A result whose seconds tell which cell it is of."""
    seconds = cell.prompt_tokens / 1000 + cell.output_tokens / 10
    return CellResult(cell, (Measurement(*cell[:2], seconds, batch_size=cell.batch_size, ttft_s=seconds / 2),))


def test_a_session_goes_on_from_its_checkpoint(tmp_path: Path) -> None:
    cells = [Cell(1, 1), Cell(8, 1), Cell(8, 4), Cell(8, 4, 2)]
    path = tmp_path / "new folder" / "cells.jsonl"
    for number in range(1, 5):  # each session ends after one cell, as if killed
        asked: list[Cell] = []

        def timer(cell: Cell, asked: list[Cell] = asked) -> CellResult:
            if asked:
                raise KeyboardInterrupt
            asked.append(cell)
            return timed(cell)

        checkpoint = Checkpoint(path, IDENTITY)
        if number < 4:
            with pytest.raises(KeyboardInterrupt):
                run_session(FixedPlan(cells), timer, checkpoint=checkpoint)
        else:
            outcome = run_session(FixedPlan(cells), timer, checkpoint=checkpoint)
        assert asked == [cells[number - 1]]
    assert outcome.finished and outcome.new_cells == 1
    assert outcome.results == tuple(timed(cell) for cell in cells)
    assert Checkpoint(path, IDENTITY).results == list(outcome.results)


def test_a_checkpoint_cut_anywhere_keeps_its_whole_lines(tmp_path: Path) -> None:
    path = tmp_path / "cells.jsonl"
    checkpoint = Checkpoint(path, IDENTITY)
    results = [timed(Cell(p, 1)) for p in (1, 2, 3)]
    for result in results:
        checkpoint.append(result)
    whole = path.read_bytes()
    generator = random.Random(0)
    for size in [0, 1, len(whole) - 1, *(generator.randrange(len(whole)) for _ in range(40))]:
        path.write_bytes(whole[:size])
        kept = max(whole[:size].count(b"\n") - 1, 0)
        reopened = Checkpoint(path, IDENTITY)
        assert reopened.results == results[:kept]
        for result in results[kept:]:
            reopened.append(result)
        assert path.read_bytes() == whole


def test_cells_of_another_profile_are_not_mixed_in(tmp_path: Path) -> None:
    path = tmp_path / "cells.jsonl"
    Checkpoint(path, IDENTITY)
    with pytest.raises(InputError, match=r"cells of another profile .*deployment: 'a/b' there, 'a/c' now"):
        Checkpoint(path, {**IDENTITY, "deployment": "a/c"})


@pytest.mark.parametrize("content", ["not json", "[1]\n", '{"schema": "other"}\n', "\n", "PK\x03\x04 zip"])
def test_a_foreign_file_is_refused_and_left_as_it_was(tmp_path: Path, content: str) -> None:
    path = tmp_path / "cells.jsonl"
    path.write_text(content)
    with pytest.raises(FileFormatError, match="is not a file of profiled cells"):
        Checkpoint(path, IDENTITY)
    assert path.read_text() == content


def test_a_folder_that_cannot_be_written_to_is_one_clear_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(InputError, match=r"Cannot keep finished cells in .*cells.jsonl: (Not a directory|File exists)"):
        Checkpoint(tmp_path / "file" / "cells.jsonl", IDENTITY)


def test_a_spent_budget_ends_the_session_between_cells() -> None:
    outcome = run_session(FixedPlan([Cell(1, 1)]), timed, limits=Limits.of_budget(0.0))
    assert (outcome.results, outcome.finished) == ((), False)


def test_what_reaches_a_cell_without_room_is_not_tried() -> None:
    def timer(cell: Cell) -> CellResult:
        return CellResult(cell, (), too_large=True, note="no room") if cell.prompt_tokens >= 64 else timed(cell)

    cells = [Cell(64, 4), Cell(64, 8), Cell(128, 4), Cell(64, 4, 2), Cell(128, 2), Cell(8, 8)]
    outcome = run_session(FixedPlan(cells), timer)
    assert [result.cell for result in outcome.results] == [Cell(64, 4), Cell(128, 2), Cell(8, 8)]
    assert outcome.notes() == ("p=64 o=4: no room", "p=128 o=2: no room")
    assert json.loads(json.dumps(outcome.results[0].to_dict()))["too_large"] is True


@pytest.mark.parametrize("max_tokens", [4, 64, 100, 2048, 4096, 131072, None])
def test_the_default_grid_determines_what_a_fit_needs(max_tokens: int | None) -> None:
    cells = default_cells(max_tokens, batch_sizes=(1, 4))
    assert len(set(cells)) == len(cells) <= 13
    assert all(p + o <= (max_tokens or 4096) for p, o, _ in cells)
    prompts_with_decode = {p for p, o, batch in cells if o > 1 and batch == 1}
    assert len(prompts_with_decode) >= 2, "how decode grows with the context needs two prompt lengths"
    assert {batch for *_, batch in cells} == {1, 4}


def test_spread_follows_its_formula_and_single_outliers_do_not_move_it() -> None:
    assert spread_fraction([1.0]) == float("inf")
    assert spread_fraction([2.0, 2.0, 2.0]) == 0.0
    # median 1, absolute deviations .1 .1 0 .2 9 -> their median .1; 1.2533 * 1.4826 * 0.1 / sqrt(5)
    assert spread_fraction([0.9, 1.1, 1.0, 0.8, 10.0]) == pytest.approx(0.083098, rel=1e-4)
