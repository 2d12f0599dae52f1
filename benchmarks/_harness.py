"""What the benchmarks share: a command line, how time and memory are taken, and the file of raw results.

A benchmark is a module with a `BENCHMARK`. It measures, keeps every single round, and says in `section` what the
results mean; `docs/benchmarks.md` is made of the sections, so that it can be written again from the files alone.
"""

import argparse
import json
import os
import platform
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib import metadata
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
RESULTS = ROOT / "benchmarks" / "results"
SEED = 0
PACKAGES = ("helm-efficiency", "crfm-helm", "numpy", "scipy", "msgspec", "pyarrow", "pandas", "torch", "transformers")

Results = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Options:
    """How a benchmark is asked to run.

    Attributes:
        quick: Seconds rather than minutes: shows that it works, and figures of little worth.
        data: Folder of real logs and runs; None where there is none.
    """

    quick: bool
    data: Path | None

    @property
    def real_data(self) -> Path:
        """The folder of real data, for benchmarks that cannot do without."""
        if self.data is None:
            raise SystemExit("This benchmark needs the folder of real data: name it with --data.")
        return self.data


@dataclass(frozen=True, slots=True)
class Benchmark:
    """One benchmark.

    Attributes:
        name: Of its file of results.
        measure: Takes the raw results, all that JSON can hold.
        section: What the page says of them, as Markdown.
        needs_data: It cannot do without the folder of real data.
    """

    name: str
    measure: Callable[[Options], Results]
    section: Callable[[Results], str]
    needs_data: bool = True


@dataclass(frozen=True, slots=True)
class Usage:
    """What a process took, those that it started and waited for included.

    Attributes:
        wall_s: From start to end.
        cpu_s: User and system time.
        peak_mb: Resident memory of the largest process.
    """

    wall_s: float
    cpu_s: float
    peak_mb: float


def cpu_seconds(work: Callable[[], object], *, rounds: int) -> list[float]:
    """CPU seconds of each round in this process."""
    seconds = []
    for _ in range(rounds):
        start = time.process_time()
        work()
        seconds.append(time.process_time() - start)
    return seconds


def usage_of(command: Sequence[str | Path], *, cwd: Path | None = None) -> Usage:
    """Run a command to its end, output thrown away."""
    between = [sys.executable, "-S", "-c", _BETWEEN, *map(str, command)]
    done = subprocess.run(between, cwd=cwd, env=environment(), capture_output=True, text=True, check=False)
    if done.returncode:
        raise RuntimeError(f"{command} failed: {done.stderr}")
    return Usage(*map(float, done.stdout.split()))


_BETWEEN = """
import ctypes, os, subprocess, sys, time
PR_SET_CHILD_SUBREAPER = 36
ctypes.CDLL(None).prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
began = time.perf_counter()
process = subprocess.Popen(sys.argv[1:], stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
said = process.stderr.read()
_, status, usage = os.wait4(process.pid, 0)
seconds, usages = time.perf_counter() - began, [usage]
if status:
    sys.exit(said.decode(errors="replace")[-3000:])
while True:
    try:
        usages.append(os.wait3(0)[2])
    except ChildProcessError:
        break
print(seconds, sum(u.ru_utime + u.ru_stime for u in usages), max(u.ru_maxrss for u in usages) / 1024)
"""
"""Stands between: a process counts the memory of the one that started it, up to that moment, as its own, so that one is
small. It waits for what the command leaves behind too, such as the process that workers are forked from."""


def environment() -> dict[str, str]:
    """This checkout first, one thread, no network."""
    return os.environ | {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1"}


def python_program(program: str, *arguments: str | Path) -> list[str | Path]:
    """Command that runs Python code with this interpreter."""
    return [sys.executable, "-c", program, *arguments]


def our_command(*arguments: str | Path) -> list[str | Path]:
    """Command line of this package's own command."""
    return python_program("from helm_efficiency.cli import main; main()", *arguments)


def helm_run(*arguments: str | Path) -> list[str | Path]:
    """Command line of `helm-run`."""
    return python_program("from helm.benchmark.run import main; main()", *arguments)


def times(ratio: float) -> str:
    """A ratio as the page shows it: two significant digits."""
    return f"{ratio:,.0f}×" if ratio >= 100 else f"{ratio:.2g}×"


def percent(fraction: float, digits: int = 2) -> str:
    """A fraction as the page shows it, in significant digits."""
    text = f"{100 * fraction:.{digits}g}"
    return f"{float(text):g}%"


def table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A Markdown table."""
    lines = [f"| {' | '.join(cells)} |" for cells in (header, *rows)]
    return "\n".join([lines[0], "|---" * len(header) + "|", *lines[1:]])


def run(benchmark: Benchmark, options: Options) -> Results:
    """Measure; the results with what is needed to judge them."""
    began = time.monotonic()
    facts = {
        "benchmark": benchmark.name,
        "quick": options.quick,
        "date": datetime.now(UTC).date().isoformat(),
        "commit": _commit(),
        "seed": SEED,
        "machine": machine(),
        "versions": {"python": platform.python_version(), **versions()},
    }
    results = benchmark.measure(options)
    return {**facts, "seconds": round(time.monotonic() - began, 1), "results": results}


def write(document: Mapping[str, Any], folder: Path) -> None:
    """Keep raw results as `folder`/NAME.json."""
    folder.mkdir(parents=True, exist_ok=True)
    text = json.dumps(document, indent=1, ensure_ascii=False) + "\n"
    (folder / f"{document['benchmark']}.json").write_text(text, encoding="utf-8")


def parser(description: str | None) -> argparse.ArgumentParser:
    """The options that all benchmarks have."""
    made = argparse.ArgumentParser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
    made.add_argument("--quick", action="store_true", help="seconds rather than minutes; keeps nothing")
    made.add_argument("--data", type=Path, default=_data_folder(), help="real logs and runs (HELM_EFFICIENCY_DATA)")
    return made


def main(benchmark: Benchmark, description: str | None) -> None:
    """The command line of one benchmark."""
    arguments = parser(description).parse_args()
    document = run(benchmark, Options(arguments.quick, arguments.data))
    if not arguments.quick:
        write(document, RESULTS)
    print(benchmark.section(document["results"]))


def _data_folder() -> Path | None:
    named = os.environ.get("HELM_EFFICIENCY_DATA")
    path = Path(named) if named else ROOT.parent / "shared" / "data"
    return path if path.is_dir() else None


def _commit() -> str | None:
    """Of the checkout, marked if its code has changes; None outside of one."""
    git = ["git", "-C", str(ROOT)]
    head = subprocess.run([*git, "rev-parse", "--short=12", "HEAD"], capture_output=True, text=True, check=False)
    code = ["helm_efficiency", "benchmarks/*.py"]
    changed = subprocess.run([*git, "diff", "--quiet", "HEAD", "--", *code], capture_output=True, check=False)
    return head.stdout.strip() + ("-dirty" if changed.returncode else "") or None


def machine() -> dict[str, Any]:
    """What the figures depend on; nothing that names the machine."""
    lines = Path("/proc/cpuinfo").read_text().splitlines() if Path("/proc/cpuinfo").exists() else []
    model = next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), "unknown")
    memory_bytes = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    return {
        "system": f"{platform.system()} {platform.machine()}",
        "processor": model,
        "cores": os.cpu_count(),
        "memory_gib": round(memory_bytes / 2**30),
        "load_before": round(os.getloadavg()[0], 2),
    }


def versions() -> dict[str, str]:
    found = {}
    for name in PACKAGES:
        try:
            found[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    return found
