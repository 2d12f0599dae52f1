"""Every Eval Ever (schema 0.2.2): read instance-level records, and write any harness's records as such.

An evaluation is two files in one folder: aggregate results (`.json`) and one line per sample (`.jsonl`). The schema has
token usage and latency; what else a record knows (trial, perturbation, provenance, all scores …) is written into the
line's `metadata`, as text, and read back from there, so that records survive the round trip. Texts of prompts and
answers are not in records and are left empty.

Lines of other writers: several lines of one sample under different evaluation names are one request with several
scores. Token counts are the harness's (the format does not say who counted); 0 output tokens with a non-empty answer
are missing.
"""

import hashlib
import re
import uuid
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

import msgspec
from msgspec import Struct
from msgspec.structs import asdict, replace

from helm_efficiency.adapters.json_stream import Seconds, decode
from helm_efficiency.adapters.record import HarnessRun, RequestRecord
from helm_efficiency.adapters.token_counts import UsageAside, facts_of
from helm_efficiency.errors import InputError
from helm_efficiency.files import MOST_LOG_BYTES, read_bytes, write_files

SCHEMA_VERSION = "0.2.2"
INSTANCE_SCHEMA_VERSION = "instance_level_eval_0.2.2"
_RECORD_KEY = "helm_efficiency_record"


class _Input(Struct):
    raw: str = ""
    reference: Any = []


class _Output(Struct):
    raw: list[str] | str | None = None


class _Evaluation(Struct):
    score: float
    is_correct: bool = False


class _Performance(Struct, omit_defaults=True):
    latency_ms: Seconds | None = None
    generation_time_ms: Seconds | None = None
    additional_details: dict[str, str] | None = None


class _Line(Struct, kw_only=True):
    """A line of the instance-level file."""

    schema_version: str = INSTANCE_SCHEMA_VERSION
    evaluation_id: str
    model_id: str
    evaluation_name: str
    sample_id: str | int
    interaction_type: Literal["single_turn", "multi_turn", "agentic"] = "single_turn"
    input: _Input = msgspec.field(default_factory=_Input)
    output: _Output | None = None
    answer_attribution: list[Any] = []
    evaluation: _Evaluation
    token_usage: UsageAside | None = None
    performance: _Performance | None = None
    error: str | None = None
    metadata: dict[str, Any] | None = None


_LINE = msgspec.json.Decoder(_Line)
_RECORD = msgspec.json.Decoder(RequestRecord)


def read_every_eval_ever(file: Path | str) -> HarnessRun:
    """Read an instance-level file.

    Raises:
        FileFormatError: A line is damaged or has another format; the message names the file, the line and the position.
        InputError: The file cannot be read.
    """
    path = Path(file)
    try:
        lines = read_bytes(path, most_bytes=MOST_LOG_BYTES).splitlines()
    except OSError as error:
        raise InputError(f"{path}: {error.strerror or error}.") from error
    decoded = [
        decode(line, _LINE, file=f"{path}, line {number}") for number, line in enumerate(lines, start=1) if line.strip()
    ]
    records = tuple(_requests(decoded, path))
    first = decoded[0] if decoded else None
    model = first.model_id if first is not None else ""
    return HarnessRun(
        source=str(path),
        suite=records[0].suite if records else path.absolute().parent.name,
        name=records[0].run if records else path.stem,
        scenario=records[0].scenario if records else path.stem,
        model=records[0].model if records else model,
        deployment=records[0].deployment if records else model,
        score_name=first.evaluation_name if first is not None else None,
        records=records,
        warnings=() if records else ("the file has no lines, so there are no requests to read",),
    )


def _requests(lines: Sequence[_Line], path: Path) -> Iterator[RequestRecord]:
    """Yield one record per request; lines of one sample under different names are merged."""
    requests: dict[str, list[tuple[_Line, dict[str, float]]]] = {}
    ordered: list[tuple[_Line, dict[str, float]]] = []
    for line in lines:
        of_sample = requests.setdefault(str(line.sample_id), [])
        scores = next((scores for _, scores in of_sample if line.evaluation_name not in scores), None)
        if scores is None:
            scores = {}
            of_sample.append((line, scores))
            ordered.append(of_sample[-1])
        scores[line.evaluation_name] = line.evaluation.score
    for line, scores in ordered:
        yield _record(line, scores, path)


def _record(line: _Line, scores: dict[str, float], path: Path) -> RequestRecord:
    written_by_us = (line.metadata or {}).get(_RECORD_KEY)
    if isinstance(written_by_us, str):
        return decode(written_by_us.encode(), _RECORD, file=str(path))
    usage = (line.token_usage or UsageAside()).to_usage()
    answers = line.output.raw if line.output is not None else None
    answered = any([answers] if isinstance(answers, str) else answers or ())
    if answered and usage.output_tokens == 0:
        usage = replace(usage, output_tokens=None)
    times = line.performance or _Performance()
    milliseconds = times.latency_ms if times.latency_ms is not None else times.generation_time_ms
    return RequestRecord(
        harness="every-eval-ever",
        suite=path.absolute().parent.name,
        run=path.stem,
        scenario=line.evaluation_id.split("/", 1)[0],
        model=line.model_id,
        deployment=line.model_id,
        instance_id=str(line.sample_id),
        observed_s=None if milliseconds is None else milliseconds / 1000,
        success=line.error is None,
        scores=scores,
        **asdict(facts_of(usage, "harness")),
    )


