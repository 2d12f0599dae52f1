"""A server under load: held against measured closed loops, against an event simulation, and how fast it scores.

    python benchmarks/serving.py

The measurements are those that AIConfigurator brings in its wheel: closed loops of 4 to 512 clients on H100, H200, B200
and others under vLLM, SGLang and TensorRT-LLM, most of them InferenceX's. Coefficients are its kernel timings as they
are, with nothing fitted. Llama 3.1, Qwen3-32B and gpt-oss are a test only: the two constants of `Server.as_benchmarked`
were set by the other models. Left out: rows with attention data parallelism or an ambiguous parallel degree, which are
not modelled, and those that AIConfigurator has no timings for.
"""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from importlib.resources import files
from typing import Any

import numpy as np
import pandas as pd
from _harness import SEED, Benchmark, Options, Results, cpu_seconds, main, percent, table, times
from _simulated_server import simulate as simulate_server
from scipy.optimize import nnls

from helm_efficiency import Coefficients, Domain, Fit, RequestRecord, RuntimeCoefficients, Stack, score_requests
from helm_efficiency.core.serving.lengths import Lengths
from helm_efficiency.core.serving.load import MEASURED_ROUNDS, Load
from helm_efficiency.core.serving.server import Server
from helm_efficiency.core.serving.steady_state import closed_loop, open_loop
from helm_efficiency.core.serving.steps import StepTimes
from helm_efficiency.errors import EfficiencyError
from helm_efficiency.metrics.at_load import DEFAULT_BUSY_SERVER
from helm_efficiency.profiling.simulated.aiconfigurator import Deployment, Simulation, packaged_configs, simulate

SYSTEMS = {"h100_sxm": "h100-sxm", "h200_sxm": "h200-sxm", "b200_sxm": "b200", "b300_sxm": "b300", "gb200": "gb200"}
DTYPES = {"fp8": "fp8", "fp8_block": "fp8", "nvfp4": "fp4", "int4_wo": "int4"}
NAMES = {
    "meta-llama/Llama-3.1-70B": "meta-llama/Meta-Llama-3.1-70B",
    "meta-llama/Llama-3.1-8B-Instruct": "meta-llama/Meta-Llama-3.1-8B",
    "nvidia/Llama-3.1-8B-Instruct-FP8": "meta-llama/Meta-Llama-3.1-8B",
    "zhipuai/GLM-5": "zai-org/GLM-5",
}
TEST_ONLY = re.compile("Llama-3.1|Qwen3-32B|gpt-oss")
PROMPTS = (32, 128, 256, 512, 1024, 2048, 4096, 8192, 16384, 32768)
BATCHES = (1, 2, 4, 8, 16, 32, 64, 128, 256, 512)
CONTEXTS = (128, 1024, 4096, 16384)
MOST_CLIENTS = 512
POINTS = (np.arange(64) + 0.5) / 64
FIGURES = ("tpot", "tok_per_s", "ttft")
NUM_REQUESTS = 1_000_000


@dataclass(frozen=True)
class Row:
    """A measured closed loop."""

    model: str
    deployment: Deployment
    version: str
    is_inferencex: bool
    clients: int
    prompt_tokens: int
    output_tokens: int
    ttft_s: float
    tpot_s: float

    @property
    def series(self) -> tuple[Any, ...]:
        """What is measured at several loads and lengths."""
        return self.model, self.deployment, self.version, self.is_inferencex

    def lengths(self) -> Lengths:
        """InferenceX draws lengths evenly from 0.8 to 1.0 of the nominal ones; others take these."""
        if not self.is_inferencex:
            return Lengths.of(self.prompt_tokens, self.output_tokens)
        shuffled = np.random.default_rng(SEED).permutation(POINTS)
        p, o = self.prompt_tokens * (0.8 + 0.2 * POINTS), self.output_tokens * (0.8 + 0.2 * shuffled)
        return Lengths.of(np.round(p), np.round(o))


