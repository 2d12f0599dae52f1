"""Thousands of damaged files of every kind that the package reads: each is read or refused in one clear line.

HELM_EFFICIENCY_MUTATIONS sets the number of cases of each kind.
"""

import io
import json
import pickle
import random
import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from helpers import scored_tables as scored
from helpers.mutations import damaged, damaged_json
from helpers.run_commands import check

from helm_efficiency.adapters.adapters import read_log
from helm_efficiency.adapters.helm.request_cache import RequestCaches
from helm_efficiency.adapters.helm.runs import read_run
from helm_efficiency.adapters.sources import iter_sources, read_source
from helm_efficiency.catalog.accelerators import load_accelerators
from helm_efficiency.core.fitting.fit import fit_profile
from helm_efficiency.errors import EfficiencyError
from helm_efficiency.formats.csv_measurements import write_measurement_csv
from helm_efficiency.formats.detect import export_document, read_coefficient_files
from helm_efficiency.report import tables
from helm_efficiency.store import Store


def read_and_fit(path: Path) -> None:
    """What `import` and `fit` do with a file of measurements."""
    for profile in read_coefficient_files([str(path)], deployment="me/model", stack_name="a100-80gb").profiles:
        try:
            fit_profile(profile)
        except EfficiencyError:  # names deployment and stack: the file is long imported
            continue


def read_logs(path: Path) -> None:
    for source in iter_sources([str(path)]):
        read_source(source)


@pytest.fixture
def helm_run(data_dir: Path, tmp_path: Path) -> Path:
    """Three requests of a real run."""
    real = next((data_dir / "helm_runs" / "mmlu_llama3").rglob("run_spec.json")).parent
    folder = tmp_path / "v1" / "mmlu:subject=x,model=y"
    folder.mkdir(parents=True)
    (folder / "run_spec.json").write_bytes((real / "run_spec.json").read_bytes())
    state = json.loads((real / "scenario_state.json").read_bytes())
    state["request_states"] = state["request_states"][:3]
    (folder / "scenario_state.json").write_text(json.dumps(state))
    wanted = {request["instance"]["id"] for request in state["request_states"]}
    stats = json.loads((real / "per_instance_stats.json").read_bytes())
    (folder / "per_instance_stats.json").write_text(json.dumps([e for e in stats if e["instance_id"] in wanted]))
    return folder


@pytest.mark.parametrize("name", ["run_spec.json", "scenario_state.json", "per_instance_stats.json"])
def test_helm_run_folders(helm_run: Path, name: str) -> None:
    check(helm_run / name, read_run, damaged_json, of=helm_run)


def test_folders_with_links_to_themselves_and_odd_names(helm_run: Path) -> None:
    root = helm_run.parent
    for name in ("..x", "模型 🦙", "<script>alert(1)<", "=cmd()", "\n", "a" * 255):
        (root / name).mkdir()
        for file in helm_run.iterdir():
            (root / name / file.name).write_bytes(file.read_bytes())
    (root / "loop").symlink_to(root)
    (root / "self").symlink_to("self")
    (root / "gone").symlink_to("nowhere")
    found = list(iter_sources([str(root)]))
    assert len(found) == 7
    assert {read_source(each)[0].records[0].prompt_tokens for each in found} != {None}
    assert len(list(iter_sources([str(helm_run / ".." / "loop" / ".." / "v1")]))) == 7


def test_inspect_logs(data_dir: Path, tmp_path: Path) -> None:
    log = json.loads((data_dir / "other_harnesses" / "inspect" / "data_arc_sonnet.json").read_bytes())
    log["samples"] = log["samples"][:2]
    file = tmp_path / "inspect-log.json"
    file.write_text(json.dumps(log))
    check(file, lambda path: read_log("inspect", path), damaged_json)


def test_lm_eval_results(data_dir: Path, tmp_path: Path) -> None:
    for real in (data_dir / "other_harnesses" / "lm_eval").iterdir():
        lines = real.read_bytes().splitlines(keepends=True)
        (tmp_path / real.name).write_bytes(b"".join(lines[:3] if real.suffix == ".jsonl" else lines))
    results = next(tmp_path.glob("results*.json"))
    check(results, lambda path: read_log("lm-eval", path), damaged_json, of=None)
    samples = next(tmp_path.glob("samples*.jsonl"))
    results.write_bytes(next((data_dir / "other_harnesses" / "lm_eval").glob("results*.json")).read_bytes())
    check(samples, lambda _: read_log("lm-eval", results), damaged)


def test_llmperf_logs(data_dir: Path, tmp_path: Path) -> None:
    real = json.loads((data_dir / "latency" / "llmperf" / "groq_70b.json").read_bytes())
    file = tmp_path / "groq_70b.json"
    file.write_text(json.dumps(real[:5]))
    check(file, lambda path: read_log("llmperf", path), damaged_json)


