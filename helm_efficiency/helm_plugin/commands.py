"""Run HELM's own commands in separate processes, with their output in a log file."""

import os
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from helm_efficiency.errors import EfficiencyError

RUNNER_CLASS_NAME = "helm_efficiency.helm_plugin.plugin.EfficiencyRunner"


class HelmCommandError(EfficiencyError):
    """Error for a failed command of HELM; the message holds its last line of output and the path of the whole log."""


@dataclass(frozen=True, slots=True)
class HelmRunOptions:
    """Options of `helm-run`.

    Attributes:
        conf: Run-entries file.
        suite: Suite that the runs belong to.
        output: HELM's output folder; runs go to its `runs/SUITE`.
        local_path: HELM's folder of caches and configurations.
        store: Coefficient store for the efficiency stats.
        max_eval_instances: Most instances of a run.
    """

    conf: Path
    suite: str
    output: Path
    local_path: Path
    store: Path
    max_eval_instances: int


def helm_run(options: HelmRunOptions, *, log: Path, on_wait: Callable[[], None] = lambda: None) -> None:
    """Run HELM on a run-entries file with efficiency stats; runs that are complete are skipped.

    Raises:
        HelmCommandError: HELM failed.
    """
    arguments = ["--conf-paths", options.conf, "--suite", options.suite, "--output-path", options.output]
    arguments += ["--local-path", options.local_path, "--max-eval-instances", options.max_eval_instances]
    arguments += ["--runner-class-name", RUNNER_CLASS_NAME, "--num-threads", 1, "--skip-completed-runs"]
    environment = {"HELM_EFFICIENCY_STORE": str(options.store.absolute()), "HF_HUB_OFFLINE": "1"}
    _run("helm.benchmark.run", arguments, log=log, environment=environment, on_wait=on_wait)


def helm_summarize(output: Path, suite: str, *, local_path: Path, schema: Path, log: Path) -> None:
    """Make HELM's tables of a suite, in its folder.

    Raises:
        HelmCommandError: HELM failed.
    """
    arguments = ["--suite", suite, "--output-path", output, "--schema-path", schema, "--local-path", local_path]
    # HELM's threads compile templates in parallel, which fails in some Python 3.11 ("AST constructor recursion").
    arguments += ["--num-threads", 1]
    _run("helm.benchmark.presentation.summarize", arguments, log=log, environment={"HF_HUB_OFFLINE": "1"})


def helm_server(output: Path, suite: str, *, port: int, log: Path, on_ready: Callable[[str], None]) -> None:
    """Show HELM's pages of a summarized suite until the server is stopped.

    Args:
        output: HELM's output folder.
        suite: The suite.
        port: Port to listen on.
        log: File that HELM's output goes to.
        on_ready: Function that is called with the address once the server answers.

    Raises:
        HelmCommandError: The server ended by itself.
    """
    arguments = ["--suite", suite, "--output-path", output, "--port", port]
    waiting = [f"http://localhost:{port}/"]

    def look() -> None:
        if waiting and is_listening(port):
            on_ready(waiting.pop())

    _run("helm.benchmark.server", arguments, log=log, environment={}, on_wait=look)


def is_listening(port: int) -> bool:
    """Return whether a program listens on a port of this machine."""
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


def _run(
    module: str,
    arguments: Sequence[object],
    *,
    log: Path,
    environment: dict[str, str],
    on_wait: Callable[[], None] = lambda: None,
) -> None:
    log.parent.mkdir(parents=True, exist_ok=True)
    command = [sys.executable, "-c", f"from {module} import main; main()", *map(str, arguments)]
    with log.open("w") as output:
        process = subprocess.Popen(command, stdout=output, stderr=subprocess.STDOUT, env=os.environ | environment)
        try:
            while process.poll() is None:
                on_wait()
                time.sleep(0.2)
        finally:
            if process.poll() is None:
                process.terminate()
                process.wait()
    if process.returncode != 0:
        said = [line.strip() for line in log.read_text(errors="replace").splitlines() if line.strip()]
        raise HelmCommandError(f"{module} failed: {said[-1] if said else 'it said nothing'}. Its whole log: {log}")
