"""From any number that is written back to the measurements it was made of."""

import csv
import hashlib
import io
import json
import re
import shutil
from pathlib import Path

import pyarrow.parquet as pq
from helpers.run_commands import call

from helm_efficiency import __version__
from helm_efficiency.core.measurement import Measurement, Profile, Stack
from helm_efficiency.store import Store


def test_every_output_is_traced_to_measurements(data_dir: Path, tmp_path: Path) -> None:
    store, output, name = tmp_path / "s.sqlite", tmp_path / "out", "groq/llama3-70b-8192"
    cells = [(p, o) for p in (1, 64, 1024) for o in (1, 16)]
    stack = Stack("a100-80gb-x", "a100-80gb", 8)
    profile = Profile(name, stack, tuple(Measurement(p, o, 0.01 + p * 1e-4 + o * 0.02) for p, o in cells))
    Store(store).put_profile(profile)
    assert call("fit", "--store", store).code == 0
    runs = [spec.parent for spec in (data_dir / "helm_runs" / "mmlu_llama3").rglob("run_spec.json")]
    run = next(folder for folder in sorted(runs) if "groq_llama3-70b" in folder.name)
    shutil.copytree(run, tmp_path / "v1" / run.name, copy_function=shutil.copyfile)
    assert call("rescore", tmp_path / "v1", "--store", store, "--output", output).code == 0

    made_with = f"helm-efficiency {__version__}; runs.parquet sha256 "
    made_with += hashlib.sha256((output / "runs.parquet").read_bytes()).hexdigest()
    (row, *_) = csv.DictReader(io.StringIO(call("leaderboard", output, "--format", "csv").stdout))
    assert row["made_with"] == made_with
    assert json.loads(call("leaderboard", output, "--format", "json").stdout)[0]["made_with"] == made_with
    for kind in ("svg", "png", "pdf"):
        file = tmp_path / f"t.{kind}"
        assert call("plot", output, "--output", file).code == 0
        assert made_with.encode() in file.read_bytes()
        assert f"helm-efficiency {__version__}".encode() in file.read_bytes()
    assert call("report", output, "--output", tmp_path / "r.html").code == 0
    assert made_with in (tmp_path / "r.html").read_text(encoding="utf-8")

    metadata = pq.read_metadata(output / "runs.parquet").metadata
    assert metadata[b"helm_efficiency_versions"] == __version__.encode()
    (coefficients,) = json.loads(metadata[b"helm_efficiency_coefficients_sha256"])[name]
    (held,) = json.loads(call("show", "--store", store, "--format", "json").stdout)
    assert (held["coefficients_sha256"], held["measurements_sha256"]) == (coefficients, profile.sha256())
    figure = tmp_path / "fit.svg"
    assert call("plot", store, "--kind", "fit", "--deployment", name, "--output", figure).code == 0
    assert re.search(rf"coefficients sha256 {coefficients}", figure.read_text())
