"""What is not installed is named in one line, with the extra that brings it."""

import subprocess
import sys
from pathlib import Path

import pytest

from helm_efficiency.errors import MissingExtraError
from helm_efficiency.extras import needs_extra

COMMANDS = (
    ["report", "--paper", "--output", "x.html"],
    ["plot", "scored", "--output", "x.png"],
    ["paper"],
    ["quickstart"],
)
API = ("helm_efficiency.report.plots", "helm_efficiency.report.html", "helm_efficiency.report.paper")


def without_matplotlib(program: str, *arguments: str, folder: Path) -> subprocess.CompletedProcess[str]:
    """Run Python as it is where matplotlib is not installed: None in sys.modules means that it cannot be found."""
    checkout = str(Path(__file__).parents[1])
    setting = f"import sys; sys.modules['matplotlib'] = None; sys.path.insert(0, {checkout!r}); "
    command = [sys.executable, "-c", setting + program, *arguments]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)


@pytest.mark.parametrize("arguments", COMMANDS, ids=" ".join)
def test_a_command_says_what_to_install(arguments: list[str], tmp_path: Path) -> None:
    done = without_matplotlib("from helm_efficiency.cli import main; main()", *arguments, folder=tmp_path)
    expected = (
        "helm-efficiency: This needs matplotlib, which is not installed: pip install 'helm-efficiency[report]'.\n"
    )
    assert (done.returncode, done.stdout, done.stderr) == (2, "", expected)


@pytest.mark.parametrize("module", API)
def test_so_does_an_import_from_python(module: str, tmp_path: Path) -> None:
    done = without_matplotlib(f"import {module}", folder=tmp_path)
    assert done.stderr.splitlines()[-1].startswith("helm_efficiency.errors.MissingExtraError: This needs matplotlib")


def test_scoring_and_tables_need_no_extra(tmp_path: Path) -> None:
    modules = "helm_efficiency.rescoring.rescore, helm_efficiency.report.leaderboard, helm_efficiency.report.formats"
    assert without_matplotlib(f"import {modules}", folder=tmp_path).returncode == 0


def test_other_errors_pass_through() -> None:
    with pytest.raises(MissingExtraError, match=r"no_such_module.*helm-efficiency\[cluster\]"), needs_extra("cluster"):
        import no_such_module  # noqa: F401
    with pytest.raises(ZeroDivisionError), needs_extra("cluster"):
        _ = 1 / 0
