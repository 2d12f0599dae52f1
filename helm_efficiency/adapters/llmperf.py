"""Read individual responses of LLMPerf (ray-project/llmperf): one request per row, with its time to the first token.

A file is named HOST_MODEL.json; that is its deployment, HOST/MODEL. The file has neither dates nor prompts nor scores.
"""

from pathlib import Path

import msgspec
from msgspec import Struct

from helm_efficiency.adapters.json_stream import Count, Seconds, decode
from helm_efficiency.adapters.record import HarnessRun, RequestRecord
from helm_efficiency.errors import InputError
from helm_efficiency.files import MOST_LOG_BYTES, read_bytes

SCENARIO = "llmperf"


class _Response(Struct):
    """Row of a file. Failed requests have an error code, and zeros for values that were not measured."""

    number_input_tokens: Count
    number_output_tokens: Count
    end_to_end_latency_s: Seconds
    ttft_s: Seconds
    error_code: int | None = None


_RESPONSES = msgspec.json.Decoder(list[_Response])


def read_llmperf(path: Path) -> HarnessRun:
    """Read one file.

    Raises:
        FileFormatError: The file is damaged; the message names the file and position.
        InputError: The file cannot be read.
    """
    try:
        data = read_bytes(path, most_bytes=MOST_LOG_BYTES)
    except OSError as error:
        raise InputError(f"{path}: {error.strerror or error}.") from error
    responses = decode(data, _RESPONSES, file=str(path))
    host, _, model = path.stem.partition("_")
    deployment = f"{host}/{model}" if model else host
    return HarnessRun(
        source=str(path),
        suite=path.parent.name,
        name=path.stem,
        scenario=SCENARIO,
        model=model or host,
        deployment=deployment,
        score_name=None,
        records=tuple(
            _record(response, place, path=path, deployment=deployment) for place, response in enumerate(responses)
        ),
    )


def _record(response: _Response, place: int, *, path: Path, deployment: str) -> RequestRecord:
    success = response.error_code is None
    return RequestRecord(
        harness="llmperf",
        suite=path.parent.name,
        run=path.stem,
        scenario=SCENARIO,
        model=deployment.partition("/")[2] or deployment,
        deployment=deployment,
        instance_id=str(place),
        prompt_tokens=response.number_input_tokens,
        output_tokens=response.number_output_tokens if success else None,
        prompt_provenance="harness",
        output_provenance="harness" if success else "missing",
        observed_s=response.end_to_end_latency_s if success else None,
        ttft_s=response.ttft_s if success else None,
        success=success,
    )
