"""Public measurements of served models, beside what a simulation says of each.

Four sources of the folder `modern`, and the closed loops that AIConfigurator's wheel lists (`silicon_sample.csv`). What
the simulation does not say anything about is left out by these rules, which look at no error:

* attention data parallelism, several copies of a server, and degrees that do not multiply to the accelerators; also
  InferenceX's TensorRT-LLM with expert parallelism, which has that option in some recipes (the wheel says no for all);
* multi-token prediction: InferenceX runs some recipes with it and without; the wheel does not say which (`_DRAFTS`);
* loops in which requests wait for a slot longer than they run: the recipe limits the requests that run at once, and the
  wheel does not say to how many;
* the same measurement listed again under another name of the model or another spelling of its parallel degrees.
"""

import csv
import math
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from functools import cache
from importlib.metadata import version
from importlib.resources import files
from pathlib import Path

import msgspec
import numpy as np
from _harness import ROOT, SEED
from _simulated_coefficients import simulated_coefficients

from helm_efficiency.catalog.accelerators import load_accelerators
from helm_efficiency.catalog.simulation_corrections import GENERATIONS, kind_of
from helm_efficiency.core.runtime_model import RuntimeCoefficients
from helm_efficiency.core.serving.lengths import Lengths
from helm_efficiency.core.serving.load import MEASURED_ROUNDS
from helm_efficiency.core.serving.served import Served
from helm_efficiency.core.serving.server import Server
from helm_efficiency.core.serving.steady_state import closed_loop
from helm_efficiency.core.serving.steps import StepTimes
from helm_efficiency.errors import EfficiencyError
from helm_efficiency.profiling.simulated.aiconfigurator import PACKAGE, Deployment, simulate
from helm_efficiency.profiling.simulated.jobs import Subject, find_subject

WHEEL = ("InferenceX", "NVIDIA")
"""Sources of the closed loops in the wheel."""

UNTOUCHED = re.compile(r"Llama-3\.1|Qwen3-32B|gpt-oss")
"""Models of the wheel's closed loops that nothing is learnt from."""

LARGEST_BATCH = 512
LONGEST_PROMPT = 32_768

_ENGINES = {"vllm": "vllm", "sglang": "sglang", "trtllm": "trtllm", "tensorrt-llm": "trtllm"}
_DTYPES = {name: name for name in ("bf16", "fp8", "fp4", "int4", "mxfp4")} | {
    "bfloat16": "bf16",
    "fp16": "bf16",
    "fp8_block": "fp8",
    "nvfp4": "fp4",
    "int4_wo": "int4",
}
_DRAWN = 0.8
"""InferenceX draws lengths evenly from this share of the nominal ones to the whole."""

_CHAT_TOKENS = 300
"""Prompt tokens that are assumed of ML.ENERGY's chats and questions, whose outputs are 400 to 7,000 tokens long."""

_MEAN_AGE = 0.75
"""Mean share of the mean output that a running sequence has behind it. It is above a half because long answers run for
longer: (1 + v²) / 2 for lengths with coefficient of variation v, here 0.7 as of chat answers."""

_DRAFTS = (
    ("trtllm", r"DeepSeek", r"^(?!1\.2\.0rc6\.post2$)"),
    ("sglang", r"DeepSeek-(R1|V3) b\d00 fp8 8$", r""),
    ("sglang", r"Qwen3\.5-\S+ b\d00 fp8 4$", r""),
)
"""Engine, "model accelerator dtype number" and version of InferenceX's servers that may draft tokens.

Its change log has recipes with multi-token prediction for DeepSeek under TensorRT-LLM on every accelerator (only those
without it use image 1.2.0rc6.post2), in fp8 under SGLang on eight B200 or B300, and for Qwen3.5 in fp8 on four of them.
"""


