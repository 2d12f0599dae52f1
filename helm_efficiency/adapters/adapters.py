"""Recognize and read the runs of all supported harnesses.

Other packages add harnesses by an entry point of the group `helm_efficiency.adapters` that names an `Adapter`. They are
asked before our own, so that a log which looks like another's can be claimed.
"""

from collections.abc import Callable, Mapping, Sequence
from importlib.metadata import entry_points
from pathlib import Path
from typing import NamedTuple

from helm_efficiency.adapters.every_eval_ever import read_every_eval_ever
from helm_efficiency.adapters.inspect import read_inspect_log
from helm_efficiency.adapters.llmperf import read_llmperf
from helm_efficiency.adapters.lm_eval import read_lm_eval
from helm_efficiency.adapters.record import HarnessRun
from helm_efficiency.adapters.tokenizers import LocalTokenizers
from helm_efficiency.errors import InputError

Harness = str
"""`helm`, `inspect`, `lm-eval`, `every-eval-ever`, `llmperf`, or the name of an entry point."""

ADAPTERS_GROUP = "helm_efficiency.adapters"
HEAD_BYTES = 4096
"""Number of bytes that are read from a file to recognize its harness."""


class Adapter(NamedTuple):
    """A reader of another harness's log files.

    Attributes:
        suffix: End of the names of these files, such as `.json`.
        recognizes: Function that tells from the first 4,096 bytes of a file with that suffix whether it is such a log.
        read: Function that returns the runs of one file. It raises InputError or FileFormatError if it cannot read the
            file.
    """

    suffix: str
    recognizes: Callable[[bytes], bool]
    read: Callable[[Path], Sequence[HarnessRun]]


def installed_adapters() -> dict[Harness, Adapter]:
    """Return the adapters of other packages, by the names of their entry points.

    Raises:
        InputError: An adapter cannot be loaded, or is not an `Adapter`.
    """
    found = {}
    for point in sorted(entry_points(group=ADAPTERS_GROUP)):
        try:
            adapter = point.load()
        except (ImportError, AttributeError) as error:
            raise InputError(f"Adapter {point.name} ({point.value}) cannot be loaded: {error}.") from error
        if not isinstance(adapter, Adapter):
            raise InputError(f"Adapter {point.name} ({point.value}) is no helm_efficiency.adapters.adapters.Adapter.")
        found[point.name] = adapter
    return found


def read_log(harness: Harness, path: Path, *, tokenizers: LocalTokenizers | None = None) -> tuple[HarnessRun, ...]:
    """Read the log file of a harness other than HELM. It has one run; a file of lm-eval has one run for each task.

    Raises:
        FileFormatError: The file is damaged; names it and the line or value.
        InputError: A file is missing or cannot be read.
    """
    match harness:
        case "inspect":
            return (read_inspect_log(path),)
        case "lm-eval":
            return read_lm_eval(path, tokenizers=tokenizers)
        case "every-eval-ever":
            return (read_every_eval_ever(path),)
        case "llmperf":
            return (read_llmperf(path),)
        case _:
            return tuple(installed_adapters()[harness].read(path))


def harness_of(name: str, read_head: Callable[[], bytes], adapters: Mapping[Harness, Adapter]) -> Harness | None:
    """Return the harness that wrote a log file, judged by its name and first bytes; None if it is not recognized."""
    candidates = {key: adapter for key, adapter in adapters.items() if name.endswith(adapter.suffix)}
    head = read_head() if candidates or name.endswith((".json", ".jsonl")) else b""
    for key, adapter in candidates.items():
        if adapter.recognizes(head):
            return key
    if name.endswith(".eval"):
        return "inspect"
    if name.endswith(".jsonl"):
        return "every-eval-ever" if b"instance_level_eval" in head else None
    if not name.endswith(".json"):
        return None
    if name.startswith("results") and b'"results"' in head:
        return "lm-eval"
    if head.lstrip().startswith(b"[") and b'"end_to_end_latency_s"' in head:
        return "llmperf"
    return "inspect" if b'"status"' in head and b'"eval"' in head else None
