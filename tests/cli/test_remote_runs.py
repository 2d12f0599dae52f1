"""Every command that reads runs reads remote ones, as it reads local ones."""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from fsspec.implementations.memory import MemoryFileSystem
from helpers.archives import A100, coefficients_of
from typer.testing import CliRunner

from helm_efficiency.cli import app
from helm_efficiency.core.fitting.fit import Fit
from helm_efficiency.store import Store

REMOTE = "memory://runs-of-others"


@pytest.fixture
def runs(data_dir: Path) -> Iterator[Path]:
    """A folder of three runs, of which `REMOTE` is a copy."""
    local = data_dir / "helm_runs" / "small" / "runs"
    MemoryFileSystem().put(str(local), "/runs-of-others", recursive=True)
    yield local
    MemoryFileSystem().rm("/runs-of-others", recursive=True)


@pytest.fixture
def store(tmp_path: Path) -> Path:
    path = tmp_path / "efficiency.sqlite"
    Store(path).put_fit(Fit("openai/gpt2", A100, coefficients_of()))
    return path


def output_of(*arguments: object) -> str:
    result = CliRunner().invoke(app, [str(argument) for argument in arguments])
    assert result.exception is None or isinstance(result.exception, SystemExit), result.output
    return result.stdout


def test_records_reads_remote_runs(runs: Path) -> None:
    found = output_of("records", REMOTE, "--format", "json")
    assert len(json.loads(found)) > 0
    assert found == output_of("records", runs, "--format", "json")


def test_denoise_reads_remote_runs(runs: Path, store: Path) -> None:
    arguments = ("--store", store, "--format", "json")
    found = json.loads(output_of("denoise", REMOTE, *arguments))
    assert {report["deployment"] for report in found} == {"huggingface/gpt2", "huggingface/pythia-1b-v0"}
    assert found == json.loads(output_of("denoise", runs, *arguments))


def test_coverage_reads_remote_runs(runs: Path, store: Path) -> None:
    found = output_of("coverage", REMOTE, "--store", store, "--deployments", "--format", "json")
    assert "huggingface/gpt2" in {row["deployment"] for row in json.loads(found)}
    assert found == output_of("coverage", runs, "--store", store, "--deployments", "--format", "json")


def test_address_of_nothing_is_one_clear_line(runs: Path) -> None:
    result = CliRunner().invoke(app, ["records", "memory://nowhere"])
    assert "memory://nowhere: nothing there; expected runs" in str(result.exception)
