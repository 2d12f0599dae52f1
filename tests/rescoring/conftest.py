"""Copies of real runs that tests may change."""

import os
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from helpers.odd_places import copy_to_change


@pytest.fixture
def fast_folder() -> Iterator[Path]:
    """An empty folder in memory where there is one, so that flushing to disk a hundred times costs nothing."""
    memory = Path("/dev/shm")
    with tempfile.TemporaryDirectory(dir=memory if os.access(memory, os.W_OK) else None) as folder:
        yield Path(folder)


@pytest.fixture
def runs(data_dir: Path, fast_folder: Path) -> Path:
    """A copy of a suite of three small real runs, in a folder of its own."""
    copy_to_change(data_dir / "helm_runs" / "small" / "runs", fast_folder / "archive" / "runs")
    return fast_folder / "archive"