def rows(num: int | None) -> list[Row]:
    """Read the measurements of aggregated serving, each once."""
    path = files("aiconfigurator_core") / "systems" / "silicon_sample.csv"
    frame = pd.read_csv(str(path), low_memory=False).query("mode == 'agg'")
    found = {row: None for values in frame.to_dict("records") if (row := _row(values)) is not None}
    kept = [row for row in found if row.clients <= MOST_CLIENTS]
    return kept if num is None else kept[:: max(len(kept) // num, 1)]


def _row(values: dict[str, Any]) -> Row | None:
    """Read one row; None where its parallel degrees are ambiguous or not modelled."""
    dp, tp, moe_tp, moe_ep = (
        int(0 if pd.isna(values[key]) else values[key])
        for key in ("attention_dp_size", "tp_size", "moe_tp_size", "moe_ep_size")
    )
    has_experts = not re.search("Llama|Qwen3-32B", values["model_path"])
    if dp > 1 or values["system"] not in SYSTEMS or (has_experts and max(moe_tp, 1) * max(moe_ep, 1) != tp):
        return None
    dtype = "mxfp4" if "gpt-oss" in values["model_path"] else DTYPES.get(values["gemm_quant_mode"], values["precision"])
    if dtype not in ("mxfp4", *DTYPES.values(), "bf16"):
        return None
    experts = max(moe_ep, 1) if has_experts else 1
    model = NAMES.get(values["model_path"], values["model_path"])
    if model not in packaged_configs():
        return None
    return Row(
        model=model,
        deployment=Deployment(SYSTEMS[values["system"]], values["backend"], dtype, tp, experts),
        version=str(values["backend_version"]),
        is_inferencex="/Users/" not in values["silicon_data_source"],
        clients=int(values["batch_size"]),
        prompt_tokens=int(values["isl"]),
        output_tokens=int(values["osl"]),
        ttft_s=values["silicon_ttft_ms"] / 1e3,
        tpot_s=values["silicon_tpot_ms"] / 1e3,
    )


def coefficients_of(simulation: Simulation) -> RuntimeCoefficients:
    """Fit the decode steps of a simulation by batch and context; prefill knots are taken as they are."""
    cells = [(b, c, simulation.decode_step_s(c, batch_size=b)) for b in BATCHES for c in CONTEXTS]
    batch, context, seconds = (np.array(column) for column in zip(*cells, strict=True))
    design = np.column_stack([*(batch == b for b in BATCHES), batch * context]).astype(float)
    solution, _ = nnls(design / seconds[:, None], np.ones(len(seconds)))
    prefill = np.maximum.accumulate([simulation.prefill_s(p) for p in PROMPTS])
    return RuntimeCoefficients(
        "linear",
        tuple(zip(PROMPTS, prefill.tolist(), strict=True)),
        float(solution[0]),
        Domain(1, PROMPTS[-1], 1, CONTEXTS[-1], max_batch_size=BATCHES[-1]),
        decode_s_per_context_token=float(solution[-1]),
        batch_knots=tuple((b, 1.0, float(s)) for b, s in zip(BATCHES, solution[:-1], strict=True)),
    )


def predicted(row: Row, steps: StepTimes) -> dict[str, float]:
    """Return predicted over measured, for each figure."""
    engine = row.deployment.engine
    server = Server.of_engine(engine).as_benchmarked(engine)
    lengths = row.lengths()
    served = closed_loop(steps, lengths, clients=row.clients, server=server, rounds=MEASURED_ROUNDS)
    measured_s = row.ttft_s + row.tpot_s * (lengths.mean_output_tokens - 1.0)
    return {
        "tpot": served.tpot_s.mean / row.tpot_s,
        "tok_per_s": served.requests_per_s * measured_s / row.clients,
        "ttft": served.ttft_s.mean / row.ttft_s,
    }


def against_measurements(num: int | None) -> Results:
    """Errors over all rows: as simulated, and with one factor a configuration from its lowest load."""
    steps: dict[tuple[str, Deployment], StepTimes | None] = {}
    records = []
    for row in rows(num):
        key = (row.model, row.deployment)
        if key not in steps:
            try:
                steps[key] = StepTimes.from_coefficients(coefficients_of(simulate(*key)))
            except EfficiencyError:
                steps[key] = None
        found = steps[key]
        if found is not None:
            records.append({"row": row, **predicted(row, found)})
    frame = pd.DataFrame(records)
    frame["model"] = [row.model for row in frame["row"]]
    frame["engine"] = [row.deployment.engine for row in frame["row"]]
    frame["clients"] = [row.clients for row in frame["row"]]
    frame["series"] = [repr(row.series) for row in frame["row"]]
    frame["is_test"] = frame["model"].str.contains(TEST_ONLY)
    return {
        "num_configurations": sum(found is not None for found in steps.values()),
        "num_without_timings": sum(found is None for found in steps.values()),
        "errors": [*_errors("as simulated", frame), *_errors("one factor a configuration", _calibrated(frame))],
        "left_out": [_left_out(frame, column) for column in ("model", "engine")],
    }


def _calibrated(frame: pd.DataFrame) -> pd.DataFrame:
    """Divide each figure by that of the configuration's lowest load, which is left out of the rows."""
    ordered = frame.sort_values(["series", "clients"], kind="stable")
    is_first = ~ordered.duplicated("series")
    factors = ordered.groupby("series")[list(FIGURES)].transform("first")
    return ordered.assign(**{name: ordered[name] / factors[name] for name in FIGURES})[~is_first]


def _errors(what: str, frame: pd.DataFrame) -> Iterator[Results]:
    """Yield mean and median errors of the models that constants were set by, of the others, and of each engine."""
    parts = [("fitted models", ~frame["is_test"]), ("test models", frame["is_test"])]
    parts += [(engine, frame["engine"] == engine) for engine in sorted(frame["engine"].unique())]
    for name, rows_of in parts:
        part = frame[rows_of]
        found: Results = {"what": what, "of": name, "num_rows": len(part)}
        for figure in FIGURES:
            error = (part[figure] - 1.0).abs()
            found[figure] = {"mean": float(error.mean()), "median": float(error.median())}
        yield found


def _left_out(frame: pd.DataFrame, column: str) -> Results:
    """Errors and interval coverage with one bias and one width learnt from the rows of all other groups."""
    found: Results = {"left_out": column, "num_rows": len(frame)}
    for figure in FIGURES:
        errors, covered = [], []
        for _, group in frame.groupby(column):
            others, own = (np.log(rows_of[figure]) for rows_of in (frame.drop(group.index), group))
            low, middle, high = np.quantile(others, [0.05, 0.5, 0.95])
            errors += np.abs(np.expm1(own - middle)).tolist()
            covered += ((low <= own) & (own <= high)).tolist()
        found[figure] = {"median": float(np.median(errors)), "mean": float(np.mean(errors))}
        found[figure]["covered"] = float(np.mean(covered))
    return found


STEPS = StepTimes.from_coefficients(
    RuntimeCoefficients(
        "linear",
        ((1, 0.01), (128, 0.012), (1024, 0.06), (4096, 0.26), (8192, 0.6)),
        0.010,
        Domain(1, 8192, 1, 4096, max_batch_size=256),
        decode_s_per_context_token=2e-8,
        batch_knots=((1, 1.0, 0.010), (8, 1.0, 0.011), (64, 1.0, 0.016), (256, 1.0, 0.030)),
    )
)
"""A model of 70 billion parameters on four H100, roughly."""


def against_simulation(num_requests: int) -> list[Results]:
    """Return closed form over event simulation, for loads light and heavy."""
    shuffled = np.random.default_rng(SEED).permutation(POINTS)
    lengths = Lengths.of(820 + 204 * POINTS, 205 + 51 * shuffled)
    found = []
    for load in (*(Load(clients=c) for c in (1, 4, 16, 64)), *(Load(requests_per_s=r) for r in (1.0, 3.0, 6.0))):
        if load.clients is not None:
            served = closed_loop(STEPS, lengths, clients=load.clients)
        else:
            served = open_loop(STEPS, lengths, requests_per_s=load.requests_per_s or 0.0)
        seen = simulate_server(STEPS, lengths, load, num_requests=num_requests)
        found.append(
            {
                "load": str(load),
                "requests_per_s": served.requests_per_s / seen.requests_per_s,
                "tpot_s": served.tpot_s.mean / float(seen.tpot_s.mean()),
                "ttft_s": served.ttft_s.mean / float(seen.ttft_s.mean()),
                "ttft_p95_s": served.ttft_s.p95 / float(np.quantile(seen.ttft_s, 0.95)),
            }
        )
    return found


def speed(num_requests: int, rounds: int) -> Results:
    """CPU seconds of scoring requests in runs of 1,000, alone and at load too."""
    fit = Fit("meta/llama-3-70b", Stack("h100", "h100-sxm", 4, engine="vllm", dtype="bf16"), STEPS.coefficients)
    coefficients = Coefficients.from_fits([fit])
    random = np.random.default_rng(SEED)
    names = {"harness": "mine", "suite": "", "run": "chat", "scenario": "chat", "deployment": fit.deployment}
    run = [
        RequestRecord(**names, model=fit.deployment, instance_id=str(index), prompt_tokens=p, output_tokens=o)
        for index, (p, o) in enumerate(random.integers(1, 2000, (1000, 2)).tolist())
    ]

    def score(busy: Any) -> None:
        for _ in range(num_requests // len(run)):
            score_requests(run, coefficients, stacks=["h100"], busy=busy)

    whole = run * (num_requests // len(run))

    def score_whole(busy: Any) -> None:
        score_requests(whole, coefficients, stacks=["h100"], busy=busy)

    return {
        "num_requests": num_requests,
        "one_run": {
            name: cpu_seconds(lambda busy=busy: score_whole(busy), rounds=rounds)  # type: ignore[misc]
            for name, busy in (("alone", None), ("at_load", DEFAULT_BUSY_SERVER))
        },
        "runs_of_1000": {
            name: cpu_seconds(lambda busy=busy: score(busy), rounds=1)  # type: ignore[misc]
            for name, busy in (("alone", None), ("at_load", DEFAULT_BUSY_SERVER))
        },
    }


def measure(options: Options) -> Results:
    """All three."""
    return {
        "measurements": against_measurements(40 if options.quick else None),
        "simulation": against_simulation(200 if options.quick else 4000),
        "speed": speed(10_000 if options.quick else NUM_REQUESTS, 1 if options.quick else 3),
    }


def section(results: Results) -> str:
    """What the page says."""
    found, fast = results["measurements"], results["speed"]
    errors = [[row["what"], row["of"], f"{row['num_rows']}", *_cells(row)] for row in found["errors"]]
    left_out = [[row["left_out"], *_cells(row), *_coverage(row)] for row in found["left_out"]]
    ratios = [[row["load"], *(f"{row[key]:.2f}" for key in list(row)[1:])] for row in results["simulation"]]
    whole = min(fast["one_run"]["at_load"]) / min(fast["one_run"]["alone"])
    runs = {name: min(seconds) / fast["num_requests"] * 1e6 for name, seconds in fast["runs_of_1000"].items()}
    return "\n\n".join(
        [
            HEADER.format(most=MOST_CLIENTS, num=found["num_configurations"]),
            table(["coefficients", "rows", "number", "time of a token", "tokens/s", "first token"], errors),
            "One bias and one width learnt from all other groups, and how often the nominal 90% interval holds:",
            table(
                ["left out", "time of a token", "tokens/s", "first token", *(f"held: {name}" for name in FIGURES)],
                left_out,
            ),
            "Closed form ÷ event simulation of the same server:",
            table(["load", "requests/s", "time of a token", "first token", "its 95th percentile"], ratios),
            f"Scoring {fast['num_requests']:,} requests at load as well as alone takes {times(whole)} the CPU time of "
            f"scoring them alone in one run. In runs of 1,000 it takes {runs['at_load']:.1f} µs a request instead of "
            f"{runs['alone']:.1f}.",
        ]
    )


HEADER = (
    "Measured closed loops of 1 to {most} clients on {num} configurations (those of AIConfigurator's wheel), predicted "
    "from its kernel timings with nothing fitted, and with one factor a configuration learnt from its lowest load "
    "alone. Errors are mean (median) of |predicted ÷ measured - 1|. Test models (Llama 3.1, Qwen3-32B, gpt-oss) had no "
    "part in any constant."
)


def _cells(row: Results) -> list[str]:
    return [f"{percent(row[name]['mean'])} ({percent(row[name]['median'])})" for name in FIGURES]


def _coverage(row: Results) -> Sequence[str]:
    return [percent(row[name]["covered"]) for name in FIGURES]


BENCHMARK = Benchmark("serving", measure, section, needs_data=False)

if __name__ == "__main__":
    main(BENCHMARK, __doc__)
