"""Every Eval Ever: records survive the round trip; lines of others are read as the schema says."""

import hashlib
import json
from pathlib import Path
from typing import Any

import pytest
from msgspec.structs import replace

from helm_efficiency.adapters.every_eval_ever import read_every_eval_ever, write_every_eval_ever
from helm_efficiency.adapters.record import HarnessRun, RequestRecord
from helm_efficiency.adapters.sources import Source, iter_sources, read_source
from helm_efficiency.errors import FileFormatError, InputError

RECORD = RequestRecord(
    harness="helm",
    suite="v1",
    run="qa:model=o_m",
    scenario="qa",
    model="o/m",
    deployment="host/m",
    instance_id="id7",
    train_trial=1,
    perturbation="typos",
    split="test",
    prompt_tokens=100,
    output_tokens=20,
    reasoning_tokens=5,
    cache_read_tokens=64,
    prompt_provenance="usage",
    output_provenance="usage",
    num_completions=2,
    observed_s=1.234567890123457,
    requested_at=1700000000.0,
    scores={"exact_match": 1.0, "f1_score": 0.1},
    doubts=("media_not_counted",),
)
RUN = HarnessRun(
    source="r",
    suite="v1",
    name="qa:model=o_m",
    scenario="qa",
    model="o/m",
    deployment="host/m",
    score_name="exact_match",
    records=(
        RECORD,
        replace(RECORD, instance_id="id8", output_tokens=None, output_provenance="missing", success=False),
        replace(RECORD, instance_id="id9", scores={}),
    ),
)


def test_records_survive_the_round_trip(tmp_path: Path) -> None:
    written = write_every_eval_ever(RUN, tmp_path, organization="us", retrieved_at=1.5)
    back = read_every_eval_ever(written.instances)
    assert back.records == RUN.records[:2]
    assert (back.suite, back.name, back.scenario, back.model, back.deployment, back.score_name) == (
        "v1",
        "qa:model=o_m",
        "qa",
        "o/m",
        "host/m",
        "exact_match",
    )
    assert written.num_skipped == 1
    again = write_every_eval_ever(RUN, tmp_path, organization="us", retrieved_at=2.5)
    assert again == written


def test_what_is_written(tmp_path: Path) -> None:
    details = [{"idealized_s": "0.5", "stack": "a100-80gb"}, {}, {}]
    written = write_every_eval_ever(RUN, tmp_path, organization="us", retrieved_at=1.5, details=details)
    assert written.aggregate.parent == tmp_path / "qa" / "o" / "m"
    line, failed = [json.loads(line) for line in written.instances.read_text().splitlines()]
    assert json.loads(line.pop("metadata")["helm_efficiency_record"])["instance_id"] == "id7"
    assert line == {
        "schema_version": "instance_level_eval_0.2.2",
        "evaluation_id": "qa/o/m/1.5",
        "model_id": "o/m",
        "evaluation_name": "exact_match",
        "sample_id": "id7",
        "interaction_type": "single_turn",
        "input": {"raw": "", "reference": []},
        "output": {"raw": []},
        "answer_attribution": [],
        "evaluation": {"score": 1.0, "is_correct": True},
        "token_usage": {
            "input_tokens": 36,  # 100 - 64 read from the prompt cache
            "output_tokens": 20,
            "total_tokens": 120,
            "input_tokens_cache_write": None,
            "input_tokens_cache_read": 64,
            "reasoning_tokens": 5,
        },
        "performance": {"latency_ms": 1234.567890123457, "additional_details": details[0]},
        "error": None,
    }
    assert (failed["token_usage"], failed["error"]) == (None, "failed")
    aggregate = json.loads(written.aggregate.read_text())
    content = written.instances.read_bytes()
    assert aggregate == {
        "schema_version": "0.2.2",
        "evaluation_id": "qa/o/m/1.5",
        "retrieved_timestamp": "1.5",
        "source_metadata": {
            "source_name": "v1",
            "source_type": "evaluation_run",
            "source_organization_name": "us",
            "evaluator_relationship": "third_party",
        },
        "eval_library": {"name": "helm", "version": "unknown"},
        "model_info": {"name": "o/m", "id": "o/m", "additional_details": {"deployment": "host/m"}},
        "evaluation_results": [
            {
                "evaluation_name": "exact_match",
                "source_data": {"dataset_name": "qa", "source_type": "other"},
                "metric_config": {
                    "evaluation_description": "mean of exact_match over the requests of qa:model=o_m",
                    "lower_is_better": False,
                    "score_type": "continuous",
                    "min_score": 0.0,
                    "max_score": 1.0,
                },
                "score_details": {"score": 1.0},
            }
        ],
        "detailed_evaluation_results": {
            "format": "jsonl",
            "file_path": written.instances.name,
            "hash_algorithm": "sha256",
            "checksum": hashlib.sha256(content).hexdigest(),
            "total_rows": 2,
        },
    }


