"""Runs of any harness through one door."""

import shutil
from pathlib import Path

import pytest

from helm_efficiency.adapters.helm.request_cache import RequestCaches
from helm_efficiency.adapters.sources import read_runs
from helm_efficiency.errors import FileFormatError, InputError


@pytest.fixture
def archive(data_dir: Path, tmp_path: Path) -> Path:
    """A run of HELM that was cut off, before a whole log of Inspect."""
    run = data_dir / "helm_runs" / "small" / "runs" / "v1" / "narrative_qa-model=openai_gpt2"
    shutil.copytree(run, tmp_path / "archive" / "a", copy_function=shutil.copyfile)
    state = tmp_path / "archive" / "a" / "scenario_state.json"
    state.write_bytes(state.read_bytes()[:1000])
    shutil.copyfile(data_dir / "other_harnesses" / "inspect" / "data_arc_sonnet.json", tmp_path / "archive" / "b.json")
    return tmp_path / "archive"


def test_what_cannot_be_read_is_an_error_or_passed_over(archive: Path) -> None:
    with pytest.raises(FileFormatError, match="scenario_state"):
        list(read_runs([archive]))
    errors: list[InputError] = []
    assert [run.name for run in read_runs([archive], on_error=errors.append)] == ["b"]
    assert len(errors) == 1


def test_a_place_that_is_not_there_is_an_error_in_any_case(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="nowhere"):
        list(read_runs([tmp_path / "nowhere"], on_error=lambda _: None))


def test_caches_that_are_not_there_are_an_error(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"no .*sqlite in it"):
        RequestCaches.of([tmp_path])
