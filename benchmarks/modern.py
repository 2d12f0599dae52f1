"""How far simulated stacks are off real servers: models, engines, accelerators and sources left out in turn.

    python benchmarks/modern.py
    python benchmarks/modern.py --learn       # and first writes the table of corrections that the package brings

Public measurements of served models (vLLM, SGLang, TensorRT-LLM on A100 to B300) are predicted from kernel timings and
the model of a server under load, corrected by what the rows that were not left out say. The peer is AIConfigurator's
own static estimate of the same rows. Rows of the wheel's closed loops for Llama 3.1, Qwen3-32B and gpt-oss are never
learnt from. It needs the extra `[stacks]`. Simulated cells are kept in the folder `build`: a second run is faster.
"""

import itertools
import math
import sys
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
from _harness import ROOT, Benchmark, Options, Results, main, parser, percent, table
from _learning import UNITS, Learnt, Seen, known, learn, seen_of
from _public_servers import Row, Simulated, read_rows, read_untouched_rows

from helm_efficiency.catalog.simulation_corrections import ANY, GENERATIONS

ENGINES = ("vllm", "sglang", "trtllm")
NOMINAL = 0.9
CORRECTIONS = ROOT / "helm_efficiency" / "catalog" / "data" / "simulation_corrections.csv"
LEFT_OUT: dict[str, Callable[[Row], str]] = {
    "model": lambda row: row.base_model,
    "engine": lambda row: row.engine,
    "accelerator": lambda row: row.deployment.accelerator,
    "source": lambda row: row.source,
}
FIGURES = ("time", "first")


class Judged(NamedTuple):
    """A predicted row.

    Attributes:
        row: What was measured.
        left_out: Group that was left out.
        error: log(measured / predicted).
        sd: Standard deviation that was expected of it.
        peer: log(measured / peer's prediction).
    """

    row: Row
    left_out: str
    error: float
    sd: float
    peer: float


def judged(learnt: Learnt, seen: Iterable[Seen], left_out: str) -> dict[str, list[Judged]]:
    """Predict rows by what was learnt from others, for each figure; the package knows neither model nor version."""
    found: dict[str, list[Judged]] = {name: [] for name in FIGURES}
    servers = {one.row.configuration: one.row for one in seen}
    expected = {server: learnt.expected(known(row)) for server, row in servers.items()}
    for one in seen:
        peer = math.log(one.row.measured_s / one.peer_s)
        for name, error, mean in zip(FIGURES, learnt.errors(one), expected[one.row.configuration], strict=True):
            if error is not None:
                found[name].append(Judged(one.row, left_out, error - mean.mean, mean.sd, peer))
    return found


def held_out(seen: Sequence[Seen], factor: str) -> dict[str, list[Judged]]:
    """Predict each group of a factor from all other groups."""
    of = LEFT_OUT[factor]
    found: dict[str, list[Judged]] = {name: [] for name in FIGURES}
    for group in sorted({of(one.row) for one in seen}):
        learnt = learn([one for one in seen if of(one.row) != group])
        own = [one for one in seen if of(one.row) == group]
        for name, rows in judged(learnt, own, group).items():
            found[name] += rows
    return found


def scale_of(rows: Sequence[Judged]) -> float:
    """Return how many standard deviations hold 90 % of the errors, each server counted once."""
    count = Counter(one.row.configuration for one in rows)
    weights = np.array([1.0 / count[one.row.configuration] for one in rows])
    ratios = np.array([abs(one.error) / one.sd for one in rows])
    order = np.argsort(ratios)
    return float(ratios[order][np.searchsorted(np.cumsum(weights[order]), NOMINAL * weights.sum())])


def half_widths(rows: Sequence[Judged]) -> list[float]:
    """Return the half-width of each row's interval, as a logarithm, from how far the other groups' errors strayed."""
    scales = {}
    for group in {one.left_out for one in rows}:
        others = [one for one in rows if one.left_out != group]
        scales[group] = scale_of(others or rows)
    return [scales[one.left_out] * one.sd for one in rows]


def summary(rows: Sequence[Judged], widths: Sequence[float]) -> dict[str, float]:
    """Mean and median errors, coverage and width of the interval, beside the peer."""
    error, peer = (
        np.abs(np.expm1([-value for value in values]))
        for values in zip(*((r.error, r.peer) for r in rows), strict=True)
    )
    return {
        "rows": len(rows),
        "servers": len({one.row.configuration for one in rows}),
        "mean": float(error.mean()),
        "median": float(np.median(error)),
        "peer_mean": float(peer.mean()),
        "peer_median": float(np.median(peer)),
        "covered": float(np.mean([abs(one.error) <= width for one, width in zip(rows, widths, strict=True)])),
        "half_width": float(np.median(np.expm1(widths))),
    }


def by_group(rows: Sequence[Judged], widths: Sequence[float]) -> dict[str, dict[str, float]]:
    """Summarize the rows of each kind, number format, engine, accelerator and source."""
    groups: dict[str, list[int]] = {}
    for index, one in enumerate(rows):
        d = one.row.deployment
        kind = one.row.groups["kind"]
        for name in (
            kind if kind == "dense" else "mixture of experts",
            d.dtype,
            one.row.engine,
            d.accelerator,
            one.row.source,
        ):
            groups.setdefault(name, []).append(index)
    return {name: summary([rows[i] for i in of], [widths[i] for i in of]) for name, of in groups.items()}


