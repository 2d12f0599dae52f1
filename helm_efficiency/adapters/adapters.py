"""One door to all harnesses: find what is a run of any of them, and read it.

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
"""How much of a file is read to tell whose it is."""


class Adapter(NamedTuple):
    """A reader of another harness's log files.

    Attributes:
        suffix: How their names end, such as `.json`.
        recognizes: Whether a file of that suffix is one, by its first 4,096 bytes.
        read: The runs of one file. It raises InputError or FileFormatError where it cannot.
    """

    suffix: str
    recognizes: Callable[[bytes], bool]
    read: Callable[[Path], Sequence[HarnessRun]]


def installed_adapters() -> dict[Harness, Adapter]:
    """Those of other packages, by the names of their entry points.

    Raises:
        InputError: One cannot be loaded, or is no `Adapter`.
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
    """Read the log file of a harness other than HELM; one run, but for lm-eval, which has one a task.

    Args:
        harness: Harness that wrote it.
        path: Local file.
        tokenizers: For requests that nobody counted.

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
    """Whose a log file is, by its name and its first bytes; None if it is of no harness.

    Args:
        name: Of the file.
        read_head: Reads its first `HEAD_BYTES`; called only where the name does not decide.
        adapters: Of other packages.
    """
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
