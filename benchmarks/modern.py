"""How far simulated stacks are off real servers: models, engines, accelerators and sources left out in turn.

    python benchmarks/modern.py
    python benchmarks/modern.py --learn       # and writes the table of corrections that the package brings

Public measurements of served models (vLLM, SGLang, TensorRT-LLM on A100 to B300) are predicted from kernel timings and
the model of a server under load, corrected by what the rows that were not left out say. The peer is AIConfigurator's
own static estimate of the same rows. Rows of the wheel's silicon sample for Llama 3.1, Qwen3-32B and gpt-oss are never
learnt from.

Not among the benchmarks of `make bench` yet: it needs the extra `[stacks]`, and its last part, the rows that nothing is
learnt from, has not been run to the end.
"""

import itertools
import math
import sys
from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from typing import Any, NamedTuple

import numpy as np
from _group_effects import GroupEffects, LogError, fit_group_effects
from _harness import ROOT, Benchmark, Options, Results, main, percent, table
from _public_servers import Row, coefficients_of, predicted, read_rows, read_untouched_rows

from helm_efficiency.catalog.simulation_corrections import ANY, GENERATIONS
from helm_efficiency.core.fitting.correction import Correction
from helm_efficiency.core.serving.steps import StepTimes
from helm_efficiency.errors import EfficiencyError

OVERHEADS = {"vllm": (0.002, 3e-5), "sglang": (0.0015, 2e-5), "trtllm": (0.0005, 1e-5)}
"""Seconds of a step beside its kernels, and more for each row: the widths of the effects of models are least with these
(vLLM: 1 to 3 ms and 20 to 40 us are as good; the row's share shows in batches up to 256, which only vLLM has)."""

WITHIN_SD = 0.09
"""How far loads and lengths of one server stray from its mean error."""

QUANTILE_90 = 1.645
ROWS_PER_SERVER = 3
CORRECTIONS = ROOT / "helm_efficiency" / "catalog" / "data" / "simulation_corrections.csv"
LEFT_OUT: dict[str, Callable[[Row], str]] = {
    "model": lambda row: row.base_model,
    "engine": lambda row: row.deployment.engine,
    "accelerator": lambda row: row.deployment.accelerator,
    "source": lambda row: row.source,
}
NOT_SHARED = {
    "model": ("model",),
    "engine": ("engine", "engine on generation"),
    "accelerator": ("accelerator",),
    "source": (),
}


class Seen(NamedTuple):
    """A row with its predictions, as log(measured / predicted).

    Attributes:
        row: What was measured.
        time: Error of the time per output token, or of the whole batch.
        ttft: Error of the time to the first token; None where it was not measured.
        peer: Error of the static estimate that the simulator makes itself.
    """

    row: Row
    time: float
    ttft: float | None
    peer: float


def seen_of(rows: Iterable[Row]) -> list[Seen]:
    """Predict rows from kernels and overheads, uncorrected; those without kernels are left out."""
    found = []
    for row in _thinned(rows):
        step_s, row_s = OVERHEADS[row.deployment.engine]
        overheads = Correction(1.0, 1.0, 1.0, 1.0, step_s=step_s, row_s=row_s)
        try:
            seconds, ttft_s = predicted(row, overheads)
        except EfficiencyError:
            continue
        ttft = math.log(row.ttft_s / ttft_s) if row.ttft_s and ttft_s else None
        found.append(Seen(row, math.log(row.measured_s / seconds), ttft, math.log(row.measured_s / _peer_s(row))))
    return found


def _peer_s(row: Row) -> float:
    """Return what one static batch of as many rows as clients takes a token, or as a whole."""
    if row.clients is None or row.prompt_tokens is None:
        return predicted(row, None)[0]
    raw = coefficients_of(row.model, row.deployment)
    assert raw is not None
    context = row.prompt_tokens + row.output_tokens / 2.0
    return StepTimes.from_coefficients(raw).decode_pass_s(row.clients, row.clients * context)