def measure(options: Options) -> Results:
    """Hold out models, engines, accelerators and sources; then predict the rows that nothing is learnt from."""
    every = 8 if options.quick else 1
    simulated = Simulated()
    seen = seen_of(read_rows(options.real_data / "modern")[::every], simulated)
    results: Results = {name: {} for name in (*FIGURES, "groups", "untouched_groups")}
    scales = {}
    for factor in LEFT_OUT:
        for name, rows in held_out(seen, factor).items():
            results[name][f"{factor} left out"] = summary(rows, half_widths(rows))
            if factor == "model":
                scales[name] = scale_of(rows)
                results["groups"][name] = by_group(rows, half_widths(rows))
    learnt = learn(seen)
    untouched = seen_of(read_untouched_rows()[::every], simulated)
    for name, rows in judged(learnt, untouched, "").items():
        widths = [scales[name] * one.sd for one in rows]
        results[name]["never learnt from"] = summary(rows, widths)
        results["untouched_groups"][name] = by_group(rows, widths)
    results["overheads"] = {engine: (np.array(UNITS) * found).tolist() for engine, found in learnt.overheads.items()}
    results["widths"] = {**learnt.time.widths, "server": learnt.time.residual_sd, "row": learnt.scatter[0]}
    return results


def write_corrections(folder: Path) -> None:
    """Write a correction for each combination of groups, and for what none of them is."""
    seen = seen_of(read_rows(folder), Simulated())
    learnt = learn(seen)
    time_scale, first_scale = (scale_of(rows) for rows in held_out(seen, "model").values())
    generations = (*sorted({GENERATIONS[one.row.deployment.accelerator] for one in seen}), ANY)
    dtypes = (*sorted({one.row.deployment.dtype for one in seen}), ANY)
    lines = [
        "# Made by `python benchmarks/modern.py --learn` from closed loops of InferenceX and NVIDIA (no Llama 3.1,",
        "# Qwen3-32B and gpt-oss), ML.ENERGY v3, Qwen's speed benchmark and Argonne's LLM-Inference-Bench.",
        "engine,generation,dtype,kind,prefill_factor,decode_factor,prefill_error,decode_error,step_s,row_s",
    ]
    for engine, generation, dtype, kind in itertools.product(
        (*ENGINES, ANY), generations, dtypes, ("dense", "moe", ANY)
    ):
        groups = {"engine": engine, "era": engine, "kind": kind, "engine on generation": f"{engine} {generation}"}
        groups["kernels"] = f"{engine} {dtype} {generation}"
        c = learnt.correction(engine, {factor: group for factor, group in groups.items() if ANY not in group})
        errors = math.sinh(first_scale * c.prefill_error), math.sinh(time_scale * c.decode_error)
        texts = [f"{number:.3f}" for number in (c.prefill_factor, c.decode_factor, *errors)]
        lines.append(",".join([engine, generation, dtype, kind, *texts, f"{c.step_s:.2g}", f"{c.row_s:.2g}"]))
    CORRECTIONS.write_text("\n".join(lines) + "\n", encoding="utf-8")


def section(results: Results) -> str:
    """The tables of held-out errors."""
    header = ["", "rows (servers)", "mean", "median", "peer, mean", "peer, median", "interval holds", "its half-width"]

    def rows_of(of: dict[str, dict[str, float]]) -> str:
        keys = ("mean", "median", "peer_mean", "peer_median", "covered", "half_width")
        lines = [
            [name, f"{row['rows']:,} ({row['servers']})", *(percent(row[key]) for key in keys)]
            for name, row in of.items()
        ]
        return table(header, lines)

    widths = ", ".join(f"{name} {percent(width)}" for name, width in results["widths"].items())
    overheads = ", ".join(
        f"{engine} {step_s * 1e3:.1f} ms and {row_s * 1e6:.0f} µs a row, prefill {1.0 + more:.2f} times as long"
        for engine, (step_s, row_s, more) in results["overheads"].items()
    )
    return "\n\n".join(
        [
            "Time per output token of public servers, and of whole batches, predicted from kernel timings, the model "
            "of a server under load and corrections learnt from the other rows. The peer is AIConfigurator's own "
            "static batch of as many rows as clients. Neither knows the version of the engine, only the era of vLLM.",
            rows_of(results["time"]),
            "By group, models left out:",
            rows_of(results["groups"]["time"]),
            "By group, of the rows that nothing is learnt from (Llama 3.1, Qwen3-32B, gpt-oss):",
            rows_of(results["untouched_groups"]["time"]),
            "Time to the first token of closed loops (the peer's columns are of the time per output token):",
            rows_of(results["first"]),
            f"Overheads of a decode step: {overheads}. Widths of the effects: {widths}.",
        ]
    )


BENCHMARK = Benchmark("modern", measure, section)

if __name__ == "__main__":
    if "--learn" in sys.argv:
        sys.argv.remove("--learn")
        write_corrections(parser(__doc__).parse_args().data / "modern")
    main(BENCHMARK, __doc__)
