"""The wheel holds all that the package needs, and what is installed from it works without the checkout.

The environment borrows the packages of the one that runs the tests; `make wheel-check` tries the same and more in an
environment of its own.
"""

import shutil
import subprocess
import sys
import sysconfig
import venv
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]


def run(*command: str | Path, cwd: Path | None = None) -> str:
    environment = {"PATH": "/usr/bin:/bin", "HOME": "/nonexistent", "HF_HUB_OFFLINE": "1"}
    done = subprocess.run(command, cwd=cwd, env=environment, capture_output=True, text=True, timeout=200, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Made of the source distribution, as `python -m build` does."""
    folder = tmp_path_factory.mktemp("wheel")
    for name in (
        "setup.cfg",
        "pyproject.toml",
        "README.md",
        "LICENSE",
        "NOTICE",
    ):  # setuptools leaves folders where it works
        shutil.copy(ROOT / name, folder)
    for name in ("helm_efficiency", "run_specs"):
        shutil.copytree(ROOT / name, folder / name, ignore=shutil.ignore_patterns("__pycache__"))
    run(sys.executable, "-c", "from setuptools.build_meta import build_sdist; build_sdist('dist')", cwd=folder)
    (source,) = (folder / "dist").glob("*.tar.gz")
    shutil.unpack_archive(source, folder / "unpacked", filter="data")
    (unpacked,) = (folder / "unpacked").iterdir()
    run(sys.executable, "-c", "from setuptools.build_meta import build_wheel; build_wheel('../../dist')", cwd=unpacked)
    (wheel,) = (folder / "dist").glob("*.whl")
    return wheel


def test_wheel_holds_every_file_of_the_package_and_nothing_else(wheel: Path) -> None:
    source = {
        path.relative_to(ROOT).as_posix()
        for path in (ROOT / "helm_efficiency").rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    }
    run_specs = {f"run_specs/{path.name}" for path in (ROOT / "run_specs").iterdir()}
    names = zipfile.ZipFile(wheel).namelist()
    held = {name.split(".data/data/share/helm-efficiency/")[-1] for name in names if ".dist-info/" not in name}
    assert held == source | run_specs


def test_installed_package_works_without_the_checkout(wheel: Path, tmp_path: Path) -> None:
    environment = tmp_path / "venv"
    venv.create(environment, with_pip=False)
    python = environment / "bin" / "python"
    (site_packages,) = environment.glob("lib/python*/site-packages")
    (site_packages / "borrowed.pth").write_text(sysconfig.get_path("purelib") + "\n")
    run(
        *(sys.executable, "-m", "pip", "--python", python, "install", "--quiet", "--no-deps", "--no-index"),
        *("--disable-pip-version-check", wheel),
    )
    said = run(python, "-I", ROOT / "tests" / "installed.py", cwd=tmp_path)
    assert len(said.splitlines()) == 2
