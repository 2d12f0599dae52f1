"""One door to all harnesses: find what is a run of any of them, and read it.

Other packages add harnesses by an entry point of the group `helm_efficiency.adapters` that names an `Adapter`. They are
asked before our own, so that a log which looks like another's can be claimed.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import partial
from importlib.metadata import entry_points
from pathlib import Path
from typing import NamedTuple

from helm_efficiency.adapters.every_eval_ever import read_every_eval_ever
from helm_efficiency.adapters.folders import walk
from helm_efficiency.adapters.helm.request_cache import RequestCaches
from helm_efficiency.adapters.helm.runs import RUN_FILES, read_run
from helm_efficiency.adapters.inspect import read_inspect_log
from helm_efficiency.adapters.llmperf import read_llmperf
from helm_efficiency.adapters.lm_eval import read_lm_eval
from helm_efficiency.adapters.record import HarnessRun
from helm_efficiency.adapters.tokenizers import LocalTokenizers
from helm_efficiency.errors import InputError, failing_alone

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


def find_sources(root: Path | str) -> Iterator[tuple[Harness, Path]]:
    """Run folders and log files of all harnesses at or below `root` (or `root` itself, if it is a file).

    Files inside a HELM run folder are its own. A folder that cannot be listed is taken for HELM's, so that reading it
    reports why.

    Raises:
        InputError: There is no such file or folder, the file is of no harness, or an adapter cannot be loaded.
    """
    path = Path(root)
    adapters = installed_adapters()
    if path.is_file():
        harness = harness_of(path.name, partial(_head, path), adapters)
        if harness is None:
            raise InputError(
                f"{path} is no log of Inspect, LLMPerf or an installed adapter, no results of lm-eval and no lines of "
                "Every Eval Ever."
            )
        yield harness, path
        return
    for folder, files in walk(path):
        if files is None or not RUN_FILES.isdisjoint(files):
            yield "helm", folder
            continue
        for name in files:
            harness = harness_of(name, partial(_head, folder / name), adapters)
            if harness is not None:
                yield harness, folder / name


def read_source(
    harness: Harness,
    path: Path,
    *,
    caches: RequestCaches | None = None,
    tokenizers: LocalTokenizers | None = None,
) -> tuple[HarnessRun, ...]:
    """Read what `find_sources` found; one run, but for lm-eval, which has one a task.

    Args:
        harness: Whose it is.
        path: Where it is.
        caches: HELM's request caches.
        tokenizers: For requests that nobody counted.

    Raises:
        FileFormatError: A file is damaged; names the file and the place.
        InputError: A file is missing or cannot be read.
    """
    match harness:
        case "helm":
            return (read_run(path, caches=caches, tokenizers=tokenizers),)
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


def read_runs(
    places: Iterable[Path | str],
    *,
    caches: RequestCaches | None = None,
    tokenizers: LocalTokenizers | None = None,
    on_error: Callable[[InputError], None] | None = None,
) -> Iterator[HarnessRun]:
    """Every run at or below some places, one after the other; no model is called.

    Args:
        places: Run folders, logs, or folders of them, of HELM, Inspect, lm-eval, Every Eval Ever, LLMPerf or an
            installed adapter.
        caches: HELM's request caches, for the provider's own token counts.
        tokenizers: For requests that nobody counted.
        on_error: Called for a run that cannot be read, which is then passed over; None raises instead.

    Raises:
        FileFormatError: A file is damaged, and there is no `on_error`; names the file and the place.
        InputError: There is no such place, a file is of no harness, or an adapter cannot be loaded; or, without
            `on_error`, a run cannot be read.

    Example:
        >>> from helm_efficiency import read_runs
        >>> sum(len(run.records) for run in read_runs(["benchmark_output/runs"]))
        300
    """
    for place in places:
        for harness, path in find_sources(place):
            try:
                with failing_alone(str(path)):
                    runs = read_source(harness, path, caches=caches, tokenizers=tokenizers)
            except InputError as error:
                if on_error is None:
                    raise
                on_error(error)
            else:
                yield from runs


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


def _head(file: Path) -> bytes:
    """The first bytes of a file, none where it cannot be read."""
    try:
        if not file.is_file():  # a pipe would wait for a writer
            return b""
        with file.open("rb") as opened:
            return opened.read(HEAD_BYTES)
    except OSError:
        return b""