@dataclass(frozen=True, slots=True)
class Row:
    """One measurement.

    Attributes:
        source: Who measured.
        model: As the source names it.
        deployment: Accelerators, engine and number format.
        version: Version of the engine, as the source states it; may be empty.
        clients: Clients of a closed loop; None for a static batch or a saturated server.
        batch_size: Rows of a static batch, or the mean running batch of a saturated server.
        prompt_tokens: Prompt, nominal; None where only the pace of a saturated server is known.
        output_tokens: Output, nominal.
        measured_s: Time per output token of a closed loop or a saturated server, else the whole batch.
        ttft_s: Time to the first token of a closed loop; None where it was not measured.
    """

    source: str
    model: str
    deployment: Deployment
    version: str
    clients: float | None
    batch_size: int
    prompt_tokens: float | None
    output_tokens: float
    measured_s: float
    ttft_s: float | None = None

    @property
    def base_model(self) -> str:
        """Model without what does not change its layers, so that its copies are left out together."""
        name = self.model.rsplit("/", 1)[-1].lower()
        name = re.sub(r"-(instruct|thinking|it|hf|coder|fp8|nvfp4|2507|v0\.\d)(?=-|$)", "", name)
        return re.sub(r"^(meta-)?llama-3(\.[13])?-", "llama-3-", re.sub(r"deepseek-(r1|v3).*", "deepseek-v3", name))

    @property
    def engine(self) -> str:
        """Engine and its era: vLLM was rewritten for 0.8, and schedules the next step during the last since 0.14."""
        minor = re.match(r"(?:vllm )?0\.(\d+)\.", self.version)
        of = 6 if self.source == "argonne_llm_inference_bench" else int(minor[1]) if minor else math.inf
        if self.deployment.engine != "vllm" or of >= 14:
            return self.deployment.engine
        return "vllm before 0.8" if of < 8 else "vllm before 0.14"

    @property
    def groups(self) -> dict[str, str]:
        """Groups whose errors may have something in common."""
        d = self.deployment
        generation = GENERATIONS[d.accelerator]
        return {
            "engine": d.engine,
            "era": self.engine,
            "engine on generation": f"{d.engine} {generation}",
            "accelerator": d.accelerator,
            "kernels": f"{d.engine} {d.dtype} {generation}",
            "kind": kind_of_model(self.model, d.dtype),
            "model": self.base_model,
            "version": f"{self.engine} {self.version} {self.source}",
        }

    @property
    def configuration(self) -> tuple[object, ...]:
        """What one server is: repetitions and loads of it are not independent."""
        return (self.source, self.base_model, self.deployment, self.version)

    def lengths(self) -> Lengths:
        """Lengths of the requests of a closed loop."""
        assert self.prompt_tokens is not None
        if self.source != "InferenceX":
            return Lengths.of(self.prompt_tokens, self.output_tokens)
        points = _DRAWN + (1.0 - _DRAWN) * (np.arange(16) + 0.5) / 16
        shuffled = np.random.default_rng(SEED).permutation(points)
        return Lengths.of(np.round(self.prompt_tokens * points), np.round(self.output_tokens * shuffled))

    @property
    def context_tokens(self) -> float:
        """Mean tokens before a decode step of one sequence."""
        if self.prompt_tokens is None:
            return _CHAT_TOKENS + _MEAN_AGE * self.output_tokens
        drawn = (1.0 + _DRAWN) / 2.0 if self.source == "InferenceX" else 1.0
        return drawn * (self.prompt_tokens + self.output_tokens / 2.0)


def read_rows(folder: Path) -> list[Row]:
    """Read all rows that may be learnt from, on hardware and engines that have kernel timings."""
    names = {"ml_energy_v3": "tidy_all_batches.csv"}
    sources = ("ml_energy_v3", "qwen_speed_benchmark", "argonne_llm_inference_bench")
    tidy = [row for source in sources for row in _tidy(folder / source / names.get(source, "tidy.csv"))]
    return _once([*(row for row in _closed_loops() if not UNTOUCHED.search(row.model)), *tidy])


def read_untouched_rows() -> list[Row]:
    """Read the closed loops that nothing is learnt from."""
    return _once(row for row in _closed_loops() if UNTOUCHED.search(row.model))