class WrittenEvaluation(Struct, frozen=True):
    """Files that an evaluation was written to.

    Attributes:
        aggregate: Path of the aggregate results.
        instances: Path of the lines.
        num_skipped: Number of requests left out because they lack the main score, which the schema requires.
    """

    aggregate: Path
    instances: Path
    num_skipped: int


_LIBRARIES = {"helm": "helm", "inspect": "inspect_ai", "lm-eval": "lm_eval", "every-eval-ever": "unknown"}


def write_every_eval_ever(
    run: HarnessRun,
    folder: Path | str,
    *,
    organization: str,
    retrieved_at: float,
    details: Sequence[Mapping[str, str]] | None = None,
) -> WrittenEvaluation:
    """Write a run's records as an evaluation: aggregate results and lines.

    Writing the same run again overwrites the same files.

    Args:
        run: Run to write.
        folder: Root of the data; files go to `<scenario>/<developer>/<model>/<id>.json` and `.jsonl` below it.
        organization: Name of the organization that provides the data.
        retrieved_at: Seconds since 1970 UTC, for `retrieved_timestamp`.
        details: Further performance facts for each record, such as its idealized runtime.

    Raises:
        InputError: No record of the run has the run's main score.
        OutputError: The files cannot be written; earlier files are left unchanged.
    """
    name = run.score_name
    if name is None or not any(name in record.scores for record in run.records):
        raise InputError(f"{run.source}: no request has a main score, which an evaluation of Every Eval Ever needs.")
    developer, _, model = run.model.rpartition("/")
    identity = uuid.uuid5(uuid.NAMESPACE_URL, "\n".join((run.suite, run.name, run.deployment)))
    target = Path(folder) / _as_file_name(run.scenario) / _as_file_name(developer or "unknown") / _as_file_name(model)
    evaluation_id = f"{_as_file_name(run.scenario)}/{run.model}/{retrieved_at}"
    scored = [(i, record) for i, record in enumerate(run.records) if name in record.scores]
    lines = [_line(record, name, evaluation_id, details[i] if details is not None else {}) for i, record in scored]
    content = b"".join(msgspec.json.encode(line) + b"\n" for line in lines)
    written = WrittenEvaluation(
        target / f"{identity}.json", target / f"{identity}.jsonl", num_skipped=len(run.records) - len(lines)
    )
    aggregate = _aggregate(run, name, evaluation_id, organization=organization, retrieved_at=retrieved_at)
    aggregate["detailed_evaluation_results"] = {
        "format": "jsonl",
        "file_path": written.instances.name,
        "hash_algorithm": "sha256",
        "checksum": hashlib.sha256(content).hexdigest(),
        "total_rows": len(lines),
    }
    whole = msgspec.json.format(msgspec.json.encode(aggregate), indent=2)
    write_files({written.instances: content, written.aggregate: whole})
    return written


def _as_file_name(text: str) -> str:
    """Replace the parts of a text that separate folders or lead to the parent folder.

    >>> _as_file_name("mmlu:subject=a/b"), _as_file_name("..")
    ('mmlu:subject=a_b', '_')
    """
    return re.sub(r"[/\\\x00]|^\.+$", "_", text) or "_"


def _line(record: RequestRecord, score_name: str, evaluation_id: str, details: Mapping[str, str]) -> _Line:
    score = record.scores[score_name]
    usage = None
    if record.prompt_tokens is not None and record.output_tokens is not None:
        cached = (record.cache_read_tokens or 0) + (record.cache_write_tokens or 0)
        usage = UsageAside(
            input_tokens=record.prompt_tokens - cached,
            output_tokens=record.output_tokens,
            total_tokens=record.prompt_tokens + record.output_tokens,
            input_tokens_cache_write=record.cache_write_tokens,
            input_tokens_cache_read=record.cache_read_tokens,
            reasoning_tokens=record.reasoning_tokens,
        )
    return _Line(
        evaluation_id=evaluation_id,
        model_id=record.model,
        evaluation_name=score_name,
        sample_id=record.instance_id,
        output=_Output(raw=[]),
        evaluation=_Evaluation(score=score, is_correct=score == 1),
        token_usage=usage,
        performance=_Performance(
            latency_ms=None if record.observed_s is None else record.observed_s * 1000,
            additional_details=dict(details) or None,
        ),
        error=None if record.success else "failed",
        metadata={_RECORD_KEY: msgspec.json.encode(record).decode()},
    )


def _aggregate(
    run: HarnessRun, score_name: str, evaluation_id: str, *, organization: str, retrieved_at: float
) -> dict[str, Any]:
    scores = [record.scores[score_name] for record in run.records if score_name in record.scores]
    return {
        "schema_version": SCHEMA_VERSION,
        "evaluation_id": evaluation_id,
        "retrieved_timestamp": str(retrieved_at),
        "source_metadata": {
            "source_name": run.suite or run.name,
            "source_type": "evaluation_run",
            "source_organization_name": organization,
            "evaluator_relationship": "third_party",
        },
        "eval_library": {"name": _LIBRARIES.get(run.records[0].harness, "unknown"), "version": "unknown"},
        "model_info": {"name": run.model, "id": run.model, "additional_details": {"deployment": run.deployment}},
        "evaluation_results": [
            {
                "evaluation_name": score_name,
                "source_data": {"dataset_name": run.scenario, "source_type": "other"},
                "metric_config": {
                    "evaluation_description": f"mean of {score_name} over the requests of {run.name}",
                    "lower_is_better": False,
                    "score_type": "continuous",
                    "min_score": min(0.0, *scores),
                    "max_score": max(1.0, *scores),
                },
                "score_details": {"score": sum(scores) / len(scores)},
            }
        ],
    }
