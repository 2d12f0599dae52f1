"""Read Inspect logs, `.eval` and `.json`: one record for each model call that a solver made.

The JSON is read directly, of all versions since events are logged, so that inspect_ai need not be installed; an `.eval`
file is a zip of one JSON file per sample (compressed with zstd by newer versions) and is read sample by sample.

Counts are converted: Inspect's `input_tokens` leave out tokens read from and written to a prompt cache; a record's
`prompt_tokens` include them. `observed_s` is the `time` of the model's output, which is that of the call that
succeeded; waits for rate limits and retries (Inspect's `total_time` less `working_time`) are not in it. Calls that
scorers make are not requests of the evaluation and are left out.
"""

import math
import zipfile
import zlib
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from typing import Any

import msgspec
import zstandard
from msgspec import Raw, Struct
from msgspec.structs import asdict

from helm_efficiency.adapters.json_stream import Count, Seconds, decode
from helm_efficiency.adapters.record import HarnessRun, RequestRecord
from helm_efficiency.adapters.token_counts import Usage, UsageAside, facts_of
from helm_efficiency.errors import FileFormatError, InputError
from helm_efficiency.files import MOST_LOG_BYTES, read_bytes

_ZIP_ZSTANDARD = 93

_DAMAGED = (
    zipfile.BadZipFile,
    zlib.error,
    zstandard.ZstdError,
    EOFError,
    NotImplementedError,
    RuntimeError,
    ValueError,
)
"""Errors that unpacking a damaged archive raises; RuntimeError if it is encrypted."""


class _Output(Struct):
    choices: list[Raw] | None = None
    usage: UsageAside | None = None
    time: Seconds | None = None
    error: str | None = None


class _Kind(Struct):
    event: str


class _Span(Struct):
    """Begin of a span; older logs have steps instead, which are nested by their order."""

    id: str | None = None
    parent_id: str | None = None
    type: str | None = None
    action: str | None = None


class _ModelCall(Struct):
    model: str
    output: _Output
    span_id: str | None = None
    timestamp: datetime | None = None
    role: str | None = None
    error: str | None = None
    cache: str | None = None
    pending: bool | None = None


class _Score(Struct):
    value: Any = None


class _Sample(Struct):
    id: str | int
    epoch: Count = 1
    output: _Output | None = None
    scores: dict[str, _Score] | None = None
    events: list[Raw] | None = None
    started_at: datetime | None = None


class _EvalSpec(Struct):
    task: str
    model: str
    created: str = ""


class _NamedScore(Struct):
    name: str


class _Results(Struct):
    scores: list[_NamedScore] = []


class _Log(Struct):
    eval: _EvalSpec
    status: str = ""
    results: _Results | None = None
    samples: list[_Sample] | None = None


_LOG = msgspec.json.Decoder(_Log)
_SAMPLE = msgspec.json.Decoder(_Sample)
_KIND = msgspec.json.Decoder(_Kind)
_SPAN = msgspec.json.Decoder(_Span)
_MODEL_CALL = msgspec.json.Decoder(_ModelCall)


def read_inspect_log(file: Path | str) -> HarnessRun:
    """Read one log.

    Raises:
        FileFormatError: The file is not an Inspect log, or is damaged; the message names the file and position.
        InputError: The file cannot be read.
    """
    path = Path(file)
    try:
        log, samples = _from_zip(path) if zipfile.is_zipfile(path) else _from_json(path)
        records = tuple(record for sample in samples for record in _records(sample, log.eval, path))
    except OSError as error:
        raise InputError(f"{path}: {error.strerror or error}.") from error
    scored = [score.name for score in log.results.scores] if log.results is not None else []
    available = dict.fromkeys(name for record in records for name in record.scores)
    return HarnessRun(
        source=str(path),
        suite=path.absolute().parent.name,
        name=path.stem,
        scenario=log.eval.task,
        model=log.eval.model,
        deployment=log.eval.model,
        score_name=next((name for name in (*scored, *available) if name in available), None),
        records=records,
        warnings=tuple(_warnings(log, records)),
    )


def _from_json(path: Path) -> tuple[_Log, list[_Sample]]:
    log = decode(read_bytes(path, most_bytes=MOST_LOG_BYTES), _LOG, file=str(path))
    return log, log.samples or []


