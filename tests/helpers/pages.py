"""The documentation as a program: what its code blocks are, how they are run, and what of their output must hold.

A block is told by the words after its fence:

- `console`: commands behind `$ ` (in the README also without), each with the output shown below it. They are run in the
  order of the page, in one folder. `…` on a line of its own stands for lines left out. Further words: `timings` (only
  the words of the output are compared, not its numbers), `status-1` (the last command ends with 1: something was
  missing, and it says so), `elsewhere` (needs another machine, a network or hours, or is run on a page of its own: only
  its options are checked).
- `python`: executed there, one block after another with the same names.
- `text output`: what the Python block before it prints.
- a language and a file name, such as `csv train.csv`: what the reader puts into that file.

All else is not run.
"""

import contextlib
import io
import os
import re
import shlex
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import typer
import typer.main
from typer.testing import CliRunner

from helm_efficiency.cli import app
from helm_efficiency.errors import EfficiencyError

ROOT = Path(__file__).parents[2]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
OURS = "helm-efficiency "
USAGE_ERROR: Any = typer.BadParameter.__mro__[1]
"""Click's; typer brings a click of its own, or uses the one that is installed, by its version."""
COLUMNS = "80"
TOOLS = {
    "helm-efficiency": 'helm_efficiency.cli "$@"',
    "helm-run": 'helm.benchmark.run "$@"',
    "helm-summarize": 'helm.benchmark.presentation.summarize "$@" --num-threads 1',  # as helm_commands does, and why
    "pip": 'pip --quiet --disable-pip-version-check "$@" --no-index --no-build-isolation --no-deps --target .',
}
"""What a shell of the page calls: this checkout, and a pip that asks no network and installs into the folder."""
_FENCE = re.compile(r"^```(\w+)([^\n]*)\n(.*?)^```$", re.DOTALL | re.MULTILINE)
_SHELL = re.compile(r"[|<>;&$]")
_NUMBER = re.compile(r"(?<![\w.-])\d[\d,]*(?:\.\d+)?(?:e-?\d+)?")


@dataclass(frozen=True)
class Block:
    """A fenced block: its language, the further words of its fence, its text."""

    language: str
    words: tuple[str, ...]
    text: str


@dataclass
class Command:
    """One command of a console block, and the lines that the page shows below it."""

    text: str
    words: tuple[str, ...]
    shown: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class Done:
    """What a command did."""

    status: int
    stdout: str
    output: str


def blocks(page: Path) -> list[Block]:
    """All fenced blocks that name a language."""
    found = _FENCE.findall(page.read_text(encoding="utf-8"))
    return [Block(language, tuple(words.split()), text) for language, words, text in found]


def commands(block: Block) -> list[Command]:
    """The commands of a console block."""
    found: list[Command] = []
    for line in block.text.replace("\\\n", " ").splitlines():
        if line.startswith("$ ") or ("$ " not in block.text and line.strip()):
            found.append(Command(line.removeprefix("$ "), block.words))
        elif found:
            found[-1].shown.append(line)
    return found


def inline_commands(page: Path) -> list[str]:
    """Commands of ours that stand in running text or tables, with something after their name."""
    return re.findall(rf"`({OURS}\w[^`]+)`", _FENCE.sub("", page.read_text(encoding="utf-8")))


def unfenced_commands(page: Path) -> list[str]:
    """Lines outside console blocks that look like a command to type."""
    text = _FENCE.sub(lambda fence: "" if fence[1] == "console" else fence[0], page.read_text(encoding="utf-8"))
    return re.findall(r"^ *\$? *((?:helm-|make |pip |python3? )\S.*)$", text, re.MULTILINE)


def check_options(text: str) -> None:
    """Parse a command of ours without running it.

    Raises:
        USAGE_ERROR: There is no such command or option, or a value is wrong; files need not be there.
    """
    command: Any = typer.main.get_command(app)
    arguments = [word for word in shlex.split(text, comments=True)[1:] if word not in ("…", "...")]
    name = "helm-efficiency"
    while hasattr(command, "commands") and not arguments[0].startswith("-"):
        name, *arguments = arguments
        command = command.commands[name]
    try:
        command.make_context(name, list(arguments)).close()
    except typer.Exit:
        pass  # --help
    except USAGE_ERROR as error:
        is_mention = type(error).__name__ == "MissingParameter"  # it need not be whole
        if not is_mention and "does not exist" not in error.message:
            raise


