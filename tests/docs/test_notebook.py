"""The notebook of the documentation goes from a folder of runs to a figure."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

from helpers.notebook import read, run

TOUR = Path(__file__).parents[2] / "docs" / "tour.ipynb"


def test_the_notebook_runs_and_shows_results_of_the_same_kinds(reader: Callable[[Path], Path]) -> None:
    reader(TOUR)
    notebook = read(TOUR)
    assert len(notebook["cells"]) == 10
    kept = [cell["outputs"] for cell in notebook["cells"] if cell["cell_type"] == "code"]
    now = run(notebook)
    assert _kinds(now) == _kinds(kept)  # numbers change with prices and coefficients
    assert sum("image/png" in kinds for of in _kinds(now) for kinds in of) == 2


def _kinds(outputs: list[list[dict[str, Any]]]) -> list[list[list[str]]]:
    return [[sorted(output.get("data", {"text": ""})) for output in of] for of in outputs]
