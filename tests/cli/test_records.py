"""`helm-efficiency records`, run as a user runs it."""

import csv
import io
import json
import os
import re
import shutil
import sqlite3
from pathlib import Path
from typing import Any

import pytest
from helm.common.key_value_store import SqliteKeyValueStore
from helpers.archives import A100, coefficients_of
from helpers.odd_places import copy_to_change
from helpers.written_runs import write_answers
from tokenizers import Tokenizer, models, pre_tokenizers
from typer.testing import CliRunner

from helm_efficiency.cli import app
from helm_efficiency.core.fitting.fit import Fit
from helm_efficiency.errors import InputError
from helm_efficiency.store import Store


def records(*arguments: object, code: int = 0) -> Any:
    result = CliRunner().invoke(app, ["records", *map(str, arguments)], env={"COLUMNS": "200"})
    assert result.exit_code == code, result.stderr
    return result


@pytest.fixture
def archive(data_dir: Path, tmp_path: Path) -> Path:
    """One run of each harness that the real data have."""
    small = data_dir / "helm_runs" / "small" / "runs" / "v1" / "narrative_qa-model=openai_gpt2"
    copy_to_change(small, tmp_path / "archive" / "v1" / "narrative_qa")
    inspect = data_dir / "other_harnesses" / "inspect" / "data_arc_sonnet.json"
    copy_to_change(inspect, tmp_path / "archive" / "arc.json")
    return tmp_path / "archive"


def test_a_table_has_a_row_a_run(archive: Path) -> None:
    result = records(archive)
    assert sorted(line.split() for line in result.stdout.splitlines()[-2:]) == [
        ["arc", "5", "529", "851", "23.8", "0", "0", "usage"],
        ["narrative_qa:model=openai_gpt2", "5", "3,536", "209", "6.44", "0", "0", "harness"],
    ]
    assert result.stderr == ""


def test_json_and_csv_have_a_row_a_request(archive: Path) -> None:
    rows = json.loads(records(archive, "--format", "json").stdout)
    assert len(rows) == 10
    assert {row["harness"] for row in rows} == {"helm", "inspect"}
    helm = next(row for row in rows if row["instance_id"] == "id1413")
    assert (helm["prompt_tokens"], helm["output_tokens"], helm["reasoning_tokens"]) == (790, 2, None)
    flat = list(csv.DictReader(io.StringIO(records(archive, "--format", "csv").stdout)))
    assert [json.loads(row["scores"]) for row in flat] == [row["scores"] for row in rows]


def test_bad_runs_are_reported_and_the_others_read(archive: Path) -> None:
    cut = archive / "v1" / "cut"
    shutil.copytree(archive / "v1" / "narrative_qa", cut)
    state = cut / "scenario_state.json"
    state.write_bytes(state.read_bytes()[:1000])
    (archive / "loop").symlink_to(archive)
    (archive / "..eval").write_bytes(b"")
    result = records(archive, "--format", "json", code=1)
    assert len(json.loads(result.stdout)) == 10
    assert result.stderr.splitlines() == [
        "..eval: Input data was truncated.",
        f"{state.relative_to(archive)}: Input data was truncated.",
        "2 runs read, 2 problems.",
    ]


def test_nothing_to_read_is_a_failure(tmp_path: Path) -> None:
    assert records(tmp_path, code=1).stderr == "0 runs read, 0 problems.\n"
    result = CliRunner().invoke(app, ["records", str(tmp_path / "nowhere")])
    assert isinstance(result.exception, InputError)


class Hostile:
    def __reduce__(self) -> tuple[Any, ...]:
        return os.system, ("exit 1",)


def test_usage_from_caches(archive: Path, tmp_path: Path) -> None:
    state = json.loads((archive / "v1" / "narrative_qa" / "scenario_state.json").read_text())["request_states"][0]
    times = {name: state["result"][name] for name in ("request_time", "request_datetime")}
    usage = {"usage": {"prompt_tokens": 801, "completion_tokens": 7}}
    cache = tmp_path / "cache"
    cache.mkdir()
    with SqliteKeyValueStore(str(cache / "huggingface.sqlite")) as store:
        store.put({"prompt": "a"}, usage | times)
        store.put({"prompt": "b"}, {"request_time": 1.0, "x": Hostile()})
    for place in (cache, cache / "huggingface.sqlite"):
        result = records(archive / "v1", "--cache", place, "--format", "json", code=1)
        first = json.loads(result.stdout)[0]
        assert (first["prompt_tokens"], first["output_tokens"], first["output_provenance"]) == (801, 7, "usage")
        assert "row 2: skipped, it names posix.system, which is not run" in result.stderr


def test_tokenizers(data_dir: Path, tmp_path: Path) -> None:
    lm_eval = data_dir / "other_harnesses" / "lm_eval"
    model = "RylanSchaeffer/mem_Qwen3-93M_minerva_math_rep_0_sbst_1.0000_epch_1_ot_1"
    words = Tokenizer(models.WordLevel({"?": 0}, unk_token="?"))
    words.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    words.save(str(tmp_path / "tokenizer.json"))
    counted = json.loads(records(lm_eval, "--tokenizer", f"{model}={tmp_path}", "--format", "json").stdout)
    assert {row["prompt_provenance"] for row in counted} == {"tokenizer"}
    uncounted = json.loads(records(lm_eval, "--count-tokens", "--format", "json").stdout)
    assert {row["prompt_provenance"] for row in uncounted} == {"missing"}
    table = records(lm_eval).stdout
    assert "Tokens" not in table
    assert re.search(r" 10 +10 +0  missing\n", table)
    result = CliRunner().invoke(app, ["records", str(lm_eval), "--tokenizer", "x"])
    assert "expected NAME=PLACE" in str(result.exception)


def test_every_eval_ever(archive: Path, tmp_path: Path) -> None:
    target = tmp_path / "eee"
    records(archive, "--every-eval-ever", target, "--organization", "us")
    back = json.loads(records(target, "--format", "json").stdout)
    rows = json.loads(records(archive, "--format", "json").stdout)
    assert sorted(back, key=str) == sorted(rows, key=str)
    (archive / "v1" / "narrative_qa" / "per_instance_stats.json").unlink()
    assert "no request has a main score" in records(archive, "--every-eval-ever", target, code=1).stderr


def test_a_cache_or_tokenizer_that_helps_nothing_is_told(tmp_path: Path) -> None:
    write_answers(tmp_path / "runs" / "v1" / "qa", "openai/gpt-4o-2024-11-20", ["", ""])
    (tmp_path / "cache").mkdir()
    sqlite3.connect(tmp_path / "cache" / "accounts.sqlite").close()
    runs, cache = str(tmp_path / "runs"), str(tmp_path / "cache")
    told = CliRunner().invoke(app, ["records", runs, "--cache", cache, "--count-tokens"])
    assert f"--cache {cache}: none of the requests is in it." in " ".join(told.stderr.split())
    assert "no tokenizer of these models is on this machine" in " ".join(told.stderr.split())
    store = tmp_path / "s.sqlite"
    Store(store).put_fit(Fit("openai/gpt-4o-2024-11-20", A100, coefficients_of()))
    command = ["rescore", runs, "--store", str(store), "--output", str(tmp_path / "out"), "--cache", cache]
    assert f"--cache {cache}: none of the requests is in it." in " ".join(
        CliRunner().invoke(app, command).stderr.split()
    )
