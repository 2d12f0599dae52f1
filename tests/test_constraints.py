"""What `make setup` installs: each package has one version, which setup.cfg allows and which can be audited."""

import configparser
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.version import Version

ROOT = Path(__file__).parents[1]
CONSTRAINTS = {
    name: version
    for name, _, version in (
        line.partition("==") for line in (ROOT / "constraints.txt").read_text().splitlines() if line[0] != "#"
    )
}


def requirements() -> list[Requirement]:
    """All requirements of setup.cfg, those of the extras too."""
    config = configparser.ConfigParser()
    config.read(ROOT / "setup.cfg")
    lists = [config["options"]["install_requires"], *config["options.extras_require"].values()]
    found = [Requirement(line) for lines in lists for line in lines.split("\n") if line.strip()]
    return [each for each in found if each.name != "helm-efficiency"]


def test_every_package_has_one_version_and_no_place() -> None:
    assert len(CONSTRAINTS) > 100
    assert all(str(Version(version)) and "+" not in version for version in CONSTRAINTS.values())
    assert not [name for name in CONSTRAINTS if name.startswith(("nvidia", "cuda", "triton"))]


def test_setup_allows_what_is_tested_and_bounds_what_a_user_installs() -> None:
    config = configparser.ConfigParser()
    config.read(ROOT / "setup.cfg")
    needed = [Requirement(line) for line in config["options"]["install_requires"].split("\n") if line.strip()]
    assert [str(each) for each in needed if not any(s.operator == "<" for s in each.specifier)] == []
    pinned = {each.name: CONSTRAINTS.get(each.name.replace("_", "-").lower()) for each in requirements()}
    assert [name for name, version in pinned.items() if version is None] == ["nvidia-ml-py"], "only on GPUs"
    wrong = [str(each) for each in requirements() if (v := pinned[each.name]) and not each.specifier.contains(v)]
    assert wrong == []


def test_constraints_are_written_from_a_report_of_pip(tmp_path: Path) -> None:
    """Names as pip compares them, no build, no CUDA, nothing of where a file lies."""
    packages = [("torch", "2.13.0+cpu"), ("PyYAML", "6.0"), ("nvidia-cuda-runtime", "1"), ("helm-efficiency", "0.1.0")]
    report = {
        "install": [
            {"metadata": {"name": name, "version": version}, "download_info": {"url": f"file:///secret/{name}.whl"}}
            for name, version in packages
        ]
    }
    (tmp_path / "report.json").write_text(json.dumps(report))
    target = tmp_path / "constraints.txt"
    subprocess.run([sys.executable, ROOT / ".ci/write_constraints.py", tmp_path / "report.json", target], check=True)
    lines = target.read_text().splitlines()
    assert [line for line in lines if not line.startswith("#")] == ["pyyaml==6.0", "torch==2.13.0"]


def test_an_audit_without_a_database_says_that_nothing_was_audited(tmp_path: Path) -> None:
    nowhere = dict.fromkeys(("HTTPS_PROXY", "https_proxy", "ALL_PROXY", "all_proxy"), "http://127.0.0.1:9")
    command = [sys.executable, ROOT / ".ci/audit.py", ROOT / "constraints.txt", tmp_path / "audit"]
    done = subprocess.run(command, capture_output=True, text=True, env=os.environ | nowhere, check=False)
    assert done.returncode == 0 and done.stderr.startswith("NOT AUDITED: no database of vulnerabilities can be reached")
    assert not (tmp_path / "audit").exists()


@pytest.mark.parametrize("command", ["constraints", "audit"])
def test_make_knows_the_commands(command: str) -> None:
    done = subprocess.run(["make", "--dry-run", command], cwd=ROOT, capture_output=True, text=True, check=True)
    assert f".ci/{'write_constraints' if command == 'constraints' else 'audit'}.py" in done.stdout
