"""Inspect logs: the real ones, and those of other versions and more turns."""

import json
import zipfile
from pathlib import Path
from typing import Any

import pytest
import zstandard

from helm_efficiency.adapters.inspect import read_inspect_log
from helm_efficiency.adapters.record import RequestRecord
from helm_efficiency.errors import FileFormatError, InputError


def a_call(input_tokens: int = 10, output_tokens: int = 5, **changes: Any) -> dict[str, Any]:
    """A model event; `usage` adds to its usage."""
    usage = {"input_tokens": input_tokens, "output_tokens": output_tokens, **changes.pop("usage", {})}
    usage.setdefault("total_tokens", input_tokens + output_tokens)
    output = {"model": "m", "choices": [{}], "usage": usage, "time": 1.5, **changes.pop("output", {})}
    return {"event": "model", "model": "o/m", "timestamp": "2025-01-01T00:00:00+00:00", "output": output, **changes}


def a_log(events: list[dict[str, Any]], **sample: Any) -> dict[str, Any]:
    one = {"id": 7, "epoch": 1, "events": events, "scores": {"match": {"value": "C"}}, **sample}
    return {"version": 2, "status": "success", "eval": {"task": "t", "model": "o/m"}, "samples": [one]}


def write_json(folder: Path, log: dict[str, Any]) -> Path:
    file = folder / "log.json"
    file.write_text(json.dumps(log))
    return file


def write_eval(file: Path, log: dict[str, Any]) -> Path:
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("header.json", json.dumps({k: v for k, v in log.items() if k != "samples"}))
        for sample in log["samples"]:
            archive.writestr(f"samples/{sample['id']}_epoch_{sample['epoch']}.json", json.dumps(sample))
    return file


def records_of(folder: Path, log: dict[str, Any]) -> tuple[RequestRecord, ...]:
    return read_inspect_log(write_json(folder, log)).records


def test_every_real_log(data_dir: Path) -> None:
    rows = {}
    for file in sorted((data_dir / "other_harnesses" / "inspect").glob("*.json")):
        run = read_inspect_log(file)
        usage = json.loads(file.read_text())["stats"]["model_usage"]
        tokens = [(r.prompt_tokens, r.output_tokens) for r in run.records]
        rows[file.stem] = (run.scenario, run.score_name, len(run.records), run.warnings)
        if run.records:
            assert sum(p or 0 for p, _ in tokens) == usage[run.model]["input_tokens"]
            assert sum(o or 0 for _, o in tokens) == usage[run.model]["output_tokens"]
            assert all(r.observed_s and r.requested_at and r.output_provenance == "usage" for r in run.records)
    assert rows == {
        "data_arc_qwen": ("inspect_evals/arc_easy", "choice", 3, ()),
        "data_arc_sonnet": ("inspect_evals/arc_easy", "choice", 5, ()),
        "data_pubmedqa_gpt4o_mini": ("inspect_evals/pubmedqa", "choice", 2, ()),
        "data_with_llm_scoring": (
            "simpleqa_verified",
            None,
            0,
            ("the log has no samples, so there are no requests to read",),
        ),
    }


def test_a_call_is_this_record(tmp_path: Path) -> None:
    usage = {"input_tokens_cache_read": 4, "input_tokens_cache_write": 2, "reasoning_tokens": 3, "total_tokens": 21}
    [record] = records_of(tmp_path, a_log([a_call(10, 5, usage=usage)]))
    assert record == RequestRecord(
        harness="inspect",
        suite=tmp_path.name,
        run="log",
        scenario="t",
        model="o/m",
        deployment="o/m",
        instance_id="7",
        prompt_tokens=16,  # 10 + 4 + 2: Inspect's input tokens leave out cached ones
        output_tokens=5,
        reasoning_tokens=3,
        cache_read_tokens=4,
        cache_write_tokens=2,
        prompt_provenance="usage",
        output_provenance="usage",
        max_completion_tokens=5,
        observed_s=1.5,
        requested_at=1735689600.0,
        scores={"match": 1.0},
    )


def test_a_total_tells_where_cached_tokens_were_counted_among_the_input(tmp_path: Path) -> None:
    usage = {"input_tokens_cache_read": 4, "total_tokens": 15}
    [record] = records_of(tmp_path, a_log([a_call(10, 5, usage=usage)]))
    assert (record.prompt_tokens, record.cache_read_tokens) == (10, 4)


def test_usage_of_zeros_and_no_usage_are_missing(tmp_path: Path) -> None:
    records = records_of(tmp_path, a_log([a_call(0, 0), a_call(output={"usage": None})]))
    assert {(r.prompt_tokens, r.output_tokens, r.output_provenance) for r in records} == {(None, None, "missing")}


