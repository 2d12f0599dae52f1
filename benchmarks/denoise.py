"""How well denoising recovers the truth of synthetic services, beside the minimum and the mean over trials.

Each service is asked for the paper's 5 × 7 lengths, ten times each; a share of the requests meets contention of one
kind (`helm_efficiency.core.service_noise`). Three estimators get the same requests:

- ours: `denoise`, with its nominal 90 % intervals;
- minimum: over the trials of each pair of lengths, then least squares of the same terms;
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

from helm_efficiency.core.denoising import denoise
from helm_efficiency.core.envelope import FloatArray, weighted_nnls
from helm_efficiency.core.service_log import ServiceLog
from helm_efficiency.core.service_model import RequestShape
from helm_efficiency.core.service_noise import CONTENTION, PAPER_PROMPT_TOKENS, SyntheticService

SHARES = (0.05, 0.2, 0.5)
ESTIMATORS = ("ours", "minimum", "mean")
COEFFICIENTS = ("overhead_s", "prefill_s_per_token", "decode_s_per_token")
SHAPE = RequestShape(PAPER_PROMPT_TOKENS, has_decode=True)
NUM_TRIALS = 10


def of_cells(log: ServiceLog, statistic: Callable[[FloatArray], float]) -> FloatArray:
    """The three coefficients from one statistic of the trials of each pair of lengths."""
    cells: dict[tuple[float, float], list[float]] = {}
    for p, o, seconds in zip(log.prompt_tokens, log.output_tokens, log.seconds, strict=True):
        cells.setdefault((p, o), []).append(seconds)
    p, o = np.array(list(cells)).T
    seconds = np.array([statistic(np.array(trials)) for trials in cells.values()])
    theta = weighted_nnls(SHAPE.design(p, o), seconds, 1.0 / seconds**2)
    first, last = PAPER_PROMPT_TOKENS[0], PAPER_PROMPT_TOKENS[-1]
    rise = (SHAPE.design(last, 1) - SHAPE.design(first, 1)) @ theta
    return np.array([theta[0], rise / (last - first), theta[-1]])


def try_service(service: SyntheticService, kind: str, share: float, seed: int) -> dict[str, FloatArray]:
    """Relative errors of the three coefficients (3) by estimator, and the half-width of our interval."""
    rng = np.random.default_rng([SEED + seed, list(CONTENTION).index(kind), round(100 * share)])
    log = service.serve(kind, contended_share=share, num_trials=NUM_TRIALS, rng=rng)
    fit = denoise(log, num_resamples=60).service
    intervals = [fit.overhead_s(), fit.prefill_s_per_token(), fit.decode_s_per_token()]
    value, low, high = np.array([tuple(interval) for interval in intervals if interval is not None]).T
    truth = np.array([getattr(service, name) for name in COEFFICIENTS])
    return {
        "ours": value / truth - 1.0,
        "minimum": of_cells(log, np.min) / truth - 1.0,
        "mean": of_cells(log, np.mean) / truth - 1.0,
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
    service = SyntheticService()
    asked = list(itertools.product(CONTENTION, shares))
    jobs = [(service, kind, share, seed) for kind, share in asked for seed in range(repeats)]
    with ProcessPoolExecutor() as pool:
        tries = list(pool.map(try_service, *zip(*jobs, strict=True)))
    rows = [
        row
        for i, (kind, share) in enumerate(asked)
        for row in summary(kind, share, tries[i * repeats : (i + 1) * repeats])
    ]
    return {"repeats": repeats, "num_trials": NUM_TRIALS, "rows": rows}


def markdown(rows: list[dict[str, Any]]) -> str:
    """The table of docs/denoising.md."""
    lines = []
    for row in rows:
        errors = [f"{row[f'{name}_bias']:+.1%} / {row[f'{name}_rmse']:.1%}" for name in ESTIMATORS]
        within = [f"{row[f'{name}_within']:.0%}" for name in ESTIMATORS]
        lines.append(
            [row["kind"], f"{row['contended_share']:.0%}", row["coefficient"].split("_s")[0], *errors, *within]
        )
    errors_of = [f"{name}: bias / RMSE" for name in ESTIMATORS]
    header = ["contention", "share", "coefficient", *errors_of, "coverage", "minimum as close", "mean as close"]
    return table(header, lines)


def section(results: Results) -> str:
    """What the page says: over the three coefficients, root mean squares by kind of contention and share."""
    rows = results["rows"]
    lines = []
    for kind, share in dict.fromkeys((row["kind"], row["contended_share"]) for row in rows):
        group = [row for row in rows if (row["kind"], row["contended_share"]) == (kind, share)]
        error = {name: _over(group, name) for name in ESTIMATORS}
        ratios = [times(error[name] / error["ours"]) for name in ESTIMATORS[1:]]
        lines.append([kind, f"{share:.0%}", *ratios, percent(error["ours"]), percent(_coverage(group))])
    header = [
        "contention",
        "share of requests",
        "the minimum's error ÷ ours",
        "the mean's ÷ ours",
        "our error",
        "coverage",
    ]
    total = {name: _over(rows, name) for name in ESTIMATORS}
    return (
        f"{results['repeats']} synthetic services a row, {results['num_trials']} trials of each pair of lengths. Over "
        f"all rows the root mean square error of a coefficient is {percent(total['ours'])}, of the minimum over trials "
        f"{percent(total['minimum'])}, of the mean {percent(total['mean'])}; nominal 90 % intervals hold the truth in "
        f"{percent(_coverage(rows))}. Each coefficient by itself: [denoising](denoising.md).\n\n" + table(header, lines)
    )


def _over(rows: list[dict[str, Any]], estimator: str) -> float:
    return float(np.sqrt(np.mean([row[f"{estimator}_rmse"] ** 2 for row in rows])))


def _coverage(rows: list[dict[str, Any]]) -> float:
    return float(np.mean([row["ours_within"] for row in rows]))


BENCHMARK = Benchmark("denoise", measure, section, needs_data=False)

if __name__ == "__main__":
    main(BENCHMARK, __doc__)
