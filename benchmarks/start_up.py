"""CPU seconds until `--help` is printed: ours beside `helm-run` and a bare Python, in turns.

python benchmarks/start_up.py
"""

from statistics import median

from _harness import (
    Benchmark,
    Options,
    Results,
    helm_run,
    main,
    our_command,
    percent,
    python_program,
    table,
    times,
    usage_of,
)

COMMANDS = {
    "python -c pass": python_program("pass"),
    "helm-efficiency --help": our_command("--help"),
    "helm-efficiency rescore --help": our_command("rescore", "--help"),
    "helm-run --help": helm_run("--help"),
}
OURS, PEER = "helm-efficiency --help", "helm-run --help"


def measure(options: Options) -> Results:
    """CPU seconds and peak memory of each command, a value a round."""
    results: Results = {name: {"cpu_s": [], "peak_mb": []} for name in COMMANDS}
    for _ in range(1 if options.quick else 10):
        for name, command in COMMANDS.items():
            usage = usage_of(command)
            results[name]["cpu_s"].append(usage.cpu_s)
            results[name]["peak_mb"].append(usage.peak_mb)
    return results


def section(results: Results) -> str:
    """What the page says."""
    cpu_s = {name: median(values["cpu_s"]) for name, values in results.items()}
    rows = [
        [f"`{name}`", percent(cpu_s[name] / cpu_s[PEER]), f"{cpu_s[name]:.2f} s", f"{median(values['peak_mb']):.0f} MB"]
        for name, values in results.items()
    ]
    return (
        f"`{PEER}` takes {times(cpu_s[PEER] / cpu_s[OURS])} the CPU time of `{OURS}`. "
        f"Medians of {len(results[OURS]['cpu_s'])} rounds.\n\n"
        + table(["command", f"of `{PEER}`", "CPU time", "peak memory"], rows)
    )


BENCHMARK = Benchmark("start_up", measure, section, needs_data=False)

if __name__ == "__main__":
    main(BENCHMARK, __doc__)
