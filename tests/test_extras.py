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
import contextlib, io, json, sys

class Without:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in heavy:
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)

sys.meta_path.insert(0, Without())
sys.path[:0] = paths
from helpers.run_commands import call
print(json.dumps([call(*command) for command in commands]))
"""


def light(*commands: list[str], folder: Path) -> list[list[object]]:
    """Code, stdout and stderr of commands where no extra is installed: imports find none of their packages."""
    paths = [str(Path(__file__).parents[1]), str(Path(__file__).parent)]
    program = f"heavy, paths, commands = {HEAVY!r}, {paths!r}, {commands!r}\n{WITHOUT}"
    done = subprocess.run([sys.executable, "-c", program], cwd=folder, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def test_a_command_says_what_to_install(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text(json.dumps({"model_type": "llama", "num_hidden_layers": 1}))
    needing = {
        "helm": [["schema", "lite"], ["import", "helm-packaged"]],
        "torch": [["profile", "config.json", "--random-weights"]],
        "httpx": [["profile", "m", "--base-url", "http://127.0.0.1:1/v1"]],
    }
    pairs = [(module, command) for module, commands in needing.items() for command in commands]
    for (module, command), done in zip(pairs, light(*(c for _, c in pairs), folder=tmp_path), strict=True):
        advice = f"pip install 'helm-efficiency[{EXTRA_OF[module]}]'"
        expected = f"helm-efficiency: This needs {module}, which is not installed: {advice}.\n"
        assert done == [2, "", expected], command


def test_scoring_ranking_and_estimates_need_no_extra(data_dir: Path, tmp_path: Path) -> None:
    copy_to_change(data_dir / "helm_runs" / "small" / "runs" / "v1", tmp_path / "runs" / "v1")
    scored, page, estimated = light(
        ["score", "runs"],
        ["report", "scored", "--output", "page.html"],
        ["estimate", "llama-3.1-8b", "--on", "h100-sxm", "--format", "json"],
        folder=tmp_path,
    )
    assert [scored[0], page[0], estimated[0]] == [0, 0, 0], (scored, page, estimated)
    assert (tmp_path / "scored" / "tradeoff.png").exists()
    assert json.loads(str(estimated[1]))[0]["request_s"] > 0


def test_other_errors_pass_through() -> None:
    with pytest.raises(MissingExtraError, match=r"no_such_module.*helm-efficiency\[cluster\]"), needs_extra("cluster"):
        import no_such_module  # noqa: F401
    with pytest.raises(ZeroDivisionError), needs_extra("cluster"):
        _ = 1 / 0
