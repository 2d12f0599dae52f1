"""Speed and memory of re-scoring, beside a bare typed decode of the same files and beside HELM's own way.

    python benchmarks/rescore.py

On made archives of HELM runs of 1,000 requests (make_archive.py), on as many processes as there are cores:

- decode: every file read and decoded into typed objects of the fields that records need, nothing else (decode.py);
- tables: `rescore --tables-only`;
- stats: `rescore`, which copies the suite with new stats; in place: `rescore --in-place`, after all others;
- HELM: `helm-run` again over its cache, for a scenario that needs no download.

Wall seconds depend on the disk, as every file is flushed to it; CPU seconds do not. Both include starting processes.
Memory is that of the largest process, in the copying way, for two archives and for large runs.
"""

import os
import shutil
import sys
import tempfile
from dataclasses import asdict
from pathlib import Path

from _harness import Benchmark, Options, Results, helm_run, main, our_command, table, times, usage_of
from make_archive import make_archive

from helm_efficiency.core.fitting.fit import Fit
from helm_efficiency.core.measurement import Stack
from helm_efficiency.core.runtime_model import Domain, RuntimeCoefficients
from helm_efficiency.store import Store

DEPLOYMENT = "openai/gpt2"
SIZES = ((1_000, 1_000), (5_000, 1_000), (10_000, 10_000), (60_000, 60_000))  # requests, and requests of a run
QUICK_SIZES = ((1_000, 1_000), (2_000, 2_000))
WAYS = {"tables": ["--tables-only"], "stats": [], "in place": ["--in-place"]}
LABELS = {
    "decode": "bare decode",
    "tables": "`rescore --tables-only`",
    "stats": "`rescore`",
    "in place": "`rescore --in-place`",
    "HELM": "`helm-run` over its cache",
}
HELM_ENTRIES = """entries: [
  {description: "synthetic_reasoning:model=simple/model1,mode=pattern_match", priority: 1}
  {description: "synthetic_reasoning:model=simple/model1,mode=variable_substitution", priority: 1}
]
"""


def measure(options: Options) -> Results:
    """What each way takes, by its name, with requests and jobs; then peak memory by size of archive."""
    num_requests, num_helm = (2_000, 40) if options.quick else (100_000, 2_000)
    sizes = QUICK_SIZES if options.quick else SIZES
    jobs = os.cpu_count() or 1
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        make_store(folder / "store.sqlite")
        return {
            "jobs": jobs,
            **speeds(folder, num_requests=num_requests, jobs=jobs),
            "large": large(folder, num_requests=10_000 if options.quick else 1_000_000, jobs=jobs),
            "HELM": {"requests": num_helm, **helm_again(folder, num_helm)},
            "memory": [memory(folder, size, jobs=jobs) for size in sizes],
        }


def make_store(path: Path) -> None:
    """Coefficients for the archive's one deployment."""
    coefficients = RuntimeCoefficients("linear", ((1, 0.01), (1000, 0.1)), 0.01, Domain(1, 1000, 1, 64))
    Store(path).put_fit(Fit(DEPLOYMENT, Stack("a100", "a100-80gb", 1, engine="megatron"), coefficients))


def speeds(folder: Path, *, num_requests: int, jobs: int) -> Results:
    """What a bare decode and each way of re-scoring take."""
    archive = folder / "archive"
    runs = make_archive(archive, num_requests=num_requests, deployments=[DEPLOYMENT])
    num_bytes = sum(file.stat().st_size for run in runs for file in run.iterdir())
    decode = usage_of(bare_decode(archive, jobs))
    results = {"archive_bytes": num_bytes, "decode": {"requests": num_requests, **asdict(decode)}}
    for way, words in WAYS.items():
        if way == "in place":
            _part_links(runs)
        results[way] = {"requests": num_requests, **rescore(archive, words, jobs=jobs)}
    shutil.rmtree(archive)
    return results


