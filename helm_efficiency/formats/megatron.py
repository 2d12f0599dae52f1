"""Read the profiling logs of Narayanan et al., NeurIPS 2023 (Megatron-LM, batch 1).

A log holds Megatron's argument block (layers, hidden size, heads, parallel degrees) and one line per cell:

    Runtime for {'num_input_tokens': 256, 'num_output_tokens': 8}: 0.653 seconds +- 0.002

the mean over 50 timed iterations after 10 warm-ups, rounded to 1 ms. Some files hold several runs, or a start that
failed; the last run that timed anything says what was profiled, and of a cell timed twice the later time counts.
"""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from helm_efficiency.catalog.device_names import accelerator_of
from helm_efficiency.core.measurement import Measurement, Profile, Stack
from helm_efficiency.core.transfer.architecture import Architecture
from helm_efficiency.errors import EfficiencyError, FileFormatError, InputError
from helm_efficiency.files import require_size

DEPLOYMENTS: Mapping[str, str] = {
    "ai21_j1_grande": "ai21/j1-grande",
    "ai21_j1_jumbo": "ai21/j1-jumbo",
    "ai21_j1_large": "ai21/j1-large",
    "anthropic": "anthropic/stanford-online-all-v4-s3",
    "bloom": "together/bloom",
    "gpt2": "megatron/gpt-9.9b",  # 48 layers of width 4096: not GPT-2, whatever the file is called
    "gpt_neox_20b": "together/gpt-neox-20b",
    "gptj_6b": "together/gpt-j-6b",
    "mt_nlg": "microsoft/TNLGv2_530B",
    "openai_ada": "openai/ada",
    "openai_davinci": "openai/davinci",
    "opt_66b": "together/opt-66b",
    "yalm": "together/yalm",
}
"""HELM's name of the deployment that each of the authors' logs measures, by the stem of the file."""

PIPELINE_STAGES: Mapping[str, int] = {"mt_nlg": 3}
"""Logs of one of several pipeline stages: 35 of 105 layers were timed, on a third of the accelerators."""

NUM_REPETITIONS = 50
"""Number of timed iterations behind each line, from the authors' generate_text.py; the log does not repeat it."""

_STACK_OF_FOLDER = {"a100": "a100-80gb-megatron-fp16", "v100": "v100-32gb-megatron-fp16"}
_DTYPES = {"torch.float16": "fp16", "torch.bfloat16": "bf16", "torch.float32": "fp32"}
_ROW = re.compile(
    r"Runtime for \{'num_input_tokens': (?P<p>\d{1,9}), 'num_output_tokens': (?P<o>\d{1,9})\}: "
    r"(?P<seconds>\d+\.(?P<decimals>\d+)) seconds \+- (?P<std>\d+\.\d+)\s*$"
)
_ARGUMENT = re.compile(r"\s*(\w+) \.{2,} (.+?)\s*$")
_VOCAB = re.compile(r"\s*> padded vocab .*\(new size: (\d+)\)")
_IDENTITY = (
    *("num_layers", "hidden_size", "num_attention_heads", "kv_channels", "ffn_hidden_size"),
    *("tensor_model_parallel_size", "pipeline_model_parallel_size", "params_dtype"),
)
_Cells = dict[tuple[int, int], Measurement]


@dataclass
class _Run:
    """Argument block and the rows after it, while a log is read."""

    arguments: dict[str, str] = field(default_factory=dict)
    cells: _Cells = field(default_factory=dict)

    def identity(self) -> tuple[str | None, ...]:
        return tuple(self.arguments.get(name) for name in _IDENTITY)


def read_megatron_log(path: Path, *, deployment: str | None = None, stack_name: str | None = None) -> Profile:
    """Read one log.

    Args:
        path: Path of a log in the format above.
        deployment: Name of the deployment; by default that of the authors' file of that name, else `megatron/<stem>`.
        stack_name: Name of the stack; by default derived from the folder (`a100` or `v100`), as in the authors'
            repository.

    Returns:
        One measurement per cell, for the whole model: if one pipeline stage was profiled, seconds, layers and
        accelerators are those of all stages.

    Raises:
        FileFormatError: The file is not such a log, or is damaged; the message names the line.
        InputError: The folder does not determine the stack and `stack_name` is not given.
    """
    stages = PIPELINE_STAGES.get(path.stem, 1)
    runs = [run for run in _runs(path, stages) if run.cells]
    if not runs:
        raise FileFormatError(
            f"{path}: no line 'Runtime for {{…}}: … seconds +- …', expected a Megatron profiling log."
        )
    last = runs[-1]
    cells: _Cells = {}
    for run in runs:
        if run.identity() == last.identity():
            cells |= run.cells
    left_out = sum(len(run.cells) for run in runs if run.identity() != last.identity())
    return Profile(
        deployment=deployment or DEPLOYMENTS.get(path.stem, f"megatron/{path.stem}"),
        stack=_stack(path, last.arguments, stages, stack_name),
        measurements=tuple(measurement for _, measurement in sorted(cells.items())),
        architecture=_architecture(path, last.arguments, stages),
        resolution_s=_resolution_s(path, stages),
        source=f"Megatron-LM profiling log {path.parent.name}/{path.name}"
        + (f" ({left_out} rows of an earlier run with other arguments left out)" if left_out else ""),
    )


