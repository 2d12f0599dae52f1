"""What a shell does to a command: closed and full streams, a reader that goes away, Ctrl-C. No traceback, one line."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from helm_efficiency.core.measurement import Measurement, Profile, Stack
from helm_efficiency.store import Store
from helm_efficiency.version import __version__

CLI = [sys.executable, "-m", "helm_efficiency.cli"]


@pytest.mark.parametrize("unbuffered", ["", "1"])
@pytest.mark.parametrize(
    ("redirections", "arguments", "code", "said"),
    [
        (">&-", ["architecture", "list", "llama-3-8b"], 0, ""),
        (">&- 2>&-", ["show", "--store", "/nowhere"], 2, ""),
        ("2>&-", ["show", "--store", "/nowhere"], 2, ""),
        ("2>/dev/full", ["show", "--store", "/nowhere"], 2, ""),
        (
            ">/dev/full",
            ["architecture", "list", "llama-3-8b"],
            2,
            "helm-efficiency: [Errno 28] No space left on device\n",
        ),
    ],
)
def test_streams_that_take_nothing(
    redirections: str, arguments: list[str], code: int, said: str, unbuffered: str
) -> None:
    command = ["bash", "-c", f'"$@" {redirections}', "bash", *CLI, *arguments]
    environment = os.environ | {"PYTHONUNBUFFERED": unbuffered}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (code, "", said)


def test_nothing_is_printed_into_a_file_that_takes_the_number_of_a_closed_stream(tmp_path: Path) -> None:
    store = tmp_path / "s.sqlite"
    Store(store).put_profile(Profile("a/b", Stack("x", "cpu"), (Measurement(1, 1, 1.0), Measurement(1, 2, 2.0))))
    command = ["bash", "-c", '"$@" >&- 2>&- <&-', "bash", *CLI, "fit", "--store", str(store)]
    assert subprocess.run(command, check=False).returncode == 0
    assert len(Store(store, create=False).fits()) == 1


def test_a_reader_that_goes_away() -> None:
    read, write = os.pipe()
    os.close(read)
    done = subprocess.run(
        [*CLI, "architecture", "list", "--format", "csv"], stdout=write, stderr=subprocess.PIPE, check=False
    )
    os.close(write)
    assert (done.returncode in (0, 1), done.stderr) == (True, b"")


INTERRUPTED = """
import os, signal, sys
from helm_efficiency.cli import main

signal.signal(signal.SIGINT, signal.default_int_handler)  # a parent may have it ignored
sys.addaudithook(lambda event, _: event == "sqlite3.connect" and os.kill(os.getpid(), signal.SIGINT))
main()
"""


def test_ctrl_c_is_one_line(tmp_path: Path) -> None:
    store = tmp_path / "s.sqlite"
    Store(store)
    command = [sys.executable, "-c", INTERRUPTED, "show", "--store", str(store)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    line = "helm-efficiency: interrupted; what was finished is kept, call again to go on.\n"
    assert (done.returncode, done.stdout, done.stderr) == (130, "", line)


INTERRUPTED_ELSEWHERE = """
import atexit, os, signal, sys

signal.signal(signal.SIGINT, signal.default_int_handler)  # a parent may have it ignored
interrupt = lambda *_: os.kill(os.getpid(), signal.SIGINT)
if {at_exit}:
    atexit.register(interrupt)
else:
    sys.addaudithook(lambda event, of: event == "import" and of[0] == "typer" and interrupt())
from helm_efficiency.__main__ import main
main()
"""


@pytest.mark.parametrize("at_exit", [False, True])
def test_ctrl_c_is_one_line_while_importing_and_ending(at_exit: bool) -> None:
    command = [sys.executable, "-c", INTERRUPTED_ELSEWHERE.format(at_exit=at_exit), "--version"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    line = "helm-efficiency: interrupted; what was finished is kept, call again to go on.\n"
    assert (done.returncode, done.stderr) == (130, line)
    assert done.stdout == (f"helm-efficiency {__version__}\n" if at_exit else "")


def test_the_package_is_a_command_too() -> None:
    for module in ("helm_efficiency", "helm_efficiency.cli"):
        command = [sys.executable, "-m", module, "--version"]
        done = subprocess.run(command, capture_output=True, text=True, check=True)
        assert done.stdout == f"helm-efficiency {__version__}\n"
