"""The benchmarks work, their pages say what the raw results give, and these name no machine."""

import re
import subprocess
import sys
from pathlib import Path

import _harness
import page
import pytest

DOCUMENTS = page.load(_harness.RESULTS)


def test_every_benchmark_has_raw_results_of_a_full_run() -> None:
    assert set(DOCUMENTS) == set(page.BENCHMARKS)
    assert {path.stem for path in _harness.RESULTS.glob("*.json")} == set(page.BENCHMARKS)
    assert not any(document["quick"] for document in DOCUMENTS.values())


def test_the_page_is_what_the_raw_results_give() -> None:
    assert page.PAGE.read_text(encoding="utf-8") == page.page(DOCUMENTS)


def test_table_of_denoised_coefficients_is_current() -> None:
    assert page.DENOISING_PAGE.read_text(encoding="utf-8") == page.denoising_page(DOCUMENTS["denoise"]["results"])


def test_raw_results_name_no_machine_and_no_path() -> None:
    for path in _harness.RESULTS.rglob("*.json"):
        text = path.read_text(encoding="utf-8")
        assert not re.search(r"\"/|/(home|root|tmp|work|Users)/", text), path
    facts = {"system", "processor", "cores", "memory_gib", "load_before"}
    assert {name for document in DOCUMENTS.values() for name in document["machine"]} == facts


def test_what_a_process_takes() -> None:
    small = _harness.usage_of(_harness.python_program("pass"))
    busy = "import time\nx = b'x' * 200_000_000\nwhile time.process_time() < 0.5: pass"
    large = _harness.usage_of(_harness.python_program(busy))
    assert small.cpu_s > 0 and large.cpu_s > 0.49, "0.5 s, to the 10 ms in which a kernel may count"
    assert small.wall_s > 0 and large.wall_s > large.cpu_s - 0.01, "of one thread"
    assert large.peak_mb == pytest.approx(small.peak_mb + 191, abs=10)
    with pytest.raises(RuntimeError, match="ZeroDivisionError"):
        _harness.usage_of(_harness.python_program("1 / 0"))


@pytest.mark.parametrize("name", ["runtime_models", "predict"])
def test_quick_run_prints_a_section_and_keeps_nothing(name: str, data_dir: Path) -> None:
    before = (_harness.RESULTS / f"{name}.json").read_bytes()
    command = [sys.executable, _harness.ROOT / "benchmarks" / f"{name}.py", "--quick", "--data", data_dir]
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=_harness.environment())
    assert done.returncode == 0, done.stderr
    assert re.search(r"\|---.*\n\| .*×", done.stdout)
    assert (_harness.RESULTS / f"{name}.json").read_bytes() == before


def test_engines_are_tried_by_name() -> None:
    command = [sys.executable, _harness.ROOT / "benchmarks" / "engines.py", "--help"]
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=_harness.environment())
    assert done.returncode == 0, done.stderr
    assert "{check,stacks,denoise,serving}" in done.stdout
