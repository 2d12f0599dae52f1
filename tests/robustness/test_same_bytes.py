"""The same inputs give the same bytes: in another folder, found in another order, hashed and shared out otherwise."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from helpers.run_commands import call

from helm_efficiency.core.measurement import Measurement, Profile, Stack
from helm_efficiency.store import Store

SCRIPT = """
import sys
from pathlib import Path
from helpers.run_commands import call
from helm_efficiency.rescoring import rescore

if __name__ == "__main__":
    rescore._WORTH_PROCESSES_BYTES = 0
    store, jobs = sys.argv[1:]
    fixed = ["--price-date", "2026-06-30"]
    commands = {
        "": ["rescore", "v1", "--store", store, "--output", "out", "--jobs", jobs, *fixed],
        "board.csv": ["leaderboard", "out", "--format", "csv", "--each"],
        "board.json": ["leaderboard", "out", "--format", "json"],
        "board.md": ["leaderboard", "out", "--format", "markdown"],
        "board.txt": ["leaderboard", "out"],
        "t.svg": ["plot", "out", "--output", "t.svg"],
        "t.png": ["plot", "out", "--output", "t.png"],
        "p.svg": ["plot", "out", "--kind", "providers", "--output", "p.svg"],
        "r.html": ["report", "out", "--output", "r.html"],
        "export.json": ["export", "--store", store],
        "export.csv": ["export", "--store", store, "--format", "csv"],
        "schema.yaml": ["schema", "lite", "--stack", "a100-80gb-x"],
    }
    for name, command in commands.items():
        done = call(*command)
        assert done.code in (0, 1), done
        if name and not Path(name).exists():
            Path(name).write_text(done.stdout)
"""


@pytest.fixture
def store(tmp_path: Path) -> Path:
    path = tmp_path / "s.sqlite"
    stack = Stack("a100-80gb-x", "a100-80gb", 8)
    for number, name in enumerate(("groq/llama3-70b-8192", "together/llama-3-70b", "groq/llama3-8b-8192")):
        seconds = {(p, o): (0.01 + p * 1e-4 + o * 0.02) * (1 + number) for p in (1, 64, 1024) for o in (1, 16)}
        measured = tuple(Measurement(p, o, s) for (p, o), s in seconds.items())
        Store(path).put_profile(Profile(name, stack, measured))
    assert call("fit", "--store", path).code == 0
    return path


def outputs(data_dir: Path, folder: Path, store: Path, *, seed: int, jobs: int, backwards: bool) -> dict[str, bytes]:
    """All files that the commands write, but for receipts, which say when their inputs were changed."""
    (folder / "v1").mkdir(parents=True)
    specs = sorted((data_dir / "helm_runs" / "mmlu_llama3").rglob("run_spec.json"))[::2]
    for spec in reversed(specs) if backwards else specs:
        target = folder / "v1" / spec.parent.name
        target.mkdir()
        for file in sorted(spec.parent.iterdir(), reverse=backwards):
            shutil.copyfile(file, target / file.name)
    script = folder.with_suffix(".py")
    script.write_text(SCRIPT)  # worker processes import it again
    command = [sys.executable, str(script), str(store), str(jobs)]
    paths = [str(Path(__file__).parents[1]), *sys.path]
    environment = os.environ | {"PYTHONHASHSEED": str(seed), "PYTHONPATH": os.pathsep.join(paths)}
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    found = {str(path.relative_to(folder)): path for path in folder.rglob("*") if path.is_file()}
    return {name: path.read_bytes() for name, path in sorted(found.items()) if ".receipts" not in name}


def test_the_same_bytes(data_dir: Path, store: Path, tmp_path: Path) -> None:
    one = outputs(data_dir, tmp_path / "one", store, seed=0, jobs=1, backwards=False)
    other = outputs(data_dir, tmp_path / "a" / "longer" / "way", store, seed=1, jobs=2, backwards=True)
    assert one.keys() == other.keys() and len(one) > 60
    assert [name for name in one if one[name] != other[name]] == []
