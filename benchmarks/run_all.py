"""Run all benchmarks, each in a process of its own, keep their raw results and write docs/benchmarks.md from them.

python benchmarks/run_all.py                    # what `make bench` calls; wants an idle machine
python benchmarks/run_all.py --quick            # all of them in under a minute, for whether they work; keeps nothing
python benchmarks/run_all.py --only read        # one of them, and the page
python benchmarks/run_all.py --write-only       # the page alone
"""

import argparse
import subprocess
import sys
import time
from pathlib import Path

import page
from _harness import parser


def main() -> None:
    made = parser(__doc__)
    made.add_argument("--only", action="append", choices=list(page.BENCHMARKS), help="may be repeated")
    made.add_argument("--write-only", action="store_true", help="measure nothing, write the pages")
    arguments = made.parse_args()
    names = [] if arguments.write_only else arguments.only or list(page.BENCHMARKS)
    failed = [name for name in names if not run(name, arguments)]
    if not arguments.quick:
        page.write()
    if failed:
        sys.exit(f"Failed: {', '.join(failed)}")


def run(name: str, arguments: argparse.Namespace) -> bool:
    """Run one benchmark; whether it succeeded. What cannot run without real data is left as it was."""
    if page.BENCHMARKS[name].needs_data and arguments.data is None:
        sys.stderr.write(f"{name}: skipped, as there is no real data (HELM_EFFICIENCY_DATA)\n")
        return True
    command = [sys.executable, str(Path(__file__).with_name(f"{name}.py"))]
    command += ["--quick"] if arguments.quick else []
    command += ["--data", str(arguments.data)] if arguments.data else []
    print(f"\n## {name}\n", flush=True)
    began = time.monotonic()
    done = subprocess.run(command, check=False)
    sys.stderr.write(f"{name}: {time.monotonic() - began:.0f} s\n")
    return done.returncode == 0


if __name__ == "__main__":
    main()