def _from_zip(path: Path) -> tuple[_Log, Iterator[_Sample]]:
    """Return the log's header, and an iterator that reads its samples one at a time."""
    try:
        archive = zipfile.ZipFile(path)
    except _DAMAGED as error:
        raise FileFormatError(f"{path}: {error}.") from error
    names = archive.namelist()
    header = "header.json" if "header.json" in names else "_journal/start.json"  # an interrupted log has no header
    if header not in names:
        raise FileFormatError(f"{path}: neither header.json nor _journal/start.json in it; expected an Inspect log.")

    def samples() -> Iterator[_Sample]:
        for name in names:
            if name.startswith("samples/") and name.endswith(".json"):
                yield decode(_member(archive, name, path), _SAMPLE, file=f"{path}/{name}")

    return decode(_member(archive, header, path), _LOG, file=f"{path}/{header}"), samples()


def _member(archive: zipfile.ZipFile, name: str, path: Path) -> bytes:
    try:
        info = archive.getinfo(name)
        if info.file_size > MOST_LOG_BYTES:
            raise FileFormatError(
                f"{path}/{name}: {info.file_size:,} bytes when unpacked; expected at most {MOST_LOG_BYTES:,}."
            )
        if info.compress_type != _ZIP_ZSTANDARD:
            return archive.read(name)
        with path.open("rb") as file:
            file.seek(info.header_offset + 26)  # lengths of the member's name and extra field, then these, then data
            lengths = file.read(4)
            file.seek(int.from_bytes(lengths[:2], "little") + int.from_bytes(lengths[2:], "little"), 1)
            data = file.read(info.compress_size)
        with zstandard.ZstdDecompressor().stream_reader(data, read_across_frames=True) as reader:
            return reader.read(info.file_size)
    except _DAMAGED as error:
        raise FileFormatError(f"{path}/{name}: {error}.") from error


def _records(sample: _Sample, spec: _EvalSpec, path: Path) -> Iterator[RequestRecord]:
    events = _solver_calls(sample.events or [], f"{path}, sample {sample.id!r}")
    calls = [call for call in events if not call.pending]
    if not calls and sample.output is not None:  # events were not logged, or were trimmed
        calls = [_ModelCall(model=spec.model, output=sample.output, timestamp=sample.started_at)]
    scores = _scores(sample.scores or {})
    for turn, call in enumerate(calls):
        output = call.output
        usage = output.usage.to_usage() if output.usage is not None else Usage()
        num_completions = max(1, len(output.choices or ()))
        yield RequestRecord(
            harness="inspect",
            suite=path.absolute().parent.name,
            run=path.stem,
            scenario=spec.task,
            model=call.model,
            deployment=call.model,
            instance_id=str(sample.id),
            train_trial=max(0, sample.epoch - 1),
            request_mode=f"turn-{turn + 1}" if len(calls) > 1 else "",
            num_completions=num_completions,
            observed_s=output.time,
            requested_at=None if call.timestamp is None else call.timestamp.timestamp(),
            cached=call.cache == "read",
            success=call.error is None and output.error is None and bool(output.choices),
            scores=scores,
            **asdict(facts_of(usage, "usage", num_completions=num_completions)),
        )


def _solver_calls(events: list[Raw], where: str) -> Iterator[_ModelCall]:
    """Yield the model calls outside of scorers, in order."""
    scoring: set[str | None] = set()
    scoring_steps = 0
    for raw in events:
        kind = decode(raw, _KIND, file=where).event
        if kind == "span_begin":
            span = decode(raw, _SPAN, file=where)
            if span.type in ("scorer", "scorers") or span.parent_id in scoring:
                scoring.add(span.id)
        elif kind == "step":
            step = decode(raw, _SPAN, file=where)
            if step.type == "scorer":
                scoring_steps += 1 if step.action == "begin" else -1
        elif kind == "model":
            call = decode(raw, _MODEL_CALL, file=where)
            if call.role != "grader" and scoring_steps <= 0 and (call.span_id is None or call.span_id not in scoring):
                yield call


_LETTERS = {"C": 1.0, "P": 0.5, "I": 0.0, "N": 0.0}
"""Values of Inspect's letters: correct, partial, incorrect and no answer."""


def _scores(scores: dict[str, _Score]) -> dict[str, float]:
    """Return the scores that are numbers, or letters that Inspect itself reads as numbers."""
    found: dict[str, float] = {}
    for name, score in scores.items():
        values = score.value if isinstance(score.value, dict) else {"": score.value}
        for key, value in values.items():
            number = _LETTERS.get(value) if isinstance(value, str) else value
            if isinstance(number, int | float) and math.isfinite(number):
                found[f"{name}/{key}" if key else name] = float(number)
    return found


def _warnings(log: _Log, records: tuple[RequestRecord, ...]) -> Iterator[str]:
    if not records:
        yield "the log has no samples, so there are no requests to read"
    if log.status not in ("", "success"):
        yield f"the evaluation ended with status {log.status!r}"
