"""Writes constraints.txt from what pip would install: `make constraints` calls it.

    python .ci/write_constraints.py REPORT.json constraints.txt

The report is that of `pip install --dry-run --ignore-installed --report`. Names and versions are taken from it, and
nothing that says where they came from.
"""

import json
import re
import sys
from pathlib import Path
from typing import Any

HEADER = """\
# Every package that `make setup` installs, with the version that is tested. Renewed by: make constraints
# torch and crfm-helm keep their version until it is changed here by hand. torch is pinned so that set-up does not fetch
# gigabytes of CUDA, of which nothing is listed.
"""
CUDA = re.compile(r"nvidia[-_]|cuda[-_]|triton$")
OWN = "helm-efficiency"


def constraints(report: dict[str, Any]) -> str:
    """Return the text of the constraints file for a report of pip."""
    packages = {}
    for entry in report["install"]:
        metadata = entry["metadata"]
        name = re.sub(r"[-_.]+", "-", metadata["name"]).lower()
        if name != OWN and not CUDA.match(name):
            packages[name] = metadata["version"].partition("+")[0]  # a build such as +cpu is elsewhere another one
    return HEADER + "".join(f"{name}=={version}\n" for name, version in sorted(packages.items()))


def main() -> None:
    """Write the file named second from the report named first."""
    report, target = map(Path, sys.argv[1:])
    target.write_text(constraints(json.loads(report.read_bytes())), encoding="utf-8")


if __name__ == "__main__":
    main()