def _once(rows: Iterable[Row]) -> list[Row]:
    found = {(row.base_model, row.engine, row.clients, row.output_tokens, row.measured_s): row for row in rows}
    return sorted(found.values(), key=lambda row: (repr(row.configuration), row.batch_size, repr(row)))


def _closed_loops() -> Iterator[Row]:
    path = Path(str(files("aiconfigurator_core") / "systems" / "silicon_sample.csv"))
    with path.open(encoding="utf-8", newline="") as lines:
        for values in csv.DictReader(lines):
            if values["mode"] == "agg" and (row := _closed_loop(values)) is not None:
                yield row


def _closed_loop(values: Mapping[str, str]) -> Row | None:
    model = values["model_path"]
    accelerator, degrees = _accelerator(values["system"].replace("_", "-")), _degrees(values)
    named = "fp8" if "FP8" in model else "fp4" if "FP4" in model else "bf16"
    dtype = "mxfp4" if "gpt-oss" in model else _DTYPES.get(values["gemm_quant_mode"] or values["precision"] or named)
    if accelerator is None or degrees is None or dtype is None:
        return None
    source = WHEEL["/Users/" in values["silicon_data_source"]]
    clients = float(values["batch_size"])
    ttft_s, tpot_s = (float(values[f"silicon_{name}_ms"]) / 1e3 for name in ("ttft", "tpot"))
    row = Row(
        source=source,
        model=model,
        deployment=Deployment(accelerator, values["backend"], dtype, *degrees),
        version=values["backend_version"],
        clients=clients,
        batch_size=int(clients),
        prompt_tokens=float(values["isl"]),
        output_tokens=float(values["osl"]),
        measured_s=tpot_s,
        ttft_s=ttft_s,
    )
    waits = ttft_s > tpot_s * row.output_tokens
    stated = re.search(r"silicon_concurrency=(\d+)", values["silicon_data_source"])
    is_split = stated is not None and float(stated[1]) != clients
    return None if waits or is_split or clients > LARGEST_BATCH or _has_hidden_options(row) else row


def _degrees(values: Mapping[str, str]) -> tuple[int, int] | None:
    """Return the accelerators and the expert-parallel ways; None where they are ambiguous or not modelled.

    InferenceX's n accelerators with n-fold experts are listed as n x n, with each degree of the experts as n.
    """
    data, number, split, dealt = (
        max(int(float(values[key] or 1)), 1) for key in ("attention_dp_size", "tp_size", "moe_tp_size", "moe_ep_size")
    )
    if data > 1 or values["pp_size"] not in ("", "1", "1.0"):
        return None
    if split * dealt == 1 or re.search("Llama|Qwen3-32B", values["model_path"]):
        return number, 1
    if split == dealt and split * dealt == number > 8:
        return dealt, dealt
    return (number, dealt) if split * dealt == number else None


def _has_hidden_options(row: Row) -> bool:
    """Return whether a row of InferenceX may have drafted tokens, or split attention by requests."""
    d = row.deployment
    server = f"{row.model} {d.accelerator} {d.dtype} {d.tensor_parallel}"
    if row.source != "InferenceX" or d.expert_parallel > 1:
        return row.source == "InferenceX" and d.engine == "trtllm"
    return any(d.engine == e and re.search(m, server) and re.search(v, row.version) for e, m, v in _DRAFTS)


def _tidy(path: Path) -> Iterator[Row]:
    with path.open(encoding="utf-8", newline="") as lines:
        for row in csv.DictReader(lines):
            accelerator, engine = _accelerator(row["accelerator"]), _ENGINES.get(row["engine"].lower())
            dtype = _DTYPES.get(row["precision"])
            if accelerator is None or engine is None or dtype is None:
                continue
            made = _row(path.parent.name, row, Deployment(accelerator, engine, dtype, *_parallel(row)))
            if made is not None:
                yield made


