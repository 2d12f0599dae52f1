"""How well denoising recovers the truth of synthetic services, beside the minimum and the mean over trials.

Each service is asked for the paper's 5 × 7 lengths, ten times each; a share of the requests meets contention of one
kind (`_synthetic_services`). In the last rows, `context`, waits are those of `queue`, and a
decode step takes longer the more tokens it looks back on. Three estimators get the same requests:

- ours: `denoise`, with its nominal 90 % intervals;
- minimum: over the trials of each pair of lengths, then least squares of the terms that the service has;
- mean: over the trials, then the same.

Bias and root mean square error are fractions of the true coefficient. Coverage is the share of services whose truth
lies in our interval; the last two columns are the share of services in which the minimum or the mean comes as close to
the truth as our interval is wide.

    python benchmarks/denoise.py
"""

import itertools
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from typing import Any

import numpy as np
from _harness import SEED, Benchmark, Options, Results, main, percent, table, times
from _synthetic_services import CONTENTION, PAPER_PROMPT_TOKENS, SyntheticService
from numpy.typing import ArrayLike

from helm_efficiency.core.arrays import FloatArray
from helm_efficiency.core.services.denoise import denoise
from helm_efficiency.core.services.envelope import weighted_nnls
from helm_efficiency.core.services.log import ServiceLog
from helm_efficiency.core.services.model import RequestShape

SHARES = (0.05, 0.2, 0.5)
ESTIMATORS = ("ours", "minimum", "mean")
COEFFICIENTS = ("overhead", "prefill", "decode")
SERVICES = {
    **dict.fromkeys(CONTENTION, SyntheticService()),
    "context": SyntheticService(decode_s_per_context_token=1e-5),
}
MIDDLE = float(np.median(PAPER_PROMPT_TOKENS))  # the prompt after which the decode slope is compared
NUM_TRIALS = 10


def of_cells(log: ServiceLog, shape: RequestShape, statistic: Callable[[FloatArray], float]) -> FloatArray:
    """The three coefficients from one statistic of the trials of each pair of lengths."""
    cells: dict[tuple[float, float], list[float]] = {}
    for p, o, seconds in zip(log.prompt_tokens, log.output_tokens, log.seconds, strict=True):
        cells.setdefault((p, o), []).append(seconds)
    p, o = np.array(list(cells)).T
    seconds = np.array([statistic(np.array(trials)) for trials in cells.values()])
    theta = weighted_nnls(shape.design(p, o), seconds, 1.0 / seconds**2)
    return three_of(lambda p, o: shape.design(p, o) @ theta)


def three_of(seconds: Callable[[ArrayLike, ArrayLike], FloatArray]) -> FloatArray:
    """The three coefficients of whatever says how many seconds requests take."""
    first, last = PAPER_PROMPT_TOKENS[0], PAPER_PROMPT_TOKENS[-1]
    rise = seconds(last, 1) - seconds(first, 1)
    return np.array([seconds(0, 1), rise / (last - first), seconds(MIDDLE, 2) - seconds(MIDDLE, 1)])


def try_service(kind: str, share: float, seed: int) -> dict[str, FloatArray]:
    """Relative errors of the three coefficients (3) by estimator, and the half-width of our interval."""
    service = SERVICES[kind]
    rng = np.random.default_rng([SEED + seed, list(SERVICES).index(kind), round(100 * share)])
    waits = kind if kind in CONTENTION else "queue"
    log = service.serve(waits, contended_share=share, num_trials=NUM_TRIALS, rng=rng)
    fit = denoise(log).service
    intervals = [fit.overhead_s(), fit.prefill_s_per_token(), fit.decode_s_per_token()]
    value, low, high = np.array([tuple(interval) for interval in intervals if interval is not None]).T
    truth = three_of(service.uncontended_s)
    shape = RequestShape(PAPER_PROMPT_TOKENS, True, service.decode_s_per_context_token > 0)
    return {
        "ours": value / truth - 1.0,
        "minimum": of_cells(log, shape, np.min) / truth - 1.0,
        "mean": of_cells(log, shape, np.mean) / truth - 1.0,
        "half": np.maximum(high - value, value - low) / truth,
    }


