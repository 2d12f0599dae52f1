"""Read lm-evaluation-harness results with logged samples: one run per task, one record per request.

The harness records neither tokens nor times: tokens are counted with the model's tokenizer if it is on this machine,
and are missing otherwise; `observed_s` is always missing. A log-likelihood request reads its context and continuation
and generates nothing; the counts of an unknown type of request are missing. A sample that was scored under several
filters is one request with all of its scores.
"""

from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import msgspec
from msgspec import Struct
from msgspec.structs import asdict

from helm_efficiency.adapters.json_stream import decode
from helm_efficiency.adapters.record import HarnessRun, RequestRecord, RunIdentity
from helm_efficiency.adapters.tokenizers import LocalTokenizers
from helm_efficiency.errors import InputError
from helm_efficiency.files import MOST_LOG_BYTES, read_bytes


class _TaskConfig(Struct):
    output_type: str = "generate_until"


class _Config(Struct):
    model: str | None = None
    model_args: str | dict[str, Any] | None = None


class _Results(Struct):
    results: dict[str, dict[str, Any]]
    configs: dict[str, _TaskConfig] = {}
    config: _Config = msgspec.field(default_factory=_Config)
    model_name: str | None = None


class _Sample(Struct):
    doc_id: int | str
    arguments: dict[str, dict[str, Any]] | list[list[Any]] = {}
    resps: list[list[Any]] = []
    filter: str = "none"


_RESULTS = msgspec.json.Decoder(_Results)
_SAMPLE = msgspec.json.Decoder(_Sample)
_ANY = msgspec.json.Decoder(dict[str, Any])

_GENERATES = {
    **dict.fromkeys(("generate_until", "greedy_until"), True),  # the second is the older name
    **dict.fromkeys(("loglikelihood", "loglikelihood_rolling", "multiple_choice"), False),
}
"""Type of request to whether it generates tokens, with the type names of all versions of lm-evaluation-harness."""

_NOT_SCORES = frozenset({"doc_id", "doc", "target", "arguments", "resps", "filtered_resps", "filter", "metrics"})


def read_lm_eval(file: Path | str, *, tokenizers: LocalTokenizers | None = None) -> tuple[HarnessRun, ...]:
    """Read a `results_*.json` and the `samples_<task>_*.jsonl` in the same folder.

    Args:
        file: Path of the results file.
        tokenizers: Tokenizers to count tokens with; without them all counts are missing.

    Returns:
        One run for each task; a run without samples has no records, and a warning that says so.

    Raises:
        FileFormatError: A file is damaged or has another format; the message names the file, the line and the position.
        InputError: A file cannot be read.
    """
    path = Path(file)
    results = decode(_bytes(path), _RESULTS, file=str(path))
    return tuple(_run(task, results, path, tokenizers) for task in results.results if task in results.configs)


def _bytes(path: Path) -> bytes:
    try:
        return read_bytes(path, most_bytes=MOST_LOG_BYTES)
    except OSError as error:
        raise InputError(f"{path}: {error.strerror or error}.") from error


def _run(task: str, results: _Results, path: Path, tokenizers: LocalTokenizers | None) -> HarnessRun:
    date = path.stem.removeprefix("results")
    samples = path.with_name(f"samples_{task}{date}.jsonl")
    model = _model_name(results)
    suite = path.absolute().parent.name
    identity = RunIdentity(suite=suite, run=f"{task}{date}", scenario=task, model=model, deployment=model)
    records: tuple[RequestRecord, ...] = ()
    warnings = ["lm-evaluation-harness records no times and no tokens"]
    if samples.is_file():
        count = partial(tokenizers.count, deployment=model, model=model) if tokenizers is not None else _no_count
        kind = results.configs[task].output_type
        generates = _GENERATES.get(kind)
        if generates is None:
            warnings.append(f"output type {kind!r} is not known: whether tokens were generated is not, either")
        records = tuple(
            record
            for sample, scores in _samples(samples)
            for record in _records(sample, scores, identity, generates=generates, count=count)
        )
    else:
        warnings.append(f"no {samples.name} beside the results; evaluate with --log_samples to have requests")
    return HarnessRun(
        source=str(path),
        suite=suite,
        name=identity.run,
        scenario=task,
        model=model,
        deployment=model,
        score_name=next((name for record in records for name in record.scores), None),
        records=records,
        warnings=tuple(warnings),
    )


def _model_name(results: _Results) -> str:
    """Return the name of the evaluated model: the `pretrained` or `model` argument of the harness's model type."""
    args = results.config.model_args
    if isinstance(args, str):
        args = dict(pair.split("=", 1) for pair in args.split(",") if "=" in pair)
    named = (args or {}).get("pretrained") or (args or {}).get("model")
    return str(named or results.model_name or results.config.model or "unknown")


def _no_count(text: str) -> None:
    """Return None; the counting function to use if no tokenizer is available."""


def _samples(file: Path) -> list[tuple[_Sample, dict[str, float]]]:
    """Read the samples with their scores under all filters."""
    by_document: dict[str, tuple[_Sample, dict[str, float]]] = {}
    for number, line in enumerate(_bytes(file).splitlines(), start=1):
        if line.strip():
            name = f"{file}, line {number}"
            sample = decode(line, _SAMPLE, file=name)
            _, scores = by_document.setdefault(str(sample.doc_id), (sample, {}))
            scores.update(_scores(decode(line, _ANY, file=name), sample.filter))
    return list(by_document.values())


def _records(
    sample: _Sample,
    scores: dict[str, float],
    identity: RunIdentity,
    *,
    generates: bool | None,
    count: Callable[[str], int | None],
) -> Iterator[RequestRecord]:
    requests = _requests(sample)
    for index, (context, continuation) in enumerate(requests):
        responses = sample.resps[index] if generates and index < len(sample.resps) else []
        is_known = context is not None and generates is not None
        prompt = count(f"{context}{'' if generates else continuation}") if is_known else None
        counts = [count(text) if isinstance(text, str) else None for text in responses]
        if generates is False:
            counts = [0]
        known = [tokens for tokens in counts if tokens is not None]
        complete = len(known) == len(counts) > 0
        yield RequestRecord(
            harness="lm-eval",
            **asdict(identity),
            instance_id=str(sample.doc_id),
            reference_index=index if len(requests) > 1 else None,
            prompt_tokens=prompt,
            output_tokens=sum(known) if complete else None,
            prompt_provenance="missing" if prompt is None else "tokenizer",
            output_provenance=("tokenizer" if generates else "harness") if complete else "missing",
            num_completions=max(1, len(responses)),
            max_completion_tokens=max(known) if complete else None,
            scores=scores,
        )


def _requests(sample: _Sample) -> list[tuple[str | None, str]]:
    """Return context and continuation of each request; `arguments` was a list in older versions."""
    arguments = sample.arguments
    rows = list(arguments.values()) if isinstance(arguments, dict) else arguments
    pairs = [list(row.values()) if isinstance(row, dict) else row for row in rows]
    return [(_text(pair[:1]), _text(pair[1:2]) or "") for pair in pairs]


def _text(of_one: list[Any]) -> str | None:
    return of_one[0] if of_one and isinstance(of_one[0], str) else None


def _scores(sample: dict[str, Any], filter_name: str) -> dict[str, float]:
    named = sample.get("metrics")
    names = named if isinstance(named, list) else [name for name in sample if name not in _NOT_SCORES]
    suffix = "" if filter_name == "none" else f",{filter_name}"
    return {
        f"{name}{suffix}": float(sample[name])
        for name in names
        if isinstance(name, str) and isinstance(sample.get(name), int | float)
    }
