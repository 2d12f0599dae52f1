"""How well denoising recovers the truth of synthetic services, beside the minimum and the mean over trials.

Each service is asked for the paper's 5 × 7 lengths, ten times each; a share of the requests meets contention of one
kind (`helm_efficiency.core.service_noise`). Three estimators get the same requests:

- ours: `denoise`, with its nominal 90 % intervals;
- minimum: over the trials of each pair of lengths, then least squares of the same terms;
- mean: over the trials, then the same.

Bias and root mean square error are fractions of the true coefficient. Coverage is the share of services whose truth
lies in our interval; the last two columns are the share of services in which the minimum or the mean comes as close to
the truth as our interval is wide.

Example: python benchmarks/denoise.py --repeats 40 --output benchmarks/results/denoise.json
"""

import argparse
import itertools
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from helm_efficiency.core.denoising import denoise
from helm_efficiency.core.envelope import FloatArray, weighted_nnls
from helm_efficiency.core.service_log import ServiceLog
from helm_efficiency.core.service_model import RequestShape
from helm_efficiency.core.service_noise import CONTENTION, PAPER_PROMPT_TOKENS, SyntheticService

SHARES = (0.05, 0.2, 0.5)
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
    rng = np.random.default_rng([seed, list(CONTENTION).index(kind), round(100 * share)])
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


def markdown(rows: list[dict[str, Any]]) -> str:
    """The table for the documentation."""
    names = ("ours", "minimum", "mean")
    lines = [
        "| contention | share | coefficient | ours: bias / RMSE | minimum: bias / RMSE | mean: bias / RMSE | coverage "
        "| minimum as close | mean as close |",
        "|---|---|---|---|---|---|---|---|---|",
    ]
    for row in rows:
        errors = [f"{row[f'{name}_bias']:+.1%} / {row[f'{name}_rmse']:.1%}" for name in names]
        within = [f"{row[f'{name}_within']:.0%}" for name in names]
        cells = [row["kind"], f"{row['contended_share']:.0%}", row["coefficient"].split("_s")[0], *errors, *within]
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


def main() -> None:
    """Try every kind of contention at every share, and write the rows of all tries so far."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repeats", type=int, default=40, help="services of each kind and share")
    parser.add_argument("--kind", choices=list(CONTENTION), action="append", help="only these")
    parser.add_argument("--share", type=float, choices=SHARES, action="append", help="only these")
    parser.add_argument("--output", type=Path, help="file of rows, as JSON; other rows in it are kept")
    arguments = parser.parse_args()
    service = SyntheticService()
    asked = list(itertools.product(arguments.kind or CONTENTION, arguments.share or SHARES))
    kept = json.loads(arguments.output.read_text())["rows"] if arguments.output and arguments.output.exists() else []
    rows = [row for row in kept if (row["kind"], row["contended_share"]) not in asked]
    for kind, share in asked:
        tries = [try_service(service, kind, share, seed) for seed in range(arguments.repeats)]
        rows += summary(kind, share, tries)
    rows.sort(key=lambda row: (list(CONTENTION).index(row["kind"]), row["contended_share"]))
    if arguments.output:
        document = {"repeats": arguments.repeats, "num_trials": NUM_TRIALS, "rows": rows}
        arguments.output.write_text(json.dumps(document, indent=1) + "\n")
    print(markdown(rows))
    print(f"\nCoverage over all rows: {np.mean([row['ours_within'] for row in rows]):.1%}")


if __name__ == "__main__":
    main()