def large(folder: Path, *, num_requests: int, jobs: int) -> Results:
    """The same for the tables of a larger archive, where starting processes counts for little."""
    archive = folder / "archive"
    make_archive(archive, num_requests=num_requests, deployments=[DEPLOYMENT])
    decode = {"requests": num_requests, **asdict(usage_of(bare_decode(archive, jobs)))}
    tables = {"requests": num_requests, **rescore(archive, WAYS["tables"], jobs=jobs)}
    shutil.rmtree(archive)
    return {"decode": decode, "tables": tables}


def bare_decode(archive: Path, jobs: int) -> list[str | Path]:
    """The command that decodes and does nothing else."""
    return [sys.executable, Path(__file__).with_name("decode.py"), archive, "--jobs", str(jobs)]


def rescore(archive: Path, words: list[str], *, jobs: int) -> dict[str, float]:
    """What one call takes; its output is deleted."""
    output, store = archive.with_name("scored"), archive.with_name("store.sqlite")
    command = our_command("rescore", archive, "--store", store, "--output", output, "--jobs", str(jobs), *words)
    usage = usage_of(command)
    shutil.rmtree(output)
    return asdict(usage)


def _part_links(runs: list[Path]) -> None:
    """Files of several runs must not be one file when they are changed."""
    for run in runs:
        for file in run.glob("*stats.json"):
            content = file.read_bytes()
            file.unlink()
            file.write_bytes(content)


def helm_again(folder: Path, num_requests: int) -> dict[str, float]:
    """What the second of two equal runs takes, which has all requests in its cache."""
    (folder / "entries.conf").write_text(HELM_ENTRIES)
    words = ["--conf-paths", "entries.conf", "--suite", "v1", "-o", "out", "--max-eval-instances"]
    command = helm_run(*words, str(num_requests // 2))
    usage_of(command, cwd=folder)
    return asdict(usage_of(command, cwd=folder))


def memory(folder: Path, size: tuple[int, int], *, jobs: int) -> Results:
    """Peak memory of the largest process for an archive of so many requests, in runs of so many."""
    archive = folder / "archive"
    make_archive(archive, num_requests=size[0], requests_per_run=size[1], deployments=[DEPLOYMENT])
    usage = rescore(archive, [], jobs=jobs)
    shutil.rmtree(archive)
    return {"requests": size[0], "requests_per_run": size[1], **usage}


def row(label: str, found: Results, helm: Results, decode: Results | None) -> list[str]:
    """A row of the page: one way beside HELM's, and beside a bare decode of the same files."""
    each_us, helm_us = (1e6 * way["wall_s"] / way["requests"] for way in (found, helm))
    ratios = [times(found[name] / decode[name]) if decode else "" for name in ("cpu_s", "wall_s")]
    return [label, *ratios, times(helm_us / each_us), f"{each_us:,.0f} µs", f"{found['peak_mb']:.0f} MB"]


def section(results: Results) -> str:
    """What the page says."""
    decode, helm, large = results["decode"], results["HELM"], results["large"]
    rows = [row(label, results[way], helm, decode if way != "HELM" else None) for way, label in LABELS.items()]
    rows += [
        row(f"{LABELS[way]}, {found['requests']:,} requests", found, helm, large["decode"])
        for way, found in large.items()
    ]
    header = [
        "",
        "CPU ÷ bare decode",
        "wall ÷ bare decode",
        "`helm-run` ÷ this, wall",
        "wall a request",
        "peak of a process",
    ]
    sizes = [
        f"{m['peak_mb']:.0f} MB for {m['requests']:,} requests in runs of {m['requests_per_run']:,}"
        for m in results["memory"]
    ]
    return (
        f"{decode['requests']:,} requests, {results['archive_bytes'] / 1e6:,.0f} MB of JSON, on {results['jobs']} "
        f"process(es), starting them included; HELM's row is {helm['requests']:,} requests of a smaller scenario.\n\n"
        + table(header, rows)
        + f"\n\nThe largest process of `rescore` takes {', '.join(sizes)}."
    )


BENCHMARK = Benchmark("rescore", measure, section, needs_data=False)

if __name__ == "__main__":
    main(BENCHMARK, __doc__)
