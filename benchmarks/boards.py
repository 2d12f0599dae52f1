"""Speed of the commands on an archive of many small runs, each a process of its own, beside a bare decode of its files.

    python benchmarks/boards.py

The archive (make_archive.py) has the shape of 218 real runs of 2025: HELM Lite, one model, 153 requests a run. The
decode reads the typed fields that records need of every file, on one core (decode.py); the others use all cores.

Then one service of an archive (requests of any length, a third of them waiting), steady or changed in the middle:
`denoise`, with intervals and the search for changes, beside a quantile regression alone (scipy, HiGHS).
"""

import os
import tempfile
from dataclasses import asdict
from pathlib import Path

import numpy as np
from _harness import SEED, Benchmark, Options, Results, cpu_seconds, main, our_command, table, times, usage_of
from _synthetic_services import SyntheticService
from make_archive import make_archive
from rescore import DEPLOYMENT, bare_decode, make_store
from scipy.optimize import linprog
from scipy.sparse import csr_array, eye_array, hstack

from helm_efficiency.core.services.denoise import denoise
from helm_efficiency.core.services.log import ServiceLog
from helm_efficiency.core.services.model import RequestShape

NUM_RUNS, REQUESTS_PER_RUN = 218, 153


def measure(options: Options) -> Results:
    """Return what each command takes."""
    num_runs = 20 if options.quick else NUM_RUNS
    num_requests = num_runs * REQUESTS_PER_RUN
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        archive, scored, store = folder / "archive", folder / "scored", folder / "store.sqlite"
        make_store(store)
        make_archive(archive, num_requests=num_requests, requests_per_run=REQUESTS_PER_RUN, deployments=[DEPLOYMENT])
        jobs = str(os.cpu_count() or 1)
        rescore = ("rescore", archive, "--store", store, "--output", scored, "--tables-only", "--jobs", jobs)
        commands = {
            "bare decode, one core": bare_decode(archive, 1),
            "`rescore --tables-only`": our_command(*rescore),
            "`leaderboard`": our_command("leaderboard", scored),
            "`plot`": our_command("plot", scored, "--output", folder / "plot.png"),
            "`report`": our_command("report", scored, "--output", folder / "report.html"),
        }
        used = {name: asdict(usage_of(command)) for name, command in commands.items()}
        num_bytes = sum(path.stat().st_size for path in archive.rglob("*.json"))
    services = [service(number) for number in ((1_100,) if options.quick else (1_100, 20_000))]
    archive_facts = {"num_runs": num_runs, "requests": num_requests, "archive_bytes": num_bytes, "jobs": int(jobs)}
    return {**archive_facts, "used": used, "services": services}


def service_log(num_requests: int, *, is_changed: bool) -> ServiceLog:
    """Return the log of a service, 150 requests a run; a changed one was slower before the middle."""
    rng = np.random.default_rng([SEED, num_requests])
    p, o = rng.integers(50, 1500, num_requests), rng.integers(1, 100, num_requests)
    seconds = SyntheticService().uncontended_s(p, o) * np.exp(0.05 * rng.standard_normal(num_requests))
    seconds += (rng.random(num_requests) < 0.33) * rng.exponential(2.0, num_requests)
    number = np.arange(num_requests)
    seconds *= np.where(is_changed & (number < num_requests // 2), 1.3, 1.0)
    return ServiceLog.of(p, o, seconds, requested_at=1.7e9 + 10.0 * number, run=number // 150)


def quantile_regression(log: ServiceLog, quantile: float = 0.1) -> None:
    """Fit a low quantile of the seconds: a lower envelope that must be told the share of contended requests."""
    design = csr_array(RequestShape((50, 1500), True).design(log.prompt_tokens, log.output_tokens))
    n, q = design.shape
    costs = np.r_[np.zeros(q), np.full(n, quantile), np.full(n, 1.0 - quantile)]
    linprog(costs, A_eq=hstack([design, eye_array(n), -eye_array(n)]), b_eq=log.seconds, method="highs")


def service(num_requests: int) -> Results:
    """Return CPU seconds for a service of so many requests."""
    steady, changed = (service_log(num_requests, is_changed=is_changed) for is_changed in (False, True))
    return {
        "requests": num_requests,
        "steady_s": cpu_seconds(lambda: denoise(steady), rounds=2),
        "changed_s": cpu_seconds(lambda: denoise(changed), rounds=2),
        "regression_s": cpu_seconds(lambda: quantile_regression(steady), rounds=2),
    }


def section(results: Results) -> str:
    """Return what the page says."""
    used = results["used"]
    decode_s = next(iter(used.values()))["wall_s"]
    rows = [
        [name, times(u["wall_s"] / decode_s), f"{u['wall_s']:.1f} s", f"{u['cpu_s']:.1f} s", f"{u['peak_mb']:.0f} MB"]
        for name, u in used.items()
    ]
    services = [
        [f"{each['requests']:,}", *(f"{min(each[name]):.2g} s" for name in ("steady_s", "changed_s", "regression_s"))]
        for each in results["services"]
    ]
    return (
        f"{results['num_runs']} runs, {results['requests']:,} requests, {results['archive_bytes'] / 1e6:,.0f} MB, "
        f"{results['jobs']} cores.\n\n"
        + table(["", "wall ÷ bare decode", "wall", "CPU", "peak of a process"], rows)
        + "\n\nCPU seconds of `denoise` for one service:\n\n"
        + table(["requests", "steady", "changed in the middle", "quantile regression, steady"], services)
    )


BENCHMARK = Benchmark("boards", measure, section, needs_data=False)

if __name__ == "__main__":
    main(BENCHMARK, __doc__)
