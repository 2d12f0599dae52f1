"""What is not installed is named in one line, with the extra that brings it; scoring and estimates need no extra."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
from helpers.odd_places import copy_to_change

from helm_efficiency.errors import MissingExtraError
from helm_efficiency.extras import EXTRA_OF, needs_extra

HEAVY = ("torch", "transformers", "httpx", "helm", "distributed", "aiconfigurator_core")


WITHOUT = """
import sys

class Without:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in heavy:
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)

sys.meta_path.insert(0, Without())
sys.path.insert(0, checkout)
from helm_efficiency.cli import main
main()
"""


def light(*arguments: str, folder: Path) -> subprocess.CompletedProcess[str]:
    """Run a command as where no extra is installed: the import system finds none of their packages."""
    checkout = str(Path(__file__).parents[1])
    program = f"heavy, checkout = {HEAVY!r}, {checkout!r}\n{WITHOUT}"
    command = [sys.executable, "-c", program, *arguments]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)


@pytest.mark.parametrize(
    ("arguments", "module"),
    [
        (["schema", "lite"], "helm"),
        (["import", "helm-packaged"], "helm"),
        (["profile", "config.json", "--random-weights"], "httpx"),
        (["profile", "m", "--base-url", "http://127.0.0.1:1/v1"], "httpx"),
    ],
    ids=lambda value: " ".join(value[:2]) if isinstance(value, list) else "",
)
def test_a_command_says_what_to_install(arguments: list[str], module: str, tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text(json.dumps({"model_type": "llama", "num_hidden_layers": 1}))
    done = light(*arguments, folder=tmp_path)
    advice = f"pip install 'helm-efficiency[{EXTRA_OF[module]}]'"
    expected = f"helm-efficiency: This needs {module}, which is not installed: {advice}.\n"
    assert (done.returncode, done.stdout, done.stderr) == (2, "", expected)


def test_scoring_ranking_and_drawing_need_no_extra(data_dir: Path, tmp_path: Path) -> None:
    copy_to_change(data_dir / "helm_runs" / "small" / "runs" / "v1", tmp_path / "runs" / "v1")
    scored = light("score", "runs", folder=tmp_path)
    assert scored.returncode == 0, scored.stderr
    assert (tmp_path / "scored" / "tradeoff.png").exists()
    page = light("report", "scored", "--output", "page.html", folder=tmp_path)
    assert page.returncode == 0, page.stderr


def test_estimates_need_no_extra(tmp_path: Path) -> None:
    done = light("estimate", "llama-3.1-8b", "--on", "h100-sxm", "--format", "json", folder=tmp_path)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)[0]["request_s"] > 0


def test_other_errors_pass_through() -> None:
    with pytest.raises(MissingExtraError, match=r"no_such_module.*helm-efficiency\[cluster\]"), needs_extra("cluster"):
        import no_such_module  # noqa: F401
    with pytest.raises(ZeroDivisionError), needs_extra("cluster"):
        _ = 1 / 0
