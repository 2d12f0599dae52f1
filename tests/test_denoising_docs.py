"""docs/denoising.md shows the table that benchmarks/denoise.py made."""

import importlib.util
import json
from pathlib import Path

ROOT = Path(__file__).parents[1]


def test_the_table_is_that_of_the_benchmark() -> None:
    spec = importlib.util.spec_from_file_location("denoise_benchmark", ROOT / "benchmarks" / "denoise.py")
    assert spec is not None
    assert spec.loader is not None
    benchmark = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(benchmark)
    rows = json.loads((ROOT / "benchmarks" / "results" / "denoise.json").read_text())["rows"]
    assert len(rows) == len(benchmark.CONTENTION) * len(benchmark.SHARES) * len(benchmark.COEFFICIENTS)
    assert benchmark.markdown(rows) in (ROOT / "docs" / "denoising.md").read_text(encoding="utf-8")
