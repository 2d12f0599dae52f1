"""Speed and memory of re-scoring, beside a bare typed decode of the same files and beside HELM's own way.

    python benchmarks/rescore.py [--requests 100000] [--jobs 2] [--folder FOLDER]

All in one run on one machine, on the same number of processes:

- decode: every file read and decoded into typed objects of the fields that records need, nothing else;
- tables: `rescore --tables-only`;
- stats: `rescore`, which copies the suite with new stats; in place: `rescore --in-place`, after all others;
- HELM: `helm-run` again over its cache, for 2,000 requests of a scenario that needs no download.

Wall seconds depend on the disk, as every file is flushed to it; CPU seconds do not. Both include starting processes.
"""

import argparse
import json
import multiprocessing
import os
import resource
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Any

from make_archive import make_archive

from helm_efficiency.core.fitting import Fit
from helm_efficiency.core.measurement import Stack
from helm_efficiency.core.runtime_model import Domain, RuntimeCoefficients
from helm_efficiency.store import Store

RESULTS = Path(__file__).parent / "results" / "rescore.json"
HELM_REQUESTS = 2000
HELM_ENTRIES = """entries: [
  {description: "synthetic_reasoning:model=simple/model1,mode=pattern_match", priority: 1}
  {description: "synthetic_reasoning:model=simple/model1,mode=variable_substitution", priority: 1}
]
"""


def decode(folder: str) -> None:
    """A bare read and typed decode of one run."""
    from helm_efficiency.harness import helm_format as fmt

    fmt.SCENARIO_STATE.decode(Path(folder, "scenario_state.json").read_bytes())
    fmt.PER_INSTANCE_STATS.decode(Path(folder, "per_instance_stats.json").read_bytes())
    fmt.RUN_SPEC.decode(Path(folder, "run_spec.json").read_bytes())


def decode_all(folders: Sequence[str], jobs: int) -> None:
    """The same for all runs."""
    with ProcessPoolExecutor(jobs, mp_context=multiprocessing.get_context("spawn")) as pool:
        list(pool.map(decode, folders, chunksize=4))


def timed(what: Callable[[], Any]) -> dict[str, float]:
    """Wall and CPU seconds, those of processes it started and waited for included."""
    before = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    began = time.perf_counter()
    what()
    wall_s = time.perf_counter() - began
    after = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    cpu_s = sum(a.ru_utime + a.ru_stime - b.ru_utime - b.ru_stime for a, b in zip(after, before, strict=True))
    return {"wall_s": wall_s, "cpu_s": cpu_s}


def command(
    *words: str, cwd: Path | None = None, program: str = "from helm_efficiency.cli import main; main()"
) -> None:
    """Run a command of ours or HELM's in a process of its own."""
    subprocess.run([sys.executable, "-c", program, *words], check=True, cwd=cwd, capture_output=True)


def helm_again(folder: Path) -> dict[str, float]:
    """`helm-run` over its own cache: the second of two runs."""
    entries = folder / "entries.conf"
    entries.write_text(HELM_ENTRIES)
    words = [
        "--conf-paths",
        str(entries),
        "--suite",
        "v1",
        "--max-eval-instances",
        str(HELM_REQUESTS // 2),
        "-o",
        "out",
    ]
    program = "from helm.benchmark.run import main; main()"
    command(*words, cwd=folder, program=program)
    return timed(lambda: command(*words, cwd=folder, program=program))


def make_store(path: Path) -> None:
    """Coefficients for the archive's one deployment."""
    coefficients = RuntimeCoefficients("linear", ((1, 0.01), (1000, 0.1)), 0.01, Domain(1, 1000, 1, 64))
    Store(path).put_fit(Fit("openai/gpt2", Stack("a100", "a100-80gb", 1, engine="megatron"), coefficients))


def measure(folder: Path, *, num_requests: int, jobs: int) -> dict[str, Any]:
    """All figures."""
    runs = make_archive(folder / "archive", num_requests=num_requests, deployments=["openai/gpt2"])
    num_bytes = sum(file.stat().st_size for run in runs for file in run.iterdir())
    make_store(folder / "store.sqlite")
    words = ["rescore", str(folder / "archive"), "--store", str(folder / "store.sqlite"), "--jobs", str(jobs)]

    def rescore(name: str, *more: str) -> dict[str, float]:
        seconds = timed(lambda: command(*words, "--output", str(folder / name), *more))
        shutil.rmtree(folder / name)
        return seconds

    figures: dict[str, Any] = {"decode": timed(lambda: decode_all([str(run) for run in runs], jobs))}
    figures["tables"] = rescore("tables", "--tables-only")
    figures["stats"] = rescore("stats")
    peak_mb = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 1e3
    for run in runs:  # files of several runs must not be one file when they are changed
        for file in run.glob("*stats.json"):
            content = file.read_bytes()
            file.unlink()
            file.write_bytes(content)
    figures["in_place"] = rescore("in-place", "--in-place")
    for figure in figures.values():
        figure["us_per_request"] = figure["wall_s"] / num_requests * 1e6
    helm = helm_again(folder)
    helm["us_per_request"] = helm["wall_s"] / HELM_REQUESTS * 1e6
    ratios = {
        name: {
            "wall_over_decode": figures[name]["wall_s"] / figures["decode"]["wall_s"],
            "cpu_over_decode": figures[name]["cpu_s"] / figures["decode"]["cpu_s"],
            "times_helm": helm["us_per_request"] / figures[name]["us_per_request"],
        }
        for name in ("tables", "stats", "in_place")
    }
    return {
        "num_requests": num_requests,
        "num_bytes": num_bytes,
        "jobs": jobs,
        "cores": os.cpu_count(),
        "peak_mb_of_largest_process": peak_mb,
        "figures": figures | {"helm": helm},
        "ratios": ratios,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--requests", type=int, default=100_000)
    parser.add_argument("--jobs", type=int, default=os.cpu_count() or 1)
    parser.add_argument("--folder", type=Path, help="Where to work; a temporary folder by default.")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=arguments.folder) as folder:
        result = measure(Path(folder), num_requests=arguments.requests, jobs=arguments.jobs)
    text = json.dumps(result, indent=2) + "\n"
    RESULTS.write_text(text)
    print(text, end="")


if __name__ == "__main__":
    main()