def summary(kind: str, share: float, tries: list[dict[str, FloatArray]]) -> list[dict[str, Any]]:
    """One row a coefficient."""
    errors = {name: np.array([one[name] for one in tries]) for name in tries[0]}
    half = errors.pop("half")
    return [
        {
            "kind": kind,
            "contended_share": share,
            "coefficient": coefficient,
            **{f"{name}_bias": float(error[:, i].mean()) for name, error in errors.items()},
            **{f"{name}_rmse": float(np.sqrt(np.mean(error[:, i] ** 2))) for name, error in errors.items()},
            **{f"{name}_within": float(np.mean(abs(error[:, i]) <= half[:, i])) for name, error in errors.items()},
        }
        for i, coefficient in enumerate(COEFFICIENTS)
    ]


def measure(options: Options) -> Results:
    """A row for each kind of contention, share of contended requests and coefficient."""
    repeats, shares = (1, SHARES[1:2]) if options.quick else (40, SHARES)
    asked = list(itertools.product(SERVICES, shares))
    jobs = [(kind, share, seed) for kind, share in asked for seed in range(repeats)]
    with ProcessPoolExecutor() as pool:
        tries = list(pool.map(try_service, *zip(*jobs, strict=True)))
    rows = [
        row
        for i, (kind, share) in enumerate(asked)
        for row in summary(kind, share, tries[i * repeats : (i + 1) * repeats])
    ]
    return {"repeats": repeats, "num_trials": NUM_TRIALS, "rows": rows}


def markdown(rows: list[dict[str, Any]]) -> str:
    """Return the table of benchmarks/results/denoise.md."""
    lines = []
    for row in rows:
        errors = [f"{row[f'{name}_bias']:+.1%} / {row[f'{name}_rmse']:.1%}" for name in ESTIMATORS]
        within = [f"{row[f'{name}_within']:.0%}" for name in ESTIMATORS]
        lines.append([row["kind"], f"{row['contended_share']:.0%}", row["coefficient"], *errors, *within])
    errors_of = [f"{name}: bias / RMSE" for name in ESTIMATORS]
    header = ["contention", "share", "coefficient", *errors_of, "coverage", "minimum as close", "mean as close"]
    return table(header, lines)


def section(results: Results) -> str:
    """Return what the page says: over the three coefficients, by kind of contention and share of requests."""
    rows = results["rows"]
    lines = []
    for kind in dict.fromkeys(row["kind"] for row in rows):
        groups = [[r for r in rows if (r["kind"], r["contended_share"]) == (kind, share)] for share in SHARES]
        lines.append([kind, *(_cell(group) for group in groups if group)])
    total = {name: percent(_over(rows, name)) for name in ESTIMATORS}
    return (
        f"{results['repeats']} synthetic services a cell, {results['num_trials']} trials of each pair of lengths. The "
        f"root mean square error of a coefficient is {total['ours']} in all, of the minimum over trials "
        f"{total['minimum']}, of the mean {total['mean']}; nominal 90% intervals hold the truth in "
        f"{percent(_coverage(rows))}. Each cell: the minimum's error ÷ ours, the mean's ÷ ours, our error, coverage. "
        "By coefficient: [results/denoise.md](../benchmarks/results/denoise.md).\n\n"
        + table(["contention", *(f"of {share:.0%} of the requests" for share in SHARES)], lines)
    )


def _cell(group: list[dict[str, Any]]) -> str:
    error = {name: _over(group, name) for name in ESTIMATORS}
    ratios = [times(error[name] / error["ours"]) for name in ESTIMATORS[1:]]
    return ", ".join([*ratios, percent(error["ours"]), percent(_coverage(group))])


def _over(rows: list[dict[str, Any]], estimator: str) -> float:
    return float(np.sqrt(np.mean([row[f"{estimator}_rmse"] ** 2 for row in rows])))


def _coverage(rows: list[dict[str, Any]]) -> float:
    return float(np.mean([row["ours_within"] for row in rows]))


BENCHMARK = Benchmark("denoise", measure, section, needs_data=False)

if __name__ == "__main__":
    main(BENCHMARK, __doc__)