def _row(source: str, row: Mapping[str, str], deployment: Deployment) -> Row | None:
    number = float(row["batch_or_concurrency"])
    prompt = float(row["prompt_tokens"]) if row["prompt_tokens"] else None
    measured = row["tpot_s"] if prompt is None else row["e2e_s"]
    if not measured or number > LARGEST_BATCH or (prompt or 0) > LONGEST_PROMPT:
        return None
    return Row(
        source=source,
        model=row["hf_id_if_known"] or row["model"],
        deployment=deployment,
        version=row["engine_version"],
        clients=None,
        batch_size=int(number),
        prompt_tokens=prompt,
        output_tokens=float(row["output_tokens"]),
        measured_s=float(measured),
    )


def _accelerator(name: str) -> str | None:
    known = load_accelerators().get(name) or load_accelerators().get(name.replace("-sxm4", "").replace("-sxm", ""))
    return known.key if known is not None and known.key in GENERATIONS else None


def _parallel(row: Mapping[str, str]) -> tuple[int, int]:
    """Return tensor and expert parallel ways. ML.ENERGY's `ep8` is vLLM's `--enable-expert-parallel` on eight."""
    number = int(float(row["n_accelerators"]))
    return number, number if re.search(r"\bep\d", row["parallelism"]) else 1


@cache
def _subject(model: str, dtype: str) -> Subject:
    return find_subject(model, dtype)


@cache
def kind_of_model(model: str, dtype: str) -> str:
    """Return the kind of a model; that of hybrids, which our sizes cannot describe, is like no other."""
    architecture = _subject(model, dtype).architecture
    return "hybrid" if architecture is None else kind_of(architecture)


class Simulated:
    """Coefficients of simulated stacks, uncorrected, kept in a file of the folder `build` from one run to the next."""

    def __init__(self) -> None:
        self._path = ROOT / "build" / f"simulated_by_{PACKAGE}_{version(PACKAGE)}.json"
        kind = dict[str, RuntimeCoefficients | None]
        self._known = msgspec.json.decode(self._path.read_bytes(), type=kind) if self._path.exists() else {}

    def steps(self, model: str, deployment: Deployment) -> StepTimes | None:
        """Return the times of passes; None where there are no kernels for it."""
        key = f"{model} {deployment}"
        if key not in self._known:
            self._known[key] = _simulated(model, deployment)
        found = self._known[key]
        return None if found is None else StepTimes.from_coefficients(found)

    def keep(self) -> None:
        """Write the file."""
        self._path.parent.mkdir(exist_ok=True)
        self._path.write_bytes(msgspec.json.encode(self._known))


def _simulated(model: str, deployment: Deployment) -> RuntimeCoefficients | None:
    try:
        subject = _subject(model, deployment.dtype)
        runs_on = replace(deployment, dtype=subject.simulated.dtype)
        try:
            simulation = simulate(subject.simulated.config, runs_on)
        except EfficiencyError:  # experts too narrow to be split so often are dealt out
            simulation = simulate(subject.simulated.config, replace(runs_on, expert_parallel=runs_on.tensor_parallel))
        return simulated_coefficients(simulation)
    except (EfficiencyError, RuntimeError, ValueError):
        return None


def served(row: Row, steps: StepTimes) -> Served:
    """Return a closed loop as it was measured."""
    engine = row.deployment.engine
    server = Server.of_engine(engine).as_benchmarked(engine)
    return closed_loop(steps, row.lengths(), clients=row.clients or math.nan, server=server, rounds=MEASURED_ROUNDS)


def predicted(row: Row, steps: StepTimes) -> tuple[float, float | None]:
    """Return what a row should have measured, and the time to the first token of a closed loop.

    Raises:
        EfficiencyError: The load cannot be solved.
    """
    if row.clients is not None:
        result = served(row, steps)
        return result.tpot_s.mean, result.ttft_s.mean
    if row.prompt_tokens is None:
        return steps.decode_pass_s(row.batch_size, row.batch_size * row.context_tokens), None
    c = steps.coefficients
    return float(c.predict(row.prompt_tokens, row.output_tokens, batch_size=row.batch_size).seconds), None
