"""Every command of the README: it parses as it stands, and those that need no other machine are run in its order."""

import re
import shlex
import shutil
import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import pytest
import typer.main

from helm_efficiency.cli import app

README = (Path(__file__).parents[1] / "README.md").read_text(encoding="utf-8")


def commands() -> list[list[str]]:
    """Arguments of each `helm-efficiency …` line of the README's code blocks, comments left out."""
    blocks = re.findall(r"```console\n(.*?)```", README, re.DOTALL)
    lines = [line for block in blocks for line in block.replace("\\\n", " ").splitlines()]
    found = [shlex.split(line, comments=True) for line in lines if line.startswith("helm-efficiency ")]
    return [arguments[1:] for arguments in found]


@pytest.mark.parametrize("arguments", commands(), ids=" ".join)
def test_parses(arguments: list[str]) -> None:
    command = typer.main.get_command(app).commands[arguments[0]]  # type: ignore[attr-defined]
    with command.make_context(arguments[0], arguments[1:], resilient_parsing=True):
        pass


def test_every_command_stands_in_the_readme_and_has_an_example() -> None:
    group = typer.main.get_command(app)
    for name, command in group.commands.items():  # type: ignore[attr-defined]
        assert f"helm-efficiency {name}" in README or name in {"architecture", "export"}, name
        texts = [command.help or "", *((sub.help or "") for sub in getattr(command, "commands", {}).values())]
        assert any("Example:" in text for text in texts), name


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory, data_dir: Path) -> Path:
    """A folder with what the README names, from real data."""
    folder = tmp_path_factory.mktemp("readme")
    shutil.copytree(data_dir / "helm_runs" / "mmlu_llama3" / "runs", folder / "benchmark_output" / "runs")
    (folder / "prod_env" / "cache").mkdir(parents=True)
    with closing(sqlite3.connect(folder / "prod_env" / "cache" / "groq.sqlite")) as cache:
        cache.execute("CREATE TABLE unnamed (key TEXT PRIMARY KEY, value BLOB)")
    (folder / "megatron_logs").symlink_to(data_dir / "megatron_logs")
    (folder / "config.json").write_text(
        '{"model_type": "llama", "architectures": ["LlamaForCausalLM"], "num_hidden_layers": 32, "hidden_size": 4096, '
        '"num_attention_heads": 32, "num_key_value_heads": 8, "intermediate_size": 14336, "vocab_size": 128256}'
    )
    return folder


def test_runs_in_order(folder: Path) -> None:
    elsewhere = {"quickstart", "profile", "doctor"}  # minutes, a model, another exit code; each has tests of its own
    ran = []
    for arguments in commands():
        if arguments[0] in elsewhere:
            continue
        done = _run(folder, arguments)
        assert "Traceback" not in done.stderr, done.stderr
        assert done.returncode in (0, 1), (arguments, done.stderr)  # 1: something was missing, and listed
        ran.append(arguments[0])
    assert {"rescore", "leaderboard", "plot", "report", "import", "fit", "predict", "transfer", "denoise"} <= set(ran)
    for made in ("scored/runs.parquet", "plots/tradeoff.png", "report.html", "schema.yaml"):
        assert (folder / made).stat().st_size > 0


def _run(folder: Path, arguments: list[str]) -> subprocess.CompletedProcess[str]:
    expanded = (
        [str(path.relative_to(folder)) for argument in arguments for path in sorted(folder.glob(argument))]
        if arguments[0] == "import" and "*" in arguments[1]
        else arguments[1:]
    )
    command = [sys.executable, "-m", "helm_efficiency.cli", arguments[0], *expanded]
    environment = {"PYTHONPATH": str(Path(__file__).parents[1]), "PATH": "/usr/bin:/bin", "HOME": str(folder)}
    return subprocess.run(
        command, cwd=folder, env=environment, capture_output=True, text=True, timeout=200, check=False
    )
