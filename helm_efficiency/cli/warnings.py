"""Group warnings about many runs, so that each is printed once for all runs of one host."""

import os
import re
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from helm_efficiency.cli.command import printing

_OF_REQUESTS = re.compile(r"^(\d+) of \d+ requests: ")


@dataclass(frozen=True, slots=True)
class RunWarning:
    """Warning about one run.

    Attributes:
        run: Path or address of the run.
        host: Host of its deployment, such as `together`; empty if it has none.
        text: Text of the warning.
    """

    run: str
    host: str
    text: str


def host_of(deployment: str) -> str:
    """Return the host in the name of a deployment.

    >>> host_of("together/Llama-3-8b-chat-hf")
    'together'
    """
    return deployment.partition("/")[0] if "/" in deployment else ""


def grouped(warnings: Iterable[RunWarning], num_runs: Counter[str], roots: Sequence[str]) -> list[str]:
    """Return one line for each host and kind of warning; with --verbose, one for each warning.

    Args:
        warnings: Warnings of all runs.
        num_runs: Number of runs by host, runs without a warning included.
        roots: Folders that were named; a single run is named relative to them.

    >>> twice = [RunWarning(f"a/{n}", "together", "20 of 20 requests: an answer is one token") for n in (1, 2)]
    >>> grouped(twice, Counter(together=3), ["a"])
    ['2 of 3 runs of together (40 requests): an answer is one token']
    """
    groups: dict[tuple[str, str], list[RunWarning]] = {}
    if printing().verbose:
        return [f"{relative(each.run, roots)}: {each.text}" for each in warnings]
    for warning in warnings:
        groups.setdefault((warning.host, _OF_REQUESTS.sub("", warning.text)), []).append(warning)
    lines = []
    for (host, text), found in groups.items():
        if len(found) == 1:
            lines.append(f"{relative(found[0].run, roots)}: {found[0].text}")
            continue
        counts = [int(match[1]) for each in found if (match := _OF_REQUESTS.match(each.text))]
        requests = f" ({sum(counts):,} requests)" if counts else ""
        of_host = f" of {host}" if host else ""
        lines.append(f"{len(found):,} of {num_runs[host]:,} runs{of_host}{requests}: {text}")
    return lines


def relative(run: str, roots: Sequence[str]) -> str:
    """Return the path of a run relative to the folder that was named; if it is that folder, its own name.

    >>> relative("/data/runs/v1/mmlu:model=a", ["/data/runs"])
    'v1/mmlu:model=a'
    """
    for root in roots:
        folder = root if "://" in root else os.path.abspath(root)  # noqa: PTH100 (a URL's text, not a file)
        if run.startswith(folder.rstrip("/") + "/"):
            return run[len(folder.rstrip("/")) + 1 :]
        if run == folder:
            return run.rstrip("/").rpartition("/")[2]
    return run


def shortened(text: str, roots: Sequence[str]) -> str:
    """Return a message with the paths below the folders that were named as relative paths.

    >>> shortened("/data/runs/v1/a/stats.json: no such file", ["/data/runs"])
    'v1/a/stats.json: no such file'
    """
    for root in roots:
        folder = root if "://" in root else os.path.abspath(root)  # noqa: PTH100 (a URL's text, not a file)
        for name in (folder, root):
            text = re.sub(rf"(?<![\w./-]){re.escape(name.rstrip('/'))}/", "", text)
    return text


def without_path(text: str, run: str, roots: Sequence[str]) -> str:
    """Return an error about a run that names the run once, relative to the folder.

    >>> without_path("/data/runs/v1/a: no such file", "/data/runs/v1/a", ["/data/runs"])
    'v1/a: no such file'
    """
    name = relative(run, roots)
    return f"{name}: {text.removeprefix(f'{run}: ').replace(f'{run}/', '').replace(run, name)}"
