"""A server under load: held against measured closed loops, against an event simulation, and how fast it scores.

    python benchmarks/serving.py

The measurements are the closed loops that AIConfigurator lists in its wheel: 1 to 512 clients on H100, H200, B200 and
others under vLLM, SGLang and TensorRT-LLM, most of them InferenceX's. Coefficients are its kernel timings, as they are
and with the corrections that `modern.py` learns from the rows of other models or engines. Llama 3.1, Qwen3-32B and
gpt-oss are a test only: nothing is learnt from them, and no constant was set by them.
"""

import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from _harness import SEED, Benchmark, Options, Results, cpu_seconds, main, percent, table, times
from _learning import Learnt, Seen, known, learn, seen_of
from _public_servers import Row, Simulated, read_rows, read_untouched_rows, served
from _simulated_server import simulate as simulate_server
from modern import Judged, half_widths, scale_of, summary

from helm_efficiency import Coefficients, Domain, Fit, RequestRecord, RuntimeCoefficients, Stack, score_requests
from helm_efficiency.core.fitting.correction import corrected
from helm_efficiency.core.serving.lengths import Lengths
from helm_efficiency.core.serving.load import Load
from helm_efficiency.core.serving.steady_state import closed_loop, open_loop
from helm_efficiency.core.serving.steps import StepTimes
from helm_efficiency.metrics.at_load import DEFAULT_BUSY_SERVER

POINTS = (np.arange(64) + 0.5) / 64
FIGURES = ("tpot", "tok_per_s", "ttft")
NUM_REQUESTS = 1_000_000


def errors_of(row: Row, steps: StepTimes) -> dict[str, float]:
    """Return log(measured / predicted) of each figure."""
    found = served(row, steps)
    assert row.clients is not None and row.ttft_s is not None
    request_s = row.ttft_s + row.measured_s * (row.lengths().mean_output_tokens - 1.0)
    return {
        "tpot": math.log(row.measured_s / found.tpot_s.mean),
        "tok_per_s": math.log(row.clients / request_s / found.requests_per_s),
        "ttft": math.log(row.ttft_s / found.ttft_s.mean),
    }


def judged(seen: Sequence[Seen], simulated: Simulated, left_out: str, learnt: Learnt) -> dict[str, list[Judged]]:
    """Predict closed loops with corrections; the peer is the same without."""
    found: dict[str, list[Judged]] = {figure: [] for figure in FIGURES}
    for row in (one.row for one in seen if one.row.clients is not None):
        steps = simulated.steps(row.model, row.deployment)
        assert steps is not None
        correction = learnt.correction(row.engine, known(row))
        better = StepTimes.from_coefficients(corrected(steps.coefficients, correction))
        widths = {
            "tpot": correction.decode_error,
            "tok_per_s": correction.decode_error,
            "ttft": correction.prefill_error,
        }
        plain = errors_of(row, steps)
        for figure, error in errors_of(row, better).items():
            found[figure].append(Judged(row, left_out, error, widths[figure], plain[figure]))
    return found


def against_measurements(options: Options) -> Results:
    """Errors of closed loops: models and engines left out in turn, and models that nothing is learnt from."""
    every, simulated = 10 if options.quick else 1, Simulated()
    seen = seen_of(read_rows(options.real_data / "modern")[::every], simulated)
    untouched = seen_of(read_untouched_rows()[::every], simulated)
    errors: dict[str, Any] = {}
    parts: dict[str, Callable[[Row], str]] = {"model": lambda row: row.base_model, "engine": lambda row: row.engine}
    scales = {}
    for factor, of in parts.items():
        found: dict[str, list[Judged]] = {figure: [] for figure in FIGURES}
        for group in sorted({of(one.row) for one in seen if one.row.clients is not None}):
            learnt = learn([one for one in seen if of(one.row) != group])
            own = [one for one in seen if of(one.row) == group]
            for figure, rows in judged(own, simulated, group, learnt).items():
                found[figure] += rows
        errors[f"{factor} left out"] = {figure: summary(rows, half_widths(rows)) for figure, rows in found.items()}
        if factor == "model":
            scales = {figure: scale_of(rows) for figure, rows in found.items()}
    last = judged(untouched, simulated, "", learn(seen))
    sides = {figure: [scales[figure] * one.sd for one in rows] for figure, rows in last.items()}
    errors["never learnt from"] = {figure: summary(rows, sides[figure]) for figure, rows in last.items()}
    return {"errors": errors, "from_lowest_load": from_lowest_load(last)}


def from_lowest_load(judged: dict[str, list[Judged]]) -> Results:
    """Errors with one factor a configuration and length, learnt from its lowest load alone, which is left out."""
    found: Results = {}
    for figure, rows in judged.items():
        ordered = sorted(rows, key=lambda one: one.row.batch_size)
        first: dict[tuple[object, ...], float] = {}
        left = []
        for one in ordered:
            series = one.row.configuration
            if series in first:
                left.append(abs(math.expm1(first[series] - one.error)))
            first.setdefault(series, one.error)
        found[figure] = {"rows": len(left), "mean": float(np.mean(left)), "median": float(np.median(left))}
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
        "measurements": against_measurements(options),
        "simulation": against_simulation(200 if options.quick else 4000),
        "speed": speed(10_000 if options.quick else NUM_REQUESTS, 1 if options.quick else 3),
    }


def section(results: Results) -> str:
    """What the page says."""
    found, fast = results["measurements"], results["speed"]
    keys = ("mean", "median", "peer_mean", "peer_median", "covered", "half_width")
    errors = [
        [what, NAMES[figure], f"{row['rows']:,}", *(percent(row[key]) for key in keys)]
        for what, of in found["errors"].items()
        for figure, row in of.items()
    ]
    lowest = ", ".join(
        f"{NAMES[figure]} {percent(row['mean'])} and {percent(row['median'])}"
        for figure, row in found["from_lowest_load"].items()
    )
    ratios = [[row["load"], *(f"{row[key]:.2f}" for key in list(row)[1:])] for row in results["simulation"]]
    whole = min(fast["one_run"]["at_load"]) / min(fast["one_run"]["alone"])
    runs = {name: min(seconds) / fast["num_requests"] * 1e6 for name, seconds in fast["runs_of_1000"].items()}
    header = ["", "figure", "rows", "mean", "median", "uncorrected, mean", "uncorrected, median"]
    return "\n\n".join(
        [
            "Measured closed loops of 1 to 512 clients, predicted from AIConfigurator's kernel timings with the "
            "corrections that are learnt from the rows of other models or engines (`modern.py`), and without them.",
            table([*header, "interval holds", "its half-width"], errors),
            "With one factor a configuration, learnt from its lowest load alone, the rows that nothing is learnt from "
            f"are off by (mean and median): {lowest}.",
            "Closed form ÷ event simulation of the same server:",
            table(["load", "requests/s", "time of a token", "first token", "its 95th percentile"], ratios),
            f"Scoring {fast['num_requests']:,} requests at load as well as alone takes {times(whole)} the CPU time of "
            f"scoring them alone in one run. In runs of 1,000 it takes {runs['at_load']:.1f} µs a request instead of "
            f"{runs['alone']:.1f}.",
        ]
    )


NAMES = {"tpot": "time of a token", "tok_per_s": "tokens/s", "ttft": "first token"}

BENCHMARK = Benchmark("serving", measure, section)

if __name__ == "__main__":
    main(BENCHMARK, __doc__)