def run_page(page: Path) -> dict[str, Done]:
    """Do in the current folder what a page says, and hold each output against the one shown.

    Returns:
        What each command did.
    """
    names: dict[str, Any] = {}
    done: dict[str, Done] = {}
    printed = ""
    for block in blocks(page):
        if block.language == "console" and "elsewhere" not in block.words:
            of_block = commands(block)
            for command in of_block:
                is_incomplete = "status-1" in block.words and command is of_block[-1]
                done[command.text] = _run_checked(page, command, status=int(is_incomplete))
        elif block.language == "python" and not block.words:
            with contextlib.redirect_stdout(io.StringIO()) as stdout:
                exec(compile(block.text, page.name, "exec"), names)
            printed = stdout.getvalue()
        elif (block.language, block.words) == ("text", ("output",)):
            shown, lines = (list(_comparable(text.splitlines(), timings=False)) for text in (block.text, printed))
            assert _agrees(shown, lines), f"{page.name} prints\n{printed}"
        elif block.language != "console" and block.words:
            path = Path(block.words[0])
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(block.text, encoding="utf-8")
    return done


def _run_checked(page: Path, command: Command, *, status: int) -> Done:
    done = run(command.text)
    where = f"{page.name}: {command.text}\n{done.output[-3000:]}"
    assert done.status == status, where
    if command.shown:
        timings = "timings" in command.words
        shown = list(_comparable(command.shown, timings=timings))
        candidates = [list(_comparable(text.splitlines(), timings=timings)) for text in (done.stdout, done.output)]
        assert any(_agrees(shown, lines) for lines in candidates), where
    return done


def run(text: str) -> Done:
    """Run a command: ours in this process, all else in a shell where `helm-efficiency` is this checkout's."""
    text = text.split("  #")[0].strip()
    if text.startswith(OURS) and not _SHELL.search(text):
        result = CliRunner(env={"COLUMNS": COLUMNS}).invoke(app, list(_expanded(shlex.split(text)[1:])))
        if isinstance(result.exception, EfficiencyError):
            return Done(2, "", str(result.exception))
        if result.exception is not None and not isinstance(result.exception, SystemExit):
            raise result.exception
        return Done(result.exit_code, result.stdout, result.output)
    tools = "\n".join(f'{name}() {{ "{sys.executable}" -m {call}; }}' for name, call in TOOLS.items())
    environment = {**os.environ, "PYTHONPATH": f"{Path.cwd()}{os.pathsep}{ROOT}", "COLUMNS": COLUMNS}
    environment["PATH"] = f"{Path(sys.executable).parent}{os.pathsep}{environment['PATH']}"
    ran = subprocess.run(
        ["bash", "-c", f"{tools}\n{text}"], env=environment, capture_output=True, text=True, timeout=200, check=False
    )
    assert "Traceback" not in ran.stderr, ran.stderr
    return Done(ran.returncode, ran.stdout, ran.stdout + ran.stderr)


def _expanded(words: list[str]) -> Iterator[str]:
    """Words, with the files that a pattern matches in its place."""
    for word in words:
        yield from sorted(map(str, Path().glob(word))) if "*" in word else [word]


def _comparable(lines: list[str], *, timings: bool) -> Iterator[str]:
    """Lines without what depends on the machine's libraries: numbers to two digits, no widths of tables."""
    for line in lines:
        text = " ".join(re.sub("[─━┃│]", " ", line).split())
        text = _NUMBER.sub("#" if timings else _two_digits, text)
        if text and not re.fullmatch("[ ═╇┳┻╈╡┡┩┏┓└┘┴┼┗┛╰╯╭╮├┤-]+", text):
            yield text


def _two_digits(number: re.Match[str]) -> str:
    text = number[0].replace(",", "")
    return number[0] if text.isdigit() else f"{float(text):.2g}"


def _agrees(shown: list[str], lines: list[str]) -> bool:
    """Whether the lines are those shown, `…` standing for any."""
    pattern = "".join(".*" if line == "…" else re.escape(line + "\n") for line in shown)
    return re.fullmatch(pattern, "".join(line + "\n" for line in lines), re.DOTALL) is not None