def _thinned(rows: Iterable[Row]) -> list[Row]:
    """Return at most a few rows of each server, spread over its loads and lengths."""
    servers: dict[tuple[object, ...], list[Row]] = defaultdict(list)
    for row in rows:
        servers[row.configuration].append(row)
    picked = []
    for of_server in servers.values():
        index = np.unique(np.linspace(0, len(of_server) - 1, ROWS_PER_SERVER).round().astype(int))
        picked += [of_server[i] for i in index]
    return picked


def learn(seen: Sequence[Seen], error: Callable[[Seen], float | None]) -> GroupEffects:
    """Fit effects to the mean error of each server."""
    servers: dict[tuple[object, ...], list[tuple[float, dict[str, str]]]] = defaultdict(list)
    for one in seen:
        value = error(one)
        if value is not None:
            servers[one.row.configuration].append((value, one.row.groups))
    means = [float(np.mean([value for value, _ in pairs])) for pairs in servers.values()]
    return fit_group_effects(means, [pairs[0][1] for pairs in servers.values()])


def held_out(seen: Sequence[Seen], factor: str, error: Callable[[Seen], float | None]) -> list[dict[str, Any]]:
    """Predict the errors of each group of a factor from all other groups."""
    of = LEFT_OUT[factor]
    rows = []
    for group in sorted({of(one.row) for one in seen}):
        rest = [one for one in seen if of(one.row) != group]
        if len({one.row.configuration for one in rest}) < 2 or not any(error(one) is not None for one in rest):
            continue
        effects = learn(rest, error)
        for one in seen:
            value = error(one)
            if of(one.row) == group and value is not None:
                known = {k: v for k, v in one.row.groups.items() if k not in ("version", *NOT_SHARED[factor])}
                rows.append(_judged(one, value, effects.predict(known)))
    return rows


def _judged(one: Seen, value: float, expected: LogError) -> dict[str, Any]:
    left = value - expected.mean
    spread = QUANTILE_90 * math.hypot(expected.sd, WITHIN_SD)
    groups = one.row.groups
    return {
        "source": one.row.source,
        "engine": groups["engine"],
        "dtype": one.row.deployment.dtype,
        "kind": groups["kind"],
        "error": abs(math.exp(-left) - 1.0),
        "raw": abs(math.exp(-value) - 1.0),
        "peer": abs(math.exp(-one.peer) - 1.0),
        "covered": abs(left) <= spread,
        "half_width": math.sinh(spread),
    }


def summary(rows: Sequence[dict[str, Any]]) -> dict[str, float]:
    """Mean and median errors, coverage and width of the interval, beside the peer."""
    return {
        "rows": len(rows),
        "mean": float(np.mean([row["error"] for row in rows])),
        "median": float(np.median([row["error"] for row in rows])),
        "peer_mean": float(np.mean([row["peer"] for row in rows])),
        "peer_median": float(np.median([row["peer"] for row in rows])),
        "covered": float(np.mean([row["covered"] for row in rows])),
        "half_width": float(np.median([row["half_width"] for row in rows])),
    }


def measure(options: Options) -> Results:
    """Hold out models, engines, accelerators and sources; then predict the rows that nothing is learnt from."""
    seen = seen_of(read_rows(options.real_data / "modern"))
    sys.stderr.write(f"{len(seen)} rows of {len({one.row.configuration for one in seen})} servers\n")
    results: Results = {"time": {}, "ttft": {}, "groups": {}}
    for name, error in (("time", lambda one: one.time), ("ttft", lambda one: one.ttft)):
        for factor in LEFT_OUT:
            if name == "time" or factor in ("model", "engine"):  # only one source has times to the first token
                rows = held_out(seen, factor, error)
                results[name][f"{factor} left out"] = summary(rows)
                sys.stderr.write(f"{name}, {factor} left out: {results[name][f'{factor} left out']}\n")
                if name == "time" and factor == "model":
                    results["groups"] = _by_group(rows)
    effects, first = learn(seen, lambda one: one.time), learn(seen, lambda one: one.ttft)
    results["widths"] = {**effects.widths, "residual": effects.residual_sd}
    untouched = seen_of(read_untouched_rows())
    for name, error, fitted in (("time", lambda one: one.time, effects), ("ttft", lambda one: one.ttft, first)):
        unseen = ("version", "model")
        known = [({k: v for k, v in one.row.groups.items() if k not in unseen}, one, error(one)) for one in untouched]
        rows = [_judged(one, value, fitted.predict(groups)) for groups, one, value in known if value is not None]
        results[name]["never learnt from"] = summary(rows)
    if LEARN:
        write_corrections(seen, effects, first)
    return results


