"""Public measurements of served models, beside what a simulation says of each."""

import csv
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from functools import cache
from importlib.resources import files
from pathlib import Path

from _simulated_coefficients import simulated_coefficients

from helm_efficiency.catalog.accelerators import load_accelerators
from helm_efficiency.catalog.simulation_corrections import GENERATIONS, kind_of
from helm_efficiency.core.fitting.correction import Correction, corrected
from helm_efficiency.core.runtime_model import RuntimeCoefficients
from helm_efficiency.core.serving.lengths import Lengths
from helm_efficiency.core.serving.load import MEASURED_ROUNDS
from helm_efficiency.core.serving.server import Server
from helm_efficiency.core.serving.steady_state import closed_loop
from helm_efficiency.core.serving.steps import StepTimes
from helm_efficiency.errors import EfficiencyError
from helm_efficiency.profiling.simulated.aiconfigurator import Deployment, simulate
from helm_efficiency.profiling.simulated.jobs import Subject, find_subject

ENGINES = {"vllm": "vllm", "sglang": "sglang", "trtllm": "trtllm", "tensorrt-llm": "trtllm"}
DTYPES = {name: name for name in ("bf16", "fp8", "fp4", "int4", "mxfp4")} | {"bfloat16": "bf16", "fp16": "bf16"}
UNTOUCHED = re.compile(r"Llama-3\.1|Qwen3-32B|gpt-oss")
"""Models of the wheel's silicon sample that nothing is learnt from."""

LONGEST_PROMPT = 40_000
LARGEST_BATCH = 256
DRAWN = 0.9
"""Mean share of the nominal lengths that InferenceX draws."""

SCORED_CONTEXT = 300
"""Prompt tokens that are assumed of ML.ENERGY's chats and questions, whose outputs are 400 to 7,000 tokens long."""


@dataclass(frozen=True, slots=True)
class Row:
    """One measurement.

    Attributes:
        source: Folder of the public data.
        model: As the source names it.
        deployment: Accelerators, engine and number format.
        version: Version of the engine, as the source states it.
        clients: Clients of a closed loop; None for a static batch.
        batch_size: Rows of a static batch, or the mean running batch of a saturated server.
        prompt_tokens: Mean prompt; None where only the pace of a saturated server is known.
        output_tokens: Mean output.
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
        return re.sub(r"^(meta-)?llama-3\.[13]", "llama-3.1", name).replace("deepseek-r1", "deepseek-v3")

    @property
    def groups(self) -> dict[str, str]:
        """Groups whose errors may have something in common."""
        d = self.deployment
        generation = GENERATIONS[d.accelerator]
        return {
            "engine": d.engine,
            "engine on generation": f"{d.engine} {generation}",
            "accelerator": d.accelerator,
            "dtype on generation": f"{d.dtype} {generation}",
            "kind": kind_of_model(self.model, d.dtype),
            "model": self.base_model,
            "version": f"{d.engine} {self.version} {self.source}",
        }

    @property
    def configuration(self) -> tuple[object, ...]:
        """What one server is: repetitions and loads of it are not independent."""
        return (self.source, self.model, self.deployment, self.version)


def read_rows(folder: Path) -> list[Row]:
    """Read all rows of the public data on hardware and engines that have kernel timings."""
    names = {"ml_energy_v3": "tidy_all_batches.csv"}
    sources = ("aic_silicon_e2e", "ml_energy_v3", "qwen_speed_benchmark", "argonne_llm_inference_bench")
    return [row for source in sources for row in _rows(folder / source / names.get(source, "tidy.csv"))]


def read_untouched_rows() -> list[Row]:
    """Read the rows of the wheel's silicon sample that nothing is learnt from."""
    path = Path(str(files("aiconfigurator_core") / "systems" / "silicon_sample.csv"))
    with path.open(encoding="utf-8", newline="") as lines:
        found = [_untouched(row) for row in csv.DictReader(lines) if _is_untouched(row)]
    return [row for row in found if row is not None]


def _is_untouched(row: Mapping[str, str]) -> bool:
    alone = all(row[key] in ("", "1", "1.0") for key in ("pp_size", "attention_dp_size"))
    return bool(UNTOUCHED.search(row["model_path"])) and row["mode"] == "agg" and alone and bool(row["silicon_tpot_ms"])


