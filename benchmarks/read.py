"""How fast request records are read from HELM run folders, and what memory it takes.

Measured in one process, best of several rounds, in bytes of JSON per second of CPU time on one core:

- plain decode: the same three files of each run, decoded to the typed parts that records are made of, nothing else;
- records: `read_run`, all rules applied;
- json: `json.loads` of the three files;
- HELM: HELM's own codec (`helm.common.codec.from_json`) for scenario state and per-instance stats.

All but `records` are given the bytes; `records` opens and reads the files itself.

Memory is the peak of a process that reads an archive, less that of one that reads its largest run alone. The archive is
written for the purpose: the real runs many times over, and one run with each request many times over.

Example: python benchmarks/read.py ../shared/data/helm_runs --output benchmarks/results/read.json
"""

import argparse
import json
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from helm_efficiency.harness import helm_format
from helm_efficiency.harness.helm_runs import find_runs, read_run

DECODERS = {
    "run_spec.json": helm_format.RUN_SPEC,
    "scenario_state.json": helm_format.SCENARIO_STATE,
    "per_instance_stats.json": helm_format.PER_INSTANCE_STATS,
}
ROUNDS = 7


def best_mb_per_s(num_bytes: int, work: Callable[[], Any], rounds: int = ROUNDS) -> float:
    """Megabytes a second of CPU time, in the best of several rounds."""
    best = float("inf")
    for _ in range(rounds):
        start = time.process_time()
        work()
        best = min(best, time.process_time() - start)
    return num_bytes / best / 1e6


def speeds(folders: list[Path]) -> dict[str, float]:
    """Megabytes of JSON a second, by way of reading."""
    from helm.benchmark.adaptation.scenario_state import ScenarioState
    from helm.benchmark.metrics.metric import PerInstanceStats
    from helm.common.codec import from_json

    classes = {"scenario_state.json": ScenarioState, "per_instance_stats.json": list[PerInstanceStats]}
    files = [(folder, name, (folder / name).read_bytes()) for folder in folders for name in DECODERS]
    total = sum(len(data) for _, _, data in files)
    helm_files = [(name, data) for _, name, data in files if name in classes]
    helm_bytes = sum(len(data) for _, data in helm_files)
    return {
        "json_mb": total / 1e6,
        "plain_decode_mb_per_s": best_mb_per_s(total, lambda: [DECODERS[name].decode(data) for _, name, data in files]),
        "records_mb_per_s": best_mb_per_s(total, lambda: [read_run(folder) for folder in folders]),
        "json_mb_per_s": best_mb_per_s(total, lambda: [json.loads(data) for _, _, data in files]),
        "helm_mb_per_s": best_mb_per_s(
            helm_bytes, lambda: [from_json(data, classes[name]) for name, data in helm_files], rounds=2
        ),
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
    command = [sys.executable, __file__, str(folder), "--peak"]
    return float(subprocess.run(command, capture_output=True, text=True, check=True).stdout)


def read_all_and_print_peak(root: Path) -> None:
    for folder in find_runs(root):
        read_run(folder)
    # getrusage would say the peak of the process that started this one, if that was higher.
    [line] = [line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("VmHWM")]
    print(int(line.split()[1]) / 1024)


def memory(folders: list[Path]) -> dict[str, float]:
    """Peak memory of one large run, and of an archive with it and many others."""
    with tempfile.TemporaryDirectory() as temporary:
        root = Path(temporary)
        large = write_archive(folders, root, copies=30, times=60)
        sizes = {path: sum((path / name).stat().st_size for name in DECODERS) for path in find_runs(root)}
        return {
            "archive_runs": len(sizes),
            "archive_json_mb": sum(sizes.values()) / 1e6,
            "largest_run_json_mb": sizes[large] / 1e6,
            "smallest_run_peak_mb": peak_mb(min(sizes, key=lambda path: sizes[path])),
            "largest_run_peak_mb": peak_mb(large),
            "archive_peak_mb": peak_mb(root),
            **{f"largest_run_{name}": value for name, value in speeds([large]).items()},
        }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("runs", type=Path, help="folder with HELM runs")
    parser.add_argument("--output", type=Path, help="file for the results, as JSON")
    parser.add_argument("--peak", action="store_true", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.peak:
        read_all_and_print_peak(arguments.runs)
        return
    folders = list(find_runs(arguments.runs))
    results = {"python": sys.version.split()[0], **speeds(folders), **memory(folders)}
    text = json.dumps({name: round(v, 1) if isinstance(v, float) else v for name, v in results.items()}, indent=2)
    print(text)
    if arguments.output:
        arguments.output.write_text(text + "\n")


if __name__ == "__main__":
    main()