def test_request_caches(tmp_path: Path) -> None:
    folder = tmp_path / "cache"
    folder.mkdir()
    file = folder / "openai.sqlite"
    with closing(sqlite3.connect(file)) as connection:
        connection.execute("CREATE TABLE unnamed (key TEXT PRIMARY KEY, value BLOB)")
        for row in range(30):
            usage = {"prompt_tokens": 10, "completion_tokens": row, "total_tokens": row + 10}
            response = {"request_time": row + 0.5, "request_datetime": 1_700_000_000 + row, "usage": usage}
            values = (
                json.dumps({"prompt": f"p{row}", "completion_index": row % 2}),
                pickle.dumps(response, protocol=4),
            )
            connection.execute("INSERT INTO unnamed VALUES (?, ?)", values)
        connection.commit()

    def read(path: Path) -> None:
        caches = RequestCaches()
        caches.add_sqlite(path)
        assert all(path.name in problem for problem in caches.problems[:100] if "more" not in problem)

    check(file, read, damaged)


def test_megatron_logs(data_dir: Path, tmp_path: Path) -> None:
    real = (data_dir / "megatron_logs" / "a100" / "bloom.log").read_bytes()
    file = tmp_path / "bloom.log"
    file.write_bytes(real)
    check(file, read_and_fit, damaged)


@pytest.fixture
def bloom(data_dir: Path) -> Any:
    log = data_dir / "megatron_logs" / "a100" / "bloom.log"
    return read_coefficient_files([str(log)], deployment="me/bloom", stack_name="a100-80gb-megatron").profiles[0]


def test_measurement_tables(bloom: Any, tmp_path: Path) -> None:
    text = io.StringIO()
    write_measurement_csv([bloom], text)
    file = tmp_path / "measured.csv"
    file.write_text("".join(text.getvalue().splitlines(keepends=True)[:61]))
    check(file, read_and_fit, damaged)


def test_splitwise_tables(data_dir: Path, tmp_path: Path) -> None:
    lines = (data_dir / "latency" / "splitwise_perf_model.csv").read_bytes().splitlines(keepends=True)
    file = tmp_path / "splitwise.csv"
    file.write_bytes(b"".join(lines[:40]))
    check(file, lambda path: read_coefficient_files([str(path)]), damaged)


def test_profiles_and_fits_as_json(bloom: Any, tmp_path: Path) -> None:
    file = tmp_path / "profile.json"
    file.write_text(json.dumps(export_document([bloom], [])["profiles"]))
    check(file, read_and_fit, damaged_json)
    exported = tmp_path / "exported.json"
    exported.write_text(json.dumps(export_document([bloom], [fit_profile(bloom)])))
    check(exported, lambda path: read_coefficient_files([str(path)]), damaged_json)


def test_stores(bloom: Any, tmp_path: Path) -> None:
    file = tmp_path / "efficiency.sqlite"
    Store(file).put_all([bloom], [fit_profile(bloom)])

    def read(path: Path) -> None:
        store = Store(path, create=False)
        store.profiles()
        store.fits()
        store.stored_at()

    check(file, read, damaged)

    def values(data: bytes, rng: random.Random) -> bytes:
        """A sound file whose values are damaged."""
        with closing(sqlite3.connect(":memory:")) as connection:
            connection.deserialize(data)
            for table in rng.choice((["profiles"], ["fits"], ["meta"])):
                for key, value in connection.execute(f"SELECT key, value FROM {table}").fetchall():
                    raw = value.encode() if isinstance(value, str) else value
                    connection.execute(f"UPDATE {table} SET value = ? WHERE key = ?", (damaged_json(raw, rng), key))
            connection.commit()
            return connection.serialize()

    file.unlink()
    Store(file).put_all([bloom], [fit_profile(bloom)])
    check(file, read, values)


_PRICES_YAML = """prices:
  - {accelerator: a100-80gb, usd_per_accelerator_hour: 1.10, date: 2026-06-30, source: an invoice}
"""
_PRICES = "accelerator,usd_per_accelerator_hour,date,source\na100-80gb,1.10,2026-06-30,an invoice\n"


@pytest.mark.parametrize(("name", "text"), [("p.csv", _PRICES), ("p.yaml", _PRICES_YAML)])
def test_price_files(tmp_path: Path, name: str, text: str) -> None:
    file = tmp_path / name
    file.write_text(text)
    check(file, load_accelerators, damaged)


def test_scored_tables(tmp_path: Path) -> None:
    folder = scored.write(tmp_path / "scored", [scored.request("a/b", "boolq", i, 1.0) for i in range(4)])
    for path in (folder / "runs.parquet", folder / "requests" / "part-0.parquet"):
        sound = path.read_bytes()
        check(path, tables.load, damaged, of=folder)
        path.write_bytes(sound)
