"""One door to all harnesses: find what is a run of any of them, and read it."""

from collections.abc import Iterator
from pathlib import Path
from typing import Literal

from helm_efficiency.errors import InputError
from helm_efficiency.harness.every_eval_ever import read_every_eval_ever
from helm_efficiency.harness.folders import walk
from helm_efficiency.harness.helm_cache import RequestCaches
from helm_efficiency.harness.helm_runs import RUN_FILES, read_run
from helm_efficiency.harness.inspect_logs import read_inspect_log
from helm_efficiency.harness.llmperf_logs import read_llmperf
from helm_efficiency.harness.lm_eval import read_lm_eval
from helm_efficiency.harness.local_tokenizers import LocalTokenizers
from helm_efficiency.harness.records import HarnessRun

Harness = Literal["helm", "inspect", "lm-eval", "every-eval-ever", "llmperf"]

_HEAD_BYTES = 4096


def find_sources(root: Path | str) -> Iterator[tuple[Harness, Path]]:
    """Run folders and log files of all harnesses at or below `root` (or `root` itself, if it is a file).

    Files inside a HELM run folder are its own. A folder that cannot be listed is taken for HELM's, so that reading it
    reports why.

    Raises:
        InputError: There is no such file or folder, or the file is of no harness.
    """
    path = Path(root)
    if path.is_file():
        harness = _harness_of(path)
        if harness is None:
            raise InputError(f"{path} is no log of Inspect or LLMPerf, results of lm-eval or lines of Every Eval Ever.")
        yield harness, path
        return
    for folder, files in walk(path):
        if files is None or not RUN_FILES.isdisjoint(files):
            yield "helm", folder
            continue
        for name in files:
            harness = _harness_of(folder / name)
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


def _harness_of(file: Path) -> Harness | None:
    """Whose a file is, by its name and its first bytes."""
    if file.suffix == ".eval":
        return "inspect"
    if file.suffix not in (".json", ".jsonl"):
        return None
    try:
        if not file.is_file():  # a pipe would wait for a writer
            return None
        with file.open("rb") as opened:
            head = opened.read(_HEAD_BYTES)
    except OSError:
        return None
    if file.suffix == ".jsonl":
        return "every-eval-ever" if b"instance_level_eval" in head else None
    if file.name.startswith("results") and b'"results"' in head:
        return "lm-eval"
    if head.lstrip().startswith(b"[") and b'"end_to_end_latency_s"' in head:
        return "llmperf"
    return "inspect" if b'"status"' in head and b'"eval"' in head else None
