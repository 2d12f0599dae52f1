"""Read the tidy table of public measurements: one row per result, one schema for all sources.

Columns: source, model, hf_id_if_known, accelerator, n_accelerators, parallelism, engine, engine_version, precision,
batch_or_concurrency, prompt_tokens, output_tokens, ttft_s, tpot_s, e2e_s, energy_j, date, note. A cell is empty if
unknown. `batch_or_concurrency` is a static batch in some sources and clients in a closed loop in others: the source
decides which.
"""

import re
from typing import Any

import msgspec

from helm_efficiency.catalog.accelerators import load_accelerators
from helm_efficiency.catalog.architectures import dtype_in_name
from helm_efficiency.formats.benchmarks.run import Hardware, Run, Traffic

_CLOSED_LOOP = frozenset({"aic_silicon_e2e"})
_STATIC_BATCH = frozenset(
    {"argonne_llm_inference_bench", "aws_neuron", "llm_perf", "lmdeploy_a100", "qwen_speed_benchmark"}
)
_NO_PROMPTS = frozenset({"ml_energy_v3"})


class _Row(msgspec.Struct):
    source: str
    model: str
    accelerator: str
    batch_or_concurrency: int = 1
    n_accelerators: int = 1
    hf_id_if_known: str = ""
    parallelism: str = ""
    engine: str = ""
    engine_version: str = ""
    precision: str = ""
    prompt_tokens: int | None = None
    output_tokens: float | None = None
    ttft_s: float | None = None
    tpot_s: float | None = None
    e2e_s: float | None = None
    energy_j: float | None = None
    date: str = ""
    note: str = ""


def read_tidy_csv(records: list[Any]) -> list[Run]:
    """Read the rows that state both lengths; ML.ENERGY's rows state no prompts and are left out.

    Raises:
        msgspec.ValidationError: A source is unknown, so that its number may be a batch or clients; or no row has
        lengths.
    """
    rows = msgspec.convert(
        [{name: value for name, value in row.items() if value != ""} for row in records], list[_Row], strict=False
    )
    unknown = (
        {row.source for row in rows if row.batch_or_concurrency > 1} - _CLOSED_LOOP - _STATIC_BATCH - {"ml_energy_v3"}
    )
    if unknown:
        raise msgspec.ValidationError(
            f"source {min(unknown)!r} is unknown, so that batch_or_concurrency may be a static batch or clients"
        )
    timed = [_run(row) for row in rows if row.prompt_tokens is not None and row.output_tokens is not None]
    if not timed:
        raise msgspec.ValidationError("no row states the lengths of prompt and output, so that no request can be timed")
    return timed


def _run(row: _Row) -> Run:
    accelerator = load_accelerators().get(row.accelerator)
    number = row.batch_or_concurrency
    return Run(
        model=row.hf_id_if_known or row.model,
        prompt_tokens=row.prompt_tokens or 1,
        output_tokens=row.output_tokens or 1,
        seconds=row.e2e_s,
        ttft_s=row.ttft_s,
        tpot_s=row.tpot_s,
        energy_j=row.energy_j,
        traffic=Traffic(concurrency=number) if row.source in _CLOSED_LOOP else Traffic(batch_size=number),
        hardware=Hardware(
            accelerator=row.accelerator if accelerator is None else accelerator.key,
            num_accelerators=row.n_accelerators,
            engine=re.sub(r"[^\w.+-]+", "-", row.engine.lower()).strip("-"),
            engine_version=row.engine_version,
            dtype=dtype_in_name(row.precision) or "",
            tensor_parallel=_ways("tp", row.parallelism),
            pipeline_parallel=_ways("pp", row.parallelism),
            detail=_detail(row),
        ),
        measured_on=row.date,
    )


def _detail(row: _Row) -> str:
    """Return words that distinguish the row's stack: parallel experts, quantization, attention, kernel, settings."""
    experts = re.findall(r"(?:moe|ep|dp)-?\w*\d+", row.parallelism)
    quantization = [] if row.precision == dtype_in_name(row.precision) else [row.precision]
    return "-".join([*experts, *quantization, *re.findall(r"(?:attention=|kernel=|setting-)\S+", row.note)])


def _ways(kind: str, parallelism: str) -> int:
    found = re.search(rf"(?<![\w-]){kind}(\d+)", parallelism)
    return int(found[1]) if found else 1