def test_names_cannot_leave_the_folder(tmp_path: Path) -> None:
    run = replace(RUN, scenario="../../x", model="../..")
    written = write_every_eval_ever(run, tmp_path / "data", organization="us", retrieved_at=1.5)
    assert (tmp_path / "data") in written.aggregate.resolve().parents


def test_a_run_without_scores_cannot_be_written(tmp_path: Path) -> None:
    for run in (replace(RUN, score_name=None), replace(RUN, records=RUN.records[2:])):
        with pytest.raises(InputError, match="no request has a main score"):
            write_every_eval_ever(run, tmp_path, organization="us", retrieved_at=1.5)


def a_line(sample: str = "s1", name: str = "accuracy", **changes: Any) -> str:
    line = {
        "schema_version": "instance_level_eval_0.2.0",
        "evaluation_id": "mmlu/o/m/1700000000",
        "model_id": "o/m",
        "evaluation_name": name,
        "sample_id": sample,
        "interaction_type": "single_turn",
        "input": {"raw": "What is 2+2?", "reference": "4"},
        "output": {"raw": "4"},
        "answer_attribution": [],
        "evaluation": {"score": 1.0, "is_correct": True},
        "token_usage": {"input_tokens": 10, "output_tokens": 2, "total_tokens": 12},
        "performance": {"latency_ms": 250.0},
    }
    return json.dumps(line | changes)


def test_lines_of_others(tmp_path: Path) -> None:
    file = tmp_path / "e.jsonl"
    file.write_text(
        "\n".join(
            [
                a_line("s1"),
                a_line("s1", "f1", evaluation={"score": 0.5, "is_correct": False}),  # another score of the same request
                a_line("s1"),  # the same again is another request
                a_line("s2", token_usage={"input_tokens": 10, "output_tokens": 0, "total_tokens": 10}),
                a_line("s3", token_usage=None, performance={"generation_time_ms": 100}, error="timeout", output=None),
            ]
        )
    )
    run = read_every_eval_ever(file)
    assert [(r.instance_id, r.prompt_tokens, r.output_tokens, r.observed_s, r.scores) for r in run.records] == [
        ("s1", 10, 2, 0.25, {"accuracy": 1.0, "f1": 0.5}),
        ("s1", 10, 2, 0.25, {"accuracy": 1.0}),
        ("s2", 10, None, 0.25, {"accuracy": 1.0}),  # 0 output tokens of a non-empty answer
        ("s3", None, None, 0.1, {"accuracy": 1.0}),
    ]
    assert [r.success for r in run.records] == [True, True, True, False]
    assert (run.scenario, run.model, run.name) == ("mmlu", "o/m", "e")


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        ('{"evaluation_id": 3}', "Expected `str`"),
        (a_line(token_usage={"input_tokens": -1}), "Expected `int` >= 0"),
        (a_line(metadata={"helm_efficiency_record": '{"harness": "helm"}'}), "missing required field"),
        (a_line()[:-9], "Input data was truncated"),
    ],
)
def test_bad_lines_are_named(tmp_path: Path, line: str, reason: str) -> None:
    file = tmp_path / "e.jsonl"
    file.write_text(a_line() + "\n" + line + "\n")
    with pytest.raises(FileFormatError, match=reason) as raised:
        read_every_eval_ever(file)
    assert str(file) in str(raised.value)


def test_an_empty_file_and_none(tmp_path: Path) -> None:
    (tmp_path / "e.jsonl").write_text("\n")
    run = read_every_eval_ever(tmp_path / "e.jsonl")
    assert (run.records, run.warnings) == ((), ("the file has no lines, so there are no requests to read",))
    with pytest.raises(InputError, match="No such file"):
        read_every_eval_ever(tmp_path / "f.jsonl")


def test_one_door_to_all_harnesses(data_dir: Path, tmp_path: Path) -> None:
    (tmp_path / "real").symlink_to(data_dir)
    write_every_eval_ever(RUN, tmp_path / "eee", organization="us", retrieved_at=1.5)
    for name in ("x.txt", "other.json", "other.jsonl"):
        (tmp_path / name).write_text("{}")
    sources = list(iter_sources([str(tmp_path)]))
    counts: dict[str, tuple[int, int]] = {}
    for source in sources:
        runs = read_source(source)
        files, records = counts.get(source.harness, (0, 0))
        counts[source.harness] = (files + 1, records + sum(len(run.records) for run in runs))
    assert counts == {
        "helm": (18, 325),
        "inspect": (4, 10),
        "lm-eval": (1, 10),
        "every-eval-ever": (1, 2),
        "llmperf": (19, 2845),
    }
    [alone] = iter_sources([sources[0].url])
    assert alone == sources[0]
    with pytest.raises(InputError, match="is no log of Inspect, LLMPerf or an installed adapter"):
        list(iter_sources([str(tmp_path / "x.txt")]))
    (tmp_path / "l.eval").write_bytes(b"")
    assert list(iter_sources([str(tmp_path / "l.eval")])) == [Source("inspect", str(tmp_path / "l.eval"))]