def _lines(path: Path) -> Iterator[tuple[int, str]]:
    try:
        require_size(path)
        with path.open(encoding="utf-8", errors="replace") as file:
            yield from enumerate(file, start=1)
    except OSError as error:
        raise FileFormatError(f"{path}: {error.strerror}.") from error


def _runs(path: Path, stages: int) -> list[_Run]:
    """Return the runs in order; rows before any argument block belong to the first run."""
    runs: list[_Run] = [_Run()]
    for number, line in _lines(path):
        if "--- arguments ---" in line:
            if runs[-1].arguments:
                runs.append(_Run())
        elif line.startswith("Runtime for"):
            measurement = _measurement(path, number, line, stages)
            runs[-1].cells[measurement.prompt_tokens, measurement.output_tokens] = measurement
        elif match := _VOCAB.match(line):
            runs[-1].arguments["padded_vocab_size"] = match[1]
        elif match := _ARGUMENT.match(line):
            runs[-1].arguments[match[1]] = match[2]
    return runs


def _measurement(path: Path, number: int, line: str, stages: int) -> Measurement:
    expected = "expected \"Runtime for {'num_input_tokens': P, 'num_output_tokens': O}: S seconds +- D\""
    match = _ROW.match(line)
    if match is None:
        raise FileFormatError(f"{path}, line {number}: {line.strip()!r}, {expected}.")
    try:
        return Measurement(
            prompt_tokens=int(match["p"]),
            output_tokens=int(match["o"]),
            seconds=float(match["seconds"]) * stages,
            seconds_std=float(match["std"]) * stages,
            num_repetitions=NUM_REPETITIONS,
        )
    except EfficiencyError as error:
        raise FileFormatError(f"{path}, line {number}: {error}; {expected}.") from error


def _resolution_s(path: Path, stages: int) -> float:
    """Return the step (s) that the printed seconds are rounded to."""
    decimals = max(len(match["decimals"]) for _, line in _lines(path) if (match := _ROW.match(line)))
    return float(stages * 10.0**-decimals)


def _integer(path: Path, arguments: Mapping[str, str], name: str) -> int:
    try:
        return int(arguments[name])
    except (KeyError, ValueError) as error:
        raise FileFormatError(
            f"{path}: no whole number for {name} in the argument block, given {arguments.get(name)!r}."
        ) from error


def _architecture(path: Path, arguments: Mapping[str, str], stages: int) -> Architecture:
    heads = _integer(path, arguments, "num_attention_heads")
    return Architecture(
        name=path.stem,
        num_layers=_integer(path, arguments, "num_layers") * stages,
        hidden_size=_integer(path, arguments, "hidden_size"),
        num_heads=heads,
        num_kv_heads=heads,
        head_size=_integer(path, arguments, "kv_channels"),
        ffn_size=_integer(path, arguments, "ffn_hidden_size"),
        vocab_size=_integer(path, arguments, "padded_vocab_size"),
        tied_embeddings=True,
    )


def _stack(path: Path, arguments: Mapping[str, str], stages: int, name: str | None) -> Stack:
    name = name or _STACK_OF_FOLDER.get(path.absolute().parent.name)
    if name is None:
        raise InputError(
            f"{path}: a log does not name its accelerator. Name the stack: --stack a100-80gb-megatron-fp16"
        )
    tensor = _integer(path, arguments, "tensor_model_parallel_size")
    pipeline = _integer(path, arguments, "pipeline_model_parallel_size") * stages
    dtype = arguments.get("params_dtype", "")
    try:
        return Stack(
            name=name,
            accelerator=accelerator_of(name),
            num_accelerators=tensor * pipeline,
            engine="megatron",
            dtype=_DTYPES.get(dtype, dtype),
            tensor_parallel=tensor,
            pipeline_parallel=pipeline,
        )
    except InputError as error:
        raise FileFormatError(f"{path}: {error}") from error