def _untouched(row: Mapping[str, str]) -> Row | None:
    accelerator = _accelerator(row["system"].replace("_", "-"))
    dtype = {"": "bf16", "bfloat16": "bf16", "nvfp4": "fp4"}.get(row["gemm_quant_mode"], "fp8")
    if "gpt-oss" in row["model_path"]:
        dtype = "mxfp4"
    if accelerator is None or float(row["batch_size"]) > 64:
        return None
    share = 1.0 if "/data/" in row["silicon_data_source"] else DRAWN
    experts = max(int(float(row["moe_ep_size"] or 1)), 1)
    return Row(
        source="wheel",
        model=row["model_path"],
        deployment=Deployment(accelerator, row["backend"], dtype, int(float(row["tp_size"])), experts),
        version=row["backend_version"],
        clients=float(row["batch_size"]),
        batch_size=int(float(row["batch_size"])),
        prompt_tokens=float(row["isl"]) * share,
        output_tokens=max(float(row["osl"]) * share, 2.0),
        measured_s=float(row["silicon_tpot_ms"]) / 1e3,
        ttft_s=float(row["silicon_ttft_ms"]) / 1e3 if row["silicon_ttft_ms"] else None,
    )


def _rows(path: Path) -> Iterator[Row]:
    with path.open(encoding="utf-8", newline="") as lines:
        for row in csv.DictReader(lines):
            accelerator, engine = _accelerator(row["accelerator"]), ENGINES.get(row["engine"].lower())
            dtype = DTYPES.get(row["precision"])
            if accelerator is None or engine is None or dtype is None or "attn-dp" in row["parallelism"]:
                continue
            made = _row(path.parent.name, row, Deployment(accelerator, engine, dtype, *_parallel(row)))
            if made is not None:
                yield made


def _row(source: str, row: Mapping[str, str], deployment: Deployment) -> Row | None:
    number = float(row["batch_or_concurrency"])
    prompt = float(row["prompt_tokens"]) if row["prompt_tokens"] else None
    served = source == "aic_silicon_e2e"
    share = DRAWN if "InferenceX" in row["note"] else 1.0
    measured = row["tpot_s"] if served or prompt is None else row["e2e_s"]
    if not measured or number > LARGEST_BATCH or (prompt or 0) > LONGEST_PROMPT:
        return None
    return Row(
        source=source,
        model=row["hf_id_if_known"] or row["model"],
        deployment=deployment,
        version=row["engine_version"],
        clients=number if served else None,
        batch_size=int(number),
        prompt_tokens=None if prompt is None else prompt * share,
        output_tokens=float(row["output_tokens"]) * share,
        measured_s=float(measured),
        ttft_s=float(row["ttft_s"]) if served and row["ttft_s"] else None,
    )


def _accelerator(name: str) -> str | None:
    known = load_accelerators().get(name) or load_accelerators().get(name.replace("-sxm4", "").replace("-sxm", ""))
    return known.key if known is not None and known.key in GENERATIONS else None


def _parallel(row: Mapping[str, str]) -> tuple[int, int]:
    """Return tensor and expert parallel ways. InferenceX states the experts' ways beside as many accelerators."""
    number = int(float(row["n_accelerators"]))
    stated = re.search(r"moe-tp(\d+) moe-ep(\d+)", row["parallelism"])
    if stated is None:
        return number, 1
    split, dealt = map(int, stated.groups())
    if split == dealt and split * dealt == number > 8:
        number = dealt
    return number, dealt if number % dealt == 0 else 1


@cache
def _subject(model: str, dtype: str) -> Subject:
    return find_subject(model, dtype)


@cache
def kind_of_model(model: str, dtype: str) -> str:
    """Return `moe` or `dense`; hybrids that our sizes cannot say are all mixtures here."""
    architecture = _subject(model, dtype).architecture
    return "moe" if architecture is None else kind_of(architecture)


@cache
def coefficients_of(model: str, deployment: Deployment) -> RuntimeCoefficients | None:
    """Return simulated coefficients, uncorrected; None where there are no kernels for it."""
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


def predicted(row: Row, correction: Correction | None) -> tuple[float, float | None]:
    """Return what a row should have measured, and its time to the first token where it has one.

    Raises:
        EfficiencyError: The load cannot be solved.
    """
    raw = coefficients_of(row.model, row.deployment)
    if raw is None:
        raise EfficiencyError(f"No kernels for {row}.")
    c = raw if correction is None else corrected(raw, correction)
    if row.clients is not None and row.prompt_tokens is not None:
        engine = row.deployment.engine
        served = closed_loop(
            StepTimes.from_coefficients(c),
            Lengths.of(row.prompt_tokens, row.output_tokens),
            clients=row.clients,
            server=Server.of_engine(engine).as_benchmarked(engine),
            rounds=MEASURED_ROUNDS,
        )
        return served.tpot_s.mean, served.ttft_s.mean
    if row.prompt_tokens is None:
        context = SCORED_CONTEXT + row.output_tokens / 2.0
        return StepTimes.from_coefficients(c).decode_pass_s(row.batch_size, row.batch_size * context), None
    return float(c.predict(row.prompt_tokens, row.output_tokens, batch_size=row.batch_size).seconds), None