def test_turns_are_requests_and_what_scorers_ask_is_not(tmp_path: Path) -> None:
    events = [
        {"event": "span_begin", "id": "solve", "type": "solvers", "name": "solvers"},
        {"event": "tool", "id": "x", "error": {"type": "timeout"}, "output": 3},
        a_call(10, span_id="solve"),
        a_call(20, span_id="solve", model="other/m", cache="read"),
        a_call(30, span_id="solve", pending=True),
        a_call(40, span_id="solve", error="rate limit", output={"choices": []}),
        {"event": "span_begin", "id": "score", "type": "scorers"},
        {"event": "span_begin", "id": "inner", "parent_id": "score", "type": "scorer"},
        {"event": "span_begin", "id": "deep", "parent_id": "inner", "type": None},
        a_call(50, span_id="deep"),
        a_call(60, role="grader"),
    ]
    records = records_of(tmp_path, a_log(events))
    assert [(r.request_mode, r.prompt_tokens, r.deployment, r.cached, r.success) for r in records] == [
        ("turn-1", 10, "o/m", False, True),
        ("turn-2", 20, "other/m", True, True),
        ("turn-3", 40, "o/m", False, False),
    ]


def test_older_logs_have_steps_instead_of_spans(tmp_path: Path) -> None:
    step = {"event": "step", "type": "scorer", "name": "s"}
    events = [a_call(10), {**step, "action": "begin"}, a_call(20), {**step, "action": "end"}, a_call(30)]
    assert [r.prompt_tokens for r in records_of(tmp_path, a_log(events))] == [10, 30]


def test_samples_without_events_are_one_request(tmp_path: Path) -> None:
    output = a_call(10, 5)["output"] | {"choices": [{}, {}]}
    log = a_log([], output=output, epoch=3, scores={"a": {"value": {"x": 1, "y": "I"}}, "b": {"value": [1]}})
    [record] = records_of(tmp_path, log)
    assert (record.prompt_tokens, record.train_trial, record.num_completions) == (10, 2, 2)
    assert (record.max_completion_tokens, record.scores) == (None, {"a/x": 1.0, "a/y": 0.0})


def test_eval_files_give_the_same_records(tmp_path: Path, data_dir: Path) -> None:
    for file in (data_dir / "other_harnesses" / "inspect").glob("data_*_*.json"):
        log = json.loads(file.read_text())
        if "samples" in log:
            (tmp_path / "inspect").mkdir(exist_ok=True)
            same = write_eval(tmp_path / "inspect" / f"{file.stem}.eval", log)
            assert read_inspect_log(same).records == read_inspect_log(file).records


def test_eval_files_of_newer_versions_are_compressed_with_zstd(tmp_path: Path) -> None:
    log = a_log([a_call()])
    file = write_eval(tmp_path / "a.eval", log)
    expected = read_inspect_log(file).records
    newer = tmp_path / "b.eval"
    rewrite_with_zstd(file, newer)
    assert [r.prompt_tokens for r in read_inspect_log(newer).records] == [r.prompt_tokens for r in expected] == [10]
    damaged = newer.read_bytes().replace(zstandard.FRAME_HEADER, b"\0\0\0\0")
    newer.write_bytes(damaged)
    with pytest.raises(FileFormatError, match=r"b\.eval/header\.json"):
        read_inspect_log(newer)


def rewrite_with_zstd(source: Path, target: Path) -> None:
    """As Inspect does: the zip's method 93, and each member in several frames."""
    with zipfile.ZipFile(source) as old, zipfile.ZipFile(target, "w", zipfile.ZIP_STORED) as new:
        for name in old.namelist():
            content = old.read(name)
            half = len(content) // 2
            compress = zstandard.ZstdCompressor().compress
            new.writestr(name, compress(content[:half]) + compress(content[half:]))
            new.getinfo(name).compress_type = 93
            new.getinfo(name).file_size = len(content)


@pytest.mark.parametrize(
    ("name", "content", "reason"),
    [
        ("log.json", b'{"eval": {"task": "t"', "Input data was truncated"),
        ("log.json", b'{"eval": {"task": "t"}}', "missing required field `model`"),
        (
            "log.json",
            json.dumps(a_log([a_call(-1)])).encode(),
            r"sample 7: Expected `int` >= 0 - at `\$\.output\.usage",
        ),
        ("log.json", json.dumps(a_log([a_call(output={"time": float("nan")})])).encode(), r"Expected `float \| null`"),
        ("log.json", json.dumps(a_log([a_call(timestamp="soon")])).encode(), "Invalid RFC3339 encoded datetime"),
    ],
)
def test_bad_logs_are_named_with_the_reason(tmp_path: Path, name: str, content: bytes, reason: str) -> None:
    file = tmp_path / name
    file.write_bytes(content)
    with pytest.raises(FileFormatError, match=reason) as raised:
        read_inspect_log(file)
    assert str(file) in str(raised.value)


def test_a_zip_of_something_else_and_no_file(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "a.eval", "w") as archive:
        archive.writestr("x", "y")
    with pytest.raises(FileFormatError, match="expected an Inspect log"):
        read_inspect_log(tmp_path / "a.eval")
    with pytest.raises(InputError, match="No such file"):
        read_inspect_log(tmp_path / "b.json")


def test_an_interrupted_log_has_only_its_journal(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "a.eval", "w") as archive:
        archive.writestr("_journal/start.json", json.dumps({"eval": {"task": "t", "model": "o/m"}}))
        archive.writestr("samples/1_epoch_1.json", json.dumps(a_log([a_call()])["samples"][0]))
    assert len(read_inspect_log(tmp_path / "a.eval").records) == 1
    run = read_inspect_log(write_json(tmp_path, {**a_log([a_call()]), "status": "cancelled"}))
    assert run.warnings == ("the evaluation ended with status 'cancelled'",)
