"""Look up known vulnerabilities of every package in constraints.txt: `make audit` calls it.

    python .ci/audit.py constraints.txt build/audit

pip-audit is installed into an environment of its own at the second path. Exit status: 0 none known, or no database can
be reached, which is said; 1 some are known; 2 pip-audit could not be installed.
"""

import subprocess
import sys
import urllib.request
import venv
from pathlib import Path

DATABASES = {
    "pypi": ("https://pypi.org/pypi/requests/2.19.0/json", b"PYSEC-2018-28"),
    "osv": ("https://api.osv.dev/v1/vulns/PYSEC-2018-28", b"PYSEC-2018-28"),
}
"""An address in each database, and a long known vulnerability in its answer; a mirror of packages alone lacks it."""

WAIT_S = 10
"""Seconds to wait for a database; one that answers at all does so within one."""


def reachable() -> tuple[str | None, list[str]]:
    """Return the first database that answers, and why those before it do not."""
    reasons = []
    for name, (address, known) in DATABASES.items():
        try:
            with urllib.request.urlopen(address, timeout=WAIT_S) as answer:
                if known in answer.read():
                    return name, reasons
                reasons.append(f"{name}: it knows no vulnerabilities")
        except OSError as error:  # URLError is one
            reasons.append(f"{name}: {error}")
    return None, reasons


def main() -> int:
    """Audit the packages, or say that nothing was audited."""
    constraints, environment = sys.argv[1:]
    database, reasons = reachable()
    if database is None:
        sys.stderr.write(f"NOT AUDITED: no database of vulnerabilities can be reached ({'; '.join(reasons)}).\n")
        return 0
    python = Path(environment) / "bin" / "python"
    venv.create(environment, with_pip=True, clear=True)
    install = [python, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "pip-audit>=2,<3"]
    if subprocess.run(install, check=False).returncode:
        sys.stderr.write("NOT AUDITED: pip-audit could not be installed.\n")
        return 2
    audit = [python, "-m", "pip_audit", "--disable-pip", "--no-deps", "--vulnerability-service", database]
    return subprocess.run([*audit, "--requirement", constraints], check=False).returncode


if __name__ == "__main__":
    sys.exit(main())
