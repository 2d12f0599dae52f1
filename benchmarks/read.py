"""How fast request records are read from real HELM run folders, and what memory it takes.

    python benchmarks/read.py

All in one process, in bytes of JSON per second of CPU time on one core:

- plain decode: the three files of each run, decoded to the typed parts that records are made of, nothing else;
- records: `read_run`, all rules applied; it opens and reads the files itself, the others are given the bytes;
- json: `json.loads` of the three files;
- HELM's codec: `helm.common.codec.from_json` for scenario state and per-instance stats.

Memory is the peak of a process that reads an archive, beside that of one that reads its largest run alone. The archive
is written for the purpose: the real runs many times over, and one run with each request many times over.
"""

import json
import shutil
import tempfile
from pathlib import Path
from typing import Any

from _harness import Benchmark, Options, Results, cpu_seconds, main, python_program, table, times, usage_of

from helm_efficiency.adapters.helm import format as helm_format
from helm_efficiency.adapters.helm.runs import read_run
from helm_efficiency.adapters.sources import find_sources

DECODERS = {
    "run_spec.json": helm_format.RUN_SPEC,
    "scenario_state.json": helm_format.SCENARIO_STATE,
    "per_instance_stats.json": helm_format.PER_INSTANCE_STATS,
}
READ_ALL = """
import sys
from helm_efficiency.adapters.sources import read_runs
for run in read_runs([sys.argv[1]]):
    pass
"""
WAYS = {
    "plain decode": "plain typed decode",
    "records": "**request records**",
    "json": "`json.loads`",
    "HELM": "HELM's codec",
}


def measure(options: Options) -> Results:
    """CPU seconds a round by way of reading, and peak memory in MB."""
    folders = [Path(source.url) for source in find_sources([str(options.real_data / "helm_runs")])]
    rounds = 2 if options.quick else 10
    with tempfile.TemporaryDirectory() as temporary:
        root = Path(temporary)
        copies, repeats = (3, 6) if options.quick else (30, 60)
        large = write_archive(folders, root, copies=copies, times=repeats)
        runs = find_sources([str(root)])
        return {
            "real_runs": {"num_runs": len(folders), **speeds(folders, rounds)},
            "large_run": speeds([large], rounds),
            "memory": {
                "num_runs": len(runs),
                "archive_json_bytes": sum(map(json_bytes, runs)),
                "largest_run_json_bytes": json_bytes(large),
                "peak_mb": {name: peak_mb(path) for name, path in (("largest run", large), ("archive", root))},
            },
        }


def json_bytes(folder: Path) -> int:
    """Of the files that records come from."""
    return sum((folder / name).stat().st_size for name in DECODERS)


def speeds(folders: list[Path], rounds: int) -> Results:
    """Bytes of JSON, and CPU seconds a round, by way of reading."""
    from helm.benchmark.adaptation.scenario_state import ScenarioState
    from helm.benchmark.metrics.metric import PerInstanceStats
    from helm.common.codec import from_json

    classes: dict[str, Any] = {"scenario_state.json": ScenarioState, "per_instance_stats.json": list[PerInstanceStats]}
    files = [(folder, name, (folder / name).read_bytes()) for folder in folders for name in DECODERS]
    of_helm = [(name, data) for _, name, data in files if name in classes]
    total = sum(len(data) for _, _, data in files)
    work = {
        "plain decode": (total, rounds, lambda: [DECODERS[name].decode(data) for _, name, data in files]),
        "records": (total, rounds, lambda: [read_run(folder) for folder in folders]),
        "json": (total, rounds, lambda: [json.loads(data) for _, _, data in files]),
        "HELM": (
            sum(len(d) for _, d in of_helm),
            2,
            lambda: [from_json(data, classes[name]) for name, data in of_helm],
        ),
    }
    return {
        name: {"json_bytes": num_bytes, "cpu_s": cpu_seconds(read, rounds=count)}
        for name, (num_bytes, count, read) in work.items()
    }


def write_archive(folders: list[Path], root: Path, *, copies: int, times: int) -> Path:
    """Copies of real runs, and one run (the path that is returned) with each request `times` over."""
    for copy in range(copies):
        for folder in folders:
            shutil.copytree(folder, root / f"suite-{copy:03}" / folder.name)
    source = max(folders, key=lambda folder: (folder / "scenario_state.json").stat().st_size)
    large = root / "large" / "run"
    large.mkdir(parents=True)
    shutil.copy(source / "run_spec.json", large)
    state = json.loads((source / "scenario_state.json").read_bytes())
    stats = json.loads((source / "per_instance_stats.json").read_bytes())
    states = [
        {**entry, "instance": {**entry["instance"], "id": f"{entry['instance']['id']}-{n}"}}
        for n in range(times)
        for entry in state["request_states"]
    ]
    entries = [{**entry, "instance_id": f"{entry['instance_id']}-{n}"} for n in range(times) for entry in stats]
    (large / "scenario_state.json").write_text(json.dumps({**state, "request_states": states}, indent=2))
    (large / "per_instance_stats.json").write_text(json.dumps(entries, indent=2))
    return large


def peak_mb(folder: Path) -> float:
    """Peak memory of a process that reads every run at or below a folder, one after the other."""
    return usage_of(python_program(READ_ALL, folder)).peak_mb


def section(results: Results) -> str:
    """What the page says."""
    memory = results["memory"]
    peak = memory["peak_mb"]
    mb = {name: round(memory[f"{name}_json_bytes"] / 1e6, 1) for name in ("archive", "largest_run")}
    return (
        f"Bytes of JSON a second of CPU on one core, best of several rounds: {results['real_runs']['num_runs']} real "
        f"runs, and one run of {mb['largest_run']} MB made of them.\n\n"
        + table(
            ["", "times `json.loads`, real runs", "MB/s", "times `json.loads`, one large run", "MB/s"], _rows(results)
        )
        + f"\n\nReading an archive of {memory['num_runs']} runs and {mb['archive']} MB took "
        f"{times(peak['archive'] / peak['largest run'])} the memory of its largest run alone "
        f"(peaks of {peak['archive']:.0f} MB and {peak['largest run']:.0f} MB)."
    )


def _rows(results: Results) -> list[list[str]]:
    rates = {
        part: {name: results[part][name]["json_bytes"] / min(results[part][name]["cpu_s"]) / 1e6 for name in WAYS}
        for part in ("real_runs", "large_run")
    }
    return [
        [label, *(cell for rate in rates.values() for cell in (times(rate[name] / rate["json"]), f"{rate[name]:.0f}"))]
        for name, label in WAYS.items()
    ]


BENCHMARK = Benchmark("read", measure, section)

if __name__ == "__main__":
    main(BENCHMARK, __doc__)