def _by_group(rows: Sequence[dict[str, Any]]) -> dict[str, dict[str, float]]:
    groups = {f"{key} {row[key]}" for row in rows for key in ("engine", "dtype", "kind")}
    return {g: summary([row for row in rows if row[g.split(" ")[0]] == g.split(" ")[1]]) for g in sorted(groups)}


def write_corrections(seen: Sequence[Seen], effects: GroupEffects, first: GroupEffects) -> None:
    """Write a correction for each combination of groups, and for what none of them is."""
    engines = (*OVERHEADS, ANY)
    generations = (*sorted({GENERATIONS[one.row.deployment.accelerator] for one in seen}), ANY)
    dtypes = (*sorted({one.row.deployment.dtype for one in seen}), ANY)
    lines = [
        "# Learnt by benchmarks/modern.py --learn from AIConfigurator's silicon sample (InferenceX; without Llama 3.1,",
        "# Qwen3-32B and gpt-oss), ML.ENERGY v3, Qwen's speed benchmark and Argonne's LLM-Inference-Bench.",
        "engine,generation,dtype,kind,prefill_factor,decode_factor,prefill_error,decode_error,step_s,row_s",
    ]
    for engine, generation, dtype, kind in itertools.product(engines, generations, dtypes, ("dense", "moe", ANY)):
        known = {"engine": engine, "kind": kind, "engine on generation": f"{engine} {generation}"}
        known["dtype on generation"] = f"{dtype} {generation}"
        groups = {factor: group for factor, group in known.items() if ANY not in group}
        decode, prefill = effects.predict(groups), first.predict(groups)
        step_s, row_s = OVERHEADS.get(engine, (0.001, 2e-5))
        errors = [math.sinh(QUANTILE_90 * math.hypot(one.sd, WITHIN_SD)) for one in (prefill, decode)]
        numbers = (math.exp(prefill.mean), math.exp(decode.mean), *errors)
        lines.append(
            ",".join([engine, generation, dtype, kind, *(f"{n:.3f}" for n in numbers), f"{step_s}", f"{row_s}"])
        )
    CORRECTIONS.write_text("\n".join(lines) + "\n", encoding="utf-8")


def section(results: Results) -> str:
    """The tables of held-out errors."""
    header = ["", "rows", "mean", "median", "peer, mean", "peer, median", "interval holds", "its half-width"]

    def lines(of: dict[str, dict[str, float]]) -> list[list[str]]:
        keys = ("mean", "median", "peer_mean", "peer_median", "covered", "half_width")
        return [[name, f"{row['rows']:.0f}", *(percent(row[key]) for key in keys)] for name, row in of.items()]

    widths = ", ".join(f"{name} {percent(width)}" for name, width in results["widths"].items())
    return "\n\n".join(
        [
            "Time per output token of public servers, and of whole batches, predicted from kernel timings, the model "
            "of a server under load and corrections learnt from the other rows; the peer is a static batch.",
            table(header, lines(results["time"])),
            "By group, models left out:",
            table(header, lines(results["groups"])),
            "Time to the first token under load (the peer's columns are of the time per output token):",
            table(header, lines(results["ttft"])),
            f"Widths of the effects: {widths}.",
        ]
    )


LEARN = False
"""Whether to write the corrections that the package brings."""

BENCHMARK = Benchmark("modern", measure, section)

if __name__ == "__main__":
    LEARN = "--learn" in sys.argv
    sys.argv = [argument for argument in sys.argv if argument != "--learn"]
    main(BENCHMARK, __doc__)
