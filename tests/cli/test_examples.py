"""The examples in the help of the commands, run as they are printed."""

import contextlib
import functools
import re
import shlex
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import typer.main
from helpers.run_commands import call

from helm_efficiency.cli import app

RUN_ELSEWHERE = {"quickstart", "doctor", "paper", "serve"}
"""Commands that take seconds, or run until they are stopped; other tests run them."""


def examples() -> dict[str, str]:
    """The example of each command, by the command's name."""
    group: Any = typer.main.get_command(app)
    found = {}
    for name, command in group.commands.items():
        for part, each in getattr(command, "commands", {"": command}).items():
            text = re.search(r"Example: (.*)", each.help, re.DOTALL)
            assert text, f"the help of {name} {part} has no example"
            found[f"{name} {part}".strip()] = " ".join(text[1].split())
    return found


def run_here(command: str) -> None:
    program, *arguments = shlex.split(command)
    done = call(*arguments)
    assert (program, done.code) == ("helm-efficiency", 0), f"{command}\n{done.stderr}"
    assert done.stdout or done.stderr


@pytest.fixture(scope="module")
def folder_after(tmp_path_factory: pytest.TempPathFactory) -> Callable[[list[str]], Path]:
    """An empty folder in which some commands were run; the same ones are run once."""

    @functools.cache
    def make(commands: tuple[str, ...]) -> Path:
        folder = tmp_path_factory.mktemp("after")
        if commands:
            shutil.copytree(make(commands[:-1]), folder, dirs_exist_ok=True)
            with contextlib.chdir(folder):
                run_here(commands[-1])
        return folder

    return lambda commands: make(tuple(commands))


@pytest.mark.parametrize("name", [name for name in examples() if name not in RUN_ELSEWHERE])
def test_an_example_runs_in_an_empty_folder(
    name: str, folder_after: Callable[[list[str]], Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    *before, last = examples()[name].split(" && ")
    assert shlex.split(last)[1:][: len(name.split())] == name.split()
    shutil.copytree(folder_after(before), tmp_path, dirs_exist_ok=True)
    monkeypatch.chdir(tmp_path)
    run_here(last)


@pytest.mark.parametrize("name", ["", *examples()])
def test_help_has_one_style_of_placeholders(name: str) -> None:
    text = call(*name.split(), "--help").stdout
    assert not re.search(r"<\w+>|\{\w+\}", text), text
